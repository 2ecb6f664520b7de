"""Tiny defects: which map finds them? IoU with the mask at each line's best threshold ([000] 3.4.4).

On held-out textures with the network `defects`; and, where photographs of magnetic tiles are at hand, on those with
EfficientNet-Lite0 trained anew on their labels (defect or not), split by tile so that no tile is on both sides.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import camwidgets
from camwidgets.classifiers.preprocessing import Preprocessing
from camwidgets.datasets import Items, open_dataset
from camwidgets.datasets.textures import TextureWorld
from camwidgets.evaluation.layout import cell

from .tables import Row, text

TILES = Path("../shared/data/magnetic_tile_dev")
METHODS = ("gradcam", "gradcam++", "layercam")
LABELS = ("sound", "defect")


def table(classifier: camwidgets.Classifier, items: Items) -> list[Row]:
    """Methods × stages, with intervals."""
    lines: dict[str, Any] = {
        f"{camwidgets.methods()[name].title} {stage}": {"method": name, "stages": [stage]}
        for name in METHODS
        for stage in classifier.stages
    }
    report = camwidgets.evaluate(classifier, items, lines | {"whole": "whole"}, ["best-iou"], progress=False)
    middle, (low, high) = report.table(), report.intervals()
    names = [*lines, "whole"]
    return [
        {
            "map": name,
            "mean IoU at the best threshold": f"{cell(middle, name, 'iou-best'):.4f}",
            "95 %": f"{cell(low, name, 'iou-best'):.3f}–{cell(high, name, 'iou-best'):.3f}",
        }
        for name in names
    ]


def split(items: Items, seed: int) -> tuple[list[Any], list[Any]]:
    """Two thirds of the tiles to train on, one third to measure on; sound pictures are dealt out one by one."""
    groups: dict[str, list[Any]] = {}
    for i, item in enumerate(items):
        tile = item.extra.get("tile_group") or ""
        groups.setdefault(tile if tile.strip() else f"sound {i}", []).append(item)
    names = sorted(groups)
    random.Random(seed).shuffle(names)
    cut = 2 * len(names) // 3
    return [one for n in names[:cut] for one in groups[n]], [one for n in names[cut:] for one in groups[n]]


def trained(items: Sequence[Any], epochs: int, seed: int) -> camwidgets.Classifier:
    """EfficientNet-Lite0 from its ImageNet weights, all layers trained on: defect or not."""
    torch.manual_seed(seed)
    base = camwidgets.load("efficientnet_lite0")
    net: nn.Module = base.module
    names = [name for name, part in net.named_modules() if isinstance(part, nn.Linear)]
    owner = net.get_submodule(names[-1].rpartition(".")[0])
    last = names[-1].rpartition(".")[2]
    setattr(owner, last, nn.Linear(getattr(owner, last).in_features, len(LABELS)))
    kept: Any = base.preprocessing
    squashed = Preprocessing((224, 224), fit="squash", mean=kept.mean, std=kept.std)
    inputs = torch.stack([squashed(item.open()) for item in items])
    labels = torch.tensor([int(item.label != "free") for item in items])
    net.train()
    steps = torch.optim.AdamW(net.parameters(), lr=3e-4, weight_decay=1e-2)
    for epoch in range(epochs):
        order = torch.randperm(len(inputs))
        total = 0.0
        for some in order.split(16):
            x: Tensor = inputs[some]
            x = x.flip(3) if torch.rand(()) < 0.5 else x
            x = x.flip(2) if torch.rand(()) < 0.5 else x
            loss = nn.functional.cross_entropy(net(x), labels[some])
            steps.zero_grad()
            loss.backward()
            steps.step()
            total += float(loss.detach()) * len(some)
        print(f"\rtiles: epoch {epoch + 1}, loss {total / len(inputs):.3f}", end="", file=sys.stderr)
    print(file=sys.stderr)
    return camwidgets.wrap(net.eval(), transform=squashed, labels=list(LABELS), input_size=224, name="tiles")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("benchmarks defects", description=__doc__)
    parser.add_argument("folder", nargs="?", default=str(TILES))
    parser.add_argument("--surfaces", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    world = TextureWorld(seed=9001, n=options.surfaces, defect_share=1.0)
    print("textures, network 'defects'")
    print(text(table(camwidgets.load("defects"), open_dataset(world)), markdown=True))
    if not Path(options.folder).is_dir():
        print(f"no photographs of tiles at {options.folder!r}: left out", file=sys.stderr)
        return 0
    learn, test = split(open_dataset(options.folder), options.seed)
    tiles = trained(learn, options.epochs, options.seed)
    right = [tiles.predict(item.open(), 1)[0].index == int(item.label != "free") for item in test]
    share = sum(right) / len(right)
    print(f"magnetic tiles: {len(learn)} pictures to learn from, {share:.1%} of {len(test)} others right")
    marked = Items("tiles", [item for item in test if item.label != "free"])
    print(text(table(tiles, marked.relabelled(dict.fromkeys(marked.labels or [], 1))), markdown=True))
    return 0
