"""Results on disk: found again, shared, safe, and clear when the file cannot be used."""

from __future__ import annotations

import multiprocessing
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from camwidgets.evaluation import results as module
from camwidgets.evaluation.results import Outcome, Picture, Results, ResultsError

REQUEST = {"model": "toy", "methods": ["gradcam"]}


def picture(i: int, value: float = 0.5, error: str | None = None) -> Picture:
    values = None if error else {"inside": value, "hits": [0.0, 1.0]}
    return Picture(f"{i}.png", "cat", 0.9, (Outcome(f"key {i}", "gradcam", "energy", values, error, 0.25, 3, 1),))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    with Results(tmp_path / "r.sqlite") as results:
        run = results.start(REQUEST)
        results.add(run, picture(1))
        results.add(run, picture(2, error="too dark"))
        results.add(run, Picture("3.png", skipped="not a picture"))
    with Results(tmp_path / "r.sqlite") as results:
        assert results.start(REQUEST) == run, "the same request goes on with its run"
        assert results.start({**REQUEST, "model": "other"}) != run
        rows = list(results.rows(run))
        assert [row["values"] for row in rows] == [{"inside": 0.5, "hits": [0.0, 1.0]}, None]
        assert (rows[0]["seconds"], rows[0]["forward"], rows[0]["backward"], rows[0]["label"]) == (0.25, 3, 1, "cat")
        assert rows[1]["error"] == "too dark"
        assert results.skipped(run) == {"3.png": "not a picture"}
        assert results.items(run) == {"1.png", "2.png"}
        assert set(results.known(["key 1", "key 2", "key 9"])) == {"key 1"}, "an error is no answer: it is tried again"
        found = {one.id: one for one in results.runs()}
        assert (found[run].pictures, found[run].state, found[run].request) == (2, "running", REQUEST)
        results.finish(run)
        assert results.run(run).state == "done"


def test_a_value_stays_and_an_error_is_replaced(tmp_path: Path) -> None:
    with Results(tmp_path / "r.sqlite") as results:
        run = results.start(REQUEST)
        results.add(run, picture(1, 0.5))
        results.add(run, picture(1, 0.9))
        results.add(run, picture(2, error="no"))
        results.add(run, picture(2, 0.7))
        results.add(run, Picture("4.png", skipped="gone"))
        results.add(run, picture(4))
        assert [row["values"]["inside"] for row in results.rows(run)] == [0.5, 0.7, 0.5]
        assert results.skipped(run) == {}


def test_a_picture_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    with Results(tmp_path / "r.sqlite") as results:
        run = results.start(REQUEST)
        bad = Outcome("b", "gradcam", "energy", {"inside": object()})
        with pytest.raises(TypeError):
            results.add(run, Picture("1.png", "cat", 0.9, (picture(1).outcomes[0], bad)))
        assert list(results.rows(run)) == []
        assert results.known(["key 1"]) == {}
        results.add(run, picture(1))
        assert len(list(results.rows(run))) == 1


def _write(path: str, first: int) -> None:
    with Results(path) as results:
        run = results.start(REQUEST)
        for i in range(first, first + 60):
            results.add(run, picture(i))


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    path = str(tmp_path / "r.sqlite")
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(path, first)) for first in (0, 30)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    with Results(path) as results:
        (run,) = results.runs()
        assert run.pictures == 90
        assert len(list(results.rows(run.id))) == 90


def _write_at(path: str, first: int, barrier: Any) -> None:
    barrier.wait(60)
    _write(path, first)


def test_two_processes_open_one_new_file_at_the_same_moment(tmp_path: Path) -> None:
    """Both find no file: one makes the tables, the other waits; again and again, since it is a matter of moments."""
    context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    for attempt in range(5):
        path = str(tmp_path / f"new {attempt}.sqlite")
        barrier = context.Barrier(4)
        writers = [context.Process(target=_write_at, args=(path, first, barrier)) for first in (0, 5, 10, 15)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(120)
        assert [writer.exitcode for writer in writers] == [0, 0, 0, 0]
        with Results(path) as results:
            (run,) = results.runs()
            assert run.pictures == 75
            assert results._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_what_is_recorded_beside_a_request_does_not_tell_runs_apart(tmp_path: Path) -> None:
    with Results(tmp_path / "r.sqlite") as results:
        first = results.start(REQUEST, {"source": "here"})
        assert results.run(first).request == {**REQUEST, "source": "here"}
        assert results.start(REQUEST, {"source": "there"}) == first
        assert results.run(first).request["source"] == "there"


def test_runs_are_deleted_and_backed_up(tmp_path: Path) -> None:
    with Results(tmp_path / "r.sqlite") as results:
        run = results.start(REQUEST)
        results.add(run, picture(1))
        copy = results.backup(tmp_path / "copy.sqlite")
        with pytest.raises(ResultsError, match="is there already"):
            results.backup(copy)
        results.delete(run)
        assert results.runs() == []
        assert "key 1" in results.known(["key 1"]), "what was computed stays"
        with pytest.raises(ValueError, match="there is no run 1 on record; there are: none"):
            results.run(run)
    with Results(copy) as kept:
        assert [one.pictures for one in kept.runs()] == [1]


def test_many_keys(tmp_path: Path) -> None:
    with Results(tmp_path / "r.sqlite") as results:
        run = results.start(REQUEST)
        for i in range(20):
            results.add(run, picture(i))
        assert len(results.known([f"key {i}" for i in range(2000)])) == 20


def _newer(path: Path) -> None:
    Results(path).close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE meta SET value = '99' WHERE name = 'schema'")


def _foreign(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE theirs (x)")


def _damaged(path: Path) -> None:
    with Results(path) as results:
        run = results.start(REQUEST)
        for i in range(300):
            results.add(run, picture(i))
    sqlite3.connect(path).execute("PRAGMA wal_checkpoint(TRUNCATE)").connection.close()
    data = bytearray(path.read_bytes())
    data[4096:20480] = b"\xff" * 16384
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_newer, r"written by a newer version \(schema 99; this one reads 1\): update camwidgets"),
        (_foreign, "another program's data base"),
        (lambda path: path.write_text("no data base at all, just some words " * 100), "not a data base of results"),
        (_damaged, "damaged"),
        (lambda path: path.mkdir(), "is a folder; results go into one file"),
    ],
)
def test_files_that_cannot_be_used(spoil: Any, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    spoil(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(ResultsError, match=sentence), Results(path) as results:
        list(results.rows(results.start(REQUEST)))
    assert (path.read_bytes() if path.is_file() else b"") == before, "nothing was lost or overwritten"


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="there is no folder"):
        Results(tmp_path / "nowhere" / "r.sqlite")


def test_a_locked_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    path = tmp_path / "r.sqlite"
    with Results(path) as results:
        run = results.start(REQUEST)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ResultsError, match="another process has been writing"):
            results.add(run, picture(1))
        other.execute("ROLLBACK")
        other.close()
        results.add(run, picture(1))
        assert results.items(run) == {"1.png"}


def test_a_full_disk(tmp_path: Path) -> None:
    with Results(tmp_path / "r.sqlite") as results:
        run = results.start(REQUEST)
        results.add(run, picture(0))
        pages = results._db.execute("PRAGMA page_count").fetchone()[0]
        results._db.execute(f"PRAGMA max_page_count = {pages + 1}")

        def fill() -> None:
            for i in range(1, 500):
                results.add(run, picture(i))

        with pytest.raises(ResultsError, match="the disk is full; what was computed so far is kept"):
            fill()
        done = results.items(run)
        assert "0.png" in done
        assert len(list(results.rows(run))) == len(done)


def test_a_read_only_file(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    with Results(path) as results:
        run = results.start(REQUEST)
        results._db.execute("PRAGMA query_only = ON")
        with pytest.raises(ResultsError, match="cannot be written to"):
            results.add(run, picture(1))
