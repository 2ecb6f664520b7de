"""Pictures with the classes that are in them: what a training sees of a data set, whatever it was made from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, overload

import numpy as np
import torch
from torch import Tensor

from ..datasets.checks import check_integer

if TYPE_CHECKING:
    from ..datasets import Items
    from ..datasets.textures import TextureWorld
    from ..datasets.toyworld import ToyWorld

    Source = ToyWorld | TextureWorld | Items | str | Any

Size = tuple[int, int]
UNKNOWN = 255  # in a mask: nobody says what this pixel is
MOST_CLASSES = 254  # with masks, whose 8 bits hold 0 (background), the classes and 255 (unknown)


@dataclass(frozen=True, eq=False)
class Example:
    """One picture and what is known about it.

    Attributes:
        id: its name in its data set, the same each time the data set is read.
        picture: 3×H×W uint8, RGB.
        present: (C,) bool, which classes are in it.
        mask: H×W uint8: 0 background, c + 1 class c, 255 unknown; None if there is none.
    """

    id: str
    picture: Tensor = field(repr=False)
    present: Tensor
    mask: Tensor | None = field(default=None, repr=False)


class Entries(Protocol):
    """Where a `Labelled`'s examples come from; small enough to be sent to a worker, except when painted."""

    name: str
    classes: tuple[str, ...]
    size: Size
    multi_label: bool
    has_masks: bool
    parameters: str  # what, beside ids and labels, decides how the pictures look

    def __len__(self) -> int: ...
    def id(self, place: int) -> str: ...
    def present(self, place: int) -> Tensor: ...
    def label_text(self, place: int) -> str: ...  # for the key; "" where `parameters` decide the labels
    def read(self, place: int) -> Example: ...


class Labelled(Sequence[Example]):
    """A data set for training: examples in a fixed order, all of one size. `open_labelled` makes them.

    Attributes:
        name: what it is called in tables. classes: their names; index = channel of a network.
        size: (H, W) of every picture.
        multi_label: an example may hold none or several of the classes, each of which is a question of its own;
            False: every example holds exactly one.
        has_masks: whether any example has a mask.

    Example:
        >>> from camwidgets.datasets.toyworld import ToyWorld
        >>> data = open_labelled(ToyWorld(seed=0, n=4, objects=(2, 3)))
        >>> data
        toyworld seed 0: 4 pictures of 96×96, 10 classes (several in one picture), masks
        >>> example = data[0]
        >>> example.picture.shape, int(example.present.sum()) in (2, 3), example.mask.dtype
        (torch.Size([3, 96, 96]), True, torch.uint8)
    """

    def __init__(self, entries: Entries, order: Sequence[int] | None = None) -> None:
        self._entries = entries
        self._order: Sequence[int] = range(len(entries)) if order is None else order
        self.name, self.classes, self.size = entries.name, entries.classes, entries.size
        self.multi_label, self.has_masks = entries.multi_label, entries.has_masks
        if not len(self._order):
            raise ValueError(f"{self.name} has no pictures")
        if self.has_masks and len(self.classes) > MOST_CLASSES:
            raise ValueError(
                f"masks number their classes with 8 bits, {MOST_CLASSES} at most; {self.name} has {len(self.classes)}: "
                "name those you want with classes=[…]"
            )

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Labelled: ...
    def __getitem__(self, index: int | slice) -> Example | Labelled:
        if isinstance(index, slice):
            return Labelled(self._entries, self._order[index])
        if not -len(self) <= index < len(self):
            raise IndexError(f"picture {index} is outside {self.name}, which has {len(self)}")
        return self._entries.read(self._order[index])

    def __iter__(self) -> Iterator[Example]:
        return (self._entries.read(place) for place in self._order)

    def __repr__(self) -> str:
        n, c = len(self), len(self.classes)
        how = "none or several in one picture" if c == 1 or not self._always() else "several in one picture"
        how = how if self.multi_label else "one in each picture"
        return (
            f"{self.name}: {n} picture{'s' * (n != 1)} of {self.size[1]}×{self.size[0]}, {c} "
            f"class{'es' * (c != 1)} ({how}), {'' if self.has_masks else 'no '}masks"
        )

    def _always(self) -> bool:
        """Whether it is known without opening anything that every example holds a class."""
        return bool(getattr(self._entries, "always_positive", False))

    @property
    def ids(self) -> list[str]:
        """The examples' ids, in order."""
        return [self._entries.id(place) for place in self._order]

    @property
    def key(self) -> str:
        """16 hexadecimal digits that say whether two trainings saw the same data: a hash of name, classes, size, ids,
        labels and, for painted worlds, of their parameters (which decide the labels). Pictures are not read.
        """
        digest = hashlib.sha256(repr((self.name, self.classes, self.size, self._entries.parameters)).encode())
        for place in self._order:
            digest.update(f"{self._entries.id(place)}\0{self._entries.label_text(place)}\n".encode())
        return digest.hexdigest()[:16]

    def take(self, indices: Sequence[int]) -> Labelled:
        """The examples at these places, in this order.

        Raises:
            IndexError: a place outside the data set. ValueError: no place.
        """
        for index in indices:
            if not -len(self) <= index < len(self):
                raise IndexError(f"picture {index} is outside {self.name}, which has {len(self)}")
        return Labelled(self._entries, [self._order[i] for i in indices])

    def limit(self, n: int, seed: int = 0) -> Labelled:
        """n examples drawn by chance (seeded), in the data set's order; all if n ≥ len.

        Raises:
            TypeError, ValueError: n is not a whole number ≥ 1.
        """
        check_integer("n", n, 1)
        if n >= len(self):
            return self
        chosen = np.random.default_rng(seed).choice(len(self), n, replace=False)
        return self.take(sorted(chosen.tolist()))

    def painted(self, budget_bytes: int = 2**31, progress: Callable[[int, int], None] | None = None) -> Labelled:
        """The same with everything in memory: each picture is painted or decoded once, now.

        Args:
            budget_bytes: how much memory it may take.
            progress: called with (done, all) after each picture.
        Raises:
            ValueError: it does not fit; the sentence has the sizes.
        """
        height, width = self.size
        needed = len(self) * height * width * (4 if self.has_masks else 3)
        if needed > budget_bytes:
            raise ValueError(
                f"{self.name}: {len(self)} pictures of {width}×{height} take {needed / 2**20:.0f} MiB, more than the "
                f"budget of {budget_bytes / 2**20:.0f} MiB; take fewer (limit), make them smaller (size=) or leave "
                "them where they are"
            )
        return Labelled(InMemory(self, progress))

    def need_multi_label(self) -> None:
        """Raise `ValueError` if every example holds exactly one class."""
        if not self.multi_label:
            raise ValueError(
                f"{self.name} holds exactly one class in each picture, but several labels a picture are needed; give a "
                "set of such (ToyWorld(objects=(1, 3)), Pascal VOC, 0/1 vectors) or choose a single-label loss"
            )

    def need_single_label(self) -> None:
        """Raise `ValueError` if an example may hold none or several classes, or there is one class alone."""
        if self.multi_label:
            raise ValueError(
                f"{self.name} may hold none or several classes in one picture, but exactly one is needed; give a "
                "single-label set (ToyWorld(objects=1), class folders) or choose a multi-label loss"
            )
        if len(self.classes) < 2:
            raise ValueError(
                f"every picture of {self.name} holds its one class, {self.classes[0]}: there is nothing to be told "
                "apart; give a set of two classes or more, or pictures without the class and a multi-label loss"
            )

    def need_masks(self) -> None:
        """Raise `ValueError` if there are no masks."""
        if not self.has_masks:
            raise ValueError(f"{self.name} has no masks, and they are needed; Pascal VOC, COCO and the toy world have")

    def need_positives(self) -> None:
        """Raise `ValueError` with the id of the first example that holds none of the classes."""
        if self._always():
            return
        for place in self._order:
            if not self._entries.present(place).any():
                raise ValueError(
                    f"picture {self._entries.id(place)!r} of {self.name} holds none of the classes "
                    f"({', '.join(self.classes[:5])}{' …' * (len(self.classes) > 5)}), and a positive one is needed"
                )


class InMemory:
    """Entries whose pictures, masks and labels are tensors in memory."""

    def __init__(self, data: Labelled, progress: Callable[[int, int], None] | None = None) -> None:
        source = data._entries
        self.name, self.classes, self.size = source.name, source.classes, source.size
        self.multi_label, self.has_masks = source.multi_label, source.has_masks
        self.parameters = source.parameters
        self.always_positive = data._always()
        self.ids = data.ids
        self._texts = [source.label_text(place) for place in data._order]
        height, width = data.size
        self.pictures = torch.empty((len(data), 3, height, width), dtype=torch.uint8)
        self.labels = torch.zeros((len(data), len(data.classes)), dtype=torch.bool)
        self.masks = torch.zeros((len(data), height, width), dtype=torch.uint8) if self.has_masks else None
        self.masked = torch.zeros(len(data), dtype=torch.bool)
        for i, example in enumerate(data):
            self.pictures[i], self.labels[i] = example.picture, example.present
            if self.masks is not None and example.mask is not None:
                self.masks[i], self.masked[i] = example.mask, True
            if progress is not None:
                progress(i + 1, len(data))

    def __len__(self) -> int:
        return len(self.ids)

    def id(self, place: int) -> str:
        return self.ids[place]

    def present(self, place: int) -> Tensor:
        return self.labels[place]

    def label_text(self, place: int) -> str:
        return self._texts[place]

    def read(self, place: int) -> Example:
        mask = self.masks[place] if self.masks is not None and self.masked[place] else None
        return Example(self.ids[place], self.pictures[place], self.labels[place], mask)


def open_labelled(
    source: Source, classes: Sequence[str] | None = None, size: Size | int | None = None, **options: Any
) -> Labelled:
    """A data set for training from whatever it is.

    Args:
        source: a `ToyWorld` (every visible object's class counts, masks from its instances), a `TextureWorld` (the one
            class "defect"; sound surfaces are negative), `Items` or what `camwidgets.datasets.open_dataset` understands
            (items that share a picture become one example with several classes), or a torch data set that returns
            (picture, class index) or (picture, vector of 0 and 1).
        classes: names of the classes and their order; what else is labelled is left out, the pictures stay. None = all
            that the data set names.
        size: (H, W) or one number: pictures and masks are stretched to it. None = as they are, if they are of one size.
        options: of the reader or the world, for a name or a path: `open_labelled("toyworld", n=200, objects=(1, 3))`.
    Raises:
        ValueError: unknown classes, a size out of range, a bad data set. FileNotFoundError: nothing is there.
        TypeError: nothing of the above kinds.

    Example:
        >>> open_labelled("textures", n=20)
        textures seed 0: 20 pictures of 128×128, 1 class (none or several in one picture), masks
    """
    from .sources import entries_of

    return Labelled(entries_of(source, classes, _checked_size(size), options))


def _checked_size(size: Size | int | None) -> Size | None:
    if size is None:
        return None
    pair = (size, size) if isinstance(size, (int, np.integer)) else tuple(size)
    if len(pair) != 2:
        raise ValueError(f"size is (H, W) or one number of pixels, not {size!r}")
    for side in pair:
        check_integer("size", side, 8)
        if side > 4096:
            raise ValueError(f"size must lie between 8 and 4096 pixels, not {side}")
    return int(pair[0]), int(pair[1])
