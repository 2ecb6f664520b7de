"""Figures of evidence: what stands in the tables stands in the traces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from camwidgets.decomposition.counts import channel_counts, contribution_curve
from camwidgets.decomposition.discrimination import discriminativeness
from camwidgets.decomposition.removal import removal_curve
from camwidgets.decomposition.sanity import parameter_randomisation
from camwidgets.decomposition.surrogates import surrogate
from camwidgets.figures.evidence_plots import (
    contribution_figure,
    counts_figure,
    discriminativeness_figure,
    removal_figure,
    sanity_figure,
    surrogate_figure,
)
from camwidgets.figures.tree import DARK
from tests.known_net import FIRST, SECOND, known

PICTURES, LABELS = [FIRST, SECOND], ["a", "b"]


def titles(figure: Any) -> str:
    axes = [axis.title.text or "" for axis in (*figure.select_xaxes(), *figure.select_yaxes())]
    return " | ".join([figure.layout.title.text, *axes])


def traces(figure: Any) -> dict[str, Any]:
    return {trace.name: trace for trace in figure.data}


def test_surrogate() -> None:
    table = surrogate(known(), PICTURES, LABELS)
    second = surrogate(known(), PICTURES, LABELS, decision="second")
    figure = surrogate_figure(pd.concat([table, second]))
    found = traces(figure)
    assert list(found) == ["same prediction, gAP", "right prediction, gAP", "the second class is predicted, its gAP"]
    assert list(found["same prediction, gAP"].x) == [1, 2, 4]
    assert list(found["same prediction, gAP"].y) == [100, 100, 100]
    assert list(found["the second class is predicted, its gAP"].y) == (100 * second["match"]).tolist()
    assert "mean of 2 pictures" in titles(figure)
    assert "% of pictures" in titles(figure)
    assert "right prediction, gAP" not in traces(surrogate_figure(surrogate(known(), PICTURES)))


def test_removal_has_a_panel_a_stage_and_one_legend() -> None:
    table = removal_curve(known(), PICTURES, LABELS, [1, 2], rankings=["gap", "random"])
    figure = removal_figure(table)
    assert [a.text for a in figure.layout.annotations] == ["S1", "S2"]
    assert len(figure.data) == 4
    assert [trace.name for trace in figure.data if trace.showlegend] == ["gAP", "random"]
    expected = 100 * table.query("stage == 'S2' and ranking == 'gap'")["probability"]
    drawn = next(t for t in figure.data if t.name == "gAP" and not t.showlegend)
    assert list(drawn.y) == expected.tolist()
    assert list(drawn.customdata) == [0, 1, 2]
    with pytest.raises(ValueError, match="no accuracy, because removal_curve was given no labels"):
        removal_figure(removal_curve(known(), PICTURES, counts=[1], rankings=["gap"]), "accuracy")
    with pytest.raises(ValueError, match="unknown measure 'acuracy'"):
        removal_figure(table, "acuracy")


def test_counts_and_curves() -> None:
    counts = channel_counts(known(), PICTURES)
    bars = counts_figure(counts).data
    assert [list(bar.y) for bar in bars] == [counts[c].tolist() for c in ("channels", "active", "overlapping")]
    curve = contribution_curve(known(), PICTURES, truth="zero")
    figure = contribution_figure(curve)
    assert [a.text for a in figure.layout.annotations] == ["T→S2", "S2→S1"]
    assert list(figure.data[1].y) == pytest.approx((100 * curve.query("step == 'T→S2'")["real"]).tolist())
    assert len(contribution_figure(contribution_curve(known(), PICTURES)).data) == 2


def test_discriminativeness_draws_each_channel_and_the_means() -> None:
    table = discriminativeness(known(), PICTURES, top=2)
    figure = discriminativeness_figure(table)
    assert list(figure.data[0].y) == table["D"].tolist()
    assert list(figure.data[1].y) == pytest.approx([2.5 / 3, 2.5 / 3])
    assert list(figure.data[0].customdata[0]) == ["S1", 0, 1, "a"]
    assert "<extra>" in figure.data[0].hovertemplate


def test_sanity() -> None:
    table = parameter_randomisation(known(), PICTURES)
    figure = sanity_figure(table)
    assert {trace.name for trace in figure.data} == {"S1", "S2"}
    assert list(figure.data[0].x) == ["none", "head", "S2", "S1"]
    assert "from the head down" in titles(figure)
    alone = parameter_randomisation(known(), PICTURES, order="independent")
    assert "these alone" in titles(sanity_figure(alone))
    assert titles(sanity_figure(table, "ssim")).endswith("SSIM")


def every() -> list[tuple[Callable[..., Any], pd.DataFrame]]:
    return [
        (surrogate_figure, surrogate(known(), PICTURES)),
        (removal_figure, removal_curve(known(), PICTURES, counts=[1], rankings=["gap"])),
        (counts_figure, channel_counts(known(), PICTURES)),
        (contribution_figure, contribution_curve(known(), PICTURES)),
        (discriminativeness_figure, discriminativeness(known(), PICTURES, top=1)),
        (sanity_figure, parameter_randomisation(known(), PICTURES)),
    ]


@pytest.mark.parametrize("i", range(6))
def test_each_has_a_theme_a_width_and_a_word_for_what_is_missing(i: int) -> None:
    draw, table = every()[i]
    dark = draw(table, palette=DARK, width=500)
    assert dark.layout.width == 500
    assert dark.layout.font.color == DARK.ink
    assert dark.layout.title.text
    with pytest.raises(ValueError, match="empty table"):
        draw(table.iloc[:0])
    with pytest.raises(ValueError, match="unknown column"):
        draw(table[["pictures"]])
