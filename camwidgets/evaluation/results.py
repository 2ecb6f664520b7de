"""Results on disk: one SQLite file, picture by picture, safe against a kill at any moment.

WAL journal, one transaction a picture. What was computed once is found again by its key (a hash of the weights, the
input, the truth, the method and the test), by any later run and by other processes that write to the same file.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

SCHEMA = 1
PATIENCE = 60.0  # seconds that a writer waits for another one
MANY = 500  # keys asked for at a time
_TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS outcomes (
    key TEXT PRIMARY KEY, "values" TEXT, error TEXT, seconds REAL NOT NULL, forward INTEGER NOT NULL,
    backward INTEGER NOT NULL, target INTEGER NOT NULL, probability REAL NOT NULL, made TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY, made TEXT NOT NULL, identity TEXT NOT NULL UNIQUE, request TEXT NOT NULL,
    state TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
    run INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE, item TEXT NOT NULL, label TEXT NOT NULL,
    probability REAL NOT NULL, method TEXT NOT NULL, test TEXT NOT NULL, key TEXT NOT NULL,
    PRIMARY KEY (run, item, method, test)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS skipped (
    run INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE, item TEXT NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (run, item)) WITHOUT ROWID;
"""


class ResultsError(RuntimeError):
    """The file of results cannot be used; the sentence says why, and what to do."""


@dataclass(frozen=True)
class Outcome:
    """What one test said of one method's map of one picture: `values`, or `error` (one sentence).

    seconds, forward, backward: what the map cost. target, probability: the class explained, and p_c of the picture.
    """

    key: str
    method: str
    test: str
    values: dict[str, Any] | None
    error: str | None = None
    seconds: float = 0.0
    forward: int = 0
    backward: int = 0
    target: int = 0
    probability: float = 0.0


@dataclass(frozen=True)
class Picture:
    """All that came out for one picture; or why it was skipped."""

    item: str
    label: str = ""
    probability: float = 0.0
    outcomes: tuple[Outcome, ...] = ()
    skipped: str | None = None


@dataclass(frozen=True)
class Run:
    """A run that is on record. state: "running" (or broken off), "done", "cancelled"."""

    id: int
    made: str
    request: dict[str, Any] = field(repr=False)
    state: str
    pictures: int


class Results:
    """A file of results; use as a context manager or `close()` it.

    Example:
        >>> with Results(":memory:") as results:
        ...     run = results.start({"model": "toy"})
        ...     results.add(run, Picture("a.png", "cat", 0.9, (Outcome("k", "gradcam", "energy", {"inside": 0.5}),)))
        ...     results.known(["k", "other"])["k"].values
        {'inside': 0.5}
    """

    def __init__(self, path: str | Path = ":memory:") -> None:
        self.path = path if path == ":memory:" else Path(path).expanduser()
        if isinstance(self.path, Path):
            if not self.path.parent.is_dir():
                raise ResultsError(f"there is no folder {str(self.path.parent)!r} for the results")
            if self.path.is_dir():
                raise ResultsError(f"{str(self.path)!r} is a folder; results go into one file")
        with self._told():
            self._db = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
            self._open()

    def _open(self) -> None:
        self._db.execute("PRAGMA foreign_keys = ON")
        tables = {name for (name,) in self._db.execute("SELECT name FROM sqlite_master")}
        if tables and "meta" not in tables:
            raise ResultsError(f"{str(self.path)!r} is another program's data base; name a file of its own")
        if not tables:
            self._write_ahead()
            with self._transaction():
                for statement in _TABLES.split(";"):
                    self._db.execute(statement)
                self._db.execute("INSERT OR IGNORE INTO meta VALUES ('schema', ?)", (str(SCHEMA),))
        self._db.execute("PRAGMA synchronous = NORMAL")
        (version,) = self._db.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()
        if int(version) > SCHEMA:
            raise ResultsError(
                f"{str(self.path)!r} was written by a newer version (schema {version}; this one reads {SCHEMA}): "
                f"update camwidgets, or name another file"
            )

    def _write_ahead(self) -> None:
        """Switch to a WAL journal. This one statement does not wait for another process that does the same."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > end:
                    raise
                time.sleep(0.02)

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # ------------------------------------------------------------------ writing

    def start(self, request: dict[str, Any], about: dict[str, Any] | None = None) -> int:
        """The number of the run of this request: the one on record, if it was begun before, or a new one.

        about: recorded with the request, but no part of what tells runs apart: the newest is kept.
        """
        identity = json.dumps(request, sort_keys=True, ensure_ascii=False)
        whole = json.dumps({**request, **(about or {})}, ensure_ascii=False)
        with self._told(), self._transaction():
            self._db.execute(
                "INSERT OR IGNORE INTO runs (made, identity, request, state) VALUES (?, ?, ?, 'running')",
                (_now(), identity, whole),
            )
            (number,) = self._db.execute("SELECT id FROM runs WHERE identity = ?", (identity,)).fetchone()
            self._db.execute("UPDATE runs SET state = 'running', request = ? WHERE id = ?", (whole, number))
        return int(number)

    def add(self, run: int, picture: Picture) -> None:
        """All of one picture, or nothing: one transaction."""
        with self._told(), self._transaction():
            if picture.skipped is not None:
                self._db.execute("DELETE FROM entries WHERE run = ? AND item = ?", (run, picture.item))
                row = (run, picture.item, picture.skipped)
                self._db.execute("INSERT OR REPLACE INTO skipped VALUES (?, ?, ?)", row)
                return
            self._db.execute("DELETE FROM skipped WHERE run = ? AND item = ?", (run, picture.item))
            for o in picture.outcomes:
                values = None if o.values is None else json.dumps(o.values)
                about = (o.seconds, o.forward, o.backward, o.target, o.probability, _now())
                outcome = (o.key, values, o.error, *about)
                # An error is tried again by the next run; a value stays as it was first computed.
                self._db.execute("DELETE FROM outcomes WHERE key = ? AND error IS NOT NULL", (o.key,))
                self._db.execute("INSERT OR IGNORE INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", outcome)
                entry = (run, picture.item, picture.label, picture.probability, o.method, o.test, o.key)
                self._db.execute("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)", entry)

    def finish(self, run: int, state: str = "done") -> None:
        """Say how a run ended."""
        with self._told(), self._transaction():
            self._db.execute("UPDATE runs SET state = ? WHERE id = ?", (state, run))

    def delete(self, run: int) -> None:
        """Forget a run. What it computed stays for others."""
        with self._told(), self._transaction():
            self._db.execute("DELETE FROM runs WHERE id = ?", (run,))

    def backup(self, path: str | Path) -> Path:
        """A copy of the whole file, consistent while others write."""
        target = Path(path).expanduser()
        if target.exists():
            raise ResultsError(f"{str(target)!r} is there already; a backup takes no file's place")
        with self._told(), sqlite3.connect(target) as copy:
            self._db.backup(copy)
        copy.close()
        return target

    # ------------------------------------------------------------------ reading

    def known(self, keys: Sequence[str]) -> dict[str, Outcome]:
        """What is on record of these keys, errors left out."""
        found: dict[str, Outcome] = {}
        with self._told():
            for start in range(0, len(keys), MANY):
                some = list(keys[start : start + MANY])
                marks = ", ".join("?" * len(some))
                rows = self._db.execute(
                    f'SELECT key, "values", seconds, forward, backward, target, probability FROM outcomes '
                    f"WHERE error IS NULL AND key IN ({marks})",
                    some,
                )
                for key, values, *about in rows:
                    found[key] = Outcome(key, "", "", json.loads(values), None, *about)
        return found

    def runs(self) -> list[Run]:
        """All runs, newest first."""
        with self._told():
            rows = self._db.execute(
                "SELECT id, made, request, state, (SELECT COUNT(DISTINCT item) FROM entries WHERE run = runs.id) "
                "FROM runs ORDER BY id DESC"
            ).fetchall()
        return [Run(i, made, json.loads(request), state, count) for i, made, request, state, count in rows]

    def run(self, number: int) -> Run:
        """One run."""
        for run in self.runs():
            if run.id == number:
                return run
        valid = ", ".join(str(run.id) for run in self.runs()) or "none"
        raise ValueError(f"there is no run {number!r} on record; there are: {valid}")

    def rows(self, run: int) -> Iterator[dict[str, Any]]:
        """Every outcome of a run: item, label, probability, method, test, values, error, seconds, forward, backward."""
        with self._told():
            cursor = self._db.execute(
                'SELECT e.item, e.label, e.probability, e.method, e.test, o."values", o.error, o.seconds, o.forward, '
                "o.backward FROM entries e JOIN outcomes o USING (key) WHERE e.run = ? "
                "ORDER BY e.item, e.method, e.test",
                (run,),
            )
            names = [column[0] for column in cursor.description]
            for row in cursor.fetchall():
                found = dict(zip(names, row, strict=True))
                yield found | {"values": None if found["values"] is None else json.loads(found["values"])}

    def skipped(self, run: int) -> dict[str, str]:
        """The pictures that could not be used, and why."""
        with self._told():
            return dict(self._db.execute("SELECT item, reason FROM skipped WHERE run = ? ORDER BY item", (run,)))

    def items(self, run: int) -> set[str]:
        """The pictures that are done."""
        with self._told():
            return {item for (item,) in self._db.execute("SELECT DISTINCT item FROM entries WHERE run = ?", (run,))}

    # ------------------------------------------------------------------ errors and transactions

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:  # a full disk has rolled it back already
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @contextmanager
    def _told(self) -> Iterator[None]:
        """SQLite's errors as sentences that say what to do."""
        try:
            yield
        except sqlite3.Error as error:
            raise ResultsError(_sentence(str(self.path), str(error))) from error


def _sentence(path: str, error: str) -> str:
    causes: Iterable[tuple[str, str]] = (
        ("locked", f"another process has been writing to it for {PATIENCE:.0f} s; try again, or name another file"),
        ("readonly", "it, or its folder, cannot be written to; name another file"),
        ("unable to open", "it cannot be opened or made; name a file that you may write"),
        ("full", "the disk is full; what was computed so far is kept, make room and run the same again"),
        ("not a database", "it is not a data base of results; name another file"),
        ("malformed", "it is damaged; move it away and run the same again, or restore a backup"),
        ("disk I/O", "the disk refused to read or write it"),
    )
    for mark, said in causes:
        if mark in error:
            return f"results {path!r}: {said}"
    return f"results {path!r}: {error}"


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
