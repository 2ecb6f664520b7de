"""Context: the planted shortcut is found, none is found where there is none, and both measures by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import camwidgets
from camwidgets import Classifier, wrap
from camwidgets.classifiers.preprocessing import Preprocessing
from camwidgets.datasets.toyworld import HOME, Scene, ToyWorld
from camwidgets.figures.investigate import context_figure, reliance_figure
from camwidgets.investigate import Reliance, context_evidence, context_reliance
from camwidgets.investigate.context import OBJECT
from camwidgets.investigate.scenery import Stage, contexts_of, object_of, seen
from tests.nets import state

SCENES = ToyWorld(seed=31, n=60)


@pytest.fixture(scope="module")
def shortcut() -> Reliance:
    return context_reliance(camwidgets.load("toy-shortcut"), SCENES)


@pytest.fixture(scope="module")
def plain() -> Reliance:
    return context_reliance(camwidgets.load("toy"), SCENES)


def test_the_planted_context_is_named_for_nine_classes_of_ten(shortcut: Reliance) -> None:
    assert sum(shortcut.shortcuts.get(label) == home for label, home in HOME.items()) >= 9
    assert all(one.drop > 0.3 for one in shortcut.leanings if one.shortcut)


def test_the_plain_net_has_no_shortcut(plain: Reliance) -> None:
    assert plain.shortcuts == {}
    assert max(one.score for one in plain.leanings) < 0.1
    assert str(plain) == "0 of 10 classes are told by their surroundings"


def test_it_can_be_read(shortcut: Reliance) -> None:
    table = shortcut.to_frame()
    assert table.loc["boat", "shortcut"] == "water"
    highest = dict(table[list(shortcut.contexts)].idxmax(axis=1))
    assert str(highest["boat"]) == "water"
    assert shortcut["boat"].shortcut == "water"
    with pytest.raises(ValueError, match="unknown class 'ship'; valid: cat"):
        shortcut["ship"]
    assert len(reliance_figure(shortcut).data) == 2


# -------------------------------------------------------------------------------------------------------- by hand


class Sum(nn.Module):
    """Two logits over 4×4 pictures: mean red and mean green; the maps are the picture's own channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1, bias=False)
        self.act = nn.ReLU()
        self.fc = nn.Linear(3, 2, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.eye(3)[..., None, None])
            self.fc.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1, 0]]))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.act(self.conv(x)).mean((2, 3)))


@dataclass
class Thing:
    """A 16×16 picture: the object is its upper half, the surroundings (one name) its lower."""

    image: np.ndarray
    label: int
    around: str

    def mask(self) -> np.ndarray:
        return np.repeat(np.arange(16) < 8, 16).reshape(16, 16)

    def context(self) -> dict[str, np.ndarray]:
        return {self.around: ~self.mask()}


def thing(label: int, up: tuple[int, int], around: str, down: tuple[int, int]) -> Thing:
    """Red and green (up, down) of the object and of the surroundings."""
    image = np.zeros((16, 16, 3), np.uint8)
    image[:8, :, :2], image[8:, :, :2] = up, down
    return Thing(image, label, around)


def net() -> Classifier:
    rule = Preprocessing((16, 16), 16, "squash", (0.0,) * 3, (1.0,) * 3, "nearest")
    return wrap(Sum().eval(), rule, ["red", "green"], name="sum", input_size=16)


#: Objects red 200 or green 100; surroundings "warm" (red 100) and "cold" (green 40).
THINGS = [thing(0, (200, 0), "warm", (100, 0)), thing(1, (0, 100), "cold", (0, 40))]


def test_shares_of_variance_by_hand() -> None:
    classifier = net()
    before = state(classifier.module)
    found = context_reliance(classifier, THINGS)
    assert state(classifier.module) == before
    assert found.contexts == ("cold", "warm")
    # Red: objects give 100 or 0, contexts 0 or 50 (all over 255): a sum, so the two shares are all of the variance.
    expected = torch.tensor([[[100.0, 20], [150, 0]], [[0, 70], [50, 50]]]) / 255
    assert torch.allclose(found.logits.float(), expected, atol=1e-6)
    red, green = found.leanings
    assert (red.context_share, red.object_share) == pytest.approx((50**2 / (50**2 + 100**2), 100**2 / (50**2 + 100**2)))
    assert (green.context_share, green.object_share) == pytest.approx((20**2 / 2900, 50**2 / 2900))
    assert (red.context, green.context) == ("warm", "cold")
    assert red.shortcut is None
    assert red.score == pytest.approx(0.2)
    p = expected.softmax(-1)[0, :, 0]
    assert red.drop == pytest.approx(float(p[1] - p[0]), abs=1e-6)


def test_where_the_channels_look_by_hand() -> None:
    table = context_evidence(net(), THINGS, depth=1, top=1)
    assert table.contexts == ("cold", "warm", OBJECT)
    assert table.pictures == (1, 1)
    # Red: 200 on the object, 100 around: half the maximum counts in, so the region is the whole picture.
    assert table.mass[0] == pytest.approx([0, 1 / 3, 2 / 3])
    assert table.iou[0, 1:] == pytest.approx([0.5, 0.5])
    assert np.isnan(table.iou[0, 0])
    # Green: 100 on the object, 40 around: the region is the object.
    assert table.mass[1] == pytest.approx([2 / 7, 0, 5 / 7])
    assert table.iou[1, [0, 2]] == pytest.approx([0, 1])
    assert table.assigned[1] == pytest.approx([0, 0, 1])
    assert table.on_context == pytest.approx({"red": 1 / 3, "green": 2 / 7})
    assert list(table.to_frame("mass").columns) == list(table.contexts)
    for what in ("assigned", "iou", "mass"):
        assert len(context_figure(table, what).data) == 1
    with pytest.raises(ValueError, match="unknown table 'sum'"):
        table.to_frame("sum")


def test_the_shortcut_learner_looks_around_more_than_the_plain_net() -> None:
    scenes = ToyWorld(seed=12, n=30, context_strength=1.0)
    on = [context_evidence(camwidgets.load(name), scenes).on_context for name in ("toy-shortcut", "toy")]
    assert np.mean(list(on[0].values())) > 0.15 + np.mean(list(on[1].values()))


# ------------------------------------------------------------------------------------------- objects moved elsewhere


class Listed(list[Scene]):
    """Scenes as any data set hands them over: that they could be painted again is not known."""


def test_objects_cut_out_find_the_shortcut_too() -> None:
    scenes = Listed(ToyWorld(seed=14, n=40, context_strength=1.0))
    found = context_reliance(camwidgets.load("toy-shortcut"), scenes)
    named = [found.shortcuts.get(label) == home for label, home in HOME.items()]
    assert sum(named) >= 7
    assert len(context_reliance(camwidgets.load("toy"), scenes).shortcuts) <= 2


def test_an_object_moved_is_the_object_before_the_other_context() -> None:
    classifier = net()
    stage = Stage(classifier, THINGS)
    moved = stage.picture(0, "cold")
    assert np.array_equal(moved[:8], THINGS[0].image[:8])
    assert (moved[8:] == THINGS[1].image[8]).all()
    assert np.array_equal(stage.picture(0, "warm"), THINGS[0].image)


def test_masks_go_the_way_of_the_picture() -> None:
    rule = Preprocessing((16, 16), 20, "crop", (0.0,) * 3, (1.0,) * 3, "nearest")
    classifier = wrap(Sum().eval(), rule, input_size=16)
    mask = np.zeros((40, 60), bool)
    mask[:20] = True  # resized to 20×30, then 16×16 of the middle: rows 2 … 17, the upper eight of them inside
    assert seen(classifier, mask)[:8].all()
    assert not seen(classifier, mask)[8:].any()
    own = wrap(Sum().eval(), rule.__call__, input_size=16)
    with pytest.raises(ValueError, match="does not say how it crops"):
        seen(own, mask)
    assert seen(own, np.eye(16, dtype=bool)).sum() == 16


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ([(THINGS[0].image, 0)], TypeError, "knows no masks of its surroundings"),
        (THINGS[:1], ValueError, "at least two contexts are needed"),
        ([THINGS[0], thing(0, (9, 9), "cold", (0, 40))], ValueError, "objects of two classes"),
        ([], ValueError, "empty data set"),
    ],
)
def test_bad_data(data: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        context_reliance(net(), data)


def test_items_without_masks() -> None:
    with pytest.raises(TypeError, match=r"has no mask\(\) of its object"):
        object_of(object())
    with pytest.raises(TypeError, match="knows no masks"):
        contexts_of(ToyWorld(seed=0, n=2))


def test_the_benchmark_prints_the_planted_contexts(capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks import context

    assert context.main(["--networks", "toy-shortcut", "--scenes", "20"]) == 0
    told = capsys.readouterr().out
    assert "the planted context is named for" in told
    assert all(home in told for home in HOME.values())
