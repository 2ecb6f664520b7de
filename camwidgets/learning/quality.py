"""How good maps and pseudo-labels are, against true masks: recall and noise, IoU per class. No network is run.

Masks are as in `Example.mask`: 0 background, c + 1 class c, 255 unknown; what is unknown counts nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..evaluation.segmentation import foreground, mask_iou
from .labelled import UNKNOWN

if TYPE_CHECKING:
    import pandas as pd


Present = Iterable[int] | Iterable[bool] | np.ndarray | Tensor


class RecallNoise(NamedTuple):
    """recall: the share of the objects' pixels that are found; noise: the share of found pixels that are no object."""

    recall: float
    noise: float


class MapQuality:
    """Recall and noise of maps, added up picture by picture ([000] 4.3.4.9).

        found = {M^c ≥ share · max M^c}    recall = |found ∧ object| / |object|    noise = |found ∧ ¬object| / |found|

    Pixels are added up over pictures (and over classes for the whole) before dividing, so that large objects count
    more: the thesis' recall over all (36.7, 52.3) is below the mean of its classes' (38.0, 52.8), as it then would be.

    Args:
        classes: how many, or their names.
        share: of each map's maximum, above 0 and at most 1.

    Example:
        >>> quality = MapQuality(1)
        >>> quality.add(np.array([[[1.0, 0.6], [0.4, 0.0]]]), np.array([[1, 0], [1, 0]], np.uint8))
        >>> quality.whole
        RecallNoise(recall=0.5, noise=0.5)
    """

    def __init__(self, classes: int | Sequence[str], share: float = 0.5) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"the share of the map's maximum is above 0 and at most 1; got {share!r}")
        self.names = tuple(str(c) for c in (range(classes) if isinstance(classes, int) else classes))
        self.share = share
        self.found, self.objects, self.common = (np.zeros(len(self.names), np.int64) for _ in range(3))

    def add(self, maps: np.ndarray | Tensor, mask: np.ndarray | Tensor, present: Present | None = None) -> None:
        """Count one picture.

        Args:
            maps: C×h×w, brought to the mask's size by bilinear interpolation. A flat map, or one that is nowhere above
                0, finds nothing.
            mask: H×W. present: the classes to look at, as indices or as True and False for each (`Example.present`);
                None = all whose map is not flat or that are in the mask.

        Raises:
            ValueError: maps of another number of classes, or not finite; a mask that is no H×W of whole numbers;
                classes that there are not.
        """
        truth = checked_mask(mask, len(self.names))
        large = resized(maps, truth.shape, len(self.names))
        known = truth != UNKNOWN
        for c in range(len(self.names)) if present is None else _chosen(present, len(self.names)):
            found = (foreground(large[c], self.share) & (np.ptp(large[c]) > 0)) & known
            there = truth == c + 1
            self.found[c] += int(found.sum())
            self.objects[c] += int(there.sum())
            self.common[c] += int((found & there).sum())

    @property
    def whole(self) -> RecallNoise:
        """Over all classes; 0 and 0 while nothing was found, recall nan while there was no object."""
        return _ratios(self.found.sum(), self.objects.sum(), self.common.sum())

    def frame(self) -> pd.DataFrame:
        """One line per class: recall, noise, and the pixels of its objects."""
        import pandas as pd

        lines = [_ratios(*counts) for counts in zip(self.found, self.objects, self.common, strict=True)]
        return pd.DataFrame(lines, index=pd.Index(self.names, name="class")).assign(pixels=self.objects)


def recall_noise(
    maps: Iterable[np.ndarray | Tensor], masks: Iterable[np.ndarray | Tensor], share: float = 0.5
) -> RecallNoise:
    """Recall and noise of a set of maps (C×h×w each) against masks: `MapQuality` over all of them.

    Raises:
        ValueError: no picture, more of the one than of the other, or what `MapQuality.add` refuses.
    """
    quality: MapQuality | None = None
    for some, mask in zip(maps, masks, strict=True):
        quality = quality or MapQuality(len(some), share)
        quality.add(some, mask)
    if quality is None:
        raise ValueError("recall and noise need at least one picture")
    return quality.whole


class Confusion:
    """Pixels of each true class (rows) by label given (columns), added up over pictures; IoU per class and mIoU.

        IoU_i = N_ii / (Σ_j N_ij + Σ_j N_ji − N_ii)        mIoU = mean_i IoU_i        ([000] 3.12)

    Label 0 is the background and counts as a class, as in Pascal VOC. A pixel left undecided (255 in a pseudo-label) is
    a miss for the class that it is of, and a false find for none.

    Example:
        >>> confusion = Confusion(2)
        >>> confusion.add(np.array([[0, 1, 255]], np.uint8), np.array([[0, 0, 1]], np.uint8))
        >>> confusion.ious().tolist(), confusion.miou()
        ([0.5, 0.0, nan], 0.25)
    """

    def __init__(self, classes: int | Sequence[str]) -> None:
        names = range(classes) if isinstance(classes, int) else classes
        self.names = ("background", *(str(c) for c in names))
        self.counts = np.zeros((len(self.names), len(self.names) + 1), np.int64)  # the last column: undecided

    def add(self, found: np.ndarray | Tensor, mask: np.ndarray | Tensor) -> None:
        """Count one picture: labels and mask, both H×W. Raises ValueError for other sizes or unknown labels."""
        truth = checked_mask(mask, len(self.names) - 1)
        labels = checked_mask(found, len(self.names) - 1)
        if labels.shape != truth.shape:
            raise ValueError(f"labels of {labels.shape} pixels cannot be held against a mask of {truth.shape}")
        known = truth != UNKNOWN
        rows, columns = truth[known].astype(np.intp), labels[known].astype(np.intp)
        columns[columns == UNKNOWN] = len(self.names)
        wide = len(self.names) + 1
        self.counts += np.bincount(rows * wide + columns, minlength=self.counts.size).reshape(self.counts.shape)

    def ious(self) -> np.ndarray:
        """(C + 1,) in [0, 1], the background first; nan for a class that is neither there nor found anywhere."""
        square = self.counts[:, :-1]
        both = np.diag(square)
        union = self.counts.sum(1) + square.sum(0) - both
        return np.divide(both, union, out=np.full(len(both), np.nan), where=union > 0)

    def miou(self) -> float:
        """The mean over the classes that are there or found; nan if no pixel was counted."""
        found = self.ious()
        return float(np.nanmean(found)) if not np.isnan(found).all() else float("nan")

    def frame(self) -> pd.DataFrame:
        """One line per class: IoU and its true pixels."""
        import pandas as pd

        return pd.DataFrame(
            {"iou": self.ious(), "pixels": self.counts.sum(1)}, index=pd.Index(self.names, name="class")
        )


def picture_miou(found: Iterable[np.ndarray], masks: Iterable[np.ndarray]) -> float:
    """mIoU over pictures: mean_i |A_i ∧ GT_i| / |A_i ∨ GT_i| of two-valued pictures ([000] 3.10, for defects).

    `evaluate(…, ["best-iou"])` finds the best threshold for it.

    Raises:
        ValueError: no picture, or two of different size.

    Example:
        >>> picture_miou([np.array([[True, True]])], [np.array([[True, False]])])
        0.5
    """
    values = []
    for one, truth in zip(found, masks, strict=True):
        if np.shape(one) != np.shape(truth):
            raise ValueError(f"a picture of {np.shape(one)} pixels cannot be held against a mask of {np.shape(truth)}")
        values.append(mask_iou(np.asarray(one, bool), np.asarray(truth, bool)))
    if not values:
        raise ValueError("a mean IoU needs at least one picture")
    return float(np.mean(values))


def resized(maps: np.ndarray | Tensor, size: tuple[int, ...], classes: int) -> np.ndarray:
    """Maps (C×h×w, finite) at the size (H, W): bilinear, align_corners=False; C×H×W float32."""
    tensor = maps.detach().cpu().float() if isinstance(maps, Tensor) else torch.from_numpy(np.array(maps, np.float32))
    if tensor.ndim != 3 or len(tensor) != classes or not tensor.numel():
        raise ValueError(f"maps of {classes} classes (C×h×w) are needed; got an array of shape {tuple(tensor.shape)}")
    if not torch.isfinite(tensor).all():
        raise ValueError("the maps hold values that are NaN or infinite")
    if tensor.shape[1:] != tuple(size):
        tensor = torch.nn.functional.interpolate(tensor[None], tuple(size), mode="bilinear", align_corners=False)[0]
    return np.asarray(tensor.numpy())


def checked_mask(mask: np.ndarray | Tensor, classes: int) -> np.ndarray:
    """H×W whole numbers 0…C or 255, or a ValueError that says what is wrong."""
    values = np.asarray(mask)
    if values.ndim != 2 or values.dtype.kind not in "iu":
        raise ValueError(f"a mask is H×W whole numbers; got {values.dtype} of shape {values.shape}")
    wrong = (values < 0) | ((values > classes) & (values != UNKNOWN))
    if wrong.any():
        raise ValueError(
            f"a mask of {classes} classes holds 0 (background) to {classes}, or 255 (unknown); "
            f"this one also holds {sorted(set(values[wrong].tolist()))[:5]}"
        )
    return values


def _chosen(present: Present, classes: int) -> list[int]:
    """The indices of the classes present, each once."""
    values = np.asarray(present.cpu() if isinstance(present, Tensor) else list(present))
    if values.dtype == bool and values.shape == (classes,):
        return [int(c) for c in np.flatnonzero(values)]
    if values.ndim != 1 or (values.size and (values.dtype.kind not in "iu" or not set(values) <= set(range(classes)))):
        raise ValueError(
            f"present names classes by their indices, 0 … {classes - 1}, or says True or False for each of {classes}; "
            f"got {values.tolist()!r}"
        )
    return sorted({int(c) for c in values})


def _ratios(found: np.integer, objects: np.integer, common: np.integer) -> RecallNoise:
    recall = float(common / objects) if objects else float("nan")
    return RecallNoise(recall, float((found - common) / found) if found else 0.0)
