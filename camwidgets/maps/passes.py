"""Many forward passes: in batches, under a memory budget, with progress and cancellation."""

from __future__ import annotations

import contextlib
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
CACHE = 24 << 20  # bytes of the largest activation of a batch on a CPU: beyond its caches a batch is slower, not faster
CPU_BATCH, GPU_BATCH = 16, 256  # beyond these a batch is no faster
KEPT = 31 << 20  # bytes of the largest block that glibc can be led to keep for the next pass (just below its limit)


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
        logits = _Logits(classifier)
        keep_memory()

        def run(start: int, stop: int) -> None:
            y = logits(make(start, stop))
            found.append(reduce(y) if reduce else y)
            self.counts.forward += stop - start
            self.report(stop, total)

        with classifier.lock, torch.inference_mode(False), torch.no_grad(), undisturbed(classifier.module):
            self.batches(total, lambda: self.fitting(classifier, make(0, 1)), run)
        return torch.cat(found)

    def batches(self, total: int, size: Callable[[], int], run: Callable[[int, int], None]) -> None:
        """`run(start, stop)` for 0 … total, `size()` at a time; a batch that does not fit is halved and run again."""
        start, most = 0, self.batch
        while start < total:
            try:
                most = most or size()
                stop = min(total, start + most)
                run(start, stop)
            except RuntimeError as error:
                most = _halved(most or 1, error)
                continue
            start = stop

    def report(self, done: float, total: float) -> None:
        """Say how far the work is; this is where a cancelled work ends."""
        if self.progress is not None:
            self.progress(done, total)

    def step(self, i: int, n: int) -> Passes:
        """For the i-th of n equal steps of a longer work (i from 0): the same counts, a share of the progress."""
        if self.progress is None or n == 1:
            return self
        return replace(self, progress=lambda done, total: self.report(i + done / total, n))

    def fitting(self, classifier: Classifier, x: Tensor, values: float | None = None) -> int:
        """Pictures of the size of `x` that a batch may hold.

        values: activations that one picture of the classifier's input size keeps alive at a time; None: as many as a
        pass without a graph does.
        """
        if self.batch is not None:
            return int(self.batch)
        h, w = classifier.input_size
        area = x.shape[2] * x.shape[3] / (h * w)
        largest = max((tap.channels * tap.size[0] * tap.size[1] for tap in classifier.taps.values()), default=1)
        # Without a graph three of the largest activations are alive at a time: input, result and workspace.
        each = x.element_size() * ((3 * largest if values is None else values) * area + 4 * x[0].numel())
        most = GPU_BATCH if x.is_cuda else min(CPU_BATCH, int(CACHE / (x.element_size() * largest * area)))
        return max(1, min(most, int(self.memory / each)))


def keep_memory() -> None:
    """Lead the C library to keep freed activations for the next pass instead of handing them back to the system.

    Fetched anew, every page of theirs is cleared by the kernel first: a quarter of the time of many small passes on a
    CPU. glibc raises its threshold by itself when a block of that size is freed (mallopt(3), M_MMAP_THRESHOLD), which
    comes late or never where batches are small. The block is not written to, so it costs no memory and next to no time;
    at most 62 MiB that were in use before stay with the process. Other C libraries do not mind.
    """
    with contextlib.suppress(RuntimeError):  # where memory is that short, the passes themselves will say so
        torch.empty(KEPT, dtype=torch.uint8)


class _Logits:
    """Logits of batch after batch; on a CPU in the memory layout in which convolutions are fastest."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self.last = True  # channels last, until the network turns out to need them first

    def __call__(self, x: Tensor) -> Tensor:
        y = self._run(x)
        check_finite(y, self.classifier.name)
        return y.float() if y.dtype in (torch.float16, torch.bfloat16) else y

    def _run(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or not self.last:
            return self.classifier.logits(x)
        try:
            return self.classifier.logits(x.contiguous(memory_format=torch.channels_last))
        except RuntimeError as error:
            if "view size is not compatible" not in str(error):
                raise
        self.last = False  # `x.view(n, -1)` in somebody's forward needs the usual layout
        return self.classifier.logits(x.contiguous())


def _halved(size: int, error: RuntimeError) -> int:
    """Half the batch if `error` says that memory ran out; any other error goes on its way."""
    if not isinstance(error, torch.cuda.OutOfMemoryError) and "allocate memory" not in str(error):
        raise error
    if size == 1:
        raise NotEnoughMemory("even one picture does not fit into memory") from error
    warnings.warn(f"a batch of {size} pictures does not fit into memory: going on with {size // 2}", stacklevel=5)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return size // 2
