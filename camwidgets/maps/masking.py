"""Masks and what they uncover: shared by the methods that look at what the network says about parts of a picture."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..evidence import Evidence, capture, record
from .method import Parameter, Request

BLANK = Parameter(
    "blank", "mean", "what a masked pixel shows: the mean colour (0 of the normalised input) or black",
    choices=("mean", "black"),
)  # fmt: skip
BLUR = (
    Parameter("kernel", 51, "side of the Gaussian blur's window, an odd number of pixels", low=1),
    Parameter("sigma", 50.0, "standard deviation of the Gaussian blur, pixels", low=0.01),
)


def activations(request: Request) -> Tensor:
    """A of the request's tap: K×h×w; one forward pass."""
    assert request.tap is not None
    with record(request.classifier, request.x, [request.tap]) as recording:
        request.passes.counts.forward += 1
        return recording.activations[request.tap][0]


def evidence_of(request: Request, x: Tensor | None = None) -> Evidence:
    """The evidence at the request's tap for its input, or for another; one forward and one backward pass."""
    assert request.tap is not None
    found: Evidence = capture(request.classifier, request.x if x is None else x, request.target, [request.tap])
    request.passes.counts.forward += 1
    request.passes.counts.backward += 1
    return found


def blank_picture(request: Request, blank: str) -> Tensor:
    """What masks uncover nothing of, 1×3×1×1 in units of the input: the mean colour or black."""
    if blank == "mean":
        return request.x.new_zeros(1, 3, 1, 1)
    return request.classifier.preprocess(Image.new("RGB", (64, 64)))[:, :, :1, :1].to(request.x)


def uncovered(x: Tensor, base: Tensor, masks: Tensor) -> Tensor:
    """n pictures x ⊙ m + base ⊙ (1 − m) of a picture 1×3×H×W, a base that fits it and n masks n×H×W in [0, 1]."""
    return torch.lerp(base.expand_as(x), x, masks[:, None].to(x))


def upsampled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """n×h×w maps to n×H×W: bilinear, half-pixel centres."""
    return F.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]


def stretched(maps: Tensor) -> Tensor:
    """Every one of n×h×w maps stretched to 0 … 1; one that is flat (to rounding) becomes 0, not NaN.

    Example:
        >>> stretched(torch.tensor([[[1.0, 3.0]], [[2.0, 2.0]]]))
        tensor([[[0., 1.]],
        <BLANKLINE>
                [[0., 0.]]])
    """
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    spread = high - low
    flat = spread <= 16 * torch.finfo(maps.dtype).eps * torch.maximum(high.abs(), low.abs())
    return torch.where(flat, 0.0, (maps - low) / torch.where(flat, 1.0, spread))


def denoised(maps: Tensor, theta: float) -> Tensor:
    """Every one of n×H×W maps with its values at or below its own θ-th percentile set to 0 ([002] 3-8)."""
    limits = torch.stack([torch.quantile(one.flatten(), theta / 100) for one in maps])
    return torch.where(maps > limits[:, None, None], maps, 0.0)


def blurred(x: Tensor, kernel: int, sigma: float) -> Tensor:
    """N×3×H×W, blurred by a kernel×kernel Gaussian; borders are mirrored.

    A kernel is cut to 2·side − 1 for pictures that are smaller: more cannot be mirrored.
    """
    if kernel % 2 == 0:
        raise ValueError(f"the kernel of a blur has an odd number of pixels; got {kernel}")
    for dim in (2, 3):
        half = min(kernel // 2, x.shape[dim] - 1)
        at = torch.arange(-half, half + 1, dtype=x.dtype, device=x.device)
        weights = torch.exp(-0.5 * (at / sigma) ** 2)
        weights = (weights / weights.sum()).reshape((1, 1, -1, 1) if dim == 2 else (1, 1, 1, -1))
        pad = (0, 0, half, half) if dim == 2 else (half, half, 0, 0)
        x = F.conv2d(F.pad(x, pad, mode="reflect"), weights.expand(x.shape[1], -1, -1, -1), groups=x.shape[1])
    return x
