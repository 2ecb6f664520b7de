"""An attack at growing ε, all computed beforehand: where the class flips, where each top channel drops out."""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from torch import Tensor

from ..classifiers.classifier import Classifier, Prediction, Target
from ..classifiers.given import check_classifier
from ..decomposition.sets import Progress
from ..decomposition.tree import Decomposition, decompose
from ..errors import choose
from ..evidence import Evidence, capture
from ..images import ImageSource
from ..maps.gradient import layercam
from .adversarial import Attack, attack
from .attacks import AttackFunction, Ball, checked_result
from .peaks import order_of, peak_responses, top_channels

if TYPE_CHECKING:
    import pandas as pd

EPSILONS = (0.0, 0.25 / 255, 0.5 / 255, 1 / 255, 2 / 255, 4 / 255, 8 / 255)


@dataclass(frozen=True)
class Frame:
    """What there is to see at one ε.

    Attributes:
        eps: ε. attack: the attacked picture. predictions: the top 5 there. probability: of the class in question.
        peaks: each followed channel's peak response (see `Peaks`). ranks: each one's rank (1 = strongest) in the class'
            own contributions. maps: stage → h×w LayerCAM map of the class in question, never negative, raw.
        tree: decomposition of the decision at this ε (its top class), or None.
    """

    eps: float
    attack: Attack = field(repr=False)
    predictions: list[Prediction] = field(repr=False)
    probability: float
    peaks: tuple[float, ...]
    ranks: tuple[int, ...]
    maps: dict[str, np.ndarray] = field(repr=False)
    tree: Decomposition | None = field(repr=False)


@dataclass(frozen=True)
class Sweep:
    """One picture attacked at several ε.

    Attributes:
        frames: one for each ε, rising from 0. target, label: the class in question (its probability is followed).
        stage: where channels are followed. channels: the class' top channels there in the clean picture. top: how many
            count as "top".
        flip: the least ε of the sweep at which the attack succeeds (None: none does). drops: channel → the least ε at
            which it is no longer among the class' `top` channels (None: at none).
    """

    frames: tuple[Frame, ...]
    target: int
    label: str
    stage: str
    channels: tuple[int, ...]
    top: int
    flip: float | None
    drops: dict[int, float | None]

    def __str__(self) -> str:
        where = "does not flip" if self.flip is None else f"flips at ε = {255 * self.flip:.3g}/255"
        out = [f"#{k} at {255 * e:.3g}/255" for k, e in self.drops.items() if e is not None]
        return f"{self.label!r} {where}; out of the top {self.top} of {self.stage}: {', '.join(out) or 'none'}"

    def at(self, eps: float) -> Frame:
        """The frame of the ε nearest to `eps`."""
        return min(self.frames, key=lambda frame: abs(frame.eps - eps))

    def to_frame(self) -> pd.DataFrame:
        """One row per ε: `predicted`, its `confidence`, `probability` of the class in question, channels' peaks."""
        import pandas as pd

        rows = []
        for frame in self.frames:
            row: dict[str, Any] = {"eps": frame.eps, "predicted": frame.predictions[0].label}
            row |= {"confidence": frame.predictions[0].probability, "probability": frame.probability}
            row |= {f"{self.stage} #{k}": peak for k, peak in zip(self.channels, frame.peaks, strict=True)}
            rows.append(row)
        return pd.DataFrame(rows).set_index("eps")


def sweep(
    classifier: Classifier,
    image: ImageSource,
    eps_values: Sequence[float] = EPSILONS,
    target: Target = None,
    *,
    top: int = 4,
    stage: str | None = None,
    trees: int | None = None,
    progress: Progress | None = None,
    **how: Any,
) -> Sweep:
    """Attack one picture at each ε, and keep what an explorer shows: predictions, maps, perturbation, channels, trees.

    Args:
        eps_values: any order; 0 is always there. target: as for `attack`; the class in question is this one. With
            `targeted=True` it is the class that the picture has without an attack that is followed.
        top: how many of the class' channels are followed. stage: at which stage; None = the deepest.
        trees: depth of a decomposition at each ε (1 = the deepest stage); None = no trees.
        progress: `progress(done, total)` after each ε; whatever it raises ends the work, nothing is kept.
        how: as for `attack` (norm, steps, seed, method, targeted …). Of an attack of your own see `at_strength`.
    Raises:
        ValueError: no ε, one out of range; a batch.

    Example:
        >>> import camwidgets
        >>> cat = camwidgets.samples.picture("cat")
        >>> found = sweep(camwidgets.load("efficientnet_lite0"), cat, [1 / 255, 2 / 255], steps=5)
        >>> [round(255 * frame.eps) for frame in found.frames], found.flip is not None
        ([0, 1, 2], True)
    """
    check_classifier(classifier, "sweep")
    x = classifier.preprocess(image)
    if len(x) != 1:
        raise ValueError(f"a sweep takes one picture; got a batch of {len(x)}")
    if not len(eps_values):
        raise ValueError("no ε was given; a sweep needs at least one")
    values = sorted({0.0, *map(float, eps_values)})
    clean = capture(classifier, x, None if target is None or how.get("targeted") else target)
    true = int(clean.targets[0])
    stage = list(clean.stages)[-1] if stage is None else choose("stage", stage, clean.stages)
    channels = tuple(top_channels(clean, stage, top).tolist())
    method = _once(how.pop("method", "pgd"))
    # Towards no class: `attack` refuses that. Away from none given: from the top class, at each ε the same.
    aim = true if target is None and not how.get("targeted") else target
    frames = []
    for i, eps in enumerate(values):
        own = how if eps else {**how, "steps": 1, "restarts": 1}  # nothing can move: one step is as good as many
        found = attack(classifier, x, aim, eps, **own, method=at_strength(method, eps, how.get("norm", "linf")))
        frames.append(_frame(found, true, stage, channels, trees))
        if progress is not None:
            progress(i + 1, len(values))
    flip = next((f.eps for f in frames if f.attack.success[0]), None)
    drops = {k: next((f.eps for f in frames if f.ranks[i] > top), None) for i, k in enumerate(channels)}
    return Sweep(tuple(frames), true, classifier.labels[true], stage, channels, top, flip, drops)


def at_strength(method: str | AttackFunction, eps: float, norm: str = "linf") -> str | AttackFunction:
    """An attack of one's own at strength ε, as `attack` wants it; a name stays a name.

    A function with a parameter `eps` is given ε. Any other has one strength, its own: δ is what it finds, and its
    picture at ε is p + min(1, ε / ‖δ‖) δ, on the straight line from the clean one (a `sweep` runs it once for all ε).
    At ε = 0 no function is called.

    Example:
        >>> import torch
        >>> half = at_strength(lambda model, x, y: x + 0.2, 0.1)
        >>> half(None, torch.zeros(1, 3, 2, 2), None).max().item() == torch.tensor(0.1).item()
        True
    """
    if not callable(method):
        return method
    name = getattr(method, "__name__", type(method).__name__)
    own = method
    takes = "eps" in _parameters(method)

    def attacked(model: Any, x: Tensor, y: Tensor) -> Tensor:
        if eps == 0:
            return x
        if takes:
            return cast(Any, own)(model, x.clone(), y, eps=eps)
        most = 1.0 if norm == "linf" else math.sqrt(x[0].numel())
        moved = checked_result(own(model, x.clone(), y), x, Ball(most, norm), name)
        far = Ball(eps, norm).size(moved - x).reshape(-1, 1, 1, 1)
        return x + (moved - x) * (eps / far.clamp(min=1e-30)).clamp(max=1)

    attacked.__name__ = name
    return attacked


def _once(method: str | AttackFunction) -> str | AttackFunction:
    """An attack of one strength, run once: at each ε the same δ, also where it is random."""
    if not callable(method) or "eps" in _parameters(method):
        return method
    own, found = method, list[Tensor]()

    def attacked(model: Any, x: Tensor, y: Tensor) -> Tensor:
        if not found:
            found.append(own(model, x, y))
        return found[0]

    attacked.__name__ = getattr(own, "__name__", type(own).__name__)
    return attacked


def _parameters(method: AttackFunction) -> Collection[str]:
    try:
        return inspect.signature(method).parameters
    except (TypeError, ValueError):  # built in C: it says nothing of its parameters
        return ()


def _frame(found: Attack, true: int, stage: str, channels: tuple[int, ...], trees: int | None) -> Frame:
    classifier, x = found.classifier, found.adversarial
    evidence = capture(classifier, x, true)
    F = peak_responses(evidence, stage)
    rank = order_of(evidence, stage).argsort()
    tree = None
    if trees is not None:
        tree = decompose(classifier, x, found.after[0][0].index, depth=trees)
        tree.decomposer = None  # its activations and gradients would be kept for every ε
    return Frame(
        found.eps, found, found.after[0], float(evidence.probabilities[0, true]), tuple(float(F[k]) for k in channels),
        tuple(int(rank[k]) + 1 for k in channels), stage_maps(evidence), tree,
    )  # fmt: skip


def stage_maps(evidence: Evidence) -> dict[str, np.ndarray]:
    """Stage → h×w LayerCAM map of the evidence's class, never negative, raw."""
    found = {}
    for name in evidence.stages:
        A, g = evidence.at(name)
        found[name] = layercam(A[0], g[0]).float().cpu().numpy()
    return found
