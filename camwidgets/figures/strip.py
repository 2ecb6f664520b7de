"""Pictures in a row with captions: how notebooks and README show several maps at once."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

PAPER, INK = "white", "#333333"
GAP = 12
LINE = 18


def strip(pictures: Sequence[Image.Image], captions: Sequence[str] | None = None, side: int = 224) -> Image.Image:
    """Pictures side by side, each scaled to the height `side`, with one caption under each.

    A caption that is wider than its picture is broken at spaces into at most three lines.

    Example:
        >>> strip([Image.new("RGB", (32, 32))] * 3, ["a", "b", "c"]).size
        (696, 254)
    """
    if not pictures:
        raise ValueError("a strip needs at least one picture")
    texts = list(captions or [""] * len(pictures))
    if len(texts) != len(pictures):
        raise ValueError(f"{len(texts)} captions were given for {len(pictures)} pictures")
    font = ImageFont.load_default(size=13)
    scaled = [
        p.convert("RGB").resize((max(1, round(p.width * side / p.height)), side), _method(p, side)) for p in pictures
    ]
    lines = [_broken(text, image.width, font) for text, image in zip(texts, scaled, strict=True)]
    below = LINE * max(map(len, lines)) + GAP if any(texts) else 0
    width = sum(image.width for image in scaled) + GAP * (len(scaled) - 1)
    sheet = Image.new("RGB", (width, side + below), PAPER)
    draw, x = ImageDraw.Draw(sheet), 0
    for image, wrapped in zip(scaled, lines, strict=True):
        sheet.paste(image, (x, 0))
        for i, line in enumerate(wrapped):
            draw.text((x + image.width / 2, side + GAP / 2 + i * LINE), line, fill=INK, font=font, anchor="ma")
        x += image.width + GAP
    return sheet


def _method(picture: Image.Image, side: int) -> Image.Resampling:
    """Enlarged pictures keep their pixels visible when they are tiny; the rest is smoothed."""
    return Image.Resampling.NEAREST if picture.height * 4 <= side else Image.Resampling.LANCZOS


def _broken(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines[:3]
