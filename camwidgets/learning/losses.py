"""What OAA minimises: multi-label cross-entropy, and the losses of the integral model ([000] 4.2.3).

For a class c that is present, p_j in [0, 1] is the accumulated map at position j and q_j = σ(F_j) what the network
says. All functions take scores F (B×C×h×w, before the sigmoid), p (the same shape) and present (B×C bool), and return a
scalar: summed over the classes present, mean over the pictures. log q and log(1 − q) are computed from F directly, so
that no score is too large.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from ..datasets.checks import check_share

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def multi_label_bce(logits: Tensor, present: Tensor) -> Tensor:
    """C binary cross-entropies, −mean_bc [y log σ(s) + (1 − y) log(1 − σ(s))] ([000] 4.2.2, with (4.1)).

    Example:
        >>> multi_label_bce(torch.tensor([[0.0, 0.0]]), torch.tensor([[True, False]]))
        tensor(0.6931)
    """
    if logits.ndim != 2 or logits.shape != present.shape:
        raise ValueError(f"logits and present must be B×C; got {tuple(logits.shape)} and {tuple(present.shape)}")
    return functional.binary_cross_entropy_with_logits(logits, present.to(logits.device, logits.dtype))


def soft_label(F: Tensor, p: Tensor, present: Tensor) -> Tensor:
    """−1/N Σ_j [p_j log q_j + (1 − p_j) log(1 − q_j)] ([000] (4.5)); it takes what has p < ½ for background.

    Example:
        >>> F, p = torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.3)
        >>> soft_label(F, p, torch.tensor([[True]]))
        tensor(0.6931)
    """
    _check(F, p, present)
    losses = -(p * functional.logsigmoid(F) + (1 - p) * functional.logsigmoid(-F))
    return _together(losses.mean((-2, -1)), present)


def enhancement(F: Tensor, p: Tensor, present: Tensor, threshold: float = 0.0) -> Tensor:
    """−1/|N₊| Σ_{N₊} p_j log q_j with N₊ = {j: p_j > threshold} ([000] (4.6)); 0 where N₊ is empty.

    Low values are strengthened, and none is held down.
    """
    _check(F, p, present)
    check_threshold(threshold)
    return _together(_mean_over(-p * functional.logsigmoid(F), p > threshold), present)


def constraint(F: Tensor, p: Tensor, present: Tensor, threshold: float = 0.0) -> Tensor:
    """−1/|N₋| Σ_{N₋} log(1 − q_j) with N₋ = {j: p_j ≤ threshold} ([000] (4.7)); 0 where N₋ is empty.

    Where no map ever was, none shall grow.
    """
    _check(F, p, present)
    check_threshold(threshold)
    return _together(_mean_over(-functional.logsigmoid(-F), p <= threshold), present)


def hybrid(F: Tensor, p: Tensor, present: Tensor, threshold: float = 0.0) -> Tensor:
    """L = Σ_c (L₊ + L₋): `enhancement` where p > threshold, `constraint` elsewhere ([000] (4.8), table 4.6).

    Args:
        threshold: in [0, 1], between N₊ and N₋. The thesis' 0 recalls most; 0.1 … 0.3 lets less noise in.

    Example:
        >>> F, p = torch.zeros(1, 1, 1, 2), torch.tensor([[[[0.5, 0.0]]]])
        >>> hybrid(F, p, torch.tensor([[True]]))  # 0.5 log 2 + log 2
        tensor(1.0397)
    """
    return enhancement(F, p, present, threshold) + constraint(F, p, present, threshold)


def _mean_over(losses: Tensor, where: Tensor) -> Tensor:
    """B×C: the mean over the positions where it counts; 0 if there is none."""
    return torch.where(where, losses, 0.0).sum((-2, -1)) / where.sum((-2, -1)).clamp(min=1)


def _together(losses: Tensor, present: Tensor) -> Tensor:
    return torch.where(present.to(losses.device, torch.bool), losses, 0.0).sum(1).mean()


def _check(F: Tensor, p: Tensor, present: Tensor) -> None:
    if F.ndim != 4 or F.shape != p.shape or present.shape != F.shape[:2]:
        raise ValueError(
            f"F and p must be B×C×h×w of one size, present B×C; got {tuple(F.shape)}, {tuple(p.shape)} and "
            f"{tuple(present.shape)}"
        )


def check_threshold(threshold: float) -> None:
    """TypeError, ValueError unless it lies in [0, 1]."""
    check_share("threshold", threshold, 1.0)
