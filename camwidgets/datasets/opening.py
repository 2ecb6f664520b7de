"""Recognising a data set by what lies there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import choose
from .adapters import from_torchvision, from_world
from .coco import read_coco
from .folders import read_folders, read_imagenet, wnid_folders
from .items import Items
from .tables import read_table
from .textures import TextureWorld
from .toyworld import ToyWorld
from .voc import read_voc

_READERS: dict[str, Callable[..., Items]] = {
    "folders": read_folders,
    "table": read_table,
    "coco": read_coco,
    "voc": read_voc,
    "imagenet": read_imagenet,
}
_WORLDS: dict[str, type[ToyWorld] | type[TextureWorld]] = {"toyworld": ToyWorld, "textures": TextureWorld}
KINDS = (*_READERS, *_WORLDS)
LAYOUTS = (
    "a folder of class folders, a CSV with a column of files (or a folder with index.csv), a COCO instances JSON, a "
    "Pascal VOC folder (JPEGImages and Annotations), the ImageNet layout (folders named n01440764 …), or the names "
    "'toyworld' and 'textures'"
)


def open_dataset(source: Any, kind: str | None = None, **options: Any) -> Items:
    """A data set from whatever it is: it is recognised, and the result's `repr` says as what.

    Args:
        source: a folder, a CSV or JSON file, "toyworld" or "textures", a `ToyWorld` or `TextureWorld`, a torchvision
            (map-style) data set, or `Items`, which are returned as they are.
        kind: "folders", "table", "coco", "voc", "imagenet", "toyworld", "textures"; None = recognised.
        options: of the reader: `read_folders`, `read_table`, `read_coco`, `read_voc`, `read_imagenet`; of the world.
    Raises:
        FileNotFoundError: nothing is there. ValueError: it is none of the layouts, or not a sound one. TypeError: an
            option that the reader has not.

    Example:
        >>> open_dataset("toyworld", n=20, seed=3)
        toyworld seed 3: 20 pictures, 10 classes, boxes, masks
    """
    if isinstance(source, Items):
        return source
    if isinstance(source, (ToyWorld, TextureWorld)):
        return from_world(source)
    if not isinstance(source, (str, os.PathLike)):
        return from_torchvision(source, **options)
    path = Path(source).expanduser()
    if kind is None:
        name = str(source)
        kind = name if name in _WORLDS and not path.exists() else recognise(path)
    choose("kind of data set", kind, KINDS)
    found = from_world(_WORLDS[kind](**options)) if kind in _WORLDS else _READERS[kind](path, **options)
    plain = {name: one if isinstance(one, (str, int, float, bool)) else repr(one) for name, one in options.items()}
    found.origin = {"source": kind if kind in _WORLDS else str(path.resolve())} | ({"options": plain} if plain else {})
    return found


def recognise(path: Path) -> str:
    """The kind of what lies at a path: "folders", "table", "coco", "voc" or "imagenet".

    Raises:
        FileNotFoundError: nothing lies there. ValueError: none of the layouts; the sentence lists them.
    """
    if path.is_file():
        kind = {".csv": "table", ".tsv": "table", ".json": "coco"}.get(path.suffix.lower())
        if kind is None:
            raise ValueError(f"{path.name!r} is no data set; one is {LAYOUTS}")
        return kind
    if not path.is_dir():
        raise FileNotFoundError(f"there is no data set at {str(path)!r}; one is {LAYOUTS}")
    if (path / "index.csv").is_file():
        return "table"
    if (path / "JPEGImages").is_dir() and (path / "Annotations").is_dir():
        return "voc"
    if (path / "LOC_synset_mapping.txt").is_file() or any(map(wnid_folders, (path, path / "val", path / "train"))):
        return "imagenet"
    _refuse_several(path)
    return "folders"


def _refuse_several(path: Path) -> None:
    """A folder that holds data sets, and is none: name one of them."""
    found = sorted((path / "annotations").glob("instances*.json")) + sorted(path.glob("*.csv"))
    if found:
        shown = ", ".join(one.relative_to(path).as_posix() for one in found[:6])
        raise ValueError(f"{str(path)!r} holds annotation files: name one of them ({shown})")
    splits = [name for name in ("train", "val", "valid", "validation", "test") if (path / name).is_dir()]
    if len(splits) > 1:
        raise ValueError(f"{str(path)!r} has the parts {', '.join(splits)}: name one of them ({path.name}/{splits[1]})")
