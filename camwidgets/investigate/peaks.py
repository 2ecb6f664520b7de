"""What an attack does to the channels that carry a decision: peak responses ([000] 5.3.2.2, figure 5.12)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..classifiers.classifier import Classifier, Target
from ..decomposition.segment import read_before
from ..decomposition.sets import Progress
from ..errors import plain
from ..evidence import Evidence, capture
from .adversarial import BATCH, Attack, attack
from .samples import by_shape, samples_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Peaks:
    """Peak responses of two classes' top channels, before and after an attack ([000] figure 5.12 b).

    A peak response is max_yx F_k; where an activation clips (ReLU6), F is the value before the clip, never below 0.

    Attributes:
        stage, tap: where. true, wrong: class indices. true_label, wrong_label.
        true_channels: the true class' top channels in the clean picture. wrong_channels: the wrong class' top channels
            in the attacked picture. Each is thus chosen where its class was decided for, as in the thesis; part of a
            fall or rise is that choice: whatever is chosen for being large in one picture is smaller in another.
            Measured with EfficientNet-Lite0 on 23 photographs: the wrong class' top channels of the *clean* picture do
            not rise (−1.1 ± 0.7), those of the attacked one do (about +8): an attack finds channels of its own.
        true_clean, true_attacked, wrong_clean, wrong_attacked: a response for each channel.
    """

    stage: str
    tap: str
    true: int
    wrong: int
    true_label: str
    wrong_label: str
    true_channels: tuple[int, ...]
    wrong_channels: tuple[int, ...]
    true_clean: tuple[float, ...]
    true_attacked: tuple[float, ...]
    wrong_clean: tuple[float, ...]
    wrong_attacked: tuple[float, ...]

    def to_frame(self) -> pd.DataFrame:
        """One row per channel: `class`, `of` ("true", "wrong"), `rank`, `channel`, `clean`, `attacked`, `change`."""
        import pandas as pd

        rows = []
        for of in ("true", "wrong"):
            values = (getattr(self, f"{of}_{what}") for what in ("channels", "clean", "attacked"))
            for rank, (k, clean, attacked) in enumerate(zip(*values, strict=True), 1):
                rows.append({"class": getattr(self, f"{of}_label"), "of": of, "rank": rank, "channel": k,
                             "clean": clean, "attacked": attacked, "change": attacked - clean})  # fmt: skip
        return pd.DataFrame(rows)


def peaks(found: Attack, i: int = 0, *, wrong: Target = None, top: int = 4, stage: str | None = None) -> Peaks:
    """Peak responses of the true and the wrong class' top channels of picture i of an attack, clean and attacked.

    Args:
        wrong: the other class; None = what the attacked picture is taken for (of an attack that failed: the second
            most probable class). top: channels of each. stage: None = the deepest.

    Example:
        >>> import camwidgets
        >>> found = attack(camwidgets.load("efficientnet_lite0"), camwidgets.samples.picture("cat"), steps=5)
        >>> table = peaks(found).to_frame().groupby("of")["change"].mean()
        >>> bool(table["true"] < 0 < table["wrong"])
        True
    """
    classifier = found.classifier
    true = found.before[i][0].index if found.targeted else found.classes[i]
    others = [one.index for one in found.after[i] if one.index != true]
    other = others[0] if wrong is None else classifier.index(wrong)
    name = stage or list(classifier.select("stages"))[-1]
    clean = capture(classifier, found.clean[i : i + 1], true, name)
    attacked = capture(classifier, found.adversarial[i : i + 1], other, name)
    tap = clean.stages[next(iter(clean.stages))]
    chosen = [top_channels(one, name, top) for one in (clean, attacked)]
    F = [peak_responses(one, name) for one in (clean, attacked)]
    responses = [tuple(map(float, F[j][k])) for k in chosen for j in (0, 1)]
    labels = classifier.labels
    ks = [tuple(map(int, k)) for k in chosen]
    return Peaks(next(iter(clean.stages)), str(tap), true, other, labels[true], labels[other], *ks, *responses)


def order_of(evidence: Evidence, stage: str) -> Tensor:
    """Channels of a stage, the strongest contribution (5.4) first."""
    A, g = evidence.at(stage)
    return (A * g)[0].mean((1, 2)).argsort(descending=True, stable=True)


def top_channels(evidence: Evidence, stage: str, top: int) -> Tensor:
    """The first `top` of `order_of`; ValueError if the stage has not so many."""
    order, top = order_of(evidence, stage), plain(top)
    if isinstance(top, bool) or not isinstance(top, int) or not 1 <= top <= len(order):
        raise ValueError(f"top is a number of channels, 1 … {len(order)} at {stage}; got {top!r}")
    return order[:top]


def peak_responses(evidence: Evidence, name: str) -> Tensor:
    """K peak responses max_yx F_k of one picture at a stage; F as in `responses`."""
    return responses(evidence, name).amax((1, 2))


def responses(evidence: Evidence, name: str) -> Tensor:
    """K×h×w responses F of one picture at a stage.

    Of an activation that clips (ReLU6), F is max(0, value before it): at 6 every strong channel would look the same.
    """
    tap = evidence.stages[next(s for s, t in evidence.stages.items() if name in (s, t))]
    before = read_before(evidence.classifier, evidence.x, [tap]).get(tap) if tap.clipped else None
    return evidence.at(name)[0][0] if before is None else before.clamp(min=0)


@dataclass(frozen=True)
class MeanPeaks:
    """Means of peak responses by rank over a data set ([000] figure 5.12 c).

    Attributes:
        stage: where. looked: pictures attacked; right: of these, given their label before; broken: of those, no longer
            so afterwards. The means are over the broken ones, `used` (right ones that were not broken have no wrong
            class). clean, attacked: {"true", "wrong"} → means by rank. deviation: {"true", "wrong"} → the standard
            error of the mean change by rank. unreadable: name → why a picture could not be read, and was left out.
    """

    stage: str
    looked: int
    right: int
    broken: int
    clean: dict[str, tuple[float, ...]]
    attacked: dict[str, tuple[float, ...]]
    deviation: dict[str, tuple[float, ...]]
    unreadable: dict[str, str] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Share of the rightly classified pictures that the attack broke; NaN if none was right."""
        return self.broken / self.right if self.right else float("nan")

    def to_frame(self) -> pd.DataFrame:
        """One row per class and rank: `of`, `rank`, `clean`, `attacked`, `change`, `error` (standard error)."""
        import pandas as pd

        rows = [
            {"of": of, "rank": r + 1, "clean": c, "attacked": a, "change": a - c, "error": self.deviation[of][r]}
            for of in self.clean
            for r, (c, a) in enumerate(zip(self.clean[of], self.attacked[of], strict=True))
        ]
        return pd.DataFrame(rows)


def mean_peaks(
    classifier: Classifier,
    dataset: Sequence[Any],
    *,
    top: int = 4,
    stage: str | None = None,
    progress: Progress | None = None,
    **how: Any,
) -> MeanPeaks:
    """Attack every rightly classified picture of a data set; the means of `peaks` over those that break.

    Args:
        dataset: items with a label (see `failures`). how: as for `attack` (eps, norm, steps, seed, method …).
        progress: `progress(done, total)` after each few pictures; whatever it raises ends the work.
    Raises:
        ValueError: no picture is classified rightly, or the attack breaks none.

    Example:
        >>> import camwidgets
        >>> from camwidgets.datasets.toyworld import ToyWorld
        >>> means = mean_peaks(camwidgets.load("toy"), ToyWorld(seed=3, n=8), steps=5)
        >>> bool(means.to_frame().groupby("of")["change"].mean()["wrong"] > 0)
        True
    """
    if how.keys() & {"target", "targeted"}:
        raise TypeError("mean_peaks moves each picture away from its own class: target and targeted cannot be given")
    found: list[Peaks] = []
    looked = right = broken = 0
    unreadable: dict[str, str] = {}
    for done, part, labels in batches(classifier, dataset, unreadable):
        looked += len(labels)
        one = attack(classifier, part, labels, **how)
        sure = [i for i, y in enumerate(labels) if one.before[i][0].index == y]
        hit = [i for i in sure if one.success[i]]
        right, broken = right + len(sure), broken + len(hit)
        found += [peaks(one, i, top=top, stage=stage) for i in hit]
        if progress is not None:
            progress(done, len(dataset))
    if not looked:
        name, why = next(iter(unreadable.items()))
        raise ValueError(f"none of the {len(dataset)} pictures could be read; the first, {name!r}: {why}")
    if not found:
        raise ValueError(
            f"of {looked} pictures {right} were classified rightly and the attack broke {broken}: there is nothing to "
            f"average; a larger ε breaks more"
        )
    values = {
        of: {w: np.array([getattr(one, f"{of}_{w}") for one in found]) for w in ("clean", "attacked")}
        for of in ("true", "wrong")
    }
    means = {w: {of: tuple(values[of][w].mean(0).tolist()) for of in values} for w in ("clean", "attacked")}
    error = {of: _error(v["attacked"] - v["clean"]) for of, v in values.items()}
    return MeanPeaks(found[0].stage, looked, right, broken, means["clean"], means["attacked"], error, unreadable)


def _error(changes: np.ndarray) -> tuple[float, ...]:
    n = len(changes)
    return tuple((changes.std(0, ddof=1) / n**0.5).tolist()) if n > 1 else (float("nan"),) * changes.shape[1]


def batches(
    classifier: Classifier, dataset: Sequence[Any], broken: dict[str, str]
) -> Iterator[tuple[int, Tensor, list[int]]]:
    """How many items have been looked at, and a few pictures of one size with their labels; `broken` as for `read`."""
    samples = samples_of(classifier, dataset)
    for start in range(0, len(samples), BATCH):
        end = min(start + BATCH, len(samples))
        for part in by_shape(samples.read(range(start, end), broken)):
            yield end, torch.cat([x for *_, x in part]), [one.label for _, one, _ in part]
