"""From a request to a scene, with no more of the network than the request needs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from weakref import ref

import numpy as np

from ...classifiers.classifier import Classifier
from ...evidence import Evidence, Recording, record
from ..scene import Scene, crisper, make_scene
from ..sources import Networks, Pictures, Source, opened, stamp

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What the explorer is to show. `target` None = the top class of the picture."""

    picture: str
    network: str
    target: int | str | None
    method: str


@dataclass
class Kept:
    """A picture that was run: what a request for another class or method begins from.

    Attributes:
        stamp: when the picture's file was written, and its size. weights: of the network, as it was run.
        shown: the part of the picture that the network saw, crisp. graph: of the pass, None where it was given up.
    """

    picture: str
    network: str
    stamp: tuple[int, int] | None
    weights: str
    shown: np.ndarray
    graph: Recording | None
    evidence: Evidence | None = None


class Pipeline:
    """Keeps the last recording and evidence, and goes only as far back as a request differs from them.

    A new picture or network, changed weights or a file written anew cost one forward and one backward pass, a new class
    one backward pass, a new method none. A request that fails leaves what was kept as it was. Of all pipelines the
    `GRAPHS` used last hold the graph of their pass (some 100 MB); in the others a new class costs a forward pass, too.
    """

    def __init__(self, pictures: Pictures, networks: Networks) -> None:
        self.pictures, self.networks = pictures, networks
        self.passes = {"forward": 0, "backward": 0}
        self._kept: Kept | None = None
        self._using = threading.Lock()  # while it is held nobody gives up the graph
        self._forgotten = 0  # how often; a run that began before does not keep what it found
        self._scenes = 0

    def run(self, request: Request, tell: Tell, check: Callable[[], None]) -> Scene:
        """The scene for `request`. `tell` hears each step before it begins; `check` may raise to stop in between."""
        with self._using:
            source, forgotten = self.pictures[request.picture], self._forgotten
            kept = self._kept
            if kept is None or self._outdated(kept, request, source):
                kept = self._record(request, source, tell, check)
            check()
            kept = self._explained(kept, request, tell, check)
            assert kept.evidence is not None
            self._scenes += 1
            scene = make_scene(kept.evidence, request.method, kept.shown, source.text, self._scenes)
            check()
            if forgotten == self._forgotten:
                self._keep(kept)
        _used(self)
        return scene

    def forget(self, picture: str) -> None:
        """The picture of that key has changed: run the network on it again."""
        self._forgotten += 1
        if self._kept is not None and self._kept.picture == picture:
            self.close()

    def close(self) -> None:
        """Forget everything; the graph of the last pass is freed."""
        if self._kept is not None and self._kept.graph is not None:
            self._kept.graph.close()
        self._kept = None

    def give_up_graph(self) -> None:
        """Free the graph, unless it is in use just now; maps and methods go on without it."""
        if self._using.acquire(blocking=False):
            try:
                if self._kept is not None and self._kept.graph is not None:
                    self._kept.graph.close()
                    self._kept.graph = None
            finally:
                self._using.release()

    def _outdated(self, kept: Kept, request: Request, source: Source) -> bool:
        if (kept.picture, kept.network) != (request.picture, request.network):
            return True
        now = stamp(source)
        if now is not None and now != kept.stamp:  # a file that is gone is still in memory
            return True
        return self.networks.get(request.network).weights_hash() != kept.weights

    def _record(self, request: Request, source: Source, tell: Tell, check: Callable[[], None]) -> Kept:
        tell(f"loading {request.network} …")
        with self.networks.progress(request.network, tell):
            classifier: Classifier = self.networks.get(request.network)
        check()
        when, image = stamp(source), opened(source)
        graph = self._run_on(classifier, image, request.network, source.text, tell)
        shown = crisper(classifier, graph.pictures[0], image)
        return Kept(request.picture, request.network, when, graph.weights_sha256, shown, graph)

    def _run_on(self, classifier: Classifier, image: Any, network: str, text: str, tell: Tell) -> Recording:
        tell(f"running {network} on {text} …")
        self.passes["forward"] += 1
        return record(classifier, image)

    def _explained(self, kept: Kept, request: Request, tell: Tell, check: Callable[[], None]) -> Kept:
        """With the evidence for the class that is asked for."""
        found = kept.evidence or kept.graph
        assert found is not None
        classifier, target = found.classifier, request.target
        index = int(found.logits[0].argmax()) if target is None else classifier.index(target)
        if kept.evidence is not None and int(kept.evidence.targets[0]) == index:
            return kept
        if kept.graph is None:
            text = self.pictures[kept.picture].text
            kept = replace(kept, graph=self._run_on(classifier, found.x, kept.network, text, tell))
            check()
        assert kept.graph is not None
        tell(f"one backward pass for {classifier.labels[index]} …")
        self.passes["backward"] += 1
        return replace(kept, evidence=kept.graph.evidence(index))

    def _keep(self, kept: Kept) -> None:
        old = self._kept
        if old is not None and old.graph is not None and old.graph is not kept.graph:
            old.graph.close()
        self._kept = kept


GRAPHS = 3
_recent: list[ref[Pipeline]] = []
_recent_lock = threading.Lock()


def _used(pipeline: Pipeline) -> None:
    """Note that this one was used last; those beyond `GRAPHS` give up their graphs."""
    with _recent_lock:
        known = [one for one in (each() for each in _recent) if one is not None and one is not pipeline]
        kept, beyond = [pipeline, *known][:GRAPHS], [pipeline, *known][GRAPHS:]
        _recent[:] = [ref(one) for one in kept]
    for one in beyond:
        one.give_up_graph()
