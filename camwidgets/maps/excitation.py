r"""Excitation backprop: the probability that a random winner-take-all path from the class ends at a position.

Zhang et al., "Top-Down Neural Attention by Excitation Backprop", ECCV 2016 (IJCV 2018). The rules run on zennit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .method import Method, Request
from .relevance import propagated, tried
from .rules import LinearCall, Norm, Rules

if TYPE_CHECKING:
    from ..classifiers.classifier import Classifier

NONNEGATIVE = frozenset(("relu", "relu6", "clamp"))


def winning(request: Request, contrast: bool) -> Tensor:
    r"""P of what a tap holds, K×h×w: from 1 at the class, P_i = Σ_j x_i⁺ w_ij⁺ / Σ_i(x_i⁺ w_ij⁺) P_j (eq. 2).

    The winner into unit j is drawn among its positive inputs x_i⁺ by excitatory weights w⁺; biases and inhibitory
    weights take no part (a unit without an excited input passes nothing on). Averages and sums share by positive
    part, max-pooling follows its winner, activations pass on. BatchNorm is folded into the convolution before it.

    With `contrast`, the layer that yields the logits passes on P − P̄, P̄ that of the dual unit with negated weights
    (section 3.3): what is common to all classes cancels; values may then be negative, their sum is 0.

    Σ P at a tap that everything passes through is 1 (0 with contrast).
    """
    if callable(request.target):
        raise ValueError("excitation backprop starts at one class; its target cannot be a callable")
    return propagated(request, ExcitationRules(request.classifier.name, contrast), request.tap)


class ExcitationRules(Rules):
    """Winner-take-all probabilities; in the layer that yields the logits contrasted with the negated weights."""

    def __init__(self, network: str, contrast: bool) -> None:
        super().__init__(network, "excitation backprop", _rule)
        self.contrast = contrast

    def propagating(self, logits: Tensor) -> None:
        for rule in self.top_rules(logits) if self.contrast else []:
            rule.param_modifiers, rule.input_modifiers, rule.output_modifiers, rule.reducer = _contrasted()


def _rule(module: nn.Module) -> Any:
    from zennit.core import BasicHook, ParamMod
    from zennit.layer import Sum
    from zennit.rules import ClampMod, Pass
    from zennit.types import AvgPool

    if isinstance(module, LinearCall):
        modifier: Any = ClampMod(min=0.0, zero_params="bias")
    elif isinstance(module, (Sum, AvgPool)):
        modifier = ParamMod(lambda value, name: value, param_keys=[])
    else:
        return Pass()
    return BasicHook([_positive], [modifier], [_same], _shares, _weighted)


def _contrasted() -> tuple[list[Any], list[Any], list[Any], Any]:
    from zennit.core import ParamMod
    from zennit.rules import ClampMod

    negated = ParamMod(lambda value, name: (-value).clamp(min=0), zero_params="bias")
    return (
        [ClampMod(min=0.0, zero_params="bias"), negated],
        [_positive, _positive],
        [_same, _same],
        lambda inputs, gradients: inputs[0] * gradients[0] - inputs[1] * gradients[1],
    )


def _positive(x: Tensor) -> Tensor:
    return x.clamp(min=0)


def _same(x: Tensor) -> Tensor:
    return x


def _shares(probability: Tensor, sums: list[Tensor]) -> list[Tensor]:
    return [torch.where(z > 0, probability / torch.where(z > 0, z, torch.ones_like(z)), 0.0) for z in sums]


def _weighted(inputs: list[Tensor], gradients: list[Tensor]) -> Tensor:
    return inputs[0] * gradients[0]


def excitation(request: Request) -> Tensor:
    """Excitation backprop: M = Σ_k P_k, the winning probability at each position of a tap. See `winning`."""
    return winning(request, contrast=False).sum(0)


def c_mwp(request: Request) -> Tensor:
    """Contrastive excitation backprop (c-MWP): M = ReLU(Σ_k (P − P̄)_k) at a tap. See `winning`."""
    return torch.relu(winning(request, contrast=True).sum(0))


class _Trial(ExcitationRules):
    """Refuses what excitation backprop is not defined for, besides operations that have no rule."""

    def operate(self, name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], live: list[Tensor]) -> Any:
        result = super().operate(name, func, args, kwargs, live)
        odd = sorted(self.rectifiers - NONNEGATIVE)
        if odd:
            raise self._no_rule(f"{odd[0]} (activations must not be negative)")
        return result

    def _hooked(self, kind: type[Any], run: Any, x: Tensor) -> Tensor:
        if kind is Norm:
            raise self._no_rule("a BatchNorm that follows no convolution")
        return super()._hooked(kind, run, x)


def unfit(classifier: Classifier) -> str | None:
    """Why excitation backprop cannot serve that network: found by one forward pass over noise."""
    rules = _Trial(classifier.name, contrast=False)
    rules.choose = lambda module: None
    return tried(classifier, rules)


_SOURCE = "Zhang et al., ECCV 2016, eq. 2 and section 3.3; rules run on zennit"
METHODS = (
    Method(
        "c-mwp", "c-MWP", c_mwp, "ReLU(Σ_k (P − P̄)_k), P_i = Σ_j x_i w_ij⁺ / Σ_i(x_i w_ij⁺) P_j", _SOURCE,
        kind="stage", needs=("gradients",), unfit=unfit,
    ),
    Method(
        "excitation", "Excitation backprop", excitation, "Σ_k P_k, P_i = Σ_j x_i w_ij⁺ / Σ_i(x_i w_ij⁺) P_j", _SOURCE,
        kind="stage", needs=("gradients",), unfit=unfit,
    ),
)  # fmt: skip
