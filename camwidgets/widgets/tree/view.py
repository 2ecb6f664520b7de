"""What the panels of a tree explorer say: plain values for the front end."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from ...decomposition.ablation import Ablation
from ...decomposition.tree import Decomposition, Node
from ...figures.layout import Layout
from ...figures.overlay import overlay
from ...figures.thumbnails import data_uri, enlarged, greyed, normalised
from ...figures.tree import expandable
from .work import Shown

SIDE = 304  # px: the picture of the side panel; drawn at twice that for dense screens
STRIP = 96  # px: the crop
FAINT = 0.2  # how strongly the ancestors' attention shows beside the node's own


def title(tree: Decomposition) -> dict[str, str]:
    """why "tiger cat", 37 % · logit 9.26"""
    sure = "" if tree.probability is None else f"{percent(tree.probability)} · "
    return {"why": f"why “{tree.label}”", "sure": f"{sure}logit {tree.score:.2f}".replace("-", "−")}


def drawn_words(layout: Layout, shown: Shown) -> str:
    """How many nodes are drawn, and what was left out and why."""
    words = f"{len(layout.places)} nodes drawn"
    if layout.cut:
        words += f", {layout.cut} folded: more than {len(layout.places)} would not be legible; collapse others first"
    return f"{words} · {shown.note}" if shown.note else words


def without_words(found: Ablation | None) -> str:
    """What removing everything that is crossed out does to the class."""
    if found is None:
        return ""
    names = ", ".join(f"{stage} #{k}" for stage, ks in found.channels.items() for k in ks)
    return (
        f"without {names}: logit {found.score:.2f} → {found.score_after:.2f} · predicted {signed(found.predicted)}, "
        f"real {signed(found.real)} · {percent(found.probability)} → {percent(found.probability_after)}"
    )


def removed_label(node: Node, found: Ablation) -> str:
    """Under a removed node: predicted and real change of the class score."""
    return f"#{node.channel} {signed(found.predicted)} | {signed(found.real)}"


def side_state(shown: Shown, node: Node) -> dict[str, Any]:
    """The side panel for one node: picture with the path's attention, facts, crop, and what can be done."""
    return {
        **node_state(node, shown.tree),
        "picture": _path_picture(shown.tree.path(node), shown.tree.picture),
        "size": [shown.tree.picture.shape[1], shown.tree.picture.shape[0]],
        "removal": _removal(node, shown),
        "open": _open_action(node, shown),
        "remove": None if node.parent is None else ("undo" if node.id in shown.want.removed else "remove"),
    }


def node_state(node: Node, tree: Decomposition) -> dict[str, Any]:
    """What there is to say about a node, whatever is opened or removed."""
    path = tree.path(node)
    boxes = [_box(one, tree) for one in path[1:]]
    return {
        "id": node.id,
        "root": node.parent is None,
        "children": list(node.children),
        "title": _title(node, tree),
        "boxes": [box for box in boxes if box is not None],
        "caption": _caption(path),
        "facts": _facts(node, tree),
        "crop": _crop(node, tree),
    }


def _title(node: Node, tree: Decomposition) -> str:
    if node.parent is None:
        return tree.label
    return f"{node.stage} channel {node.channel}" + (f": {node.concept}" if node.concept else "")


def percent(share: float) -> str:
    """39 %, 4.2 %, 0.03 %"""
    value = 100 * share
    size = abs(value)
    digits = 0 if size >= 9.95 else 1 if size >= 0.095 else 2
    return f"{value:.{digits}f} %".replace("-", "−")


def signed(value: float) -> str:
    """+0.25, −0.66"""
    return f"{value:+.2f}".replace("-", "−")


# ------------------------------------------------------------------------------------------------ parts


def _facts(node: Node, tree: Decomposition) -> list[list[str]]:
    if node.parent is None:
        rows = [["logit", f"{tree.score:.3f}".replace("-", "−")]]
        rows += [] if tree.probability is None else [["probability", percent(tree.probability)]]
        rows += [["read it so", node.caution]] if node.caution else []
    else:
        tap = tree.stages[node.stage]
        rows = [*_called(node, tree)]
        size = f" of {tap.size[0]}×{tap.size[1]}" if tap.size != (0, 0) else ""
        above = tree.nodes[node.parent]
        rows += [
            ["tap", str(tap)],
            ["strongest at", f"row {node.y}, column {node.x}{size}"],
            ["carries", f"{percent(node.share)} of {above.name if above.parent is not None else 'the class'}"],
        ]
        if above.parent is not None:
            rough = "" if tree.how.conditional else "about "
            rows.append(["of the class", rough + percent(node.class_share)])
        if node.value == node.value:
            rows.append(["its own value", f"{node.value:.3g}".replace("-", "−")])
    if node.completeness == node.completeness:
        rows.append(["completeness", f"{node.completeness:.2f}".replace("-", "−")])
        rows.append(["not shown", percent(node.others)])
    if node.members:
        rows.append(["stands also for", ", ".join(f"#{k}" for k in node.members)])
    if node.dead:
        rows.append(["no further", node.dead])
    return rows


def _called(node: Node, tree: Decomposition) -> list[list[str]]:
    """What a dissection says of the channel, also where that is too little for a name."""
    best = tree.names.best(node.tap, node.channel) if tree.names is not None else None
    if best is None:
        return []
    enough = "" if node.concept else ": too little for a name"
    return [
        ["overlaps with", f"{best.concept} {best.iou:.2f} IoU{enough}"],
        ["selectivity", f"{best.selectivity:.2f} of 1".replace("-", "−")],
    ]


def _removal(node: Node, shown: Shown) -> list[list[str]]:
    """Rows of (of what, predicted, real)."""
    found = shown.single.get(node.id)
    if found is None or node.id not in shown.want.removed:
        return []
    rows = [["class score", signed(found.predicted), signed(found.real)]]
    rows += [[c.decision, signed(c.predicted), signed(c.real)] for c in found.changes if c.decision != found.label]
    rows.append(["probability", "", f"{percent(found.probability)} → {percent(found.probability_after)}"])
    return rows


def _open_action(node: Node, shown: Shown) -> str | None:
    if node.id in (shown.want.opened or ()):
        return "collapse"
    return "expand" if node.children or expandable(node, shown.tree) else None


def _caption(path: list[Node]) -> str:
    if len(path) == 1:
        return "what speaks for the class at the deepest stage"
    names = " → ".join(f"{n.stage} #{n.channel}" for n in path[1:])
    return f"{names}; frame: what that position can see"


def _path_picture(path: list[Node], picture: np.ndarray) -> str:
    """The node's attention over the greyed picture, and faintly what its ancestors attend to."""
    width = int(min(2 * SIDE, max(SIDE, 2 * picture.shape[1])))  # finer than the picture itself shows nothing
    height = round(width * picture.shape[0] / picture.shape[1])
    *above, own = (normalised(node, (height, width)) for node in (path[1:] or path))
    shown = np.maximum.reduce([own, *(FAINT * one for one in above)])
    return data_uri(overlay(0.85 * greyed(picture, height, width), shown, "inferno", opacity=0.9))


def _box(node: Node, tree: Decomposition) -> list[int] | None:
    """The receptive field on the picture, unless it is all of it."""
    size = tree.picture.shape[:2]
    x0, y0, x1, y1 = tree.stages[node.stage].receptive_field.window(node.y, node.x, (size[0], size[1]))
    whole = (x1 - x0) * (y1 - y0) >= 0.98 * size[0] * size[1]
    return None if whole or x1 <= x0 or y1 <= y0 or tree.stages[node.stage].size == (0, 0) else [x0, y0, x1, y1]


def _crop(node: Node, tree: Decomposition) -> dict[str, str] | None:
    if node.parent is None:
        return None
    box = _box(node, tree)
    if box is None:
        return {"words": "a position of this stage can see the whole picture"}
    x0, y0, x1, y1 = box
    crop = enlarged(Image.fromarray(tree.picture[y0:y1, x0:x1]), 2 * STRIP)
    return {"picture": data_uri(crop, 90), "words": f"it sees {x1 - x0}×{y1 - y0} px here"}
