"""Where a `Labelled`'s examples come from: painted worlds, torch data sets, items."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..datasets.adapters import as_picture
from ..datasets.items import Items
from ..datasets.opening import open_dataset
from ..datasets.textures import SIZE as SURFACE_SIZE
from ..datasets.textures import TextureWorld
from ..datasets.toyworld import CLASSES, SIZE, ToyWorld
from ..images import open_image
from .labelled import Entries, Example, Size
from .pictures import Pictures, as_mask, as_tensor, chosen_classes

_WORLDS: dict[str, type[ToyWorld] | type[TextureWorld]] = {"toyworld": ToyWorld, "textures": TextureWorld}


def entries_of(source: Any, classes: Sequence[str] | None, size: Size | None, options: dict[str, Any]) -> Entries:
    """The entries of whatever `open_labelled` is given."""
    if isinstance(source, str) and source in _WORLDS and not Path(source).exists():
        source, options = _WORLDS[source](**options), {}
    if isinstance(source, (ToyWorld, TextureWorld)):
        if options:
            raise TypeError(f"options ({', '.join(options)}) belong to a name or a path; a world has its own already")
        return Scenes(source, classes, size) if isinstance(source, ToyWorld) else Surfaces(source, classes, size)
    if not isinstance(source, (str, os.PathLike, Items)) and _gives_vectors(source):
        return Vectors(source, classes, size)
    return Pictures(open_dataset(source, **options), classes, size)


class _World:
    """What painted worlds share: ids are numbers that the seed fixes, parameters decide everything."""

    multi_label: bool
    has_masks = True
    full_size: Size

    def __init__(self, world: Any, valid: Sequence[str], classes: Sequence[str] | None, size: Size | None) -> None:
        self.world = world
        self.classes = chosen_classes(classes, valid)
        self.size = size or self.full_size
        # n, start and step say which pictures, which the ids say too; they do not change how one looks.
        self.parameters = repr(world.replace(n=1, start=0, step=1))

    def __len__(self) -> int:
        return len(self.world)

    def id(self, place: int) -> str:
        return str(self.world.start + self.world.step * place)

    def label_text(self, place: int) -> str:
        return ""

    def present(self, place: int) -> Tensor:
        return self.read(place).present

    def read(self, place: int) -> Example:
        raise NotImplementedError


class Scenes(_World):
    """The toy world: every class that is seen is present."""

    full_size = (SIZE, SIZE)

    def __init__(self, world: ToyWorld, classes: Sequence[str] | None, size: Size | None) -> None:
        shown = world.classes or CLASSES
        super().__init__(world, shown, classes, size)
        self.name = f"toyworld seed {world.seed}"
        self.always_positive = set(shown) <= set(self.classes)
        one_only = (world.objects[1] == 1 or len(shown) == 1) and self.always_positive
        self.multi_label = not one_only

    def read(self, place: int) -> Example:
        scene = self.world[place]
        mask = np.zeros(scene.instance_map.shape, np.uint8)
        present = torch.zeros(len(self.classes), dtype=torch.bool)
        for one in scene.objects:
            if one.name in self.classes:
                c = self.classes.index(one.name)
                mask[one.mask] = c + 1
                present[c] = True
        return Example(self.id(place), as_tensor(scene.image, self.size), present, as_mask(mask, self.size))


class Surfaces(_World):
    """The textures: one class, "defect"; sound surfaces hold none."""

    full_size = (SURFACE_SIZE, SURFACE_SIZE)
    multi_label = True

    def __init__(self, world: TextureWorld, classes: Sequence[str] | None, size: Size | None) -> None:
        super().__init__(world, ("defect",), classes, size)
        self.name = f"textures seed {world.seed}"

    def read(self, place: int) -> Example:
        surface = self.world[place]
        mask = as_mask(surface.mask.astype(np.uint8), self.size)
        return Example(self.id(place), as_tensor(surface.image, self.size), torch.tensor([surface.main == 1]), mask)


class Vectors:
    """A torch data set of (picture, vector of 0 and 1). Labels are read once, now."""

    has_masks = False

    def __init__(self, dataset: Any, classes: Sequence[str] | None, size: Size | None) -> None:
        self.dataset, self.name = dataset, type(dataset).__name__
        if not len(dataset):
            raise ValueError(f"{self.name} has no pictures")
        hot = torch.stack([_vector(dataset[i][1], f"picture {i} of {self.name}") for i in range(len(dataset))])
        named = getattr(dataset, "classes", None)
        names = tuple(map(str, named)) if named is not None else tuple(f"class {i}" for i in range(hot.shape[1]))
        if len(names) != hot.shape[1]:
            raise ValueError(f"{self.name} names {len(names)} classes, but its vectors have {hot.shape[1]} values")
        self.classes = chosen_classes(classes, names)
        self.hot = hot[:, [names.index(one) for one in self.classes]]
        self.multi_label = bool((self.hot.sum(1) != 1).any())
        self.stretch = size is not None
        first = self._pixels(0)
        self.size = size or (first.shape[0], first.shape[1])
        self.parameters = ""

    def __len__(self) -> int:
        return len(self.hot)

    def id(self, place: int) -> str:
        return str(place)

    def present(self, place: int) -> Tensor:
        return self.hot[place]

    def label_text(self, place: int) -> str:
        return ",".join(map(str, self.hot[place].nonzero().flatten().tolist()))

    def _pixels(self, place: int) -> np.ndarray:
        try:
            found = self.dataset[place][0]
        except Exception as error:  # somebody's data set may raise anything; say which picture it was
            raise ValueError(f"picture {place} of {self.name}: {type(error).__name__}: {error}") from error
        return np.asarray(open_image(as_picture(found)))

    def read(self, place: int) -> Example:
        pixels = self._pixels(place)
        if not self.stretch and pixels.shape[:2] != self.size:
            h, w = self.size
            raise ValueError(
                f"picture {place} of {self.name} has {pixels.shape[1]}×{pixels.shape[0]} pixels and others {w}×{h}: a "
                "training needs one size, say which with size=(H, W)"
            )
        return Example(str(place), as_tensor(pixels, self.size), self.hot[place], None)


def _gives_vectors(source: Any) -> bool:
    """Whether a data set's first label is a vector (then it is one of several labels a picture)."""
    if not (hasattr(source, "__getitem__") and hasattr(source, "__len__")) or not len(source):
        return False
    try:
        label = source[0][1]
    except Exception:  # noqa: BLE001  the reader of torch data sets tells what is wrong with the first picture
        return False
    return isinstance(label, (Tensor, np.ndarray)) and np.ndim(label) == 1 and len(label) > 1


def _vector(label: Any, where: str) -> Tensor:
    values = torch.as_tensor(np.asarray(label))
    if values.ndim != 1 or not bool(((values == 0) | (values == 1)).all()):
        raise ValueError(f"the label of {where} must be a vector of 0 and 1, one for each class; got {label!r:.80}")
    return values.bool()
