"""Golden values of every map function, worked out by hand on two channels in float64.

The picture is 1×2 positions, a and b; there are two channels. Everything below can be checked with pencil and paper:

    A₁ = (1, 2)   g₁ = (½, −1)        A₂ = (3, 0)   g₂ = (1, 2)
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import camwidgets
from camwidgets.maps import evidence_methods, methods
from camwidgets.maps.gradient import (
    SIGNS,
    cam,
    gradcam,
    gradcam_pp,
    handled,
    layercam,
    normgrad,
    ungridded,
    xgradcam,
)

A = torch.tensor([[[1.0, 2.0]], [[3.0, 0.0]]], dtype=torch.float64)
G = torch.tensor([[[0.5, -1.0]], [[1.0, 2.0]]], dtype=torch.float64)


def assert_map(found: Tensor, wanted: list[float]) -> None:
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, torch.tensor([wanted], dtype=torch.float64), rtol=0, atol=1e-14)


def test_handling_of_signs() -> None:
    assert handled(G, "positive").flatten().tolist() == [0.5, 0, 1, 2]
    assert handled(G, "signed").flatten().tolist() == [0.5, -1, 1, 2]
    assert handled(G, "absolute").flatten().tolist() == [0.5, 1, 1, 2]
    assert handled(G, "negative").flatten().tolist() == [0, 1, 0, 0]
    assert set(SIGNS) == {"positive", "signed", "absolute", "negative"}
    with pytest.raises(ValueError, match=r"unknown gradient 'postive'; valid: positive, .*did you mean 'positive'"):
        handled(G, "postive")


# Grad-CAM: w = mean of h(g) over positions; the map is w₁·A₁ + w₂·A₂, cut at 0.
@pytest.mark.parametrize(
    ("gradient", "wanted"),
    [
        ("signed", [-0.25 * 1 + 1.5 * 3, 0.0]),  # w = (−¼, 3/2): b is −½, cut to 0
        ("positive", [0.25 * 1 + 1.5 * 3, 0.25 * 2]),  # w = (¼, 3/2)
        ("absolute", [0.75 * 1 + 1.5 * 3, 0.75 * 2]),  # w = (¾, 3/2)
        ("negative", [0.5 * 1, 0.5 * 2]),  # w = (½, 0)
    ],
)
def test_gradcam(gradient: str, wanted: list[float]) -> None:
    assert_map(gradcam(A, G, gradient), wanted)


def test_gradcam_is_signed_unless_told_otherwise() -> None:
    assert_map(gradcam(A, G), [4.25, 0.0])


# LayerCAM: position by position h(g₁)·A₁ + h(g₂)·A₂, cut at 0.
@pytest.mark.parametrize(
    ("gradient", "wanted"),
    [
        ("positive", [0.5 * 1 + 1 * 3, 0.0]),
        ("signed", [3.5, 0.0]),  # b: −1·2 + 2·0 = −2, cut to 0
        ("absolute", [3.5, 2.0]),
        ("negative", [0.0, 2.0]),
    ],
)
def test_layercam(gradient: str, wanted: list[float]) -> None:
    assert_map(layercam(A, G, gradient), wanted)
    assert_map(layercam(A, G), [3.5, 0.0])


def test_positive_minus_negative_is_signed() -> None:
    a = torch.rand(7, 5, 5, dtype=torch.float64)
    g = torch.randn(7, 5, 5, dtype=torch.float64)
    difference = layercam(a, g, "positive") - layercam(a, g, "negative")
    torch.testing.assert_close(difference.relu(), layercam(a, g, "signed"))


# Grad-CAM++: mass Σ A₁ = 3, Σ A₂ = 3.
#   α₁(a) = ¼ / (½ + 3·⅛) = 2/7      α₁(b) = 1 / (2 − 3) = −1
#   α₂(a) = 1 / (2 + 3) = 1/5         α₂(b) = 4 / (8 + 3·8) = 1/8
@pytest.mark.parametrize(
    ("gradient", "w1", "w2"),
    [
        ("positive", 2 / 7 * 0.5, 1 / 5 * 1 + 1 / 8 * 2),
        ("signed", 2 / 7 * 0.5 + (-1) * (-1), 1 / 5 + 1 / 4),
        ("absolute", 2 / 7 * 0.5 + (-1) * 1, 1 / 5 + 1 / 4),
        ("negative", (-1) * 1, 0.0),
    ],
)
def test_gradcam_pp(gradient: str, w1: float, w2: float) -> None:
    wanted = [max(0.0, w1 * 1 + w2 * 3), max(0.0, w1 * 2 + w2 * 0)]
    assert_map(gradcam_pp(A, G, gradient), wanted)


def test_gradcam_pp_is_positive_unless_told_otherwise() -> None:
    assert_map(gradcam_pp(A, G), [1 / 7 + 3 * 0.45, 2 / 7])


def test_gradcam_pp_where_the_denominator_is_zero() -> None:
    """g = 0 gives 0/0; and 2g² + ΣA·g³ = 0 at g = −2/ΣA although g² is not 0: α is 0 there, as published."""
    a = torch.tensor([[[1.0, 3.0]], [[1.0, 1.0]]], dtype=torch.float64)
    g = torch.tensor([[[-0.5, 1.0]], [[0.0, 0.0]]], dtype=torch.float64)  # ΣA₁ = 4: 2·¼ − 4·⅛ = 0
    w1 = 1 / (2 + 4)  # from b alone
    assert_map(gradcam_pp(a, g, "signed"), [w1 * 1, w1 * 3])
    assert_map(gradcam_pp(a, torch.zeros_like(g)), [0.0, 0.0])


# XGrad-CAM: w₁ = (½·1 − 1·2)/3 = −½, w₂ = (1·3 + 2·0)/3 = 1.
@pytest.mark.parametrize(
    ("gradient", "wanted"),
    [
        ("signed", [-0.5 * 1 + 1 * 3, 0.0]),
        ("positive", [1 / 6 * 1 + 1 * 3, 1 / 6 * 2]),
        ("absolute", [2.5 / 3 * 1 + 1 * 3, 2.5 / 3 * 2]),
        ("negative", [2 / 3 * 1, 2 / 3 * 2]),
    ],
)
def test_xgradcam(gradient: str, wanted: list[float]) -> None:
    assert_map(xgradcam(A, G, gradient), wanted)


def test_xgradcam_of_a_silent_channel() -> None:
    """ΣA = 0: the weight is 0, not NaN, whether the channel is silent or its values cancel out."""
    a = torch.tensor([[[0.0, 0.0]], [[2.0, -2.0]], [[1.0, 1.0]]], dtype=torch.float64)
    g = torch.ones_like(a)
    assert_map(xgradcam(a, g), [1.0, 1.0])


@pytest.mark.parametrize(
    ("gradient", "ga", "gb"),
    [
        ("signed", math.hypot(0.5, 1), math.hypot(1, 2)),
        ("absolute", math.hypot(0.5, 1), math.hypot(1, 2)),
        ("positive", math.hypot(0.5, 1), 2.0),
        ("negative", 0.0, 1.0),
    ],
)
def test_normgrad(gradient: str, ga: float, gb: float) -> None:
    assert_map(normgrad(A, G, gradient), [ga * math.hypot(1, 3), gb * 2.0])


def test_cam() -> None:
    assert_map(cam(A, torch.tensor([1.0, -0.5], dtype=torch.float64)), [0.0, 2.0])


def test_the_two_channel_network_end_to_end() -> None:
    """A network small enough to differentiate by hand: its maps by way of evidence are the golden ones.

    Two identity channels (red, green), ReLU, global average over 2 positions, logits
    y₀ = 2·mean(A₁) − 4·mean(A₂): g₁ = 1, g₂ = −2 everywhere.
    """
    net = nn.Sequential(
        nn.Conv2d(3, 2, 1, bias=False), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)
    ).double()
    conv, linear = net[0], net[4]
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(linear, nn.Linear)
    with torch.no_grad():
        conv.weight.copy_(torch.eye(3, dtype=torch.float64)[:2, :, None, None])
        linear.weight.copy_(torch.tensor([[2.0, -4.0], [0.0, 1.0]]))
        linear.bias.copy_(torch.tensor([0.5, 0.0]))
    classifier = camwidgets.wrap(net, input_size=(1, 2))
    x = torch.tensor([[[[3.0, 1.0]], [[1.0, -7.0]], [[9.0, 9.0]]]], dtype=torch.float64)
    evidence = camwidgets.capture(classifier, x, 0)
    assert evidence.at("S1")[0].tolist() == [[[[3, 1]], [[1, 0]]]]
    assert evidence.at("S1")[1].tolist() == [[[[1, 1]], [[-2, -2]]]]
    assert float(evidence.scores[0]) == 2 * 2 - 4 * 0.5 + 0.5

    def of(method: str, gradient: str | None = None) -> list[float]:
        found = camwidgets.maps.stage_maps(evidence, method, gradient)["S1"]
        assert found.dtype == np.float32
        return list(found.ravel().tolist())

    assert of("gradcam") == [1, 1]  # 1·3 − 2·1, 1·1 − 2·0
    assert of("layercam") == [3, 1]
    assert of("layercam", "signed") == [1, 1]
    assert of("layercam", "negative") == [2, 0]
    assert of("layercam", "absolute") == [5, 1]
    assert of("xgradcam") == [1, 1]
    assert of("cam") == [2 * 3 - 4 * 1, 2 * 1]  # the weights themselves: twice the gradient, for two positions
    assert of("normgrad") == pytest.approx([math.sqrt(5 * 10), math.sqrt(5)])
    # Grad-CAM++, ReLU(g): α₁ = 1/(2 + 4), twice; channel 2 has no positive gradient.
    assert of("gradcam++") == pytest.approx([3 / 3, 1 / 3])


def test_cam_needs_a_head_of_pooling_and_one_layer() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 4),
        nn.ReLU(),
        nn.Linear(4, 3),
    )
    classifier = camwidgets.wrap(net, input_size=16)
    with pytest.raises(ValueError, match=r"CAM needs a network that ends in global average pooling and one linear"):
        camwidgets.explain(classifier, torch.zeros(1, 3, 16, 16), "cam", target=0)


def test_batched_and_single_maps_agree() -> None:
    generator = torch.Generator().manual_seed(0)
    a, g = torch.rand(2, 3, 5, 4, 6, generator=generator), torch.randn(2, 3, 5, 4, 6, generator=generator)
    for method in evidence_methods().values():
        if "gradients" in method.needs:
            whole = method.function(a, g)
            assert whole.shape == (2, 3, 4, 6)
            assert float(whole.min()) >= 0
            torch.testing.assert_close(whole[1, 2], method.function(a[1, 2], g[1, 2]))


def test_map_functions_leave_what_they_are_given_alone() -> None:
    for method in evidence_methods().values():
        for sign in method.signs:
            a, g = torch.rand(5, 4, 6), torch.randn(5, 4, 6)
            copies = a.clone(), g.clone()
            given = (a, a.mean((1, 2))) if "gap head" in method.needs else (a, g, sign)
            method.function(*given)
            assert torch.equal(a, copies[0])
            assert torch.equal(g, copies[1])


def test_ungridded() -> None:
    """A 2×2 max-pool sends each gradient to one of four places; summed over the cell it is the pooled gradient."""
    conv = torch.rand(1, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    pooled = nn.functional.max_pool2d(conv, 2)
    weights = torch.randn(pooled.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (g,) = torch.autograd.grad((pooled * weights).sum(), conv)
    assert int((g != 0).sum()) == weights.numel()
    up = nn.functional.interpolate(weights, (8, 8), mode="bilinear", align_corners=True)
    torch.testing.assert_close(ungridded(g[0], 2), up[0])
    assert ungridded(g, 1) is g


def test_the_catalogue() -> None:
    known = methods()
    assert list(known)[:6] == ["layercam", "gradcam", "gradcam++", "xgradcam", "normgrad", "cam"]
    assert known["layercam"].gradient == "positive"
    assert known["gradcam"].gradient == "signed"
    text = repr(known)
    assert text.splitlines()[0].split() == ["method", "kind", "needs", "formula"]
    assert max(map(len, text.splitlines())) <= 150
    for name, method in known.items():
        lines = [line for line in text.splitlines() if line.split()[:2] == [name, method.kind]]
        assert any(method.formula[:40] in line for line in lines)
        assert method.source in method.about()
    known.clear()
    assert methods(), "the caller's copy is the caller's"


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("Grad-CAM++", "gradcam++"),
        ("grad_cam_plus_plus", "gradcam++"),
        ("GradCAMpp", "gradcam++"),
        ("grad cam", "gradcam"),
        ("LayerCAM", "layercam"),
        ("XGrad-CAM", "xgradcam"),
    ],
)
def test_spellings(spelling: str, name: str) -> None:
    from camwidgets.maps.catalogue import find

    assert find(spelling).name == name
