"""Figures of investigations: confusion, peak responses, context, an attack's sweep. From plain results, no network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..investigate.context import ContextTable, Reliance
from ..investigate.failures import FailureTable
from ..investigate.peaks import MeanPeaks, Peaks
from ..investigate.sweep import Sweep
from .tree import LIGHT, Palette

if TYPE_CHECKING:
    import plotly.graph_objects as go

CLEAN, ATTACKED = "#1f77b4", "#d95f02"
MOST_CLASSES = 25  # drawn of a confusion matrix: those with most errors


def confusion_figure(table: FailureTable, palette: Palette = LIGHT, width: int = 760) -> go.Figure:
    """Label × predicted, counts written into the cells; of many classes, the 25 with most errors (the title says so).

    Of a table without decisions it is an empty figure whose title says so.

    Example:
        >>> import camwidgets
        >>> from camwidgets.datasets.toyworld import ToyWorld
        >>> table = camwidgets.failures(camwidgets.load("toy"), ToyWorld(seed=1, n=10))
        >>> len(confusion_figure(table).data)
        1
    """
    counts = table.confusion()
    note = ""
    if len(counts) > MOST_CLASSES:
        values = counts.to_numpy()
        wrong = values.sum(0) + values.sum(1) - 2 * np.diag(values)
        kept = sorted(np.argsort(-wrong, kind="stable")[:MOST_CLASSES].tolist())
        note = f"; {MOST_CLASSES} of {len(counts)} classes, those with most errors"
        counts = counts.iloc[kept, kept]
    title = f"accuracy {table.accuracy:.1%}, {len(table)} of {len(table.decided)} wrong{note}"
    if not table.decided:
        title = "no picture was decided" + (f", {len(table.broken)} could not be read" if table.broken else "")
    z = counts.to_numpy()
    text = [["" if v == 0 else str(v) for v in row] for row in z.tolist()]
    return _heatmap(z, [str(c) for c in counts.columns], [str(c) for c in counts.index], text, title, palette, width,
                    ("predicted", "label"), float(z.max(initial=0) or 1))  # fmt: skip


def peaks_figure(found: Peaks | MeanPeaks, palette: Palette = LIGHT, width: int = 760) -> go.Figure:
    """Peak responses, clean beside attacked, of the true class' (left) and the wrong class' (right) top channels.

    [000] figure 5.12 b (one picture) and c (means, with the standard error of the mean change).
    """
    import plotly.graph_objects as go

    table = found.to_frame()
    mean = isinstance(found, MeanPeaks)
    names = {"true": "true class", "wrong": "wrong class"}
    if isinstance(found, Peaks):
        names = {"true": f"true: {found.true_label}", "wrong": f"wrong: {found.wrong_label}"}
    below = [f"rank {r}" for r in table["rank"]] if mean else [f"#{k}" for k in table["channel"]]
    heads = [[names[of] for of in table["of"]], below]
    bars = []
    for what, colour, pattern in (("clean", CLEAN, ""), ("attacked", ATTACKED, "/")):
        error = None
        if mean and what == "attacked":
            error = {"type": "data", "array": table["error"].tolist(), "color": palette.ink, "thickness": 1, "width": 3}
        bars.append(go.Bar(x=heads, y=table[what].tolist(), name=what, error_y=error,
                           marker={"color": colour, "pattern": {"shape": pattern}}))  # fmt: skip
    title = f"peak responses at {found.stage}"
    if isinstance(found, MeanPeaks):
        title += f", means over {found.broken} broken of {found.right} rightly classified pictures"
    layout = _layout(title, palette, width, 380) | {"yaxis": _axis("max of the map", palette)}
    return go.Figure(bars, layout | {"barmode": "group"})


def context_figure(
    table: ContextTable, what: str = "assigned", palette: Palette = LIGHT, width: int = 760
) -> go.Figure:
    """Class × context ([000] figure 5.14): share of top channels assigned to it, or "iou", or "mass"."""
    frame = table.to_frame(what)
    titles = {"assigned": "share of top channels that lie on it most", "iou": "mean IoU of top channels with it",
              "mass": "share of positive evidence on it"}  # fmt: skip
    z = frame.to_numpy(float)
    text = [["" if not np.isfinite(v) else f"{v:.2f}".lstrip("0") or "0" for v in row] for row in z]
    return _heatmap(z, list(table.contexts), list(table.classes), text, titles[what], palette, width, ("", ""), 1.0)


def reliance_figure(found: Reliance, palette: Palette = LIGHT, width: int = 760) -> go.Figure:
    """What decides each class: the shares of its logit's variance that surroundings and objects explain."""
    import plotly.graph_objects as go

    labels = [f"{one.label} ({one.context})" if one.shortcut else one.label for one in found.leanings]
    bars = [
        go.Bar(y=labels, x=[one.object_share for one in found.leanings], name="object", orientation="h",
               marker={"color": CLEAN}),
        go.Bar(y=labels, x=[one.context_share for one in found.leanings], name="surroundings", orientation="h",
               marker={"color": ATTACKED, "pattern": {"shape": "/"}}),
    ]  # fmt: skip
    layout = _layout(str(found).split(":")[0], palette, width, 90 + 34 * len(labels))
    layout |= {"xaxis": _axis("share of the logit's variance", palette) | {"range": [0, 1]}}
    return go.Figure(bars, layout | {"barmode": "group", "yaxis": {"autorange": "reversed", "automargin": True}})


def sweep_figure(found: Sweep, palette: Palette = LIGHT, width: int = 760) -> go.Figure:
    """Probability and the followed channels' peaks (each divided by its clean one) over ε, with the ε of the flip."""
    import plotly.graph_objects as go

    eps = [255 * frame.eps for frame in found.frames]
    lines = [go.Scatter(x=eps, y=[frame.probability for frame in found.frames], name=f"p({found.label})",
                        line={"color": palette.ink, "width": 3})]  # fmt: skip
    for i, k in enumerate(found.channels):
        first = found.frames[0].peaks[i] or 1.0
        drop = found.drops[k]
        name = f"{found.stage} #{k}" + (f", out of the top {found.top} at {255 * drop:.3g}" if drop is not None else "")
        y = [frame.peaks[i] / first for frame in found.frames]
        out = [drop is not None and frame.eps >= drop for frame in found.frames]
        lines.append(go.Scatter(x=eps, y=y, name=name, line={"dash": "dot"}, mode="lines+markers",
                                marker={"symbol": ["x" if o else "circle" for o in out], "size": 9}))  # fmt: skip
    layout = _layout(str(found).split(";")[0], palette, width, 400)
    if found.flip is not None:
        at = 255 * found.flip
        layout["shapes"] = [{"type": "line", "x0": at, "x1": at, "yref": "paper", "y0": 0, "y1": 1,
                             "line": {"color": palette.gone, "dash": "dash"}}]  # fmt: skip
        layout["annotations"] = [{"x": at, "yref": "paper", "y": 1.0, "text": "flips", "showarrow": False,
                                  "xanchor": "left", "font": {"color": palette.gone}}]  # fmt: skip
    return go.Figure(lines, layout | {"xaxis": _axis("ε in grey levels of 255", palette)})


def _heatmap(
    z: np.ndarray, columns: list[str], rows: list[str], text: list[list[str]], title: str, palette: Palette,
    width: int, axes: tuple[str, str], top: float,
) -> go.Figure:  # fmt: skip
    import plotly.graph_objects as go

    trace = go.Heatmap(
        z=np.where(np.isfinite(z), z, 0.0).tolist(), x=columns, y=rows, text=text, texttemplate="%{text}",
        zmin=0, zmax=top, colorscale="Blues", showscale=False, xgap=1, ygap=1,
        hovertemplate="%{y} · %{x}: %{z:.3g}<extra></extra>",
    )  # fmt: skip
    layout = _layout(title, palette, width, 130 + 30 * len(rows))
    layout |= {
        "xaxis": _axis(axes[0], palette) | {"type": "category", "automargin": True},
        "yaxis": _axis(axes[1], palette) | {"type": "category", "autorange": "reversed", "automargin": True},
    }
    return go.Figure([trace], layout)


def _layout(title: str, palette: Palette, width: int, height: int) -> dict[str, Any]:
    return {
        "title": {"text": title, "font": {"size": 14}}, "width": width, "height": height,
        "paper_bgcolor": palette.paper, "plot_bgcolor": palette.paper, "font": {"color": palette.ink, "size": 12},
        "margin": {"l": 60, "r": 20, "t": 50, "b": 50}, "legend": {"orientation": "h", "y": -0.18},
    }  # fmt: skip


def _axis(title: str, palette: Palette) -> dict[str, Any]:
    return {"title": {"text": title}, "gridcolor": palette.line, "zerolinecolor": palette.line}
