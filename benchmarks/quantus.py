"""Agreement with Quantus on the tests that both define alike: ``python -m benchmarks quantus``.

Quantus (LGPL-3.0-or-later) is no dependency, not even of the tests: it asks for ``opencv-python``, which owns the same
files (``cv2/``) as the ``opencv-python-headless`` of grad-cam and needs libGL, so that the two cannot be installed into
one environment with a sure outcome. Into an environment of its own, on top of the one that is there::

    python -m venv /somewhere/quantus
    .venv/bin/python -c "import site; print(site.getsitepackages()[0])" > base.pth
    mv base.pth /somewhere/quantus/lib/python3.*/site-packages/
    /somewhere/quantus/bin/python -m pip install quantus
    /somewhere/quantus/bin/python -m benchmarks quantus          # or: … -m pytest tests/test_quantus_agreement.py
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from camwidgets.classifiers.classifier import Classifier
from camwidgets.datasets import open_dataset
from camwidgets.datasets.items import Items
from camwidgets.decomposition.randomised import ORDERS, parameter_groups, randomised
from camwidgets.decomposition.sanity import similarity
from camwidgets.evaluation import evaluate
from camwidgets.evaluation.curves import deletion, perturbation
from camwidgets.evaluation.location import energy_inside, pointing
from camwidgets.evaluation.view import View, seen
from camwidgets.explanation import explain
from camwidgets.maps.blur import blurred

QUIET: dict[str, Any] = {"disable_warnings": True, "display_progressbar": False, "abs": False, "normalise": False}


@dataclass(frozen=True)
class Seen:
    """Maps of some pictures, as both sides get them. maps: N×H×W float64; inside: N×H×W bool."""

    classifier: Classifier
    views: tuple[View, ...]
    maps: np.ndarray
    inside: np.ndarray
    targets: tuple[int, ...]

    @property
    def given(self) -> dict[str, Any]:
        """What Quantus' metrics are called with."""
        x = np.concatenate([view.x.cpu().numpy() for view in self.views])
        return {
            "model": self.classifier.module, "x_batch": x, "y_batch": np.array(self.targets),
            "a_batch": self.maps[:, None].copy(), "s_batch": self.inside[:, None].copy(), "channel_first": True,
        }  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One comparison: the values of both sides, and what is compared."""

    name: str
    ours: np.ndarray
    theirs: np.ndarray
    about: str

    @property
    def largest(self) -> float:
        """Largest difference."""
        return float(np.abs(self.ours - self.theirs).max())


def looked_at(classifier: Classifier, items: Items, method: str = "layercam") -> Seen:
    """Maps of the items' labels, with noise of 1e-9 by which no two pixels are equal: ties are ordered otherwise."""
    from camwidgets.evaluation.location import within

    views = tuple(seen(classifier, item, "squash") for item in items)
    targets = tuple(classifier.index(item.label) for item in items if item.label is not None)
    maps = [explain(classifier, v.x, method, c).map.astype(np.float64) for v, c in zip(views, targets, strict=True)]
    noise = np.random.default_rng(0).random((len(maps), *maps[0].shape)) * 1e-9
    inside = np.stack([within(view.size, view.boxes) for view in views])
    return Seen(classifier, views, np.stack(maps) + noise, inside, targets)


def localised(given: Seen) -> Iterator[Line]:
    """Pointing game, mass inside, top-k, rank: no network is run."""
    quantus = importlib.import_module("quantus")
    pairs = list(zip(given.maps, given.inside, strict=True))

    def theirs(metric: Any) -> np.ndarray:
        return np.array(metric(**given.given), np.float64)

    yield Line("pointing game", np.array([pointing(m, i) for m, i in pairs]), theirs(quantus.PointingGame(**QUIET)),
               "[argmax M ∈ box]")  # fmt: skip
    mass = np.array([energy_inside(m, i) for m, i in pairs])
    yield Line("attribution localisation", mass, theirs(quantus.AttributionLocalisation(**QUIET)), "mass inside")
    yield Line("relevance mass accuracy", mass, theirs(quantus.RelevanceMassAccuracy(**QUIET)), "mass inside")
    for k in (1, 100, 1000):
        yield Line(f"top-{k} intersection", np.array([pointing(m, i, k) for m, i in pairs]),
                   theirs(quantus.TopKIntersection(k=k, **QUIET)), f"share of the {k} greatest inside")  # fmt: skip
    ranks = np.array([pointing(m, i, int(i.sum())) for m, i in pairs])
    yield Line("relevance rank accuracy", ranks, theirs(quantus.RelevanceRankAccuracy(**QUIET)),
               "as many of the greatest as the box has pixels: share inside")  # fmt: skip


def flipped(given: Seen, steps: int = 24) -> Iterator[Line]:
    """Pixel flipping, with our canvas given to Quantus: the curves, point by point."""
    quantus = importlib.import_module("quantus")
    pixels = given.maps[0].size
    x = given.given["x_batch"]
    canvas = np.concatenate([blurred(view.x).numpy() for view in given.views])

    def flip(baseline: np.ndarray) -> np.ndarray:
        def put(arr: np.ndarray, indices: np.ndarray, **_: Any) -> np.ndarray:
            found = arr.copy()
            np.put_along_axis(found, indices, np.take_along_axis(baseline.reshape(len(arr), -1), indices, 1), 1)
            return found

        metric = quantus.PixelFlipping(features_in_step=3 * pixels // steps, perturb_func=put, **QUIET)
        return np.array(metric(**given.given, softmax=True))

    cases = list(zip(given.views, given.targets, given.maps, strict=True))
    ours = np.stack([deletion(given.classifier, v.x, c, m, steps=steps).scores[1:] for v, c, m in cases])
    yield Line("pixel flipping, blurred", ours, flip(canvas), f"deletion curve, {steps} points after the first")
    shares = tuple((i + 1) / steps for i in range(steps - 1))
    tops = np.stack([perturbation(given.classifier, v.x, c, m, shares=shares).scores for v, c, m in cases])
    probabilities = flip(np.zeros_like(x))[:, :-1]
    sure = probabilities > 0.5  # then it is the first answer, whatever the others are
    yield Line("pixel flipping, black", tops[sure], np.ones(int(sure.sum())),
               "positive perturbation: first answer where Quantus' p_c > 0.5")  # fmt: skip


def randomisations(given: Seen, items: Items, method: str = "layercam") -> Iterator[Line]:
    """MPRT with the same drawn networks: ρ of the maps, layer by layer."""
    quantus = importlib.import_module("quantus")
    wrapper = importlib.import_module("quantus.helpers.model.pytorch_model").PyTorchModel
    maps = np.stack([explain(given.classifier, v.x, method, c).map
                     for v, c in zip(given.views, given.targets, strict=True)])  # fmt: skip

    def drawn(self: Any, order: str = "top_down", seed: int = 0) -> Any:
        """In place of Quantus' own, which resets module by module: the networks drawn as ours are."""
        for name, copy in randomised(given.classifier, "cascading" if order == "top_down" else order, seed):
            networks[id(copy.module)] = copy
            yield name, copy.module

    layers = property(lambda self: len(parameter_groups(given.classifier)))

    def explained(model: Any, inputs: Any, targets: Any, **_: Any) -> np.ndarray:
        network = networks.get(id(model), given.classifier)
        pairs = zip(inputs, targets, strict=True)
        return np.stack([explain(network, torch.as_tensor(x)[None], method, int(c)).map for x, c in pairs])[:, None]

    for order in ORDERS:
        networks: dict[int, Classifier] = {}
        metric = quantus.MPRT(
            layer_order="top_down" if order == "cascading" else order, seed=0,
            similarity_func=quantus.functions.similarity_func.correlation_spearman, **QUIET,
        )  # fmt: skip
        about = given.given | {"a_batch": maps[:, None]}
        with patch.multiple(wrapper, get_random_layer_generator=drawn, random_layer_generator_length=layers):
            scores = metric(**about, explain_func=explained, batch_size=1)
        report = evaluate(given.classifier, items, [method], [order], progress=False)
        _, ours, _ = report.values(report.methods[0], order)
        order_of = {item: i for i, item in enumerate(report.values(report.methods[0], order)[0])}
        ours = ours[[order_of[item.id] for item in items]]
        theirs = np.array([scores[name] for name in report.steps(order)]).T
        both = np.isfinite(theirs)  # constant maps: NaN there, 0 here
        yield Line(f"MPRT, {order}", ours[both], theirs[both], "Spearman's ρ, the same drawn networks")


def similarities(given: Seen) -> Iterator[Line]:
    """Spearman's ρ of the maps of every two pictures."""
    functions = importlib.import_module("quantus").functions.similarity_func
    pairs = [(a, b) for i, a in enumerate(given.maps) for b in given.maps[:i]]
    yield Line("Spearman", np.array([similarity(a, b)["spearman"] for a, b in pairs]),
               np.array([functions.correlation_spearman(a.ravel(), b.ravel()) for a, b in pairs]), "ρ")  # fmt: skip


def lines(count: int = 6) -> Iterator[Line]:
    """All comparisons, on `count` pictures of the toy world."""
    import camwidgets

    items = open_dataset("toyworld", n=count, seed=11)
    classifier = camwidgets.load("toy")
    given = looked_at(classifier, items)
    yield from localised(given)
    yield from similarities(given)
    yield from flipped(given)
    yield from randomisations(given, items)


def main(arguments: list[str]) -> int:
    """Print the table of largest differences; without Quantus say how to get it."""
    try:
        version = importlib.import_module("quantus").__version__
    except ImportError:
        print(f"Quantus is not installed here.\n{(__doc__ or '').split(chr(10) * 2, 1)[1]}", file=sys.stderr)
        return 0
    print(f"Quantus {version}; largest difference of {arguments[0] if arguments else 6} pictures of the toy world\n")
    print(f"{'Quantus':<26}{'values':>8}{'largest':>12}  what")
    for line in lines(int(arguments[0]) if arguments else 6):
        print(f"{line.name:<26}{line.ours.size:>8}{line.largest:>12.1e}  {line.about}")
    return 0
