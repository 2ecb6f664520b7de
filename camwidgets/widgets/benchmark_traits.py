"""The benchmark's traits: what travels between Python and the front end, and what is valid."""

from __future__ import annotations

import threading
from typing import Any

import traitlets as t
from anywidget import AnyWidget

from ..errors import choose, unknown
from ..evaluation.measure import find_measure, measures
from ..evaluation.plan import BASELINES, TARGETS
from ..evaluation.runner import ENGINES
from ..maps.catalogue import methods as catalogue
from .sources import Networks
from .subject import BadValue, failure

METHODS = ("gradcam", "layercam", "centre", "random")
TESTS = ("insertion-deletion", "energy", "pointing")
ASKED = (
    "network", "data", "methods", "enhanced", "tests", "parameters", "limit", "target", "seed", "fit", "mosaics",
    "engine", "workers",
)  # fmt: skip
FITS = ("squash", "crop")
OPTIONS = (*ASKED[2:],)
WORLDS = {"toyworld": "toy world (painted, built in)", "textures": "textures with defects (painted, built in)"}


class BenchmarkTraits(AnyWidget):
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

    _status: t.Dict[str, Any] = t.Dict({"state": "idle"}).tag(sync=True)
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
        self._lock = threading.RLock()
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
        try:
            return {name: find_measure(name).check(dict(given)) for name, given in proposal.value.items()}
        except (ValueError, TypeError) as error:
            raise BadValue(str(error)) from None

    @t.validate("target", "fit", "engine")
    def _known_word(self, proposal: Any) -> str:
        name = proposal.trait.name
        try:
            choose(name, proposal.value, {"target": TARGETS, "fit": FITS, "engine": ENGINES}[name])
        except ValueError as error:
            raise BadValue(str(error)) from None
        return str(proposal.value)

    @t.validate("limit", "seed", "mosaics", "workers")
    def _whole_number(self, proposal: Any) -> int | None:
        name, value = proposal.trait.name, proposal.value
        least = 0 if name == "seed" else 1
        if value is not None and value < least:
            all_of = {"limit": " (None: every picture)", "mosaics": " (None: the pictures as they are)"}.get(name, "")
            raise BadValue(f"{name} is a whole number from {least} up{all_of}; got {value!r}")
        return None if value is None else int(value)

    # ------------------------------------------------------------------ what is said

    @property
    def error(self) -> str | None:
        """What went wrong with the newest request, in one sentence, or None."""
        return self._status["text"] if self._status["state"] == "error" else None

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """A change from the front end, apart from what the workers write; what is not valid is said, not raised."""
        try:
            with self._lock:
                super().set_state(sync_data)
        except t.TraitError as error:
            self._fail(error)
            self.send_state(list(sync_data))

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self._status = failure(error)

    def _say(self, text: str) -> None:
        """A word on what was done."""
        with self._lock:
            self._status = {"state": "told", "text": text}

    def _rest(self) -> None:
        """Nothing works any more; what was told and what went wrong stays."""
        with self._lock:
            if self._status["state"] == "working":
                self._status = {"state": "idle"}

    def _hear(self, _: Any, content: dict[str, Any], buffers: list[Any]) -> None:
        try:
            self._act(content)
        except Exception as error:  # noqa: BLE001 - JupyterLab hides errors in callbacks; the widget shows them
            self._fail(error)

    def _act(self, content: dict[str, Any]) -> None:
        """What a message from the front end asks for."""
        raise NotImplementedError


def _known(kind: str, given: list[str], known: list[str]) -> list[str]:
    for name in given:
        if name not in known:
            raise BadValue(str(unknown(kind, name, known)))
    return list(dict.fromkeys(given))
