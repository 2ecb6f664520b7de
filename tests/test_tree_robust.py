"""TreeExplorer when things come at a bad moment: what is asked and what is shown agree as soon as nothing runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import camwidgets
from camwidgets import TreeExplorer
from tests.explorer_nets import LABELS, Gate, photo, small

SETTINGS = ("picture", "target", "top", "depth", "conditional", "sign", "merge", "removal")


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def held(gate: Gate) -> Iterator[TreeExplorer]:
    """An explorer at rest whose network can be held in the middle of a pass."""
    pictures = {f"p{i}": photo(i) for i in range(4)}
    made = TreeExplorer(camwidgets.wrap(gate.eval(), input_size=64, labels=LABELS), pictures=pictures)
    yield made.wait()
    gate.open.set()
    made.close()


def hear(explorer: TreeExplorer, kind: str, **content: Any) -> None:
    """As from the front end."""
    explorer._hear(None, {"kind": kind, **content}, [])


def begin(gate: Gate, act: Callable[[], Any]) -> None:
    """Ask for something, and hold it in the middle of a pass."""
    gate.open.clear()
    gate.begun.clear()
    act()
    assert gate.begun.wait(20)


def assert_agrees(explorer: TreeExplorer) -> None:
    """Traits, controls and tree are of the same request."""
    want = explorer._now().want
    for name in SETTINGS:
        assert getattr(explorer, name) == getattr(want, name), name
        assert explorer.head.state["values"][name] == getattr(want, name), name
    assert (explorer.opened, explorer.selected, explorer.removed) == (want.opened, want.selected, want.removed)
    np.testing.assert_array_equal(explorer.tree.picture, camwidgets.decompose(small(), given(explorer)).picture)


def given(explorer: TreeExplorer) -> Any:
    return explorer.pictures[explorer.picture].image


# ---------------------------------------------------------------------------------------------- mistakes meanwhile


def test_a_mistake_while_a_request_runs_leaves_it_running(held: TreeExplorer, gate: Gate) -> None:
    begin(gate, lambda: hear(held, "set", name="picture", value="p1"))
    hear(held, "set", name="top", value=5)
    hear(held, "set", name="depth", value=1)
    hear(held, "set", name="top", value=99)
    assert "1 … 5" in (held.error or "")
    gate.open.set()
    held.wait()
    assert (held.picture, held.top, held.depth) == ("p1", 5, 1)
    assert_agrees(held)
    assert "1 … 5" in (held.error or "")  # the answer was about something else
    assert held.head.status["state"] == "error"
    held.top = 2
    assert held.wait().error is None
    assert_agrees(held)


def test_a_mistake_is_said_beside_the_work_and_can_be_dismissed(held: TreeExplorer, gate: Gate) -> None:
    begin(gate, lambda: hear(held, "set", name="picture", value="p1"))
    hear(held, "do", what="explode")
    status = held.head.status
    assert status["state"] == "working"
    assert "unknown act" in status["problem"]["text"]
    hear(held, "dismiss")
    assert held.error is None
    assert held.head.status["state"] == "working"  # which still goes on
    gate.open.set()
    held.wait()
    assert held.head.status == {"state": "idle"}
    assert_agrees(held)


def test_every_setting_of_an_answer_is_taken_over(held: TreeExplorer) -> None:
    with held._muted():
        held.top, held.depth, held.conditional, held.sign, held.merge = 5, 1, True, "against", False
    held.select(0)  # nothing was asked for but this; the answer says all
    held._submit(held._now().want)
    held.wait()
    assert_agrees(held)
