"""Which window of the lower tap one position of the upper tap can see."""

from __future__ import annotations

from dataclasses import dataclass

from ..classifiers.taps import Tap


@dataclass(frozen=True)
class Windows:
    """Windows of one size in the lower tap, one for each position of the upper tap.

    A window is large enough for the whole receptive field and begins at a multiple of the stride between the taps, so
    that strided layers fall on the same grid as in the whole map.

    Attributes:
        size: (h, w) of a window. step: stride between the taps. limit: (h, w) of the lower tap.
        start, span: first row/column that position 0 sees, and how many it sees (may lie outside the map).
    """

    size: tuple[int, int]
    step: tuple[int, int]
    limit: tuple[int, int]
    start: tuple[int, int]
    span: tuple[int, int]

    @property
    def whole(self) -> bool:
        """Whether a window is the whole map."""
        return self.size == self.limit

    def corner(self, y: int, x: int) -> tuple[int, int]:
        """First row and column of the window of position (y, x) of the upper tap."""
        return self._first(0, y), self._first(1, x)

    def inside(self, y: int, x: int) -> tuple[int, int]:
        """Where position (y, x) of the upper tap lies in the segment's result for its window."""
        top, left = self.corner(y, x)
        return y - top // self.step[0], x - left // self.step[1]

    def _first(self, axis: int, i: int) -> int:
        step = self.step[axis]
        wanted = (self.start[axis] + i * step) // step * step
        last = max(0, self.limit[axis] - self.size[axis]) // step * step
        return max(0, min(wanted, last))


def windows(lower: Tap, upper: Tap) -> Windows:
    """The windows of `lower` that single positions of `upper` see: the whole map where they cannot be told."""
    limit = lower.size
    a, b = lower.receptive_field, upper.receptive_field
    if a.whole or b.whole or any(jb % ja for ja, jb in zip(a.jump, b.jump, strict=True)):
        return Windows(limit, (1, 1), limit, (0, 0), limit)
    step = (b.jump[0] // a.jump[0], b.jump[1] // a.jump[1])
    start = [int((b.start[i] - a.start[i]) // a.jump[i]) for i in (0, 1)]
    span = [int(-(-(b.size[i] - a.size[i]) // a.jump[i])) + 2 for i in (0, 1)]
    # Room to begin on the grid, one step more on each side, and a multiple of the stride: borders then fall alike.
    room = [-(-(span[i] + 2 * step[i]) // step[i]) * step[i] for i in (0, 1)]
    size = [limit[i] if room[i] >= limit[i] - step[i] else room[i] for i in (0, 1)]
    if size[0] == limit[0] or size[1] == limit[1]:
        return Windows(limit, step, limit, (0, 0), limit)
    return Windows((size[0], size[1]), step, limit, (start[0] - step[0], start[1] - step[1]), (span[0], span[1]))
