"""As many surfaces as wanted, each a pure function of the seed, its number and the parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from camwidgets.datasets.checks import check_share, checked_names
from camwidgets.datasets.dice import Dice
from camwidgets.datasets.textures.flaws import DEFECTS, paint_defect
from camwidgets.datasets.textures.surfaces import SIZE, SURFACES, paint_surface
from camwidgets.datasets.world import World

LABELS: tuple[str, ...] = ("sound", "defect")
_ORDER, _SURFACE, _DEFECT, _SPOILT = range(100, 104)
_BLOCK = 20


@dataclass(frozen=True, eq=False)
class Surface:
    """A picture of a surface and its ground truth.

    Attributes:
        index: its number in its world.
        image: SIZE×SIZE×3 uint8.
        kind: one of `SURFACES`.
        defect: one of `DEFECTS`, or None when it is sound.
        mask: SIZE×SIZE bool, the defect's pixels (none when it is sound).
    """

    index: int
    seed: int
    image: NDArray[np.uint8] = field(repr=False)
    kind: str
    defect: str | None
    mask: NDArray[np.bool_] = field(repr=False)

    @property
    def main(self) -> int:
        """Index into `LABELS`: 0 sound, 1 defect."""
        return int(self.defect is not None)

    @property
    def name(self) -> str:
        """The label's name, "sound" or "defect"."""
        return LABELS[self.main]

    @property
    def labels(self) -> NDArray[np.float32]:
        """One-hot vector over `LABELS`."""
        return np.eye(len(LABELS), dtype=np.float32)[self.main]


@dataclass(frozen=True)
class TextureWorld(World[Surface]):
    """A sequence of `n` surfaces, each sound or with one tiny defect (about 0.1…0.9 % of the picture).

    Args:
        seed: any integer ≥ 0.
        n: number of pictures.
        defect_share: 0…1, how many of them have a defect (exact in each run of twenty, to 5 %). The same
            picture of a world with another share has the same surface: `world.replace(defect_share=0.0)[i]`
            is its sound twin.
        defect_scale: 0.5…4, how many times the usual length and width the defects have.
        surfaces: which kinds of surface (all six when None).
        defects: which kinds of defect (all four when None).
        start, step: number of the first picture and distance to the next; slicing sets them.

    Raises:
        ValueError, TypeError: a parameter outside its range, an unknown kind.
        IndexError: a number outside the world.

    Example:
        >>> world = TextureWorld(seed=1, n=20, surfaces=["wood"])
        >>> sum(surface.main for surface in world)
        10
    """

    seed: int = 0
    n: int = 1000
    defect_share: float = 0.5
    defect_scale: float = 1.0
    surfaces: Sequence[str] | None = None
    defects: Sequence[str] | None = None
    start: int = 0
    step: int = 1

    def __post_init__(self) -> None:
        self._check_numbers()
        check_share("defect_share", self.defect_share, 1.0)
        check_share("defect_scale", self.defect_scale, 4.0, low=0.5)
        object.__setattr__(self, "surfaces", checked_names("surfaces", self.surfaces, SURFACES))
        object.__setattr__(self, "defects", checked_names("defects", self.defects, DEFECTS))

    def _paint(self, number: int) -> Surface:
        kinds, flaws = self.surfaces or SURFACES, self.defects or DEFECTS
        block, place = divmod(number, len(kinds))
        kind = Dice(self.seed, _ORDER, block).shuffled(kinds)[place]
        block, place = divmod(number, _BLOCK)
        spoilt = Dice(self.seed, _SPOILT, block).shuffled(range(_BLOCK))[place] < round(self.defect_share * _BLOCK)
        plane, tint = paint_surface(kind, Dice(self.seed, _SURFACE, number))
        mask, defect = np.zeros((SIZE, SIZE), bool), None
        if spoilt:
            dice = Dice(self.seed, _DEFECT, number)
            defect = dice.pick(flaws)
            plane, mask = paint_defect(defect, plane, self.defect_scale, dice)
        colour = 255.0 * np.array(tint, np.float32) * plane[:, :, None] + 0.5
        image = np.clip(colour, 0, 255).astype(np.uint8)
        return Surface(number, self.seed, image, kind, defect, mask)
