"""FailureExplorer's single channel: its map and its patches; and what is borrowed from other pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import traitlets as t

from ...decomposition.patches import DatasetIndex, PatchIndex
from ...figures.thumbnails import data_uri
from ...investigate.failures import FailureTable
from ...investigate.groups import window_around
from ...investigate.retouch import surroundings
from ...investigate.samples import Samples, samples_of
from ..worker import Ticket
from .case import Case, mask_of, small
from .table import FailureGallery
from .words import blame_words

MOST_BACKDROPS = 24
MOST_INDEXED = 500
PATCHES = 6
WORKING: dict[str, Any] = {"state": "working"}
NOTHING: dict[str, Any] = {"state": "none"}


class FailureChannel(FailureGallery):
    """The part of `FailureExplorer` about one channel of the case that is open."""

    def __init__(self, *args: Any, **traits: Any) -> None:
        self._open: Case | None = None
        self._index: PatchIndex | None = None
        self._patch: np.ndarray | None = None  # what the paste tool holds
        self._sights: list[np.ndarray] = []  # the patches on screen, as they are pasted
        super().__init__(*args, **traits)

    def _set_table(self, table: FailureTable) -> None:
        super()._set_table(table)
        self._list_backdrops()

    @property
    def _samples(self) -> Samples | None:
        if self._made is not None and self._made.samples is not None:
            return self._made.samples
        return None if self.dataset is None else samples_of(self.classifier, self.dataset)

    def _item(self, number: int) -> Any:
        samples = self._samples
        return None if samples is None else samples[number].item

    def _case_or_raise(self) -> Case:
        """The case that is open, of the network's weights as they are now."""
        if self._open is None:
            raise ValueError("no failure is open; choose one in the gallery, or by choose(number)")
        return self._current(self._open)

    def _current(self, case: Case) -> Case:
        """A case as it is with the weights of now: set by `FailureWork`."""
        raise NotImplementedError

    # ------------------------------------------------------------------ one channel

    @t.observe("stage")
    def _another_stage(self, _: Any) -> None:
        case = self._open
        if not self._ready or case is None or case.blames is None:
            return
        with self._show():
            self._show_blame(case)

    def _show_blame(self, case: Case) -> None:
        if self.stage not in case.find_blame():
            self.stage = next(reversed(case.find_blame()), "")
        self._blame = blame_words(case, self.stage)

    @t.observe("channel")
    def _another_channel(self, _: Any) -> None:
        if not self._ready:
            return
        with self._show():
            self._drop("channel")
            self._channel, self._channel_map, self._patches, self._sights = {}, b"", {}, []
        if not self.channel or self._open is None:
            return
        case = self._case_or_raise()
        stage, channel = str(self.channel[0]), int(self.channel[1])

        def job(ticket: Ticket) -> None:
            tap = case.classifier.tap(stage)
            values, said = case.channel_map(stage, channel)
            called = self._names.name(tap, channel) if self._names is not None else None
            words = {
                "stage": stage, "tap": str(tap), "channel": channel, "text": said,
                "name": f"{called.concept} ({called.iou:.2f} IoU)" if called else "",
            }  # fmt: skip
            with self._show(ticket):
                self._channel, self._channel_map = words, np.round(255 * values).astype(np.uint8).tobytes()
            self._show_patches(stage, channel, ticket)

        self._start("channel", job)

    def _show_patches(self, stage: str, channel: int, ticket: Ticket) -> None:
        index, samples = self._index, self._samples
        if samples is None:
            with self._show(ticket):
                self._patches = {"state": "none", "text": "opened without its data set: no patches to look for"}
            return
        if index is None or not len(index):
            with self._show(ticket):
                self._patches = {"state": "offer" if "index" not in self._clocks else "working"}
            return
        tap, rows, cuts = self.classifier.tap(stage), [], []
        for patch in index.top(tap, channel, PATCHES):
            ticket.check()
            one = samples[int(patch.path.name)]
            picture = self.classifier.pictures(self.classifier.preprocess(one.open()))[0]
            x0, y0, x1, y1 = window_around(tap, patch.y, patch.x, (picture.shape[0], picture.shape[1]))
            cuts.append(picture[y0:y1, x0:x1].copy())
            rows.append({"id": one.id, "label": self.classifier.labels[one.label], "response": patch.response,
                         "src": data_uri(small(cuts[-1], 80))})  # fmt: skip
        with self._show(ticket):
            self._sights = cuts
            self._patches = {"state": "done", "rows": rows, "text": f"strongest in {len(index)} pictures"}

    def _make_index(self) -> None:
        samples = self._samples
        if samples is None:
            raise ValueError("there is no data set to look for patches in")
        if self._index is None:
            self._index = DatasetIndex(self.classifier, _Pictures(samples, min(len(samples), MOST_INDEXED)))
        index = self._index
        clock = self._clock("index", min(len(samples), MOST_INDEXED))
        with self._lock:
            self._patches = {"state": "working"}

        def job(ticket: Ticket) -> None:
            ticket.stops(clock.stop)
            index.build(clock.counted, clock.stop.is_set)
            with self._show(ticket):
                self._over(clock, "index", "cancelled" if clock.stop.is_set() else "done")
            self._start("channel", self._again)

        self._start("index", job)

    def _again(self, ticket: Ticket) -> None:
        if self.channel:
            self._show_patches(str(self.channel[0]), int(self.channel[1]), ticket)

    # ------------------------------------------------------------------ backgrounds of other pictures

    def _list_backdrops(self) -> None:
        """Pictures whose background can be borrowed: a right one of each class, with its object's mask if possible."""
        table = self._table_or_raise()
        found: list[dict[str, Any]] = []
        seen: set[int] = set()
        for d in sorted(table.decided, key=lambda d: (not d.right, d.number)):
            if d.label not in seen and len(found) < MOST_BACKDROPS and table.samples is not None:
                seen.add(d.label)
                found.append({"value": d.number, "text": f"{table.labels[d.label]} ({d.id})"})
        self._backdrops = found

    def _backdrop(self, number: int) -> np.ndarray:
        """Another picture without its object, which is filled from around it where its mask is known."""
        case = self._case_or_raise()
        if number < 0:
            raise ValueError("no background was chosen; choose the picture that it is taken from")
        other = self._table_or_raise().picture(self._decided_in_table(number))
        mask = mask_of(self.classifier, self._item(number))
        other = other if mask is None else surroundings(other, ~mask)
        if other.shape != case.edits.original.shape:
            raise ValueError("that picture has another size than this one as the network sees it")
        return other

    def _decided_in_table(self, number: int) -> Any:
        found = next((d for d in self._table_or_raise().decided if d.number == number), None)
        if found is None:
            raise ValueError(f"picture {number!r} is not in the table; numbers are those of the data set")
        return found


class _Pictures(Sequence[Any]):
    """The pictures of a data set, for an index."""

    def __init__(self, samples: Samples, count: int) -> None:
        self._samples, self._count = samples, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, i: Any) -> Any:
        return self._samples[i].open()
