"""Does the map lie on the object? Boxes, points and shares of the map's mass; no network is run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..maps.regions import box, iou
from .curves import ranks

Box = tuple[float, ...]  # x0, y0, x1, y1 in pixels of the map; x1 and y1 exclusive
THRESHOLDS = tuple(round(0.05 * i, 2) for i in range(1, 20))  # 5 % … 95 % of the maximum
IOU = 0.5
POINTS = 100


def within(shape: tuple[int, int], boxes: Sequence[Box]) -> np.ndarray:
    """H×W bool: the pixels whose centre lies in one of the boxes.

    Example:
        >>> within((2, 3), [(1, 0, 3, 1)])
        array([[False,  True,  True],
               [False, False, False]])
    """
    if not boxes:
        raise ValueError("there is no box of the class in this picture")
    ys, xs = np.arange(shape[0])[:, None] + 0.5, np.arange(shape[1])[None] + 0.5
    inside = [(xs >= x0) & (xs < x1) & (ys >= y0) & (ys < y1) for x0, y0, x1, y1 in boxes]
    return np.asarray(np.logical_or.reduce(inside))


def pointing(values: np.ndarray, inside: np.ndarray, points: int = 1) -> float:
    """Pointing game: the share of the map's greatest `points` pixels that lie inside, in [0, 1]. Higher is better.

    Zhang et al., IJCV 2018 (one point, a hit or not); [002] 3.3.5 (the 100 greatest). Equal pixels count alike: each
    is taken with the probability that it would be drawn, so a flat map scores the inside's share of the picture.

    Example:
        >>> inside = np.array([[True, False], [False, False]])
        >>> pointing(np.array([[0.9, 0.1], [0.1, 0.1]]), inside), pointing(np.zeros((2, 2)), inside)
        (1.0, 0.25)
    """
    flat, hit = np.asarray(values, np.float64).ravel(), inside.ravel()
    if not 1 <= points <= flat.size:
        raise ValueError(f"between 1 and {flat.size} points can be taken; got {points!r}")
    limit = np.partition(flat, flat.size - points)[flat.size - points]
    above, level = flat > limit, flat == limit
    left = points - int(above.sum())
    return float((hit[above].sum() + left * hit[level].mean()) / points)


def energy_inside(values: np.ndarray, inside: np.ndarray) -> float:
    """The share of the map's mass that lies inside, in [0, 1]; 0 for a map that is 0 everywhere. Higher is better.

    Wang et al., "Score-CAM", CVPRW 2020, 4.2 (energy-based pointing game).

    Example:
        >>> energy_inside(np.array([[3.0, 0.0], [1.0, 0.0]]), np.array([[True, True], [False, False]]))
        0.75
    """
    total = float(values.sum(dtype=np.float64))
    return float(values[inside].sum(dtype=np.float64)) / total if total > 0 else 0.0


def box_iou(values: np.ndarray, boxes: Sequence[Box], threshold: float = 0.15) -> float:
    """IoU of the map's box (largest connected part ≥ threshold·max) with the best of the true boxes; 0 if it has none.

    [000] 3.4.1.1; the picture counts as localised at IoU ≥ 0.5.
    """
    found = box(values, threshold)
    return 0.0 if found is None else max(iou(found, one) for one in boxes)


def box_hits(values: np.ndarray, boxes: Sequence[Box], thresholds: Sequence[float] = THRESHOLDS) -> np.ndarray:
    """Per threshold: is the object localised (IoU ≥ 0.5)? Bool, one each; no network is asked ("ground-truth known").

    Example:
        >>> m = np.zeros((8, 8), np.float32); m[2:6, 2:6] = 1
        >>> box_hits(m, [(2, 2, 6, 6)], [0.15])
        array([ True])
    """
    return np.array([box_iou(values, boxes, threshold) >= IOU for threshold in thresholds])


def cell_share(values: np.ndarray, cell: int) -> float:
    """Mosaic share: how much of the map's mass lies in one cell of a 2×2 mosaic (0 … 3, row by row); chance is 0.25.

    Example:
        >>> cell_share(np.array([[3.0, 0.0], [1.0, 0.0]]), 0)
        0.75
    """
    h, w = values.shape[0] // 2, values.shape[1] // 2
    row, column = divmod(cell, 2)
    inside = np.zeros(values.shape, bool)
    inside[row * h : (row + 1) * h, column * w : (column + 1) * w] = True
    return energy_inside(values, inside)


def centre_map(shape: tuple[int, int]) -> np.ndarray:
    """The baseline "it is in the middle": 1 at the centre, falling linearly with the distance, 0 in the corners."""
    ys, xs = (np.abs(np.arange(n) - (n - 1) / 2) / max((n - 1) / 2, 1) for n in shape)
    distance = np.hypot(ys[:, None], xs[None]) / np.sqrt(2)
    return np.asarray(1 - distance, np.float32)


def random_map(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """The baseline "anywhere": every pixel another rank, by chance (seeded)."""
    return np.asarray(1 - ranks(np.zeros(shape), seed) / (shape[0] * shape[1]), np.float32)
