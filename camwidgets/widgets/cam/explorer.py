"""CamExplorer: where does the classifier look? One widget, live."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import traitlets as t

from ...classifiers.classifier import Classifier
from ...errors import unknown
from ...explanation import Explanation, explain_evidence
from ...maps.catalogue import find_evidence
from ...maps.fusion import PRESETS, make_plan
from .. import assets
from ..code import view_code
from ..page import written
from ..scene import Scene, menus
from ..sources import Networks, Pictures
from ..subject import given
from .asking import Asking
from .export import FILES, bundle_zip, file_name, page
from .traits import VIEW

OPTIONS = (*VIEW, "method", "channel_stage", "channel_rank")


class CamExplorer(Asking):
    """One picture, one network, one class: its maps, fused, coloured and compared by hand.

    Args:
        classifier: a `Classifier`, or a name for `camwidgets.load`; None = the embedded network.
        image: what to look at first: a path, a PIL picture, an array; None = the first picture on offer.
        pictures: further pictures: a folder, a list of paths and pictures, or a dict name → picture.
        classifiers: further classifiers to choose from. target: class index or label; None = the top class.
        options: `method`, `stages`, `gradient`, `gamma`, `opacity` … (see `ExplorerTraits`).

    The network runs in a thread of its own; only the newest request is answered. `wait()` blocks until it has been.

    Example:
        >>> import camwidgets
        >>> explorer = camwidgets.CamExplorer(image=camwidgets.samples.picture("cat"))
        >>> explorer.wait().explanation.label
        'tiger cat'
        >>> explorer.close()
    """

    _esm = assets.esm("cam/explorer.js")
    _css = assets.css()

    def __init__(
        self,
        classifier: Classifier | str | None = None,
        image: Any = None,
        *,
        pictures: Any = None,
        classifiers: Iterable[Classifier] | None = None,
        target: int | str | None = None,
        **options: Any,
    ) -> None:
        for name in options:
            if name not in OPTIONS:
                raise unknown("option of CamExplorer", name, OPTIONS)
        offered = Pictures()
        first = offered.offer(image, pictures)
        self._explained: tuple[Any, Explanation] | None = None
        super().__init__(offered, Networks([*given(classifier, "CamExplorer"), *(classifiers or ())]), **menus())
        self._begin(classifier, first)
        self.target = target
        for name, value in options.items():
            setattr(self, name, value)
        if "gradient" not in options:
            self.gradient = find_evidence(self.method).gradient
        self.on_msg(self._hear)
        self._ready = True
        self._submit()

    def __repr__(self) -> str:
        scene = self._shown
        if scene is None:
            return f"CamExplorer({self._status.get('text') or 'no picture yet'})"
        return f"CamExplorer({scene.name!r}, {self._answered_network()}, {_label(scene)!r}, {scene.method.title})"

    # ------------------------------------------------------------------ for scripts and notebooks

    def wait(self, timeout: float = 120) -> CamExplorer:
        """Block until the newest request was answered (or failed: see `error`); returns self.

        Raises `TimeoutError` after `timeout` seconds.
        """
        if not self._worker.wait(timeout):
            raise TimeoutError(f"the explorer was still busy after {timeout:g} s: {self._status.get('text', '')}")
        return self

    @property
    def explanation(self) -> Explanation:
        """The `Explanation` of the current view (all channels), from what is kept: no pass through the network."""
        self.wait()._check_there()
        return self._explanation(self._scene_now())

    def cancel(self) -> None:
        """Drop what is being worked on; the view stays as it is."""
        self._worker.cancel()
        self._revert()
        self._status = {"state": "idle"}

    def save(self, folder: str | Path) -> Path:
        """Write the current view's explanation (JSON, NPZ, PNG) to `folder`."""
        return self.explanation.save(folder)

    def export_html(self, path: str | Path | None = None) -> str:
        """The view as one HTML page that works without a kernel; written to `path` if given."""
        return written(page(self.wait()._scene_now(), self._view()), path)

    def close(self) -> None:
        """End the worker, free the graph, and close the widget."""
        if hasattr(self, "_worker"):
            self._worker.close()
            self._pipeline.close()
            self._shown = self._explained = None
        super().close()

    # ------------------------------------------------------------------ what follows from the view

    @t.observe(*VIEW)
    def _view_changed(self, change: Any) -> None:
        if self._ready and not self._muted:
            if change.name == "preset" and self.preset:
                plan = PRESETS[self.preset]
                self.gamma, self.scale, self.reduce = plan.gamma, plan.scale, plan.reduce
            self._derive()
            if change.name == "gradient":
                self._sign_follows = False
                self._draw_channel()

    @t.observe("channel_stage", "channel_rank")
    def _channel_changed(self, _: Any) -> None:
        if self._ready and not self._muted:
            self._draw_channel()

    def _derive(self) -> None:
        scene = self._shown
        if scene is None:
            return
        view = self._view()
        picture = self._answered.picture if self._answered else self.picture
        classifier = self.networks.code(self._answered_network())
        target = (scene.target, _label(scene))
        self.code = view_code(classifier, self.pictures[picture].code, scene.method, target, view)
        values = [scene.maps[view["gradient"], stage, False] for stage in view["stages"]]
        flat = all(float(m.max()) <= float(m.min()) for m in values)
        self.reason = (self._explanation(scene).reason or "") if flat else ""

    def _draw_channel(self) -> None:
        scene = self._shown
        if scene is None or not self.channel_stage:
            return
        about, values = scene.channel(self.channel_stage, self.channel_rank, self._view()["gradient"])
        key = f"{scene.number} {self.channel_stage} {about['channel']} {self._view()['gradient']}"
        with self._one_message():
            self._channel = {**about, "id": key, "scene": scene.number}
            self._channel_map = values.astype("<f4").tobytes()

    def _view(self) -> dict[str, Any]:
        """The view's traits as the method can take them: what the front end draws."""
        view = {name: getattr(self, name) for name in VIEW}
        scene = self._shown
        if scene is not None:
            view["stages"] = [s for s in scene.stages if s in self.stages] or scene.stages[-1:]
            view["gradient"] = self.gradient if self.gradient in scene.method.signs else scene.method.gradient
        return view

    def _explanation(self, scene: Scene) -> Explanation:
        view = self._view()
        made_from = [view[name] for name in ("stages", "gradient", "gamma", "scale", "reduce", "preset")]
        key = (scene.number, repr(made_from))
        if self._explained is None or self._explained[0] != key:
            plan = make_plan(self.gamma, self.scale, self.reduce, self.preset)
            made = explain_evidence(scene.evidence, scene.method.name, view["stages"], view["gradient"], plan)
            self._explained = (key, made)
        return self._explained[1]

    def _answered_network(self) -> str:
        return self._answered.network if self._answered else self.network

    def _scene_now(self) -> Scene:
        if self._shown is None:
            raise RuntimeError(self.error or "the explorer shows no picture yet; choose one with show(picture)")
        return self._shown

    # ------------------------------------------------------------------ messages from the front end

    def _act(self, content: dict[str, Any], buffers: list[Any]) -> None:
        kind = content.get("kind")
        if kind == "open":
            self._open(self.pictures.add_path(str(content["path"])))
        elif kind == "upload":
            self._open(self.pictures.add_upload(str(content["name"]), bytes(buffers[0])))
        elif kind == "offer":
            self.download()
        elif kind in ("cancel", "dismiss"):
            if kind == "cancel" or not self._worker.busy:
                self.cancel()
        elif kind == "save":
            self._send_file(str(content["what"]))

    def _forget(self, key: str) -> None:
        self._worker.cancel()
        self._pipeline.forget(key)

    def _send_file(self, what: str) -> None:
        scene = self._scene_now()
        ending, kind = FILES[what]
        self._status = {"state": "working", "text": f"writing the {ending.upper()} file …"}
        data = bundle_zip(self._explanation(scene)) if what == "bundle" else page(scene, self._view()).encode()
        self.send({"kind": "file", "name": file_name(scene, ending), "type": kind}, [data])
        self._status = {"state": "idle"}


def _label(scene: Scene) -> str:
    return scene.evidence.classifier.labels[scene.target]
