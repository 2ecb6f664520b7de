"""Running somebody's module without leaving a trace on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Inside: every submodule in evaluation mode, no parameter asks for a gradient. After: all flags as before.

    The flags are set one by one rather than by `module.eval()`, which a class may override.
    """
    modules = [m for m in module.modules() if m.training]
    parameters = [p for p in module.parameters() if p.requires_grad and not p.is_inference()]
    try:
        for m in modules:
            m.training = False
        for p in parameters:
            p.requires_grad_(False)
        yield
    finally:
        for p in parameters:
            p.requires_grad_(True)
        for m in modules:
            m.training = True


def call(module: nn.Module, x: Tensor) -> Any:
    """`module(x)`; weights built under `torch.inference_mode()` (which autograd refuses) are replaced by copies."""
    state = [*module.named_parameters(), *module.named_buffers()]
    copies = {name: tensor.detach().clone() for name, tensor in state if tensor.is_inference()}
    if not copies:
        return module(x)
    return torch.func.functional_call(module, copies, (x,))


def autocast(device: torch.device, dtype: torch.dtype | None) -> Any:
    """Autocast to `dtype` on `device`; None leaves the caller's own setting in force."""
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)
