"""Batches for a training: their order and every chance in them are functions of (seed, epoch, step) and nothing else.

So there is no state of a random generator to be saved, and none to be lost: a training that goes on after a kill draws
what it would have drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .labelled import UNKNOWN
from .objective import Batch, View, normalised

if TYPE_CHECKING:
    from .labelled import Example, Labelled

ORDER, STEP, END = range(3)  # separate streams of chance
Raw = tuple[tuple[str, ...], Tensor, Tensor, "Tensor | None"]


def chance_of(*what: int) -> int:
    """A seed in 0 … 2⁶³ − 1 made of the numbers given, all ≥ 0.

    Example:
        >>> chance_of(0, 1, 2) == chance_of(0, 1, 2) != chance_of(0, 2, 1)
        True
    """
    return int(np.random.SeedSequence(what).generate_state(1, np.uint64)[0] >> np.uint64(1))


def collated(examples: list[Example]) -> Raw:
    """Ids, pictures (B×3×H×W uint8), classes present (B×C) and masks (B×H×W, 255 where there is none; or None)."""
    pictures = torch.stack([one.picture for one in examples])
    masks = None
    if any(one.mask is not None for one in examples):
        unknown = torch.full(pictures.shape[-2:], UNKNOWN, dtype=torch.uint8)
        masks = torch.stack([unknown if one.mask is None else one.mask for one in examples])
    return tuple(one.id for one in examples), pictures, torch.stack([one.present for one in examples]), masks


class _Places(Dataset["Example"]):
    """A `Labelled` as torch's loader wants it."""

    def __init__(self, data: Labelled) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, place: int) -> Example:
        return self.data[place]


class Feed:
    """The batches of a data set, epoch by epoch. The last batch of an epoch may be smaller: every picture is seen.

    Args:
        workers: processes that open pictures; the batches are the same with any number of them.
        augment: pictures are mirrored by chance, shifted by up to H/24 and W/24 pixels, and changed a little in
            brightness and contrast.
    """

    def __init__(self, data: Labelled, batch: int, seed: int, *, workers: int = 0, augment: bool = True) -> None:
        self.data, self.batch, self.seed, self.workers, self.augment = data, batch, seed, workers, augment
        self.steps = -(-len(data) // batch)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch (1 for the first), from step `start` of it on."""
        chance = torch.Generator().manual_seed(chance_of(self.seed, ORDER, epoch))
        order = torch.randperm(len(self.data), generator=chance).split(self.batch)
        loader: DataLoader[Raw] = DataLoader(
            _Places(self.data), batch_sampler=[one.tolist() for one in order[start:]], collate_fn=collated,  # type: ignore[arg-type]
            num_workers=self.workers, generator=chance,
        )  # fmt: skip
        for k, raw in enumerate(loader, start=start):
            yield self._batch(raw, epoch, (epoch - 1) * self.steps + k)

    def _batch(self, raw: Raw, epoch: int, step: int) -> Batch:
        ids, pictures, present, masks = raw
        generator = torch.Generator().manual_seed(chance_of(self.seed, STEP, epoch, step))
        still = View(torch.zeros(len(ids), dtype=torch.bool), (0, 0), (pictures.shape[-2], pictures.shape[-1]))
        view = chosen_view(still, generator) if self.augment else still
        x = normalised(moved(pictures, view))
        if self.augment:
            x = relit(x, generator)
        masks = None if masks is None else moved(masks[:, None], view)[:, 0]
        return Batch(ids, x, present, masks, epoch, step, generator, view, self.augment)


def still_batches(data: Labelled, batch: int) -> Iterator[Batch]:
    """All pictures in their order, unmoved: for validation."""
    feed = Feed(data, batch, 0, augment=False)
    for k, start in enumerate(range(0, len(data), batch)):
        stop = min(start + batch, len(data))
        yield feed._batch(collated([data[i] for i in range(start, stop)]), 0, k)


def chosen_view(still: View, generator: torch.Generator) -> View:
    """Half of the pictures mirrored, all of the batch shifted alike by up to 1/24 of each side."""
    mirrored = torch.rand(len(still.mirrored), generator=generator) < 0.5
    by = [int(torch.randint(-(side // 24), side // 24 + 1, (), generator=generator)) for side in still.size]
    return View(mirrored, (by[0], by[1]), still.size)


def moved(pictures: Tensor, view: View) -> Tensor:
    """B×K×H×W pictures or masks of any type as `view` says, exactly: no value is mixed with another."""
    pictures = torch.where(view.mirrored[:, None, None, None], pictures.flip(3), pictures)
    if not any(view.shift):
        return pictures
    rows, columns = (
        (torch.arange(side) + by).clamp(0, side - 1) for side, by in zip(view.size, view.shift, strict=True)
    )
    return pictures[:, :, rows][:, :, :, columns]


def relit(x: Tensor, generator: torch.Generator) -> Tensor:
    """Contrast × 0.92 … 1.08 and brightness ± 0.12 (in units of x), each picture by itself."""
    gain, offset = (torch.rand(len(x), 1, 1, 1, generator=generator) - 0.5 for _ in range(2))
    return x * (1 + 0.16 * gain) + 0.24 * offset
