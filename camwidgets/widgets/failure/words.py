"""What a FailureExplorer sends to its front end, as plain values."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ...decomposition.diff import Change, TreeDiff
from ...decomposition.naming import Dissection
from ...decomposition.tree import Decomposition
from ...figures.overlay import overlay
from ...figures.thumbnails import data_uri, greyed, thumbnail
from ...figures.tree_diff import colour_of
from ...investigate.failures import Decided, FailureTable
from ...investigate.groups import FailureGroup
from ...investigate.interventions import Edits
from .case import Case, scaled, small

MOST_CELLS = 14  # classes of a confusion matrix that is drawn; of more, the pairs are listed
MOST_PAIRS = 60
THUMB = 96
SORTS = ("most confident", "least confident", "data set")


def table_words(table: FailureTable) -> dict[str, Any]:
    """Counts, and who is taken for whom."""
    pairs = Counter((d.label, d.predicted) for d in table.decided)
    present = sorted({i for pair in pairs for i in pair})
    wrong = sorted(((n, a, b) for (a, b), n in pairs.items() if a != b), key=lambda one: (-one[0], one[1], one[2]))
    return {
        "pictures": len(table.decided), "failures": len(table), "accuracy": table.accuracy, "broken": len(table.broken),
        "whys": [f"{name}: {why}" for name, why in list(table.broken.items())[:20]],
        "classes": [{"index": i, "label": table.labels[i]} for i in present] if len(present) <= MOST_CELLS else [],
        "cells": [[a, b, n] for (a, b), n in sorted(pairs.items())] if len(present) <= MOST_CELLS else [],
        "pairs": [{"label": a, "predicted": b, "count": n, "text": f"{table.labels[a]} → {table.labels[b]}"}
                  for n, a, b in wrong[:MOST_PAIRS]],
        "words": str(table),
    }  # fmt: skip


def listed(table: FailureTable, cell: list[int], group: int, sort: str) -> list[Decided]:
    """The pictures that the gallery shows: failures, by cell or group; of a cell on the diagonal, right ones."""
    found: list[Decided] = list(table.failures)
    if group >= 0 and group < len(table.groups):
        members = set(table.groups[group].members)
        found = [d for d in found if d.number in members]
    elif cell:
        found = [d for d in table.decided if [d.label, d.predicted] == cell]
    elif not found:
        return table.least_confident(48)
    if sort == "data set":
        return sorted(found, key=lambda d: d.number)
    sign = -1 if sort == "most confident" else 1
    return sorted(found, key=lambda d: (sign * d.confidence, d.number))


def card(table: FailureTable, one: Decided, thumb: str) -> dict[str, Any]:
    """One picture of the gallery."""
    return {
        "number": one.number, "id": one.id, "label": table.labels[one.label], "right": one.right,
        "predicted": table.labels[one.predicted], "confidence": one.confidence, "own": one.own, "thumb": thumb,
    }  # fmt: skip


def group_words(table: FailureTable, group: FailureGroup, names: Dissection | None) -> dict[str, Any]:
    """A group in words, with its patches."""
    called = names.name(group.tap, group.channel) if names is not None else None
    into = ", ".join(f"{table.labels[c]} {n}" for c, n in Counter(group.into).most_common(3))
    return {
        "stage": group.stage, "channel": group.channel, "name": called.concept if called else "", "count": group.count,
        "of": group.of, "share": group.count / group.of, "lift": group.lift, "into": into,
        "text": str(group), "patches": [data_uri(small(p.picture, 64)) for p in group.patches[:6]],
    }  # fmt: skip


def case_words(case: Case, labels: list[str]) -> dict[str, Any]:
    """What is looked at."""
    d, (h, w) = case.decided, case.edits.original.shape[:2]
    return {
        "number": d.number, "id": d.id, "right": d.right, "label": labels[d.label], "predicted": labels[d.predicted],
        "own": {"index": case.own, "label": labels[case.own]}, "confidence": d.confidence,
        "taken": {"index": case.taken, "label": labels[case.taken]}, "width": w, "height": h,
        "object": case.object is not None, "stages": list(case.classifier.stages),
    }  # fmt: skip


def effect_words(case: Case, edits: Edits) -> dict[str, Any]:
    """Before and after the changes in force in `edits` (a copy: the case's own may go on), and whether it flipped."""
    effect = edits.effect()
    own = case.classifier.labels[case.own]
    leads = [float(logits[case.taken] - logits[case.own]) for logits in (edits.effect(0).logits, effect.logits)]
    return {
        "leads": leads, "state": "done", "step": len(edits.log), "bars": case.bars(edits), "before": effect.before,
        "after": effect.after, "flipped": effect.flipped, "back": effect.flipped and effect.after == own,
        "changed": effect.changed, "off": [f"{tap} #{k}" for tap, k in effect.off], "text": str(effect),
    }  # fmt: skip


def blame_words(case: Case, stage: str) -> dict[str, Any]:
    """The channels of one stage, each with its little map."""
    rows = []
    off = set(case.edits.off)
    for one in case.find_blame()[stage]:
        key = ("blame", stage, one.channel)
        if key not in case.thumbs:
            case.thumbs[key] = data_uri(_on_picture(case, one.evidence))
        called = case.names.name(one.tap, one.channel) if case.names is not None else None
        rows.append({
            "stage": stage, "tap": one.tap, "channel": one.channel, "taken": one.taken, "own": one.own,
            "difference": one.difference, "name": called.concept if called else "",
            "off": (one.tap, one.channel) in off, "thumb": case.thumbs[key],
        })  # fmt: skip
    return {"state": "done", "stage": stage, "rows": rows}


def _on_picture(case: Case, evidence: Any, pixels: int = 72) -> Any:
    picture = case.edits.original
    return overlay(0.75 * greyed(picture, pixels, pixels), scaled(evidence, (pixels, pixels)), "inferno", opacity=0.9)


def trees_words(diff: TreeDiff, what: str, thumbs: dict[Any, str]) -> dict[str, Any]:
    """Two trees side by side, each node with what becomes of its channel in the other."""
    full: dict[str, float] = {}
    for one in diff.channels:
        full[one.stage] = max(full.get(one.stage, 0.0), abs(one.change)) or 1.0
    before = {(c.stage, c.channel): c for c in diff.channels}
    after = {(c.stage, c.also if c.also is not None else c.channel): c for c in diff.channels}
    sides = [_tree(tree, found, full, (what, i), thumbs)
             for i, (tree, found) in enumerate(((diff.before, before), (diff.after, after)))]  # fmt: skip
    parting = f"they part at {diff.parting}" if diff.parting else "they show the same channels"
    return {
        "state": "done", "what": what, "trees": sides, "distance": diff.distance, "parting": parting,
        "same": diff.before.target == diff.after.target,
    }  # fmt: skip


def _tree(
    tree: Decomposition, changes: dict[Any, Change], full: dict[str, float], key: Any, thumbs: dict[Any, str]
) -> dict[str, Any]:
    nodes = []
    for node in tree.nodes.values():
        if (key, node.id) not in thumbs:
            thumbs[key, node.id] = thumbnail(node, tree.picture)
        change = changes.get((node.stage, node.channel)) if node.parent is not None else None
        nodes.append({
            "id": node.id, "parent": node.parent, "stage": node.stage, "channel": node.channel, "share": node.share,
            "name": node.concept, "thumb": thumbs[key, node.id], "kind": change.kind if change else "",
            "shares": list(change.share) if change else [],
            "colour": "rgb({},{},{})".format(*colour_of(change.change, full[change.stage])) if change else "",
        })  # fmt: skip
    stages = [name for name in list(tree.stages)[::-1] if tree.level(name)]
    return {
        "label": tree.label, "score": tree.score, "probability": tree.probability, "nodes": nodes, "stages": stages,
        "others": tree.root.others if tree.root.others == tree.root.others else None,
    }  # fmt: skip


def log_words(case: Case) -> list[dict[str, Any]]:
    """The steps of one case in words; those that were undone are behind the others."""
    now, done = len(case.edits.log), case.edits.done
    first = {"step": 0, "text": "the picture as it was", "state": "now" if now == 0 else "done"}
    steps = [
        {"step": i, "text": str(edit), "state": "now" if i == now else "done" if i < now else "undone"}
        for i, edit in enumerate(done, 1)
    ]
    return [first, *steps]
