"""Sliding-window enhancement of any map ([002] chapter 4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .fusion import upsample
from .masking import stretched
from .method import Parameter
from .passes import Make

Take = Callable[[int, np.ndarray, float], None]  # input i, its map H×W in [0, 1], its score
# Plain maps of `total` inputs `make(start, stop)`, each handed to `take` when it is there; see `recipe.each_map`.
Plain = Callable[[Make, int, Take], None]

_PARAMETERS = (
    Parameter("window", 96, "side of a window, pixels of the input", low=1),
    Parameter("stride", 32, "from one window to the next, pixels of the input", low=1),
    Parameter("cutoff", 35.0, "of the low-pass, cycles per picture", low=1, high=100_000),
)


@dataclass(frozen=True)
class Enhancement:
    """How a map is enhanced: windows of `window`×`window` pixels of the input, `stride` pixels apart; see `enhanced`.

    cutoff: D_0 of the ideal low-pass, cycles per picture. The defaults are the published ones, for 224×224 pixels;
    `Enhancement.scaled` has them for other sizes.

    Example:
        >>> Enhancement(window=96, stride=32).corners((224, 224))[:6]
        [(0, 0), (0, 32), (0, 64), (0, 96), (0, 128), (32, 0)]
    """

    window: int = 96
    stride: int = 32
    cutoff: float = 35.0

    def __post_init__(self) -> None:
        for parameter in _PARAMETERS:
            object.__setattr__(self, parameter.name, parameter.check(getattr(self, parameter.name)))
        if self.stride > self.window:
            raise ValueError(
                f"windows of {self.window} pixels, {self.stride} apart, never cover the picture; "
                f"the stride is at most the window"
            )

    @classmethod
    def scaled(cls, size: tuple[int, int]) -> Enhancement:
        """The published settings in proportion to the shorter side of a picture (H, W): at 224 pixels as published."""
        share = min(size) / 224
        return cls(max(1, round(96 * share)), max(1, round(32 * share)))

    def corners(self, size: tuple[int, int]) -> list[tuple[int, int]]:
        """The upper left corners (row, column) of all windows; the last row and column lie flush with the border."""
        if self.window > min(size):
            raise ValueError(
                f"windows of {self.window}×{self.window} pixels do not fit into a picture of {size[0]}×{size[1]}; "
                f"the window is at most {min(size)}"
            )
        rows, columns = (sorted({*range(0, side - self.window, self.stride), side - self.window}) for side in size)
        return [(y, x) for y in rows for x in columns]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def enhanced(plain: Plain, x: Tensor, how: Enhancement) -> np.ndarray:
    r"""S' = Σ_n (α_n s_n + S_0 on window n), low-passed and stretched to 0 … 1: H×W float32.

    [002] chapter 4, eq. 4-1 … 4-11. S_0 is the plain map of the picture x (1×3×H×W); s_n that of the n-th window,
    upsampled to the input for it and shrunk back (bilinear, both); α_n = p_c of that window. The ideal low-pass keeps
    frequencies (X, Y) with √(X² + Y²) ≤ D_0 and weakens the grid that the windows leave. As published,
    nothing is divided by the number of windows over a pixel: 9 in the middle of the picture, 1 at its corners.
    """
    size, side = (int(x.shape[2]), int(x.shape[3])), how.window
    corners = how.corners(size)
    total = torch.zeros(size, dtype=torch.float64)
    whole = torch.zeros(size, dtype=torch.float64)

    def make(start: int, stop: int) -> Tensor:  # input 0 is the whole picture
        crops = [x[:, :, r : r + side, c : c + side] for r, c in corners[max(start, 1) - 1 : stop - 1]]
        some = [torch.nn.functional.interpolate(one, size, mode="bilinear", align_corners=False) for one in crops]
        return torch.cat([x, *some] if start == 0 else some)

    def take(i: int, values: np.ndarray, score: float) -> None:
        if i == 0:
            whole.copy_(torch.as_tensor(values))
            return
        row, column = corners[i - 1]
        part = slice(row, row + side), slice(column, column + side)
        total[part] += score * upsample(torch.as_tensor(values, dtype=torch.float64), (side, side)) + whole[part]

    plain(make, 1 + len(corners), take)
    return stretched(low_passed(total, how.cutoff)[None])[0].float().numpy()


def low_passed(values: Tensor, cutoff: float) -> Tensor:
    """An H×W map without frequencies further than `cutoff` (cycles per picture) from 0 ([002] 4-9, 4-10).

    Example:
        >>> waves = torch.arange(8.0).mul(torch.pi).cos().expand(8, 8)   # 4 cycles per picture
        >>> float(low_passed(1 + waves, 3).std()) < 1e-6, float(low_passed(1 + waves, 4).std()) > 0.9
        (True, True)
    """
    spectrum = torch.fft.fft2(values)
    Y, X = (torch.fft.fftfreq(n, 1 / n, dtype=values.dtype) for n in values.shape)
    keep = Y[:, None] ** 2 + X[None] ** 2 <= cutoff**2
    return torch.fft.ifft2(spectrum * keep).real
