"""Tileable noise, made once from fixed seeds: the raw material of grass, clouds, wood and stone.

A tile is the same in every process, so a picture stays a pure function of its own seed; only the place at
which a tile is cut is random. Every tile is `TILE`×`TILE` float32 with mean 0 and standard deviation 1.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from camwidgets.datasets.dice import Dice

Plane = NDArray[np.floating[Any]]
TILE = 256
# name -> (seed, correlation length across in px, down in px, octaves)
KINDS: dict[str, tuple[int, float, float, int]] = {
    "grain": (1, 0.6, 0.6, 1),
    "mottle": (2, 3.0, 3.0, 2),
    "cloud": (3, 26.0, 13.0, 4),
    "blades": (4, 0.9, 5.0, 2),
    "ripple": (5, 9.0, 1.3, 2),
    "gravel": (6, 1.3, 1.1, 1),
    "hills": (7, 30.0, 30.0, 2),
    "fibre": (8, 14.0, 0.7, 2),
}


@cache
def tile(kind: str) -> Plane:
    """The whole tile, repeated once each way (2·TILE square) so that any cut of TILE px or less is a view."""
    seed, across, down, octaves = KINDS[kind]
    white = np.random.Generator(np.random.PCG64(seed)).standard_normal((octaves, TILE, TILE))
    fx, fy = np.fft.rfftfreq(TILE)[None, :], np.fft.fftfreq(TILE)[:, None]
    total = np.zeros((TILE, TILE))
    for octave in range(octaves):
        size = 0.5**octave
        spectrum = np.exp(-2 * np.pi**2 * ((fx * across * size) ** 2 + (fy * down * size) ** 2))
        smooth = np.fft.irfft2(np.fft.rfft2(white[octave]) * spectrum, s=(TILE, TILE))
        total += size * smooth / smooth.std()
    total = (total - total.mean()) / total.std()
    return np.tile(total.astype(np.float32), (2, 2))


def cut(kind: str, height: int, width: int, dice: Dice) -> Plane:
    """A height×width piece (each ≤ TILE) of a tile at a random place; a read-only view, not a copy."""
    y, x = dice.integer(0, TILE - 1), dice.integer(0, TILE - 1)
    piece = tile(kind)[y : y + height, x : x + width]
    return piece[:, ::-1] if dice.chance(0.5) else piece


def unit(values: Plane) -> Plane:
    """Clip a temporary array to [0.

    1] in place (half the time of `np.clip` on the small windows of a scene).
    """
    np.maximum(values, 0.0, out=values)
    return np.minimum(values, 1.0, out=values)


def smoothstep(low: float, high: float, values: Plane) -> Plane:
    """0 below low, 1 above high, a smooth cubic between."""
    t = unit((values - low) * (1.0 / (high - low)))
    return t * t * (3.0 - 2.0 * t)
