"""Segments of networks that look at their input's size or values, held against autograd on the whole network."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import camwidgets
from camwidgets import wrap
from camwidgets.decomposition.ablation import without
from camwidgets.decomposition.fidelity import true_changes
from camwidgets.decomposition.gap import Decomposer
from camwidgets.decomposition.removal import removal_curve
from camwidgets.decomposition.segment import Segment
from camwidgets.decomposition.tree import decision_of


class Three(nn.Module):
    """Three convolutions of strides 1, 2, 2, each followed by a ReLU, and a linear head on means."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.c1, self.c2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.c3, self.fc = nn.Conv2d(12, 16, 3, stride=2, padding=1), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        self.a = F.relu(self.c1(x))
        self.b = F.relu(self.c2(self.a))
        self.z = self.c3(self.between(self.b, x))
        return self.head(F.relu(self.z), x)

    def between(self, b: Tensor, x: Tensor) -> Tensor:
        return b

    def head(self, c: Tensor, x: Tensor) -> Tensor:
        return self.fc(c.mean((2, 3)))


class Scaled(Three):
    """A number taken from the input's size: every shape is right whatever the size, the values are not."""

    def between(self, b: Tensor, x: Tensor) -> Tensor:
        return b * (x.shape[-1] / 96.0)


class Pooled(Three):
    def between(self, b: Tensor, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(b, (x.shape[2] // 4, x.shape[3] // 4))


class Resized(Three):
    def between(self, b: Tensor, x: Tensor) -> Tensor:
        return F.interpolate(b, size=(x.shape[2] // 3, x.shape[3] // 3), mode="bilinear")


class Normed(Three):
    """A number taken from the input's values, by way of a scalar."""

    def between(self, b: Tensor, x: Tensor) -> Tensor:
        return b / float(x.abs().mean() + 1)


class Upsampled(Three):
    """Per-pixel scores at the input's size: the logits depend on how many pixels they are taken over."""

    def __init__(self) -> None:
        super().__init__()
        self.per_pixel = nn.Conv2d(16, 5, 1)

    def head(self, c: Tensor, x: Tensor) -> Tensor:
        y = F.interpolate(self.per_pixel(c), size=x.shape[-2:], mode="bilinear")
        return y.amax((2, 3)) - y.sum((2, 3)) / 9216


SIZED = (Scaled, Pooled, Resized, Normed)


def photo(side: int = 96) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (side, side, 3), dtype=np.uint8)


@pytest.mark.parametrize("net", SIZED)
def test_a_part_that_looks_at_the_input_is_decomposed_as_autograd_does(net: type[Three]) -> None:
    module = net().double().eval()
    classifier = wrap(copy.deepcopy(module), input_size=(96, 96))
    tree = camwidgets.decompose(classifier, photo(), target=1, merge=False, top=4)
    assert tree.decomposer is not None
    module(tree.decomposer.evidence.x)
    below = list(tree.stages).index("S2")
    assert tree.level("S3")
    assert below == 1
    for node in tree.level("S3"):
        z = module.z[0, node.channel, node.y, node.x]
        assert node.value == pytest.approx(float(z.detach()), abs=1e-9)
        (g,) = torch.autograd.grad(z, module.b, retain_graph=True)
        alpha = (g * module.b)[0].mean((1, 2))
        for child in tree.children(node):
            assert child.contribution == pytest.approx(float(alpha[child.channel].detach()), abs=1e-9)
        assert node.completeness == pytest.approx(float(((g * module.b).sum() / z).detach()), abs=1e-9)


@pytest.mark.parametrize("net", [*SIZED, Upsampled])
def test_true_changes_are_those_of_the_whole_network(net: type[Three]) -> None:
    classifier = wrap(net().double(), input_size=(96, 96))
    tree = camwidgets.decompose(classifier, photo(), target=1, merge=False, top=2, depth=2)
    decomposer = tree.decomposer
    assert decomposer is not None
    lower, x = classifier.stages["S2"], decomposer.evidence.x
    truth = true_changes(decomposer, None, None, lower, {})
    for k in range(0, lower.channels, 5):
        after = without(classifier, x, {lower: {k: 0.0}})[0, 1]
        assert float(truth[k]) == pytest.approx(float(decomposer.evidence.logits[0, 1] - after), abs=1e-9)
    node = tree.level("S3")[0]
    module, values = net().double().eval(), torch.zeros(lower.channels, dtype=torch.float64)
    module(x)
    z = module.z[0, node.channel, node.y, node.x]
    (g,) = torch.autograd.grad(z, module.b)  # the convolution between is linear: gradient × value is the truth
    values = (g * module.b)[0].sum((1, 2)).detach()
    found = true_changes(decomposer, decision_of(node), classifier.stages["S3"], lower, {})
    torch.testing.assert_close(found, values, rtol=0, atol=1e-9)


def test_removal_curves_of_scores_at_the_input_s_size() -> None:
    classifier = wrap(Upsampled().double(), input_size=(96, 96))
    table = removal_curve(classifier, [photo()], counts=[3], stages=["S2"], rankings=["gradient"])
    evidence = camwidgets.capture(classifier, photo())
    gone = Decomposer(evidence).of_class(classifier.stages["S2"]).alpha.argsort(descending=True)[:3].tolist()
    logits = without(classifier, evidence.x, {classifier.stages["S2"]: dict.fromkeys(gone, 0.0)})
    (told,) = table[table["removed"] == 3]["probability"].tolist()
    assert told == pytest.approx(float(logits.softmax(1)[0, evidence.targets[0]]), abs=1e-9)


def test_a_segment_alone_reads_what_it_is_held_against_itself() -> None:
    classifier = wrap(Scaled().double(), input_size=(96, 96))
    evidence = camwidgets.capture(classifier, photo(), 0)
    lower = classifier.stages["S2"]
    A = evidence.activations[lower]
    with torch.no_grad():
        alone = Segment(classifier, lower, None, evidence.x).run(A * 0.5)
        half = without(classifier, evidence.x, {lower: lambda A: A * 0.5})
        known = Segment.of(evidence, lower, None).run(A * 0.5)
    torch.testing.assert_close(alone, half, rtol=0, atol=1e-9)
    torch.testing.assert_close(known, half, rtol=0, atol=1e-9)


class Counting(Three):
    """Counts the pixels of all inputs that it is run on."""

    pixels = 0

    def forward(self, x: Tensor) -> Tensor:
        self.pixels += x.numel() // 3
        return super().forward(x)


def test_where_the_blank_will_do_the_picture_is_run_once_only() -> None:
    classifier = wrap(Counting().double(), input_size=(96, 96))
    assert classifier.stages
    module = classifier.module
    assert isinstance(module, Counting)
    module.pixels = 0
    tree = camwidgets.decompose(classifier, photo(), target=1, top=4)
    assert len(tree.nodes) > 8
    assert module.pixels % 96**2 != 0  # blanks were run
    assert module.pixels < 2 * 96**2 + 10 * 64**2


class Bounded(Three):
    """Activations with a floor and a ceiling, as modules and as functions."""

    def __init__(self) -> None:
        super().__init__()
        self.r1, self.r2 = nn.Hardtanh(-0.2, 0.2), nn.Hardtanh(-0.2, 0.2)

    def forward(self, x: Tensor) -> Tensor:
        self.a = self.r1(self.c1(x))
        self.b = self.r2(self.c2(self.a))
        self.z = self.c3(self.b)
        return self.head(self.z.clamp(0, 0.1), x)


class Soft(Three):
    def forward(self, x: Tensor) -> Tensor:
        self.a = F.gelu(self.c1(x))
        self.b = F.relu6(40 * self.c2(self.a))
        self.z = self.c3(self.b)
        return self.head(F.elu(self.z), x)


@pytest.mark.parametrize("net", [Bounded, Soft, Three])
def test_evidence_along_a_path_takes_the_slope_of_the_activation_itself(net: type[Three]) -> None:
    module = net().double().eval()
    classifier = wrap(copy.deepcopy(module), input_size=(96, 96))
    tree = camwidgets.decompose(classifier, photo(), target=1, merge=False, top=4, conditional=True)
    assert tree.decomposer is not None
    logits = module(tree.decomposer.evidence.x)
    (whole,) = torch.autograd.grad(logits[0, 1], module.b, retain_graph=True)
    assert float(whole.abs().max()) > 0
    last = torch.autograd.grad(logits[0, 1], module.z, retain_graph=True)[0]  # through the last activation
    for node in tree.level("S3"):
        cut = torch.zeros_like(last)
        cut[0, node.channel] = last[0, node.channel]
        (g,) = torch.autograd.grad(module.z, module.b, cut, retain_graph=True)
        sums = (g * module.b)[0].sum((1, 2)) / abs(tree.score)
        assert len(tree.children(node)) == 4
        for child in tree.children(node):
            assert child.class_share == pytest.approx(float(sums[child.channel].detach()), abs=1e-9)
    for node in tree.level("S2"):
        parent = tree.nodes[node.parent or 0]
        cut, below = torch.zeros_like(last), torch.zeros_like(module.b)
        cut[0, parent.channel] = last[0, parent.channel]
        (g,) = torch.autograd.grad(module.z, module.b, cut, retain_graph=True)
        below[0, node.channel] = g[0, node.channel]
        (deeper,) = torch.autograd.grad(module.b, module.a, below, retain_graph=True)
        sums = (deeper * module.a)[0].sum((1, 2)) / abs(tree.score)
        for child in tree.children(node):
            assert child.class_share == pytest.approx(float(sums[child.channel].detach()), abs=1e-9)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_decomposed_and_near_to_single(dtype: torch.dtype) -> None:
    single = wrap(camwidgets.load("toy").module, input_size=(96, 96))
    try:
        classifier = wrap(copy.deepcopy(single.module).to(dtype), input_size=(96, 96))
        assert classifier.stages
    except RuntimeError as error:
        pytest.skip(f"this machine does not compute in {dtype}: {error}")
    cat = camwidgets.samples.picture("cat")
    tree = camwidgets.decompose(classifier, cat, merge=False)
    exact = camwidgets.decompose(single, cat, merge=False, top=10)
    same = camwidgets.decompose(single, cat, merge=False)
    assert [len(tree.level(stage)) for stage in tree.stages] == [len(same.level(stage)) for stage in same.stages]
    near = {n.channel: n for n in exact.children(exact.root)}
    for node in tree.children(tree.root):
        assert node.share == pytest.approx(near[node.channel].share, rel=0.03)
        assert node.value == pytest.approx(near[node.channel].value, rel=0.03)
        assert node.completeness == pytest.approx(near[node.channel].completeness, abs=0.05)
    conditional = camwidgets.decompose(classifier, cat, conditional=True)
    assert len(conditional.level("S1")) > 1
    table = camwidgets.fidelity(classifier, cat)
    assert table["pearson"].min() > 0.98
