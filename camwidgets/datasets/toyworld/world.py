"""The toy world: scene i is a pure function of the seed, of i and of the parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from camwidgets.datasets.checks import check_share, checked_names, checked_range
from camwidgets.datasets.dice import Dice
from camwidgets.datasets.toyworld.brush import Canvas
from camwidgets.datasets.toyworld.compose import draw_object, lay_out, scatter, stand_before, take_picture
from camwidgets.datasets.toyworld.contexts import paint_surroundings
from camwidgets.datasets.toyworld.names import CLASSES, CONTEXTS, HOME
from camwidgets.datasets.toyworld.scene import Mask, Scene
from camwidgets.datasets.world import World
from camwidgets.errors import unknown

# Separate streams of chance: a change of context leaves the objects as they are, and so on.
_ORDER, _WHAT, _CONTEXT, _CLUTTER, _OCCLUDER, _CAMERA, _OBJECT = range(7)
MODES = ("home", "swap", "none")
MOST_OBJECTS = 6
MOST_OCCLUSION = 0.8


@dataclass(frozen=True)
class ToyWorld(World[Scene]):
    """A sequence of `n` scenes; `world[i]` paints scene i, `world[a:b]` is a part of the world with the same
    scenes.

    Args:
        seed: any integer ≥ 0.
        n: number of scenes.
        context_strength: 0…1. With this probability a scene shows the home of its main class (`HOME`),
            otherwise any of the six contexts: P(home | class) = s + (1 − s)/6. At 0 the context says nothing,
            at 1 it betrays the class.
        context: "home" (as `context_strength` says), "swap" (never the home of the main class), "none" (the
            bare backdrop), or the name of one context for all scenes. Only the context changes; the objects,
            their places and the light stay the same.
        objects: smallest and largest number of objects in a scene, 1…6, of different classes as long as there
            are any.
        occlusion: 0…0.8. Planks hide up to this share of the main object, and the boxes of two objects
            overlap by up to this share of the smaller one.
        clutter: 0…1, how much lies about that is neither object nor context.
        classes: which classes take part (all ten when None).
        start, step: number of the first scene and distance to the next; slicing sets them.

    Main labels are balanced: each run of len(classes) scenes has every class once.

    Raises:
        ValueError, TypeError: a parameter outside its range, an unknown class or context.
        IndexError: a scene number outside the world.

    Example:
        >>> world = ToyWorld(seed=1, n=100, context_strength=1.0)
        >>> scene = world[7]
        >>> same = world.replace(context="swap")[7]
        >>> scene.name == same.name and scene.context != same.context
        True
    """

    seed: int = 0
    n: int = 1000
    context_strength: float = 0.5
    context: str = "home"
    objects: tuple[int, int] = (1, 1)
    occlusion: float = 0.0
    clutter: float = 0.5
    classes: Sequence[str] | None = None
    start: int = 0
    step: int = 1

    def __post_init__(self) -> None:
        self._check_numbers()
        for name, high in (("context_strength", 1.0), ("occlusion", MOST_OCCLUSION), ("clutter", 1.0)):
            check_share(name, getattr(self, name), high)
        if self.context not in (*MODES, *CONTEXTS):
            raise unknown("context", self.context, (*MODES, *CONTEXTS))
        object.__setattr__(self, "objects", checked_range("objects", self.objects, MOST_OBJECTS))
        object.__setattr__(self, "classes", checked_names("classes", self.classes, CLASSES))

    def batch(self, indices: Sequence[int] | None = None) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Pictures (N×H×W×3 uint8) and main labels (N) of some scenes, or of all."""
        scenes = [self[i] for i in (range(self.n) if indices is None else indices)]
        if not scenes:
            raise ValueError("a batch needs at least one scene index")
        return np.stack([s.image for s in scenes]), np.array([s.main for s in scenes], np.int64)

    def main_label(self, index: int) -> int:
        """The main label of a scene, without painting it."""
        return self._main(self._number(index))

    def _main(self, number: int) -> int:
        names = self.classes or CLASSES
        block, place = divmod(number, len(names))
        return CLASSES.index(Dice(self.seed, _ORDER, block).shuffled(names)[place])

    def _labels(self, main: int, dice: Dice) -> list[int]:
        count = dice.integer(*self.objects)
        others = [CLASSES.index(name) for name in self.classes or CLASSES]
        labels, left = [main], [label for label in others if label != main]
        for _ in range(count - 1):
            chosen = dice.pick(left or others)
            labels.append(chosen)
            left = [label for label in left if label != chosen]
        return labels

    def _context(self, main: int, dice: Dice) -> str | None:
        follows, free = dice.chance(self.context_strength), dice.pick(CONTEXTS)
        away = dice.pick([name for name in CONTEXTS if name != HOME[CLASSES[main]]])
        if self.context == "home":
            return HOME[CLASSES[main]] if follows else free
        if self.context == "swap":
            return away
        return None if self.context == "none" else self.context

    def _paint(self, number: int) -> Scene:
        main = self._main(number)
        what = Dice(self.seed, _WHAT, number)
        horizon = what(20.0, 46.0)
        places = lay_out(self._labels(main, what), self.occlusion, what)
        canvas, around = Canvas(), Dice(self.seed, _CONTEXT, number)
        context = self._context(main, around)
        paint_surroundings(context, canvas, horizon, around)
        scatter(canvas, self.clutter, Dice(self.seed, _CLUTTER, number))
        wholes: list[Mask] = []
        for k, place in enumerate(places, start=1):
            wholes.append(draw_object(canvas, place, k, Dice(self.seed, _OBJECT, number, place.label, k)))
        if self.occlusion > 0:
            hide = Dice(self.seed, _OCCLUDER, number)
            share = hide(0.0, self.occlusion)
            stand_before(canvas, wholes[[p.label for p in places].index(main)], share, hide)
        return Scene(
            index=number,
            seed=self.seed,
            image=take_picture(canvas, Dice(self.seed, _CAMERA, number)),
            main=main,
            context=context,
            object_labels=tuple(place.label for place in places),
            whole_masks=tuple(wholes),
            instance_map=canvas.instance,
            part_map=canvas.part,
            context_map=canvas.context,
        )
