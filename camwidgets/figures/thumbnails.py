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
    size = picture.shape[:2] if pixels is None else (pixels, pixels)
    base = np.asarray(Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.BILINEAR))
    grey = np.repeat(base.mean(2, keepdims=True), 3, 2)  # colour is the map's alone
    return overlay(0.75 * grey, normalised(node, (size[0], size[1])), colormap, opacity=0.9)


def data_uri(image: Image.Image, quality: int = 82) -> str:
    """A picture as a `data:` address (JPEG)."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def thumbnail(node: Node, picture: np.ndarray, pixels: int = PIXELS) -> str:
    """A node's thumbnail as a `data:` address."""
    return data_uri(attention_on_picture(node, picture, pixels))
