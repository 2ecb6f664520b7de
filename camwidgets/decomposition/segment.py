"""Segments: the part of a network between two taps, run alone on whatever values are put in at the lower one.

The user's module is run as it is; a hook at the lower tap puts other values in, a hook at the upper one takes the
result and ends the pass. What lies below the lower tap is fed a small blank picture: nothing of it is used, unless a
skip connection goes around the lower tap, or what lies above looks at the input itself (its size, say). Then the real
picture is run again. The former is known from the tap; the latter shows when the recorded activation of the lower tap
does not give the recorded one of the upper tap, which is tried once for each segment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..catcher import Catcher
from ..classifiers.classifier import Classifier
from ..classifiers.guards import undisturbed
from ..classifiers.taps import CLIPPED, Tap
from ..evidence import Evidence, record

BLANK_SIDE = 64
RECTIFIED = frozenset({"relu", *CLIPPED})
# How far a result may lie from the recorded one, relative to the largest: rounding only.
ROUNDING = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 2.0**-7, torch.bfloat16: 2.0**-5}


class Segment:
    """What lies between `lower` and `upper` (None: the logits) of a classifier.

    Attributes:
        x: the 1×3×H×W input, which is run where a blank picture in its place does not give the same.
    """

    def __init__(
        self,
        classifier: Classifier,
        lower: Tap,
        upper: Tap | None,
        x: Tensor,
        recorded: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        """`recorded`: what the network gives for `x`, 1×K×h×w at the lower tap and 1×K'×h'×w' after the upper tap's
        activation (or 1×C logits). None: it is read with a pass of its own when it is needed.
        """
        order = {tap: i for i, tap in enumerate(classifier.taps)}
        if upper is not None and order[lower] >= order[upper]:
            raise ValueError(
                f"the tap {str(lower)!r} does not lie below {str(upper)!r}: a decision rests on earlier taps"
            )
        self.classifier, self.lower, self.upper, self.x = classifier, lower, upper, x
        self._recorded = recorded
        self._needs_picture, self._tried = lower.bypassed, False

    @classmethod
    def of(cls, evidence: Evidence, lower: Tap, upper: Tap | None) -> Segment:
        """The segment of the network and the picture that `evidence` was recorded of."""
        above = evidence.logits if upper is None else evidence.activations.get(upper)
        below = evidence.activations.get(lower)
        recorded = None if above is None or below is None else (below, above)
        return cls(evidence.classifier, lower, upper, evidence.x, recorded)

    def run(self, values: Tensor) -> Tensor:
        """The segment's result for values n×K×h×w at the lower tap: n×K'×h'×w' before the upper tap's activation
        (where that is rectified or clipped and can be read; else after it), or n×C logits.

        Gradients flow to `values` if they ask for them. The whole map or any window of it may be given; what the
        network pads at its border it then pads at the window's.

        Raises:
            RuntimeError: the segment does not take windows (a fixed size in it, or the input's).
        """
        return self._run(values, self.upper is not None and read_site(self.upper) == self.upper.before)

    def run_through(self, values: Tensor) -> Tensor:
        """As `run`, but n×K'×h'×w' *after* the upper tap's activation, whichever it is and whatever its bounds."""
        return self._run(values, before=False)

    def _run(self, values: Tensor, before: bool) -> Tensor:
        if not self._needs_picture:
            out = self._on_blank(values, before)
            if out is not None:
                return out
            self._needs_picture = True
        return self._pass(values, self.x.expand(len(values), -1, -1, -1), before)

    def _on_blank(self, values: Tensor, before: bool) -> Tensor | None:
        """The result with a blank picture below; None where only the real one will do."""
        below, above = self._known()
        whole = values.shape[1:] == below.shape[1:]
        try:
            out = self._pass(values, self._blank(), before)
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            if not whole:
                raise RuntimeError(f"windows of {str(self.lower)!r} cannot be run: {error}") from error
            return None
        if len(out) != len(values) or (values.requires_grad and not out.requires_grad):
            if not whole:
                raise RuntimeError(f"windows of {str(self.lower)!r} cannot be run: nothing comes of them")
            return None
        if whole and not self._tried:
            one = out[:1].detach()
            if not _same(values[:1], below):
                with torch.no_grad():
                    one = self._pass(below, self._blank(), before)
            if not self._agrees(_as_recorded(one, self.upper, above) if self.upper and before else one, above):
                return None
            self._tried = True
        return out

    def _known(self) -> tuple[Tensor, Tensor]:
        """What was recorded at both ends."""
        if self._recorded is None:
            with record(self.classifier, self.x, [t for t in (self.lower, self.upper) if t is not None]) as found:
                above = found.logits if self.upper is None else found.activations[self.upper]
                self._recorded = found.activations[self.lower], above
        return self._recorded

    def _agrees(self, out: Tensor, recorded: Tensor) -> bool:
        """Whether a result for the recorded activation is what was recorded above it."""
        if out.shape != recorded.shape:
            return False
        kinds = (self.x.dtype, self.classifier.dtype, recorded.dtype)
        allowed = max(ROUNDING.get(kind, 0.0) for kind in kinds if kind is not None)
        return bool((out - recorded).abs().max() <= allowed * recorded.abs().max())

    def _blank(self) -> Tensor:
        side = [min(BLANK_SIDE, s) for s in self.x.shape[2:]]
        return self.x.new_zeros((1, 3, *side))

    def _pass(self, values: Tensor, x: Tensor, before: bool) -> Tensor:
        raw = values if self.lower.layout == "channels-first" else values.permute(0, 2, 3, 1)
        splice = _Splice(self.lower, self.upper, raw, before)
        classifier = self.classifier
        with (
            classifier.lock,
            torch.inference_mode(False),
            undisturbed(classifier.module),
            splice.attached(classifier.module),
        ):
            try:
                out = classifier.logits(x)
            except _Reached as reached:
                out = reached.value
        if not splice.spliced:
            raise ValueError(f"the pass ended before it reached the tap {str(self.lower)!r}")
        if self.upper is not None and self.upper.layout == "channels-last":
            out = out.permute(0, 3, 1, 2)
        return out.float() if out.dtype in (torch.float16, torch.bfloat16) else out


class _Reached(Exception):
    """Ends a pass at the upper tap. Not an error: it carries the value that was asked for."""

    def __init__(self, value: Tensor) -> None:
        super().__init__("upper tap reached")
        self.value = value


class _Splice(Catcher):
    """Puts values in at one tap and takes them out at another, with the hooks that otherwise catch taps."""

    def __init__(self, lower: Tap, upper: Tap | None, values: Tensor, before: bool) -> None:
        super().__init__([lower] if before or upper is None else [lower, upper], twice=False)
        self.lower, self.values = lower, values
        self.before = upper.before if upper is not None and before else None
        self.entered = 0
        self.spliced = False

    @contextmanager
    def attached(self, module: nn.Module) -> Iterator[None]:
        with super().attached(module), ExitStack() as stack:
            if self.before is not None:
                child = module.get_submodule(self.before[0])
                stack.callback(child.register_forward_pre_hook(lambda m, args: self.enter(args)).remove)
                stack.callback(child.register_forward_hook(lambda m, args, out: self.leave(out)).remove)
            yield

    def enter(self, args: Any) -> None:
        if self.before is not None and self.before[1:] == (self.entered, "input"):
            self.reached(args[0])

    def leave(self, out: Any) -> None:
        if self.before is not None and self.before[1:] == (self.entered, "output"):
            self.reached(out)
        self.entered += 1

    def keep(self, tap: Tap, out: Tensor) -> Tensor:
        if tap != self.lower:
            self.reached(out)
            return out
        self.spliced, self.sites[tap] = True, self.values
        values = self.values.to(out.dtype)  # a network in half precision goes on in it
        return values.clone() if values is self.values else values  # the network may overwrite what it is given

    def reached(self, value: Tensor) -> None:
        if self.spliced:
            raise _Reached(value)


def read_site(tap: Tap) -> tuple[str, int, str]:
    """Where a decision at `tap` is read: before a rectified or clipped activation if that is possible, else after.

    A clipped activation that saturates has no gradient; its pre-activation has. For a plain ReLU and a positive feature
    the two are the same number.
    """
    if tap.before is not None and tap.activation in RECTIFIED:
        return tap.before
    return tap.module, tap.call, "function" if tap.function else "output"


def _same(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)


def _as_recorded(out: Tensor, tap: Tap, recorded: Tensor) -> Tensor:
    """A segment's result after the upper tap's activation; bounds that the tap does not tell: the recorded ones."""
    if tap.clipped and tap.activation != "relu6":
        return out.clamp(recorded.min(), recorded.max())
    return activated(out, tap)


def activated(values: Tensor, tap: Tap) -> Tensor:
    """What the upper tap's activation makes of a segment's result, to hold it against the recorded activation.

    Of clipped activations other than ReLU6 the bounds are not told by a tap: these are taken for a ReLU, so that what
    they clip does not agree.
    """
    if read_site(tap) != tap.before:
        return values
    return values.clamp(0, 6) if tap.activation == "relu6" else values.clamp(min=0)


def read_before(classifier: Classifier, x: Tensor, taps: Sequence[Tap]) -> dict[str, Tensor]:
    """Tap → K×h×w values before its activation, for one picture: one forward pass without gradients."""
    found: dict[str, Tensor] = {}
    calls: Counter[str] = Counter()
    sites = {read_site(tap): tap for tap in taps if read_site(tap) == tap.before}

    def keep(name: str, value: Any, place: str) -> None:
        tap = sites.get((name, calls[name], place))
        if tap is not None:
            raw = value.detach()[0].to(torch.promote_types(value.dtype, torch.float32), copy=True)
            found[tap] = raw if tap.layout == "channels-first" else raw.permute(2, 0, 1)

    def leave(name: str, value: Any) -> None:
        keep(name, value, "output")
        calls[name] += 1

    with classifier.lock, torch.inference_mode(False), torch.no_grad(), ExitStack() as stack:
        stack.enter_context(undisturbed(classifier.module))
        for name in {name for name, _, _ in sites}:
            child = classifier.module.get_submodule(name)
            for handle in (
                child.register_forward_pre_hook(lambda m, args, n=name: keep(n, args[0], "input")),
                child.register_forward_hook(lambda m, args, out, n=name: leave(n, out)),
            ):
                stack.callback(handle.remove)
        classifier.logits(x)
    return found
