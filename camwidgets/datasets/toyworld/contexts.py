"""Backdrops and the six contexts: water, grass, rails, road, sky, branches.

Each painter lays its context over the backdrop and marks its pixels in the canvas' context map. Ground
contexts begin at the horizon; the sky and the branches fill the picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from camwidgets.datasets.dice import Dice
from camwidgets.datasets.noise import TILE, Plane, cut, smoothstep, unit
from camwidgets.datasets.toyworld.brush import SIZE, Canvas, Colour, Pen, rgb
from camwidgets.datasets.toyworld.names import CONTEXTS

_X = (np.arange(SIZE, dtype=np.float32) + 0.5)[None, :]
_Y = (np.arange(SIZE, dtype=np.float32) + 0.5)[:, None]

_HAZE: tuple[tuple[Colour, Colour], ...] = (
    ((0.93, 0.89, 0.82), (0.99, 0.96, 0.90)),
    ((0.84, 0.86, 0.88), (0.95, 0.94, 0.92)),
    ((0.91, 0.84, 0.83), (0.98, 0.93, 0.88)),
    ((0.83, 0.85, 0.80), (0.95, 0.95, 0.88)),
    ((0.86, 0.83, 0.90), (0.97, 0.93, 0.93)),
)


def vary(colour: Colour, dice: Dice, amount: float = 0.05) -> Colour:
    """A colour a little lighter or darker and a little off in hue."""
    level, hue = dice(1 - 2 * amount, 1 + 2 * amount), 0.6 * amount
    r, g, b = (min(max(c * level + dice(-hue, hue), 0.0), 1.0) for c in colour)
    return r, g, b


def paint_surroundings(name: str | None, canvas: Canvas, horizon: float, dice: Dice) -> None:
    """Paint the backdrop and one of `CONTEXTS` (None.

    Only the backdrop, on bare soil) and mark the context's pixels.
    """
    if name in _FULL:
        _FULL[name](canvas, dice)
        top = 0
    else:
        _backdrop(canvas, horizon, dice)
        _GROUND[name](canvas, horizon, dice)
        top = max(round(horizon), 0)
    if name is not None:
        canvas.context[top:] = CONTEXTS.index(name) + 1


def _backdrop(canvas: Canvas, horizon: float, dice: Dice) -> None:
    """Hazy air and two ranges of pale hills: belongs to no context."""
    high, low = dice.pick(_HAZE)
    ramp = unit(_Y * (1 / max(horizon, 1.0)))
    canvas.image[:] = rgb(vary(high, dice, 0.03)) * (1 - ramp) + rgb(vary(low, dice, 0.03)) * ramp
    outline = cut("hills", 1, SIZE, dice)
    r, g, b = vary((0.70, 0.71, 0.74), dice, 0.04)
    rows = slice(max(int(horizon) - 28, 0), int(horizon) + 2)
    for distance in (1.0, 0.55):
        height = horizon - distance * (9 + 4 * outline) + dice(-2, 2)
        pale = 1.25 - 0.7 * distance
        _stain(
            canvas,
            unit(_Y[rows] - height),
            (1 - (1 - r) * pale, 1 - (1 - g) * pale, 1 - (1 - b) * pale),
            rows=rows,
        )
        outline = outline[:, ::-1]


def _bare(canvas: Canvas, horizon: float, dice: Dice) -> None:
    """Soil without a context."""
    _lay(canvas, horizon, vary((0.80, 0.76, 0.70), dice, 0.05), 1.0 + 0.03 * cut("mottle", SIZE, SIZE, dice))


def _lay(canvas: Canvas, horizon: float, base: Colour, tone: Plane) -> None:
    """Ground of one colour times tone, below the horizon."""
    rows = slice(max(int(horizon), 0), SIZE)
    _stain(canvas, unit(_Y[rows] - horizon + 0.5), base, tone[rows], rows)


def _stain(
    canvas: Canvas, cover: Plane, colour: Colour, tone: Plane | float = 1.0, rows: slice = slice(0, SIZE)
) -> None:
    """Blend a colour, times tone, over some rows where cover says so."""
    under = canvas.image[:, rows]
    under += cover * (rgb(colour) * tone - under)


def _rows(low: float, high: float) -> slice:
    return slice(max(int(low) - 1, 0), min(int(high) + 2, SIZE))


def _band(low: float, high: float, rows: slice = slice(0, SIZE)) -> Plane:
    """1 between two heights, antialiased."""
    return unit(_Y[rows] - low + 0.5) * unit(high - _Y[rows] + 0.5)


def _stripe(canvas: Canvas, low: float, high: float, colour: Colour, opacity: float = 1.0) -> None:
    """A level stripe right across the picture."""
    rows = _rows(low, high)
    _stain(canvas, opacity * _band(low, high, rows), colour, rows=rows)


def _depth(horizon: float) -> Plane:
    """0 at the horizon, 1 at the lower edge."""
    return unit((_Y - horizon) * (1 / max(SIZE - horizon, 1.0)))


def _water(canvas: Canvas, horizon: float, dice: Dice) -> None:
    base = vary(dice.pick(((0.20, 0.47, 0.64), (0.17, 0.52, 0.60), (0.27, 0.45, 0.66))), dice)
    depth, ripple = _depth(horizon), cut("ripple", SIZE, SIZE, dice)
    waves = np.sin(dice(0, 6.28) + 34.0 * np.sqrt(depth + 0.02) + 0.9 * ripple + _X * dice(-0.04, 0.04))
    _lay(canvas, horizon, base, 1.18 - 0.34 * depth + 0.07 * ripple + 0.06 * waves)
    glints = smoothstep(0.9, 2.0, waves + 0.55 * ripple) * (depth > 0)
    _stain(canvas, 0.75 * glints, (0.90, 0.97, 0.99))


def _grass(canvas: Canvas, horizon: float, dice: Dice) -> None:
    base = vary(dice.pick(((0.39, 0.59, 0.24), (0.46, 0.61, 0.26), (0.33, 0.56, 0.27))), dice)
    depth, blades = _depth(horizon), cut("blades", SIZE, SIZE, dice)
    soft = cut("cloud", SIZE, SIZE, dice)
    _lay(canvas, horizon, base, 1.14 - 0.22 * depth + 0.07 * soft + (0.05 + 0.13 * depth) * blades)
    bright = smoothstep(1.1, 2.3, blades + 0.4 * soft) * depth
    _stain(canvas, 0.55 * bright, (0.78, 0.86, 0.42))


def _gravel(canvas: Canvas, horizon: float, dice: Dice) -> None:
    base = vary((0.56, 0.51, 0.46), dice, 0.04)
    stones = cut("gravel", SIZE, SIZE, dice)
    _lay(canvas, horizon, base, 1.05 - 0.12 * _depth(horizon) + 0.17 * stones)


def _rails(canvas: Canvas, horizon: float, dice: Dice) -> None:
    _gravel(canvas, horizon, dice)
    wood, steel = vary((0.36, 0.25, 0.18), dice, 0.03), vary((0.72, 0.73, 0.76), dice, 0.03)
    room = SIZE - horizon
    for near in (0.16, 0.66):
        y, gauge = horizon + room * (near + dice(-0.04, 0.04)), room * (0.10 + 0.13 * near)
        pitch, slant = 8.0 + 7.0 * near, dice(-0.5, 0.5)
        rows = _rows(y - 0.35 * gauge, y + 1.35 * gauge)
        along = (_X + slant * (_Y[rows] - y)) * (1 / pitch) + dice()
        saw = np.abs(along - np.floor(along) - 0.5) * pitch
        sleepers = unit(0.27 * pitch - saw + 0.5) * _band(y - 0.35 * gauge, y + 1.35 * gauge, rows)
        _stain(canvas, 0.92 * sleepers, wood, 1.0 + 0.12 * np.clip(saw - 1.0, -1.0, 1.0), rows)
        for rail in (y, y + gauge):
            thick = 1.0 + 1.1 * near
            _stripe(canvas, rail, rail + 1.5 * thick, (0.16, 0.13, 0.13), 0.55)
            _stripe(canvas, rail - thick / 2, rail + thick / 2, steel)


def _road(canvas: Canvas, horizon: float, dice: Dice) -> None:
    base = vary((0.37, 0.37, 0.40), dice, 0.02)
    grain, depth = cut("grain", SIZE, SIZE, dice), _depth(horizon)
    _lay(canvas, horizon, base, 1.12 - 0.16 * depth + 0.06 * grain)
    kerb = horizon + 2.5
    slabs = (np.floor((_X + dice(0, 16)) * (1 / 8.0)) % 2) * np.float32(0.12) + np.float32(0.88)
    rows = _rows(horizon, kerb)
    _stain(canvas, _band(horizon, kerb, rows), (0.80, 0.79, 0.76), slabs, rows)
    _stripe(canvas, kerb, kerb + 1.2, (0.15, 0.15, 0.17), 0.5)
    for near, length in ((0.30, 9.0), (0.78, 17.0)):
        y, thick = horizon + (SIZE - horizon) * near, 0.9 + 1.8 * near
        rows = _rows(y - thick / 2, y + thick / 2)
        along = (_X + dice(0, 40) + 0.6 * (_Y[rows] - y)) * (1 / (2 * length))
        dash = unit(length * (0.25 - np.abs(along - np.floor(along) - 0.5)) * 2 + 0.5)
        _stain(canvas, 0.9 * dash * _band(y - thick / 2, y + thick / 2, rows), (0.96, 0.95, 0.88), rows=rows)


def _sky(canvas: Canvas, dice: Dice) -> None:
    high, low = vary((0.24, 0.49, 0.80), dice, 0.03), vary((0.66, 0.82, 0.95), dice, 0.02)
    ramp = _Y * np.float32(1 / SIZE)
    canvas.image[:] = rgb(high) * (1 - ramp) + rgb(low) * ramp
    cloud = cut("cloud", SIZE + 6, SIZE, dice)
    puff = smoothstep(0.1, 1.3, cloud[6:] + dice(-0.25, 0.35))
    lit = np.clip(1.0 + 0.22 * (cloud[6:] - cloud[:-6]), 0.78, 1.02)
    _stain(canvas, 0.93 * puff, (0.97, 0.97, 0.98), lit)


def _branches(canvas: Canvas, dice: Dice) -> None:
    base = vary(dice.pick(((0.24, 0.37, 0.17), (0.28, 0.38, 0.16), (0.20, 0.35, 0.20))), dice, 0.03)
    light, tone = leaves()
    y, x = dice.integer(0, TILE - 1), dice.integer(0, TILE - 1)
    canvas.image[:] = rgb(base) * (1.0 + 0.25 * cut("mottle", SIZE, SIZE, dice))
    piece = (slice(y, y + SIZE), slice(x, x + SIZE))
    _stain(canvas, light[piece], vary((0.42, 0.58, 0.22), dice, 0.05), tone[piece])
    wood, pen = vary((0.40, 0.28, 0.19), dice, 0.04), Pen(canvas, (0.0, 0.0), 1.0)
    for k in range(2):
        left, rise = dice(8, 40) + 46 * k, dice(-18, 18)
        middle = left + rise / 2 + dice(-4, 4)
        pen.stroke("", wood, [(-4, left), (48, middle), (100, left + rise)], dice(3.0, 4.6), dice(1.6, 2.6), ink=0.4)
        for _ in range(2):
            along, lean, up = dice(8, 88), dice(-12, 12), dice.pick((-1, 1)) * dice(10, 20)
            foot = (along, left + rise * along / 100)
            pen.stroke("", wood, [foot, (along + lean, foot[1] + up)], 1.6, 0.8, ink=0.4)
    canvas.owner[:] = 0  # branches are context, not things


@cache
def leaves() -> tuple[Plane, Plane]:
    """A tileable canopy (repeated once each way): where there are leaves, and how bright they are."""
    dice, canvas = Dice(11), Canvas()
    cover, tone = np.zeros((TILE, TILE), np.float32), np.ones((TILE, TILE), np.float32)
    for k in range(900):
        canvas.image[:] = 0.0
        brightness = (0.45 + 0.75 * k / 900) * dice(0.85, 1.15)
        pen = Pen(canvas, (12.0, 12.0), 1.0, angle=dice(0, math.tau))
        size = dice(4.0, 7.0)
        pen.ellipse("", (brightness, 1.0, 0.0), 0, 0, size, 0.42 * size, ink=0.25, relief=1.4)
        pen.stroke("", (1.25 * brightness, 1.0, 0.0), [(-size, 0), (0.8 * size, 0)], 0.25, ink=0.0)
        alpha = np.clip(canvas.image[1, :24, :24], 0.0, 1.0)
        rows = (np.arange(24) + dice.integer(0, TILE - 1))[:, None] % TILE
        columns = (np.arange(24) + dice.integer(0, TILE - 1))[None, :] % TILE
        colour = canvas.image[0, :24, :24]
        tone[rows, columns] += (alpha > 0.3) * (colour - tone[rows, columns])
        cover[rows, columns] = np.maximum(cover[rows, columns], alpha)
    return np.tile(cover, (2, 2)), np.tile(tone, (2, 2))


_GROUND: dict[str | None, Callable[[Canvas, float, Dice], None]] = {
    "water": _water,
    "grass": _grass,
    "rails": _rails,
    "road": _road,
    None: _bare,
}
_FULL: dict[str | None, Callable[[Canvas, Dice], None]] = {"sky": _sky, "branches": _branches}
