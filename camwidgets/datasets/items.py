"""What a data set is to an evaluation: items that know label, boxes and mask, and open their picture when asked."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, overload

import numpy as np

from ..images import Picture
from .checks import check_integer
from .sources import MaskSource as MaskSource
from .sources import PictureFile as PictureFile
from .sources import Source as Source

Label: TypeAlias = "int | str | None"
Box = tuple[float, float, float, float]
Size = tuple[int, int]
SLACK = 0.01  # boxes may reach this share of a side (2 px at least) over the edge: annotators round


@dataclass(frozen=True)
class Item:
    """One picture with one label, and where in the picture that label is.

    Attributes:
        id: its name in its data set, the same each time the data set is read (usually the file's relative path).
        label: class index, class name, or None when nothing is known.
        boxes: (x0, y0, x1, y1) of the label's objects in pixels of the original, upright picture; x1, y1 exclusive.
        size: (h, w) of the original if the data set says so, else None.
        source: where the picture comes from. drawn: where the mask comes from, or None.
        problem: what is wrong with the entry ("index.csv line 7: …"); raised by `open`. "" = nothing.
        extra: what else the data set says (further columns of a CSV), by name.

    Example:
        >>> import camwidgets
        >>> from pathlib import Path
        >>> from camwidgets.datasets.sources import PictureFile
        >>> folder = Path(camwidgets.__file__).parent / "datasets" / "samples"
        >>> item = Item("cat.jpg", "tiger cat", ((60, 20, 300, 290),), None, PictureFile(folder / "cat.jpg"))
        >>> item.open().mode, item.mask() is None, len(item.hash())
        ('RGB', True, 64)
    """

    id: str
    label: Label
    boxes: tuple[Box, ...]
    size: Size | None
    source: Source
    drawn: MaskSource | None = None
    problem: str = ""
    extra: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def open(self) -> Picture:
        """The picture, RGB and upright.

        Raises:
            ValueError: the entry or the picture is bad, the picture is not of the size that the data set says, or a
                box lies outside it.
            OSError: the picture is not there.
        """
        if self.problem:
            raise ValueError(self.problem)
        picture = self.source.open()
        found = (picture.height, picture.width)
        if self.size not in (None, found):
            said = f"{self.size[1]}×{self.size[0]}" if self.size else ""
            raise ValueError(f"{self.id} has {found[1]}×{found[0]} pixels, but its data set says {said}")
        for box in self.boxes:
            if wrong := box_problem(box, found):
                raise ValueError(f"{self.id}: {wrong}")
        return picture

    def mask(self) -> np.ndarray | None:
        """H×W bool at the original's size: the label's pixels; None if the data set has none.

        Raises:
            ValueError: the entry or the mask is bad, or the mask has not the size of the picture.
            OSError: the mask is not there.
        """
        return self.mask_at(self.size)

    def mask_at(self, size: Size | None) -> np.ndarray | None:
        """`mask()` for a picture that is known to be of that (h, w); it is opened only if that is None."""
        if self.problem:
            raise ValueError(self.problem)
        if self.drawn is None:
            return None
        mask = self.drawn.read()
        width, height = self.open().size if size is None else size[::-1]
        if mask.shape != (height, width):
            raise ValueError(
                f"the mask of {self.id} has {mask.shape[1]}×{mask.shape[0]} pixels, the picture {width}×{height}"
            )
        return mask

    def parts(self) -> dict[str, np.ndarray]:
        """Name → H×W bool of the object's parts (the toy world's); empty elsewhere."""
        return self.source.parts()

    def context(self) -> dict[str, np.ndarray]:
        """Name → H×W bool of the surroundings (the toy world's); empty elsewhere."""
        return self.source.context()

    def hash(self) -> str:
        """SHA-256 of the picture file's bytes (of a painted picture: its pixels), 64 hexadecimal digits."""
        return self.source.hash()


def box_problem(box: Sequence[float], size: Size | None) -> str:
    """What is wrong with a box in a picture of that size (None: not known), or "".

    Example:
        >>> box_problem((4, 0, 2, 8), None)
        'box 4 0 2 8 is empty: x0 < x1 and y0 < y1 are needed'
    """
    shown = " ".join(f"{value:g}" for value in box)
    if len(box) != 4 or not all(map(math.isfinite, box)):
        return f"box {shown} is not four numbers x0 y0 x1 y1"
    if box[0] >= box[2] or box[1] >= box[3]:
        return f"box {shown} is empty: x0 < x1 and y0 < y1 are needed"
    if size is None:
        return ""
    height, width = size
    slack_x, slack_y = max(2.0, SLACK * width), max(2.0, SLACK * height)
    inside = box[0] >= -slack_x and box[1] >= -slack_y and box[2] <= width + slack_x and box[3] <= height + slack_y
    if inside and box[0] < width and box[1] < height and box[2] > 0 and box[3] > 0:
        return ""
    return f"box {shown} reaches out of the picture of {width}×{height} pixels"


class Items(Sequence[Item]):
    """A data set: items in a fixed order. Listing it opens no picture; what is bad is told by `Item.open`.

    Attributes:
        name: what it is called in tables. found: what was found, in words. origin: where it comes from, plain values
            ("source", and "options" if there were any, as `open_dataset` takes them); {} if it was made in memory.
        has_boxes, has_masks: whether any item has them.
        labels: the class names, sorted; None if labels are class indices, or there are none.
        classes: the class names in the order of their numbers, where the source numbers them; None where it does not.

    Raises:
        ValueError: there is no item, or two have one id.

    Example:
        >>> from pathlib import Path
        >>> from camwidgets.datasets.sources import PictureFile
        >>> items = Items("two", [Item(n, n, (), None, PictureFile(Path(f"{n}.jpg"))) for n in ("cat", "rocket")])
        >>> items
        two: 2 pictures, 2 classes, no boxes, no masks
        >>> items[:1].labels, [item.id for item in items.limit(1, seed=0)]
        (['cat', 'rocket'], ['cat'])
    """

    def __init__(
        self,
        name: str,
        entries: Sequence[Item],
        *,
        labels: Sequence[str] | None = None,
        classes: Sequence[str] | None = None,
        has_boxes: bool | None = None,
        has_masks: bool | None = None,
        found: str = "",
        order: Sequence[int] | None = None,
    ) -> None:
        self.name, self.found = name, found
        self.origin: dict[str, Any] = {}
        self._entries = entries
        self._order: Sequence[int] = range(len(entries)) if order is None else order
        if not len(entries):
            raise ValueError(f"{name} has no pictures")
        if isinstance(entries, list):
            _check_ids(name, entries)
        self.has_boxes = any(one.boxes for one in entries) if has_boxes is None else has_boxes
        self.has_masks = any(one.drawn is not None for one in entries) if has_masks is None else has_masks
        if labels is None and isinstance(entries, list):
            labels = sorted({one.label for one in entries if isinstance(one.label, str)})
        self.labels: list[str] | None = sorted(labels) if labels else None
        self.classes = tuple(classes) if classes else None
        self._to: dict[Label, Label] = {}

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Items: ...
    def __getitem__(self, index: int | slice) -> Item | Items:
        if isinstance(index, slice):
            return self._taken(self._order[index])
        if not -len(self) <= index < len(self):
            raise IndexError(f"picture {index} is outside {self.name}, which has {len(self)}")
        return self._entry(self._order[index])

    def __iter__(self) -> Iterator[Item]:
        return (self._entry(place) for place in self._order)

    def _entry(self, place: int) -> Item:
        item = self._entries[place]
        return replace(item, label=self._to[item.label]) if item.label in self._to else item

    def __repr__(self) -> str:
        known = {self.label_of(i) for i in range(len(self))} - {None}
        classes = f"{len(known)} class{'es' * (len(known) != 1)}" if known else "no labels"
        boxes, masks = ("" if self.has_boxes else "no "), ("" if self.has_masks else "no ")
        text = f"{self.name}: {len(self)} picture{'s' * (len(self) != 1)}, {classes}, {boxes}boxes, {masks}masks"
        return f"{text} ({self.found})" if self.found else text

    def label_of(self, index: int) -> Label:
        """The label of one item; where items are made when asked for (painted worlds), without making it."""
        place = self._order[index]
        label = getattr(self._entries, "label_of", None)
        found: Label = label(place) if label else self._entries[place].label
        return self._to.get(found, found)

    def at(self, places: Sequence[int]) -> Items:
        """The items at these places, in this order."""
        return self._taken([self._order[i] for i in places])

    def where(self, keep: Callable[[Item], bool]) -> Items:
        """The items for which `keep(item)` is true, in order: `items.where(lambda item: item.label == "crack")`."""
        return self._taken([place for place in self._order if keep(self._entry(place))])

    def relabelled(self, to: Mapping[Label, Label]) -> Items:
        """The same items with other labels, as `match_labels` finds them; labels that are not in `to` stay.

        Example:
            >>> from camwidgets.datasets.sources import Source
            >>> items = Items("one", [Item("1", "cat", (), None, Source())])
            >>> items.relabelled({"cat": 281})[0].label, items[0].label
            (281, 'cat')
        """
        part = self._taken(self._order)
        part._to = {**to, **{old: to.get(new, new) for old, new in self._to.items()}}
        names = {to.get(one, one) for one in self.labels or ()}
        part.labels = sorted(one for one in names if isinstance(one, str)) or None
        return part

    def limit(self, n: int, seed: int = 0) -> Items:
        """n items drawn by chance (seeded), as many of each class as can be, in the data set's order; all if n ≥ len.

        Raises:
            TypeError, ValueError: n is not a whole number ≥ 1.
        """
        check_integer("n", n, 1)
        if n >= len(self):
            return self
        random = np.random.default_rng(seed)
        piles: dict[Label, list[int]] = defaultdict(list)
        for i in random.permutation(len(self)).tolist():
            piles[self.label_of(i)].append(i)
        left = list(piles.values())
        chosen: list[int] = []
        while len(chosen) < n:
            # One of each class a round, in an order drawn anew: the last, incomplete round prefers none.
            order = random.permutation(len(left)).tolist()
            chosen += [left[k].pop() for k in order]
            left = [pile for pile in left if pile]
        return self._taken([self._order[i] for i in sorted(chosen[:n])])

    def _taken(self, order: Sequence[int]) -> Items:
        part = object.__new__(Items)
        part.__dict__.update(self.__dict__)
        part._order = order
        return part


def _check_ids(name: str, entries: Sequence[Item]) -> None:
    seen: set[str] = set()
    for one in entries:
        if one.id in seen:
            raise ValueError(f"{name} has two pictures with the id {one.id!r}; an id must name one picture")
        seen.add(one.id)
