"""Attention opened up: what a fused operation computes in one, computed step by step, its probabilities kept.

PyTorch's `nn.MultiheadAttention` and timm's blocks hand queries, keys and values to one operation that never shows
A = softmax(QKᵀ/√d). Here Python calls of that operation are met on their way (nothing is put into the module) and
computed as written: logits agree to about 1e-6.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .checks import check_finite
from .guards import undisturbed

if TYPE_CHECKING:
    from .classifier import Classifier

REFUSED = ("bias_k", "bias_v", "add_zero_attn", "static_k", "static_v")
Plain = Callable[[Tensor], Tensor]


class Opened(TorchFunctionMode):
    """Inside: each attention is computed step by step. `probabilities`: N×h×s×s (or (N·h)×s×s) each, in order.

    What a subclass may do otherwise: `linear`, `product` (matrix product) and `same` (a function of one tensor that
    keeps its shape).
    """

    def __init__(self) -> None:
        super().__init__()
        self.probabilities: list[Tensor] = []

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.linear(x, weight, bias)

    def product(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b

    def same(self, function: Plain, x: Tensor) -> Tensor:
        return function(x)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "multi_head_attention_forward":
            return self._multi_head(func, args, kwargs)
        if name == "scaled_dot_product_attention":
            return self._dot_product(*args, **kwargs)
        if name == "softmax":
            x = args[0] if args else kwargs["input"]
            if x.ndim > 2 and x.shape[-1] == x.shape[-2] > 1:
                rest = {key: value for key, value in kwargs.items() if key != "input"}
                return self.kept(self.same(lambda t: func(t, *args[1:], **rest), x))
        return self.other(func, args, kwargs)

    def other(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Every call that is no attention."""
        return func(*args, **kwargs)

    def kept(self, A: Tensor) -> Tensor:
        """Remember the probabilities of an attention; where nothing asked for a gradient yet, the graph begins here."""
        if not A.requires_grad and torch.is_grad_enabled():
            A = A.detach().requires_grad_()
        self.probabilities.append(A)
        return A

    def attend(self, q: Tensor, k: Tensor, v: Tensor, scale: float, mask: Tensor | None = None) -> Tensor:
        """softmax(scale·QKᵀ + mask) V of N×h×s×d tensors."""
        scores = self.product(self.same(lambda t: t * scale, q), k.transpose(-2, -1))
        if mask is not None:
            scores = self.same(lambda t: _masked(t, mask), scores)
        return self.product(self.kept(self.same(lambda t: t.softmax(-1), scores)), v)

    def _dot_product(
        self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
        is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
    ) -> Tensor:  # fmt: skip
        if enable_gqa:
            raise ValueError("attention whose heads share keys (enable_gqa) cannot be opened up")
        if is_causal:
            attn_mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).tril()
        return self.attend(query, key, value, query.shape[-1] ** -0.5 if scale is None else scale, attn_mask)

    def _multi_head(self, func: Any, args: Any, kwargs: Any) -> tuple[Tensor, Tensor | None]:
        given = inspect.signature(func).bind(*args, **kwargs)
        given.apply_defaults()
        a = given.arguments
        odd = [name for name in REFUSED if a[name] is not None and a[name] is not False]
        if odd or a["query"].ndim != 3 or a["key_padding_mask"] is not None:
            raise ValueError(f"a multi-head attention with {odd[0] if odd else 'padding'} cannot be opened up")
        s, n, width = a["query"].shape
        heads = a["num_heads"]
        q, k, v = (
            part.reshape(len(part), n, heads, -1).permute(1, 2, 0, 3) for part in self._projected(a)
        )  # N×h×s×d each
        mask = a["attn_mask"]
        if mask is not None and mask.ndim == 3:
            mask = mask.reshape(n, heads, *mask.shape[1:])
        out = self.attend(q, k, v, q.shape[-1] ** -0.5, mask)
        out = out.permute(2, 0, 1, 3).reshape(s, n, width)
        out = self.linear(out, a["out_proj_weight"], a["out_proj_bias"])
        weights = self.probabilities[-1] if a["need_weights"] else None
        return out, weights.mean(1) if weights is not None and a["average_attn_weights"] else weights

    def _projected(self, a: dict[str, Any]) -> list[Tensor]:
        """Queries, keys and values, s×N×(h·d) each."""
        query, key, value, bias = a["query"], a["key"], a["value"], a["in_proj_bias"]
        if a["use_separate_proj_weight"]:
            weights = [a["q_proj_weight"], a["k_proj_weight"], a["v_proj_weight"]]
        elif query is key and key is value:
            return list(self.linear(query, a["in_proj_weight"], bias).chunk(3, -1))
        else:
            weights = list(a["in_proj_weight"].chunk(3))
        biases = [None] * 3 if bias is None else bias.chunk(3)
        return [self.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True)]


@dataclass(frozen=True)
class Attended:
    """The attentions of one pass over one picture: h×s×s each, block by block, and the 1×C logits.

    `gradients` holds ∂y/∂A, zero where no path leads to the score.
    """

    probabilities: tuple[Tensor, ...]
    gradients: tuple[Tensor, ...]
    logits: Tensor


def attend(classifier: Classifier, x: Tensor, y: Callable[[Tensor], Tensor]) -> Attended:
    """Attention probabilities A of every block and their gradients, for one picture x (1×3×H×W).

    Args:
        y: 1×C logits → the score whose gradient is taken.
    Raises:
        ValueError: an attention that cannot be opened up, or a network without any.

    The module is run in evaluation mode and left exactly as it was.
    """
    with classifier.lock, torch.inference_mode(False), torch.enable_grad(), undisturbed(classifier.module):
        found, logits = _opened(classifier, x)
        score = y(logits).sum()
        gradients = torch.autograd.grad(score, found, allow_unused=True) if score.requires_grad else [None] * len(found)
    pairs = [(A.detach(), torch.zeros_like(A) if g is None else g) for A, g in zip(found, gradients, strict=True)]
    each = [tuple(_heads(t) for t in column) for column in zip(*pairs, strict=True)]
    return Attended(each[0], each[1], logits.detach())


def probabilities(classifier: Classifier, x: Tensor) -> tuple[Tensor, ...]:
    """Attention probabilities of every block, h×s×s each, for one picture x; no gradient."""
    with classifier.lock, torch.inference_mode(False), torch.no_grad(), undisturbed(classifier.module):
        return tuple(_heads(A) for A in _opened(classifier, x)[0])


def _opened(classifier: Classifier, x: Tensor) -> tuple[list[Tensor], Tensor]:
    if len(x) != 1:
        raise ValueError(f"attention is opened up for one picture at a time; got a batch of {len(x)}")
    with Opened() as mode:
        logits = classifier.logits(x)
    check_finite(logits.detach(), classifier.name)
    if not mode.probabilities:
        raise ValueError(f"{classifier.name} has no attention that could be opened up")
    return mode.probabilities, logits


def _masked(scores: Tensor, mask: Tensor) -> Tensor:
    return scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask


def _heads(tensor: Tensor) -> Tensor:
    """The attentions of one picture as h×s×s, not in half precision."""
    plain = tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
    return plain.reshape(-1, *tensor.shape[-2:])
