"""Online attention accumulation: the cumulative map of every picture and class, kept by sample id ([000] 4.2.2)."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..files import sweep
from .accumulated import BLOCK, Key, Maps, read_state, state_folder, states, write_state
from .disk import HOLDER, allocate, locked, room
from .layout import Layout

KEEP = 2  # states: a kill may come between a flush and the checkpoint that speaks of it
FIRST = 64  # slots; the working file grows by half


class AttentionAccumulator(Maps):
    """Cumulative maps on a disk: M_t = max(M_{t−1}, A_t), or M_t = ((t − 1) M_{t−1} + A_t)/t ([000] (4.4), (4.9)).

    Maps are kept by sample id and class: in whatever order pictures come, and however batches are made up. There is a
    slot only for a class that was present. They are worked on in a memory map; `flush` leaves a state that no kill can
    tear (written beside, checked by a checksum, renamed), and the last two states are kept, so that a training can go
    back to the one its checkpoint speaks of (`rollback`). Opening a folder goes on from the last state.

    The maximum is kept as `dtype`: half precision, or 8 bits (to ½/255). The mean is never rounded back: kept are the
    sum (float32; of 8-bit values uint32, exact) and the count, 4 bytes a value. So it cannot drift: |M − mean A| ≤
    ½/255 + 2⁻²⁴ with uint8, ≤ t · 2⁻²⁴ with float16 (which then says nothing about precision), after any t < 2²⁴.

    Args:
        folder: is made if it is not there. ids: of all pictures. classes: their names, or how many.
        size: (h, w) of the maps. rule: "max" (the thesis' choice) or "mean". dtype: "float16" or "uint8".
    Raises:
        ValueError: the folder is of other ids, classes, size, rule or dtype; or it is damaged; or another process (or
            another object in this one) has it open, whose name is in the sentence.
        OSError: no room, no right to write.

    Example:
        >>> import tempfile, torch
        >>> folder = tempfile.TemporaryDirectory()
        >>> with AttentionAccumulator(folder.name, ["a", "b"], ["cat", "dog"], (1, 2)) as kept:
        ...     for A in ([0.25, 1.0], [0.5, 0.5]):
        ...         kept.update(["b"], torch.tensor([[[A], [A]]]), torch.tensor([[False, True]]))
        ...     kept.map("b", "dog"), len(kept), kept.count("b"), kept.flush()
        (tensor([[0.5000, 1.0000]]), 1, 2, 1)
        >>> folder.cleanup()
    """

    def __init__(
        self, folder: str | Path, ids: Sequence[str], classes: Sequence[str] | int, size: tuple[int, int],
        rule: str = "max", dtype: str = "float16",
    ) -> None:  # fmt: skip
        super().__init__(Layout(ids, classes, size, rule, dtype))
        self.folder = Path(folder).expanduser()
        self._working: Path = self.folder / "working.bin"
        self._number, self._dirty = 0, False
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise ValueError(f"{str(self.folder)!r} is a file; an accumulator needs a folder") from error
        self._lock = locked(self.folder)
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        if (self.folder / "accumulator.json").exists():
            there = Layout.read(self.folder)
            differing = there.differences(self.layout)
            if differing:
                raise ValueError(f"{str(self.folder)!r} holds other maps: {'; '.join(differing)}; name another folder")
            self.layout = there  # whose ids may come in another order
        else:
            if states(self.folder):
                raise ValueError(f"{str(self.folder)!r} is damaged: it has maps, but no accumulator.json")
            with room(self.folder):
                self.layout.write(self.folder)
        self._working.unlink(missing_ok=True)
        sweep(self.folder)
        for left in self.folder.glob(".state_*.part"):
            shutil.rmtree(left, ignore_errors=True)
        self._load(max(states(self.folder), default=0))

    # ------------------------------------------------------------------------------------------------ changing

    def update(self, ids: Sequence[str], maps: Tensor, present: Tensor) -> None:
        """Fold the maps of a batch in.

        Args:
            ids: of the pictures, in the order of the batch. maps: B×C×h×w in [0, 1], in the coordinates of the picture
                itself. present: B×C bool; maps of other classes are not looked at.
        Raises:
            ValueError: an unknown id, shapes that do not go together, values outside [0, 1] or NaN. OSError: no room.
        """
        self._check_open()
        values = self._checked(ids, maps, present)
        places = [self.layout.place(id) for id in ids]
        rows = present.detach().cpu().bool().nonzero().tolist()
        keys: list[Key] = [(places[b], c) for b, c in rows]
        with self._guard:
            for part in _without_twins(keys):
                self._fold([keys[i] for i in part], values[part])

    def _fold(self, keys: list[Key], A: NDArray[np.float32]) -> None:
        slots = self._slots_of(keys)
        self._dirty = True
        kept = self._values[slots]
        kept[self._counts[slots] == 0] = 0  # the working file may hold what was rolled back
        given = np.rint(A * np.float32(255)) if self.layout.dtype == "uint8" else A
        given = given.astype(kept.dtype)
        self._values[slots] = np.maximum(kept, given) if self.layout.rule == "max" else kept + given
        self._counts[slots] += 1

    def _checked(self, ids: Sequence[str], maps: Tensor, present: Tensor) -> NDArray[np.float32]:
        """The maps of classes present, one after another."""
        shape = (len(ids), len(self.classes))
        if isinstance(ids, str) or maps.shape != (*shape, *self.size) or present.shape != shape:
            raise ValueError(
                f"of {shape[0]} pictures and {shape[1]} classes maps of {(*shape, *self.size)} and present of {shape} "
                f"are needed; got {tuple(maps.shape)} and {tuple(present.shape)}"
            )
        there = present.detach().cpu().bool()
        values: NDArray[np.float32] = maps.detach().float().cpu()[there].numpy()
        fine = ((values >= 0) & (values <= 1)).all((1, 2))
        if not fine.all():
            b, c = there.nonzero()[int(np.flatnonzero(~fine)[0])].tolist()
            raise ValueError(f"a map has values in [0, 1]; that of {ids[b]!r}, class {self.classes[c]!r}, has not")
        return values

    def _slots_of(self, keys: list[Key]) -> list[int]:
        new = [key for key in keys if key not in self._slots]
        self._reserve(len(self._slots) + len(new))
        for key in new:
            self._slots[key] = len(self._slots)
        return [self._slots[key] for key in keys]

    def _reserve(self, slots: int) -> None:
        """Room for so many maps, on the disk too: a map of a file that the disk has no room for would kill us later."""
        if slots <= len(self._counts):
            return
        most = len(self.ids) * len(self.classes)
        capacity = min(most, max(slots, FIRST, len(self._counts) * 3 // 2))
        with room(self.folder), self._working.open("r+b" if self._working.exists() else "w+b") as file:
            allocate(file.fileno(), capacity * self.layout.bytes_each)
        self._values = np.memmap(self._working, self.layout.kept, "r+", shape=(capacity, *self.size))
        counts = np.zeros(capacity, np.uint32)
        counts[: len(self._counts)] = self._counts
        self._counts = counts

    # ------------------------------------------------------------------------------------------------ states

    def flush(self) -> int:
        """Leave a state of all maps on the disk, and return its number; nothing is written if nothing has changed.

        Number 0 is the empty beginning. The last two states are kept.

        Raises:
            OSError: no room; the states before are whole.
        """
        self._check_open()
        with self._guard:
            if not self._dirty:
                return self._number
            used = len(self._slots)
            with room(self.folder):
                write_state(
                    self.folder, self._number + 1, list(self._slots), self._counts[:used], self._values[:used]
                )
            self._number, self._dirty = self._number + 1, False
            for old in states(self.folder)[:-KEEP]:
                shutil.rmtree(state_folder(self.folder, old), ignore_errors=True)
            return self._number

    def rollback(self, number: int) -> None:
        """Go back to the state of that number; states after it are given up. 0 = the empty beginning.

        Raises:
            ValueError: no such state, or a damaged one.
        """
        self._check_open()
        with self._guard:
            self._load(number)
            for later in states(self.folder):
                if later > number:
                    shutil.rmtree(state_folder(self.folder, later), ignore_errors=True)

    def _load(self, number: int) -> None:
        keys, counts, values = read_state(self.folder, number, self.layout) if number else ([], None, None)
        self._slots = {}
        self._counts[:] = 0
        self._reserve(len(keys))
        if counts is not None and values is not None:
            step = max(1, BLOCK // self.layout.bytes_each)
            for start in range(0, len(keys), step):
                self._values[start : start + step][: len(keys) - start] = values[start : start + step]
            self._counts[: len(keys)] = counts
        self._slots = {key: slot for slot, key in enumerate(keys)}
        self._number, self._dirty = number, False

    # ------------------------------------------------------------------------------------------------ the end

    def close(self) -> None:
        """Give the folder free for others. What was not flushed is given up."""
        with self._guard:
            self._values = np.zeros((0, *self.size), self.layout.kept)
            if self._lock.is_locked:
                self._working.unlink(missing_ok=True)
                (self.folder / HOLDER).unlink(missing_ok=True)
                self._lock.release()

    def _check_open(self) -> None:
        if not self._lock.is_locked:
            raise ValueError(f"the accumulator in {str(self.folder)!r} was closed; open it again")

    def __enter__(self) -> AttentionAccumulator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        h, w = self.size
        return (
            f"AttentionAccumulator({str(self.folder)!r}: {len(self)} maps of {w}×{h} by {self.layout.rule} of "
            f"{len(self.ids)} pictures, {len(self.classes)} classes, {self.layout.dtype})"
        )


def _without_twins(keys: list[Key]) -> list[list[int]]:
    """Places of keys, cut so that no part has a key twice (a sampler may draw a picture twice into a batch)."""
    parts: list[list[int]] = []
    seen: dict[Key, int] = {}
    for i, key in enumerate(keys):
        turn = seen[key] = seen.get(key, -1) + 1
        if turn == len(parts):
            parts.append([])
        parts[turn].append(i)
    return parts
