"""Running somebody's module without leaving a trace on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import chain
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode


def every_module(module: nn.Module) -> list[nn.Module]:
    """`module` and every module inside it, once each, in no particular order.

    Ten times faster than `module.modules()`, which hands every item up through one generator per level; a pass walks
    the tree several times, and on a small network that shows.
    """
    found, todo = {id(module): module}, [module]
    while todo:
        for child in todo.pop()._modules.values():
            if child is not None and id(child) not in found:
                found[id(child)] = child
                todo.append(child)
    return list(found.values())


def every_tensor(module: nn.Module) -> list[Tensor]:
    """Every parameter and buffer of the module tree, in no particular order."""
    own = (chain(m._parameters.values(), m._buffers.values()) for m in every_module(module))
    return [tensor for tensor in chain.from_iterable(own) if tensor is not None]


def structure(module: nn.Module) -> tuple[Any, ...]:
    """What taps and the number of classes hang on: equal while the same modules hold weights of the same shapes.

    The modules themselves, not their ids, which Python gives to others once they are gone.
    """
    modules = every_module(module)
    shapes = [p.shape for m in modules for p in m._parameters.values() if p is not None and not is_lazy(p)]
    return (*modules, *shapes)


def this_thread() -> Callable[[], bool]:
    """Asks later whether it is still the thread that asked now: hooks see the user's own passes in other threads, too.

    While `torch.compile` traces a pass, that is this thread's own (and threads are nothing that it can trace).
    """
    mine = get_ident()
    return lambda: torch.compiler.is_compiling() or get_ident() == mine


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Inside: every submodule in evaluation mode, no parameter asks for a gradient. After: all flags as before.

    The flags are set one by one rather than by `module.eval()`, which a class may override.
    """
    everything = every_module(module)
    modules = [m for m in everything if m.training]
    own = (p for m in everything for p in m._parameters.values() if p is not None)
    parameters = [p for p in own if p.requires_grad and not p.is_inference()]
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


def quantised(module: nn.Module) -> str | None:
    """The name of a layer that computes in quantised integers, through which no gradient flows; None if there is none.

    Layers that only imitate it for training (`torch.ao.nn.qat`) do have gradients.
    """
    for name, child in module.named_modules():
        home = type(child).__module__
        if home.startswith("torch.") and ".quantized" in home and not home.endswith(".reference.modules"):
            return name or type(child).__name__
    return None


class unfused(TorchFunctionMode):
    """Inside: PyTorch's transformer layers run module by module; alone they may take one fused path past their parts.

    They do so whenever Python functions are watched; nothing global is switched.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


def call(module: nn.Module, x: Tensor) -> Any:
    """`module(x)`; weights built under `torch.inference_mode()` (which autograd refuses) are replaced by copies."""
    if not any(tensor.is_inference() for tensor in every_tensor(module)):
        return module(x)
    state = [*module.named_parameters(), *module.named_buffers()]
    copies = {name: tensor.detach().clone() for name, tensor in state if tensor.is_inference()}
    return torch.func.functional_call(module, copies, (x,))


def autocast(device: torch.device, dtype: torch.dtype | None) -> Any:
    """Autocast to `dtype` on `device`; None leaves the caller's own setting in force."""
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)
