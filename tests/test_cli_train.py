"""``camwidgets train``: what is asked on the command line, what lies there afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from camwidgets.cli import app
from camwidgets.cli_train_setup import source
from camwidgets.learning.accumulated import open_accumulated
from camwidgets.learning.run import open_run

SMALL = ["--epochs", 1, "--batch", 4, "--watch", 1]
WORLD = "toyworld:n=8,objects=1+2"


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training with accumulation that nobody disturbs."""
    folder = tmp_path_factory.mktemp("unbroken")
    assert run("oaa", WORLD, "--drop", "--out", folder, *SMALL).exit_code == 0
    return folder


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


def test_oaa_then_the_integral_model(tmp_path: Path) -> None:
    done = run("oaa", WORLD, "--out", tmp_path / "oaa", "--drop", "--drop-rate", 1, "--store", "uint8", *SMALL)
    assert done.exit_code == 0, done.output
    assert "toyworld seed 0: 8 pictures" in done.output
    assert "epoch 1: total" in done.output
    assert f"camwidgets.Playback({str(tmp_path / 'oaa')!r})" in done.output
    made = open_run(tmp_path / "oaa")
    assert (made.kind, made.status, made.epochs) == ("oaa", "done", [0, 1])
    assert made.about["objective"]["settings"]["drop"] == {"threshold": 0.6, "rate": 1.0, "where": "picture"}
    assert made.layers(1) == ["cumulative", "current", "dropped"]
    assert made.classifier().labels[0] == "cat"
    done = run("integral", WORLD, "--maps", tmp_path / "oaa", "--out", tmp_path / "integral", "--loss", "soft", *SMALL)
    assert done.exit_code == 0, done.output
    assert open_run(tmp_path / "integral").about["objective"]["settings"]["loss"] == "soft"


def test_a_run_goes_on_with_the_net_that_it_began_with(tmp_path: Path) -> None:
    """Two shipped nets of one build: their weights are not the same."""
    given = ["classifier", "toyworld:n=4", "--out", tmp_path / "run", *SMALL]
    assert run(*given, "--net", "toy-shortcut").exit_code == 0
    for other in ("toy", "attention"):
        again = run(*given, "--net", other, "--resume")
        assert again.exit_code == 1
        assert "holds another run: net." in again.output
        assert other == "attention" or "net.origin was 'toy-shortcut' and is now 'toy'" in again.output
    assert run(*given, "--net", "toy-shortcut", "--resume").exit_code == 0


def test_softmax_is_trained_where_it_is_asked_for(tmp_path: Path) -> None:
    done = run("oaa", "toyworld:n=4", "--labels", "single-label", "--out", tmp_path / "oaa", *SMALL)
    assert done.exit_code == 0, done.output
    assert open_run(tmp_path / "oaa").about["objective"]["settings"]["labels"] == "single-label"


def test_a_shipped_net_is_guided_by_masks(tmp_path: Path) -> None:
    done = run(
        "gain", "toyworld:n=6", "--net", "toy-shortcut", "--masks", 2, "--alpha", 0.5, "--out", tmp_path / "gain",
        "--validation", "toyworld:n=4,seed=3,context=swap", *SMALL,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "val_top1" in done.output
    made = open_run(tmp_path / "gain")
    settings = made.about["objective"]["settings"]
    assert (settings["extra"]["n"], settings["alpha"], settings["loss"]) == (2, 0.5, "single-label")
    assert (settings["tap"], made.about["net"]["net"]) == ("S5", "ToyNet")
    assert made.net(0).state_dict().keys() == made.net(1).state_dict().keys()


def test_ctrl_c_keeps_what_was_trained_and_resume_goes_on(tmp_path: Path) -> None:
    """A process gets Ctrl-C after its first epoch; the same command with --resume ends as one that got none."""
    given = ["classifier", "toyworld:n=24,objects=1+2", "--batch", 4, "--epochs", 3, "--watch", 1]
    command = [sys.executable, "-m", "camwidgets.cli", "train", *map(str, given), "--out", str(tmp_path / "a")]
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch 1"):
            process.send_signal(signal.SIGINT)
            break
    out, error = process.communicate(timeout=250)
    assert process.returncode == 130, error
    assert "stopped after" in out
    assert "--resume goes on" in error
    assert open_run(tmp_path / "a").status == "stopped"
    again = run(*given, "--out", tmp_path / "a")
    assert again.exit_code == 1
    assert "holds a run already" in again.output
    assert run(*given, "--out", tmp_path / "a", "--resume").exit_code == 0
    assert run(*given, "--out", tmp_path / "b").exit_code == 0
    one, other = (open_run(tmp_path / name).net().state_dict() for name in "ab")
    assert all(torch.equal(one[name], other[name]) for name in one)


KILLED_AT = """
import os, signal
from camwidgets.cli import app
from camwidgets.learning.checkpoint import RunFolder
from camwidgets.learning.loop import Loop

{place} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
app()
"""


@pytest.mark.parametrize(
    ("place", "goes_on"),
    [
        ("RunFolder.save", False),  # the accumulator is there, the first checkpoint is not
        ("RunFolder.describe", True),  # the first checkpoint is there, run.json is not
        ("Loop._end_epoch", True),  # a whole epoch was accumulated, and nothing of it saved
    ],
)
def test_killed_in_its_first_epoch_the_command_runs_again(
    place: str, goes_on: bool, tmp_path: Path, unbroken: Path
) -> None:
    """Either it begins anew as if nothing had been, or it says that --resume goes on, and that does."""
    given = ["oaa", WORLD, "--drop", "--out", tmp_path, *SMALL]
    command = [sys.executable, "-c", KILLED_AT.format(place=place), "train", *map(str, given)]
    killed = subprocess.run(command, timeout=250, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert (tmp_path / "accumulated" / "accumulator.json").exists()
    resume: list[object] = ["--resume"]
    if goes_on:
        again = run(*given)
        assert again.exit_code == 1
        assert "holds a run already: go on with it by --resume" in again.output
    else:
        resumed = run(*given, "--resume")
        assert resumed.exit_code == 1
        assert "without --resume one begins" in resumed.output
        resume = []
    done = run(*given, *resume)
    assert done.exit_code == 0, done.output
    one, other = (open_run(folder).net().state_dict() for folder in (tmp_path, unbroken))
    assert all(torch.equal(one[name], other[name]) for name in one)
    prints = [open_accumulated(folder / "accumulated").fingerprint() for folder in (tmp_path, unbroken)]
    assert prints[0] == prints[1]


def test_maps_of_a_run_that_is_gone_are_named(tmp_path: Path) -> None:
    given = ["oaa", WORLD, "--out", tmp_path, *SMALL]
    assert run(*given).exit_code == 0
    for name in ("run.json", "last.pt"):
        (tmp_path / name).unlink()
    again = run(*given)
    assert again.exit_code == 1
    assert f"delete {str(tmp_path / 'accumulated')!r} if nobody needs them" in again.output
    shutil.rmtree(tmp_path / "accumulated")
    assert run(*given).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["classifier", "nowhere"], "nowhere"),
        (["classifier", "toyworld:n=4,colour=3"], "colour"),
        (["classifier", WORLD, "--schedule", "cosine"], "unknown schedule 'cosine'; valid: onecycle, constant"),
        (["classifier", WORLD, "--rate", 7], "rate must lie in (0, 1]"),
        (["classifier", WORLD, "--net", "vgg"], "unknown network 'vgg'"),
        (["classifier", "textures:n=4", "--net", "toy"], "toy knows cat"),
        (["classifier", WORLD, "--patience", 2], "give validation="),
        (["classifier", WORLD, "--resume"], "to go on with"),
        (["oaa", WORLD, "--rule", "median"], "median"),
        (["oaa", WORLD, "--drop", "--drop-where", "everywhere"], "everywhere"),
        (["oaa", "toyworld:n=6"], "have softmax by --labels single-label"),
        (["oaa", WORLD, "--labels", "single-label"], "exactly one is needed"),
        (["oaa", WORLD, "--labels", "softmax"], "unknown kind of labels 'softmax'; valid: multi-label, single-label"),
        (["integral", WORLD, "--maps", "nowhere"], "nowhere"),
        (["gain", WORLD, "--tap", "relu9"], "unknown tap 'relu9'"),
        (["gain", WORLD, "--score", "odds"], "unknown score 'odds'"),
        (["gain", WORLD, "--masks", 99], "--masks 99 asks for more pictures than toyworld seed 0 has, 8"),
    ],
)
def test_mistakes_are_one_sentence(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    done = run(*arguments, "--out", tmp_path / "run")
    assert done.exit_code == 1, done.output
    assert sentence in done.output
    assert "Traceback" not in done.output
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_refused_command_does_not_stand_in_the_way_of_the_next(tmp_path: Path) -> None:
    refused = run("oaa", WORLD, "--out", tmp_path, "--rate", 5)
    assert (refused.exit_code, "rate must lie in (0, 1]" in refused.output) == (1, True)
    assert not (tmp_path / "accumulated").exists()
    done = run("oaa", WORLD, "--out", tmp_path, "--rule", "mean", *SMALL)
    assert done.exit_code == 0, done.output
    assert open_accumulated(tmp_path / "accumulated").layout.rule == "mean"


@pytest.mark.parametrize(
    "arguments", [["oaa", WORLD, "--drop-threshold", 1.2], ["gain", WORLD, "--tau", -1], ["integral", WORLD]]
)
def test_numbers_out_of_range_are_refused_at_once(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.exit_code == 2


@pytest.mark.parametrize("name", ["classifier", "oaa", "integral", "gain"])
def test_help_names_every_setting(name: str) -> None:
    done = run(name, "--help")
    assert done.exit_code == 0
    for option in ("--epochs", "--rate", "--schedule", "--precision", "--resume", "--validation", "--no-augment"):
        assert option in done.output


def test_worlds_and_paths() -> None:
    assert source("toyworld") == ("toyworld", {})
    assert source("textures:n=4,defect_share=0.5") == ("textures", {"n": 4, "defect_share": 0.5})
    assert source("C:/pictures:1") == ("C:/pictures:1", {})
