"""Figures of maps that learn: recall and noise per epoch, pseudo-labels compared, maps over epochs. No network is run.

Lines differ by colour, dash and marker, as in `evidence_plots`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..errors import unknown
from ..learning.quality import resized
from .evidence_plots import COLOURS, SYMBOLS
from .overlay import overlay
from .strip import strip
from .tree import LIGHT, Palette

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from ..learning.run import Run

WIDTH = 700
MOST_SHOWN = 8  # maps in a strip, spread over the epochs
BAND = 0.15  # opacity


def recall_figure(table: pd.DataFrame, palette: Palette = LIGHT, width: int = WIDTH) -> go.Figure:
    """How much of the objects the maps find (solid) and how much of what they find is none (dotted), epoch by epoch.

    [000] figure 4.10, with the noise rate beside the recall.

    Args:
        table: columns "epoch", "recall", "noise" (shares, 0 … 1), and "method" where there are several. Rows of the
            same method and epoch (seeds) become their mean and a band of ± one standard deviation.

    Raises:
        ValueError: an empty table, or a column that is missing.

    Example:
        >>> import pandas as pd
        >>> table = pd.DataFrame({"epoch": [1, 2], "recall": [0.3, 0.4], "noise": [0.2, 0.25]})
        >>> [trace.name for trace in recall_figure(table).data]
        ['recall', 'noise']
    """
    import plotly.graph_objects as go

    _needs(table, "epoch", "recall", "noise")
    several = "method" in table
    names = list(dict.fromkeys(table["method"].astype(str))) if several else [""]
    traces: list[Any] = []
    for i, method in enumerate(names):
        rows = table[table["method"].astype(str) == method] if several else table
        colour, symbol = COLOURS[i % len(COLOURS)], SYMBOLS[i % len(SYMBOLS)]
        for what, dash in (("recall", "solid"), ("noise", "dot")):
            values = rows.groupby("epoch")[what].agg(["mean", "std"])
            name = f"{method}, {what}" if several else what
            if values["std"].notna().any():
                traces.append(_band(values, colour, name))
            traces.append(go.Scatter(
                x=values.index.tolist(), y=(100 * values["mean"]).tolist(), name=name, legendgroup=name,
                mode="lines+markers", line={"color": colour, "dash": dash, "width": 2},
                marker={"symbol": symbol if what == "recall" else f"{symbol}-open", "size": 7, "color": colour},
                hovertemplate=f"epoch %{{x}}: %{{y:.1f}} %<extra>{name}</extra>",
            ))  # fmt: skip
    layout = _layout("What the maps find: share of the objects (recall), share of the find that is none (noise)",
                     palette, width, 440 + 12 * len(names))  # fmt: skip
    layout["margin"]["b"] = 96 + 12 * len(names)  # room for the legend under the axis
    layout["xaxis"] = _axis("epoch", palette) | {"dtick": max(1, int(table["epoch"].max()) // 12)}
    layout["yaxis"] = _axis("% of pixels", palette) | {"rangemode": "tozero"}
    return go.Figure(traces, layout)


def labels_figure(
    table: pd.DataFrame, value: str = "miou", upper: float | None = None, palette: Palette = LIGHT, width: int = WIDTH
) -> go.Figure:
    """mIoU of pseudo-labels (or of what was trained on them), a line a method, with the numbers written out.

    Args:
        table: columns "method" and `value` (0 … 1). Several rows of a method (seeds) become their mean, their standard
            deviation as a bar, and single points. The methods stand in the table's order.
        upper: a level drawn across: what the true masks reach.

    Raises:
        ValueError: an empty table, or a column that is missing.

    Example:
        >>> import pandas as pd
        >>> figure = labels_figure(pd.DataFrame({"method": ["CAM", "CAM", "OAA"], "miou": [0.4, 0.5, 0.6]}))
        >>> list(figure.data[-1].text)
        ['45.0 ± 7.1', '60.0']
    """
    import plotly.graph_objects as go

    _needs(table, "method", value)
    stats = table.groupby("method", sort=False)[value].agg(["mean", "std"]) * 100
    text = [f"{m:.1f} ± {s:.1f}" if np.isfinite(s) else f"{m:.1f}" for m, s in stats.itertuples(index=False)]
    single = go.Scatter(
        x=(100 * table[value]).tolist(), y=table["method"].tolist(), mode="markers", name="a seed", showlegend=False,
        marker={"symbol": "line-ns-open", "size": 9, "color": palette.quiet}, hovertemplate="%{x:.1f}<extra></extra>",
    )  # fmt: skip
    means = go.Scatter(
        x=stats["mean"].tolist(), y=stats.index.tolist(), mode="markers+text", text=text, textposition="top center",
        marker={"size": 10, "color": COLOURS[0]}, showlegend=False, name="mean",
        error_x={"type": "data", "array": stats["std"].fillna(0).tolist(), "color": COLOURS[0], "thickness": 1.5},
        hovertemplate="%{y}: %{x:.1f}<extra></extra>",
    )  # fmt: skip
    layout = _layout("Pseudo-labels against true masks", palette, width, 110 + 44 * len(stats))
    layout["xaxis"] = _axis("mIoU, %", palette)
    layout["yaxis"] = _axis("", palette) | {"type": "category", "autorange": "reversed", "automargin": True}
    if upper is not None:
        layout["shapes"] = [{"type": "line", "x0": 100 * upper, "x1": 100 * upper, "yref": "paper", "y0": 0, "y1": 1,
                             "line": {"color": palette.quiet, "dash": "dot", "width": 1}}]  # fmt: skip
        note = {"text": f"true masks {100 * upper:.1f}", "showarrow": False, "font": {"color": palette.quiet}}
        layout["annotations"] = [{"x": 100 * upper, "yref": "paper", "y": 1, "yanchor": "bottom", **note}]
    return go.Figure([single, means], layout)


def epochs_strip(
    run: Run, id: str, target: int | str, which: str | Sequence[str] = ("current", "cumulative"),
    epochs: Sequence[int] | None = None, side: int = 144,
) -> Image.Image:  # fmt: skip
    """A watched picture and its maps of one class over the epochs: a row for each kind of map that the run kept.

    Args:
        run: from `open_run` or `train`. id: of a watched picture. target: index or name of a class.
        which: one kind of map or several. epochs: None = at most 8, spread over those kept. side: px of a picture.

    Raises:
        ValueError: an unknown picture, class or epoch, or no such maps at any of the epochs.
    """
    c = _class(run, target)
    kept = run.epochs
    spread = np.linspace(0, max(len(kept) - 1, 0), min(MOST_SHOWN, len(kept))).round().astype(int)
    chosen = [kept[i] for i in spread.tolist()] if epochs is None else list(epochs)
    picture, rows = run.picture(id), []
    kinds = [which] if isinstance(which, str) else list(which)
    for kind in kinds:
        found = {epoch: run.maps(epoch, id, kind) for epoch in chosen}
        maps = {epoch: one[c] for epoch, one in found.items() if one is not None}
        if maps:
            rows.append(maps_strip(picture, maps, f"{kind}, epoch", side))
    if not rows:
        raise ValueError(f"this run kept no maps called {' or '.join(map(repr, kinds))} at epochs {chosen}")
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
    for i, row in enumerate(rows):
        sheet.paste(row, (0, sum(one.height for one in rows[:i])))
    return sheet


def maps_strip(
    picture: np.ndarray, maps: Mapping[int, np.ndarray], caption: str = "epoch", side: int = 144
) -> Image.Image:
    """A picture, and one map after the other laid over it, each divided by its maximum.

    Args:
        picture: H×W×3 uint8. maps: epoch → h×w of any resolution; what is negative is 0.

    Example:
        >>> maps_strip(np.zeros((8, 8, 3), np.uint8), {1: np.eye(2), 4: np.eye(4)}, side=64).size
        (216, 94)
    """
    shown = [Image.fromarray(np.ascontiguousarray(picture))]
    for values in maps.values():
        large = resized(np.asarray(values)[None], picture.shape[:2], 1)[0].clip(min=0)
        top = float(large.max())
        shown.append(overlay(picture, large / top if top > 0 else large))
    return strip(shown, ["picture", *(f"{caption} {epoch}" for epoch in maps)], side)


def _band(values: pd.DataFrame, colour: str, name: str) -> Any:
    import plotly.graph_objects as go

    spread = values["std"].fillna(0)
    upper, lower = (100 * (values["mean"] + sign * spread) for sign in (1, -1))
    x = values.index.tolist()
    return go.Scatter(
        x=[*x, *x[::-1]], y=[*upper, *lower[::-1]], fill="toself", mode="lines", line={"width": 0}, fillcolor=colour,
        opacity=BAND, legendgroup=name, showlegend=False, hoverinfo="skip", name=f"{name}, ± sd",
    )  # fmt: skip


def _class(run: Run, target: int | str) -> int:
    if isinstance(target, str):
        if target not in run.classes:
            raise unknown("class", target, run.classes)
        return run.classes.index(target)
    if not 0 <= target < len(run.classes):
        most = len(run.classes) - 1
        raise ValueError(f"class {target} is outside this run, whose {most + 1} classes are 0 … {most}")
    return target


def _layout(title: str, palette: Palette, width: int, height: int) -> dict[str, Any]:
    return {
        "template": "none", "title": {"text": title, "font": {"size": 14}, "x": 0, "xref": "paper", "xanchor": "left"},
        "width": width, "height": height, "paper_bgcolor": palette.paper, "plot_bgcolor": palette.paper,
        "font": {"family": "system-ui, sans-serif", "color": palette.ink, "size": 12},
        "margin": {"l": 64, "r": 24, "t": 64, "b": 56}, "legend": {"orientation": "h", "y": -0.2, "yanchor": "top"},
    }  # fmt: skip


def _axis(title: str, palette: Palette) -> dict[str, Any]:
    return {"title": {"text": title}, "gridcolor": palette.line, "gridwidth": 0.5, "zeroline": False,
            "linecolor": palette.quiet}  # fmt: skip


def _needs(table: pd.DataFrame, *columns: str) -> None:
    if len(table) == 0:
        raise ValueError("an empty table was given; there is nothing to draw")
    missing = next((c for c in columns if c not in table), None)
    if missing is not None:
        raise unknown("column", missing, map(str, table.columns))
