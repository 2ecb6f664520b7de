"""A playback as one HTML page: scrubbing, playing, curves and colours work without a kernel."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .. import assets
from ..page import alone
from .traits import VIEW

if TYPE_CHECKING:
    from .playback import Playback

FILES = {"html": "text/html"}
_STATE = ("_runs", "_epochs", "_weights", "_pictures", "_picture_bytes", "_mask_bytes", "_reels", "_maps0", "_maps1",
          "_note", "_defaults", "_palettes", "_palette_bytes", "code")  # fmt: skip


def page(playback: Playback) -> str:
    """The page, with all maps that the front end has at this moment, and the tree if one was made."""
    with playback._lock:
        if not playback._runs:
            raise ValueError("there is no run yet that could be saved")
        traits = {name: getattr(playback, name) for name in (*VIEW, *_STATE)}
        tree = playback._tree if playback._tree["state"] == "done" else {"state": "none"}
    traits |= {"_tree": tree, "_status": {"state": "idle"}, "_still": True, "follow": False}
    css = assets.css("playback/playback.css")
    return alone(file_name(playback).removesuffix(".html"), traits, assets.esm("playback/playback.js"), css)


def file_name(playback: Playback) -> str:
    """run-playback.html, in letters, digits and dashes."""
    names = "-".join(str(one["name"]) for one in playback._runs) or "run"
    return re.sub(r"[^\w-]+", "_", names).strip("_")[:60] + "-playback.html"
