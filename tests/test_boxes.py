"""Boxes from maps: against hand-made maps, and the graph cut against all labellings of a tiny picture."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from camwidgets.datasets.toyworld import ToyWorld
from camwidgets.learning.boxes import STEPS, box_of, cut, neighbour_weights, spread_box, spread_mask
from camwidgets.maps.regions import iou


def test_box_of_the_largest_part_at_its_threshold() -> None:
    values = np.zeros((10, 12))
    values[1:4, 2:7] = 0.2
    values[2, 3] = 1.0
    values[7:9, 8:10] = 0.9
    assert box_of(values) == (2, 1, 7, 4)
    assert box_of(values, 0.5) == (8, 7, 10, 9)
    assert box_of(-values) is None
    assert box_of(np.full((3, 3), 0.4)) is None


@pytest.mark.parametrize("threshold", [0.0, -0.1, 1.5, float("nan")])
def test_a_threshold_outside_its_range_is_told(threshold: float) -> None:
    with pytest.raises(ValueError, match="share of the map's maximum"):
        box_of(np.eye(3), threshold)


def test_maps_that_are_none_are_told() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 3, 3\)"):
        box_of(np.zeros((2, 3, 3)))
    with pytest.raises(ValueError, match="1 values that are NaN"):
        box_of(np.array([[1.0, np.nan]]))
    with pytest.raises(ValueError, match="4×4 pixels needs"):
        spread_box(np.eye(4), np.zeros((4, 5, 3), np.uint8))
    with pytest.raises(ValueError, match="float64"):
        spread_box(np.eye(4), np.zeros((4, 4, 3)))
    with pytest.raises(ValueError, match="low < high"):
        spread_box(np.eye(4), np.zeros((4, 4, 3), np.uint8), high=0.2)
    with pytest.raises(ValueError, match="at least 0"):
        spread_box(np.eye(4), np.zeros((4, 4, 3), np.uint8), smoothness=-1)


@pytest.mark.parametrize("seed", range(6))
def test_the_cut_has_the_least_energy_of_all_labellings(seed: int) -> None:
    """3×4 pixels: 4,096 labellings. λ is large enough that the colours' own decision is not the answer."""
    chance = np.random.default_rng(seed)
    height, width, smoothness = 3, 4, 1.5
    colours = chance.integers(0, 256, (height, width, 3)).astype(np.float64)
    as_object, as_around = (np.round(chance.random((height, width)) * 2, 3) for _ in range(2))
    nodes = np.arange(height * width).reshape(height, width)
    links = neighbour_weights(nodes, colours)
    assert sum(one.size for one, _, _ in links) == 3 * 3 + 2 * 4 + 2 * 2 * 3  # right, below, two diagonals

    def energy(labels: np.ndarray) -> float:
        flat = labels.ravel()
        own = np.where(flat, as_object.ravel(), as_around.ravel()).sum()
        return own + sum(np.floor(STEPS * smoothness * w[flat[a] != flat[b]] + 0.5).sum() / STEPS for a, b, w in links)

    every = (np.array(bits, bool) for bits in itertools.product((False, True), repeat=height * width))
    least = min(energy(labels) for labels in every)
    found = cut(as_object, as_around, colours, smoothness)
    assert energy(found) == pytest.approx(least, abs=1e-9)
    assert energy(as_object < as_around) > least + 1e-3  # neighbours matter


def test_weights_by_hand() -> None:
    """Two pixels in a row differ by 2 in one channel: σ² = 4, weight exp(−4/8)."""
    colours = np.array([[[0.0, 0, 0], [2.0, 0, 0]]])
    (_, _, weight), *others = neighbour_weights(np.arange(2).reshape(1, 2), colours)
    np.testing.assert_allclose(weight, [[np.exp(-0.5)]])
    assert all(w.size == 0 for _, _, w in others)


def test_weights_of_colours_that_differ_in_two_channels() -> None:
    """Three pixels in a row: 1 in one channel apart, then 3 and 4 in two; ‖·‖² = 1 and 25, σ² = 13."""
    colours = np.array([[[0.0, 0, 0], [1.0, 0, 0], [4.0, 4, 0]]])
    (_, _, weight), *_ = neighbour_weights(np.arange(3).reshape(1, 3), colours)
    np.testing.assert_allclose(weight, [[np.exp(-1 / 26), np.exp(-25 / 26)]])


def test_specks_on_an_object_become_its_box() -> None:
    """A disc of another colour under 12 specks: the plain box holds one speck, the spread one the disc."""
    ys, xs = np.mgrid[:64, :64]
    disc = (ys - 36) ** 2 + (xs - 24) ** 2 <= 15**2
    chance = np.random.default_rng(0)
    picture = np.where(disc[..., None], (200, 60, 40), (50, 90, 160)) + chance.integers(-20, 21, (64, 64, 3))
    inside = np.flatnonzero(disc)
    values = np.zeros((64, 64))
    values.flat[chance.choice(inside, 12, replace=False)] = 1
    truth = (9, 21, 40, 52)
    plain, spread = box_of(values), spread_box(values, picture.astype(np.uint8))
    assert plain is not None
    assert iou(plain, truth) < 0.05
    assert spread is not None
    assert iou(spread, truth) > 0.9


def test_flat_maps_and_a_picture_of_one_colour_have_an_answer() -> None:
    picture = np.zeros((6, 6, 3), np.uint8)
    assert spread_box(np.zeros((6, 6)), picture) is None
    assert spread_box(np.full((6, 6), 2.0), picture) is None
    assert not spread_mask(np.full((6, 6), -1.0), picture).any()
    values = np.zeros((6, 6))
    values[2, 3] = 1
    assert spread_mask(values, picture)[2, 3]  # a seed stays object, whatever the colours say
    assert spread_mask(values, picture[..., 0]).shape == (6, 6)


def test_scattered_maps_of_the_toy_world_get_better_boxes() -> None:
    """The true mask seen through a sieve (3 % of its pixels), as a shallow map has it."""
    chance = np.random.default_rng(1)
    gains = []
    for scene in ToyWorld(seed=5, n=12, context_strength=0.0, clutter=0.0):
        mask = scene.objects[0].mask
        values = np.where(mask & (chance.random(mask.shape) < 0.03), 1.0, 0.0)
        plain, spread = box_of(values), spread_box(values, scene.image)
        assert plain is not None
        assert spread is not None
        gains.append(iou(spread, scene.objects[0].box) - iou(plain, scene.objects[0].box))
    assert np.mean(gains) > 0.25

