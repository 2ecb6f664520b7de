"""A sweep seen from the class that wins: its probability, its maps, and its channels, chosen before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..classifiers.classifier import Target
from ..decomposition.sets import Progress
from ..errors import choose
from ..evidence import capture
from .peaks import order_of, responses
from .sweep import Frame, Sweep, stage_maps

if TYPE_CHECKING:
    import pandas as pd

CHOSEN = ("clean", "attacked")  # the picture in which the class' top channels are looked for


@dataclass(frozen=True)
class Rival:
    """The wrong class of a sweep, and other things that are followed over its ε.

    Attributes:
        target, label: the wrong class. probabilities: of it, one for each ε. maps: for each ε, stage → h×w LayerCAM map
            of this class, raw. top_maps: the same for the class that the network sees at that ε.
        channels: the wrong class' top channels at the sweep's stage, chosen in the clean picture and in the one
            attacked hardest: {"clean", "attacked"} → numbers. peaks: the same names → for each ε their peak responses.
            The two differ, and only the first is a prediction: whatever is chosen for being large in the attacked
            picture is smaller in the clean one, whether or not the attack "used" it (see `Peaks`).
        responses: (stage, channel) → ε×h×w responses F (see `peaks.responses`) of the channels that were asked for.
    """

    target: int
    label: str
    probabilities: tuple[float, ...]
    maps: tuple[dict[str, np.ndarray], ...] = field(repr=False)
    top_maps: tuple[dict[str, np.ndarray], ...] = field(repr=False)
    channels: dict[str, tuple[int, ...]]
    peaks: dict[str, tuple[tuple[float, ...], ...]] = field(repr=False)
    responses: dict[tuple[str, int], np.ndarray] = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """One row per way of choosing and channel: `chosen`, `rank`, `channel`, `clean`, `attacked`, `change`."""
        import pandas as pd

        rows = []
        for how in CHOSEN:
            for i, k in enumerate(self.channels[how]):
                a, b = self.peaks[how][0][i], self.peaks[how][-1][i]
                row = {"chosen": how, "rank": i + 1, "channel": k, "clean": a, "attacked": b, "change": b - a}
                rows.append(row)
        return pd.DataFrame(rows)


def wrong_class(found: Sweep) -> int:
    """The class that wins: the target of a targeted attack; else what the picture is taken for where it first flips;
    where it never does, the most probable other class at the largest ε."""
    last = found.frames[-1]
    if last.attack.targeted and last.attack.classes[0] != found.target:
        return last.attack.classes[0]
    flipped = (f for f in found.frames if f.predictions[0].index != found.target)
    return next(one.index for one in next(flipped, last).predictions if one.index != found.target)


def rival(
    found: Sweep,
    wrong: Target = None,
    *,
    channels: Mapping[str, Sequence[int]] | None = None,
    progress: Progress | None = None,
) -> Rival:
    """The wrong class over a sweep: one more pass at each ε (two where the network sees a third class).

    Args:
        wrong: the class; None = see `wrong_class`. channels: stage → channels whose responses are kept, or None.
        progress: `progress(done, total)` after each ε; whatever it raises ends the work.
    Raises:
        ValueError: a class, stage or channel that is none.

    Example:
        >>> import camwidgets
        >>> from camwidgets.investigate import sweep
        >>> net, cat = camwidgets.load("efficientnet_lite0"), camwidgets.samples.picture("cat")
        >>> other = rival(sweep(net, cat, [2 / 255], steps=5))
        >>> other.probabilities[0] < other.probabilities[-1], sorted(other.channels)
        (True, ['attacked', 'clean'])
    """
    classifier = found.frames[0].attack.classifier
    target = wrong_class(found) if wrong is None else classifier.index(wrong)
    seen: list[_Seen] = []
    for i, frame in enumerate(found.frames):
        seen.append(_look(found, frame, target, channels or {}))
        if progress is not None:
            progress(i + 1, len(found.frames))
    chosen = {how: tuple(seen[at].order[: found.top]) for how, at in zip(CHOSEN, (0, -1), strict=True)}
    peaks = {how: tuple(tuple(one.peaks[k] for k in ks) for one in seen) for how, ks in chosen.items()}
    kept = {key: np.stack([one.responses[key] for one in seen]) for key in seen[0].responses}
    return Rival(
        target, classifier.labels[target], tuple(one.probability for one in seen), tuple(one.maps for one in seen),
        tuple(one.top_maps for one in seen), chosen, peaks, kept,
    )  # fmt: skip


@dataclass(frozen=True)
class _Seen:
    """One ε."""

    probability: float
    order: list[int]
    peaks: list[float]
    maps: dict[str, np.ndarray]
    top_maps: dict[str, np.ndarray]
    responses: dict[tuple[str, int], np.ndarray]


def _look(found: Sweep, frame: Frame, target: int, channels: Mapping[str, Sequence[int]]) -> _Seen:
    classifier, x = frame.attack.classifier, frame.attack.adversarial
    evidence = capture(classifier, x, target)
    maps, top = stage_maps(evidence), frame.predictions[0].index
    kept = {}
    for stage in channels:
        F = responses(evidence, choose("stage", stage, evidence.stages))
        for k in channels[stage]:
            if not 0 <= k < len(F):
                raise ValueError(f"{stage} has the channels 0 … {len(F) - 1}; got {k!r}")
            kept[stage, k] = F[k].float().cpu().numpy()
    if top in (found.target, target):
        top_maps = maps if top == target else frame.maps
    else:
        top_maps = stage_maps(capture(classifier, x, top))
    peaks = responses(evidence, found.stage).amax((1, 2)).tolist()
    order = order_of(evidence, found.stage).tolist()
    return _Seen(float(evidence.probabilities[0, target]), order, peaks, maps, top_maps, kept)
