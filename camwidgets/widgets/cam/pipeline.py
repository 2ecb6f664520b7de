"""From a request to a scene, with no more of the network than the request needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...classifiers.classifier import Classifier
from ...evidence import Evidence, Recording, record
from ..scene import Scene, make_scene
from ..sources import Networks, Pictures, opened

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What the explorer is to show. `target` None = the top class of the picture."""

    picture: str
    network: str
    target: int | str | None
    method: str


class Pipeline:
    """Keeps the last recording and evidence, and goes only as far back as a request differs from them.

    A new picture or network costs one forward and one backward pass, a new class one backward pass, a new method none.
    A request that fails leaves what was kept as it was.
    """

    def __init__(self, pictures: Pictures, networks: Networks) -> None:
        self.pictures, self.networks = pictures, networks
        self.passes = {"forward": 0, "backward": 0}
        self._recording: tuple[tuple[str, str], Recording] | None = None
        self._evidence: tuple[tuple[str, str, Any], Evidence] | None = None
        self._scenes = 0

    def run(self, request: Request, tell: Tell, check: Callable[[], None]) -> Scene:
        """The scene for `request`. `tell` hears each step before it begins; `check` may raise to stop in between."""
        source = self.pictures[request.picture]
        key = (request.picture, request.network)
        kept = self._recording
        if kept is None or kept[0] != key:
            kept = (key, self._record(request, source, tell, check))
        check()
        evidence = self._explained(kept, request.target, tell)
        check()
        self._scenes += 1
        scene = make_scene(evidence, request.method, opened(source), source.text, self._scenes)
        check()
        self._keep(kept, evidence)
        return scene

    def forget(self, picture: str) -> None:
        """The picture of that key has changed: run the network on it again."""
        if self._recording is not None and self._recording[0][0] == picture:
            self.close()

    def close(self) -> None:
        """Forget everything; the graph of the last pass is freed."""
        if self._recording is not None:
            self._recording[1].close()
        self._recording = self._evidence = None

    def _record(self, request: Request, source: Any, tell: Tell, check: Callable[[], None]) -> Recording:
        tell(f"loading {request.network} …")
        with self.networks.progress(request.network, tell):
            classifier: Classifier = self.networks.get(request.network)
        check()
        tell(f"running {request.network} on {source.text} …")
        self.passes["forward"] += 1
        return record(classifier, opened(source))

    def _explained(self, kept: tuple[tuple[str, str], Recording], target: int | str | None, tell: Tell) -> Evidence:
        (picture, network), recording = kept
        classifier = recording.classifier
        index = int(recording.logits[0].argmax()) if target is None else classifier.index(target)
        if self._evidence is not None and self._evidence[0] == (picture, network, index):
            return self._evidence[1]
        tell(f"one backward pass for {classifier.labels[index]} …")
        self.passes["backward"] += 1
        return recording.evidence(index)

    def _keep(self, kept: tuple[tuple[str, str], Recording], evidence: Evidence) -> None:
        if self._recording is not None and self._recording is not kept:
            self._recording[1].close()
        self._recording = kept
        self._evidence = ((*kept[0], int(evidence.targets[0])), evidence)
