"""What an accumulator keeps: of which pictures and classes, of what size, by which rule and how precisely."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from ..datasets.checks import check_integer
from ..errors import choose, unknown
from ..files import read_arrays, read_json, write_arrays, write_json

SCHEMA = 1
RULES = ("max", "mean")
# What a value is kept as. The mean keeps exact sums, so that it cannot drift: see `AttentionAccumulator`.
KEPT: dict[tuple[str, str], np.dtype[Any]] = {
    ("max", "float16"): np.dtype("<f2"), ("max", "uint8"): np.dtype("u1"),
    ("mean", "float16"): np.dtype("<f4"), ("mean", "uint8"): np.dtype("<u4"),
}  # fmt: skip
DTYPES = ("float16", "uint8")
MOST_SIDE = 4096
MOST_CLASSES = 100_000


class Layout:
    """What maps are kept: of which samples and classes, of what size, by which rule and how precisely.

    Attributes:
        mark: drawn when it is made and written with it: which accumulator this is, among others of the same layout.

    Raises:
        TypeError, ValueError: anything of it is not as it must be.
    """

    def __init__(
        self, ids: Sequence[str], classes: Sequence[str] | int, size: tuple[int, int], rule: str, dtype: str,
        mark: str | None = None,
    ) -> None:  # fmt: skip
        self.mark = uuid4().hex if mark is None else mark
        self.ids = tuple(ids)
        self.classes = tuple(f"class {i}" for i in range(classes)) if isinstance(classes, int) else tuple(classes)
        self.rule, self.dtype = choose("rule", rule, RULES), choose("dtype", dtype, DTYPES)
        if isinstance(ids, str) or not self.ids or not all(isinstance(one, str) for one in self.ids):
            raise TypeError("ids must be a non-empty list of texts, one for each picture")
        if not 1 <= len(self.classes) <= MOST_CLASSES or not all(isinstance(one, str) for one in self.classes):
            raise ValueError(f"classes must be 1 … {MOST_CLASSES} names, or their number")
        if not isinstance(size, (tuple, list)) or len(size) != 2:
            raise ValueError(f"size is (h, w) of the maps; got {size!r}")
        for side in size:
            check_integer("size", side, 1)
            if side > MOST_SIDE:
                raise ValueError(f"size must lie between 1 and {MOST_SIDE}, not {side}")
        self.size = (int(size[0]), int(size[1]))
        self.places = {id: n for n, id in enumerate(self.ids)}
        if len(self.places) < len(self.ids):
            twice = next(one for n, one in enumerate(self.ids) if self.places[one] != n)
            raise ValueError(f"the id {twice!r} is there twice; an id must name one picture")

    @property
    def kept(self) -> np.dtype[Any]:
        return KEPT[self.rule, self.dtype]

    @property
    def bytes_each(self) -> int:
        """Of one map."""
        return self.size[0] * self.size[1] * self.kept.itemsize

    def place(self, id: str) -> int:
        if id not in self.places:
            raise unknown("picture", id, list(self.ids[:5000]))
        return self.places[id]

    def channel(self, cls: int | str) -> int:
        if isinstance(cls, str):
            return self.classes.index(choose("class", cls, self.classes))
        check_integer("a class", cls, 0)
        if cls >= len(self.classes):
            raise ValueError(f"class {cls} is out of range: there are classes 0 … {len(self.classes) - 1}")
        return int(cls)

    def write(self, folder: Path) -> None:
        write_arrays(folder / "samples.npz", {"ids": np.array(self.ids, dtype=str)})
        about = {"rule": self.rule, "dtype": self.dtype, "size": list(self.size), "classes": list(self.classes)}
        write_json(folder / "accumulator.json", {"schema": SCHEMA, "mark": self.mark, **about})

    @staticmethod
    def read(folder: Path) -> Layout:
        """ValueError for anything that an accumulator did not write."""
        about = read_json(folder / "accumulator.json")
        if about.get("schema") != SCHEMA:
            raise ValueError(f"{str(folder)!r} is of schema {about.get('schema')!r}; this version reads {SCHEMA}")
        arrays = read_arrays(folder / "samples.npz", ("ids",))
        ids = arrays.get("ids", np.zeros(0))
        if ids.ndim != 1 or ids.dtype.kind != "U" or not isinstance(about.get("classes"), list):
            raise ValueError(f"{str(folder)!r} is damaged: it does not say which pictures and classes it is of")
        try:
            given = {name: about[name] for name in ("classes", "size", "rule", "dtype")}
            return Layout([str(one) for one in ids], **given, mark=str(about.get("mark", "")))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{str(folder)!r} is damaged: {error}") from error

    def differences(self, other: Layout) -> list[str]:
        """What is not the same in the other, in words."""
        found = []
        for name in ("rule", "dtype", "size", "classes"):
            one, two = getattr(self, name), getattr(other, name)
            if one != two:
                found.append(f"its {name} {'are' if name == 'classes' else 'is'} {one!r:.80}, not {two!r:.80}")
        if self.ids != other.ids:
            place = next((n for n, (a, b) in enumerate(zip(self.ids, other.ids, strict=False)) if a != b), None)
            where = f", the first that differs is {self.ids[place]!r}" if place is not None else ""
            found.append(f"it is of {len(self.ids)} other pictures{where}" if set(self.ids) != set(other.ids) else "")
        return [one for one in found if one]
