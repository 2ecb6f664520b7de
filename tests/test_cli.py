"""The command line as a person types it."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from camwidgets import doctor
from camwidgets.cli import app
from camwidgets.doctor import Check

run = CliRunner().invoke


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_version() -> None:
    assert run(app, ["--version"]).stdout.strip() == f"camwidgets {version('camwidgets')}"


@pytest.mark.parametrize(("arguments", "said"), [([], "doctor"), (["lab", "--help"], "--no-browser"), (["-h"], "lab")])
def test_help(arguments: list[str], said: str) -> None:
    assert said in plain(run(app, arguments).output)


def test_an_unknown_command_names_what_was_given() -> None:
    result = run(app, ["laboratory"])
    assert result.exit_code == 2
    assert "laboratory" in plain(result.stderr)


def test_help_answers_without_loading_torch() -> None:
    probe = (
        "import sys; sys.argv = ['camwidgets', '--help']\n"
        "from camwidgets.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'torchvision', 'plotly', 'jupyterlab', 'ipywidgets', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True)


@pytest.mark.parametrize(("broken", "code"), [(False, 0), (True, 1)])
def test_doctor_reports_and_fails_only_for_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, broken: bool, code: int
) -> None:
    checks = [Check("python", "ok", "3.11"), Check("browser", "note", "none", "install one")]
    if broken:
        checks.append(Check("torch", "wrong", "is not installed", "pip install torch"))
    monkeypatch.setattr(doctor, "run_checks", lambda: iter(checks))
    result = run(app, ["doctor"])
    assert result.exit_code == code
    lines = plain(result.stdout).splitlines()
    assert lines[:3] == ["ok    python: 3.11", "note  browser: none", "      to mend: install one"]
    assert ("All is well." in lines) is not broken
    assert ("1 thing is wrong." in result.stderr) is broken
