"""RISE: random masks, weighed by what the network says about what they uncover."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .masking import BLANK, blank_picture, uncovered
from .method import Method, Parameter, Request

CHUNK = 64  # masks that are held at a time when they are summed


def rise(
    request: Request, masks: int = 4000, grid: int = 7, keep: float = 0.5, seed: int = 0, blank: str = "mean"
) -> Tensor:
    r"""RISE: M = Σ_i p_c(x ⊙ m_i) m_i / (N · keep), m_i random masks.

    Petsiuk et al., "RISE", BMVC 2018, eq. 6; [002] 1.2.3. The grid that is drawn is upsampled bilinearly to
    (grid + 1) cells of ⌈H/grid⌉×⌈W/grid⌉ pixels and cut to H×W at a random place within a cell (their section 3.2).
    """
    drawn = Masks.draw(masks, grid, keep, seed, request.x)
    base = blank_picture(request, blank)
    scores = request.scores_of(lambda start, stop: uncovered(request.x, base, drawn(start, stop)), masks).to(base)
    total = request.x.new_zeros(request.size)
    for start in range(0, masks, CHUNK):
        total += torch.einsum("n,nhw->hw", scores[start : start + CHUNK], drawn(start, min(masks, start + CHUNK)))
    return total / (masks * keep)


@dataclass(frozen=True)
class Masks:
    """N random masks, kept as N small grids: `masks(start, stop)` makes n×H×W of them, in [0, 1].

    All that is random is drawn at once, so a mask does not depend on the batch that it is made in. cells: N×grid×grid,
    0 or 1. places: N×2 offsets (rows, columns). rows, columns: interpolation weights, offset → grid×H and grid×W.
    """

    cells: Tensor
    places: Tensor
    rows: Tensor
    columns: Tensor

    @classmethod
    def draw(cls, count: int, grid: int, keep: float, seed: int, x: Tensor) -> Masks:
        """Masks for a picture 1×3×H×W; `keep` is the probability that a cell is uncovered."""
        dice = torch.Generator().manual_seed(seed)
        cells = (torch.rand((count, grid, grid), generator=dice, dtype=torch.float64) < keep).to(x)
        height, width = int(x.shape[2]), int(x.shape[3])
        spans = [-(-side // grid) for side in (height, width)]
        places = torch.stack([torch.randint(span, (count,), generator=dice) for span in spans], 1).to(x.device)
        return cls(cells, places, _weights(grid, spans[0], height, x), _weights(grid, spans[1], width, x))

    def __call__(self, start: int, stop: int) -> Tensor:
        down, right = (self.places[start:stop, i] for i in (0, 1))
        return self.rows[down].transpose(1, 2) @ self.cells[start:stop] @ self.columns[right]


def _weights(grid: int, span: int, side: int, x: Tensor) -> Tensor:
    """offset × grid × side: what each cell of a row gives to each pixel, for every offset within a cell."""
    unit = torch.eye(grid, dtype=x.dtype, device=x.device)[:, None]
    whole = F.interpolate(unit, (grid + 1) * span, mode="linear", align_corners=False)[:, 0]
    return whole.unfold(1, side, 1)[:, :span].transpose(0, 1)


METHODS = (
    Method(
        "rise", "RISE", rise, "Σ_i p_c(x ⊙ m_i) m_i / (N · keep)", "Petsiuk et al., BMVC 2018, eq. 6; [002] 1.2.3",
        kind="picture", needs=("many forwards",),
        parameters=(
            Parameter("masks", 4000, "random masks: passes through the network", low=1),
            Parameter("grid", 7, "cells of a mask along a side", low=1),
            Parameter("keep", 0.5, "probability that a cell is uncovered", low=0.01, high=1),
            Parameter("seed", 0, "of the masks", low=0),
            BLANK,
        ),
    ),
)  # fmt: skip
