"""Sliding-window enhancement of any map ([002] chapter 4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .method import Request

# n×3×H×W inputs, how far (i-th of n windows) → n maps of H×W in [0, 1].
Plain = Callable[[Request], np.ndarray]


@dataclass(frozen=True)
class Enhancement:
    """How a map is enhanced; see `enhanced`. window, stride: input pixels. cutoff: D0 of the low-pass, cycles."""

    window: int = 96
    stride: int = 32
    cutoff: float = 35.0

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def enhanced(plain: Plain, request: Request, how: Enhancement) -> np.ndarray:
    """The enhanced map, H×W float32 in [0, 1]."""
    raise NotImplementedError
