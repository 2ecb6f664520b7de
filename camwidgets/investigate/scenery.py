"""Masks of objects and of their surroundings as the network sees them, and objects moved to other surroundings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ..classifiers.classifier import Classifier
from ..classifiers.preprocessing import Preprocessing
from ..datasets.toyworld import CONTEXTS, ToyWorld
from .retouch import surroundings, swap_background
from .samples import samples_of

Masks = dict[str, np.ndarray]
LEAST = 0.05  # of the picture's pixels: a smaller patch of a context makes no backdrop


def contexts_of(item: Any) -> Mapping[str, np.ndarray]:
    """Name → H×W mask of what surrounds the object: an item's `context()`, or a scene's `contexts`.

    Raises:
        TypeError: the item knows no surroundings.
    """
    known = getattr(item, "contexts", None)
    if known is None:
        known = getattr(item, "context", None)
    known = known() if callable(known) else known
    if not isinstance(known, Mapping):
        raise TypeError(
            f"{type(item).__name__} knows no masks of its surroundings; items with context() or contexts (name → mask) "
            f"are needed, as scenes of the toy world have"
        )
    return known


def object_of(item: Any) -> np.ndarray:
    """H×W mask of the labelled object.

    Raises:
        TypeError, ValueError: the item has none.
    """
    rule = getattr(item, "mask", None)
    if rule is None:
        raise TypeError(f"{type(item).__name__} has no mask() of its object, which is needed to tell it from context")
    mask = rule(item.main) if hasattr(item, "main") else rule()
    if mask is None:
        raise ValueError(f"item {getattr(item, 'id', '?')!r} has no mask of its object")
    return np.asarray(mask, bool)


def seen(classifier: Classifier, mask: np.ndarray) -> np.ndarray:
    """A mask of the original picture as the network sees it: resized and cropped as the picture is, H×W bool.

    Raises:
        ValueError: the preprocessing does not say how it crops, and the mask is not of the input size.
    """
    rule, size = classifier.preprocessing, classifier.input_size
    if isinstance(rule, Preprocessing):
        view = rule.view(Image.fromarray(mask.astype(np.uint8) * 255))
        return np.asarray(view) > 127
    if mask.shape != size:
        raise ValueError(
            f"a mask has {mask.shape[1]}×{mask.shape[0]} pixels, the network's input {size[1]}×{size[0]}, and the "
            f"preprocessing of {classifier.name} does not say how it crops; give masks of the input's size"
        )
    return mask


class Stage:
    """The objects of a data set before each of its contexts.

    Scenes of the toy world are painted again, with nothing but the context changed. Elsewhere the object is cut out and
    laid over the nearest pixels of a context of another picture: cruder, and its seams are part of what is measured.

    Attributes:
        names: the contexts.
    """

    def __init__(self, classifier: Classifier, dataset: Sequence[Any]) -> None:
        self.samples = samples_of(classifier, dataset)
        if isinstance(dataset, ToyWorld):
            self._worlds = {name: dataset.replace(context=name) for name in CONTEXTS}
            self.names: tuple[str, ...] = CONTEXTS
        else:
            self._worlds = {}
            self._donors = self._find_donors(dataset)
            self.names = tuple(self._donors)
        if len(self.names) < 2:
            known = ", ".join(self.names) or "none"
            raise ValueError(f"at least two contexts are needed to compare; the data set has: {known}")

    def picture(self, number: int, context: str) -> Any:
        """Picture `number` with its object before `context`, as `Classifier.preprocess` takes it."""
        if self._worlds:
            return self._worlds[context][number].image
        item = self.samples[number]
        own = self._array(number)
        donors = self._donors[context]
        other = next((d for d in donors[number % len(donors) :] + donors if d != number), number)
        backdrop = surroundings(self._array(other), np.asarray(contexts_of(self.samples[other].item)[context], bool))
        h, w = own.shape[:2]
        scaled = np.asarray(Image.fromarray(backdrop).resize((w, h), Image.Resampling.BILINEAR))
        return swap_background(own, object_of(item.item), scaled)

    def _array(self, number: int) -> np.ndarray:
        from ..images import open_image

        return np.array(open_image(self.samples[number].open()))

    def _find_donors(self, dataset: Sequence[Any]) -> dict[str, list[int]]:
        """Context → the pictures that show enough of it."""
        found: dict[str, list[int]] = {}
        for i in range(len(dataset)):
            for name, mask in contexts_of(dataset[i]).items():
                if np.mean(mask) >= LEAST:
                    found.setdefault(name, []).append(i)
        return dict(sorted(found.items()))
