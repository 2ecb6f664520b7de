"""What a channel sees: guided backpropagation against hand and captum, histograms, and the network left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import camwidgets
from camwidgets import Classifier, wrap
from camwidgets.decomposition.channels import guided_backprop, histogram, what_it_sees
from camwidgets.decomposition.patches import DatasetIndex, PatchIndex, index_of
from tests import nets
from tests.explorer_nets import photo
from tests.explorer_nets import small as five


class ByHand(nn.Module):
    """1×1 convolutions, so that each place is one small sum. Layer 1: r − g and g − r; layer 2: 2a + b and a − 3b."""

    def __init__(self, activate: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 2, 1, bias=False), nn.Conv2d(2, 2, 1, bias=False)
        self.head = nn.Linear(2, 2)
        self.activate = activate
        with torch.no_grad():
            self.one.weight.copy_(torch.tensor([[1.0, -1, 0], [-1, 2, 0]])[..., None, None])
            self.two.weight.copy_(torch.tensor([[2.0, 1], [1, -3]])[..., None, None])

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool2d(self.activate(self.one(x)), 2)
        return self.head(self.activate(self.two(x)).mean((2, 3)))


def in_place(x: Tensor) -> Tensor:
    x.relu_()  # as a statement: what it returns is not used
    return x


KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "function": F.relu, "torch": torch.relu, "method": lambda x: x.clamp(min=0), "in place": in_place,
    "argument": lambda x: F.relu(x, inplace=True), "relu6": F.relu6,
    "module": nn.ReLU(), "module in place": nn.ReLU(True),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_guided_backprop_by_hand(kind: str) -> None:
    classifier = wrap(ByHand(KINDS[kind]).double().eval(), input_size=8, name=kind)
    x = torch.zeros((1, 3, 8, 8), dtype=torch.float64)
    x[0, 0, :2, :2] = torch.tensor([[3.0, 1], [1, 0]])  # red
    x[0, 1, :2, :2] = torch.tensor([[1.0, 2], [1, 0]])  # green
    # a = relu(r − g) = 2, 0, 0, 0; b = relu(2g − r) = 0, 3, 1, 0 (mean 1); unit 0: 2·0.5 + 1 = 2; unit 1: .5 − 3 = −2.5
    deep = list(classifier.stages.values())[-1]
    before = nets.state(classifier.module)
    found = guided_backprop(classifier, x, deep, 0, 0, 0)
    assert nets.state(classifier.module) == before
    assert found.value == pytest.approx(2.0)
    assert found.rectified >= 1
    # Into a goes 2/4 where a > 0, into b 1/4 where b > 0. So a's place gives r +.5, g −.5, b's two r −.25, g +.5.
    wanted = torch.zeros((3, 8, 8), dtype=torch.float64)
    wanted[0, :2, :2] = torch.tensor([[0.5, -0.25], [-0.25, 0]])
    wanted[1, :2, :2] = torch.tensor([[-0.5, 0.5], [0.5, 0]])
    torch.testing.assert_close(found.gradient, wanted, rtol=0, atol=1e-12)
    # Unit 1 listens to b with −3: a plain gradient would show that, the guided one drops it.
    other = guided_backprop(classifier, x, deep, 1, 0, 0).gradient
    wanted = torch.zeros((3, 8, 8), dtype=torch.float64)
    wanted[0, 0, 0], wanted[1, 0, 0] = 0.25, -0.25
    torch.testing.assert_close(other, wanted, rtol=0, atol=1e-12)


def test_guided_backprop_agrees_with_captum() -> None:
    captum = pytest.importorskip("captum.attr")
    classifier = five(seed=3)
    x = classifier.preprocess(photo(2))
    tap = classifier.stages["S4"]
    with camwidgets.record(classifier, x) as recording:
        A = recording.activations[tap][0]
        k, y, column = (int(i) for i in np.unravel_index(int(A.argmax()), A.shape))

    class Cut(nn.Module):
        def __init__(self, body: nn.Module) -> None:
            super().__init__()
            self.body = body

        def forward(self, pixels: Tensor) -> Tensor:
            for name, layer in self.body.named_children():
                pixels = layer(pixels)
                if name == tap.module:
                    return pixels[:, :, y, column]
            raise AssertionError(tap.module)

    ours = guided_backprop(classifier, x, tap, k, y, column)
    theirs = captum.GuidedBackprop(Cut(five(seed=3).module)).attribute(x.clone().requires_grad_(), target=k)[0]
    assert float(theirs.abs().max()) > 0
    # captum also guides the unit's own activation, whose gradient is 1: the same.
    torch.testing.assert_close(ours.gradient, theirs, rtol=1e-5, atol=1e-7)


def test_shared_and_skipping_activations_are_guided() -> None:
    """One in-place ReLU called three times and an in-place addition: written out by hand with autograd."""
    module = nets.settled(nets.SharedSkip().double()).eval()
    classifier = wrap(module, input_size=8, name="shared")
    x = nets.picture(side=8, dtype=torch.float64)
    before = nets.state(module)
    tap = next(tap for name, tap in classifier.taps.items() if name == "act@2")
    found = guided_backprop(classifier, x, tap, 1, 0, 1)
    assert nets.state(module) == before

    class Guided(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, z: Tensor) -> Tensor:
            ctx.save_for_backward(z)
            return z.clamp(min=0)

        @staticmethod
        def backward(ctx: Any, *g: Any) -> Any:
            return g[0].clamp(min=0) * (ctx.saved_tensors[0] > 0)

    pixels, guided = x.clone().requires_grad_(), Guided.apply
    a = guided(module.stem(pixels))
    b = guided(module.conv(a) + a)
    z = module.conv(module.pool(b))[0, 1, 0, 1]
    (wanted,) = torch.autograd.grad(z, pixels)
    torch.testing.assert_close(found.gradient, wanted[0], rtol=0, atol=1e-12)
    assert found.value == pytest.approx(float(z.detach()))


def test_a_clipped_unit_still_has_a_view_and_only_its_window() -> None:
    classifier = camwidgets.load("efficientnet_lite0")
    cat = camwidgets.samples.picture("cat")
    tap = classifier.stages["S2"]
    with camwidgets.record(classifier, cat) as recording:
        A = recording.activations[tap][0]
        k, y, x = (int(i) for i in np.unravel_index(int((A >= 6).float().argmax()), A.shape))
    before = nets.state(classifier.module)
    found = guided_backprop(classifier, cat, "S2", k, y, x)
    assert nets.state(classifier.module) == before
    assert found.value >= 6
    x0, y0, x1, y1 = tap.receptive_field.window(y, x, classifier.input_size)
    inside = found.gradient[:, y0:y1, x0:x1].abs().sum()
    assert float(inside) > 0
    assert float(found.gradient.abs().sum() - inside) == pytest.approx(0, abs=1e-6)


def test_a_network_without_rectifiers_gets_its_plain_gradient() -> None:
    classifier = wrap(nets.Written(F.silu).eval(), input_size=16, name="smooth")
    tap = list(classifier.stages.values())[-1]
    found = guided_backprop(classifier, nets.picture(), tap, 0, 1, 1)
    assert found.rectified == 0
    assert float(found.gradient.abs().sum()) > 0


@pytest.mark.parametrize(
    ("unit", "says"), [((99, 0, 0), "channel 99 is out of range"), ((0, 40, 0), r"position \(40, 0\) is out of range")]
)
def test_refusals(unit: tuple[int, int, int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        guided_backprop(five(), photo(1), "S3", *unit)
    with pytest.raises(ValueError, match="one picture is looked at"):
        guided_backprop(five(), [photo(1), photo(2)], "S3", 0, 0, 0)


def test_the_module_is_as_before_when_it_raises() -> None:
    module = nets.Raises(RuntimeError("broken"), after=99)
    classifier = wrap(module, input_size=16, name="raises")
    guided_backprop(classifier, nets.picture(), "net.relu2", 0, 0, 0)
    module.left = 0
    before = nets.state(module)
    with pytest.raises(RuntimeError, match="broken"):
        guided_backprop(classifier, nets.picture(), "net.relu2", 0, 0, 0)
    assert nets.state(module) == before


# ---------------------------------------------------------------------------------------------- all of it


@pytest.fixture(scope="module")
def tree() -> Any:
    return camwidgets.decompose(five(), photo(1), depth=3)


def test_the_histogram_holds_all_places_and_marks_the_own(tree: Any) -> None:
    node = tree.children(0)[0]
    found = what_it_sees(tree, node)
    A = tree.decomposer.evidence.activations[node.tap][0, node.channel]
    assert found.here.total == A.numel()
    assert found.here.own == pytest.approx(float(A[node.y, node.x]))
    assert found.here.edges[0] == pytest.approx(float(A.min()))
    assert found.here.below == pytest.approx(float((A[node.y, node.x] > A).float().mean()))
    assert (found.there, found.patches) == (None, ())
    flat = histogram(np.zeros(5), 0.0)
    assert (flat.total, flat.below) == (5, 0.0)


def test_an_index_adds_the_folder_s_responses_and_patches(tree: Any) -> None:
    classifier: Classifier = tree.decomposer.classifier
    pictures = [photo(i) for i in range(12)]
    index = DatasetIndex(classifier, pictures, "twelve")
    assert (len(index), index.missing()) == (0, 12)
    assert what_it_sees(tree, 1, index).there is None  # nothing in it yet
    assert index.build() == len(index) == 12
    assert index.missing() == 0
    node = tree.node(1)
    found = what_it_sees(tree, 1, index, count=4)
    peaks = []
    for picture in pictures:
        with camwidgets.record(classifier, picture) as recording:
            peaks.append(float(recording.activations[node.tap][0, node.channel].max()))
    assert [patch.response for patch in found.patches] == pytest.approx(sorted(peaks, reverse=True)[:4])
    assert int(found.patches[0].path.name) == int(np.argmax(peaks))
    assert found.there is not None
    assert found.there.total == 12
    assert found.there.own == pytest.approx(peaks[1])  # the tree is of photo(1)
    assert found.there.below == pytest.approx(np.mean([p < peaks[1] for p in peaks]), abs=1 / 12)
    crop = index.crop(found.patches[0])
    x0, y0, x1, y1 = found.patches[0].window
    assert crop.size == (x1 - x0, y1 - y0)


def test_what_an_index_may_be(tree: Any, tmp_path: Any) -> None:
    classifier = tree.decomposer.classifier
    index = index_of(classifier, [photo(1)])
    assert index_of(classifier, index) is index
    assert isinstance(index_of(classifier, tmp_path), PatchIndex)
    with pytest.raises(TypeError, match="an index, a folder or a sequence"):
        index_of(classifier, 3)
    with pytest.raises(ValueError, match="an empty data set"):
        index_of(classifier, [])
    with pytest.raises(ValueError, match="not of"):
        index_of(five("other", seed=9), index)
    with pytest.raises(ValueError, match="the root is the class itself"):
        what_it_sees(tree, 0)


def test_a_data_set_s_broken_picture_is_passed_over(tree: Any) -> None:
    index = DatasetIndex(tree.decomposer.classifier, [photo(1), b"not a picture", (photo(2), 7)])
    assert index.build() == 2
    (broken,) = index.broken().values()
    assert "uploaded picture" in broken
