"""FailureExplorer when things change under it: another data set, other weights, and what failed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import camwidgets
from camwidgets import FailureExplorer
from camwidgets.investigate import Edit, Edits, blame
from tests.test_failure_explorer import SPOT, Waits, case, hear, opened
from tests.test_failures import BLUE, DATA, GREEN, RED, YELLOW, flat, net


@pytest.fixture
def explorer() -> Iterator[FailureExplorer]:
    made = FailureExplorer(net(), DATA).wait()
    yield made
    made.close()


# ---------------------------------------------------------------------------------------------- another data set


def test_a_picture_that_was_opened_while_another_data_set_is_looked_through_is_put_away() -> None:
    one = [(flat(RED, YELLOW), "red")] * 3
    other = Waits([(flat(GREEN, YELLOW), "green")] * 3, at=0)
    other.then = lambda: None  # nothing but the wait
    made = FailureExplorer(net(), one).wait()
    made._look_at(other)
    made.choose(1)
    assert made._workers["case"].wait(60)  # of the table that is still on screen
    assert tuple(np.frombuffer(made._picture, np.uint8)[:3]) == RED
    made.edit(Edit("paint", SPOT, {"colour": BLUE}))
    other.ready.set()
    made.wait()
    assert (made.chosen, made._case, bytes(made._picture), made._cases) == (None, {}, b"", [])
    opened(made, 1)
    assert tuple(np.frombuffer(made._picture, np.uint8)[:3]) == GREEN
    assert made.steps == ["the picture as it was"]
    made.run().wait()  # the same data set again: what is open stays
    assert made.chosen == 1
    made.close()


# ---------------------------------------------------------------------------------------------- other weights


def trained(module: nn.Module) -> None:
    with torch.no_grad():
        for weight in module.parameters():
            weight.mul_(0.7)


def test_before_and_after_are_of_the_same_weights(explorer: FailureExplorer) -> None:
    classifier = opened(explorer).classifier
    explorer.edit(Edit("paint", SPOT, {"colour": BLUE})).undo().wait()
    assert not explorer._case["stale"]
    trained(classifier.module)
    explorer.edit(Edit("paint", SPOT, {"colour": RED})).wait()
    wanted = Edits(classifier, DATA[1][0]).paint(SPOT, RED)
    p, q = wanted.effect(0).logits.softmax(0), wanted.effect().logits.softmax(0)
    for bar in explorer._effect["bars"]:
        assert (bar["before"], bar["after"]) == pytest.approx((float(p[bar["index"]]), float(q[bar["index"]])))
    assert explorer._case["stale"]  # its headline is the table's
    deepest = next(reversed(classifier.stages))
    assert explorer.blame[deepest][0] == blame(classifier, DATA[1][0], "blue", "red")[deepest][0]
    assert explorer.diff is not None
    assert explorer.diff.before.made_by["weights_sha256"] == classifier.weights_hash()
    assert explorer._trees["state"] == "done"


def test_what_was_undone_can_be_redone_with_other_weights(explorer: FailureExplorer) -> None:
    classifier = opened(explorer).classifier
    explorer.edit(Edit("paint", SPOT, {"colour": BLUE})).edit(Edit("blur", SPOT, {"sigma": 2.0})).undo().wait()
    trained(classifier.module)
    explorer.redo().wait()
    assert len(explorer.steps) == 3
    assert explorer.effect is not None
    wanted = Edits(classifier, DATA[1][0]).paint(SPOT, BLUE).blur(SPOT, 2.0).effect()
    assert torch.equal(explorer.effect.logits, wanted.logits)


# ---------------------------------------------------------------------------------------------- what failed once


@pytest.mark.parametrize(
    "again",
    [
        lambda e: e.choose(1),
        lambda e: setattr(e, "chosen", 1),
        lambda e: e.set_state({"chosen": 1}),
        lambda e: hear(e, "retry"),
    ],
)
def test_a_picture_that_could_not_be_opened_once_is_tried_again(
    explorer: FailureExplorer, again: Callable[[FailureExplorer], Any]
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("no memory today")

    fails = explorer.classifier.module.register_forward_pre_hook(broken)
    explorer.choose(1).wait()
    assert "no memory" in (explorer.error or "")
    assert explorer._case["state"] == "failed"
    fails.remove()
    again(explorer)
    explorer.wait()
    assert explorer.error is None
    assert explorer._case["state"] == "done"
    before = case(explorer)
    again(explorer)  # it is open: nothing is made again
    assert case(explorer.wait()) is before


@pytest.mark.parametrize(
    "channel", [["S1", "x"], ["S1"], [None, None], ["S1", True], ["S1", 1.5], [1, 1], ["S1", 1, 2]]
)
def test_a_channel_that_is_none_is_told(explorer: FailureExplorer, channel: list[Any]) -> None:
    opened(explorer)
    explorer.set_state({"channel": channel})
    assert "a channel is [stage, number], or []" in (explorer.wait().error or "")
    assert explorer.channel == []
    with pytest.raises(ValueError, match="a channel is"):
        explorer.channel = channel
    explorer.channel = [explorer.stage, np.int64(3)]
    assert explorer.wait()._channel["channel"] == 3


def test_a_network_of_one_class_has_nothing_to_be_taken_for() -> None:
    class One(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.conv(x).relu().mean((2, 3)))

    made = FailureExplorer(camwidgets.wrap(One().eval(), net().preprocessing, ["one"], input_size=16), [(flat(RED), 0)])
    made.wait().choose(0).wait()
    assert "one class only" in (made.error or "")
    assert "one class only" in made._case["text"]
    made.close()


def test_a_prediction_that_failed_is_not_awaited_for_ever(
    explorer: FailureExplorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(explorer)

    def fails(*_: Any) -> Any:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr("camwidgets.widgets.failure.work.effect_words", fails)
        explorer.edit(Edit("paint", SPOT, {"colour": BLUE})).wait()
    assert (explorer._effect["state"], explorer.error) == ("failed", "out of memory")
    explorer.undo().redo().wait()
    assert explorer._effect["state"] not in ("failed", "working")
    assert explorer.error is None
