"""What network is this? A hash of all that its answers depend on."""

from __future__ import annotations

import hashlib
import re
from types import CodeType
from typing import Any

import torch

from ..classifiers.classifier import Classifier


def network_hash(classifier: Classifier) -> str:
    """SHA-256 over parameters and buffers (every byte), the modules as printed, and the code of their forward passes.

    Weights alone would not do: with SiLU in place of ReLU they are the same. Computed anew each time, so that weights
    written by whatever way are noticed. Another version of Python may compile the same code differently: its results
    are then computed again, never mistaken.
    """
    digest = hashlib.sha256()
    module = classifier.module
    digest.update(re.sub(r" at 0x[0-9a-f]+", "", repr(module)).encode())
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
