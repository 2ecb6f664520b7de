"""What a benchmark does beside the kernel: looking at what is asked, evaluating, reading what is on record."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..classifiers.classifier import Classifier
from ..datasets.items import Items
from ..evaluation import Results, evaluate
from ..evaluation.measure import find_measure
from ..evaluation.plan import make_plan
from ..evaluation.runner import checked
from .benchmark_record import BenchmarkRecord, Look
from .benchmark_traits import BenchmarkTraits
from .benchmark_words import asked_methods, lacking, measure_words, method_words, set_words
from .sources import Networks
from .subject import failure, offer, sentence
from .worker import Superseded, Ticket, Worker

WINDOW = 30  # pictures that the present rate is taken from
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
    download: bool = False


class Recorded(Results):
    """Results that remember which run was started, so that a run that is broken off can be shown."""

    number: int | None = None

    def start(self, request: dict[str, Any], about: dict[str, Any] | None = None) -> int:
        self.number = super().start(request, about)
        return self.number


class Clock:
    """Pictures done, present rate, time left; ends the run at the next picture once `stop` is set."""

    def __init__(self, total: int, tell: Callable[[dict[str, Any]], None]) -> None:
        self.stop = threading.Event()
        self.total, self.done, self.began, self._tell = total, 0, time.monotonic(), tell
        self._said = 0.0
        self._marks = deque([(self.began, 0)], maxlen=WINDOW)

    def __call__(self, done: float, total: float) -> None:
        now = time.monotonic()
        self.done, self.total = int(done), int(total)
        self._marks.append((now, self.done))
        if now - self._said >= OFTEN or self.done == self.total:
            self._said = now
            self._tell(self.words("stopping" if self.stop.is_set() else "running"))
        if self.stop.is_set() and self.done < self.total:
            raise Superseded

    def words(self, state: str) -> dict[str, Any]:
        """For the front end: pictures, pictures a second, seconds so far and still to come."""
        (first, before), (last, after) = self._marks[0], self._marks[-1]
        rate = (after - before) / (last - first) if last > first else None
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
        self._setting: Worker[Asked] = Worker(self._set_up, "camwidgets-benchmark-setup")
        self._running: Worker[tuple[Asked, Path, Clock]] = Worker(self._evaluate, "camwidgets-benchmark-run")
        super().__init__(networks, **traits)

    # ------------------------------------------------------------------ looking at what is asked

    def _set_up(self, asked: Asked, ticket: Ticket) -> None:
        """Open the data set and the network, and say what can be asked of them and what cannot."""
        try:
            items = self._opened(asked.data) if asked.data else None
            classifier = self._network(asked, lambda text: self._tell(text, ticket))
            with self._lock:
                ticket.check()
                self._good = asked.data
                self._found, self._tests = set_words(items), measure_words(items)
                self._methods = method_words(classifier)
                self._networks = self.networks.options()
                self._drop_tests(items)
                self.problem = _problem(classifier, items, asked, self.tests)
                if classifier is None:
                    self._status = offer(asked.network)
                self._rest()
        except Superseded:
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, the user reads it in the widget
            with self._lock:
                if not ticket.dropped:
                    self._unset(error)

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
            from ..datasets import open_dataset

            kept = self._items = (data, open_dataset(data))
            if all(one["value"] != data for one in self._sets):
                with self._lock:
                    self._sets = [*self._sets, {"value": data, "text": Path(data).name or data, "group": "Found"}]
        return kept[1]

    def _drop_tests(self, items: Items | None) -> None:
        """Tests that the data set cannot serve are switched off, and that is said."""
        out = [name for name in self.tests if lacking(items, find_measure(name).needs)]
        if out:
            self._ready = False
            self.tests = [name for name in self.tests if name not in out]
            self._ready = True
            self.code = self._code()
            missing = lacking(items, [need for name in out for need in find_measure(name).needs])
            text = f"Switched off: {', '.join(out)} (this data set has no {missing})."
            self._status = {"state": "told", "text": text}

    def _code(self) -> str:
        """The lines that run what is asked."""
        raise NotImplementedError

    # ------------------------------------------------------------------ evaluating

    def _evaluate(self, job: tuple[Asked, Path, Clock], ticket: Ticket) -> None:
        asked, path, clock = job
        state, number = "failed", None
        try:
            classifier = self._network(asked, self._preparing)
            if classifier is None:
                raise ValueError(f"the weights of {asked.network} are not on this machine; download them first")
            items = self._opened(asked.data)
            if clock.stop.is_set():
                raise Superseded
            with closing(Recorded(path)) as kept:
                try:
                    evaluate(
                        classifier, items, list(asked.methods), asked.tests, target=asked.target,
                        limit=asked.limit, seed=asked.seed, results=kept, progress=clock,
                    )  # fmt: skip
                finally:
                    number = kept.number
            state = "done"
        except Superseded:
            state = "cancelled"
        except Exception as error:  # noqa: BLE001 - whatever it is, the user reads it in the widget
            self._fail(error)
        finally:
            self._over(clock, state, path, number)

    def _preparing(self, text: str) -> None:
        with self._lock:
            self._progress = {**self._progress, "text": text}

    def _over(self, clock: Clock, state: str, path: Path, number: int | None) -> None:
        with self._lock:
            self._progress = clock.words(state)
            self._clock = None
            self._list()
            if number is not None and path == self._path:
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
        checked(classifier, items, make_plan(classifier, list(asked.methods), wanted, target=asked.target))
    except (ValueError, TypeError) as error:
        return sentence(error)
    return ""


def asked_of(traits: BenchmarkTraits, download: bool = False) -> Asked:
    """What the traits ask for, at this moment."""
    tests = {name: dict(traits.parameters.get(name, {})) for name in traits.tests}
    methods = tuple(asked_methods(traits.methods, traits.enhanced))
    return Asked(
        traits.network, traits.data, methods, tests, traits.target, traits.limit, traits.seed, download
    )
