"""The benchmark's traits: what travels between Python and the front end, and what is valid."""

from __future__ import annotations

from typing import Any

import traitlets as t

from ...errors import choose, unknown
from ...evaluation.measure import find_measure, measures
from ...evaluation.plan import BASELINES, TARGETS
from ...evaluation.runner import ENGINES
from ...maps.catalogue import methods as catalogue
from ..sources import Networks
from ..speaking import BadValue, Speaking, checked

METHODS = ("gradcam", "layercam", "centre", "random")
TESTS = ("insertion-deletion", "energy", "pointing")
ASKED = (
    "network", "data", "methods", "enhanced", "tests", "parameters", "limit", "target", "seed", "fit", "mosaics",
    "engine", "workers",
)  # fmt: skip
FITS = ("squash", "crop")
OPTIONS = (*ASKED[2:],)
WORLDS = {"toyworld": "toy world (painted, built in)", "textures": "textures with defects (painted, built in)"}


class BenchmarkTraits(Speaking):
    """State of a `Benchmark`. Public traits may be set from Python and from the controls alike.

    What: `network`; `data` (a path, "toyworld", "textures", or the name of a data set that was given). By whom:
    `methods` (names of the catalogue; "centre", "whole" and "random" are baselines), `enhanced` (names whose enhanced
    maps take part too). How: `tests`, `parameters` (test → {name: value}), `limit` (pictures, drawn by chance; None =
    all), `target` ("label", "predicted"), `seed`, `fit` ("squash" shows the whole picture, "crop" its middle),
    `mosaics` (so many 2×2 mosaics of the pictures instead; None = the pictures), `engine` ("local", or "ray" with
    `workers` processes). `results`: the file that keeps every outcome; "" = until the widget is closed. Read only:
    `code`; `problem`, why this cannot run as it is asked ("" = it can).
    """

    network = t.Unicode("").tag(sync=True)
    data = t.Unicode("").tag(sync=True)
    methods = t.List(t.Unicode(), default_value=list(METHODS)).tag(sync=True)
    enhanced = t.List(t.Unicode()).tag(sync=True)
    tests = t.List(t.Unicode(), default_value=list(TESTS)).tag(sync=True)
    parameters = t.Dict().tag(sync=True)
    limit = t.Int(50, allow_none=True).tag(sync=True)
    target = t.Unicode("label").tag(sync=True)
    seed = t.Int(0).tag(sync=True)
    fit = t.Unicode("squash").tag(sync=True)
    mosaics = t.Int(None, allow_none=True).tag(sync=True)
    engine = t.Unicode("local").tag(sync=True)
    workers = t.Int(2).tag(sync=True)
    results = t.Unicode("").tag(sync=True)
    code = t.Unicode("").tag(sync=True)
    problem = t.Unicode("").tag(sync=True)

    _progress: t.Dict[str, Any] = t.Dict({"state": "idle"}).tag(sync=True)
    _networks: t.List[Any] = t.List().tag(sync=True)
    _sets: t.List[Any] = t.List().tag(sync=True)
    _methods: t.List[Any] = t.List().tag(sync=True)
    _tests: t.List[Any] = t.List().tag(sync=True)
    _found: t.Dict[str, Any] = t.Dict().tag(sync=True)
    _runs: t.List[Any] = t.List().tag(sync=True)
    _report: t.Dict[str, Any] = t.Dict().tag(sync=True)
    _pair: t.Dict[str, Any] = t.Dict().tag(sync=True)
    _change: t.Dict[str, Any] = t.Dict().tag(sync=True)

    def __init__(self, networks: Networks, **traits: Any) -> None:
        self._ready = False
        self.networks = networks
        super().__init__(**traits)

    # ------------------------------------------------------------------ what may be asked

    @t.validate("network")
    def _known_network(self, proposal: Any) -> str:
        if proposal.value not in self.networks.names():
            raise BadValue(str(unknown("network", proposal.value, self.networks.names())))
        return str(proposal.value)

    @t.validate("methods", "enhanced")
    def _known_methods(self, proposal: Any) -> list[str]:
        known = [*catalogue(), *(BASELINES if proposal.trait.name == "methods" else ())]
        return _known("method", proposal.value, known)

    @t.validate("tests")
    def _known_tests(self, proposal: Any) -> list[str]:
        return _known("test", proposal.value, list(measures()))

    @t.validate("parameters")
    def _known_parameters(self, proposal: Any) -> dict[str, dict[str, Any]]:
        with checked():
            return {name: find_measure(name).check(dict(given)) for name, given in proposal.value.items()}

    @t.validate("target", "fit", "engine")
    def _known_word(self, proposal: Any) -> str:
        name = proposal.trait.name
        with checked():
            return choose(name, proposal.value, {"target": TARGETS, "fit": FITS, "engine": ENGINES}[name])

    @t.validate("limit", "seed", "mosaics", "workers")
    def _whole_number(self, proposal: Any) -> int | None:
        name, value = proposal.trait.name, proposal.value
        least = 0 if name == "seed" else 1
        if value is not None and value < least:
            all_of = {"limit": " (None: every picture)", "mosaics": " (None: the pictures as they are)"}.get(name, "")
            raise BadValue(f"{name} is a whole number from {least} up{all_of}; got {value!r}")
        return None if value is None else int(value)


def _known(kind: str, given: list[str], known: list[str]) -> list[str]:
    for name in given:
        if name not in known:
            raise BadValue(str(unknown(kind, name, known)))
    return list(dict.fromkeys(given))
