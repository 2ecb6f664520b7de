"""The same evaluation on two Ray workers, one of which is killed in the middle: the same numbers, bit for bit."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import camwidgets
from camwidgets.datasets import Item, Items, open_dataset
from camwidgets.datasets.items import Source
from camwidgets.datasets.toyworld import ToyWorld
from camwidgets.evaluation import Report, Stopped
from camwidgets.maps.method import Method

ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")
TESTS: dict[str, dict[str, Any]] = {
    "energy": {}, "insertion-deletion": {"steps": 10}, "cascading": {"layers": "head+S3"}, "independent": {"seed": 2},
}  # fmt: skip


def sums(request: Any) -> Any:
    """A method of one's own."""
    return request.x[0].sum(0).relu()


OWN = Method("sums", "Sums", sums, "Σ x", "", kind="picture")
METHODS: dict[str, Any] = {
    "LayerCAM": "layercam", "signed": {"method": "layercam", "gradient": "signed"}, "random": "random", "own": OWN,
}  # fmt: skip


@dataclass(frozen=True)
class Deadly(Source):
    """A picture that kills the process which opens it first, once."""

    real: Source
    marker: Path

    def open(self) -> Any:
        if not self.marker.exists():
            self.marker.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return self.real.open()

    def hash(self) -> str:
        return self.real.hash()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_workers_one_of_them_killed(tmp_path: Path) -> None:
    toy = camwidgets.load("toy")
    world = open_dataset(ToyWorld(seed=5, n=10))
    local = camwidgets.evaluate(toy, world, METHODS, TESTS, results=tmp_path / "local", progress=False)
    marker = tmp_path / "killed"
    items = Items(
        "toyworld",
        [Item(one.id, one.label, one.boxes, one.size, Deadly(one.source, marker) if i == 4 else one.source, one.drawn)
         for i, one in enumerate(world)],
    )  # fmt: skip
    path = tmp_path / "ray.sqlite"
    found = camwidgets.evaluate(
        toy, items, METHODS, TESTS, results=path, engine="ray", workers=2, progress=False, seed=0
    )
    assert marker.exists(), "no worker was killed"
    assert int(marker.read_text()) != os.getpid()
    columns = ["item", "label", "probability", "method", "test", "result", "value"]
    pd.testing.assert_frame_equal(found.to_frame()[columns], local.to_frame()[columns], check_exact=True)
    assert Report.open(path).pictures == 10
    assert not ray.is_initialized(), "what was started here ends here"


def test_bad_numbers_of_workers() -> None:
    world = open_dataset(ToyWorld(seed=5, n=2))
    with pytest.raises(ValueError, match="the number of workers is a whole number, at least 1; got 0"):
        camwidgets.evaluate(camwidgets.load("toy"), world, ["random"], ["energy"], engine="ray", workers=0)


def test_what_cannot_be_sent_is_told_before_anything_runs(tmp_path: Path) -> None:
    lock = threading.Lock()
    mine = Method("locked", "Locked", lambda request: request.x[0, 0] if lock else None, "", "", kind="picture")
    world = open_dataset(ToyWorld(seed=5, n=2))
    path = tmp_path / "r.sqlite"
    with pytest.raises(ValueError, match=r"the method 'Locked' cannot be sent to other processes .*engine='local'"):
        camwidgets.evaluate(camwidgets.load("toy"), world, [mine], ["energy"], engine="ray", results=path)
    assert not path.exists()
    assert not ray.is_initialized()
    report = camwidgets.evaluate(camwidgets.load("toy"), world, [mine], ["energy"], progress=False)
    assert report.pictures == 2


def test_a_busy_machine_gets_more_time_to_start() -> None:
    from camwidgets.evaluation.ray_engine import _start

    class Slow:
        """Stands for Ray: comes up at the third start; or fails by something else."""

        def __init__(self, *errors: str) -> None:
            self.errors, self.said = list(errors), list[str]()

        def init(self, **_: Any) -> None:
            self.said.append("init")
            if self.errors:
                raise Exception(self.errors.pop(0))

        def shutdown(self) -> None:
            self.said.append("shutdown")

    late = "The current node timed out during startup."
    slow = Slow(late, late)
    _start(slow)
    assert slow.said == ["init", "shutdown", "init", "shutdown", "init"]
    for errors in ((late, late, late), ("no room",)):
        broken = Slow(*errors)
        with pytest.raises(Exception, match=errors[-1]):
            _start(broken)
        assert broken.said.count("init") == len(errors)


@dataclass(frozen=True)
class Told(Source):
    """A picture that says, by a file, that it was opened."""

    real: Source
    marker: Path

    def open(self) -> Any:
        self.marker.touch()
        return self.real.open()

    def hash(self) -> str:
        return self.real.hash()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_workers_hear_a_stop_within_a_picture(tmp_path: Path) -> None:
    """Every picture would take minutes: a stop that was heard between pictures only would run into the limit."""
    toy = camwidgets.load("toy")
    marker = tmp_path / "begun"
    world = open_dataset(ToyWorld(seed=5, n=4))
    items = Items("told", [Item(one.id, one.label, one.boxes, one.size, Told(one.source, marker)) for one in world])
    path = tmp_path / "ray.sqlite"
    long = {"method": "rise", "masks": 200_000}
    with pytest.raises(Stopped, match="was stopped"):
        camwidgets.evaluate(
            toy, items, [long], ["energy"], results=path, engine="ray", workers=2, progress=False, stop=marker.exists
        )
    assert Report.open(path).pictures == 0
    assert Report.open(path).run.state == "cancelled"
    assert not ray.is_initialized()
