r"""The gradient family: saliency maps as functions of activations A and gradients g = ∂y/∂A.

All take tensors of shape (…, K, h, w) and return (…, h, w), never negative. `gradient` names the handling h(g) of
signs: "positive" ReLU(g), "signed" g, "absolute" |g|, "negative" ReLU(−g) (what speaks against the class).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import choose
from .method import Method

if TYPE_CHECKING:
    from ..classifiers.classifier import Classifier

SIGNS: dict[str, Callable[[Tensor], Tensor]] = {
    "positive": torch.relu,
    "signed": lambda g: g,
    "absolute": torch.abs,
    "negative": lambda g: torch.relu(-g),
}


def handled(g: Tensor, gradient: str) -> Tensor:
    """h(g): see the module's text."""
    return SIGNS[choose("gradient", gradient, SIGNS)](g)


def cam(A: Tensor, weights: Tensor) -> Tensor:
    r"""CAM: M = ReLU(Σ_k W_{c,k} A_k), W the weights of the linear layer after global average pooling.

    Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016, eq. 2. `weights`: (…, K).
    The ReLU is the display convention of the later papers; without it the map may be negative.

    Example:
        >>> A = torch.tensor([[[1.0, 2.0]], [[3.0, 0.0]]])
        >>> cam(A, torch.tensor([1.0, -0.5]))
        tensor([[0., 2.]])
    """
    return torch.relu((weights[..., None, None] * A).sum(-3))


def gradcam(A: Tensor, g: Tensor, gradient: str = "signed") -> Tensor:
    r"""Grad-CAM: w_k = mean_ij h(g_k), M = ReLU(Σ_k w_k A_k).

    Selvaraju et al., "Grad-CAM", ICCV 2017, eq. 1–2; [000] 3.2–3.3.

    Example:
        >>> A = torch.tensor([[[1.0, 2.0]], [[3.0, 0.0]]])
        >>> g = torch.tensor([[[1.0, 0.0]], [[0.0, -1.0]]])
        >>> gradcam(A, g)
        tensor([[0., 1.]])
    """
    return cam(A, handled(g, gradient).mean((-2, -1)))


def gradcam_pp(A: Tensor, g: Tensor, gradient: str = "positive") -> Tensor:
    r"""Grad-CAM++: α = g² / (2g² + Σ_ab A_{k,ab} g³) (0 where that is 0), w_k = Σ_ij α h(g), M = ReLU(Σ_k w_k A_k).

    Chattopadhay et al., "Grad-CAM++", WACV 2018, eq. 19 for the score exp(y); [000] 3.4–3.5.
    """
    square = g * g
    below = 2 * square + A.sum((-2, -1), keepdim=True) * square * g
    alpha = torch.where(below != 0, square / torch.where(below != 0, below, torch.ones_like(below)), 0.0)
    return cam(A, (alpha * handled(g, gradient)).sum((-2, -1)))


def xgradcam(A: Tensor, g: Tensor, gradient: str = "signed") -> Tensor:
    r"""XGrad-CAM: w_k = Σ_ij h(g_k) A_k / Σ_ij A_k (0 where that is 0), M = ReLU(Σ_k w_k A_k).

    Fu et al., "Axiom-based Grad-CAM", BMVC 2020, eq. 7; [002] 1.2.2.
    """
    mass = A.sum((-2, -1))
    weights = torch.where(
        mass != 0, (handled(g, gradient) * A).sum((-2, -1)) / torch.where(mass != 0, mass, torch.ones_like(mass)), 0.0
    )
    return cam(A, weights)


def layercam(A: Tensor, g: Tensor, gradient: str = "positive") -> Tensor:
    r"""LayerCAM: M = ReLU(Σ_k h(g_k) ⊙ A_k), at any tap. With h = "signed": LayerCAM-normal of [000] 3.4.1.3.

    Jiang et al., "LayerCAM", IEEE TIP 2021, eq. 6–8; [000] 3.6–3.8.

    Example:
        >>> A = torch.tensor([[[1.0, 2.0]], [[3.0, 0.0]]])
        >>> g = torch.tensor([[[1.0, 0.0]], [[-0.5, -1.0]]])
        >>> layercam(A, g), layercam(A, g, "signed")
        (tensor([[1., 0.]]), tensor([[0., 0.]]))
    """
    h = handled(g, gradient)
    # Shallow maps have millions of values: without a graph to keep, the product takes the place of h(g).
    keep = h is g or h.shape != A.shape or h.requires_grad or A.requires_grad
    product = h * A if keep else h.mul_(A)
    return torch.relu(product.sum(-3))


def normgrad(A: Tensor, g: Tensor, gradient: str = "signed") -> Tensor:
    r"""NormGrad: M_ij = ‖h(g)_ij‖₂ · ‖A_ij‖₂, norms over channels.

    Rebuffi et al., "There and Back Again", CVPR 2020, eq. 6 (1×1 convolution, identity phase); [000] table 3.1.
    """
    return handled(g, gradient).norm(dim=-3) * A.norm(dim=-3)


def ungridded(g: Tensor, pooled_by: int) -> Tensor:
    """The gradient of the next (max-pooled) layer, upsampled: bilinear, corners aligned.

    A k×k max-pool at stride k sends each gradient to one of k² positions, which draws a grid into shallow maps. Summed
    over the cell it is the pooled layer's own gradient again. This is what the LayerCAM authors' localisation script
    uses in place of g ("Up(pool4's gradient) * conv3_3's activation"). With `pooled_by` = 1, g as it is.
    """
    if pooled_by <= 1:
        return g
    height, width = g.shape[-2:]
    flat = g.reshape(-1, 1, height, width)
    pooled = F.avg_pool2d(flat, pooled_by) * pooled_by**2
    up = F.interpolate(pooled, (height, width), mode="bilinear", align_corners=True)
    return up.reshape(g.shape)


def _no_gap_head(classifier: Classifier) -> str | None:
    if classifier.gap_weights() is not None:
        return None
    return (
        f"CAM needs a network that ends in global average pooling and one linear layer; {classifier.name} does not. "
        f"Grad-CAM is the same map where CAM is defined"
    )


_SIGNS = tuple(SIGNS)
_NEEDS = ("gradients",)
METHODS = (
    Method(
        "layercam", "LayerCAM", layercam, "ReLU(Σ_k ReLU(g_k) ⊙ A_k)",
        "Jiang et al., IEEE TIP 2021, eq. 6–8", gradient="positive", signs=_SIGNS, depth=3, needs=_NEEDS,
    ),
    Method(
        "gradcam", "Grad-CAM", gradcam, "ReLU(Σ_k mean(g_k) A_k)",
        "Selvaraju et al., ICCV 2017, eq. 1–2", gradient="signed", signs=_SIGNS, needs=_NEEDS,
    ),
    Method(
        "gradcam++", "Grad-CAM++", gradcam_pp, "ReLU(Σ_k Σ_ij(α ReLU(g)) A_k), α = g²/(2g² + ΣA g³)",
        "Chattopadhay et al., WACV 2018, eq. 19", gradient="positive", signs=_SIGNS, needs=_NEEDS,
    ),
    Method(
        "xgradcam", "XGrad-CAM", xgradcam, "ReLU(Σ_k (Σ_ij g_k A_k / Σ_ij A_k) A_k)",
        "Fu et al., BMVC 2020, eq. 7", gradient="signed", signs=_SIGNS, needs=_NEEDS,
    ),
    Method(
        "normgrad", "NormGrad", normgrad, "‖g_ij‖ · ‖A_ij‖",
        "Rebuffi et al., CVPR 2020, eq. 6", gradient="signed", signs=_SIGNS, depth=3, needs=_NEEDS,
    ),
    Method(
        "cam", "CAM", cam, "ReLU(Σ_k W_ck A_k)",
        "Zhou et al., CVPR 2016, eq. 2", gradient="signed", signs=("signed",), needs=("gap head",),
        unfit=_no_gap_head,
    ),
)  # fmt: skip
