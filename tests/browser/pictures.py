"""What was drawn, as numbers: pixels of a canvas or of any part of a page; and screenshots to look at."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from playwright.sync_api import Locator, Page

SCREENSHOTS = Path(__file__).parents[2] / "artifacts" / "screenshots"

Pixels = npt.NDArray[np.uint8]


def canvas_pixels(canvas: Locator) -> Pixels:
    """The canvas's own pixels, H×W×4 (not premultiplied), whatever size it is shown in."""
    url = canvas.evaluate("canvas => canvas.toDataURL('image/png')")
    return _decoded(base64.b64decode(url.partition(",")[2]), "RGBA")


def shown_pixels(place: Locator) -> Pixels:
    """What a person sees there, H×W×3."""
    return _decoded(place.screenshot(animations="disabled"), "RGB")


def colours(pixels: Pixels) -> int:
    """How many different colours there are: 1 means that nothing was drawn."""
    return len(np.unique(pixels.reshape(-1, pixels.shape[-1]), axis=0))


def changed_share(before: Pixels, after: Pixels, tolerance: int = 8) -> float:
    """The share of pixels that differ by more than *tolerance* in some channel."""
    if before.shape != after.shape:
        raise ValueError(f"the pictures differ in shape: {before.shape} and {after.shape}")
    return float((np.abs(before.astype(int) - after.astype(int)).max(axis=-1) > tolerance).mean())


def keep_screenshot(shown: Page | Locator, name: str) -> Path:
    """Save what is shown as ``artifacts/screenshots/NAME.png`` and return the file's path."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    path = SCREENSHOTS / f"{name}.png"
    shown.screenshot(path=path, animations="disabled")
    return path


def _decoded(png: bytes, mode: str) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(png)).convert(mode))
