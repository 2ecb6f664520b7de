"""Methods that look at the picture in several sizes: CAMERAS and MSG-CAM."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ..classifiers.guards import undisturbed
from .groupcam import GROUPS, summed, weighed
from .masking import BLUR, blurred, evidence_of, upsampled
from .method import Method, Parameter, Request, Unexplained

if TYPE_CHECKING:
    from ..classifiers.classifier import Classifier

CHUNK = 64  # channels that are upsampled to the input at a time
Scale = tuple[Tensor, Tensor]  # A and g of one input size, K×h×w each


def cameras(request: Request, scales: int = 8, reach: float = 3.6) -> Tensor:
    r"""CAMERAS: M = ReLU(Σ_k Ā_k ⊙ Ḡ_k), Ā and Ḡ the means over input sizes of A and g, upsampled to the input.

    Jalwana et al., "CAMERAS", CVPR 2021, algorithm 1; [002] table 3-2. Sizes as in `sizes`; the defaults are those of
    the authors' code, 224, 324 … 924 pixels. H×W; Ā and Ḡ are made some channels at a time.
    """
    found = counted(request, scales, reach)
    total = request.x.new_zeros(request.size)
    for start in range(0, len(found[0][0]), CHUNK):
        A, G = (_mean([upsampled(s[i][start : start + CHUNK], request.size) for s in found]) for i in (0, 1))
        total += (A * G).sum(0)
    return torch.relu(total)


def msgcam(
    request: Request, scales: int = 5, reach: float = 1.0, groups: int = 32, theta: float = 70.0, kernel: int = 51,
    sigma: float = 50.0,
) -> Tensor:  # fmt: skip
    r"""MSG-CAM: W̄_k = mean_ij Ḡ_k, M_r = ReLU(Σ_{k∈group r} W̄_k Ā_k), M = ReLU(Σ_r α_r M_r) with α_r as in Group-CAM.

    [002] chapter 3, algorithm 1 and eq. 3-2 … 3-12; Ā and Ḡ as in CAMERAS, sizes as in `sizes`. The text leaves N and
    ζ_max of its experiments open; ours are 5 and the input's own size. Upsampling is linear, so groups are summed
    before it: 32 maps of the input's size are held, not K.
    """
    steps = request.passes.step(0, 2), request.passes.step(1, 2)
    found = counted(request.at(passes=steps[0]), scales, reach)
    W = _mean([mean_of_upsampled(g, request.size) for _, g in found])[:, None, None]
    M = torch.relu(_mean([upsampled(summed(W * A, groups), request.size) for A, _ in found]))
    return weighed(request.at(passes=steps[1]), M, theta, blurred(request.x, kernel, sigma))


def sizes(size: tuple[int, int], scales: int, reach: float) -> list[tuple[int, int]]:
    """ζ_t = ζ_0 + ⌊ζ_max / N⌋ (t − 1), t = 1 … N, with ζ_max = reach · ζ_0 ([002] 3-2), pixels.

    Example:
        >>> sizes((224, 224), 3, 1.0)
        [(224, 224), (298, 298), (372, 372)]
    """
    step = [int(reach * side / scales + 1e-9) for side in size]
    return [(size[0] + step[0] * t, size[1] + step[1] * t) for t in range(scales)]


def counted(request: Request, scales: int, reach: float) -> list[Scale]:
    """A and g of every input size at which the network still says the target class (for a callable: of all sizes).

    Raises:
        Unexplained: it says it at none.
    """
    found: list[Scale] = []
    instead: list[str] = []
    wanted = sizes(request.size, scales, reach)
    for t, size in enumerate(wanted):
        x = request.x if size == request.size else F.interpolate(request.x, size, mode="bilinear", align_corners=False)
        evidence = evidence_of(request, x)
        request.passes.report(t + 1, scales)
        said = int(evidence.logits[0].argmax())
        if callable(request.target) or said == request.target:
            A, g = evidence.at(str(request.tap))
            found.append((A[0], g[0]))
        else:
            instead.append(f"{request.classifier.labels[said]!r} at {size[0]}×{size[1]}")
    if not found:
        raise Unexplained(
            f"{request.classifier.name} sees {request.classifier.labels[request.target]!r} at none of {scales} input "
            f"sizes, so none counts; it sees {', '.join(instead)}. Explain one of these, or take another method"
        )
    return found


def mean_of_upsampled(g: Tensor, size: tuple[int, int]) -> Tensor:
    """mean_ij up(g_k) of K×h×w maps, without upsampling them: K values."""
    rows, columns = (
        F.interpolate(torch.eye(n, dtype=g.dtype, device=g.device)[None], side, mode="linear")[0].mean(1)
        for n, side in zip(g.shape[1:], size, strict=True)
    )
    return torch.einsum("h,khw,w->k", rows, g, columns)


def one_size_only(name: str) -> Callable[[Classifier], str | None]:
    """A check that a network takes pictures larger than its usual input: one trial pass."""

    def unfit(classifier: Classifier) -> str | None:
        h, w = classifier.input_size
        try:
            if any(tap.layout == "tokens" for tap in classifier.stages.values()):
                raise ValueError("its maps are made of a fixed number of tokens")
            with classifier.lock, torch.inference_mode(False), torch.no_grad(), undisturbed(classifier.module):
                classifier.logits(classifier.preprocess(torch.zeros(1, 3, h + 32, w + 32)))
        except Exception as error:  # noqa: BLE001 - whatever somebody's network raises is its way to refuse
            said = str(error).strip().splitlines() or [type(error).__name__]
            return f"{name} shows the picture in several sizes; {classifier.name} takes {h}×{w} only ({said[0]})"
        return None

    return unfit


def _mean(values: list[Tensor]) -> Tensor:
    return torch.stack(values).mean(0)


_NEEDS = ("gradients", "many forwards", "convolutions")


def _scales(count: int, reach: float) -> tuple[Parameter, ...]:
    return (
        Parameter("scales", count, "N: input sizes", low=1),
        Parameter("reach", reach, "ζ_max in units of the input's side; sizes grow by ⌊ζ_max / N⌋", low=0, high=16),
    )


METHODS = (
    Method(
        "msgcam", "MSG-CAM", msgcam, "ReLU(Σ_r α_r M_r), M_r = ReLU(Σ_{k∈r} mean(Ḡ_k) Ā_k), α_r as in Group-CAM",
        "[002] chapter 3, algorithm 1", kind="stage", needs=_NEEDS, parameters=(*_scales(5, 1.0), *GROUPS, *BLUR),
        unfit=one_size_only("MSG-CAM"),
    ),
    Method(
        "cameras", "CAMERAS", cameras, "ReLU(Σ_k Ā_k ⊙ Ḡ_k), means over input sizes",
        "Jalwana et al., CVPR 2021, algorithm 1", kind="stage", needs=_NEEDS, parameters=_scales(8, 3.6),
        unfit=one_size_only("CAMERAS"),
    ),
)  # fmt: skip
