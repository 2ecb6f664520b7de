"""Relevance through transformers: the rules by hand, against plain loops, and in a world whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import camwidgets
from camwidgets import Classifier, wrap
from camwidgets.classifiers.attention import probabilities
from camwidgets.datasets.toyworld import ToyWorld
from camwidgets.maps.method import Method, Request
from camwidgets.maps.transformer import METHODS, embedding, read_tokens
from camwidgets.maps.transformer_lrp import Rules, relevance, share
from tests.nets import small, state
from tests.relevance_reference import Reference
from tests.test_transformers import REGISTERS, timm_swin
from tests.transformers import encoder, handmade, noise, tamed, timm_vit, torchvision_vit

LRP, PARTIAL, ATTRIBUTION, ROLLOUT = METHODS
DOUBLE = torch.float64
Make = Callable[[], Classifier]


def _double(classifier: Classifier) -> Classifier:
    classifier.module.double()
    return classifier


NETS: dict[str, Make] = {
    "torchvision": lambda: torchvision_vit(dtype=DOUBLE),
    "timm": lambda: _double(timm_vit()),
    "registers": lambda: _double(timm_vit(REGISTERS)),
    "distilled": lambda: _double(timm_vit("deit_tiny_distilled_patch16_224")),
    "written by hand": lambda: handmade(DOUBLE),
    "torch.nn": lambda: encoder(DOUBLE),
}


def raw(method: Method, classifier: Classifier, x: Tensor, target: int = 1) -> Tensor:
    return method.function(Request(classifier, x, target))


# --------------------------------------------------------------------------------------------------------- the rules


def ruled(function: Callable[..., Tensor], R: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
    """What each tensor gets of the relevance R of `function(*tensors)`."""
    given = [t.clone().requires_grad_() for t in tensors]
    with Rules():
        out = function(*given)
    return torch.autograd.grad(out, given, R)


def test_rules_by_hand() -> None:
    x, w = torch.tensor([[2.0, -1.0, 1.0]]), torch.tensor([[1.0, -3.0, -1.0], [-1.0, 1.0, 2.0]])
    # output 0: products 2, 3, −1; output 1: −2, −1, 2
    (found,) = ruled(lambda t: F.linear(t, w, torch.tensor([5.0, 5.0])), torch.tensor([[10.0, 1.0]]), x)
    assert found.tolist() == [[4.0, 6.0, 1.0]]

    u, v = torch.tensor([3.0, 1.0]), torch.tensor([1.0, 1.0])
    # shares of R = (4, 2): u gets (3, 1), v (1, 1); sums 4 and 2 of 6 are what is there already
    a, b = ruled(torch.add, torch.tensor([4.0, 2.0]), u, v)
    assert (a.tolist(), b.tolist()) == ([3.0, 1.0], [1.0, 1.0])

    # AV: each factor would get all of R; 2-33 and 2-34 leave half to each
    a, b = ruled(torch.matmul, torch.tensor([[4.0]]), torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0], [1.0]]))
    assert (a.tolist(), b.tolist()) == ([[0.5, 1.5]], [[0.5], [1.5]])

    (found,) = ruled(lambda t: t.mean(1), torch.tensor([[8.0]]), torch.tensor([[[1.0], [3.0]]]))
    assert found.tolist() == [[[2.0], [6.0]]]

    for same in (F.gelu, lambda t: F.layer_norm(t, (2,)), lambda t: t.softmax(-1), lambda t: 3 * t, lambda t: t / 2):
        (found,) = ruled(same, torch.tensor([[0.7, -0.2]]), torch.tensor([[1.0, 2.0]]))
        torch.testing.assert_close(found, torch.tensor([[0.7, -0.2]]))


def test_an_operand_without_relevance_gets_none_and_nothing_is_nan() -> None:
    a, b = share(torch.zeros(2), torch.tensor([1.0, 1.0]), torch.tensor([3.0, 1.0]))
    assert (a.tolist(), b.tolist()) == ([0.0, 0.0], [2.0, 2.0])
    for tensors in ((torch.zeros(2), torch.zeros(2)), (torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 0.0]))):
        assert all(bool(torch.isfinite(t).all()) for t in ruled(torch.add, torch.ones(2), *tensors))


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (torch.add, [(3, 4), (3, 4)]), (torch.sub, [(3, 4), (3, 4)]), (torch.mul, [(3, 4), (3, 4)]),
        (torch.add, [(3, 4), (1, 4)]), (torch.matmul, [(2, 3, 4), (2, 4, 5)]),
        (lambda a, b: torch.einsum("bij,bkj->bik", a, b), [(2, 3, 4), (2, 5, 4)]),
    ],
)  # fmt: skip
def test_two_operands_hold_together_what_came(function: Any, shapes: list[tuple[int, ...]]) -> None:
    """2-35, whatever the signs; and where all relevance is positive neither gets less than none (2-36)."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        u, v = (torch.randn(shape, generator=generator, dtype=DOUBLE) for shape in shapes)
        R = torch.randn(function(u, v).shape, generator=generator, dtype=DOUBLE)
        a, b = ruled(function, R, u, v)
        assert float((a.sum() + b.sum() - R.sum()).abs()) < 1e-9
        assert float(a.sum() / R.sum()) >= 0
        assert float(b.sum() / R.sum()) >= 0


@pytest.mark.parametrize("make", NETS)
def test_relevance_is_conserved_through_the_whole_network(make: str) -> None:
    """Σ R = 1 at every block's entrance, from the logits to the tokens (2-27, 2-35); at A at most 1 (2-36)."""
    classifier = NETS[make]()
    x = noise(classifier, 1, DOUBLE)
    first = classifier.attentions[0].tap
    taps = list(classifier.taps)
    entrances = [
        tap for tap in classifier.taps.values()
        if tap.layout == "tokens" and tap.tokens == first.tokens and _is_trunk(tap) and tap not in ("embed", "patches")
    ]  # fmt: skip
    assert entrances
    for tap in entrances:
        found = relevance(classifier, x, 2, tap)
        assert float(found.site.sum()) == pytest.approx(1, abs=1e-8), tap
        for R in found.attention:
            assert -1e-9 <= float(R.sum()) <= 1 + 1e-9
    with torch.no_grad():
        torch.testing.assert_close(found.logits, classifier.module(x))
    assert len(relevance(classifier, x, 2, classifier.tap(taps[0])).attention) == 2


def _is_trunk(tap: Any) -> bool:
    """Whether every path goes through it: blocks and what stands between them. Positions take a share before that."""
    return not tap.bypassed and tap.activation is None


# ---------------------------------------------------------------------------------------------------- plain loops


@pytest.mark.parametrize("target", [0, 2])
def test_against_plain_loops(target: int) -> None:
    """A network of two blocks in float64: LRP, partial LRP and Transformer attribution, number by number."""
    from torchvision.models.vision_transformer import VisionTransformer

    net = tamed(VisionTransformer(16, 8, 2, 2, 8, 12, num_classes=3)).double().eval()
    classifier = wrap(net, input_size=16)
    x = noise(classifier, 5, DOUBLE)
    with torch.no_grad():
        patches = net.conv_proj(x)[0].flatten(1).T.numpy()
        logits = net(x)
    reference = Reference({k: v.detach().numpy() for k, v in net.state_dict().items()}, patches, 2, 2, target)
    assert reference.y == pytest.approx(float(logits[0, target]), abs=1e-12)

    embeddings, attention = reference.relevance()
    tap = embedding(classifier)
    assert tap == "conv_proj"
    found = relevance(classifier, x, target, tap)
    np.testing.assert_allclose(found.site[0].flatten(1).T, embeddings, atol=1e-9)
    for (b, h), R in attention.items():
        np.testing.assert_allclose(found.attention[b][h], R, atol=1e-9)
    lrp = embeddings.sum(1).clip(0).reshape(2, 2)
    np.testing.assert_allclose(raw(LRP, classifier, x, target), lrp, atol=1e-9)
    last = sum(attention[1, h].clip(0) for h in range(2))[0, 1:].reshape(2, 2) / 2
    np.testing.assert_allclose(raw(PARTIAL, classifier, x, target), last, atol=1e-9)
    attribution = raw(ATTRIBUTION, classifier, x, target)
    np.testing.assert_allclose(attribution, reference.attribution().reshape(2, 2), atol=1e-8)
    assert float(attribution.max()) > 1e-4


def test_rollout_by_hand() -> None:
    classifier = torchvision_vit(dtype=DOUBLE)
    x = noise(classifier, 2, DOUBLE)
    first, second = ((np.eye(17) + A.mean(0).numpy()) / 2 for A in probabilities(classifier, x))
    np.testing.assert_allclose(raw(ROLLOUT, classifier, x), (second @ first)[0, 1:].reshape(4, 4), atol=1e-12)


def test_timm_and_torchvision_agree() -> None:
    """The same weights in two libraries: fused projections, other modules, the same maps."""
    import timm

    options: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
    theirs = timm.create_model("vit_tiny_patch16_224", pretrained=False, mlp_ratio=2, num_classes=5, **options)
    mine: Any = torchvision_vit(dtype=DOUBLE)
    names = {
        "class_token": "cls_token", "conv_proj": "patch_embed.proj", "encoder.pos_embedding": "pos_embed",
        "encoder.layers.encoder_layer_": "blocks.", "ln_1": "norm1", "ln_2": "norm2", "mlp.0": "mlp.fc1",
        "mlp.3": "mlp.fc2", "self_attention.in_proj_": "attn.qkv.", "self_attention.out_proj": "attn.proj",
        "encoder.ln": "norm", "heads.head": "head",
    }  # fmt: skip
    moved = {}
    for name, value in mine.module.state_dict().items():
        for old, new in names.items():
            name = name.replace(old, new)
        moved[name] = value
    theirs.load_state_dict(moved)
    other = wrap(theirs.double().eval(), input_size=32)
    x = noise(other, 4, DOUBLE)
    for method in METHODS:
        torch.testing.assert_close(raw(method, mine, x), raw(method, other, x), rtol=1e-6, atol=1e-9)


# ------------------------------------------------------------------------------------------------------- the methods


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
@pytest.mark.parametrize("make", NETS)
def test_every_network_every_method(make: str, method: Method) -> None:
    classifier = NETS[make]()
    x = noise(classifier, 1, DOUBLE)
    before = state(classifier.module)
    why = method.why_not(classifier)
    assert state(classifier.module) == before
    if method is ATTRIBUTION and make in ("registers", "written by hand"):
        assert why is not None
        assert why.startswith("transformer attribution needs a transformer with a class token; ")
        assert why.endswith("reads its patch tokens instead. LRP and partial LRP serve it")
        return
    assert why is None
    found = raw(method, classifier, x)
    assert state(classifier.module) == before
    assert tuple(found.shape) == classifier.attentions[0].tap.size
    assert float(found.min()) >= 0
    shown = [found, *(raw(method, classifier, noise(classifier, seed, DOUBLE)) for seed in (2, 3))]
    assert max(float(one.max()) for one in shown) > 0, "random weights may all speak against a class"
    assert torch.equal(found, raw(method, classifier, x)), "nothing is drawn by chance"
    assert not found.requires_grad


def test_which_tokens_are_read() -> None:
    assert read_tokens(torchvision_vit()) == [0]
    assert read_tokens(timm_vit("deit_tiny_distilled_patch16_224")) == [0, 1]
    assert read_tokens(timm_vit(REGISTERS)) == list(range(4, 20))
    assert read_tokens(handmade()) == list(range(12))
    untrained = wrap(nn.Sequential(camwidgets.load("vit_b_32", weights=None).module), input_size=224)
    assert read_tokens(untrained) == [0], "torchvision's head starts at zero: nothing depends on anything"


def test_swapped_patches_swap_the_map() -> None:
    """Without position embeddings a transformer does not know where a patch is, and its maps move with the patches."""
    classifier = torchvision_vit(dtype=DOUBLE)
    net: Any = classifier.module
    with torch.no_grad():
        net.encoder.pos_embedding.zero_()
    x = noise(classifier, 6, DOUBLE)
    for method in METHODS:
        plain, turned = raw(method, classifier, x), raw(method, classifier, x.roll((8, 16), (2, 3)))
        torch.testing.assert_close(plain.roll((1, 2), (0, 1)), turned, rtol=1e-6, atol=1e-10)


def test_explain_takes_them_and_counts_passes() -> None:
    classifier = camwidgets.load("toy-vit")
    scene = ToyWorld(seed=5, n=1)[0]
    found = camwidgets.explain(classifier, scene.image, "transformer-attribution", scene.main)
    assert found.map.shape == (96, 96)
    assert found.map.max() == pytest.approx(1)
    assert "Transformer attribution" in found.caption
    assert {method.name for method in METHODS} <= set(camwidgets.methods())


@pytest.mark.parametrize("dtype", [torch.bfloat16, None])
def test_reduced_precision(dtype: torch.dtype | None) -> None:
    classifier = torchvision_vit().autocast(dtype)
    x = noise(classifier, 1)
    exact = raw(ATTRIBUTION, torchvision_vit(dtype=DOUBLE), x.double())
    found = raw(ATTRIBUTION, classifier, x)
    assert bool(torch.isfinite(found).all())
    if dtype is None:
        torch.testing.assert_close(found.double(), exact, rtol=1e-2, atol=1e-3 * float(exact.max()))


# ----------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_convolutional_networks_are_refused_before_anything_runs(method: Method) -> None:
    classifier = small()
    said = method.why_not(classifier)
    assert said is not None
    assert said.endswith("small has no attention")
    assert "needs a transformer" in said
    swin = method.why_not(timm_swin())
    assert swin is not None
    assert "that of swin does not in every block (windows, or several resolutions). Grad-CAM and LayerCAM" in swin
    with pytest.raises(ValueError, match="small has no attention"):
        camwidgets.explain(classifier, torch.randn(1, 3, 16, 16), method.name)


def test_a_head_of_another_kind_is_refused_for_cam() -> None:
    with pytest.raises(ValueError, match="CAM needs a network that ends in global average pooling"):
        camwidgets.explain(torchvision_vit(), torch.randn(1, 3, 32, 32), "cam")


class Strange(nn.Module):
    """A class-token transformer that takes the exponential of its tokens, for which there is no rule."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = torchvision_vit().module

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x).exp()


def test_operations_without_a_rule_are_named() -> None:
    classifier = wrap(Strange().eval(), input_size=32, name="strange")
    before = state(classifier.module)
    with pytest.raises(ValueError, match="there is no relevance rule for 'exp', which this network computes with"):
        raw(LRP, classifier, noise(classifier))
    assert state(classifier.module) == before
    assert float(raw(ROLLOUT, classifier, noise(classifier)).max()) > 0


def test_bad_requests() -> None:
    classifier = torchvision_vit()
    for method in (LRP, PARTIAL, ATTRIBUTION):
        with pytest.raises(ValueError, match="relevance starts at one class and needs it as its target"):
            method.function(Request(classifier, noise(classifier), lambda y: y[0]))
    two = torch.randn(2, 3, 32, 32)
    with pytest.raises(ValueError, match="one picture at a time; got a batch of 2"):
        relevance(classifier, two, 1, embedding(classifier))
    with pytest.raises(ValueError, match="one picture at a time; got a batch of 2"):
        probabilities(classifier, two)
    with torch.no_grad():
        classifier.module.get_parameter("class_token").fill_(float("nan"))
    with pytest.raises(ValueError, match="NaN or infinite logits"):
        raw(LRP, classifier, noise(classifier))


# ----------------------------------------------------------------------------------- a world whose truth is known


def mass(found: Tensor, mask: np.ndarray) -> float:
    """The share of a map that lies on a mask."""
    large = F.interpolate(found[None, None], mask.shape, mode="bilinear")[0, 0]
    return float((large * torch.from_numpy(mask)).sum() / large.sum())


def test_maps_lie_on_the_object_and_with_random_weights_do_not() -> None:
    torch.manual_seed(0)
    trained, random = camwidgets.load("toy-vit"), camwidgets.load("toy-vit", weights=None)
    scenes = list(ToyWorld(seed=777, n=20))
    area = float(np.mean([scene.mask(scene.main).mean() for scene in scenes]))
    shares: dict[tuple[str, str], float] = {}
    for name, classifier in (("trained", trained), ("random", random)):
        for method in METHODS:
            each = [
                mass(raw(method, classifier, classifier.preprocess(s.image), s.main), s.mask(s.main)) for s in scenes
            ]
            shares[name, method.name] = float(np.mean(each))
    print({"area": round(area, 3), **{" ".join(key): round(value, 3) for key, value in shares.items()}})
    for method, least in ((ATTRIBUTION, 3.0), (LRP, 3.0), (PARTIAL, 2.0), (ROLLOUT, 1.6)):
        assert shares["trained", method.name] > least * area
        assert shares["random", method.name] < 1.4 * area


def test_transformer_attribution_knows_its_class() -> None:
    """Two objects that the network sees: the map of one class lies on its object, the map of the other less so."""
    classifier = camwidgets.load("toy-vit")
    own, other = [], []
    for scene in ToyWorld(seed=99, n=40, objects=(2, 2)):
        labels = sorted({thing.label for thing in scene.objects})
        x = classifier.preprocess(scene.image)
        with torch.no_grad():
            seen = classifier.module(x).softmax(1)[0, labels] > 1e-3
        if len(labels) < 2 or not seen.all():
            continue  # it learnt scenes of one object, and often gives no thought to a second
        maps = {label: raw(ATTRIBUTION, classifier, x, label) for label in labels}
        for label, opposite in (labels, labels[::-1]):
            own.append(mass(maps[label], scene.mask(label)))
            other.append(mass(maps[opposite], scene.mask(label)))
    print(f"{len(own)} objects: {np.mean(own):.2f} of the own map, {np.mean(other):.2f} of the other")
    assert len(own) > 30
    assert np.mean(own) > 1.5 * np.mean(other)
    assert np.mean(np.greater(own, other)) > 0.7
