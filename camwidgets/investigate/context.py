"""Which surroundings a class leans on: where its channels look, and its score before others ([000] 5.3.2.3)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..classifiers.checks import check_finite
from ..classifiers.classifier import Classifier
from ..classifiers.guards import undisturbed
from ..decomposition.sets import Progress
from ..decomposition.tree import Node, decompose
from ..maps.fusion import upsample
from .samples import samples_of
from .scenery import Stage, contexts_of, object_of, seen

if TYPE_CHECKING:
    import pandas as pd

OBJECT = "the object"
LEVEL = 0.5  # an attention map is taken where it is at least half its maximum


@dataclass(frozen=True)
class ContextTable:
    """Where the top channels of each class look ([000] figure 5.14).

    Attributes:
        classes, contexts: names; contexts end with "the object". pictures: how many of each class.
        iou: class × context, mean IoU of a top channel's region (attention ≥ half its maximum) with that context, over
            the channels of pictures that show it; NaN where none does.
        assigned: class × context, share of the top channels whose region overlaps this one most (rows sum to ≤ 1).
        mass: class × context, mean share of the channels' positive attention that lies on it.
    """

    classes: tuple[str, ...]
    contexts: tuple[str, ...]
    pictures: tuple[int, ...]
    iou: np.ndarray = field(repr=False)
    assigned: np.ndarray = field(repr=False)
    mass: np.ndarray = field(repr=False)

    @property
    def on_context(self) -> dict[str, float]:
        """Class → share of its positive evidence that lies on named surroundings, of that on them or on the object."""
        around, on = self.mass[:, :-1].sum(1), self.mass[:, -1]
        total = around + on
        return {c: float(around[i] / total[i]) if total[i] else float("nan") for i, c in enumerate(self.classes)}

    def to_frame(self, what: str = "assigned") -> pd.DataFrame:
        """Class × context of "iou", "assigned" or "mass"."""
        import pandas as pd

        from ..errors import choose

        choose("table", what, ("iou", "assigned", "mass"))
        return pd.DataFrame(getattr(self, what), pd.Index(self.classes, name="class"), list(self.contexts))


def context_evidence(
    classifier: Classifier,
    dataset: Sequence[Any],
    *,
    depth: int = 2,
    top: int = 3,
    progress: Progress | None = None,
) -> ContextTable:
    """Decompose every picture's own class; against which surroundings, or the object, do its channels' maps lie?

    Args:
        dataset: items that know the masks of their surroundings (`context()` or `contexts`) and of their object
            (`mask()`), as scenes of the toy world do. depth: stages from the deepest up. top: channels a node.
        progress: `progress(done, total)` after each picture; whatever it raises ends the work.

    Example:
        >>> import camwidgets
        >>> from camwidgets.datasets.toyworld import ToyWorld
        >>> table = context_evidence(camwidgets.load("toy-shortcut"), ToyWorld(seed=2, n=20, context_strength=1.0))
        >>> sum(table.on_context.values()) / 10 > 0.5
        True
    """
    samples = samples_of(classifier, dataset)
    found: dict[tuple[int, str], list[tuple[float, float, bool]]] = defaultdict(list)
    pictures: dict[int, int] = defaultdict(int)
    names: set[str] = set()
    for i in range(len(samples)):
        one = samples[i]
        masks = {name: seen(classifier, np.asarray(m, bool)) for name, m in contexts_of(one.item).items()}
        names |= masks.keys()
        masks[OBJECT] = seen(classifier, object_of(one.item))
        tree = decompose(classifier, one.open(), one.label, top, depth=depth)
        pictures[one.label] += 1
        for node in tree.nodes.values():
            if node.parent is not None:
                for name, row in _lies(node, masks).items():
                    found[one.label, name].append(row)
        if progress is not None:
            progress(i + 1, len(samples))
    return _table(classifier, found, pictures, (*sorted(names), OBJECT))


def _lies(node: Node, masks: dict[str, np.ndarray]) -> dict[str, tuple[float, float, bool]]:
    """Name → (IoU, share of mass, whether the largest IoU) of one attention map."""
    size = next(iter(masks.values())).shape
    values = upsample(torch.from_numpy(np.maximum(node.attention, 0)), (size[0], size[1])).numpy()
    region, total = (values >= LEVEL * values.max()) & (values > 0), float(values.sum())
    iou = {name: _iou(region, mask) for name, mask in masks.items()}
    best = max(iou, key=lambda name: iou[name])
    share = {name: float(values[mask].sum()) / total if total else 0.0 for name, mask in masks.items()}
    return {name: (iou[name], share[name], name == best and iou[name] > 0) for name in masks}


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 0.0


def _table(
    classifier: Classifier,
    found: dict[tuple[int, str], list[tuple[float, float, bool]]],
    pictures: dict[int, int],
    names: tuple[str, ...],
) -> ContextTable:
    indices = sorted(pictures)
    iou, assigned, mass = (np.zeros((len(indices), len(names))) for _ in range(3))
    for i, c in enumerate(indices):
        nodes = len(found[c, OBJECT]) or 1  # the object is in every picture
        for j, name in enumerate(names):
            rows = found.get((c, name), [])
            iou[i, j] = float(np.mean([r[0] for r in rows])) if rows else np.nan
            mass[i, j] = sum(r[1] for r in rows) / nodes
            assigned[i, j] = sum(r[2] for r in rows) / nodes
    labels = tuple(classifier.labels[c] for c in indices)
    return ContextTable(labels, names, tuple(pictures[c] for c in indices), iou, assigned, mass)


# ---------------------------------------------------------------------------------------------- what the score says


@dataclass(frozen=True)
class Leaning:
    """How one class' logit depends on surroundings and objects.

    Attributes:
        label: the class. context: the surroundings before which its logit is highest, on average.
        context_share, object_share: shares of the variance of its logit, over every object before every context, that
            the context explains, and that the object's class explains; see `context_reliance`.
        logits: context → mean logit of the class over all objects. drop: how much of its probability the class' own
            objects lose, on average, before the other surroundings than before `context` (NaN without own objects).
    """

    label: str
    context: str
    context_share: float
    object_share: float
    logits: dict[str, float]
    drop: float

    @property
    def shortcut(self) -> str | None:
        """The surroundings that the class is told by: `context` if it says more than the object does; else None."""
        return self.context if self.context_share > self.object_share else None

    @property
    def score(self) -> float:
        """Shortcut score in [0, 1]: context_share / (context_share + object_share); above ½ the context says more."""
        both = self.context_share + self.object_share
        return self.context_share / both if both else 0.0


@dataclass(frozen=True)
class Reliance:
    """How every class depends on surroundings. `logits` is objects × contexts × classes; `classes` the objects' own."""

    leanings: tuple[Leaning, ...]
    contexts: tuple[str, ...]
    classes: tuple[int, ...] = field(repr=False)
    logits: Tensor = field(repr=False)

    def __getitem__(self, label: str) -> Leaning:
        from ..errors import choose

        choose("class", label, [one.label for one in self.leanings])
        return next(one for one in self.leanings if one.label == label)

    @property
    def shortcuts(self) -> dict[str, str]:
        """Class → the surroundings it is told by, for the classes of which that is so."""
        return {one.label: one.shortcut for one in self.leanings if one.shortcut is not None}

    def __str__(self) -> str:
        told = ", ".join(f"{label} → {context}" for label, context in self.shortcuts.items())
        n = len(self.leanings)
        return f"{len(self.shortcuts)} of {n} classes are told by their surroundings{': ' + told if told else ''}"

    def to_frame(self) -> pd.DataFrame:
        """One row per class: `context`, `shortcut`, `score`, both shares, `drop`, and the mean logit by context."""
        import pandas as pd

        rows = [
            {"class": one.label, "context": one.context, "shortcut": one.shortcut, "score": one.score,
             "context_share": one.context_share, "object_share": one.object_share, "drop": one.drop, **one.logits}
            for one in self.leanings
        ]  # fmt: skip
        return pd.DataFrame(rows).set_index("class")


def context_reliance(
    classifier: Classifier, dataset: Sequence[Any], *, progress: Progress | None = None, batch: int = 16
) -> Reliance:
    r"""Put every object before every context: is a class told by its object, or by what surrounds it?

    For class c, z_ok = its logit for object o before context k, with n objects, K contexts. Two-way analysis of
    variance without repetition (Fisher): of Σ_ok (z_ok − z̄)²

        context:  n Σ_k (z̄_·k − z̄)²          object's class:  K Σ_j n_j (z̄_j· − z̄)²   (j over classes of objects)

    each divided by the whole. A class is said to be told by its surroundings where the first exceeds the second: there
    is no threshold to set. An intervention, not a correlation: what a data set shows together does not matter here.

    Args:
        dataset: as for `context_evidence`; scenes of the toy world are painted again, other pictures' objects are cut
            out and laid over other surroundings. Two classes of objects at least.
        progress: `progress(done, total)` after each object; whatever it raises ends the work.

    Example:
        >>> import camwidgets
        >>> from camwidgets.datasets.toyworld import ToyWorld
        >>> found = context_reliance(camwidgets.load("toy-shortcut"), ToyWorld(seed=2, n=20))
        >>> found["boat"].shortcut
        'water'
    """
    stage = Stage(classifier, dataset)
    n = len(stage.samples)
    classes = tuple(stage.samples[i].label for i in range(n))
    if len(set(classes)) < 2:
        raise ValueError("objects of two classes at least are needed to tell what the object says; there is one")
    rows = []
    for i in range(n):
        x = torch.cat([classifier.preprocess(stage.picture(i, name)) for name in stage.names])
        with classifier.lock, torch.inference_mode(False), torch.no_grad(), undisturbed(classifier.module):
            rows.append(torch.cat([classifier.logits(part).float().cpu() for part in x.split(batch)]))
        check_finite(rows[-1], classifier.name)
        if progress is not None:
            progress(i + 1, n)
    z = torch.stack(rows).double()
    present = sorted(set(classes))
    leanings = tuple(_leaning(z, torch.tensor(classes), c, classifier.labels[c], stage.names) for c in present)
    return Reliance(leanings, stage.names, classes, z)


def _leaning(z: Tensor, classes: Tensor, c: int, label: str, names: tuple[str, ...]) -> Leaning:
    own, p = z[..., c], z.softmax(-1)[..., c]
    n, K = own.shape
    mean = own.mean()
    whole = float(((own - mean) ** 2).sum())
    by_context, by_object = own.mean(0), own.mean(1)
    around = n * float(((by_context - mean) ** 2).sum())
    groups = [by_object[classes == j] for j in classes.unique()]
    objects = K * sum(len(g) * float((g.mean() - mean) ** 2) for g in groups)
    best = int(by_context.argmax())
    mine = p[classes == c]
    others = [k for k in range(K) if k != best]
    drop = float(mine[:, best].mean() - mine[:, others].mean()) if len(mine) else float("nan")
    shares = (around / whole, objects / whole) if whole else (0.0, 0.0)
    return Leaning(label, names[best], *shares, dict(zip(names, by_context.tolist(), strict=True)), drop)
