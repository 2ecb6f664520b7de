"""Recall, noise and IoU: by hand, and against scikit-learn's confusion matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from camwidgets.learning.quality import Confusion, MapQuality, picture_miou, recall_noise


def test_recall_and_noise_by_hand() -> None:
    """Class 0: found 3 px (≥ 0.5 of 0.8), objects 4, both 2. Class 1: found 1 px, objects 2, both 0; one px unknown."""
    maps = np.array([[[0.8, 0.4, 0.4], [0.3, 0.0, 0.39]], [[0.0, 0.0, 0.1], [0.0, 0.2, 0.0]]])
    mask = np.array([[1, 1, 0], [1, 255, 1]], np.uint8)
    quality = MapQuality(["a", "b"])
    quality.add(maps, mask)
    quality.add(np.stack([np.zeros((2, 3)), maps[1]]), np.array([[2, 2, 0], [0, 255, 0]], np.uint8))
    frame = quality.frame()
    assert list(frame.loc["a"]) == [2 / 4, 1 / 3, 4]
    # b: the first picture's 0.2 lies on an unknown pixel, its 0.1 (≥ half) does not; the same once more
    assert list(frame.loc["b"]) == [0.0, 1.0, 2]
    assert quality.whole == (2 / 6, 3 / 5)


def test_maps_are_brought_to_the_masks_size() -> None:
    """2×2 → 4×4, bilinear: [1 0; 0 0] gives row weights 1, .75, .25, 0, whose products are ≥ .5 on 3 pixels."""
    mask = np.zeros((4, 4), np.uint8)
    mask[:2, :2] = 1
    assert recall_noise([torch.tensor([[[1.0, 0], [0, 0]]])], [torch.from_numpy(mask)]) == (1.0, 0.0)
    assert recall_noise([torch.tensor([[[1.0, 0], [0, 0]]])], [mask], share=0.7) == (3 / 4, 0.0)
    assert recall_noise([torch.tensor([[[1.0, 0], [0, 0]]])], [mask], share=0.05) == (1.0, 5 / 9)


def test_flat_maps_find_nothing() -> None:
    mask = np.ones((2, 2), np.uint8)
    for value in (0.0, -1.0, 0.7):
        assert recall_noise([np.full((1, 2, 2), value)], [mask]) == (0.0, 0.0)
    nothing = recall_noise([np.eye(2)[None]], [np.zeros((2, 2), np.uint8)])
    assert np.isnan(nothing.recall)
    assert nothing.noise == 1.0


def test_only_classes_asked_for_are_counted() -> None:
    quality = MapQuality(2)
    quality.add(np.stack([np.eye(2), np.eye(2)]), np.array([[1, 0], [0, 2]], np.uint8), present=[1])
    assert quality.found.tolist() == [0, 2]
    assert quality.whole == (1.0, 0.5)


def test_classes_asked_for_may_be_a_vector() -> None:
    """True and False for each class are no indices 0 and 1."""
    maps, mask = np.stack([np.eye(2)] * 3), np.array([[1, 0], [0, 3]], np.uint8)
    bits = [False, False, True]
    for present in (bits, np.array(bits), torch.tensor(bits), [2], (2, 2), torch.tensor([2]), (c for c in (2,))):
        quality = MapQuality(3)
        quality.add(maps, mask, present=present)
        assert quality.found.tolist() == [0, 0, 2]
    quality.add(maps, mask, present=[])
    assert quality.found.tolist() == [0, 0, 2]
    for wrong in ([3], [-1], [True, False], [0.5]):
        with pytest.raises(ValueError, match="True or False for each of 3"):
            quality.add(maps, mask, present=wrong)  # type: ignore[arg-type]


def test_confusion_agrees_with_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    chance = np.random.default_rng(0)
    confusion, trues, founds = Confusion(4), [], []
    for _ in range(5):
        mask, found = (chance.integers(0, 5, (9, 7)).astype(np.uint8) for _ in range(2))
        mask[chance.random(mask.shape) < 0.1] = 255
        confusion.add(found, torch.from_numpy(mask))
        trues.append(mask[mask != 255])
        founds.append(found[mask != 255])
    true, found = np.concatenate(trues), np.concatenate(founds)
    np.testing.assert_array_equal(confusion.counts[:, :-1], metrics.confusion_matrix(true, found))
    expected = metrics.jaccard_score(true, found, average=None)
    np.testing.assert_allclose(confusion.ious(), expected, rtol=1e-12)
    assert confusion.miou() == pytest.approx(metrics.jaccard_score(true, found, average="macro"))


def test_iou_by_hand_with_undecided_pixels() -> None:
    """Background: 2 right of 3, and 1 found that is class 1 → 2/4. Class 1: 1 right of 3 (one undecided) → 1/4."""
    confusion = Confusion(["a", "b"])
    confusion.add(np.array([[0, 0, 1], [1, 0, 255]], np.uint8), np.array([[0, 0, 0], [1, 1, 1]], np.uint8))
    np.testing.assert_array_equal(confusion.ious(), [2 / 4, 1 / 4, np.nan])
    assert confusion.miou() == 3 / 8
    assert confusion.frame().loc["a", "pixels"] == 3
    assert np.isnan(Confusion(3).miou())


def test_mean_over_pictures() -> None:
    a, b = np.array([[True, True, False]]), np.array([[True, False, False]])
    assert picture_miou([a, b], [b, b]) == 0.75
    assert picture_miou([~a & a], [~b & b]) == 1.0


def test_what_cannot_be_compared_is_told() -> None:
    good = np.zeros((2, 2), np.uint8)
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        MapQuality(1, share=1.2)
    with pytest.raises(ValueError, match="maps of 2 classes"):
        MapQuality(2).add(np.zeros((3, 2, 2)), good)
    with pytest.raises(ValueError, match="NaN"):
        MapQuality(1).add(np.full((1, 2, 2), np.nan), good)
    with pytest.raises(ValueError, match=r"also holds \[7\]"):
        MapQuality(1).add(np.zeros((1, 2, 2)), good + 7)
    with pytest.raises(ValueError, match="float64"):
        Confusion(1).add(good, np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"\(2, 2\)"):
        Confusion(1).add(np.zeros((3, 2), np.uint8), good)
    with pytest.raises(ValueError, match="at least one picture"):
        recall_noise([], [])
    with pytest.raises(ValueError, match="at least one picture"):
        picture_miou([], [])
    with pytest.raises(ValueError, match="cannot be held"):
        picture_miou([np.zeros((1, 2))], [np.zeros((2, 1))])
