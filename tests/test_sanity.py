"""Sanity checks: networks drawn anew, maps compared, and the similarity measures by hand."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.convnext import CNBlockConfig, ConvNeXt
from torchvision.models.swin_transformer import SwinTransformer

import camwidgets
from camwidgets import Classifier, wrap
from camwidgets.datasets.toyworld import ToyWorld
from camwidgets.decomposition.copies import private_copy
from camwidgets.decomposition.randomised import parameter_groups, randomised
from camwidgets.decomposition.sanity import compare_maps, gap_contributions, gap_maps, parameter_randomisation
from camwidgets.decomposition.similarity import ssim
from tests.known_net import FIRST, cell, known
from tests.nets import SharedSkip, Small, Tutorial, picture, settled, small, state
from tests.transformers import encoder, handmade, timm_vit, torchvision_vit


def weights(classifier: Classifier) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in classifier.module.named_parameters()}


def changed(a: dict[str, Tensor], b: dict[str, Tensor]) -> set[str]:
    return {name.rsplit(".", 1)[0] for name in a if not torch.equal(a[name], b[name])}


# ---------------------------------------------------------------------------------------------- networks drawn anew


def test_parameters_go_by_stage_from_the_head_down() -> None:
    assert parameter_groups(small()) == {"head": ["fc"], "S2": ["conv2"], "S1": ["conv1", "norm1"]}
    assert parameter_groups(camwidgets.load("toy"))["S4"] == ["features.conv4_1", "features.conv4_2"]


def test_a_module_called_twice_goes_where_it_is_first_used() -> None:
    groups = parameter_groups(wrap(settled(SharedSkip()), input_size=16))
    assert groups["S1"] == ["stem", "conv"]
    assert groups["head"] == ["fc"]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("cascading", [{"fc"}, {"fc", "conv2"}, {"fc", "conv2", "conv1", "norm1"}]),
        ("independent", [{"fc"}, {"conv2"}, {"conv1", "norm1"}]),
    ],
)
def test_what_is_drawn_anew_and_that_the_original_stays(order: str, expected: list[set[str]]) -> None:
    classifier = small()
    classifier.module.train()
    before, trained = state(classifier.module), weights(classifier)
    copies = list(randomised(classifier, order))
    assert [name for name, _ in copies] == ["head", "S2", "S1"]
    assert [changed(trained, weights(copy)) for _, copy in copies] == expected
    assert state(classifier.module) == before
    assert all(copy.stages == classifier.stages for _, copy in copies)


def test_drawn_weights_have_the_spread_of_the_trained_ones_and_hang_on_the_seed() -> None:
    toy = camwidgets.load("toy")
    found = dict(randomised(toy))["S1"].module
    for name, trained in toy.module.named_parameters():
        if trained.numel() > 2000:
            fresh = found.get_parameter(name)
            assert float(fresh.std()) == pytest.approx(float(trained.detach().std()), rel=0.1)
            assert abs(float(torch.corrcoef(torch.stack([fresh, trained.detach()]).flatten(1))[0, 1])) < 0.1
    one, same, other = (weights(dict(randomised(toy, seed=seed))["head"]) for seed in (0, 0, 1))
    assert changed(one, same) == set()
    assert changed(one, other) == {"classifier"}
    independent = dict(randomised(toy, "independent"))["S5"].module
    assert torch.equal(independent.get_parameter("features.conv5_1.weight"),
                       dict(randomised(toy))["S5"].module.get_parameter("features.conv5_1.weight"))  # fmt: skip


class Aside(nn.Module):
    """A part that is read but never called, a scale of the network's own at its beginning, and a part of no use."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3, 1, 1))
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.projection = nn.Conv2d(4, 4, 1)
        self.second = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.ReLU())
        self.idle = nn.Linear(6, 5)
        self.fc = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x * self.scale)
        x = F.conv2d(x, self.projection.weight, self.projection.bias)
        return self.fc(self.second(x).mean((2, 3)))


def swin() -> nn.Module:
    return SwinTransformer([4, 4], 8, [1, 1], [2, 2], [4, 4], num_classes=5)


def test_parameters_go_where_they_are_first_used_whether_their_module_is_called_or_not() -> None:
    groups = parameter_groups(wrap(settled(Aside()), input_size=16))
    assert groups == {"head": ["idle", "fc"], "S2": ["projection", "second.0"], "S1": ["", "first.0"]}


@pytest.mark.parametrize(
    "made",
    [
        torchvision_vit, timm_vit, handmade, encoder, small, known, lambda: camwidgets.load("toy"),
        lambda: wrap(settled(Aside()), input_size=16), lambda: wrap(settled(SharedSkip()), input_size=16),
        lambda: wrap(settled(Tutorial()), input_size=32), lambda: wrap(settled(swin()), input_size=32),
        lambda: wrap(settled(ConvNeXt([CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 1)])), input_size=32),
    ],
)  # fmt: skip
@pytest.mark.parametrize("order", ["cascading", "independent"])
def test_after_the_cascade_no_trained_value_is_left(made: Any, order: str) -> None:
    """And in the other order each parameter is drawn in one group, no more."""
    classifier = made()
    with torch.no_grad():  # no parameter is constant: such a one would be drawn as it is
        for i, parameter in enumerate(classifier.module.parameters()):
            fresh = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(i), dtype=torch.float64)
            parameter.add_(0.01 * (1 + fresh).to(parameter.dtype))
    trained = {name: p.detach().clone() for name, p in classifier.module.named_parameters()}
    several = {name for name, p in trained.items() if p.numel() > 1}
    drawn = [
        {name for name, p in copy.module.named_parameters() if not torch.equal(p, trained[name])} & several
        for _, copy in randomised(classifier, order)
    ]
    if order == "cascading":
        assert drawn[-1] == several
        assert all(one < other for one, other in itertools.pairwise(drawn))
    else:
        assert set().union(*drawn) == several
        assert sum(map(len, drawn)) == len(several)


def test_a_transformers_attention_and_tokens_are_drawn_where_they_are_used() -> None:
    groups = parameter_groups(torchvision_vit(blocks=4))
    where = {name: group for group, names in groups.items() for name in names}
    assert where[""] == where["encoder"] == where["conv_proj"] == "S1"  # the class token, the places, the patches
    for i in range(4):
        layer = f"encoder.layers.encoder_layer_{i}"
        assert where[f"{layer}.self_attention.out_proj"] == where[f"{layer}.self_attention"], layer


def test_a_private_copy_is_frozen_and_works_alone() -> None:
    classifier = small()
    twin = private_copy(classifier)
    with torch.no_grad():
        twin.module.get_parameter("fc.weight").zero_()
    assert not any(m.training for m in twin.module.modules())
    assert not any(getattr(m, "inplace", False) for m in twin.module.modules())
    assert float(classifier.module.get_parameter("fc.weight").detach().abs().sum()) > 0
    assert twin.weights_hash() != classifier.weights_hash()


def test_a_module_that_cannot_be_copied_says_so() -> None:
    module = Small().eval()
    module.scale = torch.ones(1, requires_grad=True) * 2
    with pytest.raises(ValueError, match="private copy is needed"):
        private_copy(wrap(module, input_size=16))


# ------------------------------------------------------------------------------------------------------- similarity


def test_ssim_by_hand() -> None:
    a, b = np.full((12, 9), 0.2), np.full((12, 9), 0.6)
    assert ssim(a, b) == pytest.approx((2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4), abs=1e-12)
    noise = np.random.default_rng(0).random((16, 16))
    assert ssim(noise, noise) == pytest.approx(1.0)
    assert ssim(noise, 1 - noise) < 0
    with pytest.raises(ValueError, match=r"one size; got \(16, 16\) and \(12, 9\)"):
        ssim(noise, a)


def test_ssim_of_one_bright_point_is_the_windows_own_arithmetic() -> None:
    """μ = w, σ² = w − w² and σ_ab = −μ_a μ_b for two maps with one 1 each, at different places of one row."""
    a, b = np.zeros((31, 31)), np.zeros((31, 31))
    a[15, 13], b[15, 17] = 1, 1
    offsets = np.arange(-5, 6)
    line = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2
    mu_a, mu_b = np.zeros((31, 31)), np.zeros((31, 31))
    mu_a[10:21, 8:19], mu_b[10:21, 12:23] = window, window
    c1, c2 = 1e-4, 9e-4
    top = (2 * mu_a * mu_b + c1) * (-2 * mu_a * mu_b + c2)
    below = (mu_a**2 + mu_b**2 + c1) * (mu_a - mu_a**2 + mu_b - mu_b**2 + c2)
    assert ssim(a, b) == pytest.approx(float((top / below).mean()), abs=1e-12)


# ------------------------------------------------------------------------------------------------------- comparison


def test_gap_maps_and_contributions_by_hand() -> None:
    maps, parts = gap_maps(known(), FIRST, 0), gap_contributions(known(), FIRST, 0)
    assert parts["S2"].tolist() == pytest.approx([0.6, 0.4, 0, 0], abs=1e-12)
    assert parts["S1"].tolist() == pytest.approx([0.6, 0.4, 0], abs=1e-12)
    assert maps["S2"].shape == (4, 4)
    assert maps["S2"] == pytest.approx(np.full((4, 4), 1 / 16), abs=1e-12)
    assert maps["S1"].sum() == pytest.approx(1.0, abs=1e-12)


def test_a_map_is_like_itself_unlike_its_negative_and_flat_ones_are_like_nothing() -> None:
    def ramp(classifier: Classifier, x: Any, target: int) -> dict[str, np.ndarray]:
        sign = float(classifier.module.get_parameter("fc.bias").detach()[0])
        line = np.arange(1.0, 65).reshape(8, 8)
        return {"ramp": sign * line, "flat": np.full((8, 8), sign), "vector": sign * line[0]}

    one, other = small(), small()
    with torch.no_grad():
        one.module.get_parameter("fc.bias")[0] = 1.0
        other.module.get_parameter("fc.bias")[0] = -1.0
    same = compare_maps(one, one, [picture()], ramp)
    assert [cell(same, "ramp", c) for c in ("spearman", "absolute", "ssim", "flat")] == pytest.approx([1, 1, 1, 0])
    turned = compare_maps(one, other, [picture()], ramp)
    assert turned["spearman"].to_dict() == pytest.approx({"ramp": -1, "flat": 0, "vector": -1})
    assert turned["absolute"].to_dict() == pytest.approx({"ramp": 1, "flat": 0, "vector": 1})
    assert turned["flat"].to_dict() == {"ramp": 0, "flat": 1, "vector": 0}
    assert cell(turned, "ramp", "ssim") < 0.3
    assert np.isnan(cell(turned, "vector", "ssim"))


@pytest.mark.parametrize("explainer", [gap_maps, gap_contributions])
@pytest.mark.parametrize("order", ["cascading", "independent"])
def test_an_untouched_network_is_like_itself_and_a_forgetful_one_is_not(order: str, explainer: Any) -> None:
    toy = camwidgets.load("toy")
    scenes = [scene.image for scene in ToyWorld(seed=77, n=4)]
    before = state(toy.module)
    table = parameter_randomisation(toy, scenes, explainer, order=order)
    likeness = table.pivot(index="layers", columns="map", values="spearman")
    assert list(likeness.to_dict("index")["none"].values()) == pytest.approx([1.0] * 5)
    assert likeness.loc["S4", ["S3", "S4"]].abs().max() < 0.4
    if order == "cascading":
        assert likeness.loc["S1", ["S1", "S2", "S3", "S4"]].abs().max() < 0.3
    assert state(toy.module) == before
    again = parameter_randomisation(toy, scenes, explainer, order=order)
    assert again.equals(table)


def test_any_method_can_be_checked() -> None:
    toy = camwidgets.load("toy")
    scenes = [scene.image for scene in ToyWorld(seed=77, n=2)]

    def layercam(classifier: Classifier, image: Any, target: int) -> np.ndarray:
        return camwidgets.explain(classifier, image, target=target).map

    def brightness(classifier: Classifier, image: Any, target: int) -> np.ndarray:
        return np.asarray(image).mean(2)

    last = [
        parameter_randomisation(toy, scenes, one).query("layers == 'S1'")["spearman"].item()
        for one in (layercam, brightness)
    ]
    assert last[0] < 0.9
    assert last[1] == pytest.approx(1.0)  # shows the picture, not the network: this is what the check is for


def trained(seed: int, labels: Tensor, pictures: Tensor) -> Classifier:
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 24, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 2),
    )  # fmt: skip
    optimiser = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(150):
        optimiser.zero_grad()
        F.cross_entropy(net(pictures), labels).backward()
        optimiser.step()
    return wrap(net.eval(), input_size=16, name="trained")


def test_labels_dealt_out_at_random_make_other_maps_than_true_ones() -> None:
    """Two of eight patches are coloured: red means class 1. The maps of two nets that learnt this resemble each other
    more than they resemble those of a net that had random labels.
    """
    generator = torch.Generator().manual_seed(1)
    pictures = 0.3 * torch.rand(64, 3, 16, 16, generator=generator)
    labels = torch.arange(64) % 2
    for i in range(64):
        y, x = (int(v) for v in torch.randint(0, 11, (2,), generator=generator))
        pictures[i, 0 if labels[i] else 2, y : y + 5, x : x + 5] += 1
    shuffled = labels[torch.randperm(64, generator=generator)]
    true, again, chance = (trained(*it, pictures) for it in ((0, labels), (1, labels), (1, shuffled)))
    some = [pictures[i : i + 1] for i in range(12)]
    targets = labels[:12].tolist()
    alike = cell(compare_maps(true, again, some, targets=targets), "S2", "spearman")
    apart = cell(compare_maps(true, chance, some, targets=targets), "S2", "spearman")
    assert alike > apart + 0.1
    assert cell(compare_maps(true, true, some, targets=targets), "S2", "spearman") == pytest.approx(1.0)


# -------------------------------------------------------------------------------------------------------- bad input


def test_progress_counts_all_copies_and_may_cancel() -> None:
    classifier, seen = small(), []
    before = state(classifier.module)
    pictures = [picture(seed=i) for i in range(2)]
    parameter_randomisation(classifier, pictures, progress=lambda *at: seen.append(at))
    assert seen == [(i, 8) for i in range(1, 9)]

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        parameter_randomisation(classifier, pictures, progress=stop)
    assert state(classifier.module) == before


def test_what_cannot_be_compared_is_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match="unknown order 'cascade'; valid: cascading, independent"):
        parameter_randomisation(small(), [picture()], order="cascade")
    with pytest.raises(ValueError, match="empty set of pictures"):
        compare_maps(small(), small(), [])
    with pytest.raises(ValueError, match="2 labels were given for 1 pictures"):
        compare_maps(small(), small(), [picture()], targets=[0, 1])
    with pytest.raises(ValueError, match="differ in name or size: S1 16×16, S2 8×8 against S1 8×8, S2 4×4"):
        compare_maps(small(), known(), [FIRST.float().repeat(1, 1, 2, 2)], _sized)
    with pytest.raises(ValueError, match="no finite numbers for 'map'"):
        compare_maps(small(), small(), [picture()], lambda net, x, c: np.array([np.nan]))


def _sized(classifier: Classifier, x: Any, target: int) -> dict[str, np.ndarray]:
    return {stage: np.zeros(tap.size) for stage, tap in classifier.stages.items()}
