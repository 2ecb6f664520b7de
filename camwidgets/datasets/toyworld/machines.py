"""Boat, car, bus, train.

Plane and windmill, built from shared parts: wheels, windows, lamps, sails, wings.
"""

from __future__ import annotations

import math

from camwidgets.datasets.dice import Dice
from camwidgets.datasets.toyworld.animals import INK, WHITE, mix
from camwidgets.datasets.toyworld.brush import Colour, Pen
from camwidgets.datasets.toyworld.contexts import vary

_PAINT: tuple[Colour, ...] = (
    (0.80, 0.24, 0.22), (0.24, 0.44, 0.72), (0.93, 0.73, 0.24), (0.28, 0.55, 0.42), (0.88, 0.87, 0.84),
    (0.88, 0.50, 0.22), (0.45, 0.38, 0.58), (0.34, 0.36, 0.42),
)  # fmt: skip
_CLOTH: tuple[Colour, ...] = (
    (0.97, 0.95, 0.89), (0.95, 0.88, 0.74), (0.85, 0.36, 0.30), (0.93, 0.70, 0.30), (0.62, 0.76, 0.86),
)  # fmt: skip
_GLASS: Colour = (0.62, 0.80, 0.90)
_STEEL: Colour = (0.74, 0.75, 0.78)


def _wheel(pen: Pen, x: float, y: float, radius: float, spokes: int, turn: float, rim: Colour = _STEEL) -> None:
    pen.ellipse("wheel", (0.17, 0.16, 0.18), x, y, radius, radius, ink=0.5)
    pen.ellipse("wheel", rim, x, y, 0.6 * radius, 0.6 * radius, ink=0.4)
    for k in range(spokes):
        a = turn + k * math.pi / spokes
        dx, dy = 0.52 * radius * math.cos(a), 0.52 * radius * math.sin(a)
        pen.stroke("wheel", mix(rim, INK, 0.6), [(x - dx, y - dy), (x + dx, y + dy)], 0.07 * radius, ink=0, relief=0)
    pen.ellipse("wheel", mix(rim, INK, 0.5), x, y, 0.18 * radius, 0.18 * radius, ink=0.2)


def _window(pen: Pen, x0: float, y0: float, x1: float, y1: float) -> None:
    """A pane with a dark frame and a slanting gleam."""
    pen.box("window", (0.24, 0.26, 0.32), x0, y0, x1, y1, 0.05, ink=0.2, relief=0.2)
    edge = 0.032
    pen.box("window", _GLASS, x0 + edge, y0 + edge, x1 - edge, y1 - edge, 0.03, ink=0.0, relief=0.6)
    w, h = x1 - x0, y1 - y0
    gleam = [(x0 + 0.3 * w, y0 + 0.78 * h), (x0 + 0.62 * w, y0 + 0.24 * h)]
    pen.stroke("window", (0.93, 0.98, 1.0), gleam, 0.03, ink=0, relief=0)


def _lamp(pen: Pen, x: float, y: float, size: float) -> None:
    pen.ellipse("lamp", (1.0, 0.90, 0.52), x, y, size, size * 1.15, ink=0.6, gloss=0.4)


def boat(pen: Pen, dice: Dice) -> None:
    """A wooden hull, a mast, two sails and a pennant."""
    hull, cloth = vary(dice.pick(_PAINT), dice), vary(dice.pick(_CLOTH), dice, 0.03)
    lean, fore, aft = dice(-0.06, 0.06), dice.around(0.52, 0.12), dice.around(0.66, 0.1)
    pen.stroke("mast", (0.48, 0.33, 0.2), [(0.0, 0.5), (lean, -0.95)], 0.042, 0.03, ink=0.4)
    pen.polygon("sail", cloth, [(0.07, 0.34), (lean + 0.05, -0.86), (0.07 + aft, 0.3)], relief=1.3)
    pen.polygon(
        "sail",
        mix(cloth, WHITE, 0.35),
        [(-0.06, 0.34), (lean - 0.04, -0.72), (-0.06 - fore, 0.34)],
        relief=1.3,
    )
    if dice.chance(0.5):
        band = mix(cloth, dice.pick(_PAINT), 0.75)
        pen.stroke("sail", band, [(0.12, 0.02), (0.04 + 0.48 * aft, 0.0)], 0.05, ink=0, relief=0.5)
    pen.polygon("sail", vary((0.82, 0.2, 0.2), dice), [(lean, -0.98), (lean - 0.3, -0.9), (lean, -0.82)], ink=0.3)
    pen.polygon("hull", hull, [(-0.86, 0.46), (0.98, 0.4), (0.66, 0.86), (-0.62, 0.86)])
    pen.stroke("hull", mix(hull, WHITE, 0.7), [(-0.74, 0.55), (0.8, 0.51)], 0.035, ink=0, relief=0)


def car(pen: Pen, dice: Dice) -> None:
    """Two wheels, a low body, a cabin with two windows, a lamp in front."""
    paint, bonnet = vary(dice.pick(_PAINT), dice), dice(0.42, 0.56)
    roof, size, turn = dice(-0.44, -0.32), dice.around(0.235, 0.1), dice(0, 3)
    cabin = [(-0.62, 0.1), (-0.42, roof), (0.2, roof), (bonnet, 0.1)]
    pen.polygon("body", mix(paint, WHITE, 0.12), cabin)
    pen.box("body", paint, -0.98, 0.02, 0.98, 0.5, 0.16, gloss=0.25)
    pen.stroke("body", mix(paint, INK, 0.4), [(-0.9, 0.36), (0.92, 0.36)], 0.022, ink=0, relief=0)
    _window(pen, -0.44, roof + 0.09, -0.14, 0.06)
    _window(pen, -0.07, roof + 0.09, 0.26, 0.06)
    _lamp(pen, 0.88, 0.17, 0.085)
    for x in (-0.55, 0.56):
        pen.ellipse("body", mix(paint, INK, 0.75), x, 0.48, size * 1.18, size * 1.18, ink=0, relief=0.3)
        _wheel(pen, x, 0.52, size, dice.integer(2, 4), turn)


def bus(pen: Pen, dice: Dice) -> None:
    """A tall box with a row of windows, a door, a lamp, two wheels."""
    paint, panes = vary(dice.pick(_PAINT), dice), dice.integer(3, 4)
    top, turn, band = dice(-0.66, -0.54), dice(0, 3), mix(vary(dice.pick(_PAINT), dice), WHITE, 0.4)
    pen.box("body", paint, -0.98, top, 0.98, 0.56, 0.12)
    pen.box("body", band, -0.97, 0.1, 0.97, 0.24, 0.02, ink=0.0)
    pen.stroke("body", mix(paint, WHITE, 0.4), [(-0.84, top + 0.07), (0.84, top + 0.07)], 0.03, ink=0, relief=0)
    pitch = 1.3 / panes
    for k in range(panes):
        _window(pen, -0.9 + pitch * k, top + 0.16, -0.9 + pitch * (k + 0.86), 0.04)
    pen.box("door", mix(paint, INK, 0.55), 0.46, top + 0.16, 0.74, 0.52, 0.04, ink=0.4)
    pen.box("door", _GLASS, 0.5, top + 0.21, 0.7, 0.18, 0.03, ink=0.1)
    _window(pen, 0.78, top + 0.16, 0.96, 0.04)
    _lamp(pen, 0.9, 0.36, 0.075)
    for x in (-0.55, 0.5):
        _wheel(pen, x, 0.58, dice.around(0.2, 0.08), 3, turn)


def train(pen: Pen, dice: Dice) -> None:
    """A steam engine: boiler, funnel, cab with a window, a lamp, a row of wheels with a rod."""
    paint, trim = vary(dice.pick(_PAINT), dice), vary((0.84, 0.66, 0.3), dice, 0.03)
    roof, stack, turn = dice(-0.62, -0.5), dice(-0.72, -0.56), dice(0, 3)
    dark = mix(paint, INK, 0.35)
    pen.polygon("funnel", (0.24, 0.22, 0.24), [(0.5, -0.1), (0.42, stack), (0.8, stack), (0.72, -0.1)])
    pen.stroke("funnel", trim, [(0.42, stack), (0.8, stack)], 0.045, ink=0.4)
    pen.ellipse("body", trim, 0.06, -0.14, 0.14, 0.16)
    pen.box("body", paint, -0.4, -0.14, 0.94, 0.36, 0.14, relief=1.5)
    for x in (0.02, 0.42):
        pen.stroke("body", trim, [(x, -0.11), (x, 0.33)], 0.022, ink=0, relief=0)
    pen.box("body", dark, -0.94, roof, -0.3, 0.42, 0.04)
    pen.box("body", mix(dark, INK, 0.4), -1.0, roof - 0.08, -0.22, roof + 0.04, 0.05)
    _window(pen, -0.8, roof + 0.14, -0.44, 0.02)
    pen.box("body", mix(INK, dark, 0.3), -0.96, 0.36, 0.98, 0.5, 0.02, ink=0.3)
    pen.polygon("body", trim, [(0.86, 0.42), (1.02, 0.74), (0.72, 0.74)], ink=0.4)
    _lamp(pen, 0.94, 0.06, 0.085)
    big = dice.around(0.2, 0.08)
    for x in (-0.68, -0.24, 0.2):
        _wheel(pen, x, 0.56, big, 3, turn, rim=mix(paint, _STEEL, 0.5))
    _wheel(pen, 0.58, 0.62, 0.15, 2, turn, rim=mix(paint, _STEEL, 0.5))
    dx, dy = 0.08 * math.cos(turn), 0.08 * math.sin(turn)
    pen.stroke("wheel", _STEEL, [(-0.68 + dx, 0.56 + dy), (0.2 + dx, 0.56 + dy)], 0.032, ink=0.4)


def plane(pen: Pen, dice: Dice) -> None:
    """A fuselage with a row of windows, two swept wings and a tail fin."""
    paint, trim = mix(vary(dice.pick(_PAINT), dice), WHITE, 0.45), vary(dice.pick(_PAINT), dice)
    sweep, reach = dice.around(0.42, 0.15), dice.around(0.62, 0.1)
    pen.polygon(
        "wing",
        mix(paint, INK, 0.28),
        [(0.3, -0.06), (-0.12 - sweep, -0.5), (-0.3 - sweep, -0.46), (-0.16, -0.06)],
    )
    pen.polygon("fin", trim, [(-0.62, -0.02), (-1.0, -0.56), (-0.76, -0.56), (-0.36, -0.06)])
    pen.stroke("body", paint, [(-0.84, 0.0), (0.66, 0.06)], 0.13, 0.24, relief=1.3)
    pen.stroke("body", trim, [(-0.9, 0.08), (0.76, 0.18)], 0.035, ink=0, relief=0)
    for k in range(dice.integer(4, 5)):
        x = -0.46 + 0.22 * k
        _window(pen, x - 0.075, -0.1 + 0.02 * k, x + 0.075, 0.06 + 0.02 * k)
    pen.polygon("window", _GLASS, [(0.62, -0.1), (0.78, -0.06), (0.84, 0.06), (0.64, 0.06)], ink=0.5)
    pen.polygon("fin", mix(trim, INK, 0.15), [(-0.6, 0.02), (-1.04, 0.1), (-1.04, 0.2), (-0.66, 0.1)])
    pen.polygon(
        "wing",
        mix(paint, WHITE, 0.2),
        [(0.36, 0.12), (-0.18 - sweep, reach), (-0.42 - sweep, reach), (-0.14, 0.12)],
    )
    pen.stroke("wing", (0.4, 0.4, 0.45), [(-0.12, 0.36), (0.1, 0.36)], 0.09, 0.1, ink=0.5)


def windmill(pen: Pen, dice: Dice) -> None:
    """A tapering tower with a window and a door, and four sails of cloth."""
    wall, cap = mix(vary(dice.pick(_PAINT), dice, 0.04), WHITE, 0.55), vary((0.50, 0.30, 0.24), dice)
    cloth, turn, hub = vary(dice.pick(_CLOTH), dice, 0.03), dice(0, math.pi / 2), (0.0, -0.38)
    pen.polygon("tower", wall, [(-0.44, 0.95), (-0.26, -0.4), (0.26, -0.4), (0.44, 0.95)], relief=1.3)
    for y in (-0.02, 0.34, 0.68):
        wide = 0.30 + 0.12 * y
        pen.stroke("tower", mix(wall, INK, 0.25), [(-wide, y), (wide, y)], 0.014, ink=0, relief=0)
    pen.polygon("tower", cap, [(-0.32, -0.36), (-0.18, -0.64), (0.18, -0.64), (0.32, -0.36)])
    _window(pen, -0.12, 0.08, 0.14, 0.36)
    pen.box("door", (0.36, 0.23, 0.16), -0.15, 0.56, 0.15, 0.95, 0.1, ink=0.5)
    for k in range(4):
        a = turn + k * math.pi / 2
        c, s = math.cos(a), math.sin(a)

        def spot(along: float, across: float, c: float = c, s: float = s) -> tuple[float, float]:
            return hub[0] + c * along - s * across, hub[1] + s * along + c * across

        pen.polygon("sail", cloth, [spot(0.2, 0.02), spot(0.88, 0.02), spot(0.88, 0.25), spot(0.2, 0.2)])
        for along in (0.42, 0.66):
            pen.stroke("sail", mix(cloth, INK, 0.4), [spot(along, 0.03), spot(along, 0.21)], 0.014, ink=0, relief=0)
        pen.stroke("sail", (0.36, 0.24, 0.17), [hub, spot(0.92, 0.0)], 0.034, ink=0.3)
    pen.ellipse("sail", (0.30, 0.20, 0.15), hub[0], hub[1], 0.085, 0.085, gloss=0.2)
