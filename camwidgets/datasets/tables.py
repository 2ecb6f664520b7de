"""A CSV with one picture, or one box, a row."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..errors import unknown
from .items import Box, Item, Items, Label, Size, box_problem
from .masks import MaskFile
from .paths import inside
from .sources import MaskSource, PictureFile, Source

# Column names that are understood, the surest first; case, blanks, - and _ do not count.
FILES = ("file", "filename", "filepath", "path", "imagepath", "imagefile", "image", "picture", "img", "imageid")
CLASSES = ("imagenetclassindex", "classindex", "classid", "label", "class", "classname", "labelname", "category",
           "target", "wnid")  # fmt: skip
BOXES = ("allboxes", "boxes", "bboxes", "bbox", "box")
CORNERS = (("x0", "y0", "x1", "y1"), ("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"),
           ("left", "top", "right", "bottom"))  # fmt: skip
MASKS = ("mask", "maskfile", "maskpath", "segmentation")
EXTENTS = (("x", "y", "w", "h"), ("x", "y", "width", "height"), ("left", "top", "width", "height"),
           ("xmin", "ymin", "width", "height"), ("bboxx", "bboxy", "bboxwidth", "bboxheight"))  # fmt: skip
SIZES = (("imageheight", "imagewidth"), ("height", "width"), ("h", "w"))


@dataclass(frozen=True)
class Columns:
    """Which column says what; "" or () = none does. `boxes`: one column of lists, or four of x0, y0, x1, y1 (`extent`:
    of x, y, width, height)."""

    file: str
    label: str = ""
    boxes: tuple[str, ...] = ()
    mask: str = ""
    size: tuple[str, ...] = ()
    extent: bool = False

    @property
    def used(self) -> set[str]:
        return {self.file, self.label, self.mask, *self.boxes, *self.size}

    def __str__(self) -> str:
        parts = {"picture": self.file, "class": self.label, "boxes": " ".join(self.boxes), "mask": self.mask}
        return ", ".join(f"{what} from {column!r}" for what, column in parts.items() if column)


@dataclass(frozen=True)
class Entry:
    """What the rows of one picture and class say together."""

    file: str
    label: Label
    line: int
    path: Path | None = None
    boxes: tuple[Box, ...] = ()
    masks: tuple[Path, ...] = ()
    size: Size | None = None
    problem: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Union(MaskSource):
    """Several mask files of one picture as one mask."""

    files: tuple[MaskFile, ...]

    def read(self) -> np.ndarray:
        found = [one.read() for one in self.files]
        if len({one.shape for one in found}) > 1:
            raise ValueError(f"the masks {', '.join(one.path.name for one in self.files)} have different sizes")
        return np.asarray(np.logical_or.reduce(found))


def read_table(
    source: str | os.PathLike[str],
    file: str | None = None,
    label: str | None = None,
    boxes: str | Sequence[str] | None = None,
    masks: str | os.PathLike[str] | None = None,
    images: str | os.PathLike[str] | None = None,
    name: str = "",
) -> Items:
    """A CSV (comma, semicolon or tab; UTF-8) with a header and a row a picture, or a row a box.

    Rows of one picture and class become one item; a picture with several classes becomes one item each
    (`a.jpg#cat`). Columns are recognised by usual names (file, label, x0 …) or named here. Labels that are all whole
    numbers are class indices. Boxes are x0, y0, x1, y1 in pixels, in four columns (or x, y, width, height where columns
    of these names stand together), or in one: `x0 y0 x1 y1` joined by `;`. Further columns are in `Item.extra`.

    Args:
        source: the CSV, or a folder with an index.csv. file, label: names of columns. boxes: name of the column of
            lists, or of the four columns. masks: name of the column of mask files, or a folder of masks (PNG) named as
            the pictures.
        images: the folder that file names start from; None = the CSV's.
    Raises:
        FileNotFoundError: no such file. ValueError: it is no CSV, has no rows, or lacks a column.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "index.csv").write_text("file,label,box\\na.jpg,cat,1 2 30 40\\na.jpg,cat,50 2 90 40\\n")
        >>> read_table(folder, name="mine")
        mine: 1 picture, 1 class, boxes, no masks (CSV: picture from 'file', class from 'label', boxes from 'box')
    """
    path = Path(source).expanduser()
    path = path / "index.csv" if path.is_dir() else path
    header, rows = _rows(path)
    named = isinstance(masks, str) and masks in header
    columns = _columns(path.name, header, file, label, boxes, str(masks) if named else None)
    root = path.parent if images is None else Path(images).expanduser()
    whole = bool(columns.label) and all(_is_whole(row.get(columns.label) or "0") for _, row in rows)
    folder = None if masks is None or named else Path(masks).expanduser()
    entries = [_entry(path, root, line, row, columns, whole) for line, row in rows]
    merged = _merged(entries)
    times = Counter(one.file for one in merged)
    items = [_item(one, times[one.file] > 1, root, folder) for one in merged]
    return Items(name or _name(path), items, found=f"CSV: {columns}")


def _name(path: Path) -> str:
    return path.resolve().parent.name if path.name == "index.csv" else path.stem


def _rows(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The header, and (line, row) for each row that is not empty."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no table at {str(path)!r}")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            reader = csv.DictReader(file, delimiter=max(",;\t", key=first.count), restval="")
            header = [str(one).strip() for one in reader.fieldnames or ()]
            reader.fieldnames = header
            rows = [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path.name!r} is no CSV in UTF-8: {error}") from error
    if not rows:
        raise ValueError(f"{path.name!r} has no rows" + (f" under its header {', '.join(header)}" if header else ""))
    return header, rows


def _columns(
    table: str, header: Sequence[str], file: str | None, label: str | None, boxes: str | Sequence[str] | None,
    mask: str | None,
) -> Columns:  # fmt: skip
    plain = {one.lower().replace("_", "").replace(" ", "").replace("-", ""): one for one in reversed(header)}

    def find(given: str | None, known: Sequence[str]) -> str:
        if given is not None:
            if given not in header:
                raise unknown(f"column of {table}", given, header)
            return given
        return next((plain[one] for one in known if one in plain), "")

    picture = find(file, FILES)
    if not picture:
        raise ValueError(f"{table!r} has no column of pictures that is recognised; it has {', '.join(header)}: name it "
                         f"with file='…'")  # fmt: skip
    extent = False
    if boxes is None:
        corners = next((four for four in CORNERS if all(one in plain for one in four)), ())
        lists = find(None, BOXES)
        sides = next((four for four in EXTENTS if all(one in plain for one in four)), ())
        extent = bool(sides) and not lists and not corners
        found = (lists,) if lists else tuple(plain[one] for one in corners or sides)
    else:
        found = tuple(find(one, ()) for one in ([boxes] if isinstance(boxes, str) else boxes))
        if len(found) not in (1, 4):
            raise ValueError(f"boxes are in one column or in four (x0, y0, x1, y1); got {len(found)} columns")
    free = {name: column for name, column in plain.items() if column not in found}
    size = next((two for two in SIZES if all(one in free for one in two)), ())
    named = find(label, CLASSES), found, find(mask, MASKS)
    return Columns(picture, *named, tuple(free[one] for one in size), extent)


def _is_whole(text: str) -> bool:
    return text.strip().isdecimal() and text.strip().isascii()


def _entry(path: Path, root: Path, line: int, row: dict[str, str], columns: Columns, whole: bool) -> Entry:
    where = f"{path.name} line {line}"
    text = (row.get(columns.label) or "").strip()
    label: Label = (int(text) if whole else text) if text else None
    extra = {key: value for key, value in row.items() if isinstance(key, str) and key not in columns.used}
    try:
        picture = inside(root, row[columns.file] or "", where)
    except ValueError as error:
        return Entry(f"line {line}", label, line, problem=str(error), extra=extra)
    entry = Entry(picture.relative_to(root).as_posix(), label, line, picture, extra=extra)
    try:
        mask = (row.get(columns.mask) or "").strip()
        return replace(
            entry,
            size=_size(row, columns),
            boxes=_boxes(row, columns, _size(row, columns)),
            masks=(inside(path.parent, mask, where),) if mask else (),
        )
    except ValueError as error:
        told = str(error)
        return replace(entry, problem=told if told.startswith(where) else f"{where}: {told}")


def _size(row: Mapping[str, str], columns: Columns) -> Size | None:
    texts = [(row.get(one) or "").strip() for one in columns.size]
    if not texts or not all(texts):
        return None
    height, width = (float(one) for one in texts)
    if not (height >= 1 and width >= 1 and height.is_integer() and width.is_integer()):
        raise ValueError(f"the picture's size is given as {texts[1]}×{texts[0]}")
    return int(height), int(width)


def _boxes(row: Mapping[str, str], columns: Columns, size: Size | None) -> tuple[Box, ...]:
    """The boxes of one row; none if its cells are empty."""
    texts = [(row.get(one) or "").strip() for one in columns.boxes]
    if not any(texts):
        return ()
    if len(texts) == 1:
        texts = texts[0].translate(str.maketrans("[](),;|", "       ")).split()
    try:
        values = [float(one) for one in texts]
    except ValueError:
        raise ValueError(f"a box is four numbers x0 y0 x1 y1; got {' '.join(texts)!r:.60}") from None
    if len(values) % 4:
        raise ValueError(f"boxes are four numbers each, x0 y0 x1 y1; got {len(values)} numbers")
    found = []
    for i in range(0, len(values), 4):
        x, y, right, below = values[i : i + 4]
        box = (x, y, x + right, y + below) if columns.extent else (x, y, right, below)
        wrong = box_problem(box, size)
        if not wrong and max(box) <= 1:
            wrong = f"box {' '.join(texts[i : i + 4])} lies within one pixel; boxes are in pixels, not in shares"
        if wrong:
            raise ValueError(wrong)
        found.append(box)
    return tuple(found)


def _merged(entries: Sequence[Entry]) -> list[Entry]:
    """Rows of one picture and class together; what is wrong with one of them is wrong with the picture."""
    found: dict[tuple[str, Label], Entry] = {}
    for one in entries:
        key = one.file, one.label
        if key in found:
            first = found[key]
            one = replace(
                first,
                boxes=tuple(dict.fromkeys(first.boxes + one.boxes)),
                masks=tuple(dict.fromkeys(first.masks + one.masks)),
                problem=first.problem or one.problem,
            )
        found[key] = one
    return list(found.values())


def _item(one: Entry, several: bool, root: Path, folder: Path | None) -> Item:
    source: Source = PictureFile(one.path or root)
    masks = list(one.masks)
    if folder is not None and one.path is not None:
        same = folder / Path(one.file).with_suffix(".png").name
        masks += [same] if same.is_file() else []
    drawn: MaskSource | None = MaskFile(masks[0]) if len(masks) == 1 else None
    if len(masks) > 1:
        drawn = Union(tuple(map(MaskFile, masks)))
    key = f"{one.file}#{one.label}" if several else one.file
    return Item(key, one.label, one.boxes, one.size, source, drawn, one.problem, one.extra)
