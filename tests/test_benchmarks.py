"""The benchmarks' own arithmetic, and that each runs: on small networks, no time asserted."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import camwidgets
from benchmarks import __main__ as command
from benchmarks import localisation, memory, pictures, scoring, speed, tables, timing
from camwidgets import Classifier
from camwidgets.maps.fusion import PRESETS


class Small(nn.Module):
    """Three resolutions, BatchNorm, ten classes, trained on nothing."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 4, 6, 8)
        self.body = nn.Sequential()
        for i, (a, b) in enumerate(itertools.pairwise(widths), 1):
            self.body.add_module(f"conv{i}", nn.Conv2d(a, b, 3, stride=2, padding=1, bias=False))
            self.body.add_module(f"norm{i}", nn.BatchNorm2d(b))
            self.body.add_module(f"relu{i}", nn.ReLU())
        self.head = nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x).mean((2, 3)))


@pytest.fixture
def small() -> Classifier:
    torch.manual_seed(0)
    return camwidgets.wrap(Small().eval(), name="small", input_size=32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five grey pictures, each with one bright square and its box; the third has a second box."""
    (tmp_path / "images").mkdir()
    lines = ["file,imagenet_class_index,all_boxes,width,height"]
    for i in range(5):
        pixels = np.full((40, 50, 3), 90, np.uint8)
        pixels[10:30, 10 + i : 30 + i] = (255, 40 * i, 0)
        Image.fromarray(pixels).save(tmp_path / f"images/{i}.png")
        second = ";0 0 5 5" if i == 2 else ""
        lines.append(f"images/{i}.png,{i},{10 + i} 10 {30 + i} 30{second},50,40")
    (tmp_path / "index.csv").write_text("\n".join(lines), "utf-8")
    return tmp_path


def test_pictures_and_boxes_are_read_and_scaled(folder: Path) -> None:
    read = pictures.read_pictures(folder)
    assert [one.target for one in read] == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(read[0].boxes_at((40, 50)), [(10, 10, 30, 30)])
    np.testing.assert_allclose(read[2].boxes_at((80, 100)), [(24, 20, 64, 60), (0, 0, 10, 10)])


def test_absent_pictures_are_told_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert localisation.main([str(tmp_path)]) == 2
    assert "index.csv is missing" in capsys.readouterr().err


def test_mosaics_hold_four_classes_and_repeat_with_the_seed(folder: Path) -> None:
    read = pictures.read_pictures(folder)
    made = pictures.make_mosaics(read, [True] * 5, 6, seed=3, cell=20)
    assert all(len(set(one.targets)) == 4 and one.picture.size == (40, 40) for one in made)
    again = pictures.make_mosaics(read, [True] * 5, 6, seed=3, cell=20)
    assert [one.targets for one in made] == [one.targets for one in again]
    first = made[0]
    corner = np.asarray(first.picture)[20:, :20]  # cell 2: the lower left
    expected = read[first.targets[2]].open().resize((20, 20), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(corner, np.asarray(expected))
    with pytest.raises(ValueError, match="4 classes"):
        pictures.make_mosaics(read, [True, True, True, False, False], 1)


def test_a_box_hits_from_half_overlap_on() -> None:
    values = np.zeros((20, 20), np.float32)
    values[4:12, 4:12] = 1
    values[15:17, 15:17] = 0.4
    hits = scoring.box_hits(values, [(4, 4, 12, 20)], (0.15, 0.5))
    assert hits.tolist() == [True, True]  # the smaller part does not count; 64 of 128 is exactly one half
    assert not scoring.box_hits(values, [(4, 4, 12, 21), (0, 0, 3, 3)], (0.15,))[0]
    assert not scoring.box_hits(np.zeros((20, 20), np.float32), [(0, 0, 20, 20)]).any()


def test_share_of_a_cell() -> None:
    values = np.zeros((4, 4))
    values[2:, 2:] = 1
    values[0, 0] = 4
    assert scoring.cell_share(values, 3) == scoring.cell_share(values, 0) == 0.5
    assert scoring.cell_share(values, 1) == scoring.cell_share(np.zeros((4, 4)), 1) == 0


def test_interval_holds_the_mean_and_narrows() -> None:
    few, many = np.arange(10) % 2 * 1.0, np.arange(1000) % 2 * 1.0
    low, high = scoring.interval(few)
    assert low < 0.5 < high
    assert np.ptp(scoring.interval(many)) < np.ptp((low, high)) / 5


def test_localisation_runs_and_its_lines_are_the_library_s_maps(small: Classifier, folder: Path) -> None:
    read = pictures.read_pictures(folder)
    scores = localisation.measure(small, read, mosaics=2, cell=32, sure=0.0, seed=0)
    assert {one.line.name for one in scores} >= {*PRESETS, "LayerCAM", "Grad-CAM", "NormGrad", "paper, γ = 3"}
    assert all(one.hits.shape == (5, len(scoring.THRESHOLDS)) and one.shares.shape == (2, 4) for one in scores)
    assert all(0 <= one.share <= 1 for one in scores)
    assert len(localisation.verdicts(scores)) == len(small.stages) + 1
    assert len({tuple(one.row()) for one in scores}) == 1

    picture = read[1].open()
    maps, _ = localisation.look(small, picture, [1])
    stages = list(small.stages)[-3:]
    for name in PRESETS:
        line = next(one.line for one in scores if one.line.name == name and list(one.line.stages) == stages)
        expected = camwidgets.explain(small, picture, target=1, stages=stages, preset=name).map
        np.testing.assert_allclose(localisation.draw(maps[0], line, (32, 32)), expected, atol=1e-6)


def test_every_contender_explains_and_the_table_compares_them(small: Classifier) -> None:
    rows = speed.race(small, batch=2, rounds=3)
    assert [row["contender"] for row in rows] == list(speed.CONTENDERS)
    assert next(row for row in rows if row["contender"] == "limit")["× limit"] == "1.000"
    assert speed.refusing(small, 2).keys() == {"other sign", "other γ, scale or stages"}


def test_the_limit_computes_the_gradients_that_evidence_holds(small: Classifier) -> None:
    x = torch.randn(2, 3, 32, 32)
    evidence = camwidgets.capture(small, x)
    found = speed.CONTENDERS["limit"](small)(x)
    for tap, gradient in zip(small.stages.values(), found, strict=True):
        torch.testing.assert_close(gradient, evidence.gradients[tap])


def test_rounds_are_interleaved_and_ratios_taken_round_by_round() -> None:
    order: list[str] = []
    times = timing.interleaved({name: lambda name=name: order.append(name) for name in "ab"}, rounds=2, warm_up=1)  # type: ignore[misc]
    assert [sorted(order[i : i + 2]) for i in (0, 2, 4)] == [["a", "b"]] * 3
    assert len(times["a"].wall) == len(times["b"].cpu) == 2
    assert timing.ratio([1.0, 20.0, 3.0], [1.0, 10.0, 1.0]) == 2.0


def test_memory_and_import_are_measured() -> None:
    assert 0 <= memory.peak("camwidgets", "squeezenet1_1", 1, runs=1) < 5000
    assert float(speed.importing(1)["import camwidgets"].split()[0]) >= 0


def test_tables(tmp_path: Path) -> None:
    rows = [{"a": "1", "b": "long"}, {"a": "22", "b": ""}]
    assert tables.text(rows) == "a   b\n1   long\n22"
    assert tables.text(rows, markdown=True).splitlines()[1] == "| --- | --- |"
    assert tables.write_csv(rows, tmp_path / "t.csv").read_text("utf-8").splitlines() == ["a,b", "1,long", "22,"]


def test_an_unknown_benchmark_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["sped"]) == 2
    assert "speed, localisation" in capsys.readouterr().err
