"""Random choices that depend on a key and on nothing else."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """A stream of random choices fixed by a key of non-negative integers, each below 2⁶⁴.

    The standard library's generator, because a scene asks for hundreds of single numbers from half a dozen
    streams: it is seeded five times and called ten times as fast as NumPy's, and its sequence is guaranteed
    between versions.

    Example:
        >>> Dice(7, 0).integer(1, 6) == Dice(7, 0).integer(1, 6)
        True
    """

    def __init__(self, *key: int) -> None:
        packed = 1
        for number in key:
            packed = (packed << 64) | int(number)
        self._next = random.Random(packed).random

    def __call__(self, low: float = 0.0, high: float = 1.0) -> float:
        """One number, uniform in [low, high)."""
        return low + (high - low) * self._next()

    def around(self, value: float, share: float = 0.1) -> float:
        """`value`, up to `share` of it more or less."""
        return value * self(1.0 - share, 1.0 + share)

    def chance(self, probability: float) -> bool:
        """True with the given probability (never at 0, always at 1)."""
        return self._next() < probability

    def integer(self, low: int, high: int) -> int:
        """An integer from low to high, both included."""
        return min(low + int(self._next() * (high - low + 1)), high)

    def pick(self, choices: Sequence[T]) -> T:
        """One of the choices, all equally likely."""
        return choices[self.integer(0, len(choices) - 1)]

    def shuffled(self, choices: Sequence[T]) -> list[T]:
        """The choices in a random order."""
        left = list(choices)
        return [left.pop(self.integer(0, len(left) - 1)) for _ in choices]
