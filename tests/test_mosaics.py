"""Mosaics: four classes, the right cell, every picture once before any twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

import camwidgets
from camwidgets.datasets.items import Items
from camwidgets.datasets.toyworld import ToyWorld
from camwidgets.evaluation.layout import cell
from camwidgets.evaluation.mosaics import MosaicSource, mosaics


@pytest.fixture(scope="module")
def toy() -> camwidgets.Classifier:
    return camwidgets.load("toy")


@pytest.fixture(scope="module")
def world() -> Items:
    return camwidgets.datasets.open_dataset(ToyWorld(seed=3, n=20))


def test_cells_hold_what_they_say(toy: camwidgets.Classifier, world: Items) -> None:
    made = mosaics(toy, world, 3, cell=96)
    assert len(made) == 12
    assert made.has_boxes
    for start in range(0, 12, 4):
        four = [made[start + k] for k in range(4)]
        assert len({one.label for one in four}) == 4
        sheet = np.asarray(four[0].open())
        for one in four:
            assert isinstance(one.source, MosaicSource)
            x0, y0, x1, y1 = map(int, one.boxes[0])
            place = (y0 // 96) * 2 + x0 // 96
            part = one.source.items[place]
            assert part.label is not None
            assert toy.index(part.label) == one.label
            np.testing.assert_array_equal(sheet[y0:y1, x0:x1], np.asarray(part.open()))
    assert len({one.hash() for one in made}) == 3


def test_every_picture_once_before_any_twice(toy: camwidgets.Classifier, world: Items) -> None:
    made = mosaics(toy, world, 8)
    used = Counter(item.id for one in made[::4] for item in one.source.items)  # type: ignore[attr-defined]
    assert max(used.values()) - min(used.values()) <= 1
    again = mosaics(toy, world, 8)
    assert [one.hash() for one in again] == [one.hash() for one in made]
    assert [one.hash() for one in mosaics(toy, world, 8, seed=1)] != [one.hash() for one in made]


def test_chance_is_a_quarter(toy: camwidgets.Classifier, world: Items) -> None:
    made = mosaics(toy, world, 3)
    table = camwidgets.evaluate(toy, made, ["whole", "gradcam"], ["energy"], progress=False).table()
    assert cell(table, "whole", "energy") == pytest.approx(0.25)
    assert cell(table, "Grad-CAM", "energy") > 0.4


def test_labels_of_mosaics(toy: camwidgets.Classifier, world: Items) -> None:
    """Names written otherwise, items without a label, broken pictures: each mosaic asks for the class of its cell."""
    written = {i: toy.labels[toy.index(one.label)].upper() for i, one in enumerate(world) if one.label is not None}
    entries = [replace(one, label=written[i]) for i, one in enumerate(world)]
    entries[0] = replace(entries[0], label=None)
    entries[1] = replace(entries[1], problem="line 7 is broken")
    items = Items("capitals", entries)
    made = mosaics(toy, items, 6, cell=48)
    by_id = {one.id: one for one in entries}
    used = {part.id for one in made for part in one.source.items}  # type: ignore[attr-defined]
    assert used
    assert not used & {entries[0].id, entries[1].id}
    for one in made:
        x0, y0, _, _ = one.boxes[0]
        assert isinstance(one.source, MosaicSource)
        assert isinstance(one.label, int)
        cell_item = one.source.items[int(y0 // 48) * 2 + int(x0 // 48)]
        assert toy.labels[one.label].upper() == by_id[cell_item.id].label
    report = camwidgets.evaluate(toy, made, ["whole"], ["energy"], progress=False)
    labels = {row["item"]: row["label"] for row in report.rows}
    assert labels == {one.id: toy.labels[one.label] for one in made if isinstance(one.label, int)}


def test_too_few_classes(toy: camwidgets.Classifier) -> None:
    few = camwidgets.datasets.open_dataset(ToyWorld(seed=3, n=20, classes=("cat", "duck", "car")))
    with pytest.raises(ValueError, match="confident pictures of 4 classes; toy is at least 90% sure of"):
        mosaics(toy, few, 2)
    with pytest.raises(ValueError, match="count"):
        mosaics(toy, few, 0)
