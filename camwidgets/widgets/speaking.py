"""What every view shares: one lock, messages from the front end, and failures said in words instead of raised."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import traitlets as t
from anywidget import AnyWidget

from ..classifiers.registry import EMBEDDED

HINTS: dict[type[BaseException], str] = {
    FileNotFoundError: "Check the path as the kernel sees it, or drop the picture on the view.",
    ConnectionError: f"Choose {EMBEDDED}, which needs no download, or load the weights from a file.",
    MemoryError: "Close other explorers or kernels, or choose a smaller network.",
}


class BadValue(t.TraitError, ValueError):
    """A value that a trait cannot take; the message says what it can."""


@contextmanager
def checked() -> Iterator[None]:
    """What is refused inside, a value or its type, is refused as a trait's value."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise BadValue(str(error)) from None


def fraction(proposal: Any, least: float = 0.0) -> float:
    """The value of a trait that lies in least … 1; a validator's answer."""
    if not least <= proposal.value <= 1:
        raise BadValue(f"{proposal.trait.name} must lie in {least:g} … 1; got {proposal.value!r}")
    return float(proposal.value)


class Speaking(AnyWidget):
    """A view whose `_status` says what it is doing, what was done and what went wrong.

    `_lock` is held while traits change that a worker's thread writes as well; `_stays` is what is said after an error
    that has no remedy of its own.
    """

    _status: t.Dict[str, Any] = t.Dict({"state": "idle"}).tag(sync=True)
    _stays = ""

    def __init__(self, lock: threading.RLock | None = None, **traits: Any) -> None:
        self._lock = threading.RLock() if lock is None else lock
        super().__init__(**traits)

    @property
    def error(self) -> str | None:
        """What went wrong with the newest request, in one sentence, or None."""
        return self._status["text"] if self._status["state"] == "error" else None

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """A change from the front end, apart from what a worker writes; what is not valid is said, not raised."""
        try:
            with self._lock:
                super().set_state(sync_data)
        except (t.TraitError, ValueError, OSError) as error:
            self._refuse(error)
            self.send_state(list(sync_data))

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self._status = failure(error, self._stays)

    def _refuse(self, error: BaseException) -> None:
        """What a person did is not valid, or cannot be done."""
        self._fail(error)

    def _lost(self, error: BaseException) -> None:
        """A worker's job ended in what nobody expected: an error in telling an error, a module that calls exit()."""
        with self._lock:
            self._status = failure(error, self._stays)

    def _say(self, text: str) -> None:
        """A word on what was done."""
        with self._lock:
            self._status = {"state": "told", "text": text}

    def _rest(self) -> None:
        """Nothing works any more; what was told and what went wrong stays."""
        with self._lock:
            if self._status["state"] == "working":
                self._status = {"state": "idle"}

    def _hear(self, _: Any, content: dict[str, Any], buffers: list[Any]) -> None:
        if content.get("kind") == "ping":  # a page that shows work asks whether anybody does it
            self.send({"kind": "pong"})
            return
        try:
            self._act(content, buffers)
        except Exception as error:  # noqa: BLE001 - JupyterLab hides errors in callbacks; the widget shows them
            self._refuse(error)

    def _act(self, content: dict[str, Any], buffers: list[Any]) -> None:
        """What a message from the front end asks for."""
        raise NotImplementedError


def failure(error: BaseException, otherwise: str = "") -> dict[str, str]:
    """The status that says an error: one sentence, what to do, details."""
    hint = next((text for kind, text in HINTS.items() if isinstance(error, kind)), "")
    return {
        "state": "error",
        "text": sentence(error),
        "hint": hint or otherwise,
        "details": "".join(traceback.format_exception(error))[-4000:],
    }


def sentence(error: BaseException) -> str:
    """The error's own words; its kind where it has none."""
    if isinstance(error, KeyError) or not str(error).strip():
        return f"{type(error).__name__}: {error}"
    return str(error).strip().splitlines()[0]
