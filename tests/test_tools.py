"""The scripts behind `make`, on machines that lack something: acted by stand-ins on a PATH of the tests' own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

BASH = shutil.which("bash") or "bash"


class Machine:
    """A machine that has nothing but the commands that a test gives it; every call of one is noted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.calls = folder / "calls"
        self.calls.touch()

    def has(self, name: str, script: str = "") -> None:
        """A shell script for a command; ``$1`` … are its arguments, ``$BIN`` is the folder of commands."""
        program = self.bin / name
        program.write_text(f'#!{BASH}\nBIN={self.bin}\necho "{name} $*" >>{self.calls}\n{script}\n')
        program.chmod(0o755)

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        kept = {k: v for k, v in os.environ.items() if k not in ("CAMWIDGETS_CHROMIUM", "PYTHON")}
        private = {"PATH": str(self.bin), "PLAYWRIGHT_BROWSERS_PATH": str(self.folder / "playwright")}
        return subprocess.run(
            [str(part) for part in command],
            env=kept | private,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


CHROMIUM = "echo Chromium 156.0"
# What apt-get does when it installs Chromium.
APT = f"""
[ "$1" = install ] || exit 0
printf '#!{BASH}\\n{CHROMIUM}\\n' >$BIN/chromium
{shutil.which("chmod")} +x $BIN/chromium
"""
OFFLINE = """
import runpy, subprocess

real = subprocess.run

def run(command, **options):
    return subprocess.CompletedProcess(command, 1) if "playwright" in command else real(command, **options)

subprocess.run = run
runpy.run_path("tools/browser.py", run_name="__main__")
"""
root_only = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="apt is used by root only")


class TestBrowser:
    def test_one_that_is_there_is_used(self, machine: Machine) -> None:
        machine.has("google-chrome", "echo Google Chrome 156.0")
        machine.has("apt-get")
        done = machine.run(sys.executable, "tools/browser.py")
        assert (done.returncode, done.stdout.strip()) == (0, str(machine.bin / "google-chrome"))
        assert "apt-get" not in machine.calls.read_text()

    @root_only
    def test_debians_is_installed(self, machine: Machine) -> None:
        machine.has("apt-get", APT)
        done = machine.run(sys.executable, "tools/browser.py")
        assert (done.returncode, done.stdout.strip()) == (0, str(machine.bin / "chromium")), done.stderr
        assert machine.calls.read_text().splitlines()[0] == "apt-get update -qq"

    def test_without_any_it_fails_loudly(self, machine: Machine, tmp_path: Path) -> None:
        machine.has("apt-get", "exit 100")
        # Playwright's download is a module of this Python, so its failure is acted out inside.
        offline = tmp_path / "offline.py"
        offline.write_text(OFFLINE)
        done = machine.run(sys.executable, offline)
        assert done.returncode == 1
        assert done.stdout == ""
        assert "No browser for the tests" in done.stderr
        assert "CAMWIDGETS_CHROMIUM=" in done.stderr

    def test_one_that_does_not_start_is_said(self, machine: Machine) -> None:
        machine.has("chromium", "echo 'please install the snap' >&2; exit 1")
        done = machine.run(sys.executable, "tools/browser.py")
        assert done.returncode == 1
        assert "does not start" in done.stderr


class TestVenv:
    def test_one_that_works_is_left_alone(self, machine: Machine, tmp_path: Path) -> None:
        (tmp_path / "env" / "bin").mkdir(parents=True)
        python = tmp_path / "env" / "bin" / "python"
        python.write_text(f"#!{BASH}\nexit 0\n")
        python.chmod(0o755)
        done = machine.run(BASH, "tools/venv", tmp_path / "env")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def test_no_python_is_said(self, machine: Machine, tmp_path: Path) -> None:
        done = machine.run(BASH, "tools/venv", tmp_path / "env")
        assert done.returncode == 1
        assert "There is no 'python3' here" in done.stderr

    def test_an_old_python_is_said(self, machine: Machine, tmp_path: Path) -> None:
        machine.has("python3", '[ "$1" = --version ] && echo "Python 3.8.1" && exit 0; exit 1')
        done = machine.run(BASH, "tools/venv", tmp_path / "env")
        assert done.returncode == 1
        assert "Python 3.10 or newer, but 'python3' is Python 3.8.1" in done.stderr

    def test_a_missing_venv_module_is_said_to_a_user(self, machine: Machine, tmp_path: Path) -> None:
        machine.has("python3", 'case "$2" in *ensurepip*) exit 1;; esac')
        machine.has("id", "echo 1000")
        machine.has("apt-get")
        done = machine.run(BASH, "tools/venv", tmp_path / "env")
        assert done.returncode == 1
        assert "sudo apt-get install python3-venv" in done.stderr
        assert "apt-get" not in machine.calls.read_text()

    def test_a_missing_venv_module_is_installed_by_root(self, machine: Machine, tmp_path: Path) -> None:
        python = f'case "$2" in *ensurepip*) [ -e {tmp_path}/installed ] || exit 1;; esac\nexit 0'
        machine.has("python3", python)
        machine.has("id", "echo 0")
        machine.has("apt-get", f'[ "$1" = install ] && : >{tmp_path}/installed; true')
        done = machine.run(BASH, "tools/venv", tmp_path / "env")
        calls = machine.calls.read_text()
        assert "apt-get update -qq" in calls
        assert "apt-get install -y -qq python3-venv" in calls
        # This stand-in for Python makes no environment; the script must notice and not go on.
        assert done.returncode == 1
        assert "its pip does not start" in done.stderr


@pytest.mark.parametrize("script", [".ci/run", "tools/venv"])
def test_scripts_are_programs(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)
    assert "set -euo pipefail" in (ROOT / script).read_text()
    subprocess.run([BASH, "-n", str(ROOT / script)], check=True)


def test_make_help_names_every_target() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {line.split()[1] for line in done.stdout.splitlines()} >= {"lab", "test", "bench", "lint", "clean"}
