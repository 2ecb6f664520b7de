"""What an evaluation would take: passes counted exactly, hours by the formula, troubles told."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import camwidgets
from camwidgets.datasets.toyworld import ToyWorld
from camwidgets.evaluation import Forecast, forecast
from camwidgets.evaluation.forecasting import OPENING, SHARED, WRITING

WORLD = ToyWorld(seed=1, n=6)


@pytest.fixture(scope="module")
def toy() -> camwidgets.Classifier:
    return camwidgets.load("toy")


def by_hand(**changes: Any) -> Forecast:
    about: dict[str, Any] = {
        "pictures": 3600, "trial": 4, "workers": 2,
        "seconds": {OPENING: 0.5, SHARED: 1.0, "test: t": 8.0, WRITING: 0.5},
        "forward": {SHARED: 1.0, "test: t": 96.0}, "backward": {SHARED: 1.5}, "failed": {"test: t": 1}, "methods": 1,
        "tests": 1, "device": "cpu", "threads": 1, "memory": 700.0, "pass_seconds": 0.06, "model": "net",
    }  # fmt: skip
    return Forecast(**about | changes)


def test_passes_are_counted_exactly(toy: camwidgets.Classifier) -> None:
    """One shared pass each way; per map 2 × (3 + 1) of insertion and deletion, 1 of confidence; Score-CAM's own."""
    tests: dict[str, Any] = {"insertion-deletion": {"steps": 3}, "confidence": {}, "energy": {}}
    found = forecast(toy, WORLD, ["layercam", "gradcam", "scorecam", "centre"], tests, trial=2, seed=3)
    assert found.trial == 2
    assert found.pictures == 6
    assert found.forward[SHARED] == found.backward[SHARED] == 1
    assert found.forward["test: insertion-deletion"] == 4 * 2 * 4
    assert found.forward["test: confidence"] == 4
    assert "test: energy" in found.seconds
    assert not found.forward.get("test: energy")
    report = camwidgets.evaluate(toy, WORLD, ["scorecam"], ["energy"], progress=False)
    assert 1 <= found.forward["map: Score-CAM"] <= max(row["forward"] for row in report.rows)
    assert not found.forward.get("map: LayerCAM")
    assert not found.forward.get("map: centre")
    assert found.passes == (sum(found.forward.values()), 1.0)
    assert all(seconds >= 0 for seconds in found.seconds.values())
    assert not any(found.failed.values())


def test_every_part_is_timed_once(toy: camwidgets.Classifier) -> None:
    """By a clock that is one second on whenever it is asked: a part begun and ended once takes one."""
    ticks = itertools.count()
    found = forecast(
        toy, WORLD, ["gradcam", "centre"], ["energy", "occlusion"], trial=2, timer=lambda: float(next(ticks))
    )
    assert found.seconds == {
        OPENING: 1, SHARED: 1, "map: Grad-CAM": 1, "map: centre": 1, "test: energy": 2, "test: occlusion": 1 + 2,
        WRITING: 1,
    }  # fmt: skip
    assert found.pass_seconds == pytest.approx(1 / 32)  # two batches of sixteen


def test_hours_by_hand() -> None:
    plan = by_hand()
    assert plan.each == 10
    assert plan.hours() == 5  # 3600 pictures · 10 s / 2 / 3600
    assert plan.hours(workers=10) == 1
    # F + 2 B = 97 + 3 = 100 passes: 6 s of the 10 s measured, so that 4 s stay with the CPU
    assert plan.elsewhere(100) == pytest.approx(3600 * (100 / 100 + 4) / 3600)
    assert plan.elsewhere(100, devices=10) == pytest.approx(0.5)
    assert plan.elsewhere(50, backward=0) == pytest.approx(97 / 50 + 10 - 97 * 0.06)


def test_what_never_runs_the_network_is_not_reckoned_away() -> None:
    """Even if the passes, timed apart, seem to take longer than everything together."""
    assert by_hand(pass_seconds=1.0).elsewhere(1e9) == pytest.approx(1.0)  # opening and writing


@pytest.mark.parametrize(("rate", "devices"), [(0, 1), (-1, 1), (100, 0)])
def test_bad_assumptions(rate: float, devices: int) -> None:
    with pytest.raises(ValueError, match="passes a second are above 0, devices at least 1"):
        by_hand().elsewhere(rate, devices)


def test_the_text_says_it_all() -> None:
    text = str(by_hand())
    assert "3,600 pictures × 1 methods × 1 tests, net; 4 timed on cpu, 1 thread\n" in text
    assert "80.0%  96 + 0  failed for 1 of 4" in text
    assert "0.10 pictures a second and process; one forward pass 60.0 ms" in text
    assert "\n1 process: 10.0 h, 700 MB resident\n2 processes: 5.0 h, if none slows another down" in text
    assert "resident" not in str(by_hand(memory=None))
    assert "processes" not in str(by_hand(workers=1))


def test_broken_pictures_are_left_out(toy: camwidgets.Classifier, tmp_path: Path) -> None:
    for i, name in enumerate(["a.png", "b.png", "c.png"]):
        Image.fromarray(np.full((96, 96, 3), 40 * i, np.uint8)).save(tmp_path / name)
    (tmp_path / "b.png").write_bytes(b"no picture")
    found = forecast(toy, tmp_path, ["gradcam"], ["confidence"], target="predicted", trial=2, pictures=1000)
    assert found.pictures == 1000
    assert found.trial == 1  # one of three is broken, one warms up
    for name in ("a.png", "c.png"):
        (tmp_path / name).write_bytes(b"no picture")
    with pytest.raises(ValueError, match="none of the pictures tried"):
        forecast(toy, tmp_path, ["gradcam"], ["confidence"], target="predicted")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [({"trial": 0}, "trial"), ({"workers": 0}, "workers"), ({"pictures": 0}, "pictures"), ({"tests": ["no"]}, "test")],
)
def test_bad_requests(toy: camwidgets.Classifier, given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        forecast(toy, WORLD, ["gradcam"], given.pop("tests", ["energy"]), **given)
