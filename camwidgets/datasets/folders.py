"""A folder of class folders, and ImageNet's layout."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from .items import Item, Items, Label
from .paths import existing_folder, folders_in, is_picture, pictures_below, pictures_of, relative
from .sources import PictureFile
from .voc import Annotated, read_annotation

WNID = re.compile(r"n\d{8}")
MAPPINGS = ("LOC_synset_mapping.txt", "imagenet_class_index.json", "synset_words.txt")


def read_folders(folder: str | os.PathLike[str], name: str = "") -> Items:
    """A folder of class folders: `cat/1.jpg`, `dog/old/2.png` …; the folder's name is the label.

    Pictures that lie in no class folder have no label. Other files and hidden ones are left out.

    Raises:
        FileNotFoundError, NotADirectoryError: no such folder. ValueError: there is no picture in it.

    Example:
        >>> import camwidgets
        >>> samples = Path(camwidgets.__file__).parent / "datasets" / "samples"
        >>> read_folders(samples)
        samples: 4 pictures, no labels, no boxes, no masks (a folder of pictures)
    """
    root = existing_folder(folder)
    loose = sorted(path for path in root.iterdir() if is_picture(path.name) and path.is_file())
    classes = folders_in(root)
    entries = [_entry(path, root, one.name) for one, paths in pictures_of(classes, root) for path in paths]
    if not entries and not loose:
        raise ValueError(f"{str(root)!r} holds no pictures: neither class folders with pictures nor pictures")
    kind = "class folders" if entries else "a folder of pictures"
    if entries and loose:
        kind += f"; {len(loose)} pictures lie in none and have no label"
    entries += [_entry(path, root, None) for path in loose]
    names = sorted({str(one.label) for one in entries if one.label is not None})
    return Items(name or root.resolve().name, entries, classes=names, found=kind)


def _entry(path: Path, root: Path, label: Label) -> Item:
    return Item(relative(path, root), label, (), None, PictureFile(path))


# ---------------------------------------------------------------------------------------------------- ImageNet


def wnid_folders(folder: Path) -> list[Path]:
    """The class folders of ImageNet in a folder: those named n and eight digits; [] if other folders are among them."""
    found = folders_in(folder) if folder.is_dir() else []
    return found if found and all(WNID.fullmatch(one.name) for one in found) else []


def read_imagenet(
    folder: str | os.PathLike[str],
    split: str = "val",
    mapping: str | os.PathLike[str] | None = None,
    annotations: str | os.PathLike[str] | None = None,
    name: str = "",
) -> Items:
    """ImageNet's layout: `val/n01440764/….JPEG`, or flat `val/….JPEG` with annotations, as the contest hands it out.

    Labels are class indices, from a mapping (`LOC_synset_mapping.txt`, `imagenet_class_index.json` or
    `synset_words.txt` beside the pictures or above); without one, and with all 1000 class folders, the sorted folders
    are the classes 0 … 999, which is how ImageNet's are numbered; else the labels are the WordNet ids themselves.

    Args:
        folder: the part itself, or the folder that holds `split`. mapping: the mapping's file; None = looked for.
        annotations: folder of the XML files with boxes; None = `Annotations/CLS-LOC/<split>` where it lies beside Data.
    Raises:
        FileNotFoundError: no such folder. ValueError: no picture, or neither class folders nor annotations.
    """
    root = existing_folder(folder)
    part = next((one for one in _parts(root, split) if one.is_dir()), root)
    index = _mapping(part, mapping)
    boxes = _annotations(part, annotations)
    classes = wnid_folders(part)
    if not index and len(classes) == 1000:
        index = {one.name: i for i, one in enumerate(classes)}
    entries = []
    for path in pictures_below(part):
        entries.append(_imagenet_item(path, part, index, boxes))
    if not entries:
        raise ValueError(f"{str(part)!r} holds no pictures")
    if not classes and boxes is None:
        raise ValueError(f"{str(part)!r} has neither class folders (n01440764 …) nor annotations: name their folder")
    found = f"ImageNet layout; labels are {'class indices' if index else 'WordNet ids'}"
    return Items(name or f"{root.resolve().name}{'' if part == root else '/' + split}", entries, found=found)


def _parts(root: Path, split: str) -> list[Path]:
    return [root / split, root / "Data" / "CLS-LOC" / split, root / "ILSVRC" / "Data" / "CLS-LOC" / split]


def _imagenet_item(path: Path, part: Path, index: Mapping[str, int], annotations: Path | None) -> Item:
    key, wnid = relative(path, part), path.parent.name if path.parent != part else None
    truth = Annotated()
    if annotations is not None:
        file = next((one for one in _xml_files(path, wnid, annotations) if one.is_file()), None)
        try:
            truth = read_annotation(file, base=0) if file else truth
        except (ValueError, OSError) as error:
            return Item(key, None, (), None, PictureFile(path), problem=str(error))
        # A picture of the contest has one class; where its folder does not tell, its annotation does.
        wnid = wnid or next(iter(truth.objects), (None,))[0]
    found = tuple(box for name, box in truth.objects if name == wnid)
    label = None if wnid is None else index.get(wnid, wnid)
    return Item(key, label, found, truth.size, PictureFile(path), problem=truth.problem)


def _xml_files(path: Path, wnid: str | None, annotations: Path) -> list[Path]:
    return [annotations / (wnid or "") / f"{path.stem}.xml", annotations / f"{path.stem}.xml"]


def _annotations(part: Path, given: str | os.PathLike[str] | None) -> Path | None:
    if given is not None:
        return existing_folder(given)
    above = part.resolve().parent
    guesses = [above.parent.parent / "Annotations" / "CLS-LOC" / part.name, above / "Annotations" / part.name]
    return next((one for one in guesses if one.is_dir()), None)


def _mapping(part: Path, given: str | os.PathLike[str] | None) -> dict[str, int]:
    """WordNet id → class index; {} if there is no mapping."""
    if given is not None:
        return _read_mapping(Path(given).expanduser())
    places = [part, *part.resolve().parents[:4]]
    found = (place / name for place in places for name in MAPPINGS)
    return next((_read_mapping(one) for one in found if one.is_file()), {})


def _read_mapping(file: Path) -> dict[str, int]:
    """Lines `n01440764 tench, …` in the order of the classes, or JSON {"0": ["n01440764", "tench"], …}."""
    try:
        text = file.read_text(encoding="utf-8-sig")
        if file.suffix.lower() == ".json":
            found = {str(value[0]): int(key) for key, value in json.loads(text).items()}
        else:
            found = {line.split()[0]: i for i, line in enumerate(text.splitlines()) if line.strip()}
    except (ValueError, AttributeError, IndexError, TypeError, RecursionError) as error:
        raise ValueError(f"{file.name!r} is no table of ImageNet's classes: {error}") from error
    if not found or not all(WNID.fullmatch(one) for one in found):
        raise ValueError(f"{file.name!r} is no table of ImageNet's classes: WordNet ids such as n01440764 are needed")
    return found
