"""The explorer's traits: what travels between Python and the front end, and what is valid."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import traitlets as t

from ...errors import unknown
from ...figures.colour import SEQUENTIAL
from ...figures.overlay import BLENDS
from ...maps.catalogue import find_evidence
from ...maps.fusion import PRESETS, REDUCTIONS, SCALES
from ...maps.gradient import SIGNS
from ..speaking import BadValue, checked, fraction
from ..subject import Subject

REQUESTS = ("picture", "network", "target", "method")
VIEW = (
    *("stages", "gradient", "gamma", "scale", "reduce", "preset"),
    *("opacity", "blend", "colormap", "threshold", "contour", "box"),
)
DEFAULTS: dict[str, dict[str, Any]] = {
    "what": {"target": None},
    "where": {"method": "layercam", "stages": None, "channel_stage": "", "channel_rank": 0},
    "how": {"gradient": None, "gamma": 2.0, "scale": "tanh", "reduce": "max", "preset": None},
    "show": {
        "opacity": 0.8,
        "blend": "by value",
        "colormap": "inferno",
        "threshold": 0.15,
        "contour": False,
        "box": False,
    },
}
_CHOICES: dict[str, tuple[str, Iterable[str]]] = {
    "gradient": ("gradient handling", SIGNS),
    "scale": ("scale", SCALES),
    "reduce": ("reduction", REDUCTIONS),
    "preset": ("preset", PRESETS),
    "blend": ("blend", BLENDS),
    "colormap": ("colour table", SEQUENTIAL),
}


class ExplorerTraits(Subject):
    """State of a `CamExplorer`. Public traits may be set from Python and from the controls alike.

    What is shown: `picture` (a key of `explorer.pictures`, or a path), `network`, `target` (class index or label;
    None = the top class), `method`. How: `stages`, `gradient`, `gamma`, `scale`, `reduce`, `preset`, `opacity` (0 … 1),
    `blend` ("even", "by value"), `colormap`, `threshold` (share of the maximum), `contour`, `box`, `channel_stage`
    ("" = all channels) and `channel_rank` (0 = the channel that contributes most). Read only: `code`, `reason`.
    """

    method = t.Unicode("layercam").tag(sync=True)

    stages = t.List(t.Unicode()).tag(sync=True)
    gradient = t.Unicode("positive").tag(sync=True)
    gamma = t.Float(2.0).tag(sync=True)
    scale = t.Unicode("tanh").tag(sync=True)
    reduce = t.Unicode("max").tag(sync=True)
    preset = t.Unicode(None, allow_none=True).tag(sync=True)
    opacity = t.Float(0.8).tag(sync=True)
    blend = t.Unicode("by value").tag(sync=True)
    colormap = t.Unicode("inferno").tag(sync=True)
    threshold = t.Float(0.15).tag(sync=True)
    contour = t.Bool(False).tag(sync=True)
    box = t.Bool(False).tag(sync=True)
    channel_stage = t.Unicode("").tag(sync=True)
    channel_rank = t.Int(0, min=0).tag(sync=True)

    code = t.Unicode("").tag(sync=True)
    reason = t.Unicode("").tag(sync=True)

    _maps = t.Bytes(b"").tag(sync=True)
    _channel = t.Dict().tag(sync=True)
    _channel_map = t.Bytes(b"").tag(sync=True)
    _methods: t.List[Any] = t.List().tag(sync=True)
    _presets = t.Dict().tag(sync=True)
    _defaults = t.Dict(DEFAULTS).tag(sync=True)

    @t.validate(*_CHOICES)
    def _one_of(self, proposal: Any) -> str | None:
        kind, valid = _CHOICES[proposal.trait.name]
        if proposal.value is not None and proposal.value not in valid:
            raise BadValue(str(unknown(kind, proposal.value, valid)))
        return proposal.value

    @t.validate("method")
    def _method_name(self, proposal: Any) -> str:
        with checked():
            return find_evidence(proposal.value).name

    @t.validate("gamma")
    def _positive(self, proposal: Any) -> float:
        if not math.isfinite(proposal.value) or proposal.value <= 0:
            raise BadValue(f"gamma must be a finite number above 0 (the paper uses 2); got {proposal.value!r}")
        return float(proposal.value)

    @t.validate("opacity", "threshold")
    def _share(self, proposal: Any) -> float:
        return fraction(proposal)
