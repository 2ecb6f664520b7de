"""How one map is to be made, and making it: the same for every method, whatever it runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..classifiers.classifier import Classifier
from ..evidence import capture
from .enhance import Enhancement
from .fusion import Plan, fuse
from .method import Method, Request
from .stages import sign_of, stage_maps


@dataclass(frozen=True)
class Recipe:
    """How a map is made: the method with its checked parameters, the handling of signs, fusion, enhancement."""

    method: Method
    plan: Plan
    gradient: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    enhancement: Enhancement | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "method": self.method.name,
            "title": self.method.title,
            "gradient": sign_of(self.method, self.gradient),
            "plan": self.plan.as_dict(),
            "parameters": dict(self.parameters),
            "enhancement": self.enhancement.as_dict() if self.enhancement else None,
        }


def enhancement(given: bool | Enhancement) -> Enhancement | None:
    """True: with the published settings; False: none."""
    if isinstance(given, Enhancement):
        return given
    if not isinstance(given, bool):
        raise TypeError(f"enhance must be True, False or an Enhancement(window=…, stride=…); got {given!r}")
    return Enhancement() if given else None


def chosen_stages(classifier: Classifier, method: Method, stages: Iterable[str] | None) -> list[str]:
    """The stages a map is made of: those given, or the method's own choice; none for a method of the whole picture."""
    if method.kind == "picture":
        if stages is not None:
            raise ValueError(f"{method.title} makes one map of the whole picture and takes no stages")
        return []
    chosen = list(classifier.select("stages" if stages is None else stages))
    return chosen[-method.depth :] if stages is None else chosen


def refuse(method: Method, classifier: Classifier) -> None:
    """Raise a ValueError if the method cannot serve this network."""
    reason = method.why_not(classifier)
    if reason:
        raise ValueError(reason)


def maps_of(how: Recipe, request: Request, names: list[str]) -> dict[str, np.ndarray]:
    """Raw maps of one picture, h×w float32 ≥ 0: stage → map, or "input" → map for a method of the whole picture."""
    method, passes = how.method, request.passes
    if method.kind == "evidence":
        evidence = capture(request.classifier, request.x, request.target, names)
        passes.counts.forward += 1
        passes.counts.backward += 1
        passes.report(1, 1)
        return stage_maps(evidence, method, how.gradient, names, how.plan)
    if method.kind == "picture":
        return {"input": _raw(method, method.function(request, **how.parameters))}
    taps = request.classifier.select(names)
    return {
        name: _raw(method, method.function(request.at(tap=tap, passes=passes.step(i, len(taps))), **how.parameters))
        for i, (name, tap) in enumerate(taps.items())
    }


def fused_map(how: Recipe, request: Request, names: list[str]) -> np.ndarray:
    """The fused map of one picture, H×W float32 in [0, 1], not enhanced."""
    return fuse(maps_of(how, request, names), request.size, how.plan, list(request.classifier.stages) or names)


def _raw(method: Method, values: Tensor) -> np.ndarray:
    if not isinstance(values, Tensor) or values.ndim != 2:
        got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(f"{method.title} must return an h×w tensor; it returned {got}")
    if not torch.isfinite(values).all():
        raise ValueError(f"{method.title} returned NaN or infinity for this picture")
    return np.ascontiguousarray(values.detach().float().clamp(min=0).cpu().numpy())
