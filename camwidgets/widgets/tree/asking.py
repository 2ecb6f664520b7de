"""How a tree explorer asks: its traits become one request; the worker answers the newest, and every failure is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import traitlets as t

from ...classifiers.classifier import Classifier
from ..sources import Pictures
from ..speaking import BadValue, checked, failure
from ..worker import Ticket, Worker, answering
from .acts import TreeActs
from .panel import TreePanel
from .telling import Telling
from .traits import SETTINGS
from .work import Shown, TreeMaker, Want


class TreeAsking(TreeActs):
    """The part of `TreeExplorer` between the traits and the worker."""

    classifier: Classifier
    pictures: Pictures
    head: TreePanel
    _maker: TreeMaker
    _worker: Worker[Want]
    _telling: Telling
    _local: Any
    _ready: bool = False
    _at_work = _ended = False
    _newest: Want | None = None  # what was asked for last, or is shown since

    @t.validate("picture")
    def _known_picture(self, proposal: Any) -> str:
        if not proposal.value or proposal.value in self.pictures:
            return str(proposal.value)
        try:
            return self.pictures.add_path(proposal.value)
        except (OSError, ValueError) as error:
            raise BadValue(str(error)) from error

    @t.validate("target", "beside")
    def _known_class(self, proposal: Any) -> Any:
        if proposal.value is None:
            return None
        with checked():
            return self.classifier.index(proposal.value)

    @property
    def _has_means(self) -> bool:
        return bool(self._maker.means)

    @t.observe(*SETTINGS)
    def _resettled(self, change: Any) -> None:
        if not self._asks:
            return
        with self._newly(change):
            last = self._newest
            if change.name == "picture" and last is not None and last.picture != self.picture:
                with self._muted():  # the top class of the new picture, unless a class was set together with it
                    self.target = None if self.target == last.target else self.target
            self._submit(self._want(None))

    @t.observe("opened", "selected", "removed", "removal")
    def _looked(self, change: Any) -> None:
        if not self._asks:
            return
        with self._newly(change):
            self._submit(self._want(self.opened))

    @contextmanager
    def _newly(self, change: Any) -> Iterator[None]:
        """A change is taken up; an answer that came between it and this does not count."""
        with self._worker.lock:
            with self._muted():
                if getattr(self, change.name) != change.new:
                    setattr(self, change.name, change.new)
            self._say(lambda told: told.forget())
            yield

    @property
    def _asks(self) -> bool:
        return self._ready and not getattr(self._local, "muted", False)

    @contextmanager
    def _muted(self) -> Iterator[None]:
        """Traits set inside ask nothing."""
        outer = getattr(self._local, "muted", False)
        self._local.muted = True
        try:
            yield
        finally:
            self._local.muted = outer

    def _want(self, opened: tuple[int, ...] | None) -> Want:
        want = Want(
            self.picture, self.target, self.top, self.depth, self.conditional, self.sign, self.merge, self.removal
        )
        if opened is None:
            return want.fresh()
        of = None if self._shown is None else self._shown.tree
        return replace(want, opened=opened, selected=self.selected, removed=self.removed, of=of)

    def _submit(self, want: Want) -> None:
        if want.picture:
            with self._worker.lock:
                self._newest = want
                self._worker.submit(want)

    def __setattr__(self, name: str, value: Any) -> None:
        setting = name in SETTINGS and self._ready and not self._cross_validation_lock  # not while several are set
        before = getattr(self, name) if setting else None
        super().__setattr__(name, value)
        if setting and getattr(self, name) == before:  # no change, of which traits tell nothing
            self._again()

    def _again(self) -> None:
        """Ask for what the settings say, if it neither is on screen nor will be: an answer failed or was broken off."""
        with self._worker.lock:
            shown = self._shown
            there = shown is not None and all(getattr(self, name) == getattr(shown.want, name) for name in SETTINGS)
            if self._asks and not there and not self._worker.busy:
                self._say(lambda told: told.forget())
                self._submit(self._want(None))

    def _cancel(self) -> None:
        """What runs is not wanted any more: what is asked for goes back to what is shown."""
        with self._worker.lock:
            self._no_files()
            if self._worker.cancel():
                self._revert()
            self._tell_head({"state": "idle"})

    # ------------------------------------------------------------------ the worker's thread

    def _work(self, want: Want, ticket: Ticket) -> None:
        with self._worker.lock:
            self._at_work = not self._ended
        try:
            with answering(ticket, self._worker.lock, self._fail):
                self._answer(want, ticket)
        finally:
            with self._worker.lock:
                self._at_work = False
                if self._ended:
                    self._maker.close()

    def _answer(self, want: Want, ticket: Ticket) -> None:
        def tell(text: str) -> None:
            with self._worker.lock:
                ticket.check()
                self._tell_head({"state": "working", "text": text})

        ticket.check()
        shown = self._maker.run(want, tell, ticket.check)
        with self._worker.lock:
            ticket.check()
            self._apply(shown)
            self._tell_head({"state": "idle"})
        self._see(shown, ticket)

    def _fail(self, error: BaseException) -> None:
        """The newest request failed: what is asked for goes back to what is shown."""
        self._revert()
        said = failure(error, "The tree stays as it was." if self._shown else "")
        self._tell_head(said)

    def _refuse(self, error: BaseException) -> None:
        """An act was refused. What runs goes on: it is not about that."""
        with self._worker.lock:
            busy = self._worker.busy
            if not busy:
                self._revert()
            self._draw_head()
            self._mistaken(failure(error, "The tree stays as it was." if self._shown and not busy else ""))

    def _mistaken(self, said: dict[str, Any]) -> None:
        """Something went wrong beside the newest request: kept until the next act."""
        self._say(lambda told: setattr(told, "mistake", said))

    def _revert(self) -> None:
        if self._shown is not None:
            self._take_over(self._shown.want)
            self._draw_head()

    def _take_over(self, want: Want) -> None:
        """Every field of a request becomes what the traits say."""
        self._newest = want
        with self._muted():
            for name in (*SETTINGS, "removal", "selected", "removed"):
                setattr(self, name, getattr(want, name))
            self.opened = want.opened or ()

    def _tell_head(self, status: dict[str, Any]) -> None:
        """What the newest request says."""
        self._say(lambda told: setattr(told, "view", status))

    def _say(self, change: Callable[[Telling], None]) -> None:
        with self._worker.lock:
            change(self._telling)
            self.head.status = self._telling.status

    def _apply(self, shown: Shown) -> None:
        """Show it: set by the explorer."""

    def _see(self, shown: Shown, ticket: Ticket) -> None:
        """Look into the selected channel: set by `TreeIndexing`."""

    def _no_files(self) -> None:
        """Break off what is being written: set by `TreeFiling`."""
