"""From evidence to raw stage maps, and why a map is flat."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from ..classifiers.taps import Tap
from ..errors import choose
from ..evidence import Evidence
from .catalogue import find, find_evidence
from .fusion import Plan, gate_stage
from .gradient import handled, layercam, ungridded
from .method import Method


def default_stages(evidence: Evidence, method: str | Method = "layercam") -> list[str]:
    """The stages a method uses unless told otherwise: the deepest (Grad-CAM …) or the three deepest (LayerCAM …)."""
    return list(evidence.stages)[-find(method).depth :]


def stage_maps(
    evidence: Evidence,
    method: str | Method = "layercam",
    gradient: str | None = None,
    stages: Iterable[str] | None = None,
    plan: Plan | None = None,
) -> dict[str, np.ndarray]:
    """The raw maps of one picture: stage → h×w float32, ≥ 0, before any scaling, shallow to deep.

    Args:
        evidence: of one picture. method: a name of the catalogue. gradient: handling of signs, None = as published.
        stages: None = the method's own choice (`default_stages`).
        plan: decides whether gradients are taken from the next layer, and which stage is a signed gate.
    """
    found = find_evidence(method)
    sign = sign_of(found, gradient)
    names = ordered(evidence, default_stages(evidence, found) if stages is None else stages)
    gate = gate_stage(names, plan) if plan else None
    maps = {}
    for name in names:
        use = "signed" if name == gate and "signed" in found.signs else sign
        maps[name] = one_map(evidence, found, evidence.stages[name], use, bool(plan and plan.ungridded))
    return maps


def sign_of(method: Method, gradient: str | None) -> str:
    """The handling of gradient signs: the one given, if the method can take it, or its published one."""
    if gradient is None:
        return method.gradient
    if not method.signs:
        raise ValueError(f"{method.title} handles no gradient signs; {gradient!r} was given")
    return choose(f"gradient handling for {method.name}", gradient, method.signs)


def ordered(evidence: Evidence, stages: Iterable[str]) -> list[str]:
    """Stage names, checked, without doubles, shallow to deep."""
    wanted = [stages] if isinstance(stages, str) else list(stages)
    if not wanted:
        raise ValueError(f"no stage was given; this network has: {', '.join(evidence.stages)}")
    for name in wanted:
        choose("stage", name, evidence.stages)
    return [name for name in evidence.stages if name in wanted]


def one_map(evidence: Evidence, method: Method, tap: Tap, gradient: str, next_layer: bool = False) -> np.ndarray:
    """The raw map of one tap, h×w float32, of an evidence of one picture."""
    if len(evidence) != 1:
        raise ValueError(f"maps are made picture by picture; this evidence holds {len(evidence)}: take evidence[i]")
    A, g = evidence.activations[tap][0], evidence.gradients[tap][0]
    if "gap head" in method.needs:
        made = method.function(A, class_weights(evidence, tap))
    else:
        made = method.function(A, ungridded(g, tap.pooled_by) if next_layer else g, gradient)
    return np.ascontiguousarray(made.float().cpu().numpy())


def channel_map(evidence: Evidence, stage: str, channel: int, gradient: str = "positive") -> np.ndarray:
    """One channel's part of a LayerCAM map, ReLU(h(g_k) ⊙ A_k): h×w float32, of an evidence of one picture."""
    A, g = (values[0, channel : channel + 1] for values in evidence.at(stage))
    return np.ascontiguousarray(layercam(A, g, gradient).float().cpu().numpy())


def channel_contributions(evidence: Evidence, stage: str, gradient: str = "positive") -> np.ndarray:
    """What each channel of a stage contributes, Σ_ij h(g_k) ⊙ A_k: K float32, in units of the logit, to first order."""
    A, g = (values[0] for values in evidence.at(stage))
    return np.asarray((handled(g, gradient) * A).sum((1, 2)).float().cpu().numpy())


def class_weights(evidence: Evidence, tap: Tap) -> Tensor:
    """The K weights of the target class in the linear layer behind the pooled tap, for CAM."""
    weights = evidence.classifier.gap_weights()
    target = evidence.targets[0]
    deepest = list(evidence.classifier.stages.values())[-1]
    if weights is None or tap != deepest:
        raise ValueError(
            f"CAM needs a network that ends in global average pooling and one linear layer, and its deepest tap; "
            f"{evidence.classifier.name} at {str(tap)!r} is not that. Grad-CAM is the same map where CAM is defined"
        )
    if not isinstance(target, int):
        raise ValueError("CAM needs a class as its target, not a callable")
    return weights[target].to(evidence.activations[tap])


def flat_reason(evidence: Evidence, tap: Tap, values: np.ndarray) -> str | None:
    """Why a map is flat, in words, or None if it is not flat."""
    if float(values.max()) > float(values.min()):
        return None
    A, g = evidence.activations[tap], evidence.gradients[tap]
    if tap in evidence.cut_off:
        return f"flat: no path leads from {tap} to the score"
    if not torch.isfinite(g).all() or not torch.isfinite(A).all():
        return f"flat: activations or gradients at {tap} are not finite"
    if not bool(A.any()):
        return f"flat: every channel of {tap} is silent (all activations are 0) for this picture"
    if not bool(g.any()):
        saturated = " (a saturated softmax or clipped activation stops it)"
        return f"flat: the gradient at {tap} is zero everywhere{saturated}"
    positive = float((g > 0).float().mean())
    dead = float((A.flatten(2).abs().amax(2) == 0).float().mean())
    return (
        f"flat: nothing at {tap} speaks for the target with this handling of signs "
        f"({positive:.0%} of its gradients are positive, {dead:.0%} of its channels are silent)"
    )
