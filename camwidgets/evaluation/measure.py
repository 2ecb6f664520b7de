"""What a test of a map is, and the catalogue of tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from torch import Tensor

from ..errors import choose, unknown
from ..maps.method import Parameter
from ..maps.passes import Passes

if TYPE_CHECKING:
    from ..classifiers.classifier import Classifier
    from .randomisation import Copies

Values = dict[str, Any]  # name → number, or list of numbers (one a threshold)
Need = Literal["boxes", "mask"]


def _nobody(classifier: Classifier) -> np.ndarray:
    raise ValueError("this map was given, not made by a method: there is none of another network")


@dataclass(frozen=True)
class Case:
    """One map of one picture, and what is known about the picture.

    Attributes:
        classifier, x: the network and its 1×3×H×W input. target: the class explained. map: H×W float32 in [0, 1].
        logits: C, of the untouched picture. boxes: of the object, (x0, y0, x1, y1) in pixels of the input.
        mask: of the object, H×W bool, or None. passes: runs the network and counts. label: the true class, if known.
        by: another network of the same shape → its H×W map by the same method, of the same class and input.
        copies: the network with layers drawn anew.
    """

    classifier: Classifier
    x: Tensor
    target: int
    map: np.ndarray
    logits: Tensor
    boxes: tuple[tuple[float, ...], ...] = ()
    mask: np.ndarray | None = None
    passes: Passes = field(default_factory=Passes)
    label: int | None = None
    by: Callable[[Classifier], np.ndarray] = field(default=_nobody)
    copies: Copies | None = None

    @property
    def inside(self) -> np.ndarray:
        """H×W bool: where the object is, by its boxes."""
        from .location import within

        return within((self.map.shape[0], self.map.shape[1]), self.boxes)

    def rank(self) -> int:
        """How many classes are more probable than the true one: 0 = it is the network's first answer."""
        true = self.target if self.label is None else self.label
        return int((self.logits > self.logits[true]).sum())


def mean(values: np.ndarray, groups: np.ndarray) -> float:
    """The mean over pictures."""
    return float(values.mean())


def class_mean(values: np.ndarray, groups: np.ndarray) -> float:
    """The mean over classes of the mean over a class's pictures. groups: class of each picture, small integers."""
    counts = np.bincount(groups)
    there = counts > 0
    return float((np.bincount(groups, values)[there] / counts[there]).mean())


def best(values: np.ndarray, groups: np.ndarray) -> float:
    """The mean over pictures at the threshold where it is best. values: pictures × thresholds."""
    return float(values.mean(0).max())


@dataclass(frozen=True)
class Result:
    """One number that a test gives.

    Attributes:
        name, title: as in tables. better: +1 where more is better (↑), −1 where less is (↓).
        key: which of the test's `Values` it is made of. unit: "share" (0 … 1) or what else. aggregate: values of all
            pictures and their classes → the number for the data set. steps: where `key` is a list, which of the test's
            `Values` names its entries ("" = they have no names): the report draws a curve over them.
    """

    name: str
    title: str
    better: Literal[1, -1]
    key: str
    unit: str = "share"
    aggregate: Callable[[np.ndarray, np.ndarray], float] = mean
    steps: str = ""

    @property
    def arrow(self) -> str:
        return "↑" if self.better > 0 else "↓"


@dataclass(frozen=True)
class Measure:
    """One test of maps.

    Attributes:
        name: as given to `evaluate`. title: as in the literature. function: (case, **parameters) → values.
        results: the numbers that come out. formula, source: what is computed, and where that is written.
        needs: what must be known about each picture: "boxes", "mask". parameters: what can be set.
        passes: whether the network is run again. unfit: (classifier, parameters) → why the test cannot be made of that
            network, in a sentence, or None; asked before anything runs.
    """

    name: str
    title: str
    function: Callable[..., Values]
    results: tuple[Result, ...]
    formula: str
    source: str
    needs: tuple[Need, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    passes: bool = False
    unfit: Callable[[Classifier, dict[str, Any]], str | None] | None = None

    def check(self, given: dict[str, Any]) -> dict[str, Any]:
        """All parameters, given ones checked, others at their defaults."""
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in given:
            choose(f"parameter of the test {self.name}", name, known)
        return {name: p.check(given[name]) if name in given else p.default for name, p in known.items()}

    def about(self) -> str:
        """Formula, source, results with their direction, and parameters, as text."""
        lines = [f"{self.title} ({self.name})", f"  {self.formula}", f"  {self.source}"]
        lines += [f"  {result.arrow} {result.name}: {result.title} ({result.unit})" for result in self.results]
        return "\n".join(lines + [f"  {parameter}" for parameter in self.parameters])


KEYS = "Sources such as [002] are spelt out in docs/sources.md."


class Measures(dict[str, Measure]):
    """Tests by name; prints as text."""

    def __repr__(self) -> str:
        return "\n".join([*(measure.about() for measure in self.values()), "", KEYS])


def measures() -> Measures:
    """All tests: name → `Measure`. Printing the result shows formulas, sources, units and directions.

    Example:
        >>> print(measures()["energy"].about())
        Energy in the box (energy)
          Σ M inside / Σ M
          Wang et al., "Score-CAM", CVPRW 2020, 4.2
          ↑ energy: share of the map's mass inside the boxes (share)
    """
    from . import randomisation, standard

    return Measures({measure.name: measure for measure in (*standard.MEASURES, *randomisation.MEASURES)})


def find_measure(name: str | Measure) -> Measure:
    """The test of that name; a `Measure` is itself."""
    if isinstance(name, Measure):
        return name
    known = measures()
    if name not in known:
        raise unknown("test", name, known)
    return known[name]


def stacked(values: Sequence[Any]) -> np.ndarray:
    """Values of all pictures as one array: N, or N × thresholds."""
    return np.asarray(values, np.float64)
