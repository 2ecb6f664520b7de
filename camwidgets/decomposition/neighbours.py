"""Channel importances as other libraries see them: captum's conductance and internal influence, zennit's LRP.

Each works on a private copy of the network (no in-place activation, all in evaluation mode): these libraries leave
hooks and gradients where they work. Each is asked for the class of an evidence, and its attribution at a tap, K×h×w,
is summed over the places. Both libraries are in the extra `bench`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..classifiers.classifier import Classifier
from ..classifiers.taps import Tap
from ..evidence import record
from .copies import private_copy
from .gap import Decomposer

SMALL = 1e-6  # keeps LRP's shares finite where a sum is 0
Scores = Callable[[Decomposer, Sequence[str]], dict[str, Tensor]]


def conductance(classifier: Classifier, steps: int = 16) -> Scores:
    """Σ_yx of captum's `LayerConductance` (Dhamdhere et al. 2018): ∫ ∂y/∂A · ∂A/∂t dt from zeros to the picture."""
    return _captum(classifier, "LayerConductance", steps)


def internal_influence(classifier: Classifier, steps: int = 16) -> Scores:
    """Σ_yx of captum's `InternalInfluence` (Leino et al. 2018): ∫ ∂y/∂A dt from zeros to the picture."""
    return _captum(classifier, "InternalInfluence", steps)


def relevance(classifier: Classifier) -> Scores:
    """Σ_yx of LRP relevance at the tap by zennit's `EpsilonPlusFlat` (z⁺ in convolutions, ε in linear layers).

    BatchNorm is folded first (`Classifier.prepared`), as zennit's canonizers do. Sums of two tensors (skip connections)
    and means over places that are written as functions, where zennit has no module to hold on to, share relevance in
    proportion to their terms.
    """
    composite = _zennit()
    net = classifier.prepared()

    def scores(decomposer: Decomposer, stages: Sequence[str]) -> dict[str, Tensor]:
        evidence = decomposer.evidence
        # The context stays open for the backward pass: closing it takes the rules away.
        with composite().context(net.module):
            with _SharedSums():
                recording = record(net, evidence.x, list(stages))
            found = recording.evidence(evidence.targets[0], last=True)
        return {stage: found.at(stage)[1][0].sum((1, 2)) for stage in stages}

    return scores


# ---------------------------------------------------------------------------------------------------------- captum


def _captum(classifier: Classifier, name: str, steps: int) -> Scores:
    try:
        from captum import attr
    except ImportError as error:
        raise ImportError("conductance and influence need captum: reinstall camwidgets, which brings it") from error
    twin = private_copy(classifier)

    def scores(decomposer: Decomposer, stages: Sequence[str]) -> dict[str, Tensor]:
        evidence = decomposer.evidence
        found = {}
        for stage in stages:
            tap = evidence.stages[stage]
            method = getattr(attr, name)(twin.logits, _module_of(twin, tap, name))
            with torch.inference_mode(False), torch.enable_grad(), _quiet():
                values = method.attribute(
                    evidence.x.clone(), target=int(evidence.targets[0]), n_steps=steps, internal_batch_size=steps
                )
            first = values[0].detach()
            found[stage] = (first if tap.layout == "channels-first" else first.permute(2, 0, 1)).sum((1, 2))
        return found

    return scores


def _module_of(twin: Classifier, tap: Tap, name: str) -> torch.nn.Module:
    if tap.function is not None or any(t.module == tap.module and t.call for t in twin.taps.values()):
        raise ValueError(
            f"captum's {name} sees the output of modules that are called once, and {str(tap)!r} is an activation "
            f"function or one of several calls; leave this ranking out, or make the activation a module of its own"
        )
    return twin.module.get_submodule(tap.module)


@contextmanager
def _quiet() -> Iterator[None]:
    """captum warns that it asks the input for gradients; it is our copy of it."""
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*required_grads has not been set.*")
        yield


# ---------------------------------------------------------------------------------------------------------- zennit


def _zennit() -> Any:
    try:
        from zennit.composites import EpsilonPlusFlat
    except ImportError as error:
        raise ImportError("LRP needs zennit: reinstall camwidgets, which brings it") from error
    return EpsilonPlusFlat


class _SharedSums(TorchFunctionMode):
    """Inside: a + b of equal shapes and means over places hand relevance down in proportion to their terms."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        name = name if name.endswith("_") and not name.endswith("__") else name.strip("_")  # add_ stays what it is
        tensors = [t for t in args[:2] if isinstance(t, Tensor)]
        if name in ("add", "iadd", "radd") and not kwargs and len(tensors) == 2:
            if tensors[0].shape == tensors[1].shape and any(t.requires_grad for t in tensors):
                return _Sum.apply(*tensors)
        elif name == "mean" and tensors and tensors[0].ndim == 4 and tensors[0].requires_grad:
            return _Mean.apply(tensors[0], *_mean_options(args, kwargs or {}))
        return func(*args, **(kwargs or {}))


def _mean_options(args: Any, kwargs: Any) -> tuple[Any, bool]:
    rest = [*args[1:], None, None]
    return kwargs.get("dim", rest[0]), bool(kwargs.get("keepdim", rest[1]))


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return a + b

    @staticmethod
    def backward(ctx: Any, *relevances: Tensor) -> tuple[Tensor, Tensor]:
        a, b = ctx.saved_tensors
        shared = relevances[0] / _away_from_zero(a + b)
        return a * shared, b * shared


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: Any, keepdim: bool) -> Tensor:
        dims = tuple(range(x.ndim)) if dim is None else dim
        kept = x.mean(dims, keepdim=True)
        ctx.save_for_backward(x)
        ctx.dims, ctx.shape = dims, kept.shape
        return kept if keepdim else kept.reshape(x.mean(dims).shape)

    @staticmethod
    def backward(ctx: Any, *relevances: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        total = x.sum(ctx.dims, keepdim=True)
        return x * (relevances[0].reshape(ctx.shape) / _away_from_zero(total)), None, None


def _away_from_zero(values: Tensor) -> Tensor:
    return values + torch.where(values < 0, -SMALL, SMALL)
