"""Which channels are to blame: they speak for the class a picture was taken for, and not for its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from ..classifiers.classifier import Classifier
from ..classifiers.given import check_classifier
from ..errors import plain
from ..evidence import record
from ..images import ImageSource


@dataclass(frozen=True)
class Blame:
    """What one channel does for a wrong class and against the right one.

    Attributes:
        stage, tap, channel: which. taken, own: what it contributes to the logit of the class the picture was taken for,
            and of its own class: Σ_yx g_k·A_k each.
        share: (taken − own) / (margin of the two logits); NaN where they are equal.
        y, x: where in the tap most of the difference lies. evidence: h×w, A_k·(g_k of taken − g_k of own).
    """

    stage: str
    tap: str
    channel: int
    taken: float
    own: float
    share: float
    y: int
    x: int
    evidence: np.ndarray = field(repr=False, compare=False)

    @property
    def difference(self) -> float:
        """taken − own: what the margin between the classes loses, to first order, without this channel."""
        return self.taken - self.own

    def __str__(self) -> str:
        return f"{self.stage} #{self.channel}: {self.taken:+.2f} for it, {self.own:+.2f} for its own class"


def blame(
    classifier: Classifier,
    image: ImageSource,
    taken: int | str,
    own: int | str,
    taps: str | Iterable[str] = "stages",
    count: int = 12,
) -> dict[str, list[Blame]]:
    r"""The channels that speak most for one class and least for another: stage → at most `count`, the worst first.

    With the margin m = z_taken − z_own between two logits, a channel's blame is gradient × activation of m,

        b_k = Σ_yx A_k · ∂m/∂A_k = Σ_yx A_k · (∂z_taken/∂A_k − ∂z_own/∂A_k),

    which is what m loses, to first order, when the channel is set to zero (the contributions of [000] 5.2, taken of a
    difference). It is exact where everything behind the tap is linear; elsewhere switch the channel off and look
    (`Edits.switch_off`). Stages are not added up: a deep channel's blame is that of the shallow ones it rests on.

    Args:
        image: one picture, or a preprocessed 1×3×H×W tensor. taken, own: class index or label. taps: which stages.
    Raises:
        ValueError: unknown class or tap, twice the same class, several pictures, count < 1.

    Example:
        >>> import camwidgets
        >>> net, cat = camwidgets.load("toy"), camwidgets.samples.picture("cat")
        >>> [found] = blame(net, cat, "dog", "cat", "S5", count=1)["S5"]
        >>> found.difference > 0
        True
    """
    check_classifier(classifier, "blame")
    a, b = classifier.index(taken), classifier.index(own)
    if a == b:
        raise ValueError(f"two different classes are compared; got {classifier.labels[a]!r} twice")
    count = plain(count)
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"count is a whole number, at least 1; got {count!r}")
    with record(classifier, image, taps) as recording:
        if len(recording.x) != 1:
            raise ValueError(f"one picture is looked at at a time; got a batch of {len(recording.x)}")
        for_taken, for_own = recording.evidence(a), recording.evidence(b, last=True)
    margin = float(recording.logits[0, a] - recording.logits[0, b])
    found: dict[str, list[Blame]] = {}
    for stage, tap in recording.stages.items():
        A = recording.activations[tap][0]
        g_taken, g_own = for_taken.gradients[tap][0], for_own.gradients[tap][0]
        difference = (A * (g_taken - g_own)).flatten(1).sum(1)
        found[stage] = []
        for k in difference.argsort(descending=True, stable=True)[:count].tolist():
            evidence = (A[k] * (g_taken[k] - g_own[k])).float().cpu().numpy()
            y, x = divmod(int(evidence.argmax()), evidence.shape[1])
            parts = float((A[k] * g_taken[k]).sum()), float((A[k] * g_own[k]).sum())
            share = (parts[0] - parts[1]) / margin if margin else float("nan")
            found[stage].append(Blame(stage, str(tap), k, *parts, share, y, x, evidence))
    return found
