r"""Layer-wise relevance propagation (LRP), by zennit's rules.

Relevance starts as ∂y/∂logits (1 at the class) and is handed down, R_i = Σ_j (share of i in j) R_j, by a rule for each
layer. Bach et al., PLOS ONE 2015; the choices of rules: Montavon et al. 2019; zennit: Anders et al. 2021 (whose
numbers these are: a test holds the two together).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import choose
from .inputs import CAP, CAPPED, capped
from .method import Method, Parameter, Request
from .operations import NoRule, rewritten, trial_input
from .rules import Rules

if TYPE_CHECKING:
    from ..classifiers.classifier import Classifier
    from ..classifiers.taps import Tap

COMPOSITES = (
    "epsilon-plus-flat", "epsilon-plus", "epsilon-gamma-box", "epsilon-alpha2-beta1-flat", "epsilon-alpha2-beta1",
)  # fmt: skip


def relevance(
    request: Request, tap: Tap | None = None, composite: str = "epsilon-plus-flat", epsilon: float = 1e-6,
    rule_gamma: float = 0.25,
) -> Tensor:  # fmt: skip
    r"""The relevance R of what a tap holds (K×h×w), or of the input (3×H×W) without one; signed, in shares of 1.

    Rules of the composites (ε: linear layers; z⁺, γ, αβ: convolutions; flat, box: the first layer):
    ε: R_i = Σ_j x_i w_ij / (Σ_i x_i w_ij + b_j + ε·sign) R_j.   z⁺: the same with the positive x_i w_ij alone.
    γ (`rule_gamma`): with w + γ·max(0, w).   α2β1: twice the positive shares minus the negative ones.
    flat: equal shares for all x_i.   box: x_i w_ij − l_i w_ij⁺ − h_i w_ij⁻, [l, h] = black to white.

    Activations and BatchNorm that follows no convolution pass R on; max-pooling gives it to the winner; sums and
    averages share it by value; a gate (squeeze-and-excitation) gets none. Attention and layer normalisation have no
    rule here.

    Raises:
        NoRule (a ValueError): the network does something that has no rule.
    """
    rules = Rules(request.classifier.name, "LRP", _choose(request.classifier, composite, epsilon, rule_gamma))
    return propagated(request, rules, tap)


def propagated(request: Request, rules: Rules, tap: Tap | None) -> Tensor:
    """What arrives at a tap, or at the input, when ∂y/∂logits is propagated by the rules; K×h×w, float32 or float64."""
    with rewritten(request.classifier, rules, request.x, tap) as (site, logits):
        rules.propagating(logits)
        y = request.y(logits)
        (start,) = torch.autograd.grad(y.sum(), logits, retain_graph=True)
        (found,) = torch.autograd.grad(logits, site, start, allow_unused=True)
    request.passes.counts.forward += 2  # the second tells whether the rewritten pass is the network
    request.passes.counts.backward += 1
    request.passes.report(1, 1)
    found = torch.zeros_like(site) if found is None else found.detach()
    return found[0].permute(2, 0, 1) if tap is not None and tap.layout == "channels-last" else found[0]


def _choose(classifier: Classifier, composite: str, epsilon: float, rule_gamma: float) -> Any:
    """module → zennit's rule, as the composite of that name maps it."""
    from zennit.composites import COMPOSITES as known

    options: dict[str, Any] = {"epsilon": epsilon}
    name = choose("composite", composite, COMPOSITES).replace("-", "_")
    if name == "epsilon_gamma_box":
        low, high = _black_and_white(classifier)
        options |= {"gamma": rule_gamma, "low": low, "high": high}
    found = known[name](**options)
    context: dict[str, Any] = {}  # where zennit notes which layer is the first
    return lambda module: found.module_map(context, "", module)


def _black_and_white(classifier: Classifier) -> tuple[Tensor, Tensor]:
    """The lowest and the highest input value of each colour, 1×3×1×1."""
    black, white = (np.full((*classifier.input_size, 3), value, np.uint8) for value in (0, 255))
    ends = torch.cat([classifier.preprocess(black), classifier.preprocess(white)])
    return ends.amin((0, 2, 3))[None, :, None, None], ends.amax((0, 2, 3))[None, :, None, None]


def lrp(
    request: Request, composite: str = "epsilon-plus-flat", epsilon: float = 1e-6, rule_gamma: float = 0.25,
    cap: float = CAP,
) -> Tensor:  # fmt: skip
    """LRP at the input: M = ReLU(Σ_colours R), the positive part of the relevance summed over colours.

    See `relevance` for rules and parameters; values are cut at the percentile `cap`.
    """
    return capped(torch.relu(relevance(request, None, composite, epsilon, rule_gamma).sum(0)), cap)


def lrp_at_tap(
    request: Request, composite: str = "epsilon-plus", epsilon: float = 1e-6, rule_gamma: float = 0.25
) -> Tensor:
    """LRP at a tap: M = ReLU(Σ_k R_k), the positive part of the relevance summed over channels.

    See `relevance` for rules and parameters.
    """
    return torch.relu(relevance(request, request.tap, composite, epsilon, rule_gamma).sum(0))


def unfit(classifier: Classifier) -> str | None:
    """Why LRP cannot serve that network: found by one forward pass over noise."""
    return tried(classifier, Rules(classifier.name, "LRP", _nothing))


def tried(classifier: Classifier, rules: Rules) -> str | None:
    """What one forward pass over noise finds that has no rule, or None."""
    try:
        with rewritten(classifier, rules, trial_input(classifier)):
            return None
    except NoRule as reason:
        return str(reason)


def _nothing(module: nn.Module) -> None:
    return None


_PARAMETERS = (
    Parameter("composite", "epsilon-plus-flat", "which rule for which layer", choices=COMPOSITES),
    Parameter("epsilon", 1e-6, "stabiliser of the ε-rule, in units of the layer's output", low=0),
    Parameter("rule_gamma", 0.25, "weight of positive weights in the γ-rule (epsilon-gamma-box only)", low=0),
)
_SOURCE = "Bach et al., PLOS ONE 2015, eq. 56–60; rules: Montavon et al. 2019; by zennit"
METHODS = (
    Method(
        "lrp", "LRP", lrp, "ReLU(Σ_colours R), R_i = Σ_j x_i w_ij / Σ_i(x_i w_ij) R_j", _SOURCE,
        kind="picture", needs=("gradients",), parameters=(*_PARAMETERS, CAPPED), unfit=unfit,
    ),
    Method(
        "lrp-tap", "LRP at a tap", lrp_at_tap, "ReLU(Σ_k R_k)", _SOURCE,
        kind="stage", needs=("gradients",),
        parameters=(replace(_PARAMETERS[0], default="epsilon-plus"), *_PARAMETERS[1:]),
        unfit=unfit,
    ),
)  # fmt: skip
