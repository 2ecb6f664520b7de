"""The two HTML parts of a tree explorer: controls above the tree, facts beside it."""

from __future__ import annotations

from typing import Any

import traitlets as t
from anywidget import AnyWidget

from .. import assets


class TreePanel(AnyWidget):
    """Draws `state`, a dict, and sends what was clicked as messages {kind, …}. `role` is "head" or "side".

    `seen` and `index` belong to the side: what the selected channel sees, and whether pictures are indexed. The front
    end sets `dark`, `paper` (the page's background) and `room` (px that the tree may be wide) when it knows.
    """

    _esm = assets.esm("tree/panel.js")
    _css = assets.css("tree/panel.css")

    role = t.Unicode("head").tag(sync=True)
    state = t.Dict().tag(sync=True)
    seen = t.Dict().tag(sync=True)  # what the selected channel sees; its id tells whose it is
    index = t.Dict({"state": "none"}).tag(sync=True)
    status: t.Dict[str, Any] = t.Dict({"state": "idle"}).tag(sync=True)
    focus: t.List[Any] = t.List([0, []]).tag(
        sync=True
    )  # the selected node and its children: the drawing scrolls to them
    labels: t.List[Any] = t.List().tag(sync=True)
    dark = t.Bool(False).tag(sync=True)
    paper = t.Unicode("").tag(sync=True)
    room = t.Int(0).tag(sync=True)
