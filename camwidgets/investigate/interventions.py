"""Changes made to a picture, one after the other, and what each does to the decision: a log to replay."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..classifiers.checks import check_finite
from ..classifiers.classifier import Classifier, Target
from ..classifiers.taps import Tap
from ..decomposition.ablation import without
from ..decomposition.tree import decompose
from ..errors import plain
from ..images import ImageSource, open_image, picture_hash
from . import retouch
from .edit import SWITCHES, Edit, Effect, Score
from .pixels import PixelSpace
from .regions import Region

if TYPE_CHECKING:
    from ..decomposition.diff import TreeDiff

FORMAT = 1
MOST_EDITS = 500
MOST_POINTS = 20_000  # of the regions of a log: a brush takes some 2 ms a point at 224×224
SHOWN = 5
Switch = tuple[Tap, int]


class Edits:
    """A picture, and what was done to it. Every change can be undone and redone; the whole is a log.

    Changes are made to the picture as the network sees it (its input size), so that coordinates are those of the maps;
    pixels that no change touched enter the network bit for bit as they did.

    Args:
        classifier, image: as for `explain`; one picture.
    Raises:
        ValueError: what is no picture; a region, mask, colour or patch that does not fit (by the methods below).

    Example:
        >>> import camwidgets
        >>> edits = Edits(camwidgets.load("efficientnet_lite0"), camwidgets.samples.picture("cat"))
        >>> edits = edits.paint(Region.box(60, 20, 160, 120)).blur(Region.brush([(20, 200), (90, 210)], 12))
        >>> edits.effect().changed > 0.2
        True
        >>> edits.switch_off("S5", 112).effect().off
        (('head', 112),)
        >>> len(edits.undo().log), len(edits.go(1).log), len(edits.redo().log)
        (2, 1, 2)
    """

    def __init__(self, classifier: Classifier, image: ImageSource) -> None:
        self.classifier = classifier
        x = classifier.preprocess(image)
        if len(x) != 1:
            raise ValueError(f"one picture is changed at a time; got a batch of {len(x)}")
        self._space, self._x = PixelSpace.of(classifier), x
        self._pictures = [classifier.pictures(x)[0]]  # [i] = after i edits
        self._edits: list[Edit] = []
        self._logits: list[Tensor | None] = [None]
        self._off: list[frozenset[Switch]] = [frozenset()]
        self._at = 0

    def __repr__(self) -> str:
        return f"Edits({self.classifier.name}, {' → '.join(edit.kind for edit in self.log) or 'nothing done yet'})"

    # ----------------------------------------------------------------------------------------------- what can be done

    def paint(self, region: Region, colour: retouch.Colour | None = None) -> Edits:
        """Cover a region with one colour (RGB, 0 … 255); None = the mean colour of the rest of the picture."""
        return self.do(Edit("paint", region, {"colour": None if colour is None else tuple(map(int, colour))}))

    def blur(self, region: Region, sigma: float = 8.0) -> Edits:
        """Blur a region by a Gaussian of `sigma` pixels."""
        return self.do(Edit("blur", region, {"sigma": sigma}))

    def inpaint(self, region: Region) -> Edits:
        """Fill a region smoothly from its surroundings."""
        return self.do(Edit("inpaint", region))

    def swap_background(self, region: Region, background: ImageSource) -> Edits:
        """Put the object (the region) before another background: a picture, scaled to this one's size."""
        h, w = self.picture.shape[:2]
        other = np.array(open_image(background).resize((w, h)))
        return self.do(Edit("background", region, {"picture": other}))

    def paste(self, patch: ImageSource, x: int, y: int) -> Edits:
        """Put a picture, in its own size, with its top left corner at (x, y); what goes over the edge is cut off."""
        pixels = patch if isinstance(patch, np.ndarray) else np.array(open_image(patch))
        return self.do(Edit("paste", None, {"patch": pixels, "x": int(x), "y": int(y)}))

    def switch_off(self, tap: str, channels: int | Sequence[int] | np.ndarray) -> Edits:
        """Set one or several channels of a tap to zero, all over the picture, from here on; the picture stays.

        Channels that are off are taken out together in one forward pass, as by `ablate` with removal "zero".

        Raises:
            ValueError: unknown tap, no channel or one out of range, one that is off already.
        """
        return self.do(Edit("off", None, {"tap": str(tap), "channels": _several(channels)}))

    def switch_on(self, tap: str, channels: int | Sequence[int] | np.ndarray) -> Edits:
        """Leave channels as they are again."""
        return self.do(Edit("on", None, {"tap": str(tap), "channels": _several(channels)}))

    def do(self, edit: Edit) -> Edits:
        """Any change; what was undone before it is forgotten."""
        if self._at >= MOST_EDITS:
            raise ValueError(f"a log holds at most {MOST_EDITS} changes; undo some, or begin with the picture as it is")
        points = sum(len(one.region.points) for one in (*self.log, edit) if one.region is not None)
        if points > MOST_POINTS:
            raise ValueError(f"the regions of a log have at most {MOST_POINTS} points; this would make it {points}")
        picture = edit.apply(self.picture)  # before anything is forgotten: it may refuse
        off = self._switched(edit)
        del self._edits[self._at :]
        for states in (self._pictures, self._logits, self._off):
            del states[self._at + 1 :]
        self._edits.append(edit)
        self._pictures.append(picture)
        self._logits.append(None)
        self._off.append(off)
        self._at += 1
        return self

    def undo(self) -> Edits:
        """Take the last change back.

        Raises:
            ValueError: there is none.
        """
        if not self._at:
            raise ValueError("there is nothing to undo")
        self._at -= 1
        return self

    def redo(self) -> Edits:
        """Make the change again that was taken back last.

        Raises:
            ValueError: none was, or something else was done since.
        """
        if self._at == len(self._edits):
            raise ValueError("there is nothing to redo")
        self._at += 1
        return self

    def go(self, step: int) -> Edits:
        """Undo or redo until `step` of the changes in `done` are in force.

        Raises:
            ValueError: there are not so many.
        """
        if isinstance(step, bool) or not isinstance(step, int) or not 0 <= step <= len(self._edits):
            raise ValueError(f"there are the steps 0 … {len(self._edits)}; got {step!r}")
        self._at = step
        return self

    def copy(self) -> Edits:
        """The same picture with the same changes, to go its own way: what is done to one is not done to the other."""
        twin = copy(self)
        for name in ("_pictures", "_edits", "_logits", "_off"):
            setattr(twin, name, list(getattr(self, name)))
        return twin

    # ---------------------------------------------------------------------------------------------- what came of it

    @property
    def done(self) -> tuple[Edit, ...]:
        """The changes in force, and behind them those that were undone and can be redone."""
        return tuple(self._edits)

    @property
    def off(self) -> tuple[tuple[str, int], ...]:
        """The channels that are switched off now, (tap, channel) each."""
        return _sorted(self._off[self._at])

    @property
    def log(self) -> tuple[Edit, ...]:
        """The changes that are in force."""
        return tuple(self._edits[: self._at])

    @property
    def picture(self) -> np.ndarray:
        """The picture as it is now, h×w×3 uint8."""
        return self._pictures[self._at]

    @property
    def original(self) -> np.ndarray:
        """The picture as it was."""
        return self._pictures[0]

    def input(self, step: int | None = None) -> Tensor:
        """The 1×3×h×w network input after `step` changes (None = now)."""
        at = self._step(step)
        touched = torch.from_numpy((self._pictures[at] != self._pictures[0]).any(2)).to(self._x.device)
        return torch.where(touched, self._space.from_picture(self._pictures[at]).to(self._x), self._x)

    def effect(self, step: int | None = None, since: int = 0) -> Effect:
        """What the changes did to the class scores: after `step` changes (None = now) against after `since` (0 = none).

        One forward pass for each state that was not looked at before.
        """
        after, before = self._run(self._step(step)), self._run(self._step(since))
        leading = [one.argsort(descending=True, stable=True)[:SHOWN] for one in (after, before)]
        indices = list(dict.fromkeys(torch.cat(leading).tolist()))
        labels, p, q = self.classifier.labels, before.softmax(0), after.softmax(0)
        scores = tuple(
            Score(i, labels[i], (float(before[i]), float(after[i])), (float(p[i]), float(q[i]))) for i in indices
        )
        a, b = self._pictures[self._step(since)], self._pictures[self._step(step)]
        changed = float((a != b).any(2).mean())
        off = _sorted(self._off[self._step(step)])
        top = int(leading[1][0]), int(leading[0][0])
        return Effect(scores, after, labels[top[0]], labels[top[1]], top, changed, off)

    def effects(self) -> list[Effect]:
        """What each change did, against the state before it."""
        return [self.effect(i + 1, i) for i in range(self._at)]

    def tree_diff(self, target: Target = None, step: int | None = None, since: int = 0, **how: Any) -> TreeDiff:
        """How the changes of the picture moved the decomposition of a class (None: the top class before).

        `how` as for `decompose`.

        Raises:
            ValueError: a channel is switched off: trees are made of the whole network.
        """
        from ..decomposition.diff import diff

        if self._off[self._step(step)] or self._off[self._step(since)]:
            raise ValueError("trees are of the whole network: switch its channels on again to see the tree's change")
        first = decompose(self.classifier, self.input(since), target, **how)
        return diff(first, decompose(self.classifier, self.input(step), first.target, **how))

    def _step(self, step: int | None) -> int:
        at = self._at if step is None else step
        if isinstance(at, bool) or not isinstance(at, int) or not 0 <= at <= self._at:
            raise ValueError(f"there are the steps 0 … {self._at}; got {step!r}")
        return at

    def _run(self, at: int) -> Tensor:
        found = self._logits[at]
        if found is None:
            fills: dict[Tap, dict[int, float]] = {}
            for tap, channel in self._off[at]:
                fills.setdefault(tap, {})[channel] = 0.0
            found = without(self.classifier, self.input(at), fills)[0].float().cpu()
            check_finite(found, self.classifier.name)
            self._logits[at] = found
        return found

    def _switched(self, edit: Edit) -> frozenset[Switch]:
        """The channels that are off after a change."""
        now = self._off[self._at]
        if edit.kind not in SWITCHES:
            return now
        tap, channels = self.classifier.tap(str(edit.options["tap"])), edit.options["channels"]
        if not isinstance(channels, list) or not channels or len(set(map(str, channels))) < len(channels):
            raise ValueError(f"channels are named by their numbers, each once, at least one; got {channels!r}")
        for channel in channels:
            if isinstance(channel, bool) or not isinstance(channel, int) or not 0 <= channel < tap.channels:
                valid = f"{str(tap)!r} has channels 0 … {tap.channels - 1}"
                raise ValueError(f"channel {channel!r} is out of range: {valid}")
            if ((tap, channel) in now) == (edit.kind == "off"):
                raise ValueError(f"{edit.options['tap']} #{channel} is {edit.kind} already")
        return now ^ {(tap, channel) for channel in channels}

    # ------------------------------------------------------------------------------------------------------- the log

    def to_json(self) -> dict[str, Any]:
        """The log as plain values: which picture and network, and every change in force."""
        return {
            "format": FORMAT, "model": self.classifier.name, "weights_sha256": self.classifier.weights_hash(),
            "picture_sha256": picture_hash(self.original), "edits": [edit.to_json() for edit in self.log],
        }  # fmt: skip

    @classmethod
    def replay(cls, classifier: Classifier, image: ImageSource, log: dict[str, Any]) -> Edits:
        """Do again what a log says. Another network may be given, if it sees the same picture.

        Raises:
            ValueError: a log of another version, or of another picture (as the network sees it), or one with a change
                that cannot be read or made.
        """
        if log.get("format") != FORMAT:
            raise ValueError(f"the log has format {log.get('format')!r}; this version reads {FORMAT}")
        wanted, changes = log.get("picture_sha256"), log.get("edits")
        if not isinstance(wanted, str) or not isinstance(changes, list):
            raise ValueError("this is no log of Edits: it needs picture_sha256 (text) and edits (a list of changes)")
        edits = cls(classifier, image)
        found = picture_hash(edits.original)
        if found != wanted:
            raise ValueError(
                f"the log is of another picture: {wanted[:12]}…, not {found[:12]}… (as {classifier.name} sees it)"
            )
        for i, one in enumerate(changes, 1):
            try:
                edits.do(Edit.from_json(one))
            except ValueError:
                raise
            except Exception as error:  # of a list that is too short, of a text that is no number, of a broken PNG …
                raise ValueError(f"change {i} of the log cannot be read: {error!r}") from error
        return edits


def _several(channels: int | Sequence[int] | np.ndarray) -> list[int]:
    """Channels as a log holds them: a list of Python's own numbers."""
    if isinstance(channels, np.ndarray):
        channels = channels.tolist()
    return [plain(one) for one in channels] if isinstance(channels, Sequence) else [plain(channels)]


def _sorted(off: frozenset[Switch]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted((str(tap), channel) for tap, channel in off))
