"""Is it true? Predicted contributions against the real effect of removing each channel, as means over many pictures.

Pearson's correlation over the channels of a step, for three ways to weigh a channel: the mean of A (5.4), its maximum,
and the mean gradient; the same comparison as table 5.1 of the thesis (VGG-16 there: .985 .959 .933 .898 .895).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import camwidgets
from camwidgets.datasets.toyworld import ToyWorld
from camwidgets.decomposition.fidelity import fidelity

from .pictures import DEFAULT_FOLDER, read_pictures
from .tables import Row, text


def pictures(network: str, count: int, folder: Path) -> Iterator[Any]:
    """Held-out scenes for the toy nets; else photographs, spread over the folder's index."""
    if network.startswith("toy"):
        yield from (scene.image for scene in ToyWorld(seed=77, n=count))
    else:
        found = read_pictures(folder)
        yield from (photo.open() for photo in found[:: max(1, len(found) // count)][:count])


def means(network: str, count: int, folder: Path) -> list[Row]:
    """One row per step, the means over `count` pictures."""
    classifier = camwidgets.load(network, fit="squash")
    found = [fidelity(classifier, picture) for picture in pictures(network, count, folder)]
    columns = ["pearson", "spearman", "pearson_max", "pearson_gradient"]
    table = pd.concat([one[columns] for one in found]).groupby(level=0, sort=False).mean()
    return [{"step": str(step), **{c: f"{v:.3f}" for c, v in zip(columns, row, strict=True)}}
            for step, row in zip(table.index, table.to_numpy().tolist(), strict=True)]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks fidelity", description=__doc__)
    parser.add_argument("--networks", nargs="+", default=["toy"])
    parser.add_argument("--pictures", type=int, default=50, help="how many pictures the means are over")
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="photographs with their index.csv")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--markdown", action="store_true")
    asked = parser.parse_args(arguments)
    if asked.threads:
        torch.set_num_threads(asked.threads)
    for network in asked.networks:
        rows = means(network, asked.pictures, asked.folder)
        print(f"\n{network}, mean of {asked.pictures} pictures\n{text(rows, asked.markdown)}", flush=True)
    return 0
