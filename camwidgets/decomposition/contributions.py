"""What gAP finds: the evidence of one decision at one tap."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..classifiers.taps import Tap


@dataclass(frozen=True)
class Decision:
    """One feature: channel `channel` at row `y`, column `x` of a tap."""

    tap: str
    channel: int
    y: int
    x: int


@dataclass(frozen=True)
class Contributions:
    """The evidence of one decision at one tap.

    Attributes:
        tap: where the evidence lies, with the size h×w it has in the picture decomposed.
        decision: what was decomposed (None: the class score). value: Z.
        gradient, attention: K×h'×w' windows G and A = G ⊙ F. corner: (row, column) of the window in the tap's map.
        alpha: K contributions α_k = mean over the whole h×w map of A_k (5.4).
        before: K×h'×w' pre-activations where the tap's activation clips, else None: they tell saturated places apart.
        completeness: Σ A / Z: 1 when the evidence adds up to the decision (bias-free ReLU parts), below when part of
            it goes around the tap or comes from biases; NaN when Z is 0.
    """

    tap: Tap
    decision: Decision | None
    value: float
    gradient: Tensor
    attention: Tensor
    corner: tuple[int, int]
    before: Tensor | None = None

    @property
    def alpha(self) -> Tensor:
        return self.attention.sum((1, 2)) / (self.tap.size[0] * self.tap.size[1])

    @property
    def share(self) -> Tensor:
        """K shares of the decision: Σ_yx A_k / |Z|, positive where the channel speaks for it."""
        return self.attention.sum((1, 2)) / abs(self.value) if self.value else torch.zeros(len(self.attention))

    @property
    def completeness(self) -> float:
        return float(self.attention.sum()) / self.value if self.value else float("nan")

    @property
    def dead(self) -> bool:
        """Whether no gradient reaches the tap: nothing can be said about the decision there."""
        return not bool(self.gradient.any())

    def position(self, channel: int, sign: int = 1) -> tuple[int, int]:
        """(y, x) where the channel contributes most (5.5); sign −1: where it speaks against the decision most, argmin.

        Of equal (clipped) places, the highest before the clip.
        """
        values = self.attention[channel] * sign
        if self.before is not None:
            tied = values >= values.max() - 1e-6 * values.max().abs()
            values = torch.where(tied, self.before[channel], -torch.inf)
        flat = int(values.argmax())
        width = self.attention.shape[2]
        return self.corner[0] + flat // width, self.corner[1] + flat % width

    def map(self, channel: int) -> Tensor:
        """The attention map A_k on the whole h×w map of the tap (0 outside the window)."""
        full = self.attention.new_zeros(self.tap.size)
        top, left = self.corner
        height, width = self.attention.shape[1:]
        full[top : top + height, left : left + width] = self.attention[channel]
        return full

    def top(self, count: int, sign: int = 1) -> list[int]:
        """The channels with the largest (sign −1: most negative) contributions; only those on that side of 0."""
        alpha = self.alpha * sign
        order = alpha.argsort(descending=True, stable=True)[:count].tolist()
        return [k for k in order if float(alpha[k]) > 0]
