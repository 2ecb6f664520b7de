"""From maps to masks: pseudo-labels that a segmentation network can learn from ([000] 3.4.4 and 4.3).

A dense CRF is left out: pydensecrf was last released in 2018 and does not build on today's Python, its successor
pydensecrf2 comes as source only; superpixels follow the picture's edges too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import choose
from .labelled import MOST_CLASSES, UNKNOWN, Example, Labelled
from .nets import scaled
from .quality import resized

CONFLICTS = ("ignore", "largest")
BACKGROUND = 0.3  # [000] 3.4.4


def pseudo_labels(
    picture: np.ndarray | Tensor,
    maps: np.ndarray | Tensor,
    present: Sequence[bool] | np.ndarray | Tensor,
    background: float = BACKGROUND,
    saliency: np.ndarray | Tensor | None = None,
    superpixels: bool | np.ndarray = True,
    conflict: str = "ignore",
    rivals: float = 0.7,
) -> np.ndarray:
    """A mask from a picture's maps: each region goes to the class present whose map is highest there.

        S_c(O) = mean_{j ∈ O} M^c_j      label(O) = argmax_c S_c(O), background where max_c S_c(O) < b      ([000] 3.11)

    Maps are brought to the picture's size and divided by their maximum; what is negative is 0. O is a superpixel (SLIC,
    for the thesis' MCG has no kept library in Python), or each pixel by itself. Where two classes or more are sure
    (S_c ≥ `rivals`), the region is ignored in training ([000] 4.3).

    With a saliency map, it is the cue for the background instead ([000] 4.3): background where the mean of S / max S
    over O is < b, whatever the maps say; a salient region where no map reaches b is ignored. (The thesis gives no more
    detail; this is our reading.)

    Args:
        picture: 3×H×W or H×W×3, uint8.
        maps: C×h×w of any resolution, finite; those of absent classes are not looked at.
        present: (C,) which classes are in the picture. None at all gives background everywhere, as a flat map of every
            class present does.
        background: b, in [0, 1]. saliency: h×w ≥ 0 of any resolution.
        superpixels: True, False (pixels), or H×W whole numbers ≥ 0, one each region (`superpixels_of`, made once).
        conflict: "ignore" or "largest" (the highest wins, always).
        rivals: from where on a class is sure, in [0, 1].

    Returns:
        H×W uint8 as in `Example.mask`: 0 background, c + 1 class c, 255 ignored.

    Raises:
        ValueError: sizes that do not go together, NaN, thresholds outside [0, 1], an unknown `conflict`, more than 254
            classes.

    Example:
        >>> picture = np.zeros((2, 4, 3), np.uint8)
        >>> maps = np.array([[[1, 0.9, 0.2, 0]] * 2, [[0, 0.8, 0.5, 0.1]] * 2])
        >>> pseudo_labels(picture, maps, [True, True], superpixels=False)[0].tolist()
        [1, 255, 2, 0]
    """
    for name, share in (("background", background), ("rivals", rivals)):
        if not 0 <= share <= 1:
            raise ValueError(f"{name} is a share of the map's maximum, from 0 to 1; got {share!r}")
    choose("conflict", conflict, CONFLICTS)
    pixels = checked_picture(picture)
    size = pixels.shape[:2]
    present = checked_present(present)
    there = np.flatnonzero(present)
    if not len(there):
        return np.zeros(size, np.uint8)
    large = resized(maps, size, len(present))[there].clip(min=0)
    regions = regions_of(pixels, superpixels)
    chances = region_means(scaled(torch.from_numpy(large)).numpy(), regions)  # C'×regions
    label, top = (there[chances.argmax(0)] + 1).astype(np.uint8), chances.max(0)
    if conflict == "ignore":
        label[(chances >= max(rivals, 1e-9)).sum(0) > 1] = UNKNOWN
    if saliency is None:
        label[(top < background) | (top <= 0)] = 0
    else:
        salient = checked_saliency(saliency, size, regions) >= background
        label[salient & ((top < background) | (top <= 0))] = UNKNOWN
        label[~salient] = 0
    return label[regions]


def superpixels_of(picture: np.ndarray | Tensor, segments: int = 150, compactness: float = 30.0) -> np.ndarray:
    """Superpixels by SLIC (Achanta et al., TPAMI 2012; scikit-image): H×W numbers from 0, about `segments` of them.

    The defaults suit pictures of about 100×100 pixels with texture, such as the toy world's: the lower the compactness,
    the more the regions follow single pixels' colours.

    Raises:
        ValueError: no picture, fewer than one segment, a compactness that is not above 0.
    """
    from skimage.segmentation import slic

    if segments < 1 or not compactness > 0:
        raise ValueError(f"at least 1 segment and a compactness above 0; got {segments!r} and {compactness!r}")
    found = slic(checked_picture(picture), n_segments=segments, compactness=compactness, start_label=0)
    return np.asarray(found, np.int32)


def regions_of(pixels: np.ndarray, superpixels: bool | np.ndarray) -> np.ndarray:
    """H×W whole numbers 0 … n−1, one each region."""
    size = pixels.shape[:2]
    if isinstance(superpixels, (bool, np.bool_)):
        return superpixels_of(pixels) if superpixels else np.arange(pixels[..., 0].size).reshape(size)
    given = np.asarray(superpixels)
    if given.shape != size or given.dtype.kind not in "iu" or given.min() < 0:
        raise ValueError(
            f"superpixels are True, False, or whole numbers ≥ 0 for {size[0]}×{size[1]} pixels; "
            f"got {given.dtype} of shape {given.shape}"
        )
    return np.unique(given, return_inverse=True)[1].reshape(size)


def region_means(maps: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """S_c(O) of every map and region: C×regions, in the maps' units (3.11)."""
    flat = regions.ravel()
    counts = np.bincount(flat)
    return np.stack([np.bincount(flat, one.ravel().astype(np.float64), len(counts)) / counts for one in maps])


def pseudo_labelled(
    data: Labelled,
    maps_of: Callable[[Example], np.ndarray | Tensor],
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Labelled:
    """The same pictures with pseudo-labels for masks, in memory: what `SegmentObjective` learns from.

    Args:
        data: pictures and the classes that are in them. Its masks are not looked at.
        maps_of: an example's maps, C×h×w: `lambda example: accumulator.maps(example.id)`.
        progress: called with (done, all). options: of `pseudo_labels`; `superpixels` may be a function of the example.
    """
    return Labelled(PseudoLabelled(data, maps_of, progress, options))


class PseudoLabelled:
    """Entries of a `Labelled`: another data set's, with masks of one's own (held in memory, a byte a pixel)."""

    always_positive = False

    def __init__(
        self,
        data: Labelled,
        maps_of: Callable[[Example], np.ndarray | Tensor],
        progress: Callable[[int, int], None] | None,
        options: dict[str, Any],
    ) -> None:
        self.data, self.name = data, f"{data.name}, pseudo-labels"
        self.classes, self.size, self.multi_label, self.has_masks = data.classes, data.size, data.multi_label, True
        self.ids = data.ids
        self.masks = torch.zeros((len(data), *data.size), dtype=torch.uint8)
        for i, example in enumerate(data):
            chosen = {k: v(example) if k == "superpixels" and callable(v) else v for k, v in options.items()}
            found = pseudo_labels(example.picture, maps_of(example), example.present, **chosen)
            self.masks[i] = torch.from_numpy(found)
            if progress is not None:
                progress(i + 1, len(data))
        digest = hashlib.sha256(self.masks.numpy().tobytes()).hexdigest()[:16]
        self.parameters = f"{data.key} {digest}"

    def __len__(self) -> int:
        return len(self.ids)

    def id(self, place: int) -> str:
        return self.ids[place]

    def present(self, place: int) -> Tensor:
        return self.data[place].present

    def label_text(self, place: int) -> str:
        return ""  # the key of the data set behind, which is among the parameters, has them

    def read(self, place: int) -> Example:
        example = self.data[place]
        return Example(example.id, example.picture, example.present, self.masks[place])


def checked_picture(picture: np.ndarray | Tensor) -> np.ndarray:
    """H×W×3 uint8 of a picture with its channels first or last."""
    pixels = np.asarray(picture)
    if pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.size:
        if pixels.shape[-1] == 3:
            return pixels
        if pixels.shape[0] == 3:
            return np.moveaxis(pixels, 0, -1)
    raise ValueError(f"a picture is uint8, 3×H×W or H×W×3; got {pixels.dtype} of shape {pixels.shape}")


def checked_present(present: Sequence[bool] | np.ndarray | Tensor) -> np.ndarray:
    """(C,) bool, or a ValueError."""
    found = np.asarray(present)
    if found.ndim != 1 or not len(found) or not np.isin(found, (0, 1)).all():
        raise ValueError(f"present says True or False for each class; got {found.dtype} of shape {found.shape}")
    if len(found) > MOST_CLASSES:
        raise ValueError(
            f"masks number their classes with 8 bits, {MOST_CLASSES} at most; {len(found)} are given: leave out those "
            "that are in no picture"
        )
    return found.astype(bool)


def checked_saliency(saliency: np.ndarray | Tensor, size: tuple[int, ...], regions: np.ndarray) -> np.ndarray:
    """The mean of S / max S over each region (0 for a map that is nowhere above 0)."""
    values = np.asarray(saliency, np.float32)
    if values.ndim != 2 or not np.isfinite(values).all() or values.min() < 0:
        raise ValueError(f"a saliency map is h×w finite numbers ≥ 0; got {values.dtype} of shape {values.shape}")
    large = torch.from_numpy(resized(values[None], size, 1))
    return np.asarray(region_means(scaled(large).numpy(), regions)[0])
