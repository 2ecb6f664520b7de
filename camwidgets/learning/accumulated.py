"""Cumulative maps as they lie on a disk, and how they are read.

    accumulator.json     schema, rule, dtype, size, classes: what the maps are; samples.npz: the ids
    state_000007/        all maps after a flush: index.npz (sample, class, count of each slot; checksum), maps.bin
    working.bin          what an accumulator that is open works in; of no account after a kill
    .lock, holder.json   which process has it open for writing

A state is written in a folder beside, brought to the disk, and then renamed: it is there as a whole or not at all.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..files import read_arrays, write_arrays
from .layout import Layout

BLOCK = 1 << 22  # bytes copied at a time
_STATE = re.compile(r"state_(\d{6,12})")
Key = tuple[int, int]


class Maps:
    """Cumulative maps by sample id and class.

    What `AttentionAccumulator` and `open_accumulated` have in common.

    Attributes:
        layout: ids, classes, size (h, w), rule, dtype.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._slots: dict[Key, int] = {}
        self._counts = np.zeros(0, np.uint32)
        self._values: NDArray[Any] = np.zeros((0, *layout.size), layout.kept)
        self._guard = threading.RLock()

    @property
    def ids(self) -> tuple[str, ...]:
        return self.layout.ids

    @property
    def classes(self) -> tuple[str, ...]:
        return self.layout.classes

    @property
    def size(self) -> tuple[int, int]:
        return self.layout.size

    def __len__(self) -> int:
        """The number of maps kept."""
        return len(self._slots)

    def map(self, id: str, cls: int | str) -> Tensor:
        """h×w float32 in [0, 1]: the cumulative map; 0 everywhere where none was accumulated.

        Raises:
            ValueError: no such picture or class.
        """
        key = self.layout.place(id), self.layout.channel(cls)
        with self._guard:
            slot = self._slots.get(key)
            return torch.zeros(self.size) if slot is None else self._read([slot])[0]

    def maps(self, id: str) -> Tensor:
        """C×h×w float32 in [0, 1]: the cumulative maps of a picture, 0 everywhere for classes that are absent."""
        return self.batch([id])[0]

    def batch(self, ids: Sequence[str]) -> Tensor:
        """B×C×h×w float32: `maps` of several pictures."""
        found = torch.zeros((len(ids), len(self.classes), *self.size))
        with self._guard:
            for b, id in enumerate(ids):
                n = self.layout.place(id)
                present = [c for c in range(len(self.classes)) if (n, c) in self._slots]
                if present:
                    found[b, present] = self._read([self._slots[n, c] for c in present])
        return found

    def count(self, id: str) -> int:
        """How many maps were accumulated for this picture (for the class that has most)."""
        n = self.layout.place(id)
        with self._guard:
            slots = [self._slots[n, c] for c in range(len(self.classes)) if (n, c) in self._slots]
            return int(self._counts[slots].max()) if slots else 0

    def fingerprint(self) -> str:
        """16 hexadecimal digits that say which maps these are, values included."""
        with self._guard:
            order = sorted(self._slots.items())
            slots = [slot for _, slot in order]
            digest = hashlib.sha256(repr((self.ids, self.classes, self.size, [key for key, _ in order])).encode())
            digest.update(self._counts[slots].tobytes())
            for slot in slots:
                digest.update(self._values[slot].tobytes())
        return digest.hexdigest()[:16]

    def _read(self, slots: list[int]) -> Tensor:
        values = self._values[slots].astype(np.float64)
        if self.layout.rule == "mean":
            values /= np.maximum(self._counts[slots], 1)[:, None, None]
        if self.layout.dtype == "uint8":
            values /= 255
        return torch.from_numpy(values.astype(np.float32))


def open_accumulated(folder: str | Path, state: int | None = None) -> Maps:
    """The maps that an accumulator left at its last flush, to be read; it may be at work still.

    Args:
        state: number of a state that is there; None = the last.
    Raises:
        FileNotFoundError: there is no accumulator. ValueError: it is damaged, or it has no such state.
    """
    folder = Path(folder).expanduser()
    if not (folder / "accumulator.json").is_file():
        raise FileNotFoundError(f"{str(folder)!r} holds no accumulated maps")
    found = Maps(Layout.read(folder))
    numbers = states(folder)
    number = state if state is not None else (numbers[-1] if numbers else 0)
    if number == 0:
        return found
    keys, found._counts, found._values = read_state(folder, number, found.layout)
    found._slots = {key: slot for slot, key in enumerate(keys)}
    return found


def states(folder: Path) -> list[int]:
    """The numbers of the states that are there, rising."""
    found = (_STATE.fullmatch(one.name) for one in folder.iterdir() if one.is_dir() and not one.is_symlink())
    return sorted(int(one[1]) for one in found if one)


def state_folder(folder: Path, number: int) -> Path:
    return folder / f"state_{number:06d}"


def read_state(folder: Path, number: int, layout: Layout) -> tuple[list[Key], NDArray[np.uint32], NDArray[Any]]:
    """(sample, class) of each slot, the counts, and the maps as a read-only memory map.

    Raises:
        ValueError: no such state, or one that is not whole.
    """
    path = state_folder(folder, number)
    if number not in states(folder):
        there = ", ".join(map(str, states(folder))) or "none"
        raise ValueError(f"{str(folder)!r} has no state {number} of its maps (it has: {there})")
    try:
        index = read_arrays(path / "index.npz", ("sample", "cls", "count", "crc"))
        keys, counts = _checked_index(index, layout)
        wanted, found = len(keys) * layout.bytes_each, (path / "maps.bin").stat().st_size
        if found != wanted:
            raise ValueError(f"maps.bin has {found} bytes, not the {wanted} of {len(keys)} maps")
        values = _mapped(path / "maps.bin", layout, len(keys))
        if _checksum(values) != int(index["crc"][0]):
            raise ValueError("the checksum of maps.bin is wrong")
    except (ValueError, KeyError, OSError) as error:
        raise ValueError(f"the maps in {str(path)!r} are damaged: {error}") from error
    return keys, counts, values


def _checked_index(index: dict[str, NDArray[Any]], layout: Layout) -> tuple[list[Key], NDArray[np.uint32]]:
    sample, cls, count = index["sample"], index["cls"], index["count"]
    arrays = (sample, cls, count)
    if any(one.ndim != 1 or one.dtype.kind not in "iu" or len(one) != len(sample) for one in arrays):
        raise ValueError("index.npz does not say whose its maps are")
    if index["crc"].shape != (1,) or index["crc"].dtype.kind not in "iu":
        raise ValueError("index.npz has no checksum")
    if len(sample) and not (
        (sample >= 0).all() and (sample < len(layout.ids)).all() and (cls >= 0).all()
        and (cls < len(layout.classes)).all() and (count >= 1).all() and (count < 2**24).all()
    ):  # fmt: skip
        raise ValueError("index.npz names pictures or classes that there are not")
    keys = list(zip(sample.tolist(), cls.tolist(), strict=True))
    if len(set(keys)) < len(keys):
        raise ValueError("index.npz names one map twice")
    return keys, count.astype(np.uint32)


def _mapped(path: Path, layout: Layout, slots: int) -> NDArray[Any]:
    if not slots:  # an empty file cannot be mapped
        return np.zeros((0, *layout.size), layout.kept)
    return np.memmap(path, layout.kept, "r", shape=(slots, *layout.size))


def write_state(folder: Path, number: int, keys: list[Key], counts: NDArray[np.uint32], values: NDArray[Any]) -> None:
    """A state, whole or not at all. Raises OSError where it cannot be written."""
    path = state_folder(folder, number)
    beside = folder / f".{path.name}.{os.getpid()}.part"
    try:
        beside.mkdir()
        with (beside / "maps.bin").open("wb") as file:
            for start, stop in _blocks(values):
                file.write(np.ascontiguousarray(values[start:stop]).data)
            file.flush()
            os.fsync(file.fileno())
        pairs = np.array(keys, np.int64).reshape(-1, 2)
        crc = np.array([_checksum(values)], np.int64)
        write_arrays(beside / "index.npz", {"sample": pairs[:, 0], "cls": pairs[:, 1], "count": counts, "crc": crc})
        _to_disk(beside)
        shutil.rmtree(path, ignore_errors=True)  # one that was given up and could not be removed then
        beside.replace(path)
        _to_disk(folder)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def _to_disk(folder: Path) -> None:
    """The folder's list of names, where the system can do so (Windows cannot, and needs not)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _blocks(values: NDArray[Any]) -> list[tuple[int, int]]:
    """Ranges of slots of a few MiB each, so that copying needs little memory."""
    step = max(1, BLOCK // max(1, values[:1].nbytes))
    return [(start, min(start + step, len(values))) for start in range(0, len(values), step)]


def _checksum(values: NDArray[Any]) -> int:
    crc = 0
    for start, stop in _blocks(values):
        crc = zlib.crc32(np.ascontiguousarray(values[start:stop]).data, crc)
    return crc
