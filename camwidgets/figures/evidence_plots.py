"""Is it true? One figure for each table of evidence about the evidence. Plain tables in, Plotly figures out.

Lines differ by colour (Okabe and Ito's, which colour-blind people can tell apart), by dash and by marker.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import choose, unknown
from .tree import LIGHT, Palette

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D46")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross", "star")
WIDTH = 700
HEAD = 116  # px above the plot: title, up to three lines of legend, titles of panels
COLUMNS = 3  # small multiples side by side
NAMES = {
    "gap": "gAP",
    "path": "gAP, path-conditioned",
    "gradient": "gradient × activation",
    "conductance": "conductance (captum)",
    "influence": "internal influence (captum)",
    "lrp": "LRP (zennit)",
    "random": "random",
}
MEASURES = {
    "accuracy": "accuracy, % of pictures",
    "match": "same prediction, % of pictures",
    "probability": "mean probability, %",
}
LIKENESS = {"spearman": "rank correlation (Spearman)", "absolute": "rank correlation of |values|", "ssim": "SSIM"}


def surrogate_figure(table: pd.DataFrame, palette: Palette = LIGHT, width: int = WIDTH) -> go.Figure:
    """Match (and accuracy, where labels were given) against k, from `surrogate`. Several tables may be concatenated
    (`pandas.concat`): one line for each way to keep, ranking and decision.
    """
    _needs(table.reset_index(), "k", "match", "keep", "ranking", "decision")
    figure = _figure(palette, width, 420)
    groups = list(table.reset_index().groupby(["keep", "ranking", "decision"], sort=False))
    for i, ((keep, ranking, decision), rows) in enumerate(groups):
        whose = NAMES[str(ranking)] + (" of every decomposition" if keep == "decomposition" else "")
        name = f"same prediction, {whose}" if decision == "top" else f"the second class is predicted, its {whose}"
        _line(figure, rows["k"], 100 * rows["match"], name, i)
        if decision == "top" and rows["accuracy"].notna().any():
            _line(figure, rows["k"], 100 * rows["accuracy"], f"right prediction, {whose}", i, dash="dot", hollow=True)
    original = table["original"].dropna()
    if len(original):
        _level(figure, 100 * float(original.iloc[0]), "untouched network is right", palette)
    ticks = sorted(set(table.index))
    figure.update_xaxes(title_text="channels kept (k)", type="log", tickvals=ticks, ticktext=ticks)
    figure.update_yaxes(title_text="% of pictures", range=[-3, 104])
    return _titled(figure, f"Only the k most important channels of every stage, {_over(table)}")


def removal_figure(
    table: pd.DataFrame, measure: str = "probability", palette: Palette = LIGHT, width: int = WIDTH
) -> go.Figure:
    """What is left after the N most important channels of a stage are removed, from `removal_curve`: a panel a stage.

    Args:
        measure: "probability" (of the class predicted untouched), "match" or "accuracy". Lower is a better ranking.
    """
    choose("measure", measure, MEASURES)
    _needs(table, "stage", "ranking", "removed", measure)
    if table[measure].isna().all():
        raise ValueError("this table has no accuracy, because removal_curve was given no labels; show 'match' instead")
    stages = list(dict.fromkeys(table["stage"]))
    figure = _panels(stages, palette, width)
    for number, stage in enumerate(stages):
        row, column = divmod(number, COLUMNS)
        here = table[table["stage"] == stage]
        for ranking, rows in here.groupby("ranking", sort=False):
            x = rows["removed"].clip(lower=0.5)  # 0 has no place on a log axis
            i = list(NAMES).index(str(ranking))  # a ranking looks the same in every figure
            _line(figure, x, 100 * rows[measure], NAMES[str(ranking)], i, shown=number == 0,
                  row=row + 1, col=column + 1, custom=rows["removed"])  # fmt: skip
        ticks = sorted(set(here["removed"]))[:: 1 if here["removed"].nunique() < 6 else 2]
        figure.update_xaxes(type="log", tickvals=[max(0.5, t) for t in ticks], ticktext=ticks,
                            row=row + 1, col=column + 1)  # fmt: skip
    figure.update_yaxes(range=[-3, 104])
    _outer(figure, stages, "channels removed", MEASURES[measure])
    return _titled(figure, f"Without its N most important channels, {_over(table)}; lower = better ranking")


def counts_figure(table: pd.DataFrame, palette: Palette = LIGHT, width: int = WIDTH) -> go.Figure:
    """All, active and overlapping channels of each step, from `channel_counts` (figure 5.5 of the thesis)."""
    import plotly.graph_objects as go

    _needs(table, "channels", "active", "overlapping")
    figure = _figure(palette, width, 400)
    kinds = (("channels", "all", "/", palette.line), ("active", "active: α > 0", "", COLOURS[0]),
             ("overlapping", "overlapping: same place as a stronger one", "\\", COLOURS[4]))  # fmt: skip
    for column, name, pattern, colour in kinds:
        values = table[column]
        bar = go.Bar(
            x=list(table.index), y=list(values), name=name, text=[f"{v:.3g}" for v in values], textposition="outside",
            marker={"color": colour, "pattern": {"shape": pattern, "fgcolor": palette.quiet, "fillmode": "overlay"}},
            hovertemplate="%{x}: %{y:.1f} channels<extra>" + name + "</extra>", cliponaxis=False,
        )  # fmt: skip
        figure.add_trace(bar)
    figure.update_layout(barmode="group", bargap=0.25)
    figure.update_xaxes(title_text="decision → stage")
    figure.update_yaxes(title_text="channels (mean per decision)", rangemode="tozero")
    return _titled(figure, f"How many channels carry a decision, {_over(table)}")


def contribution_figure(table: pd.DataFrame, palette: Palette = LIGHT, width: int = WIDTH) -> go.Figure:
    """Contributions in falling order, from `contribution_curve`: a panel a step; what removal really does beside it."""
    _needs(table, "step", "rank", "share")
    steps = list(dict.fromkeys(table["step"]))
    figure = _panels(steps, palette, width)
    for number, step in enumerate(steps):
        row, column = divmod(number, COLUMNS)
        here = table[table["step"] == step]
        place: dict[str, Any] = {"row": row + 1, "col": column + 1, "shown": number == 0, "marks": False}
        _line(figure, here["rank"], 100 * here["share"], "gAP: α as a share of the decision", 0, **place)
        if "real" in here:
            _line(figure, here["rank"], 100 * here["real"], "real change when the channel is removed", 1, **place)
    _outer(figure, steps, "channels in falling order", "% of the decision")
    return _titled(figure, f"Few channels carry most of a decision, {_over(table)}")


def discriminativeness_figure(table: pd.DataFrame, palette: Palette = LIGHT, width: int = WIDTH) -> go.Figure:
    """D of every channel, its mean per stage, and the mean that chance would give, from `discriminativeness`."""
    import plotly.graph_objects as go

    _needs(table, "stage", "channel", "D", "chance", "times")
    figure = _figure(palette, width, 420)
    stages = sorted(set(table["stage"]))
    place = table["stage"].map(stages.index) + 0.3 * ((table["channel"] * 0.618) % 1 - 0.5)  # spread, not random
    figure.add_trace(go.Scatter(
        x=place, y=table["D"], mode="markers", name="one channel (larger: counted more often)",
        marker={"color": COLOURS[5], "opacity": 0.6, "size": 4 + 2 * (1 + table["times"]).map(lambda n: n**0.25)},
        customdata=table[["stage", "channel", "times", "label"]].to_numpy(),
        hovertemplate="%{customdata[0]} #%{customdata[1]}: D = %{y:.2f}, most for %{customdata[3]}, "
                      "counted %{customdata[2]} times<extra></extra>",
    ))  # fmt: skip
    means = table.groupby("stage")[["D", "chance"]].mean().loc[stages]
    for i, (column, name) in enumerate((("D", "mean D"), ("chance", "mean D with the classes dealt out anew"))):
        _line(figure, range(len(stages)), means[column], name, i, form=".2f")
    figure.update_xaxes(title_text="stage", tickvals=list(range(len(stages))), ticktext=stages)
    figure.update_yaxes(title_text="D (1 = serves one class only)", range=[0, 1.05])
    return _titled(figure, f"Does a channel serve one class or many? ({_over(table)})")


def sanity_figure(
    table: pd.DataFrame, measure: str = "spearman", palette: Palette = LIGHT, width: int = WIDTH
) -> go.Figure:
    """Likeness of maps before and after layers were drawn anew, from `parameter_randomisation`; one line a map.

    Args:
        measure: "spearman", "absolute" or "ssim". A line that stays near 1 shows the picture, not the network.
    """
    choose("measure", measure, LIKENESS)
    _needs(table, "layers", "map", "order", measure)
    figure = _figure(palette, width, 420)
    for i, (name, rows) in enumerate(table.groupby("map", sort=False)):
        _line(figure, rows["layers"], rows[measure], str(name), i, form=".2f")
    _level(figure, 0.0, "", palette)
    cascading = (table["order"] == "cascading").all()
    figure.update_xaxes(
        title_text="layers drawn anew: " + ("from the head down to …" if cascading else "these alone"),
        categoryorder="array", categoryarray=list(dict.fromkeys(table["layers"])),
    )  # fmt: skip
    low = min(-0.1, float(table[measure].min()) - 0.05)
    figure.update_yaxes(title_text=LIKENESS[measure], range=[low, 1.05])
    return _titled(figure, f"Do the maps notice that the network has forgotten? ({_over(table)})")


# ------------------------------------------------------------------------------------------------------------ parts


def _figure(palette: Palette, width: int, height: int) -> go.Figure:
    import plotly.graph_objects as go

    return _styled(go.Figure(), palette, width, height)


def _panels(names: Sequence[str], palette: Palette, width: int) -> go.Figure:
    from plotly.subplots import make_subplots

    rows = -(-len(names) // COLUMNS)
    figure = make_subplots(
        rows, min(COLUMNS, len(names)), subplot_titles=list(names), shared_yaxes=False,
        horizontal_spacing=0.08, vertical_spacing=0.24,
    )  # fmt: skip
    return _styled(figure, palette, width, 170 + 190 * rows)


def _styled(figure: go.Figure, palette: Palette, width: int, height: int) -> go.Figure:
    figure.update_layout(
        template="none", width=width, height=height, paper_bgcolor=palette.paper, plot_bgcolor=palette.paper,
        font={"family": "system-ui, sans-serif", "size": 12, "color": palette.ink},
        margin={"l": 64, "r": 16, "t": HEAD, "b": 56},
        legend={"orientation": "h", "x": 0, "y": 1 - 36 / height, "yref": "container", "yanchor": "top"},
        hoverlabel={"font": {"size": 12}},
    )  # fmt: skip
    axis = {"gridcolor": palette.line, "linecolor": palette.quiet, "zeroline": False, "ticks": "outside",
            "tickcolor": palette.quiet, "gridwidth": 0.5}  # fmt: skip
    figure.update_xaxes(showgrid=False, showline=True, **axis)
    figure.update_yaxes(showgrid=True, **axis)
    return figure


def _line(
    figure: go.Figure, x: Iterable[Any], y: Iterable[float], name: str, i: int, *, dash: str | None = None,
    hollow: bool = False, shown: bool = True, marks: bool = True, form: str = ".1f",
    custom: Iterable[Any] | None = None, **place: int,
) -> None:  # fmt: skip
    """Add one line; lines of the same name share a legend entry. `custom`: what hovering calls x."""
    import plotly.graph_objects as go

    colour, symbol = COLOURS[i % len(COLOURS)], SYMBOLS[i % len(SYMBOLS)]
    called = "%{customdata}" if custom is not None else "%{x}"
    figure.add_trace(go.Scatter(
        x=list(x), y=list(y), name=name, legendgroup=name, showlegend=shown, mode="lines+markers" if marks else "lines",
        line={"color": colour, "dash": dash or DASHES[i % len(DASHES)], "width": 2},
        marker={"size": 7, "symbol": f"{symbol}-open" if hollow else symbol, "color": colour},
        customdata=None if custom is None else list(custom),
        hovertemplate=f"{called}: %{{y:{form}}}<extra>{name}</extra>",
    ), **place)  # fmt: skip


def _level(figure: go.Figure, y: float, text: str, palette: Palette) -> None:
    figure.add_hline(
        y=y, line={"color": palette.quiet, "width": 1, "dash": "dot"}, annotation_text=text,
        annotation_position="bottom left", annotation_font={"color": palette.quiet, "size": 11},
    )  # fmt: skip


def _outer(figure: go.Figure, names: Sequence[str], x: str, y: str) -> None:
    """Axis titles at the left and below the lowest panel of each column only."""
    for number in range(len(names)):
        row, column = divmod(number, COLUMNS)
        if column == 0:
            figure.update_yaxes(title_text=y, row=row + 1, col=1)
        if number + COLUMNS >= len(names):
            figure.update_xaxes(title_text=x, row=row + 1, col=column + 1)


def _titled(figure: go.Figure, text: str) -> go.Figure:
    figure.update_layout(title={"text": text, "x": 0, "xanchor": "left", "xref": "paper", "y": 0.97, "yanchor": "top",
                                "font": {"size": 14}})  # fmt: skip
    return figure


def _over(table: pd.DataFrame) -> str:
    n = int(table["pictures"].max()) if "pictures" in table else 0
    return f"mean of {n} pictures" if n != 1 else "one picture"


def _needs(table: pd.DataFrame, *columns: str) -> None:
    if len(table) == 0:
        raise ValueError("an empty table was given; there is nothing to draw")
    missing = next((c for c in columns if c not in table), None)
    if missing is not None:
        raise unknown("column", missing, map(str, table.columns))
