"""Regions of a picture that a person names: a box, a polygon, strokes of a brush, or a mask."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ..errors import choose
from ..images import MAX_PIXELS

Point = tuple[float, float]  # (x, y), pixels
KINDS = ("box", "polygon", "brush", "mask")
MOST_POINTS = 100_000


@dataclass(frozen=True, eq=False)
class Region:
    """A region, as it was drawn; `mask(size)` makes pixels of it. Coordinates are pixels (x to the right, y down) of
    the picture as the network sees it; what lies outside the picture is cut off.

    Example:
        >>> int(Region.box(1, 2, 4, 4).mask((8, 8)).sum())
        6
    """

    kind: str
    points: tuple[Point, ...] = ()
    radius: float = 0.0
    pixels: np.ndarray | None = None

    @classmethod
    def box(cls, x0: float, y0: float, x1: float, y1: float) -> Region:
        """The pixels x0 … x1 − 1, y0 … y1 − 1."""
        points = _points([(x0, y0), (x1, y1)], 2)
        if not (x0 < x1 and y0 < y1):
            raise ValueError(f"a box is x0 < x1 and y0 < y1; got ({x0}, {y0}, {x1}, {y1})")
        return cls("box", points)

    @classmethod
    def polygon(cls, points: Sequence[Point]) -> Region:
        """The inside and the edge of a polygon of three points or more."""
        return cls("polygon", _points(points, 3))

    @classmethod
    def brush(cls, points: Sequence[Point], radius: float) -> Region:
        """All that a round brush of `radius` pixels passes over along one stroke (one point: a dot)."""
        if not (isinstance(radius, (int, float)) and 0 < radius < math.inf):
            raise ValueError(f"a brush's radius is a number of pixels above 0; got {radius!r}")
        return cls("brush", _points(points, 1), float(radius))

    @classmethod
    def of_mask(cls, mask: np.ndarray) -> Region:
        """The pixels where an H×W mask (bool, or 0 and 1) is true; it must be of the picture's size."""
        values = np.asarray(mask)
        if values.ndim != 2 or not (values.dtype == bool or np.isin(values, (0, 1)).all()):
            raise ValueError(f"a mask is H×W, bool or 0 and 1; got shape {values.shape}, {values.dtype}")
        return cls("mask", pixels=values.astype(bool))

    def mask(self, size: tuple[int, int]) -> np.ndarray:
        """H×W bool for a picture of `size` (h, w).

        Raises:
            ValueError: a mask of another size; nothing of the region lies in the picture.
        """
        found = self._drawn(size)
        if not found.any():
            raise ValueError(f"nothing of the {self.kind} lies in the picture of {size[1]}×{size[0]} pixels")
        return found

    def _drawn(self, size: tuple[int, int]) -> np.ndarray:
        h, w = size
        if self.pixels is not None:
            if self.pixels.shape != (h, w):
                got = f"{self.pixels.shape[1]}×{self.pixels.shape[0]}"
                raise ValueError(f"the mask has {got} pixels, the picture {w}×{h}; they must be of one size")
            return self.pixels
        ys, xs = np.mgrid[:h, :w]
        if self.kind == "box":
            (x0, y0), (x1, y1) = self.points
            return np.asarray((xs >= x0) & (xs < x1) & (ys >= y0) & (ys < y1))
        if self.kind == "polygon":
            image = Image.new("1", (w, h))
            ImageDraw.Draw(image).polygon(list(self.points), fill=1, outline=1)
            return np.array(image)
        found = np.zeros((h, w), bool)
        for a, b in zip(self.points, self.points[1:] or self.points, strict=False):
            found |= _distance(xs, ys, a, b) <= self.radius
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain values; a mask as a PNG in base64."""
        content: dict[str, Any] = {"kind": self.kind}
        if self.pixels is not None:
            content["png"] = png_text(self.pixels.astype(np.uint8) * 255)
        else:
            content["points"] = [list(point) for point in self.points]
        return content | ({"radius": self.radius} if self.kind == "brush" else {})

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Region:
        """What `to_json` wrote."""
        kind = choose("region", str(content.get("kind")), KINDS)
        if kind == "mask":
            return cls.of_mask(png_array(content["png"], "L") > 127)
        points = [(float(x), float(y)) for x, y in content["points"]]
        if kind == "box":
            return cls.box(*points[0], *points[1])
        return cls.polygon(points) if kind == "polygon" else cls.brush(points, content["radius"])


def png_text(pixels: np.ndarray) -> str:
    """A uint8 picture (H×W or H×W×3) as a PNG in base64."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def png_array(text: str, mode: str = "RGB") -> np.ndarray:
    """What `png_text` wrote."""
    with Image.open(io.BytesIO(base64.b64decode(text)), formats=("PNG",)) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"a picture of {image.width}×{image.height} pixels in a log is refused: it is too large")
        return np.array(image.convert(mode))


def _points(points: Sequence[Point], least: int) -> tuple[Point, ...]:
    found = tuple((float(x), float(y)) for x, y in points)
    if not least <= len(found) <= MOST_POINTS:
        raise ValueError(f"{least} to {MOST_POINTS} points (x, y) are needed; got {len(found)}")
    if not all(math.isfinite(v) for point in found for v in point):
        raise ValueError("a point of the region is not finite")
    return found


def _distance(xs: np.ndarray, ys: np.ndarray, a: Point, b: Point) -> np.ndarray:
    """Distance of every pixel's centre to the stretch from a to b."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    length = dx * dx + dy * dy
    t = np.clip(((xs - a[0]) * dx + (ys - a[1]) * dy) / length, 0, 1) if length else 0.0
    return np.hypot(xs - a[0] - t * dx, ys - a[1] - t * dy)
