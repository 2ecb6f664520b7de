"""Tests of maps ask a faster copy of the network, in shared batches: the same answers, beyond rounding."""

from __future__ import annotations

import platform
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import camwidgets
from camwidgets.datasets.items import Items
from camwidgets.datasets.toyworld import ToyWorld
from camwidgets.evaluation import evaluate, standard
from camwidgets.evaluation.answers import Answers, Single, quick, together
from camwidgets.evaluation.measure import Case
from camwidgets.evaluation.plan import make_plan
from camwidgets.evaluation.randomisation import Copies
from camwidgets.evaluation.standard import MEASURES
from camwidgets.evaluation.view import seen
from camwidgets.evaluation.work import work
from camwidgets.maps import Passes

BY_NAME = {measure.name: measure for measure in MEASURES}
NETWORK_TESTS: dict[str, dict[str, Any]] = {
    "confidence": {}, "occlusion": {"threshold": 0.5}, "insertion-deletion": {"steps": 3},
}  # fmt: skip
METHODS = ("layercam", "gradcam", "gradcam++")


class Normed(nn.Module):
    """Convolution, BatchNorm with statistics of its own, ReLU, mean, linear."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.conv, self.norm, self.linear = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Linear(8, 10)
        self.norm.running_mean = torch.randn(8)
        self.norm.running_var = torch.rand(8) + 0.5
        self.dropout = dropout
        self.seen: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(len(x))
        x = torch.relu(self.norm(self.conv(x)))
        if self.dropout:
            x = nn.functional.dropout(x, self.dropout, training=True)
        y: Tensor = self.linear(x.mean((2, 3)))
        return y


def normed(**options: Any) -> camwidgets.Classifier:
    return camwidgets.wrap(Normed(**options).eval(), input_size=96)


@pytest.fixture(scope="module")
def world() -> Items:
    return camwidgets.datasets.open_dataset(ToyWorld(seed=5, n=2))


@pytest.mark.parametrize("make", [normed, lambda: camwidgets.load("efficientnet_lite0")], ids=["normed", "lite0"])
def test_the_numbers_are_those_of_the_network_as_it_is(make: Any, world: Items) -> None:
    """Every outcome of `evaluate` against the same test of `explain`'s map, alone, by plain passes."""
    classifier = make()
    report = evaluate(classifier, world, METHODS, NETWORK_TESTS, target="predicted", progress=False)
    assert report.errors.empty
    for row in report.rows:
        item = next(one for one in world if one.id == row["item"])
        x = seen(classifier, item, "squash").x
        name = next(n for n in METHODS if camwidgets.methods()[n].title == row["method"])
        explanation = camwidgets.explain(classifier, x, name)
        with torch.no_grad():
            logits = classifier.logits(x)[0]
        case = Case(classifier, x, int(explanation.target), explanation.map, logits, passes=Passes(batch=1))
        expected = BY_NAME[row["test"]].function(case, **NETWORK_TESTS[row["test"]])
        assert row["values"] == pytest.approx(expected, abs=1e-5)


def test_one_batch_serves_all_methods() -> None:
    """Three methods and two single tests: two passes for the evidence and the noise, then six pictures at once."""
    net = Normed().eval()
    classifier = camwidgets.wrap(net, input_size=96)
    world = camwidgets.datasets.open_dataset(ToyWorld(seed=5, n=1))
    assert classifier.stages
    plan = make_plan(classifier, METHODS, ["confidence", "occlusion"], target="predicted", batch=6)
    counted: list[int] = []
    copies = Copies(classifier)
    copies.quick().module.register_forward_pre_hook(lambda _, inputs: counted.append(len(inputs[0])))
    net.seen.clear()
    picture = work(classifier, world[0], plan, lambda keys: {}, copies)
    assert len(picture.outcomes) == 6
    assert net.seen == [1]  # the evidence alone
    assert counted == [6]


def test_the_copy_is_a_copy_and_answers_alike() -> None:
    classifier = normed()
    made = quick(classifier)
    assert made is not classifier
    assert not any(isinstance(part, nn.BatchNorm2d) for part in made.module.modules())
    assert any(isinstance(part, nn.BatchNorm2d) for part in classifier.module.modules())
    x = torch.rand(3, 3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(made.logits(x), classifier.logits(x), atol=1e-5, rtol=1e-5)


def test_what_cannot_be_copied_faithfully_is_asked_itself() -> None:
    noisy, batchless = normed(dropout=0.5), camwidgets.load("toy")
    assert quick(noisy) is noisy  # no two passes agree
    assert quick(batchless) is batchless
    uncopied = normed()
    uncopied.module.__dict__["guard"] = threading.Lock()  # deepcopy refuses it
    assert quick(uncopied) is uncopied


def test_another_network_is_not_replaced() -> None:
    """Tests that run a randomised copy by the same passes get that copy's answers."""
    classifier, net = normed(), Normed().eval()
    with torch.no_grad():
        net.linear.bias.add_(1)
    other = camwidgets.wrap(net, input_size=96)
    asks = Answers(network=classifier, quick=lambda: quick(classifier))
    x = torch.rand(1, 3, 96, 96)
    given = asks.map(other, lambda a, b: x[a:b], 1) - asks.map(classifier, lambda a, b: x[a:b], 1)
    torch.testing.assert_close(given, torch.ones(1, 10), atol=1e-5, rtol=0)


def test_one_that_fails_does_not_take_the_others_with_it(monkeypatch: pytest.MonkeyPatch, world: Items) -> None:
    """A single test that raises for one map is an error of that one; the others are then asked one by one."""
    whole = BY_NAME["confidence"].function
    assert isinstance(whole, Single)

    def shown(case: Case) -> Tensor:
        if float(case.map.min()) == 1.0:
            raise ValueError("not this one")
        return whole.shown(case)

    patched = [replace(one, function=Single(shown, whole.said)) if one.function is whole else one for one in MEASURES]
    monkeypatch.setattr(standard, "MEASURES", tuple(patched))
    report = evaluate(camwidgets.load("toy"), world, ["gradcam", "whole"], ["confidence"], progress=False)
    assert {(row["method"], row["error"]) for row in report.rows} == {("Grad-CAM", None), ("whole", "not this one")}


def test_together_keeps_the_order() -> None:
    classifier = normed()
    test = Single(lambda case, k: torch.full((1, 3, 96, 96), k), lambda case, logits, k: {"first": float(logits[0])})
    case = Case(classifier, torch.zeros(1, 3, 96, 96), 0, np.zeros((96, 96)), torch.zeros(10), passes=Passes(batch=2))
    values = together([(test, case, {"k": float(k)}) for k in range(5)])
    with torch.no_grad():
        expected = classifier.logits(torch.stack([torch.full((3, 96, 96), float(k)) for k in range(5)]))[:, 0]
    assert [one["first"] for one in values] == pytest.approx(expected.tolist(), abs=1e-5)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator is at stake")
def test_freed_activations_stay_with_the_process() -> None:
    """Page faults of blocks that are fetched and freed over and over: many by default, next to none afterwards."""
    script = textwrap.dedent("""
        import resource, sys, torch
        from camwidgets.maps.passes import keep_memory
        if sys.argv[1] == "kept":
            keep_memory()
        def once():
            blocks = [torch.ones(2_000_000) for _ in range(3)]
        for _ in range(3):
            once()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(10):
            once()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    """)
    found = [
        int(subprocess.run([sys.executable, "-c", script, how], capture_output=True, text=True, check=True).stdout)
        for how in ("plain", "kept")
    ]
    if found[0] < 1000:
        pytest.skip("here freed blocks stay with the process by themselves: there is nothing to lead")
    assert found[1] < 1000, found
