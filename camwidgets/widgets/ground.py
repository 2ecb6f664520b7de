"""What several maps of one picture stand on: a network, the picture as it saw it, a class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..classifiers.classifier import Classifier
from ..classifiers.guards import undisturbed
from .scene import Traits, class_entry, crisper
from .sources import Networks, Pictures, opened
from .speaking import checked


@dataclass(frozen=True)
class Ask:
    """The subject that is asked for. `target` None = the top class."""

    picture: str
    network: str
    target: int | str | None


@dataclass(frozen=True)
class Ground:
    """What all cells stand on: a network, a picture as it saw it, a class.

    Attributes:
        x: 1×3×H×W input. logits: of it. target: class index. picture: H×W×3 uint8, crisp. number: counts the grounds
            of one comparison, so that the front end can tell them apart. weights: the hash of those that were run.
    """

    classifier: Classifier
    x: Tensor
    logits: Tensor
    target: int
    picture: np.ndarray
    name: str
    number: int
    weights: str

    @property
    def stale(self) -> bool:
        """Whether the network has other weights by now."""
        return self.classifier.weights_hash() != self.weights

    @property
    def label(self) -> str:
        return self.classifier.labels[self.target]

    def traits(self) -> Traits:
        """The front end's `_scene` and `_picture`."""
        share = float(self.logits.softmax(0)[self.target])
        best = self.classifier.ranked(self.logits, 5)
        scene = {
            "id": self.number,
            "picture": {"name": self.name, "height": self.picture.shape[0], "width": self.picture.shape[1]},
            "input": {"height": self.x.shape[2], "width": self.x.shape[3]},
            "network": self.classifier.name,
            "target": class_entry(self.target, self.label, share, float(self.logits[self.target])),
            "top": [class_entry(p.index, p.label, p.probability, p.logit) for p in best],
        }
        return {"_scene": scene, "_picture": self.picture.tobytes()}


def known_target(value: Any, ground: Ground | None, answered: Ask | None, network: str) -> Any:
    """A class that is asked for, as its index; as it is while its network is not loaded yet: the worker will know."""
    if value is None or ground is None or answered is None or answered.network != network:
        return value
    with checked():
        return ground.classifier.index(value)


def new_ground(
    ask: Ask, pictures: Pictures, networks: Networks, number: int, tell: Callable[[str], None],
    check: Callable[[], None],
) -> Ground:  # fmt: skip
    """The ground for a request: one forward pass. `tell` hears each step, `check` may raise to stop in between."""
    source = pictures[ask.picture]
    tell(f"loading {ask.network} …")
    with networks.progress(ask.network, tell):
        classifier = networks.get(ask.network)
    check()
    tell(f"running {ask.network} on {source.text} …")
    x = classifier.preprocess(opened(source))
    with classifier.lock, torch.inference_mode(False), torch.no_grad(), undisturbed(classifier.module):
        weights = classifier.weights_hash()
        logits = classifier.logits(x)[0].float().cpu()
    best = classifier.ranked(logits, 1)[0].index
    target = best if ask.target is None else classifier.index(ask.target)
    check()
    picture = crisper(classifier, classifier.pictures(x)[0], opened(source))
    return Ground(classifier, x, logits, target, picture, source.text, number, weights)


def other_class(ground: Ground, target: int | str | None, number: int) -> Ground:
    """The same picture and network, another class: no pass."""
    best = ground.classifier.ranked(ground.logits, 1)[0].index
    index = best if target is None else ground.classifier.index(target)
    return replace(ground, target=index, number=number)
