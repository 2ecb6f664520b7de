"""A data set's labels as the classes of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ..classifiers.classifier import Classifier
from ..errors import nearest
from .items import Items, Label

SHOWN = 5


def match_labels(items: Items, classifier: Classifier) -> dict[Label, int]:
    """Each label of the data set → the model's class index. Items without a label are left out.

    A name is that of the class spelt so, or else spelt so without regard to case, `_` and `-`. Where a model's classes
    have no names ("class 0" …) and the data set numbers as many (`Items.classes`), its numbers are the classes.

    Raises:
        ValueError: labels that the model does not have; the sentence names up to five, with the nearest class of each.
            Names, where neither the model has any nor the data set numbers them.

    Example:
        >>> import camwidgets
        >>> from camwidgets.datasets import open_dataset
        >>> match_labels(open_dataset("toyworld", n=3, classes=["boat"]), camwidgets.load("toy"))
        {'boat': 4}
    """
    wanted = {items.label_of(i): None for i in range(len(items))}
    wanted.pop(None, None)
    known = classifier.labels
    if _nameless(known) and any(isinstance(label, str) for label in wanted):
        return _numbered(items, classifier, wanted)
    exact, places = _places(known, str), _places(known, _plain)
    found = {label: exact.get(str(label), _index(label, places, len(known))) for label in wanted}
    missing = [label for label, place in found.items() if place is None]
    if missing:
        raise ValueError(_sentence(items, classifier, missing))
    return {label: place for label, place in found.items() if place is not None}


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


def _nameless(known: Sequence[str]) -> bool:
    return all(name == f"class {i}" for i, name in enumerate(known))


def _numbered(items: Items, classifier: Classifier, wanted: Iterable[Label]) -> dict[Label, int]:
    """The data set's own numbers, for a model whose classes have no names."""
    numbers = {name: i for i, name in enumerate(items.classes or ())}
    if len(numbers) != len(classifier.labels):
        said = f"numbers {len(numbers)} classes" if numbers else "does not number its classes"
        raise ValueError(
            f"the {len(classifier.labels)} classes of {classifier.name} have no names, and {items.name} {said}: give "
            "the network its labels, in the order of its logits: wrap(module, …, labels=[…])"
        )
    return {label: label if isinstance(label, int) else numbers[str(label)] for label in wanted if label is not None}


def _places(known: Sequence[str], spelt: Callable[[str], str]) -> dict[str, int]:
    """Name → index; of two classes with one name neither is meant by it (ImageNet has two cranes)."""
    found: dict[str, int] = {}
    twice: set[str] = set()
    for i, name in enumerate(map(spelt, known)):
        if name in found:
            twice.add(name)
        found[name] = i
    return {name: i for name, i in found.items() if name not in twice}


def _index(label: Label, places: dict[str, int], count: int) -> int | None:
    if isinstance(label, str):
        return places.get(_plain(label))
    return label if label is not None and 0 <= label < count else None


def _sentence(items: Items, classifier: Classifier, missing: Sequence[Label]) -> str:
    told = []
    for label in missing[:SHOWN]:
        near = nearest(_plain(label), [_plain(one) for one in classifier.labels], 1) if isinstance(label, str) else []
        told.append(f"{label!r} (did you mean {near[0]!r}?)" if near else f"{label!r}")
    more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
    few = ", ".join(classifier.labels[:3])
    return (
        f"{classifier.name} does not have {len(missing)} of the labels of {items.name}: {', '.join(told)}{more}; its "
        f"{len(classifier.labels)} classes are {few}, …"
    )
