"""One change of a picture, and what changes make of a decision: plain results."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ..errors import choose
from . import retouch
from .regions import Region, png_array, png_text

if TYPE_CHECKING:
    import pandas as pd

SWITCHES = ("off", "on")  # of channels: they leave the picture as it is
KINDS = ("paint", "blur", "inpaint", "background", "paste", *SWITCHES)
_WHERE = {"box": "a box", "polygon": "a polygon", "brush": "a brush stroke", "mask": "a masked region"}


@dataclass(frozen=True, eq=False)
class Edit:
    """One change: what was done (`kind`), where (`region`), with what (`options`: plain values; pictures as arrays).

    "off" and "on" switch channels of the network: options `tap` (stage or tap) and `channels` (their numbers).
    """

    kind: str
    region: Region | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def apply(self, picture: np.ndarray) -> np.ndarray:
        """The changed picture; the given one is left as it is. Switching a channel changes no picture."""
        if self.kind in SWITCHES:
            return picture
        if self.kind == "paste":
            return retouch.paste(picture, self.options["patch"], self.options["x"], self.options["y"])
        if self.region is None:
            raise ValueError(f"{self.kind} needs a region of the picture")
        mask = self.region.mask((picture.shape[0], picture.shape[1]))
        if self.kind == "paint":
            return retouch.paint(picture, mask, self.options.get("colour"))
        if self.kind == "blur":
            return retouch.blur(picture, mask, self.options["sigma"])
        if self.kind == "inpaint":
            return retouch.inpaint(picture, mask)
        return retouch.swap_background(picture, mask, self.options["picture"])

    def __str__(self) -> str:
        """What was done, in words: "painted a brush stroke in the mean colour"."""
        where = _WHERE[self.region.kind] if self.region else ""
        if self.kind in SWITCHES:
            numbers = self.options["channels"]
            more = f" and {len(numbers) - 3} more" if len(numbers) > 3 else ""
            some = ", ".join(f"#{k}" for k in numbers[:3]) + more
            return f"switched {self.kind} {self.options['tap']} {some}"
        if self.kind == "paste":
            h, w = self.options["patch"].shape[:2]
            return f"pasted a patch of {w}×{h} pixels at ({self.options['x']}, {self.options['y']})"
        if self.kind == "blur":
            return f"blurred {where} (σ = {self.options['sigma']:g} pixels)"
        if self.kind == "inpaint":
            return f"filled {where} from its surroundings"
        if self.kind == "background":
            return f"put {where} before another background"
        colour = self.options.get("colour")
        return f"painted {where} in " + ("the mean colour" if colour is None else "#{:02x}{:02x}{:02x}".format(*colour))

    def to_json(self) -> dict[str, Any]:
        """Plain values; pictures as PNG in base64."""
        options = {k: {"png": png_text(v)} if isinstance(v, np.ndarray) else v for k, v in self.options.items()}
        return {"kind": self.kind, "region": self.region.to_json() if self.region else None, "options": options}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Edit:
        """What `to_json` wrote."""
        options = {k: png_array(v["png"]) if isinstance(v, dict) else v for k, v in content["options"].items()}
        if options.get("colour") is not None:
            options["colour"] = tuple(options["colour"])
        region = Region.from_json(content["region"]) if content["region"] else None
        return cls(choose("edit", str(content["kind"]), KINDS), region, options)


@dataclass(frozen=True)
class Score:
    """One class' logit and probability, each (before, after)."""

    index: int
    label: str
    logit: tuple[float, float]
    probability: tuple[float, float]


@dataclass(frozen=True)
class Effect:
    """What changes made of a decision.

    Attributes:
        scores: the classes that lead before or after (five each), the most probable after first. logits: C after.
        before, after: the top class' label. top: its index, (before, after). changed: share of the picture's pixels
            that differ. off: channels that were switched off, (tap, channel) each.
    """

    scores: tuple[Score, ...]
    logits: Tensor = field(repr=False)
    before: str
    after: str
    top: tuple[int, int]
    changed: float
    off: tuple[tuple[str, int], ...] = ()

    @property
    def flipped(self) -> bool:
        """Whether the top class is another (by its index: two classes may have one label)."""
        return self.top[0] != self.top[1]

    def __str__(self) -> str:
        was = next(s for s in self.scores if s.index == self.top[0])
        change = was.logit[1] - was.logit[0]
        told = f"{was.label!r} {was.probability[0]:.1%} → {was.probability[1]:.1%} (logit {change:+.2f})"
        return told + (f"; now {self.after!r} {self.scores[0].probability[1]:.1%}" if self.flipped else "")

    def to_frame(self) -> pd.DataFrame:
        """One row per class: logit and probability before and after."""
        import pandas as pd

        rows = [{"class": s.label, "logit before": s.logit[0], "logit after": s.logit[1], "probability before":
                 s.probability[0], "probability after": s.probability[1]} for s in self.scores]  # fmt: skip
        return pd.DataFrame(rows).set_index("class")
