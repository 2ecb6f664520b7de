"""What network is this? A hash of all that its answers depend on."""

from __future__ import annotations

import hashlib
import re
from functools import partial
from types import CodeType
from typing import Any

import numpy as np
import torch

from ..classifiers.classifier import Classifier
from ..maps.method import Method

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


def method_hash(method: Method) -> str:
    """SHA-256 over what a method of one's own is: its name, kind and defaults, and the function by its qualified name,
    its code, its defaults and what it closes over.

    Functions that it calls are known by name: what changes inside them, or in the module's variables, is not noticed.
    """
    said = [method.name, method.kind, method.gradient, str(method.depth), *map(str, method.parameters)]
    digest = hashlib.sha256("\n".join(said).encode())
    digest.update(_function(method.function))
    return digest.hexdigest()


def _function(function: Any, within: tuple[Any, ...] = ()) -> bytes:
    """within: the functions that this one is being read for: one that closes over itself is read once."""
    if function in within:
        return b"itself"
    within = (*within, function)
    if isinstance(function, partial):
        given = (function.args, sorted(function.keywords.items()))
        return _function(function.func, within) + _value(given, within)
    if not isinstance(getattr(function, "__code__", None), CodeType):  # an object that is called
        return _code(type(function).__call__) + _value(getattr(function, "__dict__", type(function)), within)
    closed = [cell.cell_contents for cell in function.__closure__ or ()]
    held = (function.__defaults__, function.__kwdefaults__, closed)
    return f"{function.__module__}.{function.__qualname__}".encode() + _code(function) + _value(held, within)


def _value(value: Any, within: tuple[Any, ...]) -> bytes:
    """A value by all that it holds: tensors and arrays by their bytes, functions by their code, the rest as printed."""
    if isinstance(value, torch.Tensor):
        return f"{tuple(value.shape)}{value.dtype}".encode() + bytes(_bytes(value))
    if isinstance(value, np.ndarray):
        return f"{value.shape}{value.dtype}".encode() + np.ascontiguousarray(value).tobytes()
    if isinstance(value, dict):
        return b"{" + b",".join(_value(one, within) for pair in value.items() for one in pair) + b"}"
    if isinstance(value, (list, tuple)):
        return b"[" + b",".join(_value(one, within) for one in value) + b"]"
    if isinstance(value, partial) or isinstance(getattr(value, "__code__", None), CodeType):
        return _function(value, within)
    return _ADDRESS.sub("", repr(value)).encode()


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
