"""One failure under the glass: its picture and what was done to it, the trees of two classes, the channels to blame."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image

from ...classifiers.classifier import Classifier
from ...decomposition.diff import TreeDiff
from ...decomposition.naming import Dissection
from ...decomposition.tree import decompose
from ...evidence import record
from ...images import ImageSource
from ...investigate.blame import Blame, blame
from ...investigate.failures import Decided
from ...investigate.interventions import Edits
from ...investigate.regions import Region
from ...investigate.scenery import object_of, seen
from ...maps.fusion import upsample

DEPTH, TOP = 2, 3  # of the trees: the two deepest stages, three channels a node
BARS = 6
BLAMED = 12


@dataclass
class Case:
    """What is known of one decision.

    Attributes:
        decided: the decision. edits: picture and changes. own, taken: the class it should be and the one it was taken
            for; of a right decision the class itself and the runner-up. object: the labelled object's mask, or None.
        weights: hash of the network's, with which the rest was found.
        blames: stage → channels, the worst first; None before they are known. diff: from the tree of `own` to that of
            `taken`. thumbs: small pictures, kept.
    """

    decided: Decided
    edits: Edits
    own: int
    taken: int
    weights: str
    object: np.ndarray | None = None
    names: Dissection | None = None
    blames: dict[str, list[Blame]] | None = None
    diff: TreeDiff | None = None
    thumbs: dict[Any, str] = field(default_factory=dict)

    @property
    def classifier(self) -> Classifier:
        return self.edits.classifier

    @property
    def stale(self) -> bool:
        """Whether the network has other weights by now."""
        return self.weights != self.classifier.weights_hash()

    def anew(self) -> Case:
        """The same decision, with all that was done and undone, of the network as it is now."""
        edits = Edits(self.classifier, self.edits.input(0))
        for edit in self.edits.done:
            edits.do(edit)
        edits.go(len(self.edits.log))
        return _case(self.decided, edits, self.object, self.names)

    def bars(self, edits: Edits) -> list[dict[str, Any]]:
        """Probabilities before and after: the two classes in question, then those that lead."""
        before, after = (edits.effect(step).logits.softmax(0) for step in (0, None))
        leading = [*after.argsort(descending=True)[:4].tolist(), *before.argsort(descending=True)[:4].tolist()]
        indices = list(dict.fromkeys([self.own, self.taken, *leading]))[:BARS]
        return [
            {"index": i, "label": self.classifier.labels[i], "before": float(before[i]), "after": float(after[i])}
            for i in indices
        ]

    def find_blame(self) -> dict[str, list[Blame]]:
        """Channels that speak for `taken` rather than for `own`, on the picture as it was; see `blame`."""
        if self.blames is None:
            self.blames = blame(self.classifier, self.edits.input(0), self.taken, self.own, count=BLAMED)
        return self.blames

    def find_diff(self) -> TreeDiff:
        """From the tree of its own class to that of the class it was taken for."""
        if self.diff is None:
            x = self.edits.input(0)
            trees = [decompose(self.classifier, x, c, TOP, depth=DEPTH) for c in (self.own, self.taken)]
            if self.names is not None:
                trees = [tree.named(self.names) for tree in trees]
            self.diff = trees[0].diff(trees[1])
        return self.diff

    def find_change(self, edits: Edits, target: int) -> TreeDiff:
        """What the changes that are in force in `edits` made of the tree of a class."""
        found = edits.tree_diff(target, top=TOP, depth=DEPTH)
        if self.names is not None:
            for tree in (found.before, found.after):
                tree.named(self.names)
        return found

    def channel_map(self, stage: str, channel: int) -> tuple[np.ndarray, str]:
        """A channel's map at the picture's size, divided by its maximum, and what it shows."""
        known = next((one for one in (self.blames or {}).get(stage, []) if one.channel == channel), None)
        size = self.edits.original.shape[:2]
        if known is not None:
            labels = self.classifier.labels
            said = f"where it speaks for “{labels[self.taken]}” rather than “{labels[self.own]}”"
            return scaled(known.evidence, (size[0], size[1])), said
        tap = self.classifier.tap(stage)
        with torch.no_grad(), record(self.classifier, self.edits.input(0), [stage]) as recording:
            A = recording.activations[tap][0]
        if not 0 <= channel < len(A):
            raise ValueError(f"channel {channel!r} is out of range: {stage} ({tap}) has channels 0 … {len(A) - 1}")
        return scaled(A[channel].float().cpu().numpy(), (size[0], size[1])), "where it answers (its activation)"

    def region(self, content: dict[str, Any]) -> Region:
        """The region that a message of the front end names; "object" is the data set's mask."""
        kind, size = str(content.get("kind")), self.edits.original.shape[:2]
        if kind == "object":
            if self.object is None:
                raise ValueError("the data set has no mask of this picture's object; draw it with the brush or the box")
            found = Region.of_mask(self.object)
        else:
            found = Region.from_json(content)
        return Region.of_mask(~found.mask((size[0], size[1]))) if content.get("outside") else found


def case_of(
    classifier: Classifier, decided: Decided, image: ImageSource, item: Any = None, names: Dissection | None = None
) -> Case:
    """A case for one picture of a data set."""
    return _case(decided, Edits(classifier, image), mask_of(classifier, item), names)


def _case(decided: Decided, edits: Edits, mask: np.ndarray | None, names: Dissection | None) -> Case:
    weights = edits.classifier.weights_hash()  # before anything is found with them
    own, taken = decided.label, decided.predicted
    if own == taken:
        logits = edits.effect(0).logits
        if len(logits) < 2:
            name = edits.classifier.name
            raise ValueError(f"{name} knows one class only: there is no other that a picture could be taken for")
        own, taken = (int(i) for i in logits.argsort(descending=True)[:2])
    return Case(decided, edits, own, taken, weights, mask, names)


def mask_of(classifier: Classifier, item: Any) -> np.ndarray | None:
    """The mask of an item's object as the network sees it, or None where the data set does not say."""
    if item is None:
        return None
    try:
        mask = seen(classifier, object_of(item))
    except (TypeError, ValueError, OSError, AttributeError):
        return None
    return mask if mask.any() and not mask.all() else None


def scaled(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The positive part of a map at `size`, divided by its maximum."""
    up = upsample(torch.from_numpy(np.ascontiguousarray(np.maximum(values, 0), np.float32)), size).numpy()
    top = float(up.max())
    return up / top if top > 0 else up


def small(picture: np.ndarray, pixels: int) -> Image.Image:
    """A picture with its longer side `pixels` long at most."""
    image = Image.fromarray(picture)
    scale = pixels / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BICUBIC)
