"""Group-CAM: groups of channels are weighed by what the network says about what they uncover of a blurred picture."""

from __future__ import annotations

import torch
from torch import Tensor

from .masking import BLUR, blurred, denoised, evidence_of, stretched, uncovered, upsampled
from .method import Method, Parameter, Request

GROUPS = (
    Parameter("groups", 32, "groups of adjacent channels (one a channel where there are fewer)", low=1),
    Parameter("theta", 70.0, "percentile; lower values of a group's mask are noise", low=0, high=100),
)


def groupcam(
    request: Request, groups: int = 32, theta: float = 70.0, kernel: int = 51, sigma: float = 50.0
) -> Tensor:
    r"""Group-CAM: M_r = up(ReLU(Σ_{k∈group r} mean(g_k) A_k)), then as `weighed`; M = ReLU(Σ_r α_r M_r).

    Zhang et al., "Group-CAM", 2021, section 3; [002] 3-7 … 3-12 with one scale. A group without a positive value has a
    mask of 0 and a weight of 0 (public code divides 0 by 0 there).
    """
    A, g = (values[0] for values in evidence_of(request).at(str(request.tap)))
    M = torch.relu(summed(g.mean((1, 2))[:, None, None] * A, groups))
    return weighed(request, upsampled(M, request.size), theta, blurred(request.x, kernel, sigma))


def summed(maps: Tensor, groups: int) -> Tensor:
    """K×h×w to B×h×w: sums of B groups of adjacent channels whose sizes differ by one at most; B ≤ K.

    Example:
        >>> summed(torch.arange(5.0).reshape(5, 1, 1), 2).flatten()
        tensor([3., 7.])
    """
    return torch.stack([one.sum(0) for one in maps.tensor_split(min(groups, len(maps)))])


def weighed(request: Request, M: Tensor, theta: float, blur: Tensor) -> Tensor:
    r"""M = ReLU(Σ_r α_r M_r), α_r = p_c(x ⊙ M'_r + x' ⊙ (1 − M'_r)) − p_c(x'), M'_r = minmax(denoise_θ(M_r)).

    [002] 3-8 … 3-12. `M`: B×H×W ≥ 0; `blur`: x'. A mask that is 0 everywhere uncovers nothing: α_r = 0 without a pass.
    """
    masks = stretched(denoised(M, theta))
    chosen = torch.nonzero(masks.amax((1, 2)) > 0)[:, 0]
    if not len(chosen):
        return torch.zeros_like(M[0])

    def make(start: int, stop: int) -> Tensor:  # input 0 is the blurred picture
        some = masks[chosen[max(start, 1) - 1 : stop - 1]]
        return uncovered(request.x, blur, torch.cat([torch.zeros_like(masks[:1]), some]) if start == 0 else some)

    scores = request.scores_of(make, 1 + len(chosen))
    alpha = (scores[1:] - scores[0]).to(M)
    return torch.relu(torch.einsum("r,rhw->hw", alpha, M[chosen]))


METHODS = (
    Method(
        "groupcam", "Group-CAM", groupcam,
        "ReLU(Σ_r α_r M_r), M_r = up(ReLU(Σ_{k∈r} mean(g_k) A_k)), "
        "α_r = p_c(x ⊙ M'_r + blur(x) ⊙ (1 − M'_r)) − p_c(blur(x))",
        "Zhang et al., 2021, section 3; [002] 3-7 … 3-12", kind="stage", needs=("gradients", "many forwards"),
        parameters=(*GROUPS, *BLUR),
    ),
)  # fmt: skip
