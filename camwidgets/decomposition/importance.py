"""How much each channel of each stage matters to one decision: gAP followed down through the strongest channels.

One gAP step says which channels of S5 carry the class; what they rest on at S4 is a question for each of them. The
thesis passes "the importance of each selected channel of the top layer on to the shallow ones" ([000] 5.3.1.7):

    I^L_k = Σ_yx A_k / |y_c|        I^l_k = Σ_j I^{l+1}_j · Σ_yx A^{(j)}_k / |Z_j|,   j over the strongest of stage l+1

Each j is decomposed at the place where it matters most (argmax of its own map, summed over what rests on it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ..classifiers.taps import Tap
from .gap import Contributions, Decision, Decomposer


@dataclass(frozen=True)
class Level:
    """One step of a decision followed down, "S5→S4" say.

    Attributes:
        step: its name. stage, tap: where the evidence lies. above: the tap of the decisions (None: the class).
        parts: the evidence of each decision of the step. whole: all of it weighed by the decisions' importances
            (value 1): `whole.share` is the importance I of each channel, `whole.attention.sum(0)` the map.
    """

    step: str
    stage: str
    tap: Tap
    above: Tap | None
    parts: list[Contributions]
    whole: Contributions


def follow(decomposer: Decomposer, beam: int) -> Iterator[Level]:
    """A class followed down stage by stage, deepest first, through the `beam` most important channels of each stage.

    A stage below which nothing is left to follow (no channel speaks for the class, or none is positive) yields a level
    without parts and without importance.
    """
    return _down(decomposer, lambda level: level.whole.top(beam))


def branch(decomposer: Decomposer, top: int) -> Iterator[Level]:
    """A class followed down through the `top` channels of every decomposition (those with α > 0): the whole tree, each
    of its channels decomposed once a stage.
    """
    return _down(decomposer, lambda level: sorted({k for part in level.parts for k in part.top(top)}))


def _down(decomposer: Decomposer, choice: Callable[[Level], list[int]]) -> Iterator[Level]:
    level: Level | None = None
    for stage, tap in list(decomposer.evidence.stages.items())[::-1]:
        if level is None:
            found = decomposer.of_class(tap)
            score = abs(found.value)
            worth = found.attention / score if score else torch.zeros_like(found.attention)
            level = Level(f"T→{stage}", stage, tap, None, [found], _whole(decomposer, tap, worth))
        else:
            level = _below(decomposer, level, stage, tap, choice(level))
        yield level


def _below(decomposer: Decomposer, upper: Level, stage: str, tap: Tap, chosen: list[int]) -> Level:
    importance = upper.whole.share
    decisions = [Decision(upper.tap, k, *upper.whole.position(k)) for k in chosen]
    parts, total = [], torch.zeros_like(decomposer.evidence.activations[tap][0])
    for k, found in zip(chosen, decomposer.of_features(decisions, upper.tap, tap), strict=True):
        if found.value <= 0 or found.dead:
            continue  # only a positive feature is a decision that can be supported
        parts.append(found)
        top, left = found.corner
        height, width = found.attention.shape[1:]
        total[:, top : top + height, left : left + width] += found.attention * (float(importance[k]) / found.value)
    return Level(f"{upper.stage}→{stage}", stage, tap, upper.tap, parts, _whole(decomposer, tap, total))


def _whole(decomposer: Decomposer, tap: Tap, worth: Tensor) -> Contributions:
    return Contributions(tap, None, 1.0, worth, worth, (0, 0), decomposer.before(tap))


def strongest(scores: Tensor, count: int) -> Tensor:
    """The `count` channels with the highest scores, highest first; of equals the one with the lower number."""
    return scores.argsort(descending=True, stable=True)[:count]


# -------------------------------------------------------------------------------------------- importances per stage


def propagated(decomposer: Decomposer, stages: Sequence[str], beam: int) -> dict[str, Tensor]:
    """Stage → K importances by `follow`."""
    return {level.stage: level.whole.share for level in follow(decomposer, beam) if level.stage in stages}


def path_conditioned(decomposer: Decomposer, stages: Sequence[str], beam: int) -> dict[str, Tensor]:
    """Stage → K parts of the class score that come by way of the `beam` strongest channels of each stage above.

    Like `propagated`, but each channel counts at all its places, not at its strongest one: the class's own gradient is
    cut to those channels and handed on (the path-conditioned tree, many paths at a time). With every channel in the
    beam this is `direct`.
    """
    evidence = decomposer.evidence
    names = list(evidence.stages)[::-1]
    A, g = evidence.at(names[0])
    attention = g[0] * A[0]
    found = {names[0]: attention.sum((1, 2))}
    for above, below in pairwise(names):
        chosen = strongest(found[above], beam)
        seed = torch.zeros_like(g[0])
        seed[chosen] = g[0][chosen]
        g, attentions = decomposer.along_path(seed[None], evidence.stages[above], evidence.stages[below])
        found[below] = attentions[0].sum((1, 2))
    return {stage: found[stage] for stage in stages}


def direct(decomposer: Decomposer, stages: Sequence[str]) -> dict[str, Tensor]:
    """Stage → K contributions of one gAP step from the class itself: α_k = mean_yx(∂y/∂A ⊙ A)."""
    return {stage: decomposer.of_class(decomposer.evidence.stages[stage]).alpha for stage in stages}


def by_chance(decomposer: Decomposer, stages: Sequence[str], generator: torch.Generator) -> dict[str, Tensor]:
    """Stage → K numbers out of a hat: what any ranking must beat."""
    taps = decomposer.evidence.stages
    return {stage: torch.rand(taps[stage].channels, generator=generator) for stage in stages}
