r"""gAP: gradient-based activation propagation ([000] ch. 5, eq. 5.2–5.5): which channels below support a decision.

A decision Z is one number: a class logit, or one feature F^{l+1}[k', y, x]. Its evidence at a lower tap l:

    G_k = ∂Z / ∂F^l_k        A_k = G_k ⊙ F^l_k        α_k = mean_yx A_k        position = argmax_yx A_k

Two refinements, both measured: the decision at a rectified or clipped feature is its pre-activation (a ReLU6 at 6
has no gradient), and a feature's evidence is computed in the small window of the tap below that it can see.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ..classifiers.classifier import Classifier
from ..classifiers.taps import Tap
from ..evidence import Evidence, record
from .contributions import Contributions, Decision
from .segment import Segment, activated, read_before
from .windows import Windows, windows

CHUNK_BYTES = 256 * 2**20  # how much a batch of windows may take, values and gradients together
# How far a window's value may lie from the recorded one, relative, before the window is given up: rounding only.
AGREE = {torch.float64: 1e-9}
AGREE_SINGLE = 1e-4


class Decomposer:
    """Decomposes decisions of one picture: keeps the activations of all taps, and a `Segment` per pair of taps.

    Many decisions of one tap are decomposed together. Made from an `Evidence` of one picture.
    """

    def __init__(self, evidence: Evidence) -> None:
        if len(evidence) != 1:
            raise ValueError(
                f"one picture is decomposed at a time; this evidence holds {len(evidence)}: take evidence[i]"
            )
        self.evidence = evidence
        self.classifier = evidence.classifier
        self._segments: dict[tuple[str, str], Segment] = {}
        self._no_windows: set[tuple[str, str]] = set()
        self._before: dict[str, Tensor] | None = None

    def sized(self, tap: Tap) -> Tap:
        """The tap as it is in this picture: h×w of what was recorded there, whatever size the classifier is used at."""
        h, w = self.evidence.activations[tap].shape[2:]
        if tap.size == (h, w):
            return tap
        here = copy.copy(tap)
        here.size = (h, w)
        return here

    def of_class(self, tap: Tap) -> Contributions:
        """The evidence of the class score at a tap: from the gradients that are there already."""
        tap = self.sized(tap)
        A, g = self.evidence.activations[tap][0], self.evidence.gradients[tap][0]
        return Contributions(tap, None, float(self.evidence.scores[0]), g, g * A, (0, 0), self.before(tap))

    def before(self, tap: Tap) -> Tensor | None:
        """K×h×w values before the activation of a tap that clips, else None."""
        if tap.clipped and self._before is None:
            wanted = [t for t in self.evidence.stages.values() if t.clipped]
            self._before = read_before(self.classifier, self.evidence.x, wanted)
        return (self._before or {}).get(tap)

    def of_features(self, decisions: Sequence[Decision], upper: Tap, lower: Tap) -> list[Contributions]:
        """The evidence at `lower` of several features of `upper`, all in a few batched passes."""
        if not decisions:
            return []
        upper, lower = self.sized(upper), self.sized(lower)
        for one in decisions:
            self._check(one, upper)
        geometry = windows(lower, upper)
        key = (str(upper), str(lower))
        if geometry.whole or lower.bypassed or key in self._no_windows:
            return self._whole(decisions, upper, lower)
        found = self._windowed(decisions, upper, lower, geometry)
        if found is None:
            self._no_windows.add(key)
            return self._whole(decisions, upper, lower)
        return found

    def along_path(self, seeds: Tensor, upper: Tap, lower: Tap) -> tuple[Tensor, Tensor]:
        """Seeds n×K'×h'×w' (∂y/∂F at the upper tap, cut to one path each) to (gradient, attention) at the lower."""
        g = torch.stack(list(self._handed_down(iter(seeds), upper, lower)))
        return g, g * self.evidence.activations[lower]

    def along_channels(
        self, seeds: Iterable[tuple[Decision, Tensor]], upper: Tap, lower: Tap
    ) -> Iterator[Contributions]:
        """The same for paths that end in one channel each: (its strongest place, its h'×w' seed).

        One by one: besides the graph of one pass through the segment, the evidence of one path is held at a time.
        """
        upper, lower = self.sized(upper), self.sized(lower)
        F, A, before = self.evidence.activations[upper][0], self.evidence.activations[lower][0], self.before(lower)
        seeds = list(seeds)
        whole = (self._one_channel(F, one.channel, seed) for one, seed in seeds)
        for (one, seed), g in zip(seeds, self._handed_down(whole, upper, lower), strict=True):
            worth = float((seed.to(F) * F[one.channel]).sum())
            yield Contributions(lower, one, worth, g, g * A, (0, 0), before)

    @staticmethod
    def _one_channel(like: Tensor, channel: int, seed: Tensor) -> Tensor:
        full = torch.zeros_like(like)
        full[channel] = seed
        return full

    def _handed_down(self, seeds: Iterable[Tensor], upper: Tap, lower: Tap) -> Iterator[Tensor]:
        """Each seed's gradient at the lower tap, K×h×w."""
        segment = self._segment(upper, lower)
        with torch.inference_mode(False), torch.enable_grad():
            values = self.evidence.activations[lower].detach().clone().requires_grad_()
            # The seeds are ∂y/∂(activation): the slope of the activation itself comes first.
            out = segment.run_through(values)
        for seed in seeds:
            with torch.inference_mode(False):
                yield _reached(gradient(out, values, seed[None].clone()), upper, lower)[0]

    def _check(self, decision: Decision, tap: Tap) -> None:
        K, (h, w) = tap.channels, tap.size
        if not 0 <= decision.channel < K:
            raise ValueError(f"channel {decision.channel} is out of range: {str(tap)!r} has channels 0 … {K - 1}")
        if not (0 <= decision.y < h and 0 <= decision.x < w):
            raise ValueError(f"position ({decision.y}, {decision.x}) is out of range: {str(tap)!r} is {h}×{w}")

    def _segment(self, upper: Tap, lower: Tap) -> Segment:
        key = (str(upper), str(lower))
        if key not in self._segments:
            self._segments[key] = Segment.of(self.evidence, lower, upper)
        return self._segments[key]

    def _whole(self, decisions: Sequence[Decision], upper: Tap, lower: Tap) -> list[Contributions]:
        """One pass through the segment on the whole map, then one backward pass through it for each decision."""
        A = self.evidence.activations[lower]
        segment = self._segment(upper, lower)
        found = []
        with torch.inference_mode(False), torch.enable_grad():
            values = A.detach().clone().requires_grad_()
            out = segment.run(values)[0]
            picked = torch.stack([out[d.channel, d.y, d.x] for d in decisions])
            gradients = [_reached(gradient(one, values), upper, lower) for one in picked.unbind()]
        for decision, z, g in zip(decisions, picked.tolist(), gradients, strict=True):
            found.append(Contributions(lower, decision, z, g[0], g[0] * A[0], (0, 0), self.before(lower)))
        return found

    def _windowed(
        self, decisions: Sequence[Decision], upper: Tap, lower: Tap, geometry: Windows
    ) -> list[Contributions] | None:
        """All decisions in a batch of windows; None if a window does not reproduce the recorded activation."""
        h, w = geometry.size
        per_window = 3 * lower.channels * h * w * 4
        chunk = max(1, CHUNK_BYTES // per_window)
        found: list[Contributions] = []
        for i in range(0, len(decisions), chunk):
            part = self._one_batch(decisions[i : i + chunk], upper, lower, geometry)
            if part is None:
                return None
            found += part
        return found

    def _one_batch(
        self, decisions: Sequence[Decision], upper: Tap, lower: Tap, geometry: Windows
    ) -> list[Contributions] | None:
        A = self.evidence.activations[lower][0]
        h, w = geometry.size
        corners = [geometry.corner(d.y, d.x) for d in decisions]
        values = torch.stack([A[:, y : y + h, x : x + w] for y, x in corners])
        with torch.inference_mode(False), torch.enable_grad():
            values = values.detach().clone().requires_grad_()
            try:
                out = self._segment(upper, lower).run(values)
            except RuntimeError:
                return None  # the segment does not take windows (a fixed size in it)
            z = self._pick(out, decisions, geometry)
            if z is None or not self._agree(z.detach(), decisions, upper):
                return None
            g = _reached(gradient(z.sum(), values), upper, lower)
        attention, worth = g * values.detach(), z.tolist()
        before = self.before(lower)
        return [
            Contributions(
                lower,
                d,
                worth[i],
                g[i],
                attention[i],
                (y, x),
                None if before is None else before[:, y : y + h, x : x + w],
            )
            for i, (d, (y, x)) in enumerate(zip(decisions, corners, strict=True))
        ]

    @staticmethod
    def _pick(out: Tensor, decisions: Sequence[Decision], geometry: Windows) -> Tensor | None:
        places = [geometry.inside(d.y, d.x) for d in decisions]
        if any(not (0 <= y < out.shape[2] and 0 <= x < out.shape[3]) for y, x in places):
            return None
        return torch.stack(
            [out[i, d.channel, y, x] for i, (d, (y, x)) in enumerate(zip(decisions, places, strict=True))]
        )

    def _agree(self, z: Tensor, decisions: Sequence[Decision], upper: Tap) -> bool:
        """Whether the windows give the activations that the whole picture gave: then the window was large enough."""
        A = self.evidence.activations[upper][0]
        recorded = torch.stack([A[d.channel, d.y, d.x] for d in decisions])
        allowed = AGREE.get(recorded.dtype, AGREE_SINGLE) * recorded.abs().clamp(min=1e-3)
        return bool(((activated(z, upper) - recorded).abs() <= allowed).all())


def gradient(out: Tensor, values: Tensor, seed: Tensor | None = None) -> Tensor | None:
    """∂out/∂values, times a seed of out's shape; the graph stays. None where out does not rest on the values."""
    if not out.requires_grad:
        return None
    return torch.autograd.grad(out, values, seed, retain_graph=True, allow_unused=True)[0]


def _reached(found: Tensor | None, upper: Tap, lower: Tap) -> Tensor:
    if found is None:
        raise ValueError(
            f"nothing of {str(lower)!r} reaches {str(upper)!r}: they lie side by side, not one above the other; a "
            f"decision is decomposed along taps that follow one another, as the stages do"
        )
    return found


def step(
    source: Evidence | tuple[Classifier, Any], decision: Decision | int | str | Callable[..., Any] | None, tap: str
) -> Contributions:
    """The evidence of one decision at one tap: attention maps A_k, contributions α_k, positions, completeness.

    Args:
        source: an `Evidence` that holds both taps, or (classifier, picture).
        decision: a `Decision` (feature), or the class: index, label, callable; None = the top class. With an `Evidence`
            None, its own target: the gradients of another class are not in it.
        tap: stage or tap name where the evidence is sought; below the decision's.
    Raises:
        ValueError: a class other than the evidence's own, an unknown tap, a feature that is out of range, a tap that
            does not lie below it or on no path to it.

    Example:
        >>> import camwidgets
        >>> classifier = camwidgets.load("efficientnet_lite0")
        >>> found = step((classifier, camwidgets.samples.picture("cat")), None, "S5")
        >>> found.completeness > 0.9
        True
    """
    feature = decision if isinstance(decision, Decision) else None
    if isinstance(source, Evidence):
        evidence = source
        if feature is None:
            _check_own(evidence, decision)
    else:
        classifier, image = source
        names = [tap, feature.tap] if feature else [tap]
        with record(classifier, image, names) as recording:
            evidence = recording.evidence(None if feature else decision)
    lower = _recorded(evidence, tap)
    decomposer = Decomposer(evidence)
    if feature is None:
        return decomposer.of_class(lower)
    upper = _recorded(evidence, feature.tap)
    return decomposer.of_features([feature], upper, lower)[0]


def _recorded(evidence: Evidence, name: str) -> Tap:
    tap = evidence.classifier.tap(name)
    evidence.at(tap)
    return tap


def _check_own(evidence: Evidence, decision: Any) -> None:
    """Raise a ValueError for a class that an evidence is not of."""
    own = evidence.targets[0]
    if decision is None or (not callable(decision) and evidence.classifier.index(decision) == own):
        return
    name = evidence.classifier.labels[own] if isinstance(own, int) else own
    raise ValueError(
        f"this evidence is of the class {name!r} and holds no gradients of {decision!r}: give None for its own class, "
        f"or (classifier, image), or the evidence of that class, capture(classifier, image, target=…)"
    )


__all__ = ["Contributions", "Decision", "Decomposer", "gradient", "step"]
