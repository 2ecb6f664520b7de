"""One picture: every method's map of it, and what every test says of each. The same code on every machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from ..classifiers.classifier import Classifier
from ..datasets.items import Item
from ..evidence import Evidence, Recording, record
from ..explanation import explain, explain_evidence
from ..maps.catalogue import find
from ..maps.fusion import make_plan
from ..maps.passes import Counts, Passes
from .measure import Case, Measure, Values
from .plan import BASELINES, VERSION, Plan, Spec, digest, digest_of
from .results import Outcome, Picture

Known = Callable[[list[str]], dict[str, Outcome]]


@dataclass(frozen=True)
class Subject:
    """A picture as the network sees it, with what is true about it there."""

    x: Tensor
    target: int
    logits: Tensor
    boxes: tuple[tuple[float, ...], ...]
    mask: np.ndarray | None
    probability: float


def work(classifier: Classifier, item: Item, plan: Plan, known: Known) -> Picture:
    """All outcomes of one picture; what `known` finds (key → outcome) is not computed again.

    Never raises for a picture or a method that fails: a picture that cannot be used is skipped with its reason, a
    method or a test that fails is recorded with its error. `KeyboardInterrupt` and what `known` raises go through.
    """
    try:
        with ExitStack() as stack:
            subject, recording = _look(classifier, item, plan, stack)
            return _evaluated(classifier, item, plan, subject, recording, known)
    except (ValueError, TypeError, OSError, RuntimeError, MemoryError) as error:
        return Picture(item.id, skipped=_sentence(error))


def _look(classifier: Classifier, item: Item, plan: Plan, stack: ExitStack) -> tuple[Subject, Recording]:
    """One forward pass, whose graph serves every method of the gradient family."""
    from .view import seen

    view = seen(classifier, item, plan.fit)
    taps = [stage for spec in plan.specs for stage in spec.options.get("stages", ())]
    recording = stack.enter_context(record(classifier, view.x, list(dict.fromkeys(taps)) or "stages"))
    logits = recording.logits[0]
    if plan.target == "predicted":
        target = int(logits.argmax())
    elif item.label is None:
        raise ValueError(f"{item.id} has no label; target='predicted' needs none")
    else:
        target = classifier.index(item.label)
    mask = view.mask if "mask" in plan.needs else None
    probability = float(logits.softmax(0)[target])
    boxes = view.boxes if "boxes" in plan.needs else ()
    return Subject(view.x, target, logits, boxes, mask, probability), recording


def _evaluated(
    classifier: Classifier, item: Item, plan: Plan, subject: Subject, recording: Recording, known: Known
) -> Picture:
    keys = _keys(classifier, plan, subject)
    found = known(list(keys.values()))
    evidence: list[Evidence] = []
    outcomes = []
    for spec in plan.specs:
        tests = [(measure, given, keys[spec.title, measure.name]) for measure, given in plan.tests]
        missing = [test for test in tests if test[2] not in found]
        outcomes += [
            Outcome(key, spec.title, measure.name, found[key].values, None, found[key].seconds, found[key].forward,
                    found[key].backward)
            for measure, _, key in tests if key in found
        ]  # fmt: skip
        if missing:
            outcomes += _tested(classifier, plan, subject, spec, recording, evidence, missing)
    return Picture(item.id, classifier.labels[subject.target], subject.probability, tuple(outcomes))


def _keys(classifier: Classifier, plan: Plan, subject: Subject) -> dict[tuple[str, str], str]:
    """(method's title, test) → key: a hash of all that the number depends on."""
    about = [VERSION, classifier.weights_hash(), str(classifier.dtype), digest_of(subject.x.cpu().numpy())]
    about += [subject.target, plan.seed]
    truth = {
        "boxes": [list(map(float, one)) for one in subject.boxes],
        "mask": None if subject.mask is None else digest_of(subject.mask),
    }
    return {
        (spec.title, measure.name): digest(
            *about, spec.identity(), measure.name, given, {need: truth[need] for need in measure.needs}
        )
        for spec in plan.specs
        for measure, given in plan.tests
    }


def _tested(
    classifier: Classifier, plan: Plan, subject: Subject, spec: Spec, recording: Recording,
    evidence: list[Evidence], tests: list[tuple[Measure, dict[str, Any], str]],
) -> list[Outcome]:  # fmt: skip
    clock, passes = time.perf_counter(), Passes(plan.batch)
    try:
        values = _map(classifier, plan, subject, spec, recording, evidence, passes)
    except (ValueError, TypeError, RuntimeError, MemoryError) as error:
        return [Outcome(key, spec.title, measure.name, None, _sentence(error)) for measure, _, key in tests]
    cost = time.perf_counter() - clock, passes.counts.forward, passes.counts.backward
    made = []
    for measure, given, key in tests:
        try:
            said = _said(classifier, plan, subject, measure, given, values)
        except (ValueError, TypeError, RuntimeError, MemoryError) as error:
            made.append(Outcome(key, spec.title, measure.name, None, _sentence(error)))
            continue
        made.append(Outcome(key, spec.title, measure.name, said, None, *cost))
    return made


def _said(
    classifier: Classifier, plan: Plan, subject: Subject, measure: Measure, given: dict[str, Any], values: np.ndarray
) -> Values:
    if "mask" in measure.needs and subject.mask is None:
        raise ValueError("this picture has no mask")
    case = Case(
        classifier, subject.x, subject.target, values, subject.logits, subject.boxes, subject.mask,
        Passes(plan.batch), plan.seed,
    )  # fmt: skip
    return measure.function(case, **given)


def _map(
    classifier: Classifier, plan: Plan, subject: Subject, spec: Spec, recording: Recording,
    evidence: list[Evidence], passes: Passes,
) -> np.ndarray:  # fmt: skip
    """The map, H×W in [0, 1]; gradient methods share one backward pass."""
    size = (int(subject.x.shape[2]), int(subject.x.shape[3]))
    if spec.baseline:
        return BASELINES[spec.name](size, plan.seed)
    method, options = find(spec.name), dict(spec.options)
    if method.kind == "evidence" and not options["enhance"]:
        if not evidence:
            evidence.append(recording.evidence(subject.target))
        passes.counts.forward, passes.counts.backward = 1, 1
        fusion = {name: options[name] for name in ("gamma", "scale", "reduce", "preset") if name in options}
        made = explain_evidence(
            evidence[0], method, options.get("stages"), options.get("gradient"), make_plan(**fusion)
        )
        return made.map
    made = explain(classifier, subject.x, method, subject.target, batch=plan.batch, **_arguments(options))
    _count(passes.counts, made.made_by["passes"])
    return made.map


def _arguments(options: dict[str, Any]) -> dict[str, Any]:
    from ..maps.enhance import Enhancement

    enhance = options["enhance"]
    return options | {"enhance": Enhancement(**enhance) if enhance else False}


def _count(counts: Counts, made: dict[str, int]) -> None:
    counts.forward += made["forward"]
    counts.backward += made["backward"]


def _sentence(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
