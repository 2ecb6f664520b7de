"""Files that are kept: written beside and renamed, so that a kill or a full disk leaves the old or the new one, whole.

What is read is checked first: no pickle, no array larger than it may be, no name that leads out of the folder.
"""

from __future__ import annotations

import json
import math
import os
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

MOST_TEXT = 16 << 20  # bytes of a JSON or CSV file that is read
MOST_ARRAYS = 512 << 20  # bytes of a file of arrays, unpacked
KINDS = "biufU"  # what an array may hold: truth values, numbers, text
_BESIDE = re.compile(r"\..+\.\d+\.part")


def sweep(folder: Path) -> None:
    """Remove what writers that were killed left beside their files; to be called by who alone writes in the folder."""
    for left in folder.glob(".*.part"):
        if _BESIDE.fullmatch(left.name) and left.is_file():
            left.unlink(missing_ok=True)


@contextmanager
def replaced(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to that takes the place of `path` when the block ends well, and vanishes when it does not."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """JSON, indented by one, NaN refused."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    with replaced(path) as file:
        file.write(text.encode("utf-8") + b"\n")


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """A compressed .npz."""
    with replaced(path) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def write_table(path: Path, rows: list[dict[str, float]]) -> None:
    """CSV with a column for every name that any row has, in the order of their first appearance."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [",".join(names), *(",".join(_cell(row.get(name)) for name in names) for row in rows)]
    with replaced(path) as file:
        file.write(("\n".join(lines) + "\n").encode("utf-8"))


def _cell(value: float | None) -> str:
    return "" if value is None else repr(value)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; ValueError for anything else."""
    try:
        if path.stat().st_size > MOST_TEXT:
            raise ValueError(f"it has more than {MOST_TEXT >> 20} MiB")
        value = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} is damaged: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{str(path)!r} is damaged: it holds a {type(value).__name__}, not a JSON object")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def read_arrays(path: Path, names: tuple[str, ...] | None = None) -> dict[str, NDArray[Any]]:
    """The arrays of a .npz (those named, as far as it has them), after a look at what they would take.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no readable .npz, objects inside, or more than 512 MiB.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(archive)
            wanted = [name for name in members if names is None or name in names]
            room = MOST_ARRAYS
            for name in wanted:
                room -= _checked_size(archive, members[name])
                if room < 0:
                    raise ValueError(f"its arrays take more than {MOST_ARRAYS >> 20} MiB")
            return {name: _array(archive, members[name]) for name in wanted}
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {str(path)!r}") from None
    except (
        ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError,
    ) as error:  # fmt: skip
        raise ValueError(f"{str(path)!r} is no readable file of arrays: {error}") from error


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The arrays by their names. What is checked must be what is read: no name may mean two members."""
    found: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if name == info.filename or name in found:
            raise ValueError(f"its member {info.filename!r} is {'there twice' if name in found else 'no array'}")
        found[name] = info
    return found


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(info) as member:
        found: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
    return found


def _checked_size(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> int:
    """The bytes of one array by its header, which the size of the member must agree with."""
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(member)
    if dtype.kind not in KINDS:
        raise ValueError(f"{info.filename!r} holds {dtype}, not numbers or text")
    size = math.prod(shape) * dtype.itemsize
    if size > info.file_size:
        raise ValueError(f"{info.filename!r} claims {size} bytes and has {info.file_size}")
    return size
