"""Networks whose maps are at hand in the forward pass: the classification net of OAA and the one with two branches."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import unknown

STAGES = ((16,), (32,), (48, 48), (96, 96))
FURTHER = 3  # convolutions behind the backbone ([000] 4.2.2)
MOST_CHANNELS = 4096
MOST_CLASSES = 100_000


class AttentionNet(nn.Module):
    """A VGG-like net that ends in one map a class: p^c = σ(GAP(F^c)) ([000] (4.1), figure 4.4).

    3×3 convolutions with batch normalisation and ReLU, max-pooling between the stages; three further convolutions of
    the same resolution (`further`); `class_conv`, 1×1, makes the maps F (C channels); their means are the logits. 0.4
    million parameters.

    With the default stages a map has an eighth of the picture's side (96×96 → 12×12), and one position of it sees 110
    pixels: maps of small objects spread. Three stages, ((16,), (32,), (48, 48)), give maps of a quarter of the side,
    each position of which sees 50 pixels.

    Args:
        classes: number of maps and logits.
        stages: widths of the convolutions of each stage. width: of the three further ones.

    Raises:
        TypeError, ValueError: a number that is none of the kind, or out of range.

    Example:
        >>> net = AttentionNet(10)
        >>> x = torch.zeros(2, 3, 96, 96)
        >>> net(x).shape, net.scores(x).shape
        (torch.Size([2, 10]), torch.Size([2, 10, 12, 12]))
    """

    def __init__(self, classes: int, stages: Sequence[Sequence[int]] = STAGES, width: int = 96) -> None:
        super().__init__()
        self._config = _checked("AttentionNet", classes, stages, width)
        self.backbone = _backbone(stages)
        self.further = _further(stages[-1][-1], width)
        self.class_conv = nn.Conv2d(width, classes, 1)
        _begin(self)

    def config(self) -> dict[str, Any]:
        """What `build_net` needs to build the same net, in plain values."""
        return dict(self._config)

    def features(self, x: Tensor) -> Tensor:
        """B×K×h×w ≥ 0: what `class_conv` is fed with, the last features."""
        found: Tensor = self.further(self.backbone(x))
        return found

    def scores(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """F, B×C×h×w: one map a class, before any activation. `keep` (B×1×h×w) multiplies the last features."""
        features = self.features(x)
        found: Tensor = self.class_conv(features if keep is None else features * keep)
        return found

    def forward(self, x: Tensor) -> Tensor:
        """B×C logits, GAP(F)."""
        return self.scores(x).mean((-2, -1))


class TwoBranchNet(nn.Module):
    """OAA that also gives maps of pictures it was not trained on ([000] 4.3.5, figure 4.13).

    Behind one backbone stand two branches, each of three convolutions and a 1×1 class convolution: F1 classifies, and
    its maps are accumulated; F2 learns the accumulated maps by the hybrid loss, and gives the maps afterwards.

    Args:
        classes, stages, width: as in `AttentionNet`.

    Example:
        >>> net = TwoBranchNet(10)
        >>> x = torch.zeros(1, 3, 96, 96)
        >>> net(x).shape, net.attention(x).shape
        (torch.Size([1, 10]), torch.Size([1, 10, 12, 12]))
    """

    def __init__(self, classes: int, stages: Sequence[Sequence[int]] = STAGES, width: int = 96) -> None:
        super().__init__()
        self._config = _checked("TwoBranchNet", classes, stages, width)
        self.backbone = _backbone(stages)
        self.further1 = _further(stages[-1][-1], width)
        self.class_conv1 = nn.Conv2d(width, classes, 1)
        self.further2 = _further(stages[-1][-1], width)
        self.class_conv2 = nn.Conv2d(width, classes, 1)
        _begin(self)

    def config(self) -> dict[str, Any]:
        """What `build_net` needs to build the same net, in plain values."""
        return dict(self._config)

    def scores(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """F1, B×C×h×w, before any activation. `keep` (B×1×h×w) multiplies the last features of this branch."""
        return self._first(self.backbone(x), keep)

    def both(self, x: Tensor, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(F1, F2), each B×C×h×w, from one pass of the backbone; `keep` is for F1 alone."""
        shared = self.backbone(x)
        second: Tensor = self.class_conv2(self.further2(shared))
        return self._first(shared, keep), second

    def _first(self, shared: Tensor, keep: Tensor | None) -> Tensor:
        features = self.further1(shared)
        found: Tensor = self.class_conv1(features if keep is None else features * keep)
        return found

    def attention(self, x: Tensor) -> Tensor:
        """σ(F2), B×C×h×w in [0, 1]: the maps for pictures that were not trained on."""
        found: Tensor = self.class_conv2(self.further2(self.backbone(x)))
        return found.sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """B×C logits, GAP(F1)."""
        return self.scores(x).mean((-2, -1))


_NETS: dict[str, type[AttentionNet] | type[TwoBranchNet]] = {"AttentionNet": AttentionNet, "TwoBranchNet": TwoBranchNet}


def build_net(config: Mapping[str, Any]) -> nn.Module:
    """The untrained net of a `config()`.

    Raises:
        ValueError, TypeError: an unknown net, or parameters that are none of it.

    Example:
        >>> build_net(AttentionNet(3).config()).class_conv
        Conv2d(96, 3, kernel_size=(1, 1), stride=(1, 1))
    """
    given = dict(config)
    name = given.pop("net", None)
    if name not in _NETS:
        raise unknown("network", name, _NETS)
    for key in given:
        if key not in ("classes", "stages", "width"):
            raise unknown(f"parameter of {name}", key, ("classes", "stages", "width"))
    return _NETS[name](**given)


def attention_maps(F: Tensor, present: Tensor) -> Tensor:
    """A^c = ReLU(F^c) / max F^c in [0, 1] for the classes present, 0 for all others ([000] (4.2)).

    Where nothing speaks for a class (max F^c ≤ 0, or it is not finite) its map is 0 everywhere.

    Args:
        F: B×C×h×w. present: B×C bool.
    Raises:
        ValueError: shapes that do not go together.

    Example:
        >>> attention_maps(torch.tensor([[[[4.0, -1.0], [2.0, 0.0]]]]), torch.tensor([[True]]))
        tensor([[[[1.0000, 0.0000],
                  [0.5000, 0.0000]]]])
    """
    if F.ndim != 4 or present.shape != F.shape[:2]:
        raise ValueError(f"F must be B×C×h×w and present B×C; got {tuple(F.shape)} and {tuple(present.shape)}")
    A = F.relu()
    counts = present.to(F.device, torch.bool)[..., None, None] & A.amax((-2, -1), keepdim=True).isfinite()
    return scaled(torch.where(counts, A, 0.0))


def scaled(maps: Tensor) -> Tensor:
    """Each map (…×h×w, ≥ 0) divided by its maximum, in the graph; 0 where the maximum is 0.

    Example:
        >>> scaled(torch.tensor([[[4.0, 1.0]], [[0.0, 0.0]]]))
        tensor([[[1.0000, 0.2500]],
        <BLANKLINE>
                [[0.0000, 0.0000]]])
    """
    highest = maps.amax((-2, -1), keepdim=True)
    return torch.where(highest > 0, maps / torch.where(highest > 0, highest, 1.0), 0.0)


def _backbone(stages: Sequence[Sequence[int]]) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    width = 3
    for i, stage in enumerate(stages, start=1):
        for k, channels in enumerate(stage, start=1):
            _add(layers, f"{i}_{k}", width, channels)
            width = channels
        if i < len(stages):
            layers[f"pool{i}"] = nn.MaxPool2d(2)
    return nn.Sequential(layers)


def _further(width: int, channels: int) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for k in range(1, FURTHER + 1):
        _add(layers, str(k), width, channels)
        width = channels
    return nn.Sequential(layers)


def _add(layers: OrderedDict[str, nn.Module], name: str, width: int, channels: int) -> None:
    layers[f"conv{name}"] = nn.Conv2d(width, channels, 3, padding=1, bias=False)
    layers[f"norm{name}"] = nn.BatchNorm2d(channels)
    layers[f"relu{name}"] = nn.ReLU()


def _begin(net: nn.Module) -> None:
    """He's initialisation, as each convolution is followed by a ReLU."""
    for part in net.modules():
        if isinstance(part, nn.Conv2d) and part.kernel_size == (3, 3):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")


def _checked(name: str, classes: Any, stages: Any, width: Any) -> dict[str, Any]:
    _whole("classes", classes, MOST_CLASSES)
    _whole("width", width, MOST_CHANNELS)
    fine = isinstance(stages, (list, tuple)) and all(isinstance(one, (list, tuple)) and one for one in stages)
    if not fine or not 1 <= len(stages) <= 8 or any(len(one) > 8 for one in stages):
        raise ValueError(f"stages are 1 … 8 lists of 1 … 8 widths, ((16,), (32, 32)) for example; got {stages!r:.80}")
    for one in stages:
        for channels in one:
            _whole("a width in stages", channels, MOST_CHANNELS)
    return {"net": name, "classes": classes, "stages": [list(one) for one in stages], "width": width}


def _whole(name: str, value: Any, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number between 1 and {high}, not {value!r}")
    if not 1 <= value <= high:
        raise ValueError(f"{name} must lie between 1 and {high}, not {value}")
