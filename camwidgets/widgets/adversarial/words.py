"""A sweep in the words and bytes that the front end draws: nothing is computed there but colours over pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...classifiers.classifier import Prediction
from ...decomposition.diff import ROOT, Change, TreeDiff
from ...figures.tree_diff import SIGNS, colour_of
from ...investigate.rival import CHOSEN, Rival
from ...investigate.sweep import Frame, Sweep
from .traits import CLASSES

Words = dict[str, Any]
ROWS = 9  # channels drawn of a stage of the trees: those that change most anywhere in the sweep
EDGES = 24  # connections drawn at one ε
LIMIT = 96 * 2**20  # bytes of pictures that a sweep may send


@dataclass(frozen=True)
class Shown:
    """A sweep on screen.

    Attributes:
        sweep, rival: what was found. diffs: for each ε from the clean decision's tree to its own (empty: no trees).
        rows: (stage, channel) drawn of the trees, top to bottom.
    """

    sweep: Sweep
    rival: Rival
    diffs: tuple[TreeDiff, ...]
    rows: tuple[tuple[str, int], ...]

    @property
    def maps(self) -> dict[str, Sequence[Mapping[str, np.ndarray]]]:
        """Class → for each ε, stage → raw map."""
        return {"true": [f.maps for f in self.sweep.frames], "wrong": self.rival.maps, "top": self.rival.top_maps}


def check_size(count: int, size: tuple[int, int]) -> None:
    """Refuse a sweep whose pictures would be too much for a browser."""
    each = 6 * size[0] * size[1]
    if (count + 1) * each > LIMIT:
        raise ValueError(
            f"{count} ε of {size[0]} × {size[1]} pixels would send {(count + 1) * each / 2**20:.0f} MB to the browser; "
            f"{LIMIT // 2**20} MB are allowed: {LIMIT // each - 1} ε of this size"
        )


def diffs_of(found: Sweep) -> tuple[TreeDiff, ...]:
    """From the clean decision's tree to the one at each ε; nothing where no trees were grown."""
    first = found.frames[0].tree
    return () if first is None else tuple(first.diff(f.tree) for f in found.frames if f.tree is not None)


def rows_of(diffs: Sequence[TreeDiff]) -> tuple[tuple[str, int], ...]:
    """The channels to draw, in one order for all ε: the clean tree's strongest first, then newcomers."""
    found: list[tuple[str, int]] = []
    for stage in dict.fromkeys(stage for one in diffs for stage in one.stages):
        size: dict[int, float] = {}
        clean: dict[int, float] = {}
        for c in (c for one in diffs for c in one.channels if c.stage == stage):
            size[c.channel] = max(size.get(c.channel, 0.0), abs(c.change))
            clean[c.channel] = max(clean.get(c.channel, 0.0), c.share[0])
        kept = sorted(size, key=lambda k: (-max(size[k], clean[k]), k))[:ROWS]
        found += [(stage, k) for k in sorted(kept, key=lambda k: (-clean[k], -size[k], k))]
    return tuple(found)


def sweep_words(shown: Shown, number: int, about: Words) -> Words:
    """The `_sweep` trait; `about`: names, settings."""
    found, other = shown.sweep, shown.rival
    frames = [_frame_words(frame, other, i) for i, frame in enumerate(found.frames)]
    eps = [frame.eps for frame in found.frames]
    drops = [{"channel": k, "at": None if e is None else eps.index(e)} for k, e in found.drops.items()]
    peaks = {"true": {"channels": list(found.channels), "peaks": [list(f.peaks) for f in found.frames]}}
    peaks |= {how: {"channels": list(other.channels[how]), "peaks": [list(p) for p in other.peaks[how]]}
              for how in CHOSEN}  # fmt: skip
    height, width = found.frames[0].attack.clean.shape[2:]
    stages = [{"name": s, "height": m.shape[0], "width": m.shape[1]} for s, m in found.frames[0].maps.items()]
    return {
        **about, "id": number, "height": height, "width": width, "stages": stages, "frames": frames,
        "true": {"index": found.target, "label": found.label}, "wrong": {"index": other.target, "label": other.label},
        "flip": None if found.flip is None else eps.index(found.flip), "stage": found.stage, "top": found.top,
        "drops": drops, "peaks": peaks, "most": {name: _greatest(maps) for name, maps in shown.maps.items()},
        "tree": _tree_words(shown) if shown.diffs else None,
    }  # fmt: skip


def sweep_bytes(shown: Shown) -> dict[str, bytes]:
    """The binary traits. ε by ε: pictures and perturbations H×W×3; for true, wrong, top ε by ε, stage by stage maps
    h×w, each in units of its own maximum; row by row of the trees, ε by ε, responses h×w in units of the row's."""
    frames = shown.sweep.frames
    maps = shown.maps
    return {
        "_attacked": b"".join(f.attack.adversarial_pictures[0].tobytes() for f in frames),
        "_noise": b"".join(f.attack.amplified().tobytes() for f in frames),
        "_maps": b"".join(_bytes(one) for name in CLASSES for at in maps[name] for one in at.values()),
        "_responses": b"".join(_bytes(np.maximum(shown.rival.responses[row], 0)) for row in shown.rows),
    }


def _bytes(values: np.ndarray) -> bytes:
    """Values from 0 to their maximum as 0 … 255."""
    top = float(values.max())
    return np.round(255 * values / top if top > 0 else 0 * values).astype(np.uint8).tobytes()


def _greatest(maps: Sequence[Mapping[str, np.ndarray]]) -> list[list[float]]:
    return [[float(one.max()) for one in at.values()] for at in maps]


def _frame_words(frame: Frame, other: Rival, i: int) -> Words:
    delta = frame.attack.perturbation
    most = float(delta.abs().max())
    return {
        "eps": frame.eps, "most": most, "l2": float(delta.norm()), "factor": 0.5 / most if most else 0.0,
        "seen": float(delta.abs().max()) * 255 >= 0.5, "success": bool(frame.attack.success[0]),
        "top": [_class(one) for one in frame.predictions], "true": frame.probability, "wrong": other.probabilities[i],
        "ranks": list(frame.ranks),
    }  # fmt: skip


def _class(one: Prediction) -> Words:
    return {"index": one.index, "label": one.label, "p": one.probability}


# ---------------------------------------------------------------------------------------------- trees


def _tree_words(shown: Shown) -> Words:
    """Rows in a fixed order and, for each ε, what stands in them; the colours' ends hold for all ε of a stage."""
    place = {row: i for i, row in enumerate(shown.rows)}
    full: dict[str, float] = {}
    for c in (c for one in shown.diffs for c in one.channels):
        full[c.stage] = max(full.get(c.stage, 0.0), abs(c.change))
    kept = shown.rival.responses
    rows = [
        {"stage": stage, "channel": k, "name": f"{stage} #{k}", "height": kept[stage, k].shape[1],
         "width": kept[stage, k].shape[2], "peaks": kept[stage, k].max((1, 2)).astype(float).tolist()}
        for stage, k in shown.rows
    ]  # fmt: skip
    stages = list(dict.fromkeys(stage for stage, _ in shown.rows))
    return {"stages": stages, "rows": rows, "signs": SIGNS,
            "frames": [_diff_words(one, place, full, stages) for one in shown.diffs]}  # fmt: skip


def _diff_words(diff: TreeDiff, place: Mapping[tuple[str, int], int], full: Mapping[str, float],
                stages: Sequence[str]) -> Words:  # fmt: skip
    cells: list[Words | None] = [None] * len(place)
    left: dict[str, list[float]] = {stage: [] for stage in stages}
    for c in diff.channels:
        at = place.get((c.stage, c.channel))
        if at is not None:
            cells[at] = _cell(c, full)
        elif c.stage in left:
            left[c.stage].append(abs(c.change))
    edges: list[list[Any]] = []
    for c in diff.edges:
        if len(edges) < EDGES and (c.parent == ROOT or c.parent in place) and (c.stage, c.channel) in place:
            assert c.parent is not None
            edges.append([-1 if c.parent == ROOT else place[c.parent], place[c.stage, c.channel], c.kind, c.change])
    root = {"label": diff.after.label, "p": diff.after.probability, "score": diff.after.score}
    return {
        "cells": cells, "edges": edges, "root": root, "parting": diff.parting, "distance": diff.distance,
        "distances": [diff.distances.get(stage) for stage in stages],
        "left": [[len(left[s]), max(left[s], default=0.0)] for s in stages],
    }  # fmt: skip


def _cell(c: Change, full: Mapping[str, float]) -> Words:
    return {"kind": c.kind, "share": list(c.share), "colour": list(colour_of(c.change, full[c.stage] or 1.0))}
