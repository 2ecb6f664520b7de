"""How sure a number is: bootstrap over pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

# Rounds are drawn one after the other: beside the values themselves one drawing of them is held, however many rounds.
Aggregate = Callable[[np.ndarray, np.ndarray], float]
ROUNDS, LEVEL = 2000, 0.95
FEWEST = 6  # pictures from which on a difference may be called one: of five, chance has all on one side in 1 of 16


def interval(
    values: np.ndarray, groups: np.ndarray, aggregate: Aggregate, rounds: int = ROUNDS, seed: int = 0
) -> tuple[float, float]:
    """Bootstrap 95 % interval of an aggregate: pictures are drawn anew, with what belongs to them.

    Percentiles of the drawings (Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, ch. 13), further out the
    fewer pictures there are: plain percentiles of ten pictures hold the truth in 90 % of all cases, not in 95
    (the "expanded percentile interval" of Hesterberg, "What Teachers Should Know About the Bootstrap", The American
    Statistician 69, 2015, section 5.1). (NaN, NaN) for fewer than two pictures.

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
    low, high = np.quantile(drawn, _ends(len(values)))
    return float(low), float(high)


def _ends(n: int) -> tuple[float, float]:
    """The quantiles of the drawings that bound the interval: Φ(± √(n/(n − 1)) · t), t of n − 1 degrees of freedom."""
    from scipy.stats import norm, t

    tail = float(norm.cdf(-np.sqrt(n / (n - 1)) * t.ppf((1 + LEVEL) / 2, n - 1)))
    return tail, 1 - tail


def sure(low: float, high: float, pictures: int) -> bool:
    """Whether a difference with this interval is one: it lies on one side of 0, and there are enough pictures to tell.

    Example:
        >>> sure(0.1, 0.3, 20), sure(-0.1, 0.3, 20), sure(0.1, 0.3, 2)
        (True, False, False)
    """
    return pictures >= FEWEST and (low > 0 or high < 0)


def difference(
    a: np.ndarray, b: np.ndarray, groups: np.ndarray, aggregate: Aggregate, rounds: int = ROUNDS, seed: int = 0
) -> tuple[float, float, float]:
    """Paired: aggregate(a) − aggregate(b) on the same pictures, and its 95 % interval, drawn as `interval` does."""
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(rounds):
        i = random.integers(0, len(a), len(a))
        drawn.append(aggregate(a[i], groups[i]) - aggregate(b[i], groups[i]))
    low, high = np.quantile(drawn, _ends(len(a))) if len(a) > 1 else (np.nan, np.nan)
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
