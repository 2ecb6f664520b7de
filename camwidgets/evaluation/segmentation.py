"""Does the map draw the object? Against a mask; no network is run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .location import THRESHOLDS


def foreground(values: np.ndarray, threshold: float | None = None) -> np.ndarray:
    """H×W bool: where the map is above its mean ([002] 4.3.5), or at least at `threshold` of its maximum."""
    if threshold is None:
        return np.asarray(values > values.mean(dtype=np.float64)) & (values.max() > values.min())
    top = float(values.max())
    return np.asarray(values >= threshold * top) if top > 0 else np.zeros(values.shape, bool)


def pixel_accuracy(found: np.ndarray, mask: np.ndarray) -> float:
    """The share of all pixels that are told right, in [0, 1]. Higher is better.

    Example:
        >>> pixel_accuracy(np.array([[True, False]]), np.array([[True, True]]))
        0.5
    """
    return float((found == mask).mean())


def mask_iou(found: np.ndarray, mask: np.ndarray) -> float:
    """|found ∧ mask| / |found ∨ mask|; 1 if both are empty."""
    union = int((found | mask).sum())
    return float((found & mask).sum() / union) if union else 1.0


def mean_iou(found: np.ndarray, mask: np.ndarray) -> float:
    """mIoU of foreground and background, in [0, 1] ([002] 4.3.5; [000] 3.10). Higher is better.

    Example:
        >>> mean_iou(np.array([[True, False]]), np.array([[True, True]]))
        0.25
    """
    return (mask_iou(found, mask) + mask_iou(~found, ~mask)) / 2


def average_precision(values: np.ndarray, mask: np.ndarray) -> float:
    """Average precision of the map as a score for "foreground", without a threshold: Σ (R_n − R_{n−1}) P_n.

    Pixels of equal value are one step. Its mean over pictures is mAP. Higher is better; a flat map scores the mask's
    share of the picture. Equal to scikit-learn's `average_precision_score`.

    Example:
        >>> average_precision(np.array([0.9, 0.5, 0.1]), np.array([True, False, True]))
        0.8333333333333333
    """
    score, true = np.asarray(values, np.float64).ravel(), np.asarray(mask, bool).ravel()
    if not true.any():
        raise ValueError("the mask is empty: precision and recall have no meaning")
    order = np.argsort(-score, kind="stable")
    last = np.r_[np.diff(score[order]) != 0, True]  # the last of each run of equal values
    hits = np.cumsum(true[order])[last]
    precision, recall = hits / (np.flatnonzero(last) + 1), hits / true.sum()
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def ious(values: np.ndarray, mask: np.ndarray, thresholds: Sequence[float] = THRESHOLDS) -> np.ndarray:
    """Per threshold: IoU of {map ≥ threshold·max} with the mask. Their means over pictures have a best threshold:
    that is the score of [000] 3.4.4 for defects. Higher is better.

    Example:
        >>> ious(np.array([[1.0, 0.3]]), np.array([[True, False]]), [0.2, 0.5])
        array([0.5, 1. ])
    """
    return np.array([mask_iou(foreground(values, threshold), mask) for threshold in thresholds])
