"""Small questions about what goes into a classifier and what comes out of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor


def fingerprint(tensor: Tensor) -> tuple[int, int, Any]:
    """Changes when a tensor is replaced or written to. Writes through `.data` do not count as versions, so that one of
    its values is looked at, too: what changes others alone, by that way, is not noticed (`weights_hash(anew=True)` is
    for those who must know; looking at all values in every call would cost 5 ms with 5 million parameters).
    """
    value = tensor[(0,) * tensor.ndim].item() if tensor.ndim > 1 and tensor.numel() else None
    return tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version, value


def one_each(target: Any) -> bool:
    """Whether a target holds one class index per picture."""
    return isinstance(target, (list, tuple)) or (isinstance(target, (Tensor, np.ndarray)) and np.ndim(target) == 1)


def check_finite(logits: Tensor, name: str) -> None:
    """Raise when a network answers NaN or infinity: nothing that follows would mean anything."""
    if not torch.isfinite(logits).all():
        raise ValueError(
            f"{name} returned NaN or infinite logits for this picture; its weights or its input are broken"
        )


def checked(x: Tensor) -> Tensor:
    x = x[None] if x.ndim == 3 else x
    if x.ndim != 4 or x.shape[1] != 3 or not x.is_floating_point() or x.numel() == 0:
        raise ValueError(
            f"a preprocessed tensor must be 1×3×H×W (or N×3×H×W) floating point; got {tuple(x.shape)}, {x.dtype}"
        )
    # One pass that makes no copy (isfinite() makes three); NaN shows up as both the least and the greatest value.
    if not all(math.isfinite(end) for end in torch.stack(x.detach().aminmax()).tolist()):
        raise ValueError("the preprocessed tensor contains NaN or infinity")
    return x
