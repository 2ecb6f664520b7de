"""Explaining for a long time: nothing piles up, neither hooks nor memory."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import psutil
import pytest
import torch

import camwidgets
from camwidgets import capture, explain
from camwidgets.maps import PRESETS, evidence_methods
from tests.nets import hooks, picture, small, state

MEGABYTE = 2**20


def growth(do: Callable[[int], Any], warm: int, rounds: int) -> float:
    """Growth of resident memory over `rounds` calls after `warm` calls, in MB."""
    process = psutil.Process()
    for i in range(warm):
        do(i)
    gc.collect()
    before = process.memory_info().rss
    for i in range(rounds):
        do(i)
    gc.collect()
    return (process.memory_info().rss - before) / MEGABYTE


def tensors() -> int:
    gc.collect()
    return sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects())


def test_a_thousand_explanations() -> None:
    classifier = small()
    before = state(classifier.module)
    names, presets = list(evidence_methods()), [None, *PRESETS]
    pictures = [picture(seed=i) for i in range(7)]

    def one(i: int) -> None:
        method = names[i % len(names)]
        found = explain(classifier, pictures[i % 7], method, i % 5, preset=presets[i % len(presets)])
        assert found.map.shape == (16, 16)

    grown = growth(one, 100, 1000)
    print(f"1,000 explanations: {grown:+.1f} MB")
    assert grown < 20
    assert hooks(classifier.module) == 0
    assert state(classifier.module) == before
    held = tensors()
    for i in range(20):
        one(i)
    assert tensors() <= held, "tensors of past explanations are still held"


def test_a_hundred_explanations_of_a_real_network() -> None:
    classifier = camwidgets.load("efficientnet_lite0")
    image = camwidgets.samples.picture("cat")
    grown = growth(lambda i: explain(classifier, image, target=i % 1000, stages=list(classifier.stages)), 15, 100)
    print(f"100 explanations of Lite0: {grown:+.1f} MB")
    assert grown < 20
    assert hooks(classifier.module) == 0


def test_errors_pile_nothing_up() -> None:
    classifier = small()

    mistakes: list[dict[str, Any]] = [{"target": 99}, {"stages": ["S9"]}, {"method": "none"}, {"target": lambda y: y}]

    def wrong(i: int) -> None:
        with pytest.raises(ValueError, match=r"valid|out of range|must return"):
            explain(classifier, picture(), **mistakes[i % 4])

    assert growth(wrong, 50, 300) < 10
    assert hooks(classifier.module) == 0
    held = tensors()
    for i in range(8):
        wrong(i)
    assert tensors() <= held


def test_many_classifiers_are_freed() -> None:
    """A classifier that is no longer used goes away with its module: no global table keeps it."""

    def one(i: int) -> None:
        explain(small(seed=i), picture())

    one(0)
    held = tensors()
    for i in range(10):
        one(i)
    assert tensors() <= held


def test_an_evidence_holds_no_graph() -> None:
    """What is kept of a pass are the tapped values alone."""
    evidence = capture(small(), picture())
    for tensor in (*evidence.activations.values(), *evidence.gradients.values(), evidence.logits, evidence.scores):
        assert tensor.grad_fn is None
        assert not tensor.requires_grad


@pytest.mark.slow
@pytest.mark.parametrize("name", list(camwidgets.methods()))
def test_no_method_keeps_what_it_used(name: str) -> None:
    """Hooks on a graph refer back to tensors by ways that Python's collector cannot see: measured, not counted."""
    method = camwidgets.methods()[name]
    classifier = camwidgets.load("toy-vit" if "transformer" in method.needs else "toy")
    few: Any = {"rise": {"masks": 20}, "smoothgrad": {"samples": 3}, "integrated-gradients": {"steps": 3}}.get(name, {})
    inputs = torch.randn(4, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    grown = growth(lambda i: camwidgets.explain(classifier, inputs[i % 4 : i % 4 + 1], name, **few), warm=5, rounds=10)
    assert grown < 20, "MB; one graph of this network takes 4"
