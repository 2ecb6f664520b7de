"""Pascal VOC: XML with boxes, and masks."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .items import Box, Item, Items, Size, box_problem
from .masks import MaskFile
from .paths import SUFFIXES, existing_folder, inside
from .sources import MaskSource, PictureFile

MAX_BYTES = 16_000_000  # of one annotation; a large one has a few kB
CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


@dataclass(frozen=True)
class Annotated:
    """What one annotation says: the picture's name and (h, w), (class, box) of each object, and what is wrong."""

    file: str = ""
    size: Size | None = None
    objects: tuple[tuple[str, Box], ...] = ()
    problem: str = ""


def read_voc(
    folder: str | os.PathLike[str], split: str | None = None, difficult: bool = True, name: str = ""
) -> Items:
    """A Pascal VOC folder: JPEGImages, Annotations/*.xml, and masks in SegmentationClass or SegmentationObject.

    One item for each class in each picture (`2007_000032#aeroplane`), with the class's boxes. VOC counts pixels from 1
    and includes the last one: xmin … xmax becomes [xmin − 1, xmax). The mask is the class's pixels in SegmentationClass
    (VOC's twenty classes), else its objects' in SegmentationObject (object i of the XML has value i); the void border
    (255) belongs to nothing. Everingham et al., IJCV 2010; devkit's documentation, 3.

    Args:
        split: only the pictures that ImageSets/Main or ImageSets/Segmentation lists in `<split>.txt`; None = all.
        difficult: False leaves objects out that are marked as difficult.
    Raises:
        FileNotFoundError: no such folder, or no such split. ValueError: there is no annotation.
    """
    root = existing_folder(folder)
    files = sorted((root / "Annotations").glob("*.xml")) if split is None else _listed(root, split)
    if not files:
        raise ValueError(f"{str(root)!r} has no annotations: Annotations/*.xml are needed")
    entries = [item for file in files for item in _items(root, file, difficult)]
    labels = sorted({str(one.label) for one in entries if one.label is not None})  # as VOC's own list is ordered
    return Items(name or root.resolve().name, entries, classes=labels, found=f"Pascal VOC, {len(files)} annotations")


def _listed(root: Path, split: str) -> list[Path]:
    places = [root / "ImageSets" / kind / f"{split}.txt" for kind in ("Main", "Segmentation")]
    file = next((one for one in places if one.is_file()), None)
    if file is None:
        known = sorted({one.stem for one in (root / "ImageSets").glob("*/*.txt")})[:12]
        raise FileNotFoundError(f"there is no split {split!r} in {str(root)!r}; it has: {', '.join(known) or 'none'}")
    names = [line.split()[0] for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [inside(root, f"Annotations/{one}.xml", f"{file.name}") for one in names]


def _items(root: Path, file: Path, difficult: bool) -> list[Item]:
    """One item a class; one bad item for an annotation that cannot be used."""
    try:
        truth = read_annotation(file, difficult=difficult)
        named = inside(root / "JPEGImages", truth.file or file.stem, file.name)
        picture = named if named.suffix.lower() in SUFFIXES else root / "JPEGImages" / _picture_of(root, file.stem)
    except (ValueError, OSError) as error:
        return [_bad(root, file, str(error))]
    if truth.problem:
        return [_bad(root, file, truth.problem)]
    names = list(dict.fromkeys(label for label, _ in truth.objects))
    return [
        Item(
            f"{file.stem}#{one}",
            one,
            tuple(box for label, box in truth.objects if label == one),
            truth.size,
            PictureFile(picture),
            _mask(root, picture.stem, one, truth, difficult),
        )
        for one in names
    ]


def _bad(root: Path, file: Path, problem: str) -> Item:
    return Item(file.stem, None, (), None, PictureFile(root / "JPEGImages" / f"{file.stem}.jpg"), problem=problem)


def _picture_of(root: Path, stem: str) -> str:
    found = (f"{stem}{suffix}" for suffix in SUFFIXES)
    return next((one for one in found if (root / "JPEGImages" / one).is_file()), f"{stem}.jpg")


def _mask(root: Path, stem: str, label: str, truth: Annotated, difficult: bool) -> MaskSource | None:
    by_class, by_object = (root / f"Segmentation{kind}" / f"{stem}.png" for kind in ("Class", "Object"))
    if label in CLASSES and by_class.is_file():
        return MaskFile(by_class, (CLASSES.index(label) + 1,))
    if by_object.is_file() and difficult:  # without the difficult ones the objects' numbers would be others
        numbers = [i for i, (one, _) in enumerate(truth.objects, start=1) if one == label]
        return MaskFile(by_object, tuple(numbers))
    return None


def read_annotation(file: Path, base: int = 1, difficult: bool = True) -> Annotated:
    """One annotation in VOC's XML. Entities and external references are refused, not expanded.

    Args:
        base: the number of the first pixel: 1 in VOC; 0 in ImageNet.
    Raises:
        ValueError: not such XML; FileNotFoundError: no such file.
    """
    from defusedxml import DefusedXmlException  # type: ignore[import-untyped]
    from defusedxml.ElementTree import ParseError, fromstring  # type: ignore[import-untyped]

    if not file.is_file():
        raise FileNotFoundError(f"there is no annotation {file.name!r}")
    if file.stat().st_size > MAX_BYTES:
        raise ValueError(f"{file.name} has {file.stat().st_size} bytes, which is no annotation")
    try:
        tree = fromstring(file.read_bytes())
    except DefusedXmlException as error:
        raise ValueError(f"{file.name} is refused: entities and references have no place in an annotation") from error
    except (ParseError, ValueError, LookupError) as error:
        raise ValueError(f"{file.name} is damaged: {error}") from error
    try:
        return _annotated(tree, file.name, base, difficult)
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{file.name}: {error}") from error


def _annotated(tree: Any, name: str, base: int, difficult: bool) -> Annotated:
    size = tree.find("size")
    height, width = (0, 0) if size is None else (int(float(size.findtext(one) or 0)) for one in ("height", "width"))
    shape = (height, width) if height > 0 and width > 0 else None
    objects = []
    for i, one in enumerate(tree.iterfind("object"), start=1):
        if not difficult and (one.findtext("difficult") or "0").strip() == "1":
            continue
        label, box = (one.findtext("name") or "").strip(), _box(one, base, i)
        wrong = f"object {i} has no name" if not label else box_problem(box, shape)
        if wrong:
            return Annotated(problem=f"{name}, object {i}: {wrong}")
        objects.append((label, box))
    return Annotated((tree.findtext("filename") or "").strip(), shape, tuple(objects))


def _box(one: Any, base: int, number: int) -> Box:
    bounds = one.find("bndbox")
    if bounds is None:
        raise ValueError(f"object {number} has no bndbox")
    texts: Iterable[str | None] = (bounds.findtext(side) for side in ("xmin", "ymin", "xmax", "ymax"))
    values = []
    for text in texts:
        if text is None:
            raise ValueError(f"the bndbox of object {number} needs xmin, ymin, xmax, ymax")
        values.append(float(text))
    return values[0] - base, values[1] - base, values[2], values[3]
