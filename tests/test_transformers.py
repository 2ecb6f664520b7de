"""Transformers are tapped: tokens become maps, blocks become stages, attention is opened up, nothing is changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import camwidgets
from camwidgets import Classifier, capture, decompose, wrap
from camwidgets.classifiers.attention import attend
from camwidgets.maps import stage_maps
from tests.nets import small, state
from tests.transformers import encoder, handmade, noise, tamed, timm_vit, torchvision_vit

REGISTERS = "vit_betwixt_patch16_reg4_gap_256"
Make = Callable[[], Classifier]

# What is in front of the patches, the grid, and the taps of the stages.
MAKES: dict[str, tuple[Make, int, tuple[int, int], list[str]]] = {
    "torchvision": (torchvision_vit, 1, (4, 4), [f"encoder.layers.encoder_layer_{i}.ln_1" for i in (0, 1)]),
    "timm": (timm_vit, 1, (4, 4), ["blocks.0.norm1", "blocks.1.norm1"]),
    "timm, registers": (lambda: timm_vit(REGISTERS), 4, (4, 4), ["blocks.0.norm1", "blocks.1.norm1"]),
    "timm, class and distillation": (
        lambda: timm_vit("deit_tiny_distilled_patch16_224"), 2, (4, 4), ["blocks.0.norm1", "blocks.1.norm1"]
    ),
    "timm, oblong, no class token": (
        lambda: timm_vit(side=(32, 64), global_pool="avg", class_token=False), 0, (2, 4),
        ["blocks.0.norm1", "blocks.1.norm1"],
    ),
    "written by hand": (handmade, 0, (3, 4), ["norms.0", "norms.2"]),
    "torch.nn": (encoder, 3, (4, 4), ["layers.layers.0.norm1", "layers.layers.1.norm1"]),
}  # fmt: skip


@pytest.mark.parametrize("make", MAKES)
def test_blocks_are_stages_and_tokens_are_maps(make: str) -> None:
    build, prefix, size, taps = MAKES[make]
    classifier = build()
    assert [str(tap) for tap in classifier.stages.values()] == taps
    x = noise(classifier)
    evidence = capture(classifier, x, 1)
    raw: dict[str, Tensor] = {}
    handles = [
        classifier.module.get_submodule(name).register_forward_hook(lambda m, i, out, n=name: raw.update({n: out}))
        for name in taps
    ]
    logits = classifier.module(x)
    for handle in handles:
        handle.remove()
    grads = torch.autograd.grad(logits[0, 1], [raw[name] for name in taps])
    for tap, whole in zip(classifier.stages.values(), grads, strict=True):
        assert (tap.layout, tap.prefix, tap.size, tap.tokens) == ("tokens", prefix, size, whole.shape[1])
        assert tap.channels == whole.shape[2]
        A, g = evidence.activations[tap], evidence.gradients[tap]
        assert A.shape == g.shape == (1, tap.channels, *size)
        for i, j in [(0, 0), (size[0] - 1, 1), (1, size[1] - 1)]:  # position (i, j) is token prefix + i·w + j
            token = prefix + i * size[1] + j
            torch.testing.assert_close(A[0, :, i, j], raw[tap][0, token].detach(), rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(g[0, :, i, j], whole[0, token], rtol=1e-4, atol=1e-6)
        assert bool((g.abs().amax(1) > 0).all()), "every patch has a gradient at every stage"


def test_the_output_of_the_last_block_would_not_do() -> None:
    """Only the class token of it is read; this is why a stage is what goes into the last attention."""
    classifier = torchvision_vit()
    last = "encoder.layers.encoder_layer_1"
    assert last in classifier.taps
    evidence = capture(classifier, noise(classifier), 1, [last])
    assert not evidence.gradients[last].any()
    found = camwidgets.explain(classifier, noise(classifier), "gradcam", 1, [last])
    assert found.reason is not None
    assert "zero everywhere" in found.reason


def test_many_blocks_are_spread_over_five_stages() -> None:
    stages = torchvision_vit(12).stages
    assert list(stages) == ["S1", "S2", "S3", "S4", "S5"]
    assert [tap.module.split(".")[2] for tap in stages.values()] == [f"encoder_layer_{i}" for i in (2, 4, 7, 9, 11)]


def test_a_convolutional_stem_keeps_its_stages() -> None:
    stages = camwidgets.load("toy-vit").stages
    assert [(tap.size, tap.layout) for tap in stages.values()] == [
        ((48, 48), "channels-first"), ((24, 24), "channels-first"), *[((12, 12), "tokens")] * 3
    ]  # fmt: skip
    assert [str(tap) for tap in stages.values()][2:] == [f"encoder.layers.encoder_layer_{i}.ln_1" for i in (1, 2, 3)]


def test_torchvisions_zoo() -> None:
    classifier = camwidgets.load("vit_b_32", weights=None)
    assert [tap.size for tap in classifier.stages.values()] == [(7, 7)] * 5
    assert len(classifier.attentions) == 12
    assert all(one.whole for one in classifier.attentions)


def test_several_pictures_and_targets() -> None:
    classifier = torchvision_vit()
    x = torch.cat([noise(classifier, 0), noise(classifier, 1)])
    both, one = capture(classifier, x, 2), capture(classifier, x[1:], 2)
    for tap in classifier.stages.values():
        torch.testing.assert_close(both.activations[tap][1:], one.activations[tap], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(both.gradients[tap][1:], one.gradients[tap], rtol=1e-4, atol=1e-5)


def test_another_input_size_is_refused_in_words() -> None:
    classifier = timm_vit(dynamic_img_size=True)
    with pytest.raises(ValueError, match=r"holds 17 tokens at the classifier's input size, for this input 1×26×192"):
        capture(classifier, torch.randn(1, 3, 80, 80))


# --------------------------------------------------------------------------------------------------- Swin and others


def timm_swin(dtype: torch.dtype = torch.float64) -> Classifier:
    import timm

    options: dict[str, Any] = {"img_size": 64, "window_size": 4, "depths": (2, 2), "num_heads": (3, 6)}
    options["num_classes"] = 5
    net = timm.create_model("swin_tiny_patch4_window7_224", pretrained=False, **options)
    return wrap(tamed(net).to(dtype).eval(), input_size=64, name="swin")


def torchvision_swin(dtype: torch.dtype = torch.float64) -> Classifier:
    from torchvision.models.swin_transformer import SwinTransformer

    net = SwinTransformer([4, 4], 16, [2, 2], [2, 4], [4, 4], num_classes=5)
    return wrap(tamed(net).to(dtype).eval(), input_size=52, name="swin")  # 13×13: padded to windows of 4×4 and cut


@pytest.mark.parametrize(
    ("build", "taps", "sizes"),
    [
        (timm_swin, ["layers.0.blocks.1.norm1", "layers.1.blocks.1.norm1"], [(16, 16), (8, 8)]),
        (torchvision_swin, ["features.1.1.norm1", "features.3.1.norm1"], [(13, 13), (7, 7)]),
    ],
)
def test_swin_has_a_stage_for_each_resolution(build: Make, taps: list[str], sizes: list[tuple[int, int]]) -> None:
    classifier = build()
    assert [str(tap) for tap in classifier.stages.values()] == taps
    assert [tap.size for tap in classifier.stages.values()] == sizes
    assert {tap.layout for tap in classifier.stages.values()} == {"channels-last"}
    assert [tap.stride for tap in classifier.stages.values()] == [4, 8]
    assert not any(one.whole for one in classifier.attentions)
    evidence = capture(classifier, noise(classifier, dtype=torch.float64), 1)
    assert all(float(g.abs().max()) > 0 for g in evidence.gradients.values())


def test_convolutional_networks_have_no_attention() -> None:
    assert small().attentions == ()


# ------------------------------------------------------------------------------------------------ pytorch-grad-cam


def _reshaped(classifier: Classifier) -> Callable[[Tensor], Tensor]:
    """The `reshape_transform` that its documentation tells its users to write."""
    tap = classifier.stages["S2"]
    if tap.layout == "channels-last":
        return lambda t: t.permute(0, 3, 1, 2)
    return lambda t: t[:, tap.prefix :].reshape(len(t), *tap.size, -1).permute(0, 3, 1, 2)


def _between_0_and_1(values: np.ndarray) -> np.ndarray:
    return (values - values.min()) / (values.max() - values.min())


PEERS: dict[str, Make] = {
    "vit": lambda: torchvision_vit(dtype=torch.float64),
    "timm": lambda: _double(timm_vit()),
    "registers": lambda: _double(timm_vit(REGISTERS)),
    "swin of timm": timm_swin,
    "swin of torchvision": torchvision_swin,
}


def _double(classifier: Classifier) -> Classifier:
    classifier.module.double()
    return classifier


@pytest.mark.parametrize("stage", ["S1", "S2"])
@pytest.mark.parametrize("method", ["gradcam", "layercam"])
@pytest.mark.parametrize("make", PEERS)
def test_the_same_maps_as_pytorch_grad_cam(make: str, method: str, stage: str) -> None:
    peers = pytest.importorskip("pytorch_grad_cam")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    classifier = PEERS[make]()
    x = noise(classifier, 3, torch.float64)
    tap = classifier.stages[stage]
    evidence = capture(classifier, x, 1)
    ours = stage_maps(evidence, method, stages=[stage])[stage]
    layer = classifier.module.get_submodule(str(tap))
    kind = {"gradcam": peers.GradCAM, "layercam": peers.LayerCAM}[method]
    with kind(classifier.module, [layer], reshape_transform=_reshaped(classifier)) as peer:
        theirs = peer(input_tensor=x, targets=[ClassifierOutputTarget(1)])[0]
    assert theirs.shape == classifier.input_size
    import cv2

    assert ours.max() > 0
    ours = cv2.resize(_between_0_and_1(ours), theirs.shape[::-1])  # as the peer does: scaled, enlarged, scaled
    difference = float(np.abs(_between_0_and_1(ours) - theirs).max())
    assert difference < 1e-5


# ------------------------------------------------------------------------------------------------------- attention


def by_hand(x: Tensor, block: Any) -> tuple[Tensor, Tensor]:
    """A and the output of one block of torchvision's, with nothing but matrix products."""
    y, attention = block.ln_1(x), block.self_attention
    weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
    q, k, v = (y @ w.T + b for w, b in zip(weights, biases, strict=True))
    parts = [slice(8 * h, 8 * h + 8) for h in range(2)]
    A = torch.stack([torch.softmax(q[:, part] @ k[:, part].T / 8**0.5, -1) for part in parts])
    out = torch.cat([A[h] @ v[:, part] for h, part in enumerate(parts)], 1)
    x = x + out @ attention.out_proj.weight.T + attention.out_proj.bias
    return A, x + block.mlp(block.ln_2(x))


def test_attention_and_its_gradient_are_those_of_the_formula() -> None:
    classifier = torchvision_vit(dtype=torch.float64)
    net: Any = classifier.module
    x = noise(classifier, dtype=torch.float64)
    tokens = torch.cat([net.class_token[0], net.conv_proj(x)[0].flatten(1).T]) + net.encoder.pos_embedding[0]
    A1, between = by_hand(tokens, net.encoder.layers[0])
    A2, last = by_hand(between, net.encoder.layers[1])
    logits = net.heads(net.encoder.ln(last)[0])
    wanted = torch.autograd.grad(logits[3], [A1, A2])
    found = attend(classifier, x, lambda y: y[:, 3])
    torch.testing.assert_close(found.logits[0], logits.detach())
    for A, g, mine, grad in zip((A1, A2), wanted, found.probabilities, found.gradients, strict=True):
        torch.testing.assert_close(mine, A.detach())
        torch.testing.assert_close(grad, g)
        torch.testing.assert_close(mine.sum(-1), torch.ones(2, 17, dtype=torch.float64))


@pytest.mark.parametrize("make", MAKES)
def test_opened_up_it_answers_the_same(make: str) -> None:
    classifier = MAKES[make][0]()
    before = state(classifier.module)
    fast = torch.backends.mha.get_fastpath_enabled()
    x = noise(classifier)
    found = attend(classifier, x, lambda y: y[:, 1])
    with torch.no_grad():
        logits = classifier.module(x)
    assert float((found.logits - logits).abs().max()) < 1e-5 * float(logits.abs().max())
    assert len(found.probabilities) == 2
    length = classifier.attentions[0].length
    assert {t.shape[1:] for t in (*found.probabilities, *found.gradients)} == {(length, length)}
    assert all(bool(g.any()) for g in found.gradients)
    assert state(classifier.module) == before
    assert torch.backends.mha.get_fastpath_enabled() == fast


def test_timms_fused_and_written_out_attention_are_the_same() -> None:
    classifier = timm_vit()
    x, found = noise(classifier), []
    for fused in (True, False):
        for block in classifier.module.get_submodule("blocks").children():
            block.get_submodule("attn").fused_attn = fused  # type: ignore[assignment]
        found.append(attend(classifier, x, lambda y: y[:, 1]))
    for a, b in zip(found[0].gradients, found[1].gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)


class Odd(nn.Module):
    """Attention to one more key than there are tokens: PyTorch's `add_bias_kv`."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 8, 8)
        self.attention = nn.MultiheadAttention(8, 2, add_bias_kv=True, batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        return self.head(self.attention(x, x, x)[0].mean(1))


def test_attention_that_cannot_be_opened_is_refused() -> None:
    classifier = wrap(tamed(Odd()).eval(), input_size=32)
    before = state(classifier.module)
    with pytest.raises(ValueError, match="a multi-head attention with bias_k cannot be opened up"):
        attend(classifier, noise(classifier), lambda y: y[:, 0])
    assert state(classifier.module) == before
    with pytest.raises(ValueError, match="small has no attention that could be opened up"):
        attend(small(), torch.randn(1, 3, 16, 16), lambda y: y[:, 0])


def test_masks_and_causal_attention() -> None:
    class Masked(nn.Module):
        def __init__(self, **options: Any) -> None:
            super().__init__()
            self.options, self.patches, self.head = options, nn.Conv2d(3, 8, 8, 8), nn.Linear(8, 5)

        def forward(self, x: Tensor) -> Tensor:
            x = self.patches(x).flatten(2).transpose(1, 2)[:, None]
            return self.head(F.scaled_dot_product_attention(x, x, x, **self.options)[:, 0].mean(1))

    seen = torch.eye(16) + torch.ones(16, 16).tril() > 0
    for options in ({"is_causal": True}, {"attn_mask": seen}, {"attn_mask": torch.randn(16, 16), "scale": 0.7}):
        classifier = wrap(tamed(Masked(**options)).eval(), input_size=32)
        x = noise(classifier)
        with torch.no_grad():
            torch.testing.assert_close(attend(classifier, x, lambda y: y[:, 0]).logits, classifier.module(x))


# ----------------------------------------------------------------------------------------------------- untouched


@pytest.mark.parametrize("make", MAKES)
def test_the_module_stays_as_it_is(make: str) -> None:
    classifier = MAKES[make][0]()
    classifier.module.train()
    before = state(classifier.module)
    camwidgets.explain(classifier, noise(classifier), "layercam", 1)
    assert state(classifier.module) == before
    with pytest.raises(ValueError, match="class 9 is out of range"):
        camwidgets.explain(classifier, noise(classifier), "layercam", 9)
    assert state(classifier.module) == before


def test_trees_say_why_not() -> None:
    with pytest.raises(ValueError, match="gAP trees need spatial stages of rectified activations; the stages of vit"):
        decompose(torchvision_vit(), torch.randn(1, 3, 32, 32))
