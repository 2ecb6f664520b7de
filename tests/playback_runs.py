"""Run folders written by hand for the playback's tests: maps that wander, gathered ones, what was dropped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from camwidgets.classifiers.toynet import ToyNet
from camwidgets.datasets.toyworld import ToyWorld
from camwidgets.files import write_arrays, write_json, write_table
from camwidgets.learning.netspec import spec_of

CLASSES = ["cat", "dog", "bird"]
SIDE = 12


def wandering(epoch: int, seed: int, side: int = SIDE) -> np.ndarray:
    """A blob in [0, 1] whose centre moves with the epoch."""
    y, x = np.mgrid[:side, :side]
    at = (0.25 + 0.07 * epoch) * side, (0.3 + 0.1 * seed + 0.05 * epoch) * side
    return np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / (0.02 * side * side)).astype(np.float32)


def maps_of(epoch: int, n: int, side: int = SIDE, seed: int = 0) -> dict[str, np.ndarray]:
    """The layers after an epoch, n×3×h×w; nothing is gathered before the first."""

    def current(at: int) -> np.ndarray:
        return np.array([[wandering(at, i + c + seed, side) for c in range(3)] for i in range(n)])

    found = {"current": current(epoch)}
    if epoch:
        every = [current(e) for e in range(1, epoch + 1)]
        found["cumulative"] = np.maximum.reduce(every)
        found["dropped"] = (found["cumulative"] > 0.6).astype(np.float32)
    return found


def net_of(seed: int) -> ToyNet:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ToyNet(3)


def write_epoch(folder: Path, epoch: int, n: int = 3, side: int = SIDE, seed: int = 0) -> None:
    """The maps and the weights of one more epoch, and then the word that it is there."""
    save_file(net_of(epoch + 10 * seed).state_dict(), folder / "weights" / f"epoch_{epoch:03d}.safetensors")
    maps = {name: array.astype(np.float16) for name, array in maps_of(epoch, n, side, seed).items()}
    write_arrays(folder / "watch" / f"epoch_{epoch:03d}.npz", maps)
    rows = [{"epoch": e, "seconds": 2.0 * e, "total": 1.0 / (e + seed), "recall": 0.1 * e,
             "noise": 0.05 * e + 0.02 * seed}
            for e in range(1, epoch + 1)]  # fmt: skip
    if rows:
        write_table(folder / "metrics.csv", rows)
    write_json(folder / "run.json", about_of(epoch))


def about_of(epochs: int, **changes: Any) -> dict[str, Any]:
    return {
        "schema": 1, "kind": "oaa", "net": spec_of(net_of(0)), "settings": {"batch": 4, "epochs": 6}, "seed": 0,
        "status": "running" if epochs < 6 else "done", "epochs_done": epochs,
        "data": {"name": "d", "key": "k", "classes": CLASSES, "size": [96, 96], "n": 5}, **changes,
    }  # fmt: skip


def write_run(
    folder: Path, epochs: int = 6, n: int = 3, side: int = SIDE, seed: int = 0, ids: list[str] | None = None,
    first: int = 0,
) -> Path:  # fmt: skip
    """A whole run: n pictures of the toy world from the `first` on, called a, b, c …; a has two classes and a mask."""
    for part in ("weights", "watch"):
        (folder / part).mkdir(parents=True)
    world = ToyWorld(n=8, seed=3)
    pictures = np.array([world[(first + i) % 8].image for i in range(n)])
    present = np.array([[i % 3 == 0, i % 3 < 2, i % 3 == 2] for i in range(n)])
    masks = np.full((n, 96, 96), 255, np.uint8)
    masks[:1] = 0
    masks[:1, 20:50, 30:60], masks[:1, 60:90, 10:40] = 1, 2
    arrays = {"ids": np.array(ids or [chr(97 + i) for i in range(n)]), "pictures": pictures, "present": present}
    write_json(folder / "run.json", about_of(0))
    if n:
        write_arrays(folder / "watch" / "pictures.npz", {**arrays, "masks": masks})
    for epoch in range(epochs + 1):
        write_epoch(folder, epoch, n, side, seed)
    return folder
