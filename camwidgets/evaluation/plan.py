"""What an evaluation is to do: checked once, plain values, the same on every machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ..classifiers.classifier import Classifier
from ..errors import choose
from ..maps.catalogue import find, methods
from ..maps.enhance import Enhancement
from ..maps.fusion import make_plan as make_fusion
from ..maps.method import Method
from ..maps.recipe import chosen_stages, enhancement, refuse
from ..maps.stages import sign_of
from .identity import method_hash, network_hash
from .location import centre_map, random_map
from .measure import Measure, find_measure

VERSION = 2  # of what the tests compute; raised when a number would come out differently
TARGETS = ("label", "predicted")
OPTIONS = ("stages", "gradient", "gamma", "scale", "reduce", "preset", "enhance")
Methods = str | Method | Iterable[Any] | Mapping[str, Any]


def _whole(shape: tuple[int, int], seed: int) -> np.ndarray:
    return np.ones(shape, np.float32)


# Maps that know nothing of the picture: what a method must beat.
BASELINES = {
    "centre": lambda shape, seed: centre_map(shape),
    "whole": _whole,
    "random": random_map,
}


@dataclass(frozen=True)
class Spec:
    """One method as it is to be run. title: as in tables. options: keywords of `explain`, plain values.

    own: the method itself, if it is not of the catalogue.
    """

    title: str
    name: str
    options: dict[str, Any] = field(default_factory=dict)
    own: Method | None = None

    @property
    def baseline(self) -> bool:
        """Whether it is no method at all but one of `BASELINES`."""
        return self.own is None and self.name in BASELINES

    @property
    def method(self) -> Method:
        """The method itself; no baseline has one."""
        return self.own or find(self.name)

    def identity(self) -> dict[str, Any]:
        """What the map depends on; the title is not part of it."""
        own = {"own": method_hash(self.own)} if self.own else {}
        return {"method": self.name, **own, **self.options}


@dataclass(frozen=True)
class Plan:
    """What an evaluation is to do: plain values and functions of this package, and methods of one's own.

    It can be sent to another machine, unless a method of one's own cannot.

    Attributes:
        specs: the methods. measures: tests with their checked parameters. target: "label" (the data set's class) or
            "predicted" (the network's first answer). fit: how pictures are brought to the input ("squash" shows them
            whole; None: as the classifier's own preprocessing does). batch: pictures a pass. seed: of the baseline
            "random". network: hash of all that the network's answers depend on (`identity.network_hash`).
    """

    specs: tuple[Spec, ...]
    measures: tuple[tuple[str, dict[str, Any]], ...]
    target: Literal["label", "predicted"] = "label"
    fit: str | None = "squash"
    batch: int | None = None
    seed: int = 0
    network: str = ""

    @property
    def tests(self) -> list[tuple[Measure, dict[str, Any]]]:
        """The tests themselves."""
        return [(find_measure(name), parameters) for name, parameters in self.measures]

    @property
    def needs(self) -> set[str]:
        """What must be known of the pictures: "boxes", "mask"."""
        return {need for measure, _ in self.tests for need in measure.needs}

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: what the results depend on, so not the batch."""
        return {
            "methods": {spec.title: spec.identity() for spec in self.specs},
            "tests": dict(self.measures),
            "target": self.target, "fit": self.fit, "seed": self.seed, "network": self.network, "version": VERSION,
        }  # fmt: skip


def make_plan(classifier: Classifier, wanted: Methods, tests: Any, **settings: Any) -> Plan:
    """The checked plan; whatever is wrong is told here, before anything runs.

    Raises:
        ValueError, TypeError: an unknown method, test, option or parameter, or a method that cannot serve the network.
    """
    specs = tuple(make_specs(classifier, wanted))
    if not specs:
        raise ValueError("no method was given to evaluate")
    asked = {tests: {}} if isinstance(tests, (str, Measure)) else tests
    pairs = asked.items() if isinstance(asked, Mapping) else [(one, {}) for one in asked]
    measures = [_test(classifier, find_measure(one), dict(given)) for one, given in pairs]
    if not measures:
        raise ValueError("no test was given to evaluate by")
    choose("target", settings.get("target", "label"), TARGETS)
    if settings.get("fit") is not None:
        choose("fit", settings["fit"], ("squash", "crop"))
    return Plan(specs, tuple(measures), network=network_hash(classifier), **settings)


def _test(classifier: Classifier, measure: Measure, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    checked = measure.check(given)
    if measure.unfit and (why := measure.unfit(classifier, checked)):
        raise ValueError(f"the test {measure.name!r} cannot be made: {why}")
    return measure.name, checked


def make_specs(classifier: Classifier, wanted: Methods) -> list[Spec]:
    """Names, `{title: name or options}`, or a list of names and options, as checked `Spec`s."""
    if isinstance(wanted, (str, Method)):
        wanted = [wanted]
    pairs = list(wanted.items()) if isinstance(wanted, Mapping) else [(None, one) for one in wanted]
    specs = [_spec(classifier, title, given) for title, given in pairs]
    titles = [spec.title for spec in specs]
    for title in titles:
        if titles.count(title) > 1:
            raise ValueError(f"two methods are called {title!r}; give them names: {{'first': {{…}}, 'second': {{…}}}}")
    return specs


def _spec(classifier: Classifier, title: str | None, given: Any) -> Spec:
    options = dict(given) if isinstance(given, Mapping) else {"method": given}
    if "method" not in options:
        raise ValueError(f"a method is a name, or a dict with 'method' and options of explain; got {given!r}")
    method = options.pop("method")
    if isinstance(method, str) and method in BASELINES:
        if options:
            raise ValueError(f"the baseline {method!r} has no options; {', '.join(options)} given")
        return Spec(title or method, method)
    found = find(method)
    of_its_own = found if found is not methods().get(found.name) else None
    refuse(found, classifier)
    own = {name: value for name, value in options.items() if name in OPTIONS}
    parameters = found.check({name: value for name, value in options.items() if name not in OPTIONS})
    sign_of(found, own.get("gradient"))
    make_fusion(**{name: own[name] for name in ("gamma", "scale", "reduce", "preset") if name in own})
    own["enhance"] = _enhancement(own.get("enhance", False), classifier.input_size)
    stages = chosen_stages(classifier, found, own.pop("stages", None))
    if stages:
        own["stages"] = stages
    return Spec(title or _title(found, own, options), found.name, own | parameters, of_its_own)


def _enhancement(given: Any, size: tuple[int, int]) -> Any:
    how = enhancement(Enhancement(**given) if isinstance(given, Mapping) else given, size)
    return how.as_dict() if how else False


def _title(method: Method, own: dict[str, Any], given: dict[str, Any]) -> str:
    """The method's own title, with what was given beyond its name."""
    said = [f"{name}={value}" for name, value in given.items() if name not in ("enhance", "stages", "preset")]
    stages = given.get("stages", [])
    stages = [stages] if isinstance(stages, str) else list(stages)
    said += ["+".join(reversed(stages))] if stages else []
    said += [str(given["preset"])] if given.get("preset") else []
    return " · ".join([method.title, *said, *(["enhanced"] if own["enhance"] else [])])


def digest(*parts: Any) -> str:
    """SHA-256 of plain values."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of(array: Any) -> str:
    """SHA-256 of an array's shape, type and bytes."""
    values = np.ascontiguousarray(array)
    return hashlib.sha256(f"{values.shape}{values.dtype}".encode() + values.tobytes()).hexdigest()
