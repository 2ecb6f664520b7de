"""Cat, dog, bird and duck, built from shared parts: eyes, muzzles, legs, tails, beaks, wings."""

from __future__ import annotations

import math

from camwidgets.datasets.dice import Dice
from camwidgets.datasets.toyworld.brush import Colour, Pen
from camwidgets.datasets.toyworld.contexts import vary

INK: Colour = (0.10, 0.08, 0.09)
WHITE: Colour = (0.97, 0.96, 0.93)

_FUR: tuple[Colour, ...] = (
    (0.80, 0.52, 0.26), (0.62, 0.44, 0.30), (0.88, 0.76, 0.58), (0.60, 0.58, 0.57), (0.36, 0.30, 0.29),
    (0.93, 0.90, 0.86), (0.74, 0.62, 0.50),
)  # fmt: skip
_FEATHERS: tuple[Colour, ...] = (
    (0.28, 0.48, 0.76), (0.80, 0.32, 0.26), (0.90, 0.70, 0.26), (0.55, 0.42, 0.32), (0.92, 0.91, 0.88),
    (0.44, 0.40, 0.44), (0.36, 0.56, 0.46),
)  # fmt: skip


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """Colour a with a share of b."""
    r, g, b_ = (x + (y - x) * share for x, y in zip(a, b, strict=True))
    return r, g, b_


def _eye(pen: Pen, x: float, y: float, size: float, iris: Colour, slit: float = 1.0) -> None:
    """An eye as all animals have it: white rim, iris, pupil (slit: its width), a glint."""
    pen.ellipse("eye", WHITE, x, y, size * 1.12, size * 1.12, ink=0.7, relief=0.3)
    pen.ellipse("eye", iris, x, y, size * 0.86, size * 0.86, ink=0.3, relief=0.5)
    pen.ellipse("eye", INK, x + 0.1 * size, y, size * 0.46 * slit, size * 0.62, ink=0.0, relief=0.0)
    pen.ellipse("eye", WHITE, x - 0.2 * size, y - 0.32 * size, size * 0.22, size * 0.22, ink=0.0, relief=0.0)


def _muzzle(pen: Pen, x: float, y: float, rx: float, ry: float, fur: Colour, nose: Colour) -> None:
    pen.ellipse("muzzle", mix(fur, WHITE, 0.6), x, y, rx, ry, ink=0.25)
    pen.ellipse("muzzle", nose, x + 0.1 * rx, y - 0.45 * ry, 0.36 * rx, 0.36 * ry, ink=0.2, gloss=0.3)
    pen.stroke(
        "muzzle",
        mix(fur, INK, 0.6),
        [(x - 0.4 * rx, y + 0.45 * ry), (x + 0.5 * rx, y + 0.4 * ry)],
        0.018,
        ink=0,
    )


def _legs(pen: Pen, dice: Dice, fur: Colour, foot: Colour, top: float, low: float, thick: float) -> None:
    """Four legs, the far pair darker."""
    for pair, shade in ((0.10, 0.72), (0.0, 1.0)):
        for x in (-0.52, 0.22):
            swing, hip = dice(-0.10, 0.10), x + pair
            near = mix(INK, fur, shade)
            pen.stroke("leg", near, [(hip, top), (hip + swing, low - 0.04)], thick, thick * 0.82, ink=0.45)
            pen.ellipse(
                "leg",
                mix(INK, foot, shade),
                hip + swing + 0.05,
                low - 0.02,
                thick * 1.25,
                thick * 0.75,
                ink=0.45,
            )


def cat(pen: Pen, dice: Dice) -> None:
    """Pointed ears, slit eyes, a long raised tail."""
    fur = vary(dice.pick(_FUR), dice)
    belly, marks = mix(fur, WHITE, 0.45), mix(fur, INK, 0.42)
    sway, lift, low = dice(-0.12, 0.12), dice(-0.1, 0.12), 0.9
    tail = [(-0.66, 0.22), (-0.92, -0.05), (-0.92 + sway, -0.42), (-0.74 + 1.6 * sway, -0.72)]
    pen.stroke("tail", fur, tail, 0.10, 0.085)
    pen.ellipse("tail", marks, tail[-1][0], tail[-1][1], 0.085, 0.085, ink=0.4)
    _legs(pen, dice, fur, belly, 0.42, low, 0.105)
    pen.ellipse("body", fur, -0.16, 0.26, 0.62, 0.31)
    for k in range(dice.integer(0, 1) * 4):
        x = -0.52 + 0.2 * k
        pen.stroke("body", marks, [(x, 0.02), (x - 0.03, 0.24)], 0.035, 0.012, ink=0, relief=0)
    hx, hy = 0.5, -0.16 + lift
    for side in (-1.0, 1.0):
        tip, wide = dice.around(0.62, 0.1), dice.around(0.2, 0.1)
        root = hx + side * 0.235
        ear = [(root - wide, hy - 0.14), (root + side * 0.09, hy - tip), (root + wide * 0.8, hy - 0.12)]
        pen.polygon("pointed ear", fur, ear)
        inner = [
            (root - wide * 0.5, hy - 0.2),
            (root + side * 0.075, hy - tip * 0.83),
            (root + wide * 0.4, hy - 0.2),
        ]
        pen.polygon("pointed ear", (0.88, 0.60, 0.58), inner, ink=0.15)
    pen.ellipse("head", fur, hx, hy, 0.42, 0.36)
    _muzzle(pen, hx + 0.02, hy + 0.17, 0.17, 0.13, fur, (0.84, 0.46, 0.46))
    iris = dice.pick(((0.62, 0.72, 0.22), (0.88, 0.68, 0.2), (0.36, 0.66, 0.74)))
    for side in (-1.0, 1.0):
        _eye(pen, hx + side * 0.18, hy - 0.04, 0.105, iris, slit=0.55)


def dog(pen: Pen, dice: Dice) -> None:
    """Floppy ears, a heavy muzzle, a collar, a short tail that wags."""
    fur = vary(dice.pick(_FUR), dice)
    belly, marks = mix(fur, WHITE, 0.45), mix(fur, INK, 0.42)
    wag, lift, low = dice(-0.16, 0.16), dice(-0.12, 0.08), 0.92
    pen.stroke("tail", fur, [(-0.62, 0.12), (-0.82 + wag / 2, -0.1), (-0.86 + wag, -0.34)], 0.10, 0.045)
    _legs(pen, dice, fur, belly, 0.36, low, 0.12)
    pen.ellipse("body", fur, -0.14, 0.2, 0.6, 0.33)
    if dice.chance(0.5):
        pen.ellipse(
            "body",
            marks,
            dice(-0.4, 0.0),
            dice(0.08, 0.22),
            dice(0.1, 0.2),
            dice(0.08, 0.15),
            ink=0,
            relief=0.6,
        )
    hx, hy = 0.5, -0.24 + lift
    pen.stroke("body", vary((0.78, 0.20, 0.20), dice), [(hx - 0.32, hy + 0.3), (hx + 0.1, hy + 0.4)], 0.07)
    pen.ellipse("head", fur, hx, hy, 0.39, 0.37)
    _muzzle(pen, hx + 0.08, hy + 0.19, 0.27, 0.2, fur, INK)
    for side in (-1.0, 1.0):
        x, drop, turn = hx + side * 0.36, dice.around(0.3, 0.15), -side * dice(0.15, 0.4)
        pen.ellipse("floppy ear", marks, x, hy + 0.06, 0.15, drop, turn)
    iris = dice.pick(((0.42, 0.27, 0.14), (0.55, 0.38, 0.18), (0.36, 0.66, 0.74)))
    for side in (-1.0, 1.0):
        _eye(pen, hx + side * 0.16, hy - 0.1, 0.095, iris)


def _wing(pen: Pen, x: float, y: float, long: float, high: float, turn: float, colour: Colour) -> None:
    """A folded wing with three rows of feathers."""
    pen.ellipse("wing", colour, x, y, long, high, turn)
    c, s = math.cos(turn), math.sin(turn)
    for k in range(3):
        a, b = -0.75 + 0.28 * k, -0.1 + 0.35 * k
        start = (x + c * a * long - s * b * high * 0.5, y + s * a * long + c * b * high * 0.5)
        end = (start[0] + c * 0.8 * long, start[1] + s * 0.8 * long)
        pen.stroke("wing", mix(colour, INK, 0.45), [start, end], 0.022, 0.014, ink=0, relief=0)


def bird(pen: Pen, dice: Dice) -> None:
    """Upright on two thin legs, a pointed beak, a wing, a straight tail."""
    coat, tilt = vary(dice.pick(_FEATHERS), dice), dice(0.35, 0.65)
    breast, dark = mix(coat, (0.98, 0.86, 0.66), 0.6), mix(coat, INK, 0.32)
    leg = (0.86, 0.56, 0.24)
    far = (-0.62 - 0.34 * math.cos(tilt), 0.24 + 0.5 * math.sin(tilt))
    pen.polygon("tail", dark, [(-0.3, 0.05), far, (far[0] + 0.12, far[1] + 0.2), (-0.12, 0.36)])
    for x in (-0.08, 0.14):
        foot = (x + dice(-0.05, 0.08), 0.94)
        pen.stroke("leg", leg, [(x, 0.48), foot], 0.045, ink=0.5)
        pen.stroke("leg", leg, [(foot[0] - 0.08, 0.94), (foot[0] + 0.14, 0.94)], 0.04, ink=0.5)
    pen.ellipse("body", coat, 0.0, 0.16, 0.56, 0.42, -tilt)
    pen.ellipse("body", breast, 0.18, 0.24, 0.34, 0.28, -tilt, ink=0)
    _wing(pen, -0.12, 0.14, dice.around(0.46, 0.08), dice.around(0.24, 0.1), -tilt + dice(-0.1, 0.25), dark)
    hx, hy = 0.42, -0.42 + dice(-0.05, 0.05)
    open_by, long = dice(0.0, 0.05), dice.around(0.34, 0.12)
    beak = vary((0.93, 0.60, 0.18), dice)
    pen.polygon(
        "beak",
        mix(beak, INK, 0.2),
        [(hx + 0.2, hy + 0.02), (hx + 0.24, hy + 0.18), (hx + long + 0.18, hy + 0.1 + open_by)],
    )
    pen.ellipse("head", coat, hx, hy, 0.33, 0.31)
    pen.polygon("beak", beak, [(hx + 0.22, hy - 0.12), (hx + 0.24, hy + 0.1), (hx + 0.26 + long, hy + 0.06 - open_by)])
    _eye(pen, hx + 0.08, hy - 0.06, 0.1, (0.30, 0.20, 0.12))


def duck(pen: Pen, dice: Dice) -> None:
    """Low on a boat-shaped body, a neck, a flat beak, an upturned tail, no legs to be seen."""
    coat = vary(dice.pick(_FEATHERS), dice)
    dark, head = mix(coat, INK, 0.28), coat
    if dice.chance(0.4):
        head = vary((0.15, 0.42, 0.32), dice)
    lift = dice(-0.08, 0.08)
    pen.polygon("tail", dark, [(-0.5, 0.12), (-1.0, -0.16 + lift), (-0.94, 0.12), (-0.6, 0.44)])
    pen.ellipse("body", coat, -0.1, 0.32, 0.76, 0.36)
    hx, hy = 0.52 + dice(-0.05, 0.05), -0.4 + lift
    pen.stroke("body", coat, [(0.36, 0.24), (0.46, 0.02), (hx - 0.05, hy + 0.12)], 0.22, 0.16, ink=0.3)
    if head != coat:
        pen.stroke("body", WHITE, [(0.32, 0.02), (0.6, 0.0)], 0.045, ink=0.2)
    _wing(pen, -0.2, 0.26, dice.around(0.48, 0.08), dice.around(0.22, 0.1), dice(-0.2, 0.05), dark)
    beak = vary((0.95, 0.66, 0.16), dice)
    pen.ellipse("beak", beak, hx + 0.36, hy + 0.09, dice.around(0.26, 0.1), 0.085, 0.12)
    pen.ellipse("head", head, hx, hy, 0.29, 0.27)
    pen.stroke("beak", mix(beak, INK, 0.4), [(hx + 0.3, hy + 0.1), (hx + 0.54, hy + 0.13)], 0.014, ink=0, relief=0)
    _eye(pen, hx + 0.08, hy - 0.05, 0.085, (0.30, 0.20, 0.12))
