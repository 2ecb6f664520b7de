"""FailureExplorer: from what a classifier gets wrong to a cause, and to a check of that cause, by hand."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...classifiers.classifier import Classifier
from ...classifiers.registry import TOYS, load
from ...datasets import open_dataset
from ...decomposition.diff import TreeDiff
from ...errors import unknown
from ...investigate.blame import Blame
from ...investigate.edit import Edit, Effect
from ...investigate.failures import FailureTable
from .. import assets
from ..subject import given
from ..worker import Ticket
from .record import FailureRecord, opened_table
from .traits import VIEW

SHOWCASE = 120  # scenes of the toy world that are offered where there is no data set


class FailureExplorer(FailureRecord):
    """What is misclassified → one failure → the channels to blame → a change by hand and the new prediction at once.

    Args:
        classifier: a `Classifier`, or a name for `camwidgets.load`; None = the toy that learned shortcuts.
        dataset: pictures with labels, as for `camwidgets.failures`, or what `open_dataset` takes (a folder, a CSV …).
        table: a `FailureTable` that is there already, in place of a data set.
        options: `limit`, `sort`, `stage`, `tool`, `action`, `colour`, `radius` … (see `FailureTraits`).

    The table is made in a thread of its own; `wait()` blocks until nothing runs. Changes are made at once, their effect
    is computed beside. The network is never changed: channels are switched off in a pass, not in the module.

    Example:
        >>> import camwidgets
        >>> from camwidgets.datasets.toyworld import ToyWorld
        >>> from camwidgets.investigate import Edit, Region
        >>> explorer = camwidgets.FailureExplorer("toy-shortcut", ToyWorld(seed=5, n=16, context="swap"))
        >>> explorer.wait().choose(explorer.table.failures[0].number).wait().diff.stages
        ('S5', 'S4')
        >>> explorer.edit(Edit("paint", Region.box(0, 0, 40, 40))).wait().effect.changed > 0.1
        True
        >>> explorer.close()
    """

    _esm = assets.esm("failure/failure.js")
    _css = assets.css("failure/failure.css")

    def __init__(
        self,
        classifier: Classifier | str | None = None,
        dataset: Any = None,
        *,
        table: FailureTable | None = None,
        **options: Any,
    ) -> None:
        for name in options:
            if name not in VIEW:
                raise unknown("option of FailureExplorer", name, VIEW)
        if dataset is not None and table is not None:
            raise ValueError("give a data set or a table of failures, not both")
        if isinstance(dataset, (str, os.PathLike)):
            dataset = open_dataset(dataset)
        known = given(classifier, "FailureExplorer")
        network = known[0] if known else load(classifier if isinstance(classifier, str) else "toy-shortcut")
        if table is not None and table.made_by.get("weights_sha256", network.weights_hash()) != network.weights_hash():
            raise ValueError(f"the table was made with {table.made_by.get('model')!r}, not with {network.name}")
        super().__init__(network, dataset, None, **options)
        self._about = {"model": network.name, "labels": len(network.labels), "toy": network.name in TOYS}
        self.on_msg(self._hear)
        self._ready = True
        if table is not None:
            self._set_table(table)
        elif dataset is not None:
            self.run()

    def __repr__(self) -> str:
        found = "no data set" if self._made is None else f"{len(self._made)} failures"
        return f"FailureExplorer({self.classifier.name}, {found}, picture {self.chosen!r})"

    # ------------------------------------------------------------------ for scripts and notebooks

    def run(self) -> FailureExplorer:
        """Look at every picture (at most `limit`), in a thread of its own; returns self."""
        self._make_table(self.dataset)
        return self

    def cancel(self, what: str = "table") -> FailureExplorer:
        """Break off the "table" (what was looked at so far is kept), the "groups" or the "index" of patches."""
        self._cancel(what)
        return self

    def group_failures(self) -> FailureExplorer:
        """Find the channels that failures share, in a thread of its own; `table.groups` has them. Returns self."""
        self._make_groups()
        return self

    def wait(self, timeout: float = 600) -> FailureExplorer:
        """Block until nothing runs any more; returns self. Raises `TimeoutError` after `timeout` seconds."""
        end = time.monotonic() + timeout
        while any(worker.busy for worker in self._workers.values()):
            for worker in self._workers.values():
                if not worker.wait(max(0.0, end - time.monotonic())):
                    raise TimeoutError(f"the explorer was still busy after {timeout:g} s: {self!r}")
        return self

    @property
    def steps(self) -> list[str]:
        """What was done to the chosen picture, in words, from "the picture as it was" on; undone steps are last."""
        return [step["text"] for step in self._log]

    @property
    def table(self) -> FailureTable | None:
        """Every decision, once it is made."""
        return self._made

    def choose(self, number: int) -> FailureExplorer:
        """Open a picture by its number in the data set, or try it again if it could not be opened; returns self."""
        self.chosen = int(number)
        return self

    @property
    def diff(self) -> TreeDiff | None:
        """From the tree of the right class to that of the class it was taken for, once it is known."""
        return self._diff_now()

    @property
    def blame(self) -> dict[str, list[Blame]]:
        """Stage → the channels that speak for the wrong class and not for the right one, the worst first."""
        return {} if self._open is None or self._open.blames is None else dict(self._open.blames)

    def edit(self, edit: Edit) -> FailureExplorer:
        """Change the picture, or switch a channel; returns self."""
        self._do(lambda edits: edits.do(edit))
        return self

    def switch_off(self, tap: str, channel: int | Sequence[int]) -> FailureExplorer:
        """Set a channel of the network, or several, to zero for this picture; returns self."""
        self._do(lambda edits: edits.switch_off(tap, channel))
        return self

    def switch_on(self, tap: str, channel: int | Sequence[int]) -> FailureExplorer:
        """Leave channels as they are again; returns self."""
        self._do(lambda edits: edits.switch_on(tap, channel))
        return self

    def undo(self) -> FailureExplorer:
        """Take the last change back; returns self."""
        self._do(lambda edits: edits.undo())
        return self

    def redo(self) -> FailureExplorer:
        """Make the change again that was taken back last; returns self."""
        self._do(lambda edits: edits.redo())
        return self

    def go(self, step: int) -> FailureExplorer:
        """Back (or forth) to a step of the log; 0 = the picture as it was. Returns self."""
        self._do(lambda edits: edits.go(step))
        return self

    @property
    def effect(self) -> Effect | None:
        """What the changes in force did to the class scores."""
        with self._lock:
            edits = None if self._open is None else self._case_or_raise().edits.copy()
        return None if edits is None else edits.effect()

    @classmethod
    def replay(
        cls, log: Mapping[str, Any], classifier: Classifier | str, dataset: Any, **options: Any
    ) -> FailureExplorer:
        """A new explorer in which everything is done again that a log says; pictures are checked by their hashes.

        Raises:
            ValueError: no such log, or one of another network. What does not fit a picture is said when it is opened.
        """
        explorer = cls(classifier, dataset, **options)
        explorer._begin_with(dict(log))
        return explorer

    @classmethod
    def from_bundle(cls, path: str | Path, classifier: Classifier | str | None = None) -> FailureExplorer:
        """A new explorer from a bundle that `save_bundle` wrote: as it was left, with no need of the data set.

        Every file is checked by its hash and nothing in it is run; `check()` makes its figures again and compares.

        Raises:
            FileNotFoundError, ValueError: no bundle, a damaged or hostile one, or one of another network.
        """
        network = load(classifier) if isinstance(classifier, str) else classifier
        network, table, bundle = opened_table(path, network)
        explorer = cls(network)
        explorer._bundle = bundle
        if table is not None:
            explorer._set_table(table)
        explorer._begin_with(bundle.config["log"])
        return explorer

    def close(self) -> None:
        """End the threads and close the widget."""
        if hasattr(self, "_workers"):
            for worker in self._workers.values():
                worker.close()
            self._live.clear()
            self._kept.clear()
            self._small.clear()
            self._open = self._index = self._bundle = None
        super().close()

    # ------------------------------------------------------------------ messages from the front end

    def _begin_with(self, log: dict[str, Any]) -> None:
        self._take_up(log)
        if log["chosen"] is not None:
            self.choose(log["chosen"])

    def _act(self, content: dict[str, Any], buffers: list[Any]) -> None:
        kind = str(content.get("kind"))
        if kind == "edit":
            edit = self._edit_of(content)
            self._do(lambda edits: edits.do(edit))
        elif kind == "preview":
            self._preview(content)
        elif kind == "switch":
            switch = self.switch_on if content.get("on") else self.switch_off
            switch(str(content["stage"]), [int(k) for k in content["channels"]])
        elif kind in ("undo", "redo"):
            self.undo() if kind == "undo" else self.redo()
        elif kind == "go":
            self.go(int(content["step"]))
        elif kind == "retry":
            self._try_again()
        elif kind == "trees":
            self._show_trees(str(content["what"]), content.get("target"))
        elif kind == "patch":
            self._take_patch(int(content["at"]))
        elif kind == "cancel":
            self.cancel(str(content["what"]))
        elif kind == "dismiss":
            self._forget()
        else:
            self._ask(kind, content)

    def _ask(self, kind: str, content: dict[str, Any]) -> None:
        """What takes longer."""
        if kind == "run":
            self.run()
        elif kind == "groups":
            self.group_failures()
        elif kind == "index":
            self._make_index()
        elif kind == "open":
            self._look_at(open_dataset(str(content["path"]).strip()))
        elif kind == "showcase":
            from ...datasets.toyworld import ToyWorld

            self._look_at(ToyWorld(seed=5, n=SHOWCASE, context="swap"))
        elif kind == "save":
            self._start("file", self._send_bundle)

    def _look_at(self, dataset: Sequence[Any]) -> None:
        """Another data set."""
        with self._lock:
            self._make_table(dataset)  # may refuse; shows nothing as long as the lock is held
            self.dataset, self._bundle = dataset, None
            self._put_away()

    def _take_patch(self, at: int) -> None:
        with self._lock:
            if not 0 <= at < len(self._sights):
                raise ValueError(f"there is no patch {at} on screen")
            self._patch = self._sights[at]
            self.tool = "paste"
            h, w = self._patch.shape[:2]
            self._patches = {**self._patches, "taken": at, "size": [w, h]}

    def _send_bundle(self, ticket: Ticket) -> None:
        with self._show(ticket):
            self._status = {"state": "working", "text": "writing the bundle …"}
        with tempfile.TemporaryDirectory(prefix="camwidgets-") as folder:
            data = self.save_bundle(Path(folder) / "failures.zip").read_bytes()
        with self._show(ticket):
            self._status = {"state": "told", "text": "The bundle is written."}
        self.send({"kind": "file", "name": f"failures-{self.classifier.name}.zip", "type": "application/zip"}, [data])
