"""What the folder of a run tells beside its files' contents: whether something changed, and whether somebody trains."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import psutil

from ...learning.disk import HOLDER

SLACK = 60.0  # seconds between the clock of files and that of processes


def stamp(path: Path) -> tuple[int, int] | None:
    """A file's time and size, which change when it is written; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def signature(folder: Path) -> Any:
    """What changes when an epoch is over, and when a training begins, ends or is killed."""
    return stamp(folder / "run.json"), trains(folder)


def born(folder: Path) -> Any:
    """What changes when another training was begun in the folder: its watched pictures are written once."""
    return stamp(folder / "watch" / "pictures.npz")


def trains(folder: Path) -> bool | None:
    """Whether the process that last trained into the folder lives; None where nobody knows: it is on another machine.

    A process of that number which began after it is another one.

    Example:
        >>> import tempfile
        >>> trains(Path(tempfile.mkdtemp()))
    """
    path = folder / HOLDER
    try:
        told, written = json.loads(path.read_text(encoding="utf-8")), path.stat().st_mtime
        number, host = int(told["pid"]), str(told["host"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if host != socket.gethostname():
        return None
    try:
        process = psutil.Process(number)
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= written + SLACK
    except (psutil.Error, ValueError, OverflowError):
        return False
