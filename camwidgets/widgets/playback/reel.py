"""The maps of watched pictures over a run's epochs as the browser gets them: bytes, bounded, and where they lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F

from ...evaluation.location import energy_inside
from ...learning.run import Run

EVERYTHING = 8 << 20  # bytes of maps of one run up to which all pictures travel at once
ONE = 16 << 20  # bytes of one picture's maps; beyond, epochs are left out
PICTURES = 6 << 20  # bytes of all pictures
LEAST_SIDE = 32  # px to which pictures are made smaller at most
SMALL = 0.25  # maps whose maximum is below are divided by it: eight bits of 0 … 1 would show nothing

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Still:
    """The maps of one picture after one epoch, by layer: P×h×w uint8, P classes; times scale / 255 = as in the run."""

    maps: dict[str, Bytes]
    scale: dict[str, float]
    inside: dict[str, list[float | None]]


def quantised(maps: NDArray[Any]) -> tuple[Bytes, float]:
    """Maps as bytes and the value of 255: 1, or their maximum where that is above 1 or very small.

    Example:
        >>> quantised(np.array([0.0, 0.5, 1.0]))[0].tolist()
        [0, 128, 255]
    """
    largest = float(np.finfo(np.float16).max)
    found = np.nan_to_num(np.asarray(maps, np.float32), nan=0.0, posinf=largest, neginf=0.0).clip(0)
    most = float(found.max(initial=0.0))
    scale = most if most > 1 or 0 < most < SMALL else 1.0
    return np.floor(found * (255 / scale) + 0.5).clip(0, 255).astype(np.uint8), scale


def classes_of(run: Run, id: str) -> list[int]:
    """The classes whose maps are shown: those in the picture; all of a picture without any."""
    return run.present(id) or list(range(len(run.classes)))


def still_of(stack: dict[str, NDArray[Any]], run: Run, id: str) -> Still:
    """One picture's part of what `Run.stack` read."""
    place, classes, mask = run.watched.index(id), classes_of(run, id), run.mask(id)
    maps, scale, inside = {}, {}, {}
    for name, array in stack.items():
        found = array[place][classes].astype(np.float32)
        maps[name], scale[name] = quantised(found)
        inside[name] = _inside(found, mask, classes)
    return Still(maps, scale, inside)


def _inside(maps: NDArray[np.float32], mask: Bytes | None, classes: Sequence[int]) -> list[float | None]:
    """The share of each map's sum that lies on its class, where a mask says where that is."""
    if mask is None:
        return [None] * len(maps)
    size = (mask.shape[0], mask.shape[1])
    large = F.interpolate(torch.from_numpy(maps)[None], size, mode="bilinear", align_corners=False)[0].numpy()
    found: list[float | None] = []
    for one, c in zip(large, classes, strict=True):
        there = mask == c + 1
        found.append(round(energy_inside(one, there), 4) if there.any() and one.max() > 0 else None)
    return found


@dataclass
class Reel:
    """What was read of one run so far: epoch → picture → `Still`. Only the pictures that were asked for last are held.

    Attributes:
        run: as it was opened last. damaged: epoch → why its maps cannot be shown.
    """

    run: Run
    damaged: dict[int, str] = field(default_factory=dict)
    _kept: dict[int, dict[str, Still]] = field(default_factory=dict, repr=False)

    def area(self) -> int:
        """Bytes of the maps of one class of one picture at one epoch, judged by the last that can be read."""
        for epoch in reversed(self.run.epochs):
            try:
                return sum(array.shape[2] * array.shape[3] for array in self.run.stack(epoch).values())
            except (ValueError, OSError):
                continue
        return 0

    def whole(self, ids: Sequence[str]) -> bool:
        """Whether all epochs of all these pictures may travel at once."""
        classes = sum(len(classes_of(self.run, id)) for id in ids)
        return self.area() * classes * len(self.run.epochs) <= EVERYTHING

    def epochs(self, ids: Sequence[str]) -> list[int]:
        """The epochs that are read: all, or every k-th and the last where one picture's maps would be too many."""
        every, area = self.run.epochs, self.area()
        each = max((area * len(classes_of(self.run, id)) for id in ids), default=0)
        room = max(2, ONE // each) if each else len(every)
        if len(every) <= room:
            return every
        step = -(-len(every) // (room - 1))
        return sorted({*every[::step], every[-1]})

    def read(self, ids: Sequence[str], told: Callable[[int, int], None]) -> None:
        """Read what is not held yet of these pictures, and let go of all others. told: epochs done, of how many."""
        wanted = self.epochs(ids)
        self._kept = {
            epoch: {id: stills[id] for id in ids if id in stills}
            for epoch, stills in self._kept.items()
            if epoch in wanted
        }
        for at, epoch in enumerate(wanted):
            told(at, len(wanted))
            held = self._kept.setdefault(epoch, {})
            if epoch in self.damaged or all(id in held for id in ids):
                continue
            try:
                stack = self.run.stack(epoch)
            except (ValueError, OSError) as error:
                self.damaged[epoch] = str(error)
                continue
            if stack:  # of a run that is being written they may be there the next time
                held.update({id: still_of(stack, self.run, id) for id in ids})

    def packed(self, ids: Sequence[str]) -> tuple[list[dict[str, Any]], bytes]:
        """Where each picture's layers lie in the bytes: epochs × classes × h × w each."""
        words, parts, at = [], [], 0
        for id in ids:
            layers = []
            for name in self._names(id):
                shots = [(e, s[id]) for e, s in sorted(self._kept.items()) if id in s and name in s[id].maps]
                shape = shots[-1][1].maps[name].shape
                shots = [(e, one) for e, one in shots if one.maps[name].shape == shape]
                parts += [one.maps[name].tobytes() for _, one in shots]
                layers.append({
                    "name": name, "height": shape[1], "width": shape[2], "at": at, "epochs": [e for e, _ in shots],
                    "scales": [one.scale[name] for _, one in shots], "inside": [one.inside[name] for _, one in shots],
                })  # fmt: skip
                at += len(shots) * int(np.prod(shape))
            words.append({"id": id, "layers": layers})
        return words, b"".join(parts)

    def _names(self, id: str) -> list[str]:
        found = {name for stills in self._kept.values() if id in stills for name in stills[id].maps}
        return sorted(found, key=layer_rank)

    def still(self, epoch: int, id: str) -> Still | None:
        """What the browser shows of a picture at an epoch."""
        return self._kept.get(epoch, {}).get(id)


ORDER = ("current", "cumulative", "dropped")


def layer_rank(name: str) -> tuple[int, str]:
    """Current, cumulative, dropped; others behind them by name."""
    return (ORDER.index(name) if name in ORDER else len(ORDER), name)


def pictures_of(run: Run, ids: Sequence[str]) -> tuple[list[dict[str, Any]], bytes, bytes]:
    """Words on the watched pictures, their RGB bytes and their masks (255 = unknown), one size for all."""
    height, width = run.size
    factor = min(1.0, (PICTURES / (3 * height * width * max(1, len(ids)))) ** 0.5)
    side = min(1.0, max(factor, LEAST_SIDE / min(height, width)))
    size = (max(1, round(width * side)), max(1, round(height * side)))  # as PIL has it
    words, pictures, masks = [], [], []
    for id in ids:
        picture, mask = Image.fromarray(run.picture(id)), run.mask(id)
        pictures.append(np.asarray(picture if side == 1 else picture.resize(size, Image.Resampling.BOX)).tobytes())
        held = np.full((height, width), 255, np.uint8) if mask is None else mask.astype(np.uint8)
        shown = Image.fromarray(held)
        masks.append(np.asarray(shown if side == 1 else shown.resize(size, Image.Resampling.NEAREST)).tobytes())
        classes = [{"index": c, "label": run.classes[c]} for c in classes_of(run, id)]
        words.append({
            "id": id, "classes": classes, "mask": mask is not None, "none": not run.present(id),
            "height": size[1], "width": size[0],
        })  # fmt: skip
    return words, b"".join(pictures), b"".join(masks)
