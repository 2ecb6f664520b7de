"""Killed at random moments and started again, an evaluation must end with the table of one that was left alone.

python -m benchmarks kills ../shared/data/ilsvrc_dev --kills 20
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from camwidgets.evaluation import Report

from .pictures import DEFAULT_FOLDER

ARGUMENTS = (
    "--method", "layercam", "--method", "gradcam", "--method", "centre", "--test", "localisation", "--test", "energy",
)  # fmt: skip


def started(folder: str, file: Path, pictures: int) -> subprocess.Popen[bytes]:
    """`camwidgets evaluate` in a process of its own."""
    command = [sys.executable, "-m", "camwidgets.cli", "evaluate", folder, *ARGUMENTS, "--limit", str(pictures)]
    return subprocess.Popen([*command, "--results", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("benchmarks kills", description=__doc__)
    parser.add_argument("folder", nargs="?", default=str(DEFAULT_FOLDER))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--pictures", type=int, default=125)
    options = parser.parse_args(arguments)
    dice = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        alone, killed = Path(name) / "alone.sqlite", Path(name) / "killed.sqlite"
        clock = time.perf_counter()
        if started(options.folder, alone, options.pictures).wait():
            print(f"the evaluation of {options.folder} failed; see camwidgets evaluate", file=sys.stderr)
            return 1
        whole = time.perf_counter() - clock
        for number in range(options.kills):
            child = started(options.folder, killed, options.pictures)
            time.sleep(dice.uniform(0.3, 0.5 + whole / 3))  # most of them while it works, some while it starts
            child.send_signal(signal.SIGKILL)
            child.wait()
            done = Report.open(killed).pictures if killed.is_file() and number else 0
            print(f"\rkill {number + 1}: {done} pictures on record", end="", file=sys.stderr)
        print(file=sys.stderr)
        started(options.folder, killed, options.pictures).wait()
        return _compared(Report.open(alone), Report.open(killed), options.kills)


def _compared(alone: Report, killed: Report, kills: int) -> int:
    columns = ["item", "label", "probability", "method", "test", "result", "value"]
    same = alone.to_frame()[columns].equals(killed.to_frame()[columns])
    rows = len(killed.rows)
    expected = alone.pictures * len(alone.methods) * len(alone.run.request["tests"])
    print(alone.to_text())
    print(f"after {kills} kills: {killed.pictures} pictures, {rows} rows (expected {expected}), same values: {same}")
    return int(not same or rows != expected)
