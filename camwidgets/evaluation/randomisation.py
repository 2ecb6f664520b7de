"""Does a map depend on what the network has learnt? Parameter randomisation, picture by picture.

Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018: the map of the trained network against maps of the same
method, class and input by copies whose weights were drawn anew (`decomposition.randomised`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from ..classifiers.classifier import Classifier
from ..decomposition.copies import private_copy
from ..decomposition.randomised import parameter_groups, randomised
from ..decomposition.sanity import similarity
from ..errors import choose
from ..maps.method import Parameter
from .answers import quick
from .measure import Case, Measure, Result, Values, best

ALL = "all"


class Copies:
    """Copies of one classifier with layers drawn anew, made when they are first asked for.

    Tensors that two copies have in common are held once: all copies of one order together take the memory of two
    networks, the trained and the drawn one. The newest of each order are kept, so three networks at most; and one with
    its BatchNorm folded, where there is one.

    Example:
        >>> import camwidgets
        >>> copies = Copies(camwidgets.load("toy"))
        >>> list(copies.of("cascading", seed=0))
        ['head', 'S5', 'S4', 'S3', 'S2', 'S1']
    """

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self._trained: Classifier | None = None
        self._quick: Classifier | None = None
        self._made: dict[str, tuple[int, dict[str, Classifier]]] = {}

    def of(self, order: str, seed: int = 0) -> dict[str, Classifier]:
        """Group of layers → the classifier in which it (cascading: and all above it) is drawn anew; head first."""
        if order not in self._made or self._made[order][0] != seed:
            self._made[order] = (seed, dict(self._drawn(order, seed)))
        return self._made[order][1]

    def quick(self) -> Classifier:
        """The trained network for passes of which only the answers count (`answers.quick`), made once."""
        if self._quick is None:
            self._quick = quick(self.classifier)
        return self._quick

    def _drawn(self, order: str, seed: int) -> Any:
        if self._trained is None:
            self._trained = private_copy(self.classifier)
        before = self._trained
        for group, copy in randomised(self.classifier, order, seed):
            _share(copy, before)
            before = copy if order == "cascading" else before
            yield group, copy


def _share(copy: Classifier, other: Classifier) -> None:
    """Tensors of `copy` that are those of `other`, value by value, are taken from there."""
    held: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for mine, theirs in zip(copy.module.modules(), other.module.modules(), strict=True):
        held += [(mine._parameters, theirs._parameters), (mine._buffers, theirs._buffers)]
    for own, given in held:
        for name, tensor in own.items():
            if tensor is not None and tensor.shape == given[name].shape and torch.equal(tensor, given[name]):
                own[name] = given[name]


@dataclass(frozen=True)
class Groups(Parameter):
    """A parameter that names groups of layers: "all", or names joined by "+", such as "head+S5"."""

    def check(self, value: Any) -> str:
        """The names, each once, joined by "+". Whether a network has them is asked later, by `unfit`."""
        names = value if isinstance(value, (list, tuple)) else re.split(r"\s*[+,]\s*", str(value).strip())
        if not names or not all(isinstance(one, str) and one.strip() for one in names):
            raise ValueError(f'{self.name} ({self.meaning}) must be "all" or names joined by "+"; got {value!r}')
        return "+".join(dict.fromkeys(one.strip() for one in names))

    @property
    def valid(self) -> str:
        """What can be given, in words."""
        return '"all", or names such as "head+S5"'


def chosen(classifier: Classifier, layers: str) -> list[str]:
    """The groups of layers that are looked at, from the head down."""
    groups = parameter_groups(classifier)
    wanted = list(groups) if layers == ALL else layers.split("+")
    for name in wanted:
        choose(f"group of layers of {classifier.name}", name, groups)
    return [name for name in groups if name in wanted]


def unfit(classifier: Classifier, given: dict[str, Any]) -> str | None:
    """Why these layers of that network cannot be drawn anew, or None."""
    try:
        if not chosen(classifier, given["layers"]):
            return f"{classifier.name} has no parameters to draw anew"
        private_copy(classifier)
    except ValueError as error:
        return str(error)
    return None


def randomisation(case: Case, order: str, layers: str = ALL, seed: int = 0) -> Values:
    """ρ and SSIM of the map with the map of each copy, and whether that one is flat."""
    if np.ptp(case.map) == 0:
        raise ValueError("the trained network's map is flat: there is nothing that could be lost")
    assert case.copies is not None
    copies = case.copies.of(order, seed)
    names = chosen(case.classifier, layers)
    found = [similarity(case.map.astype(np.float64), case.by(copies[name]).astype(np.float64)) for name in names]
    return {"layers": names, **{key: [one[key] for one in found] for key in ("spearman", "ssim", "flat")}}


def at_last(values: np.ndarray, groups: np.ndarray) -> float:
    """The mean over pictures at the last group of layers. values: pictures × layers."""
    return float(values[:, -1].mean())


def all_mean(values: np.ndarray, groups: np.ndarray) -> float:
    """The mean over pictures and layers. values: pictures × layers."""
    return float(values.mean())


_SOURCE = "Adebayo et al., NeurIPS 2018, 3.1 (weights drawn with the trained mean and spread); [000] 5.3.1.5"
_SAME = "M, M': the method's maps of one class and input by the trained network and by the copy; flat M': ρ = 0"
_PARAMETERS = (
    Groups("layers", ALL, "groups of layers that are looked at"),
    Parameter("seed", 0, "of the weights that are drawn", low=0),
)
MEASURES = (
    Measure(
        "cascading", "Cascading randomisation", partial(randomisation, order="cascading"),
        (
            Result("cascading", "ρ with the map when all is drawn anew (at the last group chosen)", -1, "spearman",
                   "correlation", at_last, "layers"),
            Result("cascading-mean", "ρ with the map as more and more is drawn anew, mean over groups of layers", -1,
                   "spearman", "correlation", all_mean, "layers"),
            Result("cascading-ssim", "SSIM with the map when all is drawn anew", -1, "ssim", "similarity", at_last,
                   "layers"),
            Result("cascading-flat", "pictures whose map is flat when all is drawn anew (their ρ is 0)", -1, "flat",
                   "share", at_last, "layers"),
        ),
        f"Spearman ρ(M, M'), SSIM(M, M'), weights drawn anew from the head down, more and more; {_SAME}", _SOURCE,
        parameters=_PARAMETERS, passes=True, unfit=unfit,
    ),
    Measure(
        "independent", "Independent randomisation", partial(randomisation, order="independent"),
        (
            Result("independent", "ρ with the map when one group of layers is drawn anew, mean over groups", -1,
                   "spearman", "correlation", all_mean, "layers"),
            Result("independent-most", "the same for the group whose loss the map notices least", -1, "spearman",
                   "correlation", best, "layers"),
            Result("independent-ssim", "SSIM with the map, mean over groups", -1, "ssim", "similarity", all_mean,
                   "layers"),
        ),
        f"Spearman ρ(M, M'), SSIM(M, M'), one group of layers drawn anew, the others as trained; {_SAME}", _SOURCE,
        parameters=_PARAMETERS, passes=True, unfit=unfit,
    ),
)  # fmt: skip
