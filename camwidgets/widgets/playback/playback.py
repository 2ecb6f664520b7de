"""Playback: a saved training, epoch by epoch: the maps as they wander, what was gathered of them, what was dropped."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import traitlets as t
from torch import nn

from ...decomposition.diff import TreeDiff
from ...errors import unknown
from ...learning.run import Run
from .. import assets
from ..speaking import BadValue
from .page import FILES, file_name, page
from .traits import LOOK, OPTIONS, VIEW
from .tree import Sides
from .words import playback_code, usual_curves
from .work import PlaybackWork, layer_of


class Playback(PlaybackWork):
    """Scrub through the epochs of a run that `camwidgets.learning.train` left; nothing is trained, no GPU is needed.

    Side by side: a watched picture, the network's map at this epoch (A_t), the cumulative map (M_t), what was blanked.
    Below: the curves of its table of metrics with a cursor, and on demand the gAP trees of two epochs and their
    difference. Everything of looking happens in the browser: up to 8 MiB of maps (8 bits a value) travel at once; if
    there are more, one picture's.

    Args:
        run: a `Run`, or its folder. other: a second one to put below, linked by epoch and picture.
        module: the network that the weights fit, for the trees, where the kit cannot build it by itself.
        options: `epoch`, `picture`, `label`, `layers` … (see `PlaybackTraits`); `follow=True` looks for new epochs
            each second, and waits for a folder that no run lies in yet.
    Raises:
        FileNotFoundError: no run there. ValueError: a damaged run, one of a newer version, two of different pictures or
            classes, an option out of range.

    Example:
        >>> import tempfile
        >>> from camwidgets.classifiers.toynet import ToyNet
        >>> from camwidgets.learning.gain import GainObjective
        >>> from camwidgets.learning.labelled import open_labelled
        >>> from camwidgets.learning.training import train
        >>> folder, data = tempfile.mkdtemp(), open_labelled("toyworld", n=8).painted()
        >>> run = train(ToyNet(), data, GainObjective("features.relu5_2"), folder, epochs=1, batch=4, progress=None)
        >>> playback = Playback(run).wait()
        >>> playback.epoch, playback.map("current").shape, len(playback.tree_diff(since=0).wait().diff.stages)
        (1, (6, 6), 3)
        >>> playback.close()
    """

    _esm = assets.esm("playback/playback.js")
    _css = assets.css("playback/playback.css")

    def __init__(
        self,
        run: Run | str | Path,
        other: Run | str | Path | None = None,
        *,
        module: nn.Module | None = None,
        **options: Any,
    ) -> None:
        for name in options:
            if name not in OPTIONS:
                raise unknown("option of Playback", name, OPTIONS)
        super().__init__([_source(one) for one in (run, other) if one is not None], module)
        follow = self._patient = bool(options.pop("follow", False))
        self._take(self._open_all())
        self._options = options
        self._ready = True
        self._settle(last=True)
        self.on_msg(self._hear)
        self._load()
        self.follow = follow

    def __repr__(self) -> str:
        names = " beside ".join(one["name"] for one in self._runs) or "no run yet"
        return f"Playback({names}, epoch {self.epoch} of {len(self._epochs)} shown)"

    # ------------------------------------------------------------------ for scripts and notebooks

    @property
    def run(self) -> Run | None:
        """The run, as it was read last; None while there is none."""
        return self._reel_of[0].run if self._reel_of else None

    @property
    def other(self) -> Run | None:
        """The run beside it."""
        return self._reel_of[1].run if len(self._reel_of) == 2 else None

    @property
    def diff(self) -> TreeDiff | None:
        """The difference of trees that was made last."""
        return self._diff[1] if self._diff else None

    def map(self, which: str = "current", other: bool = False) -> np.ndarray:
        """A map of the picture and class that are shown, h×w float32, as the run has it; of the epoch or, where the
        other run has not that one, of its last before."""
        run = self.other if other else self.run
        if run is None:
            raise ValueError("there is no such run: give one, Playback(run, other=…)")
        return layer_of(run, _last(run.epochs, self.epoch), self.picture, self.label, which)

    def tree_diff(self, since: int | None = None, against: str | None = None, *, dark: bool = False) -> Playback:
        """Grow the trees of the shown picture and class, and compare them, in a thread of its own; see `diff`.

        Args:
            since: the epoch before; None = the trait. against: "since", or "other": the other run at this epoch.
            dark: the drawings of both trees are for a dark page.
        Raises:
            ValueError: nothing to compare.
        """
        with self._lock:
            if since is not None:
                self.since = since
            self.against = against or ("since" if since is not None else self.against)
            self._growing.submit(self._sides(dark))
            self._tree = {"state": "working", "text": "waiting …", "share": 0.0, "key": self._key()}
        return self

    def cancel(self) -> Playback:
        """End what is being read or grown; what was read before stays. Returns self."""
        with self._lock:
            if self._growing.cancel():
                self._tree = {"state": "none", "told": "cancelled"}
            if self._reading.cancel():
                self._status = {"state": "told", "text": "reading was cancelled; look again to go on"}
        return self

    def look(self) -> Playback:
        """Read what was written since. Returns self; `follow` does this each second."""
        self._renew()
        return self

    def wait(self, timeout: float = 600) -> Playback:
        """Block until nothing is read or grown any more; returns self. `TimeoutError` after `timeout` seconds."""
        end = time.monotonic() + timeout
        for worker in (self._reading, self._growing):
            if not worker.wait(max(0.0, end - time.monotonic())):
                raise TimeoutError(f"the playback was still busy after {timeout:g} s: {self!r}")
        return self

    def to_html(self, path: str | Path | None = None) -> str:
        """One page that plays without a kernel, with the maps that are here now; written to `path` if one is given."""
        text = page(self)
        if path is not None:
            Path(path).expanduser().write_text(text, "utf-8")
        return text

    def close(self) -> None:
        """End the threads and close the widget."""
        if hasattr(self, "_growing"):
            self._watch(False)
            self.cancel()
            for worker in (self._reading, self._growing):
                worker.close()
            self._diff = None
        super().close()

    # ------------------------------------------------------------------ traits

    @t.observe(*VIEW)
    def _looked(self, change: Any) -> None:
        if not self._ready:
            return
        if change.name == "picture":
            labels = self._labels()
            if labels and self.label not in labels:
                self.label = labels[0]
            if self._reels and not any(one["id"] == self.picture for one in self._reels):
                self._load()
        self.code = self._code()

    @t.observe("follow")
    def _followed(self, change: Any) -> None:
        self._watch(change.new)

    def _settle(self, last: bool) -> None:
        """Choose what was not chosen, or is not there any more: the last epoch, the first picture, its first class."""
        given, self._options = self._options, {} if self._runs else self._options
        if not self._runs:
            return
        epochs, ids = self._epochs, [one["id"] for one in self._pictures]
        if not self._defaults:
            given = {"since": (self._weights or [0])[0], **given}
        fresh = [name for name in self._known("layers") if name not in self._defaults.get("layers", [])]
        if fresh:  # also those that begin with a later epoch
            given = {"layers": [*self.layers, *fresh], **given}
        self._defaults = LOOK | {"layers": self._known("layers"), "curves": usual_curves(self._runs)}
        if not self.curves:
            given = {"curves": usual_curves(self._runs), **given}
        with self.hold_trait_notifications():
            if epochs and (last or self.epoch not in epochs):
                self.epoch = epochs[-1]
            if ids and self.picture not in ids:
                self.picture = ids[0]
            if self._weights and self.since not in self._weights:
                self.since = self._weights[0]
        for name in sorted(given, key=OPTIONS.index):  # a class is known only when the picture is
            setattr(self, name, given[name])
        if self._labels() and self.label not in self._labels():
            self.label = self._labels()[0]
        self.code = self._code()

    def _arrived(self) -> None:
        if self._epochs and self.epoch not in self._epochs:
            self.epoch = _last(self._epochs, self.epoch)

    def _code(self) -> str:
        usual = {
            **self._defaults,
            "blend": "even",
            "speed": 4.0,
            "against": "since",
            "since": (self._weights or [0])[0],
        }
        chosen = {
            n: getattr(self, n) for n in VIEW if n in ("epoch", "picture", "label") or getattr(self, n) != usual.get(n)
        }
        return playback_code([str(folder) for folder in self._folders()], chosen)

    # ------------------------------------------------------------------ trees

    def _key(self) -> list[Any]:
        since = self.since if self.against == "since" else -1
        return [self.against, since, self.epoch, self.picture, self.label]

    def _sides(self, dark: bool) -> Sides:
        run, other = self.run, self.other
        if run is None or not self.picture:
            raise ValueError("there is no picture to grow a tree for")
        if self.against == "other":
            assert other is not None
            runs, epochs = (run, other), (_last(run.epochs, self.epoch), _last(other.epochs, self.epoch))
        else:
            runs, epochs = (run, run), (self.since, _last(run.epochs, self.epoch))
            if epochs[0] == epochs[1]:
                raise ValueError(
                    f"epoch {self.epoch} would be compared with itself; choose another one to compare with"
                )
        return Sides(runs, epochs, self.picture, self.label, self._key(), dark, self._module)

    # ------------------------------------------------------------------ messages from the front end

    def _act(self, content: dict[str, Any], buffers: list[Any]) -> None:
        kind = content.get("kind")
        if kind == "tree":
            # What was just chosen may still be on its way: the front end holds changes back while the hand moves.
            asked = dict(content.get("asked") or {})
            with self.hold_trait_notifications():
                for name in ("picture", "label", "epoch", "since", "against"):
                    if name in asked:
                        setattr(self, name, asked[name])
            self.tree_diff(dark=bool(content.get("dark")))
        elif kind == "cancel":
            self.cancel()
        elif kind == "look":
            self.look()
        elif kind == "dismiss":
            with self._lock:
                self._status = {"state": "idle"}
        elif kind == "save":
            data = page(self).encode()
            self.send({"kind": "file", "name": file_name(self), "type": FILES["html"]}, [data])


def _source(given: Any) -> Run | Path:
    if isinstance(given, Run):
        return given
    if isinstance(given, str | Path):
        return Path(given).expanduser()
    raise TypeError(f"Playback takes a Run or the folder of one; got {type(given).__name__}")


def _last(epochs: list[int], epoch: int) -> int:
    """The epoch, or the last before it, or the first."""
    if not epochs:
        raise BadValue("this run kept no epoch yet")
    return max((one for one in epochs if one <= epoch), default=epochs[0])
