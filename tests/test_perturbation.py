"""Score-CAM, clustered CAM, Group-CAM and RISE against plain loops in float64, written from the papers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

import camwidgets
from camwidgets import Classifier, explain, wrap
from camwidgets.maps import Passes, Request
from camwidgets.maps.groupcam import groupcam, summed
from camwidgets.maps.masking import blurred, denoised, stretched, upsampled
from camwidgets.maps.rise import Masks, rise
from camwidgets.maps.scorecam import clustercam, grouped, scorecam
from tests.nets import Small, picture, settled, small

X = picture(dtype=torch.float64)


def net(silent: bool = False) -> Classifier:
    classifier = small(dtype=torch.float64)
    if silent:  # channel 2 of the second stage is dead, channel 4 the same everywhere
        with torch.no_grad():
            conv = classifier.module.conv2
            assert isinstance(conv, nn.Conv2d)
            assert conv.bias is not None
            conv.weight[[2, 4]] = 0
            conv.bias[2], conv.bias[4] = -1, 0.7
    return classifier


def asked(classifier: Classifier, stage: str = "S2", target: Any = 1, batch: int | None = None) -> Request:
    return Request(classifier, X, target, Passes(batch), classifier.tap(stage))


def probability(classifier: Classifier, x: Tensor, target: int) -> float:
    with torch.no_grad():
        return float(classifier.module(x)[0].softmax(0)[target])


def evidence(classifier: Classifier, stage: str, target: int) -> tuple[np.ndarray, np.ndarray]:
    A, g = camwidgets.capture(classifier, X, target, [stage]).at(stage)
    return A[0].numpy(), g[0].numpy()


def bilinear(a: np.ndarray, height: int, width: int) -> np.ndarray:
    """Half-pixel centres, borders repeated; one position after another."""
    out = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            y = min(max((i + 0.5) * a.shape[0] / height - 0.5, 0), a.shape[0] - 1)
            x = min(max((j + 0.5) * a.shape[1] / width - 0.5, 0), a.shape[1] - 1)
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, a.shape[0] - 1), min(x0 + 1, a.shape[1] - 1)
            u, v = y - y0, x - x0
            out[i, j] = (1 - u) * ((1 - v) * a[y0, x0] + v * a[y0, x1]) + u * ((1 - v) * a[y1, x0] + v * a[y1, x1])
    return out


def minmax(a: np.ndarray) -> np.ndarray:
    return (a - a.min()) / (a.max() - a.min()) if a.max() - a.min() > 1e-12 else np.zeros_like(a)


def black() -> Tensor:
    return torch.tensor([-m / s for m, s in zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)])


# ---------------------------------------------------------------------------------------------------- Score-CAM


@pytest.mark.parametrize("blank", ["mean", "black"])
@pytest.mark.parametrize("weights", ["softmax", "difference"])
@pytest.mark.parametrize(("stage", "silent"), [("S1", False), ("S2", False), ("S2", True)])
def test_scorecam_against_loops(weights: str, blank: str, stage: str, silent: bool) -> None:
    classifier = net(silent)
    A, _ = evidence(classifier, stage, 1)
    base = (black().double() if blank == "black" else torch.zeros(3).double()).reshape(1, 3, 1, 1)
    rise_of = []
    for a in A:  # every channel has its pass, the silent ones too
        H = torch.from_numpy(minmax(bilinear(a, 16, 16)))
        rise_of.append(probability(classifier, X * H + base * (1 - H), 1))
    alpha = np.array(rise_of) - probability(classifier, base.expand(1, 3, 16, 16), 1)
    alpha = np.exp(alpha) / np.exp(alpha).sum() if weights == "softmax" else alpha
    expected = np.maximum(sum(a * one for a, one in zip(alpha, A, strict=True)), 0)
    request = asked(classifier, stage)
    found = scorecam(request, weights, blank)
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-7 if blank == "black" else 1e-12)
    active = sum(np.ptp(a) > 0 for a in A)
    assert active < len(A) - 1 if silent else active >= 4
    assert request.passes.counts.forward == 1 + 1 + active


def test_black_is_black_for_the_network() -> None:
    classifier = net()
    seen: list[Tensor] = []
    classifier.module.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    scorecam(asked(classifier), blank="black")
    first = next(x for x in seen if len(x) > 1)[0]
    torch.testing.assert_close(first, black().double().reshape(3, 1, 1).expand(3, 16, 16), atol=1e-6, rtol=0)


def test_scorecam_of_a_callable_takes_its_value() -> None:
    classifier = net()
    found = scorecam(asked(classifier, target=lambda y: y[3] - y[0]), "difference")
    A, _ = evidence(classifier, "S2", 1)
    H = [torch.from_numpy(minmax(bilinear(a, 16, 16))) for a in A]
    with torch.no_grad():
        y = classifier.module(torch.cat([torch.zeros_like(X), *[X * one for one in H]]))
    alpha = (y[1:, 3] - y[1:, 0]) - (y[0, 3] - y[0, 0])
    np.testing.assert_allclose(found, np.maximum((alpha.numpy()[:, None, None] * A).sum(0), 0), atol=1e-12)


def test_a_stage_where_every_channel_is_flat() -> None:
    classifier = net()
    with torch.no_grad():
        classifier.module.conv2.weight.zero_()  # type: ignore[union-attr, operator]
        classifier.module.conv2.bias.fill_(-1)  # type: ignore[union-attr, operator]
    for method in ("scorecam", "groupcam", "clustercam", "msgcam", "cameras"):
        found = explain(classifier, X, method)
        assert not found.map.any()
        assert found.reason == f"flat: {camwidgets.methods()[method].title} is the same everywhere"


def test_scorecam_never_holds_more_masks_than_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, int]] = []
    inside = Passes.map

    def spied(self: Passes, classifier: Any, make: Any, total: int, reduce: Any = None) -> Tensor:
        def spy(start: int, stop: int) -> Tensor:
            made.append((start, stop))
            assert len(make(start, stop)) == stop - start
            result: Tensor = make(start, stop)
            return result

        return inside(self, classifier, spy, total, reduce)

    monkeypatch.setattr(Passes, "map", spied)
    explain(net(), X, "scorecam", batch=2)
    assert made == [(0, 2), (2, 4), (4, 6)]  # the blank picture and five channels that are not silent
    made.clear()
    explain(net(), X, "rise", masks=7, batch=3)
    assert made == [(0, 3), (3, 6), (6, 7)]


# ------------------------------------------------------------------------------------------------- clustered CAM


def test_clusters_by_hand() -> None:
    """Six channels, three kinds: the map is the best kind's, and the others where theirs is higher."""
    classifier = net()
    A, g = evidence(classifier, "S2", 1)
    found = clustercam(asked(classifier), clusters=6)  # as many clusters as channels: every channel alone
    alive = [k for k in range(6) if A[k].any()]
    layers = []
    for k in alive:
        C = minmax(np.maximum(g[k].mean() * A[k], 0))
        H = torch.from_numpy(minmax(bilinear(C, 16, 16)))
        rise_of = probability(classifier, X * H, 1) - probability(classifier, torch.zeros_like(X), 1)
        layers.append(max(rise_of, 0) * C)
    np.testing.assert_allclose(found, np.max(layers, axis=0), atol=1e-12)
    assert found.any()


def test_kmeans_finds_what_is_there() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.arange(60) % 3
    rows = torch.eye(3, dtype=torch.float64)[truth] * 10 + 0.1 * torch.randn(60, 3, generator=generator).double()
    for seed in range(5):
        labels = grouped(rows, 3, seed)
        assert len({(int(a), int(b)) for a, b in zip(labels, truth, strict=True)}) == 3
    assert torch.equal(grouped(rows, 3, 7), grouped(rows, 3, 7))
    assert len(grouped(rows[:1].expand(4, 3), 3, 0).unique()) == 1


def test_one_cluster_is_gradcam_weighed_once() -> None:
    classifier = net()
    A, g = evidence(classifier, "S2", 1)
    found = clustercam(asked(classifier), clusters=1)
    C = minmax(np.maximum((g.mean((1, 2))[:, None, None] * A).sum(0), 0))
    np.testing.assert_allclose(minmax(found.numpy()), C, atol=1e-12)


# ------------------------------------------------------------------------------------------------------ Group-CAM


def groups_by_loops(A: np.ndarray, w: np.ndarray, groups: int) -> list[np.ndarray]:
    edges = [0]
    for r in range(groups):  # the first K mod B groups have one channel more
        edges.append(edges[-1] + len(A) // groups + (r < len(A) % groups))
    return [
        np.maximum(sum(w[k] * A[k] for k in range(edges[r], edges[r + 1])), 0) for r in range(groups)
    ]  # fmt: skip


def weighed_by_loops(
    classifier: Classifier, masks: list[np.ndarray], theta: float, blur: Tensor, target: int
) -> np.ndarray:
    total = np.zeros((16, 16))
    for M in masks:
        denoise = np.where(np.percentile(M, theta) < M, M, 0)
        mask = torch.from_numpy(minmax(denoise))
        alpha = probability(classifier, X * mask + blur * (1 - mask), target) - probability(classifier, blur, target)
        total += alpha * M
    return np.maximum(total, 0)


@pytest.mark.parametrize(("groups", "theta"), [(2, 70.0), (4, 30.0), (6, 0.0), (3, 100.0)])
@pytest.mark.parametrize("silent", [False, True])
def test_groupcam_against_loops(groups: int, theta: float, silent: bool) -> None:
    classifier = net(silent)
    A, g = evidence(classifier, "S2", 1)
    M = [bilinear(one, 16, 16) for one in groups_by_loops(A, g.mean((1, 2)), groups)]
    expected = weighed_by_loops(classifier, M, theta, blurred(X, 5, 2.0), 1)
    found = groupcam(asked(classifier), groups, theta, 5, 2.0)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert found.any() == (theta < 100)
    assert np.isfinite(found.numpy()).all()


def test_more_groups_than_channels_are_one_each() -> None:
    classifier = net()
    assert torch.equal(groupcam(asked(classifier), 32), groupcam(asked(classifier), 6))
    assert [len(one) for one in torch.arange(10.0).tensor_split(4)] == [3, 3, 2, 2]
    assert summed(torch.arange(10.0).reshape(10, 1, 1), 4).flatten().tolist() == [3, 12, 13, 17]


def test_blur_is_a_gaussian_with_mirrored_borders() -> None:
    x = picture(2, 64, dtype=torch.float64)
    expected = torchvision.transforms.functional.gaussian_blur(x, [51, 51], [50.0, 50.0])
    torch.testing.assert_close(blurred(x, 51, 50.0), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(blurred(x[:, :, :16, :20], 51, 50.0), blurred_by_loops(x[:, :, :16, :20], 15, 19, 50.0))
    assert torch.equal(blurred(x, 1, 1.0), x)
    with pytest.raises(ValueError, match="odd number of pixels; got 4"):
        blurred(x, 4, 1.0)


def blurred_by_loops(x: Tensor, down: int, right: int, sigma: float) -> Tensor:
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (down, down), (right, right)), mode="reflect")
    out = np.zeros(x.shape)
    norm = 0.0
    for i in range(-down, down + 1):
        for j in range(-right, right + 1):
            weight = math.exp(-(i * i + j * j) / (2 * sigma**2))
            norm += weight
            rows = slice(down + i, down + i + x.shape[2])
            out += weight * padded[:, :, rows, right + j : right + j + x.shape[3]]
    return torch.from_numpy(out / norm)


def test_flat_masks_are_zero_not_nan() -> None:
    flat = torch.full((1, 4, 4), 3.7)
    assert not stretched(flat).any()
    assert not stretched(upsampled(flat, (9, 9))).any()
    assert not denoised(flat, 70).any()
    values = torch.arange(1.0, 101).reshape(1, 10, 10)  # the example of [002]: of 1 … 100, θ = 70 keeps 71 … 100
    assert sorted(denoised(values, 70).flatten().tolist())[69:72] == [0, 71, 72]


# ----------------------------------------------------------------------------------------------------------- RISE


@pytest.mark.parametrize(("grid", "keep"), [(3, 0.5), (7, 0.3)])
def test_rise_against_loops(grid: int, keep: float) -> None:
    classifier, N = net(), 20
    drawn = Masks.draw(N, grid, keep, 5, X)
    cell = math.ceil(16 / grid)
    total = np.zeros((16, 16))
    for i in range(N):
        y, x = drawn.places[i].tolist()
        assert 0 <= y < cell
        assert 0 <= x < cell
        large = bilinear(drawn.cells[i].numpy(), (grid + 1) * cell, (grid + 1) * cell)
        m = large[y : y + 16, x : x + 16]
        np.testing.assert_allclose(drawn(i, i + 1)[0], m, atol=1e-12)
        total += probability(classifier, X * torch.from_numpy(m), 1) * m
    request = asked(classifier).at(tap=None)
    found = rise(request, N, grid, keep, 5)
    np.testing.assert_allclose(found, total / (N * keep), atol=1e-12)
    assert request.passes.counts.forward == N


def test_rise_masks_are_seeded_and_have_their_share() -> None:
    x = picture(side=20)[:, :, :16]  # not square
    drawn = Masks.draw(500, 4, 0.3, 0, x)
    assert set(drawn.cells.unique().tolist()) == {0, 1}
    assert float(drawn.cells.mean()) == pytest.approx(0.3, abs=0.02)
    assert float(drawn(0, 500).mean()) == pytest.approx(0.3, abs=0.02)
    assert drawn(3, 5).shape == (2, 16, 20)
    assert drawn.places.amax(0).tolist() == [3, 4]
    assert drawn.places.amin(0).tolist() == [0, 0]
    assert torch.equal(drawn(0, 500)[77:80], drawn(77, 80))
    assert torch.equal(Masks.draw(500, 4, 0.3, 0, x)(9, 12), drawn(9, 12))
    assert not torch.equal(Masks.draw(500, 4, 0.3, 1, x)(9, 12), drawn(9, 12))


class Corner(nn.Module):
    """Says class 1 of a picture whose lower right quarter is bright, and looks at nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)
        with torch.no_grad():
            self.conv.weight.fill_(1)
            self.conv.bias.zero_()  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.conv(x))
        y = a[:, :, 8:, 8:].mean((1, 2, 3))
        return torch.stack([torch.ones_like(y), y], 1)


def test_rise_finds_what_counts() -> None:
    found = explain(wrap(Corner().eval(), input_size=16), torch.ones(1, 3, 16, 16), "rise", 1, masks=2000)
    outside = np.array([found.map[:8, :8], found.map[:8, 8:], found.map[8:, :8]])
    assert found.map[8:, 8:].mean() > 2 * outside.mean()
    assert np.quantile(found.map[8:, 8:], 0.2) > np.quantile(outside, 0.9)
    assert found.map.min() == 0
    assert found.map.max() == pytest.approx(1)
    assert found.stage_maps["input"].min() > 0.1


# ------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("method", "options", "kind", "sentence"),
    [
        ("rise", {"masks": 0}, ValueError, r"masks \(random masks: passes .*\) must be at least 1; got 0"),
        ("rise", {"keep": 0}, ValueError, r"keep .* must be between 0\.01 and 1; got 0"),
        ("rise", {"grid": 0}, ValueError, "at least 1"),
        ("rise", {"mask": 10}, ValueError, "unknown parameter of rise 'mask'.*did you mean 'masks'"),
        ("rise", {"masks": 10.5}, TypeError, "must be a whole number"),
        ("rise", {"stages": ["S1"]}, ValueError, "takes no stages"),
        ("scorecam", {"weights": "logits"}, ValueError, "unknown weights 'logits'"),
        ("scorecam", {"blank": "white"}, ValueError, "unknown blank 'white'"),
        ("groupcam", {"groups": 0}, ValueError, "groups .* at least 1; got 0"),
        ("groupcam", {"theta": 101}, ValueError, "between 0 and 100; got 101"),
        ("groupcam", {"kernel": 50}, ValueError, "odd number of pixels; got 50"),
        ("clustercam", {"clusters": 0}, ValueError, "at least 1"),
        ("clustercam", {"seed": -1}, ValueError, "at least 0"),
    ],
)
def test_bad_parameters(method: str, options: dict[str, Any], kind: type[Exception], sentence: str) -> None:
    with pytest.raises(kind, match=sentence):
        explain(net(), X, method, **options)


def test_settled_nets_are_in_training_where_the_user_left_them() -> None:
    module = settled(Small()).train()
    explain(wrap(module, input_size=16), picture(), "scorecam")
    assert module.training
