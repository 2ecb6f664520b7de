"""Removal: what really happens to a decision when channels are taken out, beside what was predicted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..catcher import Catcher
from ..classifiers.classifier import Classifier
from ..classifiers.guards import undisturbed
from ..classifiers.taps import Tap
from ..errors import choose, unknown
from ..evidence import Evidence
from .gap import Decomposer
from .segment import Segment
from .sets import whole_number
from .tree import Decomposition, Node, decision_of

REMOVALS = ("zero", "mean")
Which = Node | int | tuple[str, int]
Edit = Callable[[Tensor], Tensor]  # N×K×h×w activations to what stands in their place


@dataclass(frozen=True)
class Change:
    """How one decision changes when one channel is removed: `predicted` to first order, and `real`.

    `node` is the tree's node that was removed, `decision` its parent in words ("S5 #112", or the class label).
    """

    node: int
    decision: str
    value: float
    predicted: float
    real: float


@dataclass(frozen=True)
class Ablation:
    """What removing channels does.

    Attributes:
        channels: stage → channels that were removed, all of them in one forward pass. removal: "zero" or "mean".
        target, label: the class. score, score_after: its logit. probability, probability_after.
        predicted: Σ_k Σ_yx g_k·(fill − A_k) over what was removed, from the class's own gradients: first order, so a
            channel and what it rests on count twice.
        logits: C logits without the channels. changes: for each node given, the change of its parent's own decision
            when that node's channel alone is removed (none in path-conditioned trees, whose parents are no decisions).
    """

    channels: dict[str, tuple[int, ...]]
    removal: str
    target: int
    label: str
    score: float
    score_after: float
    probability: float
    probability_after: float
    predicted: float
    logits: Tensor
    changes: tuple[Change, ...] = ()

    @property
    def real(self) -> float:
        """Change of the class score."""
        return self.score_after - self.score

    def __str__(self) -> str:
        names = ", ".join(f"{stage} #{k}" for stage, ks in self.channels.items() for k in ks)
        how = "set to zero" if self.removal == "zero" else "set to their data-set means"
        return (
            f"{names} {how}: {self.label!r} {self.score:.2f} → {self.score_after:.2f} "
            f"(predicted {self.predicted:+.2f}, real {self.real:+.2f}), "
            f"{self.probability:.1%} → {self.probability_after:.1%}"
        )


def ablate(
    source: Decomposition | Decomposer | Evidence,
    which: Which | Iterable[Which],
    removal: str = "zero",
    *,
    means: Mapping[Any, Tensor] | None = None,
) -> Ablation:
    """Remove whole channels and run the network again: the predicted change beside the real one.

    Args:
        source: a tree (with its classifier), or the evidence of one picture and class.
        which: one of, or a list of: a node of the tree, its id, or (stage or tap, channel). A tuple is always such a
            pair. All are removed together in one forward pass, at as many taps as they lie at.
        removal: "zero", or "mean": `means` (tap → K, see `channel_means`) are put in place of the channels.
    Raises:
        ValueError: unknown tap, stage or node, a channel out of range, a tuple that is no pair, the class itself,
            no means.

    Example:
        >>> import camwidgets
        >>> classifier = camwidgets.load("efficientnet_lite0")
        >>> tree = camwidgets.decompose(classifier, camwidgets.samples.picture("cat"), depth=1)
        >>> ablate(tree, 1).real < 0
        True
    """
    decomposer = _decomposer(source)
    evidence = decomposer.evidence
    choose("removal", removal, REMOVALS)
    if removal == "mean" and not means:
        raise ValueError("removal='mean' needs the channels' means over a data set: means=channel_means(…)")
    if not isinstance(evidence.targets[0], int):
        raise ValueError("removal is measured on a class; this evidence is for a callable target")
    given: list[Any] = list(which) if _several(which) else [which]  # type: ignore[arg-type]
    if not given:
        raise ValueError("nothing was named to remove: give nodes, or (stage, channel) pairs")
    nodes = [_node(source, one) for one in given if not isinstance(one, tuple)]
    pairs = [_pair(evidence, (n.stage, n.channel)) for n in nodes]
    pairs += [_pair(evidence, one) for one in given if isinstance(one, tuple)]
    fills = _fills(pairs, means if removal == "mean" else None)
    logits = without(evidence.classifier, evidence.x, {tap: fill for _, tap, fill in fills.values()})[0]
    target, before = evidence.targets[0], evidence.logits[0]
    changes = tuple(filter(None, (_change(source, decomposer, n, fills[n.stage][2]) for n in nodes)))
    return Ablation(
        {stage: tuple(sorted(fill)) for stage, (_, _, fill) in fills.items()}, removal, target,
        evidence.classifier.labels[target], float(before[target]), float(logits[target]),
        float(before.softmax(0)[target]), float(logits.softmax(0)[target]),
        sum(_predicted(evidence, tap, fill) for _, tap, fill in fills.values()), logits, changes,
    )  # fmt: skip


def without(classifier: Classifier, x: Tensor, fills: Mapping[Tap, Mapping[int, float] | Edit]) -> Tensor:
    """N×C logits of the input `x` with channels replaced: tap → {channel: value}, or tap → a function of its N×K×h×w
    activations (not in place). One forward pass. The same taps are reached that `record` reaches, also activations
    whose return value the network ignores.
    """
    remover = _Remover(fills)
    with (
        classifier.lock,
        torch.inference_mode(False),
        torch.no_grad(),
        undisturbed(classifier.module),
        remover.attached(classifier.module),
    ):
        out = classifier.logits(x)
    missing = [str(tap) for tap in fills if tap not in remover.sites]
    if missing:
        raise ValueError(f"the forward pass of {classifier.name} did not reach the tap {missing[0]!r}")
    return out.float() if out.dtype in (torch.float16, torch.bfloat16) else out


class _Remover(Catcher):
    """Overwrites channels at several taps of one pass, with the hooks that otherwise catch taps; what the network
    computed is left as it is.
    """

    def __init__(self, fills: Mapping[Tap, Mapping[int, float] | Edit]) -> None:
        super().__init__(list(fills), twice=False)
        self.fills = fills

    def keep(self, tap: Tap, out: Tensor) -> Tensor:
        self.sites[tap] = out
        fill = self.fills[tap]
        if not isinstance(fill, Mapping):
            return fill(out) if tap.layout == "channels-first" else fill(out.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        out = out.clone()
        for channel, value in fill.items():
            out[(slice(None), channel) if tap.layout == "channels-first" else (..., channel)] = value
        return out


# ------------------------------------------------------------------------------------------------ what was named


def _decomposer(source: Decomposition | Decomposer | Evidence) -> Decomposer:
    if isinstance(source, Decomposition):
        if source.decomposer is None:
            raise ValueError("this tree was loaded without its classifier: load(folder, classifier) to remove channels")
        return source.decomposer
    return source if isinstance(source, Decomposer) else Decomposer(source)


def _node(source: Any, one: Node | int) -> Node:
    if not isinstance(source, Decomposition):
        raise TypeError(f"a node can be removed from a tree only; name channels as (stage, channel), not {one!r}")
    node = source.node(one)
    if node.parent is None:
        raise ValueError("the root is the class itself; remove one of the channels below it")
    return node


def _several(which: Any) -> bool:
    return not isinstance(which, (Node, tuple)) and whole_number(which) is None


def _pair(evidence: Evidence, one: tuple[Any, ...]) -> tuple[str, Tap, int]:
    if len(one) != 2 or not isinstance(one[0], str):
        raise ValueError(
            f"{one!r} is not a pair (stage or tap, channel) like ('S5', 12); several nodes of a tree go in a "
            f"list: {list(one) or [1, 2]}"
        )
    name, channel = one[0], whole_number(one[1])
    stage = next((s for s, t in evidence.stages.items() if name in (s, t)), None)
    if stage is None:
        raise unknown("stage", name, evidence.stages)
    tap = evidence.stages[stage]
    if channel is None or not 0 <= channel < tap.channels:
        raise ValueError(f"channel {one[1]!r} is out of range: {stage} ({tap}) has channels 0 … {tap.channels - 1}")
    return stage, tap, channel


def _fills(
    pairs: Iterable[tuple[str, Tap, int]], means: Mapping[Any, Tensor] | None
) -> dict[str, tuple[str, Tap, dict[int, float]]]:
    """Stage → (stage, tap, {channel: what is put in its place})."""
    found: dict[str, tuple[str, Tap, dict[int, float]]] = {}
    for stage, tap, channel in pairs:
        if means is not None and tap not in means:
            raise ValueError(f"the means given do not hold the tap {str(tap)!r}; they hold: {', '.join(means)}")
        fill = 0.0 if means is None else float(means[tap][channel])
        found.setdefault(stage, (stage, tap, {}))[2][channel] = fill
    return found


# ------------------------------------------------------------------------------------------------ what follows


def _predicted(evidence: Evidence, tap: Tap, fill: Mapping[int, float]) -> float:
    A, g = evidence.activations[tap][0], evidence.gradients[tap][0]
    return sum(float((g[k] * (value - A[k])).sum()) for k, value in fill.items())


def _change(source: Any, decomposer: Decomposer, node: Node, fill: Mapping[int, float]) -> Change | None:
    """The parent's own decision, with and without this one channel."""
    tree: Decomposition = source
    assert node.parent is not None
    parent, k, evidence = tree.nodes[node.parent], node.channel, decomposer.evidence
    lower = tree.stages[node.stage]
    alone = {k: fill[k]}
    if parent.parent is None:
        after = without(evidence.classifier, evidence.x, {lower: alone})[0, int(evidence.targets[0])]
        real = float(after) - float(evidence.scores[0])
        return Change(node.id, tree.label, tree.score, _predicted(evidence, lower, alone), real)
    if tree.how.conditional:
        return None
    upper, decision = tree.stages[parent.stage], decision_of(parent)
    (found,) = decomposer.of_features([decision], upper, lower)
    A = evidence.activations[lower][0]
    (top, left), (h, w) = found.corner, found.gradient.shape[1:]
    window = A[k, top : top + h, left : left + w]
    predicted = float((found.gradient[k] * (fill[k] - window)).sum())
    both = torch.stack([A, A.clone()])
    both[1, k] = fill[k]
    with torch.inference_mode(False), torch.no_grad():
        out = Segment.of(evidence, lower, upper).run(both)
    z, z_without = out[:, decision.channel, decision.y, decision.x].tolist()
    return Change(node.id, parent.name, z, predicted, z_without - z)
