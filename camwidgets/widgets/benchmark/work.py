"""What a benchmark does beside the kernel: looking at what is asked, evaluating, reading what is on record."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...classifiers.classifier import Classifier
from ...datasets.items import Items
from ...datasets.labels import match_labels
from ...evaluation import Results, Stopped, evaluate
from ...evaluation.measure import find_measure
from ...evaluation.mosaics import mosaics
from ...evaluation.plan import make_plan
from ...evaluation.runner import checked
from ..sources import Networks
from ..speaking import failure, sentence
from ..subject import offer
from ..worker import Superseded, Ticket, Worker, answering
from .record import BenchmarkRecord, Look
from .traits import BenchmarkTraits
from .words import asked_methods, lacking, measure_words, method_words, set_words

WINDOW = 30  # pictures that the present rate is taken from, at least
SPAN = 5.0  # seconds that it is taken from, at least: Ray's workers hand in many pictures at once
LEAST = 0.5  # seconds; a rate of less would be one of chance
OFTEN = 0.2  # seconds between two words on how far it is


@dataclass(frozen=True)
class Asked:
    """What is to be evaluated, as plain values; `download`: weights may be fetched."""

    network: str
    data: str
    methods: tuple[Any, ...]
    tests: dict[str, dict[str, Any]]
    target: str
    limit: int | None
    seed: int
    fit: str = "squash"
    mosaics: int | None = None
    engine: str = "local"
    workers: int = 2
    download: bool = False


class Recorded(Results):
    """Results that remember which run was started, so that a run that is broken off can be shown."""

    number: int | None = None

    def start(self, request: dict[str, Any], about: dict[str, Any] | None = None) -> int:
        self.number = super().start(request, about)
        return self.number


class Clock:
    """Pictures done, present rate, time left; ends the run at the next picture once `stop` is set.

    The rate begins with the first picture: what came before it, such as the start of Ray, is no work on pictures.
    """

    def __init__(self, total: int, tell: Callable[[dict[str, Any]], None]) -> None:
        self.stop = threading.Event()
        self.total, self.done, self.began, self._tell = total, 0, time.monotonic(), tell
        self.look: Callable[[], None] | None = None  # shows the numbers so far
        self._said = 0.0
        self._marks: deque[tuple[float, int]] = deque()

    def __call__(self, done: float, total: float) -> None:
        now = time.monotonic()
        self.done, self.total = int(done), int(total)
        self._marks.append((now, self.done))
        while len(self._marks) > WINDOW and now - self._marks[1][0] >= SPAN:
            self._marks.popleft()
        if self.look is not None and self.done < self.total:
            self.look()
        if now - self._said >= OFTEN or self.done == self.total:
            self._said = now
            self._tell(self.words("stopping" if self.stop.is_set() else "running"))
        if self.stop.is_set() and self.done < self.total:
            raise Superseded

    def words(self, state: str) -> dict[str, Any]:
        """For the front end: pictures, pictures a second, seconds so far and still to come."""
        (first, before), (last, after) = (self._marks[0], self._marks[-1]) if self._marks else ((0.0, 0), (0.0, 0))
        rate = (after - before) / (last - first) if last - first >= LEAST else None
        left = (self.total - self.done) / rate if rate else None
        spent = time.monotonic() - self.began
        return {"state": state, "done": self.done, "total": self.total, "rate": rate, "left": left, "seconds": spent}


class BenchmarkWork(BenchmarkRecord):
    """The part of `Benchmark` between the traits and `evaluate`: threads of its own, each made when it is needed."""

    def __init__(self, networks: Networks, given: dict[str, Items], **traits: Any) -> None:
        self.given = given
        self._items: tuple[str, Items] | None = None
        self._good = ""  # the data set that was found last
        self._clock: Clock | None = None
        self._following = True  # whether the run that goes on is the one on screen
        self._setting: Worker[Asked] = Worker(self._set_up, "camwidgets-benchmark-setup", self._lost)
        self._running: Worker[tuple[Asked, Path, Clock]] = Worker(
            self._evaluate, "camwidgets-benchmark-run", self._lost
        )
        super().__init__(networks, **traits)

    # ------------------------------------------------------------------ looking at what is asked

    def _set_up(self, asked: Asked, ticket: Ticket) -> None:
        """Open the data set and the network, and say what can be asked of them and what cannot."""
        with answering(ticket, self._lock, self._unset):
            items = self._opened(asked.data) if asked.data else None
            classifier = self._network(asked, lambda text: self._tell(text, ticket))
            with self._lock:
                ticket.check()
                self._good = asked.data
                self._found, self._tests = set_words(items), measure_words(items, asked.mosaics is not None)
                self._methods = method_words(classifier)
                self._networks = self.networks.options()
                self._drop_tests(items, asked.mosaics is not None)
                self.problem = _problem(classifier, items, asked, self.tests)
                if classifier is None:
                    self._status = offer(asked.network)
                self._rest()

    def _unset(self, error: Exception) -> None:
        """Back to the data set that was there before."""
        self._ready = False
        self.data = self._good
        self._ready = True
        self.code = self._code()
        self._status = failure(error)

    def _network(self, asked: Asked, tell: Callable[[str], None]) -> Classifier | None:
        """The classifier; None where its weights would have to be downloaded and nobody said so."""
        if not asked.download and not self.networks.ready(asked.network):
            return None
        with self.networks.progress(asked.network, tell):
            return self.networks.get(asked.network)

    def _opened(self, data: str) -> Items:
        if data in self.given:
            return self.given[data]
        kept = self._items
        if kept is None or kept[0] != data:
            from ...datasets import open_dataset

            kept = self._items = (data, open_dataset(data))
            if all(one["value"] != data for one in self._sets):
                with self._lock:
                    self._sets = [*self._sets, {"value": data, "text": Path(data).name or data, "group": "Found"}]
        return kept[1]

    def _drop_tests(self, items: Items | None, mosaics: bool) -> None:
        """Tests that the data set, or mosaics of it, cannot serve are switched off, and that is said."""
        out = [name for name in self.tests if lacking(items, find_measure(name).needs, mosaics)]
        if out:
            self._ready = False
            self.tests = [name for name in self.tests if name not in out]
            self._ready = True
            self.code = self._code()
            missing = lacking(items, [need for name in out for need in find_measure(name).needs], mosaics)
            whose = "mosaics have" if mosaics else "this data set has"
            self._status = {"state": "told", "text": f"Switched off: {', '.join(out)} ({whose} no {missing})."}

    def _code(self) -> str:
        """The lines that run what is asked."""
        raise NotImplementedError

    # ------------------------------------------------------------------ evaluating

    def _evaluate(self, job: tuple[Asked, Path, Clock], ticket: Ticket) -> None:
        asked, path, clock = job
        ticket.stops(clock.stop)
        state, number = "failed", None
        try:
            classifier = self._network(asked, self._preparing)
            if classifier is None:
                raise ValueError(f"the weights of {asked.network} are not on this machine; download them first")
            items, limit = self._opened(asked.data), asked.limit
            if asked.mosaics is not None:
                self._preparing("making mosaics …")
                items = items if limit is None else items.limit(limit, asked.seed)
                items, limit = mosaics(classifier, items, asked.mosaics, seed=asked.seed), None
            if clock.stop.is_set():
                raise Superseded
            if asked.engine == "ray":
                self._preparing("starting Ray and its workers; on a busy machine that takes a minute or two …")
            with closing(Recorded(path)) as kept:
                clock.look = lambda: self._glance(path, kept.number)
                try:
                    evaluate(
                        classifier, items, list(asked.methods), asked.tests, target=asked.target, fit=asked.fit,
                        limit=limit, seed=asked.seed, results=kept, engine=asked.engine, workers=asked.workers,
                        progress=clock, stop=clock.stop.is_set,
                    )  # fmt: skip
                finally:
                    number = kept.number
            state = "done"
        except (Superseded, Stopped):
            state = "cancelled"
        except Exception as error:  # noqa: BLE001 - whatever it is, the user reads it in the widget
            self._fail(error)
        finally:
            self._over(clock, state, path, number)

    def _glance(self, path: Path, number: int | None) -> None:
        """Show the numbers so far, unless somebody looks at another run, or the last look was a moment ago."""
        with self._lock:
            wanted = number is not None and self._following and path == self._path
            if wanted and time.monotonic() >= self._next_look and not self._looking.busy:
                self._looking.submit(Look(path, number, so_far=True))

    def _preparing(self, text: str) -> None:
        with self._lock:
            self._progress = {**self._progress, "text": text}

    def _over(self, clock: Clock, state: str, path: Path, number: int | None) -> None:
        with self._lock:
            self._progress = clock.words(state)
            self._clock = None
            self._list_again()
            if number is not None and path == self._path and self._following:
                self._shown = None
                self._looking.submit(Look(path, number))

    @property
    def _workers(self) -> tuple[Worker[Any], ...]:
        return self._setting, self._running, self._looking, self._exporting


def _problem(classifier: Classifier | None, items: Items | None, asked: Asked, tests: list[str]) -> str:
    """Why this cannot be evaluated, as `evaluate` would say it; "" = it can."""
    if items is None:
        return "no data set was chosen"
    if classifier is None:
        return f"the weights of {asked.network} are not on this machine"
    try:
        wanted = {name: asked.tests.get(name, {}) for name in tests}
        plan = make_plan(classifier, list(asked.methods), wanted, target=asked.target, fit=asked.fit)
        if asked.engine == "ray" and find_spec("ray") is None:
            return "engine 'ray' needs Ray: pip install 'camwidgets[ray]'"
        if asked.mosaics is None:
            checked(classifier, items, plan)
        elif not match_labels(items, classifier):
            return f"{items.name} has no labels, and mosaics are made of pictures whose class is known"
    except (ValueError, TypeError) as error:
        return sentence(error)
    return ""


def asked_of(traits: BenchmarkTraits, download: bool = False) -> Asked:
    """What the traits ask for, at this moment."""
    tests = {name: dict(traits.parameters.get(name, {})) for name in traits.tests}
    methods = tuple(asked_methods(traits.methods, traits.enhanced))
    return Asked(
        traits.network, traits.data, methods, tests, traits.target, traits.limit, traits.seed, traits.fit,
        traits.mosaics, traits.engine, traits.workers, download,
    )  # fmt: skip
