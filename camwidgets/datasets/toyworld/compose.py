"""How a scene is put together: layout, backdrop, context, clutter, objects, an occluder, the camera."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from camwidgets.datasets.dice import Dice
from camwidgets.datasets.noise import cut
from camwidgets.datasets.toyworld import animals, machines
from camwidgets.datasets.toyworld.brush import CLUTTER, OCCLUDER, SIZE, Canvas, Pen
from camwidgets.datasets.toyworld.contexts import vary
from camwidgets.datasets.toyworld.names import CLASSES
from camwidgets.datasets.toyworld.scene import Mask

_DRAW: dict[str, Callable[[Pen, Dice], None]] = {
    "cat": animals.cat,
    "dog": animals.dog,
    "bird": animals.bird,
    "duck": animals.duck,
    "boat": machines.boat,
    "car": machines.car,
    "bus": machines.bus,
    "train": machines.train,
    "plane": machines.plane,
    "windmill": machines.windmill,
}
_FURRY = frozenset({"cat", "dog", "bird", "duck"})
# half-width of an object by how many share the picture: (smallest, largest) pixels per unit
_REACH = {1: (23.0, 37.0), 2: (17.0, 24.0), 3: (14.0, 19.0), 4: (12.0, 16.0)}
_CROWD = (10.0, 13.0)


@dataclass(frozen=True)
class Place:
    """Where one object goes: centre in pixels, pixels per unit, tilt in radians, mirrored or not."""

    label: int
    x: float
    y: float
    reach: float
    angle: float
    flip: bool


def lay_out(labels: list[int], occlusion: float, dice: Dice) -> list[Place]:
    """Find a place for every object so that boxes overlap by at most `occlusion` of the smaller one.

    Of 24 random spots the first that fits is taken; when none fits, the objects shrink and all is tried
    again, and at the smallest size the least overlapped spot is taken. Places come back from back (high up)
    to front (low down).
    """
    low, high = _REACH.get(len(labels), _CROWD)
    shrink = 1.0
    while True:
        places, worst = _try_places(labels, occlusion, (low * shrink, high * shrink), dice)
        if worst <= occlusion or low * shrink < 9.0:
            return sorted(places, key=lambda place: place.y + place.reach)
        shrink *= 0.88


def _try_places(
    labels: list[int], occlusion: float, reach: tuple[float, float], dice: Dice
) -> tuple[list[Place], float]:
    places: list[Place] = []
    worst = 0.0
    for label in labels:
        size = dice(*reach)
        best, least = None, math.inf
        for _ in range(24):
            inset = 0.94 * size
            x, y = dice(inset, SIZE - inset), dice(inset, SIZE - inset)
            overlap = max((_overlap(x, y, size, other) for other in places), default=0.0)
            if overlap < least:
                best, least = (x, y), overlap
            if least <= occlusion:
                break
        assert best is not None
        tilt = dice(-0.3, 0.3) if CLASSES[label] == "plane" else dice(-0.12, 0.12)
        places.append(Place(label, *best, size, tilt, dice.chance(0.5)))
        worst = max(worst, least)
    return places, worst


def _overlap(x: float, y: float, size: float, other: Place) -> float:
    """Intersection of two square boxes over the area of the smaller one."""
    reach = min(size, other.reach)
    across = min(max(size + other.reach - abs(x - other.x), 0.0), 2 * reach)
    down = min(max(size + other.reach - abs(y - other.y), 0.0), 2 * reach)
    return across * down / (4 * reach * reach)


def draw_object(canvas: Canvas, place: Place, number: int, dice: Dice) -> Mask:
    """Paint one object; returns its whole mask, before anything comes in front of it."""
    name = CLASSES[place.label]
    furry = name in _FURRY
    grain = 1.0 + (0.05 if furry else 0.02) * cut("mottle" if furry else "grain", SIZE, SIZE, dice)
    pen = Pen(
        canvas,
        (place.x, place.y),
        place.reach * dice(0.96, 1.02),
        angle=place.angle,
        flip=place.flip,
        instance=number,
        grain=grain.astype(np.float32),
    )
    pen.shadow(0.0, 0.9, 0.95, 0.16, 0.38)
    _DRAW[name](pen, dice)
    mask: Mask = (canvas.owner >> 8) == number
    return mask


def scatter(canvas: Canvas, clutter: float, dice: Dice) -> None:
    """Up to seven small things that are no object and no part of one: stones, balls, crates, tufts, poles."""
    for _ in range(7):
        kind, size, x, y = dice.integer(0, 4), dice(2.5, 5.5), dice(4, SIZE - 4), dice(14, SIZE - 4)
        colour = vary(
            dice.pick(((0.62, 0.58, 0.55), (0.72, 0.5, 0.36), (0.56, 0.46, 0.6), (0.5, 0.58, 0.42))),
            dice,
            0.08,
        )
        angle, wanted = dice(-0.3, 0.3), dice.chance(clutter)
        if not wanted:
            continue
        pen = Pen(canvas, (x, y), size, angle=angle, instance=CLUTTER)
        pen.shadow(0.0, 0.85, 1.2, 0.4, 0.3)
        if kind == 0:
            pen.ellipse("", colour, 0, 0.1, 1.1, 0.75)
        elif kind == 1:
            pen.ellipse("", colour, 0, 0, 0.9, 0.9, gloss=0.35)
        elif kind == 2:
            pen.box("", colour, -0.9, -0.8, 0.9, 0.9, 0.08)
            pen.stroke("", (0.3, 0.22, 0.2), [(-0.7, -0.6), (0.7, 0.7)], 0.1, ink=0)
        elif kind == 3:
            for lean in (-0.8, 0.0, 0.8):
                pen.stroke("", colour, [(0, 0.9), (lean, -1.1)], 0.22, 0.08)
        else:
            pen.stroke("", colour, [(0, -2.2), (0, 0.9)], 0.26)


def stand_before(canvas: Canvas, mask: Mask, share: float, dice: Dice) -> None:
    """Put planks in front of one object so that they hide at most `share` of its pixels."""
    columns = mask.sum(axis=0)
    from_right = dice.chance(0.5)
    hidden = np.cumsum(columns[::-1] if from_right else columns) / max(int(columns.sum()), 1)
    covered = int(np.searchsorted(hidden, share, side="right"))  # columns that may be hidden, from the edge
    seen = np.flatnonzero(columns)
    first = SIZE - 1 - int(seen[-1]) if from_right else int(seen[0])
    wood, width = (
        vary(dice.pick(((0.55, 0.40, 0.27), (0.62, 0.58, 0.52), (0.42, 0.44, 0.42))), dice),
        dice(6.0, 9.0),
    )
    rows = np.flatnonzero(mask.any(axis=1))
    top = max(int(rows[0]) - dice(2.0, 9.0), 2.0)
    grain = (1.0 + 0.1 * cut("blades", SIZE, SIZE, dice)).astype(np.float32)
    pen = Pen(canvas, (SIZE / 2, 0.0), 1.0, instance=OCCLUDER, flip=from_right, grain=grain)
    edge, limit = covered - SIZE / 2, max(first, 0) - SIZE / 2
    while edge - 3.0 > limit - width and covered - first > 2:
        left = edge - width
        pen.box(
            "",
            vary(wood, dice, 0.03),
            left + 0.5,
            top + dice(0.0, 3.0),
            edge - 0.5,
            SIZE + 4.0,
            1.2,
            relief=0.7,
        )
        edge = left


def take_picture(canvas: Canvas, dice: Dice) -> np.ndarray:
    """Light, tint and sensor noise; then H×W×3 uint8."""
    warm, gain = dice(-0.035, 0.035), dice(0.93, 1.07)
    tint = np.array([gain + warm, gain, gain - warm], np.float32).reshape(3, 1, 1)
    picture = canvas.image * (255.0 * tint)
    picture += (255.0 * 0.012) * cut("grain", SIZE, SIZE, dice) + 0.5
    np.maximum(picture, 0.0, out=picture)
    np.minimum(picture, 255.0, out=picture)
    return np.ascontiguousarray(picture.astype(np.uint8).transpose(1, 2, 0))
