"""What channels are called: names, what they rest on, and the names that come with the toy networks.

`dissection.dissect` finds them, from data whose masks are known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..classifiers.classifier import Classifier
from ..errors import unknown

if TYPE_CHECKING:
    import pandas as pd

LEAST_IOU, LEAST_SELECTIVITY = 0.1, 0.5
FORMAT = 1
SHIPPED = ("toy", "toy-shortcut")


@dataclass(frozen=True)
class Name:
    """A concept that a channel may be called by: `iou` and `selectivity` as `dissect` has them, `quantile` of t_k."""

    concept: str
    iou: float
    selectivity: float
    quantile: float

    def __str__(self) -> str:
        return f"{self.concept} {self.iou:.2f} IoU"


@dataclass(frozen=True)
class Dissection:
    """What the channels of a classifier overlap with.

    Attributes:
        model, weights_sha256: of what. pictures: over how many. concepts: what was looked for.
        ranked: tap → for each channel its best concepts, best IoU first (none for a channel that never answers).
        least_iou, least_selectivity: what a name needs.
    """

    model: str
    weights_sha256: str
    pictures: int
    concepts: tuple[str, ...]
    ranked: dict[str, tuple[tuple[Name, ...], ...]] = field(repr=False)
    least_iou: float = LEAST_IOU
    least_selectivity: float = LEAST_SELECTIVITY

    def best(self, tap: str, channel: int) -> Name | None:
        """The concept with the largest overlap, whether or not it is enough for a name."""
        found = self.ranked.get(str(tap), ())
        return found[channel][0] if channel < len(found) and found[channel] else None

    def name(self, tap: str, channel: int) -> Name | None:
        """What a channel of a tap is called: its best concept, if that overlaps enough and is answered selectively."""
        best = self.best(tap, channel)
        if best is None or best.iou < self.least_iou or best.selectivity < self.least_selectivity:
            return None
        return best

    def called(self, concept: str) -> list[tuple[str, int]]:
        """(tap, channel) of all that are called so, largest overlap first."""
        if concept not in self.concepts:
            raise unknown("concept", concept, self.concepts)
        found = [
            (name.iou, tap, k)
            for tap, channels in self.ranked.items()
            for k in range(len(channels))
            if (name := self.name(tap, k)) is not None and name.concept == concept
        ]
        return [(tap, k) for _, tap, k in sorted(found, key=lambda item: -item[0])]

    def to_frame(self) -> pd.DataFrame:
        """One row per channel: tap, channel, its best concept with its numbers, and whether it is a name."""
        import pandas as pd

        rows = [
            {"tap": tap, "channel": k, **vars(best), "named": self.name(tap, k) is not None}
            for tap, channels in self.ranked.items()
            for k in range(len(channels))
            if (best := self.best(tap, k)) is not None
        ]
        return pd.DataFrame(rows)

    def check(self, weights_sha256: str, model: str = "this network") -> None:
        """Refuse another network's names."""
        if weights_sha256 != self.weights_sha256:
            raise ValueError(
                f"these names belong to {self.model} (weights {self.weights_sha256[:12]}…), not to {model} "
                f"(weights {weights_sha256[:12]}…): dissect it first"
            )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "format": FORMAT, "model": self.model, "weights_sha256": self.weights_sha256, "pictures": self.pictures,
            "concepts": list(self.concepts), "least_iou": self.least_iou, "least_selectivity": self.least_selectivity,
            "ranked": {
                tap: [[[n.concept, round(n.iou, 4), round(n.selectivity, 4), n.quantile] for n in row] for row in rows]
                for tap, rows in self.ranked.items()
            },
        }  # fmt: skip

    def save(self, path: str | Path) -> Path:
        """Write a JSON file; `load` reads it."""
        path = Path(path).expanduser()
        path.write_text(json.dumps(self.to_json(), ensure_ascii=False, separators=(",", ":")) + "\n", "utf-8")
        return path

    @classmethod
    def load(cls, source: str | Path | Mapping[str, Any]) -> Dissection:
        """From a file that `save` wrote, or from `to_json`'s values."""
        if isinstance(source, Mapping):
            content: Any = source
        else:
            content = json.loads(Path(source).expanduser().read_text("utf-8"))
        if content.get("format") != FORMAT:
            raise ValueError(f"a dissection of format {content.get('format')!r}; this version reads {FORMAT}")
        ranked = {
            str(tap): tuple(tuple(Name(str(c), float(i), float(s), float(q)) for c, i, s, q in names) for names in rows)
            for tap, rows in content["ranked"].items()
        }
        return cls(
            content["model"], content["weights_sha256"], content["pictures"], tuple(content["concepts"]), ranked,
            content["least_iou"], content["least_selectivity"],
        )  # fmt: skip


def shipped(classifier: Classifier) -> Dissection | None:
    """The names that come with a built-in toy network, if `classifier` has exactly its weights; else None.

    `python -m camwidgets.decomposition.dissection` makes them.
    """
    folder = resources.files("camwidgets.datasets") / "weights"
    for name in SHIPPED:
        file = folder / f"{name}-names.json"
        if classifier.name == name and file.is_file():
            found = Dissection.load(json.loads(file.read_text("utf-8")))
            return found if found.weights_sha256 == classifier.weights_hash() else None
    return None

