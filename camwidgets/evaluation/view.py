"""The truth as the network sees it: boxes and masks carried through the preprocessing, to pixels of its input."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from ..classifiers.classifier import Classifier
from ..classifiers.preprocessing import CustomPreprocessing, Preprocess, Preprocessing
from ..datasets.items import Box, Item, Size
from ..errors import choose

LEFT = 0.25  # a box of which less than this share of the area is still seen says nothing of what the network saw
# torchvision's transforms that change values and no places
_PLACES_KEPT = {"ToTensor", "PILToTensor", "ToImage", "ConvertImageDtype", "ToDtype", "Normalize", "Grayscale", "RGB"}


@dataclass(frozen=True)
class Geometry:
    """Where a pixel of the original comes to lie: x' = sx·x − left, y' = sy·y − top, cut to `size` = (h, w).

    Attributes:
        sx, sy: pixels of the input per pixel of the original. left, top: pixels of the input that are cut off (negative
            where a border is added).

    Example:
        >>> whole = Geometry(0.5, 0.25, 0, 0, (100, 100))
        >>> whole.box((20, 40, 60, 80))
        (10.0, 10.0, 30.0, 20.0)
    """

    sx: float
    sy: float
    left: float
    top: float
    size: Size

    def box(self, box: Sequence[float]) -> Box:
        """A box of the original in pixels of the input, clipped; empty (x0 ≥ x1 or y0 ≥ y1) where nothing is seen."""
        h, w = self.size
        x0, x1 = (min(max(x * self.sx - self.left, 0.0), float(w)) for x in (box[0], box[2]))
        y0, y1 = (min(max(y * self.sy - self.top, 0.0), float(h)) for y in (box[1], box[3]))
        return x0, y0, x1, y1

    def share(self, box: Sequence[float]) -> float:
        """The share of a box's area that is still seen, in [0, 1]."""
        x0, y0, x1, y1 = self.box(box)
        whole = (box[2] - box[0]) * self.sx * (box[3] - box[1]) * self.sy
        return (x1 - x0) * (y1 - y0) / whole if x1 > x0 and y1 > y0 else 0.0

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """h×w bool: the mask's pixel under the centre of each input pixel; False where there is only added border."""
        height, width = mask.shape
        ys = np.floor((np.arange(self.size[0]) + 0.5 + self.top) / self.sy).astype(int)
        xs = np.floor((np.arange(self.size[1]) + 0.5 + self.left) / self.sx).astype(int)
        inside = ((ys >= 0) & (ys < height))[:, None] & ((xs >= 0) & (xs < width))[None]
        return np.asarray(mask[ys.clip(0, height - 1)[:, None], xs.clip(0, width - 1)[None]] & inside)


@dataclass(frozen=True, eq=False)
class View:
    """A picture as the network sees it. Boxes and mask are carried over when they are asked for.

    Attributes:
        x: 1×3×h×w input, on the classifier's device. item: what is seen. original: (h, w) of its picture.
    """

    x: Tensor
    item: Item
    original: Size
    preprocessing: Preprocess

    @property
    def size(self) -> Size:
        """(h, w) of the input, pixels."""
        return int(self.x.shape[-2]), int(self.x.shape[-1])

    @cached_property
    def geometry(self) -> Geometry:
        """From pixels of the original to pixels of the input; `ValueError` if the transform hides it."""
        return geometry(self.preprocessing, self.original, self.size)

    @cached_property
    def boxes(self) -> tuple[Box, ...]:
        """(x0, y0, x1, y1) in pixels of the input, clipped; without those of which less than a quarter is seen."""
        return tuple(self.geometry.box(box) for box in self._within if self.geometry.share(box) >= LEFT)

    @cached_property
    def mask(self) -> np.ndarray | None:
        """h×w bool in pixels of the input (nearest pixel), or None if there is none."""
        found = self.item.mask_at(self.original)
        return None if found is None else self.geometry.mask(found)

    @property
    def note(self) -> str:
        """What of the truth the network is not shown, in words; "" if nothing is lost."""
        lost = len(self.item.boxes) - len(self.boxes)
        if not lost:
            return ""
        return f"{lost} of {len(self.item.boxes)} boxes of {self.item.id} left out: the crop shows less than a quarter"

    @property
    def _within(self) -> list[Box]:
        """The boxes cut to the picture: what an annotator drew beyond its edge was never there to be seen."""
        h, w = self.original
        return [(max(x0, 0.0), max(y0, 0.0), min(x1, w), min(y1, h)) for x0, y0, x1, y1 in self.item.boxes]


def seen(classifier: Classifier, item: Item, fit: str | None = "squash") -> View:
    """The item's picture, boxes and mask as the classifier sees them.

    Args:
        fit: "squash" shows the whole picture, "crop" its middle, None is the classifier's own way. A transform of one's
            own, unless it is a torchvision preset, is always used as it is.
    Raises:
        ValueError, OSError: the item cannot be used, or an unknown fit. `View.boxes` and `View.mask` raise ValueError
            where the transform cannot be looked into.

    Example:
        >>> import camwidgets
        >>> from camwidgets.datasets.adapters import from_world
        >>> item = from_world(camwidgets.datasets.toyworld.ToyWorld(seed=0, n=1))[0]
        >>> view = seen(camwidgets.load("toy"), item)
        >>> view.size, view.boxes == item.boxes
        ((96, 96), True)
    """
    picture = item.open()
    preprocessing = fitted(classifier.preprocessing, fit)
    x = classifier.preprocess(preprocessing(picture)[None])
    return View(x, item, (picture.height, picture.width), preprocessing)


def fitted(preprocessing: Preprocess, fit: str | None) -> Preprocess:
    """The preprocessing with another fit; None leaves it, as does a transform of one's own that cannot be changed.

    Example:
        >>> fitted(Preprocessing(), "squash").fit
        'squash'
    """
    if fit is None:
        return preprocessing
    choose("fit", fit, ("squash", "crop"))
    if isinstance(preprocessing, CustomPreprocessing) and _is_preset(preprocessing.transform):
        preprocessing = Preprocessing.from_torchvision(preprocessing.transform)
    if isinstance(preprocessing, Preprocessing):
        return dataclasses.replace(preprocessing, fit=fit)  # type: ignore[arg-type]
    return preprocessing


def geometry(preprocessing: Preprocess, original: Size, size: Size) -> Geometry:
    """Where the preprocessing puts the pixels of a picture.

    Args:
        original: (h, w) of the picture. size: (h, w) of the input.
    Raises:
        ValueError: a transform of one's own whose steps are not torchvision's, and a picture of another size.

    Example:
        >>> geometry(Preprocessing((224, 224), 256), (480, 640), (224, 224))
        Geometry(sx=0.5328125, sy=0.5333333333333333, left=58, top=16, size=(224, 224))
    """
    if isinstance(preprocessing, Preprocessing):
        return _ours(preprocessing, original)
    transform = getattr(preprocessing, "transform", preprocessing)
    steps = _steps(transform)
    if steps is not None:
        return _theirs(steps, original, size)
    if original == size:
        return Geometry(1.0, 1.0, 0, 0, size)
    raise ValueError(
        "boxes and masks cannot be carried through a transform of your own: give wrap(…) a camwidgets Preprocessing, a "
        f"torchvision preset or Compose, or pictures that already have the input size of {size[1]}×{size[0]} pixels"
    )


def _ours(preprocessing: Preprocessing, original: Size) -> Geometry:
    h, w = preprocessing.size
    if preprocessing.fit == "squash":
        return Geometry(w / original[1], h / original[0], 0, 0, (h, w))
    short = min(original)
    high, wide = (max(1, int(preprocessing.resize * side / short)) for side in original)
    return Geometry(wide / original[1], high / original[0], round((wide - w) / 2), round((high - h) / 2), (h, w))


def _is_preset(transform: Any) -> bool:
    return type(transform).__name__ == "ImageClassification" and _of_torchvision(transform)


def _of_torchvision(transform: Any) -> bool:
    return type(transform).__module__.startswith("torchvision.transforms")


def _steps(transform: Any) -> list[tuple[str, Any]] | None:
    """[("resize", side or (h, w)) | ("crop", (h, w))] of a torchvision preset or `Compose`; None: unknown step."""
    if _is_preset(transform):
        return [("resize", _one(transform.resize_size)), ("crop", _pair(transform.crop_size))]
    if not _of_torchvision(transform):
        return None
    name = type(transform).__name__
    if name == "Compose":
        inner = [_steps(one) for one in transform.transforms]
        return None if None in inner else [step for steps in inner for step in steps or ()]
    if name == "Resize" and getattr(transform, "max_size", None) is None and transform.size is not None:
        return [("resize", _one(transform.size))]
    if name == "CenterCrop":
        return [("crop", _pair(transform.size))]
    return [] if name in _PLACES_KEPT else None


def _one(size: Any) -> Any:
    """torchvision's size of a resize: a number, or a list of one, is the shorter side; two are (h, w)."""
    sides = [size] if isinstance(size, int) else list(size)
    return sides[0] if len(sides) == 1 else tuple(sides)


def _pair(size: Any) -> Size:
    sides = [size, size] if isinstance(size, int) else list(size)
    return int(sides[0]), int(sides[-1])


def _theirs(steps: list[tuple[str, Any]], original: Size, size: Size) -> Geometry:
    """torchvision's own rounding of the resized picture, of the crop, and of the border where the crop is larger."""
    high, wide = original
    sx = sy = 1.0
    left = top = 0.0
    for kind, value in steps:
        if kind == "resize":
            short = min(high, wide)
            new = value if isinstance(value, tuple) else (int(value * high / short), int(value * wide / short))
            fy, fx = new[0] / high, new[1] / wide
            sx, sy, left, top = sx * fx, sy * fy, left * fx, top * fy
            high, wide = new
        else:
            top, left = top + _cut(high, value[0]), left + _cut(wide, value[1])
            high, wide = value
    if (high, wide) != size:
        raise ValueError(f"the transform was taken to give {wide}×{high} pixels and gave {size[1]}×{size[0]}")
    return Geometry(sx, sy, left, top, size)


def _cut(side: int, crop: int) -> int:
    return round((side - crop) / 2) if side >= crop else -((crop - side) // 2)
