"""What a map is worth: box accuracy, mosaic share, and how sure these numbers are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from camwidgets.maps.regions import box, iou

THRESHOLDS = tuple(round(0.05 * i, 2) for i in range(1, 17))  # 5 % … 80 % of the maximum
IOU = 0.5


def box_hits(
    values: np.ndarray, boxes: Sequence[tuple[float, ...]], thresholds: Sequence[float] = THRESHOLDS
) -> np.ndarray:
    """Per threshold: does the box of the largest connected part meet any of `boxes` with IoU ≥ 0.5? (bool, one each)

    Example:
        >>> m = np.zeros((8, 8), np.float32); m[2:6, 2:6] = 1
        >>> box_hits(m, [(2, 2, 6, 6)], [0.15])
        array([ True])
    """
    found = [box(values, threshold) for threshold in thresholds]
    return np.array([one is not None and max(iou(one, b) for b in boxes) >= IOU for one in found])


def cell_share(values: np.ndarray, cell: int) -> float:
    """The share of the map's mass that lies in one cell of a 2×2 mosaic (0 … 3, row by row); a flat 0 map gives 0.

    Example:
        >>> cell_share(np.array([[3.0, 0.0], [1.0, 0.0]]), 0)
        0.75
    """
    h, w = values.shape[0] // 2, values.shape[1] // 2
    row, column = divmod(cell, 2)
    total = float(values.sum())
    inside = float(values[row * h : (row + 1) * h, column * w : (column + 1) * w].sum())
    return inside / total if total > 0 else 0.0


def interval(values: np.ndarray, rounds: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap 95 % interval of the mean over the first axis (further axes belong together)."""
    random = np.random.default_rng(seed)
    means = values.reshape(len(values), -1).mean(1)
    drawn = means[random.integers(0, len(means), (rounds, len(means)))].mean(1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)
