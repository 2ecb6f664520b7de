"""Where networks are tapped: every torchvision family, timm, and networks as people write them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import camwidgets
from camwidgets import Classifier, wrap
from tests.nets import Gated, SharedSkip, Small, Tutorial, Written, picture, settled

RELU_ONLY = {"relu", "relu6"}

# Family → (input side, the stage taps where we know them, else None). The sides are small, to be quick.
FAMILIES: dict[str, tuple[int, list[str] | None]] = {
    "alexnet": (96, ["features.1", "features.4", "features.11"]),
    "vgg16": (64, ["features.3", "features.8", "features.15", "features.22", "features.29"]),
    "vgg16_bn": (64, ["features.5", "features.12", "features.22", "features.32", "features.42"]),
    "resnet18": (96, ["relu", "layer1", "layer2", "layer3", "layer4"]),
    "resnet50": (96, ["relu", "layer1", "layer2", "layer3", "layer4"]),
    "resnext50_32x4d": (96, ["relu", "layer1", "layer2", "layer3", "layer4"]),
    "wide_resnet50_2": (96, ["relu", "layer1", "layer2", "layer3", "layer4"]),
    "densenet121": (
        96,
        ["features.relu0", *(f"features.transition{i}.relu" for i in (1, 2, 3)), "features:relu"],
    ),
    "inception_v3": (139, ["Conv2d_2b_3x3", "Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c"]),
    "googlenet": (96, ["conv1", "conv3", "inception3b", "inception4e", "inception5b"]),
    "squeezenet1_0": (96, ["features.1", "features.5", "features.10", "classifier.2"]),
    "mobilenet_v2": (96, [*(f"features.{i}.conv.0" for i in (2, 4, 7, 14)), "features"]),
    "mobilenet_v3_small": (96, None),
    "mobilenet_v3_large": (96, None),
    "mnasnet0_5": (96, None),
    "shufflenet_v2_x0_5": (96, ["conv1", "stage2.0.branch2.2", "stage2", "stage3", "conv5"]),
    "efficientnet_b0": (96, None),
    "efficientnet_v2_s": (96, None),
    "regnet_y_400mf": (96, ["stem", *(f"trunk_output.block{i}" for i in (1, 2, 3)), "trunk_output"]),
    "convnext_tiny": (96, None),
}


def random_weights(name: str, side: int) -> Classifier:
    """A torchvision network with seeded weights; built without PyTorch's slow default initialisation."""
    import torchvision

    options = {"transform_input": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with torch.device("cpu" if name.startswith("regnet") else "meta"):  # RegNet computes its widths with tensors
        module = torchvision.models.get_model(name, weights=None, **options)
    return wrap(settled(module.to_empty(device="cpu")).eval(), input_size=side, name=name)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_of_torchvision_has_the_right_taps(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    side, known = FAMILIES[name]
    classifier = random_weights(name, side)
    with capsys.disabled():
        print(f"\n{classifier!r}")
    stages = list(classifier.stages.values())
    assert list(classifier.stages) == [f"S{i + 1}" for i in range(len(stages))]
    assert 3 <= len(stages) <= 5
    if known is not None:
        assert [str(tap) for tap in stages] == known
    for shallow, deep in itertools.pairwise(stages):
        assert deep.size[0] < shallow.size[0]
        assert deep.size[1] < shallow.size[1]
        assert deep.stride > shallow.stride
        assert deep.receptive_field.size[0] > shallow.receptive_field.size[0]
    assert stages[-1].size != (1, 1)

    evidence = camwidgets.capture(classifier, picture(side=side))
    assert not evidence.cut_off
    for tap in stages:
        A, g = evidence.activations[tap], evidence.gradients[tap]
        assert tuple(A.shape) == (1, tap.channels, *tap.size) == tuple(g.shape)
        assert tap.activation is not None
        assert float(A.abs().max()) > 0
        assert float(g.abs().max()) > 0, f"no gradient arrives at {tap}"
        if tap.activation in RELU_ONLY:
            assert float(A.min()) == 0
        else:
            assert tap.activation in ("hardswish", "silu", "gelu")
            assert -0.4 < float(A.min()) <= 0, f"{tap}: a smooth activation dips a little below 0, its input far"


def test_no_later_rectified_value_at_that_resolution_carries_everything() -> None:
    """ResNet: inside layer1 there are later ReLU *calls* at 56 pixels than layer1.0, none after layer1's output."""
    taps = random_weights("resnet18", 96).taps
    assert taps["layer1.1.relu@1"].size == taps["layer1"].size
    assert not taps["layer1"].bypassed
    assert taps["layer1.1.relu"].bypassed, "the shortcut goes around the ReLU inside a block"


# --------------------------------------------------------------------------------------------- other people's nets


@pytest.mark.parametrize(
    ("name", "count", "kind"),
    [("resnet18", 5, "relu"), ("mobilenetv3_small_050", 5, None), ("convnext_atto", 4, "gelu")],
)
def test_timm(name: str, count: int, kind: str | None) -> None:
    timm = pytest.importorskip("timm")
    classifier = wrap(settled(timm.create_model(name, pretrained=False)).eval(), input_size=96, name=name)
    assert len(classifier.stages) == count
    sizes = [tap.size[0] for tap in classifier.stages.values()]
    assert sizes == sorted(set(sizes), reverse=True)
    if name == "resnet18":  # timm calls its activation act1; the stages are the same
        assert [str(tap) for tap in classifier.stages.values()] == ["act1", "layer1", "layer2", "layer3", "layer4"]
    evidence = camwidgets.capture(classifier, picture(side=96), 3)
    for tap in classifier.stages.values():
        assert kind in (None, tap.activation)
        assert float(evidence.gradients[tap].abs().max()) > 0


def test_tutorial_network() -> None:
    net = settled(Tutorial()).eval()
    classifier = wrap(net, input_size=32)
    assert {k: str(v) for k, v in classifier.stages.items()} == {"S1": "conv1:relu", "S2": "conv2:relu"}
    assert [tap.size for tap in classifier.stages.values()] == [(28, 28), (10, 10)]
    x = picture(side=32)
    evidence = camwidgets.capture(classifier, x, 4)
    torch.testing.assert_close(evidence.activations["conv1:relu"], F.relu(net.conv1(x)).detach())


def _statement(x: Tensor) -> Tensor:
    x.relu_()  # the return value is ignored
    return x


def _function_statement(x: Tensor) -> Tensor:
    F.relu(x, inplace=True)
    return x


WRITTEN: dict[str, tuple[Callable[[Tensor], Any], Callable[[Tensor], Tensor], str]] = {
    "F.relu": (F.relu, torch.relu, "relu"),
    "F.relu in place": (lambda x: F.relu(x, inplace=True), torch.relu, "relu"),
    "F.relu positional in place": (lambda x: F.relu(x, True), torch.relu, "relu"),
    "F.relu keyword": (lambda x: F.relu(input=x), torch.relu, "relu"),
    "F.relu keyword in place": (lambda x: F.relu(input=x, inplace=True), torch.relu, "relu"),
    "relu_": (torch.relu_, torch.relu, "relu"),
    "method": (lambda x: x.relu(), torch.relu, "relu"),
    "statement": (_statement, torch.relu, "relu"),
    "function statement": (_function_statement, torch.relu, "relu"),
    "clamp": (lambda x: x.clamp(min=0), torch.relu, "relu"),
    "clip": (lambda x: x.clip(0), torch.relu, "relu"),
    "clamp_min": (lambda x: x.clamp_min(0), torch.relu, "relu"),
    "threshold": (lambda x: F.threshold(x, 0.0, 0.0), torch.relu, "relu"),
    "relu6": (F.relu6, lambda x: x.clamp(0, 6), "relu6"),
    "clamp to a range": (lambda x: x.clamp(0, 1), lambda x: x.clamp(0, 1), "clamp"),
    "leaky": (F.leaky_relu, lambda x: torch.where(x > 0, x, 0.01 * x), "leaky_relu"),
    "silu": (F.silu, lambda x: x / (1 + torch.exp(-x)), "silu"),
    "x·σ(x)": (lambda x: x * torch.sigmoid(x), lambda x: x / (1 + torch.exp(-x)), "silu"),
    "σ(x)·x": (lambda x: torch.sigmoid(x) * x, lambda x: x / (1 + torch.exp(-x)), "silu"),
    "mul(σ(x))": (lambda x: torch.mul(x, x.sigmoid()), lambda x: x / (1 + torch.exp(-x)), "silu"),
    "x *= σ(x)": (lambda x: x.mul_(x.sigmoid()), lambda x: x / (1 + torch.exp(-x)), "silu"),
    "hardswish written out": (
        lambda x: x * F.hardsigmoid(x), lambda x: x * torch.clamp(x + 3, 0, 6) / 6, "hardswish"
    ),
    "gelu": (F.gelu, lambda x: x * (1 + torch.erf(x / 2**0.5)) / 2, "gelu"),
    "elu": (F.elu, lambda x: torch.where(x > 0, x, torch.exp(x) - 1), "elu"),
    "celu": (F.celu, lambda x: torch.where(x > 0, x, torch.exp(x) - 1), "elu"),
    "selu": (F.selu, torch.selu, "elu"),
}  # fmt: skip


@pytest.mark.parametrize("pool_first", [False, True], ids=["", "pooled first"])
@pytest.mark.parametrize("how", WRITTEN)
def test_activations_written_as_functions(how: str, pool_first: bool) -> None:
    activate, formula, kind = WRITTEN[how]
    net = settled(Written(activate, pool_first)).double().eval()
    classifier = wrap(net, input_size=16)
    assert [str(tap) for tap in classifier.stages.values()] == [f"conv1:{kind}", f"conv2:{kind}"]
    x = picture(dtype=torch.float64)
    evidence = camwidgets.capture(classifier, x, 1)

    sites, y = [], x
    for conv in (net.conv1, net.conv2):
        y = F.max_pool2d(conv(y), 2) if pool_first else conv(y)
        y = formula(y)
        sites.append(y)
        y = y if pool_first else F.max_pool2d(y, 2)
    wanted = torch.autograd.grad(net.fc(y.mean((2, 3)))[0, 1], sites)
    for tap, a, g in zip(classifier.stages.values(), sites, wanted, strict=True):
        torch.testing.assert_close(evidence.activations[tap], a.detach())
        torch.testing.assert_close(evidence.gradients[tap], g)


def test_a_gate_is_no_swish() -> None:
    classifier = wrap(settled(Gated()).eval(), input_size=16)
    assert [str(tap) for tap in classifier.stages.values()] == ["stem"]


def test_a_clamp_elsewhere_is_no_tap() -> None:
    """The tap is the ReLU, although a clamp of another kind meets the same tensor before it."""
    net = settled(Written(lambda x: F.relu(x.clamp(-0.5, 0.5)))).eval()
    classifier = wrap(net, input_size=16)
    evidence = camwidgets.capture(classifier, picture(), 0)
    A = evidence.activations["conv1:relu"]
    assert 0 <= float(A.min()) <= float(A.max()) <= 0.5
    torch.testing.assert_close(A, F.relu(net.conv1(picture()).clamp(-0.5, 0.5)).detach())


class Added(nn.Module):
    """x + ReLU(conv(x)) and then the mean: the sum is rectified, but no activation function made it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv, self.act = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3, padding=1), nn.ReLU()
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        out: Tensor = self.head((x + self.act(self.conv(x))).mean((2, 3)))
        return out


def test_a_sum_of_rectified_values_is_no_activation() -> None:
    classifier = wrap(settled(Added()), input_size=32)
    assert "act:relu" not in classifier.taps
    assert [str(tap) for tap in classifier.stages.values()] == ["stem:relu"]
    for tap in classifier.taps:
        assert camwidgets.explain(classifier, picture(side=32), "gradcam", target=0, stages=[tap]).stage_maps


def test_a_module_called_often_gives_a_tap_for_each_call() -> None:
    classifier = wrap(settled(SharedSkip()).eval(), input_size=16)
    assert [str(tap) for tap in classifier.stages.values()] == ["act@1", "act@2"]
    assert {"act", "act@1", "act@2", "conv", "conv@1"} <= set(classifier.taps)
    assert [classifier.taps[f"act{n}"].call for n in ("", "@1", "@2")] == [0, 1, 2]
    assert classifier.taps["conv"].activation is None


def test_channels_last_arrives_channels_first() -> None:
    classifier = random_weights("convnext_tiny", 96)
    tap = classifier.stages["S2"]
    assert tap.layout == "channels-last"
    A, g = camwidgets.capture(classifier, picture(side=96), 0, taps=["S2"]).at("S2")
    raw: list[Tensor] = []
    handle = classifier.module.get_submodule(tap.module).register_forward_hook(lambda m, i, out: raw.append(out))
    with torch.no_grad():
        classifier.module(picture(side=96))
    handle.remove()
    assert tuple(raw[0].shape) == (1, *tap.size, tap.channels)
    torch.testing.assert_close(A, raw[0].permute(0, 3, 1, 2))
    assert g.shape == A.shape


def test_a_network_without_spatial_activations_says_so() -> None:
    classifier = wrap(nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 8), nn.ReLU(), nn.Linear(8, 4)), input_size=8)
    assert classifier.stages == {}
    assert "4 classes" in repr(classifier)
    assert len(classifier.predict(torch.zeros(1, 3, 8, 8), 2)) == 2
    with pytest.raises(ValueError, match="no spatial activations"):
        camwidgets.explain(classifier, torch.zeros(1, 3, 8, 8))


def test_a_leaf_with_hidden_layers_does_not_claim_its_input_is_the_value_before() -> None:
    class ConvRelu(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 3, 3, 3))

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(F.conv2d(x, self.weight))

    classifier = wrap(nn.Sequential(ConvRelu(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)), input_size=16)
    assert classifier.stages["S1"].before is None
    plain = wrap(settled(Small()).eval(), input_size=16)
    assert plain.stages["S1"].before == ("relu1", 0, "input")


def test_printing() -> None:
    lines = repr(random_weights("resnet18", 96)).splitlines()
    assert lines[0] == "resnet18: 1000 classes, 11.7 M parameters, on cpu"
    assert lines[1].split() == ["stage", "tap", "resolution", "channels", "activation", "receptive", "field"]
    assert lines[2].split() == ["S1", "relu", "48×48", "64", "relu", "7×7", "px"]
    assert len(lines) == 7


# ------------------------------------------------------------------------------------------------ receptive fields


@pytest.mark.parametrize(
    ("name", "side", "stages"),
    [
        ("resnet18", 160, ["S1", "S2", "S3"]),
        ("vgg11", 128, ["S1", "S2", "S3", "S4"]),
        ("alexnet", 224, ["S1", "S2", "S3"]),
        ("squeezenet1_0", 160, ["S1", "S2", "S3"]),
        ("mobilenet_v2", 128, ["S1", "S2", "S3"]),
        ("densenet121", 96, ["S1", "S2"]),
        ("inception_v3", 139, ["S1", "S2", "S3"]),
        ("efficientnet_lite0", 160, ["S1", "S2", "S3"]),
    ],
)
def test_receptive_fields_by_numbers(name: str, side: int, stages: list[str]) -> None:
    """The input pixels that one position really depends on fill the declared window exactly: no pixel outside it."""
    if name == "efficientnet_lite0":
        from camwidgets.classifiers.lite0 import EfficientNetLite0

        classifier = wrap(settled(EfficientNetLite0()).eval(), input_size=side)
    else:
        classifier = random_weights(name, side)
    taps = [classifier.stages[stage] for stage in stages]
    spots = {tap: (tap.size[0] // 2, tap.size[1] // 3) for tap in taps}
    seen = {tap: torch.zeros(side, side, dtype=torch.bool) for tap in taps}
    for seed in range(4):  # a max-pool looks at one of its positions at a time: several pictures show all
        for tap, depends in _dependence(classifier, picture(side=side, seed=seed), spots).items():
            seen[tap] |= depends
    for tap in taps:
        ys, xs = torch.nonzero(seen[tap].any(1)).flatten(), torch.nonzero(seen[tap].any(0)).flatten()
        measured = (int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1)
        assert measured == tap.receptive_field.window(*spots[tap], (side, side)), tap


def _dependence(classifier: Classifier, x: Tensor, spots: dict[Any, tuple[int, int]]) -> dict[Any, Tensor]:
    """Which pixels have a gradient at one position of each tap, by plain autograd."""
    outs: dict[Any, Tensor] = {}
    handles = []
    for tap in spots:
        module = classifier.module.get_submodule(tap.module)
        handles.append(module.register_forward_hook(lambda m, i, out, tap=tap: outs.__setitem__(tap, out.clone())))
    x = x.clone().requires_grad_()
    classifier.module(x)
    for handle in handles:
        handle.remove()
    weights = {tap: torch.rand(out.shape[1], generator=torch.Generator().manual_seed(3)) for tap, out in outs.items()}
    return {
        tap: torch.autograd.grad((out[0, :, i, j] * weights[tap]).sum(), x, retain_graph=True)[0][0].ne(0).any(0)
        for tap, out in outs.items()
        for i, j in [spots[tap]]
    }


def test_windows_are_cut_to_the_picture() -> None:
    tap = random_weights("resnet18", 96).stages["S3"]
    x0, y0, x1, y1 = tap.receptive_field.window(0, 0, (96, 96))
    assert (x0, y0) == (0, 0)
    assert x1 == y1 == 99 - 49
