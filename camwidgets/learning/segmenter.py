"""A small segmentation network after DeepLab-LargeFOV, its objective, and its predictions."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..classifiers.guards import undisturbed
from .labelled import MOST_CLASSES, UNKNOWN, Labelled
from .objective import Batch, normalised
from .quality import Confusion

if TYPE_CHECKING:
    from .labelled import Example

WIDTH = 32
RATE = 4
MOST = (MOST_CLASSES, 1024, 64)  # classes, width, rate
DROPOUT = 0.3


class SmallLargeFOV(nn.Module):
    """Pixel logits from a large field of view: DeepLab-LargeFOV (Chen et al., ICLR 2015; TPAMI 2018), made small.

    As there: a VGG-like front whose last pools are left out, atrous convolutions (rate 2) in their place, then "fc6", a
    3×3 convolution of a large rate, "fc7" and the scores, both 1×1, and bilinear upsampling. Otherwise than there: two
    pools in place of three (96×96 → 24×24), batch normalisation, half to three times `width` channels, rate 4 in place
    of 12. 0.13 million parameters at width 32; then conv1_1 … conv3_2 have the shapes of the network "toy", whose
    weights they may begin with, as LargeFOV begins with VGG-16's.

    Args:
        classes: without the background, 1 … 254.
        width: channels, 1 … 1024. rate: of fc6, 1 … 64.

    Raises:
        TypeError, ValueError: a number that is none, or out of range.

    Example:
        >>> net = SmallLargeFOV(3)
        >>> net(torch.zeros(2, 3, 50, 70)).shape
        torch.Size([2, 4, 50, 70])
    """

    def __init__(self, classes: int, width: int = WIDTH, rate: int = RATE) -> None:
        super().__init__()
        for name, value, high in zip(("classes", "width", "rate"), (classes, width, rate), MOST, strict=True):
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} must be a whole number between 1 and {high}, not {value!r}")
            if not 1 <= value <= high:
                raise ValueError(f"{name} must lie between 1 and {high}, not {value}")
        self._config = {"net": "SmallLargeFOV", "classes": classes, "width": width, "rate": rate}
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        _add(layers, "1_1", 3, width // 2 or 1)
        layers["pool1"] = nn.MaxPool2d(2, ceil_mode=True)
        _add(layers, "2_1", width // 2 or 1, width)
        layers["pool2"] = nn.MaxPool2d(2, ceil_mode=True)
        _add(layers, "3_1", width, 3 * width // 2)
        _add(layers, "3_2", 3 * width // 2, 3 * width // 2)
        _add(layers, "4_1", 3 * width // 2, 2 * width, rate=2)
        _add(layers, "fc6", 2 * width, 3 * width, rate=rate)
        layers["drop6"] = nn.Dropout2d(DROPOUT)
        _add(layers, "fc7", 3 * width, 3 * width, kernel=1)
        self.front = nn.Sequential(layers)
        self.scores = nn.Conv2d(3 * width, classes + 1, 1)
        for part in self.front.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def config(self) -> dict[str, Any]:
        """What `build_net` needs to build the same net, in plain values."""
        return dict(self._config)

    def coarse(self, x: Tensor) -> Tensor:
        """Logits before upsampling, B×(C+1)×⌈H/4⌉×⌈W/4⌉."""
        found: Tensor = self.scores(self.front(x))
        return found

    def forward(self, x: Tensor) -> Tensor:
        """B×(C+1)×H×W logits, the background first."""
        return F.interpolate(self.coarse(x), x.shape[-2:], mode="bilinear", align_corners=False)


def build_net(config: Mapping[str, Any]) -> SmallLargeFOV:
    """The untrained net of a `config()`. Raises ValueError or TypeError for what is none.

    Example:
        >>> build_net(SmallLargeFOV(3, width=8).config()).config()
        {'net': 'SmallLargeFOV', 'classes': 3, 'width': 8, 'rate': 4}
    """
    given = dict(config)
    if given.pop("net", None) != "SmallLargeFOV":
        raise ValueError(f"a SmallLargeFOV is built from its own config(); got {dict(config)!r:.120}")
    return SmallLargeFOV(**given)


class SegmentObjective:
    """Cross-entropy per pixel, those at 255 left out: for `train` with a set whose masks are true or pseudo-labels.

        L = −mean_{j: y_j ≠ 255} log softmax(net(x))_{y_j}

    A batch without a single known pixel costs 0. Playback shows each class' probability at the network's resolution.

    Example:
        >>> SegmentObjective().name
        'segment'
    """

    name = "segment"

    def settings(self) -> dict[str, Any]:
        """Nothing can be set."""
        return {}

    def check(self, data: Labelled) -> None:
        """Raise ValueError unless there are masks."""
        data.need_masks()

    def losses(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """{"total": L}."""
        return {"total": self._loss(*self._pixels(net, batch))}

    def validate(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The loss and the share of known pixels that are told right."""
        logits, masks = self._pixels(net, batch)
        known = masks != UNKNOWN
        right = ((logits.argmax(1) == masks) & known).sum() / known.sum().clamp(min=1)
        return {"loss": self._loss(logits, masks), "accuracy": right}

    def end_epoch(self, net: nn.Module, epoch: int) -> dict[str, float]:
        """Nothing to add."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Nothing is kept between steps."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing is kept between steps."""

    def watch(self, net: nn.Module, x: Tensor, ids: tuple[str, ...], present: Tensor) -> dict[str, Tensor]:
        """{"current": each class' probability, B×C×h×w}."""
        coarse = net.coarse if isinstance(net, SmallLargeFOV) else net
        return {"current": coarse(x).softmax(1)[:, 1:]}

    def _pixels(self, net: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        if batch.masks is None:  # none of these pictures has a mask
            masks = torch.full((len(batch), *batch.x.shape[-2:]), UNKNOWN, device=batch.x.device)
        else:
            masks = batch.masks.long()
        logits = net(batch.x)
        if logits.ndim != 4 or logits.shape[-2:] != masks.shape[-2:] or logits.shape[1] != batch.present.shape[1] + 1:
            raise ValueError(
                f"a segmentation network gives {batch.present.shape[1] + 1} logits (background first) for each of "
                f"{tuple(masks.shape[-2:])} pixels; {type(net).__name__} gave a tensor of shape {tuple(logits.shape)}"
            )
        return logits, masks

    def _loss(self, logits: Tensor, masks: Tensor) -> Tensor:
        summed = F.cross_entropy(logits.float(), masks, ignore_index=UNKNOWN, reduction="sum")
        return summed / (masks != UNKNOWN).sum().clamp(min=1)


def predict(net: nn.Module, pictures: Tensor) -> Tensor:
    """The label of each pixel: N×H×W uint8, 0 background, c + 1 class c.

    The network is run in evaluation mode and left as it was.

    Args:
        pictures: N×3×H×W uint8 (what fits into memory at once).

    Raises:
        ValueError: pictures that are none.

    Example:
        >>> predict(SmallLargeFOV(2), torch.zeros(1, 3, 20, 20, dtype=torch.uint8)).shape
        torch.Size([1, 20, 20])
    """
    if pictures.dtype != torch.uint8 or pictures.ndim != 4 or pictures.shape[1] != 3:
        raise ValueError(f"pictures are N×3×H×W uint8; got {pictures.dtype} of shape {tuple(pictures.shape)}")
    where = next((p.device for p in net.parameters()), torch.device("cpu"))
    with undisturbed(net), torch.no_grad():
        logits = net(normalised(pictures.to(where)))
    return logits.argmax(1).to("cpu", torch.uint8)


def predictions(net: nn.Module, data: Labelled, batch: int = 32) -> Iterator[tuple[Example, Tensor]]:
    """(example, its labels H×W uint8) for all of a data set, in batches.

    Raises:
        ValueError: a batch below 1.
    """
    if batch < 1:
        raise ValueError(f"a batch holds at least one picture; got {batch!r}")
    for start in range(0, len(data), batch):
        some = list(data[start : start + batch])
        yield from zip(some, predict(net, torch.stack([one.picture for one in some])), strict=True)


def score(net: nn.Module, data: Labelled, batch: int = 32) -> Confusion:
    """A network's labels against the true masks: IoU per class, mIoU ([000] 3.12).

    Raises:
        ValueError: a data set without masks.
    """
    data.need_masks()
    found = Confusion(data.classes)
    for example, labels in predictions(net, data, batch):
        if example.mask is not None:
            found.add(labels, example.mask)
    return found


def _add(layers: OrderedDict[str, nn.Module], name: str, fed: int, width: int, kernel: int = 3, rate: int = 1) -> None:
    around = rate * (kernel // 2)
    layers[f"conv{name}"] = nn.Conv2d(fed, width, kernel, padding=around, dilation=rate, bias=False)
    layers[f"norm{name}"] = nn.BatchNorm2d(width)
    layers[f"relu{name}"] = nn.ReLU()
