"""What a comparison's worker does: a pass for the picture, maps for cells, curves for maps, with pace and patience."""

from __future__ import annotations

import time
from collections.abc import Callable

from ...evaluation.curves import Curve, deletion, insertion
from ...explanation import Explanation, explain
from ...maps.passes import Passes
from ..ground import Ground
from .cells import Cell, seconds_text

FIRST = 0.5  # seconds of work after which the rest is estimated
TOLD = 0.1  # seconds between two messages about progress


class Stopped(Exception):
    """Raised inside a cell's work when this attempt is not wanted any more."""


class Costly(Exception):
    """Raised inside a cell's work when it would take longer than the patience; says how long."""


def map_of(cell: Cell, ground: Ground, passes: Passes) -> Explanation:
    """The cell's explanation, as `camwidgets.explain` makes it; `passes` counts and tells how far it is."""
    found: Explanation = explain(
        ground.classifier, ground.x, cell.row.method, ground.target, enhance=cell.enhanced, progress=passes,
        **cell.parameters,
    )  # fmt: skip
    return found


def curves_of(found: Explanation, ground: Ground, steps: int | None, passes: Passes) -> dict[str, Curve]:
    """Insertion and deletion of a map: two times `steps` + 1 forward passes."""
    asked = (ground.classifier, ground.x, ground.target, found.map)
    return {
        "insertion": insertion(*asked, steps=steps, passes=passes.step(0, 2)),
        "deletion": deletion(*asked, steps=steps, passes=passes.step(1, 2)),
    }


class Pace:
    """Listens to the progress of one piece of work: how far, how long still, and whether that is too long.

    Args:
        check: raises when the work is not wanted any more. tell: (share done, words), ten times a second at most.
        patience: seconds that the whole may take; beyond that `Costly` is raised, once the pace is known.
        skip: steps at the beginning that are no measure of the rest.
    """

    def __init__(
        self, check: Callable[[], None], tell: Callable[[float, str], None], patience: float = float("inf"),
        skip: float = 0,
    ) -> None:  # fmt: skip
        self._check, self._tell, self._patience, self._skip = check, tell, patience, skip
        self._begun, self._told = time.perf_counter(), 0.0
        # Where the pace is measured from: seconds, share done, passes (the first is no part of the progress).
        self._from: tuple[float, float, float] | None = None if skip else (self._begun, 0.0, 1)
        self.passes = Passes(progress=self)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._begun

    def __call__(self, done: float, total: float) -> None:
        self._check()
        share, now = min(1.0, done / total) if total > 0 else 0.0, time.perf_counter()
        if self._from is None and done >= self._skip:
            self._from = (now, share, self._run)
        left = self._left(share, now)
        if left is not None and now - self._begun + left > self._patience:
            raise Costly(self._estimate(share, now - self._begun + left))
        if now - self._told >= TOLD:
            self._told = now
            self._tell(share, f"{100 * share:.0f} %{'' if left is None else f', about {seconds_text(left)} left'}")

    @property
    def _run(self) -> int:
        return self.passes.counts.forward + self.passes.counts.backward

    def _left(self, share: float, now: float) -> float | None:
        """Seconds still to go; None while the pace is not known."""
        if self._from is None or now - self._from[0] < FIRST or not self._from[1] < share < 1:
            return None
        return (1 - share) * (now - self._from[0]) / (share - self._from[1])

    def _estimate(self, share: float, whole: float) -> str:
        assert self._from is not None
        passes = self._run + (1 - share) * (self._run - self._from[2]) / (share - self._from[1])
        return f"≈ {float(f'{passes:.2g}'):.0f} passes, about {seconds_text(whole)} on this machine"
