"""FailureExplorer's gallery: the table made in a thread of its own, what its failures share, the thumbnails."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import traitlets as t

from ...classifiers.classifier import Classifier
from ...decomposition.naming import Dissection, shipped
from ...figures.thumbnails import data_uri
from ...investigate.failures import Decided, FailureTable, failures
from ...investigate.samples import samples_of
from ..benchmark.work import Clock
from ..speaking import sentence
from ..worker import Superseded, Ticket
from .case import small
from .traits import FailureTraits
from .words import THUMB, card, group_words, listed, table_words

PAGE = 12
MOST_THUMBS = 600
MOST_GROUPS = 12  # shown


class FailureGallery(FailureTraits):
    """The part of `FailureExplorer` that knows what failed."""

    def __init__(
        self, classifier: Classifier, dataset: Sequence[Any] | None, table: FailureTable | None, **traits: Any
    ) -> None:
        self.classifier, self.dataset = classifier, dataset
        self._names: Dissection | None = shipped(classifier)
        self._made: FailureTable | None = table
        self._made_of: Any = None  # the data set it was made of, as it was given
        self._small: OrderedDict[int, str] = OrderedDict()
        self._clocks: dict[str, Clock] = {}
        super().__init__(**traits)

    # ------------------------------------------------------------------ the table

    def _make_table(self, dataset: Sequence[Any] | None) -> None:
        """Decide every picture, in a thread of its own."""
        if dataset is None:
            raise ValueError("there is no data set to look at: FailureExplorer(classifier, dataset), or open one")
        samples_of(self.classifier, dataset)  # refuses what is none, here and now
        total = len(dataset) if self.limit is None else min(self.limit, len(dataset))
        clock = self._clock("table", total)

        def job(ticket: Ticket) -> None:
            ticket.stops(clock.stop)
            found = failures(self.classifier, dataset, self.limit, clock.counted, clock.stop.is_set)
            with self._show(ticket):
                self._over(clock, "table", "cancelled" if clock.stop.is_set() else "done")
                if self._made is not None and self._made_of is not dataset:
                    self._put_away()  # what was opened meanwhile was of the table that was on screen
                self._made_of = dataset
                self._set_table(found)

        self._start("table", job)

    def _put_away(self) -> None:
        """Nothing of another data set stays open or remembered."""

    def _set_table(self, table: FailureTable) -> None:
        with self._show():
            self._made = table
            self._small.clear()
            self._table = table_words(table)
            self._groups = {"state": "done" if table.groups else "none", "rows": self._group_rows(table)}
            self.cell, self.group, self.page = [], -1, 0
        self._draw_cards()

    def _make_groups(self) -> None:
        table = self._table_or_raise()
        if table.samples is None:
            raise ValueError("this table was opened without its data set; groups are made of its pictures")
        clock = self._clock("groups", len(table))
        with self._lock:
            self._groups = {"state": "working", "rows": []}

        def job(ticket: Ticket) -> None:
            ticket.stops(clock.stop)
            found = table.grouped(progress=clock)
            with self._show(ticket):
                current = self._made is table  # no other table came meanwhile, which has no groups yet
                self._over(clock, "groups", "done" if current else "cancelled")
                if current:
                    self._made = found
                    self._groups = {"state": "done", "rows": self._group_rows(found)}

        self._start("groups", job)

    def _group_rows(self, table: FailureTable) -> list[dict[str, Any]]:
        return [group_words(table, group, self._names) for group in table.groups[:MOST_GROUPS]]

    def _table_or_raise(self) -> FailureTable:
        if self._made is None:
            raise ValueError("the failures are not known yet; wait() until they are, or run() to look for them")
        return self._made

    # ------------------------------------------------------------------ progress

    def _clock(self, what: str, total: int) -> Counted:
        def far(words: dict[str, Any]) -> None:
            with self._lock:
                if self._clocks.get(what) is clock:
                    self._progress = {**self._progress, what: words}

        with self._lock:
            if what in self._clocks:
                raise ValueError(f"the {what} is being made already; cancel that first, or wait until it is done")
            clock = self._clocks[what] = Counted(total, far)
            self._forget()
            self._progress = {**self._progress, what: clock.words("running")}
        return clock

    def _over(self, clock: Clock, what: str, state: str) -> None:
        with self._lock:
            if self._clocks.get(what) is clock:
                del self._clocks[what]
                self._progress = {**self._progress, what: clock.words(state)}

    def _cancel(self, what: str) -> None:
        """Break off: what the table has so far is kept, groups are not."""
        with self._lock:
            clock = self._clocks.get(what)
            if clock is None:
                return
            clock.stop.set()
            self._progress = {**self._progress, what: {**self._progress.get(what, {}), "state": "stopping"}}

    def _finished(self, name: str, given_up: bool) -> None:
        clock = self._clocks.get(name)
        if clock is not None:
            self._over(clock, name, "cancelled" if clock.stop.is_set() else "failed")
        if given_up and name == "groups":
            with self._lock:
                self._groups = {"state": "none", "rows": []}

    def _broken(self, name: str, error: Exception) -> None:
        if name == "groups":
            self._groups = {"state": "failed", "rows": [], "text": sentence(error)}
        super()._broken(name, error)

    # ------------------------------------------------------------------ the cards

    @t.observe("cell", "group", "sort", "page")
    def _another_page(self, change: Any) -> None:
        if not self._ready:
            return
        with self._lock:
            if change.name != "page" and self.page:
                self.page = 0  # comes back here
                return
            self._draw_cards()

    def _draw_cards(self) -> None:
        table = self._made
        if table is None:
            return
        found = listed(table, self.cell, self.group, self.sort)
        page = min(self.page, max(0, (len(found) - 1) // PAGE))
        some = found[page * PAGE : (page + 1) * PAGE]
        about = {"total": len(found), "page": page, "pages": -(-len(found) // PAGE), "least": not len(table)}

        def job(ticket: Ticket) -> None:
            cards = []
            for one in some:
                ticket.check()
                cards.append(card(table, one, self._thumb(one)))
            with self._show(ticket):
                self._cards = {**about, "cards": cards}

        self._start("gallery", job)

    def _thumb(self, one: Decided) -> str:
        """A small picture as an address; "" where it cannot be read any more."""
        if one.number not in self._small:
            try:
                self._small[one.number] = data_uri(small(self._seen(one), THUMB))
            except (ValueError, OSError):
                self._small[one.number] = ""
            while len(self._small) > MOST_THUMBS:
                self._small.popitem(last=False)
        return self._small[one.number]

    def _seen(self, one: Decided) -> Any:
        """What the network saw of a picture, h×w×3 uint8."""
        return self._table_or_raise().picture(one)


class Counted(Clock):
    """A clock that does not end the work by itself: whoever asks `stop` does."""

    def counted(self, done: int, total: int) -> None:
        """Tell how far it is."""
        try:
            self(done, total)
        except Superseded:
            return
