"""MethodComparison: the same picture and class, explained by many methods side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...classifiers.classifier import Classifier
from ...errors import unknown
from ...explanation import Explanation
from ...maps.catalogue import methods as catalogue
from ...maps.method import Method
from .. import assets
from ..page import written
from ..scene import palettes
from ..sources import Networks, Pictures
from ..subject import given
from . import export as comparison_export
from .cells import Cell, Given, Row
from .queue import Queue
from .traits import VIEW

if TYPE_CHECKING:
    import pandas as pd

# One of each family, none of them slow; those that the catalogue has.
FIRST = ("gradcam", "layercam", "groupcam", "lrp")
OPTIONS = (*VIEW, "patience", "steps")


class MethodComparison(Queue):
    """One picture, one network, one class: a grid of methods, plain and enhanced, with linked hover, zoom and cut-out.

    Args:
        classifier: a `Classifier`, or a name for `camwidgets.load`; None = the embedded network.
        image: what to look at first: a path, a PIL picture, an array; None = the first picture on offer.
        methods: names of `camwidgets.methods()`, Methods of your own, or pairs (name, {parameter: value}).
        target: class index or label; None = the top class. enhanced: also the sliding-window enhancement of each.
        pictures, classifiers: further ones to choose from, as for `CamExplorer`.
        options: `opacity`, `colormap`, `cut`, `share`, `zoom`, `columns`, `patience` … (see `ComparisonTraits`).

    Maps are made one after the other in a thread of their own, cheap ones first. One that would take longer than
    `patience` seconds says so after its first batch and waits for `run(…)`. `wait()` blocks until nothing runs.

    Example:
        >>> import camwidgets
        >>> comparison = camwidgets.MethodComparison("toy", methods=("gradcam", "layercam"))
        >>> list(comparison.wait().explanations)
        ['gradcam', 'layercam']
        >>> comparison.close()
    """

    _esm = assets.esm("comparison/comparison.js")
    _css = assets.css("comparison/comparison.css")

    def __init__(
        self,
        classifier: Classifier | str | None = None,
        image: Any = None,
        methods: Sequence[Given] | None = None,
        target: int | str | None = None,
        enhanced: bool = False,
        *,
        pictures: Any = None,
        classifiers: Iterable[Classifier] | None = None,
        **options: Any,
    ) -> None:
        for name in options:
            if name not in OPTIONS:
                raise unknown("option of MethodComparison", name, OPTIONS)
        offered = Pictures()
        first = offered.offer(image, pictures)
        known = Networks([*given(classifier, "MethodComparison"), *(classifiers or ())])
        asked = [name for name in FIRST if name in catalogue()] if methods is None else _several(methods)
        super().__init__(offered, known, asked, **palettes())
        self._begin(classifier, first)
        self.target, self.enhanced = target, enhanced
        for name, value in options.items():
            setattr(self, name, value)
        self.on_msg(self._hear)
        self._ready = True
        self._draw()
        self._submit()

    def __repr__(self) -> str:
        ground = self._ground
        if ground is None:
            return f"MethodComparison({self._status.get('text') or 'no picture yet'})"
        states = [cell.state for cell in self._shown]
        ready = f"{states.count('done')} of {len(states)} maps"
        return f"MethodComparison({ground.name!r}, {ground.classifier.name}, {ground.label!r}, {ready})"

    # ------------------------------------------------------------------ for scripts and notebooks

    def wait(self, timeout: float = 600) -> MethodComparison:
        """Block until nothing runs or waits any more; returns self. Raises `TimeoutError` after `timeout` seconds."""
        if not self._worker.wait(timeout):
            raise TimeoutError(f"the comparison was still busy after {timeout:g} s: {self!r}")
        return self

    @property
    def explanations(self) -> dict[str, Explanation]:
        """The maps that are done, by name: "gradcam", "gradcam enhanced"; a second Grad-CAM is "gradcam (2)"."""
        self._check_there()
        with self._worker.lock:
            names = self._names()
            return {names[cell.id]: cell.explanation for cell in self._shown if cell.explanation is not None}

    def to_frame(self) -> pd.DataFrame:
        """One row per map: state, seconds, passes, areas under its curves (NaN where they were not asked for)."""
        import pandas as pd

        with self._worker.lock:
            names, cells = self._names(), self._shown
        columns = ["state", "seconds", "forward", "backward", "insertion", "deletion", "text"]
        return pd.DataFrame([_table_row(cell) for cell in cells], [names[cell.id] for cell in cells], columns)

    def add(self, method: str | Method, **parameters: Any) -> MethodComparison:
        """Add a method as the last row; returns self. A name or parameter that is not known raises a ValueError."""
        with self._worker.lock:
            self._new_row((method, parameters))
            self._go_on()
        return self

    def remove(self, name: str) -> MethodComparison:
        """Take a method out of the grid, by its name in `explanations` or in the catalogue; returns self."""
        with self._worker.lock:
            self._drop_row(self._row_of(name))
            self._go_on()
        return self

    def run(self, name: str) -> MethodComparison:
        """Make a map that was cancelled, failed, or asked first because it takes long; returns self."""
        with self._worker.lock:
            cell = self._found(name)
            cell.restart("unchecked")
            cell.patient = True
            self._go_on()
        return self

    def curves(self, name: str | None = None) -> MethodComparison:
        """Make insertion and deletion curves of one map, or of all that are done; returns self."""
        with self._worker.lock:
            for cell in self._shown if name is None else [self._found(name)]:
                if cell.curve_state in ("", "failed") and cell.state in ("unchecked", "waiting", "working", "done"):
                    cell.curve_state = "waiting"
            self._go_on()
        return self

    def save(self, folder: str | Path) -> Path:
        """Write the maps that are done, a folder each, and `sheet.png`, `comparison.html`, `code.py`, `table.csv`."""
        return comparison_export.save(self, folder)

    def export_html(self, path: str | Path | None = None) -> str:
        """The comparison as one HTML page whose hover, zoom and cut-out work without a kernel; written to `path`."""
        return written(comparison_export.page(self), path)

    def close(self) -> None:
        """End the worker and close the widget."""
        if hasattr(self, "_worker"):
            self._worker.close()
            self._ground = None
            self._all.clear()
        super().close()

    # ------------------------------------------------------------------ messages from the front end

    def _act(self, content: dict[str, Any], buffers: list[Any]) -> None:
        kind, key = content.get("kind"), str(content.get("cell", ""))
        if kind == "open":
            self._open(self.pictures.add_path(str(content["path"])))
        elif kind == "upload":
            self._open(self.pictures.add_upload(str(content["name"]), bytes(buffers[0])))
        elif kind == "offer":
            self.download()
        elif kind in ("cancel", "dismiss") and not key:
            self.cancel() if kind == "cancel" else self._dismiss()
        elif kind == "cancel":
            self._cancel_cell(self._found(key))
        elif kind == "run":
            self.run(key)
        elif kind == "curves":
            self.curves(key or None)
        elif kind == "add":
            self.add(str(content["method"]), **dict(content.get("parameters") or {}))
        elif kind == "remove":
            self._remove_row(str(content["row"]))
        elif kind == "set":
            self._set(self._row(str(content["row"])), content["parameters"], bool(content.get("keep")))
        elif kind == "save":
            self._send_file(str(content["what"]))

    def _dismiss(self) -> None:
        with self._worker.lock:
            if self._status["state"] in ("error", "offer"):
                self._revert()
                self._status = {"state": "idle"}

    def _cancel_cell(self, cell: Cell) -> None:
        with self._worker.lock, self._one_message():
            if cell.curve_state in ("waiting", "working"):
                cell.attempt += 1
                cell.forget_curves()
            elif cell.state in ("unchecked", "waiting", "working"):
                cell.stop("cancelled", "Cancelled.")
            if self._progress.get("cell") == cell.id:
                self._progress = {}
            self._go_on()

    def _set(self, one: Row, parameters: Mapping[str, Any], keep: bool) -> None:
        """Other parameters for a row: its maps are made anew; with `keep`, later comparisons begin with them."""
        checked = one.method.check(dict(parameters))
        with self._worker.lock, self._one_message():
            one.given = checked
            for cell in self._all.values():
                if cell.row is one:
                    cell.restart("unchecked")
                    cell.parameters, cell.patient = checked, False
                    self._give_back(cell)
            if keep:
                self._keep(self._cell(one, enhanced=False))
            self._go_on()

    def _row(self, key: str) -> Row:
        for one in self._rows:
            if one.key == key:
                return one
        raise unknown("row", key, [one.key for one in self._rows])

    def _row_of(self, name: str) -> Row:
        try:
            return self._found(name).row
        except ValueError:
            found = [one for one in self._rows if one.method.name == name]
            if not found:
                raise
            return found[-1]

    def _remove_row(self, key: str) -> None:
        with self._worker.lock, self._one_message():
            self._drop_row(self._row(key))
            self._go_on()

    def _forget(self, key: str) -> None:
        self._answered = None

    def _send_file(self, what: str) -> None:
        ending, kind = comparison_export.FILES[what]
        self._status = {"state": "working", "text": f"writing the {ending.upper()} file …"}
        try:
            data = comparison_export.made(self, what)
        finally:
            self._status = {"state": "idle"}
        self.send({"kind": "file", "name": comparison_export.file_name(self, ending), "type": kind}, [data])


def _several(methods: Sequence[Given]) -> list[Given]:
    if isinstance(methods, (str, Method)):
        raise TypeError(f"methods is a list of names or Methods, such as ('gradcam', 'layercam'); got {methods!r}")
    return list(methods)


def _table_row(cell: Cell) -> list[Any]:
    passes = cell.explanation.made_by.get("passes", {}) if cell.explanation else {}
    areas = [cell.curves[name].auc if name in cell.curves else float("nan") for name in ("insertion", "deletion")]
    seconds = cell.seconds if cell.explanation else float("nan")
    return [cell.state, seconds, passes.get("forward", 0), passes.get("backward", 0), *areas, cell.text]
