"""Nets whose maps are at hand: what they compute, and that the rest of the kit takes them as any other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import camwidgets
from camwidgets.learning.nets import AttentionNet, TwoBranchNet, attention_maps, build_net
from camwidgets.learning.objective import normalised


def trained_a_little(net: nn.Module) -> nn.Module:
    """Statistics of batch normalisation that are not those of the beginning."""
    torch.manual_seed(0)
    net.train()
    with torch.no_grad():
        for _ in range(3):
            net(torch.randn(4, 3, 32, 32) * 2 + 1)
    return net.eval()


@pytest.fixture
def net() -> AttentionNet:
    torch.manual_seed(1)
    made = AttentionNet(3, stages=((4,), (6,), (8, 8)), width=8)
    trained_a_little(made)
    return made


def test_attention_maps_4_2() -> None:
    F = torch.tensor([[[[-1.0, 0.5], [2.0, 0.0]], [[-1.0, -2.0], [-3.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]]]]).double()
    A = attention_maps(F, torch.tensor([[True, True, False]]))
    assert A.dtype == torch.float64
    assert A[0, 0].tolist() == [[0, 0.25], [1, 0]]
    assert not A[0, 1:].any()  # nothing speaks for the second (max = 0), the third is absent
    with pytest.raises(ValueError, match=r"F must be B×C×h×w and present B×C; got \(1, 3, 2, 2\) and \(1, 2\)"):
        attention_maps(F, torch.tensor([[True, True]]))


def test_attention_maps_have_a_gradient_without_nan() -> None:
    F = torch.tensor([[[[-1.0, -0.5]], [[0.5, 1.0]]]], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(attention_maps(F, torch.tensor([[True, True]])).sum(), F)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_speaks_for_nothing(bad: float) -> None:
    """So that a training that breaks is told by its loss, and not by its maps."""
    assert not attention_maps(torch.tensor([[[[bad, 1.0]]]]), torch.tensor([[True]])).any()


def test_logits_are_means_of_the_maps(net: AttentionNet) -> None:
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(net(x), net.scores(x).mean((-2, -1)))
    assert net.scores(x).shape == (2, 3, 8, 8)
    assert AttentionNet(10).scores(torch.zeros(1, 3, 96, 96)).shape == (1, 10, 12, 12)


def test_a_place_blanked_in_the_features_has_the_bias_as_its_score(net: AttentionNet) -> None:
    keep = torch.ones(1, 1, 8, 8)
    keep[..., 2, 5] = 0
    x = torch.randn(1, 3, 32, 32)
    blanked, plain = net.scores(x, keep=keep), net.scores(x)
    bias = net.class_conv.bias
    assert bias is not None
    torch.testing.assert_close(blanked[0, :, 2, 5], bias)
    torch.testing.assert_close(blanked[..., 3, :], plain[..., 3, :])


def test_grad_cam_at_the_class_conv_is_the_map_itself(net: AttentionNet) -> None:
    """y_c = GAP(F^c), so ∂y_c/∂F^k = [k = c]/hw and Grad-CAM there is ReLU(F^c)/hw."""
    classifier = camwidgets.wrap(net, input_size=32)
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        F = net.scores(x)[0]
    c = int(F.amax((-2, -1)).argmax())
    found = camwidgets.explain(classifier, x, "gradcam", c, stages=["class_conv"])
    np.testing.assert_allclose(found.stage_maps["class_conv"], F[c].relu().numpy() / 64, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("kind", [AttentionNet, TwoBranchNet])
def test_explains_and_decomposes_and_stays_as_it_was(kind: Any) -> None:
    torch.manual_seed(2)
    net = trained_a_little(kind(3, stages=((4,), (6,), (8, 8)), width=8))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    classifier = camwidgets.wrap(net, input_size=32)
    assert list(classifier.stages) == ["S1", "S2", "S3"]
    x = torch.randn(1, 3, 32, 32)
    assert np.isfinite(camwidgets.explain(classifier, x, "layercam").map).all()
    tree = camwidgets.decompose(classifier, x, 1)
    assert tree.root.children
    assert not net.training
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])


def test_two_branches_share_the_backbone_alone() -> None:
    net = TwoBranchNet(2, stages=((4,), (6,)), width=8).eval()
    x = torch.randn(2, 3, 16, 16)
    first, second = net.both(x)
    torch.testing.assert_close(net(x), first.mean((-2, -1)))
    torch.testing.assert_close(net.attention(x), second.sigmoid())
    second.sum().backward()
    assert all(p.grad is None for p in [*net.further1.parameters(), *net.class_conv1.parameters()])
    assert all(p.grad is not None for p in [*net.backbone.parameters(), *net.further2.parameters()])


@pytest.mark.parametrize("net", [AttentionNet(3, ((4,), (6, 6)), 5), TwoBranchNet(2)])
def test_built_again_from_plain_values(net: AttentionNet | TwoBranchNet) -> None:
    import json

    again = build_net(json.loads(json.dumps(net.config())))
    assert type(again) is type(net)
    again.load_state_dict(net.state_dict())
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(again.eval()(x), net.eval()(x))
    with torch.device("meta"):
        assert build_net(net.config()).state_dict().keys() == net.state_dict().keys()


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"net": "AttentionNte", "classes": 2}, "did you mean 'AttentionNet'"),
        ({"classes": 2}, "unknown network None"),
        ({"net": "AttentionNet", "classes": 0}, "classes must lie between 1 and"),
        ({"net": "AttentionNet", "classes": 2, "stages": 7}, "stages are 1 … 8 lists"),
        ({"net": "AttentionNet", "classes": 2, "stages": [[10**9]]}, "a width in stages must lie between 1 and 4096"),
        ({"net": "AttentionNet", "classes": 2, "depth": 3}, "unknown parameter of AttentionNet 'depth'"),
    ],
)
def test_configurations_that_are_none(config: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        build_net(config)
    with pytest.raises(TypeError, match=r"classes must be a whole number between 1 and 100000, not 2\.5"):
        AttentionNet(2.5)  # type: ignore[arg-type]


@pytest.mark.slow
def test_learns_the_multi_label_toy_world() -> None:
    """Three short epochs of 600 pictures: far above what guessing the frequent answer gives."""
    from camwidgets.datasets.toyworld import ToyWorld
    from camwidgets.learning.labelled import open_labelled
    from camwidgets.learning.losses import multi_label_bce

    data = open_labelled(ToyWorld(seed=1, n=700, objects=(1, 3), classes=["cat", "car", "boat"]))
    examples = list(data)
    x = normalised(torch.stack([one.picture for one in examples]))
    y = torch.stack([one.present for one in examples])
    torch.manual_seed(0)
    net = AttentionNet(3)
    optimiser = torch.optim.AdamW(net.parameters(), 2e-3)
    for _ in range(3):
        for part in torch.randperm(600).split(32):
            loss = multi_label_bce(net.train()(x[part]), y[part])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    with torch.no_grad():
        right = ((net.eval()(x[600:]) > 0) == y[600:]).float().mean()
    guessing = torch.stack([y.float().mean(0), 1 - y.float().mean(0)]).amax(0).mean()
    assert right > guessing + 0.15
