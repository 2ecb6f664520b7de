"""Segments: the part of a network between two taps, run alone on whatever values are put in at the lower one.

The user's module is run as it is; a hook at the lower tap puts other values in, a hook at the upper one takes the
result and ends the pass. What lies below the lower tap is fed a small blank picture: nothing of it is used, unless a
skip connection goes around the lower tap, in which case the real picture is run again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..classifiers.activations import activation_of
from ..classifiers.classifier import Classifier
from ..classifiers.guards import undisturbed
from ..classifiers.taps import CLIPPED, Tap

BLANK_SIDE = 64
RECTIFIED = frozenset({"relu", *CLIPPED})


class Segment:
    """What lies between `lower` and `upper` (None: the logits) of a classifier.

    Attributes:
        x: the 1×3×H×W input that is run where a skip connection goes around the lower tap.
    """

    def __init__(self, classifier: Classifier, lower: Tap, upper: Tap | None, x: Tensor) -> None:
        order = {tap: i for i, tap in enumerate(classifier.taps)}
        if upper is not None and order[lower] >= order[upper]:
            raise ValueError(
                f"the tap {str(lower)!r} does not lie below {str(upper)!r}: a decision rests on earlier taps"
            )
        self.classifier, self.lower, self.upper, self.x = classifier, lower, upper, x
        self._needs_picture = lower.bypassed

    def run(self, values: Tensor) -> Tensor:
        """The segment's result for values n×K×h×w at the lower tap: n×K'×h'×w' before the upper tap's activation
        (where that is rectified or clipped and can be read; else after it), or n×C logits.

        Gradients flow to `values` if they ask for them. The whole map or any window of it may be given; what the
        network pads at its border it then pads at the window's.
        """
        if not self._needs_picture:
            try:
                out = self._pass(values, self._blank())
                if len(out) == len(values):
                    return out
            except (RuntimeError, ValueError, IndexError, TypeError):
                # The part above looks at what is below (its shape, say): only the real picture will do.
                if values.shape[-2:] != self.lower.size:
                    raise
            self._needs_picture = True
        return self._pass(values, self.x.expand(len(values), -1, -1, -1))

    def _blank(self) -> Tensor:
        side = [min(BLANK_SIDE, s) for s in self.x.shape[2:]]
        return self.x.new_zeros((1, 3, *side))

    def _pass(self, values: Tensor, x: Tensor) -> Tensor:
        raw = values if self.lower.layout == "channels-first" else values.permute(0, 2, 3, 1)
        splice = _Splice(self.lower, self.upper, raw)
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


class _Splice(TorchFunctionMode):
    """Hooks that put values in at one tap and take them out at another."""

    def __init__(self, lower: Tap, upper: Tap | None, values: Tensor) -> None:
        super().__init__()
        self.lower, self.values = lower, values
        self.out = read_site(upper) if upper is not None else None
        self.upper = upper
        self.calls: Counter[str] = Counter()
        self.spliced = False
        self.awaited: list[tuple[Tensor, Tap]] = []

    @contextmanager
    def attached(self, module: torch.nn.Module) -> Iterator[None]:
        names = {self.lower.module, *([self.out[0]] if self.out else [])}
        with ExitStack() as stack:
            for name, child in module.named_modules():
                if name in names:
                    for handle in (
                        child.register_forward_pre_hook(lambda m, args, n=name: self.enter(n, args)),
                        child.register_forward_hook(lambda m, args, out, n=name: self.leave(n, out)),
                    ):
                        stack.callback(handle.remove)
            if self.lower.function or (self.upper is not None and self.upper.function):
                stack.enter_context(self)
            yield

    def enter(self, name: str, args: Any) -> None:
        self.calls[name] += 1
        if self.out == (name, self.calls[name] - 1, "input"):
            self.reached(args[0])

    def leave(self, name: str, out: Any) -> Any:
        site = (name, self.calls[name] - 1)
        if site == (self.lower.module, self.lower.call):
            if not self.lower.function:
                out = self.put_in()
            else:
                self.awaited.append((out, self.lower))
        if self.out == (*site, "output"):
            self.reached(out)
        if self.upper is not None and self.upper.function and self.out == (*site, "function"):
            self.awaited.append((out, self.upper))
        return out

    def put_in(self) -> Tensor:
        self.spliced = True
        return self.values.clone()  # the network may overwrite what it is given

    def reached(self, value: Tensor) -> None:
        if self.spliced:
            raise _Reached(value)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").strip("_")
        mine = (tap for out, tap in self.awaited if args and args[0] is out)
        tap = next((tap for tap in mine if activation_of(name, args, kwargs) == tap.function), None)
        result = func(*args, **kwargs)
        if tap is self.lower and not self.spliced:
            return self.put_in()
        if tap is not None and tap is self.upper:
            self.reached(result)
        return result


def read_site(tap: Tap) -> tuple[str, int, str]:
    """Where a decision at `tap` is read: before a rectified or clipped activation if that is possible, else after.

    A clipped activation that saturates has no gradient; its pre-activation has. For a plain ReLU and a positive feature
    the two are the same number.
    """
    if tap.before is not None and tap.activation in RECTIFIED:
        return tap.before
    return tap.module, tap.call, "function" if tap.function else "output"


def activated(values: Tensor, tap: Tap) -> Tensor:
    """What the upper tap's activation makes of a segment's result, to hold it against the recorded activation."""
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
            raw = value.detach()[0].clone()
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
