"""A folder of maps on a disk: held by one process, on a disk that may be full."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from psutil import pid_exists

from ..files import write_json

PATIENCE = 0.5  # seconds; whoever has the folder open keeps it for a whole training
ORPHANED = 30.0  # seconds
HOLDER = "holder.json"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_BLOCK = 1 << 20


def locked(folder: Path) -> FileLock:
    """The folder's lock, taken. ValueError, which names the holder, if another has it.

    A killed process' lock lives on in processes that it forked (a loader's workers) until they notice: they are waited
    for. Any thread of this process may work with what the lock guards, and release it.
    """
    lock = FileLock(folder / ".lock", timeout=PATIENCE, thread_local=False)
    try:
        try:
            lock.acquire()
        except Timeout:
            if not _orphaned(_holder(folder)):
                raise
            lock.acquire(timeout=ORPHANED)
    except Timeout:
        raise ValueError(
            f"the maps in {str(folder)!r} are open already, in {_named(_holder(folder))}; close them there (close()), "
            "wait until that training is over, or name another folder"
        ) from None
    try:
        write_json(folder / HOLDER, {"pid": os.getpid(), "host": socket.gethostname()})
    except OSError:
        lock.release()
        raise
    return lock


def _holder(folder: Path) -> tuple[int, str] | None:
    """(number, host) of the process that has, or had, the folder open."""
    try:
        told: Any = json.loads((folder / HOLDER).read_text(encoding="utf-8"))
        return int(told["pid"]), str(told["host"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _orphaned(holder: tuple[int, str] | None) -> bool:
    return holder is not None and holder[1] == socket.gethostname() and not pid_exists(holder[0])


def _named(holder: tuple[int, str] | None) -> str:
    if holder is None:
        return "another process"
    if holder == (os.getpid(), socket.gethostname()):
        return f"this process (number {holder[0]})"
    return f"process {holder[0]} on {holder[1]}"


@contextmanager
def room(folder: Path) -> Iterator[None]:
    """A full disk becomes one sentence that says what is not lost; other errors stay as they are."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        free = shutil.disk_usage(folder).free / 2**20
        sentence = f"there is no room for the accumulated maps in {str(folder)!r} ({free:.0f} MiB free); what was "
        raise OSError(error.errno, sentence + "flushed before is whole") from error


def allocate(handle: int, size: int) -> None:
    """Take so many bytes of the disk for a file, now."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(handle, 0, size)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
        else:
            return
    there = os.fstat(handle).st_size
    os.lseek(handle, there, os.SEEK_SET)
    while there < size:
        there += os.write(handle, bytes(min(_BLOCK, size - there)))
