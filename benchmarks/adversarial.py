"""How easily is it fooled, and what gives way? Success rates of attacks, and mean peak responses (thesis, fig. 5.12 c).

Rates are over the rightly classified pictures; ε in grey levels of 255, L∞. torchattacks' PGD (same ε, step and number
of steps) stands beside ours where it is installed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

import camwidgets
from camwidgets.classifiers import Classifier
from camwidgets.datasets.toyworld import ToyWorld
from camwidgets.investigate import MeanPeaks, attack, mean_peaks

from .pictures import DEFAULT_FOLDER, read_pictures
from .tables import Row, text


def pairs(network: str, count: int, folder: Path) -> list[tuple[Any, Any]]:
    """(picture, class): held-out scenes for the toy nets; else photographs, spread over the folder's index."""
    if network.startswith("toy"):
        return [(scene.image, scene.main) for scene in ToyWorld(seed=77, n=count)]
    found = read_pictures(folder)
    return [(photo.open(), photo.target) for photo in found[:: max(1, len(found) // count)][:count]]


def theirs(eps: float, steps: int) -> Any:
    """torchattacks' PGD as a function for `attack`."""
    torchattacks = import_module("torchattacks")

    def run(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(0)
        found: torch.Tensor = torchattacks.PGD(model, eps=eps, alpha=2.5 * eps / steps, steps=steps)(x, y)
        return found

    return run


def rate(name: str, classifier: Classifier, data: Sequence[tuple[Any, Any]], eps: float, **how: Any) -> Row:
    """One row: how many of the rightly classified pictures an attack breaks."""
    right = broken = 0
    start = time.perf_counter()
    for i in range(0, len(data), 16):
        pictures, labels = zip(*data[i : i + 16], strict=True)
        found = attack(classifier, list(pictures), list(labels), eps, **how)
        sure = [found.before[j][0].index == y for j, y in enumerate(found.classes)]
        right += sum(sure)
        broken += sum(s and hit for s, hit in zip(sure, found.success, strict=True))
    return _row(name, eps, right, broken, time.perf_counter() - start)


def _row(name: str, eps: float, right: int, broken: int, seconds: float) -> Row:
    return {
        "attack": name, "ε": f"{255 * eps:g}/255", "right": str(right), "broken": str(broken),
        "rate": f"{broken / max(1, right):.1%}", "s": f"{seconds:.0f}",
    }  # fmt: skip


def measure(network: str, data: Sequence[tuple[Any, Any]], eps: float, steps: int) -> tuple[list[Row], MeanPeaks]:
    """Rates of FGSM, PGD and torchattacks' PGD, and the mean peaks under our PGD."""
    classifier = camwidgets.load(network, fit="squash").prepared()
    rows = [rate("FGSM", classifier, data, eps, method="fgsm")]
    start = time.perf_counter()
    means = mean_peaks(classifier, data, eps=eps, steps=steps)
    rows.append(_row(f"PGD, {steps} steps", eps, means.right, means.broken, time.perf_counter() - start))
    if find_spec("torchattacks"):
        rows.append(rate(f"torchattacks.PGD, {steps} steps", classifier, data, eps, method=theirs(eps, steps)))
    return rows, means


def peak_rows(means: MeanPeaks) -> list[Row]:
    """Mean peak responses by rank, clean and attacked."""
    return [
        {"class": of, "rank": str(rank), "clean": f"{clean:.2f}", "attacked": f"{attacked:.2f}",
         "change": f"{change:+.2f}", "± s.e.": f"{error:.2f}"}
        for of, rank, clean, attacked, change, error in means.to_frame().itertuples(index=False)
    ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks adversarial", description=__doc__)
    parser.add_argument("--networks", nargs="+", default=["efficientnet_lite0", "toy"])
    parser.add_argument("--pictures", type=int, default=125)
    parser.add_argument("--eps", type=float, default=4.0, help="grey levels of 255")
    parser.add_argument("--steps", type=int, default=10, help="of PGD, each 2.5 ε / steps")
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="photographs with their index.csv")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--markdown", action="store_true")
    asked = parser.parse_args(arguments)
    if asked.threads:
        torch.set_num_threads(asked.threads)
    for network in asked.networks:
        data = pairs(network, asked.pictures, asked.folder)
        rows, means = measure(network, data, asked.eps / 255, asked.steps)
        print(f"\n{network}, {len(data)} pictures\n{text(rows, asked.markdown)}")
        print(f"\npeak responses at {means.stage}, means over {means.broken} broken pictures")
        print(text(peak_rows(means), asked.markdown), flush=True)
    return 0
