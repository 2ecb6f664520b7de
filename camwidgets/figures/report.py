"""Figures of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

INK, ACCENT = "#44546a", "#1f77b4"


def ranking(
    lines: Sequence[tuple[str, float, float, float]], title: str, arrow: str, better: int, pictures: int
) -> Any:
    """Dots with intervals, best on top: (method, number, low, high) each; a plotly Figure."""
    import plotly.graph_objects as go

    order = sorted(lines, key=lambda line: (line[1] != line[1], -better * line[1]), reverse=True)
    names, middle, low, high = (list(column) for column in zip(*order, strict=True))
    trace = go.Scatter(
        x=middle, y=names, mode="markers+text", marker={"size": 10, "color": ACCENT},
        text=[f"{value:.3f}" for value in middle], textposition="top center", textfont={"size": 11, "color": INK},
        error_x={
            "type": "data", "symmetric": False, "color": INK, "thickness": 1.2, "width": 4,
            "array": [h - m for m, h in zip(middle, high, strict=True)],
            "arrayminus": [m - lo for m, lo in zip(middle, low, strict=True)],
        },
        hovertemplate="%{y}: %{x:.4f}<extra></extra>",
    )  # fmt: skip
    said = "more is better" if better > 0 else "less is better"
    return go.Figure(
        trace,
        go.Layout(
            title={"text": f"{arrow} {title}", "font": {"size": 15}, "x": 0, "xref": "paper"},
            xaxis={"title": f"{said}; bars: 95 % interval over {pictures} pictures", "zeroline": False},
            yaxis={"automargin": True, "range": [-0.6, len(names) - 0.3]},
            template="plotly_white", height=120 + 44 * len(names), margin={"l": 8, "r": 24, "t": 48, "b": 48},
        ),
    )  # fmt: skip


def curves(frame: pd.DataFrame, title: str, arrow: str, better: int, pictures: int) -> Any:
    """One line a method over named steps, with intervals: columns method, step, value, low, high; a plotly Figure."""
    import plotly.graph_objects as go

    traces = []
    for i, (method, part) in enumerate(frame.groupby("method", sort=False)):
        colour, symbol, dash = _LINES[i % len(_LINES)]
        traces.append(go.Scatter(
            x=part["step"].tolist(), y=part["value"].tolist(), name=str(method), mode="lines+markers",
            line={"color": colour, "dash": dash, "width": 2}, marker={"size": 8, "symbol": symbol},
            error_y={
                "type": "data", "symmetric": False, "color": colour, "thickness": 1, "width": 3,
                "array": (part["high"] - part["value"]).tolist(), "arrayminus": (part["value"] - part["low"]).tolist(),
            },
            hovertemplate="%{x}: %{y:.4f}",
        ))  # fmt: skip
    said = "more is better" if better > 0 else "less is better"
    return go.Figure(
        traces,
        go.Layout(
            title={"text": f"{arrow} {title}", "font": {"size": 15}, "x": 0, "xref": "paper"},
            xaxis={"title": f"bars: 95 % interval over {pictures} pictures", "type": "category"},
            yaxis={"title": said, "zeroline": True}, legend={"orientation": "v"},
            template="plotly_white", height=400, margin={"l": 8, "r": 24, "t": 48, "b": 48},
        ),
    )  # fmt: skip


# Okabe and Ito's colours, told apart by colour-blind readers too; markers and dashes tell the same without colour.
_LINES = tuple(
    (colour, symbol, dash)
    for dash in ("solid", "dash")
    for colour, symbol in (
        ("#0072b2", "circle"), ("#d55e00", "square"), ("#009e73", "diamond"), ("#cc79a7", "triangle-up"),
        ("#e69f00", "x"), ("#56b4e9", "cross"),
    )
)  # fmt: skip
