"""Thumbnails of channels: where in the picture a node's evidence lies, small."""

from __future__ import annotations

import base64
import io

import numpy as np
import torch
from PIL import Image

from ..decomposition.tree import Node
from ..maps.fusion import upsample
from .overlay import overlay

PIXELS = 96  # drawn at half that size: crisp on a double-density screen


def normalised(node: Node, size: tuple[int, int]) -> np.ndarray:
    """A node's positive attention (for evidence against: its negative part) at `size`, divided by its maximum."""
    values = np.maximum(node.attention if node.share >= 0 else -node.attention, 0)
    up = upsample(torch.from_numpy(np.ascontiguousarray(values)), size).numpy()
    top = float(up.max())
    return up / top if top > 0 else up


def attention_on_picture(
    node: Node, picture: np.ndarray, pixels: int | None = None, colormap: str = "inferno"
) -> Image.Image:
    """`normalised` laid over the greyed picture; square `pixels`, or the picture's own size."""
    height, width = picture.shape[:2] if pixels is None else (pixels, pixels)
    return overlay(0.75 * greyed(picture, height, width), normalised(node, (height, width)), colormap, opacity=0.9)


def greyed(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """A picture without its colours (they are the map's alone), height×width×3 float32."""
    grey = Image.fromarray(picture).convert("L").resize((width, height), Image.Resampling.BILINEAR)
    return np.repeat(np.asarray(grey, np.float32)[..., None], 3, 2)


def data_uri(image: Image.Image, quality: int = 82) -> str:
    """A picture as a `data:` address (JPEG)."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def guided_picture(
    gradient: np.ndarray, window: tuple[int, int, int, int], pixels: int = 2 * PIXELS
) -> Image.Image:
    """A guided-backpropagation view as a picture: 3×H×W values cut to the window (x0, y0, x1, y1); 0 becomes mid-grey,
    and the 99.5th percentile of their size black or white (a few strong pixels shall not hide the rest).
    """
    x0, y0, x1, y1 = window
    part = gradient[:, y0:y1, x0:x1].astype(np.float32)
    top = float(np.quantile(np.abs(part), 0.995)) if part.size else 0.0
    shown = np.clip(0.5 + (0.5 * part / top if top > 0 else 0 * part), 0, 1)
    return enlarged(Image.fromarray(np.round(255 * shown.transpose(1, 2, 0)).astype(np.uint8)), pixels)


def enlarged(image: Image.Image, pixels: int) -> Image.Image:
    """With its longer side `pixels` long; single pixels of a very small one stay visible as squares."""
    scale = pixels / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.NEAREST if scale > 6 else Image.Resampling.BICUBIC)


def thumbnail(node: Node, picture: np.ndarray, pixels: int = PIXELS) -> str:
    """A node's thumbnail as a `data:` address."""
    return data_uri(attention_on_picture(node, picture, pixels))
