"""Maps of vision transformers: LRP, partial LRP, Transformer attribution and attention rollout.

Each returns one value for every patch (h×w, the grid of tokens) and needs a network whose attentions see all tokens.
Grad-CAM, LayerCAM and the rest of the gradient family serve transformers, too: their taps carry tokens.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..catcher import Catcher
from ..classifiers.attention import attend, probabilities
from ..classifiers.guards import undisturbed
from ..evidence import channels_first
from .method import Method
from .transformer_lrp import Relevance, relevance

if TYPE_CHECKING:
    from ..classifiers.classifier import Classifier
    from ..classifiers.taps import Tap
    from .method import Request


def transformer_lrp(request: Request) -> Tensor:
    r"""LRP: M_p = ReLU(Σ_k R_pk), R the relevance of patch p's embedding before positions are added, k its channels.

    [002] 2.4.4 by the rules of 2.4.5 (see `transformer_lrp`). Patches do not overlap, so that Σ_k R_pk is what all
    pixels of the patch would share. h×w, ≥ 0, in shares of the class logit.
    """
    tap = embedding(request.classifier)
    found = _relevance(request, tap)
    return torch.relu(channels_first(found.site, tap)[0].sum(0))


def partial_lrp(request: Request) -> Tensor:
    r"""Partial LRP: M_j = Σ_i E_h(R⁺)_ij, R the relevance of the last block's attention (h×s×s), i all tokens.

    Voita et al., ACL 2019; [002] 2.4.4. Where the class token alone is read, row i = [CLS] is the only one that has any
    relevance, and this is that row.
    """
    last = _relevance(request, embedding(request.classifier)).attention[-1]
    return _patches(last.clamp(min=0).mean(0).sum(0), request.classifier)


def transformer_attribution(request: Request) -> Tensor:
    r"""Transformer attribution: row [CLS] of C = Ā_B · … · Ā_1 without [CLS], with Ā = I + E_h((∇A ⊙ R)⁺) per block.

    Chefer et al., "Transformer interpretability beyond attention visualization", CVPR 2021, eq. 13–14; [002] 2-39,
    2-40. [002] counts blocks as relevance meets them: its Ā¹ is that of the block next to the logits. A: attention
    probabilities h×s×s, ∇A their gradient, R their relevance, E_h the mean over heads.
    """
    _one_class(request)
    R = _relevance(request, embedding(request.classifier)).attention
    found = attend(request.classifier, request.x, request.y)
    _counted(request)
    return _patches(rolled(found.gradients, R)[_class_rows(request.classifier)].mean(0), request.classifier)


def attention_rollout(request: Request) -> Tensor:
    r"""Attention rollout: Ā = (I + E_h(A)) / 2 per block, C = Ā_B · … · Ā_1, the rows that are read; of no class.

    Abnar and Zuidema, "Quantifying attention flow in transformers", ACL 2020, eq. 1; [002] 1.2.
    """
    found = probabilities(request.classifier, request.x)
    request.passes.counts.forward += 1
    C = torch.eye(found[0].shape[-1]).to(found[0])
    for A in found:
        C = (torch.eye(len(C)).to(C) + A.mean(0)) / 2 @ C
    return _patches(C[read_tokens(request.classifier)].mean(0), request.classifier)


def rolled(gradients: tuple[Tensor, ...], relevances: tuple[Tensor, ...]) -> Tensor:
    """C = Ā_B · … · Ā_1 (s×s) with Ā = I + E_h((∇A ⊙ R)⁺), from h×s×s tensors, first block first.

    Example:
        >>> one = torch.tensor([[[0.0, 2.0], [0.0, -1.0]]])
        >>> rolled((one,), (torch.ones(1, 2, 2),))
        tensor([[1., 2.],
                [0., 1.]])
    """
    identity = torch.eye(gradients[0].shape[-1]).to(gradients[0])
    C = identity
    for g, R in zip(gradients, relevances, strict=True):
        C = (identity + (g * R).clamp(min=0).mean(0)) @ C
    return C


# --------------------------------------------------------------------------------------------------- the network


def embedding(classifier: Classifier) -> Tap:
    """The tap of the patch embeddings: the last map of that grid before the first attention, or the first tokens."""
    first = classifier.attentions[0].tap
    taps = list(classifier.taps.values())
    before = [tap for tap in taps[: taps.index(first) + 1] if tap.size == first.size and tap.prefix == 0]
    maps = [tap for tap in before if tap.layout != "tokens"]
    if not before:
        raise ValueError(f"no tap of {classifier.name} holds the embeddings of its patches")
    return maps[-1] if maps else before[0]


def read_tokens(classifier: Classifier) -> list[int]:
    """Which tokens of the last block's output the logits depend on: [0] for a class token, all patches for a mean.

    Told by gradients on noise. Where nothing depends on anything (torchvision leaves the head of an untrained network
    at zero), the first token if there is one in front of the patches.
    """
    attended = classifier.attentions[-1].tap
    tap = [t for t in classifier.taps.values() if t.layout == "tokens" and t.tokens == attended.tokens][-1]
    noise = torch.randn((1, 3, *classifier.input_size), generator=torch.Generator().manual_seed(3))
    catcher = Catcher([tap], twice=False)
    with classifier.lock, torch.inference_mode(False), torch.enable_grad(), undisturbed(classifier.module):
        with catcher.attached(classifier.module):
            logits = classifier.logits(classifier.preprocess(noise))
        weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(4)).to(logits)
        (g,) = torch.autograd.grad((logits * weights).sum(), [catcher.sites[tap]], allow_unused=True)
    read = [] if g is None else g[0].abs().sum(1).nonzero().flatten().tolist()
    h, w = attended.size
    return read or ([0] if attended.prefix else list(range(h * w)))


def _class_rows(classifier: Classifier) -> list[int]:
    return [i for i in read_tokens(classifier) if i < classifier.attentions[-1].tap.prefix]


def _patches(values: Tensor, classifier: Classifier) -> Tensor:
    """The h×w values of the picture out of one value for every token."""
    tap = classifier.attentions[-1].tap
    h, w = tap.size
    return values[tap.prefix : tap.prefix + h * w].reshape(h, w)


def _relevance(request: Request, tap: Tap) -> Relevance:
    _one_class(request)
    found = relevance(request.classifier, request.x, int(request.target), tap)
    _counted(request)
    return found


def _one_class(request: Request) -> None:
    if callable(request.target):
        raise ValueError("relevance starts at one class and needs it as its target, not a callable")


def _counted(request: Request) -> None:
    request.passes.counts.forward += 1
    request.passes.counts.backward += 1


# ------------------------------------------------------------------------------------------------------- checks


def needs_transformer(classifier: Classifier, title: str, wanted: str = "a transformer") -> str | None:
    """Why a method of attentions that see all tokens cannot serve this network, or None."""
    if not classifier.attentions:
        return f"{title} needs {wanted}; {classifier.name} has no attention"
    if not all(one.whole and one.tap.tokens == classifier.attentions[0].tap.tokens for one in classifier.attentions):
        return (
            f"{title} needs {wanted} whose attention sees all tokens at once; that of {classifier.name} does not in "
            f"every block (windows, or several resolutions). Grad-CAM and LayerCAM serve it"
        )
    return None


def needs_class_token(classifier: Classifier, title: str) -> str | None:
    """Why a method that follows the class token cannot serve this network, or None."""
    wanted = "a transformer with a class token"
    found = needs_transformer(classifier, title, wanted)
    if found:
        return found
    prefix = classifier.attentions[-1].tap.prefix
    if not prefix or any(i >= prefix for i in read_tokens(classifier)):
        return f"{title} needs {wanted}; {classifier.name} reads its patch tokens instead. LRP and partial LRP serve it"
    return None


METHODS = (
    Method(
        "transformer-lrp", "LRP (transformer)", transformer_lrp, "ReLU(Σ_k R_k) at the patch embeddings",
        "Chefer et al., CVPR 2021, eq. 3–11; [002] 2.4.4", kind="picture", needs=("gradients", "transformer"),
        unfit=partial(needs_transformer, title="LRP through attention"),
    ),
    Method(
        "partial-lrp", "Partial LRP", partial_lrp, "Σ_i E_h(R⁺)_i at the last block's attention",
        "Voita et al., ACL 2019; [002] 2.4.4", kind="picture", needs=("gradients", "transformer"),
        unfit=partial(needs_transformer, title="partial LRP"),
    ),
    Method(
        "transformer-attribution", "Transformer attribution", transformer_attribution,
        "row [CLS] of Π_b (I + E_h((∇A_b ⊙ R_b)⁺))",
        "Chefer et al., CVPR 2021, eq. 13–14; [002] 2-27..2-40", kind="picture", needs=("gradients", "transformer"),
        unfit=partial(needs_class_token, title="transformer attribution"),
    ),
    Method(
        "attention-rollout", "Attention rollout", attention_rollout, "rows read of Π_b (I + E_h(A_b)) / 2",
        "Abnar & Zuidema, ACL 2020, eq. 1", kind="picture", needs=("transformer",),
        unfit=partial(needs_transformer, title="attention rollout"),
    ),
)  # fmt: skip
