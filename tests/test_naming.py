"""Names of channels: golden overlaps by hand, what a name needs, and whether a name says what removal does."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import camwidgets
from camwidgets import Classifier, Decomposition, wrap
from camwidgets.datasets.toyworld import CLASS_PARTS, CLASSES, ToyWorld
from camwidgets.decomposition.ablation import without
from camwidgets.decomposition.dissection import dissect
from camwidgets.decomposition.naming import SHIPPED, Dissection, shipped
from tests.nets import state


class Colours(nn.Module):
    """Channel 0 = red, 1 = green, 2 = brightness, 3 = never."""

    def __init__(self) -> None:
        super().__init__()
        self.see, self.relu = nn.Conv2d(3, 4, 1, bias=False), nn.ReLU()
        self.more, self.act = nn.Conv2d(4, 2, 2, stride=2), nn.ReLU()
        self.head = nn.Linear(2, 2)
        weights = torch.tensor([[1.0, 0, 0], [0, 1, 0], [1, 1, 1], [-1, -1, -1]])
        with torch.no_grad():
            self.see.weight.copy_(weights[..., None, None])

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.more(self.relu(self.see(x)))).mean((2, 3)))


def unit(image: Any) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


@pytest.fixture
def classifier() -> Classifier:
    torch.manual_seed(0)
    return wrap(Colours().eval(), unit, input_size=16, name="colours")


def scene(red: tuple[int, int] | None) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """16×16 grey; a 4×4 square of red at (row, column), and a mask of it that is one column too wide."""
    picture, mask = np.full((16, 16, 3), 51, np.uint8), np.zeros((16, 16), bool)
    if red is not None:
        y, x = red
        picture[y : y + 4, x : x + 4] = (255, 0, 0)
        mask[y : y + 4, x : x + 5] = True
    return picture, {"square": mask}


def test_overlap_and_selectivity_by_hand(classifier: Classifier) -> None:
    data = [scene((4, 4)), scene((8, 0)), scene(None), scene(None)]
    before = state(classifier.module)
    found = dissect(classifier, data, "S1", quantiles=[0.9, 0.95])
    assert state(classifier.module) == before
    red, green, bright, never = found.ranked["relu"]
    # 32 of 1024 positions are red; of two pictures' masks (20 each) they fill 16: IoU 32/40. The other cut is equal.
    assert red[0].concept == "square"
    assert red[0].iou == pytest.approx(32 / 40)
    # Red is 1 on 16 and 0.2 on 240 positions of a picture with the square, 0.2 everywhere in one without.
    with_square, without_square = (16 + 0.2 * 240) / 256, 0.2
    wanted = (with_square - without_square) / (with_square + without_square)
    assert red[0].selectivity == pytest.approx(wanted, rel=1e-5)
    assert green == ()  # never above its quantile where the square is
    assert bright[0].iou == pytest.approx(32 / 40)
    assert bright[0].selectivity < red[0].selectivity
    assert never == ()


def test_a_name_needs_overlap_and_selectivity(classifier: Classifier) -> None:
    found = dissect(classifier, [scene((4, 4)), scene((8, 0)), scene(None)], "S1")
    best = found.best("relu", 0)
    assert best is not None
    assert best.selectivity < 0.5  # it answers to everything
    assert found.name("relu", 0) is None
    easier = Dissection(**{**vars(found), "least_selectivity": 0.0})
    assert easier.name("relu", 0) == best
    assert str(best) == f"square {best.iou:.2f} IoU"
    assert easier.called("square")[0] == ("relu", 0)
    assert Dissection(**{**vars(found), "least_iou": 0.99, "least_selectivity": 0.0}).called("square") == []
    with pytest.raises(ValueError, match="did you mean 'square'"):
        found.called("sqare")


def test_saved_names_come_back(classifier: Classifier, tmp_path: Path) -> None:
    found = dissect(classifier, [scene((4, 4)), scene(None)])
    again = Dissection.load(found.save(tmp_path / "names.json"))
    assert again.called("square") == found.called("square")
    assert list(again.ranked) == [str(tap) for tap in classifier.stages.values()]
    assert again.to_json() == found.to_json()
    content = json.loads((tmp_path / "names.json").read_text("utf-8"))
    with pytest.raises(ValueError, match="format 9"):
        Dissection.load({**content, "format": 9})


@pytest.mark.parametrize(
    ("data", "options", "says"),
    [
        ([], {}, "no picture was given"),
        ([(scene(None)[0], {})], {}, "none of the pictures has a mask"),
        ([scene((4, 4))], {"quantiles": [1.5]}, "between 0 and 1"),
        ([(scene(None)[0], {"square": np.ones((4, 4), bool)})], {}, "the mask 'square' is"),
        ([scene((4, 4))], {"taps": "S9"}, "unknown tap"),
    ],
)
def test_refusals(classifier: Classifier, data: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        dissect(classifier, data, **options)


def test_progress_ends_at_the_number_of_pictures(classifier: Classifier) -> None:
    told: list[tuple[int, int]] = []
    dissect(classifier, [scene((4, 4))] * 20, "S1", progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (20, 20)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


# ---------------------------------------------------------------------------------------------- the toy networks


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_names_belong_to_the_shipped_weights(name: str) -> None:
    """`python -m camwidgets.decomposition.dissection` after `make toy-model`, if this fails."""
    classifier = camwidgets.load(name)
    names = shipped(classifier)
    assert names is not None
    assert names.weights_sha256 == classifier.weights_hash()
    fresh = dissect(classifier, ToyWorld(seed=501, n=60, context_strength=0.0), "S4")
    tap = str(classifier.stages["S4"])
    both = [(names.name(tap, k), fresh.name(tap, k)) for k in range(classifier.stages["S4"].channels)]
    same = [a.concept == b.concept for a, b in both if a is not None and b is not None]
    assert len(same) > 30
    assert np.mean(same) > 0.8  # over a fifth of the scenes


def test_other_weights_have_no_names() -> None:
    classifier = camwidgets.load("toy")
    with torch.no_grad():
        next(classifier.module.parameters()).mul_(1.01)
    assert shipped(classifier) is None
    tree = camwidgets.decompose(classifier, ToyWorld(seed=1, n=1)[0].image, depth=1)
    names = shipped(camwidgets.load("toy"))
    assert names is not None
    with pytest.raises(ValueError, match="dissect it first"):
        tree.named(names)


def test_the_shortcut_learner_s_channels_are_called_after_contexts() -> None:
    """The honest network's deepest channels are objects; those of the one that was misled are mostly surroundings."""
    from camwidgets.datasets.toyworld import CONTEXTS

    shares = {}
    for name in SHIPPED:
        classifier = camwidgets.load(name)
        names = shipped(classifier)
        assert names is not None
        tap = str(classifier.stages["S5"])
        given = [n.concept for k in range(128) if (n := names.name(tap, k)) is not None]
        shares[name] = float(np.mean([concept in CONTEXTS for concept in given]))
    assert shares["toy"] == 0.0
    assert shares["toy-shortcut"] > 0.7


def test_trees_carry_names_and_keep_them(tmp_path: Path) -> None:
    classifier = camwidgets.load("toy")
    names = shipped(classifier)
    assert names is not None
    train = ToyWorld(seed=4, n=10, classes=["train"])[0]
    tree = camwidgets.decompose(classifier, train.image, "train", depth=1).named(names)
    tree.expand(1)
    below = tree.children(1)
    assert {node.concept for node in below} & {"wheel", "train"}
    assert all(math.isnan(node.iou) == (node.concept == "") for node in tree.nodes.values())
    assert tree.root.concept == ""
    assert tree.to_networkx().nodes[1]["concept"] == tree.node(1).concept == "train"
    assert tree.to_frame().loc[1, "iou"] == names.name(tree.node(1).tap, tree.node(1).channel).iou  # type: ignore[union-attr]
    again = Decomposition.load(tree.save(tmp_path / "tree"), classifier)
    assert again.to_frame().equals(tree.to_frame())
    assert all(node.concept for node in again.expand(2) if names.name(node.tap, node.channel))
    assert any(node.concept for node in again.children(2))


def test_what_a_tree_calls_wheel_carries_the_classes_with_wheels() -> None:
    """Removed everywhere, those channels lower the scores of car, bus and train, and of no other class."""
    classifier = camwidgets.load("toy")
    names = shipped(classifier)
    assert names is not None
    wheeled = [name for name in CLASSES if "wheel" in CLASS_PARTS[name]]
    assert wheeled == ["car", "bus", "train"]
    called: Counter[tuple[str, int]] = Counter()
    for name in wheeled:
        for one in ToyWorld(seed=31, n=6, classes=[name], context_strength=0.0):
            tree = camwidgets.decompose(classifier, one.image, name, depth=2).named(names)
            called.update((n.stage, n.channel) for n in tree.nodes.values() if n.concept == "wheel")
    assert called

    held_out = list(ToyWorld(seed=32, n=200, context_strength=0.0))
    x = torch.cat([classifier.preprocess(one.image) for one in held_out])
    fills: dict[Any, dict[int, float]] = {}
    for stage, channel in called:
        fills.setdefault(classifier.tap(stage), {})[channel] = 0.0
    main = torch.tensor([one.main for one in held_out])
    change = (without(classifier, x, fills) - without(classifier, x, {}))[torch.arange(len(x)), main]
    mean = {name: float(change[main == i].mean()) for i, name in enumerate(CLASSES)}
    print({name: round(value, 2) for name, value in mean.items()})
    assert mean["train"] < -1.5
    assert mean["car"] < -0.3
    assert mean["bus"] < -0.05  # a bus is recognised by its windows; its wheels are small
    others = [name for name in CLASSES if name not in wheeled]
    assert min(mean[name] for name in others) > -0.02
    fell = {name: float((change[main == i] < -0.05).float().mean()) for i, name in enumerate(CLASSES)}
    assert min(fell[name] for name in wheeled) >= 0.6
    assert max(fell[name] for name in others) <= 0.05
