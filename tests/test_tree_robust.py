"""TreeExplorer when things come at a bad moment: what is asked and what is shown agree as soon as nothing runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import camwidgets
from camwidgets import TreeExplorer
from camwidgets.decomposition.ablation import ablate
from camwidgets.widgets.tree.work import TreeMaker
from tests.explorer_nets import LABELS, Gate, photo, small, small_module

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
    status: dict[str, Any] = held.head.status
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


# ---------------------------------------------------------------------------------------------- what changes under it


def trained(module: nn.Module) -> None:
    """A step that writes to the weights in place."""
    with torch.no_grad():
        for weight in module.parameters():
            weight.mul_(1.2)


def test_weights_that_change_between_two_requests_are_noticed() -> None:
    classifier = small()
    explorer = TreeExplorer(classifier, photo(1)).wait()
    before = explorer.tree
    trained(classifier.module)
    explorer.remove(1)
    after = explorer.wait().tree  # taken apart anew: what was clicked is no node of this one
    assert explorer.error is None
    assert after is not before
    assert after.made_by["weights_sha256"] == classifier.weights_hash()
    assert explorer.removed == ()
    assert "weights have changed" in explorer.head.state["drawn"]
    explorer.remove(1)
    assert explorer.ablation is not None
    assert explorer.ablation.real == pytest.approx(ablate(camwidgets.decompose(classifier, photo(1), depth=2), 1).real)
    assert "weights" not in explorer.head.state["drawn"]
    trained(classifier.module)
    for target in (0, 1):  # the recorded graph is of weights that are gone
        explorer.target = target
        assert explorer.wait().error is None
        assert explorer.tree.score == pytest.approx(camwidgets.decompose(classifier, photo(1), target).score)
    explorer.close()


def test_a_page_is_of_the_weights_that_its_tree_is_of() -> None:
    classifier = small()
    explorer = TreeExplorer(classifier, photo(1)).wait()
    trained(classifier.module)
    with pytest.raises(ValueError, match="weights have changed since this tree was made"):
        explorer.export_html()
    explorer.show(explorer.pictures[explorer.picture].image, explorer.picture)
    assert explorer.export_html().startswith("<!doctype html>")
    explorer.close()


def test_another_picture_of_the_same_name_is_shown(held: TreeExplorer) -> None:
    held.select(1)
    held.wait().show(photo(7), "p0")
    np.testing.assert_array_equal(held.wait().tree.picture, camwidgets.decompose(small(), photo(7)).picture)
    assert_agrees(held)
    held.picture = "p1"
    held.wait().picture = "p0"
    assert_agrees(held.wait())


def test_a_file_that_was_written_again_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    Image.fromarray(photo(1)).save(path)
    explorer = TreeExplorer(small(), path).wait()
    Image.fromarray(photo(2, (90, 121))).save(path)
    explorer.select(1)
    wanted = camwidgets.decompose(small(), photo(2, (90, 121)))
    np.testing.assert_array_equal(explorer.wait().tree.picture, wanted.picture)
    assert "the picture has changed" in explorer.head.state["drawn"]
    path.unlink()  # what was read of it is there
    explorer.target = 0
    assert explorer.wait().error is None
    Image.fromarray(photo(1)).save(path)
    explorer.show(path)
    wanted = camwidgets.decompose(small(), photo(1))
    np.testing.assert_array_equal(explorer.wait().tree.picture, wanted.picture)
    explorer.close()


def test_a_click_on_a_tree_that_is_being_replaced_is_not_one_on_the_next(held: TreeExplorer, gate: Gate) -> None:
    begin(gate, lambda: setattr(held, "picture", "p1"))
    held.top = 1
    held.remove(3)  # on screen is still the tree with three children a node
    gate.open.set()
    assert held.wait().error is None
    assert (held.top, held.removed) == (1, ())
    assert_agrees(held)


# ---------------------------------------------------------------------------------------------- asked together, again


@pytest.mark.parametrize("first", ["picture", "target"])
def test_a_picture_and_a_class_that_are_set_together(held: TreeExplorer, first: str) -> None:
    values = {"picture": "p2", "target": "owl"}
    with held.hold_trait_notifications():
        for name in (first, *(values.keys() - {first})):
            setattr(held, name, values[name])
    assert held.wait().tree.label == "owl"
    assert held.picture == "p2"
    assert_agrees(held)
    held.picture = "p1"  # alone: the top class of that picture
    assert held.wait().target == small().predict(photo(1))[0].index


def test_after_cancel_the_same_can_be_asked_again(held: TreeExplorer, gate: Gate) -> None:
    begin(gate, lambda: hear(held, "set", name="picture", value="p2"))
    hear(held, "cancel")
    assert held.head.status == {"state": "idle"}
    assert held.picture == "p0"
    assert_agrees(held)
    gate.open.set()
    hear(held, "set", name="picture", value="p2")
    assert held.wait().picture == "p2"
    assert_agrees(held)


class Fails(nn.Module):
    """A network that raises while `why` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.why = small_module(), "no memory today"

    def forward(self, x: Tensor) -> Any:
        if self.why:
            raise RuntimeError(self.why)
        return self.body(x)


@pytest.mark.parametrize(
    "again",
    [
        lambda e: setattr(e, "picture", "p0"),
        lambda e: hear(e, "set", name="picture", value="p0"),
        lambda e: e.show(photo(0), "p0"),
        lambda e: setattr(e, "top", 2),
    ],
)
def test_a_first_request_that_failed_can_be_asked_again(again: Callable[[TreeExplorer], Any]) -> None:
    module = Fails()
    module.why = ""
    classifier = camwidgets.wrap(module.eval(), input_size=64, labels=LABELS)
    assert classifier.stages
    module.why = "no memory today"
    explorer = TreeExplorer(classifier, pictures={"p0": photo(0)}).wait()
    assert "no memory" in (explorer.error or "")
    module.why = ""
    again(explorer)
    assert explorer.wait().error is None
    assert_agrees(explorer)
    explorer.close()


def test_what_an_interrupt_left_is_mended_by_asking_again(held: TreeExplorer, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(held, "_submit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        held.picture = "p3"
    monkeypatch.undo()
    assert (held.picture, held._now().want.picture) == ("p3", "p0")
    held.picture = "p3"
    held.wait()
    assert held._now().want.picture == "p3"
    assert_agrees(held)


# ---------------------------------------------------------------------------------------------- beside the tree


def test_a_click_does_not_lose_the_file_that_is_being_written(
    held: TreeExplorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[dict[str, Any]] = []
    begun, go_on = threading.Event(), threading.Event()
    whole = TreeMaker.full

    def slowly(self: TreeMaker, *args: Any) -> Any:
        begun.set()
        assert go_on.wait(60)
        return whole(self, *args)

    monkeypatch.setattr(TreeMaker, "full", slowly)
    monkeypatch.setattr(held.head, "send", lambda content, buffers=None: sent.append(content))
    label = held.tree.label
    hear(held, "save", what="html")
    assert begun.wait(60)
    hear(held, "save", what="svg")
    held.select(1)
    held.target = "owl"
    assert held._worker.wait(60)
    assert held._now().tree.label == "owl"
    assert held.head.status["state"] == "working"  # the file
    go_on.set()
    held.wait()
    name = f"why-{label.replace(' ', '_')}"
    assert [one["name"] for one in sent] == [f"{name}.html", f"{name}.svg"]  # of what was on screen
    assert held.head.status == {"state": "idle"}
    hear(held, "save", what="doc")
    assert "unknown file" in (held.error or "")


def test_a_file_can_be_broken_off(held: TreeExplorer, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, Any]] = []
    begun, go_on = threading.Event(), threading.Event()

    def never(self: TreeMaker, shown: Any, tell: Any) -> Any:
        begun.set()
        assert go_on.wait(60)
        tell("nobody listens")
        raise AssertionError("it was broken off")

    monkeypatch.setattr(TreeMaker, "full", never)
    monkeypatch.setattr(held.head, "send", lambda content, buffers=None: sent.append(content))
    hear(held, "save", what="html")
    assert begun.wait(60)
    hear(held, "cancel")
    assert held.head.status == {"state": "idle"}
    go_on.set()
    hear(held, "save", what="svg")
    assert held.wait().error is None
    assert [one["name"].rpartition(".")[2] for one in sent] == ["svg"]


def test_taking_the_second_class_away_waits_for_nobody(held: TreeExplorer, gate: Gate) -> None:
    begin(gate, lambda: setattr(held, "beside", "owl"))
    second = held._second
    assert second is not None
    held.beside = None
    thread = second._worker._thread
    assert thread is not None
    assert thread.is_alive()  # in the middle of its pass still
    assert len(held.children) == 2
    gate.open.set()
    thread.join(60)
    assert not thread.is_alive()
    assert second._maker._recorded is None
    held.select(1)
    assert_agrees(held.wait())
