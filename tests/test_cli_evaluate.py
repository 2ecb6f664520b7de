"""``camwidgets evaluate``: what is asked on the command line, and what comes out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from camwidgets.cli import app
from camwidgets.cli_evaluate import parsed
from camwidgets.evaluation import Report


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def test_a_table_and_files(tmp_path: Path) -> None:
    given = ["toyworld", "--model", "toy", "--limit", 4, "--test", "energy", "--test", "insertion-deletion:steps=4"]
    kept = ["--results", tmp_path / "r.sqlite", "--csv", tmp_path / "r.csv", "--html", tmp_path / "r.html"]
    done = run(*given, "--method", "layercam:stages=S4+S5,gradient=signed", "--method", "centre", *kept)
    assert done.exit_code == 0, done.output
    assert "4 of 4 pictures" in done.output
    assert "energy ↑" in done.output
    assert "LayerCAM · gradient=signed · S5+S4" in done.output
    assert len(pd.read_csv(tmp_path / "r.csv")) == 4 * 2 * 4
    assert "<h1>" in (tmp_path / "r.html").read_text("utf-8")
    report = Report.open(tmp_path / "r.sqlite")
    assert report.run.request["methods"]["LayerCAM · gradient=signed · S5+S4"]["stages"] == ["S4", "S5"]
    assert report.run.request["tests"]["insertion-deletion"] == {"steps": 4}


def test_a_plan_evaluates_nothing(tmp_path: Path) -> None:
    given = ["toyworld", "--model", "toy", "--method", "gradcam", "--test", "confidence", "--plan", 50_000]
    done = run(*given, "--workers", 10, "--results", tmp_path / "r.sqlite")
    assert done.exit_code == 0, done.output
    assert "50,000 pictures × 1 methods × 1 tests, toy" in done.output
    assert "10 processes: " in done.output
    assert not (tmp_path / "r.sqlite").exists()


def test_randomisation_and_a_run_to_compare_with(tmp_path: Path) -> None:
    kept = ["--results", tmp_path / "r.sqlite"]
    asked = ["toyworld", "--model", "toy", "--limit", 2, "--method", "layercam", "--method", "random"]
    first = run(*asked, "--test", "cascading:layers=head+S1,seed=3", *kept)
    assert first.exit_code == 0, first.output
    assert "cascading, spearman ↓  head" in first.output
    assert "1.000 [1.000, 1.000]" in first.output
    report = Report.open(tmp_path / "r.sqlite")
    assert report.run.request["tests"] == {"cascading": {"layers": "head+S1", "seed": 3}}
    second = run(*asked, "--test", "cascading:layers=head+S1,seed=4", *kept, "--against", 1)
    assert second.exit_code == 0, second.output
    assert "run 1 → run 2, on 2 pictures of both" in second.output
    assert "cascading: seed" in second.output


def test_help_names_every_test_and_option() -> None:
    from camwidgets import measures
    from camwidgets.cli_evaluate import TESTS

    assert list(TESTS) == list(measures())
    done = CliRunner().invoke(app, ["evaluate", "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert done.exit_code == 0
    said = " ".join(done.output.replace("│", " ").split())
    for name in (*TESTS, "--mosaics", "--fit", "--engine", "--workers", "--against", "--results"):
        assert name in said, name


def test_mosaics(tmp_path: Path) -> None:
    done = run("toyworld", "--model", "toy", "--mosaics", 1, "--test", "energy", "--method", "whole")
    assert done.exit_code == 0, done.output
    assert "0.250" in done.output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "nowhere"),
        (["toyworld", "--model", "toy", "--method", "layercm"], "unknown method 'layercm'"),
        (["toyworld", "--model", "toy", "--method", "rise:mask=3"], "did you mean 'masks'"),
        (["toyworld", "--model", "toy", "--method", "rise:3"], "'3' in 'rise:3' is not of the form name=value"),
        (["toyworld", "--model", "toy", "--test", "energi"], "unknown test 'energi'"),
        (["toyworld", "--model", "toi"], "toi"),
        (["toyworld", "--model", "toy", "--test", "cascading:layers=S9"], "unknown group of layers of toy 'S9'"),
        (["toyworld", "--model", "toy", "--against", "1"], "no --results was given"),
        (["toyworld", "--model", "toy", "--against", "1", "--results", "none.sqlite"], "there is no file of results"),
        (["toyworld", "--model", "toy", "--results", "/nowhere/at/all.sqlite"], "there is no folder"),
    ],
)
def test_mistakes_are_one_sentence(arguments: list[str], sentence: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 1
    assert sentence in done.output
    assert "Traceback" not in done.output


def test_options_of_methods() -> None:
    assert parsed("rise:masks=500,keep=0.25,enhance") == {
        "method": "rise", "masks": 500, "keep": 0.25, "enhance": True,
    }  # fmt: skip
    assert parsed("scorecam:weights=difference,enhance=false")["enhance"] is False
