"""A benchmark's record: which runs there are, what is seen of them, and files to take away."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...evaluation import Report, Results, ResultsError
from ..sources import Networks
from ..worker import Ticket, Worker, answering
from .traits import BenchmarkTraits
from .words import change_words, pair_words, report_words, run_words

SEEN = 3.0  # seconds at least between two looks at the numbers of a run that goes on
SHARE = 0.05  # of the time, at most, that such looks may take
FILES = {"csv": "text/csv", "txt": "text/plain", "html": "text/html"}


@dataclass(frozen=True)
class Look:
    """What of the record is to be seen: a run, two of its methods beside each other, the run it is compared with.

    so_far: the run goes on, and this is how far it is.
    """

    path: Path
    run: int | None
    pair: tuple[str, str] | None = None
    before: int | None = None
    so_far: bool = False


class BenchmarkRecord(BenchmarkTraits):
    """The part of `Benchmark` that reads the file of results."""

    def __init__(self, networks: Networks, **traits: Any) -> None:
        self._shown: tuple[Path, Report] | None = None
        self._next_look = 0.0  # when the numbers of a run that goes on may be looked at again
        self._looking: Worker[Look] = Worker(self._look, "camwidgets-benchmark-look", self._lost)
        self._exporting: Worker[tuple[Report, str]] = Worker(
            self._export, "camwidgets-benchmark-export", self._lost
        )
        super().__init__(networks, **traits)

    def _tell(self, text: str, ticket: Ticket) -> None:
        with self._lock:
            ticket.check()
            self._status = {"state": "working", "text": text}

    @property
    def _path(self) -> Path:
        """The file of results."""
        raise NotImplementedError

    def _list(self) -> None:
        """The runs on record, newest first; no file is made by looking."""
        found = []
        if self._path.is_file():
            with Results(self._path) as kept:
                found = [run_words(run) for run in kept.runs()]
        with self._lock:
            self._runs = found

    def _list_again(self) -> None:
        """After a run: what is wrong with the file by now is said, and ends nothing else."""
        try:
            self._list()
        except (ResultsError, OSError) as error:
            if self.error is None:
                self._fail(error)

    def _look(self, look: Look, ticket: Ticket) -> None:
        with answering(ticket, self._lock, self._fail):
            if look.so_far:
                self._look_in(look, ticket)
                return
            if self.error is None:  # what ended a run stays to be read beside what it left
                self._tell("reading the results …", ticket)
            report = self._read(look)
            words = self._report if self._holds(look, report) else report_words(report)
            beside = look.pair or tuple(report.methods[:2])
            pair = pair_words(report, *beside) if len(beside) == 2 else {}
            ticket.check()
            change = {} if look.before is None else change_words(Report.open(look.path, look.before), report)
            with self._lock:
                ticket.check()
                self._shown = (look.path, report)
                self._report, self._pair, self._change = words, pair, change
                self._rest()

    def _look_in(self, look: Look, ticket: Ticket) -> None:
        """The table of a run that goes on; the next one after at least `SEEN` seconds."""
        began = time.monotonic()
        report = Report.open(look.path, look.run)
        words = report_words(report, so_far=True) if report.rows else None
        with self._lock:
            ticket.check()
            now = time.monotonic()
            self._next_look = now + max(SEEN, (now - began) / SHARE)
            if words is not None:
                self._shown = (look.path, report)
                self._report, self._pair, self._change = words, {}, {}

    def _read(self, look: Look) -> Report:
        shown = self._shown
        if shown and shown[0] == look.path and shown[1].run.id == look.run and shown[1].run.state != "running":
            return shown[1]
        return Report.open(look.path, look.run)

    def _holds(self, look: Look, report: Report) -> bool:
        """Whether what is on screen is this very report: its intervals need not be drawn again."""
        return self._shown is not None and self._shown[1] is report and self._report.get("run") == report.run.id

    # ------------------------------------------------------------------ taking it away

    def _export(self, job: tuple[Report, str], ticket: Ticket) -> None:
        """A file of the run on screen, made here and sent to the browser."""
        report, what = job
        with answering(ticket, self._lock, self._fail):
            self._tell(f"writing the {what.upper()} file …", ticket)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"run-{report.run.id}.{what}"
                if what == "txt":
                    path.write_text(report.to_text(), encoding="utf-8")
                else:
                    {"csv": report.to_csv, "html": report.to_html}[what](path)
                data = path.read_bytes()
            with self._lock:
                ticket.check()
                self.send({"kind": "file", "name": path.name, "type": FILES[what]}, [data])
                self._rest()
