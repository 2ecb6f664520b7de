"""The tree's figure and a front end that comes later than the tree."""

from __future__ import annotations

from typing import Any

import pytest

from camwidgets.widgets.tree.canvas import TreeCanvas


def spec(*x: float) -> dict[str, Any]:
    return {"data": [{"type": "scatter", "x": list(x), "y": list(x)}], "layout": {"width": 600 + len(x)}}


def test_a_front_end_that_is_still_loading_begins_with_the_newest_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not hear of updates before it has drawn: a quick network's tree would never be seen."""
    canvas = TreeCanvas(spec(), lambda *_: None)
    sent: list[Any] = []
    monkeypatch.setattr(canvas.widget, "send_state", lambda key=None: sent.append(key))
    canvas.draw(spec(1.0, 2.0))
    whole = {"_widget_data", "_widget_layout"}
    assert whole <= {name for key in sent if isinstance(key, list) for name in key}
    assert canvas.widget._widget_data[0]["x"] == [1.0, 2.0]
    canvas.widget.set_state({"_js2py_layoutDelta": {"layout_delta": {}, "layout_edit_id": 0}})
    sent.clear()
    canvas.draw(spec(1.0, 2.0, 3.0))
    assert not whole & {name for key in sent if isinstance(key, list) for name in key}, "it hears of updates now"
    assert canvas.widget._widget_data[0]["x"] == [1.0, 2.0, 3.0], "for a page that is loaded again"
