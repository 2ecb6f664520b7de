"""The sliding-window enhancement against plain loops, around methods of every kind; and what holds for all methods."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import camwidgets
from camwidgets import Classifier, explain, wrap
from camwidgets.maps import Enhancement, Passes, methods
from camwidgets.maps.enhance import low_passed
from tests.nets import Small, picture, settled, small, state
from tests.test_perturbation import bilinear, minmax

X = picture(dtype=torch.float64)
FEW: dict[str, dict[str, Any]] = {  # parameters with which the methods are quick
    "rise": {"masks": 37},
    "msgcam": {"scales": 2, "groups": 3},
    "cameras": {"scales": 2, "reach": 0.5},
    "groupcam": {"groups": 3},
    "clustercam": {"clusters": 3},
}
MINE = ["scorecam", "clustercam", "groupcam", "msgcam", "cameras", "rise"]


def dft(n: int) -> tuple[np.ndarray, np.ndarray]:
    """The matrix of the discrete Fourier transform and the frequency of each of its rows, cycles per n pixels."""
    k = np.arange(n)
    return np.exp(-2j * np.pi * np.outer(k, k) / n), np.where(k <= n // 2, k, k - n)


def filtered(values: np.ndarray, cutoff: float) -> np.ndarray:
    (V, Y), (H, X) = (dft(n) for n in values.shape)
    spectrum = V @ values @ H.T
    spectrum[np.sqrt(Y[:, None] ** 2 + X[None] ** 2) > cutoff] = 0
    return np.asarray((V.conj() @ spectrum @ H.conj().T).real / values.size)


def by_loops(classifier: Classifier, x: Tensor, method: str, how: Enhancement, target: int, **options: Any) -> Any:
    """Every window cut out, grown, explained and put back by itself."""
    height, width = x.shape[2:]
    whole = explain(classifier, x, method, target, **options).map.astype(float)
    total = np.zeros((height, width))
    rows = list(range(0, height - how.window + 1, how.stride))
    columns = list(range(0, width - how.window + 1, how.stride))
    rows += [height - how.window] if rows[-1] != height - how.window else []
    columns += [width - how.window] if columns[-1] != width - how.window else []
    for r in rows:
        for c in columns:
            crop = F.interpolate(x[:, :, r : r + how.window, c : c + how.window], (height, width), mode="bilinear")
            with torch.no_grad():
                alpha = float(classifier.module(crop)[0].softmax(0)[target])
            s = explain(classifier, crop, method, target, **options).map.astype(float)
            part = slice(r, r + how.window), slice(c, c + how.window)
            total[part] += alpha * bilinear(s, how.window, how.window) + whole[part]
    return minmax(filtered(total, how.cutoff)), len(rows) * len(columns)


@pytest.mark.parametrize("method", ["layercam", "gradcam", "scorecam", "rise"])
@pytest.mark.parametrize("how", [Enhancement(7, 3, 4.5), Enhancement(8, 8, 3), Enhancement(16, 16, 100)])
def test_enhancement_against_loops(method: str, how: Enhancement) -> None:
    classifier = small(dtype=torch.float64)
    x = picture(side=20, dtype=torch.float64)[:, :, 2:18]  # 16×20: not square
    options = FEW.get(method, {})
    expected, windows = by_loops(classifier, x, method, how, 1, **options)
    found = explain(classifier, x, method, 1, enhance=how, **options)
    np.testing.assert_allclose(found.map, expected, atol=2e-6)
    assert found.map.max() == 1
    assert found.made_by["enhancement"] == {"window": how.window, "stride": how.stride, "cutoff": how.cutoff}
    assert "enhanced" in found.caption
    if method == "layercam":  # evidence: a crop's probability costs no pass of its own
        assert found.made_by["passes"] == {"forward": 2 + windows, "backward": 1 + windows}


def test_windows() -> None:
    corners = Enhancement(96, 32).corners((224, 224))
    assert len(corners) == 25
    assert corners[-1] == (128, 128)
    assert Enhancement(96, 40).corners((224, 200)) == [
        (y, x) for y in (0, 40, 80, 120, 128) for x in (0, 40, 80, 104)
    ]  # fmt: skip
    assert Enhancement(16, 16).corners((16, 16)) == [(0, 0)]
    assert Enhancement.scaled((224, 300)) == Enhancement(96, 32, 35)
    assert Enhancement.scaled((96, 96)) == Enhancement(41, 14, 35)
    for size in ((17, 23), (96, 96), (5, 5)):
        how = Enhancement.scaled(size)
        covered = np.zeros(size, int)
        for r, c in how.corners(size):
            covered[r : r + how.window, c : c + how.window] += 1
        assert covered.min() >= 1


def test_true_is_the_published_setting_in_proportion() -> None:
    made = explain(small(), picture(), "gradcam", enhance=True).made_by
    assert made["enhancement"] == {"window": 7, "stride": 2, "cutoff": 35.0}


@pytest.mark.parametrize(
    ("make", "kind", "sentence"),
    [
        (lambda: Enhancement(17, 4), ValueError, r"windows of 17×17 pixels do not fit into a picture of 16×16"),
        (lambda: Enhancement(8, 9), ValueError, "windows of 8 pixels, 9 apart, never cover the picture"),
        (lambda: Enhancement(0, 1), ValueError, r"window \(side of a window, pixels of the input\) must be at least 1"),
        (lambda: Enhancement(8, 0), ValueError, "stride .* must be at least 1; got 0"),
        (lambda: Enhancement(8, 4, 0), ValueError, "cutoff .* must be between 1 and 100000; got 0"),
        (lambda: Enhancement(8, 4, float("nan")), ValueError, "cutoff .* got nan"),
        (lambda: Enhancement(8, 4, float("inf")), ValueError, "cutoff .* got inf"),
        (lambda: Enhancement(8.5, 4), TypeError, r"must be a whole number, at least 1; got 8\.5"),  # type: ignore[arg-type]
        (lambda: "on", TypeError, "enhance must be True, False or an Enhancement"),
    ],
)
def test_bad_enhancements(make: Any, kind: type[Exception], sentence: str) -> None:
    with pytest.raises(kind, match=sentence):
        explain(small(), picture(), "gradcam", enhance=make())


def test_low_pass_keeps_and_removes() -> None:
    t = torch.arange(32, dtype=torch.float64) / 32 * 2 * torch.pi
    slow, fast = torch.cos(3 * t)[:, None] + torch.cos(2 * t), torch.cos(4 * t)[:, None] * torch.cos(4 * t)
    torch.testing.assert_close(low_passed(1 + slow + fast, 4.5), 1 + slow, atol=1e-12, rtol=0)
    torch.testing.assert_close(low_passed(1 + slow + fast, 5.7), 1 + slow + fast, atol=1e-12, rtol=0)


def test_a_flat_method_stays_flat_and_says_so() -> None:
    module = settled(Small()).eval()
    with torch.no_grad():
        module.fc.weight.zero_()
    found = explain(wrap(module, input_size=16), picture(), "gradcam", enhance=True)
    assert not found.map.any()
    assert found.reason == "flat: Grad-CAM is the same everywhere"


def test_windows_are_captured_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    from camwidgets.maps import recipe

    sizes: list[int] = []
    inside = recipe.capture

    def narrow(classifier: Any, x: Tensor, *others: Any) -> Any:
        sizes.append(len(x))
        if len(x) > 3:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return inside(classifier, x, *others)

    classifier = small()
    expected = explain(classifier, picture(), "gradcam", enhance=Enhancement(8, 4), batch=1)
    monkeypatch.setattr(recipe, "capture", narrow)
    with pytest.warns(UserWarning, match="a batch of 6 pictures does not fit into memory: going on with 3"):
        found = explain(classifier, picture(), "gradcam", enhance=Enhancement(8, 4), batch=6)
    assert sizes == [6, 3, 3, 3, 1]
    assert found.made_by["passes"] == {"forward": 11, "backward": 10}
    np.testing.assert_allclose(found.map, expected.map, atol=1e-5)


def test_nested_progress() -> None:
    for method in ("gradcam", "scorecam", "rise", "msgcam"):
        seen: list[tuple[float, float]] = []
        options = dict(FEW.get(method, {}))
        options |= {"enhance": Enhancement(12, 4), "batch": 2}
        explain(small(), picture(), method, progress=lambda *d, s=seen: s.append(d), **options)
        shares = [done / total for done, total in seen]
        assert shares == sorted(shares)
        assert shares[-1] == pytest.approx(1)
        assert len(seen) >= 2


# ---------------------------------------------------------------------------------------------- every method alike


@pytest.mark.parametrize("enhance", [False, True])
@pytest.mark.parametrize("method", MINE)
def test_the_batch_does_not_matter(method: str, enhance: bool) -> None:
    classifier = small()
    found = [
        explain(classifier, picture(), method, batch=batch, enhance=enhance, **FEW.get(method, {}))
        for batch in (None, 1, 3, 64)
    ]
    assert np.ptp(found[0].map) > 0.5
    for one in found[1:]:
        np.testing.assert_allclose(one.map, found[0].map, atol=1e-5)
        assert one.made_by["passes"] == found[0].made_by["passes"]


@pytest.mark.parametrize("method", ["rise", "clustercam"])
def test_seeds(method: str) -> None:
    classifier, options = small(), FEW[method]
    first = explain(classifier, picture(), method, seed=3, **options)
    torch.manual_seed(99)
    np.testing.assert_array_equal(explain(classifier, picture(), method, seed=3, **options).map, first.map)
    others = [explain(classifier, picture(), method, seed=seed, **options).map for seed in range(4, 9)]
    assert any(np.ptp(one - first.map) > 0 for one in others)


class Enough(Exception):
    pass


@pytest.mark.parametrize(
    ("method", "enhance"), [*((name, False) for name in MINE), *((name, True) for name in [*MINE, "layercam"])]
)
def test_cancelling_leaves_the_network_as_it_was(method: str, enhance: bool) -> None:
    module = settled(Small()).train()
    module.conv1.weight.requires_grad_(False)
    classifier = wrap(module, input_size=16)
    explain(classifier, picture(), "gradcam")
    before, mode = state(module), torch.get_rng_state()
    calls = 0

    def progress(done: float, total: float) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise Enough

    with pytest.raises(Enough):
        explain(classifier, picture(), method, batch=2, enhance=enhance, progress=progress, **FEW.get(method, {}))
    assert state(module) == before
    assert explain(classifier, picture(), method, enhance=enhance, **FEW.get(method, {})).map.shape == (16, 16)
    assert state(module) == before
    assert torch.equal(torch.get_rng_state(), mode)
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("method", [name for name in MINE if name != "rise"])
def test_stages_fuse(method: str) -> None:
    for preset in ("paper", "torchcam", "pytorch-grad-cam", "gated"):
        found = explain(small(), picture(), method, stages=["S1", "S2"], preset=preset, **FEW.get(method, {}))
        assert list(found.stage_maps) == ["S1", "S2"]
        assert 0 <= found.map.min() < found.map.max() <= 1


def test_several_pictures_and_a_half_precision_network() -> None:
    made = explain(small().autocast(torch.bfloat16), picture(2), "scorecam", enhance=Enhancement(12, 4))
    assert len(made) == 2
    assert np.ptp(made[0].map - made[1].map) > 0


class Viewing(nn.Module):
    """Needs the usual memory layout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.fc = nn.Linear(4 * 256, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(x))
        return self.fc(x.view(len(x), -1))


def test_a_network_that_needs_the_usual_memory_layout() -> None:
    classifier = wrap(settled(Viewing()).eval(), input_size=16)
    formats: list[bool] = []
    classifier.module.register_forward_pre_hook(
        lambda module, inputs: formats.append(inputs[0].is_contiguous(memory_format=torch.channels_last))
    )
    assert classifier.stages
    formats.clear()
    inputs = picture(5)
    found = Passes(batch=2).map(classifier, lambda start, stop: inputs[start:stop], 5)
    with torch.no_grad():
        torch.testing.assert_close(found, classifier.module(inputs))
    assert formats[:4] == [True, False, False, False]  # it is tried once
    assert explain(classifier, picture(), "scorecam").map.any()


def test_batches_fit_the_caches_of_a_processor() -> None:
    lite0 = camwidgets.load("efficientnet_lite0")
    assert Passes().fitting(lite0, torch.zeros(1, 3, 224, 224)) == 5  # 96×112×112 float32: 4.8 MB a picture
    assert Passes().fitting(lite0, torch.zeros(1, 3, 896, 896)) == 1
    assert Passes(memory=1 << 24).fitting(lite0, torch.zeros(1, 3, 224, 224)) == 1
    assert Passes().fitting(small(), picture()) == 16
    assert Passes(batch=40).fitting(lite0, torch.zeros(1, 3, 224, 224)) == 40


def test_all_methods_are_in_the_catalogue() -> None:
    known = methods()
    assert [name for name in known if name in MINE] == MINE
    assert "CAMERAS" in known["cameras"].about()
    assert "p_c(x ⊙ H_k)" in repr(known)
    for name in MINE:
        assert set(known[name].check({})) == {p.name for p in known[name].parameters}
