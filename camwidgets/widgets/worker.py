"""One thread, one slot: only the newest request is worked on, and a result that came too late is dropped."""

from __future__ import annotations

import atexit
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Generic, TypeVar
from weakref import WeakSet

Job = TypeVar("Job")
PATIENCE = 30.0  # seconds that the interpreter's end waits for the threads

_open: WeakSet[Worker[Any]] = WeakSet()  # those with a thread


class Superseded(Exception):
    """Raised inside a job when a newer request came, or the job was cancelled."""


class Ticket:
    """What a running job asks between two steps: is this still wanted?"""

    def __init__(self) -> None:
        self.dropped = False
        self._events: list[threading.Event] = []

    def drop(self) -> None:
        """The answer is not wanted any more."""
        self.dropped = True
        for event in self._events:
            event.set()

    def stops(self, event: threading.Event) -> None:
        """Set `event`, which ends what the job calls, as soon as the answer is not wanted any more."""
        self._events.append(event)
        if self.dropped:
            event.set()

    def check(self) -> None:
        """Raise `Superseded` when the answer is not wanted any more."""
        if self.dropped:
            raise Superseded


@contextmanager
def answering(
    ticket: Ticket, lock: AbstractContextManager[Any], fail: Callable[[Exception], None]
) -> Iterator[None]:
    """A job's work: what is not wanted any more ends without a word; what goes wrong is told to `fail`, under the lock.

    A thread's errors are seen nowhere else: `fail` is where the user reads them.
    """
    try:
        yield
    except Superseded:
        return
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        with lock:
            if not ticket.dropped:
                fail(error)


class Worker(Generic[Job]):
    """Runs `work(job, ticket)` in one thread of its own; a newer job takes the place of a waiting or running one.

    A job that has begun is not torn apart: it finds out at its next `ticket.check()`. `lock` is held while a ticket
    is dropped, so that who holds it and finds the ticket valid may apply the result.

    Example:
        >>> seen = []
        >>> worker = Worker(lambda job, ticket: seen.append(job))
        >>> worker.submit("a"); worker.wait(5); worker.close()
        True
        >>> seen
        ['a']
    """

    def __init__(
        self, work: Callable[[Job, Ticket], None], name: str = "camwidgets",
        lost: Callable[[BaseException], None] | None = None,
    ) -> None:  # fmt: skip
        self.lock = threading.RLock()
        self._changed = threading.Condition(self.lock)
        self._work, self._name, self._lost = work, name, lost
        self._waiting: tuple[Job, Ticket] | None = None
        self._running: Ticket | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, job: Job) -> None:
        """Ask for `job`; whatever was asked before is dropped. Does nothing after `close`."""
        with self._changed:
            if self._closed:
                return
            self._drop()
            self._waiting = (job, Ticket())
            if self._thread is None or not self._thread.is_alive():  # a fork takes no threads with it
                self._running = None
                self._thread = threading.Thread(target=self._loop, name=self._name, daemon=True)
                self._thread.start()
                _open.add(self)
            self._changed.notify_all()

    def cancel(self) -> bool:
        """Drop what waits and what runs; True when there was something."""
        with self._changed:
            busy = self.busy
            self._drop()
            self._changed.notify_all()
            return busy

    @property
    def busy(self) -> bool:
        """Whether an answer is still to come."""
        return self._waiting is not None or (self._running is not None and not self._running.dropped)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until no answer is to come any more; False when `timeout` seconds passed before."""
        if threading.current_thread() is self._thread:
            raise RuntimeError("the worker cannot wait for itself; call wait() outside a callback")
        with self._changed:
            return self._changed.wait_for(lambda: not self.busy, timeout)

    def close(self, timeout: float = 30) -> None:
        """Drop everything and end the thread."""
        self._shut()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def _shut(self) -> None:
        with self._changed:
            self._closed = True
            self._drop()
            self._changed.notify_all()

    def _drop(self) -> None:
        self._waiting = None
        if self._running is not None:
            self._running.drop()

    def _loop(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._waiting is not None)
                if self._closed:
                    return
                assert self._waiting is not None
                job, ticket = self._waiting
                self._waiting, self._running = None, ticket
            try:
                self._work(job, ticket)
            except BaseException as error:  # noqa: BLE001 - the thread outlives whatever a job does
                self._tell_lost(error)
            finally:
                with self._changed:
                    self._running = None
                    self._changed.notify_all()
            del job, ticket  # nothing of the last answer is held while this thread sleeps

    def _tell_lost(self, error: BaseException) -> None:
        try:
            if self._lost is None:
                raise error
            self._lost(error)
        except BaseException:  # noqa: BLE001 - there is nobody left to tell but who reads the kernel's log
            traceback.print_exc()


@atexit.register
def _end() -> None:
    """End every thread: one that came back from PyTorch into an interpreter that is gone would abort the process."""
    workers, end = list(_open), time.monotonic() + PATIENCE
    for worker in workers:
        worker._shut()
    for worker in workers:
        worker.close(max(0.0, end - time.monotonic()))
