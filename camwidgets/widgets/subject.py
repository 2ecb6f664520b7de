"""What views of one picture share: picture, network and class as traits; one message at a time; failures in words."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import traitlets as t
from anywidget import AnyWidget
from torch import nn

from ..classifiers.classifier import Classifier
from ..classifiers.registry import EMBEDDED
from ..errors import unknown
from .sources import Networks, Pictures, torchvision_sizes
from .worker import Ticket, Worker

HINTS: dict[type[BaseException], str] = {
    FileNotFoundError: "Check the path as the kernel sees it, or drop the picture on the view.",
    ConnectionError: f"Choose {EMBEDDED}, which needs no download, or load the weights from a file.",
    MemoryError: "Close other explorers or kernels, or choose a smaller network.",
}


class BadValue(t.TraitError, ValueError):
    """A value that a trait cannot take; the message says what it can."""


class Subject(AnyWidget):
    """A view of one picture, one network and one class, which a worker runs.

    `picture` (a key of `pictures`, or a path), `network`, `target` (class index or label; None = the top class).
    """

    picture = t.Unicode("").tag(sync=True)
    network = t.Unicode("").tag(sync=True)
    target = t.Union([t.Int(), t.Unicode()], default_value=None, allow_none=True).tag(sync=True)

    _scene = t.Dict().tag(sync=True)
    _picture = t.Bytes(b"").tag(sync=True)
    _status = t.Dict({"state": "idle"}).tag(sync=True)
    _pictures: t.List[Any] = t.List().tag(sync=True)
    _networks: t.List[Any] = t.List().tag(sync=True)
    _palettes: t.List[Any] = t.List().tag(sync=True)
    _palette_bytes = t.Bytes(b"").tag(sync=True)
    _labels: t.List[Any] = t.List().tag(sync=True)
    _still = t.Bool(False).tag(sync=True)

    _worker: Worker[Any]

    def __init__(self, pictures: Pictures, networks: Networks, **traits: Any) -> None:
        self._local = threading.local()
        self._ready = False
        self.pictures, self.networks = pictures, networks
        super().__init__(**traits)

    # ------------------------------------------------------------------ what may be asked

    @t.validate("picture")
    def _known_picture(self, proposal: Any) -> str:
        if not proposal.value or proposal.value in self.pictures:
            return str(proposal.value)
        try:
            key = self.pictures.add_path(proposal.value)
        except (OSError, ValueError) as error:
            raise BadValue(str(error)) from error
        self._pictures = self.pictures.options()
        return key

    @t.validate("network")
    def _known_network(self, proposal: Any) -> str:
        if proposal.value not in self.networks.names():
            raise BadValue(str(unknown("network", proposal.value, self.networks.names())))
        return str(proposal.value)

    # ------------------------------------------------------------------ what is said

    @property
    def error(self) -> str | None:
        """What went wrong with the newest request, in one sentence, or None."""
        return self._status["text"] if self._status["state"] == "error" else None

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """A change from the front end, apart from what the worker writes; what is not valid is said, not raised."""
        try:
            with self._worker.lock:
                super().set_state(sync_data)
        except t.TraitError as error:
            self._fail(error)
            self.send_state(list(sync_data))

    def _tell(self, text: str, ticket: Ticket) -> None:
        with self._worker.lock:
            ticket.check()
            self._status = {"state": "working", "text": text}

    def _fail(self, error: BaseException) -> None:
        shown = self._revert()
        self._status = failure(error, "The view stays as it was." if shown else "")

    def _revert(self) -> bool:
        """Set what is asked for back to what is shown; False where nothing is."""
        raise NotImplementedError

    def _hear(self, _: Any, content: dict[str, Any], buffers: list[Any]) -> None:
        try:
            self._act(content, buffers)
        except Exception as error:  # noqa: BLE001 - JupyterLab hides errors in callbacks; the widget shows them
            self._fail(error)

    def _act(self, content: dict[str, Any], buffers: list[Any]) -> None:
        """What a message from the front end asks for."""
        raise NotImplementedError

    # ------------------------------------------------------------------ one message

    @property
    def _muted(self) -> bool:
        return getattr(self._local, "names", None) is not None

    @contextmanager
    def _one_message(self) -> Iterator[None]:
        """Traits set inside go to the front end together, and ask nothing."""
        outer = getattr(self._local, "names", None)
        names: set[str] = set() if outer is None else outer
        self._local.names = names
        try:
            yield
        finally:
            self._local.names = outer
        if outer is None and names:
            self.send_state(sorted(names))

    def _should_send_property(self, key: str, value: Any) -> bool:
        if not self._muted:
            return bool(super()._should_send_property(key, value))
        self._local.names.add(key)
        return False


def given(classifier: Any, widget: str) -> list[Classifier]:
    """The classifier that was given to a widget, as a list; empty for a name or None."""
    if classifier is None or isinstance(classifier, str):
        return []
    if isinstance(classifier, nn.Module):
        raise TypeError(f"{widget} takes a Classifier; wrap the module first: camwidgets.wrap(module, …)")
    if not isinstance(classifier, Classifier):
        raise TypeError(f"{widget} takes a Classifier or a network's name; got {type(classifier).__name__}")
    return [classifier]


def failure(error: BaseException, otherwise: str = "") -> dict[str, str]:
    """The status that says an error: one sentence, what to do, details."""
    hint = next((text for kind, text in HINTS.items() if isinstance(error, kind)), "")
    return {
        "state": "error",
        "text": sentence(error),
        "hint": hint or otherwise,
        "details": "".join(traceback.format_exception(error))[-4000:],
    }


def offer(network: str) -> dict[str, str]:
    """The status that offers to download a network's weights."""
    size = torchvision_sizes()[network]
    return {
        "state": "offer",
        "text": f"{network} needs {size:.1f} MB of trained weights that are not on this machine.",
        "hint": "They are downloaded once and kept. Until then the view stays as it is.",
        "offer": f"Download {size:.1f} MB",
    }


def sentence(error: BaseException) -> str:
    """The error's own words; its kind where it has none."""
    if isinstance(error, KeyError) or not str(error).strip():
        return f"{type(error).__name__}: {error}"
    return str(error).strip().splitlines()[0]
