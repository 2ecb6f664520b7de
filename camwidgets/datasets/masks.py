"""Masks: from picture files, polygons and run lengths to H×W bool."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..images import MAX_PIXELS
from .items import Size
from .sources import MaskSource

FORMATS = ("PNG", "BMP", "GIF", "TIFF", "PPM", "WEBP", "JPEG")
VOID = 255  # Pascal VOC's index for "neither this nor that", drawn around objects


def open_mask(path: Path, seen: bool = False) -> np.ndarray:
    """The values of a mask's pixels as they are stored: H×W, palette indices, grey levels, or 0/1.

    Of a coloured mask the largest of the three channels is taken, so that 0 is black.

    Args:
        seen: values as they are seen, of 0 … 255: a palette's colours in place of its indices, and where all has one
            colour, how far it is opaque.

    Raises:
        ValueError: not a mask that can be read, or more than 64 million pixels (refused before it is decoded).
        FileNotFoundError: no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no mask at {str(path)!r}")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            with Image.open(path, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise ValueError(f"it has {image.width}×{image.height} pixels, which is too many")
                alpha = image.mode in ("LA", "RGBA")
                values = _seen(image) if seen else np.asarray(image)
    except Exception as error:  # decoders raise a dozen kinds
        raise ValueError(f"the mask {path.name!r} cannot be read: {error}") from error
    if values.ndim == 3:
        values = values[..., : values.shape[2] - alpha].max(-1)
    return values


def _seen(image: Image.Image) -> np.ndarray:
    """H×W."""
    if image.mode not in ("P", "PA", "LA", "RGBA"):
        values = np.asarray(image)
        return values.max(-1) if values.ndim == 3 else values
    stored, shown = np.asarray(image), np.asarray(image.convert("RGBA"))
    colour, opaque = shown[..., :3].max(-1), shown[..., 3]
    if colour.min() < colour.max():
        return np.where(opaque == 0, 0, colour).astype(np.uint8)
    if opaque.min() < opaque.max():
        return opaque
    return stored if image.mode == "P" else colour  # a palette of one colour: its indices are all there is


@dataclass(frozen=True)
class MaskFile(MaskSource):
    """A mask in a picture file.

    Attributes:
        values: the pixel values that belong to the label, as they are stored (palette indices); None = everything that
            is not black (in a JPEG, which blurs, at least half of 255).
    """

    path: Path
    values: tuple[int, ...] | None = None

    def read(self) -> np.ndarray:
        if self.values is not None:
            return np.isin(open_mask(self.path), self.values)
        found = open_mask(self.path, seen=True)
        return np.asarray(found >= 128 if self.path.suffix.lower() in (".jpg", ".jpeg") else found != 0)


@dataclass(frozen=True)
class Shapes(MaskSource):
    """A mask drawn from outlines and run lengths (COCO's two ways), all of them together.

    Attributes:
        size: (h, w). polygons: each x0, y0, x1, y1, … in pixels. runs: each as `run_lengths` takes it.
    """

    size: Size
    polygons: tuple[tuple[float, ...], ...] = ()
    runs: tuple[tuple[int, ...] | str, ...] = ()

    def read(self) -> np.ndarray:
        mask = np.zeros(_checked(self.size), bool)
        for outline in self.polygons:
            mask |= polygon(outline, self.size)
        for counts in self.runs:
            mask |= run_lengths(counts, self.size)
        return mask


def polygon(outline: Sequence[float], size: Size) -> np.ndarray:
    """H×W bool: the pixels whose centre lies inside a closed outline (even–odd rule).

    Every edge toggles, in each row whose centre it crosses, all pixels to the right of the crossing; what has been
    toggled an odd number of times is inside. pycocotools walks along the outline at five times the resolution instead:
    the areas are equal to 0.02 % on average, single pixels of the border differ (IoU 0.99 on outlines of 40 px radius).

    Raises:
        ValueError: fewer than three points, an odd number of values, or values that are not finite.

    Example:
        >>> polygon([1, 0, 3, 0, 3, 2, 1, 2], (2, 4)).astype(int)
        array([[0, 1, 1, 0],
               [0, 1, 1, 0]])
    """
    points = np.asarray(outline, np.float64)
    if points.ndim != 1 or points.size < 6 or points.size % 2 or not np.isfinite(points).all():
        raise ValueError(f"an outline needs three points or more, x y x y …, all finite; got {points.size} values")
    height, width = _checked(size)
    toggles = np.zeros((height, width + 1), np.int32)
    corners = points.reshape(-1, 2)
    for (xa, ya), (xb, yb) in zip(corners, np.roll(corners, -1, 0), strict=True):
        if ya > yb:
            xa, ya, xb, yb = xb, yb, xa, ya
        first, last = (int(np.clip(np.ceil(y - 0.5), 0, height)) for y in (ya, yb))
        rows = np.arange(first, last)  # ya ≤ row + 0.5 < yb: a corner on a centre counts once
        if rows.size:
            crossing = xa + (rows + 0.5 - ya) * ((xb - xa) / (yb - ya))
            np.add.at(toggles, (rows, np.clip(np.ceil(crossing - 0.5), 0, width).astype(int)), 1)
    return np.asarray(np.cumsum(toggles[:, :width], 1) % 2 == 1)


def run_lengths(counts: Sequence[int] | str, size: Size) -> np.ndarray:
    """H×W bool from COCO's run lengths: pixels column by column, runs of 0 and 1 in turn, beginning with 0.

    Args:
        counts: the lengths, or COCO's text of them: characters from "0" on, 5 bits each, the sixth says "goes on"; from
            the fourth run on the difference to the last run but one.
    Raises:
        ValueError: the runs do not fill the picture exactly.

    Example:
        >>> run_lengths([2, 2, 2], (3, 2)).astype(int)
        array([[0, 1],
               [0, 0],
               [1, 0]])
        >>> bool((run_lengths("222", (3, 2)) == run_lengths([2, 2, 2], (3, 2))).all())
        True
    """
    height, width = _checked(size)
    lengths = np.asarray(_decoded(counts) if isinstance(counts, str) else counts, np.int64)
    if lengths.ndim != 1 or (lengths < 0).any() or int(lengths.sum()) != height * width:
        total = int(lengths.sum())
        raise ValueError(f"run lengths of {total} pixels do not fill a mask of {width}×{height} = {width * height}")
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths).reshape(width, height).T


def _decoded(text: str) -> list[int]:
    found: list[int] = []
    value, shift = 0, 0
    for character in text:
        piece = ord(character) - 48
        if not 0 <= piece < 64 or shift > 60:
            raise ValueError("the text of a mask's run lengths is damaged")
        value |= (piece & 31) << shift
        shift += 5
        if piece & 32:
            continue
        if piece & 16:
            value -= 1 << shift  # the last group's highest bit is the sign
        found.append(value + found[-2] if len(found) > 2 else value)
        value, shift = 0, 0
    if shift:
        raise ValueError("the text of a mask's run lengths is cut off")
    return found


def _checked(size: Any) -> Size:
    height, width = size
    if not (isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0):
        raise ValueError(f"a mask's size is (h, w), whole numbers above 0; got {size!r}")
    if height * width > MAX_PIXELS:
        raise ValueError(f"a mask of {width}×{height} pixels is refused: too many")
    return height, width
