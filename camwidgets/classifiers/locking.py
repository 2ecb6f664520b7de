"""One pass at a time through a module, whoever wraps it.

A pass puts hooks and flags on the module; they belong to the pass that put them there. So what is locked is the module
with all that is inside it, not the classifier around it: two classifiers of one module, or of two modules that share
a part (one backbone, two heads; a tied weight), take turns. Two that share nothing run side by side.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from itertools import chain

from torch import nn

from .guards import every_module


@dataclass
class _Hold:
    """One lock taken. What is inside its module is looked up when another thread wants another module, and only then:
    for the one thread that most programs have, a lock costs microseconds, however deep the network."""

    module: nn.Module
    inside: frozenset[int] | None = None

    def meets(self, other: _Hold) -> bool:
        return self.module is other.module or not self.parts().isdisjoint(other.parts())

    def parts(self) -> frozenset[int]:
        """The ids of the module, of every module inside it, and of their parameters."""
        if self.inside is None:
            modules = every_module(self.module)
            parameters = (p for one in modules for p in tuple(one._parameters.values()) if p is not None)
            self.inside = frozenset(map(id, chain(modules, parameters)))
        return self.inside


# Who holds what: thread → what it has taken, in that order. An entry lives as long as the `with` block that made it.
# All parts are taken at once or not at all, so that two takers never wait for each other's half.
_held: dict[int, list[_Hold]] = {}
_changed = threading.Condition(threading.Lock())


class ModuleLock:
    """A re-entrant lock on a module and every module and parameter inside it; used as `with lock:`.

    Example:
        >>> import torch
        >>> body = torch.nn.Linear(2, 2)
        >>> with ModuleLock(torch.nn.Sequential(body)), ModuleLock(body):  # the same thread may take it again
        ...     "held"
        'held'
    """

    __slots__ = ("module",)

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def acquire(self) -> bool:
        """Wait until no other thread holds a part of the module, and take all of it."""
        me, mine = threading.get_ident(), _Hold(self.module)
        with _changed:
            while any(mine.meets(one) for thread, held in _held.items() if thread != me for one in held):
                _changed.wait()
            _held.setdefault(me, []).append(mine)
        return True

    def release(self) -> None:
        """Give back what this thread took last with a lock on this module.

        Raises:
            RuntimeError: this thread does not hold it.
        """
        me = threading.get_ident()
        with _changed:
            held = _held.get(me, [])
            place = next((i for i in reversed(range(len(held))) if held[i].module is self.module), None)
            if place is None:
                raise RuntimeError("this thread does not hold the lock of this module")
            del held[place]
            if not held:
                del _held[me]
            _changed.notify_all()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def _forget() -> None:
    """In a forked process only the forking thread goes on: what others held is held by nobody."""
    global _changed  # noqa: PLW0603 — the one that was copied may be held by a thread that is not there
    _changed = threading.Condition(threading.Lock())
    me = threading.get_ident()
    for thread in [thread for thread in _held if thread != me]:
        del _held[thread]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
