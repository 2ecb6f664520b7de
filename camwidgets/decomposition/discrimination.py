"""Discriminativeness ([000] 5.3.1.4, eq. 5.13): does a channel serve one class or many?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..classifiers.classifier import Classifier
from ..classifiers.given import check_classifier
from ..images import ImageSource
from .sets import Progress, check_labels, check_pictures
from .tree import decompose

if TYPE_CHECKING:
    import pandas as pd

SHUFFLES = 20


def discriminativeness(
    classifier: Classifier,
    pictures: Sequence[ImageSource],
    labels: Sequence[int | str] | None = None,
    *,
    top: int = 3,
    least: int = 1,
    seed: int = 0,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """D = max_c N_c / Σ_c N_c for every channel that takes part in a decomposition tree (5.13).

    N_c counts how often, over all decompositions of all trees for pictures of class c, the channel is among the `top`
    strongest. D = 1: it serves one class only; D = 1/C: all alike. A channel seen once has D = 1 whatever it does, so
    `chance` says what D would be if the pictures' classes were dealt out anew (mean of 20 seeded shuffles): only what
    lies above it is about classes.

    Args:
        labels: the class of each picture, which is also the decision that is taken apart; None = the prediction.
        top: N of the trees (the thesis': 3). least: leave out channels that were counted less often.
        progress: `progress(done, total)` after each picture; whatever it raises ends the work.
    Returns:
        One row per stage and channel: `stage`, `channel`, `times` (Σ_c N_c), `D`, `chance`, `label` (of the class with
        most counts), `pictures`. `stage_means` sums it up.

    Example:
        >>> import camwidgets
        >>> from camwidgets.datasets.toyworld import ToyWorld
        >>> scenes = [scene.image for scene in ToyWorld(seed=1, n=4)]
        >>> table = discriminativeness(camwidgets.load("toy"), scenes)
        >>> bool(table["D"].between(0.1, 1).all())
        True
    """
    import pandas as pd

    count = check_pictures(pictures)
    true = check_labels(classifier, labels, count)
    if least < 1:
        raise ValueError(f"least is a number of times, at least 1; got {least!r}")
    check_classifier(classifier, "discriminativeness")
    taps = classifier.select("stages")
    counts = {stage: torch.zeros(count, tap.channels, dtype=torch.int32) for stage, tap in taps.items()}
    classes = []
    for i in range(count):
        tree = decompose(classifier, pictures[i], None if true is None else true[i], top, merge=False)
        classes.append(int(tree.target))
        for node in tree.nodes.values():
            if node.parent is not None:
                counts[node.stage][i, node.channel] += 1
        if progress is not None:
            progress(i + 1, count)
    generator = torch.Generator().manual_seed(seed)
    order = [torch.randperm(count, generator=generator) for _ in range(SHUFFLES)]
    tables = [pd.DataFrame(_rows(stage, n, torch.tensor(classes), order, classifier.labels, least))
              for stage, n in counts.items()]  # fmt: skip
    return pd.concat(tables, ignore_index=True).assign(pictures=count)


def stage_means(table: pd.DataFrame) -> pd.DataFrame:
    """Per stage: mean `D` and `chance` over its channels, how many (`channels`), and how often each was counted."""
    means = table.groupby("stage", sort=True)[["D", "chance", "times"]].mean()
    means.insert(0, "channels", table.groupby("stage").size())
    return means


def _rows(
    stage: str, n: Tensor, classes: Tensor, orders: list[Tensor], labels: Sequence[str], least: int
) -> list[dict[str, object]]:
    kinds, members = classes.unique(return_inverse=True)
    seen = torch.where(n.sum(0) >= least)[0]
    per_class = _per_class(n[:, seen], members, len(kinds))
    chance = torch.stack([_share(_per_class(n[:, seen], members[o], len(kinds))) for o in orders]).mean(0)
    D, best = _share(per_class), kinds[per_class.argmax(0)]
    times = per_class.sum(0)
    return [
        {"stage": stage, "channel": int(k), "times": int(times[i]), "D": float(D[i]), "chance": float(chance[i]),
         "label": labels[int(best[i])]}
        for i, k in enumerate(seen)
    ]  # fmt: skip


def _per_class(n: Tensor, members: Tensor, kinds: int) -> Tensor:
    """Pictures × channels to classes × channels."""
    return torch.zeros(kinds, n.shape[1], dtype=n.dtype).index_add_(0, members, n)


def _share(per_class: Tensor) -> Tensor:
    return per_class.amax(0).double() / per_class.sum(0)
