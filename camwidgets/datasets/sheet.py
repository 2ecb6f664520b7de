"""Contact sheets: rows of captioned pictures on one PNG."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]
_PAPER, _INK, _QUIET = (250, 249, 246), (34, 34, 38), (106, 106, 114)
_MARGIN, _GAP, _CAPTION, _TITLE = 24, 8, 20, 34


@dataclass(frozen=True)
class Row:
    """A titled row of (caption, H×W×3 uint8 picture)."""

    title: str
    cells: Sequence[tuple[str, Picture]]


def contact_sheet(title: str, rows: Sequence[Row], cell: int = 128) -> Image.Image:
    """All rows on one sheet, each picture `cell` pixels wide."""
    columns = max(len(row.cells) for row in rows)
    width = 2 * _MARGIN + columns * (cell + _GAP) - _GAP
    tall = [(_TITLE if row.title else 0) + cell + _CAPTION for row in rows]
    page = Image.new("RGB", (width, 2 * _MARGIN + 40 + sum(tall)), _PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((_MARGIN, _MARGIN - 4), title, _INK, ImageFont.load_default(22))
    y = _MARGIN + 36
    for row, height in zip(rows, tall, strict=True):
        if row.title:
            draw.text((_MARGIN, y + 9), row.title, _INK, ImageFont.load_default(14))
        top = y + height - cell - _CAPTION
        for k, (caption, picture) in enumerate(row.cells):
            x = _MARGIN + k * (cell + _GAP)
            page.paste(Image.fromarray(picture).resize((cell, cell), Image.Resampling.LANCZOS), (x, top))
            draw.text((x + 1, top + cell + 2), caption, _QUIET, ImageFont.load_default(11))
        y += height
    return page


def tinted(image: Picture, masks: dict[str, NDArray[np.bool_]]) -> Picture:
    """A greyed picture with every mask in a colour of its own."""
    grey = image.astype(np.float32).mean(axis=2, keepdims=True) * 0.55 + 90
    out = np.repeat(grey, 3, axis=2)
    for k, mask in enumerate(masks.values()):
        out[mask] = 0.25 * out[mask] + 0.75 * np.array(_TINTS[k % len(_TINTS)], np.float32)
    return np.clip(out, 0, 255).astype(np.uint8)


_TINTS = (
    (86, 180, 233), (230, 159, 0), (0, 158, 115), (204, 121, 167), (240, 228, 66), (0, 114, 178),
    (213, 94, 0), (148, 103, 189), (140, 190, 90), (120, 120, 120),
)  # fmt: skip


def run(what: str, make: Callable[[int], Image.Image], arguments: Sequence[str] | None = None) -> Path:
    """The command line of a contact sheet: `--seed`, `--out`, `--show`; returns the path written."""
    parser = argparse.ArgumentParser(description=f"Write a contact sheet of the {what}.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("camwidgets-output") / f"{what}.png")
    parser.add_argument("--show", action="store_true", help="open it in the system's picture viewer")
    given = parser.parse_args(arguments)
    if given.seed < 0:
        parser.error(f"--seed must be ≥ 0, not {given.seed}")
    page = make(given.seed)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    page.save(given.out)
    print(f"{given.out}: {page.width}×{page.height} pixels")
    if given.show:
        page.show()
    path: Path = given.out
    return path
