"""What the loop of a training leans on: checks of what an objective returns, chance, and Ctrl-C between steps only."""

from __future__ import annotations

import dataclasses
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..classifiers.guards import undisturbed
from .objective import Batch, normalised


def on_device(batch: Batch, device: torch.device) -> Batch:
    """The same batch with its tensors on a device."""
    masks = None if batch.masks is None else batch.masks.to(device)
    return dataclasses.replace(batch, x=batch.x.to(device), present=batch.present.to(device), masks=masks)


def checked_losses(losses: Any, name: str) -> None:
    """An objective returns named scalars, and "total" depends on the weights."""
    total = losses.get("total") if isinstance(losses, dict) else None
    if not isinstance(total, Tensor) or total.ndim or not total.requires_grad:
        raise TypeError(
            f"losses() of {name} must return a dict of scalar tensors whose 'total' depends on the network's weights"
        )


def gradient_norm(net: nn.Module) -> float:
    """‖g‖₂ over all parameters."""
    norms = [p.grad.detach().norm() for p in net.parameters() if p.grad is not None]
    return float(torch.stack(norms).norm()) if norms else 0.0


def logits_of(net: nn.Module, picture: Tensor) -> Tensor:
    """What the network answers to one uint8 picture; the network is left as it was."""
    with torch.no_grad(), undisturbed(net):
        out = net(normalised(picture)[None].to(next(net.parameters()).device))
    if not isinstance(out, Tensor):
        raise TypeError(f"the network returns a {type(out).__name__}; one that returns a tensor is needed")
    return out


@contextmanager
def seeded(device: torch.device) -> Iterator[None]:
    """Inside, torch's global chance may be seeded; afterwards it is as before."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Inside, the first Ctrl-C only leaves word, so that no step is torn; the second one interrupts at once.

    Only where Python's own handler is in force, and in the main thread, which alone hears of Ctrl-C.
    """
    asked = False
    own = threading.current_thread() is threading.main_thread()
    if not own or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: asked
        return

    def hear(*_: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    signal.signal(signal.SIGINT, hear)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
