"""A decomposition as a Plotly figure: columns are stages, thumbnails show where each channel's evidence lies."""

from __future__ import annotations

import html
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..decomposition.tree import Decomposition, Node
from .layout import THUMB, Layout, Place, arrange
from .thumbnails import thumbnail

if TYPE_CHECKING:
    import plotly.graph_objects as go


LONGEST = 20  # characters of a class label under its node


@dataclass(frozen=True)
class Palette:
    """Colours of a theme: ink for text, quiet for what recedes, accent for the selected path."""

    ink: str = "#212121"
    quiet: str = "#757575"
    line: str = "#c4c4c4"
    accent: str = "#1976d2"
    paper: str = "rgba(0,0,0,0)"


LIGHT = Palette()
DARK = Palette(ink="#f5f5f5", quiet="#a8a8a8", line="#616161", accent="#64b5f6")


def tree_figure(
    tree: Decomposition,
    opened: Collection[int] | None = None,
    selected: int = 0,
    palette: Palette = LIGHT,
    width: int = 900,
) -> go.Figure:
    """The tree as a figure.

    Args:
        opened: ids of nodes whose children are drawn; None = all (at most 200 nodes are drawn, the rest is folded).
        selected: the node whose path from the class is drawn in the accent colour.

    Edge width and label are the child's share of its parent's decision; "others" is what the shown children lack.
    """
    import plotly.graph_objects as go

    drawn = arrange(tree, set(tree.nodes if opened is None else opened), width)
    path = {node.id for node in tree.path(selected)}
    return go.Figure(
        data=[_markers(tree, drawn, path, palette)],
        layout=go.Layout(
            images=[_image(place, tree) for place in drawn.places.values()],
            shapes=_edges(tree, drawn, path, palette),
            annotations=[*_headings(tree, drawn, palette), *_others(tree, drawn, palette)],
            width=drawn.width,
            height=drawn.height,
            margin={"l": 0, "r": 0, "t": 0, "b": 0},
            xaxis=_axis([0, drawn.width]),
            yaxis=_axis([drawn.height, 0]),
            paper_bgcolor=palette.paper,
            plot_bgcolor=palette.paper,
            showlegend=False,
            hovermode="closest",
            dragmode="pan",
            font={"color": palette.ink, "size": 12},
        ),
    )


def label(node: Node, tree: Decomposition) -> str:
    """What stands under a node: its channel and its share of the parent's decision; under the root, the class."""
    if node.parent is not None:
        return f"#{node.channel} · {node.share:.0%}"
    name = tree.label if len(tree.label) <= LONGEST else tree.label[: LONGEST - 1] + "…"
    sure = "" if tree.probability is None else f" {tree.probability:.0%}"
    return html.escape(name) + sure


def describe(node: Node, tree: Decomposition) -> str:
    """A node in words, for hover (HTML)."""
    if node.parent is None:
        sure = "" if tree.probability is None else f" · {tree.probability:.1%}"
        return f"<b>{html.escape(tree.label)}</b>{sure}<br>logit {tree.score:.2f}"
    lines = [
        f"<b>{html.escape(node.name)}</b> at row {node.y}, column {node.x}",
        f"{node.share:.1%} of its parent, about {node.class_share:.2%} of the class",
    ]
    if node.members:
        lines.append(f"stands for {len(node.members)} more that see the same place")
    if node.dead:
        lines.append(html.escape(node.dead))
    elif node.children:
        lines.append(f"completeness of its own evidence {node.completeness:.2f}")
    return "<br>".join(lines)


def _markers(tree: Decomposition, drawn: Layout, path: set[int], palette: Palette) -> Any:
    import plotly.graph_objects as go

    places = list(drawn.places.values())
    return go.Scatter(
        x=[p.x for p in places],
        y=[p.y for p in places],
        mode="markers+text",
        marker={
            "size": THUMB + 6,
            "symbol": "square",
            "color": [palette.accent if p.node.id in path else palette.line for p in places],
            "line": {"width": 0},
        },
        text=[_text(p, tree) for p in places],
        textposition="bottom center",
        textfont={"size": 11, "color": palette.ink},
        customdata=[p.node.id for p in places],
        hoverinfo="none",
        cliponaxis=False,
    )


def _text(place: Place, tree: Decomposition) -> str:
    more = f" ▸ {place.folded}" if place.folded else ""
    return label(place.node, tree) + more


def _image(place: Place, tree: Decomposition) -> dict[str, Any]:
    # Two layout images of the same place and size are drawn once: a hair of difference keeps both.
    size = THUMB + 1e-6 * place.node.id
    return {
        "source": thumbnail(place.node, tree.picture), "xref": "x", "yref": "y", "x": place.x, "y": place.y,
        "sizex": size, "sizey": size, "xanchor": "center", "yanchor": "middle", "sizing": "stretch", "layer": "above",
    }  # fmt: skip


def _edges(tree: Decomposition, drawn: Layout, path: set[int], palette: Palette) -> list[dict[str, Any]]:
    shapes = []
    for (parent, child), share in tree.edges.items():
        if parent not in drawn.places or child not in drawn.places or drawn.places[parent].folded:
            continue
        a, b = drawn.places[parent], drawn.places[child]
        x0, x1 = a.x + THUMB / 2 + 3, b.x - THUMB / 2 - 3
        middle = (x0 + x1) / 2
        lit = parent in path and child in path
        shapes.append({
            "type": "path", "path": f"M {x0},{a.y} C {middle},{a.y} {middle},{b.y} {x1},{b.y}", "layer": "below",
            "line": {"width": 1 + 14 * min(1.0, abs(share)), "color": palette.accent if lit else palette.line},
            "opacity": 1.0 if lit else 0.75,
        })  # fmt: skip
    return shapes


def _headings(tree: Decomposition, drawn: Layout, palette: Palette) -> list[dict[str, Any]]:
    columns = ["class", *list(tree.stages)[::-1]]
    step = drawn.width / len(columns)
    found = []
    for i, name in enumerate(columns):
        size = tree.stages[name].size if name in tree.stages else None
        text = name if not size or size == (0, 0) else f"{name}  {size[0]}×{size[1]}"
        found.append(_note(step * (i + 0.5), 16, text, palette.quiet, "middle"))
    return found


def _others(tree: Decomposition, drawn: Layout, palette: Palette) -> list[dict[str, Any]]:
    """What the shown children do not carry, under the last of them: nobody shall read them as the whole."""
    found = []
    for place in drawn.places.values():
        shown = [drawn.places[i] for i in place.node.children if i in drawn.places] if not place.folded else []
        if shown:
            last = max(shown, key=lambda p: p.y)
            text = f"others {place.node.others:.0%}"
            found.append(_note((place.x + last.x) / 2, last.y + 22, text, palette.quiet, "top"))
    return found


def _note(x: float, y: float, text: str, colour: str, anchor: str) -> dict[str, Any]:
    return {
        "x": x, "y": y, "text": text, "showarrow": False, "xref": "x", "yref": "y", "yanchor": anchor,
        "font": {"size": 11, "color": colour},
    }  # fmt: skip


def _axis(span: list[float]) -> dict[str, Any]:
    return {"range": span, "visible": False, "fixedrange": False, "autorange": False}
