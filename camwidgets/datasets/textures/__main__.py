"""`python -m camwidgets.datasets.textures`: a contact sheet of the surfaces and their defects."""

from __future__ import annotations

import numpy as np
from PIL import Image

from camwidgets.datasets.sheet import Picture, Row, contact_sheet, run
from camwidgets.datasets.textures import DEFECTS, SURFACES, Surface, TextureWorld


def sheet(seed: int) -> Image.Image:
    """Every surface sound and with every kind of defect, the true masks below."""
    rows = []
    for number, kind in enumerate(SURFACES):
        world = TextureWorld(seed=10 * seed + number, n=40, surfaces=[kind], defect_share=1.0)
        cells: list[tuple[str, Picture]] = [("sound", world.replace(defect_share=0.0)[0].image)]
        for k, defect in enumerate(DEFECTS):
            surface = world.replace(defects=[defect])[k + 1]
            cells += [
                (f"{defect}, {100 * surface.mask.mean():.2f} %", surface.image),
                ("its mask", _outlined(surface)),
            ]
        rows.append(Row(kind, cells))
    return contact_sheet(f"textures with defects, seed {seed}", rows)


def _outlined(surface: Surface) -> Picture:
    """The picture, pale, with the mask in red."""
    out = (255 - 0.35 * (255 - surface.image.astype(np.float32))).astype(np.uint8)
    out[surface.mask] = (214, 40, 40)
    return out


if __name__ == "__main__":
    run("textures", sheet)
