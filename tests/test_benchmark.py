"""Benchmark without a browser: what may be asked, runs, cancelling and going on, past runs, files, errors, threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import traitlets
from PIL import Image

import camwidgets
from camwidgets import Benchmark
from camwidgets.datasets import open_dataset
from camwidgets.widgets.benchmark import work
from camwidgets.widgets.benchmark.work import Clock
from camwidgets.widgets.worker import Superseded
from tests.explorer_nets import Gate, photo, small

QUICK: dict[str, Any] = {"methods": ["layercam", "random"], "tests": ["energy"], "limit": 6}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Benchmark]:
    made = Benchmark("toy", "toyworld", tmp_path / "runs.sqlite", **QUICK).wait()
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Class folders without boxes: four pictures, one of them broken."""
    root = tmp_path / "pictures"
    for name in ("fox", "owl"):
        (root / name).mkdir(parents=True)
        for i in range(2):
            Image.fromarray(photo(i + len(name))).save(root / name / f"{i}.png")
    (root / "owl" / "1.png").write_bytes(b"this is no picture")
    return root


def until(holds: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("camwidgets-benchmark")]


# ---------------------------------------------------------------------------------------------- running


def test_a_run_says_what_evaluate_says(bench: Benchmark) -> None:
    report = bench.run().wait().report
    assert report is not None
    assert bench.error is None
    alone = camwidgets.evaluate(
        camwidgets.load("toy"), "toyworld", ["layercam", "random"], ["energy"], limit=6, progress=False
    )
    pd.testing.assert_frame_equal(report.table(), alone.table())
    low, high = alone.intervals()
    words = bench._report["rows"][0]
    assert words["method"] == "LayerCAM"
    assert words["cells"][0] == [alone.table().iloc[0, 0], low.iloc[0, 0], high.iloc[0, 0]]
    assert [words["forward"], words["backward"], words["baseline"]] == [1, 1, False]
    assert bench._report["rows"][1]["baseline"] is True
    assert bench._progress["state"] == "done"
    assert bench._progress["done"] == bench._progress["total"] == 6
    line = bench._pair["rows"][0]
    wanted = alone.paired("LayerCAM", "random").iloc[0]
    assert [line["difference"], line["low"], line["high"]] == [wanted["difference"], wanted["low"], wanted["high"]]


def test_the_code_gives_the_same_table(bench: Benchmark) -> None:
    bench.enhanced, bench.parameters, bench.tests = ["layercam"], {"pointing": {"points": 9}}, ["pointing"]
    bench.limit = 2
    report = bench.run().wait().report
    assert report is not None
    assert bench.error is None
    names: dict[str, Any] = {}
    exec(bench.code, names)
    assert list(report.table().index) == ["LayerCAM", "random", "LayerCAM · enhanced"]
    pd.testing.assert_frame_equal(names["report"].table(), report.table())


def test_nothing_given_can_be_run_at_once() -> None:
    bench = Benchmark().wait()
    try:
        assert [bench.network, bench.data, bench.problem] == ["toy", "toyworld", ""]
        assert bench._found["text"] == "1000 pictures, 10 classes, boxes, masks"
    finally:
        bench.close()


def test_a_data_set_in_memory_can_be_given() -> None:
    items = open_dataset("toyworld", n=5, seed=3)
    bench = Benchmark("toy", items, **QUICK).wait()
    try:
        report = bench.run().wait().report
        assert report is not None
        assert report.pictures == 5
        assert "    dataset,\n" in bench.code
        assert "# dataset: the one that was given" in bench.code
        bench.data = "/no/such/place"
        assert bench.wait().error is not None
        assert bench.data == items.name
    finally:
        bench.close()


# ---------------------------------------------------------------------------------------------- cancelling


def test_cancel_keeps_what_is_done_and_the_next_run_goes_on(tmp_path: Path) -> None:
    gate = Gate()
    options: dict[str, Any] = {"methods": ["gradcam"], "tests": ["energy"], "limit": 99, "target": "predicted"}
    bench = Benchmark(small(module=gate), "toyworld", tmp_path / "runs.sqlite", **options).wait()
    try:
        bench.run()
        until(lambda: bench._progress["done"] >= 1)
        gate.open.clear()
        gate.begun.clear()
        assert gate.begun.wait(120)  # in the middle of a picture
        bench.cancel()
        assert bench._progress["state"] == "stopping"
        with pytest.raises(ValueError, match="a run is going on"):
            bench.run()
        gate.open.set()
        bench.wait()
        done = bench._progress["done"]
        assert bench._progress["state"] == "cancelled"
        assert 1 <= done < 99
        assert [(run.state, run.pictures) for run in bench.runs] == [("cancelled", done)]
        assert bench.report is not None
        assert bench.report.pictures == done  # what there is, is on screen
        bench.run().wait()
        assert [(run.state, run.pictures) for run in bench.runs] == [("done", 99)]
        assert bench._report["done"] == 99
    finally:
        gate.open.set()
        bench.close()


def test_cancel_is_heard_within_a_picture(tmp_path: Path) -> None:
    """Between two passes: of a picture that would take hours nothing is waited for, and nothing is recorded."""
    options: dict[str, Any] = {"methods": ["gradcam"], "enhanced": [], "tests": ["insertion-deletion"], "limit": 2}
    bench = Benchmark("toy", "toyworld", tmp_path / "runs.sqlite", **options).wait()
    try:
        bench.parameters = {"insertion-deletion": {"steps": 9000}}
        bench.wait()
        done = threading.Event()
        seen = camwidgets.Classifier.logits
        with pytest.MonkeyPatch.context() as patch:

            def slow(self: Any, x: Any) -> Any:
                done.set()
                time.sleep(0.05)
                return seen(self, x)

            patch.setattr(camwidgets.Classifier, "logits", slow)
            bench.run()
            assert done.wait(60)
            bench.cancel().wait(60)
        assert bench._progress["state"] == "cancelled"
        assert bench._progress["done"] == 0
        assert [(run.state, run.pictures) for run in bench.runs] == [("cancelled", 0)]
        assert bench.error is None
    finally:
        bench.close()


def test_the_table_is_brought_up_to_date_while_a_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("camwidgets.widgets.benchmark.record.SEEN", 0.0)
    gate = Gate()
    options: dict[str, Any] = {"methods": ["gradcam", "random"], "tests": ["energy"], "target": "predicted"}
    bench = Benchmark(small(module=gate), "toyworld", tmp_path / "runs.sqlite", limit=40, **options).wait()
    try:
        bench.run()
        until(lambda: bench._progress["done"] >= 3 and bool(bench._report))
        gate.open.clear()
        until(lambda: not bench._looking.busy)
        words = bench._report
        assert words["state"] == "running"
        assert 1 <= words["pictures"] < 40
        value, low, high = words["rows"][0]["cells"][0]
        assert 0 <= value <= 1
        assert low is high is None
        assert bench._pair == {}
        gate.open.set()
        bench.wait()
        assert bench._report["state"] == "done"
        assert bench._report["pictures"] == 40
        assert bench._report["rows"][0]["cells"][0][1] is not None
        first = bench._report["run"]
        bench.limit = 41
        bench.wait()
        bench.run()
        until(lambda: bench._progress["done"] >= 1)
        bench.show(first)  # who looks at another run is left there
        bench.wait()
        assert bench._report["run"] == first
        assert bench._progress["state"] == "done"
    finally:
        gate.open.set()
        bench.close()


def test_the_clock_tells_the_present_rate_and_stops_between_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    now, said = [100.0], list[dict[str, Any]]()
    monkeypatch.setattr("camwidgets.widgets.benchmark.work.time.monotonic", lambda: now[0])
    clock = Clock(100, said.append)
    for done in range(1, 61):  # thirty pictures in ten seconds each, thirty in two
        now[0] += 10 if done <= 30 else 2
        clock(done, 100)
    assert said[-1] == {"state": "running", "done": 60, "total": 100, "rate": 0.5, "left": 80.0, "seconds": 360.0}
    clock.stop.set()
    with pytest.raises(Superseded):
        clock(61, 100)
    clock(100, 100)  # it was the last one: nothing is left to be cancelled


def test_the_rate_is_of_pictures_not_of_what_came_before_nor_of_a_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray takes a minute to start, and its workers hand in their pictures by the dozen."""
    now, said = [0.0], list[dict[str, Any]]()
    monkeypatch.setattr("camwidgets.widgets.benchmark.work.time.monotonic", lambda: now[0])
    clock = Clock(200, said.append)
    now[0] = 100.0
    for done in range(1, 121):  # ten come together, each second: ten a second, whenever it is asked
        now[0] += (done - 1) % 10 == 0
        clock(done, 200)
    assert said[0] == {"state": "running", "done": 1, "total": 200, "rate": None, "left": None, "seconds": 101.0}
    assert all(8 <= one["rate"] <= 12 for one in said[1:])
    assert clock.words("running")["rate"] == pytest.approx(10, rel=0.2)


def test_what_ray_does_before_the_first_picture_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    bench = Benchmark("toy", "toyworld", **QUICK, engine="ray").wait()
    monkeypatch.setattr(work, "evaluate", lambda *_, **__: told.append(bench._progress["text"]))
    try:
        bench.run().wait()
        bench.engine = "local"
        bench.run().wait()
        assert [text.startswith("starting Ray") for text in told] == [True, False]
    finally:
        bench.close()


def test_close_ends_the_run_and_every_thread() -> None:
    bench = Benchmark("toy", "toyworld", **QUICK | {"limit": None})
    bench.run()
    until(lambda: bench._progress.get("done", 0) >= 1)
    place = Path(bench._folder.name)
    assert threads()
    assert place.is_dir()
    bench.close()
    assert threads() == []
    assert not place.exists()


# ---------------------------------------------------------------------------------------------- past runs


def test_runs_are_reopened_compared_and_deleted(bench: Benchmark) -> None:
    bench.run().wait()
    bench.limit = 3
    bench.run().wait()
    assert [one["run"] for one in bench._runs] == [2, 1]
    assert bench._report["pictures"] == 3
    bench.show(1).wait()
    assert [bench._report["run"], bench._report["pictures"], bench._change] == [1, 6, {}]
    bench.show(2, before=1).wait()
    assert [bench._change["before"]["run"], bench._change["after"]["run"]] == [1, 2]
    cell = bench._change["rows"][0]["cells"][0]
    assert cell["before"] == cell["after"]  # the same pictures by the same net
    assert cell["kind"] == "the same"
    bench.delete(1)
    assert [one["run"] for one in bench._runs] == [2]
    assert bench._report == bench._change == {}
    with pytest.raises(ValueError, match="no run 1 on record; there are: 2"):
        bench.show(1)


def test_another_network_is_compared_on_the_same_pictures(bench: Benchmark) -> None:
    bench.run().wait()
    bench.network = "toy-shortcut"
    bench.run().wait()
    assert bench.error is None
    bench.show(2, before=1).wait()
    assert bench._change["common"] == 6
    cell = bench._change["rows"][0]["cells"][0]
    assert cell["difference"] == pytest.approx(cell["after"] - cell["before"])
    assert cell["low"] < cell["difference"] < cell["high"]
    assert bench._change["rows"][1]["cells"][0]["kind"] == "the same"  # "random" knows no network


def test_set_again_chooses_what_the_run_was_made_of(bench: Benchmark, folder: Path, tmp_path: Path) -> None:
    bench.data = str(folder)
    bench.wait()
    bench.target, bench.fit, bench.tests, bench.enhanced = "predicted", "crop", ["confidence"], ["gradcam"]
    bench.wait()
    bench.run().wait()
    assert bench.error is None
    other = Benchmark("toy-shortcut", "toyworld", bench.results).wait()
    try:
        other._act({"kind": "again", "run": 1}, [])
        other.wait()
        assert [other.network, other.data, other.target, other.fit] == ["toy", str(folder), "predicted", "crop"]
        assert [other.methods, other.enhanced, other.tests] == [["layercam", "random"], ["gradcam"], ["confidence"]]
        assert other.error is None
        assert other.problem == ""
        other.run().wait()
        assert len(other.runs) == 1  # it went on with it
        other.data = "toyworld"
        other.wait()
        folder.rename(tmp_path / "moved")
        other._act({"kind": "again", "run": 1}, [])
        assert other._status["text"] == f"Set as run 1, but its pictures are not at {str(folder)!r} any more."
    finally:
        other.close()


def test_set_again_says_what_cannot_be_chosen(bench: Benchmark) -> None:
    from camwidgets.maps.method import Method

    mine = Method("mine", "Mine", lambda request: request.x[0, 0].abs(), "", "", kind="picture")
    world = open_dataset("toyworld", n=4, seed=3)
    net = small()
    camwidgets.evaluate(net, world, [mine, "gradcam"], ["confidence"], results=bench.results, target="predicted",
                        fit=None, progress=False)  # fmt: skip
    bench._list()
    bench._act({"kind": "again", "run": 1}, [])
    text = bench._status["text"]
    assert text.startswith("Set as run 1, but 'Mine' is a method of somebody's own; ")
    assert f"the network {net.name!r} is not among these" in text
    assert "it was made on toyworld opened with n=4, seed=3" in text
    assert "fitted in the network's own way" in text
    bench.wait()
    assert [bench.methods, bench.tests, bench.target] == [["gradcam"], ["confidence"], "predicted"]


def test_another_benchmark_finds_the_runs(bench: Benchmark, tmp_path: Path) -> None:
    bench.run().wait()
    other = Benchmark("toy", "toyworld", bench.results, tests=["pointing"]).wait()
    try:
        assert [one["state"] for one in other._runs] == ["done"]
        other._act({"kind": "again", "run": 1}, [])
        assert [other.methods, other.enhanced, other.tests] == [["layercam", "random"], [], ["energy"]]
        assert other.limit == 6
        other.run().wait()
        assert len(other.runs) == 1  # the same request is the same run
        copy = other.backup(tmp_path / "copy.sqlite")
        assert camwidgets.Report.open(copy).pictures == 6
        other.results = str(copy)
        assert other._report == {}
        assert len(other._runs) == 1
    finally:
        other.close()


def test_without_a_file_nothing_is_left_behind() -> None:
    bench = Benchmark("toy", "toyworld", **QUICK)
    with pytest.raises(RuntimeError, match="nothing is on record yet"):
        bench.backup("copy.sqlite")
    bench.run().wait()
    assert len(bench.runs) == 1
    bench.close()
    assert not Path(bench._folder.name).exists()


def test_mosaics_of_the_pictures(bench: Benchmark, folder: Path) -> None:
    bench.limit, bench.mosaics, bench.tests = 30, 2, ["energy"]
    bench.wait()
    assert bench.problem == ""
    report = bench.run().wait().report
    assert bench.error is None
    assert report is not None
    assert report.pictures == 8
    assert bench._progress["total"] == 8
    names: dict[str, Any] = {}
    exec(bench.code, names)
    pd.testing.assert_frame_equal(names["report"].table(), report.table())
    bench.tests = ["energy", "segmentation"]
    bench.wait()
    assert bench.tests == ["energy"]
    assert bench._status["text"] == "Switched off: segmentation (mosaics have no masks)."
    bench.mosaics, bench.limit = None, 5
    bench.wait()
    bench._act({"kind": "again", "run": 1}, [])
    bench.wait()
    assert [bench.mosaics, bench.data] == [2, "toyworld"]
    bench.data, bench.mosaics = str(folder), 1  # class folders have no boxes; mosaics of them do
    bench.wait()
    assert bench.tests == ["energy"]
    assert "target='predicted'" in bench.problem or "does not have" in bench.problem  # the toy knows no fox


def test_a_curve_over_layers_is_told(bench: Benchmark) -> None:
    bench.tests, bench.parameters, bench.limit = ["cascading"], {"cascading": {"layers": "head+S1"}}, 3
    report = bench.wait().run().wait().report
    assert report is not None
    by_name = {one["name"]: one for one in bench._report["results"]}
    curve = by_name["cascading-mean"]["curve"]
    assert [one["method"] for one in curve] == ["LayerCAM", "random"]
    frame = report.by_step("cascading-mean")
    assert [value for one in curve for value in one["value"]] == frame["value"].tolist()
    assert curve[0]["steps"] == ["head", "S1"]


def test_engine_and_fit_go_to_evaluate(bench: Benchmark, monkeypatch: pytest.MonkeyPatch) -> None:
    """That Ray's numbers are those of this process is shown in test_ray.py."""
    from camwidgets.widgets.benchmark import work as benchmark_work

    asked: dict[str, Any] = {}
    made = benchmark_work.evaluate

    def here(*given: Any, **options: Any) -> Any:
        asked.update(options)
        return made(*given, **options | {"engine": "local"})

    monkeypatch.setattr(benchmark_work, "evaluate", here)
    monkeypatch.setattr(benchmark_work, "find_spec", lambda name: None)
    bench.engine, bench.workers, bench.fit = "ray", 3, "crop"
    bench.wait()
    assert bench.problem == "engine 'ray' needs Ray: pip install 'camwidgets[ray]'"
    monkeypatch.setattr(benchmark_work, "find_spec", lambda name: name)
    bench.seed = 1
    bench.wait()
    assert bench.problem == ""
    for line in ("fit='crop'", "engine='ray'", "workers=3"):
        assert f"    {line},\n" in bench.code
    bench.run().wait()
    assert bench.error is None
    assert [asked["engine"], asked["workers"], asked["fit"]] == ["ray", 3, "crop"]


def test_an_error_in_the_middle_of_a_run_stays_to_be_read(bench: Benchmark, monkeypatch: pytest.MonkeyPatch) -> None:
    from camwidgets.evaluation import runner

    made, count = runner.work, [0]

    def breaks(*given: Any) -> Any:
        count[0] += 1
        if count[0] == 4:
            raise KeyError("out of the blue")
        return made(*given)

    monkeypatch.setattr(runner, "work", breaks)
    bench.run().wait()
    assert bench.error is not None
    assert "out of the blue" in bench.error
    assert bench._progress["state"] == "failed"
    assert bench._report["pictures"] == 3, "beside what is done"


# ---------------------------------------------------------------------------------------------- what cannot be


def test_tests_that_the_data_set_cannot_serve_are_switched_off_and_it_is_said(folder: Path) -> None:
    bench = Benchmark(small(), folder, methods=["gradcam"], limit=None).wait()
    try:
        assert bench.tests == ["insertion-deletion"]
        assert "energy" not in bench.code
        assert bench._status["text"] == "Switched off: energy, pointing (this data set has no boxes)."
        why = {one["value"]: one["why"] for one in bench._tests}
        assert why["energy"] == "needs boxes; this data set has none"
        assert why["segmentation"] == "needs masks; this data set has none"
        assert why["insertion-deletion"] == ""
    finally:
        bench.close()


def test_a_data_set_is_listed_once(bench: Benchmark, folder: Path) -> None:
    for data in (str(folder), "textures", str(folder), "toyworld"):
        bench.data = data
        bench.wait()
    assert [one["value"] for one in bench._sets] == ["toyworld", "textures", str(folder)]


def test_a_broken_picture_is_listed_and_the_rest_goes_on(folder: Path) -> None:
    bench = Benchmark(small(), folder, methods=["gradcam"], tests=["confidence"], limit=None).wait()
    try:
        bench.run().wait()
        assert bench.error is None
        assert bench._report["pictures"] == 3
        ((item, reason),) = bench._report["skipped"]
        assert item == "owl/1.png"
        assert "picture" in reason
    finally:
        bench.close()


def test_what_is_wrong_is_said_before_it_runs(folder: Path) -> None:
    bench = Benchmark("toy", folder, methods=["gradcam"], tests=["confidence"]).wait()
    try:
        assert "target='predicted'" in bench.problem  # the toy knows no fox
        bench.run().wait()
        assert bench.error == bench.problem
        assert bench._progress["state"] == "failed"
        assert "Traceback" in bench._status["details"]
        bench.target = "predicted"
        bench.wait()
        assert bench.problem == ""
        assert bench.run().wait().error is None
        bench.methods = []
        assert bench.wait().problem == "no method was given to evaluate"
    finally:
        bench.close()


def test_a_path_without_a_data_set_leaves_the_one_before(bench: Benchmark) -> None:
    bench.set_state({"data": "/no/such/place"})
    bench.wait()
    assert bench.error is not None
    assert bench.error.startswith("there is no data set at '/no/such/place'")
    assert bench.data == "toyworld"
    assert "/no/such/place" not in bench.code
    assert bench.run().wait().error is None


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("network", "no-net", "unknown network"), ("methods", ["layercamm"], "layercam"),
        ("enhanced", ["centre"], "unknown method"), ("tests", ["enrgy"], "energy"),
        ("target", "both", "predicted"), ("limit", 0, "from 1 up"), ("mosaics", 0, "the pictures as they are"),
        ("fit", "stretch", "squash"), ("engine", "spark", "local"), ("workers", 0, "from 1 up"),
        ("parameters", {"cascading": {"layers": "head+"}}, "names joined by"), ("seed", -1, "from 0 up"),
        ("parameters", {"pointing": {"points": 0}}, "between 1 and"), ("results", "/no/such/x.sqlite", "no folder"),
    ],
)  # fmt: skip
def test_bad_values_are_refused_in_python_and_said_in_the_widget(
    bench: Benchmark, name: str, value: Any, words: str
) -> None:
    before = getattr(bench, name)
    with pytest.raises(traitlets.TraitError, match=words):
        setattr(bench, name, value)
    bench.set_state({name: value})
    assert bench.error is not None
    assert words in bench.error
    assert getattr(bench, name) == before


def test_a_file_that_is_no_results_is_refused(tmp_path: Path, bench: Benchmark) -> None:
    (tmp_path / "notes.txt").write_text("not a data base" * 100)
    with pytest.raises(traitlets.TraitError, match="not a data base of results"):
        bench.results = str(tmp_path / "notes.txt")


def test_messages_that_cannot_be_answered_are_said(bench: Benchmark) -> None:
    for content, words in (
        ({"kind": "save", "what": "csv"}, "no run is on screen"),
        ({"kind": "delete", "run": 7}, "no run 7 on record"),
        ({"kind": "pair", "a": "x", "b": "y"}, "no run is on screen"),
        ({"kind": "backup", "path": "x"}, "nothing is on record"),
    ):
        bench._handle_custom_msg(content, [])
        assert bench.error is not None
        assert words in bench.error
    bench._handle_custom_msg({"kind": "dismiss"}, [])
    assert bench.error is None


def test_run_takes_along_what_was_just_chosen(bench: Benchmark) -> None:
    bench._handle_custom_msg({"kind": "run", "asked": {"limit": 2, "methods": ["centre"]}}, [])
    assert bench.wait()._report["pictures"] == 2
    assert bench.limit == 2
    bench._handle_custom_msg({"kind": "run", "asked": {"limit": 0}}, [])
    assert bench.error is not None
    assert "from 1 up" in bench.error
    assert len(bench.runs) == 1


def test_options_are_known() -> None:
    with pytest.raises(ValueError, match="option of Benchmark"):
        Benchmark("toy", method="gradcam")
    with pytest.raises(TypeError, match="wrap it first"):
        Benchmark(small().module)  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("what", ["csv", "txt", "html"])
def test_files_are_sent(bench: Benchmark, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[Any, list[bytes]]] = []
    bench.run().wait()
    monkeypatch.setattr(bench, "send", lambda content, buffers: sent.append((content, buffers)))
    bench._handle_custom_msg({"kind": "save", "what": what}, [])
    bench.wait()
    ((content, (data,)),) = sent
    assert bench.error is None
    assert content["name"] == f"run-1.{what}"
    text = data.decode()
    assert bench.report is not None
    value = float(bench.report.table()["energy"]["LayerCAM"])
    if what == "csv":
        rows = [line.split(",") for line in text.splitlines()[1:] if "LayerCAM" in line]
        assert np.mean([float(row[-1]) for row in rows]) == pytest.approx(value)
    else:
        assert f"{value:.3f}" in text


def test_a_file_of_results_that_is_spoilt_while_a_run_goes_on_ends_nothing_else(tmp_path: Path) -> None:
    """Somebody overwrites the file; the next run, on another file, begins and ends."""
    path = tmp_path / "r.sqlite"
    made = Benchmark("toy", "toyworld", results=path, methods=["random"], tests=["energy"], limit=4).wait()
    try:
        made.run().wait()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(made, "_list", lambda: (_ for _ in ()).throw(OSError("disk I/O error")))
            made.run()
            made.wait()
        assert made._progress["state"] in ("done", "failed")
        assert made._running._thread is not None
        assert made._running._thread.is_alive()
        made.results = str(tmp_path / "other.sqlite")
        made.run().wait()
        assert (made._progress["state"], made.error) == ("done", None)
    finally:
        made.close()


def test_a_path_that_may_not_be_looked_at_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Benchmark("toy", "toyworld", results=tmp_path / "r.sqlite").wait()
    try:
        def denied(self: Path) -> bool:
            raise PermissionError(13, "Permission denied")

        before = made.results
        monkeypatch.setattr(Path, "exists", denied)
        made.set_state({"results": "/root/secret/x.sqlite"})
        monkeypatch.undo()
        assert made.results == before
        assert "Permission denied" in str(made.error)
    finally:
        made.close()
