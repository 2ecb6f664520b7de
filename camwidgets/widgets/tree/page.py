"""A whole tree as one HTML page in which nodes expand: no kernel, no network, no library."""

from __future__ import annotations

import html
import math
from collections.abc import Collection, Mapping
from typing import Any

from ...decomposition.tree import Decomposition, Node
from ...figures.layout import MARGIN, MOST_DRAWN, THUMB, row_of
from ...figures.thumbnails import thumbnail
from ...figures.tree import heading, label, name_line
from .. import assets
from ..page import document
from .view import node_state, percent, title

WIDTH = 900.0
PIXELS = 128  # thumbnails; the panel beside the tree shows the same picture larger


def page(
    tree: Decomposition,
    opened: Collection[tuple[str, ...]] = (),
    selected: tuple[str, ...] = (),
    seen: Mapping[tuple[str, ...], dict[str, Any]] | None = None,
) -> str:
    """The page.

    Args:
        tree: as deep as the page shall go: what is not decomposed cannot be expanded there.
        opened, selected: paths of features from the root ("S5 112 3 4", …), as `export.path_of` makes them;
            nothing opened = the first step.
        seen: path → `sight.sight_state` of the nodes that have one; the others say that they have none.
    """
    from .export import path_of

    paths = {number: path_of(tree, number) for number in tree.nodes}
    known = {path: number for number, path in paths.items()}
    open_ids = sorted(known[path] for path in opened if path in known) or [0]
    words = title(tree)
    content = {
        **page_layout(tree), "opened": open_ids, "selected": known.get(tuple(selected), 0),
        "headings": [heading(tree, name) for name in columns(tree)],
        "size": [tree.picture.shape[1], tree.picture.shape[0]],
        "edges": [[a, b, share] for (a, b), share in tree.edges.items()],
    }  # fmt: skip
    for number, node in tree.nodes.items():
        content["nodes"][number] |= _described(node, tree)
        content["nodes"][number]["seen"] = (seen or {}).get(paths[number])
    said = {"title": words["why"], "sure": words["sure"], "how": _how(tree)}
    body = _BODY.format(**{name: html.escape(text) for name, text in said.items()}, width=f"{WIDTH:g}")
    css = assets.css("tree/panel.css", "page.css", "tree/page.css")
    return document(words["why"], css, body, {"tree": content}, assets.esm("tree/page.js"))


def columns(tree: Decomposition) -> list[str]:
    """Names of the columns, left to right."""
    return ["class", *list(tree.stages)[::-1]]


def page_layout(tree: Decomposition, width: float = WIDTH, most: int = MOST_DRAWN) -> dict[str, Any]:
    """What the page's own layout needs: the same numbers as `figures.layout.arrange` uses."""
    return {
        "nodes": {n.id: {"stage": n.stage, "children": list(n.children)} for n in tree.nodes.values()},
        "columns": columns(tree), "thumb": THUMB, "row": row_of(tree), "margin": MARGIN, "most": most, "width": width,
    }  # fmt: skip


def _described(node: Node, tree: Decomposition) -> dict[str, Any]:
    others = "" if math.isnan(node.others) else f"others {node.others:.0%}"
    state = node_state(node, tree)
    return {
        **state, "parent": node.parent, "image": thumbnail(node, tree.picture, PIXELS), "others": others,
        "label": html.unescape(label(node, tree)), "called": html.unescape(name_line(node)),
        "words": f"{node.name}, {percent(node.share)} of its parent",
    }  # fmt: skip


def _how(tree: Decomposition) -> str:
    kind = "along the whole path" if tree.how.conditional else "each node by itself"
    model = tree.made_by["model"]
    return f"{model} · the {tree.how.top} strongest channels per node, {kind}, evidence {tree.how.sign} the class"


_BODY = """<main class="cw-root">
<header class="cw-head"><h2>{title}</h2><span class="cw-muted">{sure}</span></header>
<p class="cw-muted cw-page-how">{how} · click a node to expand or fold it · <span id="told" role="status"></span></p>
<div class="cw-page-body"><svg id="canvas" width="{width}" role="tree" aria-label="{title}"></svg>
<aside class="cw-tree-facts" id="facts"></aside></div>
</main>"""
