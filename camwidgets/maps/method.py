"""What a saliency method is: its name, its function, its parameters, what it needs, its formula and source.

There are three kinds, told apart by what the function gets:

* `evidence`: `function(A, g, gradient)`, arithmetic on what one pass left (the gradient family). Nothing is run again
  when a stage or a sign is switched. CAM's is `function(A, weights)`.
* `stage`: `function(request, **parameters)`, which runs the network and returns the map of one tap, `request.tap`.
* `picture`: `function(request, **parameters)`, which runs the network and returns one map of the whole picture.

All return a raw h×w tensor ≥ 0 of any resolution; fusing, upsampling and scaling to [0, 1] is done by the caller.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from ..errors import choose, unknown
from .passes import Passes

if TYPE_CHECKING:
    from ..classifiers.classifier import Classifier
    from ..classifiers.taps import Tap

Kind = Literal["evidence", "stage", "picture"]
MapFunction = Callable[..., Tensor]
Check = Callable[["Classifier"], str | None]

# Keywords of `explain`: a parameter of a method with one of these names could never be given.
TAKEN = frozenset((
    "classifier", "image", "method", "target", "stages", "gradient", "gamma", "scale", "reduce", "preset", "enhance",
    "batch", "progress",
))  # fmt: skip
# What a method may need, in the words that tables show.
NEEDS = ("gradients", "gap head", "many forwards", "convolutions", "transformer")


class Unexplained(ValueError):
    """A method has no map for this picture and class; the sentence says why."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a method: its type is the default's.

    Attributes:
        name: keyword of the function. default: used when nothing is given. meaning: one line, with the unit.
        low, high: inclusive range of a number. choices: the valid names of a str.

    Example:
        >>> Parameter("masks", 4000, "random masks", low=1).check(100)
        100
        >>> Parameter("masks", 4000, "random masks", low=1).check(0)
        Traceback (most recent call last):
        ...
        ValueError: masks (random masks) must be at least 1; got 0
    """

    name: str
    default: Any
    meaning: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    def check(self, value: Any) -> Any:
        """The value in the parameter's own type, or a ValueError or TypeError that says what would be valid."""
        if isinstance(self.default, str):
            return choose(self.name, value, self.choices)
        if isinstance(self.default, bool):
            if not isinstance(value, bool):
                raise TypeError(f"{self.name} ({self.meaning}) must be True or False; got {value!r}")
            return value
        whole = isinstance(self.default, int)
        if isinstance(value, bool) or not isinstance(value, Integral if whole else Real):
            raise TypeError(f"{self.name} ({self.meaning}) must be {self._valid(whole)}; got {value!r}")
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        number: Any = value
        if not low <= number <= high:
            raise ValueError(f"{self.name} ({self.meaning}) must be {self._range()}; got {value!r}")
        return int(number) if whole else float(number)

    def _valid(self, whole: bool) -> str:
        between = self._range()
        return f"a{' whole' if whole else ''} number{f', {between}' if between else ''}"

    def _range(self) -> str:
        if self.low is not None and self.high is not None:
            return f"between {self.low:g} and {self.high:g}"
        if self.low is not None:
            return f"at least {self.low:g}"
        return "" if self.high is None else f"at most {self.high:g}"

    @property
    def valid(self) -> str:
        """What can be given, in words: a range, or the names."""
        return ", ".join(self.choices) or ("True, False" if isinstance(self.default, bool) else self._range())

    def __str__(self) -> str:
        return f"{self.name}={self.default!r}: {self.meaning}{f' ({self.valid})' if self.valid else ''}"


@dataclass(frozen=True)
class Request:
    """What a method of the kinds `stage` and `picture` is asked.

    Attributes:
        classifier: what is explained. x: 1×3×H×W preprocessed input on its device. target: class index, or a callable
            on one picture's vector of logits. passes: runs the network (batches, memory, progress, cancellation).
        tap: the tap whose map is wanted (`stage` only).
    """

    classifier: Classifier
    x: Tensor
    target: Any
    passes: Passes = field(default_factory=Passes)
    tap: Tap | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the input."""
        return int(self.x.shape[2]), int(self.x.shape[3])

    def y(self, logits: Tensor) -> Tensor:
        """N×C logits to the N values y that gradients are taken of: the logit of a class, or what the callable says."""
        return self._called(logits) if callable(self.target) else logits[:, self.target]

    def score(self, logits: Tensor) -> Tensor:
        """N×C logits to N scores: the softmax probability p_c of a class, or what the target callable returns."""
        return self._called(logits) if callable(self.target) else logits.softmax(1)[:, self.target]

    def _called(self, logits: Tensor) -> Tensor:
        from ..evidence import call_target

        return torch.stack([call_target(self.target, row) for row in logits])

    def scores(self, x: Tensor) -> Tensor:
        """The N scores of N inputs that are there already; no gradient."""
        return self.passes.map(self.classifier, lambda start, stop: x[start:stop], len(x), self.score)

    def scores_of(self, make: Callable[[int, int], Tensor], total: int) -> Tensor:
        """The scores of `total` inputs made batch by batch: `make(start, stop)` returns inputs start … stop − 1.

        So Score-CAM's thousand masked pictures are never held at once.
        """
        return self.passes.map(self.classifier, make, total, self.score)

    def at(self, **changes: Any) -> Request:
        """The same request with another tap, target, input or share of the progress."""
        return replace(self, **changes)


@dataclass(frozen=True)
class Method:
    """One saliency method.

    Attributes:
        name: as given to `explain`. title: as written in the literature. function: see the module's text.
        formula, source: what it computes, and where that is written. kind: see the module's text.
        gradient: its published handling of gradient signs, and signs: all that it can take (kind `evidence` only).
        depth: how many of the deepest stages it uses unless told otherwise. needs: out of `NEEDS`.
        parameters: what can be set. unfit: why a classifier cannot be served, in a sentence, or None.
    """

    name: str
    title: str
    function: MapFunction
    formula: str
    source: str
    kind: Kind = "evidence"
    gradient: str = ""
    signs: tuple[str, ...] = ()
    depth: int = 1
    needs: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    unfit: Check | None = None

    def __post_init__(self) -> None:
        for need in self.needs:
            choose("need", need, NEEDS)
        for parameter in self.parameters:
            if parameter.name in TAKEN:
                raise ValueError(f"{self.name}: the parameter {parameter.name!r} is a keyword of explain; rename it")

    def why_not(self, classifier: Classifier) -> str | None:
        """Why this method cannot serve that network, or None if it can; a trial pass at most, no long run."""
        return self.unfit(classifier) if self.unfit else None

    def check(self, given: dict[str, Any]) -> dict[str, Any]:
        """All parameters, given ones checked, others at their defaults."""
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in given:
            if name not in known:
                if not known:
                    raise ValueError(f"{self.name} has no parameters; {name!r} was given")
                raise unknown(f"parameter of {self.name}", name, known)
        return {name: p.check(given[name]) if name in given else p.default for name, p in known.items()}

    def about(self) -> str:
        """Formula, source, needs and every parameter, as text."""
        lines = [f"{self.title} ({self.name})", f"  {self.formula}", f"  {self.source}"]
        lines.append(f"  needs: {', '.join(self.needs) or 'nothing but forward passes'}")
        return "\n".join(lines + [f"  {parameter}" for parameter in self.parameters])
