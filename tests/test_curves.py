"""Insertion, deletion and perturbation on a network whose answer is known for every set of pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import camwidgets
from camwidgets.evaluation.curves import Curve, blanked, deletion, insertion, perturbation, ranks
from camwidgets.maps import Passes
from camwidgets.maps.blur import blurred


class Corner(nn.Module):
    """Two logits: 8·(brightness of the upper left quarter) − 4, and its negative."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(8.0))

    def forward(self, x: Tensor) -> Tensor:
        y = self.gain * x[:, :, :4, :4].mean((1, 2, 3)) - 4
        return torch.stack([y, -y], 1)


def corner() -> camwidgets.Classifier:
    module = Corner().double()
    return camwidgets.wrap(module, input_size=8, transform=lambda image: torch.zeros(3, 8, 8))


# Bright where the network looks, dark elsewhere: the canvas (blurred) lies in between.
X = torch.zeros(1, 3, 8, 8, dtype=torch.float64)
X[:, :, :4, :4] = 1
PERFECT = X[0, 0].numpy()
INVERTED = 1 - PERFECT


def by_hand(start: Tensor, end: Tensor, order: list[int], steps: int) -> list[float]:
    """p_0 after each step, pixel by pixel."""
    x, scores = start.clone(), []
    for i in range(steps + 1):
        for pixel in order[: round(i * 64 / steps)]:
            x[0, :, pixel // 8, pixel % 8] = end[0, :, pixel // 8, pixel % 8]
        y = 8 * float(x[:, :, :4, :4].mean()) - 4
        scores.append(float(1 / (1 + np.exp(-2 * y))))
    return scores


@pytest.mark.parametrize("batch", [None, 1, 5])
def test_insertion_and_deletion_by_hand(batch: int | None) -> None:
    values = np.random.default_rng(0).random((8, 8))
    order = np.argsort(-values.ravel()).tolist()
    canvas = blurred(X)
    passes = Passes(batch)
    found = insertion(corner(), X, 0, values, steps=8, passes=passes)
    np.testing.assert_allclose(found.scores, by_hand(canvas, X, order, 8), atol=1e-9)
    np.testing.assert_allclose(found.fractions, np.arange(9) / 8)
    assert passes.counts.forward == 9
    gone = deletion(corner(), X, 0, values, steps=8)
    np.testing.assert_allclose(gone.scores, by_hand(X, canvas, order, 8), atol=1e-9)


def test_maps_whose_score_is_known_by_construction() -> None:
    """A perfect map rises as fast as any can, an inverted one as late, a random and a flat one in between."""
    maps = {"perfect": PERFECT, "inverted": INVERTED, "random": np.random.default_rng(1).random((8, 8))}
    maps["flat"] = np.full((8, 8), 0.5)
    rise = {name: insertion(corner(), X, 0, m, steps=16).auc for name, m in maps.items()}
    fall = {name: deletion(corner(), X, 0, m, steps=16).auc for name, m in maps.items()}
    for middle in ("random", "flat"):
        assert rise["perfect"] > rise[middle] + 0.1 > rise["inverted"] + 0.2
        assert fall["perfect"] < fall[middle] - 0.1 < fall["inverted"] - 0.2
    assert rise["perfect"] - fall["perfect"] > 0.5


def test_perturbation_by_hand() -> None:
    # The upper left quarter is 16 of 64 pixels; the class is lost when less than half of it is left: 8 blanked pixels.
    positive = perturbation(corner(), X, 0, PERFECT + 1e-3 * ranks(-np.arange(64.0).reshape(8, 8)), shares=(0.1, 0.2))
    assert positive.scores.tolist() == [1.0, 0.0]  # 6 and 13 pixels of the quarter
    negative = perturbation(corner(), X, 0, PERFECT, negative=True)
    # 10 … 70 % of the pixels lie outside; 80 % takes 3 of the quarter, 90 % takes 10.
    assert negative.scores.tolist() == [1.0] * 8 + [0.0]
    assert perturbation(corner(), X, 1, PERFECT).scores.tolist()[-1] == 1.0
    assert negative.auc == pytest.approx((7 + 0.5) / 8)


def test_equal_values_are_ordered_by_chance_not_by_line() -> None:
    flat = np.zeros((16, 16))
    order = ranks(flat)
    assert sorted(order.ravel()) == list(range(256))
    assert np.array_equal(order, ranks(flat))
    assert not np.array_equal(order, ranks(flat, seed=1))
    assert abs(np.corrcoef(order.ravel(), np.arange(256))[0, 1]) < 0.2
    steps = np.repeat([3.0, 2.0, 1.0, 0.0], 64).reshape(16, 16)
    assert sorted(ranks(steps)[:4].ravel()) == list(range(64))


def test_auc() -> None:
    assert Curve(np.array([0.0, 0.25, 1.0]), np.array([0.0, 1.0, 1.0])).auc == pytest.approx(0.875)
    assert Curve(np.array([0.1, 0.9]), np.array([1.0, 1.0])).auc == pytest.approx(1.0)


def test_blanked_by_hand() -> None:
    x = torch.ones(1, 3, 1, 3)
    assert blanked(x, np.array([[0.7, 0.69, 1.0]])).tolist() == [[[[0, 1, 0]]] * 3]


def test_blur_agrees_with_torchvision() -> None:
    from torchvision.transforms.functional import gaussian_blur

    x = torch.rand(2, 3, 60, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(blurred(x), gaussian_blur(x, [51, 51], [50.0, 50.0]))
    torch.testing.assert_close(blurred(x, 5, 1.2), gaussian_blur(x, [5, 5], [1.2, 1.2]))
    small = torch.rand(1, 3, 6, 1)
    assert blurred(small).shape == small.shape


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: insertion(corner(), X, 0, np.zeros((4, 4))), r"got \(1, 3, 8, 8\) and \(4, 4\)"),
        (lambda: insertion(corner(), X, 0, np.full((8, 8), np.nan)), "NaN or infinite values"),
        (lambda: insertion(corner(), X, 0, PERFECT, steps=0), "between 1 and 64 pixels; got 0"),
        (lambda: insertion(corner(), X, 2, PERFECT), "class 2 is out of range"),
        (lambda: blanked(X, PERFECT, 0.0), "above 0 and at most 1; got 0.0"),
        (lambda: blurred(X, 4), "odd kernel of at least 1 pixel and sigma > 0; got 4"),
    ],
)
def test_bad_requests(call: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call()


def test_average_drop_agrees_with_torchcam() -> None:
    """The same maps go in; torchcam's own metric comes out."""
    from torchcam.metrics import ClassificationMetric

    from camwidgets.evaluation.measure import Case, find_measure

    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    classifier = camwidgets.wrap(module.eval(), input_size=12)
    inputs, maps = torch.randn(6, 3, 12, 12), torch.rand(6, 12, 12)
    scores: list[dict[str, Any]] = []

    class Extractor:
        model = module

        def __call__(self, class_idx: Any = None, scores: Any = None, **_: Any) -> list[Tensor]:
            return [maps]

        def fuse_cams(self, cams: list[Tensor]) -> Tensor:
            return cams[0]

        def _hooks_off(self) -> Any:
            from contextlib import nullcontext

            return nullcontext()

    extractor: Any = Extractor()
    metric = ClassificationMetric(extractor, lambda logits: logits.softmax(-1))
    metric.update(inputs)
    expected = metric.summary()
    for x, values in zip(inputs, maps, strict=True):
        logits = module(x[None]).detach()[0]
        case = Case(classifier, x[None], int(logits.argmax()), values.numpy(), logits)
        scores.append(find_measure("confidence").function(case))
    assert np.mean([one["drop"] for one in scores]) == pytest.approx(expected["avg_drop"], abs=1e-6)
    assert np.mean([one["increase"] for one in scores]) == pytest.approx(expected["conf_increase"], abs=1e-6)
