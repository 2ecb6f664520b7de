"""What the front end draws, as plain values and bytes: one picture, one network, one class, one method.

Everything here is a rearrangement of `Evidence` for the wire; the maps come from `camwidgets.maps`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from ..classifiers.classifier import Classifier
from ..classifiers.preprocessing import Preprocessing
from ..evidence import Evidence
from ..figures.colour import SEQUENTIAL, table
from ..images import ImageSource, open_image
from ..maps.catalogue import evidence_methods, find_evidence
from ..maps.fusion import PRESETS, Plan, shallow_stages
from ..maps.method import Method
from ..maps.stages import channel_contributions, channel_map, default_stages, one_map

Traits = dict[str, Any]
ENLARGE = 2  # the picture is drawn at up to twice the network's input size, where it has that many pixels


@dataclass(frozen=True)
class Scene:
    """All raw maps that the switches of the explorer can ask for, and the picture under them.

    Attributes:
        maps: (sign, stage, ungridded) → h×w float32, raw. picture: H×W×3 uint8, the part that the network saw.
        number: counts the scenes of one explorer, so that the front end can tell them apart.
    """

    evidence: Evidence
    method: Method
    maps: dict[tuple[str, str, bool], np.ndarray]
    picture: np.ndarray
    name: str
    number: int = 1
    orders: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]] = field(default_factory=dict, compare=False)

    @property
    def target(self) -> int:
        return int(self.evidence.targets[0])

    @property
    def stages(self) -> list[str]:
        """The stages that the method can take, shallow to deep."""
        usable = {stage for _, stage, _ in self.maps}
        return [stage for stage in self.evidence.stages if stage in usable]

    @property
    def defaults(self) -> list[str]:
        """The stages that the method uses unless told otherwise."""
        return default_stages(self.evidence, self.method)

    def traits(self) -> Traits:
        """The front end's `_scene`, `_picture` and `_maps`."""
        return {
            "_scene": self._layout(),
            "_picture": self.picture.tobytes(),
            "_maps": b"".join(values.astype("<f4").tobytes() for values in self.maps.values()),
        }

    def _layout(self) -> Traits:
        evidence, classifier = self.evidence, self.evidence.classifier
        shallow, usable = shallow_stages(list(evidence.stages)), self.stages
        logits = evidence.logits[0].float().cpu()
        chosen = classifier.labels[self.target]
        share = float(logits.softmax(0)[self.target])
        return {
            "id": self.number,
            "picture": {"name": self.name, "height": self.picture.shape[0], "width": self.picture.shape[1]},
            "input": {"height": evidence.x.shape[2], "width": evidence.x.shape[3]},
            "network": classifier.name,
            "target": class_entry(self.target, chosen, share, float(logits[self.target])),
            "top": [class_entry(p.index, p.label, p.probability, p.logit) for p in classifier.ranked(logits, 5)],
            "method": {"name": self.method.name, "title": self.method.title, "sign": self.method.gradient},
            "signs": list(self.method.signs),
            "stages": [
                {
                    "name": stage,
                    "tap": str(tap),
                    "height": evidence.activations[tap].shape[2],
                    "width": evidence.activations[tap].shape[3],
                    "channels": evidence.activations[tap].shape[1],
                    "shallow": stage in shallow,
                    "usable": stage in usable,
                }
                for stage, tap in evidence.stages.items()
            ],
            "layout": [{"sign": sign, "stage": stage, "ungridded": other} for sign, stage, other in self.maps],
        }

    def channel(self, stage: str, rank: int, sign: str) -> tuple[Traits, np.ndarray]:
        """One channel's part of a LayerCAM map, ReLU(h(g_k) ⊙ A_k), by rank of contribution.

        The contribution of channel k is Σ_ij h(g_k) ⊙ A_k (in units of the logit, to first order); its share is
        taken of the sum over all channels that contribute positively.
        """
        order, contributions = self._ranked(stage, sign)
        rank = min(max(rank, 0), len(order) - 1)
        k = int(order[rank])
        values = channel_map(self.evidence, stage, k, sign)
        speaking = float(np.maximum(contributions, 0).sum())
        share = float(contributions[k]) / speaking if speaking > 0 else 0.0
        words = f"{share_text(share)} of what speaks for the class" if share >= 0 else "speaks against the class"
        return {
            "stage": stage,
            "rank": rank,
            "channel": k,
            "share": share,
            "height": values.shape[0],
            "width": values.shape[1],
            "peak": f"{values.max():.3g}",
            "unit": "logit",
            "text": f"{stage} · channel {k} · rank {rank + 1} of {len(order)}",
            "fact": f"channel {k} of {len(order)} · {words}",
        }, values

    def _ranked(self, stage: str, sign: str) -> tuple[np.ndarray, np.ndarray]:
        """Channels from most to least contributing, and all contributions; kept, for the slider."""
        if (stage, sign) not in self.orders:
            contributions = channel_contributions(self.evidence, stage, sign)
            self.orders[stage, sign] = (np.argsort(-contributions, kind="stable"), contributions)
        return self.orders[stage, sign]


def make_scene(
    evidence: Evidence, method: str, picture: np.ndarray, name: str = "picture", number: int = 1
) -> Scene:
    """All maps of one method for one picture's evidence. `picture`: what the network saw, as `crisper` makes it."""
    found = find_evidence(method)
    maps = {}
    for sign in found.signs:
        for stage, tap in evidence.stages.items():
            if "gap head" in found.needs and stage != list(evidence.stages)[-1]:
                continue
            maps[sign, stage, False] = one_map(evidence, found, tap, sign)
            if tap.pooled_by > 1 and "gradients" in found.needs:
                maps[sign, stage, True] = one_map(evidence, found, tap, sign, next_layer=True)
    return Scene(evidence, found, maps, picture, name, number)


def crisper(classifier: Classifier, seen: np.ndarray, source: ImageSource) -> np.ndarray:
    """`seen`, what the network saw of `source`, in up to twice as many pixels; H×W×3 uint8."""
    preprocessing = classifier.preprocessing
    if source is None or isinstance(source, torch.Tensor) or not isinstance(preprocessing, Preprocessing):
        return seen
    image = open_image(source)
    factor = min(ENLARGE, min(image.size) / preprocessing.resize)
    if factor <= 1:
        return seen
    height, width = (round(factor * side) for side in preprocessing.size)
    larger = replace(preprocessing, size=(height, width), resize=round(factor * preprocessing.resize))
    return np.ascontiguousarray(np.asarray(larger.view(image)), np.uint8)


def menus() -> Traits:
    """The traits that never change: methods, presets, colour tables."""
    plain = replace(Plan(), name="custom").as_dict()
    return {
        "_methods": [
            {"value": method.name, "text": method.title, "sign": method.gradient}
            for method in evidence_methods().values()
        ],
        "_presets": {"": plain, **{name: plan.as_dict() for name, plan in PRESETS.items()}},
        **palettes(),
    }


def palettes() -> Traits:
    """The colour tables: names, and 256×3 bytes each."""
    tables = b"".join(np.ascontiguousarray(table(name), np.uint8).tobytes() for name in SEQUENTIAL)
    return {"_palettes": list(SEQUENTIAL), "_palette_bytes": tables}


def share_text(share: float) -> str:
    """39 %, 4.2 %, 0.03 %: as many digits as the share deserves."""
    per_cent = 100 * share
    if per_cent >= 9.95:
        return f"{per_cent:.0f} %"
    if per_cent >= 0.095:
        return f"{per_cent:.1f} %"
    return f"{per_cent:.2f} %" if per_cent >= 0.005 else "< 0.01 %"


def class_entry(index: int, label: str, probability: float, logit: float) -> Traits:
    """One row of the list of classes."""
    words = {"label": label, "share": share_text(probability)}
    return {"index": index, "probability": probability, "logit": logit, **words}
