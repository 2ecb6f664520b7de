"""The comparison's traits: what travels between Python and the front end, and what is valid."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import traitlets as t

from ...errors import unknown
from ...figures.colour import SEQUENTIAL
from ...figures.overlay import BLENDS
from ..speaking import BadValue, fraction
from ..subject import Subject

RESTS = ("dim", "blur")
VIEW = ("opacity", "blend", "colormap", "cut", "share", "rest", "zoom", "centre", "columns")
DEFAULTS: dict[str, dict[str, Any]] = {
    "what": {"target": None},
    "show": {"opacity": 0.8, "blend": "by value", "colormap": "inferno", "columns": 3},
    "cut": {"cut": False, "share": 0.2, "rest": "dim"},
    "zoom": {"zoom": 1.0, "centre": [0.5, 0.5]},
}
_CHOICES: dict[str, tuple[str, Iterable[str]]] = {
    "blend": ("blend", BLENDS),
    "colormap": ("colour table", SEQUENTIAL),
    "rest": ("rest of a cut-out", RESTS),
}


class ComparisonTraits(Subject):
    """State of a `MethodComparison`. Public traits may be set from Python and from the controls alike.

    What is shown: `picture`, `network`, `target` (see `Subject`), `enhanced` (every map beside its enhanced self).
    How: `opacity` (0 … 1), `blend` ("even", "by value"), `colormap`; `cut` (keep only the strongest pixels), `share`
    (0.01 … 1: how many of them), `rest` ("dim", "blur"); `zoom` (1 … 16), `centre` ([x, y] in 0 … 1 of the picture),
    `columns` (2, 3 or 4 maps in a row). `patience`: seconds that a map may take before the comparison asks.
    `steps`: of insertion and deletion curves; None = 112. Read only: `code`.
    """

    enhanced = t.Bool(False).tag(sync=True)
    opacity = t.Float(0.8).tag(sync=True)
    blend = t.Unicode("by value").tag(sync=True)
    colormap = t.Unicode("inferno").tag(sync=True)
    cut = t.Bool(False).tag(sync=True)
    share = t.Float(0.2).tag(sync=True)
    rest = t.Unicode("dim").tag(sync=True)
    zoom = t.Float(1.0).tag(sync=True)
    centre = t.List(t.Float(), default_value=[0.5, 0.5], minlen=2, maxlen=2).tag(sync=True)
    columns = t.Int(3).tag(sync=True)
    patience = t.Float(60.0)
    steps = t.Int(None, allow_none=True)
    code = t.Unicode("").tag(sync=True)

    _cells: t.List[Any] = t.List().tag(sync=True)
    _codes = t.Dict().tag(sync=True)
    _progress = t.Dict().tag(sync=True)
    _methods: t.List[Any] = t.List().tag(sync=True)
    _defaults = t.Dict(DEFAULTS).tag(sync=True)

    @t.validate(*_CHOICES)
    def _one_of(self, proposal: Any) -> str:
        kind, valid = _CHOICES[proposal.trait.name]
        if proposal.value not in valid:
            raise BadValue(str(unknown(kind, proposal.value, valid)))
        return str(proposal.value)

    @t.validate("opacity", "share")
    def _part(self, proposal: Any) -> float:
        return fraction(proposal, 0.01 if proposal.trait.name == "share" else 0.0)

    @t.validate("zoom")
    def _zoom_range(self, proposal: Any) -> float:
        if not 1 <= proposal.value <= 16:
            raise BadValue(f"zoom must lie in 1 … 16; got {proposal.value!r}")
        return float(proposal.value)

    @t.validate("centre")
    def _inside(self, proposal: Any) -> list[float]:
        if not all(0 <= value <= 1 for value in proposal.value):
            raise BadValue(f"centre is [x, y], each in 0 … 1 of the picture; got {proposal.value!r}")
        return list(proposal.value)

    @t.validate("columns")
    def _few(self, proposal: Any) -> int:
        if proposal.value not in (2, 3, 4):
            raise BadValue(f"columns must be 2, 3 or 4; got {proposal.value!r}")
        return int(proposal.value)

    @t.validate("patience")
    def _long(self, proposal: Any) -> float:
        if math.isnan(proposal.value) or proposal.value <= 0:
            raise BadValue(f"patience is a number of seconds above 0 (inf: never ask); got {proposal.value!r}")
        return float(proposal.value)
