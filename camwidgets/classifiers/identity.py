"""What network is this, and what is it given of a picture? Hashes of all that answers depend on."""

from __future__ import annotations

import hashlib
import re
from functools import partial
from types import CodeType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from .classifier import Classifier

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def network_hash(classifier: Classifier) -> str:
    """SHA-256 over parameters and buffers (every byte), the modules as printed, and the code of their forward passes.

    Weights alone would not do: with SiLU in place of ReLU they are the same. Computed anew each time, so that weights
    written by whatever way are noticed. Another version of Python may compile the same code differently: its results
    are then computed again, never mistaken.
    """
    digest = hashlib.sha256()
    module = classifier.module
    digest.update(_ADDRESS.sub("", repr(module)).encode())
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(_bytes(tensor))
    for kind in sorted({type(part) for part in module.modules()}, key=lambda one: (one.__module__, one.__qualname__)):
        digest.update(f"{kind.__module__}.{kind.__qualname__}".encode())
        if not kind.__module__.startswith("torch."):
            digest.update(_code(kind.forward))
    digest.update(_code(classifier._output))
    digest.update(str(classifier.dtype).encode())
    return digest.hexdigest()


def view_hash(classifier: Classifier) -> str:
    """SHA-256 over `network_hash` and all that lies between a picture file and a stage's values: input size,
    preprocessing (its settings, its code, what it holds), stages.

    Two classifiers with the same weights that look at a picture in another size, crop or normalisation answer
    differently to it. What a transform's functions call is known by name alone.

    Example:
        >>> import camwidgets
        >>> net = camwidgets.load("toy")
        >>> wide = camwidgets.wrap(net.module, input_size=(128, 128))
        >>> view_hash(net) == view_hash(camwidgets.load("toy")), view_hash(net) == view_hash(wide)
        (True, False)
    """
    stages = [(name, str(tap), tap.channels, tap.size) for name, tap in classifier.stages.items()]
    digest = hashlib.sha256(network_hash(classifier).encode())
    digest.update(repr((classifier.input_size, stages)).encode())
    digest.update(value_bytes(classifier.preprocessing))
    return digest.hexdigest()


def function_bytes(function: Any, within: tuple[Any, ...] = ()) -> bytes:
    """within: the functions that this one is being read for: one that closes over itself is read once."""
    if any(function is one for one in within):
        return b"itself"
    within = (*within, function)
    if isinstance(function, partial):
        given = (function.args, sorted(function.keywords.items()))
        return function_bytes(function.func, within) + value_bytes(given, within)
    if not isinstance(getattr(function, "__code__", None), CodeType):  # an object that is called
        return _called(function) + value_bytes(getattr(function, "__dict__", type(function)), within)
    closed = [cell.cell_contents for cell in function.__closure__ or ()]
    held = (function.__defaults__, function.__kwdefaults__, closed)
    return f"{function.__module__}.{function.__qualname__}".encode() + _code(function) + value_bytes(held, within)


def value_bytes(value: Any, within: tuple[Any, ...] = ()) -> bytes:
    """A value by all that it holds: tensors and arrays by their bytes, functions by their code, objects that are called
    by their type, its code and what they hold, the rest as printed."""
    if isinstance(value, torch.Tensor):
        return f"{tuple(value.shape)}{value.dtype}".encode() + bytes(_bytes(value))
    if isinstance(value, np.ndarray):
        return f"{value.shape}{value.dtype}".encode() + np.ascontiguousarray(value).tobytes()
    if isinstance(value, dict):
        return b"{" + b",".join(value_bytes(one, within) for pair in value.items() for one in pair) + b"}"
    if isinstance(value, (list, tuple)):
        return b"[" + b",".join(value_bytes(one, within) for one in value) + b"]"
    if isinstance(value, partial) or isinstance(getattr(value, "__code__", None), CodeType):
        return function_bytes(value, within)
    if callable(value) and not isinstance(value, type) and getattr(value, "__dict__", None):
        return function_bytes(value, within)
    return _ADDRESS.sub("", repr(value)).encode()


def _called(thing: Any) -> bytes:
    """What runs when an object is called: the code of its type, of `forward` where it is a module."""
    kind = type(thing)
    if isinstance(thing, nn.Module):
        return f"{kind.__module__}.{kind.__qualname__}".encode() + _code(kind.forward)
    return _code(kind.__call__)


def _bytes(tensor: torch.Tensor) -> Any:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()


def _code(function: Any) -> bytes:
    """The compiled code of a function with its constants and names, inner functions included; its type otherwise."""
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType):
        return repr(type(function)).encode()
    inner = b"".join(_code_of(constant) for constant in code.co_consts)
    return code.co_code + repr(code.co_names).encode() + inner


def _code_of(constant: Any) -> bytes:
    if isinstance(constant, CodeType):
        return constant.co_code + b"".join(_code_of(one) for one in constant.co_consts)
    if isinstance(constant, frozenset):  # whose order changes from process to process
        return repr(sorted(map(repr, constant))).encode()
    return repr(constant).encode()
