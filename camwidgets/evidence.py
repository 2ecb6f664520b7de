"""Evidence: what one forward and one truncated backward pass leave, and nothing else.

`record` runs the network once and keeps the graph between the taps and the logits; each target then costs one backward
pass that stops at the shallowest tap. No gradient is computed for any parameter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .catcher import Catcher
from .classifiers.checks import check_finite, one_each
from .classifiers.classifier import Classifier, Target
from .classifiers.given import check_classifier
from .classifiers.guards import undisturbed
from .classifiers.taps import Tap
from .images import ImageSource

# Half-precision gradients underflow below 6e-8: the score is scaled up before the backward pass, the result down.
HALF_SCALE = 1024.0


class _Pass:
    """What evidence and a recording both say of their forward pass."""

    classifier: Classifier
    x: Tensor
    logits: Tensor

    @property
    def probabilities(self) -> Tensor:
        """N×C softmax of the logits."""
        return self.logits.softmax(1)

    @cached_property
    def pictures(self) -> list[np.ndarray]:
        """What the network saw: h×w×3 uint8 each."""
        return self.classifier.pictures(self.x)


@dataclass(frozen=True)
class Evidence(_Pass):
    """What one pass leaves for one target: per tap the activation A and the gradient g = ∂y/∂A.

    Attributes:
        classifier: what was run. stages: name → tap, shallow to deep. x: N×3×h×w input.
        activations, gradients: tap → N×K×h×w tensors (float32 unless the model is float64), detached.
        cut_off: taps that the score does not depend on (their gradient is zero because no path leads there).
        logits: N×C. targets: N class indices (or the name of the callable). scores: N values y of the target.
        weights_sha256: of the weights that the pass was made with.
    """

    classifier: Classifier
    stages: dict[str, Tap]
    x: Tensor
    activations: dict[str, Tensor]
    gradients: dict[str, Tensor]
    cut_off: frozenset[str]
    logits: Tensor
    targets: tuple[int | str, ...]
    scores: Tensor
    weights_sha256: str

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> Evidence:
        """The evidence of picture i of the batch alone (N = 1)."""
        if not -len(self) <= i < len(self):
            raise IndexError(f"picture {i} is out of range: the batch has {len(self)}")
        i %= len(self)
        one = slice(i, i + 1)
        return replace(
            self,
            x=self.x[one],
            activations={tap: a[one] for tap, a in self.activations.items()},
            gradients={tap: g[one] for tap, g in self.gradients.items()},
            logits=self.logits[one],
            targets=self.targets[one],
            scores=self.scores[one],
        )

    def at(self, name: str) -> tuple[Tensor, Tensor]:
        """(A, g) of a stage or tap name, each N×K×h×w."""
        tap = self.stages.get(name, name)
        if tap not in self.activations:
            raise ValueError(f"{name!r} was not recorded; recorded: {', '.join(self.stages)}")
        return self.activations[tap], self.gradients[tap]


class Recording(_Pass):
    """One forward pass whose graph is kept, so that every further target costs one backward pass only.

    Use as a context manager (or call `close()`) to free the graph. Made by `record`.
    """

    def __init__(self, classifier: Classifier, x: Tensor, stages: dict[str, Tap], sites: dict[str, Tensor], y: Tensor):
        self.classifier, self.x, self.stages = classifier, x, stages
        self._sites, self._y = sites, y
        self.logits = _plain(y.detach())
        self.weights_sha256 = classifier.weights_hash()
        self.activations: dict[str, Tensor] = {
            tap: channels_first(_plain(sites[tap].detach()), tap) for tap in stages.values()
        }

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the graph. The activations stay; further targets need a new recording."""
        self._sites, self._y = {}, self._y.detach()

    def evidence(self, target: Target = None, *, last: bool = False) -> Evidence:
        """The evidence for one target: one backward pass from its score to the shallowest tap.

        Args:
            target: class index, label, callable on one picture's vector of logits that returns a scalar, a sequence
                or tensor of N class indices (one per picture), or None for each picture's own top class.
            last: free the graph as it is used (nothing more can be asked of this recording).
        """
        if not self._sites:
            raise RuntimeError("this recording is closed; record the picture again")
        with torch.inference_mode(False), torch.enable_grad():
            targets, scores = _scores(self.classifier, self._y, target)
            grads = self.gradients(scores.sum(), retain_graph=not last)
        cut = frozenset(str(tap) for tap, g in grads.items() if g is None)
        found: dict[str, Tensor] = {
            tap: torch.zeros_like(self.activations[tap]) if g is None else channels_first(g, self._tap(tap))
            for tap, g in grads.items()
        }
        if last:
            self.close()
        plain = _plain(scores.detach())
        return Evidence(
            self.classifier, self.stages, self.x, self.activations, found, cut, self.logits, targets, plain,
            self.weights_sha256,
        )  # fmt: skip

    def gradients(self, scalar: Tensor, retain_graph: bool = True) -> dict[str, Tensor | None]:
        """∂scalar/∂(raw tensor) at every tap, unscaled, None where no path leads."""
        if not scalar.requires_grad:
            return dict.fromkeys(self._sites)
        half = any(t.dtype == torch.float16 for t in (self._y, *self._sites.values()))
        scale = HALF_SCALE if half else 1.0
        values = torch.autograd.grad(
            scalar * scale, list(self._sites.values()), retain_graph=retain_graph, allow_unused=True
        )
        found = (None if v is None else _plain(v) / scale if half else _plain(v) for v in values)
        return dict(zip(self._sites, found, strict=True))

    def _tap(self, name: str) -> Tap:
        return next(tap for tap in self.stages.values() if tap == name)


def record(classifier: Classifier, image: ImageSource, taps: str | Iterable[str] = "stages") -> Recording:
    """Run the network once on `image` and keep what lies between the taps and the logits.

    Args:
        image: a picture, a list of pictures, or a preprocessed N×3×H×W tensor.
        taps: "stages", or names of stages and taps.
    Returns:
        A `Recording`: `.logits` (N×C), `.activations` (tap → N×K×h×w), `.evidence(target)`.
    Raises:
        ValueError: unknown tap, a picture that cannot be used, non-finite logits.

    The module is run in evaluation mode and left exactly as it was, whatever happens.
    """
    check_classifier(classifier, "record")
    stages = classifier.select(taps)
    x = classifier.preprocess(image)
    with classifier.lock, torch.inference_mode(False), torch.enable_grad(), undisturbed(classifier.module):
        sites, y = _pass(classifier, x, list(stages.values()), twice=False)
        if sites is None:
            sites, y = _pass(classifier, x, list(stages.values()), twice=True)
    assert sites is not None
    check_finite(y.detach(), classifier.name)
    return Recording(classifier, x, stages, sites, y)


def capture(
    classifier: Classifier, image: ImageSource, target: Target = None, taps: str | Iterable[str] = "stages"
) -> Any:
    """One forward pass and one backward pass that stops at the shallowest tap: the `Evidence` for a decision.

    Args:
        classifier: from `load` or `wrap`. image: a picture, a list of them, or a preprocessed N×3×H×W tensor.
        target: class index, label, callable on one picture's logits, or None for the top class; a list of such gives
            a list of `Evidence` (one forward pass, one backward pass each).
        taps: "stages", or names of stages and taps.

    Example:
        >>> import camwidgets
        >>> classifier = camwidgets.load("efficientnet_lite0")
        >>> evidence = camwidgets.capture(classifier, camwidgets.samples.picture("cat"), target="tabby")
        >>> evidence.gradients["head"].shape
        torch.Size([1, 1280, 7, 7])
    """
    check_classifier(classifier, "capture")
    several = isinstance(target, (list, tuple))
    targets = list(target) if several else [target]
    if not targets:
        raise ValueError("an empty list of targets was given")
    for one in targets:
        classifier.check_target(one)
    recording = record(classifier, image, taps)
    found = [
        recording.evidence(one, last=one is targets[-1] and i == len(targets) - 1) for i, one in enumerate(targets)
    ]
    return found if several else found[0]


# ---------------------------------------------------------------------------------------------- the forward pass


def _pass(
    classifier: Classifier, x: Tensor, taps: Sequence[Tap], twice: bool
) -> tuple[dict[str, Tensor] | None, Tensor]:
    """One forward pass with hooks at the taps. Returns no sites if a tapped value was overwritten in place."""
    catcher = Catcher(taps, twice)
    with catcher.attached(classifier.module):
        y = classifier.logits(x)
    missing = [str(tap) for tap in taps if tap not in catcher.sites]
    if missing:
        raise ValueError(f"the forward pass of {classifier.name} did not reach the tap {missing[0]!r}")
    if any(site._version != catcher.versions[tap] for tap, site in catcher.sites.items()):
        return None, y
    return catcher.sites, y


# ---------------------------------------------------------------------------------------------------- the score


def _scores(classifier: Classifier, y: Tensor, target: Target) -> tuple[tuple[int | str, ...], Tensor]:
    """Class indices (or the callable's name) and the N scores, still in the graph."""
    n = len(y)
    if callable(target):
        scores = torch.stack([call_target(target, row) for row in y])
        return (getattr(target, "__name__", type(target).__name__),) * n, scores
    if target is None:
        indices = y.detach().argmax(1).tolist()
    elif one_each(target):
        indices = [classifier.index(one) for one in target]
    else:
        indices = [classifier.index(target)] * n
    if len(indices) != n:
        raise ValueError(f"{len(indices)} targets were given for {n} pictures")
    return tuple(indices), y[torch.arange(n, device=y.device), torch.tensor(indices, device=y.device)]


def call_target(target: Any, row: Tensor) -> Tensor:
    """A callable gets one picture's vector of logits; one written for a batch (1×C) is served too."""
    try:
        score = target(row)
    except IndexError:
        try:
            score = target(row[None])
        except IndexError as error:
            raise ValueError(f"the target callable reads beyond the {len(row)} logits of a picture: {error}") from error
    if not isinstance(score, Tensor) or score.numel() != 1:
        got = f"shape {tuple(score.shape)}" if isinstance(score, Tensor) else type(score).__name__
        raise ValueError(f"a target callable must return one number (a tensor) per picture; it returned {got}")
    return score.reshape(())


def _plain(tensor: Tensor) -> Tensor:
    """Half precision to float32; float32 and float64 as they are."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def channels_first(tensor: Tensor, tap: Tap) -> Tensor:
    """The raw tensor of a tap as N×K×h×w; of a sequence N×s×d the tokens of the picture alone."""
    if tap.layout == "channels-first":
        return tensor
    if tap.layout == "channels-last":
        return tensor.permute(0, 3, 1, 2)
    if tensor.ndim != 3 or tensor.shape[1] != tap.tokens:
        raise ValueError(
            f"the tap {str(tap)!r} holds {tap.tokens} tokens at the classifier's input size, for this input "
            f"{'×'.join(map(str, tensor.shape))}: resize the input, or wrap the network with input_size="
        )
    h, w = tap.size
    return tensor[:, tap.prefix : tap.prefix + h * w].transpose(1, 2).reshape(len(tensor), -1, h, w)
