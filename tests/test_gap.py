"""gAP by hand, on every kind of network, and windows against the whole map."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import camwidgets
from camwidgets import Classifier, decompose, wrap
from camwidgets.decomposition import Decision, step
from camwidgets.decomposition.gap import Decomposer
from camwidgets.decomposition.segment import Segment, read_before
from camwidgets.decomposition.windows import windows
from camwidgets.evidence import capture


class ByHand(nn.Module):
    """Two 1×1 convolutions without bias on a 2×2 picture: every number below can be had with a pencil."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 2, 1, bias=False, dtype=torch.float64)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(1)
        self.two = nn.Conv2d(2, 2, 1, stride=2, bias=False, dtype=torch.float64)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(2, 2, bias=False, dtype=torch.float64)
        with torch.no_grad():
            self.one.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 2.0, 0]])[:, :, None, None])
            self.two.weight.copy_(torch.tensor([[3.0, 1.0], [-1.0, 2.0]])[:, :, None, None])
            self.head.weight.copy_(torch.tensor([[1.0, 2.0], [0.5, -1.0]]))

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.two(self.relu(self.one(x))))
        return self.head(x.mean((2, 3)))


def net_by_hand() -> tuple[Classifier, Tensor]:
    x = torch.zeros(1, 3, 8, 8, dtype=torch.float64)
    x[0, 0] = 1.0  # red: channel 0 of `one` is 1 everywhere
    x[0, 1, 0, 0] = 2.0  # green at one place: channel 1 of `one` is 4 there
    return wrap(ByHand(), input_size=8, labels=["a", "b"]), x


class Deep(nn.Module):
    """A bias-free ReLU network of three stages; `clip` puts ReLU6 in, `skip` a skip connection around stage 2."""

    def __init__(self, activation: type[nn.Module] = nn.ReLU, skip: bool = False, bias: bool = False) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.a = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, bias=bias), activation())
        self.b = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1, bias=bias), activation())
        self.c = nn.Sequential(nn.Conv2d(8, 10, 3, stride=2, padding=1, bias=bias), activation())
        self.around = nn.Conv2d(6, 10, 1, stride=4, bias=False) if skip else None
        self.head = nn.Linear(10, 4, bias=bias)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        a = self.a(x)
        c = self.c(self.b(a))
        if self.around is not None:
            c = torch.relu(c + self.around(a))
        return self.head(c.mean((2, 3)))


def deep(**options: Any) -> tuple[Classifier, Tensor]:
    classifier = wrap(Deep(**options).eval(), input_size=64, name="deep")
    return classifier, torch.rand(1, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


def amplify(classifier: Classifier) -> None:
    """Weights large enough for ReLU6 to saturate in every stage."""
    with torch.no_grad():
        for parameter in classifier.module.parameters():
            parameter.mul_(12)


def test_a_decision_taken_apart_with_a_pencil() -> None:
    classifier, x = net_by_hand()
    evidence = capture(classifier, x, target=0)
    found = step(evidence, None, "S2")
    # act: channel 0 is 3·1 (+ 1·4 at the corner), channel 1 is 2·4 − 1 at the corner and 0 elsewhere; 16 positions.
    first, second = (15 * 3 + 7) / 16, 7 / 16
    assert found.value == pytest.approx(first + 2 * second, abs=1e-12)
    assert found.alpha.tolist() == pytest.approx([first / 16, 2 * second / 16], abs=1e-12)
    assert found.share.sum().item() == pytest.approx(1.0, abs=1e-12)
    assert found.completeness == pytest.approx(1.0, abs=1e-12)
    assert found.position(0) == (0, 0)
    assert found.position(1) == (0, 0)
    below = step(evidence, Decision(classifier.stages["S2"], 0, 0, 0), "S1")
    assert below.value == pytest.approx(7.0, abs=1e-12)
    assert (below.alpha * 64).tolist() == pytest.approx([3.0, 4.0], abs=1e-12)
    assert below.position(1) == (0, 0)
    assert below.top(2) == [1, 0]


@pytest.mark.parametrize("target", range(4))
def test_evidence_adds_up_to_the_decision_in_bias_free_relu_networks(target: int) -> None:
    classifier, x = deep()
    evidence = capture(classifier, x, target=target)
    decomposer = Decomposer(evidence)
    names = list(classifier.stages)[::-1]
    upper = decomposer.of_class(classifier.stages[names[0]])
    assert upper.completeness == pytest.approx(1.0, abs=1e-9)
    for above, below in pairwise(names):
        A = evidence.activations[classifier.stages[above]][0]
        channel = int(A.amax((1, 2)).argmax())
        y, w = divmod(int(A[channel].argmax()), A.shape[2])
        (found,) = decomposer.of_features(
            [Decision(above, channel, y, w)], classifier.stages[above], classifier.stages[below]
        )
        assert found.value == pytest.approx(float(A[channel, y, w]), abs=1e-9)
        assert found.completeness == pytest.approx(1.0, abs=1e-9)
        total = found.alpha.sum() * classifier.stages[below].size[0] * classifier.stages[below].size[1]
        assert float(total) == pytest.approx(found.value, abs=1e-9)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("place", [(0, 0), (0, 31), (31, 31), (15, 16), (31, 3)])
def test_windows_give_what_the_whole_map_gives(place: tuple[int, int], bias: bool) -> None:
    classifier, x = deep(bias=bias)
    lower, upper = classifier.stages["S1"], classifier.stages["S2"]
    assert not windows(lower, upper).whole
    decomposer = Decomposer(capture(classifier, x, target=0))
    decisions = [Decision(upper, channel, *place) for channel in range(upper.channels)]
    narrow = decomposer._windowed(decisions, upper, lower, windows(lower, upper))
    assert narrow is not None
    for one, other in zip(narrow, decomposer._whole(decisions, upper, lower), strict=True):
        assert one.value == pytest.approx(other.value, abs=1e-12)
        assert torch.allclose(one.alpha, other.alpha, atol=1e-15)
        for channel in range(lower.channels):
            assert torch.allclose(one.map(channel), other.map(channel), atol=1e-14)


def test_a_window_that_does_not_reproduce_the_activation_is_given_up() -> None:
    """A global gate inside the segment: a window sees another gate than the whole map does."""

    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.a = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
            self.squeeze = nn.Linear(4, 4)
            self.b = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU())
            self.head = nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            a = self.a(x)
            gated = a * torch.sigmoid(self.squeeze(a.mean((2, 3))))[:, :, None, None]
            return self.head(self.b(gated).mean((2, 3)))

    classifier = wrap(Gated().double(), input_size=64)
    x = torch.rand(1, 3, 64, 64, dtype=torch.float64)
    decomposer = Decomposer(capture(classifier, x, target=0))
    lower, upper = classifier.stages["S1"], classifier.stages["S2"]
    A = decomposer.evidence.activations[upper][0]
    channel = int(A.amax((1, 2)).argmax())
    y, w = divmod(int(A[channel].argmax()), A.shape[2])
    (found,) = decomposer.of_features([Decision(upper, channel, y, w)], upper, lower)
    assert found.value == pytest.approx(float(A[channel, y, w]), abs=1e-9)
    assert found.attention.shape[1:] == lower.size


def test_the_decision_of_a_saturated_feature_is_its_pre_activation() -> None:
    classifier, x = deep(activation=nn.ReLU6)
    amplify(classifier)
    evidence = capture(classifier, x, target=0)
    upper, lower = classifier.stages["S2"], classifier.stages["S1"]
    A = evidence.activations[upper][0]
    assert float(A.max()) == 6.0
    channel, y, w = (int(i) for i in (A == 6.0).nonzero()[0])
    (found,) = Decomposer(evidence).of_features([Decision(upper, channel, y, w)], upper, lower)
    assert found.value > 6.0
    assert not found.dead
    before = read_before(classifier, evidence.x, [upper])[upper]
    assert found.value == pytest.approx(float(before[channel, y, w]), rel=1e-9)


def test_of_saturated_places_the_highest_before_the_clip_is_taken() -> None:
    classifier, x = deep(activation=nn.ReLU6)
    amplify(classifier)
    decomposer = Decomposer(capture(classifier, x, target=0))
    tap = classifier.stages["S3"]
    found, before = decomposer.of_class(tap), decomposer.before(tap)
    assert before is not None
    channel = int((before > 7).sum((1, 2)).argmax())
    assert int((before[channel] > 7).sum()) > 1
    towards = found if float(found.gradient[channel].max()) > 0 else replace(found, attention=-found.attention)
    assert float(before[channel][towards.position(channel)]) == pytest.approx(float(before[channel].max()))


def test_a_skip_connection_shows_as_incompleteness_and_is_not_hidden() -> None:
    classifier, x = deep(skip=True)
    assert classifier.tap("b").bypassed
    evidence = capture(classifier, x, target=0, taps=["a", "b"])
    whole, part = step(evidence, None, "a"), step(evidence, None, "b")
    assert whole.completeness == pytest.approx(1.0, abs=1e-9)
    assert abs(part.completeness - 1.0) > 1e-3


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "googlenet", "mobilenet_v3_small", "convnext_tiny"])
def test_segments_of_real_architectures_reproduce_what_was_recorded(name: str) -> None:
    classifier = camwidgets.load(name, weights=None)
    x = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    classifier.input_size = (96, 96)
    evidence = capture(classifier, x, target=1)
    taps = list(classifier.stages.values())
    lower, upper = taps[-2], taps[-1]
    with torch.no_grad():
        out = Segment(classifier, lower, None, evidence.x).run(evidence.activations[lower])
        assert torch.allclose(out, evidence.logits, rtol=1e-3, atol=1e-4 * float(evidence.logits.abs().max()))
    decomposer = Decomposer(evidence)
    A = evidence.activations[upper][0]
    channel = int(A.amax((1, 2)).argmax())
    y, w = divmod(int(A[channel].argmax()), A.shape[2])
    (found,) = decomposer.of_features([Decision(upper, channel, y, w)], upper, lower)
    assert found.value == pytest.approx(float(A[channel, y, w]), rel=1e-3)


@pytest.mark.parametrize("size", [(192, 192), (160, 128), (74, 102), (40, 36)])
@pytest.mark.parametrize("options", [{}, {"bias": True}, {"activation": nn.ReLU6}])
def test_tensors_of_another_size_than_the_classifiers(size: tuple[int, int], options: dict[str, Any]) -> None:
    """Against autograd on the whole network, in float64."""
    classifier, _ = deep(**options)
    if options.get("activation"):
        amplify(classifier)
    net: Any = classifier.module
    x = torch.rand(1, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    a = net.a(x)
    before = net.b[:-1](a)
    b = net.b[-1](before)
    scores = net.head(net.c(b).mean((2, 3)))[0]
    target = int(scores.argmax())
    score = scores[target]
    tree = decompose(classifier, x, target=target, top=4, merge=False, taps=["S1", "S2"])
    for stage, F in (("S1", a), ("S2", b)):
        (g,) = torch.autograd.grad(score, F, retain_graph=True)
        found = step((classifier, x), target, stage)
        assert found.value == pytest.approx(float(score.detach()), abs=1e-12)
        assert torch.allclose(found.attention, (g * F).detach()[0], atol=1e-12, rtol=0)
        assert torch.allclose(found.alpha, (g * F).detach()[0].mean((1, 2)), atol=1e-15, rtol=1e-9)
        assert tree.stages[stage].size == tuple(F.shape[2:])
    assert tree.level("S1")
    for node in tree.level("S1"):
        above = tree.path(node)[-2]
        (g,) = torch.autograd.grad(before[0, above.channel, above.y, above.x], a, retain_graph=True)
        A = (g * a).detach()[0, node.channel]
        assert node.attention.shape == A.shape
        assert node.contribution == pytest.approx(float(A.mean()), rel=1e-9)
        assert float(A[node.y, node.x]) == pytest.approx(float(A.max()))
    last = (size[0] // 2 - 1, size[1] // 2 - 1)
    corner = step((classifier, x), Decision("b", 0, *last), "a")
    assert corner.value == pytest.approx(float(before[0, 0][last].detach()))
    with pytest.raises(ValueError, match=f"is {size[0] // 2}×{size[1] // 2}"):
        step((classifier, x), Decision("b", 0, last[0] + 1, 0), "a")


class Branches(nn.Module):
    """Two branches side by side, and what is made of both."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.left = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.right = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(9, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat([self.left(x), self.right(x)], 1).mean((2, 3)))


@pytest.mark.parametrize("learning", [False, True])
@pytest.mark.parametrize("conditional", [False, True])
def test_taps_side_by_side_are_refused_in_a_sentence(conditional: bool, learning: bool) -> None:
    classifier = wrap(Branches().double().requires_grad_(learning), input_size=32)
    x = torch.rand(1, 3, 32, 32, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"nothing of '[a-z:]+' reaches '[a-z:]+': they lie side by side"):
        decompose(classifier, x, target=0, taps=["left", "right"], conditional=conditional)
    assert decompose(classifier, x, target=0, taps=["left"], conditional=conditional).children(0)


def test_an_evidence_answers_for_its_own_class_only() -> None:
    classifier, x = net_by_hand()
    evidence = capture(classifier, x, target="a")
    own = step(evidence, None, "S2")
    assert step(evidence, "a", "S2").value == step(evidence, 0, "S2").value == own.value
    assert step((classifier, x), "b", "S2").value != own.value
    for other in ("b", 1, lambda logits: logits[:, 0]):
        with pytest.raises(ValueError, match="this evidence is of the class 'a' and holds no gradients of"):
            step(evidence, other, "S2")
    with pytest.raises(ValueError, match="unknown label 'c'"):
        step(evidence, "c", "S2")


def test_bad_decisions_are_refused_and_the_model_stays_as_it_was() -> None:
    classifier, x = deep()
    evidence = capture(classifier, x, target=0)
    state = copy.deepcopy(classifier.module.state_dict())
    for decision, tap, said in (
        (Decision("S2", 99, 0, 0), "S1", "channel 99 is out of range"),
        (Decision("S2", 0, 77, 0), "S1", "position .77, 0. is out of range"),
        (Decision("S1", 0, 0, 0), "S2", "does not lie below"),
        (Decision("S9", 0, 0, 0), "S1", "unknown tap 'S9'"),
        (None, "S7", "unknown tap 'S7'"),
    ):
        with pytest.raises(ValueError, match=said):
            step(evidence, decision, tap)
    for name, tensor in classifier.module.state_dict().items():
        assert torch.equal(tensor, state[name])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in classifier.module.modules())
