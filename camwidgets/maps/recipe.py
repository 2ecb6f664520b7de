"""How one map is to be made, and making it: the same for every method, whatever it runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..classifiers.classifier import Classifier
from ..classifiers.guards import quantised
from ..evidence import capture
from .enhance import Enhancement, Take
from .fusion import Plan, fuse
from .method import Method, Request, Unexplained
from .passes import Make
from .stages import sign_of, stage_maps

# A map of the whole picture is stretched from its minimum to its maximum: RISE's, an average, is 0 nowhere.
WHOLE = Plan("picture", scale="none", scaled="none", normalise="minmax")


@dataclass(frozen=True)
class Recipe:
    """How a map is made: the method with its checked parameters, the handling of signs, fusion, enhancement.

    There is nothing to fuse where a method makes one map of the whole picture: its plan is `WHOLE`.
    """

    method: Method
    plan: Plan
    gradient: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    enhancement: Enhancement | None = None

    def __post_init__(self) -> None:
        if self.method.kind == "picture":
            object.__setattr__(self, "plan", WHOLE)

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


def enhancement(given: bool | Enhancement, size: tuple[int, int]) -> Enhancement | None:
    """True: with the published settings in proportion to a picture of `size` (H, W); False: none."""
    if isinstance(given, Enhancement):
        given.corners(size)  # raises if it does not fit
        return given
    if not isinstance(given, bool):
        raise TypeError(f"enhance must be True, False or an Enhancement(window=…, stride=…); got {given!r}")
    return Enhancement.scaled(size) if given else None


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


def check_gradients(method: Method, classifier: Classifier) -> None:
    """Raise a ValueError if the method needs gradients and the network, quantised, has none."""
    layer = quantised(classifier.module) if "gradients" in method.needs else None
    if layer is not None:
        raise ValueError(
            f"{classifier.name} is quantised ({layer!r}), and quantised layers have no gradients, which {method.title} "
            f"needs; explain the network as it was before, or take a method that asks for none, such as 'rise'"
        )


def why_flat(method: Method, target: Any, score: float) -> str:
    """Why a map that ran the network is the same everywhere, as far as that is known."""
    if callable(target) and score <= 0:
        return (
            f"flat: {method.title} keeps what is above 0, and the score that the target callable returns, {score:.3g}, "
            f"is not; let it return a positive one, such as a probability"
        )
    return f"flat: {method.title} is the same everywhere"


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
    return fused(how, request, maps_of(how, request, names))


def fused(how: Recipe, request: Request, maps: dict[str, np.ndarray]) -> np.ndarray:
    """Raw maps to one map, H×W float32 in [0, 1]."""
    return fuse(maps, request.size, how.plan, list(request.classifier.stages) or list(maps))


def each_map(how: Recipe, request: Request, names: list[str], make: Make, total: int, take: Take) -> None:
    """`take(i, map, score)` for every of `total` inputs `make(start, stop)`: its fused map and the target's score.

    Evidence is captured batch by batch; methods that run the network themselves follow one another. Input 0 must have
    a map; another one of which the method has none to give (`Unexplained`) has a map of zeros.
    """
    if how.method.kind == "evidence":
        _each_from_evidence(how, request, names, make, total, take)
        return
    scores = request.at(passes=request.passes.step(0, total + 1)).scores_of(make, total)
    for i in range(total):
        one = request.at(x=make(i, i + 1), passes=request.passes.step(i + 1, total + 1))
        try:
            values = fused_map(how, one, names)
        except Unexplained:
            if i == 0:
                raise
            values = np.zeros(request.size, np.float32)
        take(i, values, float(scores[i]))


def _each_from_evidence(
    how: Recipe, request: Request, names: list[str], make: Make, total: int, take: Take
) -> None:  # fmt: skip
    classifier, passes = request.classifier, request.passes
    taps = list(classifier.taps.values())
    first = min((taps.index(tap) for tap in classifier.select(names).values() if tap in taps), default=0)
    kept = sum(tap.channels * tap.size[0] * tap.size[1] for tap in taps[first:])  # what the graph holds

    def run(start: int, stop: int) -> None:
        evidence = capture(classifier, make(start, stop), request.target, names)
        scores = request.score(evidence.logits).tolist()
        found = [
            fused(how, request, stage_maps(evidence[i], how.method, how.gradient, names, how.plan))
            for i in range(len(evidence))
        ]
        passes.counts.forward += stop - start
        passes.counts.backward += stop - start
        for i, (values, score) in enumerate(zip(found, scores, strict=True), start):
            take(i, values, score)
        passes.report(stop, total)

    passes.batches(total, lambda: passes.fitting(classifier, request.x, kept), run)


def _raw(method: Method, values: Tensor) -> np.ndarray:
    if not isinstance(values, Tensor) or values.ndim != 2:
        got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(f"{method.title} must return an h×w tensor; it returned {got}")
    if not torch.isfinite(values).all():
        raise ValueError(f"{method.title} returned NaN or infinity for this picture")
    return np.ascontiguousarray(values.detach().float().clamp(min=0).cpu().numpy())
