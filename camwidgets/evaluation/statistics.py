"""How sure a number is: bootstrap over pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

# Rounds are drawn one after the other: beside the values themselves one drawing of them is held, however many rounds.
Aggregate = Callable[[np.ndarray, np.ndarray], float]
ROUNDS, LEVEL = 2000, 0.95


def interval(
    values: np.ndarray, groups: np.ndarray, aggregate: Aggregate, rounds: int = ROUNDS, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap 95 % interval of an aggregate: pictures are drawn anew, with what belongs to them.

    Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, ch. 13. (NaN, NaN) for fewer than two pictures.

    Example:
        >>> from camwidgets.evaluation.measure import mean
        >>> low, high = interval(np.array([0.0, 1.0] * 50), np.zeros(100, int), mean)
        >>> 0.38 < low < 0.42, 0.58 < high < 0.62
        (True, True)
    """
    if len(values) < 2:
        return float("nan"), float("nan")
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(rounds):
        i = random.integers(0, len(values), len(values))
        drawn.append(aggregate(values[i], groups[i]))
    low, high = np.quantile(drawn, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)


def difference(
    a: np.ndarray, b: np.ndarray, groups: np.ndarray, aggregate: Aggregate, rounds: int = ROUNDS, seed: int = 0
) -> tuple[float, float, float]:
    """Paired: aggregate(a) − aggregate(b) on the same pictures, and its 95 % interval."""
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(rounds):
        i = random.integers(0, len(a), len(a))
        drawn.append(aggregate(a[i], groups[i]) - aggregate(b[i], groups[i]))
    low, high = np.quantile(drawn, ((1 - LEVEL) / 2, (1 + LEVEL) / 2)) if len(a) > 1 else (np.nan, np.nan)
    return aggregate(a, groups) - aggregate(b, groups), float(low), float(high)


def places(first: Sequence[str], second: Sequence[str]) -> tuple[list[int], list[int]]:
    """Where the names that both lists hold are in the first and in the second, in the order of the names.

    Example:
        >>> places(["b", "a", "c"], ["c", "b"])
        ([0, 2], [1, 0])
    """
    one, two = ({name: i for i, name in enumerate(names)} for names in (first, second))
    common = sorted(set(first) & set(second))
    return [one[name] for name in common], [two[name] for name in common]
