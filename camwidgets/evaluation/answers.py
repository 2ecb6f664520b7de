"""Asking the network for nothing but its answer: what tests of maps do most of the time, as fast as it goes.

Two things save time and change no answer beyond rounding: tests that show one picture each share a batch (`together`),
and they ask a copy of the network whose BatchNorm is folded into its convolutions (`quick`). Maps never come from it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..classifiers.classifier import Classifier
from ..classifiers.guards import undisturbed
from ..classifiers.prepared import prepare
from ..maps.passes import Make, Passes
from .measure import Case, Values

AGREED = 1e-5  # of the largest logit: by so much the copy's answers may differ
UNCOPIED = (ValueError, TypeError, RuntimeError, AttributeError, MemoryError, copy.Error)


@dataclass(frozen=True)
class Single:
    """A test that shows the network one changed input; as a function of a case it is called like any other test.

    Attributes:
        shown: (case, **parameters) → 1×3×H×W input. said: (case, its C logits, **parameters) → values.
    """

    shown: Callable[..., Tensor]
    said: Callable[..., Values]

    def __call__(self, case: Case, **given: Any) -> Values:
        return together([(self, case, given)])[0]


def together(trials: Sequence[tuple[Single, Case, dict[str, Any]]]) -> list[Values]:
    """The values of several single tests of one network, in order; their inputs share batches."""

    def make(start: int, stop: int) -> Tensor:
        return torch.cat([test.shown(case, **given) for test, case, given in trials[start:stop]])

    first = trials[0][1]
    logits = first.passes.map(first.classifier, make, len(trials))
    return [test.said(case, row, **given) for (test, case, given), row in zip(trials, logits, strict=True)]


@dataclass(frozen=True)
class Answers(Passes):
    """Passes of which only the answers count: `quick()` runs in place of `network`; other networks run as they are."""

    network: Classifier | None = None
    quick: Callable[[], Classifier] | None = None

    def map(
        self, classifier: Classifier, make: Make, total: int, reduce: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """As `Passes.map`."""
        stands_in = self.quick is not None and classifier is self.network
        return super().map(self.quick() if stands_in and self.quick else classifier, make, total, reduce)


def quick(classifier: Classifier) -> Classifier:
    """A copy with BatchNorm folded, on a CPU, if its logits of a noise picture differ by at most 1e-5 of the largest.

    Otherwise the classifier itself: also where there is no BatchNorm, or where the network cannot be copied.

    Example:
        >>> import camwidgets
        >>> toy = camwidgets.load("toy")  # has no BatchNorm
        >>> quick(toy) is toy
        True
    """
    if classifier.device.type != "cpu" or not any(isinstance(m, nn.BatchNorm2d) for m in classifier.module.modules()):
        return classifier
    x = classifier.preprocess(torch.randn((1, 3, *classifier.input_size), generator=torch.Generator().manual_seed(3)))
    try:
        made = prepare(classifier)
        answers = []
        for one in (classifier, made):
            with one.lock, torch.inference_mode(False), torch.no_grad(), undisturbed(one.module):
                answers.append(one.logits(x))
    except UNCOPIED:
        return classifier
    far = float((answers[0] - answers[1]).abs().max())
    return made if far <= AGREED * float(answers[0].abs().max()) else classifier
