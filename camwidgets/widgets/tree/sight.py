"""What the side panel says of what a channel sees: plain values for the front end."""

from __future__ import annotations

import math
from typing import Any

from ...decomposition.channels import Histogram, Sight
from ...decomposition.patches import PatchIndex
from ...figures.thumbnails import data_uri, enlarged, guided_picture

STRIP, PATCH = 128, 80  # px on screen; drawn at one and a half times that
PATCHES = 6


def sight_state(number: int, sight: Sight, index: PatchIndex | None) -> dict[str, Any]:
    """The node's number, its guided view, its histograms and its patches."""
    found: dict[str, Any] = {"id": number, "guided": _guided(sight), "here": _bars(sight.here, _here_words(sight.here))}
    if index is not None and sight.there is not None:
        found["there"] = _bars(sight.there, _there_words(sight.there, index))
        found["patches"] = [_patch(one, index) for one in sight.patches]
        found["index"] = index.name
    return found


def problem_state(number: int, sentence: str) -> dict[str, Any]:
    """Why nothing can be shown of a node."""
    return {"id": number, "problem": sentence}


def _guided(sight: Sight) -> dict[str, str]:
    words = "guided backprop: what raises it"
    if not sight.guided.rectified:
        words = "gradient (no ReLU to guide it)"
    if not bool(sight.guided.gradient.any()):
        words = "no pixel raises it"
    picture = guided_picture(sight.guided.gradient.float().cpu().numpy(), sight.window, STRIP * 3 // 2)
    return {"picture": data_uri(picture, 88), "words": words}


def _bars(found: Histogram, words: str) -> dict[str, Any]:
    """Heights in 0 … 1 (logarithmic: rectified channels are silent almost everywhere), and where the own value lies."""
    top = math.log1p(max(found.counts))
    low, high = found.edges[0], found.edges[-1]
    return {
        "bars": [round(math.log1p(count) / top, 3) if top else 0.0 for count in found.counts],
        "own": round((found.own - low) / (high - low), 4), "low": _number(low), "high": _number(high),
        "value": _number(found.own), "words": words,
    }  # fmt: skip


def _here_words(found: Histogram) -> str:
    return f"at {found.total} positions of this picture: here stronger than at {_share(found.below)} of them"


def _there_words(found: Histogram, index: PatchIndex) -> str:
    return f"peaks in {found.total} pictures ({index.name}): this picture's is above {_share(found.below)} of them"


def _patch(patch: Any, index: PatchIndex) -> dict[str, str]:
    try:
        picture = data_uri(enlarged(index.crop(patch), PATCH * 3 // 2), 85)
    except (OSError, ValueError):
        picture = ""  # gone or changed since it was indexed
    name = patch.path.name.encode("utf-8", "replace").decode()  # a file name need not be UTF-8; what a page gets must
    where = f"picture {int(name)}" if name.isdigit() and not patch.path.suffix else name
    value = _number(patch.response)
    return {"picture": picture, "words": f"{where}, response {value}", "value": value}


def _share(share: float) -> str:
    return f"{100 * share:.0f} %" if share < 0.995 or share == 1 else f"{min(100 * share, 99.9):.1f} %"


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")
