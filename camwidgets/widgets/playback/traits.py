"""The playback's traits: what travels between Python and the front end, and what is valid."""

from __future__ import annotations

from typing import Any

import traitlets as t

from ...errors import choose, unknown
from ...figures.colour import SEQUENTIAL
from ...figures.overlay import BLENDS
from ..scene import palettes
from ..speaking import BadValue, Speaking, checked, fraction

SCALES = ("fixed", "own")
AGAINST = ("since", "other")
VIEW = ("epoch", "picture", "label", "layers", "outline", "opacity", "blend", "colormap", "scale", "curves", "speed",
        "since", "against")  # fmt: skip
OPTIONS = (*VIEW, "follow")
LOOK: dict[str, Any] = {
    "layers": None,
    "outline": True,
    "opacity": 0.85,
    "blend": "even",
    "colormap": "inferno",
    "scale": "fixed",
}
SPEEDS = (0.25, 60.0)  # epochs a second
_CHOICES: dict[str, tuple[str, tuple[str, ...]]] = {
    "blend": ("blend", BLENDS),
    "colormap": ("colour table", SEQUENTIAL),
    "scale": ("scale", SCALES),
    "against": ("comparison", AGAINST),
}


class PlaybackTraits(Speaking):
    """State of a `Playback`. Public traits may be set from Python and from the controls alike.

    What: `epoch` (0 = before training), `picture` (id of a watched one), `label` (a class in it). Shown: `layers` (of
    "picture", "current", "cumulative", "dropped" … what the run kept), `outline` of the true mask, `opacity` (0 … 1),
    `blend`, `colormap`, `scale` ("fixed": one for all epochs; "own": each map by its maximum), `curves` (columns
    of the table of metrics). `speed`: epochs a second while it plays. The tree: `since` (the epoch before), `against`
    ("since", or "other": the other run at the same epoch). `follow`: look for new epochs, each second. Read only:
    `code`.
    """

    epoch = t.Int(0).tag(sync=True)
    picture = t.Unicode("").tag(sync=True)
    label = t.Unicode("").tag(sync=True)
    layers = t.List(t.Unicode()).tag(sync=True)
    outline = t.Bool(True).tag(sync=True)
    opacity = t.Float(0.85).tag(sync=True)
    blend = t.Unicode("even").tag(sync=True)
    colormap = t.Unicode("inferno").tag(sync=True)
    scale = t.Unicode("fixed").tag(sync=True)
    curves = t.List(t.Unicode()).tag(sync=True)
    speed = t.Float(4.0).tag(sync=True)
    since = t.Int(0).tag(sync=True)
    against = t.Unicode("since").tag(sync=True)
    follow = t.Bool(False).tag(sync=True)
    code = t.Unicode("").tag(sync=True)

    _runs: t.List[Any] = t.List().tag(sync=True)
    _epochs: t.List[Any] = t.List().tag(sync=True)
    _weights: t.List[Any] = t.List().tag(sync=True)
    _pictures: t.List[Any] = t.List().tag(sync=True)
    _picture_bytes = t.Bytes(b"").tag(sync=True)
    _mask_bytes = t.Bytes(b"").tag(sync=True)
    _reels: t.List[Any] = t.List().tag(sync=True)
    _maps0 = t.Bytes(b"").tag(sync=True)
    _maps1 = t.Bytes(b"").tag(sync=True)
    _tree: t.Dict[str, Any] = t.Dict({"state": "none"}).tag(sync=True)
    _note = t.Unicode("").tag(sync=True)
    _defaults: t.Dict[str, Any] = t.Dict().tag(sync=True)
    _palettes: t.List[Any] = t.List().tag(sync=True)
    _palette_bytes = t.Bytes(b"").tag(sync=True)
    _still = t.Bool(False).tag(sync=True)

    _stays = "What was read before stays on screen."

    def __init__(self, **traits: Any) -> None:
        self._ready = False
        super().__init__(**palettes(), **traits)

    # ------------------------------------------------------------------ what may be asked

    @t.validate(*_CHOICES)
    def _one_of(self, proposal: Any) -> str:
        kind, valid = _CHOICES[proposal.trait.name]
        if proposal.value not in valid:
            raise BadValue(str(unknown(kind, proposal.value, valid)))
        if proposal.value == "other" and len(self._runs) == 1:
            raise BadValue("there is no other run to compare with; give one: Playback(run, other=…)")
        return str(proposal.value)

    @t.validate("opacity")
    def _share(self, proposal: Any) -> float:
        return fraction(proposal)

    @t.validate("speed")
    def _pace(self, proposal: Any) -> float:
        if not SPEEDS[0] <= proposal.value <= SPEEDS[1]:
            raise BadValue(f"speed is in epochs a second, {SPEEDS[0]} … {SPEEDS[1]:g}; got {proposal.value!r}")
        return float(proposal.value)

    @t.validate("epoch", "since")
    def _kept_epoch(self, proposal: Any) -> int:
        known = self._epochs if proposal.trait.name == "epoch" else self._weights
        if self._ready and known and proposal.value not in known:
            what = "maps" if proposal.trait.name == "epoch" else "weights"
            raise BadValue(f"no {what} were kept for epoch {proposal.value!r}; valid: {', '.join(map(str, known))}")
        return int(proposal.value)

    @t.validate("picture")
    def _watched(self, proposal: Any) -> str:
        if self._ready and self._pictures:
            _known("watched picture", proposal.value, [one["id"] for one in self._pictures])
        return str(proposal.value)

    @t.validate("label")
    def _in_picture(self, proposal: Any) -> str:
        names = self._labels()
        if self._ready and names:
            _known(f"class of the picture {self.picture!r}", proposal.value, names)
        return str(proposal.value)

    @t.validate("layers", "curves")
    def _offered(self, proposal: Any) -> list[str]:
        known = self._known(proposal.trait.name)
        for name in proposal.value if self._ready and known else ():
            _known("layer" if proposal.trait.name == "layers" else "metric", name, known)
        return [name for name in known if name in proposal.value] if known else list(proposal.value)

    def _labels(self) -> list[str]:
        """The classes of the picture that is shown."""
        found = [one for one in self._pictures if one["id"] == self.picture]
        return [str(c["label"]) for one in found for c in one["classes"]]

    def _known(self, name: str) -> list[str]:
        """What `layers` and `curves` may hold."""
        return list(dict.fromkeys(value for run in self._runs for value in run[name]))


def _known(kind: str, name: str, valid: list[str]) -> None:
    with checked():
        choose(kind, name, valid)
