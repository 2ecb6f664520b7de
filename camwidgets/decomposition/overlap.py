"""Choosing children: the strongest channels, those that see the same place merged into one."""

from __future__ import annotations

import torch
from torch import Tensor

from .gap import Contributions

SAME = 0.9  # IoU above which two attention maps are the same place ([000] 5.2.3)
LEVEL = 0.5  # share of its maximum above which a position belongs to a map's region


def pick(found: Contributions, count: int, sign: int = 1, merge: bool = True) -> list[tuple[int, tuple[int, ...]]]:
    """The `count` strongest channels with the further channels that each stands for, all of them.

    Non-maximum suppression in the order of α over every channel on that side of 0: one whose region (attention ≥ half
    its maximum) overlaps a stronger one's with IoU > 0.9 becomes a member of it instead of a child of its own.
    """
    if not merge:
        return [(channel, ()) for channel in found.top(count, sign)]
    order = found.top(len(found.attention), sign)
    if not order:
        return []
    masks = regions(found.attention[order] * sign).flatten(1)
    sizes, left = masks.sum(1), torch.ones(len(order), dtype=torch.bool, device=masks.device)
    kept: list[tuple[int, tuple[int, ...]]] = []
    while len(kept) < count and bool(left.any()):
        first = int(left.nonzero()[0])
        both = (masks & masks[first]).sum(1)
        same = left & (both.double() / (sizes + sizes[first] - both) > SAME)
        same[first] = left[first] = False
        kept.append((order[first], tuple(order[i] for i in same.nonzero().flatten().tolist())))
        left &= ~same
    return kept


def regions(attention: Tensor) -> Tensor:
    """Where each of n×h×w attention maps is at least half its maximum (bool)."""
    top = attention.amax((1, 2), keepdim=True)
    return (attention >= LEVEL * top) & (top > 0)


def region(attention: Tensor) -> Tensor:
    """The same of one map, h×w."""
    return regions(attention[None])[0]


def overlap(a: Tensor, b: Tensor) -> float:
    """Intersection over union of two masks; 0 for two empty ones."""
    union = int(torch.count_nonzero(a | b))
    return int(torch.count_nonzero(a & b)) / union if union else 0.0
