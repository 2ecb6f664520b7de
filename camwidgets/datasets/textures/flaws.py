"""The defects: a scratch.

A spot, a crack, a smudge. Each gives how far it covers every pixel, and what it does there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from camwidgets.datasets.dice import Dice
from camwidgets.datasets.noise import Plane, cut, unit
from camwidgets.datasets.textures.surfaces import SIZE

_X = (np.arange(SIZE, dtype=np.float32) + 0.5)[None, :]
_Y = (np.arange(SIZE, dtype=np.float32) + 0.5)[:, None]
_EDGE = 14.0  # defects begin at least so far from the picture's edge


def _line(points: list[tuple[float, float]], thick: float) -> Plane:
    """Antialiased cover of a line of half-width `thick` through points."""
    nearest = np.full((SIZE, SIZE), 1e3, np.float32)
    for (x0, y0), (x1, y1) in pairwise(points):
        bx, by, dx, dy = x1 - x0, y1 - y0, _X - x0, _Y - y0
        h = unit((dx * bx + dy * by) * (1 / max(bx * bx + by * by, 1e-6)))
        nearest = np.minimum(nearest, np.sqrt((dx - bx * h) ** 2 + (dy - by * h) ** 2))
    return unit(thick + 0.5 - nearest)


def _blob(x: float, y: float, rx: float, ry: float, turn: float, dice: Dice) -> Plane:
    """Antialiased cover of an ellipse with an uneven rim."""
    c, s = math.cos(turn), math.sin(turn)
    dx, dy = _X - x, _Y - y
    u, v = (c * dx + s * dy) * (1 / rx), (c * dy - s * dx) * (1 / ry)
    distance = (np.sqrt(u * u + v * v) - 1.0 + 0.10 * cut("mottle", SIZE, SIZE, dice)) * min(rx, ry)
    return unit(0.5 - distance)


def _walk(
    x: float, y: float, heading: float, steps: int, stride: float, bend: float, scale: float, dice: Dice
) -> Plane:
    points = [(x, y)]
    for _ in range(steps):
        heading += dice(-bend, bend)
        x, y = x + scale * stride * math.cos(heading), y + scale * stride * math.sin(heading)
        points.append((min(max(x, 2.0), SIZE - 2.0), min(max(y, 2.0), SIZE - 2.0)))
    return _line(points, scale * dice(0.6, 1.0))


def _scratch(plane: Plane, x: float, y: float, scale: float, dice: Dice) -> tuple[Plane, Plane]:
    cover = _walk(x, y, dice(0, math.tau), 3, dice(5.0, 9.0), 0.12, scale, dice)
    return cover, plane + dice.pick((-1.0, 1.0)) * dice(0.26, 0.36)


def _crack(plane: Plane, x: float, y: float, scale: float, dice: Dice) -> tuple[Plane, Plane]:
    cover = _walk(x, y, dice(0, math.tau), dice.integer(5, 7), dice(2.8, 4.2), 0.9, scale, dice)
    return cover, plane * 0.3 + np.float32(0.02)


def _spot(plane: Plane, x: float, y: float, scale: float, dice: Dice) -> tuple[Plane, Plane]:
    cover = _blob(x, y, scale * dice(2.4, 4.4), scale * dice(2.0, 3.4), dice(0, 3.14), dice)
    return cover, plane * 0.4 + np.float32(dice.pick((0.02, 0.52)))


def _smudge(plane: Plane, x: float, y: float, scale: float, dice: Dice) -> tuple[Plane, Plane]:
    """A worn place: the texture is gone and the level is a little off."""
    cover = _blob(x, y, scale * dice(5.5, 8.5), scale * dice(4.0, 5.5), dice(0, 3.14), dice)
    level = float((plane * cover).sum() / max(float(cover.sum()), 1.0))
    return cover, plane * 0.12 + np.float32(0.88 * level + dice.pick((-1.0, 1.0)) * dice(0.13, 0.19))


_PAINTERS: dict[str, Callable[[Plane, float, float, float, Dice], tuple[Plane, Plane]]] = {
    "scratch": _scratch,
    "spot": _spot,
    "crack": _crack,
    "smudge": _smudge,
}

DEFECTS: tuple[str, ...] = tuple(_PAINTERS)


def paint_defect(name: str, plane: Plane, scale: float, dice: Dice) -> tuple[Plane, NDArray[np.bool_]]:
    """Put one defect somewhere on a surface.

    Returns the spoilt brightness and the mask of pixels at least half covered.
    """
    x, y = dice(_EDGE, SIZE - _EDGE), dice(_EDGE, SIZE - _EDGE)
    cover, spoilt = _PAINTERS[name](plane, x, y, scale, dice)
    return plane + cover * (spoilt - plane), cover >= 0.5
