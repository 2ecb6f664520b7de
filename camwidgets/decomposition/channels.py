"""What does this channel see? Guided backpropagation, the window of the picture, responses, and exciting patches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..catcher import Catcher
from ..classifiers.classifier import Classifier
from ..classifiers.guards import undisturbed
from ..classifiers.taps import Tap
from ..images import ImageSource
from ..maps.guided import GuidedRule
from .segment import read_site
from .tree import Decomposition, Node

if TYPE_CHECKING:
    from .patches import Patch, PatchIndex

BINS = 24


@dataclass(frozen=True)
class Guided:
    """A guided-backpropagation view of one unit.

    Attributes:
        gradient: 3×H×W, in the network's input space. value: the unit's value (before its activation if it clips).
        rectified: how many activations the rule was applied to; 0 = the network has none below the tap, and the
            gradient is the plain one.
    """

    gradient: Tensor = field(repr=False)
    value: float
    rectified: int


def guided_backprop(classifier: Classifier, image: ImageSource, tap: str, channel: int, y: int, x: int) -> Guided:
    """Which pixels raise a unit, negative influences left out on the way (Springenberg et al. 2015, arXiv:1412.6806).

    The backward pass from F[channel, y, x] keeps, at every rectified activation f, only what is positive:

        R^l = (f^l > 0) · (R^{l+1} > 0) · R^{l+1}        (fig. 1 b of the paper; for ReLU6 its slope in place of f > 0)

    Activations are recognised as they run: modules and functions, in place or not, shared or used several times. For
    smooth activations (SiLU, GELU) no rule is published; they keep their plain gradient.

    Args:
        classifier, image: one picture, or a preprocessed 1×3×H×W tensor. tap: stage or tap name.
        channel, y, x: the unit. One that is clipped or rectified is read before its activation: at 6, a ReLU6 has no
            gradient.
    Raises:
        ValueError: unknown tap, a unit out of range, several pictures.

    Example:
        >>> import camwidgets
        >>> cat = camwidgets.samples.picture("cat")
        >>> guided_backprop(camwidgets.load("efficientnet_lite0"), cat, "S3", 5, 10, 12).gradient.shape
        torch.Size([3, 224, 224])
    """
    site = classifier.tap(tap)
    check_unit(site, channel, y, x)
    given = classifier.preprocess(image)
    if len(given) != 1:
        raise ValueError(f"one picture is looked at at a time; this batch has {len(given)}")
    rule, stop = GuidedRule(), _Upto(site)
    with classifier.lock, torch.inference_mode(False), torch.enable_grad(), undisturbed(classifier.module):
        pixels = given.detach().clone().requires_grad_()
        with rule, stop.attached(classifier.module), suppress(_There):
            classifier.logits(pixels.clone())  # a network may work in place on what it is given
        if stop.value is None:
            raise ValueError(f"the forward pass of {classifier.name} did not reach the tap {str(site)!r}")
        z = stop.value[0, channel, y, x] if site.layout == "channels-first" else stop.value[0, y, x, channel]
        gradient = torch.autograd.grad(z, pixels)[0][0] if z.requires_grad else torch.zeros_like(given[0])
    return Guided(gradient.detach(), float(z.detach()), rule.count)


def check_unit(tap: Tap, channel: int, y: int, x: int) -> None:
    """Refuse what is not a unit of the tap."""
    h, w = tap.size
    if not 0 <= channel < tap.channels:
        raise ValueError(f"channel {channel} is out of range: {str(tap)!r} has channels 0 … {tap.channels - 1}")
    if not (0 <= y < h and 0 <= x < w):
        raise ValueError(f"position ({y}, {x}) is out of range: {str(tap)!r} is {h}×{w}")


class _There(Exception):
    """Ends a pass at the tap. Not an error."""


class _Upto(Catcher):
    """Ends a pass where the value of a tap can be read, and keeps that value."""

    def __init__(self, tap: Tap) -> None:
        site = read_site(tap)
        self.before = site if site == tap.before else None
        super().__init__([] if self.before else [tap], twice=False)
        self.value: Tensor | None = None
        self.entered = 0

    @contextmanager
    def attached(self, module: nn.Module) -> Iterator[None]:
        with super().attached(module), ExitStack() as stack:
            if self.before is not None:
                child = module.get_submodule(self.before[0])
                stack.callback(child.register_forward_pre_hook(lambda m, args: self._at("input", args[0])).remove)
                stack.callback(child.register_forward_hook(lambda m, args, out: self._at("output", out)).remove)
            yield

    def _at(self, place: str, value: Any) -> None:
        if self.before is not None and self.before[1:] == (self.entered, place):
            self._reached(value)
        self.entered += place == "output"

    def keep(self, tap: Tap, out: Tensor) -> Tensor:
        self._reached(out)
        return out

    def _reached(self, value: Tensor) -> None:
        self.value = value
        raise _There


# ------------------------------------------------------------------------------------------------ all of it


@dataclass(frozen=True)
class Histogram:
    """How often a channel responds how strongly: n counts, n + 1 edges, and where the unit's own value lies.

    `below` is the share of values that are smaller than its own.
    """

    counts: tuple[int, ...]
    edges: tuple[float, ...]
    own: float
    below: float

    @property
    def total(self) -> int:
        return sum(self.counts)


@dataclass(frozen=True)
class Sight:
    """What one unit sees. `here`: the channel's responses over the positions of this picture; `there`: its largest
    response in each picture of the index, held against its largest here; `patches` of the index, strongest first.
    `window`: (x0, y0, x1, y1) that the unit can see of the network's input."""

    tap: Tap
    channel: int
    y: int
    x: int
    window: tuple[int, int, int, int]
    guided: Guided
    here: Histogram
    there: Histogram | None = None
    patches: tuple[Patch, ...] = ()


def what_it_sees(tree: Decomposition, which: Node | int, index: PatchIndex | None = None, count: int = 6) -> Sight:
    """Everything that can be shown about a node of a tree, to understand what its channel responds to.

    Args:
        tree: with its classifier. which: a node or its id; not the root. index: for `there` and `patches`.
    Raises:
        ValueError: the root, a tree that was loaded without its classifier, an index of another network.

    Example:
        >>> import camwidgets
        >>> classifier = camwidgets.load("toy")
        >>> tree = camwidgets.decompose(classifier, camwidgets.samples.picture("cat"), depth=1)
        >>> what_it_sees(tree, 1).here.total == 6 * 6
        True
    """
    node = tree.node(which)
    if node.parent is None:
        raise ValueError("the root is the class itself, no channel; name one of the nodes below it")
    if tree.decomposer is None:
        raise ValueError("this tree was loaded without its classifier: load(folder, classifier) to look into channels")
    evidence, tap, k = tree.decomposer.evidence, tree.stages[node.stage], node.channel
    A = evidence.activations[tap][0, k].float().cpu().numpy()
    here = histogram(A.ravel(), float(A[node.y, node.x]))
    there: Histogram | None = None
    patches: tuple[Patch, ...] = ()
    if index is not None:
        if index.classifier.weights_hash() != tree.made_by["weights_sha256"]:
            raise ValueError(f"the index is of {index.classifier.name}, the tree of {tree.made_by['model']}")
        peaks = index.peaks(tap, k)
        there = histogram(peaks, float(A.max())) if len(peaks) else None
        patches = tuple(index.top(tap, k, count))
    guided = guided_backprop(evidence.classifier, evidence.x, tap, k, node.y, node.x)
    h, w = evidence.x.shape[2:]
    window = tap.receptive_field.window(node.y, node.x, (h, w))
    return Sight(tap, k, node.y, node.x, window, guided, here, there, patches)


def histogram(values: np.ndarray, own: float, bins: int = BINS) -> Histogram:
    """Counts of `values` in equal bins from the smallest to the largest of them and `own`.

    Example:
        >>> histogram(np.array([0.0, 0.0, 1.0, 3.0]), own=2.0, bins=3)
        Histogram(counts=(2, 1, 1), edges=(0.0, 1.0, 2.0, 3.0), own=2.0, below=0.75)
    """
    low, high = min(float(values.min()), own), max(float(values.max()), own)
    counts, edges = np.histogram(values, bins, (low, high if high > low else low + 1.0))
    below = float((values < own).mean())
    return Histogram(tuple(counts.tolist()), tuple(edges.tolist()), own, below)
