"""Painted worlds and torchvision's data sets as items."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from PIL import Image

from ..images import Picture, open_image, picture_hash
from .items import Box, Item, Items, Label, Size
from .sources import MaskSource, PictureFile, Source
from .textures import LABELS, Surface, TextureWorld
from .toyworld import CLASSES, Scene, ToyWorld
from .toyworld.scene import box_of


@dataclass(frozen=True)
class Painted(Source):
    """Picture number `index` of a world, painted when it is asked for."""

    world: ToyWorld | TextureWorld
    index: int

    def paint(self) -> Scene | Surface:
        return self.world[self.index]

    def open(self) -> Picture:
        return Image.fromarray(self.paint().image)

    def hash(self) -> str:
        return picture_hash(self.paint().image)

    def parts(self) -> dict[str, np.ndarray]:
        scene = self.paint()
        return dict(scene.parts) if isinstance(scene, Scene) else {}

    def context(self) -> dict[str, np.ndarray]:
        scene = self.paint()
        return dict(scene.contexts) if isinstance(scene, Scene) else {}


@dataclass(frozen=True)
class PaintedMask(MaskSource):
    """Where the main label is seen in picture number `index` of a world."""

    world: ToyWorld | TextureWorld
    index: int

    def read(self) -> np.ndarray:
        picture = self.world[self.index]
        return picture.mask(picture.main) if isinstance(picture, Scene) else picture.mask


def from_world(world: ToyWorld | TextureWorld) -> Items:
    """The toy world or the textures as items: label = main label's name, with its boxes and mask, parts and context.

    A sound surface has neither box nor mask. Ids are numbers in the world that the seed fixes, so a slice of a world
    has the ids of the whole.

    Example:
        >>> items = from_world(ToyWorld(seed=0, n=4, classes=["cat", "dog"]))
        >>> items
        toyworld seed 0: 4 pictures, 2 classes, boxes, masks
        >>> item = items[0]
        >>> bool(item.mask().any()), "head" in item.parts(), item.size
        (True, True, (96, 96))
    """
    if isinstance(world, ToyWorld):
        name, labels = f"toyworld seed {world.seed}", world.classes or CLASSES
        return Items(name, _Scenes(world), labels=labels, classes=labels, has_boxes=True, has_masks=True)
    surfaces = [_surface_item(world, i) for i in range(len(world))]
    return Items(f"textures seed {world.seed}", surfaces, labels=LABELS, classes=LABELS)


class _Scenes(Sequence[Item]):
    """The items of a toy world, made when asked for: a box is only known once its scene is painted."""

    def __init__(self, world: ToyWorld) -> None:
        self.world = world

    def __len__(self) -> int:
        return len(self.world)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> _Scenes: ...
    def __getitem__(self, index: int | slice) -> Item | _Scenes:
        return _Scenes(self.world[index]) if isinstance(index, slice) else _scene_item(self.world, index)

    def __iter__(self) -> Iterator[Item]:
        return (_scene_item(self.world, i) for i in range(len(self.world)))

    def label_of(self, index: int) -> Label:
        return CLASSES[self.world.main_label(index)]


def _scene_item(world: ToyWorld, index: int) -> Item:
    scene = world[index]
    boxes = tuple(_floats(one.box) for one in scene.objects if one.label == scene.main)
    mask = PaintedMask(world, index)
    extra = {"context": scene.context or "none"}
    return Item(str(scene.index), scene.name, boxes, _size(scene.image), Painted(world, index), mask, extra=extra)


def _surface_item(world: TextureWorld, index: int) -> Item:
    surface = world[index]
    spoilt = bool(surface.mask.any())
    boxes = (_floats(box_of(surface.mask)),) if spoilt else ()
    mask = PaintedMask(world, index) if spoilt else None
    extra = {"surface": surface.kind, "defect": surface.defect or ""}
    return Item(
        str(surface.index), surface.name, boxes, _size(surface.image), Painted(world, index), mask, extra=extra
    )


def _floats(box: tuple[int, int, int, int]) -> Box:
    x0, y0, x1, y1 = map(float, box)
    return x0, y0, x1, y1


def _size(image: np.ndarray) -> Size:
    return int(image.shape[0]), int(image.shape[1])


# ------------------------------------------------------------------------------------------------- torchvision


@dataclass(frozen=True)
class Member(Source):
    """Picture number `index` of a torchvision (map-style) data set."""

    dataset: Any
    index: int

    def open(self) -> Picture:
        try:
            found = self.dataset[self.index][0]
        except Exception as error:  # somebody's data set may raise anything, and one picture is not all
            raise ValueError(f"picture {self.index} of the data set: {type(error).__name__}: {error}") from error
        return open_image(as_picture(found))

    def hash(self) -> str:
        return picture_hash(np.asarray(self.open()))


def as_picture(value: Any) -> Any:
    """A PIL picture or uint8 array of what a data set returns: PIL, H×W×3 uint8, 3×H×W uint8 or float in [0, 1].

    Raises:
        TypeError: none of these. ValueError: a tensor outside [0, 1] (a normalised one cannot be shown again).
    """
    import torch

    if not isinstance(value, torch.Tensor):
        return value
    if value.ndim != 3 or value.shape[0] not in (1, 3):
        raise ValueError(f"a picture as a tensor is 3×H×W; got shape {tuple(value.shape)}")
    if value.dtype.is_floating_point:
        low, high = float(value.min()), float(value.max())
        if not (low >= 0 and high <= 1):
            raise ValueError(
                f"a tensor picture has values in [0, 1], this one {low:.3g} … {high:.3g}: give the data set no "
                "normalising transform; the classifier's own preprocessing is applied"
            )
        value = (value * 255).round().to(torch.uint8)
    elif value.dtype != torch.uint8:
        raise TypeError(f"a tensor picture is uint8 or float in [0, 1]; got {value.dtype}")
    pixels = value.permute(1, 2, 0).cpu().numpy()
    return np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def from_torchvision(dataset: Any, name: str = "") -> Items:
    """A map-style data set that returns (picture, label): `torchvision.datasets`, `torch.utils.data.Dataset`.

    The label is the class's name where the data set has `.classes` and no two have one name, else its index. Labels are
    read from `.targets` (or `.labels`) where there are any; otherwise each picture is opened once. Where the data set
    lists its files (`.samples`, as `ImageFolder`) they are read directly, without its transform, and ids are relative
    paths; else ids are indices. A `Subset` keeps the ids of the whole.

    Raises:
        TypeError: not a map-style data set of pairs. ValueError: it is empty.

    Example:
        >>> pictures = [(Image.new("RGB", (16, 12)), 0), (Image.new("RGB", (16, 12), "red"), 1)]
        >>> from_torchvision(pictures, "two")
        two: 2 pictures, 2 classes, no boxes, no masks (labels are class indices)
    """
    if not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")) or isinstance(dataset, (str, bytes)):
        raise TypeError(f"a map-style data set has a length and is asked by number; got {type(dataset).__name__}")
    if hasattr(dataset, "indices") and hasattr(dataset, "dataset"):
        return from_torchvision(dataset.dataset, name).at([int(i) for i in dataset.indices])
    name = name or type(dataset).__name__
    classes = getattr(dataset, "classes", None)
    named = [_class_name(one) for one in classes] if classes is not None else None
    named = None if named is not None and len(set(named)) < len(named) else named  # ImageNet's cranes: numbers are sure
    targets, files = _targets(dataset), _files(dataset)
    entries = [_member(dataset, i, targets, files, named) for i in range(len(dataset))]
    return Items(name, entries, classes=named, found=f"labels are class {'names' if named else 'indices'}")


def _member(
    dataset: Any, index: int, targets: Sequence[Any] | None, files: Sequence[str] | None, classes: list[str] | None
) -> Item:
    source = Member(dataset, index) if files is None else PictureFile(Path(files[index]))
    key = str(index) if files is None else os.path.relpath(files[index], dataset.root).replace(os.sep, "/")
    try:
        found = dataset[index] if targets is None else (None, targets[index])
    except Exception as error:  # noqa: BLE001  somebody's own code; told when the picture is opened
        return Item(key, None, (), None, source, problem=f"picture {key}: {error}")
    return Item(key, _label(_second(found), classes), (), None, source)


def _files(dataset: Any) -> list[str] | None:
    samples = getattr(dataset, "samples", None)
    if not isinstance(samples, list) or len(samples) != len(dataset) or not hasattr(dataset, "root"):
        return None
    return [str(one[0]) for one in samples]


def _targets(dataset: Any) -> Sequence[Any] | None:
    if getattr(dataset, "target_transform", None) is not None:
        return None  # the stored number is not the one that the data set gives
    for attribute in ("targets", "labels", "_labels"):
        found = getattr(dataset, attribute, None)
        if found is not None and hasattr(found, "__len__") and len(found) == len(dataset):
            return list(found.tolist() if hasattr(found, "tolist") else found)
    return None


def _second(pair: Any) -> Any:
    if not isinstance(pair, (tuple, list)) or len(pair) < 2:
        raise TypeError(f"the data set must return (picture, label); it returned {type(pair).__name__}")
    return pair[1]


def _label(value: Any, classes: list[str] | None) -> Label:
    if isinstance(value, str):
        return value
    number = np.asarray(value) if not isinstance(value, (dict, list)) else np.empty(0)
    if number.size != 1 or number.dtype.kind not in "iu":
        raise TypeError(
            f"a label is a class index or name; the data set returned {value!r:.60}. Of a detection data set open the "
            "folder instead"
        )
    index = int(number.reshape(()))
    return classes[index] if classes is not None and 0 <= index < len(classes) else index


def _class_name(one: Any) -> str:
    """torchvision's ImageNet names a class by all its synonyms."""
    return str(one[0]) if isinstance(one, (tuple, list)) else str(one)
