"""The nodes of a tree, and how a tree is grown."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from .contributions import Decision

SIGNS = {"for": 1, "against": -1}


@dataclass
class Node:
    """One decision of a tree: the class (the root), or one feature.

    Attributes:
        id: number in the tree, given once; 0 is the root. parent: id (None for the root; in a shared graph the first of
            its parents, whose decision `contribution`, `share`, `attention` and `members` then speak of).
        stage, tap, channel, y, x: which feature; the root has stage "class", channel = class index, y = x = 0.
        contribution: α of (5.4) in the parent's decision; for the root its logit.
        share: Σ_yx A_k / |Z| of the parent's decision Z. class_share: share of the class score along the path (path-
            conditioned: exactly its part of the logit; node-conditioned: the product of the shares, a rough guide; in a
            shared graph the sum of the products of all paths).
        value: its own Z (pre-activation); NaN before it was decomposed, except for the root.
        completeness: Σ A / Z of its own decomposition; NaN before.
        others: what the shown children do not carry, in the unit and with the sign of their shares: Z / |Z| − Σ shares,
            so that shares and others add up to 1 for a positive decision and to −1 for a negative one; NaN before.
        members: channels merged into it. dead: why it cannot be decomposed further, or "".
        concept, iou: what its channel is called ("wheel") and by how much overlap, where names are known (`named`).
        attention: h×w float32 map A_k of its tap (for the root: the class map Σ_k A_k of the deepest tap).
    """

    id: int
    parent: int | None
    stage: str
    tap: str
    channel: int
    y: int
    x: int
    contribution: float
    share: float
    class_share: float
    attention: np.ndarray = field(repr=False)
    value: float = math.nan
    completeness: float = math.nan
    others: float = math.nan
    members: tuple[int, ...] = ()
    dead: str = ""
    concept: str = ""
    iou: float = math.nan
    children: list[int] = field(default_factory=list)
    # Path-conditioned trees only: ∂y/∂F of this channel along its path, h×w.
    seed: torch.Tensor | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """ "S4 #540" """
        return self.stage if self.parent is None else f"{self.stage} #{self.channel}"

    @property
    def feature(self) -> tuple[str, int, int, int]:
        """(stage, channel, y, x)"""
        return self.stage, self.channel, self.y, self.x

    @property
    def caution(self) -> str:
        """How to read the decomposition of a class whose score is not positive; "" for every other node."""
        if self.parent is not None or not self.value <= 0:
            return ""
        if self.value == 0:
            return "the class score is 0: there is nothing that channels could have shares of"
        return (
            f"the class score is negative ({self.value:.3g}): what speaks against the class outweighs what speaks for "
            f"it, and shares are relative to its size, {-self.value:.3g}, negative where a channel speaks against it"
        )

    def attributes(self) -> dict[str, Any]:
        """Plain values for graphs and tables."""
        return {
            "stage": self.stage, "tap": str(self.tap), "channel": self.channel, "y": self.y, "x": self.x,
            "contribution": self.contribution, "share": self.share, "class_share": self.class_share,
            "value": self.value, "completeness": self.completeness, "others": self.others,
            "members": " ".join(map(str, self.members)), "dead": self.dead, "concept": self.concept, "iou": self.iou,
        }  # fmt: skip


@dataclass(frozen=True)
class Way:
    """What a shared node says of another parent than its first."""

    contribution: float
    attention: np.ndarray
    members: tuple[int, ...]


@dataclass(frozen=True)
class How:
    """How a tree was grown: top N, conditioning, sign, merging, sharing."""

    top: int = 3
    conditional: bool = False
    sign: str = "for"
    merge: bool = True
    shared: bool = False


def decision_of(node: Node) -> Decision:
    """The feature that a node stands for."""
    return Decision(node.tap, node.channel, node.y, node.x)
