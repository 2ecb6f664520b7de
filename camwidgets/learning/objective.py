"""What a training minimises: the batch that an objective gets, and what an objective must be able to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from .labelled import Labelled

MEAN = 0.5  # of every channel, in units of the full range: x = (pixel / 255 − MEAN) / STD
STD = 0.25


@dataclass(frozen=True)
class View:
    """How the pictures of a batch were moved before the network saw them, and the way back.

    Picture b of the batch was mirrored if `mirrored[b]`, then x(i, j) = picture(i + shift[0], j + shift[1]), the border
    repeated. What is kept by sample id between epochs (cumulative maps) must be kept in the picture's own coordinates.

    Attributes:
        mirrored: (B,) bool. shift: rows and columns, in pixels. size: (H, W) of the pictures.
    """

    mirrored: Tensor
    shift: tuple[int, int]
    size: tuple[int, int]

    def to_picture(self, maps: Tensor) -> Tensor:
        """Maps (B×C×h×w, any h and w) of what the network saw → in the coordinates of the pictures as they are."""
        sign, down, right = self._terms(maps)
        return self._sampled(maps, sign, -right.expand_as(sign), -down)

    def to_view(self, maps: Tensor) -> Tensor:
        """Maps (B×C×h×w) in the coordinates of the pictures → where the network saw those places."""
        sign, down, right = self._terms(maps)
        return self._sampled(maps, sign, sign * right, down)

    def _terms(self, maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """±1 per picture, and the shift in units of half a side."""
        if maps.ndim != 4 or len(maps) != len(self.mirrored):
            raise ValueError(f"maps of {len(self.mirrored)} pictures (B×C×h×w) are needed; got {tuple(maps.shape)}")
        sign = torch.where(self.mirrored.to(maps.device), -1.0, 1.0).to(maps.dtype)
        down, right = (maps.new_tensor(2.0 * by / side) for by, side in zip(self.shift, self.size, strict=True))
        return sign, down, right

    def _sampled(self, maps: Tensor, sign: Tensor, right: Tensor, down: Tensor) -> Tensor:
        if not any(self.shift):  # exact, where bilinear weights would be off by a rounding
            return torch.where((sign < 0)[:, None, None, None], maps.flip(3), maps)
        theta = maps.new_zeros(len(maps), 2, 3)
        theta[:, 0, 0], theta[:, 1, 1] = sign, 1.0
        theta[:, 0, 2], theta[:, 1, 2] = right, down
        grid = F.affine_grid(theta, list(maps.shape), align_corners=False)
        return F.grid_sample(maps, grid, padding_mode="border", align_corners=False)


@dataclass(frozen=True)
class Batch:
    """What an objective gets at one step.

    Attributes:
        ids: sample ids, in the order of the batch. x: B×3×H×W float, (pixel/255 − 0.5)/0.25, as the network sees it.
        present: B×C bool. masks: B×H×W uint8 in the coordinates of `x` (0 background, c + 1 class c, 255 unknown; a
            picture without a mask is 255 everywhere), or None when no picture of the batch has one.
        epoch: 1 for the first. step: of the whole run, 0 for the first.
        generator: the only source of chance an objective may use besides torch's own global one: both are seeded anew
            for each step from (seed, epoch, step), so that a resumed run draws what an unbroken one draws.
        view: how `x` was moved against the picture (`view.to_picture(maps)` leads back).
        augmented: whether pictures are moved and relit in this training.
    """

    ids: tuple[str, ...]
    x: Tensor
    present: Tensor
    masks: Tensor | None
    epoch: int
    step: int
    generator: torch.Generator
    view: View
    augmented: bool = False

    def __len__(self) -> int:
        return len(self.ids)


@runtime_checkable
class Objective(Protocol):
    """What `train` minimises. Any object with these methods will do.

    Optional, asked for by name: `settings() -> dict` of plain values (a run of other settings is not resumed) and
    `validate(net, batch) -> dict[str, Tensor]` (means over the batch, "loss" among them; default: the classification
    loss and the share of pictures whose strongest logit is a class present), `check_net(net, size)`, which raises
    ValueError before anything runs if the net will not do, `check_new()`, which raises ValueError before a run begins
    that is not gone on with, and `has_val_loss`, False where `validate` gives no "loss" (there can be no patience).
    """

    name: str

    def check(self, data: Labelled) -> None:
        """Raise ValueError, before anything runs, if this data cannot be learned from in this way."""

    def losses(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Scalars in the graph: "total" is minimised, the others are logged. The net is in training mode."""

    def end_epoch(self, net: nn.Module, epoch: int) -> dict[str, float]:
        """After the last step of an epoch (1 for the first): numbers for the table of metrics."""

    def state_dict(self) -> dict[str, Any]:
        """What the objective must have back to go on from here: tensors and plain values.

        Asked for before each checkpoint is written. A kill may come before the checkpoint is in its place, so what the
        state *before* this one refers to (files of maps …) must be kept until the next call.
        """

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to that state, whatever was accumulated since."""

    def watch(self, net: nn.Module, x: Tensor, ids: tuple[str, ...], present: Tensor) -> dict[str, Tensor]:
        """Named maps (B×C×h×w) of watched pictures for playback: "current", and "cumulative", "dropped" if there are.

        The net is in evaluation mode; `x` is as the pictures are, unmoved.
        """


def normalised(pictures: Tensor) -> Tensor:
    """uint8 pictures (…×3×H×W) as a network of this room wants them: (pixel/255 − 0.5)/0.25.

    Example:
        >>> normalised(torch.tensor([0, 255], dtype=torch.uint8))
        tensor([-2.,  2.])
    """
    return (pictures.float() / 255 - MEAN) / STD
