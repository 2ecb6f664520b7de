"""The adversarial explorer's traits: what travels between Python and the front end, and what is valid."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import traitlets as t

from ...errors import unknown
from ...figures.colour import SEQUENTIAL
from ...investigate.attacks import METHODS, NORMS
from ...investigate.rival import CHOSEN
from ..speaking import BadValue, fraction
from ..subject import Subject

# What a sweep is made of: when one of these changes, the sweep on screen is stale.
SETTINGS = (
    "picture", "network", "attack", "norm", "epsilons", "steps", "seed", "targeted", "target", "stage", "top", "depth",
)  # fmt: skip
CLASSES = ("true", "wrong", "top")
VIEW = ("index", "maps_of", "chosen", "channel", "opacity", "colormap")
STRONGEST = {"linf": 8 / 255, "l2": 2.0}
MOST = 24  # ε of a sweep: each is kept as two pictures
USUAL: dict[str, Any] = {"count": 8, "steps": 10, "seed": 0, "top": 4, "depth": 2}
_RANGES = {"count": (1, MOST), "steps": (1, 1000), "top": (1, 8), "depth": (0, 3)}
_CHOICES: dict[str, tuple[str, tuple[str, ...]]] = {
    "norm": ("norm", NORMS),
    "maps_of": ("class of the maps", CLASSES),
    "chosen": ("choice of channels", CHOSEN),
    "colormap": ("colour table", tuple(SEQUENTIAL)),
}


def spread(strongest: float, count: int, norm: str) -> list[float]:
    """`count` ε up to `strongest`, close together where they are small: ε_i = ε (i / n)².

    Rounded to two decimals of 1/255 (L2: three), and to more where these would not tell the least ones apart.

    Example:
        >>> [round(255 * e, 2) for e in spread(8 / 255, 4, "linf")]
        [0.5, 2.0, 4.5, 8.0]
    """
    unit, usual = (255, 2) if norm == "linf" else (1, 3)
    least = max(unit * strongest / count**2, 1e-300)
    digits = max(usual, 1 - math.floor(math.log10(least)))  # two of the least one's own
    return [*(round(unit * strongest * (i / count) ** 2, digits) / unit for i in range(1, count)), strongest]


class AdversarialTraits(Subject):
    """State of an `AdversarialExplorer`. Public traits may be set from Python and from the controls alike.

    What is attacked: `picture`, `network` (see `Subject`). How: `attack` ("pgd", "fgsm", or the name of one of one's
    own), `norm` ("linf", "l2"), `epsilons` (list, in units of the full pixel range; setting `strongest` and `count`
    makes it anew, and another `norm` sets its usual ones), `steps`, `seed`, `targeted` (towards `target`; otherwise
    away from it, None = the top class). What is followed: `stage` ("" = the deepest), `top` channels, `depth` of the
    trees (0 = none). None of these is acted on before `run()`.
    How it is looked at: `index` (number of the ε on screen, 0 = clean), `maps_of` ("true", "wrong", "top"), `chosen`
    ("clean", "attacked": the picture in which the wrong class' channels are looked for), `channel` ("" or "S5 #112"),
    `opacity` (0 … 1), `colormap`. Read only: `code`.
    """

    attack = t.Unicode("pgd").tag(sync=True)
    norm = t.Unicode("linf").tag(sync=True)
    strongest = t.Float(STRONGEST["linf"]).tag(sync=True)
    count = t.Int(USUAL["count"]).tag(sync=True)
    epsilons = t.List(t.Float(), default_value=spread(STRONGEST["linf"], USUAL["count"], "linf")).tag(sync=True)
    steps = t.Int(USUAL["steps"]).tag(sync=True)
    seed = t.Int(0, min=0).tag(sync=True)
    targeted = t.Bool(False).tag(sync=True)
    stage = t.Unicode("").tag(sync=True)
    top = t.Int(USUAL["top"]).tag(sync=True)
    depth = t.Int(USUAL["depth"]).tag(sync=True)

    index = t.Int(0, min=0).tag(sync=True)
    maps_of = t.Unicode("true").tag(sync=True)
    chosen = t.Unicode("attacked").tag(sync=True)
    channel = t.Unicode("").tag(sync=True)
    opacity = t.Float(0.8).tag(sync=True)
    colormap = t.Unicode("inferno").tag(sync=True)
    code = t.Unicode("").tag(sync=True)

    _attacks: t.List[Any] = t.List().tag(sync=True)
    _progress = t.Dict({"state": "idle"}).tag(sync=True)
    _sweep = t.Dict().tag(sync=True)
    _attacked = t.Bytes(b"").tag(sync=True)
    _noise = t.Bytes(b"").tag(sync=True)
    _maps = t.Bytes(b"").tag(sync=True)
    _responses = t.Bytes(b"").tag(sync=True)
    _settings = t.List(list(SETTINGS)).tag(sync=True)

    _tied = False  # of ε in two ways, one is being made from the other, and asks for nothing
    _meant = "linf"  # the norm that ε were last given in
    own: Mapping[str, Callable[..., Any]] = {}

    @t.validate(*_CHOICES)
    def _one_of(self, proposal: Any) -> str:
        kind, valid = _CHOICES[proposal.trait.name]
        if proposal.value not in valid:
            raise BadValue(str(unknown(kind, proposal.value, valid)))
        return str(proposal.value)

    @t.validate("attack")
    def _known_attack(self, proposal: Any) -> str:
        if proposal.value not in (*METHODS, *self.own):
            raise BadValue(str(unknown("attack", proposal.value, (*METHODS, *self.own))))
        return str(proposal.value)

    @t.validate(*_RANGES)
    def _whole(self, proposal: Any) -> int:
        low, high = _RANGES[proposal.trait.name]
        if not low <= proposal.value <= high:
            raise BadValue(f"{proposal.trait.name} is a whole number, {low} … {high}; got {proposal.value!r}")
        return int(proposal.value)

    @t.validate("strongest")
    def _radius(self, proposal: Any) -> float:
        """The largest L2 norm depends on the picture: the attack itself refuses what is beyond it."""
        most = 1.0 if self.norm == "linf" else math.inf
        if not (math.isfinite(proposal.value) and 0 < proposal.value <= most):
            limit = "1 (= 255/255)" if self.norm == "linf" else "what the picture's size allows"
            raise BadValue(
                f"ε is a number above 0 and up to {limit}, in units of the full pixel range; got {proposal.value!r}"
            )
        self._meant = self.norm
        return float(proposal.value)

    @t.validate("epsilons")
    def _radii(self, proposal: Any) -> list[float]:
        values = sorted(set(map(float, proposal.value)) - {0.0})
        most = 1.0 if self.norm == "linf" else math.inf
        wrong = [e for e in values if not (math.isfinite(e) and 0 < e <= most)]
        if wrong:
            raise BadValue(f"each ε is a number from 0 to 1 in units of the full pixel range; got {wrong[0]!r}")
        if not 1 <= len(values) <= MOST:
            raise BadValue(f"a sweep takes 1 … {MOST} ε above 0; got {len(values)}")
        self._meant = self.norm
        return values

    @t.validate("opacity")
    def _part(self, proposal: Any) -> float:
        return fraction(proposal)

    @t.validate("index")
    def _shown_one(self, proposal: Any) -> int:
        most = max(0, len(self._sweep.get("frames", ())) - 1)
        return min(int(proposal.value), most)

    # ------------------------------------------------------------------ ε in two ways

    @t.observe("norm")
    def _other_norm(self, _: Any) -> None:
        if self._meant == self.norm:
            return  # ε came in one message with the norm
        self.strongest = STRONGEST[self.norm]
        self._respread(None)

    @t.observe("strongest", "count")
    def _respread(self, _: Any) -> None:
        """What was asked for stays as it was given, whatever the ε are that come of it."""
        if not self._tied:
            with self._tie():
                self.epsilons = spread(self.strongest, self.count, self.norm)

    @t.observe("epsilons")
    def _measured(self, _: Any) -> None:
        if not self._tied:
            with self._tie():
                self.strongest, self.count = self.epsilons[-1], len(self.epsilons)

    @contextmanager
    def _tie(self) -> Iterator[None]:
        self._tied = True
        try:
            yield
        finally:
            self._tied = False
