"""What a playback does beside the kernel: reading epochs, looking for new ones, growing trees."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from ...decomposition.diff import TreeDiff
from ...errors import unknown
from ...learning.run import Run, open_run
from ..speaking import sentence
from ..worker import Ticket, Worker, answering
from .folders import born, signature
from .reel import Reel, pictures_of
from .traits import PlaybackTraits
from .tree import Sides, compared, tree_words
from .words import run_words

EVERY = 1.0  # seconds between two looks at a folder that is followed


class PlaybackWork(PlaybackTraits):
    """The part of `Playback` between the traits and the run folders: threads of its own, made when they are needed."""

    def __init__(self, sources: Sequence[Run | Path], module: nn.Module | None, **traits: Any) -> None:
        self._sources, self._module = list(sources), module
        self._patient = False  # whether a folder without a run is waited for
        self._reel_of: list[Reel] = []
        self._births: list[Any] = []
        self._diff: tuple[list[Any], TreeDiff] | None = None
        self._seen: list[Any] = []
        self._stop: threading.Event | None = None
        self._reading: Worker[tuple[str, ...]] = Worker(self._read, "camwidgets-playback-read", self._lost)
        self._growing: Worker[Sides] = Worker(self._grow, "camwidgets-playback-tree", self._lost)
        super().__init__(**traits)

    # ------------------------------------------------------------------ the folders

    def _open_all(self) -> list[Run]:
        """The runs as they are now; raises what `open_run` raises, and ValueError for two that do not go together."""
        # Taken before anything is read: what is written meanwhile is found at the next look.
        self._seen = [None if isinstance(one, Run) else signature(one) for one in self._sources]
        there = [one for one in self._sources if not self._awaited(one)]
        runs = [one if isinstance(one, Run) else open_run(one) for one in there]
        if len(runs) == 2:
            _check_pair(*runs)
        return runs

    def _awaited(self, one: Run | Path) -> bool:
        return self._patient and isinstance(one, Path) and not (one / "run.json").is_file()

    def _take(self, runs: list[Run]) -> None:
        """Hold these runs; say what they have."""
        with self._lock:
            births = [(run.folder, born(run.folder)) for run in runs]
            known, self._births = births == self._births, births
            if known:
                for reel, run in zip(self._reel_of, runs, strict=True):
                    reel.run, reel.damaged = run, {}  # what could not be read may have been half written
            else:
                self._forget([Reel(run) for run in runs])
            ids = self._ids()
            if runs and not (known and [one["id"] for one in self._pictures] == ids):
                words, pictures, masks = pictures_of(runs[0], ids)
                self._picture_bytes, self._mask_bytes, self._pictures = pictures, masks, words
            self._say_runs()

    def _forget(self, reels: list[Reel]) -> None:
        """Nothing of other runs, or of a training that was begun anew in the same folder, is shown any more."""
        self._growing.cancel()
        self._diff, self._tree = None, {"state": "none"}
        self._reels, self._maps0, self._maps1 = [], b"", b""
        self._reel_of = reels

    def _say_runs(self) -> None:
        """Words on all runs, and the epochs that can be chosen."""
        with self._lock:
            ids = list(self._wanted()) if self._ids() else []
            found, epochs = [], set[int]()
            for i, reel in enumerate(self._reel_of):
                shown = reel.epochs(ids)
                epochs |= {epoch for epoch in shown if ids and epoch not in reel.damaged}
                found.append(run_words(reel.run, reel.damaged, shown, len(getattr(self, f"_maps{i}"))))
            self._runs, self._epochs = found, sorted(epochs)
            self._weights = self._reel_of[0].run.epochs if self._reel_of else []
            self._note = self._common_words()

    def _ids(self) -> list[str]:
        """The pictures that every run watched, in the order of the first."""
        runs = [reel.run for reel in self._reel_of]
        return [id for id in runs[0].watched if all(id in run.watched for run in runs)] if runs else []

    def _common_words(self) -> str:
        awaited = [str(one) for one in self._sources if self._awaited(one)]
        if awaited:
            return f"There is no run in {' or '.join(awaited)} yet; it appears here as soon as its training has begun."
        if len(self._reel_of) < 2:
            return ""
        left = [len(reel.run.watched) - len(self._ids()) for reel in self._reel_of]
        if not any(left):
            return ""
        return (
            f"Shown are the pictures that both runs watched; {left[0]} of the first and {left[1]} of the other are not."
        )

    def _wanted(self) -> tuple[str, ...]:
        """The pictures whose maps are read: all, or the one that is shown where all would be too many bytes."""
        ids = self._ids()
        if all(reel.whole(ids) for reel in self._reel_of):
            return tuple(ids)
        return (self.picture if self.picture in ids else ids[0],)

    # ------------------------------------------------------------------ reading

    def _load(self) -> None:
        """Read what is not there yet of what is wanted, in a thread of its own."""
        if not self._ids():
            return
        with self._lock:
            self._status = {"state": "working", "text": "reading maps …"}
        self._reading.submit(self._wanted())

    def _read(self, ids: tuple[str, ...], ticket: Ticket) -> None:
        with answering(ticket, self._lock, self._fail):
            for reel in self._reel_of:
                reel.read(ids, lambda at, of: self._far(f"reading maps: epoch {at + 1} of {of} …", ticket))
            packed = [reel.packed(ids) for reel in self._reel_of]
            with self._lock:
                ticket.check()
                self._reels = [{**words, "run": i} for i, (found, _) in enumerate(packed) for words in found]
                self._maps0, self._maps1 = (*(data for _, data in packed), b"")[:2]
                self._say_runs()
                self._arrived()
                self._rest()

    def _far(self, text: str, ticket: Ticket) -> None:
        with self._lock:
            ticket.check()
            self._status = {"state": "working", "text": text}

    def _arrived(self) -> None:
        """Maps are there: set by the playback."""

    # ------------------------------------------------------------------ following

    def _watch(self, on: bool) -> None:
        """Begin or end to look for new epochs."""
        with self._lock:
            if self._stop is not None:
                self._stop.set()
                self._stop = None
            if on:
                self._stop = threading.Event()
                threading.Thread(
                    target=self._poll, args=(self._stop,), name="camwidgets-playback-follow", daemon=True
                ).start()

    def _poll(self, stop: threading.Event) -> None:
        while not stop.wait(EVERY):
            if [signature(folder) for folder in self._folders()] != self._seen:
                try:
                    self._renew()
                except FileNotFoundError:  # deleted while it was read
                    self._seen = []
                except Exception as error:  # noqa: BLE001 - a thread's errors are seen nowhere else
                    self._fail(error)

    def _folders(self) -> list[Path]:
        return [one.folder if isinstance(one, Run) else one for one in self._sources]

    def _renew(self) -> None:
        """Open the folders again, and read what is new."""
        self._sources, self._patient = list(self._folders()), True
        runs = self._open_all()
        if not runs:  # not yet, or deleted: what was read stays
            return
        with self._lock:
            last = not self._epochs or self.epoch == self._epochs[-1]
            self._take(runs)
            self._settle(last)
            self._load()

    def _settle(self, last: bool) -> None:
        """Choose what can be chosen: set by the playback."""

    # ------------------------------------------------------------------ trees

    def _grow(self, sides: Sides, ticket: Ticket) -> None:
        def tell(text: str, share: float) -> None:
            with self._lock:
                ticket.check()
                self._tree = {"state": "working", "text": text, "share": share, "key": sides.key}

        def broken(error: Exception) -> None:
            self._tree = {"state": "failed", "text": sentence(error), "key": sides.key}

        with answering(ticket, self._lock, broken):
            found = compared(sides, tell)
            words = tree_words(found, sides)
            with self._lock:
                ticket.check()
                self._diff, self._tree = (sides.key, found), words


def _check_pair(first: Run, second: Run) -> None:
    """Two runs whose pictures can stand side by side."""
    if first.classes != second.classes:
        raise ValueError(
            f"the runs know different classes: {', '.join(first.classes)} and {', '.join(second.classes)}; "
            f"side by side stand runs of the same classes"
        )
    if not first.watched or not second.watched:
        return
    common = [id for id in first.watched if id in second.watched]
    if not common:
        raise ValueError(
            f"the runs watched different pictures: {', '.join(first.watched[:6])} and {', '.join(second.watched[:6])}; "
            f"train both with the same watch=…"
        )
    for id in common:
        if not np.array_equal(first.picture(id), second.picture(id)):
            raise ValueError(f"the picture {id!r} is not the same in both runs: they were trained on different data")


def layer_of(run: Run, epoch: int, picture: str, label: str, which: str) -> np.ndarray:
    """One class's map as the run has it, h×w float32; ValueError where there is none."""
    maps = run.maps(epoch, picture, which)
    if maps is None:
        raise unknown("layer", which, run.layers(epoch))
    found: np.ndarray = maps[run.classes.index(label)]
    return found
