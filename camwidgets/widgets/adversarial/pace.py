"""What one run of an adversarial explorer is: what is asked, how far it is, and attacks of one's own."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...investigate.attacks import METHODS
from ..ground import Ask
from ..worker import Superseded
from .traits import SETTINGS

OFTEN = 0.1  # seconds between two words on how far it is
OTHER = 8  # passes at each ε beside the attack's own: evidence, tree, prediction
AFTER = 5  # passes at each ε for what is followed afterwards


@dataclass(frozen=True)
class Asked:
    """What is to be attacked and how: plain values by the names of `SETTINGS`; `download`: weights may be fetched."""

    settings: dict[str, Any]
    download: bool = False

    def __getattr__(self, name: str) -> Any:
        if name in SETTINGS:
            return self.settings[name]
        raise AttributeError(name)

    @property
    def subject(self) -> Ask:
        """The picture and the network; the top class."""
        return Ask(self.picture, self.network, None)


class Pace:
    """How far a sweep is, and how long it may still take; ends it at the next pass once `stop` is set."""

    def __init__(self, count: int, passes: int, tell: Callable[[dict[str, Any]], None]) -> None:
        self.stop = threading.Event()
        self._count, self._passes, self._tell = count, passes, tell
        self._each, self._began, self._said = passes + OTHER, time.monotonic(), 0.0
        self._total = count * (self._each + AFTER)
        self._done, self._now = 0.0, 0
        self.text = "opening network and picture …"

    def watch(self) -> None:
        """One pass of the attack is about to begin."""
        self.check()
        self._now = min(self._now + 1, self._passes)
        self.say()

    def attacked(self, done: int, total: int) -> None:
        """Another ε is ready."""
        self._done, self._now = done * self._each, 0
        self.text = f"attacking: ε {done + 1} of {total}" if done < total else "following the wrong class …"
        self.check()
        self.say()

    def followed(self, done: int, total: int) -> None:
        """Another ε was looked at from the wrong class."""
        self._done, self._now = total * self._each + done * AFTER, 0
        self.text = f"following the wrong class: ε {done} of {total}"
        self.check()
        self.say()

    def check(self) -> None:
        if self.stop.is_set():
            raise Superseded

    def say(self) -> None:
        now = time.monotonic()
        if now - self._said >= OFTEN:
            self._said = now
            self._tell(self.words("running"))

    def words(self, state: str) -> dict[str, Any]:
        """For the front end: share done, seconds so far and still to come."""
        spent = time.monotonic() - self._began
        share = 1.0 if state == "done" else min(1.0, (self._done + self._now) / self._total)
        left = spent / share * (1 - share) if share > 0.02 else None
        return {"state": state, "share": share, "seconds": spent, "left": left, "text": self.text}


def own_attacks(attacks: Mapping[str, Callable[..., Any]] | None, attack: Any) -> dict[str, Callable[..., Any]]:
    """Attacks of one's own, by name; the one that was given to begin with is the last."""
    found: dict[str, Callable[..., Any]] = {}
    for name, function in (attacks or {}).items():
        if name in METHODS:
            raise ValueError(f"{name!r} is the name of an attack that is there already; give yours another")
        if not callable(function):
            raise TypeError(f"the attack {name!r} is a function (model, x, y) → x'; got {type(function).__name__}")
        found[str(name)] = function
    if isinstance(attack, str):
        return found
    if not callable(attack):
        raise TypeError(f"attack is 'pgd', 'fgsm' or a function (model, x, y) → x'; got {type(attack).__name__}")
    name = getattr(attack, "__name__", type(attack).__name__).replace("<lambda>", "my attack")
    while name in found or name in METHODS:
        name += "′"
    return {**found, name: attack}


def told(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose errors name it; its parameters stay visible."""

    @functools.wraps(function)
    def attacked(*args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except Superseded:
            raise
        except Exception as error:
            raise RuntimeError(f"the attack {name} raised {type(error).__name__}: {error}") from error

    attacked.__name__ = name
    return attacked
