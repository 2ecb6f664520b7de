"""How receptive fields grow: through sliding windows, and where branches meet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .taps import ReceptiveField


def slid(before: ReceptiveField, kernel: Any, stride: Any, padding: Any, dilation: Any) -> ReceptiveField:
    """The receptive field after a sliding window (Araujo et al., "Computing receptive fields", Distill 2019)."""
    k, s, p, d = pair(kernel), pair(stride), pair(padding), pair(dilation)
    jump = before.jump
    return ReceptiveField(
        size=_both(lambda i: before.size[i] + (k[i] - 1) * d[i] * jump[i]),
        jump=_both(lambda i: jump[i] * s[i]),
        start=(before.start[0] - p[0] * jump[0], before.start[1] - p[1] * jump[1]),
        whole=before.whole,
    )


def enlarged(before: ReceptiveField, k: int) -> ReceptiveField:
    """The receptive field where k×k positions become one."""
    return slid(before, (k, k), (k, k), (0, 0), (1, 1))


def join(fields: list[ReceptiveField]) -> ReceptiveField:
    """The smallest window that holds all windows."""
    start = (min(f.start[0] for f in fields), min(f.start[1] for f in fields))
    ends = [max(f.start[i] + f.size[i] for f in fields) for i in (0, 1)]
    return ReceptiveField(
        size=_both(lambda i: round(ends[i] - start[i])),
        jump=_both(lambda i: max(f.jump[i] for f in fields)),
        start=start,
        whole=any(f.whole for f in fields),
    )


def _both(rule: Callable[[int], int]) -> tuple[int, int]:
    return rule(0), rule(1)


def pair(value: Any) -> tuple[int, int]:
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    return (int(values[0]), int(values[-1]))
