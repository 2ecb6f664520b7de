"""Pictures with boxes, and mosaics of them: what the localisation benchmark is measured on."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from camwidgets.evaluation.mosaics import drawn, tiled

DEFAULT_FOLDER = Path("../shared/data/ilsvrc_dev")
XYXY = tuple[float, float, float, float]


@dataclass(frozen=True)
class Labelled:
    """One picture: the file, its class index, and the class's boxes (x0, y0, x1, y1) as shares of width and height."""

    path: Path
    target: int
    boxes: tuple[XYXY, ...]

    def open(self) -> Image.Image:
        with Image.open(self.path) as image:
            return image.convert("RGB")

    def boxes_at(self, size: tuple[int, int]) -> list[XYXY]:
        """The boxes in pixels of a squashed view of `size` (h, w)."""
        h, w = size
        return [(x0 * w, y0 * h, x1 * w, y1 * h) for x0, y0, x1, y1 in self.boxes]


@dataclass(frozen=True)
class Mosaic:
    """Four pictures of four classes in a square; `targets[i]` is the class in cell i (row by row)."""

    picture: Image.Image
    targets: tuple[int, ...]


def read_pictures(folder: str | Path) -> list[Labelled]:
    """The pictures that `index.csv` in `folder` lists.

    Columns used: file, imagenet_class_index, all_boxes (`x0 y0 x1 y1` in pixels, joined by `;`), width, height.

    Raises:
        FileNotFoundError: there is no such index.
    """
    index = Path(folder).expanduser() / "index.csv"
    if not index.is_file():
        raise FileNotFoundError(
            f"no pictures with boxes at {str(folder)!r} (index.csv is missing): they carry no licence to redistribute "
            f"and are not part of this project. Name a folder that has them: python -m benchmarks localisation FOLDER"
        )
    with index.open(encoding="utf-8", newline="") as file:
        return [_labelled(row, index.parent) for row in csv.DictReader(file)]


def _labelled(row: dict[str, str], folder: Path) -> Labelled:
    width, height = float(row["width"]), float(row["height"])
    boxes = []
    for text in row["all_boxes"].split(";"):
        x0, y0, x1, y1 = (float(value) for value in text.split())
        boxes.append((x0 / width, y0 / height, x1 / width, y1 / height))
    return Labelled(folder / row["file"], int(row["imagenet_class_index"]), tuple(boxes))


def make_mosaics(
    pictures: Sequence[Labelled], confident: Sequence[bool], count: int, seed: int = 0, cell: int = 112
) -> list[Mosaic]:
    """`count` 2×2 mosaics of confident pictures of four different classes, as `evaluation.mosaics` draws them.

    `cell`: side of one cell, pixels.
    """
    labels = {i: pictures[i].target for i, sure in enumerate(confident) if sure}
    found = [[pictures[i] for i in chosen] for chosen in drawn(labels, count, seed)]
    return [Mosaic(tiled([one.open() for one in four], cell), tuple(one.target for one in four)) for four in found]
