"""AdversarialExplorer: how little it takes until a network errs, and what happens inside on the way there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import traitlets as t
from PIL import Image

from ...classifiers.classifier import Classifier
from ...decomposition.diff import TreeDiff
from ...errors import choose, unknown
from ...investigate.attacks import METHODS
from ...investigate.rival import Rival
from ...investigate.sweep import Sweep
from .. import assets
from ..page import written
from ..scene import palettes
from ..sources import Networks, Pictures
from ..subject import given, offer
from . import export as adversarial_export
from .code import sweep_code
from .pace import Pace, own_attacks
from .traits import SETTINGS, VIEW
from .work import AdversarialWork

OPTIONS = (*VIEW[1:], "stage", "top", "depth", "count", "strongest")
NAMES = {"pgd": "PGD (Madry et al. 2018)", "fgsm": "FGSM (Goodfellow et al. 2015)"}


class AdversarialExplorer(AdversarialWork):
    """One picture attacked at several ε; one slider moves pictures, maps, predictions, channels and tree together.

    Args:
        classifier: a `Classifier`, or a name for `camwidgets.load`; None = the embedded network.
        image: what to attack first: a path, a PIL picture, an array; None = the first picture on offer.
        attack: "pgd", "fgsm", or a function (model, pixels, classes) → pixels; see `investigate.sweep.at_strength` for
            what it is given at each ε. attacks: further ones, by name.
        norm: "linf" or "l2". epsilons: the ε of the sweep, in units of the full pixel range; None = eight up to 8/255.
        steps, seed: of PGD. target: class index or label, to move away from (None = the top class) or, `targeted`,
            towards. pictures, classifiers: further ones to choose from, as for `CamExplorer`.
        options: `stage`, `top`, `depth`, `count`, `strongest`, and how it is looked at (see `AdversarialTraits`).

    `run()` (the button Attack) makes the sweep in a thread of its own; `wait()` blocks until it is done.

    Example:
        >>> import camwidgets
        >>> explorer = camwidgets.AdversarialExplorer("toy", epsilons=[4 / 255, 16 / 255], steps=3, depth=0)
        >>> len(explorer.run().wait().sweep.frames)
        3
        >>> explorer.close()
    """

    _esm = assets.esm("adversarial/adversarial.js")
    _css = assets.css("adversarial/adversarial.css")

    def __init__(
        self,
        classifier: Classifier | str | None = None,
        image: Any = None,
        *,
        pictures: Any = None,
        attack: str | Callable[..., Any] = "pgd",
        attacks: Mapping[str, Callable[..., Any]] | None = None,
        norm: str = "linf",
        epsilons: Sequence[float] | None = None,
        steps: int = 10,
        target: int | str | None = None,
        targeted: bool = False,
        seed: int = 0,
        classifiers: Iterable[Classifier] | None = None,
        **options: Any,
    ) -> None:
        for name in options:
            if name not in OPTIONS:
                raise unknown("option of AdversarialExplorer", name, OPTIONS)
        offered = Pictures()
        first = offered.offer(image, pictures)
        known = Networks([*given(classifier, "AdversarialExplorer"), *(classifiers or ())])
        own = own_attacks(attacks, attack)
        super().__init__(offered, known, own, **palettes())
        self._attacks = [{"value": name, "text": NAMES.get(name, name)} for name in (*METHODS, *own)]
        self._begin(classifier, first)
        self.attack = attack if isinstance(attack, str) else list(own)[-1]
        self.norm, self.steps, self.seed = norm, steps, seed
        self.target, self.targeted = target, targeted
        for name, value in options.items():
            setattr(self, name, value)
        if epsilons is not None:
            self.epsilons = list(epsilons)
        self.on_msg(self._hear)
        self._ready = True
        self._submit()

    def __repr__(self) -> str:
        if self._shown is not None:
            return f"AdversarialExplorer({self._shown.sweep}{'; stale' if self.stale else ''})"
        ground = self._ground
        told = f"{ground.name!r}, {ground.classifier.name}, not attacked yet" if ground else "no picture yet"
        return f"AdversarialExplorer({self.error or told})"

    # ------------------------------------------------------------------ for scripts and notebooks

    def run(self) -> AdversarialExplorer:
        """Attack as the traits say, in a thread; what runs already is ended. Returns self."""
        with self._worker.lock:
            if not self.picture:
                raise ValueError("no picture is chosen; set `picture`, or use show(…)")
            if not self.networks.ready(self.network):
                self._status = offer(self.network)
                return self
            if self._pace is not None:
                self._pace.stop.set()
            asked = self.asked()
            fgsm = asked.attack == "fgsm"
            pace = self._pace = Pace(len(asked.epsilons) + 1, 2 if fgsm else asked.steps + 1, self._far)
            self._progress = pace.words("running")
            self._trouble = {}
            if self._status["state"] == "error":
                self._status = {"state": "idle"}
            self._runner.submit((asked, pace))
        return self

    def cancel(self) -> AdversarialExplorer:
        """End the sweep before its next pass; what was there before stays. Returns self."""
        with self._worker.lock:
            if self._pace is not None:
                self._pace.stop.set()
                self._progress = {**self._progress, "state": "stopping"}
        return self

    def wait(self, timeout: float = 600) -> AdversarialExplorer:
        """Block until nothing runs any more; returns self. Raises `TimeoutError` after `timeout` seconds."""
        end = time.monotonic() + timeout
        for worker in (self._worker, self._runner):
            if not worker.wait(max(0.0, end - time.monotonic())):
                raise TimeoutError(f"the explorer was still busy after {timeout:g} s: {self!r}")
        return self

    @property
    def sweep(self) -> Sweep | None:
        """What was found: see `camwidgets.investigate.sweep`."""
        return self._shown.sweep if self._shown else None

    @property
    def rival(self) -> Rival | None:
        """The wrong class over the sweep: see `camwidgets.investigate.rival`."""
        return self._shown.rival if self._shown else None

    @property
    def diff(self) -> TreeDiff | None:
        """From the clean decision's tree to the one at the ε on screen."""
        return self._shown.diffs[self.index] if self._shown and self._shown.diffs else None

    @property
    def eps(self) -> float:
        """The ε on screen; set, it goes to the nearest one of the sweep."""
        return self._shown.sweep.frames[self.index].eps if self._shown else 0.0

    @eps.setter
    def eps(self, value: float) -> None:
        if self._shown is None:
            raise RuntimeError("no sweep is done yet; run() makes one")
        frames = self._shown.sweep.frames
        self.index = min(range(len(frames)), key=lambda i: abs(frames[i].eps - value))

    @property
    def stale(self) -> bool:
        """Whether the sweep on screen was made with other settings than the present ones."""
        return bool(self._sweep) and self._sweep["asked"] != self.asked().settings

    def sheet(self) -> Image.Image:
        """The ε on screen as one picture: clean, attacked, perturbation, stage maps."""
        return adversarial_export.sheet(self)

    def export_html(self, path: str | Path | None = None) -> str:
        """The explorer as one HTML page whose slider works without a kernel; written to `path`."""
        return written(adversarial_export.page(self), path)

    def save(self, path: str | Path) -> Path:
        """Write a bundle (.zip): settings, pictures, perturbations, maps, trees, page; `open_bundle` reads it."""
        return adversarial_export.bundle(self, path)

    def close(self) -> None:
        """End the threads and close the widget."""
        if hasattr(self, "_runner"):
            self.cancel()
            self._runner.close()
            self._worker.close()
            self._ground = self._shown = None
        super().close()

    # ------------------------------------------------------------------ traits and messages

    @t.observe("index", *SETTINGS)
    def _recode(self, _: Any) -> None:
        if self._ready:
            self._write_code()

    def _write_code(self) -> None:
        """Settings as they are asked for now, or, while nothing has changed since, as they were for the sweep."""
        if not self.picture or self.picture not in self.pictures:
            return
        index = self.index if self._shown and not self.stale else len(self.epsilons)
        self.code = self.code_of(self.asked().settings, self._labels, index)

    def code_of(self, asked: Mapping[str, Any], labels: Sequence[str], index: int) -> str:
        """The lines that make the sweep of these settings, with the network's labels and the number of one ε of it."""
        target = asked["target"]
        label = labels[target] if isinstance(target, int) and 0 <= target < len(labels) else ""
        lines = self.networks.code(asked["network"]), self.pictures[asked["picture"]].code
        return sweep_code(*lines, asked, label, index)

    def _far(self, words: dict[str, Any]) -> None:
        with self._worker.lock:
            if self._pace is not None:
                self._progress = {**words, "state": "stopping" if self._pace.stop.is_set() else words["state"]}

    def _act(self, content: dict[str, Any], buffers: list[Any]) -> None:
        kind = content.get("kind")
        if kind == "run":
            # What was just chosen may still be on its way: the front end holds changes back while the kernel is busy.
            asked = dict(content.get("asked") or {})
            for name in ("picture", "network", "norm"):  # first: others are set to what fits these
                if name in asked:
                    setattr(self, name, asked.pop(name))
            for name, value in asked.items():
                setattr(self, choose("setting", name, (*SETTINGS, "strongest", "count")), value)
            self.run()
        elif kind == "stop":
            self.cancel()
        elif kind == "cancel":
            self.cancel_look()
        elif kind == "open":
            self._open(self.pictures.add_path(str(content["path"])))
        elif kind == "upload":
            self._open(self.pictures.add_upload(str(content["name"]), bytes(buffers[0])))
        elif kind == "offer":
            self.download()
        elif kind == "dismiss":
            self._dismiss()
        elif kind == "save":
            self._send_file(str(content["what"]))

    def cancel_look(self) -> None:
        """Drop the request for another picture or network; the view stays."""
        with self._worker.lock:
            self._worker.cancel()
            self._revert()
            self._status = {"state": "idle"}

    def _dismiss(self) -> None:
        with self._worker.lock:
            if self._status["state"] == "offer":
                self._revert()
            self._status, self._trouble = {"state": "idle"}, {}

    def _forget(self, key: str) -> None:
        self._answered = None

    def _send_file(self, what: str) -> None:
        ending, kind = adversarial_export.FILES[choose("kind of file", what, adversarial_export.FILES)]
        self._status = {"state": "working", "text": f"writing the {ending.upper()} file …"}
        try:
            data = adversarial_export.made(self, what)
        finally:
            self._status = {"state": "idle"}
        self.send({"kind": "file", "name": adversarial_export.file_name(self, ending), "type": kind}, [data])
