"""Photographs of magnetic tiles: a network that sees the defects of tiles it never saw, and which map finds them.

The network is EfficientNet-Lite0's first blocks with their ImageNet weights, frozen, and a small head: at every
position a logit "defect here", learnt from the masks of the training tiles, and their log-mean-exp as the picture's
logit, learnt from its label. Two of these are compared (5 or 11 blocks) by AUROC alone; only then maps are made, of
the better one. Cross-validation: tiles are dealt into five parts; every picture is judged once, by the network that
saw none of its tile. The data set names the tiles of spoilt pictures only: pictures whose numbers (the time they were
taken) are close together count as one tile, sound ones too.

What would count, written down before any map was made: the network has learnt something if the 95 % interval (bootstrap
over tiles) of its AUROC is above .5 and that of its accuracy above the share of the commoner label; the thesis' order
(see `defects`) comes out at S3 if LayerCAM is ahead of both others with its 95 % intervals.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import camwidgets
from camwidgets.classifiers.preprocessing import Preprocessing
from camwidgets.datasets import Items, open_dataset
from camwidgets.evaluation import Report
from camwidgets.evaluation.layout import cell
from camwidgets.evaluation.view import seen

from .defects import measured, rows, verdict
from .tables import Row, text

TILES = Path("../shared/data/magnetic_tile_dev")
SIZE = (320, 256)  # about the median tile: nothing is made much smaller
LABELS = ("sound", "defect")
BLOCKS = (5, 11)  # strides of 8 and 16 pixels
TURNS: tuple[tuple[int, ...], ...] = ((), (3,), (2,), (2, 3))  # mirrored along these axes
PARTS, EPOCHS, BATCH = 5, 15, 32
NEAR = 400  # numbers of pictures of one tile are closer than this
COVERED = 0.25  # of a position's cell, for it to count as a defect (half the best cell, where a defect is small)
SOUND = 0.02  # covered by less, a position is sound; in between it is left out


class TileNet(nn.Module):
    """Frozen blocks, then a logit for every position; the picture's logits are (0, scale · log mean exp + offset)."""

    def __init__(self, blocks: int, kernel: int) -> None:
        super().__init__()
        base: Any = camwidgets.load("efficientnet_lite0").module
        self.stem, self.blocks = base.stem, base.blocks[:blocks]
        width = {5: 40, 11: 112}[blocks]
        self.norm = nn.BatchNorm2d(width, affine=False)
        self.mix, self.relu = nn.Conv2d(width, 64, kernel, padding=kernel // 2), nn.ReLU()
        self.score = nn.Conv2d(64, 1, 1)
        self.scale, self.offset = nn.Parameter(torch.ones(())), nn.Parameter(torch.zeros(()))

    def features(self, x: Tensor) -> Tensor:
        """What the frozen part says, N×K×h×w."""
        found: Tensor = self.blocks(self.stem(x))
        return found

    def places(self, features: Tensor) -> Tensor:
        """N×h×w logits of "defect here"."""
        found: Tensor = self.score(self.relu(self.mix(self.norm(features))))[:, 0]
        return found

    def picture(self, places: Tensor) -> Tensor:
        """N×2 logits of the pictures."""
        flat = places.flatten(1)
        z = self.scale * (flat.logsumexp(1) - float(np.log(flat.shape[1]))) + self.offset
        return torch.stack([torch.zeros_like(z), z], 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.picture(self.places(self.features(x)))


@dataclass
class Pictures:
    """All pictures as features of one network: turns × N × K × h × w, their masks there, labels, and tiles."""

    features: Tensor
    cover: Tensor
    labels: Tensor
    tiles: np.ndarray


Crossed = tuple[Pictures, np.ndarray, np.ndarray, list[Any]]  # data, each picture's logit and part, the five networks


def tiles_of(items: Sequence[Any]) -> np.ndarray:
    """Which tile each picture shows: pictures with close numbers, or of one `tile_group`, are one."""
    numbers = np.array([int(item.extra["num"]) for item in items])
    order = np.argsort(numbers)
    tile = np.empty(len(items), int)
    tile[order] = np.cumsum(np.diff(numbers[order], prepend=numbers[order[0]]) >= NEAR)
    groups: dict[str, int] = {}
    for i, item in enumerate(items):
        named = str(item.extra.get("tile_group") or "").strip()
        if named and groups.setdefault(named, int(tile[i])) != tile[i]:
            tile[tile == tile[i]] = groups[named]
    return tile


def parts_of(tiles: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """The part 0 … 4 of each picture: whole tiles, spoilt and sound ones dealt out evenly."""
    dice = np.random.default_rng(seed)
    part = np.empty(len(tiles), int)
    for spoilt in (0, 1):
        names = [t for t in np.unique(tiles) if int(labels[tiles == t].any()) == spoilt]
        for k, name in enumerate(dice.permutation(names)):
            part[tiles == name] = k % PARTS
    return part


@torch.no_grad()
def gathered(items: Items, net: TileNet, preprocessing: Preprocessing, mirrors: int) -> Pictures:
    """Every picture through the frozen part, as it is and mirrored."""
    plain = camwidgets.wrap(net.eval(), transform=preprocessing, labels=list(LABELS), input_size=SIZE)
    views = [seen(plain, item) for item in items]
    masks = [np.zeros(SIZE, bool) if view.mask is None else view.mask for view in views]
    found, cover = [], []
    for axes in TURNS[:mirrors]:
        x = [(view.x.flip(axes) if axes else view.x).contiguous(memory_format=torch.channels_last) for view in views]
        found.append(torch.cat([net.features(one) for one in x]))
        turned = torch.from_numpy(np.stack(masks)).float()[:, None]
        turned = turned.flip(axes) if axes else turned
        cover.append(F.adaptive_avg_pool2d(turned, (found[-1].shape[2], found[-1].shape[3]))[:, 0])
    labels = torch.tensor([int(item.label != "free") for item in items])
    return Pictures(torch.stack(found), torch.stack(cover), labels, tiles_of(list(items)))


def hits(cover: Tensor) -> Tensor:
    """N×h×w bool: the positions that show a defect."""
    most = cover.flatten(1).amax(1)[:, None, None]
    return (cover > 0) & (cover >= torch.minimum(most / 2, torch.tensor(COVERED)))


def fitted(net: TileNet, data: Pictures, learn: np.ndarray, seed: int) -> TileNet:
    """Learn the head on these pictures: positions by masks, pictures by labels, both sides weighed alike."""
    torch.manual_seed(seed)
    net.train()
    own = [p for part in (net.mix, net.score) for p in part.parameters()] + [net.scale, net.offset]
    steps = torch.optim.AdamW(own, lr=2e-3, weight_decay=1e-2)
    chosen = torch.from_numpy(learn)
    spoilt = data.labels[chosen].float().mean()
    rare = min(50.0, float((data.cover[0, chosen] < SOUND).sum() / hits(data.cover[0, chosen]).sum()))
    total = EPOCHS * -(-len(chosen) // BATCH)
    rate = torch.optim.lr_scheduler.OneCycleLR(steps, 2e-3, total_steps=total)
    for _ in range(EPOCHS):
        for some in chosen[torch.randperm(len(chosen))].split(BATCH):
            turn = torch.randint(len(data.features), (len(some),))
            places = net.places(data.features[turn, some])
            cover, y = data.cover[turn, some], data.labels[some].float()
            hit = hits(cover)
            weight = torch.where(hit, rare, 1.0) * (hit | (cover < SOUND))
            where = F.binary_cross_entropy_with_logits(places, hit.float(), weight)
            balance = torch.where(y > 0, 0.5 / spoilt, 0.5 / (1 - spoilt))
            what = F.binary_cross_entropy_with_logits(net.picture(places)[:, 1], y, balance)
            steps.zero_grad(set_to_none=True)
            (where + what).backward()
            steps.step()
            rate.step()
    return net.eval()


def crossed(items: Items, net: tuple[int, int], mirrors: int, seed: int) -> Crossed:
    """Cross-validation of one network (blocks, kernel)."""
    seen_as: Any = camwidgets.load("efficientnet_lite0").preprocessing
    preprocessing = Preprocessing(SIZE, fit="squash", mean=seen_as.mean, std=seen_as.std)
    torch.manual_seed(seed)
    data = gathered(items, TileNet(*net), preprocessing, mirrors)
    part = parts_of(data.tiles, data.labels.numpy(), seed)
    logits, nets = np.empty(len(part)), []
    for k in range(PARTS):
        torch.manual_seed(seed)
        made = fitted(TileNet(*net), data, np.flatnonzero(part != k), seed)
        test = torch.from_numpy(np.flatnonzero(part == k))
        with torch.no_grad():
            logits[part == k] = made.picture(made.places(data.features[0, test]))[:, 1].numpy()
        about: Any = {"labels": list(LABELS), "input_size": SIZE, "name": f"tiles {k}"}
        nets.append(camwidgets.wrap(made, transform=preprocessing, **about))
    return data, logits, part, nets


def auroc(logits: np.ndarray, labels: np.ndarray) -> float:
    """P(a spoilt picture's logit exceeds a sound one's), ties count half."""
    a, b = logits[labels == 1][:, None], logits[labels == 0][None]
    return float(((a > b) + 0.5 * (a == b)).mean())


def judged(blocks: int, data: Pictures, logits: np.ndarray, rounds: int = 1000) -> Row:
    """AUROC and shares of right answers, with intervals by a bootstrap over tiles."""
    labels = data.labels.numpy()

    def numbers(i: np.ndarray) -> list[float]:
        right = (logits[i] > 0) == (labels[i] == 1)
        sides = [float(right[labels[i] == side].mean()) for side in (0, 1)]
        return [auroc(logits[i], labels[i]), float(right.mean()), sum(sides) / 2]

    dice, names = np.random.default_rng(0), np.unique(data.tiles)
    of = {name: np.flatnonzero(data.tiles == name) for name in names}
    drawn = [numbers(np.concatenate([of[n] for n in dice.choice(names, len(names))])) for _ in range(rounds)]
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    mid = numbers(np.arange(len(labels)))
    said = [f"{m:.3f} ({a:.3f}–{b:.3f})" for m, a, b in zip(mid, low, high, strict=True)]
    return {"blocks": str(blocks)} | dict(zip(("AUROC", "right", "balanced"), said, strict=True))


def maps_of(items: Items, part: np.ndarray, nets: list[Any]) -> Report:
    """One report over all spoilt pictures, each explained by the network that never saw its tile."""
    found: Report | None = None
    for k, classifier in enumerate(nets):
        mine = Items("tiles", [one for i, one in enumerate(items) if part[i] == k and one.label != "free"])
        report = measured(classifier, mine.relabelled(dict.fromkeys(mine.labels or [], 1)))
        found = report if found is None else replace(found, rows=(*found.rows, *report.rows))
    assert found is not None
    return found


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("benchmarks tiles", description=__doc__)
    parser.add_argument("folder", nargs="?", default=str(TILES))
    parser.add_argument("--blocks", type=int, nargs="+", choices=BLOCKS, default=BLOCKS)
    parser.add_argument("--kernel", type=int, choices=(1, 3), default=1, help="of the head's convolution")
    parser.add_argument("--mirrors", type=int, choices=(1, 2, 4), default=2, help="ways in which pictures are mirrored")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if not Path(options.folder).is_dir():
        print(f"no photographs of tiles at {options.folder!r}: left out", file=sys.stderr)
        return 0
    items = open_dataset(options.folder)
    runs = {}
    for blocks in options.blocks:
        runs[blocks] = crossed(items, (blocks, options.kernel), options.mirrors, options.seed)
        print(text([judged(blocks, *runs[blocks][:2])]), file=sys.stderr, flush=True)
    labels = next(iter(runs.values()))[0].labels.numpy()
    print(f"{len(items)} pictures, {len(np.unique(next(iter(runs.values()))[0].tiles))} tiles, "
          f"{max(labels.mean(), 1 - labels.mean()):.1%} of the commoner label")  # fmt: skip
    print(text([judged(blocks, data, logits) for blocks, (data, logits, *_) in runs.items()], markdown=True))
    chosen = max(runs, key=lambda blocks: auroc(runs[blocks][1], labels))
    report = maps_of(items, *runs[chosen][2:])
    whole = cell(report.table(), "whole", "iou-best")
    print(f"\nmaps of the networks of {chosen} blocks; the whole picture: {whole:.4f}")
    print(text(rows(report), markdown=True))
    print("\n".join(verdict(report)))
    return 0
