"""Opening pictures safely: whatever a person hands over becomes an RGB picture, or one clear sentence why not."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

Picture: TypeAlias = Image.Image
ImageSource: TypeAlias = Any  # path, PIL picture, bytes, H×W×3 uint8 array (tensors are handled by Classifier)

MAX_PIXELS = 64_000_000  # above this a picture is refused unread: a few kB can unpack to gigabytes
MIN_SIDE = 8
# Pillow knows more, and starts other programs for some of them (Ghostscript for EPS): those are left alone.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "DIB", "PPM", "ICO", "TGA", "JPEG2000", "AVIF", "HEIF")
MAX_ASPECT = 50


def open_image(source: ImageSource) -> Picture:
    """Return `source` as an 8-bit RGB picture, upright.

    Args:
        source: a path, the bytes of a picture file, a PIL picture, or an H×W×3 (or H×W) uint8 array.
    Returns:
        An RGB `PIL.Image`. EXIF rotation is applied, transparency is laid over white, 16-bit grey is scaled to 8 bit,
        CMYK and palette are converted, and of an animation the first frame is taken.
    Raises:
        ValueError: the picture is damaged, too small (under 8 pixels), too long (over 50:1) or too large (over
            64 million pixels: refused before it is decoded).
        FileNotFoundError, IsADirectoryError: the path names nothing, or a folder.
        TypeError: `source` is none of the above.

    Example:
        >>> open_image(np.zeros((32, 48, 3), np.uint8)).size
        (48, 32)
    """
    with warnings.catch_warnings():
        # What Pillow warns of (damaged metadata, many pixels) is either told below in one sentence or of no account.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        return _opened(source)


def _opened(source: ImageSource) -> Picture:
    if isinstance(source, Image.Image):
        return _to_rgb(source, "the picture")
    if isinstance(source, np.ndarray):
        return _to_rgb(_from_array(source), "the array")
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _read(io.BytesIO(bytes(source)), "the uploaded picture")
    if isinstance(source, (str, os.PathLike)):
        return _open_path(Path(source).expanduser())
    raise TypeError(
        f"a picture must be a path, a PIL picture, an H×W×3 uint8 array or a preprocessed 1×3×H×W tensor; "
        f"got {type(source).__name__}"
    )


def picture_hash(pixels: np.ndarray) -> str:
    """SHA-256 of an H×W×3 uint8 array (shape and bytes), as 64 hexadecimal digits."""
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).tobytes())
    return digest.hexdigest()


def _open_path(path: Path) -> Picture:
    # os.path, unlike pathlib, takes a name that is too long for the file system for what it is: no file.
    if os.path.isdir(path):  # noqa: PTH112
        raise IsADirectoryError(f"{str(path)!r} is a folder; give the path of one picture in it")
    if not os.path.isfile(path):  # noqa: PTH113
        shown = str(path) if len(str(path)) < 300 else f"{str(path)[:80]}…"
        raise FileNotFoundError(f"no picture at {shown!r}")
    with path.open("rb") as file:
        return _read(file, repr(path.name))


def _read(file: Any, name: str) -> Picture:
    Image.init()
    known = [one for one in FORMATS if one in Image.OPEN]
    with _damage_told(name):
        image = Image.open(file, formats=known)
    return _to_rgb(image, name)


@contextmanager
def _damage_told(name: str) -> Iterator[None]:
    """Whatever a decoder makes of a damaged file, it becomes one `ValueError` that names the file."""
    try:
        yield
    except Image.DecompressionBombError as error:
        raise ValueError(f"{name} is refused: {error}") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"{name} is not a picture that can be read (JPEG, PNG, WebP, GIF, TIFF, BMP …)") from error
    except Exception as error:  # decoders raise a dozen kinds, RuntimeError among them
        raise ValueError(f"{name} is truncated or damaged: {error}") from error


def _check_size(image: Picture, name: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ValueError(
            f"{name} is refused: {width}×{height} pixels; at most {MAX_PIXELS // 10**6} million are opened"
        )
    if min(width, height) < MIN_SIDE:
        raise ValueError(f"{name} is {width}×{height} pixels; at least {MIN_SIDE}×{MIN_SIDE} are needed")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ValueError(f"{name} is {width}×{height} pixels; at most {MAX_ASPECT}:1 can be shown to a network")


def _from_array(array: np.ndarray) -> Picture:
    grey, colour = array.ndim == 2, array.ndim == 3 and array.shape[-1] in (3, 4)
    if array.dtype != np.uint8 or not (grey or colour) or 0 in array.shape:
        raise ValueError(f"an array picture must be H×W×3 uint8; got shape {array.shape}, {array.dtype}")
    return Image.fromarray(array)


def _to_rgb(image: Picture, name: str) -> Picture:
    _check_size(image, name)
    with _damage_told(name):
        image.load()
    try:
        image = ImageOps.exif_transpose(image)
    except Exception:  # noqa: BLE001 - as many kinds as for decoders
        # Broken EXIF is no reason to refuse a sound picture: it is shown as stored.
        image = image.copy()
    if image.mode.startswith("I"):
        return _from_deep(np.asarray(image), name).convert("RGB")
    if image.mode == "F":
        raise ValueError(f"{name} has floating-point pixels, whose range is not defined; convert it to 8 bit first")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _from_deep(values: np.ndarray, name: str) -> Picture:
    """16-bit grey (held by Pillow as 16 or 32 bits) to 8-bit grey: 65535 becomes 255."""
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"{name} has 32-bit pixels outside 0…65535; convert it to 8 or 16 bit first")
    return Image.fromarray(np.round(values.astype(np.float64) / 257).astype(np.uint8))
