"""Where a map lies and what it draws: maps whose score is known by construction."""

from __future__ import annotations

import numpy as np
import pytest

from camwidgets.evaluation.location import (
    box_hits,
    box_iou,
    cell_share,
    centre_map,
    energy_inside,
    pointing,
    random_map,
    within,
)  # fmt: skip
from camwidgets.evaluation.segmentation import average_precision, foreground, ious, mean_iou, pixel_accuracy

MASK = np.zeros((20, 20), bool)
MASK[4:12, 6:16] = True  # 80 of 400 pixels
BOX = (6, 4, 16, 12)
PERFECT, INVERTED, FLAT = MASK.astype(np.float32), 1 - MASK.astype(np.float32), np.full((20, 20), 0.3, np.float32)
RANDOM = random_map((20, 20))


@pytest.mark.parametrize(
    ("values", "point", "hundred", "energy"),
    [(PERFECT, 1.0, 0.8 + 0.2 * 0.0, 1.0), (INVERTED, 0.0, 0.0, 0.0), (FLAT, 0.2, 0.2, 0.2)],
)
def test_points_and_energy(values: np.ndarray, point: float, hundred: float, energy: float) -> None:
    assert pointing(values, MASK) == pytest.approx(point)
    assert pointing(values, MASK, 100) == pytest.approx(hundred)
    assert energy_inside(values, MASK) == pytest.approx(energy, abs=1e-6)


def test_a_random_map_scores_like_the_whole_picture() -> None:
    drawn = [random_map((20, 20), seed) for seed in range(200)]
    assert np.mean([pointing(m, MASK, 100) for m in drawn]) == pytest.approx(0.2, abs=0.01)
    assert np.mean([energy_inside(m, MASK) for m in drawn]) == pytest.approx(0.2, abs=0.01)


def test_pointing_by_hand() -> None:
    values, inside = np.array([[3.0, 2.0, 2.0, 1.0]]), np.array([[True, True, False, True]])
    assert pointing(values, inside, 1) == 1.0
    assert pointing(values, inside, 2) == pytest.approx((1 + 0.5) / 2)
    assert pointing(values, inside, 4) == 0.75
    with pytest.raises(ValueError, match="between 1 and 4 points can be taken; got 5"):
        pointing(values, inside, 5)


def test_boxes() -> None:
    np.testing.assert_array_equal(within((20, 20), [BOX]), MASK)
    assert within((4, 4), [(0.4, 0, 1.4, 4), (3, 3, 9, 9)]).sum() == 5  # pixel centres, boxes cut to the picture
    assert box_iou(PERFECT, [(0, 0, 1, 1), BOX]) == 1.0
    assert box_iou(FLAT, [BOX]) == 0.0
    assert box_hits(PERFECT, [BOX], [0.15, 0.5]).tolist() == [True, True]
    assert not box_hits(INVERTED, [BOX]).any()
    with pytest.raises(ValueError, match="no box of the class"):
        within((4, 4), [])


def test_mosaics() -> None:
    values = np.zeros((4, 4))
    values[2:, :2] = 1
    values[0, 0] = 4
    assert [cell_share(values, i) for i in range(4)] == [0.5, 0.0, 0.5, 0.0]
    assert cell_share(FLAT, 3) == pytest.approx(0.25)


def test_the_centre_is_the_middle() -> None:
    values = centre_map((5, 9))
    assert values[2, 4] == 1.0
    assert values[0, 0] == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(values, values[::-1, ::-1])


def test_masks() -> None:
    for values, accuracy, mean in ((PERFECT, 1.0, 1.0), (INVERTED, 0.0, 0.0)):
        found = foreground(values)
        assert pixel_accuracy(found, MASK) == accuracy
        assert mean_iou(found, MASK) == mean
    nothing = foreground(FLAT)
    assert not nothing.any(), "nothing of a flat map is above its mean"
    assert mean_iou(nothing, MASK) == pytest.approx((0 + 320 / 400) / 2)
    half = MASK.copy()
    half[8:] = False  # 40 of the 80 pixels
    assert mean_iou(half, MASK) == pytest.approx((40 / 80 + 320 / 360) / 2)
    assert ious(np.where(half, 1.0, np.where(MASK, 0.5, 0.1)), MASK, [0.05, 0.4, 0.8]) == pytest.approx([0.2, 1, 0.5])


def test_average_precision_agrees_with_scikit_learn() -> None:
    from sklearn.metrics import average_precision_score

    generator = np.random.default_rng(0)
    for values in (PERFECT, INVERTED, FLAT, RANDOM, generator.random((20, 20)), generator.integers(0, 5, (20, 20))):
        expected = average_precision_score(MASK.ravel(), np.asarray(values, float).ravel())
        assert average_precision(values, MASK) == pytest.approx(expected, abs=1e-12)
    assert average_precision(PERFECT, MASK) == 1.0
    assert average_precision(FLAT, MASK) == pytest.approx(0.2)
    with pytest.raises(ValueError, match="the mask is empty"):
        average_precision(FLAT, np.zeros((20, 20), bool))
