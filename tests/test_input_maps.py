"""Saliency, gradient × input, SmoothGrad, integrated gradients and guided backprop: closed forms, captum, batches."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from captum import attr
from torch import Tensor, nn

import camwidgets
from camwidgets import Classifier, explain
from camwidgets.maps import Passes, Request, inputs
from camwidgets.maps.inputs import integrated, not_guided, summed_gradients

from .nets import Raises, SharedSkip, Small, Tutorial, Written, picture, settled, small, state

MANY = ("smoothgrad", "integrated-gradients")
ALL = ("saliency", "gradient-input", "guided-backprop", *MANY)


def linear() -> Classifier:
    """y = W x + b: every gradient is a row of W."""
    torch.manual_seed(1)
    return camwidgets.wrap(nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4)).double(), input_size=8)


def raw(classifier: Classifier, x: Tensor, method: str, target: Any = 1, **parameters: Any) -> np.ndarray:
    return explain(classifier, x, method, target, cap=100.0, **parameters).stage_maps["input"]


def assert_close(found: np.ndarray, wanted: Tensor, limit: float = 1e-5) -> None:
    values = wanted.detach().numpy()
    assert np.ptp(values) > 0
    assert np.abs(found - values).max() <= limit * np.abs(values).max()


def test_closed_forms_on_a_linear_network() -> None:
    classifier, x = linear(), picture(side=8, dtype=torch.float64)
    w = classifier.module[1].weight.detach()[1].reshape(3, 8, 8)  # type: ignore[index]
    assert_close(raw(classifier, x, "saliency"), w.abs().amax(0))
    assert_close(raw(classifier, x, "saliency", colours="absolute"), w.abs().sum(0))
    assert_close(raw(classifier, x, "gradient-input"), (w * x[0]).sum(0).relu())
    assert_close(raw(classifier, x, "smoothgrad", samples=3), w.abs().sum(0))
    for baseline, b in (("black", black(classifier)), ("mean", x.mean((2, 3), keepdim=True).expand_as(x))):
        found = integrated(Request(classifier, x, 1), 5, baseline)
        torch.testing.assert_close(found, w * (x - b)[0], rtol=1e-9, atol=1e-12)
        assert_close(raw(classifier, x, "integrated-gradients", baseline=baseline), (w * (x - b)[0]).sum(0).relu())


def black(classifier: Classifier) -> Tensor:
    return classifier.preprocess(np.zeros((*classifier.input_size, 3), np.uint8))


def test_integrated_gradients_are_complete() -> None:
    """Σ IG = y(x) − y(b): nothing is lost between the baseline and the picture."""
    classifier, x = small(dtype=torch.float64), picture(dtype=torch.float64)
    total = float(integrated(Request(classifier, x, 2), 500).sum())
    with torch.no_grad():
        change = classifier.module(x) - classifier.module(black(classifier))
    assert abs(float(change[0, 2])) > 0.05
    assert total == pytest.approx(float(change[0, 2]), rel=5e-3)


def test_integrated_gradients_by_a_plain_sum() -> None:
    classifier, x = small(dtype=torch.float64), picture(dtype=torch.float64)
    b, steps = black(classifier), 400
    way = torch.stack([b[0] + (i + 0.5) / steps * (x - b)[0] for i in range(steps)]).requires_grad_()
    (g,) = torch.autograd.grad(classifier.module(way)[:, 2].sum(), way)
    wanted = (g.mean(0) * (x - b)[0]).sum(0)
    found = integrated(Request(classifier, x, 2), 200).sum(0)
    assert float((found - wanted).abs().max()) < 0.02 * float(wanted.abs().max())


def test_captum() -> None:
    net = settled(Modules()).double().eval()
    classifier, x = camwidgets.wrap(net, input_size=16), picture(dtype=torch.float64)
    alone = copy.deepcopy(net)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # captum tells that it sets hooks
        assert_close(raw(classifier, x, "saliency"), attr.Saliency(alone).attribute(x, 1)[0].amax(0))
        assert_close(raw(classifier, x, "gradient-input"), attr.InputXGradient(alone).attribute(x, 1)[0].sum(0).relu())
        guided = attr.GuidedBackprop(alone).attribute(x, 1)[0]
        assert_close(raw(classifier, x, "guided-backprop"), guided.abs().sum(0))
        plain = attr.Saliency(alone).attribute(x, 1, abs=False)[0]
        assert float((guided - plain).abs().max()) > 0.05 * float(plain.abs().max()), "this test would prove nothing"
        whole = attr.IntegratedGradients(alone).attribute(x, black(classifier), 1, n_steps=20)[0]
        assert_close(raw(classifier, x, "integrated-gradients", steps=20), whole.sum(0).relu())
        torch.manual_seed(0)
        tunnel = attr.NoiseTunnel(attr.Saliency(alone))
        sigma = 0.15 * float(x.max() - x.min())
        smooth = tunnel.attribute(x, nt_samples=3000, nt_samples_batch_size=500, stdevs=sigma, target=1, abs=False)[0]
    found = raw(classifier, x, "smoothgrad", samples=3000)
    assert np.corrcoef(found.ravel(), smooth.abs().sum(0).numpy().ravel())[0, 1] > 0.99


class Modules(nn.Module):
    """What captum's guided backprop can serve: every ReLU a module of its own, none in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1)
        self.relu1, self.relu2, self.relu3 = nn.ReLU(), nn.ReLU(), nn.ReLU()
        self.pool, self.mid, self.fc = nn.MaxPool2d(2), nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu2(self.conv2(self.pool(self.relu1(self.conv1(x)))))
        return self.fc(self.relu3(self.mid(x.mean((2, 3)))))


class Functions(Modules):
    """The same with functions, in place, one as a statement."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        x.relu_()
        x = torch.relu_(self.conv2(self.pool(x)))
        x = nn.functional.relu(self.mid(x.mean((2, 3))), inplace=True)
        return self.fc(x)


def test_guided_backprop_whatever_form_a_relu_has() -> None:
    x = 0.2 * picture()  # so that nothing reaches 6
    modules, functions = settled(Modules()).eval(), settled(Functions()).eval()
    wanted = raw(camwidgets.wrap(modules, input_size=16), x, "guided-backprop")
    np.testing.assert_allclose(raw(camwidgets.wrap(functions, input_size=16), x, "guided-backprop"), wanted, atol=1e-7)
    clipped = settled(Modules()).eval()
    clipped.relu1 = clipped.relu2 = clipped.relu3 = nn.ReLU6()  # type: ignore[assignment]
    np.testing.assert_allclose(raw(camwidgets.wrap(clipped, input_size=16), x, "guided-backprop"), wanted, atol=1e-7)
    for module, side in ((SharedSkip(), 16), (Tutorial(), 32), (Small(), 16)):
        assert not_guided(camwidgets.wrap(settled(module).eval(), input_size=side)) is None


@pytest.mark.parametrize(
    ("module", "said"),
    [(Written(nn.functional.silu), "uses silu"), (nn.Sequential(nn.Flatten(), nn.Linear(768, 2)), "none")],
)
def test_guided_backprop_is_for_relus(module: nn.Module, said: str) -> None:
    side = 32 if isinstance(module, Written) else 16
    with pytest.raises(ValueError, match=f"guided backprop is defined for ReLU; .*{said}"):
        explain(camwidgets.wrap(module, input_size=side), picture(side=side), "guided-backprop")


@pytest.mark.parametrize("method", MANY)
def test_the_batch_changes_nothing(method: str) -> None:
    classifier, x = small(), picture()
    options: dict[str, Any] = {"samples": 10} if method == "smoothgrad" else {"steps": 10}
    whole = explain(classifier, x, method, batch=16, **options)
    for batch in (1, 3, None):
        found = explain(classifier, x, method, batch=batch, **options)
        assert np.abs(found.stage_maps["input"] - whole.stage_maps["input"]).max() < 1e-5
        assert np.abs(found.map - whole.map).max() < 1e-5
        assert found.made_by["passes"] == {"forward": 11, "backward": 10}


def test_smoothgrad_is_seeded_and_leaves_the_global_sequence_alone() -> None:
    classifier, x = small(), picture()
    random = torch.random.get_rng_state()
    one, same, other = (raw(classifier, x, "smoothgrad", samples=8, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), random)
    assert np.array_equal(one, same)
    assert np.abs(one - other).max() > 1e-4
    still = raw(classifier, x, "smoothgrad", samples=2, noise=0.0)
    np.testing.assert_allclose(still, raw(classifier, x, "saliency", colours="absolute"), rtol=1e-5)


def test_values_are_cut_at_a_percentile() -> None:
    classifier, x = small(), picture()
    whole = raw(classifier, x, "saliency")
    cut = explain(classifier, x, "saliency", 1, cap=90.0).stage_maps["input"]
    np.testing.assert_allclose(cut, np.minimum(whole, np.percentile(whole, 90)), rtol=1e-6)


def stop(done: float, total: float) -> None:
    raise KeyboardInterrupt


def test_progress_and_cancellation() -> None:
    seen: list[tuple[float, float]] = []
    classifier, x = small(), picture()
    for method, name in (("smoothgrad", "samples"), ("integrated-gradients", "steps")):
        seen.clear()
        options: dict[str, Any] = {name: 10}
        explain(classifier, x, method, batch=4, progress=lambda done, total: seen.append((done, total)), **options)
        assert [done for done, _ in seen] == sorted(done for done, _ in seen)
        assert seen[-1] == (10.0, 10.0)

        before = state(classifier.module)
        with pytest.raises(KeyboardInterrupt):
            explain(classifier, x, method, batch=4, progress=stop)
        assert state(classifier.module) == before


@pytest.mark.parametrize("method", MANY)
def test_a_batch_that_does_not_fit_is_halved(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier, x = small(), picture()
    options: dict[str, Any] = {"samples": 9} if method == "smoothgrad" else {"steps": 9}
    wanted = raw(classifier, x, method, **options)
    real = Classifier.logits

    def logits(self: Classifier, x: Tensor) -> Tensor:
        if len(x) > 3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return real(self, x)

    monkeypatch.setattr(Classifier, "logits", logits)
    with pytest.warns(UserWarning, match="going on with"):
        found = raw(classifier, x, method, batch=8, **options)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_callable_target_and_a_sum_of_gradients() -> None:
    classifier, x = small(), picture()
    both = summed_gradients(Request(classifier, x, lambda y: y[1] + 2 * y[2]), lambda a, b: x, 1)
    one, two = (summed_gradients(Request(classifier, x, i), lambda a, b: x, 1) for i in (1, 2))
    torch.testing.assert_close(both, one + 2 * two)
    thrice = summed_gradients(Request(classifier, x, 1, Passes(batch=2)), lambda a, b: x.expand(b - a, -1, -1, -1), 3)
    torch.testing.assert_close(thrice, 3 * one)


@pytest.mark.parametrize("method", ALL)
def test_the_network_is_left_as_it_was(method: str) -> None:
    classifier = small()
    classifier.module.train()
    before = state(classifier.module)
    with torch.inference_mode():
        explain(classifier, picture(), method)
    assert state(classifier.module) == before
    broken = camwidgets.wrap(Raises(RuntimeError("stop"), after=3), input_size=16)
    assert broken.labels
    before = state(broken.module)
    with pytest.raises(RuntimeError, match="stop"):
        [explain(broken, picture(), method) for _ in range(3)]
    assert state(broken.module) == before


@pytest.mark.parametrize("method", ALL)
def test_in_place_behind_a_backward_hook(method: str) -> None:
    """Autograd forbids that; an explanation is not to depend on whether somebody watches."""
    plain, watched = settled(SharedSkip()).eval(), settled(SharedSkip()).eval()
    for module in (watched.stem, watched.conv):
        module.register_full_backward_hook(lambda m, gi, go: None)
    before = state(watched)
    wanted = raw(camwidgets.wrap(plain, input_size=16), picture(), method)
    np.testing.assert_allclose(raw(camwidgets.wrap(watched, input_size=16), picture(), method), wanted, atol=1e-6)
    assert state(watched) == before


def test_half_precision() -> None:
    half = camwidgets.wrap(small().module.half(), input_size=16)
    for method in ALL:
        wanted = raw(small(), picture(), method)
        found = raw(half, picture().half(), method)
        assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.99, method


@pytest.mark.parametrize(
    ("method", "options", "said"),
    [
        ("smoothgrad", {"samples": 0}, r"samples \(noisy copies of the picture\) must be between 1 and 100000; got 0"),
        ("smoothgrad", {"sample": 5}, "did you mean 'samples'"),
        ("integrated-gradients", {"baseline": "grey"}, "unknown baseline 'grey'; valid: black, mean"),
        ("saliency", {"cap": 20.0}, "between 50 and 100"),
        ("saliency", {"stages": ["S1"]}, "takes no stages"),
    ],
)
def test_bad_parameters(method: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        explain(small(), picture(), method, **options)


def test_every_method_of_the_family_is_in_the_catalogue() -> None:
    assert {method.name for method in inputs.METHODS} == set(ALL)
    assert set(ALL) <= set(camwidgets.methods())


def test_a_map_with_few_values_survives_the_cap() -> None:
    """Fewer pixels count than the cap would cut: behind a global maximum only one position has a gradient."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    classifier = camwidgets.wrap(net, input_size=96)
    found = explain(classifier, torch.rand(1, 3, 96, 96), "saliency", target=0)
    assert found.reason is None
    assert found.map.max() == 1
