"""Boxes from the maps of every stage: by threshold, and by a graph cut where the map is scattered ([000] 3.4.1.1)."""

from __future__ import annotations

import numpy as np

import camwidgets
from camwidgets.datasets.toyworld import ToyWorld
from camwidgets.learning.boxes import box_of, spread_box
from camwidgets.maps.regions import Box, iou

from .tables import Row

HIT = 0.5  # IoU


def boxes(scenes: int, seed: int = 9001) -> list[Row]:
    """A row a stage of the network "toy": how often LayerCAM's box meets the main object's with IoU ≥ 0.5.

    Scenes hold one object each. Standard errors are those of a share.
    """
    toy = camwidgets.load("toy")
    world = ToyWorld(seed=seed, n=scenes)
    rows = []
    for stage in toy.stages:
        hits = []
        for scene in world:
            found = camwidgets.explain(toy, scene.image, "layercam", scene.main, [stage]).map
            true = scene.objects[0].box
            hits.append([_hit(box_of(found), true), _hit(spread_box(found, scene.image), true)])
        shares = np.mean(hits, 0)
        errors = np.sqrt(shares * (1 - shares) / len(hits))
        cells = [f"{share:.3f} ± {error:.3f}" for share, error in zip(shares, errors, strict=True)]
        rows.append({"stage": stage, "threshold 15 %": cells[0], "graph cut": cells[1]})
    return rows


def _hit(found: Box | None, true: Box) -> bool:
    return found is not None and iou(found, true) >= HIT
