"""What a method is; running a network many times in batches, with progress, cancellation and a memory that ends."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import camwidgets
from camwidgets import explain
from camwidgets.maps import Method, Parameter, Passes, Request
from camwidgets.maps.passes import NotEnoughMemory


def net() -> camwidgets.Classifier:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3),
    )  # fmt: skip
    return camwidgets.wrap(module, input_size=16)


def brightness(request: Request, power: float = 1.0) -> Tensor:
    """|x|^power, averaged over colours."""
    request.scores_of(lambda start, stop: request.x.expand(stop - start, -1, -1, -1), 5)
    return request.x[0].abs().mean(0) ** power


def activity(request: Request) -> Tensor:
    """Mean activation of the tap."""
    assert request.tap is not None
    with camwidgets.record(request.classifier, request.x, [request.tap]) as recording:
        return recording.activations[request.tap][0].mean(0)


BRIGHT = Method(
    "bright", "Brightness", brightness, "|x|", "made up", kind="picture", needs=("many forwards",),
    parameters=(Parameter("power", 1.0, "exponent", low=0, high=4),),
)  # fmt: skip
ACTIVE = Method("active", "Activity", activity, "mean A", "made up", kind="stage", depth=2)
X = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def test_a_method_of_ones_own_for_the_picture() -> None:
    found = explain(net(), X, BRIGHT, power=2.0)
    expected = X[0].abs().mean(0).numpy() ** 2
    np.testing.assert_allclose(found.map, (expected - expected.min()) / np.ptp(expected), atol=1e-6)
    np.testing.assert_allclose(found.stage_maps["input"], expected, atol=1e-6)
    assert found.made_by["plan"]["name"] == "picture"
    assert found.made_by["parameters"] == {"power": 2.0}
    assert found.made_by["passes"] == {"forward": 6, "backward": 0}
    assert found.caption == "Brightness · power=2.0"
    assert found.target == int(net().logits(X).argmax())


def test_a_method_of_ones_own_for_stages_is_fused() -> None:
    found = explain(net(), X, ACTIVE, 1, preset="pytorch-grad-cam")
    assert {name: maps.shape for name, maps in found.stage_maps.items()} == {"S1": (16, 16), "S2": (8, 8)}
    assert found.target == 1
    assert found.map.shape == (16, 16)
    assert found.map.max() == pytest.approx(1, abs=1e-5)


def test_several_pictures_share_the_progress() -> None:
    seen: list[tuple[float, float]] = []
    made = explain(net(), X.expand(2, -1, -1, -1), BRIGHT, batch=1, progress=lambda *done: seen.append(done))
    assert len(made) == 2
    assert [done for done, _ in seen] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0])
    assert {total for _, total in seen} == {2}


def test_the_batch_does_not_matter() -> None:
    classifier, inputs = net(), torch.rand(11, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    found = [
        Passes(batch).map(classifier, lambda start, stop: inputs[start:stop], 11, lambda y: y.softmax(1)[:, 1])
        for batch in (None, 1, 4, 11, 64)
    ]
    for one in found[1:]:
        torch.testing.assert_close(one, found[0], atol=1e-6, rtol=0)


@pytest.mark.parametrize("moment", ["make", "forward"])
def test_memory_that_ends_halves_the_batch(moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = net()
    sizes: list[int] = []
    inside = type(classifier).logits

    def narrow(n: int) -> None:
        sizes.append(n)
        if n > 3:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 PB")

    def logits(self: Any, x: Tensor) -> Tensor:
        if moment == "forward":
            narrow(len(x))
        return inside(self, x)

    def make(start: int, stop: int) -> Tensor:
        if moment == "make":
            narrow(stop - start)
        return X.expand(stop - start, -1, -1, -1)

    assert classifier.stages
    monkeypatch.setattr(type(classifier), "logits", logits)
    passes = Passes(batch=8)
    with pytest.warns(UserWarning, match="does not fit into memory: going on with") as said:
        assert passes.map(classifier, make, 7).shape == (7, 3)
    assert sizes == [7, 4, 2, 2, 2, 1]
    assert [str(one.message)[:10] for one in said] == ["a batch of"] * 2
    assert passes.counts.forward == 7


def test_no_memory_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = net()
    assert classifier.stages
    error = RuntimeError("DefaultCPUAllocator: can't allocate memory")

    def logits(self: Any, x: Tensor) -> Tensor:
        raise error

    monkeypatch.setattr(type(classifier), "logits", logits)
    with pytest.raises(NotEnoughMemory, match="even one picture"):
        Passes(batch=1).map(classifier, lambda a, b: X, 1)
    error = RuntimeError("shapes do not match")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeError, match="shapes do not match"):
            Passes(batch=4).map(classifier, lambda a, b: X, 1)


def test_cancelled_work_leaves_the_network_alone() -> None:
    class Enough(Exception):
        pass

    def progress(done: float, total: float) -> None:
        if done > 2:
            raise Enough

    classifier = net()
    classifier.module.train()
    before = {name: value.clone() for name, value in classifier.module.state_dict().items()}
    with pytest.raises(Enough):
        explain(classifier, X, BRIGHT, batch=1, progress=progress)
    assert classifier.module.training
    assert all(p.requires_grad for p in classifier.module.parameters())
    assert all(torch.equal(before[name], value) for name, value in classifier.module.state_dict().items())


def test_progress_of_steps() -> None:
    seen: list[tuple[float, float]] = []
    whole = Passes(progress=lambda done, total: seen.append((done, total)))
    for i in range(2):
        part = whole.step(i, 2)
        part.counts.forward += 3
        for k in (1, 2):
            part.report(k, 2)
    assert seen == [(0.5, 2), (1.0, 2), (1.5, 2), (2.0, 2)]
    assert whole.counts.forward == 6


@pytest.mark.parametrize(
    ("method", "options", "kind", "sentence"),
    [
        (BRIGHT, {"powr": 2.0}, ValueError, r"unknown parameter of bright 'powr'; valid: power \(did you mean 'power'"),
        (BRIGHT, {"power": 5}, ValueError, r"power \(exponent\) must be between 0 and 4; got 5"),
        (BRIGHT, {"power": float("nan")}, ValueError, r"between 0 and 4; got nan"),
        (BRIGHT, {"power": "2"}, TypeError, r"power \(exponent\) must be a number, between 0 and 4; got '2'"),
        (BRIGHT, {"stages": ["S1"]}, ValueError, "makes one map of the whole picture and takes no stages"),
        (BRIGHT, {"gradient": "signed"}, ValueError, "Brightness handles no gradient signs; 'signed' was given"),
        (ACTIVE, {"power": 1.0}, ValueError, "active has no parameters; 'power' was given"),
        (ACTIVE, {"stages": ["S9"]}, ValueError, "S9"),
        ("brigth", {}, ValueError, "unknown method 'brigth'"),
        (BRIGHT, {"batch": 0}, ValueError, "at least 1; got 0"),
        (BRIGHT, {"enhance": "yes"}, TypeError, "enhance must be True, False or an Enhancement"),
        (BRIGHT, {"target": 7}, ValueError, "class 7 is out of range"),
    ],
)
def test_bad_requests(method: Any, options: dict[str, Any], kind: type[Exception], sentence: str) -> None:
    with pytest.raises(kind, match=sentence):
        explain(net(), X, method, **options)


def test_what_a_method_returns_is_checked() -> None:
    def returning(values: Any) -> Method:
        return Method("odd", "Odd", lambda request: values, "", "", kind="picture")

    with pytest.raises(ValueError, match=r"Odd must return an h×w tensor; it returned \(1, 2, 2\)"):
        explain(net(), X, returning(torch.ones(1, 2, 2)))
    with pytest.raises(ValueError, match="Odd returned NaN"):
        explain(net(), X, returning(torch.full((2, 2), torch.nan)))
    flat = explain(net(), X, returning(torch.zeros(2, 2)))
    assert flat.reason == "flat: Odd is the same everywhere"
    assert not flat.map.any()


def test_a_network_that_cannot_be_served_is_told_before_anything_runs() -> None:
    never = Method("never", "Never", brightness, "", "", kind="picture", unfit=lambda c: f"{c.name} is too small")
    with pytest.raises(ValueError, match="Sequential is too small"):
        explain(net(), X, never)


def test_a_method_that_runs_the_network_is_not_made_from_evidence() -> None:
    from camwidgets.explanation import explain_evidence

    with pytest.raises(ValueError, match="Brightness runs the network itself"):
        explain_evidence(camwidgets.capture(net(), X), BRIGHT)


def test_parameters_as_text() -> None:
    assert str(Parameter("mode", "a", "how", choices=("a", "b"))) == "mode='a': how (a, b)"
    assert str(Parameter("n", 3, "count", low=1)) == "n=3: count (at least 1)"
    with pytest.raises(TypeError, match=r"must be a whole number, at least 1; got 2\.5"):
        Parameter("n", 3, "count", low=1).check(2.5)
    with pytest.raises(TypeError, match="must be True or False"):
        Parameter("on", False, "switch").check(1)
    with pytest.raises(ValueError, match="unknown mode 'c'"):
        Parameter("mode", "a", "how", choices=("a", "b")).check("c")
    assert "power=1.0: exponent (between 0 and 4)" in BRIGHT.about()


def test_a_parameter_that_explain_takes_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="odd: the parameter 'gamma' is a keyword of explain; rename it"):
        Method("odd", "Odd", brightness, "", "", kind="picture", parameters=(Parameter("gamma", 1.0, "x"),))


def test_callable_targets() -> None:
    """A callable gets one picture's logits; one written for a batch is served too; what is no number is told."""
    found = [explain(net(), X, "scorecam", target) for target in (lambda y: y[1], lambda y: y[:, 1])]
    np.testing.assert_array_equal(found[0].map, found[1].map)
    with pytest.raises(ValueError, match="must return one number"):
        explain(net(), X, "scorecam", lambda y: 1.0)


def test_batches_of_given_pictures() -> None:
    seen: list[tuple[float, float]] = []
    pictures = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    whole = explain(net(), pictures, "layercam")
    parts = explain(net(), pictures, "layercam", batch=2, progress=lambda *done: seen.append(done))
    assert seen == [(2, 5), (4, 5), (5, 5)]
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(a.map, b.map, atol=1e-6)
