"""How long would it take? A few pictures are evaluated by the clock, and the whole is reckoned from them."""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..classifiers.classifier import Classifier
from ..datasets.checks import check_integer
from ..datasets.items import Item, Items
from ..maps.passes import Passes
from .answers import Single
from .measure import find_measure
from .plan import Methods, Plan, make_plan
from .randomisation import Copies
from .results import Picture, Results
from .runner import checked
from .trial import FAILURES, Trial, answered, judged
from .view import seen
from .work import asked_class, keys_of, look, shares, tried

BACKWARD = 2.0  # forward passes that a backward pass costs, where nothing better is known
Timer = Callable[[], float]
OPENING, WRITING, SHARED = "opening pictures", "writing outcomes", "the pass that gradient maps share"


@dataclass(frozen=True)
class Forecast:
    """What an evaluation would take, from a measured trial.

    Attributes:
        pictures: how many are planned. trial: how many were timed, after one that was not. workers: processes.
        seconds: part of the work → seconds a picture, on this machine, of one process. forward, backward: part →
            passes a picture. failed: part → trial pictures for which it failed. methods, tests: their number.
        device, threads: what it was measured on. memory: the process' largest resident memory so far, MB (None where
            the system does not say). pass_seconds: one forward pass of one picture in a batch as tests use it.
    """

    pictures: int
    trial: int
    workers: int
    seconds: dict[str, float]
    forward: dict[str, float]
    backward: dict[str, float]
    failed: dict[str, int]
    methods: int
    tests: int
    device: str
    threads: int
    memory: float | None
    pass_seconds: float
    model: str = field(default="")

    @property
    def each(self) -> float:
        """Seconds a picture, of one process."""
        return sum(self.seconds.values())

    @property
    def passes(self) -> tuple[float, float]:
        """Passes a picture, forward and backward, over all maps and tests."""
        return sum(self.forward.values()), sum(self.backward.values())

    def hours(self, workers: int | None = None) -> float:
        """Hours for all pictures by so many processes, each on a machine (or cores) of its own: T·N / W.

        Pictures are independent of each other and only outcomes travel; two processes that share cores or memory are
        slower than that.
        """
        return self.each * self.pictures / (workers or self.workers) / 3600

    def elsewhere(self, passes_per_second: float, devices: int = 1, backward: float = BACKWARD) -> float:
        """An estimate, not a measurement: hours on devices that do so many forward passes a second, at one each.

        T = (F + r·B) / P + R, hours = N·T / D: F, B passes forward and backward a picture; r forward passes that one
        backward pass costs; P forward passes a second; R what is left of the measured time without the passes
        (opening, ordering pixels, fusing, writing), which stays with the CPU beside each device; D devices.
        """
        if passes_per_second <= 0 or devices < 1:
            raise ValueError(f"passes a second are above 0, devices at least 1; got {passes_per_second!r}, {devices!r}")
        forward, back = self.passes
        rest = max(self.each - (forward + backward * back) * self.pass_seconds, self._without_network)
        return self.pictures * ((forward + backward * back) / passes_per_second + rest) / devices / 3600

    @property
    def _without_network(self) -> float:
        return self.seconds.get(OPENING, 0.0) + self.seconds.get(WRITING, 0.0)

    def to_text(self) -> str:
        """All of it, as a table and a few lines."""
        wide = max(map(len, self.seconds))
        lines = [
            f"{self.pictures:,} pictures × {self.methods} methods × {self.tests} tests, {self.model}; "
            f"{self.trial} timed on {self.device}, {self.threads} thread{'s' if self.threads > 1 else ''}",
            f"{'part':<{wide}}  ms a picture  share  passes (forward + backward)",
        ]
        for part, seconds in self.seconds.items():
            passes = f"{self.forward.get(part, 0):.0f} + {self.backward.get(part, 0):.0f}"
            failed = f"  failed for {self.failed[part]} of {self.trial}" if self.failed.get(part) else ""
            lines.append(f"{part:<{wide}}  {1e3 * seconds:12.1f}  {seconds / self.each:5.1%}  {passes}{failed}")
        forward, back = self.passes
        lines += [
            f"{'all':<{wide}}  {1e3 * self.each:12.1f}  {1:5.0%}  {forward:.0f} + {back:.0f}",
            f"{1 / self.each:.2f} pictures a second and process; one forward pass {1e3 * self.pass_seconds:.1f} ms",
            f"1 process: {self.hours(1):,.1f} h" + ("" if self.memory is None else f", {self.memory:,.0f} MB resident"),
        ]
        if self.workers > 1:
            lines.append(f"{self.workers} processes: {self.hours():,.1f} h, if none slows another down")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.to_text()


def forecast(
    classifier: Classifier,
    dataset: Any,
    methods: Methods = ("layercam", "gradcam"),
    tests: Any = ("insertion-deletion",),
    *,
    pictures: int | None = None,
    trial: int = 5,
    workers: int = 1,
    target: str = "label",
    fit: str | None = "squash",
    seed: int = 0,
    batch: int | None = None,
    timer: Timer = time.perf_counter,
) -> Forecast:
    """What would this evaluation take? A few of its pictures are evaluated, part by part, by the clock.

    Args:
        classifier, dataset, methods, tests, target, fit, seed, batch: as for `evaluate`. pictures: so many are planned;
            None = those of the data set. trial: so many are timed, drawn by chance, after one more that warms up.
        workers: processes that will share the work. timer: seconds so far; `time.process_time` leaves out what others
            do on a busy machine (on a CPU, with one thread).
    Raises:
        ValueError, TypeError: as `evaluate`; or none of the trial's pictures can be used.

    Example:
        >>> import camwidgets
        >>> world = camwidgets.datasets.toyworld.ToyWorld(seed=1, n=6)
        >>> toy = camwidgets.load("toy")
        >>> plan = forecast(toy, world, ["layercam", "gradcam"], ["energy"], pictures=50_000, trial=2)
        >>> plan.passes, plan.hours(10) == plan.hours() / 10
        ((1.0, 1.0), True)
    """
    check_integer("trial", trial, 1)
    check_integer("workers", workers, 1)
    plan = make_plan(classifier, methods, tests, target=target, fit=fit, batch=batch, seed=seed)
    items = checked(classifier, _items(dataset), plan)
    if pictures is not None:
        check_integer("pictures", pictures, 1)
    clock, used, copies = _Clock(timer), 0, Copies(classifier)
    with tempfile.TemporaryDirectory() as folder, Results(Path(folder) / "trial.sqlite") as kept:
        run = kept.start({"trial": trial})
        for i, item in enumerate(items.limit(trial + 1, seed)):
            try:
                made = _timed(classifier, item, plan, copies, clock)
            except FAILURES:  # a picture that cannot be used is skipped by an evaluation, too
                continue
            with clock.part(WRITING):
                kept.add(run, made)
            used += 1
            if i == 0 and len(items) > 1:  # the first one finds stages, folds BatchNorm, fetches memory
                clock, used = _Clock(timer), 0
    if not used:
        raise ValueError(f"none of the pictures tried out of {items.name} can be used")
    return Forecast(
        pictures or len(items), used, workers, _per(used, clock.seconds), _per(used, clock.forward),
        _per(used, clock.backward), dict(clock.failed), len(plan.specs), len(plan.measures), str(classifier.device),
        torch.get_num_threads(), _resident(), _one_pass(classifier, plan, copies, timer), classifier.name,
    )  # fmt: skip


class _Clock:
    """Seconds and passes by part of the work."""

    def __init__(self, timer: Timer) -> None:
        self.timer = timer
        self.seconds: Counter[str] = Counter()
        self.forward: Counter[str] = Counter()
        self.backward: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        start = self.timer()
        try:
            yield
        finally:
            self.seconds[name] += self.timer() - start  # type: ignore[assignment]


def _timed(classifier: Classifier, item: Item, plan: Plan, copies: Copies, clock: _Clock) -> Picture:
    """As `work.work` with nothing on record, each part by the clock."""
    with clock.part(OPENING):
        view = seen(classifier, item, plan.fit)
        label = item.label if isinstance(item.label, int) else None
        asked = asked_class(classifier, item, plan)
        boxes = view.boxes if "boxes" in plan.needs else ()
        mask = view.mask if "mask" in plan.needs else None
        keys = keys_of(plan, view.x, asked, label, boxes, mask)
    outcomes, trials = [], []
    with ExitStack() as stack:
        about = label, copies, partial(Passes, plan.batch)
        with clock.part(SHARED):
            subject, shared = look(classifier, plan, view.x, asked, boxes, mask, about, stack)
            if any(map(shares, plan.specs)):
                shared.evidence(subject.target)
        clock.forward[SHARED] += 1
        clock.backward[SHARED] += any(map(shares, plan.specs))
        for spec in plan.specs:
            tests = [(measure, given, keys[spec.title, measure.name]) for measure, given in plan.tests]
            name = f"map: {spec.title}"
            try:
                with clock.part(name):
                    trials.append(tried(classifier, plan, subject, spec, shared, tests))
            except FAILURES:
                clock.failed[name] += 1
                continue
            if not shares(spec):
                clock.forward[name] += trials[-1].cost[1]
                clock.backward[name] += trials[-1].cost[2]
        outcomes += _tests_timed(plan, trials, clock)
    return Picture(item.id, classifier.labels[subject.target], subject.probability, tuple(outcomes))


def _tests_timed(plan: Plan, trials: list[Trial], clock: _Clock) -> list[Any]:
    """Tests that show one picture each are timed together, as they are run, and share their time alike."""
    single = [measure.name for measure, _ in plan.tests if isinstance(measure.function, Single)]
    start = clock.timer()
    found = answered(trials)
    spent = clock.timer() - start
    outcomes = []
    for name in single:
        clock.seconds[f"test: {name}"] += spent / len(single)  # type: ignore[assignment]
        clock.forward[f"test: {name}"] += len(trials)
    for trial in trials:
        for test in trial.tests:
            part, before = f"test: {test[0].name}", trial.case.passes.counts.forward
            with clock.part(part):
                outcomes += judged(replace(trial, tests=[test]), found)
            if test[2] not in found:
                clock.forward[part] += trial.case.passes.counts.forward - before
            clock.failed[part] += outcomes[-1].error is not None
    return outcomes


def _one_pass(classifier: Classifier, plan: Plan, copies: Copies, timer: Timer) -> float:
    """Seconds of a forward pass of one picture, in batches as tests run them; the better of two."""
    runs = any(find_measure(name).passes for name, _ in plan.measures)
    network = copies.quick() if runs else classifier
    x = classifier.preprocess(torch.zeros(1, 3, *classifier.input_size))
    passes, found = Passes(plan.batch), []
    n = 2 * passes.fitting(network, x)
    for _ in range(2):
        start = timer()
        passes.map(network, lambda a, b: x.expand(b - a, -1, -1, -1), n)
        found.append((timer() - start) / n)
    return min(found)


def _per(n: int, counted: Counter[str]) -> dict[str, float]:
    order = [OPENING, SHARED, *(k for k in counted if k not in (OPENING, SHARED, WRITING)), WRITING]
    return {name: counted[name] / n for name in order if name in counted}


def _items(dataset: Any) -> Items:
    if isinstance(dataset, Items):
        return dataset
    from ..datasets import open_dataset

    return open_dataset(dataset)


def _resident() -> float | None:
    """Largest resident memory of this process so far, MB."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
