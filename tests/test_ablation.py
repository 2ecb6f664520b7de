"""Removal: against the network written out by hand, at several taps, and in the user's own module as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import camwidgets
from camwidgets.decomposition.ablation import Ablation, ablate, without
from camwidgets.decomposition.fidelity import channel_means, true_changes
from camwidgets.decomposition.surrogates import surrogate
from camwidgets.decomposition.tree import decision_of
from tests.nets import Tutorial, picture, settled, small, state


class Golden(nn.Module):
    """Bias-free, all weights positive: 3 channels → 2 → 2 classes. Removal is linear, so prediction is exact."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.relu1 = nn.Conv2d(3, 2, 1, bias=False), nn.ReLU(inplace=True)
        self.pool = nn.AvgPool2d(2)
        self.conv2, self.relu2 = nn.Conv2d(2, 2, 1, bias=False), nn.ReLU(inplace=True)
        self.fc = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.conv1.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 2, 1]])[..., None, None])
            self.conv2.weight.copy_(torch.tensor([[1.0, 1], [0, 3]])[..., None, None])
            self.fc.weight.copy_(torch.tensor([[2.0, 1], [1, 0]]))

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu1(self.conv1(x)))
        return self.fc(self.relu2(self.conv2(x)).mean((2, 3)))


def golden() -> tuple[camwidgets.Classifier, Tensor]:
    x = torch.zeros((1, 3, 4, 4), dtype=torch.float64)
    x[:, 0], x[:, 1], x[:, 2] = 1.0, 0.5, 3.0
    module = Golden().double().eval()
    return camwidgets.wrap(module, input_size=4, labels=["yes", "no"], name="golden"), x


def test_golden_numbers() -> None:
    # By hand: S1 = (1, 2·0.5 + 3) = (1, 4); S2 = (1 + 4, 3·4) = (5, 12); yes = 2·5 + 12 = 22, no = 5.
    classifier, x = golden()
    tree = camwidgets.decompose(classifier, x, target="yes", top=2, merge=False)
    assert tree.score == pytest.approx(22, abs=1e-12)
    # Without S2 #1, yes loses 12; without S1 #1, S2 is (1, 0) and yes is 2.
    by_hand = {("S2", 0): -10.0, ("S2", 1): -12.0, ("S1", 0): -2.0, ("S1", 1): -20.0}
    for pair, change in by_hand.items():
        found = ablate(tree, pair)
        assert (found.real, found.predicted) == pytest.approx((change, change), abs=1e-9)
    both = ablate(tree, [("S2", 0), ("S1", 1)])  # S1 #1 gone: S2 = (1, 0); then #0 too: nothing is left
    assert both.score_after == pytest.approx(0, abs=1e-9)
    assert both.channels == {"S2": (0,), "S1": (1,)}
    assert both.predicted == pytest.approx(-30, abs=1e-9)  # first order counts what runs through both twice
    logits = torch.tensor([22.0, 5.0])
    assert found.probability == pytest.approx(float(logits.softmax(0)[0]))


def test_a_node_against_its_parent_s_decision() -> None:
    classifier, x = golden()
    tree = camwidgets.decompose(classifier, x, target="yes", top=2, merge=False)
    parent = next(n for n in tree.level("S2") if n.channel == 0)  # its decision is 1·1 + 1·4 = 5
    child = next(n for n in tree.children(parent) if n.channel == 1)
    (change,) = ablate(tree, child).changes
    assert change.value == pytest.approx(5)
    assert (change.decision, change.node) == ("S2 #0", child.id)
    assert (change.predicted, change.real) == pytest.approx((-4, -4), abs=1e-9)
    (of_class,) = ablate(tree, parent.id).changes
    assert of_class.decision == "yes"
    assert of_class.real == pytest.approx(-10)


def test_means_take_the_channel_s_place() -> None:
    classifier, x = golden()
    evidence = camwidgets.capture(classifier, x, "yes")
    means = {classifier.stages["S2"]: torch.tensor([2.0, 6.0])}
    found = ablate(evidence, ("S2", 1), "mean", means=means)
    assert (found.real, found.predicted) == pytest.approx((-6, -6), abs=1e-9)
    assert "data-set means" in str(found)
    kept = {tap: A.mean((0, 2, 3)) for tap, A in evidence.activations.items()}
    assert ablate(evidence, ("S1", 0), "mean", means=kept).real == pytest.approx(0, abs=1e-9)
    assert set(channel_means(classifier, [x])) == set(classifier.stages.values())


def test_the_same_as_one_channel_at_a_time() -> None:
    classifier, x = small(dtype=torch.float64), picture(dtype=torch.float64)
    tree = camwidgets.decompose(classifier, x, top=2, merge=False)
    assert tree.decomposer is not None
    lower = classifier.stages["S2"]
    truth = true_changes(tree.decomposer, None, None, lower, {})
    for k in range(lower.channels):
        assert ablate(tree, ("S2", k)).real == pytest.approx(-float(truth[k]), abs=1e-9)
    parent = tree.level("S2")[0]
    child = tree.children(parent)[0]
    truth = true_changes(tree.decomposer, decision_of(parent), lower, classifier.stages["S1"], {})
    (change,) = ablate(tree, child).changes
    assert change.real == pytest.approx(-float(truth[child.channel]), abs=1e-9)
    assert change.predicted == pytest.approx(-child.share * abs(parent.value), abs=1e-9)


def test_activation_functions_are_reached_too() -> None:
    module = settled(Tutorial()).eval()
    classifier, x = camwidgets.wrap(module, input_size=32, name="tutorial"), picture(side=32)
    stages = classifier.stages
    assert any(tap.function for tap in stages.values())
    deepest = list(stages)[-1]
    with torch.no_grad():
        one = F.max_pool2d(torch.relu(module.conv1(x)), 2)
        two = torch.relu(module.conv2(one))
        two[:, 3] = 0
        flat = torch.flatten(F.max_pool2d(two, 2), 1)
        by_hand = module.fc3(F.relu(module.fc2(F.relu(module.fc1(flat)))))
    torch.testing.assert_close(without(classifier, x, {stages[deepest]: {3: 0.0}}), by_hand)


class Plain(nn.Module):
    """Three convolutions and ReLU modules; what is derived from it says the same in other words."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.c1, self.c2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.c3, self.fc = nn.Conv2d(12, 16, 3, stride=2, padding=1), nn.Linear(16, 5)
        self.r1, self.r2, self.r3 = nn.ReLU(), nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.r3(self.c3(self.r2(self.c2(self.r1(self.c1(x)))))).mean((2, 3)))


class Statements(Plain):
    """Activation functions in place, what they return thrown away."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.c1(x)
        x.relu_()
        x = self.c2(x)
        F.relu(x, inplace=True)
        x = self.c3(x)
        F.relu_(x)
        return self.fc(x.mean((2, 3)))


class Modules(Plain):
    """One activation module in place, what it returns thrown away."""

    def __init__(self) -> None:
        super().__init__()
        self.r = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.c1(x)
        self.r(x)
        x = self.c2(x)
        self.r(x)
        x = self.c3(x)
        self.r(x)
        return self.fc(x.mean((2, 3)))


class Swish(Plain):
    """An activation written out, whose product alone is the tap."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.c2(F.relu(self.c1(x))))
        x = self.c3(x)
        return self.fc((x * torch.sigmoid(x)).mean((2, 3)))


@pytest.mark.parametrize("words", [Statements, Modules])
def test_activations_as_statements_are_the_same_network(words: type[Plain]) -> None:
    x = picture(side=96, dtype=torch.float64)
    trees = []
    for net in (Plain, words):
        classifier = camwidgets.wrap(net().double(), input_size=96)
        trees.append(camwidgets.decompose(classifier, x, target=1, merge=False, top=3))
    plain, other = trees
    assert len(other.nodes) == len(plain.nodes) > 9
    for i, node in plain.nodes.items():
        same = other.nodes[i]
        assert (same.channel, same.y, same.x) == (node.channel, node.y, node.x)
        assert (same.contribution, same.share) == pytest.approx((node.contribution, node.share), abs=1e-12)
        if node.parent is not None:
            found, one = ablate(other, i), ablate(plain, i)
            assert one.real != 0
            assert (found.real, found.predicted) == pytest.approx((one.real, one.predicted), abs=1e-12)
            assert found.changes[0].real == pytest.approx(one.changes[0].real, abs=1e-12)
    tables = [surrogate(tree.decomposer.classifier, [x], k=[1, 4]) for tree in trees if tree.decomposer]
    assert tables[1]["probability"].tolist() == pytest.approx(tables[0]["probability"].tolist(), abs=1e-12)


class Mnist(Plain):
    """The first CNN of many courses: the activation runs on the pooled map."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(F.max_pool2d(self.c1(x), 2))
        x = F.relu(F.max_pool2d(self.c2(x), 2))
        return self.fc(F.relu(F.dropout(self.c3(x), 0.5, self.training)).mean((2, 3)))


@pytest.mark.parametrize("net", [Mnist, Swish])
def test_activations_further_from_their_module_are_reached(net: type[Plain]) -> None:
    module, x = net().double().eval(), picture(side=96, dtype=torch.float64)
    classifier = camwidgets.wrap(module, input_size=96)
    tree = camwidgets.decompose(classifier, x, target=1, merge=False, top=3)
    evidence = tree.decomposer.evidence  # type: ignore[union-attr]
    deepest = list(classifier.stages.values())[-1]
    assert deepest.function
    kept = evidence.activations[deepest].clone()
    for node in tree.children(tree.root):
        kept[:, node.channel] = 0
    by_hand = module.fc(kept.mean((2, 3)))[0]
    found = ablate(tree, tree.children(tree.root))
    torch.testing.assert_close(found.logits, by_hand.detach(), rtol=0, atol=1e-12)
    assert found.real == pytest.approx(found.predicted, abs=1e-12)  # the head is linear in its maps
    for node in tree.level("S1")[:3]:
        ablate(tree, node)


def test_the_module_is_as_before() -> None:
    classifier, x = small(), picture()
    tree = camwidgets.decompose(classifier, x)
    before = state(classifier.module)
    ablate(tree, [n for n in tree.nodes.values() if n.parent is not None])
    assert state(classifier.module) == before


def test_path_conditioned_trees_have_no_parent_decision() -> None:
    tree = camwidgets.decompose(small(), picture(), conditional=True)
    child = tree.level("S1")[0]
    found = ablate(tree, child)
    assert isinstance(found, Ablation)
    assert found.changes == ()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda t: ablate(t, 0), "the root is the class itself"),
        (lambda t: ablate(t, 999), "no node 999"),
        (lambda t: ablate(t, ("S9", 0)), "unknown stage 'S9'"),
        (lambda t: ablate(t, ("S2", 6)), r"channels 0 … 5"),
        (lambda t: ablate(t, []), "nothing was named"),
        (lambda t: ablate(t, (1, 2)), r"\(1, 2\) is not a pair \(stage or tap, channel\).* list: \[1, 2\]"),
        (lambda t: ablate(t, cast(Any, ("S1", 0, 1))), r"is not a pair \(stage or tap, channel\)"),
        (lambda t: ablate(t, cast(Any, [("S1", 0), ()])), r"\(\) is not a pair"),
        (lambda t: ablate(t, cast(Any, ("S2", 1.0))), r"channel 1.0 is out of range"),
        (lambda t: ablate(t, 1, "blur"), "unknown removal"),
        (lambda t: ablate(t, 1, "mean"), "needs the channels' means"),
        (lambda t: ablate(t, ("S1", 0), "mean", means={"relu2": torch.zeros(6)}), "do not hold the tap"),
    ],
)
def test_refusals(call: Callable[[camwidgets.Decomposition], object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        call(camwidgets.decompose(small(), picture()))


def test_numpy_numbers_name_nodes_and_channels() -> None:
    tree = camwidgets.decompose(small(), picture(), merge=False)
    one, two = tree.level("S2")[0].id, tree.level("S2")[1].id
    assert ablate(tree, cast(Any, np.int64(one))).real == ablate(tree, one).real
    assert ablate(tree, np.array([one, two])).channels == ablate(tree, [one, two]).channels
    found = ablate(tree, cast(Any, ("S2", np.int64(3))))
    assert found.channels == {"S2": (3,)}
    assert type(found.channels["S2"][0]) is int


def test_a_node_needs_a_tree() -> None:
    with pytest.raises(TypeError, match="from a tree only"):
        ablate(camwidgets.capture(small(), picture()), 1)
