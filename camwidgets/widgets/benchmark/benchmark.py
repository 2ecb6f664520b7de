"""Benchmark: how good are the maps of these methods on this data set? Chosen, run, read and compared by hand."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import traitlets as t

from ...classifiers.classifier import Classifier
from ...classifiers.registry import EMBEDDED
from ...datasets import open_dataset
from ...datasets.items import Items
from ...errors import choose, unknown
from ...evaluation import Report, Results, ResultsError
from ...evaluation.mosaics import CELLS
from ...evaluation.results import Run
from .. import assets
from ..sources import Networks
from ..speaking import BadValue
from ..subject import given
from .again import asked_again
from .record import FILES, Look
from .traits import ASKED, OPTIONS, WORLDS
from .words import benchmark_code, measure_words, method_words
from .work import BenchmarkWork, Clock, asked_of


class Benchmark(BenchmarkWork):
    """Methods × tests over a data set, with live progress, tables with intervals, and all runs on record.

    Args:
        classifier: a `Classifier`, or a name for `camwidgets.load`; None = the embedded network (the toy, if there is
            no data set either: then everything is there to press Run).
        dataset: whatever `camwidgets.evaluate` takes; None = none yet, or the toy world.
        results: the file that keeps every outcome; None = kept until the widget is closed.
        classifiers: further ones to choose from.
        options: `methods`, `enhanced`, `tests`, `parameters`, `limit`, `target`, `seed`, `fit`, `mosaics`, `engine`,
            `workers` (see `BenchmarkTraits`).

    A run works in a thread of its own. What is broken off goes on with the next `run()` of the same; `wait()` blocks.

    Example:
        >>> import camwidgets
        >>> options = {"methods": ["layercam", "random"], "tests": ["energy"], "limit": 6}
        >>> benchmark = camwidgets.Benchmark("toy", "toyworld", **options)
        >>> report = benchmark.run().wait().report
        >>> report.pictures, list(report.table().index)
        (6, ['LayerCAM', 'random'])
        >>> benchmark.close()
    """

    _esm = assets.esm("benchmark/benchmark.js")
    _css = assets.css("benchmark/benchmark.css")

    def __init__(
        self,
        classifier: Classifier | str | None = None,
        dataset: Any = None,
        results: str | Path | None = None,
        *,
        classifiers: Iterable[Classifier] | None = None,
        **options: Any,
    ) -> None:
        for name in options:
            if name not in OPTIONS:
                raise unknown("option of Benchmark", name, OPTIONS)
        known = Networks([*given(classifier, "Benchmark"), *(classifiers or ())])
        sets, data = _data(dataset, nothing=classifier is None)
        self._folder = tempfile.TemporaryDirectory(prefix="camwidgets-")
        super().__init__(known, sets, _networks=known.options(), _sets=_offered(sets))
        bare = "toy" if dataset is None else EMBEDDED
        self.network = classifier if isinstance(classifier, str) else next(iter(known.given), bare)
        self.data = data
        self._methods, self._tests = method_words(None), measure_words(None)
        for name, value in options.items():
            setattr(self, name, value)
        self.results = "" if results is None else str(results)
        self.on_msg(self._hear)
        self._ready = True
        self._ask()

    def __repr__(self) -> str:
        progress = self._progress
        far = f", {progress['done']} of {progress['total']} pictures" if "done" in progress else ""
        return f"Benchmark({self.network!r}, {self.data or 'no data set'!r}, {progress['state']}{far})"

    # ------------------------------------------------------------------ for scripts and notebooks

    def run(self) -> Benchmark:
        """Evaluate what is asked, in a thread of its own; what is on record is not computed again. Returns self.

        Raises ValueError if something runs already, or no data set was chosen; what else is wrong is told in `error`.
        """
        with self._lock:
            if self._clock is not None:
                raise ValueError("a run is going on; cancel it, or wait until it is done")
            if not self.data:
                raise ValueError("no data set was chosen; set data to a path, 'toyworld' or 'textures'")
            there = self._found.get("pictures", 0)
            total = min(self.limit or there, there) if self.mosaics is None else CELLS * self.mosaics
            clock = self._clock = Clock(total, self._far)
            self._following = True
            self._status = {"state": "idle"}
            self._progress = clock.words("running") | {"text": "opening network and data set …"}
            self._running.submit((asked_of(self), self._path, clock))
        return self

    def cancel(self) -> Benchmark:
        """End the run before the next pass through the network; the picture in work is not recorded.

        What is done is kept, and `run()` goes on with it. Returns self.
        """
        with self._lock:
            if self._clock is not None:
                self._clock.stop.set()
                self._progress = {**self._progress, "state": "stopping"}
        return self

    def wait(self, timeout: float = 600) -> Benchmark:
        """Block until nothing runs any more; returns self. Raises `TimeoutError` after `timeout` seconds."""
        end = time.monotonic() + timeout
        for worker in self._workers:
            if not worker.wait(max(0.0, end - time.monotonic())):
                raise TimeoutError(f"the benchmark was still busy after {timeout:g} s: {self!r}")
        return self

    @property
    def report(self) -> Report | None:
        """The report of the run on screen."""
        return self._shown[1] if self._shown else None

    @property
    def runs(self) -> list[Run]:
        """The runs on record, newest first."""
        if not self._path.is_file():
            return []
        with Results(self._path) as kept:
            return kept.runs()

    def show(self, run: int, before: int | None = None) -> Benchmark:
        """Put a run on record on screen, beside another one to compare it with; returns self."""
        for number in (run, *([] if before is None else [before])):
            self._on_record(number)
        self._following = False
        self._looking.submit(Look(self._path, run, None, before))
        return self

    def delete(self, run: int) -> Benchmark:
        """Take a run off the record; what it computed still answers others. Returns self."""
        self._on_record(run)
        if self._clock is not None:
            raise ValueError("a run is going on; runs are deleted when it is done")
        with Results(self._path) as kept:
            kept.delete(run)
        with self._lock:
            if run in (self._report.get("run"), self._before):
                self._clear()
            self._list()
        return self

    def backup(self, path: str | Path) -> Path:
        """A copy of the whole file of results, also while a run is going on; no file's place is taken."""
        if not self._path.is_file():
            raise ResultsError("nothing is on record yet")
        with Results(self._path) as kept:
            return kept.backup(path)

    def close(self) -> None:
        """End the run before its next pass, end the threads, and close the widget."""
        if hasattr(self, "_running"):
            self.cancel()
            for worker in self._workers:
                worker.close()
            self._shown = self._items = None
            self._folder.cleanup()
        super().close()

    # ------------------------------------------------------------------ traits

    @t.validate("results")
    def _usable(self, proposal: Any) -> str:
        text = proposal.value.strip()
        try:
            if text and Path(text).expanduser().exists():
                Results(text).close()
            elif text and not Path(text).expanduser().parent.is_dir():
                raise ResultsError(f"there is no folder {str(Path(text).parent)!r} for the results")
        except (ResultsError, OSError) as error:
            raise BadValue(str(error)) from None
        return str(text)

    @t.observe(*ASKED, "results")
    def _asked_anew(self, change: Any) -> None:
        if self._ready:
            self._ask()
        if change.name == "results":
            self._clear()
            self._list()

    def _ask(self, download: bool = False) -> None:
        self.code = self._code()
        with self._lock:
            self._status = {"state": "working", "text": "looking at network and data set …"}
        self._setting.submit(asked_of(self, download))

    def _code(self) -> str:
        asked = asked_of(self)
        tests = asked.tests if any(asked.tests.values()) else list(asked.tests)
        words = {
            "methods": list(asked.methods), "tests": tests, "target": asked.target,
            "fit": None if asked.fit == "squash" else asked.fit, "limit": None if asked.mosaics else asked.limit,
            "seed": asked.seed, "results": self.results or None,
            **({"engine": asked.engine, "workers": asked.workers} if asked.engine != "local" else {}),
        }  # fmt: skip
        data = "dataset" if self.data in self.given else repr(self.data or "toyworld")
        cells = {"count": asked.mosaics, "limit": asked.limit, "seed": asked.seed} if asked.mosaics else None
        return benchmark_code(self.networks.code(self.network), data, words, cells)

    def _clear(self) -> None:
        with self._lock:
            self._shown = None
            self._report, self._pair, self._change = {}, {}, {}

    def _far(self, words: dict[str, Any]) -> None:
        with self._lock:
            self._progress = words

    @property
    def _before(self) -> int | None:
        """The run that the one on screen is compared with."""
        return (self._change.get("before") or {}).get("run")

    @property
    def _path(self) -> Path:
        return Path(self.results).expanduser() if self.results else Path(self._folder.name) / "runs.sqlite"

    # ------------------------------------------------------------------ messages from the front end

    def _act(self, content: dict[str, Any], buffers: list[Any]) -> None:
        kind = content.get("kind")
        if kind == "run":
            # What was just chosen may still be on its way: the front end holds changes back while the kernel is busy.
            for name, value in dict(content.get("asked") or {}).items():
                setattr(self, choose("trait", name, (*ASKED, "results")), value)
            self.run()
        elif kind == "cancel":
            self.cancel()
        elif kind == "offer":
            self._ask(download=True)
        elif kind == "dismiss":
            with self._lock:
                self._status = {"state": "idle"}
        elif kind == "show":
            self.show(int(content["run"]), content.get("before"))
        elif kind == "pair":
            self._put_beside(str(content["a"]), str(content["b"]))
        elif kind == "delete":
            self.delete(int(content["run"]))
            self._say(f"Run {content['run']} is deleted.")
        elif kind == "again":
            self._again(int(content["run"]))
        elif kind == "backup":
            self._say(f"Copied to {self.backup(str(content['path']))}.")
        elif kind == "save":
            self._send_file(str(content["what"]))

    def _put_beside(self, a: str, b: str) -> None:
        if self._shown is None:
            raise ValueError("no run is on screen")
        path, report = self._shown
        for name in (a, b):
            choose("method of this run", name, report.methods)
        self._looking.submit(Look(path, report.run.id, (a, b), self._before))

    def _again(self, number: int) -> None:
        """Ask for what a run on record was asked, as far as it can be chosen here; what cannot is said."""
        asked = self._on_record(number).request
        traits, left = asked_again(asked, self.networks.names(), [self.data, *self.given, *WORLDS])
        with self._lock, self.hold_trait_notifications():
            for name, value in traits.items():
                setattr(self, name, value)
        if left:
            self._say(f"Set as run {number}, but {'; '.join(left)}.")

    def _on_record(self, number: int) -> Run:
        for run in self.runs:
            if run.id == number:
                return run
        valid = ", ".join(str(run.id) for run in self.runs) or "none"
        raise ValueError(f"there is no run {number!r} on record; there are: {valid}")

    def _send_file(self, what: str) -> None:
        choose("kind of file", what, FILES)
        if self.report is None:
            raise ValueError("no run is on screen that could be saved")
        self._exporting.submit((self.report, what))


def _data(dataset: Any, nothing: bool) -> tuple[dict[str, Items], str]:
    """The data sets that were given, by name, and the one to begin with."""
    if dataset is None:
        dataset = "toyworld" if nothing else ""
    if isinstance(dataset, (str, os.PathLike)):
        return {}, str(dataset)
    items = open_dataset(dataset)
    return {items.name: items}, items.name


def _offered(sets: dict[str, Items]) -> list[dict[str, str]]:
    found = [{"value": name, "text": name, "group": "Given"} for name in sets]
    return found + [{"value": name, "text": text, "group": "Built in"} for name, text in WORLDS.items()]
