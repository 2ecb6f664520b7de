"""A tree as an SVG drawing: one text that any program shows, thumbnails inside."""

from __future__ import annotations

import html
from collections.abc import Collection
from typing import Any

from ..decomposition.export import xml_text
from ..decomposition.tree import Decomposition
from .layout import THUMB, arrange
from .tree import LIGHT, Palette, View, draw, opened_of


def tree_svg(
    tree: Decomposition,
    opened: Collection[int] | None = None,
    selected: int = 0,
    palette: Palette = LIGHT,
    width: float = 900.0,
) -> str:
    """What `tree_figure` shows, as SVG.

    Example:
        >>> import camwidgets
        >>> classifier = camwidgets.load("efficientnet_lite0")
        >>> tree = camwidgets.decompose(classifier, camwidgets.samples.picture("cat"), depth=1)
        >>> tree_svg(tree).count("<image")
        4
    """
    view = View(opened, selected, {}, palette, width)
    drawn = arrange(tree, opened_of(tree, view), width)
    figure = draw(tree, view, drawn)
    trace, layout = figure["data"][0], figure["layout"]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{drawn.width:g}" height="{drawn.height:g}" '
        f'viewBox="0 0 {drawn.width:g} {drawn.height:g}" font-family="system-ui, sans-serif" font-size="11">',
        f"<title>{html.escape(f'why {tree.label}')}</title>",
    ]
    parts += [_path(shape) for shape in layout["shapes"]]
    for i, image in enumerate(layout["images"]):
        x, y, size = trace["x"][i], trace["y"][i], trace["marker"]["size"][i]
        parts.append(_rect(x, y, size, trace["marker"]["color"][i]))
        parts.append(
            f'<image x="{x - THUMB / 2:g}" y="{y - THUMB / 2:g}" width="{THUMB}" height="{THUMB}" '
            f'preserveAspectRatio="none" href="{image["source"]}"/>'
        )
        for row, line in enumerate(trace["text"][i].split("<br>")):
            parts.append(_text(x, y + size / 2 + 12 + 13 * row, line, palette.ink))
    for note in layout["annotations"]:
        below = 4 if note["yanchor"] == "middle" else 12
        parts.append(_text(note["x"], note["y"] + below, html.escape(note["text"]), note["font"]["color"]))
    return xml_text("\n".join([*parts, "</svg>"])) + "\n"


def _path(shape: dict[str, Any]) -> str:
    line = shape["line"]
    return (
        f'<path d="{shape["path"]}" fill="none" stroke="{line["color"]}" stroke-width="{line["width"]:.2f}" '
        f'opacity="{shape["opacity"]:g}"/>'
    )


def _rect(x: float, y: float, size: float, colour: str) -> str:
    return f'<rect x="{x - size / 2:g}" y="{y - size / 2:g}" width="{size:g}" height="{size:g}" fill="{colour}"/>'


def _text(x: float, y: float, escaped: str, colour: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle" fill="{colour}">{escaped}</text>'
