"""The difference of two trees as a Plotly figure: columns are stages, colour is change, and so are signs and words."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..decomposition.diff import ROOT, Change, Key, TreeDiff
from .colour import table
from .tree import LIGHT, LONGEST, Palette

if TYPE_CHECKING:
    import plotly.graph_objects as go

Places = dict[Key, tuple[float, float]]
ROW, TOP, BOX = 40, 74, 30  # px: from channel to channel, above the first, height of a channel
MOST = 12  # channels drawn in a column: those that changed most; the rest is summed up below them
SIGNS = {"gained": "+ new", "lost": "− gone", "strengthened": "▲", "weakened": "▼", "same": "="}
MOST_EDGES = 16  # drawn between two columns: those that changed most


def tree_diff_figure(diff: TreeDiff, palette: Palette = LIGHT, width: int = 1280, most: int = MOST) -> go.Figure:
    """A difference of trees, drawn: red grew or is new, blue shrank or is gone, neutral stayed.

    In each channel's box stand its parts of the class score before → after, and a sign (+ new, − gone, ▲, ▼, =):
    nothing is said by colour alone. Lost channels and connections are dashed. At most `most` channels of a stage are
    drawn, those that changed most; what is left out is counted below them. A stage's largest change has the end of the
    colour table: shares shrink from stage to stage.

    Example:
        >>> import camwidgets
        >>> from camwidgets.decomposition.diff import diff
        >>> net, cat = camwidgets.load("toy"), camwidgets.samples.picture("cat")
        >>> a, b = (camwidgets.decompose(net, cat, target=t, depth=2) for t in ("cat", "dog"))
        >>> int(tree_diff_figure(diff(a, b)).layout.width)
        1280
    """
    import plotly.graph_objects as go

    columns = {stage: [c for c in diff.channels if c.stage == stage] for stage in diff.stages}
    shown = {stage: _ordered(found[:most]) for stage, found in columns.items()}
    rows = max(map(len, shown.values()))
    step = width / (len(shown) + 1)
    places: Places = {ROOT: (step / 2, TOP + ROW * (rows - 1) / 2)}
    for i, found in enumerate(shown.values(), 1):
        first = TOP + ROW * (rows - len(found)) / 2
        places |= {(c.stage, c.channel): (step * (i + 0.5), first + ROW * j) for j, c in enumerate(found)}
    flat = [c for found in shown.values() for c in found]
    full = {s: max((abs(c.change) for c in found), default=0.0) or 1.0 for s, found in shown.items()}
    half = min(78.0, step / 2 - 18)
    height = TOP + ROW * rows + 46
    notes = [*_headings(diff, step, palette), _root(diff, places[ROOT], palette)]
    notes += [_rest(columns[s], shown[s], places, step * (i + 0.5), palette) for i, s in enumerate(shown, 1)]
    return go.Figure({
        "data": [_hover(flat, places, full, palette)],
        "layout": {
            "shapes": [*_edges(diff, places, half, palette), *_boxes(flat, places, half, full, palette)],
            "annotations": [*notes, *_labels(flat, places, full)], "width": width, "height": height,
            "margin": {"l": 0, "r": 0, "t": 0, "b": 0}, "xaxis": _axis([0, width]), "yaxis": _axis([height, 0]),
            "paper_bgcolor": palette.paper, "plot_bgcolor": palette.paper, "showlegend": False,
            "hovermode": "closest", "dragmode": False, "font": {"color": palette.ink, "size": 12},
        },
    })  # fmt: skip


def colour_of(change: float, full: float) -> tuple[int, int, int]:
    """Blue for a fall, neutral for none, red for a rise; `full` is the change at the table's ends."""
    place = 0.5 + 0.5 * max(-1.0, min(1.0, change / full))
    red, green, blue = (int(v) for v in table("blue-red")[round(255 * place)])
    return red, green, blue


def describe(change: Change) -> str:
    """A change in words, for hover (HTML)."""
    a, b = change.share
    also = f"<br>#{change.also} in the second tree: the same place" if change.also is not None else ""
    alpha = "" if change.parent is not None else f"<br>α {change.contribution[0]:.3g} → {change.contribution[1]:.3g}"
    return f"<b>{html.escape(change.name)}</b> {change.kind}<br>share {_percent(a)} → {_percent(b)} %{alpha}{also}"


def _percent(share: float) -> str:
    """Two digits that count, whatever the size."""
    value = 100 * share
    return (f"{value:.0f}" if abs(value) >= 10 else f"{value:.2g}" if abs(value) >= 0.001 else "0").replace("-", "−")


def _ordered(found: Sequence[Change]) -> list[Change]:
    """What grew above what shrank: a column reads from + to −."""
    return sorted(found, key=lambda c: (-c.change, c.channel))


def _boxes(
    found: Sequence[Change], places: Places, half: float, full: dict[str, float], palette: Palette
) -> list[dict[str, Any]]:
    shapes = []
    for c in found:
        x, y = places[c.stage, c.channel]
        dash = "dot" if c.kind == "lost" else "solid"
        shapes.append({
            "type": "rect", "x0": x - half, "x1": x + half, "y0": y - BOX / 2, "y1": y + BOX / 2, "layer": "between",
            "fillcolor": f"rgb{colour_of(c.change, full[c.stage])}",
            "line": {"width": 2 if c.kind in ("gained", "lost") else 1, "color": palette.quiet, "dash": dash},
        })  # fmt: skip
    return shapes


def _labels(found: Sequence[Change], places: Places, full: dict[str, float]) -> list[dict[str, Any]]:
    notes = []
    for c in found:
        x, y = places[c.stage, c.channel]
        red, green, blue = colour_of(c.change, full[c.stage])
        ink = "#1a1a1a" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "#ffffff"
        a, b = map(_percent, c.share)
        text = f"<b>#{c.channel}</b> {SIGNS[c.kind]}<br>{a} → {b} %"
        notes.append(_note(x, y, text, ink, 10))
    return notes


def _edges(
    diff: TreeDiff, places: Places, half: float, palette: Palette
) -> list[dict[str, Any]]:
    shapes = []
    both = [e for e in diff.edges if e.parent in places and (e.stage, e.channel) in places]
    drawn = [e for stage in diff.stages for e in [e for e in both if e.stage == stage][:MOST_EDGES]]
    full = max((abs(e.change) for e in drawn), default=1.0) or 1.0
    for e in sorted(drawn, key=lambda e: abs(e.change)):
        assert e.parent is not None
        (ax, ay), (bx, by) = places[e.parent], places[e.stage, e.channel]
        x0, x1 = ax + half, bx - half
        middle = (x0 + x1) / 2
        colour = palette.line if e.kind == "same" else f"rgb{colour_of(0.75 * _signed(e), 1)}"
        line = {"width": 1 + 5 * abs(e.change) / full, "color": colour, "dash": "dot" if e.kind == "lost" else "solid"}
        path = f"M {x0},{ay} C {middle},{ay} {middle},{by} {x1},{by}"
        shapes.append({"type": "path", "path": path, "layer": "below", "line": line, "opacity": 0.8})
    return shapes


def _signed(change: Change) -> float:
    return 1.0 if change.change > 0 else -1.0


def _hover(
    found: Sequence[Change], places: Places, full: dict[str, float], palette: Palette
) -> dict[str, Any]:
    """Invisible markers that answer the pointer, and the colour bar."""
    spots = [places[c.stage, c.channel] for c in found]
    scale = [[i / 10, "rgb{}".format(tuple(int(v) for v in table("blue-red")[round(25.5 * i)]))] for i in range(11)]
    return {
        "type": "scatter", "x": [x for x, _ in spots], "y": [y for _, y in spots], "mode": "markers",
        "marker": {
            "size": BOX, "symbol": "square", "opacity": 0, "color": [c.change / full[c.stage] for c in found],
            "cmin": -1, "cmax": 1, "colorscale": scale, "showscale": True,
            "colorbar": {
                "orientation": "h", "thickness": 8, "len": 0.3, "x": 0.95, "xanchor": "right", "y": 0.0,
                "yanchor": "bottom", "title": {"text": "change, in units of the stage's largest", "side": "top",
                                               "font": {"size": 10, "color": palette.quiet}},
                "tickvals": [-1, 0, 1], "ticktext": ["−  weaker", "0", "stronger  +"],
                "tickfont": {"size": 10, "color": palette.quiet}, "outlinewidth": 0,
            },
        },
        "customdata": [c.name for c in found], "hovertext": [describe(c) for c in found], "hoverinfo": "text",
    }  # fmt: skip


def _headings(diff: TreeDiff, step: float, palette: Palette) -> list[dict[str, Any]]:
    notes = [_note(step / 2, 20, f"distance {diff.distance:.2f}", palette.quiet, 11)]
    for i, stage in enumerate(diff.stages, 1):
        parts = "<br><b>◆ part here</b>" if stage == diff.parting else ""
        notes.append(_note(step * (i + 0.5), 22, f"{stage} · {diff.distances[stage]:.2f}{parts}", palette.ink, 11))
    return notes


def _root(diff: TreeDiff, place: tuple[float, float], palette: Palette) -> dict[str, Any]:
    """Both decisions, one above the other."""
    lines = []
    for sign, tree in (("−" if diff.before.target != diff.after.target else "1.", diff.before),
                       ("+" if diff.before.target != diff.after.target else "2.", diff.after)):  # fmt: skip
        name = tree.label if len(tree.label) <= LONGEST else tree.label[: LONGEST - 1] + "…"
        sure = f" {tree.probability:.0%}" if tree.probability is not None else ""
        lines.append(f"{sign} {html.escape(name)}{sure}<br>logit {tree.score:.2f}".replace("logit -", "logit −"))
    return _note(*place, "<br>↓<br>".join(lines), palette.ink, 12)


def _rest(
    column: Sequence[Change],
    shown: Sequence[Change],
    places: Places,
    x: float,
    palette: Palette,
) -> dict[str, Any]:
    """What is not drawn of a column, counted."""
    left = [c for c in column if c not in shown]
    last = max((places[c.stage, c.channel][1] for c in shown), default=TOP)
    text = f"… {len(left)} more, each within ±{_percent(max(abs(c.change) for c in left))} %" if left else ""
    return _note(x, last + BOX / 2 + 14, text, palette.quiet, 10)


def _note(x: float, y: float, text: str, colour: str, size: int) -> dict[str, Any]:
    return {
        "x": x, "y": y, "text": text, "showarrow": False, "xref": "x", "yref": "y", "yanchor": "middle",
        "font": {"size": size, "color": colour},
    }  # fmt: skip


def _axis(span: list[float]) -> dict[str, Any]:
    return {"range": span, "visible": False, "fixedrange": True, "autorange": False}
