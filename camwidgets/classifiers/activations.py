"""Telling rectifying activations by the operation that computes them."""

from __future__ import annotations

from typing import Any

# Name of an operation (as PyTorch's dispatcher and as its Python functions call it) → kind of activation.
ACTIVATIONS = {
    "relu": "relu",
    "clamp_min": "relu",
    "leaky_relu": "leaky_relu",
    "prelu": "prelu",
    "_prelu_kernel": "prelu",
    "relu6": "relu6",
    "elu": "elu",
    "selu": "elu",
    "celu": "elu",
    "silu": "silu",
    "gelu": "gelu",
    "hardswish": "hardswish",
    "mish": "mish",
    "softplus": "softplus",
    "tanh": "tanh",
}
NONNEGATIVE = {"relu", "relu6"}
GATES = {"sigmoid": "silu", "hardsigmoid": "hardswish"}  # s → the kind of activation that x·s(x) is
PRODUCTS = {"mul", "imul", "multiply"}


def activation_of(name: str, args: Any, kwargs: Any) -> str | None:
    """The kind of activation that the operation `name(*args, **kwargs)` is, or None.

    Example:
        >>> activation_of("clamp", (None, 0), {}), activation_of("clamp", (None, -1, 1), {})
        ('relu', None)
    """
    if name == "hardtanh":
        low, high = _given(1, "min_val", args, kwargs, -1), _given(2, "max_val", args, kwargs, 1)
        return "relu6" if (low, high) == (0, 6) else "hardtanh"
    if name in ("clamp", "clip"):
        low, high = _given(1, "min", args, kwargs), _given(2, "max", args, kwargs)
        if isinstance(low, (int, float)) and low == 0:
            return "relu" if high is None else "clamp"
        return None
    if name == "threshold":
        at, below = _given(1, "threshold", args, kwargs), _given(2, "value", args, kwargs)
        return "relu" if at == 0 and below == 0 else None
    if name == "clamp_min" and _given(1, "min", args, kwargs) != 0:
        return None
    return ACTIVATIONS.get(name)


def _given(position: int, name: str, args: Any, kwargs: Any, default: Any = None) -> Any:
    return args[position] if len(args) > position else kwargs.get(name, default)
