"""LRP: zennit's own numbers, networks that zennit alone cannot rewrite, and networks that are refused."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn
from zennit import composites
from zennit.attribution import Gradient
from zennit.canonizers import SequentialMergeBatchNorm
from zennit.layer import Sum
from zennit.torchvision import ResNetCanonizer

import camwidgets
from camwidgets import explain
from camwidgets.maps import Request
from camwidgets.maps.relevance import COMPOSITES, relevance, unfit

from .nets import Gated, Raises, SharedSkip, Small, Tutorial, Written, picture, settled, small, state


def by_zennit(module: nn.Module, x: Tensor, target: int, composite: Any) -> Tensor:
    with Gradient(copy.deepcopy(module), composite) as attributor:
        classes = module(x).shape[1]
        return attributor(x, torch.eye(classes, dtype=x.dtype)[[target]])[1][0]


def assert_close(found: Tensor, wanted: Tensor, limit: float = 1e-4) -> None:
    assert float(wanted.abs().max()) > 0
    assert float((found - wanted).abs().max()) <= limit * float(wanted.abs().max())


def resnet() -> nn.Module:
    return torchvision.models.resnet18(weights=None, num_classes=7)


def vgg() -> nn.Module:
    features = torchvision.models.vgg11_bn(weights=None).features
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 7))


@pytest.mark.parametrize(
    ("build", "canonizer", "name"),
    [*[(resnet, ResNetCanonizer, name) for name in COMPOSITES], (vgg, SequentialMergeBatchNorm, COMPOSITES[0])],
)
def test_zennits_own_numbers(build: Any, canonizer: Any, name: str) -> None:
    module = settled(build()).double().eval()
    classifier = camwidgets.wrap(module, input_size=32)
    x = picture(side=32, dtype=torch.float64)
    options: dict[str, Any] = {"canonizers": [canonizer()]}
    if name == "epsilon-gamma-box":
        black, white = (classifier.preprocess(np.full((32, 32, 3), v, np.uint8)).double() for v in (0, 255))
        options |= {"low": black, "high": white}
    wanted = by_zennit(module, x, 3, composites.COMPOSITES[name.replace("-", "_")](**options))
    found = relevance(Request(classifier, x, 3), None, name)
    assert_close(found, wanted)
    shown = explain(classifier, x, "lrp", 3, composite=name, cap=100.0).stage_maps["input"]
    assert_close(torch.from_numpy(shown).double(), wanted.sum(0).relu())


class SharedSkipWritten(nn.Module):
    """`SharedSkip` as zennit needs it: a module a call, out of place, the sum a module too."""

    def __init__(self, net: SharedSkip) -> None:
        super().__init__()
        self.stem, self.conv1, self.conv2, self.fc = map(copy.deepcopy, (net.stem, net.conv, net.conv, net.fc))
        self.relu1, self.relu2, self.relu3, self.pool = nn.ReLU(), nn.ReLU(), nn.ReLU(), nn.AvgPool2d(2)
        self.sum, self.mean = Sum(), nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.stem(x))
        y = self.relu2(self.sum(torch.stack([self.conv1(x), x], -1)))
        return self.fc(self.mean(self.relu3(self.conv2(self.pool(y)))).flatten(1))


@pytest.mark.parametrize("name", ["epsilon-plus", "epsilon-plus-flat"])
def test_calls_that_zennit_does_not_see(name: str) -> None:
    """In-place additions, a shared in-place ReLU, a convolution called twice, a mean that is a method."""
    net = settled(SharedSkip()).double().eval()
    x = picture(dtype=torch.float64)
    wanted = by_zennit(SharedSkipWritten(net), x, 1, composites.COMPOSITES[name.replace("-", "_")]())
    assert_close(relevance(Request(camwidgets.wrap(net, input_size=16), x, 1), None, name), wanted, 1e-9)


def test_by_hand() -> None:
    """Two inputs, one hidden unit of two alive: shares by x_i w_ij, the ε-rule."""
    first, second = nn.Linear(3, 2, bias=False), nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, 2.0, -1.0], [-1.0, 0.0, 0.0]]))
        second.weight.copy_(torch.tensor([[2.0, 5.0], [1.0, 1.0]]))
    net = nn.Sequential(nn.Flatten(), first, nn.ReLU(), second).double()
    x = torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64).reshape(1, 3, 1, 1)
    found = relevance(Request(camwidgets.wrap(net, input_size=1), x, 0), None, "epsilon-plus", epsilon=1e-12)
    # Hidden: 1·1 + 2·2 − 1·1 = 4 and 0. All of R = 1 goes to the first; its shares are 1/4, 4/4, −1/4.
    torch.testing.assert_close(found.flatten(), torch.tensor([0.25, 1.0, -0.25], dtype=torch.float64))


@pytest.mark.parametrize("name", COMPOSITES)
def test_relevance_is_conserved_without_biases(name: str) -> None:
    classifier = small(dtype=torch.float64)
    net = classifier.module
    assert isinstance(net, Small)
    with torch.no_grad():
        for layer in (net.conv1, net.conv2, net.fc):
            assert layer.bias is not None
            layer.bias.zero_()
    assert net.norm1.running_mean is not None
    net.norm1.running_mean.zero_()
    net.norm1.bias.data.zero_()
    x = picture(dtype=torch.float64)
    for tap in (*classifier.stages.values(), None):
        total = relevance(Request(classifier, x, 2), tap, name, epsilon=1e-9).sum()
        assert float(total) == pytest.approx(1, abs=1e-4 if "box" not in name else 0.02)


def test_at_a_tap() -> None:
    classifier = small()
    found = explain(classifier, picture(), "lrp-tap", 2, stages=["S1", "S2"])
    for name, tap in classifier.stages.items():
        wanted = relevance(Request(classifier, picture(), 2), tap, "epsilon-plus").sum(0).relu()
        np.testing.assert_allclose(found.stage_maps[name], wanted.numpy(), atol=1e-7)
    assert found.made_by["passes"] == {"forward": 5, "backward": 2}


def test_a_callable_target() -> None:
    classifier, x = small(), picture()
    both = relevance(Request(classifier, x, lambda y: y[1] + 2 * y[2]), None)
    one, two = (relevance(Request(classifier, x, i), None) for i in (1, 2))
    assert_close(both, one + 2 * two)


@pytest.mark.parametrize(
    "network",
    [
        "alexnet", "squeezenet1_1", "densenet121", "googlenet", "mobilenet_v2", "mobilenet_v3_small",
        "shufflenet_v2_x0_5", "efficientnet_b0", "regnet_y_400mf", "resnext50_32x4d",
    ],
)  # fmt: skip
def test_torchvisions_networks(network: str) -> None:
    classifier = camwidgets.wrap(settled(torchvision.models.get_model(network, weights=None)).eval(), input_size=96)
    before, x = state(classifier.module), picture(side=96)
    found = relevance(Request(classifier, x, int(classifier.module(x).argmax())), None)
    assert torch.isfinite(found).all()
    assert float(found.abs().max()) > 0
    assert state(classifier.module) == before


@pytest.mark.parametrize(
    "module", [Tutorial(), Gated(), Written(nn.functional.silu), Written(lambda v: v * v.sigmoid())]
)
def test_functions_and_gates(module: nn.Module) -> None:
    side = 32
    found = explain(camwidgets.wrap(settled(module).eval(), input_size=side), picture(side=side), "lrp")
    assert found.reason is None


class Product(nn.Module):
    def __init__(self, change: Any) -> None:
        super().__init__()
        self.net, self.change = Small(), change

    def forward(self, x: Tensor) -> Tensor:
        return self.change(self.net, x)


@torch.jit.script
def scripted(x: Tensor) -> Tensor:
    return torch.relu(x) * 2


def written(x: Tensor) -> Tensor:
    x = x.clone()
    x[:, 0] = x[:, 1] * 2
    return x


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda net, x: net(x) * net(x), r"a product of two values \(other than a sigmoid gate\)"),
        (lambda net, x: net(x) - net(x), "the difference of two values"),
        (lambda net, x: 1 / net(x), "LRP has no rule for (rdiv|rtruediv|reciprocal|a division by a value)"),
        (lambda net, x: net(x).softmax(1), "no rule for softmax"),
        (lambda net, x: net(scripted(x)), "cannot be seen operation by operation"),
        (lambda net, x: net(written(x)), "writes into a part of a tensor"),
        (lambda net, x: net(torch.nn.functional.layer_norm(x, x.shape[1:])), "ViTs are served by"),
        (lambda net, x: net(torch.nn.functional.batch_norm(x, None, None, training=True)), "statistics from the batch"),
    ],
)
def test_what_has_no_rule_is_refused_in_words(change: Any, said: str) -> None:
    classifier = camwidgets.wrap(Product(change), input_size=16)
    with pytest.raises(ValueError, match=said):
        explain(classifier, picture(), "lrp")


def test_transformers_are_sent_to_their_own_method() -> None:
    reason = unfit(camwidgets.load("vit_b_16", None))
    assert reason is not None
    assert "layer_norm" in reason
    assert "'transformer-lrp'" in reason


def test_the_network_is_left_as_it_was() -> None:
    classifier = small()
    classifier.module.train()
    before, random = state(classifier.module), torch.random.get_rng_state()
    with torch.inference_mode():
        explain(classifier, picture(), "lrp")
    explain(classifier, picture(), "lrp-tap", composite="epsilon-alpha2-beta1")
    assert state(classifier.module) == before
    assert torch.equal(torch.random.get_rng_state(), random)
    broken = camwidgets.wrap(Raises(RuntimeError("stop"), after=4), input_size=16)
    before = state(broken.module)
    assert broken.labels  # one pass, two more for `unfit`, one to compare with; the next is the rewritten one
    assert unfit(broken) is None
    with pytest.raises(RuntimeError, match="stop"):
        relevance(Request(broken, picture(), 1))
    assert state(broken.module) == before


def test_half_precision_and_weights_of_inference_mode() -> None:
    wanted = relevance(Request(small(), picture(), 2))
    half = camwidgets.wrap(small().module.half(), input_size=16)
    found = relevance(Request(half, picture().half(), 2))
    assert found.dtype == torch.float32
    assert_close(found, wanted, 0.05)
    with torch.inference_mode():
        frozen = small()
    assert_close(relevance(Request(frozen, picture(), 2)), wanted, 1e-5)
    assert_close(relevance(Request(small().autocast(torch.bfloat16), picture(), 2)), wanted, 1e-5)


def test_parameters_are_checked() -> None:
    with pytest.raises(ValueError, match="unknown composite 'epsilon-minus'"):
        explain(small(), picture(), "lrp", composite="epsilon-minus")
    with pytest.raises(ValueError, match=r"epsilon .* must be at least 0"):
        explain(small(), picture(), "lrp", epsilon=-1.0)


class Inside(nn.Module):
    """A network that normalises its input itself, in place or not."""

    def __init__(self, net: nn.Module, in_place: bool) -> None:
        super().__init__()
        self.net, self.in_place = net, in_place

    def forward(self, x: Tensor) -> Tensor:
        if not self.in_place:
            return self.net(torch.relu((x - 0.25) / 0.5 * 3 + 1))
        x = x.clone()
        x -= 0.25
        x /= 0.5
        x *= 3
        x += 1
        nn.functional.relu(x, inplace=True)
        return self.net(x)


def test_arithmetic_with_constants_in_place_or_not() -> None:
    net, x = settled(Small()).double().eval(), picture(dtype=torch.float64)
    one, two = (relevance(Request(camwidgets.wrap(Inside(net, way), input_size=16), x, 1)) for way in (False, True))
    assert float(one.abs().max()) > 0
    torch.testing.assert_close(one, two)
    plain = relevance(Request(camwidgets.wrap(net, input_size=16), ((x - 0.25) / 0.5 * 3 + 1).relu(), 1))
    torch.testing.assert_close(one, plain)
