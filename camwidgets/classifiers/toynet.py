"""The small networks that ship with the kit: three for the toy world, one for the textures.

The convolutional ones hold nothing but convolutions, ReLUs and pooling (batch normalisation was folded into the
convolutions), so a decomposition of theirs is exact up to the biases. `tools/train_toy.py` trains them; how each was
made and how good it is stands beside the weights in `camwidgets/datasets/weights/<name>.json`.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, NamedTuple

import torch
from torch import nn

from camwidgets.errors import unknown

Triple = tuple[float, float, float]
NAMES: tuple[str, ...] = ("toy", "toy-shortcut", "defects", "toy-vit")
MEAN: Triple = (0.5, 0.5, 0.5)
STD: Triple = (0.25, 0.25, 0.25)


class ToyNet(nn.Module):
    """A VGG-like net of five stages: 3×3 convolutions and ReLUs, max-pooling between stages, mean, linear.

    A 96×96 picture gives stages of 96, 48, 24, 12 and 6 pixels; their taps are relu1_1, relu2_1, relu3_2,
    relu4_2 and relu5_2.

    Args:
        classes: number of logits.
        norm: put a batch normalisation behind each convolution (for training; `fold` takes them out again).

    Example:
        >>> ToyNet(10)(torch.zeros(2, 3, 96, 96)).shape
        torch.Size([2, 10])
    """

    stages: tuple[tuple[int, ...], ...] = ((16,), (32,), (48, 48), (96, 96), (128, 128))

    def __init__(self, classes: int = 10, *, norm: bool = False) -> None:
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        width = 3
        for i, stage in enumerate(self.stages, start=1):
            for k, channels in enumerate(stage, start=1):
                layers[f"conv{i}_{k}"] = nn.Conv2d(width, channels, 3, padding=1, bias=not norm)
                if norm:
                    layers[f"norm{i}_{k}"] = nn.BatchNorm2d(channels)
                layers[f"relu{i}_{k}"] = nn.ReLU()
                width = channels
            if i < len(self.stages):
                layers[f"pool{i}"] = nn.MaxPool2d(2)
        self.features = nn.Sequential(layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(self.pool(self.features(x)).flatten(1))
        return logits


class Block(nn.Module):
    """Two convolutions (3×3, then size×size) beside a shortcut: ReLU(conv(ReLU(conv(x))) + shortcut(x))."""

    def __init__(self, width: int, channels: int, stride: int, size: int, *, norm: bool) -> None:
        super().__init__()
        self.conv1 = _convolution(width, channels, 3, stride, norm)
        self.relu1 = nn.ReLU()
        self.conv2 = _convolution(channels, channels, size, 1, norm)
        same = stride == 1 and width == channels
        self.shortcut = nn.Identity() if same else _convolution(width, channels, 1, stride, norm)
        self.relu2 = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.relu2(self.conv2(self.relu1(self.conv1(x))) + self.shortcut(x))
        return out


class DefectNet(nn.Module):
    """A ResNet-like net of four stages, one residual block each: 64, 32, 16 and 8 pixels for a 128×128
    picture.

    The taps of the stages are the outputs of layer1 … layer4; one position of theirs sees 13, 17, 25 and 41 pixels.
    A defect is a small thing, and so narrow a view keeps what is known about it in its place.

    Args:
        classes: number of logits.
        norm: with batch normalisation (for training; `fold` takes it out again).

    Example:
        >>> DefectNet(2)(torch.zeros(1, 3, 128, 128)).shape
        torch.Size([1, 2])
    """

    widths: tuple[int, ...] = (16, 32, 64, 96)

    def __init__(self, classes: int = 2, *, norm: bool = False) -> None:
        super().__init__()
        first, second, third, fourth = self.widths
        self.stem = _convolution(3, first, 5, 2, norm)
        self.relu = nn.ReLU()
        self.layer1 = Block(first, first, 1, 3, norm=norm)
        self.layer2 = Block(first, second, 2, 1, norm=norm)
        self.layer3 = Block(second, third, 2, 1, norm=norm)
        self.layer4 = Block(third, fourth, 2, 1, norm=norm)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(fourth, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.stem(x))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: torch.Tensor = self.classifier(self.pool(x).flatten(1))
        return logits


def small_transformer(classes: int = 10, *, norm: bool = False) -> nn.Module:
    """torchvision's VisionTransformer, small: 96×96 pictures as 12×12 tokens and a class token, four blocks.

    64 channels, four heads. Three convolutions with stride 2 cut the patches ("Early convolutions help transformers see
    better", Xiao et al., NeurIPS 2021): after five epochs it is right in 93 % of the toy
    world, without them in 71 %.

    Args:
        classes: number of logits.
        norm: put a batch normalisation behind each convolution but the last (for training; `fold` takes them out).

    Example:
        >>> small_transformer()(torch.zeros(1, 3, 96, 96)).shape
        torch.Size([1, 10])
    """
    from torchvision.models.vision_transformer import ConvStemConfig, VisionTransformer

    behind: Any = nn.BatchNorm2d if norm else None
    stem = [ConvStemConfig(width, 3, 2, behind) for width in (16, 32, 64)]
    net = VisionTransformer(
        96, 8, num_layers=4, num_heads=4, hidden_dim=64, mlp_dim=128, num_classes=classes, conv_stem_configs=stem
    )
    nn.init.trunc_normal_(net.heads.get_submodule("head").get_parameter("weight"), std=0.02)  # torchvision has it at 0
    return net


def _convolution(width: int, channels: int, size: int, stride: int, norm: bool) -> nn.Module:
    conv = nn.Conv2d(width, channels, size, stride, size // 2, bias=not norm)
    return nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(channels))) if norm else conv


class ToyModel(NamedTuple):
    """A shipped network and what one must know to use it: pixels in [0, 1] become (x − mean)/std."""

    module: nn.Module
    labels: list[str]
    input_size: tuple[int, int]
    mean: Triple
    std: Triple


def toy_model(name: str) -> ToyModel:
    """Load a shipped network: "toy", "toy-shortcut", "defects" or "toy-vit"; in eval mode, float32, on the CPU.

    Raises:
        ValueError: an unknown name.

    Example:
        >>> toy_model("toy").labels[:3]
        ['cat', 'dog', 'bird']
    """
    card = toy_card(name)
    module = build(name)
    module.load_state_dict(load_toy_weights(name))
    height, width = card["input_size"]
    return ToyModel(module.eval(), list(card["labels"]), (height, width), MEAN, STD)


def build(name: str, *, norm: bool = False) -> nn.Module:
    """The untrained network of that name."""
    if name not in NAMES:
        raise unknown("toy network", name, NAMES)
    if name == "toy-vit":
        return small_transformer(10, norm=norm)
    return DefectNet(2, norm=norm) if name == "defects" else ToyNet(10, norm=norm)


def load_toy_weights(name: str) -> dict[str, torch.Tensor]:
    """The shipped weights as float32 tensors (stored as float16 safetensors; nothing is unpickled)."""
    from safetensors.torch import load

    stored = load(_weight_file(name, "safetensors").read_bytes())
    return {key: tensor.float() for key, tensor in stored.items()}


def toy_card(name: str) -> dict[str, Any]:
    """How a shipped network was made and how good it is.

    Labels, seed, data, accuracies, seconds of training.
    """
    card: dict[str, Any] = json.loads(_weight_file(name, "json").read_text(encoding="utf-8"))
    return card


def _weight_file(name: str, suffix: str) -> Traversable:
    if name not in NAMES:
        raise unknown("toy network", name, NAMES)
    return resources.files("camwidgets.datasets") / "weights" / f"{name}.{suffix}"


def fold(trained: nn.Module, plain: nn.Module) -> nn.Module:
    """Copy a network with batch normalisation into the same network without, which computes the same in eval
    mode.

    w' = w · γ/√(σ²+ε), b' = β − μ · γ/√(σ²+ε) for each convolution and the normalisation behind it.
    """
    modules, state = dict(trained.named_modules()), trained.state_dict()
    plain.load_state_dict({name: state.get(name, tensor) for name, tensor in plain.state_dict().items()})
    with torch.no_grad():
        for name, target in plain.named_modules():
            pair = _normalised(modules, name) if isinstance(target, nn.Conv2d) else None
            if pair is None:
                continue
            conv, norm = pair
            assert isinstance(target, nn.Conv2d)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            assert target.bias is not None
            scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            target.weight.copy_(conv.weight * scale[:, None, None, None])
            target.bias.copy_(norm.bias - norm.running_mean * scale)
    return plain.eval()


def _normalised(modules: dict[str, nn.Module], name: str) -> tuple[nn.Conv2d, nn.BatchNorm2d] | None:
    """The convolution of that name in the network that was trained, and the normalisation behind it, if there is one.

    Three ways of naming: `conv1_1` and `norm1_1`; `stem.conv` and `stem.norm` for `stem`; torchvision's `….0`, `….1`.
    """
    conv = modules.get(f"{name}.conv", modules[name])
    names = (f"{name}.norm", name.replace("conv", "norm"), f"{name.removesuffix('.0')}.1")
    norm = next((modules[one] for one in names if isinstance(modules.get(one), nn.BatchNorm2d)), None)
    return (conv, norm) if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) else None
