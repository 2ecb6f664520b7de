"""What `train` minimises for classification alone, and what other objectives share with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..classifiers.guards import undisturbed
from ..errors import choose
from .accumulated import Maps
from .losses import multi_label_bce
from .nets import AttentionNet, attention_maps
from .objective import Batch

if TYPE_CHECKING:
    from .labelled import Labelled

LABELS = ("multi-label", "single-label")


class ClassifierObjective:
    """Classification alone; the maps of its last epoch are what CAM gives.

    Args:
        labels: "multi-label": C binary cross-entropies, for pictures with none or several classes ([000] 4.2.2);
            "single-label": softmax cross-entropy, for pictures with exactly one; None = as the data are (`check`).
    """

    name = "classifier"

    def __init__(self, labels: str | None = None) -> None:
        self._asked = None if labels is None else choose("kind of labels", labels, LABELS)
        self.labels = self._asked or LABELS[0]

    def settings(self) -> dict[str, Any]:
        """Plain values that tell runs apart."""
        return {"labels": self.labels}

    def check(self, data: Labelled) -> None:
        """ValueError if the data's labels are of the other kind."""
        self.labels = self._asked or LABELS[0 if data.multi_label else 1]
        check_labels(data, self.labels)

    def losses(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {"total": classification_loss(net(batch.x), batch.present, self.labels)}

    def validate(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """"loss", and "top1": the share of pictures whose strongest logit is a class present."""
        return validated(net(batch.x), batch.present, self.labels)

    def end_epoch(self, net: nn.Module, epoch: int) -> dict[str, float]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass

    def watch(self, net: nn.Module, x: Tensor, ids: tuple[str, ...], present: Tensor) -> dict[str, Tensor]:
        """"current": A^c ((4.2)), if the net has `scores`."""
        return {"current": attention_maps(scores_of(net, x, present), present)} if hasattr(net, "scores") else {}


def check_labels(data: Labelled, labels: str) -> None:
    """ValueError if the data's labels are of the other kind."""
    if labels == "multi-label":
        data.need_multi_label()
    else:
        data.need_single_label()


def scores_of(net: nn.Module, x: Tensor, present: Tensor, keep: Tensor | None = None) -> Tensor:
    """F of any net with `scores`, checked."""
    if not hasattr(net, "scores"):
        raise TypeError(f"a net with maps is needed, scores(x) -> B×C×h×w, as AttentionNet; got a {type(net).__name__}")
    scored = cast(AttentionNet, net)
    F = scored.scores(x) if keep is None else scored.scores(x, keep=keep)
    check_scores(F, present, net)
    return F


def map_size(net: nn.Module, classes: int, size: tuple[int, int]) -> tuple[int, int]:
    """(h, w) of the maps that a net makes of pictures of (H, W); TypeError, ValueError if it makes none."""
    device = next(net.parameters()).device
    nothing = torch.zeros((1, classes), dtype=torch.bool)
    with torch.no_grad(), undisturbed(net):
        F = scores_of(net, torch.zeros((1, 3, *size), device=device), nothing)
    return F.shape[-2], F.shape[-1]


def check_map_size(net: nn.Module, size: tuple[int, int], maps: Maps) -> None:
    """ValueError if the net's maps of pictures of that size are not of the size of those that are kept."""
    found = map_size(net, len(maps.classes), size)
    if found != maps.size:
        raise ValueError(
            f"this {type(net).__name__} makes maps of {found[0]}×{found[1]} of pictures of {size[0]}×{size[1]}, but "
            f"those that are kept are {maps.size[0]}×{maps.size[1]}: make the accumulator with size={found}"
        )


def check_scores(F: Any, present: Tensor, net: nn.Module) -> None:
    """ValueError unless F is B×C×h×w for `present`, B×C."""
    if not isinstance(F, Tensor) or F.ndim != 4 or F.shape[:2] != present.shape:
        got, name = tuple(F.shape) if isinstance(F, Tensor) else type(F).__name__, type(net).__name__
        b, c = present.shape
        raise ValueError(f"scores() of {name} must be B×C×h×w, here {b}×{c}×h×w for {c} classes; got {got}")


def classification_loss(logits: Tensor, present: Tensor, labels: str) -> Tensor:
    """Binary cross-entropies ("multi-label") or the softmax cross-entropy of the one class present ("single-label")."""
    if labels == "multi-label":
        return multi_label_bce(plain(logits), present)
    return functional.cross_entropy(plain(logits), present.to(torch.uint8).argmax(1))


def validated(logits: Tensor, present: Tensor, labels: str) -> dict[str, Tensor]:
    """"loss", and "top1": the share of pictures whose strongest logit is a class present."""
    right = present.gather(1, logits.argmax(1, keepdim=True)).float().mean()
    return {"loss": classification_loss(logits, present, labels), "top1": right}


def plain(tensor: Tensor) -> Tensor:
    """Half precision (autocast) to float32; float32 and float64 as they are."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor
