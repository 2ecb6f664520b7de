"""COCO's instances JSON: boxes, outlines and run lengths."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .items import Box, Item, Items, Size, box_problem
from .masks import Shapes
from .paths import existing_folder, inside
from .sources import PictureFile


def read_coco(file: str | os.PathLike[str], images: str | os.PathLike[str] | None = None, name: str = "") -> Items:
    """COCO's instances JSON: one item for each class in each picture (`000000000139.jpg#chair`).

    Boxes x, y, w, h become x0, y0, x + w, y + h. The mask is the union of the class's outlines and run lengths; there
    is none if one of its objects has none. Crowds (`iscrowd`) count for the mask and are no boxes; a class of which
    there is only a crowd is left out. Lin et al., ECCV 2014; cocodataset.org, "data format".

    Args:
        images: the folder that `file_name` starts from; None = looked for beside the JSON, in `images`, and in
            `../val2017` for `annotations/instances_val2017.json`.
    Raises:
        FileNotFoundError: no such file. ValueError: it is not such JSON, or has no annotated picture.
    """
    path = Path(file).expanduser()
    content = _loaded(path)
    pictures = {one["id"]: one for one in _sound(content["images"], "id")}
    classes = {one["id"]: str(one["name"]) for one in _sound(content["categories"], "id", "name")}
    groups: dict[tuple[Any, str], list[dict[str, Any]]] = defaultdict(list)
    for one in _sound(content["annotations"], "image_id", "category_id"):
        if one["image_id"] in pictures and one["category_id"] in classes:
            groups[one["image_id"], classes[one["category_id"]]].append(one)
    lost = len(content["annotations"]) - sum(map(len, groups.values()))
    root = _root(path, list(pictures.values()), images)
    kept = {key: found for key, found in groups.items() if not all(one.get("iscrowd") for one in found)}
    entries = [_item(path, root, pictures[key], label, found) for (key, label), found in kept.items()]
    said = f"COCO, {len(pictures)} pictures annotated in {path.name}"
    said += f"; {len(groups) - len(kept)} with crowds only left out" if len(kept) < len(groups) else ""
    said += f"; {lost} annotations of unknown pictures or classes left out" if lost else ""
    return Items(name or path.stem, entries, classes=[classes[key] for key in sorted(classes)], found=said)


def _loaded(path: Path) -> dict[str, list[Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no annotation file at {str(path)!r}")
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path.name!r} is no JSON: {error}") from error
    needed = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in needed):
        has = ", ".join(map(str, list(content)[:8])) if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"{path.name!r} is no COCO instances file: images, annotations and categories are needed; "
                         f"it has {has or 'nothing'}")  # fmt: skip
    return content


def _sound(entries: Sequence[Any], *keys: str) -> list[dict[str, Any]]:
    """Those that are objects with these keys, which hold numbers or texts."""
    return [one for one in entries if isinstance(one, dict) and all(isinstance(one.get(k), (int, str)) for k in keys)]


def _root(path: Path, pictures: Sequence[dict[str, Any]], given: str | os.PathLike[str] | None) -> Path:
    """The folder in which the first picture is found."""
    if given is not None:
        return existing_folder(given)
    above, part = path.parent.parent, path.stem.split("_")[-1]
    places = [path.parent, path.parent / "images", above / part, above / "images" / part, above / "images", above]
    first = str(pictures[0].get("file_name")) if pictures else ""
    for place in places:
        try:
            if inside(place, first, path.name).is_file():
                return place
        except ValueError:
            break
    return path.parent


def _item(path: Path, root: Path, picture: dict[str, Any], label: str, annotations: Sequence[dict[str, Any]]) -> Item:
    """One class of one picture; what is wrong with its annotations is told when it is opened."""
    file = str(picture.get("file_name"))
    key, extra = f"{file}#{label}", {"image_id": str(picture["id"])}
    try:
        source = PictureFile(inside(root, file, f"{path.name}, picture {picture['id']}"))
    except ValueError as error:
        return Item(key, label, (), None, PictureFile(root), problem=str(error), extra=extra)
    try:
        size = _size(picture)
        boxes = tuple(_box(one, size) for one in annotations if not one.get("iscrowd"))
        shapes = _shapes(annotations, size) if size else None
    except (ValueError, TypeError, KeyError) as error:
        numbers = ", ".join(str(one.get("id")) for one in annotations[:5])
        problem = f"{path.name}, annotation {numbers}: {error}"
        return Item(key, label, (), None, source, problem=problem, extra=extra)
    return Item(key, label, boxes, size, source, shapes, extra=extra)


def _size(picture: dict[str, Any]) -> Size | None:
    height, width = picture.get("height"), picture.get("width")
    return (int(height), int(width)) if height and width else None


def _box(annotation: dict[str, Any], size: Size | None) -> Box:
    x, y, w, h = (float(value) for value in annotation["bbox"])
    box = x, y, x + w, y + h
    if wrong := box_problem(box, size):
        raise ValueError(wrong)
    return box


def _shapes(annotations: Sequence[dict[str, Any]], size: Size) -> Shapes | None:
    polygons: list[tuple[float, ...]] = []
    runs: list[tuple[int, ...] | str] = []
    for one in annotations:
        found = one.get("segmentation")
        if not found:
            return None
        if isinstance(found, list):
            polygons += [tuple(map(float, outline)) for outline in found]
            continue
        if tuple(found["size"]) != size:
            raise ValueError(f"its mask has {found['size']} rows and columns, the picture {list(size)}")
        counts = found["counts"]
        runs.append(counts if isinstance(counts, str) else tuple(map(int, counts)))
    return Shapes(size, tuple(polygons), tuple(runs))
