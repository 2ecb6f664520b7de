"""Six kinds of surface, half of them with one tiny defect whose mask is known to the pixel (after DAGM-2007).

>>> from camwidgets.datasets.textures import TextureWorld
>>> surface = TextureWorld(seed=0, n=10, defect_share=1.0)[0]
>>> bool(surface.mask.any()), surface.name
(True, 'defect')

The task is the one of DAGM-2007: is there a defect or not? Two labels, not one for each kind of surface, on
purpose: the only thing that speaks for "defect" is the defect, so a map of that label should light up there
and nowhere else, while evidence for "scratched wood" would lie all over the wood.

`python -m camwidgets.datasets.textures` writes a contact sheet.
"""

from __future__ import annotations

from camwidgets.datasets.textures.flaws import DEFECTS
from camwidgets.datasets.textures.surfaces import SIZE, SURFACES
from camwidgets.datasets.textures.world import LABELS, Surface, TextureWorld

__all__ = ["DEFECTS", "LABELS", "SIZE", "SURFACES", "Surface", "TextureWorld"]
