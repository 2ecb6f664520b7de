"""Figures of maps that learn: what is drawn is what the tables and the run hold."""

from __future__ import annotations

import doctest
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from camwidgets.figures import learning
from camwidgets.figures.learning import epochs_strip, labels_figure, maps_strip, recall_figure
from camwidgets.figures.tree import DARK
from camwidgets.learning.run import Run, open_run

CURVES = pd.DataFrame(
    {
        "method": ["CAM"] * 4 + ["OAA"] * 2,
        "epoch": [1, 2, 1, 2, 1, 2],
        "recall": [0.30, 0.32, 0.34, 0.36, 0.4, 0.5],
        "noise": [0.20, 0.21, 0.22, 0.23, 0.3, 0.35],
    }
)


def test_recall_and_noise_are_means_in_percent_with_a_band() -> None:
    figure = recall_figure(CURVES, DARK)
    lines = {trace.name: trace for trace in figure.data}
    np.testing.assert_allclose(lines["CAM, recall"].y, [32, 34])
    np.testing.assert_allclose(lines["OAA, noise"].y, [30, 35])
    spread = 100 * float(np.std([0.30, 0.34], ddof=1))
    np.testing.assert_allclose(lines["CAM, recall, ± sd"].y, [32 + spread, 34 + spread, 34 - spread, 32 - spread])
    assert "OAA, recall, ± sd" not in lines  # one seed has no spread
    assert (lines["CAM, recall"].line.dash, lines["CAM, noise"].line.dash) == ("solid", "dot")
    assert lines["CAM, recall"].line.color != lines["OAA, recall"].line.color
    assert figure.layout.font.color == DARK.ink


def test_labels_stand_in_their_order_with_their_numbers() -> None:
    table = pd.DataFrame({"method": ["OAA", "CAM", "OAA"], "miou": [0.5, 0.25, 0.6]})
    figure = labels_figure(table, upper=0.8)
    single, means = figure.data
    assert list(means.y) == ["OAA", "CAM"]
    assert list(means.text) == ["55.0 ± 7.1", "25.0"]
    np.testing.assert_allclose(single.x, [50, 25, 60])
    np.testing.assert_allclose(means.error_x.array, [100 * float(np.std([0.5, 0.6], ddof=1)), 0])
    assert figure.layout.shapes[0].x0 == pytest.approx(80)
    assert "80.0" in figure.layout.annotations[0].text


def test_tables_without_their_columns_are_told() -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        recall_figure(CURVES[:0])
    with pytest.raises(ValueError, match="column 'noise'"):
        recall_figure(CURVES.drop(columns="noise"))
    with pytest.raises(ValueError, match="did you mean 'miou'"):
        labels_figure(pd.DataFrame({"method": ["a"], "miou": [0.1]}), "mIou")


def test_a_strip_shows_the_picture_and_each_map() -> None:
    picture = np.full((16, 16, 3), 40, np.uint8)
    left, right = np.zeros((2, 2, 2))
    left[:, 0] = 3.0
    right[:, 1] = 0.5
    sheet = np.asarray(maps_strip(picture, {1: left, 2: right}, side=64).convert("RGB")).astype(int)
    panels = [sheet[:64, 76 * i : 76 * i + 64] for i in range(3)]
    assert (panels[0] == 40).all()
    bright = [[half.sum() for half in (one[:, :32], one[:, 32:])] for one in panels]
    assert bright[1][0] > 2 * bright[1][1]
    assert bright[2][1] > 2 * bright[2][0]
    flat = np.asarray(maps_strip(picture, {1: -left}, side=64).convert("RGB"))
    assert (flat[:64, 76:140] == 40).all()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run folder by hand: two pictures of 8×8, two classes, maps of epochs 0, 1 and 3."""
    (tmp_path / "watch").mkdir()
    (tmp_path / "weights").mkdir()
    about = {
        "schema": 1, "kind": "oaa", "status": "done", "epochs_done": 3, "net": {}, "settings": {},
        "data": {"name": "toy", "classes": ["cat", "dog"], "size": [8, 8]},
    }  # fmt: skip
    (tmp_path / "run.json").write_text(json.dumps(about), "utf-8")
    chance = np.random.default_rng(0)
    pictures = chance.integers(0, 255, (2, 8, 8, 3)).astype(np.uint8)
    present = np.ones((2, 2), bool)
    np.savez(tmp_path / "watch/pictures.npz", ids=np.array(["a", "b"]), pictures=pictures, present=present)
    for epoch in (0, 1, 3):
        (tmp_path / f"weights/epoch_{epoch:03d}.safetensors").touch()
        maps = {"current": chance.random((2, 2, 4, 4)).astype(np.float16)}
        if epoch:
            maps["cumulative"] = chance.random((2, 2, 4, 4)).astype(np.float16)
        np.savez(tmp_path / f"watch/epoch_{epoch:03d}.npz", **maps)  # type: ignore[arg-type]
    return open_run(tmp_path)


def test_a_run_s_maps_over_its_epochs(run: Run) -> None:
    sheet = epochs_strip(run, "b", "dog", side=64)
    one = epochs_strip(run, "b", 1, "current", side=64)
    assert one.size == (4 * 64 + 3 * 12, sheet.height // 2)
    assert sheet.width == one.width  # two rows: the current ones of three epochs, the cumulative ones of two
    np.testing.assert_array_equal(np.asarray(sheet)[: one.height], np.asarray(one))
    assert epochs_strip(run, "b", "dog", epochs=[3], side=64).width == 2 * 64 + 12
    assert (np.asarray(one) != np.asarray(epochs_strip(run, "b", 0, "current", side=64))).any()


def test_what_a_run_has_not_is_told(run: Run) -> None:
    for arguments, text in (
        (("c", "dog"), "watched picture 'c'"),
        (("a", "dgo"), "did you mean 'dog'"),
        (("a", 2), "0 … 1"),
        (("a", 0, "dropped"), "no maps called 'dropped'"),
        (("a", 0, "current", [2]), "epoch 2"),
    ):
        with pytest.raises(ValueError, match=text):
            epochs_strip(run, *arguments)


def test_the_examples_run() -> None:
    found = doctest.testmod(learning)
    assert (found.failed, found.attempted > 3) == (0, True)
