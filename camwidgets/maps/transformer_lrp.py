r"""Relevance through a transformer: the rules of Chefer et al. (CVPR 2021), which [002] 2.4.5 gives as 2-27 … 2-36.

Relevance starts at the logits (1 at the class, 0 elsewhere) and goes back through every operation of the pass:

* linear layers and convolutions keep the positive products (2-30): R_j = Σ_i (x_j w_ji)⁺ / Σ_j'(x_j' w_j'i)⁺ R_i;
* two operands u, v (skip connections, QKᵀ, AV) share by R_u = u ⊙ ∂L/∂uᵀ (R / L(u, v)) (2-28, 2-31), and then each is
  scaled so that together they hold what came (2-33, 2-34): ΣR̄_u + ΣR̄_v = ΣR (2-35);
* means go back in proportion to their terms (2-28);
* what works value by value or normalises (GELU, softmax, LayerNorm, a constant factor) hands relevance on as it is.

Operations are met as Python calls while the network runs, each with an autograd function whose backward pass is the
rule; so one "gradient" of the logits *is* the relevance, anywhere in the graph. Nothing is put into the network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..catcher import Catcher
from ..classifiers.attention import Opened
from ..classifiers.checks import check_finite
from ..classifiers.guards import undisturbed

if TYPE_CHECKING:
    from ..classifiers.classifier import Classifier
    from ..classifiers.taps import Tap

# Value by value, or normalising: relevance passes as it is.
THROUGH = {
    "relu", "relu6", "gelu", "silu", "elu", "leaky_relu", "hardswish", "hardtanh", "mish", "softplus", "tanh",
    "sigmoid", "hardsigmoid", "softmax", "layer_norm", "batch_norm", "group_norm", "rms_norm", "normalize", "neg",
}  # fmt: skip
SHARED = {"add", "sub", "mul", "div", "matmul", "bmm", "mm", "einsum"}
WEIGHTED = {"linear", "conv1d", "conv2d"}
POOLED = {"mean", "sum", "avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d"}
# Places change, values do not: the gradient of such an operation is its relevance rule.
MOVING = {
    "view", "reshape", "permute", "transpose", "flatten", "unflatten", "squeeze", "unsqueeze", "expand", "expand_as",
    "cat", "concat", "stack", "split", "chunk", "unbind", "select", "narrow", "getitem", "get", "clone", "contiguous",
    "roll", "pad", "flip", "index_select", "gather", "dropout", "dropout2d", "to", "type_as", "float", "double",
    "movedim", "swapaxes", "t", "moveaxis", "amax", "max", "max_pool2d", "adaptive_max_pool2d", "copy", "view_as",
    "reshape_as", "tile", "repeat",
}  # fmt: skip
ALIASES = {
    "radd": "add", "iadd": "add", "rsub": "sub", "isub": "sub", "subtract": "sub", "rmul": "mul", "imul": "mul",
    "multiply": "mul", "truediv": "div", "itruediv": "div", "true_divide": "div", "divide": "div", "rmatmul": "matmul",
    "feature_dropout": "dropout",
}  # fmt: skip


def share(u: Tensor, v: Tensor, R: Tensor) -> tuple[Tensor, Tensor]:
    r"""Equations 2-33 and 2-34: relevances of two operands, scaled so that their sums add up to ΣR.

    R̄_u = R_u · |ΣR_u| / (|ΣR_u| + |ΣR_v|) · ΣR / ΣR_u, likewise R̄_v. An operand whose relevance sums to 0 gets none.

    Example:
        >>> share(torch.tensor([3.0, 0.0]), torch.tensor([1.0, -2.0]), torch.tensor([1.0, 1.0]))
        (tensor([1.5000, 0.0000]), tensor([-0.5000,  1.0000]))
    """
    total, a, b = R.sum(), u.sum(), v.sum()
    whole = a.abs() + b.abs()
    return u * over(total * over(a.abs(), whole), a), v * over(total * over(b.abs(), whole), b)


def over(a: Tensor, b: Tensor) -> Tensor:
    """a / b, and 0 where b is 0."""
    return torch.where(b == 0, 0.0, a / torch.where(b == 0, torch.ones_like(b), b))


class _Rule(torch.autograd.Function):
    """`function(*tensors)` forward; backward what `rule(R, function, *tensors)` returns, one relevance a tensor."""

    @staticmethod
    def forward(ctx: Any, rule: Any, function: Any, *tensors: Tensor) -> Tensor:
        ctx.rule, ctx.function = rule, function
        ctx.save_for_backward(*tensors)
        out: Tensor = function(*tensors)
        return out.clone() if any(out is t for t in tensors) else out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        return (None, None, *ctx.rule(grads[0].contiguous(), ctx.function, *ctx.saved_tensors))


def through(R: Tensor, function: Any, x: Tensor) -> tuple[Tensor]:
    """Relevance as it is."""
    return (R.reshape(x.shape),)


def proportional(R: Tensor, function: Any, *operands: Tensor) -> tuple[Tensor, ...]:
    """R_u = u ⊙ ∂L/∂uᵀ (R / L): equation 2-28; of two operands shared by 2-33 and 2-34."""
    parts = _taylor(R, lambda given: function(*given), operands)
    return share(parts[0], parts[1], R) if len(parts) == 2 else parts


def positive(R: Tensor, function: Any, x: Tensor, w: Tensor) -> tuple[Tensor, None]:
    """Equation 2-30: products x_j w_ji > 0 alone, those of two positive and those of two negative factors."""
    parts = _taylor(
        R, lambda s: function(s[0], w.clamp(min=0)) + function(s[1], w.clamp(max=0)), (x.clamp(min=0), x.clamp(max=0))
    )
    return parts[0] + parts[1], None


def _taylor(R: Tensor, function: Callable[[Any], Tensor], operands: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    with torch.enable_grad():
        given = [t.detach().requires_grad_() for t in operands]
        Z = function(given)
        grads = torch.autograd.grad(Z, given, over(R, Z.detach()))
    return tuple(t.detach() * g for t, g in zip(given, grads, strict=True))


class Rules(Opened):
    """Inside: every operation that depends on what asks for a gradient goes back by its relevance rule."""

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return self.weighted(F.linear, x, weight, bias)

    def weighted(self, function: Any, x: Tensor, weight: Tensor, bias: Tensor | None, channel: int = -1) -> Tensor:
        """A linear map and its bias, which gets no relevance."""
        if not x.requires_grad:
            out: Tensor = function(x, weight)
        else:
            out = _Rule.apply(positive, function, x, weight)
        if bias is None:
            return out
        shape = [1] * out.ndim
        shape[channel] = -1
        return self.same(lambda t: t + bias.reshape(shape), out)

    def product(self, a: Tensor, b: Tensor) -> Tensor:
        return self.shared(torch.matmul, a, b)

    def shared(self, function: Any, a: Tensor, b: Tensor) -> Tensor:
        if not (a.requires_grad or b.requires_grad):
            out: Tensor = function(a, b)
            return out
        return _Rule.apply(proportional, function, a, b)

    def same(self, function: Any, x: Tensor) -> Tensor:
        return _Rule.apply(through, function, x) if x.requires_grad else function(x)

    def kept(self, A: Tensor) -> Tensor:
        self.probabilities.append(A)
        return A

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        device = next((t.device.type for t in _tensors(args)), "cpu")
        with torch.autocast(device, enabled=False):  # relevance is divided by small sums: full precision
            return super().__torch_function__(func, types, args, kwargs)

    def other(self, func: Any, args: Any, kwargs: Any) -> Any:
        tracked = [t for t in _tensors((args, tuple(kwargs.values()))) if t.requires_grad]
        if not tracked or not torch.is_grad_enabled():
            return func(*args, **kwargs)
        raw = getattr(func, "__name__", "")
        name = raw.strip("_")
        name = ALIASES.get(name, name)
        if name in MOVING:
            return func(*args, **kwargs)
        if name in THROUGH | SHARED | WEIGHTED | POOLED:
            return self._in_place(raw, name, func, args, kwargs)
        out = func(*args, **kwargs)
        if any(t.is_floating_point() and t.requires_grad and t is not args[0] for t in _tensors((out,))):
            raise ValueError(
                f"there is no relevance rule for {name!r}, which this network computes with; gradient methods "
                f"(gradcam, layercam) and attention rollout need none"
            )
        return out

    def _in_place(self, raw: str, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        marked = raw.startswith("__i") or (raw.endswith("_") and not raw.endswith("__"))
        if not marked and kwargs.get("inplace") is not True:
            return self._ruled(name, func, args, kwargs)
        x, kwargs = args[0], {key: value for key, value in kwargs.items() if key != "inplace"}
        plain = getattr(torch, name, None) or getattr(F, name)
        return x.copy_(self._ruled(name, plain, (x.clone(), *args[1:]), kwargs))

    def _ruled(self, name: str, func: Any, args: Any, kwargs: Any) -> Tensor:
        if name in WEIGHTED:
            return self._weights(name, func, args, kwargs)
        tensors = [t for t in args[1:] if isinstance(t, Tensor)] if name == "einsum" else []
        if name == "einsum" and len(tensors) == 2:
            return self.shared(lambda a, b: func(args[0], a, b), *tensors)
        a, b = args[0] if args else kwargs["input"], args[1] if len(args) > 1 else kwargs.get("other")
        if name in SHARED and isinstance(a, Tensor) and isinstance(b, Tensor):
            factor = name in ("mul", "div") and not (a.requires_grad and b.requires_grad)
            if not factor:
                return self.shared(lambda a, b: func(a, b, **_without(kwargs, "input", "other")), a, b)
        # One tensor that counts, among constants.
        place = next((i for i, t in enumerate(args) if isinstance(t, Tensor) and t.requires_grad), None)
        rest = kwargs if place is not None else _without(kwargs, "input")
        x = args[place] if place is not None else kwargs["input"]

        def function(t: Tensor) -> Any:
            return func(*((*args[:place], t, *args[place + 1 :]) if place is not None else (t, *args)), **rest)

        if name in POOLED:
            return _Rule.apply(proportional, function, x)
        return self.same(function, x)

    def _weights(self, name: str, func: Any, args: Any, kwargs: Any) -> Tensor:
        names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        x, weight, bias = given.pop("input"), given.pop("weight"), given.pop("bias", None)
        channel = -1 if name == "linear" else 1
        return self.weighted(lambda x, w: func(x, w, None, **given), x, weight, bias, channel)


@dataclass(frozen=True)
class Relevance:
    """The relevance of one pass for one class: 1 at its logit, shared out backwards.

    Attributes:
        site: at the tap, in the tap's own layout. attention: h×s×s at every block's attention probabilities.
        logits: 1×C.
    """

    site: Tensor
    attention: tuple[Tensor, ...]
    logits: Tensor


def relevance(classifier: Classifier, x: Tensor, target: int, tap: Tap) -> Relevance:
    """Propagate relevance from the logit of `target` back to `tap`, for one picture x (1×3×H×W).

    Raises:
        ValueError: the network computes with an operation that has no rule; more than one picture.

    The module is run in evaluation mode and left exactly as it was.
    """
    if len(x) != 1:
        raise ValueError(f"relevance is propagated for one picture at a time; got a batch of {len(x)}")
    catcher = Catcher([tap], twice=False)
    with (
        classifier.lock, torch.inference_mode(False), torch.enable_grad(), undisturbed(classifier.module),
    ):  # fmt: skip
        with catcher.attached(classifier.module), Rules() as rules:
            logits = classifier.logits(x)
        check_finite(logits.detach(), classifier.name)
        start = torch.zeros_like(logits)
        start[:, target] = 1
        sought = [catcher.sites[tap], *(A for A in rules.probabilities if A.requires_grad)]
        found = torch.autograd.grad(logits, sought, start, allow_unused=True)
    each = [torch.zeros_like(t) if R is None else R for t, R in zip(sought, found, strict=True)]
    attention = tuple(R.reshape(-1, *R.shape[-2:]) for R in each[1:])
    return Relevance(each[0], attention, logits.detach())


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [t for item in value for t in _tensors(item)] if isinstance(value, (tuple, list)) else []


def _without(kwargs: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in kwargs.items() if key not in names}
