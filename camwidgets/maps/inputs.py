r"""Maps of the input's own pixels: gradients of the score y with respect to the input x, plain, averaged or integrated.

They explain the preprocessed input that the network is given; gradients are per unit of it (normalised colours).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..classifiers.checks import check_finite
from ..classifiers.guards import undisturbed
from .guided import RECTIFIERS, GuidedRule
from .method import Method, Parameter, Request
from .operations import logits_out_of_place, trial_input
from .passes import CPU_BATCH, GPU_BATCH, Passes, _halved

if TYPE_CHECKING:
    from ..classifiers.classifier import Classifier

Make = Callable[[int, int], Tensor]
CAP = 99.0
CAPPED = Parameter("cap", CAP, "percentile at which values are cut; 100 = not at all", low=50, high=100)
COLOURS: dict[str, Callable[[Tensor], Tensor]] = {
    "positive": lambda values: torch.relu(values.sum(0)),
    "absolute": lambda values: values.abs().sum(0),
    "largest": lambda values: values.abs().amax(0),
}


def capped(values: Tensor, percentile: float) -> Tensor:
    """Values cut at a percentile of theirs, so that a few pixels do not hide the others (Smilkov et al., section 3)."""
    if percentile >= 100:
        return values
    limit = float(np.percentile(values.detach().cpu().numpy(), percentile))
    return values.clamp(max=limit) if limit > 0 else values  # fewer pixels count than would be cut


def saliency(request: Request, colours: str = "largest", cap: float = CAP) -> Tensor:
    r"""Saliency: M = max_colours |∂y/∂x|.

    Simonyan et al., "Deep Inside Convolutional Networks", 2014, section 3.1.
    """
    return capped(COLOURS[colours](_gradient(request)), cap)


def gradient_times_input(request: Request, colours: str = "positive", cap: float = CAP) -> Tensor:
    r"""Gradient × input: M = ReLU(Σ_colours x ⊙ ∂y/∂x), x as the network is given it (grey is 0).

    Shrikumar et al., "Not Just a Black Box", 2016.
    """
    return capped(COLOURS[colours](_gradient(request) * request.x[0]), cap)


def smoothgrad(
    request: Request, samples: int = 50, noise: float = 0.15, seed: int = 0, colours: str = "absolute",
    cap: float = CAP,
) -> Tensor:  # fmt: skip
    r"""SmoothGrad: M = Σ_colours |mean_n ∂y/∂x(x + σ ε_n)|, ε_n standard normal, σ = noise · (max x − min x).

    Smilkov et al., "SmoothGrad", 2017, section 3; 10 to 20 % noise and 50 samples are theirs. Each sample has a random
    sequence of its own: the map does not depend on the batch.
    """
    x = request.x
    sigma = noise * float(x.max() - x.min())

    def make(start: int, stop: int) -> Tensor:
        drawn = [torch.randn(x.shape[1:], generator=_sequence(seed, i)) for i in range(start, stop)]
        return x + sigma * torch.stack(drawn).to(x)

    return capped(COLOURS[colours](summed_gradients(request, make, samples) / samples), cap)


def _sequence(seed: int, i: int) -> torch.Generator:
    return torch.Generator().manual_seed((seed << 20) + i)


def integrated_gradients(
    request: Request, steps: int = 50, baseline: str = "black", colours: str = "positive", cap: float = CAP
) -> Tensor:
    r"""Integrated gradients: IG = (x − b) ⊙ ∫₀¹ ∂y/∂x(b + t(x − b)) dt, M = ReLU(Σ_colours IG).

    Sundararajan et al., "Axiomatic Attribution for Deep Networks", ICML 2017, eq. 1. The integral is a Gauss–Legendre
    sum of `steps` gradients, by captum. Completeness: Σ IG = y(x) − y(b), up to the error of that sum.
    """
    return capped(COLOURS[colours](integrated(request, steps, baseline)), cap)


def integrated(request: Request, steps: int = 50, baseline: str = "black") -> Tensor:
    """The signed integrated gradients of each input value, 3×H×W, in units of y. See `integrated_gradients`."""
    from captum.attr import IntegratedGradients

    b = _baseline(request, baseline)
    size = _fitting(request, request.passes)
    while True:
        forward = _Counted(request, steps)
        try:
            with _ready(request), warnings.catch_warnings():
                # A last batch of one step is fine; captum wonders.
                warnings.filterwarnings("ignore", message="Internal batch size cannot be less")
                found = IntegratedGradients(forward).attribute(
                    request.x.detach().clone(), b, n_steps=steps, internal_batch_size=size
                )
            return found.detach()[0]
        except RuntimeError as error:
            size = _halved(size, error)


class _Counted:
    """The scores of a batch, in the graph; counts what goes through."""

    def __init__(self, request: Request, total: int) -> None:
        self.request, self.total, self.done = request, total, 0

    def __call__(self, x: Tensor) -> Tensor:
        logits = logits_out_of_place(self.request.classifier, x)
        check_finite(logits.detach(), self.request.classifier.name)
        self.done += len(x)
        self.request.passes.counts.forward += len(x)
        self.request.passes.counts.backward += len(x)
        self.request.passes.report(min(self.done, self.total), self.total)
        return self.request.y(logits)


def _baseline(request: Request, name: str) -> Tensor:
    """The input without the picture: black, or the picture's own mean colour; 1×3×H×W."""
    if name == "mean":
        return request.x.mean((2, 3), keepdim=True).expand_as(request.x).contiguous()
    black = request.classifier.preprocess(np.zeros((*request.classifier.input_size, 3), np.uint8))
    return black.amin((2, 3), keepdim=True).to(request.x).expand_as(request.x).contiguous()


def guided_backprop(request: Request, colours: str = "absolute", cap: float = CAP) -> Tensor:
    r"""Guided backprop: M = Σ_colours |R|, R = ∂y/∂x with negative gradients stopped at each ReLU.

    R^l = (A^l > 0) ⊙ (R^{l+1} > 0) ⊙ R^{l+1}. Springenberg et al., "Striving for Simplicity", ICLR 2015 workshop.
    """
    with GuidedRule():
        found = _gradient(request)
    return capped(COLOURS[colours](found), cap)


def not_guided(classifier: Classifier) -> str | None:
    """Why guided backprop cannot serve that network: found by one forward pass over noise."""
    rule = GuidedRule()
    x = trial_input(classifier)
    with classifier.lock, torch.inference_mode(False), torch.no_grad(), undisturbed(classifier.module), rule:
        classifier.logits(x)
    odd = sorted(rule.kinds - RECTIFIERS)
    if odd or not rule.kinds:
        return f"guided backprop is defined for ReLU; {classifier.name} uses {' and '.join(odd) or 'none'}"
    return None


# ------------------------------------------------------------------------------------------ many gradients, in batches


def summed_gradients(request: Request, make: Make, total: int) -> Tensor:
    """Σ_i ∂y/∂x at the inputs `make(start, stop)`, i = 0 … total − 1: 3×H×W, float32 (float64 for a float64 model).

    In batches as `request.passes` allows; a batch that does not fit is halved, with a warning.
    """
    passes = request.passes
    summed: Tensor | None = None
    start, size = 0, _fitting(request, passes)
    while start < total:
        stop = min(total, start + size)
        try:
            found = _gradients(request, make(start, stop))
        except RuntimeError as error:
            size = _halved(size, error)
            continue
        summed = found if summed is None else summed + found
        passes.counts.forward += stop - start
        passes.counts.backward += stop - start
        start = stop
        passes.report(start, total)
    assert summed is not None
    return summed if request.x.dtype == torch.float64 else summed.float()


def _gradients(request: Request, x: Tensor) -> Tensor:
    with _ready(request):
        x = x.detach().clone().requires_grad_()
        logits = logits_out_of_place(request.classifier, x)
        check_finite(logits.detach(), request.classifier.name)
        y = request.y(logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits)
        (found,) = torch.autograd.grad(y.sum(), x)
        return found.sum(0, dtype=torch.promote_types(x.dtype, torch.float32))


@contextmanager
def _ready(request: Request) -> Iterator[None]:
    """The network may be differentiated with respect to its input, and is left as it was."""
    with (
        request.classifier.lock,
        torch.inference_mode(False),
        torch.enable_grad(),
        undisturbed(request.classifier.module),
    ):
        yield


def _gradient(request: Request) -> Tensor:
    return summed_gradients(request, lambda start, stop: request.x, 1)


def _fitting(request: Request, passes: Passes) -> int:
    """Inputs that a batch with its graph may hold: unlike in a plain pass every activation stays."""
    if passes.batch is not None:
        return int(passes.batch)
    h, w = request.classifier.input_size
    values = sum(tap.channels * tap.size[0] * tap.size[1] for tap in request.classifier.taps.values())
    each = request.x.element_size() * 3 * (values * request.size[0] * request.size[1] / (h * w) + request.x[0].numel())
    return max(1, min(GPU_BATCH if request.x.is_cuda else CPU_BATCH, int(passes.memory / each)))


_NEEDS = ("gradients",)


def _shown(colours: str) -> tuple[Parameter, Parameter]:
    return (
        Parameter("colours", colours, "how the three colours become one value", choices=tuple(COLOURS)),
        CAPPED,
    )


METHODS = (
    Method(
        "saliency", "Saliency", saliency, "max_colours |∂y/∂x|",
        "Simonyan et al., 2014, section 3.1", kind="picture", needs=_NEEDS, parameters=_shown("largest"),
    ),
    Method(
        "gradient-input", "Gradient × input", gradient_times_input, "ReLU(Σ_colours x ⊙ ∂y/∂x)",
        "Shrikumar et al., 2016", kind="picture", needs=_NEEDS, parameters=_shown("positive"),
    ),
    Method(
        "smoothgrad", "SmoothGrad", smoothgrad, "Σ_colours |mean_n ∂y/∂x(x + σ ε_n)|",
        "Smilkov et al., 2017, section 3", kind="picture", needs=("gradients", "many forwards"),
        parameters=(
            Parameter("samples", 50, "noisy copies of the picture", low=1, high=100_000),
            Parameter("noise", 0.15, "standard deviation of the noise, in shares of the input's range", low=0, high=1),
            Parameter("seed", 0, "of the random noise", low=0, high=1_000_000_000),
            *_shown("absolute"),
        ),
    ),
    Method(
        "integrated-gradients", "Integrated gradients", integrated_gradients,
        "ReLU(Σ_colours (x − b) ∫ ∂y/∂x(b + t(x − b)) dt)",
        "Sundararajan et al., ICML 2017, eq. 1; by captum", kind="picture", needs=("gradients", "many forwards"),
        parameters=(
            Parameter("steps", 50, "gradients along the way from the baseline", low=1, high=10_000),
            Parameter("baseline", "black", "the input without the picture", choices=("black", "mean")),
            *_shown("positive"),
        ),
    ),
    Method(
        "guided-backprop", "Guided backprop", guided_backprop,
        "Σ_colours |R|, R^l = (A^l > 0)(R^{l+1} > 0) R^{l+1}",
        "Springenberg et al., 2015; fig. 1 b", kind="picture", needs=_NEEDS,
        parameters=_shown("absolute"), unfit=not_guided,
    ),
)  # fmt: skip
