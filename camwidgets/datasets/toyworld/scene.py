"""One picture of the toy world together with everything that is true about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from camwidgets.datasets.toyworld.brush import CLUTTER, NOTHING, OCCLUDER
from camwidgets.datasets.toyworld.names import CLASSES, CONTEXTS, PARTS

Mask = NDArray[np.bool_]
Box = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class SceneObject:
    """One object of a scene.

    Attributes:
        number: its place in the painting order, from 1 (furthest back); what is in front has a higher number.
        label: index into `CLASSES`.
        mask: H×W bool, the pixels where it is seen.
        whole: H×W bool, the pixels it would take if nothing stood in front of it.
        parts: name -> H×W bool, its visible parts; each lies inside `mask`.
    """

    number: int
    label: int
    mask: Mask = field(repr=False)
    whole: Mask = field(repr=False)
    parts: dict[str, Mask] = field(repr=False)

    @property
    def name(self) -> str:
        return CLASSES[self.label]

    @property
    def box(self) -> Box:
        """(x0, y0, x1, y1) around the visible pixels.

        X1 and y1 exclusive; (0, 0, 0, 0) when nothing is seen.
        """
        return box_of(self.mask)

    @property
    def visible(self) -> float:
        """The share of the whole object that is seen, 0…1."""
        return float(self.mask.sum() / max(int(self.whole.sum()), 1))


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture and its ground truth.

    Attributes:
        index: its number in its world.
        seed: the world's seed.
        image: H×W×3 uint8.
        main: index of the main label (the class the scene was made for).
        context: name of the context shown, or None for the bare backdrop.
        instance_map: H×W uint8: 0 surroundings, 1… the objects from back to front, 254 clutter, 255 occluder.
        part_map: H×W uint8: 0 or 1 + index into `PARTS`.
        context_map: H×W uint8: 0 or 1 + index into `CONTEXTS`, as if no object were there.

    Example:
        >>> from camwidgets.datasets.toyworld import ToyWorld
        >>> scene = ToyWorld(seed=0, n=1)[0]
        >>> scene.image.shape, scene.name in scene.names
        ((96, 96, 3), True)
    """

    index: int
    seed: int
    image: NDArray[np.uint8] = field(repr=False)
    main: int
    context: str | None
    object_labels: tuple[int, ...]
    whole_masks: tuple[Mask, ...] = field(repr=False)
    instance_map: NDArray[np.uint8] = field(repr=False)
    part_map: NDArray[np.uint8] = field(repr=False)
    context_map: NDArray[np.uint8] = field(repr=False)

    @property
    def name(self) -> str:
        """The main label's name."""
        return CLASSES[self.main]

    @cached_property
    def labels(self) -> NDArray[np.float32]:
        """Multi-hot vector over `CLASSES`: 1 for every class with a visible object."""
        hot = np.zeros(len(CLASSES), np.float32)
        for item in self.objects:
            hot[item.label] = 1.0
        return hot

    @property
    def names(self) -> list[str]:
        """Names of the classes present, in the order of `CLASSES`."""
        return [CLASSES[i] for i in np.flatnonzero(self.labels)]

    @cached_property
    def objects(self) -> tuple[SceneObject, ...]:
        """The objects that are seen, from back to front."""
        found = []
        for number, (label, whole) in enumerate(zip(self.object_labels, self.whole_masks, strict=True), start=1):
            mask = self.instance_map == number
            if mask.any():
                inside = np.where(mask, self.part_map, NOTHING)
                parts = {PARTS[k - 1]: inside == k for k in np.unique(inside).tolist() if k}
                found.append(SceneObject(number, label, mask, whole, parts))
        return tuple(found)

    @property
    def boxes(self) -> list[tuple[str, Box]]:
        """(class name, box) of every object, from back to front."""
        return [(item.name, item.box) for item in self.objects]

    @cached_property
    def parts(self) -> dict[str, Mask]:
        """name -> mask of that part over all objects."""
        together: dict[str, Mask] = {}
        for item in self.objects:
            for name, mask in item.parts.items():
                together[name] = together[name] | mask if name in together else mask
        return together

    @cached_property
    def contexts(self) -> dict[str, Mask]:
        """name -> mask of the visible context (objects.

        Clutter and occluders cut out); empty for a bare backdrop.
        """
        seen = np.where(self.instance_map == NOTHING, self.context_map, NOTHING)
        return {CONTEXTS[k - 1]: seen == k for k in np.unique(seen).tolist() if k}

    @property
    def clutter(self) -> Mask:
        """Pixels of clutter."""
        return self.instance_map == CLUTTER

    @property
    def occluder(self) -> Mask:
        """Pixels of what stands in front of the objects and is none itself."""
        return self.instance_map == OCCLUDER

    def mask(self, label: int | str) -> Mask:
        """All visible pixels of a class (index or name); all False when it is absent."""
        wanted = CLASSES.index(label) if isinstance(label, str) else label
        total = np.zeros(self.instance_map.shape, bool)
        for item in self.objects:
            if item.label == wanted:
                total |= item.mask
        return total


def box_of(mask: Mask) -> Box:
    """The bounding box (x0, y0, x1, y1), x1 and y1 exclusive, of a mask; (0, 0, 0, 0) when it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
