"""Removal curves ([000] 5.3.1.7, figure 5.9): whose most important channels does the network miss most?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..classifiers.classifier import Classifier
from ..classifiers.given import check_classifier
from ..errors import choose
from ..evidence import Evidence, record
from ..images import ImageSource
from .gap import Decomposer
from .importance import by_chance, direct, path_conditioned, propagated, strongest
from .neighbours import conductance, internal_influence, relevance
from .segment import Segment
from .sets import Progress, check_counts, check_labels, check_pictures, check_removal, doubling, one_picture
from .surrogates import keeping

if TYPE_CHECKING:
    import pandas as pd

ROWS = 16  # networks with other channels removed in one batch
BEAM = 16  # channels of a stage through which gAP is followed to the next
Ranker = Callable[[Decomposer, Sequence[str]], dict[str, Tensor]]
RANKINGS = ("gap", "path", "gradient", "conductance", "influence", "lrp", "random")


def removal_curve(
    classifier: Classifier,
    pictures: Sequence[ImageSource],
    labels: Sequence[int | str] | None = None,
    counts: Iterable[int] | None = None,
    *,
    stages: str | Iterable[str] = "stages",
    rankings: Sequence[str] = RANKINGS,
    removal: str = "zero",
    means: Mapping[Any, Tensor] | None = None,
    beam: int = BEAM,
    steps: int = 16,
    seed: int = 0,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Remove the N channels of a stage that a ranking calls most important, picture by picture, and predict again.

    Every ranking explains the class that the untouched network predicts. Lower curves are better rankings.

    Args:
        labels: the true class of each picture, for the accuracy.
        counts: the N; None = 1, 2, 4 … up to half of each stage's channels.
        stages: at which stages ("stages" = all), one at a time.
        rankings: of "gap" (`importance.follow`, the thesis' rule), "gradient" (one gAP step straight from the class:
            mean of gradient × activation), "path" (between the two: through the same channels, at all their places),
            "conductance" and "influence" (captum's LayerConductance and
            InternalInfluence from a black-level baseline of zeros, summed over places), "lrp" (zennit's
            EpsilonPlusFlat, summed over places), "random".
        removal: "zero", or "mean" with `means` (tap → K, see `channel_means`).
        beam: through how many channels of each stage "gap" and "path" are followed. steps: of captum's integrals.
        seed: of "random". progress: `progress(done, total)` after each picture; whatever it raises ends the work.
    Returns:
        One row for each stage, ranking and N, N = 0 (untouched) included: `stage`, `ranking`, `removed` (N),
        `accuracy` (NaN without labels), `match` (share of pictures that keep their prediction), `probability` (mean
        softmax of the class that was predicted untouched), `pictures`.
    Raises:
        ValueError: no pictures, labels of another length, N beyond a stage's channels, unknown names, no means, a tap
            that a neighbour cannot see. ImportError: captum or zennit is not installed.

    Example:
        >>> import camwidgets
        >>> from camwidgets.datasets.toyworld import ToyWorld
        >>> scenes = [scene.image for scene in ToyWorld(seed=1, n=2)]
        >>> table = removal_curve(camwidgets.load("toy"), scenes, counts=[8], stages="S5", rankings=["gap", "random"])
        >>> p = table[table["removed"] == 8].set_index("ranking")["probability"]
        >>> bool(p["gap"] < p["random"])
        True
    """
    import pandas as pd

    check_classifier(classifier, "removal_curve")
    count, taps = check_pictures(pictures), classifier.select(stages)
    for name in taps:
        choose("stage", name, classifier.stages)
    true = check_labels(classifier, labels, count)
    asked = [choose("ranking", name, RANKINGS) for name in ([rankings] if isinstance(rankings, str) else rankings)]
    if not asked:
        raise ValueError(f"no ranking was given; valid: {', '.join(RANKINGS)}")
    if beam < 1 or steps < 1:
        raise ValueError(f"beam and steps are at least 1; got beam={beam}, steps={steps}")
    fills = check_removal(removal, means, taps.values())
    given = None if counts is None else list(counts)
    numbers = {}
    for stage, tap in taps.items():
        wanted = doubling(max(1, tap.channels // 2)) if given is None else given
        numbers[stage] = check_counts("count", wanted, tap.channels, f"{stage} ({tap})")
    rankers = {name: _ranker(name, classifier, beam, steps, seed) for name in asked}
    totals: dict[tuple[str, str, int], Tensor] = {}
    for i in range(count):
        with record(classifier, pictures[i]) as recording:
            decomposer = Decomposer(one_picture(recording).evidence(last=True))
        segments = {stage: Segment.of(decomposer.evidence, tap, None) for stage, tap in taps.items()}
        label = None if true is None else true[i]
        for name, rank in rankers.items():
            scores = rank(decomposer, list(taps))
            for stage in taps:
                of = stage, name
                _add(totals, decomposer.evidence, segments[stage], of, scores[stage], numbers[stage], fills, label)
        if progress is not None:
            progress(i + 1, count)
    rows = [dict(zip(("stage", "ranking", "removed"), key, strict=True))
            | dict(zip(("accuracy", "match", "probability"), (total / count).tolist(), strict=True))
            for key, total in totals.items()]  # fmt: skip
    return pd.DataFrame(rows).assign(removal=removal, pictures=count)


def _ranker(name: str, classifier: Classifier, beam: int, steps: int, seed: int) -> Ranker:
    makers: dict[str, Callable[[], Ranker]] = {
        "gap": lambda: partial(propagated, beam=beam),
        "path": lambda: partial(path_conditioned, beam=beam),
        "gradient": lambda: direct,
        "conductance": lambda: conductance(classifier, steps),
        "influence": lambda: internal_influence(classifier, steps),
        "lrp": lambda: relevance(classifier),
        "random": lambda: partial(by_chance, generator=torch.Generator().manual_seed(seed)),
    }
    return makers[name]()


def _add(
    totals: dict[tuple[str, str, int], Tensor], evidence: Evidence, segment: Segment, of: tuple[str, str],
    scores: Tensor, numbers: list[int], fills: Mapping[Any, Tensor] | None, true: int | None,
) -> None:  # fmt: skip
    """Add one picture's [right, same, probability] to each N's totals of a (stage, ranking)."""
    tap, target = segment.lower, int(evidence.targets[0])
    gone = strongest(scores.to(evidence.x.device), numbers[-1])
    mask = torch.ones(len(numbers), tap.channels, dtype=torch.bool, device=evidence.x.device)
    for row, n in enumerate(numbers):
        mask[row, gone[:n]] = False
    A, logits = evidence.activations[tap], [evidence.logits]
    with torch.inference_mode(False), torch.no_grad():
        for some in mask.split(ROWS):
            logits.append(segment.run(keeping(some, None if fills is None else fills[tap])(A)))
    for n, row in zip([0, *numbers], torch.cat(logits).double(), strict=True):
        guess = int(row.argmax())
        right = float("nan") if true is None else float(guess == true)
        found = torch.tensor([right, guess == target, float(row.softmax(0)[target])], dtype=torch.float64)
        totals[(*of, n)] = totals.get((*of, n), torch.zeros(3, dtype=torch.float64)) + found
