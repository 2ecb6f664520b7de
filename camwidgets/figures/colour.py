"""Colour tables: 256 RGB rows, perceptually uniform by default."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..errors import unknown

# Sequential tables for maps that are never negative; jet is here only because the papers use it.
SEQUENTIAL = ("inferno", "magma", "viridis", "cividis", "turbo", "jet", "greys")
DIVERGING = ("blue-red",)
_PLOTLY = {
    "inferno": "Inferno",
    "magma": "Magma",
    "viridis": "Viridis",
    "cividis": "Cividis",
    "turbo": "Turbo",
    "jet": "Jet",
    "greys": "gray",
    "blue-red": "RdBu_r",
}


@lru_cache(maxsize=len(_PLOTLY))
def table(name: str) -> np.ndarray:
    """The colour table of that name: 256×3 uint8, read-only.

    Example:
        >>> table("inferno").shape
        (256, 3)
    """
    if name not in _PLOTLY:
        raise unknown("colour table", name, _PLOTLY)
    from plotly.colors import get_colorscale, sample_colorscale

    colours = sample_colorscale(get_colorscale(_PLOTLY[name]), np.linspace(0, 1, 256).tolist(), colortype="tuple")
    rows = np.round(np.array(colours) * 255).clip(0, 255).astype(np.uint8)
    rows.flags.writeable = False
    return rows


def coloured(values: np.ndarray, name: str = "inferno") -> np.ndarray:
    """A map in [0, 1] (H×W) through a colour table: H×W×3 uint8."""
    return np.asarray(table(name)[np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)])
