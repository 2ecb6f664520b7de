"""Laying a map over its picture, with contour and box, as a plain PIL picture."""

from __future__ import annotations

from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

from ..errors import choose
from ..maps.regions import above, box
from .colour import coloured

Blend = Literal["even", "by value"]
BLENDS = ("even", "by value")
LINE = (255, 255, 255)
EDGE = (0, 0, 0)


def overlay(
    picture: np.ndarray,
    values: np.ndarray,
    colormap: str = "inferno",
    opacity: float = 0.8,
    blend: Blend = "by value",
    threshold: float | None = None,
    contour: bool = True,
    draw_box: bool = True,
) -> Image.Image:
    """A map over its picture: out = (1 − a)·picture + a·colour(map), a = opacity ("even") or opacity·map ("by value").

    Args:
        picture: H×W×3 uint8. values: H×W in [0, 1]. opacity: 0 (picture alone) … 1.
        threshold: draw the contour and the box of the region ≥ threshold·max; None draws neither.

    Example:
        >>> overlay(np.zeros((4, 4, 3), np.uint8), np.ones((4, 4), np.float32), opacity=1.0).size
        (4, 4)
    """
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must lie in 0 … 1; got {opacity!r}")
    if picture.shape[:2] != values.shape:
        raise ValueError(f"the map is {values.shape}, its picture {picture.shape[:2]}; they must be of one size")
    choose("blend", blend, BLENDS)
    alpha = np.full(values.shape, opacity) if blend == "even" else opacity * np.clip(values, 0, 1)
    mixed = (1 - alpha[..., None]) * picture + alpha[..., None] * coloured(values, colormap)
    image = Image.fromarray(np.round(mixed).astype(np.uint8))
    if threshold is not None:
        _outline(image, values, threshold, contour, draw_box)
    return image


def _outline(image: Image.Image, values: np.ndarray, threshold: float, contour: bool, draw_box: bool) -> None:
    if contour:
        mask = above(values, threshold)
        inner = mask.copy()
        inner[1:] &= mask[:-1]
        inner[:-1] &= mask[1:]
        inner[:, 1:] &= mask[:, :-1]
        inner[:, :-1] &= mask[:, 1:]
        pixels = np.array(image)
        pixels[mask & ~inner] = LINE
        image.paste(Image.fromarray(pixels))
    found = box(values, threshold) if draw_box else None
    if found:
        x0, y0, x1, y1 = found
        draw = ImageDraw.Draw(image)
        draw.rectangle((x0, y0, x1 - 1, y1 - 1), outline=LINE)
        if x1 - x0 > 4 and y1 - y0 > 4:  # a dark line inside keeps the box legible on a bright map
            draw.rectangle((x0 + 1, y0 + 1, x1 - 2, y1 - 2), outline=EDGE)
