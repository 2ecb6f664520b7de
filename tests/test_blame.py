"""Blame: by hand on a network whose weights are written down, against removal where that is exact, and bad input."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import camwidgets
from camwidgets.datasets.toyworld import ToyWorld
from camwidgets.decomposition.ablation import ablate
from camwidgets.investigate import blame
from camwidgets.widgets.failure.words import blame_words
from tests.nets import state


def by_hand() -> camwidgets.Classifier:
    """One tap of three channels (red, green, blue), means, then z0 = 3r + g, z1 = r + 2g + b, in float64."""
    see, judge = nn.Conv2d(3, 3, 1, bias=False), nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        see.weight.copy_(torch.eye(3)[..., None, None])
        judge.weight.copy_(torch.tensor([[3.0, 1, 0], [1, 2, 1]]))
    module = nn.Sequential(see, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), judge).double().eval()
    return camwidgets.wrap(module, labels=["zero", "one"], input_size=4, name="by hand")


def test_by_hand() -> None:
    x = torch.zeros(1, 3, 4, 4, dtype=torch.float64)
    x[0, 0] = 1  # mean 1
    x[0, 1, 2:] = 4  # mean 2
    x[0, 2, 3, 1] = 8  # mean 0.5
    # z0 = 3 + 2 = 5, z1 = 1 + 4 + 0.5 = 5.5: taken for "one", margin 0.5.
    ((stage, found),) = blame(by_hand(), x, "one", "zero").items()
    assert [(one.channel, one.taken, one.own, one.difference) for one in found] == [
        (1, 4.0, 2.0, 2.0), (2, 0.5, 0.0, 0.5), (0, 1.0, 3.0, -2.0)]  # fmt: skip
    assert [one.share for one in found] == pytest.approx([4, 1, -4])
    assert (found[1].y, found[1].x) == (3, 1)
    np.testing.assert_allclose(found[1].evidence.sum(), 0.5)
    assert str(found[0]) == f"{stage} #1: +4.00 for it, +2.00 for its own class"


def test_exact_where_what_follows_is_linear_and_the_network_is_left_alone() -> None:
    classifier = camwidgets.load("toy")
    scene = ToyWorld(seed=3, n=1)[0]
    before = state(classifier.module)
    found = blame(classifier, scene.image, "dog", "cat", count=4)
    assert list(found) == list(classifier.stages)
    evidence = camwidgets.capture(classifier, scene.image)
    dog, cat = classifier.index("dog"), classifier.index("cat")
    for one in found["S5"]:
        gone = evidence.logits[0] - ablate(evidence, ("S5", one.channel)).logits
        assert one.difference == pytest.approx(float(gone[dog] - gone[cat]), abs=1e-3)
    for stage in found.values():
        assert [one.difference for one in stage] == sorted((one.difference for one in stage), reverse=True)
    assert state(classifier.module) == before


def test_bad_input() -> None:
    classifier, x = by_hand(), torch.zeros(1, 3, 4, 4, dtype=torch.float64)
    with pytest.raises(ValueError, match="'one' twice"):
        blame(classifier, x, 1, "one")
    with pytest.raises(ValueError, match="at least 1"):
        blame(classifier, x, 0, 1, count=0)
    with pytest.raises(ValueError, match="batch of 2"):
        blame(classifier, x.repeat(2, 1, 1, 1), 0, 1)
    with pytest.raises(ValueError, match="'two'"):
        blame(classifier, x, "two", 1)
    with pytest.raises(ValueError, match="S9"):
        blame(classifier, x, 0, 1, "S9")


def test_two_equal_logits_have_no_margin_to_share_and_the_widget_gets_json_all_the_same() -> None:
    x = torch.zeros(1, 3, 4, 4, dtype=torch.float64)
    x[0, 0], x[0, 1] = 1, 2  # z0 = 3 + 2, z1 = 1 + 4
    found = blame(by_hand(), x, 1, 0)
    [stage] = found
    assert all(math.isnan(one.share) for one in found[stage])
    edits = SimpleNamespace(off=(), original=np.zeros((4, 4, 3), np.uint8))
    case: Any = SimpleNamespace(edits=edits, thumbs={}, names=None, find_blame=lambda: found)
    words = blame_words(case, stage)
    assert [row["channel"] for row in json.loads(json.dumps(words, allow_nan=False))["rows"]] == [1, 2, 0]
