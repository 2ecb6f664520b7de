"""Does the map lie on the object, and on the right one? Box accuracy and mosaic share, methods × stages and fusions.

The network runs once per picture; all maps come from that one evidence. Box accuracy: the box around the largest
connected part at a share of the map's maximum meets a box of the class with IoU ≥ 0.5 (ground-truth class, picture
squashed to the input). Mosaic share: in a 2×2 mosaic of confident pictures, the share of the map's mass in the cell of
the class (0.25 = chance).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

import camwidgets
from camwidgets.evidence import Evidence
from camwidgets.maps.catalogue import evidence_methods
from camwidgets.maps.fusion import PRESETS, Plan, fuse, gate_stage
from camwidgets.maps.stages import one_map

from .pictures import DEFAULT_FOLDER, Labelled, make_mosaics, read_pictures
from .scoring import THRESHOLDS, box_hits, cell_share, interval
from .tables import Row, text, write_csv

RAW = Plan("one stage", scale="none", scaled="none")
Source = tuple[str, str]  # method, handling of gradient signs ("next layer": as the official script takes it)
StageMaps = dict[Source, dict[str, np.ndarray]]


@dataclass(frozen=True)
class Line:
    """One line of the table: a method at a stage, or a fusion of stages."""

    name: str
    stages: tuple[str, ...]
    source: Source = ("layercam", "positive")
    plan: Plan = RAW

    @property
    def where(self) -> str:
        return "+".join(reversed(self.stages))


@dataclass
class Score:
    """What one line earned. hits: pictures × thresholds (bool). shares: mosaics × 4."""

    line: Line
    hits: np.ndarray
    shares: np.ndarray

    def box(self, threshold: float) -> float:
        return float(self.hits[:, THRESHOLDS.index(threshold)].mean())

    @property
    def best(self) -> tuple[float, float]:
        """(accuracy, threshold) at the threshold that suits this line best."""
        means = self.hits.mean(0)
        return float(means.max()), THRESHOLDS[int(means.argmax())]

    @property
    def share(self) -> float:
        return float(self.shares.mean())

    def row(self) -> Row:
        hits = self.hits[:, THRESHOLDS.index(0.15)]
        accuracy, threshold = self.best
        return {
            "method": self.line.name,
            "stages": self.line.where,
            "box at 15 %": f"{hits.mean():.3f}",
            "95 %": "{:.2f}–{:.2f}".format(*interval(hits)),
            "at 10 %": f"{self.box(0.1):.3f}",
            "best (threshold)": f"{accuracy:.3f} ({threshold:.0%})",
            "mosaic share": f"{self.share:.3f}",
            "95 % of share": "{:.2f}–{:.2f}".format(*interval(self.shares)),
        }


def lines(stages: Sequence[str]) -> list[Line]:
    """Every line of the table for a network with these stages."""
    made = []
    for method in evidence_methods().values():
        if "gap head" in method.needs:  # defined at the last stage only, where Grad-CAM is the same map
            continue
        signs = ("positive", "signed") if method.name == "layercam" else (method.gradient,)
        for sign in signs:
            name = method.title if sign == method.gradient else f"{method.title}, {sign}"
            made += [Line(name, (stage,), (method.name, sign)) for stage in stages]
    sets = [tuple(stages[-n:]) for n in (2, 3, len(stages)) if n <= len(stages)]
    for plan in PRESETS.values():
        source = ("layercam", "next layer" if plan.ungridded else "positive")
        made += [Line(plan.name, chosen, source, plan) for chosen in dict.fromkeys(sets)]
    three, paper = tuple(stages[-3:]), PRESETS["paper"]
    made += [Line(f"paper, γ = {g}", three, plan=replace(paper, gamma=float(g))) for g in (1, 2, 3, 4)]
    made += [Line(f"paper, scale {s}", three, plan=replace(paper, scale=s)) for s in ("none", "tanh", "cbrt", "tan")]
    return made


def raw_maps(evidence: Evidence) -> StageMaps:
    """Every map that any line needs, of one picture's evidence."""
    found: StageMaps = {}
    for method in evidence_methods().values():
        if "gap head" in method.needs:
            continue
        for sign in {method.gradient, "signed"}:
            found[method.name, sign] = {s: one_map(evidence, method, tap, sign) for s, tap in evidence.stages.items()}
    layercam = evidence_methods()["layercam"]
    next_layer = {s: one_map(evidence, layercam, tap, "positive", True) for s, tap in evidence.stages.items()}
    found["layercam", "next layer"] = next_layer
    return found


def draw(maps: StageMaps, line: Line, size: tuple[int, int]) -> np.ndarray:
    """The map of one line, H×W."""
    network = list(maps[line.source])
    chosen = {stage: maps[line.source][stage] for stage in line.stages}
    gate = gate_stage(list(line.stages), line.plan)
    if gate:
        chosen[gate] = maps[line.source[0], "signed"][gate]
    return fuse(chosen, size, line.plan, network)


def score(
    pictures: Iterable[tuple[StageMaps, Sequence[tuple[float, ...]]]],
    mosaics: Iterable[Sequence[StageMaps]],
    table: Sequence[Line],
    size: tuple[int, int],
    mosaic_size: tuple[int, int],
) -> list[Score]:
    """One `Score` per line."""
    pictures, mosaics = list(pictures), list(mosaics)
    scores = []
    for line in table:
        hits = np.array([box_hits(draw(maps, line, size), boxes) for maps, boxes in pictures])
        shares = [[cell_share(draw(maps, line, mosaic_size), i) for i, maps in enumerate(four)] for four in mosaics]
        scores.append(Score(line, hits, np.array(shares)))
        print(f"\r{len(scores)}/{len(table)} lines", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return scores


def verdicts(scores: Sequence[Score]) -> list[str]:
    """The claims, each with the numbers that it stands or falls by."""
    by = {(s.line.name, s.line.stages): s for s in scores}
    said = []
    stages = [s.line.stages[0] for s in scores if s.line.name == "LayerCAM"]
    for stage in stages[:-1]:
        rise = by["LayerCAM", (stage,)].box(0.15) - by["Grad-CAM", (stage,)].box(0.15)
        said.append(f"LayerCAM over Grad-CAM at {stage}: {rise:+.3f} at 15 % (at least 0.2: {_yes(rise >= 0.2)})")
    ours = by["gated", tuple(stages[-3:])]
    rivals = [s for s in scores if len(s.line.stages) == 1 or s.line.name == "paper"]
    best, wide = max(rivals, key=lambda s: s.box(0.15)), max(rivals, key=lambda s: s.share)
    rise = ours.hits[:, THRESHOLDS.index(0.15)] * 1.0 - best.hits[:, THRESHOLDS.index(0.15)]
    said.append(
        f"gated {ours.line.where}: {ours.box(0.15):.3f}; best single stage or paper: {best.box(0.15):.3f} "
        f"({best.line.name} {best.line.where}); difference {rise.mean():+.3f}, 95 % "
        f"{interval(rise)[0]:+.3f} … {interval(rise)[1]:+.3f} (better: {_yes(rise.mean() > 0)})"
    )
    more = ours.shares - wide.shares
    said.append(
        f"gated mosaic share: {ours.share:.3f}; best single stage or paper: {wide.share:.3f} "
        f"({wide.line.name} {wide.line.where}); difference {more.mean():+.3f}, 95 % "
        f"{interval(more)[0]:+.3f} … {interval(more)[1]:+.3f} (better: {_yes(more.mean() > 0)})"
    )
    return said


def _yes(true: Any) -> str:
    return "yes" if true else "NO"


def look(
    classifier: camwidgets.Classifier, picture: Any, targets: Sequence[int]
) -> tuple[list[StageMaps], list[float]]:
    """The maps of each target on one picture (one forward pass) and the targets' probabilities."""
    with camwidgets.record(classifier, picture) as recording:
        sure = [float(recording.probabilities[0, target]) for target in targets]
        return [raw_maps(recording.evidence(target)) for target in targets], sure


def whole(classifier: camwidgets.Classifier, picture: Any) -> torch.Tensor:
    """A picture at its own size as an input tensor: normalised, not resized."""
    size = (picture.height, picture.width)
    return replace(classifier.preprocessing, size=size, fit="squash")(picture)[None]  # type: ignore[type-var]


def measure(
    classifier: camwidgets.Classifier, pictures: Sequence[Labelled], mosaics: int, cell: int, sure: float, seed: int
) -> list[Score]:
    """Run the network over the pictures and the mosaics, then score every line."""
    size = classifier.input_size
    seen = []
    confident = []
    for n, one in enumerate(pictures, 1):
        maps, probability = look(classifier, one.open(), [one.target])
        seen.append((maps[0], one.boxes_at(size)))
        confident.append(probability[0] >= sure)
        print(f"\r{n}/{len(pictures)} pictures", end="", file=sys.stderr, flush=True)
    tiled = []
    for n, mosaic in enumerate(make_mosaics(pictures, confident, mosaics, seed, cell), 1):
        tiled.append(look(classifier, whole(classifier, mosaic.picture), mosaic.targets)[0])
        print(f"\r{n}/{mosaics} mosaics      ", end="", file=sys.stderr, flush=True)
    return score(seen, tiled, lines(list(classifier.stages)), size, (2 * cell, 2 * cell))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks localisation", description=__doc__)
    parser.add_argument("folder", nargs="?", default=DEFAULT_FOLDER, help="pictures and their index.csv")
    parser.add_argument("--model", default="efficientnet_lite0", help="a classifier with trained weights")
    parser.add_argument("--mosaics", type=int, default=40, help="number of mosaics (4 classes each)")
    parser.add_argument("--cell", type=int, default=224, help="side of a mosaic's cell in pixels")
    parser.add_argument("--confident", type=float, default=0.9, help="least probability of a picture in a mosaic")
    parser.add_argument("--limit", type=int, help="use the first so many pictures only")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--csv", help="write the table to this file as well")
    asked = parser.parse_args(arguments)
    try:
        pictures = read_pictures(asked.folder)[: asked.limit]
    except FileNotFoundError as absent:
        print(absent, file=sys.stderr)
        return 2
    classifier = camwidgets.load(asked.model, fit="squash")
    scores = measure(classifier, pictures, asked.mosaics, asked.cell, asked.confident, asked.seed)
    rows = [one.row() for one in scores]
    side = 2 * asked.cell
    print(f"{classifier.name}, {len(pictures)} pictures, {asked.mosaics} mosaics of {side}×{side}, seed {asked.seed}\n")
    print(text(rows, asked.markdown), "\n")
    print("\n".join(verdicts(scores)))
    if asked.csv:
        print(f"written: {write_csv(rows, asked.csv)}")
    return 0
