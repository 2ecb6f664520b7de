"""Choosing children: the strongest channels, those that see the same place merged into one."""

from __future__ import annotations

import torch
from torch import Tensor

from .gap import Contributions

SAME = 0.9  # IoU above which two attention maps are the same place ([000] 5.2.3)
LEVEL = 0.5  # share of its maximum above which a position belongs to a map's region
LOOK_FURTHER = 8  # candidates looked at for each child wanted


def pick(found: Contributions, count: int, sign: int = 1, merge: bool = True) -> list[tuple[int, tuple[int, ...]]]:
    """The `count` strongest channels with the further channels that each stands for.

    Non-maximum suppression in the order of α: a channel whose region (attention ≥ half its maximum) overlaps a stronger
    one's with IoU > 0.9 becomes a member of it instead of a child of its own.
    """
    candidates = found.top(count * LOOK_FURTHER if merge else count, sign)
    kept: list[tuple[int, list[int], Tensor]] = []
    for channel in candidates:
        mask = region(found.attention[channel] * sign)
        same = next((members for _, members, other in kept if merge and overlap(mask, other) > SAME), None)
        if same is not None:
            same.append(channel)
        elif len(kept) < count:
            kept.append((channel, [], mask))
        else:
            break
    return [(channel, tuple(members)) for channel, members, _ in kept]


def region(attention: Tensor) -> Tensor:
    """Where an attention map is at least half its maximum (bool)."""
    top = attention.max()
    return (attention >= LEVEL * top) & (top > 0)


def overlap(a: Tensor, b: Tensor) -> float:
    """Intersection over union of two masks; 0 for two empty ones."""
    union = int(torch.count_nonzero(a | b))
    return int(torch.count_nonzero(a & b)) / union if union else 0.0
