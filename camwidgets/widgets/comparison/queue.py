"""The queue of a comparison: one worker makes one thing after the other, cheap ones first; a new subject drops all."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import traitlets as t

from ... import settings
from ...maps.catalogue import methods
from ...maps.passes import NotEnoughMemory
from ..ground import Ask, Ground, new_ground, other_class
from ..sources import Networks, Pictures
from ..speaking import sentence
from ..worker import Superseded, Ticket, Worker, answering
from .board import Board
from .cells import Cell, Given, method_words
from .work import Costly, Pace, Stopped, curves_of, map_of


@dataclass(frozen=True)
class Task:
    """One attempt at one cell on one ground: "check", "map" or "curves"."""

    kind: str
    cell: Cell
    attempt: int
    ground: Ground


class Queue(Board):
    """The part of `MethodComparison` between the grid and the network."""

    def __init__(self, pictures: Pictures, networks: Networks, given: Sequence[Given], **traits: Any) -> None:
        self._idle = True  # nothing is asked of the worker; changed under its lock only
        self._menu_of: object = None  # the classifier for which the menu says what cannot be served
        self._worker: Worker[Ask | None] = Worker(self._work, "camwidgets-comparison", self._lost)
        super().__init__(pictures, networks, given, **traits)
        self._methods = [method_words(method, {}, None) for method in methods().values()]

    # ------------------------------------------------------------------ asking

    @t.observe("picture", "network", "target")
    def _asked(self, change: Any) -> None:
        if not self._ready or self._muted:
            return
        shown = None if self._ground is None else self._ground.target
        if change.name != "target" and self.target is not None and self.target == shown:
            self.target = None  # asks again, for the top class of what is new
            return
        self._submit()

    def _request(self, download: bool) -> None:
        self._ask(Ask(self.picture, self.network, self.target))

    def _withdraw(self) -> None:
        """The maps of what is on screen go on."""

    @t.observe("enhanced")
    def _other_cells(self, _: Any) -> None:
        if not self._ready:
            return
        with self._worker.lock:
            for cell in self._all.values():
                if cell.enhanced and "working" in (cell.state, cell.curve_state):
                    cell.restart()
            self._go_on()

    def _go_on(self) -> None:
        """Something may wait: see that the worker finds it. What runs is not disturbed."""
        with self._worker.lock:
            self._draw()
            if self._ground is not None and self._idle:
                self._ask(None)

    def _ask(self, ask: Ask | None) -> None:
        with self._worker.lock:
            self._idle = False
            self._worker.submit(ask)

    def cancel(self) -> None:
        """Drop the request for another picture, network or class; the view stays, and its maps go on."""
        with self._worker.lock:
            self._worker.cancel()
            self._revert()
            self._status, self._idle = {"state": "idle"}, True
            self._go_on()

    # ------------------------------------------------------------------ the worker's thread

    def _work(self, ask: Ask | None, ticket: Ticket) -> None:
        with answering(ticket, self._worker.lock, self._stuck):
            if ask is not None:
                self._renew(ask, ticket)
            while (step := self._next(ticket)) is not None:
                step(ticket)

    def _stuck(self, error: Exception) -> None:
        self._idle = True
        self._fail(error)

    def _lost(self, error: BaseException) -> None:
        with self._lock:
            self._idle = True
            super()._lost(error)

    def _next(self, ticket: Ticket) -> Callable[[Ticket], None] | None:
        with self._worker.lock:
            ticket.check()
            ground, cells = self._ground, self._shown
            for kind, wanted in (
                ("check", [c for c in cells if c.state == "unchecked"]),
                ("map", sorted((c for c in cells if c.state == "waiting"), key=lambda c: c.cost)),
                ("curves", [c for c in cells if c.state == "done" and c.curve_state == "waiting"]),
            ):
                if wanted and ground is not None:
                    return partial(self._run, Task(kind, wanted[0], wanted[0].attempt, ground))
            if ground is not None and self._menu_of is not ground.classifier:
                return partial(self._fill_menu, ground)
            self._idle = True  # under the lock: whoever adds something from here on asks the worker again
            return None

    def _renew(self, ask: Ask, ticket: Ticket) -> None:
        """The ground for a request; all cells begin anew on it. A failure leaves the old one, whose work goes on."""
        try:
            ground = self._prepare(ask, ticket)
        except Superseded:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the user reads it in the widget
            with self._worker.lock:
                ticket.check()
                self._fail(error)
            return
        with self._worker.lock:
            ticket.check()
            self._stand_on(ground, ask)

    def _prepare(self, ask: Ask, ticket: Ticket) -> Ground:
        number, old, ground = self._numbers + 1, self._answered, self._ground
        same = old is not None and (old.picture, old.network) == (ask.picture, ask.network)
        if ground is not None and same and not ground.stale:
            return other_class(ground, ask.target, number)
        return new_ground(ask, self.pictures, self.networks, number, partial(self._tell, ticket=ticket), ticket.check)

    def _run(self, task: Task, ticket: Ticket) -> None:
        if task.ground.stale and self._answered is not None:  # trained meanwhile: all maps are of the same weights
            self._renew(self._answered, ticket)
            return
        work = {"check": self._check, "map": self._make, "curves": self._follow}[task.kind]
        try:
            work(task, ticket)
        except Superseded:
            self._put_back(task)
            raise
        except Stopped:
            return
        except Costly as said:
            words = str(said)
            self._settle(task, ticket, lambda cell: cell.stop("costly", words, COSTLY))
        except Exception as error:  # noqa: BLE001 - whatever it is, the user reads it in the cell
            told = (sentence(error), _advice(error), "".join(traceback.format_exception(error))[-4000:])
            self._settle(task, ticket, lambda cell: _failed(cell, task.kind, told))

    def _put_back(self, task: Task) -> None:
        """Another subject was asked for; should that fail, this one's work goes on."""
        with self._worker.lock:
            cell = task.cell
            if self._wanted(task):
                cell.state = "waiting" if cell.state == "working" else cell.state
                cell.curve_state = "waiting" if cell.curve_state == "working" else cell.curve_state

    def _check(self, task: Task, ticket: Ticket) -> None:
        """The parameters kept for this network, and whether the method can serve it at all."""
        classifier, method = task.ground.classifier, task.cell.row.method
        parameters = method.check({**settings.of(classifier, method), **task.cell.row.given})
        reason = method.why_not(classifier)

        def settle(cell: Cell) -> None:
            cell.parameters, cell.state, cell.text = parameters, "unfit" if reason else "waiting", reason or ""

        self._settle(task, ticket, settle)

    def _make(self, task: Task, ticket: Ticket) -> None:
        self._settle(task, ticket, lambda cell: setattr(cell, "state", "working"))
        cell = task.cell
        # Enhancement first scores all windows, one pass each, as its first step: that says nothing of their maps.
        skip = 1 if cell.enhanced and cell.row.method.kind != "evidence" else 0
        pace = self._pace(task, ticket, float("inf") if cell.patient else self.patience, skip)
        found = map_of(cell, task.ground, pace.passes)
        seconds = float(found.made_by.get("seconds", pace.seconds))

        def settle(cell: Cell) -> None:
            cell.state, cell.explanation, cell.seconds = "done", found, seconds
            self._take_slot(cell)

        self._settle(task, ticket, settle)

    def _follow(self, task: Task, ticket: Ticket) -> None:
        found = task.cell.explanation
        assert found is not None
        self._settle(task, ticket, lambda cell: setattr(cell, "curve_state", "working"))
        curves = curves_of(found, task.ground, self.steps, self._pace(task, ticket).passes)

        def settle(cell: Cell) -> None:
            cell.curve_state, cell.curves = "done", curves

        self._settle(task, ticket, settle)

    def _fill_menu(self, ground: Ground, ticket: Ticket) -> None:
        """Every method of the catalogue, with what is kept for this network and why it cannot be served."""
        found = []
        for method in methods().values():
            ticket.check()
            try:
                why = method.why_not(ground.classifier)
            except Exception as error:  # noqa: BLE001 - a check that fails says so where the method is chosen
                why = sentence(error)
            found.append(method_words(method, settings.of(ground.classifier, method), why))
        with self._worker.lock:
            ticket.check()
            self._methods, self._menu_of = found, ground.classifier

    # ------------------------------------------------------------------ one attempt

    def _wanted(self, task: Task) -> bool:
        cell = task.cell
        return cell.attempt == task.attempt and self._all.get(cell.id) is cell and cell in self._shown

    def _insist(self, task: Task, ticket: Ticket) -> None:
        """Raise when nobody waits for this attempt any more."""
        with self._worker.lock:
            ticket.check()
            if not self._wanted(task):
                raise Stopped

    def _pace(self, task: Task, ticket: Ticket, patience: float = float("inf"), skip: float = 0) -> Pace:
        def tell(share: float, text: str) -> None:
            with self._worker.lock:
                if not ticket.dropped and self._wanted(task):
                    self._progress = {"cell": task.cell.id, "what": task.kind, "share": share, "text": text}

        return Pace(partial(self._insist, task, ticket), tell, patience, skip)

    def _settle(self, task: Task, ticket: Ticket, change: Callable[[Cell], None]) -> None:
        """Apply a result, if this attempt is still wanted; everything in one message."""
        with self._worker.lock:
            ticket.check()
            if self._wanted(task):
                with self._one_message():
                    change(task.cell)
                    self._progress = {}
                    self._draw()


COSTLY = "Run it now, or ask for less: More has its parameters."


def _failed(cell: Cell, kind: str, words: tuple[str, str, str]) -> None:
    if kind == "curves":
        cell.curve_state, cell.curve_text = "failed", words[0]
    else:
        cell.stop("failed", *words)


def _advice(error: Exception) -> str:
    if isinstance(error, (MemoryError, NotEnoughMemory)):
        return "Choose a smaller network, or ask for less: More has its parameters."
    if isinstance(error, (ValueError, TypeError)):
        return "Change its parameters (More), or remove it; the other maps are not affected."
    return "Run it again, or remove it; the other maps are not affected."
