"""The built-in pictures: a few photographs that need no download."""

from __future__ import annotations

from importlib.resources import files

from PIL import Image

from .errors import choose
from .images import open_image

_PHOTOGRAPHS = ("cat", "coffee", "rocket", "astronaut")
COMPOSITE = "cat-and-coffee"


def names() -> list[str]:
    """The names of the built-in pictures."""
    return [*_PHOTOGRAPHS[:2], COMPOSITE, *_PHOTOGRAPHS[2:]]


def picture(name: str = "cat") -> Image.Image:
    """A built-in picture, RGB. "cat-and-coffee" is a square with a cat on the left and a cup on the right.

    Example:
        >>> picture("cat").size
        (451, 300)
    """
    choose("sample picture", name, names())
    if name == COMPOSITE:
        return _side_by_side("cat", "coffee")
    return open_image((files("camwidgets") / "datasets" / "samples" / f"{name}.jpg").read_bytes())


def _side_by_side(left: str, right: str, side: int = 512) -> Image.Image:
    """Two photographs, each cropped to an upright half of a square."""
    canvas = Image.new("RGB", (side, side))
    for i, name in enumerate((left, right)):
        image = picture(name)
        scale = max(side / 2 / image.width, side / image.height)
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
        x = (image.width - side // 2) // 2
        canvas.paste(image.crop((x, 0, x + side // 2, side)), (i * side // 2, 0))
    return canvas
