"""Score-CAM and clustered CAM: channels are weighed by what the network says about what they uncover."""

from __future__ import annotations

import torch
from torch import Tensor

from .gradient import cam
from .masking import BLANK, activations, blank_picture, evidence_of, stretched, uncovered, upsampled
from .method import Method, Parameter, Request


def scorecam(request: Request, weights: str = "softmax", blank: str = "mean") -> Tensor:
    r"""Score-CAM: H_k = minmax(up(A_k)), α_k = p_c(x ⊙ H_k) − p_c(x_b), M = ReLU(Σ_k α_k A_k).

    Wang et al., "Score-CAM", CVPR Workshops 2020, section 3, take α = softmax_k of the rise (`weights="softmax"`);
    [002] 2-15 … 2-17 the rise itself ("difference"). Masked pixels show x_b: the mean colour, as public code has it,
    or black. A channel that is the same everywhere uncovers nothing: H_k = 0 and its rise is 0 without a pass, so that
    silent channels cost nothing.
    """
    A = activations(request)
    active = torch.nonzero(A.amax((1, 2)) > A.amin((1, 2)))[:, 0]
    rise = A.new_zeros(len(A))
    if len(active):
        rise[active] = rises(request, A, active, blank).to(A)
    return cam(A, rise.softmax(0) if weights == "softmax" else rise)


def rises(request: Request, A: Tensor, chosen: Tensor, blank: str) -> Tensor:
    """p_c(what the chosen of K×h×w maps uncover) − p_c(x_b), in one run of passes; masks are made batch by batch."""
    base = blank_picture(request, blank)

    def make(start: int, stop: int) -> Tensor:  # input 0 is the blank picture
        masks = stretched(upsampled(A[chosen[max(start, 1) - 1 : stop - 1]], request.size))
        if start == 0:
            masks = torch.cat([masks.new_zeros(1, *request.size), masks])
        return uncovered(request.x, base, masks)

    scores = request.scores_of(make, 1 + len(chosen))
    return scores[1:] - scores[0]


def clustercam(request: Request, clusters: int = 10, seed: int = 0, blank: str = "mean") -> Tensor:
    r"""Clustered CAM: M = max_j α_j⁺ C_j, C_j = minmax(ReLU(Σ_{k∈j} w_k A_k)), α_j = p_c(x ⊙ up(C_j)) − p_c(x_b).

    [004] 5.2 sketches it: channel maps are clustered by K-means (k = 10), each cluster's map scaled to [0, 1], the
    clusters ranked by the score of the class and merged. This is our reading of that loose text: the weights within a
    cluster are Grad-CAM's, w_k = mean g_k; the rank is the rise in p_c, as a factor, so that the higher one wins.
    Silent channels are left out; there are fewer clusters where fewer channels differ.
    """
    evidence = evidence_of(request)
    A, g = (values[0] for values in evidence.at(str(request.tap)))
    alive = torch.nonzero(A.abs().amax((1, 2)) > 0)[:, 0]
    if not len(alive):
        return A.new_zeros(A.shape[1:])
    A, w = A[alive], g.mean((1, 2))[alive]
    labels = grouped(A.flatten(1).double().cpu(), clusters, seed).to(A.device)
    merged = stretched(torch.stack([cam(A[labels == j], w[labels == j]) for j in labels.unique().tolist()]))
    telling = torch.nonzero(merged.amax((1, 2)) > 0)[:, 0]
    if not len(telling):
        return torch.zeros_like(A[0])
    alpha = rises(request, merged, telling, blank).clamp(min=0).to(A)
    return (alpha[:, None, None] * merged[telling]).amax(0)


def grouped(rows: Tensor, clusters: int, seed: int) -> Tensor:
    """The cluster of every row of an n×d matrix by K-means (Lloyd), which starts from seeded k-means++.

    At most as many clusters as rows differ.

    Example:
        >>> grouped(torch.tensor([[0.0], [5.0], [0.1], [5.1]]), 2, seed=0).tolist() in ([0, 1, 0, 1], [1, 0, 1, 0])
        True
    """
    centres = _spread(rows, min(clusters, len(rows.unique(dim=0))), torch.Generator().manual_seed(seed))
    labels = torch.cdist(rows, centres).argmin(1)
    for _ in range(100):
        own = [rows[labels == j] for j in range(len(centres))]
        centres = torch.stack([one.mean(0) if len(one) else centres[j] for j, one in enumerate(own)])
        before, labels = labels, torch.cdist(rows, centres).argmin(1)
        if torch.equal(before, labels):
            break
    return labels


def _spread(rows: Tensor, count: int, dice: torch.Generator) -> Tensor:
    """k-means++: every further centre is a row drawn in proportion to its squared distance to the nearest one."""
    chosen = [int(torch.randint(len(rows), (1,), generator=dice))]
    nearest = torch.full((len(rows),), torch.inf, dtype=rows.dtype)
    for _ in range(count - 1):
        nearest = torch.minimum(nearest, ((rows - rows[chosen[-1]]) ** 2).sum(1))
        chosen.append(int(torch.multinomial(nearest, 1, generator=dice)))
    return rows[chosen]


_FORWARDS = ("many forwards",)
METHODS = (
    Method(
        "scorecam", "Score-CAM", scorecam, "ReLU(Σ_k α_k A_k), α_k = p_c(x ⊙ H_k) − p_c(x_b), H_k = minmax(up(A_k))",
        "Wang et al., CVPRW 2020, section 3; [002] 2-15 … 2-17", kind="stage", needs=_FORWARDS,
        parameters=(
            Parameter(
                "weights", "softmax", "the rises' softmax over channels (Wang et al.) or the rises themselves ([002])",
                choices=("softmax", "difference"),
            ),
            BLANK,
        ),
    ),
    Method(
        "clustercam", "clustered CAM", clustercam, "max_j α_j⁺ C_j, C_j = minmax(ReLU(Σ_{k∈j} mean(g_k) A_k))",
        "[004] 5.2, our reading", kind="stage", needs=("gradients", *_FORWARDS),
        parameters=(
            Parameter("clusters", 10, "clusters of channels", low=1),
            Parameter("seed", 0, "of the start of K-means", low=0),
            BLANK,
        ),
    ),
)  # fmt: skip
