"""Agreement with Quantus where both define the same thing, and what differs where they do not.

Quantus is no dependency (benchmarks/quantus.py says why, and how to install it beside): without it these tests skip.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("quantus", reason="Quantus is not installed: benchmarks/quantus.py says how it can be")

from benchmarks.quantus import QUIET, Line, lines
from camwidgets.decomposition.sanity import similarity
from camwidgets.evaluation.location import energy_inside, pointing

EXACT, MASS, FLOAT32 = 1e-12, 1e-11, 1e-6  # Quantus adds 1e-9 to the mass that it divides by; probabilities are float32
TOLERANCES = {
    "pointing game": EXACT,
    "attribution localisation": MASS,
    "relevance mass accuracy": EXACT,
    "top-1 intersection": EXACT,
    "top-100 intersection": EXACT,
    "top-1000 intersection": EXACT,
    "relevance rank accuracy": EXACT,
    "Spearman": EXACT,
    "pixel flipping, blurred": FLOAT32,
    "pixel flipping, black": EXACT,
    "MPRT, cascading": EXACT,
    "MPRT, independent": EXACT,
}


@pytest.fixture(scope="module")
def compared() -> dict[str, Line]:
    return {line.name: line for line in lines(6)}


@pytest.mark.parametrize("name", TOLERANCES)
def test_the_same_numbers(name: str, compared: dict[str, Line]) -> None:
    line = compared[name]
    assert line.ours.size == line.theirs.size >= 6
    assert np.isfinite(line.theirs).all()
    assert line.largest < TOLERANCES[name]


def test_they_are_numbers_that_differ_from_picture_to_picture(compared: dict[str, Line]) -> None:
    """Two constants would agree, too."""
    assert set(compared) == set(TOLERANCES)
    for name in set(TOLERANCES) - {"pixel flipping, black", "pointing game", "top-1 intersection"}:
        assert np.ptp(compared[name].ours) > 0.01, name


def metric(name: str, maps: np.ndarray, inside: np.ndarray, **options: Any) -> float:
    made = getattr(importlib.import_module("quantus"), name)(**QUIET, **options)
    x = np.zeros((1, 3, *maps.shape), np.float32)
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(x.size, 2))
    given = {"x_batch": x, "y_batch": np.array([0]), "a_batch": maps[None, None], "s_batch": inside[None, None]}
    return float(made(model=module, channel_first=True, **given)[0])


def test_where_they_differ_several_maxima() -> None:
    """Quantus: a hit if any of the maxima lies inside. Here: the share of them, as a draw would give it."""
    maps, inside = np.zeros((4, 4)), np.zeros((4, 4), bool)
    maps[0], inside[0, 0] = 1, True
    assert metric("PointingGame", maps, inside) == 1
    assert pointing(maps, inside) == 0.25


def test_where_they_differ_maps_without_mass() -> None:
    """Quantus refuses a batch of maps that are 0 everywhere; here nothing of nothing lies inside: 0."""
    maps, inside = np.zeros((4, 4)), np.zeros((4, 4), bool)
    inside[0, 0] = True
    with pytest.raises(AssertionError, match="all equal to zero"):
        metric("AttributionLocalisation", maps, inside)
    assert energy_inside(maps, inside) == 0


@pytest.mark.filterwarnings("ignore:An input array is constant")
def test_where_they_differ_constant_maps() -> None:
    """SciPy's ρ of a constant map is NaN, and with it Quantus' mean over pictures; here it is 0."""
    functions = importlib.import_module("quantus").functions.similarity_func
    flat, ramp = np.ones((4, 4)), np.arange(16.0).reshape(4, 4)
    assert np.isnan(functions.correlation_spearman(ramp.ravel(), flat.ravel()))
    assert similarity(ramp, flat)["spearman"] == 0


def test_where_they_differ_the_mean_over_layers() -> None:
    """Quantus' average holds the comparison of the trained network with itself, which is 1; ours does not."""
    mprt = importlib.import_module("quantus").MPRT(**QUIET)
    mprt.evaluation_scores = {"original": [1.0], "head": [0.5], "S1": [0.0]}
    assert mprt.recompute_average_correlation_per_sample() == [0.5]
    from camwidgets.evaluation.randomisation import all_mean

    assert all_mean(np.array([[0.5, 0.0]]), np.zeros(1, int)) == 0.25
