"""How the explorer asks: requests go to one worker, only the newest answer is shown, every failure is said."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import traitlets as t

from ..classifiers.registry import EMBEDDED
from ..errors import unknown
from .pipeline import Pipeline, Request
from .scene import Scene
from .sources import Networks, Pictures, torchvision_sizes
from .traits import REQUESTS, BadValue, ExplorerTraits
from .worker import Superseded, Ticket, Worker

HINTS: dict[type[BaseException], str] = {
    FileNotFoundError: "Check the path as the kernel sees it, or drop the picture on the view.",
    ConnectionError: f"Choose {EMBEDDED}, which needs no download, or load the weights from a file.",
    MemoryError: "Close other explorers or kernels, or choose a smaller network.",
}


class Asking(ExplorerTraits):
    """The part of `CamExplorer` between the traits and the pipeline."""

    def __init__(self, pictures: Pictures, networks: Networks, **traits: Any) -> None:
        self._local = threading.local()
        self._ready = False
        self._shown: Scene | None = None
        self._answered: Request | None = None
        self._sign_follows = False  # a new method comes with its published sign, unless one was chosen since
        self.pictures, self.networks = pictures, networks
        self._pipeline = Pipeline(pictures, networks)
        self._worker: Worker[Request] = Worker(self._work, "camwidgets-explorer")
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

    @t.validate("target")
    def _known_target(self, proposal: Any) -> Any:
        if proposal.value is None or self._shown is None or self._answered is None:
            return proposal.value
        if self._answered.network != self.network:
            return proposal.value  # of a network that is not loaded yet: the pipeline will know
        try:
            return self._shown.evidence.classifier.index(proposal.value)
        except (ValueError, TypeError) as error:
            raise BadValue(str(error)) from None

    @t.validate("stages")
    def _known_stages(self, proposal: Any) -> list[str]:
        if self._shown is None:
            return list(proposal.value)
        valid = list(self._shown.evidence.stages)
        if not proposal.value:
            raise BadValue(f"no stage was given; this network has: {', '.join(valid)}")
        for name in proposal.value:
            if name not in valid:
                raise BadValue(str(unknown("stage", name, valid)))
        return [name for name in valid if name in proposal.value]

    # ------------------------------------------------------------------ asking

    @t.observe(*REQUESTS)
    def _asked(self, change: Any) -> None:
        if not self._ready or self._muted:
            return
        if change.name == "method":
            self._sign_follows = True
        if change.name in ("picture", "network") and self.target is not None:
            self.target = None  # asks again, for the top class of what is new
            return
        self._submit()

    def _submit(self, download: bool = False) -> None:
        if not self.picture:
            return
        if not download and not self.networks.ready(self.network):
            self._worker.cancel()
            self._status = _offer(self.network)
            return
        self._status = {"state": "working", "text": "waiting for the network …"}
        self._worker.submit(Request(self.picture, self.network, self.target, self.method))

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """A change from the front end, apart from what the worker writes; what is not valid is said, not raised."""
        try:
            with self._worker.lock:
                super().set_state(sync_data)
        except t.TraitError as error:
            self._fail(error)
            self.send_state(list(sync_data))

    # ------------------------------------------------------------------ the worker's thread

    def _work(self, request: Request, ticket: Ticket) -> None:
        try:
            scene = self._pipeline.run(request, lambda text: self._tell(text, ticket), ticket.check)
            self._check_stages(scene)
            with self._worker.lock:
                ticket.check()
                self._apply(scene, request)
        except Superseded:
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, the user reads it in the widget
            with self._worker.lock:
                if not ticket.dropped:
                    self._fail(error)

    def _tell(self, text: str, ticket: Ticket) -> None:
        with self._worker.lock:
            ticket.check()
            self._status = {"state": "working", "text": text}

    def _check_stages(self, scene: Scene) -> None:
        """Stage names that were given before any network was there."""
        for name in self.stages if self._shown is None else ():
            if name not in scene.evidence.stages:
                raise unknown("stage", name, scene.evidence.stages)

    def _apply(self, scene: Scene, request: Request) -> None:
        """Show a scene: everything in one message, so that nothing half old is ever drawn."""
        classifier = scene.evidence.classifier
        new_network = self._shown is None or self._shown.evidence.classifier is not classifier
        self._shown, self._answered = scene, request
        with self._one_message():
            for name, value in scene.traits().items():
                setattr(self, name, value)
            self.target = scene.target
            if self._sign_follows:
                self.gradient, self._sign_follows = scene.method.gradient, False
            self.stages = [s for s in self.stages if s in scene.evidence.stages] or scene.defaults
            if new_network:
                self._labels = list(classifier.labels)
                self._networks = self.networks.options()
            if self.channel_stage not in scene.evidence.stages:
                self.channel_stage = ""
            self._derive()
            self._draw_channel()
            self._status = {"state": "idle"}

    def _fail(self, error: BaseException) -> None:
        self._revert()
        hint = next((text for kind, text in HINTS.items() if isinstance(error, kind)), "")
        self._status = {
            "state": "error",
            "text": _sentence(error),
            "hint": hint or ("The view stays as it was." if self._shown else ""),
            "details": "".join(traceback.format_exception(error))[-4000:],
        }

    def _revert(self) -> None:
        """Set what is asked for back to what is shown."""
        with self._one_message():
            if self._shown is None or self._answered is None:
                self.picture, self.target = "", None
                return
            self.picture, self.network = self._answered.picture, self._answered.network
            self.target, self.method = self._shown.target, self._shown.method.name
            self._sign_follows = False

    def _derive(self) -> None:
        """What follows from the view: set by the explorer."""

    def _draw_channel(self) -> None:
        """The single channel's map: set by the explorer."""

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


def _offer(network: str) -> dict[str, str]:
    size = torchvision_sizes()[network]
    return {
        "state": "offer",
        "text": f"{network} needs {size:.1f} MB of trained weights that are not on this machine.",
        "hint": "They are downloaded once and kept. Until then the view stays as it is.",
        "offer": f"Download {size:.1f} MB",
    }


def _sentence(error: BaseException) -> str:
    """The error's own words; its kind where it has none."""
    if isinstance(error, KeyError) or not str(error).strip():
        return f"{type(error).__name__}: {error}"
    return str(error).strip().splitlines()[0]
