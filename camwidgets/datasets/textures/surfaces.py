"""The sound surfaces: wood.

Weave, metal, stone, leather, corduroy. Each painter returns brightness around 0.5.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from camwidgets.datasets.dice import Dice
from camwidgets.datasets.noise import Plane, cut, smoothstep

SIZE = 128
Colour = tuple[float, float, float]

_X = np.arange(SIZE, dtype=np.float32)[None, :]
_Y = np.arange(SIZE, dtype=np.float32)[:, None]


def _noise(kind: str, dice: Dice) -> Plane:
    return cut(kind, SIZE, SIZE, dice)


def _wood(dice: Dice) -> Plane:
    rings = np.sin(_Y * dice(0.22, 0.34) + 2.2 * _noise("hills", dice) + 0.35 * _noise("cloud", dice))
    return 0.52 + 0.09 * rings + 0.055 * _noise("fibre", dice) + 0.012 * _noise("grain", dice)


def _weave(dice: Dice) -> Plane:
    pitch = dice(5.5, 7.5)
    across, down = _X * (np.pi / pitch), (_Y + 0.4 * _noise("hills", dice)) * (np.pi / pitch)
    over = np.sin(across) * np.sin(down) > 0
    thread = np.where(over, np.abs(np.sin(across)), np.abs(np.sin(down))).astype(np.float32)
    return 0.36 + 0.22 * thread + np.where(over, np.float32(0.05), np.float32(0.0)) + 0.03 * _noise("grain", dice)


def _metal(dice: Dice) -> Plane:
    sheen = np.sin(_Y * dice(0.015, 0.04) + dice(0, 6.28))
    return 0.58 + 0.07 * sheen + 0.05 * _noise("fibre", dice) + 0.02 * _noise("grain", dice)


def _stone(dice: Dice) -> Plane:
    crystals, dark = _noise("gravel", dice), smoothstep(0.9, 1.6, _noise("mottle", dice))
    return 0.56 + 0.06 * crystals + 0.03 * _noise("cloud", dice) - 0.07 * dark


def _leather(dice: Dice) -> Plane:
    bumps = _noise("mottle", dice)
    creases = np.exp(-((bumps * (1 / 0.45)) ** 2))
    return 0.53 + 0.035 * bumps - 0.10 * creases + 0.03 * _noise("cloud", dice) + 0.012 * _noise("grain", dice)


def _corduroy(dice: Dice) -> Plane:
    lean = dice(-0.35, 0.35)
    ribs = np.sin((_X + lean * _Y) * (2 * np.pi / dice(7.0, 10.0)) + 0.5 * _noise("hills", dice))
    return 0.46 + 0.12 * ribs + 0.03 * _noise("blades", dice) + 0.015 * _noise("grain", dice)


_PAINTERS: dict[str, tuple[Callable[[Dice], Plane], tuple[Colour, ...]]] = {
    "wood": (_wood, ((1.30, 0.98, 0.68), (1.18, 0.92, 0.70), (1.36, 1.12, 0.80))),
    "weave": (_weave, ((0.94, 1.02, 1.12), (1.16, 1.06, 0.90), (1.02, 1.04, 0.98))),
    "metal": (_metal, ((0.99, 1.02, 1.06), (1.10, 1.04, 0.94))),
    "stone": (_stone, ((1.03, 1.01, 0.98), (1.14, 0.98, 0.94), (0.96, 1.02, 1.02))),
    "leather": (_leather, ((1.26, 0.90, 0.68), (0.92, 0.84, 0.82), (1.22, 0.72, 0.62))),
    "corduroy": (_corduroy, ((0.84, 1.00, 1.18), (0.92, 1.10, 0.86), (1.20, 0.98, 0.80))),
}

SURFACES: tuple[str, ...] = tuple(_PAINTERS)


def paint_surface(name: str, dice: Dice) -> tuple[Plane, Colour]:
    """Brightness (SIZE×SIZE, about 0.2…0.8) of a sound surface, unevenly lit, and its tint."""
    painter, tints = _PAINTERS[name]
    tint = dice.pick(tints)
    light = dice(-0.06, 0.06) * (_X / SIZE - 0.5) + dice(-0.06, 0.06) * (_Y / SIZE - 0.5) + dice(-0.04, 0.04)
    plane = painter(dice)
    if dice.chance(0.5):
        plane = plane.T
    return (plane + light).astype(np.float32), tint
