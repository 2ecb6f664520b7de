"""GAIN and GAIN_ext as what `train` minimises; the formulas are in `guidance.py`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..classifiers import Tap
from ..errors import choose, unknown
from .classification import LABELS, check_labels, classification_loss, validated
from .feed import chosen_view, collated, moved, relit
from .guidance import (
    FILLS,
    OMEGA,
    SCORES,
    TAU,
    erased,
    extra_loss,
    guide,
    mining_loss,
    soft_mask,
    tap_of,
    trainable_map,
)
from .labelled import UNKNOWN, Example
from .nets import scaled
from .objective import Batch, View, normalised

if TYPE_CHECKING:
    from .labelled import Labelled

__all__ = [
    "GainObjective", "classification_loss", "erased", "extra_loss", "guide", "mask_of_boxes", "mining_loss",
    "soft_mask", "trainable_map",
]  # fmt: skip

Box = tuple[int, int, int, int]
Extra = Mapping[str, Tensor | np.ndarray | Sequence[tuple[int, Box]]] | Sequence[str]


class GainObjective:
    """L_cl + α L_am + weight · L_e (6, 9); see `camwidgets.learning.guidance` for the formulas and what they cost.

    Args:
        tap: where the maps are made: a tap's name or a stage, "S5".
        alpha: weight of the mining loss, ≥ 0; 0 leaves it (and its pass) out.
        extra: what is known of where to look (GAIN_ext), for a few pictures: ids whose masks in the data set count; or
            id → mask (H×W uint8, a tensor or an array: 0 background, c + 1 class c, 255 unknown); or id → boxes,
            [(class index, (x0, y0, x1, y1)), …]. None = GAIN.
        weight: of L_e, ≥ 0.
        extra_batch: at each step so many of these pictures are drawn beside the batch, so that a few masks among
            thousands of pictures are heard; they count in L_e and L_am, and in L_cl of their own.
        omega, tau: of the soft mask, ω > 0, 0 ≤ τ ≤ 1. score: "probability" or "logit", in the mining loss.
        loss: "multi-label" (C binary cross-entropies, the soft margin; a picture may hold none or several classes) or
            "single-label" (cross-entropy of the one); None = as the data are.
        fill: what comes in the place of what is erased for the mining loss: "grey" as in the paper, or "picture", the
            same place of another picture of the batch; see `mining_loss`.
    Raises:
        ValueError, TypeError: a number out of range, an unknown name.

    Example:
        >>> GainObjective("S5", alpha=0.5).settings()["alpha"]
        0.5
    """

    name = "gain"

    def __init__(
        self, tap: str, *, alpha: float = 1.0, extra: Extra | None = None, weight: float = 10.0, extra_batch: int = 8,
        omega: float = OMEGA, tau: float = TAU, score: str = "probability", loss: str | None = None,
        fill: str = "grey",
    ) -> None:  # fmt: skip
        for name, value, low, high in (
            ("alpha", alpha, 0.0, 1e6), ("weight", weight, 0.0, 1e6), ("omega", omega, 1e-3, 1e6),
            ("tau", tau, 0.0, 1.0), ("extra_batch", extra_batch, 1, 4096),
        ):  # fmt: skip
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"{name} is a number, not {type(value).__name__}")
            if not low <= value <= high:
                raise ValueError(f"{name} must lie between {low:g} and {high:g}, not be {value:g}")
        self.tap, self.alpha, self.weight, self.extra_batch = str(tap), alpha, weight, extra_batch
        self.omega, self.tau = omega, tau
        self.score, self.fill = choose("score", score, SCORES), choose("fill", fill, FILLS)
        self._asked = None if loss is None else choose("loss", loss, LABELS)
        self.loss = self._asked or LABELS[0]
        self._given = extra
        self._extra: list[Example] = []
        self._found: tuple[int, Tap] | None = None

    def settings(self) -> dict[str, Any]:
        """All parameters; of the extra supervision how many pictures, and a hash of their ids and masks."""
        extra = None if self._given is None else {"n": len(self._extra), "key": self._key()}
        return {
            "tap": self.tap, "alpha": self.alpha, "weight": self.weight, "extra_batch": self.extra_batch,
            "omega": self.omega, "tau": self.tau, "score": self.score, "loss": self.loss, "fill": self.fill,
            "extra": extra,
        }  # fmt: skip

    def _key(self) -> str:
        digest = hashlib.sha256()
        for one in self._extra:
            assert one.mask is not None
            digest.update(one.id.encode() + b"\0" + one.mask.numpy().tobytes())
        return digest.hexdigest()[:16]

    def check(self, data: Labelled) -> None:
        """The data has the labels that the loss needs, a positive somewhere, and the pictures that `extra` names."""
        self.loss = self._asked or LABELS[0 if data.multi_label else 1]
        check_labels(data, self.loss)
        if not any(one.present.any() for one in data):
            raise ValueError(f"no picture of {data.name} holds any of its classes: there is no map to guide")
        self._extra = [] if self._given is None else self._masked(data, self._given)

    def check_net(self, net: nn.Module, size: tuple[int, int]) -> None:
        """The network has the tap."""
        self._tap(net, size)

    def _masked(self, data: Labelled, given: Extra) -> list[Example]:
        """The pictures of the extra supervision with their masks."""
        places = {id: place for place, id in enumerate(data.ids)}
        if not given:
            raise ValueError("extra names no picture; give ids or masks of some, or None for GAIN without them")
        found = []
        for id in sorted(given):
            if id not in places:
                raise unknown("picture with extra supervision", id, places)
            own = data[places[id]]
            mask = own.mask if not isinstance(given, Mapping) else _as_mask(given[id], data, id)
            if mask is None:
                raise ValueError(f"picture {id!r} of {data.name} has no mask; give one: extra={{id: mask or boxes}}")
            if not any((mask == c + 1).any() for c in own.present.nonzero().flatten().tolist()):
                raise ValueError(f"the mask of {id!r} shows none of the classes that the picture is labelled with")
            found.append(Example(id, own.picture, own.present, mask))
        return found

    def _tap(self, net: nn.Module, size: tuple[int, int]) -> Tap:
        if self._found is None or self._found[0] != id(net):
            self._found = (id(net), tap_of(net, self.tap, size))
        return self._found[1]

    def losses(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """ "total", "classification", and "mining" and "extra" where they take part."""
        x, present, masks = self._joined(batch)
        guided = guide(net, self._tap(net, (x.shape[-2], x.shape[-1])), x, present)
        found = {"classification": classification_loss(guided.logits, present, self.loss)}
        total = found["classification"]
        if self.alpha:
            found["mining"] = mining_loss(
                net, x, guided, omega=self.omega, tau=self.tau, score=self.score, loss=self.loss, fill=self.fill
            )
            total = total + self.alpha * found["mining"]
        if masks is not None:
            found["extra"] = extra_loss(guided, masks)
            total = total + self.weight * found["extra"]
        return {"total": total, **found}

    def _joined(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor | None]:
        """The batch, and behind it the pictures drawn from those with masks; of the batch's own no mask counts."""
        if not self._extra:
            return batch.x, batch.present, None
        count = min(self.extra_batch, len(self._extra))
        drawn = torch.randperm(len(self._extra), generator=batch.generator)[:count].tolist()
        _, pictures, present, masks = collated([self._extra[i] for i in drawn])
        assert masks is not None
        still = View(torch.zeros(count, dtype=torch.bool), (0, 0), batch.view.size)
        view = chosen_view(still, batch.generator) if batch.augmented else still
        x = normalised(moved(pictures, view))
        x = relit(x, batch.generator) if batch.augmented else x
        masks = moved(masks[:, None], view)[:, 0]
        none = torch.full((len(batch), *batch.view.size), UNKNOWN, dtype=torch.uint8)
        device = batch.x.device
        return (
            torch.cat([batch.x, x.to(device)]),
            torch.cat([batch.present, present.to(device)]),
            torch.cat([none, masks]).to(device),
        )

    def validate(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """ "loss": L_cl; "top1": the share of pictures whose strongest logit is a class present."""
        return validated(net(batch.x), batch.present, self.loss)

    def end_epoch(self, net: nn.Module, epoch: int) -> dict[str, float]:
        """Nothing of its own."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Nothing is kept from step to step."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `state_dict`."""

    def watch(self, net: nn.Module, x: Tensor, ids: tuple[str, ...], present: Tensor) -> dict[str, Tensor]:
        """ "current": A^c of the classes present, scaled to [0, 1]."""
        maps = trainable_map(net, self._tap(net, (x.shape[-2], x.shape[-1])), x, present, create_graph=False)
        return {"current": scaled(maps)}


def _as_mask(given: Any, data: Labelled, id: str) -> Tensor:
    """A mask, or boxes painted into one, checked against the size and the classes of the data set."""
    if not isinstance(given, (Tensor, np.ndarray)):
        return mask_of_boxes(given, data.size, len(data.classes), id)
    if tuple(given.shape) != data.size or str(given.dtype).removeprefix("torch.") != "uint8":
        raise ValueError(
            f"the mask of {id!r} is {given.dtype} of {tuple(given.shape)}; the pictures of {data.name} need uint8 of "
            f"{data.size}"
        )
    given = torch.from_numpy(given.copy()) if isinstance(given, np.ndarray) else given
    highest = int(given[given != UNKNOWN].max()) if (given != UNKNOWN).any() else 0
    if highest > len(data.classes):
        raise ValueError(f"the mask of {id!r} holds {highest}; valid: 0, 1 … {len(data.classes)} and {UNKNOWN}")
    return given


def mask_of_boxes(boxes: Any, size: tuple[int, int], classes: int, id: str = "the picture") -> Tensor:
    """Boxes [(class index, (x0, y0, x1, y1)), …] of a picture as a mask; later boxes lie in front.

    Raises:
        ValueError: what is no box, a class or a corner out of range.

    Example:
        >>> mask_of_boxes([(1, (0, 0, 2, 1))], (2, 3), classes=4)
        tensor([[2, 2, 0],
                [0, 0, 0]], dtype=torch.uint8)
    """
    height, width = size
    mask = torch.zeros(size, dtype=torch.uint8)
    for one in boxes:
        try:
            label, (x0, y0, x1, y1) = one
            good = 0 <= label < classes and 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height
        except (TypeError, ValueError):
            good = False
        if not good:
            raise ValueError(
                f"{one!r} of {id!r} is no box: (class 0 … {classes - 1}, (x0, y0, x1, y1)) with 0 ≤ x0 < x1 ≤ {width} "
                f"and 0 ≤ y0 < y1 ≤ {height} is needed"
            )
        mask[int(y0) : int(y1), int(x0) : int(x1)] = label + 1
    return mask
