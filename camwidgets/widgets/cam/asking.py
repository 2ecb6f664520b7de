"""How the explorer asks: requests go to one worker, only the newest answer is shown, every failure is said."""

from __future__ import annotations

from typing import Any

import traitlets as t

from ...errors import unknown
from ..scene import Scene
from ..sources import Networks, Pictures
from ..speaking import BadValue, checked
from ..worker import Ticket, Worker, answering
from .pipeline import Pipeline, Request
from .traits import REQUESTS, ExplorerTraits


class Asking(ExplorerTraits):
    """The part of `CamExplorer` between the traits and the pipeline."""

    def __init__(self, pictures: Pictures, networks: Networks, **traits: Any) -> None:
        self._shown: Scene | None = None
        self._answered: Request | None = None
        self._sign_follows = False  # a new method comes with its published sign, unless one was chosen since
        self._pipeline = Pipeline(pictures, networks)
        self._worker: Worker[Request] = Worker(self._work, "camwidgets-explorer", self._lost)
        super().__init__(pictures, networks, **traits)

    # ------------------------------------------------------------------ what may be asked

    @t.validate("target")
    def _known_target(self, proposal: Any) -> Any:
        if proposal.value is None or self._shown is None or self._answered is None:
            return proposal.value
        if self._answered.network != self.network:
            return proposal.value  # of a network that is not loaded yet: the pipeline will know
        with checked():
            return self._shown.evidence.classifier.index(proposal.value)

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
        shown = None if self._shown is None else self._shown.target
        if change.name in ("picture", "network") and self.target is not None and self.target == shown:
            self.target = None  # asks again, for the top class of what is new
            return
        self._submit()

    def _request(self, download: bool) -> None:
        self._worker.submit(Request(self.picture, self.network, self.target, self.method))

    # ------------------------------------------------------------------ the worker's thread

    def _work(self, request: Request, ticket: Ticket) -> None:
        with answering(ticket, self._worker.lock, self._fail):
            scene = self._pipeline.run(request, lambda text: self._tell(text, ticket), ticket.check)
            self._check_stages(scene)
            with self._worker.lock:
                ticket.check()
                self._apply(scene, request)

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
            self.picture, self.network = request.picture, request.network
            self.target, self.method = scene.target, scene.method.name
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
            self._come_to_rest()

    def _revert(self) -> bool:
        with self._one_message():
            if self._shown is None or self._answered is None:
                self.picture, self.target = "", None
                return False
            self.picture, self.network = self._answered.picture, self._answered.network
            self.target, self.method = self._shown.target, self._shown.method.name
            self._sign_follows = False
        return True

    def _derive(self) -> None:
        """What follows from the view: set by the explorer."""

    def _draw_channel(self) -> None:
        """The single channel's map: set by the explorer."""
