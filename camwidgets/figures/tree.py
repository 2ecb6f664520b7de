"""A decomposition as a Plotly figure: columns are stages, thumbnails show where each channel's evidence lies."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..decomposition.tree import Decomposition, Node
from .layout import THUMB, Layout, Place, arrange
from .thumbnails import thumbnail

if TYPE_CHECKING:
    import plotly.graph_objects as go


LONGEST = 20  # characters of a class label under its node


@dataclass(frozen=True)
class Palette:
    """Colours of a theme: ink for text, quiet for the rest, accent for the selected path, gone for what was removed."""

    ink: str = "#212121"
    quiet: str = "#757575"
    line: str = "#c4c4c4"
    accent: str = "#1976d2"
    gone: str = "#c62828"
    paper: str = "rgba(0,0,0,0)"


LIGHT = Palette()
DARK = Palette(ink="#f5f5f5", quiet="#a8a8a8", line="#616161", accent="#64b5f6", gone="#ff8a80")


@dataclass(frozen=True)
class View:
    """How a tree is looked at.

    Attributes:
        opened: ids of nodes whose children are drawn; None = all (at most 200 are drawn, the rest is folded).
        selected: the node whose path from the class is drawn in the accent colour. width: px.
        removed: node id → what stands under it in place of its label: it is marked as taken out.
    """

    opened: Collection[int] | None = None
    selected: int = 0
    removed: Mapping[int, str] = field(default_factory=dict)
    palette: Palette = LIGHT
    width: float = 900.0


def tree_figure(
    tree: Decomposition,
    opened: Collection[int] | None = None,
    selected: int = 0,
    palette: Palette = LIGHT,
    width: int = 900,
) -> go.Figure:
    """The tree as a figure; see `View`.

    Edge width and label are the child's share of its parent's decision; "others" is what the shown children lack.
    """
    import plotly.graph_objects as go

    view = View(opened, selected, {}, palette, width)
    return go.Figure(draw(tree, view, arrange(tree, opened_of(tree, view), width)))


def opened_of(tree: Decomposition, view: View) -> set[int]:
    """The ids of the opened nodes."""
    return set(tree.nodes if view.opened is None else view.opened)


def draw(tree: Decomposition, view: View, drawn: Layout, thumbs: dict[int, str] | None = None) -> dict[str, Any]:
    """The figure as plain values. `thumbs` keeps thumbnails between calls: node id → address."""
    palette, path = view.palette, {node.id for node in tree.path(view.selected)}
    kept = {} if thumbs is None else thumbs
    return {
        "data": [_markers(tree, drawn, path, view)],
        "layout": {
            "images": [_image(place, tree, kept) for place in drawn.places.values()],
            "shapes": [*_edges(tree, drawn, path, view), *_crosses(drawn, view)],
            "annotations": [*_headings(tree, drawn, palette), *_others(tree, drawn, palette)],
            "width": drawn.width,
            "height": drawn.height,
            "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
            "xaxis": _axis([0, drawn.width]),
            "yaxis": _axis([drawn.height, 0]),
            "paper_bgcolor": palette.paper,
            "plot_bgcolor": palette.paper,
            "showlegend": False,
            "hovermode": "closest",
            "dragmode": False,
            "font": {"color": palette.ink, "size": 12},
        },
    }


def label(node: Node, tree: Decomposition) -> str:
    """What stands under a node: its channel and its share of the parent's decision; under the root, the class."""
    if node.parent is not None:
        return f"#{node.channel} · {node.share:.0%}"
    name = tree.label if len(tree.label) <= LONGEST else tree.label[: LONGEST - 1] + "…"
    sure = "" if tree.probability is None else f" {tree.probability:.0%}"
    return html.escape(name) + sure


def name_line(node: Node) -> str:
    """The second line under a node: what its channel is called, or ""."""
    return html.escape(f"{node.concept} {node.iou:.2f}") if node.concept else ""


def describe(node: Node, tree: Decomposition) -> str:
    """A node in words, for hover (HTML)."""
    if node.parent is None:
        sure = "" if tree.probability is None else f" · {tree.probability:.1%}"
        lines = [f"<b>{html.escape(tree.label)}</b>{sure}", f"logit {tree.score:.2f}"]
        return "<br>".join(lines + [html.escape(line) for line in textwrap.wrap(node.caution, 60)])
    lines = [
        f"<b>{html.escape(node.name)}</b> at row {node.y}, column {node.x}",
        f"{node.share:.1%} of its parent, about {node.class_share:.2%} of the class",
    ]
    if node.concept:
        lines.append(html.escape(f"overlaps with “{node.concept}”: {node.iou:.2f} IoU"))
    if node.members:
        lines.append(f"stands for {len(node.members)} more that see the same place")
    if node.dead:
        lines.append(html.escape(node.dead))
    elif node.children:
        lines.append(f"completeness of its own evidence {node.completeness:.2f}")
    return "<br>".join(lines)


def _markers(tree: Decomposition, drawn: Layout, path: set[int], view: View) -> dict[str, Any]:
    places, palette = list(drawn.places.values()), view.palette
    return {
        "type": "scatter",
        "x": [p.x for p in places],
        "y": [p.y for p in places],
        "mode": "markers+text",
        "marker": {
            "size": [THUMB + (10 if p.node.id == view.selected else 6) for p in places],
            "symbol": "square",
            "color": [_frame(p.node.id, path, view) for p in places],
            "line": {"width": 0},
            "opacity": 1,
        },
        "text": [_text(p, tree, view) for p in places],
        "textposition": "bottom center",
        "textfont": {"size": 11, "color": palette.ink},
        "customdata": [p.node.id for p in places],
        "hovertext": [describe(p.node, tree) for p in places],
        "hoverinfo": "none",
        "cliponaxis": False,
    }


def _frame(number: int, path: set[int], view: View) -> str:
    if number in view.removed:
        return view.palette.gone
    return view.palette.accent if number in path else view.palette.line


def _text(place: Place, tree: Decomposition, view: View) -> str:
    """Label, and ▸ where a click shows more; what the channel is called."""
    more = f" ▸ {place.folded}" if place.folded else " ▸" if expandable(place.node, tree) else ""
    first, name = view.removed.get(place.node.id) or label(place.node, tree) + more, name_line(place.node)
    return f"{first}<br>{name}" if name else first


def expandable(node: Node, tree: Decomposition) -> bool:
    """Whether a node that has no children yet can be decomposed."""
    return not node.children and not node.dead and node.stage != next(iter(tree.stages))


def _image(place: Place, tree: Decomposition, kept: dict[int, str]) -> dict[str, Any]:
    number = place.node.id
    if number not in kept:
        kept[number] = thumbnail(place.node, tree.picture)
    # Two layout images of the same place and size are drawn once: a hair of difference keeps both.
    size = THUMB + 1e-6 * number
    return {
        "source": kept[number], "xref": "x", "yref": "y", "x": place.x, "y": place.y,
        "sizex": size, "sizey": size, "xanchor": "center", "yanchor": "middle", "sizing": "stretch", "layer": "above",
    }  # fmt: skip


def _crosses(drawn: Layout, view: View) -> list[dict[str, Any]]:
    """Both diagonals over a removed node: colour alone says nothing to some readers."""
    half, found = THUMB / 2, []
    for number in view.removed:
        if number in drawn.places:
            p = drawn.places[number]
            path = (
                f"M {p.x - half},{p.y - half} L {p.x + half},{p.y + half} "
                f"M {p.x - half},{p.y + half} L {p.x + half},{p.y - half}"
            )
            line = {"width": 2, "color": view.palette.gone}
            found.append({"type": "path", "path": path, "layer": "above", "line": line, "opacity": 1.0})
    return found


def _edges(tree: Decomposition, drawn: Layout, path: set[int], view: View) -> list[dict[str, Any]]:
    shapes, palette = [], view.palette
    for (parent, child), share in tree.edges.items():
        if parent not in drawn.places or child not in drawn.places or drawn.places[parent].folded:
            continue
        a, b = drawn.places[parent], drawn.places[child]
        x0, x1 = a.x + THUMB / 2 + 3, b.x - THUMB / 2 - 3
        middle = (x0 + x1) / 2
        lit = parent in path and child in path
        shapes.append({
            "type": "path", "path": f"M {x0},{a.y} C {middle},{a.y} {middle},{b.y} {x1},{b.y}", "layer": "below",
            "line": {"width": 1 + 13 * min(1.0, abs(share)), "color": palette.accent if lit else palette.line},
            "opacity": 1.0 if lit else 0.75,
        })  # fmt: skip
    return shapes


def heading(tree: Decomposition, name: str) -> str:
    """A column's heading: its stage and resolution."""
    size = tree.stages[name].size if name in tree.stages else None
    return name if not size or size == (0, 0) else f"{name}  {size[0]}×{size[1]}"


def _headings(tree: Decomposition, drawn: Layout, palette: Palette) -> list[dict[str, Any]]:
    columns = ["class", *list(tree.stages)[::-1]]
    step = drawn.width / len(columns)
    return [_note(step * (i + 0.5), 16, heading(tree, name), palette.quiet, "middle") for i, name in enumerate(columns)]


def _others(tree: Decomposition, drawn: Layout, palette: Palette) -> list[dict[str, Any]]:
    """What the shown children do not carry, under the last of them: nobody shall read them as the whole."""
    found = []
    for place in drawn.places.values():
        shown = [drawn.places[i] for i in place.node.children if i in drawn.places] if not place.folded else []
        if shown:
            last = max(shown, key=lambda p: p.y)
            text = f"others {place.node.others:.0%}".replace("-", "−")
            # Left of the child's label (about 90 px wide); below it where the parent stands at the same height.
            x = last.x - 46 - 2.9 * len(text)
            found.append(_note(x, last.y + (14 if len(shown) > 1 else 52), text, palette.quiet, "top"))
    return found


def _note(x: float, y: float, text: str, colour: str, anchor: str) -> dict[str, Any]:
    return {
        "x": x, "y": y, "text": text, "showarrow": False, "xref": "x", "yref": "y", "yanchor": anchor,
        "font": {"size": 11, "color": colour},
    }  # fmt: skip


def _axis(span: list[float]) -> dict[str, Any]:
    return {"range": span, "visible": False, "fixedrange": True, "autorange": False}
