"""Is it true? Predicted contributions against what really happens when each channel is removed ([000] 5.3.1.1)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from ..classifiers.classifier import Classifier, Target
from ..classifiers.given import check_classifier
from ..classifiers.taps import Tap
from ..evidence import Evidence, capture
from ..images import ImageSource
from .gap import CHUNK_BYTES, Contributions, Decision, Decomposer
from .segment import Segment
from .sets import check_decisions, check_removal
from .windows import windows

if TYPE_CHECKING:
    import pandas as pd

Removal = Literal["zero", "mean"]


def fidelity(
    classifier: Classifier,
    image: ImageSource,
    target: Target = None,
    removal: Removal = "zero",
    *,
    means: Mapping[Any, Tensor] | None = None,
    decisions: int = 1,
) -> pd.DataFrame:
    """How well α predicts the true change of a decision when channels are removed one at a time.

    For each step (class → deepest stage, … → shallowest) the strongest decisions of the step before are decomposed, and
    for every channel k of the tap below the decision is computed again with that channel removed:
    truth_k = Z − Z(without k). Correlated with three ways to weigh a channel: the mean of A (5.4, "pearson"), its
    maximum, and the mean gradient; the paper's table 5.1 compares the same.

    Args:
        removal: "zero" sets the channel to 0; "mean" to its mean over a data set (`means`: tap → K for the
            tap of every stage; see `channel_means`), as in the paper. (Its mean over this picture would change
            nothing after average pooling.)
        decisions: how many decisions of each step are taken and averaged, at least 1.
    Returns:
        A pandas table, one row per step, indexed "T→S5", "S5→S4" …: `pearson`, `spearman` (5.4 against truth),
        `pearson_max`, `pearson_gradient`, `completeness`, `channels`, `seconds_gap` (one backward pass for all
        channels), `seconds_removal` (one forward pass per channel), `removal`.
    Raises:
        ValueError: an unknown removal, no means or means that lack a stage's tap, no decisions, several pictures or
            targets, a callable target.

    Example:
        >>> import camwidgets
        >>> net = camwidgets.load("toy")
        >>> scene = camwidgets.datasets.toyworld.ToyWorld(seed=1, n=1)[0]
        >>> bool(fidelity(net, scene.image)["pearson"].iloc[0] > 0.9)
        True
    """
    import pandas as pd

    count = check_decisions(decisions)
    check_classifier(classifier, "fidelity")
    fills = check_removal(removal, means, classifier.select("stages").values())
    evidence = capture(classifier, image, target)
    if not isinstance(evidence, Evidence) or len(evidence) != 1:
        raise ValueError("fidelity takes one picture and one target")
    if not isinstance(evidence.targets[0], int):
        raise ValueError("fidelity needs a class as its target, not a callable")
    rows = _steps(Decomposer(evidence), fills or {}, count)
    return pd.DataFrame(rows).set_index("step").assign(removal=removal)


def channel_means(classifier: Classifier, pictures: Sequence[ImageSource]) -> dict[str, Tensor]:
    """Mean activation of every channel of every stage over a set of pictures: tap → K.

    Each item is a picture or a batch of them; every picture counts the same.
    """
    from ..evidence import record

    if not pictures:
        raise ValueError("no picture was given to take means over")
    totals: dict[str, Tensor] = {}
    count = 0
    for picture in pictures:
        with record(classifier, picture) as recording:
            count += len(recording.x)
            for tap, A in recording.activations.items():
                totals[tap] = totals.get(tap, torch.zeros(())) + A.mean((2, 3)).sum(0)
    return {tap: total / count for tap, total in totals.items()}


def true_changes(
    decomposer: Decomposer, decision: Decision | None, upper: Tap | None, lower: Tap, means: Mapping[Any, Tensor]
) -> Tensor:
    """Z − Z(without k) for every channel k of `lower`, each computed by running the network between the taps again.

    `means` (tap → K) are put in place of a channel; none at all: zero.
    """
    A = decomposer.evidence.activations[lower][0]
    fill = check_removal("mean", means, [lower])[lower] if means else None  # type: ignore[index]
    read, values = _reader(decomposer, decision, upper, lower, A)
    segment = Segment.of(decomposer.evidence, lower, upper)
    chunk = max(1, CHUNK_BYTES // (4 * 4 * values.numel()))
    with torch.inference_mode(False), torch.no_grad():
        whole = read(segment.run(values[None]))
        found = []
        for start in range(0, len(values), chunk):
            some = range(start, min(start + chunk, len(values)))
            batch = values.repeat(len(some), 1, 1, 1)
            for i, k in enumerate(some):
                batch[i, k] = 0.0 if fill is None else fill[k]
            found.append(read(segment.run(batch)))
    return whole - torch.cat(found)


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson's correlation; 0 when one of the two does not vary."""
    a, b = a.double() - a.double().mean(), b.double() - b.double().mean()
    below = float(a.norm() * b.norm())
    return float((a * b).sum()) / below if below > 0 else 0.0


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Spearman's correlation: Pearson's of the ranks, ties sharing their mean rank."""
    from scipy.stats import rankdata

    ranks = [torch.from_numpy(rankdata(v.double().cpu().numpy())) for v in (a, b)]
    return correlation(*ranks)


def _reader(
    decomposer: Decomposer, decision: Decision | None, upper: Tap | None, lower: Tap, A: Tensor
) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """How the decision is read from a segment's result, and the values (whole map or window) to run it on."""
    if decision is None or upper is None:
        target = decomposer.evidence.targets[0]
        return (lambda out: out[:, int(target)]), A
    geometry = windows(decomposer.sized(lower), decomposer.sized(upper))
    (tested,) = decomposer.of_features([decision], upper, lower)
    if geometry.whole or tested.attention.shape[1:] == A.shape[1:]:
        return (lambda out: out[:, decision.channel, decision.y, decision.x]), A
    top, left = tested.corner
    y, x = geometry.inside(decision.y, decision.x)
    height, width = tested.attention.shape[1:]
    return (lambda out: out[:, decision.channel, y, x]), A[:, top : top + height, left : left + width]


def _steps(decomposer: Decomposer, means: Mapping[Any, Tensor], count: int) -> list[dict[str, Any]]:
    stages = list(decomposer.evidence.stages.items())[::-1]
    rows = []
    found = [(None, decomposer.of_class(stages[0][1]))]
    above: tuple[str, Tap | None] = ("T", None)
    for i, (name, lower) in enumerate(stages):
        if i > 0:
            wanted = _strongest(found[0][1] if i == 1 else max((c for _, c in found), key=lambda c: c.value), count)
            assert above[1] is not None
            found = [(d, _timed_step(decomposer, d, above[1], lower)) for d in wanted]  # type: ignore[misc]
        if not found:
            break
        each = [_compare(decomposer, d, above[1], lower, c, means) for d, c in found]
        mean = {key: sum(row[key] for row in each) / len(each) for key in each[0]}
        rows.append({"step": f"{above[0]}→{name}", "channels": lower.channels, **mean})
        above = (name, lower)
    return rows


def _timed_step(decomposer: Decomposer, decision: Decision, upper: Tap, lower: Tap) -> Contributions:
    return decomposer.of_features([decision], upper, lower)[0]


def _strongest(found: Contributions, count: int) -> list[Decision]:
    return [Decision(found.tap, k, *found.position(k)) for k in found.top(count)]


def _compare(
    decomposer: Decomposer,
    decision: Decision | None,
    upper: Tap | None,
    lower: Tap,
    found: Contributions,
    means: Mapping[Any, Tensor],
) -> dict[str, float]:
    clock = time.perf_counter()
    if decision is None or upper is None:
        capture(decomposer.classifier, decomposer.evidence.x, decomposer.evidence.targets[0], [lower])
    else:
        decomposer.of_features([decision], upper, lower)
    gap = time.perf_counter() - clock
    clock = time.perf_counter()
    truth = true_changes(decomposer, decision, upper, lower, means)
    removal = time.perf_counter() - clock
    return {
        "pearson": correlation(found.alpha, truth),
        "spearman": rank_correlation(found.alpha, truth),
        "pearson_max": correlation(found.attention.amax((1, 2)), truth),
        "pearson_gradient": correlation(found.gradient.mean((1, 2)), truth),
        "completeness": found.completeness,
        "seconds_gap": gap,
        "seconds_removal": removal,
    }
