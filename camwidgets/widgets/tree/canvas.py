"""One Plotly figure that is built once and then told what changed."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import plotly.graph_objects as go

CONFIG = {
    "displayModeBar": True,  # hidden by the style sheet; its camera is what "Save picture" presses
    "modeBarButtons": [["toImage"]],
    "displaylogo": False,
    "doubleClick": False,
    "scrollZoom": False,
    "showTips": False,
}


class TreeCanvas:
    """A `FigureWidget` of a tree. `clicked(node id, shift)` is called for a click on a node."""

    def __init__(self, spec: dict[str, Any], clicked: Callable[[int, bool], None]) -> None:
        self.widget = go.FigureWidget(go.Figure(spec))
        self.widget._config = CONFIG
        self.widget.add_class("cw-tree-plot")
        self._spec, self._clicked, self._there = spec, clicked, False
        self.widget.observe(self._arrived, "_js2py_layoutDelta")  # the first thing a front end says when it has drawn
        self.widget.data[0].on_click(self._on_click)

    def draw(self, spec: dict[str, Any]) -> None:
        """Show another figure: one message, with what is different only."""
        before, trace = self._spec["data"][0], spec["data"][0]
        restyle = {name: [value] for name, value in trace.items() if name != "type" and before.get(name) != value}
        layout = self._spec["layout"]
        relayout = {name: value for name, value in spec["layout"].items() if layout.get(name) != value}
        self._spec = spec
        if not restyle and not relayout:
            return
        self.widget.plotly_update(restyle_data=_flat(restyle), relayout_data=relayout, trace_indexes=[0])
        self._keep()

    def _keep(self) -> None:
        """What a page that is loaded again gets. A front end that is there has it already, so nothing is sent; one that
        is still loading does not hear of updates yet, and begins with what it is sent here."""
        values = self.widget._trait_values
        values["_widget_data"] = deepcopy(self.widget._data)
        values["_widget_layout"] = deepcopy(self.widget._layout_obj._props)
        if not self._there:
            self.widget.send_state(["_widget_data", "_widget_layout"])

    def _arrived(self, _: Any) -> None:
        self._there = True

    def _on_click(self, trace: Any, points: Any, state: Any) -> None:
        if points.point_inds:
            number = int(self._spec["data"][0]["customdata"][points.point_inds[0]])
            self._clicked(number, bool(getattr(state, "shift", False)))


def _flat(restyle: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """{"marker": [{"size": s}]} → {"marker.size": [s]}: restyle sets whole properties by their paths."""
    found: dict[str, list[Any]] = {}
    for name, (value,) in restyle.items():
        if isinstance(value, dict):
            found |= _flat({f"{name}.{key}": [inner] for key, inner in value.items()})
        else:
            found[name] = [value]
    return found
