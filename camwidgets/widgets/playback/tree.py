"""The gAP trees of two epochs, or of two runs, grown step by step so that it can be told how far, and be ended."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from ...decomposition.diff import CHANGES, ROOT, Change, TreeDiff
from ...decomposition.tree import Decomposition, decompose
from ...figures.tree import DARK, LIGHT
from ...figures.tree_diff import colour_of
from ...figures.tree_svg import tree_svg
from ...learning.run import Run

TOP, DEPTH = 3, 3  # children of a node, steps
MOST = 10  # channels shown of a stage: those that changed most
MOST_EDGES = 16  # connections shown between two columns

Tell = Callable[[str, float], None]  # what is done, share of all; raises Superseded to end


@dataclass(frozen=True)
class Sides:
    """What is compared: two (run, epoch), a picture, a class. key: of the view that asked; dark: the page's theme."""

    runs: tuple[Run, Run]
    epochs: tuple[int, int]
    picture: str
    label: str
    key: list[Any]
    dark: bool = False
    module: nn.Module | None = None

    @property
    def names(self) -> tuple[str, str]:
        """How the two are told apart."""
        if self.runs[0].folder == self.runs[1].folder:
            return f"epoch {self.epochs[0]}", f"epoch {self.epochs[1]}"
        first, second = (f"{run.folder.name}, epoch {e}" for run, e in zip(self.runs, self.epochs, strict=True))
        return first, second


def compared(sides: Sides, tell: Tell) -> TreeDiff:
    """The tree of the second against that of the first, both grown in full before anything is shown."""
    trees = []
    for i, (run, epoch) in enumerate(zip(sides.runs, sides.epochs, strict=True)):
        begin, name = 0.5 * i, sides.names[i]
        tell(f"reading the network of {name} …", begin)
        classifier = run.classifier(epoch, copy.deepcopy(sides.module))
        tell(f"decomposing {sides.label!r}, {name} …", begin + 0.1)
        tree = decompose(classifier, run.picture(sides.picture), sides.label, top=TOP, depth=1)
        trees.append(_grown(tree, partial(_told, tell, f"growing the tree of {name} …", begin)))
    return trees[0].diff(trees[1])


def _told(tell: Tell, text: str, begin: float, share: float) -> None:
    tell(text, begin + share)


def _grown(tree: Decomposition, tell: Callable[[float], None]) -> Decomposition:
    """All nodes of a level after the other, down to DEPTH steps."""
    names = list(tree.stages)[::-1]
    for step, name in enumerate(names[: DEPTH - 1]):
        level = [node for node in tree.level(name) if not node.dead]
        for i, node in enumerate(level):
            tell(0.15 + 0.35 * (step + i / len(level)) / (DEPTH - 1))
            if name != names[-1]:
                tree.expand(node)
    return tree


def tree_words(diff: TreeDiff, sides: Sides) -> dict[str, Any]:
    """The difference in columns of channels, the connections between them, and both trees as drawings."""
    palette = DARK if sides.dark else LIGHT
    columns, shown = [], {ROOT}
    for stage in diff.stages:
        found = [c for c in diff.channels if c.stage == stage]
        full = max((abs(c.change) for c in found), default=0.0) or 1.0
        drawn = sorted(found[:MOST], key=lambda c: (-c.change, c.channel))
        shown |= {(c.stage, c.channel) for c in drawn}
        columns.append({
            "stage": stage, "distance": diff.distances[stage], "parting": stage == diff.parting,
            "left": len(found) - len(drawn), "channels": [_channel(c, full) for c in drawn],
        })  # fmt: skip
    edges = [e for stage in diff.stages for e in _edges(diff, stage, shown)]
    most = max((abs(e.change) for e in edges), default=0.0) or 1.0
    return {
        "state": "done", "key": sides.key, "names": list(sides.names), "columns": columns, "distance": diff.distance,
        "text": _text(diff, sides), "roots": [_root(diff.before), _root(diff.after)],
        "edges": [_edge(e, most) for e in edges], "dark": sides.dark,
        "drawings": [tree_svg(tree, palette=palette) for tree in (diff.before, diff.after)],
    }  # fmt: skip


def _text(diff: TreeDiff, sides: Sides) -> str:
    counts = ", ".join(f"{len(diff.of(kind))} {kind}" for kind in CHANGES)
    where = f"they part at {diff.parting}" if diff.parting else "they show the same channels"
    return f"“{sides.label}”, {sides.names[0]} → {sides.names[1]}: {where}; distance {diff.distance:.2f} of 1; {counts}"


def _channel(change: Change, full: float) -> dict[str, Any]:
    rgb = colour_of(change.change, full)
    light = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] > 140
    return {
        "channel": change.channel, "kind": change.kind, "share": list(change.share), "also": change.also,
        "colour": "rgb({}, {}, {})".format(*rgb), "light": light,
    }  # fmt: skip


def _edges(diff: TreeDiff, stage: str, shown: set[Any]) -> list[Change]:
    found = [e for e in diff.edges if e.stage == stage and e.parent in shown and (e.stage, e.channel) in shown]
    return found[:MOST_EDGES]


def _edge(change: Change, most: float) -> dict[str, Any]:
    assert change.parent is not None
    return {
        "from": list(change.parent), "to": [change.stage, change.channel], "kind": change.kind,
        "rise": change.change > 0, "weight": abs(change.change) / most,
    }  # fmt: skip


def _root(tree: Decomposition) -> dict[str, Any]:
    return {"label": tree.label, "score": tree.score, "probability": tree.probability}
