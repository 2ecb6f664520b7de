"""Items as examples: pictures in files, those that share one joined."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..datasets.adapters import Painted
from ..datasets.items import Item, Items
from ..datasets.masks import VOID, MaskFile, open_mask
from ..datasets.toyworld import ToyWorld
from ..errors import unknown
from .labelled import UNKNOWN, Example, Size


class Pictures:
    """Items; those that share a picture become one example with several classes.

    A pixel that two classes claim, the void border of Pascal VOC, and, where a class that is present has no mask, every
    pixel that no other class claims, are 255 (unknown).
    """

    def __init__(self, items: Items, classes: Sequence[str] | None, size: Size | None) -> None:
        self.name = items.name
        entries = list(items)
        self._refuse_scenes(entries)
        self.classes, index = _classes_of(items, entries, classes)
        self.groups = list(_grouped(entries).values())
        self.hot = torch.zeros((len(self.groups), len(self.classes)), dtype=torch.bool)
        for row, group in zip(self.hot, self.groups, strict=True):
            for item in group:
                if item.label in index:
                    row[index[item.label]] = True
        self.index = index
        self.multi_label = bool((self.hot.sum(1) != 1).any())
        self.has_masks = any(item.drawn is not None for item in entries)
        self.stretch = size is not None
        self.size = size or _one_size(items.name, entries)
        self.parameters = ""
        self._ids = [_group_id(group) for group in self.groups]
        if len(set(self._ids)) < len(self._ids):
            self._ids = [group[0].id for group in self.groups]

    @staticmethod
    def _refuse_scenes(entries: list[Item]) -> None:
        source = entries[0].source
        if isinstance(source, Painted) and isinstance(source.world, ToyWorld) and source.world.objects[1] > 1:
            raise ValueError(
                "items of a toy world name the main object alone, though there are others; give the ToyWorld itself"
            )

    def __len__(self) -> int:
        return len(self.groups)

    def id(self, place: int) -> str:
        return self._ids[place]

    def present(self, place: int) -> Tensor:
        return self.hot[place]

    def label_text(self, place: int) -> str:
        return ",".join(map(str, self.hot[place].nonzero().flatten().tolist()))

    def read(self, place: int) -> Example:
        group = self.groups[place]
        pixels = np.asarray(group[0].open())
        for item in group[1:]:
            if item.problem:
                raise ValueError(item.problem)
        if not self.stretch and pixels.shape[:2] != self.size:
            h, w = self.size
            raise ValueError(
                f"{self._ids[place]} has {pixels.shape[1]}×{pixels.shape[0]} pixels and others {w}×{h}: a training "
                "needs one size, say which with size=(H, W)"
            )
        mask = self._painted_mask(group, (pixels.shape[0], pixels.shape[1])) if self.has_masks else None
        return Example(self._ids[place], as_tensor(pixels, self.size), self.hot[place], as_mask(mask, self.size))

    def _painted_mask(self, group: list[Item], size: Size) -> np.ndarray | None:
        known = [item for item in group if item.label in self.index]
        if not any(item.drawn is not None for item in known) and known:
            return None
        mask = np.zeros(size, np.uint8)
        unknown_pixels = np.zeros(size, bool)
        for item in known:
            area = item.mask_at(size)
            if area is None:
                unknown_pixels[:] = True
                continue
            value = self.index[item.label] + 1
            mask[area & (mask != 0) & (mask != value)] = UNKNOWN
            mask[area & (mask == 0)] = value
            if isinstance(item.drawn, MaskFile) and item.drawn.values is not None:
                unknown_pixels |= open_mask(item.drawn.path) == VOID
        mask[unknown_pixels & (mask == 0)] = UNKNOWN
        return mask


def chosen_classes(classes: Sequence[str] | None, valid: Sequence[str]) -> tuple[str, ...]:
    if classes is None:
        return tuple(valid)
    if isinstance(classes, str) or not len(classes):
        raise TypeError(f"classes must be None or a non-empty list of names, not {classes!r}")
    for one in classes:
        if one not in valid:
            raise unknown("class", one, valid)
    if len(set(classes)) < len(classes):
        raise ValueError(f"classes names one class twice: {list(classes)}")
    return tuple(classes)


def _classes_of(
    items: Items, entries: list[Item], classes: Sequence[str] | None
) -> tuple[tuple[str, ...], dict[Any, int]]:
    """The classes' names, and label → channel. Labels that are indices get names "class 0" …"""
    found = {item.label for item in entries if item.label is not None}
    if not found:
        raise ValueError(f"{items.name} has no labels, and a training needs them")
    if all(isinstance(label, str) for label in found):
        names = chosen_classes(classes, tuple(items.labels or sorted(map(str, found))))
        return names, {name: i for i, name in enumerate(names)}
    if any(isinstance(label, str) for label in found):
        raise ValueError(f"{items.name} has labels that are names and labels that are numbers; one kind is needed")
    highest = max(int(label) for label in found if label is not None)
    if classes is not None and len(classes) <= highest:
        raise ValueError(f"{items.name} has labels up to {highest}, but classes names only {len(classes)}")
    names = tuple(classes) if classes is not None else tuple(f"class {i}" for i in range(highest + 1))
    return names, {i: i for i in range(len(names))}


def _grouped(entries: list[Item]) -> dict[Any, list[Item]]:
    groups: dict[Any, list[Item]] = defaultdict(list)
    for item in entries:
        try:
            hash(item.source)
        except TypeError:  # a data set that cannot be hashed has one item a picture
            groups[item.id].append(item)
        else:
            groups[item.source].append(item)
    return groups


def _group_id(group: list[Item]) -> str:
    """The picture's id: an item of several classes is called `picture#class`."""
    return group[0].id.removesuffix(f"#{group[0].label}")


def _one_size(name: str, entries: list[Item]) -> Size:
    """The size that all pictures have as far as the data set says, else the first picture's."""
    sizes = {item.size for item in entries if item.size is not None}
    if len(sizes) > 1:
        some = ", ".join(f"{w}×{h}" for h, w in sorted(sizes)[:3])
        raise ValueError(f"the pictures of {name} are of {len(sizes)} sizes ({some} …): say one with size=(H, W)")
    if sizes:
        return next(iter(sizes))
    picture = entries[0].open()
    return picture.height, picture.width


def as_tensor(pixels: np.ndarray, size: Size) -> Tensor:
    if pixels.shape[:2] != size:
        pixels = np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR))
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def as_mask(mask: np.ndarray | None, size: Size) -> Tensor | None:
    if mask is None:
        return None
    if mask.shape != size:
        mask = np.asarray(Image.fromarray(mask).resize(size[::-1], Image.Resampling.NEAREST))
    return torch.from_numpy(np.array(mask))
