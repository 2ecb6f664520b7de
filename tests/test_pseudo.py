"""Pseudo-labels: by hand on tiny pictures; superpixels on the toy world; what cannot be labelled is told."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest
import torch

from camwidgets.datasets.toyworld import ToyWorld
from camwidgets.learning.labelled import open_labelled
from camwidgets.learning.pseudo import pseudo_labelled, pseudo_labels, superpixels_of
from camwidgets.learning.quality import Confusion

GREY = np.full((2, 6, 3), 90, np.uint8)
MAPS = np.stack([np.tile([4.0, 3.2, 1.0, 0.0, -1.0, 0.4], (2, 1)), np.tile([0.0, 0.9, 0.5, 0.2, 0.1, 0.3], (2, 1))])


def test_each_pixel_goes_to_the_highest_scaled_map() -> None:
    """Scaled by their maxima 4 and .9: (1 .8 .25 0 0 .1) and (0 1 .56 .22 .11 .33); the second pixel has two rivals."""
    found = pseudo_labels(GREY, MAPS, [True, True], superpixels=False)
    assert found.tolist() == [[1, 255, 2, 0, 0, 2]] * 2
    assert found.dtype == np.uint8
    largest = pseudo_labels(GREY, MAPS, [True, True], superpixels=False, conflict="largest")
    assert largest[0].tolist() == [1, 2, 2, 0, 0, 2]
    assert pseudo_labels(GREY, MAPS, [True, True], superpixels=False, rivals=0.85)[0, 1] == 2
    assert pseudo_labels(GREY, MAPS, [True, True], 0.2, superpixels=False)[0].tolist() == [1, 255, 2, 2, 0, 2]


def test_absent_classes_are_not_looked_at() -> None:
    spoilt = np.stack([MAPS[0], MAPS[1] * 1e3])
    assert pseudo_labels(GREY, spoilt, [True, False], superpixels=False)[0].tolist() == [1, 1, 0, 0, 0, 0]
    assert pseudo_labels(GREY, spoilt, torch.tensor([False, True]), superpixels=False)[0].tolist() == [0, 2, 2, 0, 0, 2]


def test_a_superpixel_gets_the_mean_of_its_maps() -> None:
    """(3.11): regions of 2, 1 and 3 columns; means of map 0: .9 .25 .033; of map 1: .5 .56 .22."""
    regions = np.tile([7, 7, 2, 5, 5, 5], (2, 1))
    found = pseudo_labels(GREY, MAPS, [True, True], superpixels=regions)
    assert found[0].tolist() == [1, 1, 2, 0, 0, 0]
    rivals = pseudo_labels(GREY, MAPS, [True, True], superpixels=regions, rivals=0.5)
    assert rivals[0].tolist() == [255, 255, 2, 0, 0, 0]
    assert pseudo_labels(GREY, MAPS, [True, True], 0.22, superpixels=regions)[0].tolist() == [1, 1, 2, 2, 2, 2]


def test_saliency_says_where_the_background_is() -> None:
    """Not salient: background, whatever the maps say. Salient without a class: ignored."""
    saliency = np.tile([2.0, 0.1, 2.0, 2.0, 0.0, 0.0], (2, 1))
    found = pseudo_labels(GREY, MAPS, [True, True], saliency=saliency, superpixels=False)
    assert found[0].tolist() == [1, 0, 2, 255, 0, 0]
    assert not pseudo_labels(GREY, MAPS, [True, True], saliency=0 * saliency, superpixels=False).any()


def test_nothing_present_and_flat_maps_are_background() -> None:
    assert not pseudo_labels(GREY, MAPS, [False, False]).any()
    assert not pseudo_labels(GREY, -MAPS.clip(min=0), [True, True], 0.0).any()
    one = pseudo_labels(GREY, np.stack([MAPS[0], 0 * MAPS[1]]), [True, True], 0.0, superpixels=False)
    assert one[0].tolist() == [1, 1, 1, 0, 0, 1]  # what no map speaks for stays background, even at threshold 0


def test_maps_of_any_resolution() -> None:
    coarse = torch.zeros(1, 2, 2)
    coarse[0, 0, 0] = 5
    found = pseudo_labels(torch.zeros(3, 8, 8, dtype=torch.uint8), coarse, [True], superpixels=False)
    assert found[0].tolist() == [1, 1, 1, 1, 1, 0, 0, 0]  # weights 1 1 .875 .625 .375 .125 0 0
    assert found[5].sum() == 0


def test_what_cannot_be_labelled_is_told() -> None:
    for options, text in (
        ({"background": 1.5}, "background is a share"),
        ({"background": float("nan")}, "background is a share"),
        ({"rivals": -0.1}, "rivals is a share"),
        ({"conflict": "ignor"}, "did you mean 'ignore'"),
        ({"superpixels": np.zeros((2, 5), int)}, "2×6 pixels"),
        ({"superpixels": np.full((2, 6), -1)}, "whole numbers"),
        ({"saliency": np.full((2, 6), np.nan)}, "saliency map"),
    ):
        with pytest.raises(ValueError, match=text):
            pseudo_labels(GREY, MAPS, [True, True], **options)
    with pytest.raises(ValueError, match="maps of 3 classes"):
        pseudo_labels(GREY, MAPS, [True, True, False])
    with pytest.raises(ValueError, match="NaN"):
        pseudo_labels(GREY, MAPS * np.nan, [True, True])
    with pytest.raises(ValueError, match="float64"):
        pseudo_labels(GREY / 255, MAPS, [True, True])
    with pytest.raises(ValueError, match="each class"):
        pseudo_labels(GREY, MAPS, [3, 1])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="1 segment"):
        superpixels_of(GREY, segments=0)


def test_labels_of_eight_bits_number_254_classes() -> None:
    """Class 253 is label 254; 254 would be 255, which is unknown, and 255 be 0, the background."""
    maps, present = np.zeros((254, 2, 6)), np.zeros(254, bool)
    maps[253], present[253] = 1, True
    assert (pseudo_labels(GREY, maps, present, superpixels=False) == 254).all()
    for more in (255, 256, 300):
        with pytest.raises(ValueError, match=f"254 at most; {more} are given"):
            pseudo_labels(GREY, np.ones((more, 2, 6)), np.arange(more) == more - 1, superpixels=False)


def test_superpixels_follow_edges() -> None:
    """A disc and a map of it in 8×8: pixel by pixel the label is a blurred blob, with superpixels it is the disc."""
    ys, xs = np.mgrid[:96, :96]
    disc = (ys - 50) ** 2 + (xs - 44) ** 2 <= 27**2
    chance = np.random.default_rng(0)
    noise = chance.integers(-20, 21, (96, 96, 3))
    picture = (np.where(disc[..., None], (190, 80, 60), (70, 110, 150)) + noise).astype(np.uint8)
    maps = disc.reshape(8, 12, 8, 12).mean((1, 3))[None]
    scores = []
    for superpixels in (False, True):
        confusion = Confusion(1)
        confusion.add(pseudo_labels(picture, maps, [True], 0.5, superpixels=superpixels), disc.astype(np.uint8))
        scores.append(confusion.ious()[1])
    assert scores[0] < 0.95 < 0.97 < scores[1]
    regions = superpixels_of(picture)
    assert 75 < len(np.unique(regions)) < 200
    np.testing.assert_array_equal(regions, superpixels_of(picture))


def test_a_data_set_with_pseudo_labels_for_masks() -> None:
    data = open_labelled(ToyWorld(seed=0, n=6, objects=(1, 3)))
    maps = {example.id: torch.rand(10, 12, 12, generator=torch.Generator().manual_seed(1)) for example in data}
    made = pseudo_labelled(data, lambda example: maps[example.id], superpixels=lambda e: superpixels_of(e.picture, 60))
    assert made.ids == data.ids
    assert made.classes == data.classes
    assert made.has_masks
    for one, other in zip(made, data, strict=True):
        assert torch.equal(one.picture, other.picture)
        assert one.mask is not None
        assert set(one.mask.unique().tolist()) <= {0, 255, *(np.flatnonzero(one.present) + 1).tolist()}
    again = pseudo_labelled(data, lambda example: maps[example.id], superpixels=lambda e: superpixels_of(e.picture, 60))
    other_labels = pseudo_labelled(data, lambda example: maps[example.id], superpixels=False)
    assert again.key == made.key
    assert len({made.key, other_labels.key, data.key}) == 3
    assert made.painted().key == made.key


@pytest.mark.parametrize("name", ["boxes", "pseudo", "quality"])
def test_the_examples_run(name: str) -> None:
    found = doctest.testmod(importlib.import_module(f"camwidgets.learning.{name}"))
    assert found.failed == 0
    assert found.attempted > 0
