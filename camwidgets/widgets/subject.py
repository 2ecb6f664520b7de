"""What views of one picture share: picture, network and class as traits; one message at a time; failures in words."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import traitlets as t

from ..classifiers.classifier import Classifier
from ..classifiers.given import check_classifier
from ..classifiers.registry import EMBEDDED
from ..errors import unknown
from .sources import Networks, Pictures, torchvision_sizes
from .speaking import BadValue, Speaking, failure
from .worker import Ticket, Worker

if TYPE_CHECKING:
    from typing_extensions import Self  # of Python 3.11; torch brings it to 3.10


class Subject(Speaking):
    """A view of one picture, one network and one class, which a worker runs.

    `picture` (a key of `pictures`, or a path), `network`, `target` (class index or label; None = the top class).
    """

    picture = t.Unicode("").tag(sync=True)
    network = t.Unicode("").tag(sync=True)
    target = t.Union([t.Int(), t.Unicode()], default_value=None, allow_none=True).tag(sync=True)

    _scene = t.Dict().tag(sync=True)
    _picture = t.Bytes(b"").tag(sync=True)
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
        self._objection: dict[str, str] = {}  # what was refused while the worker was busy
        self.pictures, self.networks = pictures, networks
        super().__init__(self._worker.lock, **traits)

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

    def _begin(self, classifier: Any, picture: str) -> None:
        """The menus, and what is asked for first: the network that was given, or was named, or the embedded one."""
        self._pictures, self._networks = self.pictures.options(), self.networks.options()
        self.network = classifier if isinstance(classifier, str) else next(iter(self.networks.given), EMBEDDED)
        self.picture = picture

    # ------------------------------------------------------------------ asking

    def show(self, image: Any, name: str = "") -> Self:
        """Look at another picture: a path, a PIL picture or an array; returns self."""
        self._open(self.pictures.add(image, name))
        return self

    def download(self) -> Self:
        """Download the weights of the chosen network and go on with it; returns self."""
        self._submit(download=True)
        return self

    def _open(self, key: str) -> None:
        """Look at a picture that was just added; also when one of that name is on screen already."""
        self._pictures = self.pictures.options()
        if self.picture != key:
            self.picture = key
            return
        with self._worker.lock:
            self._forget(key)
            self._submit()

    def _submit(self, download: bool = False) -> None:
        """Ask for what the traits say, or offer the download that it needs first."""
        if not self.picture:
            return
        if not download and not self.networks.ready(self.network):
            self._withdraw()
            self._status = offer(self.network)
            return
        self._objection = {}
        self._status = {"state": "working", "text": "waiting for the network …"}
        self._request(download)

    def _request(self, download: bool) -> None:
        """Give the worker what the traits ask for."""
        raise NotImplementedError

    def _withdraw(self) -> None:
        """What was asked for before is not wanted any more."""
        self._worker.cancel()

    def _forget(self, key: str) -> None:
        """What was seen under this name is not what is there now."""
        raise NotImplementedError

    # ------------------------------------------------------------------ what is said

    def _tell(self, text: str, ticket: Ticket) -> None:
        with self._worker.lock:
            ticket.check()
            self._status = {"state": "working", "text": text}

    def _fail(self, error: BaseException) -> None:
        shown = self._revert()
        self._objection = {}
        self._status = failure(error, "The view stays as it was." if shown else "")

    def _refuse(self, error: BaseException) -> None:
        with self._lock:
            if not self._worker.busy:
                self._fail(error)
                return
            self._objection = self._status = failure(error, "What is being worked on goes on.")

    def _come_to_rest(self) -> None:
        """The answer is there; what was refused while it was on its way is still said."""
        self._status, self._objection = self._objection or {"state": "idle"}, {}

    def _check_there(self) -> None:
        """RuntimeError where what is on screen is not what is asked for, since that must be downloaded first."""
        if self._status["state"] == "offer":
            raise RuntimeError(f"{self._status['text']} Call download(), or choose another network.")

    def _revert(self) -> bool:
        """Set what is asked for back to what is shown; False where nothing is."""
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
    check_classifier(classifier, widget)
    return [classifier]


def offer(network: str) -> dict[str, str]:
    """The status that offers to download a network's weights."""
    size = torchvision_sizes()[network]
    return {
        "state": "offer",
        "text": f"{network} needs {size:.1f} MB of trained weights that are not on this machine.",
        "hint": "They are downloaded once and kept. Until then the view stays as it is.",
        "offer": f"Download {size:.1f} MB",
    }
