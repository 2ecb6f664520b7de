"""The canvas and the pen: antialiased, shaded shapes from signed distance functions.

Every shape is painted inside the small window that it touches. While it paints, the pen writes down which
object and which part each pixel belongs to, so occlusion comes out right by itself: what is painted later is
in front.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from camwidgets.datasets.noise import Plane, unit
from camwidgets.datasets.toyworld.names import PARTS

SIZE = 96  # pixels along one side of a scene
NOTHING, CLUTTER, OCCLUDER = 0, 254, 255  # reserved values of the instance map; objects are 1, 2, …

Colour = tuple[float, float, float]
Point = tuple[float, float]
Window = tuple[slice, slice]

_X = (np.arange(SIZE, dtype=np.float32) + 0.5)[None, :]
_Y = (np.arange(SIZE, dtype=np.float32) + 0.5)[:, None]
_PART_ID = {name: i + 1 for i, name in enumerate(PARTS)}


class Canvas:
    """A picture in the making: planar float32 RGB in [0, 1] and maps that say what each pixel shows.

    `owner` holds 256·instance + part, where part is 0 or 1 + index into PARTS; `context` 0 or 1 + index into
    CONTEXTS.
    """

    def __init__(self) -> None:
        self.image: NDArray[np.float32] = np.zeros((3, SIZE, SIZE), np.float32)
        self.owner: NDArray[np.uint16] = np.zeros((SIZE, SIZE), np.uint16)
        self.context: NDArray[np.uint8] = np.zeros((SIZE, SIZE), np.uint8)

    @property
    def instance(self) -> NDArray[np.uint8]:
        return (self.owner >> 8).astype(np.uint8)

    @property
    def part(self) -> NDArray[np.uint8]:
        return (self.owner & 255).astype(np.uint8)

    def blend(self, window: Window, alpha: Plane, colour: NDArray[np.float32]) -> None:
        """Lay a colour (3×h×w or 3×1×1) over a window with opacity alpha (h×w)."""
        under = self.image[:, window[0], window[1]]
        under += alpha * (colour - under)


def rgb(colour: Colour) -> NDArray[np.float32]:
    """A colour as a 3×1×1 array that broadcasts over planar pictures."""
    return np.array(colour, np.float32).reshape(3, 1, 1)


def window_of(x0: float, y0: float, x1: float, y1: float, pad: float = 2.0) -> Window | None:
    """The pixels that a box touches, or None when it lies outside the picture."""
    left, right = max(int(x0 - pad), 0), min(int(x1 + pad) + 1, SIZE)
    top, bottom = max(int(y0 - pad), 0), min(int(y1 + pad) + 1, SIZE)
    return (slice(top, bottom), slice(left, right)) if left < right and top < bottom else None


class Pen:
    """Draws in an object's own coordinates: x to the right (forwards), y down, the object about 2 units
    across.

    Args:
        canvas: what to paint on.
        centre: where the object's origin lies, in pixels (x, y).
        scale: pixels per unit.
        angle: radians, clockwise on the screen.
        flip: mirror left and right.
        instance: the object's number, or CLUTTER or OCCLUDER.
        grain: H×W plane that multiplies all colours (fur, feathers, paint), or None for a smooth surface.
    """

    def __init__(
        self,
        canvas: Canvas,
        centre: Point,
        scale: float,
        *,
        angle: float = 0.0,
        flip: bool = False,
        instance: int = CLUTTER,
        grain: Plane | None = None,
    ) -> None:
        self.canvas, self.centre, self.scale, self.instance, self.grain = (
            canvas,
            centre,
            scale,
            instance,
            grain,
        )
        cos, sin, sign = math.cos(angle) / scale, math.sin(angle) / scale, -1.0 if flip else 1.0
        dx, dy = _X - centre[0], _Y - centre[1]
        self._ux, self._uy = (sign * cos) * dx, (sign * sin) * dy
        self._vx, self._vy = -sin * dx, cos * dy
        self._cos, self._sin, self._sign = cos * scale, sin * scale, sign

    # -- shapes --------------------------------------------------------------------------------------------
    def ellipse(
        self,
        part: str,
        colour: Colour,
        x: float,
        y: float,
        rx: float,
        ry: float,
        turn: float = 0.0,
        **look: float,
    ) -> None:
        """An ellipse with half-axes rx, ry, turned by `turn` radians in the object's coordinates."""
        reach = max(rx, ry)
        window = self._window(x - reach, y - reach, x + reach, y + reach)
        if window is None:
            return
        u, v = self._grid(window, x, y)
        if turn:
            c, s = math.cos(turn), math.sin(turn)
            u, v = c * u + s * v, c * v - s * u
        u *= 1 / rx
        v *= 1 / ry
        k0 = np.sqrt(u * u + v * v)
        if rx == ry:
            self._paint(window, (k0 - 1.0) * rx, part, colour, rx, **look)
            return
        u *= 1 / rx
        v *= 1 / ry
        k1 = np.sqrt(u * u + v * v) + 1e-6
        self._paint(window, k0 * (k0 - 1.0) / k1, part, colour, min(rx, ry), **look)

    def stroke(
        self,
        part: str,
        colour: Colour,
        points: Sequence[Point],
        r0: float,
        r1: float | None = None,
        **look: float,
    ) -> None:
        """A round-ended line through points, its half-width going evenly from r0 to r1."""
        r1 = r0 if r1 is None else r1
        r, xs, ys = max(r0, r1), [p[0] for p in points], [p[1] for p in points]
        window = self._window(min(xs) - r, min(ys) - r, max(xs) + r, max(ys) + r)
        if window is None:
            return
        u, v = self._grid(window)
        distance: Plane | None = None
        pieces = len(points) - 1
        for i, ((x0, y0), (x1, y1)) in enumerate(pairwise(points)):
            bx, by, du, dv = x1 - x0, y1 - y0, u - x0, v - y0
            h = unit((du * bx + dv * by) * (1 / (bx * bx + by * by)))
            start, end = r0 + (r1 - r0) * i / pieces, r0 + (r1 - r0) * (i + 1) / pieces
            du -= bx * h
            dv -= by * h
            d = np.sqrt(du * du + dv * dv)
            d -= start if start == end else start + (end - start) * h
            distance = d if distance is None else np.minimum(distance, d)
        assert distance is not None
        self._paint(window, distance, part, colour, r, **look)

    def polygon(self, part: str, colour: Colour, points: Sequence[Point], **look: float) -> None:
        """A convex polygon; the points may go round either way."""
        xs, ys = [p[0] for p in points], [p[1] for p in points]
        window = self._window(min(xs), min(ys), max(xs), max(ys))
        if window is None:
            return
        u, v = self._grid(window)
        edges = list(zip(points, [*points[1:], points[0]], strict=True))
        around = sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in edges)
        distance: Plane | None = None
        for (x0, y0), (x1, y1) in edges:
            length = math.copysign(math.hypot(x1 - x0, y1 - y0), around)
            nx, ny = (y1 - y0) / length, (x0 - x1) / length
            d = nx * u + (ny * v - (nx * x0 + ny * y0))
            distance = d if distance is None else np.maximum(distance, d)
        assert distance is not None
        self._paint(window, distance, part, colour, min(max(xs) - min(xs), max(ys) - min(ys)) / 2, **look)

    def box(
        self,
        part: str,
        colour: Colour,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        round_by: float = 0.0,
        **look: float,
    ) -> None:
        """A rectangle from (x0, y0) to (x1, y1) with corners rounded by `round_by`."""
        window = self._window(x0, y0, x1, y1)
        if window is None:
            return
        half_x, half_y = (x1 - x0) / 2, (y1 - y0) / 2
        u, v = self._grid(window, (x0 + x1) / 2, (y0 + y1) / 2)
        qx, qy = np.abs(u) - (half_x - round_by), np.abs(v) - (half_y - round_by)
        outside = np.sqrt(np.maximum(qx, 0.0) ** 2 + np.maximum(qy, 0.0) ** 2)
        distance = outside + np.minimum(np.maximum(qx, qy), 0.0) - round_by
        self._paint(window, distance, part, colour, min(half_x, half_y), **look)

    def shadow(self, x: float, y: float, rx: float, ry: float, strength: float) -> None:
        """A soft dark ellipse on whatever lies below; belongs to no object."""
        window = self._window(x - rx, y - ry, x + rx, y + ry)
        if window is None:
            return
        u, v = self._grid(window, x, y)
        d = (u * (1 / rx)) ** 2 + (v * (1 / ry)) ** 2
        self.canvas.image[:, window[0], window[1]] *= 1.0 - strength * unit(1.0 - d)

    # -- how they are laid down ----------------------------------------------------------------------------
    def _grid(self, window: Window, x: float = 0.0, y: float = 0.0) -> tuple[Plane, Plane]:
        """The object's coordinates, from (x, y), of the pixels in a window."""
        rows, columns = window
        return (self._ux[:, columns] - x) + self._uy[rows], (self._vx[:, columns] - y) + self._vy[rows]

    def _window(self, x0: float, y0: float, x1: float, y1: float) -> Window | None:
        """The pixels that a box in the object's coordinates can touch."""
        cx, cy = self._sign * (x0 + x1) / 2, (y0 + y1) / 2
        half_x, half_y = (x1 - x0) / 2, (y1 - y0) / 2
        c, s, k = self._cos, self._sin, self.scale
        px, py = self.centre[0] + k * (c * cx - s * cy), self.centre[1] + k * (s * cx + c * cy)
        rx, ry = k * (abs(c) * half_x + abs(s) * half_y), k * (abs(s) * half_x + abs(c) * half_y)
        return window_of(px - rx, py - ry, px + rx, py + ry)

    def _paint(
        self,
        window: Window,
        distance: Plane,
        part: str,
        colour: Colour,
        reach: float,
        *,
        ink: float = 0.55,
        relief: float = 1.0,
        gloss: float = 0.0,
    ) -> None:
        """Colour the inside (distance < 0), lit from the upper left, its rim drawn in ink.

        ink: how dark the outline is; relief: how round the surface looks; gloss: strength of a highlight.
        """
        d = distance * self.scale
        alpha = unit(0.5 - d)
        paint: Plane = rgb(colour)
        if ink or relief:
            paint = paint * self._tone(window, d, max(reach * self.scale, 1.0), ink, relief)
        if gloss:
            paint += gloss * self._highlight(window, max(reach * self.scale, 1.0))
        self.canvas.blend(window, alpha, paint)
        np.putmask(self.canvas.owner[window], alpha > 0.5, self.instance << 8 | _PART_ID.get(part, 0))

    def _tone(self, window: Window, d: Plane, radius: float, ink: float, relief: float) -> Plane:
        """Brightness of a rounded surface lit from the upper left.

        With an inked rim; d in pixels, < 0 inside.
        """
        rows, columns = window
        tone = d * (-1.0 / radius)
        unit(tone)
        np.sqrt(tone, out=tone)
        tone *= 0.2 * relief
        slope = 0.32 * relief / max(rows.stop - rows.start, columns.stop - columns.start)
        across = (0.88 + 0.3 * slope * (columns.start + columns.stop)) - 0.6 * slope * _X[:, columns]
        tone += across - slope * (_Y[rows] - (rows.start + rows.stop) / 2)
        if self.grain is not None:
            tone *= self.grain[window]
        if ink:
            rim = d * (ink / 1.6)
            rim += ink
            np.maximum(rim, 0.0, out=rim)
            np.minimum(rim, ink, out=rim)
            rim *= tone
            tone -= rim
        return tone

    def _highlight(self, window: Window, radius: float) -> Plane:
        """A soft bright spot, up and left of the middle of a window."""
        rows, columns = window
        x, y = (columns.start + columns.stop) / 2, (rows.start + rows.stop) / 2
        reach = 1 / (0.5 * radius)
        dx, dy = (_X[:, columns] - (x - 0.35 * radius)) * reach, (_Y[rows] - (y - 0.45 * radius)) * reach
        return unit(1.0 - (dx * dx + dy * dy))
