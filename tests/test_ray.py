"""The same evaluation on two Ray workers, one of which is killed in the middle: the same numbers, bit for bit."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import camwidgets
from camwidgets.datasets import Item, Items, open_dataset
from camwidgets.datasets.items import Source
from camwidgets.datasets.toyworld import ToyWorld
from camwidgets.evaluation import Report

ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")
TESTS = {"energy": {}, "insertion-deletion": {"steps": 10}}
METHODS = {"LayerCAM": "layercam", "signed": {"method": "layercam", "gradient": "signed"}, "random": "random"}


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
    torch.set_num_threads(1)
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
