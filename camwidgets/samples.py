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
    """A built-in picture, RGB. "cat-and-coffee" is a square with a cat above and a cup below.

    Example:
        >>> picture("cat").size
        (451, 300)
    """
    choose("sample picture", name, names())
    if name == COMPOSITE:
        image = _stacked("cat", "coffee")
        image.info["name"] = name
        return image
    image = open_image((files("camwidgets") / "datasets" / "samples" / f"{name}.jpg").read_bytes())
    image.info["name"] = name  # what explorers call it
    return image


def _stacked(upper: str, lower: str, side: int = 512) -> Image.Image:
    """Two photographs, each cropped to one half of a square."""
    canvas = Image.new("RGB", (side, side))
    for i, name in enumerate((upper, lower)):
        image = picture(name)
        height = round(image.height * side / image.width)
        image = image.resize((side, height), Image.Resampling.LANCZOS)
        y = (height - side // 2) // 2
        canvas.paste(image.crop((0, y, side, y + side // 2)), (0, i * side // 2))
    return canvas
