"""One picture: every method's map of it, and what every test says of each. The same code on every machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from ..classifiers.classifier import Classifier
from ..datasets.items import Item
from ..evidence import Evidence, Recording, record
from ..explanation import explain
from ..maps.fusion import fuse, make_plan
from ..maps.passes import Counts, Passes
from ..maps.stages import stage_maps
from .answers import Answers
from .measure import Case
from .plan import BASELINES, VERSION, Plan, Spec, digest, digest_of
from .randomisation import Copies
from .results import Outcome, Picture
from .trial import FAILURES, Test, Trial, answered, judged, sentence
from .view import seen

Known = Callable[[list[str]], dict[str, Outcome]]
Hear = Callable[[], None]  # raises when the work is to stop


class Stopped(Exception):
    """The work was stopped from outside; the picture in work is not recorded."""


@dataclass(frozen=True)
class Subject:
    """A picture as the network sees it, with what is true about it there.

    copies: the network with layers drawn anew. passes: new passes, which hear whether the work is to stop.
    """

    x: Tensor
    target: int
    logits: Tensor
    boxes: tuple[tuple[float, ...], ...]
    mask: np.ndarray | None
    label: int | None
    copies: Copies
    passes: Callable[[], Passes]

    @property
    def probability(self) -> float:
        """p_c of the untouched picture."""
        return float(self.logits.softmax(0)[self.target])


class Shared:
    """One forward and one backward pass that serve every method of the gradient family.

    seconds: what they took; part of the cost of each of these methods, whichever was run first.
    """

    def __init__(self, classifier: Classifier, x: Tensor, taps: Any) -> None:
        clock = time.perf_counter()
        self.recording: Recording = record(classifier, x, taps)
        self.seconds = time.perf_counter() - clock
        self._evidence: Evidence | None = None

    def __enter__(self) -> Shared:
        return self

    def __exit__(self, *_: object) -> None:
        self.recording.close()

    def evidence(self, target: int) -> Evidence:
        """The evidence for the class, made once."""
        if self._evidence is None:
            clock = time.perf_counter()
            self._evidence = self.recording.evidence(target)
            self.seconds += time.perf_counter() - clock
        return self._evidence


def work(
    classifier: Classifier, item: Item, plan: Plan, known: Known, copies: Copies | None = None,
    hear: Hear = lambda: None,
) -> Picture:  # fmt: skip
    """All outcomes of one picture; what `known` finds (key → outcome) is not computed again.

    Never raises for a picture or a method that fails: a picture that cannot be used is skipped with its reason, a
    method or a test that fails is recorded with its error. `KeyboardInterrupt`, what `known` raises, and `Stopped`
    from `hear`, which is asked between passes through the network, go through.

    copies: the network with layers drawn anew, for all pictures of a run; None = made for this picture.
    """
    hear()
    try:
        view = seen(classifier, item, plan.fit)
        label = item.label if isinstance(item.label, int) else None
        asked = asked_class(classifier, item, plan)
        boxes = view.boxes if "boxes" in plan.needs else ()
        mask = view.mask if "mask" in plan.needs else None
        keys = keys_of(plan, view.x, asked, label, boxes, mask)
    except FAILURES as error:
        return Picture(item.id, skipped=sentence(error))
    found = known(list(keys.values()))
    if len(found) == len(set(keys.values())):
        return _remembered(classifier, item, keys, found)
    try:
        with ExitStack() as stack:
            passes = partial(Passes, plan.batch, progress=lambda done, total: hear())
            about = label, copies or Copies(classifier), passes
            subject, shared = look(classifier, plan, view.x, asked, boxes, mask, about, stack)
            hear()
            return _evaluated(classifier, item, plan, subject, shared, keys, found)
    except FAILURES as error:
        return Picture(item.id, skipped=sentence(error))


def asked_class(classifier: Classifier, item: Item, plan: Plan) -> int | None:
    """The class to explain; None = the network's first answer."""
    if plan.target == "predicted":
        return None
    if item.label is None:
        raise ValueError(f"{item.id} has no label; target='predicted' needs none")
    return classifier.index(item.label)


def look(
    classifier: Classifier, plan: Plan, x: Tensor, asked: int | None, boxes: tuple[tuple[float, ...], ...],
    mask: np.ndarray | None, about: tuple[int | None, Copies, Callable[[], Passes]], stack: ExitStack,
) -> tuple[Subject, Shared]:  # fmt: skip
    """One forward pass, whose graph serves every method of the gradient family."""
    shared = stack.enter_context(Shared(classifier, x, _taps(plan.specs)))
    logits = shared.recording.logits[0]
    target = int(logits.argmax()) if asked is None else asked
    return Subject(x, target, logits, boxes, mask, *about), shared


def _taps(specs: Sequence[Spec]) -> Any:
    taps = [stage for spec in specs for stage in spec.options.get("stages", ())]
    return list(dict.fromkeys(taps)) or "stages"


def _remembered(
    classifier: Classifier, item: Item, keys: dict[tuple[str, str], str], found: dict[str, Outcome]
) -> Picture:
    """A picture of which everything is on record: the network is not run."""
    outcomes = tuple(replace(found[key], method=title, test=test) for (title, test), key in keys.items())
    return Picture(item.id, classifier.labels[outcomes[0].target], outcomes[0].probability, outcomes)


def _evaluated(
    classifier: Classifier, item: Item, plan: Plan, subject: Subject, shared: Shared,
    keys: dict[tuple[str, str], str], found: dict[str, Outcome],
) -> Picture:  # fmt: skip
    outcomes: list[Outcome] = []
    trials: list[Trial] = []
    for spec in plan.specs:
        tests = [(measure, given, keys[spec.title, measure.name]) for measure, given in plan.tests]
        outcomes += [replace(found[k], method=spec.title, test=measure.name) for measure, _, k in tests if k in found]
        missing = [test for test in tests if test[2] not in found]
        if not missing:
            continue
        try:
            trials.append(tried(classifier, plan, subject, spec, shared, missing))
        except FAILURES as error:
            outcomes += [Outcome(key, spec.title, one.name, None, sentence(error)) for one, _, key in missing]
    together = answered(trials)
    for trial in trials:
        outcomes += judged(trial, together)
    made = tuple(replace(one, target=subject.target, probability=subject.probability) for one in outcomes)
    return Picture(item.id, classifier.labels[subject.target], subject.probability, made)


def keys_of(
    plan: Plan, x: Tensor, asked: int | None, label: int | None,
    boxes: tuple[tuple[float, ...], ...], mask: np.ndarray | None,
) -> dict[tuple[str, str], str]:  # fmt: skip
    """(method's title, test) → key: a hash of all that the number depends on."""
    about = [VERSION, plan.network, digest_of(x.cpu().numpy()), "predicted" if asked is None else asked, label]
    truth = {
        "boxes": [list(map(float, one)) for one in boxes],
        "mask": None if mask is None else digest_of(mask),
    }
    return {
        (spec.title, measure.name): digest(
            *about,
            spec.identity(),
            plan.seed if spec.name == "random" else None,
            measure.name,
            given,
            {need: truth[need] for need in measure.needs},
        )
        for spec in plan.specs
        for measure, given in plan.tests
    }


def tried(
    classifier: Classifier, plan: Plan, subject: Subject, spec: Spec, shared: Shared,
    tests: list[Test],
) -> Trial:  # fmt: skip
    """The map of one method, ready to be tested."""
    clock, before, passes = time.perf_counter(), shared.seconds, subject.passes()
    values = _map(classifier, plan, subject, spec, shared, passes)
    own = time.perf_counter() - clock - (shared.seconds - before)
    cost = own + (shared.seconds if shares(spec) else 0.0), passes.counts.forward, passes.counts.backward
    asks = Answers(plan.batch, progress=passes.progress, network=classifier, quick=subject.copies.quick)
    case = Case(
        classifier, subject.x, subject.target, values, subject.logits, subject.boxes, subject.mask, asks,
        subject.label, partial(_by, plan, subject, spec), subject.copies,
    )  # fmt: skip
    return Trial(spec.title, case, cost, tests)


def _by(plan: Plan, subject: Subject, spec: Spec, other: Classifier) -> np.ndarray:
    """The map of the same picture and class by the same method and another network."""
    passes = subject.passes()
    passes.report(0, 1)
    with ExitStack() as stack:
        shared = stack.enter_context(Shared(other, subject.x, _taps([spec]))) if shares(spec) else None
        return _map(other, plan, subject, spec, shared, passes)


def _map(
    classifier: Classifier, plan: Plan, subject: Subject, spec: Spec, shared: Shared | None, passes: Passes
) -> np.ndarray:
    """The map, H×W in [0, 1]; gradient methods share one backward pass."""
    size = (int(subject.x.shape[2]), int(subject.x.shape[3]))
    if spec.baseline:
        return BASELINES[spec.name](size, plan.seed)
    method, options = spec.method, dict(spec.options)
    if shared is not None and shares(spec):
        passes.counts.forward, passes.counts.backward = 1, 1
        given = {name: options[name] for name in ("gamma", "scale", "reduce", "preset") if name in options}
        fusion = make_plan(**given)
        evidence, stages = shared.evidence(subject.target), options.get("stages")
        maps = stage_maps(evidence, method, options.get("gradient"), stages, fusion)
        return fuse(maps, size, fusion, list(classifier.stages) or list(maps))
    made = explain(classifier, subject.x, method, subject.target, batch=plan.batch, progress=passes.report,
                   **_arguments(options))  # fmt: skip
    _count(passes.counts, made.made_by["passes"])
    return made.map


def shares(spec: Spec) -> bool:
    """Whether the method is arithmetic on the shared passes."""
    return not spec.baseline and not spec.options["enhance"] and spec.method.kind == "evidence"


def _arguments(options: dict[str, Any]) -> dict[str, Any]:
    from ..maps.enhance import Enhancement

    enhance = options["enhance"]
    return options | {"enhance": Enhancement(**enhance) if enhance else False}


def _count(counts: Counts, made: dict[str, int]) -> None:
    counts.forward += made["forward"]
    counts.backward += made["backward"]
