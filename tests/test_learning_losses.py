"""Losses of OAA: numbers by hand in float64, gradients against differences."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from camwidgets.learning.losses import constraint, enhancement, hybrid, multi_label_bce, soft_label

LOG = math.log
# q = σ(F): ln 3 → 3/4, −ln 3 → 1/4, 0 → 1/2
F = torch.tensor([[[[LOG(3), 0.0], [-LOG(3), 0.0]], [[0.0, 0.0], [0.0, LOG(3)]]]], dtype=torch.float64)
P = torch.tensor([[[[1.0, 0.2], [0.0, 0.0]], [[0.0, 0.5], [0.25, 0.1]]]], dtype=torch.float64)
BOTH, FIRST = torch.tensor([[True, True]]), torch.tensor([[True, False]])


def near(found: Tensor, wanted: float) -> None:
    assert found.dtype == torch.float64
    assert found.item() == pytest.approx(wanted, rel=1e-12)


def test_soft_label_4_5() -> None:
    first = -(LOG(3 / 4) + 0.2 * LOG(1 / 2) + 0.8 * LOG(1 / 2) + LOG(3 / 4) + LOG(1 / 2)) / 4
    second = -(3 * LOG(1 / 2) + 0.1 * LOG(3 / 4) + 0.9 * LOG(1 / 4)) / 4
    near(soft_label(F, P, FIRST), first)
    near(soft_label(F, P, BOTH), first + second)


def test_enhancement_4_6() -> None:
    first = -(1.0 * LOG(3 / 4) + 0.2 * LOG(1 / 2)) / 2
    second = -(0.5 * LOG(1 / 2) + 0.25 * LOG(1 / 2) + 0.1 * LOG(3 / 4)) / 3
    near(enhancement(F, P, FIRST), first)
    near(enhancement(F, P, BOTH), first + second)
    near(enhancement(F, P, BOTH, threshold=0.2), -LOG(3 / 4) - (0.5 + 0.25) * LOG(1 / 2) / 2)  # 0.2 is not above 0.2


def test_constraint_4_7() -> None:
    first = -(LOG(1 - 1 / 4) + LOG(1 / 2)) / 2
    near(constraint(F, P, FIRST), first)
    near(constraint(F, P, BOTH), first - LOG(1 / 2))
    near(constraint(F, P, FIRST, threshold=0.2), -(LOG(3 / 4) + LOG(1 / 2) + LOG(1 / 2)) / 3)


def test_hybrid_4_8_is_their_sum_and_a_mean_over_pictures() -> None:
    for threshold in (0.0, 0.2):
        total = enhancement(F, P, BOTH, threshold) + constraint(F, P, BOTH, threshold)
        near(hybrid(F, P, BOTH, threshold), total.item())
    near(hybrid(F.repeat(2, 1, 1, 1), P.repeat(2, 1, 1, 1), torch.cat([BOTH, ~BOTH])), hybrid(F, P, BOTH).item() / 2)


def test_multi_label_cross_entropy() -> None:
    logits = torch.tensor([[LOG(3), 0.0, -LOG(3)]], dtype=torch.float64)
    wanted = -(LOG(3 / 4) + LOG(1 / 2) + LOG(1 / 4)) / 3
    near(multi_label_bce(logits, torch.tensor([[True, False, True]])), wanted)


@pytest.mark.parametrize("loss", [soft_label, enhancement, constraint, hybrid])
def test_gradients(loss: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn((2, 3, 3, 2), generator=generator, dtype=torch.float64).requires_grad_()
    p = torch.rand((2, 3, 3, 2), generator=generator, dtype=torch.float64)
    p = torch.where(p < 0.4, 0.0, p)
    present = torch.tensor([[True, False, True], [False, True, False]])
    assert torch.autograd.gradcheck(lambda s: loss(s, p, present), scores)
    loss(scores, p, present).backward()
    assert scores.grad is not None
    assert not scores.grad[~present].any()  # a class that is absent teaches nothing
    assert scores.grad[present].any()


def test_enhancement_never_holds_down_and_the_plain_loss_does() -> None:
    """p = 0.2 everywhere: (4.5) pulls q to 0.2, (4.6) only up: the reason for the hybrid loss."""
    scores = torch.full((1, 1, 2, 2), -0.5, dtype=torch.float64, requires_grad=True)
    p, present = torch.full((1, 1, 2, 2), 0.2, dtype=torch.float64), torch.tensor([[True]])
    (down,) = torch.autograd.grad(soft_label(scores, p, present), scores)
    (up,) = torch.autograd.grad(hybrid(scores, p, present), scores)
    assert (down > 0).all()  # the score falls
    assert (up < 0).all()  # it rises


@pytest.mark.parametrize("score", [-1e4, 1e4])
def test_huge_scores_stay_finite(score: float) -> None:
    scores = torch.full((1, 1, 2, 2), score, requires_grad=True)
    p = torch.tensor([[[[0.0, 0.5], [1.0, 0.0]]]])
    for loss in (soft_label, hybrid):
        value = loss(scores, p, torch.tensor([[True]]))
        (gradient,) = torch.autograd.grad(value, scores)
        assert value.isfinite()
        assert gradient.isfinite().all()


def test_empty_sets_and_absent_classes_cost_nothing() -> None:
    scores, present = torch.zeros(1, 1, 2, 2), torch.tensor([[True]])
    assert enhancement(scores, torch.zeros(1, 1, 2, 2), present).item() == 0
    assert constraint(scores, torch.ones(1, 1, 2, 2), present).item() == 0
    assert hybrid(scores, torch.ones(1, 1, 2, 2), ~present).item() == 0


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"B×C×h×w of one size.*\(1, 2, 2, 2\), \(1, 2, 2, 1\)"):
        hybrid(F, P[..., :1], BOTH)
    with pytest.raises(ValueError, match=r"threshold must lie between 0 and 1, not 1\.5"):
        hybrid(F, P, BOTH, threshold=1.5)
    with pytest.raises(ValueError, match=r"logits and present must be B×C; got \(1, 2\) and \(1, 3\)"):
        multi_label_bce(torch.zeros(1, 2), torch.zeros(1, 3))
