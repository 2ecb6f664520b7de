r"""Fusing the maps of several stages into one ([000] 3.9; Jiang et al., "LayerCAM", eq. 9).

A `Plan` says all of it; `fuse` carries it out. The explorer's browser code carries out the same plans (it is sent
`PRESETS` as JSON) and a test holds it to this file within 1/255.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from numbers import Real
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import choose, unknown

Scale = Literal["tanh", "none", "cbrt", "tan"]
Reduce = Literal["max", "mean", "product"]
SCALES = ("tanh", "none", "cbrt", "tan")
REDUCTIONS = ("max", "mean", "product")
DEEP = 2  # the two deepest stages of a network are never scaled by the paper


@dataclass(frozen=True)
class Plan:
    """How stage maps M become one map, step by step.

    1. `at` "input": M is upsampled (bilinear, half-pixel centres unless `align_corners`) to the input before step 2;
       "native": after it.
    2. `normalise` "max": x = M / (max M + `epsilon`); "minmax": x = (M − min M) / (max M − min M + `epsilon`). Flat
       maps give 0.
    3. Stages that are `scaled` ("shallow" = all but the network's two deepest; "all" = every stage, if more than one
       takes part; "none") pass the `scale`: tanh(γx), ∛x, tan(x), or none.
    4. `reduce` over stages, position by position: max, mean, product.
    5. `gate` p > 0: the deepest stage that takes part is left out of 4 and instead, in its *signed* form, multiplies
       the result: reduce(others)^`body` · gate^p.
    6. `final` "minmax": stretched to 0 … 1; "max": divided by its maximum. In any case divided by its maximum if that
       exceeds 1 (tan).

    `ungridded` takes stage maps made from the next layer's upsampled gradient (see `maps.gradient.ungridded`).
    """

    name: str = "paper"
    gamma: float = 2.0
    scale: Scale = "tanh"
    scaled: Literal["shallow", "all", "none"] = "shallow"
    normalise: Literal["max", "minmax"] = "max"
    at: Literal["input", "native"] = "input"
    reduce: Reduce = "max"
    final: Literal["none", "minmax", "max"] = "none"
    epsilon: float = 0.0
    align_corners: bool = False
    ungridded: bool = False
    gate: float = 0.0
    body: float = 1.0

    def __post_init__(self) -> None:
        choose("scale", self.scale, SCALES)
        choose("reduction", self.reduce, REDUCTIONS)
        choose("choice of stages to scale", self.scaled, ("shallow", "all", "none"))
        choose("normalisation", self.normalise, ("max", "minmax"))
        choose("place of normalisation", self.at, ("input", "native"))
        choose("final normalisation", self.final, ("none", "minmax", "max"))
        gamma: Any = self.gamma
        if isinstance(gamma, bool) or not isinstance(gamma, Real) or not math.isfinite(gamma) or gamma <= 0:
            raise ValueError(f"gamma must be a finite number above 0 (the paper uses 2); got {gamma!r}")
        object.__setattr__(self, "gamma", float(gamma))  # a NumPy number would not go into JSON

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


PRESETS: dict[str, Plan] = {
    plan.name: plan
    for plan in (
        Plan("paper"),
        Plan("official-script", scale="none", scaled="none", align_corners=True, ungridded=True),
        Plan("torchcam", scaled="all", normalise="minmax", at="native", epsilon=1e-8),
        Plan(
            "pytorch-grad-cam", scale="none", scaled="none", normalise="minmax", at="native", reduce="mean",
            final="minmax", epsilon=1e-7,
        ),
        # Our own: see benchmarks/localisation.py for what it was chosen on.
        Plan("gated", scale="none", scaled="none", reduce="mean", final="max", gate=1.5, body=0.5),
    )
}  # fmt: skip


def make_plan(gamma: float = 2.0, scale: str = "tanh", reduce: str = "max", preset: str | None = None) -> Plan:
    """The plan of a preset (γ applies where the preset scales by tanh), or the paper's with other settings."""
    custom = Plan("custom", gamma=gamma, scale=scale, reduce=reduce)  # type: ignore[arg-type]
    if preset is not None:
        if preset not in PRESETS:
            raise unknown("preset", preset, PRESETS)
        return replace(PRESETS[preset], gamma=gamma)
    paper = replace(PRESETS["paper"], gamma=gamma)
    return paper if replace(custom, name="paper") == paper else custom


def shallow_stages(network: Mapping[str, Any] | list[str]) -> set[str]:
    """The stages that the paper calls shallow: all of the network's but its two deepest."""
    return set(list(network)[:-DEEP])


def gate_stage(stages: list[str], plan: Plan) -> str | None:
    """The stage whose signed map is the gate, if the plan has one and more than one stage takes part."""
    return stages[-1] if plan.gate > 0 and len(stages) > 1 else None


def fuse(
    stage_maps: Mapping[str, np.ndarray], size: tuple[int, int], plan: Plan, network: list[str] | None = None
) -> np.ndarray:
    """Fuse raw stage maps (stage → h×w, ≥ 0, shallow to deep) into one map of `size` (H, W), float32 in [0, 1].

    `network` lists all stages of the network (to tell which are shallow); by default those of `stage_maps`. For a plan
    with a gate the deepest map is to be the signed one.

    Example:
        >>> maps = {"S4": np.array([[0.0, 1.0]], np.float32), "S5": np.array([[2.0, 0.0]], np.float32)}
        >>> fuse(maps, (1, 2), PRESETS["paper"])
        array([[1., 1.]], dtype=float32)
    """
    if not stage_maps:
        raise ValueError("no stage was given to fuse")
    stages = list(stage_maps)
    shallow = shallow_stages(network or stages)
    gate = gate_stage(stages, plan)
    layers = [_layer(stage_maps[s], size, plan, s in shallow, len(stages)) for s in stages if s != gate]
    fused = _reduce(torch.stack(layers), plan.reduce)
    if gate is not None:
        fused = fused**plan.body * _layer(stage_maps[gate], size, plan, False, 1) ** plan.gate
    if plan.final != "none":
        fused = _normalised(fused, plan.final, plan.epsilon)
    top = float(fused.max())
    return (fused / top if top > 1 else fused).numpy()


def _layer(values: np.ndarray, size: tuple[int, int], plan: Plan, shallow: bool, count: int) -> Tensor:
    """Steps 1–3 for one stage."""
    m = torch.as_tensor(np.asarray(values, np.float32))
    m = m if plan.at == "native" else upsample(m, size, plan.align_corners)
    m = _normalised(m, plan.normalise, plan.epsilon)
    if (plan.scaled == "shallow" and shallow) or (plan.scaled == "all" and count > 1):
        m = _scaled(m, plan)
    return upsample(m, size, plan.align_corners) if plan.at == "native" else m


def upsample(m: Tensor, size: tuple[int, int], align_corners: bool = False) -> Tensor:
    """Bilinear interpolation of an h×w map to `size`."""
    return F.interpolate(m[None, None], size, mode="bilinear", align_corners=align_corners)[0, 0]


def _normalised(m: Tensor, how: str, epsilon: float) -> Tensor:
    m = m - m.min() if how == "minmax" else m
    top = m.max() + epsilon
    return m / top if float(top) > 0 else torch.zeros_like(m)


def _scaled(x: Tensor, plan: Plan) -> Tensor:
    if plan.scale == "tanh":
        return torch.tanh(plan.gamma * x)
    if plan.scale == "cbrt":
        return x.pow(1 / 3)
    return torch.tan(x) if plan.scale == "tan" else x


def _reduce(layers: Tensor, how: str) -> Tensor:
    if how == "max":
        return layers.amax(0)
    return layers.mean(0) if how == "mean" else layers.prod(0)
