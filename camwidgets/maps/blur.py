"""A picture blurred beyond recognition: the canvas of insertion, deletion and masked pictures."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

KERNEL, SIGMA = 51, 50.0


def blurred(x: Tensor, kernel: int = KERNEL, sigma: float = SIGMA) -> Tensor:
    """Gaussian blur of N×3×H×W inputs: `kernel` (odd) and `sigma` in pixels, borders reflected.

    [002] 3.3 (kernel 51, σ 50). The kernel is cut to what a reflection can fill: 2·min(H, W) − 1.

    Example:
        >>> blurred(torch.ones(1, 3, 8, 8)).shape
        torch.Size([1, 3, 8, 8])
    """
    if isinstance(kernel, bool) or int(kernel) != kernel or kernel < 1 or kernel % 2 == 0 or not sigma > 0:
        raise ValueError(f"blurring needs an odd kernel of at least 1 pixel and sigma > 0; got {kernel!r}, {sigma!r}")
    reach = min(int(kernel) // 2, x.shape[2] - 1, x.shape[3] - 1)
    steps = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
    weights = torch.exp(-0.5 * (steps / sigma) ** 2)
    weights = (weights / weights.sum()).expand(x.shape[1], 1, 1, -1)
    padded = F.pad(x, (reach, reach, reach, reach), mode="reflect") if reach else x
    rows = F.conv2d(padded, weights, groups=x.shape[1])
    return F.conv2d(rows, weights.transpose(2, 3), groups=x.shape[1])
