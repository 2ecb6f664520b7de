"""Many forward passes: in batches, under a memory budget, with progress and cancellation."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..classifiers.checks import check_finite
from ..classifiers.guards import undisturbed

if TYPE_CHECKING:
    from ..classifiers.classifier import Classifier

Progress = Callable[[float, float], None]  # (done, total) in steps; whatever it raises ends the work
Make = Callable[[int, int], Tensor]  # (start, stop) → the inputs start … stop − 1
MEMORY = 1 << 30  # bytes that the activations of one batch may take
CPU_BATCH, GPU_BATCH = 16, 256  # beyond these a batch is no faster


class NotEnoughMemory(RuntimeError):
    """Even one picture does not fit into memory."""


@dataclass
class Counts:
    """How many pictures went through the network, each way."""

    forward: int = 0
    backward: int = 0


@dataclass(frozen=True)
class Passes:
    """Runs a network many times, and counts.

    Attributes:
        batch: pictures a batch; None = as `memory` (bytes) allows, at most 16 on a CPU. Results do not depend on it
            (beyond 1e-5). A batch that does not fit is halved, with a warning.
        progress: called with (done, total); whatever it raises ends the work, and the network is left as it was.
        counts: pictures that went through the network so far; who runs it by other means adds to it.

    Example:
        >>> import camwidgets
        >>> classifier = camwidgets.load("toy")
        >>> passes = Passes(batch=4)
        >>> passes.map(classifier, lambda start, stop: torch.zeros(stop - start, 3, 96, 96), 10).shape
        torch.Size([10, 10])
        >>> passes.counts
        Counts(forward=10, backward=0)
    """

    batch: int | None = None
    memory: int = MEMORY
    progress: Progress | None = None
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        if self.batch is not None and (isinstance(self.batch, bool) or int(self.batch) != self.batch or self.batch < 1):
            raise ValueError(f"a batch holds a whole number of pictures, at least 1; got {self.batch!r}")

    def map(
        self, classifier: Classifier, make: Make, total: int, reduce: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """What `reduce` (default: nothing) makes of the N×C logits of `total` inputs `make(start, stop)`, in order."""
        found: list[Tensor] = []
        start, size = 0, self.batch
        with classifier.lock, torch.inference_mode(False), torch.no_grad(), undisturbed(classifier.module):
            while start < total:
                try:
                    size = size or self.fitting(classifier, make(start, start + 1))
                    stop = min(total, start + size)
                    logits = _run(classifier, make(start, stop))
                except RuntimeError as error:
                    size = _halved(size or 1, error)
                    continue
                found.append(reduce(logits) if reduce else logits)
                self.counts.forward += stop - start
                start = stop
                self.report(start, total)
        return torch.cat(found)

    def report(self, done: float, total: float) -> None:
        """Say how far the work is; this is where a cancelled work ends."""
        if self.progress is not None:
            self.progress(done, total)

    def step(self, i: int, n: int) -> Passes:
        """For the i-th of n equal steps of a longer work (i from 0): the same counts, a share of the progress."""
        if self.progress is None or n == 1:
            return self
        return replace(self, progress=lambda done, total: self.report(i + done / total, n))

    def fitting(self, classifier: Classifier, x: Tensor) -> int:
        """Pictures of the size of `x` that a batch may hold."""
        if self.batch is not None:
            return int(self.batch)
        h, w = classifier.input_size
        largest = max((tap.channels * tap.size[0] * tap.size[1] for tap in classifier.taps.values()), default=0)
        # Without a graph three of the largest activations are alive at a time: input, result and workspace.
        each = x.element_size() * (3 * largest * x.shape[2] * x.shape[3] / (h * w) + 4 * x[0].numel())
        return max(1, min(GPU_BATCH if x.is_cuda else CPU_BATCH, int(self.memory / each)))


def _run(classifier: Classifier, x: Tensor) -> Tensor:
    logits = classifier.logits(x)
    check_finite(logits, classifier.name)
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def _halved(size: int, error: RuntimeError) -> int:
    """Half the batch if `error` says that memory ran out; any other error goes on its way."""
    if not isinstance(error, torch.cuda.OutOfMemoryError) and "allocate memory" not in str(error):
        raise error
    if size == 1:
        raise NotEnoughMemory("even one picture does not fit into memory") from error
    warnings.warn(f"a batch of {size} pictures does not fit into memory: going on with {size // 2}", stacklevel=4)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return size // 2
