"""Excitation backprop against plain loops, its mass, zennit's own composite, and what it is not defined for."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn
from zennit.composites import ExcitationBackprop

import camwidgets
from camwidgets import explain, samples
from camwidgets.maps import Request
from camwidgets.maps.excitation import unfit, winning

from .nets import SharedSkip, Tutorial, Written, picture, settled, small, state


class Tiny(nn.Module):
    """Convolution, ReLU, max-pool, convolution, skip connection, ReLU, average, linear: 3×4×4 → 3 logits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.a1 = torch.relu(self.conv1(x))
        self.p1 = torch.max_pool2d(self.a1, 2)
        self.c2 = self.conv2(self.p1)
        self.a2 = torch.relu(self.c2 + self.p1)
        return self.fc(self.a2.mean((2, 3)))


def by_loops(net: Tiny, x: Tensor, target: int, contrast: bool) -> tuple[np.ndarray, np.ndarray]:
    """P at the second and at the first ReLU, written from Zhang et al., eq. 2 and 3.3, one unit at a time."""
    with torch.no_grad():
        net(x)
    a1, p1, c2, a2 = (value[0].numpy() for value in (net.a1, net.p1, net.c2, net.a2))
    channels, h, w = a2.shape
    means = a2.mean((1, 2))

    def from_class(weights: np.ndarray) -> np.ndarray:
        excited = np.maximum(means, 0) * np.maximum(weights, 0)
        return excited / max(excited.sum(), 1e-300)

    row = net.fc.weight.detach().numpy()[target]
    top = from_class(row) - (from_class(-row) if contrast else 0)
    p2 = np.zeros_like(a2)
    for k in range(channels):
        for i in range(h):
            for j in range(w):
                p2[k, i, j] = top[k] * a2[k, i, j] / a2[k].sum() if a2[k].sum() > 0 else 0
    weights = np.maximum(net.conv2.weight.detach().numpy(), 0)
    pooled = np.zeros_like(p1)
    for k in range(channels):
        for i in range(h):
            for j in range(w):
                branch, skip = max(c2[k, i, j], 0), max(p1[k, i, j], 0)
                if branch + skip == 0:
                    continue
                pooled[k, i, j] += p2[k, i, j] * skip / (branch + skip)
                arriving = p2[k, i, j] * branch / (branch + skip)
                inputs = [
                    (m, i + u - 1, j + v - 1, p1[m, i + u - 1, j + v - 1] * weights[k, m, u, v])
                    for m in range(channels) for u in range(3) for v in range(3)
                    if 0 <= i + u - 1 < h and 0 <= j + v - 1 < w
                ]  # fmt: skip
                total = sum(value for *_, value in inputs)
                for m, y, z, value in inputs:
                    pooled[m, y, z] += arriving * value / total if total > 0 else 0
    first = np.zeros_like(a1)
    for k in range(channels):
        for i in range(h):
            for j in range(w):
                cell = a1[k, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
                y, z = np.unravel_index(cell.argmax(), (2, 2))
                first[k, 2 * i + y, 2 * j + z] += pooled[k, i, j]
    return p2, first


@pytest.mark.parametrize("contrast", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_plain_loops(contrast: bool, seed: int) -> None:
    net = settled(Tiny(), seed).double().eval()
    classifier = camwidgets.wrap(net, input_size=8)
    x = picture(side=8, seed=seed, dtype=torch.float64)
    deep, shallow = by_loops(net, x, 1, contrast)
    stages = classifier.stages
    assert len(stages) == 2
    for wanted, tap in zip((shallow, deep), stages.values(), strict=True):
        assert np.abs(wanted).max() > 0.01
        found = winning(Request(classifier, x, 1, tap=tap), contrast).numpy()
        np.testing.assert_allclose(found, wanted, atol=1e-12)
        shown = explain(classifier, x, "c-mwp" if contrast else "excitation", 1, stages=[str(tap)])
        (raw,) = shown.stage_maps.values()
        np.testing.assert_allclose(raw, np.maximum(wanted.sum(0), 0), atol=1e-7)


def test_mass_is_conserved_at_every_stage() -> None:
    """One class, one unit of probability; contrasted with its dual, none."""
    classifier = camwidgets.wrap(settled(torchvision.models.resnet18(weights=None)).double().eval(), input_size=64)
    x = picture(side=64, dtype=torch.float64)
    for tap in classifier.stages.values():
        plain = winning(Request(classifier, x, 3, tap=tap), contrast=False)
        assert float(plain.min()) >= 0
        assert float(plain.sum()) == pytest.approx(1, abs=1e-9)
        contrasted = winning(Request(classifier, x, 3, tap=tap), contrast=True)
        assert float(contrasted.sum()) == pytest.approx(0, abs=1e-9)
        assert float(contrasted.max()) > 0 > float(contrasted.min())


def test_zennits_own_numbers() -> None:
    """Where nothing but ReLUs feeds convolutions, zennit's composite computes the same at every stage."""
    features = torchvision.models.vgg11(weights=None).features
    module = settled(nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 7))).double().eval()
    classifier = camwidgets.wrap(module, input_size=32)
    x = picture(side=32, dtype=torch.float64)
    copied, kept = copy.deepcopy(module), dict[str, Tensor]()
    for name in map(str, classifier.stages.values()):
        relu = copied.get_submodule(name)
        assert isinstance(relu, nn.ReLU)
        relu.inplace = False
        relu.register_forward_hook(lambda m, i, out, name=name: kept.__setitem__(name, out))
    with ExcitationBackprop(zero_params="bias", stabilizer=1e-12).context(copied) as modified:
        logits = modified(x.clone().requires_grad_())
        wanted = torch.autograd.grad(logits[0, 3], list(kept.values()))
    assert len(wanted) == 5
    for name, values in zip(kept, wanted, strict=True):
        found = winning(Request(classifier, x, 3, tap=classifier.tap(name)), contrast=False)
        torch.testing.assert_close(found, values[0], atol=1e-9, rtol=1e-6)


@pytest.mark.parametrize("module", [SharedSkip(), Tutorial()])
def test_functions_shared_modules_and_several_linear_layers(module: nn.Module) -> None:
    classifier = camwidgets.wrap(settled(module).eval(), input_size=32 if isinstance(module, Tutorial) else 16)
    x = picture(side=classifier.input_size[0])
    for tap in classifier.stages.values():
        assert float(winning(Request(classifier, x, 1, tap=tap), contrast=False).sum()) == pytest.approx(1, abs=1e-4)


def test_contrast_tells_classes_apart() -> None:
    """A cat and a cup in one picture: the contrasted maps of the two classes differ more than the plain ones."""
    classifier, image = camwidgets.load("efficientnet_lite0"), samples.picture("cat-and-coffee")

    def alike(method: str) -> float:
        cat, cup = (explain(classifier, image, method, target).map.ravel() for target in ("tiger cat", "espresso"))
        return float(np.corrcoef(cat, cup)[0, 1])

    assert alike("c-mwp") < alike("excitation") - 0.2


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (Written(nn.functional.silu), r"no rule for silu \(activations must not be negative\)"),
        (nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 2)), "BatchNorm"),
        (nn.Sequential(nn.Conv2d(3, 2, 3), nn.LeakyReLU(), nn.Flatten(), nn.Linear(72, 2)), "leaky_relu"),
    ],
)
def test_networks_that_it_is_not_defined_for(module: nn.Module, said: str) -> None:
    classifier = camwidgets.wrap(module, input_size=32 if isinstance(module, Written) else 8)
    before = state(module)
    with pytest.raises(ValueError, match=said):
        explain(classifier, picture(side=8), "c-mwp", stages=[next(iter(classifier.taps))])
    assert state(module) == before


def test_a_callable_has_no_dual() -> None:
    with pytest.raises(ValueError, match="starts at one class"):
        explain(small(), picture(), "c-mwp", lambda y: y[0] - y[1])


def test_the_network_is_left_as_it_was() -> None:
    classifier = small()
    classifier.module.train()
    before = state(classifier.module)
    assert unfit(classifier) is None
    explain(classifier, picture(), "c-mwp")
    assert state(classifier.module) == before
