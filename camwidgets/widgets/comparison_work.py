"""What a comparison's worker does: a pass for the picture, maps for cells, curves for maps, with pace and patience."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..classifiers.classifier import Classifier
from ..classifiers.guards import undisturbed
from ..evaluation.curves import Curve, deletion, insertion
from ..explanation import Explanation, explain
from ..maps.method import Method
from ..maps.passes import Passes
from .comparison_cells import Cell, seconds_text
from .scene import Traits, class_entry, crisper
from .sources import Networks, Pictures, opened

FIRST = 0.5  # seconds of work after which the rest is estimated
TOLD = 0.1  # seconds between two messages about progress


class Stopped(Exception):
    """Raised inside a cell's work when this attempt is not wanted any more."""


class Costly(Exception):
    """Raised inside a cell's work when it would take longer than the patience; says how long."""


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
            of one comparison, so that the front end can tell them apart.
    """

    classifier: Classifier
    x: Tensor
    logits: Tensor
    target: int
    picture: np.ndarray
    name: str
    number: int

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
        logits = classifier.logits(x)[0].float().cpu()
    best = classifier.ranked(logits, 1)[0].index
    target = best if ask.target is None else classifier.index(ask.target)
    check()
    classifier.weights_hash()  # once, here: no cell's time is to include it
    picture = crisper(classifier, classifier.pictures(x)[0], opened(source))
    return Ground(classifier, x, logits, target, picture, source.text, number)


def other_class(ground: Ground, target: int | str | None, number: int) -> Ground:
    """The same picture and network, another class: no pass."""
    best = ground.classifier.ranked(ground.logits, 1)[0].index
    index = best if target is None else ground.classifier.index(target)
    return Ground(ground.classifier, ground.x, ground.logits, index, ground.picture, ground.name, number)


def settings_of(classifier: Classifier, method: Method) -> dict[str, Any]:
    """The parameters that are kept for this network; those that are no longer valid are left out."""
    kept = dict(_settings("of", classifier, method) or {})
    known = {parameter.name: parameter for parameter in method.parameters}
    found = {}
    for name in known.keys() & kept.keys():
        try:
            found[name] = known[name].check(kept[name])
        except (ValueError, TypeError):
            continue  # kept by hand or by another version: the default serves
    return found


def keep_settings(classifier: Classifier, method: Method, parameters: dict[str, Any]) -> None:
    """Keep parameters for this network; later comparisons begin with them."""
    _settings("keep", classifier, method, **parameters)


def _settings(what: str, classifier: Classifier, method: Method, **parameters: Any) -> Any:
    try:
        from .. import settings
    except ImportError:
        return None
    return getattr(settings, what)(classifier, method.name, **parameters)


def map_of(cell: Cell, ground: Ground, passes: Passes) -> Explanation:
    """The cell's explanation, as `camwidgets.explain` makes it; `passes` counts and tells how far it is."""
    found: Explanation = explain(
        ground.classifier, ground.x, cell.row.method, ground.target, enhance=cell.enhanced, progress=passes,
        **cell.parameters,
    )  # fmt: skip
    return found


def curves_of(found: Explanation, ground: Ground, steps: int | None, passes: Passes) -> dict[str, Curve]:
    """Insertion and deletion of a map: two times `steps` + 1 forward passes."""
    asked = (ground.classifier, ground.x, ground.target, found.map)
    return {
        "insertion": insertion(*asked, steps=steps, passes=passes.step(0, 2)),
        "deletion": deletion(*asked, steps=steps, passes=passes.step(1, 2)),
    }


class Pace:
    """Listens to the progress of one piece of work: how far, how long still, and whether that is too long.

    Args:
        check: raises when the work is not wanted any more. tell: (share done, words), ten times a second at most.
        patience: seconds that the whole may take; beyond that `Costly` is raised, once the pace is known.
    """

    def __init__(
        self, check: Callable[[], None], tell: Callable[[float, str], None], patience: float = float("inf")
    ) -> None:
        self._check, self._tell, self._patience = check, tell, patience
        self._begun, self._told = time.perf_counter(), 0.0
        self.passes = Passes(progress=self)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._begun

    def __call__(self, done: float, total: float) -> None:
        self._check()
        share = min(1.0, done / total) if total > 0 else 0.0
        now = time.perf_counter()
        known = now - self._begun >= FIRST and 0 < share < 1
        if known and (whole := (now - self._begun) / share) > self._patience:
            raise Costly(self._estimate(share, whole))
        if now - self._told >= TOLD:
            self._told = now
            left = f", about {seconds_text((now - self._begun) * (1 / share - 1))} left" if known else ""
            self._tell(share, f"{100 * share:.0f} %{left}")

    def _estimate(self, share: float, whole: float) -> str:
        counts = self.passes.counts
        passes = round((counts.forward + counts.backward) / share)
        return f"≈ {passes} passes, about {seconds_text(whole)} on this machine"
