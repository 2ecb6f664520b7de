"""Guided backpropagation's rule for ReLUs (Springenberg et al., 2015, arXiv:1412.6806, fig. 1 b)."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..classifiers.activations import activation_of

RECTIFIERS = frozenset(("relu", "relu6", "clamp"))  # activations that the rule is defined for


class GuidedRule(TorchFunctionMode):
    """Inside: gradients that flow back into a ReLU that ran in here lose their negative part, in this thread alone.

    ReLUs may be modules or functions, called once or often, in place, clipped (ReLU6).

    Attributes:
        kinds: every kind of activation met. count: how often the rule was applied.

    Example:
        >>> import torch
        >>> x = torch.tensor([1.0, -1.0], requires_grad=True)
        >>> with GuidedRule():
        ...     y = -torch.relu(x).sum()
        >>> torch.autograd.grad(y, x)[0]
        tensor([0., 0.])
    """

    def __init__(self) -> None:
        super().__init__()
        self.kinds: set[str] = set()
        self.count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        kind = activation_of(getattr(func, "__name__", "").strip("_"), args, kwargs)
        if kind is not None and isinstance(result, Tensor):
            self.kinds.add(kind)
            if kind in RECTIFIERS and result.requires_grad:
                self.count += 1
                # On the result, so that it sees the sum over everything that the result flows into.
                result.register_hook(lambda g: g.clamp(min=0))
        return result
