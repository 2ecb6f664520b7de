"""A map on trial: what every test says of it; tests that show one picture each share batches over all maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .answers import Single, together
from .measure import Case, Measure, Values
from .results import Outcome

FAILURES = (ValueError, TypeError, OSError, RuntimeError, MemoryError)
Test = tuple[Measure, dict[str, Any], str]  # with its parameters, and the key of the outcome


@dataclass(frozen=True)
class Trial:
    """One method's map of one picture, and the tests it is to go through. cost: seconds, passes forward, backward."""

    title: str
    case: Case
    cost: tuple[float, int, int]
    tests: list[Test]


def answered(trials: list[Trial]) -> dict[str, Values]:
    """Key → values of the tests that show one picture each: those of all maps share batches.

    If that fails, nothing is answered here: each is then tried alone, and the one that fails is told.
    """
    single = [
        (key, (measure.function, trial.case, given))
        for trial in trials
        for measure, given, key in trial.tests
        if isinstance(measure.function, Single)
    ]
    try:
        found = together([one for _, one in single]) if single else []
    except FAILURES:
        return {}
    return {key: values for (key, _), values in zip(single, found, strict=True)}


def judged(trial: Trial, already: dict[str, Values]) -> list[Outcome]:
    """What every test says of one map; what was answered `already` is not asked again."""
    made = []
    for measure, given, key in trial.tests:
        try:
            trial.case.passes.report(1, 1)  # here a stop is heard
            said = already[key] if key in already else _said(trial.case, measure, given)
        except FAILURES as error:
            made.append(Outcome(key, trial.title, measure.name, None, sentence(error)))
            continue
        made.append(Outcome(key, trial.title, measure.name, said, None, *trial.cost))
    return made


def sentence(error: BaseException) -> str:
    """An error in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _said(case: Case, measure: Measure, given: dict[str, Any]) -> Values:
    if "mask" in measure.needs and case.mask is None:
        raise ValueError("this picture has no mask")
    return measure.function(case, **given)
