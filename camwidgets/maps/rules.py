"""Propagating relevance: every operation of a network run as a module with a rule of zennit's hung on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .operations import SHAPING, NoRule, Rewriting

AVERAGES = frozenset((
    "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d",
    "mean", "sum",
))  # fmt: skip
WINNERS = frozenset(
    f"{kind}max_pool{n}d{suffix}" for kind in ("", "adaptive_") for n in (1, 2, 3) for suffix in ("", "_with_indices")
) | {"amax", "max"}
ADDITIONS = frozenset(("add", "iadd", "radd"))
PRODUCTS = frozenset(("mul", "imul", "rmul", "multiply", "div", "idiv", "truediv", "itruediv", "divide"))
TRANSFORMERS = frozenset(("layer_norm", "softmax", "scaled_dot_product_attention", "multi_head_attention_forward"))

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)

Rule = Any  # a zennit.core.Hook
Choose = Callable[[nn.Module], Rule | None]  # the rule of an operation, or None for its plain gradient


class Call(nn.Module):
    """One call of a function of one tensor. zennit's composites go by the types that the subclasses below inherit."""

    def __init__(self, run: Any) -> None:
        nn.Module.__init__(self)  # not that of Conv2d or ReLU, which would make weights of their own
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.run(x)
        return result


class Elementwise(Call, nn.ReLU): ...


class Average(Call, nn.AvgPool2d): ...


class Norm(Call, nn.BatchNorm2d): ...


class LinearCall(Call):
    """A convolution or matrix product: y = run(x, weight, bias)."""

    def __init__(self, run: Any, weight: Tensor, bias: Tensor | None, options: tuple[Any, dict[str, Any]]) -> None:
        super().__init__(run)
        # Parameters of this small module alone, sharing memory with the user's; rules replace them, never write them.
        self.weight = nn.Parameter(weight.detach(), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
        self.options = options

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.run(x, self.weight, self.bias, *self.options[0], **self.options[1])
        return result


LINEAR: dict[str, Any] = {
    name: type(kind.__name__, (LinearCall, kind), {})
    for name, kind in {
        "conv1d": nn.Conv1d, "conv2d": nn.Conv2d, "conv3d": nn.Conv3d, "linear": nn.Linear,
        "conv_transpose1d": nn.ConvTranspose1d, "conv_transpose2d": nn.ConvTranspose2d,
        "conv_transpose3d": nn.ConvTranspose3d,
    }.items()
}  # fmt: skip


class Rules(Rewriting):
    """Runs each operation as a module of the type that zennit's composites go by, with the rule that `choose` gives.

    A BatchNorm behind a convolution is folded into it. A sum of two values is a `zennit.layer.Sum`. In a product with
    a sigmoid (squeeze-and-excitation, swish written out) the other factor takes all relevance (Arras et al., WASSA
    2017). Max-pooling hands everything to the winner.

    Attributes:
        method: how it is called in errors. choose: module → rule. tops: id of a tensor → the linear operations that
            no other linear operation follows on the way to it.
    """

    def __init__(self, network: str, method: str, choose: Choose) -> None:
        super().__init__(network)
        self.method, self.choose = method, choose
        self.tops: dict[int, frozenset[LinearCall]] = {}
        self.sums: dict[int, tuple[LinearCall, Tensor, Any]] = {}  # id of what a convolution returned → (it, x, rule)
        self.rules: dict[LinearCall, Any] = {}
        self.handles: list[Any] = []  # of every rule's hooks

    def begin(self, x: Tensor) -> Tensor:
        # Half precision has no room for stabilisers: what follows runs in the input's precision.
        return super().begin(x if x.dtype == torch.float64 else x.float())

    def forget(self) -> None:
        super().forget()
        for handle in self.handles:
            handle.remove()
        for kept in (self.handles, self.tops, self.sums, self.rules):
            kept.clear()

    def propagating(self, logits: Tensor) -> None:
        """Called between the forward and the backward pass."""

    def top_rules(self, logits: Tensor) -> list[Any]:
        """The rules of the linear operations that yield the logits."""
        return [self.rules[call] for call in self.tops[id(logits)] if call in self.rules]

    def operate(self, name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], live: list[Tensor]) -> Any:
        before = frozenset[LinearCall]().union(*(self.tops.get(id(t), frozenset()) for t in live))
        result = self._operate(name, func, args, kwargs, live)
        for out in result if isinstance(result, (list, tuple)) else [result]:
            if isinstance(out, Tensor):
                self.tops.setdefault(id(out), before)
        return result

    def _operate(self, name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], live: list[Tensor]) -> Any:
        if name in LINEAR and len(live) == 1:
            return self._linear(name, func, args, kwargs)
        if name == "batch_norm":
            return self._batch_norm(args, kwargs)
        if self.activation(name, args, kwargs):
            return self._hooked(Elementwise, lambda x: func(x, *args[1:], **_without_input(kwargs)), live[0])
        if name in AVERAGES and len(live) == 1:
            return self._hooked(Average, lambda x: func(x, *args[1:], **_without_input(kwargs)), live[0])
        if name in ADDITIONS and len(live) == 2:
            return self._sum(live[0], live[1], kwargs)
        if name in PRODUCTS:
            return self._product(name, func, args, kwargs, live)
        if name in SHAPING or name in WINNERS or name in ADDITIONS or name in ("sub", "isub"):
            if len(live) == 2 and name in ("sub", "isub"):
                raise self._no_rule("the difference of two values")
            return func(*args, **kwargs)
        result = func(*args, **kwargs)
        if any(isinstance(t, Tensor) and t.requires_grad for t in _flat(result)):
            raise self._no_rule(name)
        return result

    def _linear(self, name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        given = dict(zip(("input", "weight", "bias"), args, strict=False)) | {
            key: kwargs[key] for key in ("input", "weight", "bias") if key in kwargs
        }
        x: Tensor = given["input"]
        weight, bias = given["weight"].to(x.dtype), given.get("bias")
        options = args[3:], {k: v for k, v in kwargs.items() if k not in ("input", "weight", "bias")}
        call = LINEAR[name](func, weight, None if bias is None else bias.to(x.dtype), options)
        rule = self.choose(call)
        result = self._run(call, rule, x)
        self.sums[id(result)] = call, x, rule
        return result

    def _batch_norm(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
        given: dict[str, Any] = {"weight": None, "bias": None, "training": False, "eps": 1e-5}
        given |= dict(zip(names, args, strict=False)) | kwargs
        x, mean, variance = given["input"], given["running_mean"], given["running_var"]
        if given["training"] or mean is None:
            raise self._no_rule("a BatchNorm that takes its statistics from the batch")
        scale = torch.rsqrt(variance.to(x.dtype) + given["eps"])
        scale = scale if given["weight"] is None else scale * given["weight"].to(x.dtype)
        offset = -mean.to(x.dtype) * scale + (0 if given["bias"] is None else given["bias"].to(x.dtype))
        if id(x) not in self.sums:
            return self._alone(x, scale, offset)
        call, before, rule = self.sums[id(x)]
        along = 1 if issubclass(type(call), TRANSPOSED) else 0  # where the output's channels are in the weights
        if along == 1 and call.weight.shape[1] != len(scale):
            return self._alone(x, scale, offset)  # grouped transposed convolution: its weights are laid out otherwise
        shape = [1] * call.weight.ndim
        shape[along] = -1
        bias = offset if call.bias is None else call.bias * scale + offset
        folded = type(call)(call.run, call.weight * scale.reshape(shape), bias, call.options)
        return self._run(folded, rule, before)

    def _alone(self, x: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
        shape = (1, -1, *[1] * (x.ndim - 2))
        return self._hooked(Norm, lambda v: v * scale.reshape(shape) + offset.reshape(shape), x)

    def _sum(self, a: Tensor, b: Tensor, kwargs: dict[str, Any]) -> Tensor:
        from zennit.layer import Sum

        if kwargs.get("alpha", 1) != 1:
            raise self._no_rule("a sum with a factor")
        stacked = torch.stack(torch.broadcast_tensors(a, b), -1)
        module = Sum()
        return self._run(module, self.choose(module), stacked)

    def _product(self, name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], live: list[Tensor]) -> Any:
        values = [t for t in live if id(t) not in self.gates] if len(live) > 1 else live
        if len(values) != 1 or (len(live) > 1 and "div" in name):
            raise self._no_rule("a product of two values (other than a sigmoid gate)")
        value = values[0]
        if len(live) == 1 and name in ("div", "truediv", "divide") and args[0] is not value:
            raise self._no_rule("a division by a value")

        def run(x: Tensor) -> Any:
            return func(*(x if one is value else _constant(one) for one in args), **kwargs)

        if run(value.detach()).shape != value.shape:
            raise self._no_rule("a product that repeats a value")
        return self._hooked(Elementwise, run, value)

    def _hooked(self, kind: type[Call], run: Any, x: Tensor) -> Tensor:
        call = kind(run)
        return self._run(call, self.choose(call), x)

    def _run(self, module: nn.Module, rule: Rule | None, x: Tensor) -> Tensor:
        if rule is not None:
            rule = rule.copy()
            self.handles.append(rule.register(module))
        result: Tensor = module(x)
        if isinstance(module, LinearCall):
            self.tops[id(result)] = frozenset([module])
            self.known[id(result)] = result
            if rule is not None:
                self.rules[module] = rule
        return result

    def _no_rule(self, what: str) -> NoRule:
        hint = "; ViTs are served by 'transformer-lrp'" if what in TRANSFORMERS else ""
        return NoRule(f"{self.method} has no rule for {what}, which {self.network} uses{hint}")


def _constant(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


def _without_input(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in kwargs.items() if key != "input"}


def _flat(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (list, tuple)) else [result]
