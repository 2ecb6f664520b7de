"""Labelled pictures, in whatever form a data set hands them over."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from ..classifiers.classifier import Classifier
from ..classifiers.given import check_classifier
from ..datasets import open_dataset
from ..datasets.items import Items
from ..datasets.labels import match_labels
from ..images import ImageSource


@dataclass(frozen=True)
class Sample:
    """One labelled picture: its name in the data set, its class index, and the item itself."""

    id: str
    label: int
    item: Any = field(repr=False)

    def open(self) -> ImageSource:
        """The picture, as `Classifier.preprocess` takes it."""
        if isinstance(self.item, tuple):
            return self.item[0]
        return self.item.open() if hasattr(self.item, "open") else self.item.image


@dataclass(frozen=True)
class Samples(Sequence[Sample]):
    """A data set seen as `Sample`s; an item is read when it is asked for."""

    classifier: Classifier
    dataset: Sequence[Any]

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, i: int) -> Sample:  # type: ignore[override]
        return sample_of(self.classifier, self.dataset[i], i)

    def read(self, numbers: Iterable[int], broken: dict[str, str]) -> list[tuple[int, Sample, Tensor]]:
        """Those that can be read, preprocessed; of the others `broken` is told why, each under a name of its own.

        Raises:
            TypeError, ValueError: an item that is no labelled picture: that is the data set's fault, not a file's.
        """
        found = []
        for number in numbers:
            name = str(number)
            try:
                item = self.dataset[number]  # data sets of others open the picture here
            except (ValueError, OSError) as problem:
                _tell(broken, name, number, problem)
                continue
            one = sample_of(self.classifier, item, number)
            try:
                found.append((number, one, self.classifier.preprocess(one.open())))
            except (ValueError, OSError) as problem:
                _tell(broken, one.id, number, problem)
        return found


def by_shape(read: list[tuple[int, Sample, Tensor]]) -> list[list[tuple[int, Sample, Tensor]]]:
    """What can go through a network together: a preprocessing need not fix the size."""
    shapes = dict.fromkeys(x.shape for *_, x in read)
    return [[one for one in read if one[2].shape == shape] for shape in shapes]


def _tell(broken: dict[str, str], name: str, number: int, problem: Exception) -> None:
    while name in broken:
        name += f" ({number})"
    broken[name] = str(problem)


def samples_of(classifier: Classifier, dataset: Any) -> Samples:
    """The samples of a data set: what `open_dataset` opens (a folder, a CSV …, a torch data set, whose pictures are as
    the data set gives them, not yet preprocessed), or a sequence of items with `open()` or `image` and a `label` (class
    index or label of the classifier), of toy scenes, or of pairs (picture, label). `id` is the item's own, or its
    number.

    Raises:
        TypeError: it is no sequence, or an item has no picture or no label. ValueError: it is empty, an unknown label.

    Example:
        >>> import camwidgets
        >>> from camwidgets.datasets.toyworld import ToyWorld
        >>> samples_of(camwidgets.load("toy"), ToyWorld(seed=0, n=3))[2].label in range(10)
        True
    """
    check_classifier(classifier, "a set of labelled pictures")
    if isinstance(dataset, (str, os.PathLike, Dataset)):
        dataset = open_dataset(dataset)
    if isinstance(dataset, Items):
        dataset = dataset.relabelled(match_labels(dataset, classifier))
    if isinstance(dataset, bytes) or not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise TypeError(
            f"a data set is a sequence of pictures with labels (items, scenes or pairs); got {type(dataset).__name__}"
        )
    if not len(dataset):
        raise ValueError("an empty data set was given; at least one labelled picture is needed")
    return Samples(classifier, dataset)


def sample_of(classifier: Classifier, item: Any, i: int) -> Sample:
    if isinstance(item, tuple):
        if len(item) != 2:
            raise TypeError(f"item {i} of the data set is a tuple of {len(item)}; a pair (picture, label) is needed")
        return Sample(str(i), classifier.index(_plain(item[1])), item)
    if not (hasattr(item, "open") or hasattr(item, "image")):
        raise TypeError(f"item {i} of the data set ({type(item).__name__}) has neither open() nor image")
    label = getattr(item, "label", None)
    # A scene of the toy world names its main class; other scenes' `labels` are many.
    label = getattr(item, "name", None) if label is None and hasattr(item, "main") else label
    if label is None:
        raise TypeError(f"item {i} of the data set ({type(item).__name__}) has no label; errors cannot be told")
    own = getattr(item, "id", None)
    return Sample(str(i if own is None else own), classifier.index(_plain(label)), item)


def _plain(label: Any) -> Any:
    return label.item() if hasattr(label, "item") else label
