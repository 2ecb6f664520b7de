"""2×2 mosaics of pictures of four classes: with several objects in sight, does the map know which is meant?"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..classifiers.classifier import Classifier
from ..datasets.checks import check_integer, check_share
from ..datasets.items import Item, Items, Source
from ..datasets.labels import match_labels
from ..images import Picture

CELLS = 4


@dataclass(frozen=True)
class MosaicSource(Source):
    """Four pictures, row by row, each squashed to a cell of `cell` pixels."""

    items: tuple[Item, ...]
    cell: int

    def open(self) -> Picture:
        return tiled([one.open() for one in self.items], self.cell)

    def hash(self) -> str:
        return hashlib.sha256("".join([str(self.cell), *(one.hash() for one in self.items)]).encode()).hexdigest()


def mosaics(
    classifier: Classifier, items: Items, count: int = 40, *, sure: float = 0.9, cell: int = 112, seed: int = 0
) -> Items:
    """`count` mosaics, four items each: the class of one cell, whose box is that cell.

    The test "energy" on them is the share of the map's mass in the right cell (0.25 = chance); "pointing" says whether
    the maximum is. Only pictures whose class the network gives at least the probability `sure` by itself take part;
    each is used once before any is used a second time. Seeded.

    Raises:
        ValueError: fewer than four classes have such pictures.
    """
    check_integer("count", count, 1)
    check_share("sure", sure, 1.0)
    items = items.relabelled(match_labels(items, classifier))
    labels = {i: label for i, item in enumerate(items) if (label := _confident(classifier, item, sure)) is not None}
    if len(set(labels.values())) < CELLS:
        raise ValueError(
            f"a mosaic needs confident pictures of {CELLS} classes; {classifier.name} is at least {sure:.0%} sure of "
            f"{len(labels)} pictures of {items.name}, of {len(set(labels.values()))} classes"
        )
    made = []
    for number, chosen in enumerate(drawn(labels, count, seed)):
        source = MosaicSource(tuple(items[i] for i in chosen), cell)
        for place, i in enumerate(chosen):
            left, top = (place % 2) * cell, (place // 2) * cell
            box = (float(left), float(top), float(left + cell), float(top + cell))
            made.append(Item(f"mosaic {number} cell {place}", labels[i], (box,), (2 * cell, 2 * cell), source))
    found = Items(f"{count} mosaics of {items.name}", made)
    found.origin = {**items.origin, "mosaics": {"count": count, "sure": sure, "cell": cell, "seed": seed}}
    return found


def _confident(classifier: Classifier, item: Item, sure: float) -> int | None:
    """The item's class index, if the network is sure enough of it."""
    if item.label is None:
        return None
    try:
        picture = item.open()
    except (ValueError, OSError):
        return None  # a broken picture takes no part; a run over the pictures themselves reports it
    label = classifier.index(item.label)
    found = {one.index: one.probability for one in classifier.predict(picture, len(classifier.labels))}
    return label if found[label] >= sure else None


def tiled(pictures: Sequence[Picture], cell: int) -> Picture:
    """Four pictures row by row, each squashed to a square of `cell` pixels."""
    sheet = Image.new("RGB", (2 * cell, 2 * cell))
    for i, one in enumerate(pictures):
        sheet.paste(one.resize((cell, cell), Image.Resampling.BICUBIC), ((i % 2) * cell, (i // 2) * cell))
    return sheet


def drawn(labels: Mapping[int, int], count: int, seed: int) -> list[list[int]]:
    """Numbers of four pictures of four classes, `count` times: each is drawn once before any is a second time.

    labels: number of a picture → its class.

    Raises:
        ValueError: there are fewer than four classes.
    """
    if len(set(labels.values())) < CELLS:
        raise ValueError(f"a mosaic needs pictures of {CELLS} classes; there are {len(labels)} confident pictures of "
                         f"{len(set(labels.values()))} classes")  # fmt: skip
    random = np.random.default_rng(seed)
    found: list[list[int]] = []
    pile: list[int] = []
    while len(found) < count:
        if len({labels[i] for i in pile}) < CELLS:
            pile += random.permutation(list(labels)).tolist()
        first: dict[int, int] = {}
        for i in pile:
            first.setdefault(labels[i], i)
        chosen = sorted(list(first.values())[:CELLS], key=pile.index)
        for i in chosen:
            pile.remove(i)
        found.append(chosen)
    return found
