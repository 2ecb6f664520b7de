"""Sparse surrogates ([000] 5.3.1.6): does the network still answer the same with only its top-k channels per stage?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..classifiers.classifier import Classifier
from ..classifiers.given import check_classifier
from ..classifiers.taps import Tap
from ..errors import choose
from ..evidence import record
from ..images import ImageSource
from .ablation import Edit, without
from .gap import Decomposer
from .importance import branch, by_chance, follow, strongest
from .sets import Progress, check_counts, check_labels, check_pictures, check_removal, doubling, one_picture

if TYPE_CHECKING:
    import pandas as pd

Chooser = Callable[[Decomposer, list[int]], list[dict[str, Tensor]]]
ROWS = 8  # sparse networks in one batch
RANKINGS = ("gap", "random")
DECISIONS = ("top", "second")
KEEPS = ("stage", "decomposition")


def surrogate(
    classifier: Classifier,
    pictures: Sequence[ImageSource],
    labels: Sequence[int | str] | None = None,
    k: Iterable[int] | None = None,
    *,
    keep: str = "stage",
    ranking: str = "gap",
    decision: str = "top",
    removal: str = "zero",
    means: Mapping[Any, Tensor] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Keep only the most important channels of every stage, picture by picture, and predict again.

    For each picture the decision is followed down to the shallowest stage, its most important channels of each stage
    are kept, all others are set to `removal` at once, and the whole network is run.

    Keeping what speaks for a class favours that class, so a high match alone does not show that the k channels do what
    the network does. Two controls say how much is the choice's own doing: `ranking="random"`, and `decision="second"`,
    which sparsifies for the *second* best class: the nearer its match comes to 1, the less a match says.

    Args:
        labels: the true class of each picture (index or label), for the accuracy.
        k: numbers of channels; a stage with fewer keeps all. None = 1, 2, 4 … up to the widest stage.
        keep: "stage": k channels of each stage, by importance (`importance.follow` through as many). "decomposition":
            the k strongest of every decomposition of the tree (`importance.branch`), as the thesis words it: k of the
            deepest stage, up to k² of the next, soon all of the shallow ones; see `kept`.
        ranking: "gap", or "random" (k channels a stage out of a hat, seeded by `seed`).
        decision: whose channels are kept: the network's "top" class, or its "second".
        removal: "zero", or "mean" with `means` (tap → K, see `channel_means`).
        progress: called as `progress(done, total)` after each picture; whatever it raises ends the work.
    Returns:
        One row per k: `kept` (share of all stages' channels, 0 … 1; mean over the pictures), `accuracy` (share of
        pictures that the sparse network gets right; NaN without labels), `original` (the same of the untouched
        network), `match` (share whose prediction is the decision that was followed; for "top" the agreement with the
        untouched network), `probability` (mean softmax of that class), `pictures`.
    Raises:
        ValueError: no pictures, labels of another length, k beyond the widest stage, unknown names, no means.

    Example:
        >>> import camwidgets
        >>> from camwidgets.datasets.toyworld import ToyWorld
        >>> scenes = [scene.image for scene in ToyWorld(seed=1, n=2)]
        >>> table = surrogate(camwidgets.load("toy"), scenes, k=[128])
        >>> float(table.loc[128, "match"]), float(table.loc[128, "kept"])
        (1.0, 1.0)
    """
    import pandas as pd

    check_classifier(classifier, "surrogate")
    count, stages = check_pictures(pictures), classifier.select("stages")
    true = check_labels(classifier, labels, count)
    choose("ranking", ranking, RANKINGS)
    choose("decision", decision, DECISIONS)
    choose("keep", keep, KEEPS)
    if ranking == "random" and keep != "stage":
        raise ValueError("a random ranking has no decompositions; it goes with keep='stage'")
    fills = check_removal(removal, means, stages.values())
    widest = max(tap.channels for tap in stages.values())
    ks = check_counts("k", doubling(widest) if k is None else k, widest, "the widest stage")
    generator = torch.Generator().manual_seed(seed)
    totals, originals = torch.zeros(len(ks), 4, dtype=torch.float64), 0
    channels = sum(tap.channels for tap in stages.values())
    for i in range(count):
        before, target, kept, x = _kept(classifier, pictures[i], ks, _chooser(keep, ranking, generator), decision)
        after = _sparse(classifier, x, stages, kept, fills)
        guess = after.argmax(1)
        right = torch.zeros(len(ks)) if true is None else guess == true[i]
        size = torch.tensor([sum(map(len, one.values())) for one in kept], device=after.device) / channels
        sure = after.double().softmax(1)[:, target]
        totals += torch.stack([size.double(), right.double().to(sure), (guess == target).double(), sure], 1).cpu()
        originals += 0 if true is None else int(before == true[i])
        if progress is not None:
            progress(i + 1, count)
    table = pd.DataFrame((totals / count).numpy(), index=pd.Index(ks, name="k"),
                         columns=["kept", "accuracy", "match", "probability"])  # fmt: skip
    if true is None:
        table["accuracy"] = float("nan")
    table.insert(2, "original", float("nan") if true is None else originals / count)
    return table.assign(keep=keep, ranking=ranking, decision=decision, removal=removal, pictures=count)


def _kept(
    classifier: Classifier, picture: ImageSource, ks: list[int], chooser: Chooser, decision: str
) -> tuple[int, int, list[dict[str, Tensor]], Tensor]:
    """The untouched prediction, the class that is followed, for each k: stage → kept channels, and the input."""
    with record(classifier, picture) as recording:
        best = one_picture(recording).logits[0].argsort(descending=True, stable=True)[:2].tolist()
        target = best[0] if decision == "top" else best[1]
        decomposer = Decomposer(recording.evidence(target, last=True))
    return best[0], target, chooser(decomposer, ks), recording.x


def _chooser(keep: str, ranking: str, generator: torch.Generator) -> Chooser:
    """What finds the kept channels of a decision: for each k, stage → channels."""
    if keep == "decomposition":
        return lambda decomposer, ks: [_of_tree(decomposer, k) for k in ks]
    if ranking == "gap":
        return lambda decomposer, ks: [
            {level.stage: strongest(level.whole.share, k) for level in follow(decomposer, k)} for k in ks
        ]

    def out_of_a_hat(decomposer: Decomposer, ks: list[int]) -> list[dict[str, Tensor]]:
        scores = by_chance(decomposer, list(decomposer.evidence.stages), generator)
        return [{stage: strongest(one, k) for stage, one in scores.items()} for k in ks]

    return out_of_a_hat


def _of_tree(decomposer: Decomposer, k: int) -> dict[str, Tensor]:
    found = {}
    for level in branch(decomposer, k):
        whole = k >= level.tap.channels  # then all are kept, even if nothing could be decomposed
        sets = [torch.arange(level.tap.channels)] if whole else [strongest(p.alpha, k).cpu() for p in level.parts]
        found[level.stage] = torch.cat([torch.zeros(0, dtype=torch.int64), *sets]).unique()
    return found


def _sparse(
    classifier: Classifier, x: Tensor, stages: Mapping[str, Tap], kept: list[dict[str, Tensor]],
    fills: Mapping[Any, Tensor] | None,
) -> Tensor:  # fmt: skip
    """Logits, one row for each sparse network."""
    found = []
    for start in range(0, len(kept), ROWS):
        some = kept[start : start + ROWS]
        edits = {}
        for stage, tap in stages.items():
            mask = torch.zeros(len(some), tap.channels, dtype=torch.bool, device=x.device)
            for row, one in enumerate(some):
                mask[row, one[stage]] = True
            edits[tap] = keeping(mask, None if fills is None else fills[tap])
        found.append(without(classifier, x.expand(len(some), -1, -1, -1), edits))
    return torch.cat(found)


def keeping(mask: Tensor, fill: Tensor | None) -> Edit:
    """An edit that keeps channels where the N×K mask is true and puts `fill` (K, or zero) in place of the others."""

    def edit(A: Tensor) -> Tensor:
        other = A.new_zeros(()) if fill is None else fill.to(A)[None, :, None, None]
        return torch.where(mask[:, :, None, None], A, other)

    return edit
