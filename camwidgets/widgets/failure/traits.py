"""FailureExplorer's traits: what travels between Python and the front end, what is valid, and how failures are said."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import traitlets as t

from ...errors import choose
from ...figures.colour import table
from ..speaking import BadValue, Speaking, checked
from ..worker import Superseded, Ticket, Worker
from .words import SORTS

TOOLS = ("brush", "box", "object", "paste")
ACTIONS = ("paint", "blur", "inpaint", "background")
VIEW = ("limit", "sort", "stage", "tool", "action", "colour", "radius", "sigma", "outside", "opacity", "gallery")
JOBS = ("table", "groups", "gallery", "case", "effect", "trees", "channel", "index", "file")
_CHOICES = {"sort": SORTS, "tool": TOOLS, "action": ACTIONS}

Job = Callable[[Ticket], None]


class FailureTraits(Speaking):
    """State of a `FailureExplorer`. Public traits may be set from Python and from the controls alike.

    Gallery: `limit` (look at so many pictures; None = all), `cell` ([label, predicted] class indices, or []), `group`
    (index of `table.groups`, −1 = none), `sort` ("most confident", "least confident", "data set"), `page`, `gallery`
    (whether it is unfolded). One failure: `chosen` (number in the data set), `stage` (whose channels are listed),
    `channel` ([stage, channel] that is looked at, or []), `opacity` of its map. Brush: `tool` ("brush", "box",
    "object", "paste"), `action` ("paint", "blur", "inpaint", "background"), `colour` ("#rrggbb", "" = the mean colour
    of the rest), `radius` and `sigma` (pixels of the network's input), `outside` (everything but what is drawn).
    """

    limit = t.Int(None, allow_none=True, min=1).tag(sync=True)
    sort = t.Unicode("most confident").tag(sync=True)
    cell: t.List[int] = t.List(t.Int()).tag(sync=True)
    group = t.Int(-1, min=-1).tag(sync=True)
    page = t.Int(0, min=0).tag(sync=True)
    gallery = t.Bool(True).tag(sync=True)
    chosen = t.Int(None, allow_none=True).tag(sync=True)
    stage = t.Unicode("").tag(sync=True)
    channel: t.List[Any] = t.List().tag(sync=True)
    opacity = t.Float(0.8, min=0, max=1).tag(sync=True)
    tool = t.Unicode("brush").tag(sync=True)
    action = t.Unicode("paint").tag(sync=True)
    colour = t.Unicode("").tag(sync=True)
    radius = t.Float(8.0, min=0.5, max=512).tag(sync=True)
    sigma = t.Float(6.0, min=0.5, max=64).tag(sync=True)
    outside = t.Bool(False).tag(sync=True)

    _about = t.Dict().tag(sync=True)
    _table = t.Dict().tag(sync=True)
    _cards = t.Dict().tag(sync=True)
    _groups = t.Dict().tag(sync=True)
    _case = t.Dict().tag(sync=True)
    _picture = t.Bytes(b"").tag(sync=True)
    _now = t.Bytes(b"").tag(sync=True)
    _effect = t.Dict().tag(sync=True)
    _blame = t.Dict().tag(sync=True)
    _trees = t.Dict().tag(sync=True)
    _channel = t.Dict().tag(sync=True)
    _channel_map = t.Bytes(b"").tag(sync=True)
    _patches = t.Dict().tag(sync=True)
    _backdrops: t.List[Any] = t.List().tag(sync=True)
    _log: t.List[Any] = t.List().tag(sync=True)
    _cases: t.List[Any] = t.List().tag(sync=True)
    _progress = t.Dict().tag(sync=True)
    _palette = t.Bytes(b"").tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        self._ready = False
        self._workers: dict[str, Worker[Job]] = {
            name: Worker(partial(self._work, name), f"camwidgets-failures-{name}", self._lost) for name in JOBS
        }
        palette = np.ascontiguousarray(table("inferno"), np.uint8).tobytes()
        super().__init__(_palette=palette, **traits)

    # ------------------------------------------------------------------ what may be asked

    @t.validate(*_CHOICES)
    def _one_of(self, proposal: Any) -> str:
        with checked():
            return choose(proposal.trait.name, proposal.value, _CHOICES[proposal.trait.name])

    @t.validate("colour")
    def _a_colour(self, proposal: Any) -> str:
        if proposal.value:
            rgb(proposal.value)
        return str(proposal.value)

    @t.validate("cell")
    def _a_cell(self, proposal: Any) -> list[int]:
        if len(proposal.value) not in (0, 2):
            raise BadValue(f"a cell is [label, predicted], or []; got {proposal.value!r}")
        return list(proposal.value)

    @t.validate("channel")
    def _a_channel(self, proposal: Any) -> list[Any]:
        found = list(proposal.value)
        if not found:
            return []
        try:
            stage, number = found
            if not isinstance(stage, str) or isinstance(number, bool):
                raise TypeError
            return [stage, operator.index(number)]
        except (TypeError, ValueError):
            raise BadValue(f"a channel is [stage, number], or []; got {found!r}"[:200]) from None

    # ------------------------------------------------------------------ work

    def _start(self, name: str, job: Job) -> None:
        """Do `job` in the thread of that name; what that thread was doing is not wanted any more."""
        with self._lock:
            self._workers[name].submit(job)

    def _drop(self, *names: str) -> None:
        with self._lock:
            for name in names:
                self._workers[name].cancel()

    def _work(self, name: str, job: Job, ticket: Ticket) -> None:
        given_up = False
        try:
            job(ticket)
        except Superseded:
            given_up = not ticket.dropped
        except Exception as error:  # noqa: BLE001 - whatever it is, the user reads it in the widget
            with self._lock:
                if not ticket.dropped:
                    self._broken(name, error)
        finally:
            self._finished(name, given_up)

    def _finished(self, name: str, given_up: bool) -> None:
        """A job has ended, whichever way; `given_up`: it was cancelled by its own clock."""

    def _broken(self, name: str, error: Exception) -> None:
        """What a job could not do."""
        self._fail(error)

    @contextmanager
    def _show(self, ticket: Ticket | None = None) -> Iterator[None]:
        """Traits set inside go to the front end together; with a ticket only while its answer is wanted."""
        with self._lock, self.hold_sync():
            if ticket is not None:
                ticket.check()
            yield

    def _forget(self) -> None:
        """What was said is said no more: something new was asked for."""
        with self._lock:
            if self._status["state"] != "idle":
                self._status = {"state": "idle"}


def rgb(text: str) -> tuple[int, int, int]:
    """ "#ff8000" → (255, 128, 0)"""
    try:
        if len(text) != 7 or text[0] != "#":
            raise ValueError
        return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
    except ValueError:
        raise BadValue(f'a colour is "#rrggbb", or "" for the mean colour of the rest; got {text!r}') from None
