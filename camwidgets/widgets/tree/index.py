"""Indexing pictures from the side panel, and looking into the selected channel: after the tree, never before it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ...classifiers.registry import TOYS
from ...decomposition.channels import what_it_sees
from ...decomposition.patches import DatasetIndex, PatchIndex, index_of
from ..speaking import sentence
from ..worker import Superseded, Ticket, Worker
from .filing import TreeFiling
from .sight import PATCHES, problem_state, sight_state
from .work import Shown

GRACE = 0.12  # s that the browser gets to draw the tree in, before the machine is busy with something else
KEPT = 64  # nodes whose sight is kept: a click back shows it at once
SCENES = 300  # of the toy world or of textures, for the networks that know nothing else


class TreeIndexing(TreeFiling):
    """The part of `TreeExplorer` that answers "what does this channel see?"."""

    side: Any
    _index: PatchIndex | None = None
    _indexer: Worker[PatchIndex]

    # ------------------------------------------------------------------ the index

    @property
    def index(self) -> PatchIndex | None:
        """The index whose patches are shown, or None."""
        return self._index

    def build_index(self, source: Any = None) -> None:
        """Index pictures in the background: a folder, a sequence of pictures, an index; None = the built-in pictures.

        What was built of a folder stays on disk; building again goes on where it stopped.
        """
        index = self._built_in() if source is None else index_of(self.classifier, source)
        self._tell_index("building", f"looking at {index.name} …")
        self._indexer.submit(index)

    def wait_index(self, timeout: float = 600) -> Any:
        """Block until the index is built (or cancelled, or failed) and the selected channel was looked at."""
        if not self._indexer.wait(timeout):
            raise TimeoutError(f"the index was still being built after {timeout:g} s: {self.side.index.get('text')}")
        mine: Any = self
        return mine.wait(timeout)

    def _built_in(self) -> PatchIndex:
        if self.classifier.name == "defects":
            from ...datasets.textures import TextureWorld

            return DatasetIndex(self.classifier, TextureWorld(seed=701, n=SCENES), f"{SCENES} textures")
        if self.classifier.name in TOYS:
            from ...datasets.toyworld import ToyWorld

            return DatasetIndex(self.classifier, ToyWorld(seed=701, n=SCENES), f"{SCENES} toy scenes")
        from ... import samples

        return DatasetIndex(self.classifier, [samples.picture(name) for name in samples.names()], "built-in pictures")

    def _hear_index(self, content: dict[str, Any]) -> None:
        what = str(content.get("what"))
        if what == "cancel":
            self._cancel_index()
        elif what == "again" and self._index is not None:
            self.build_index(self._index)
        else:
            self.build_index(str(content["path"]) if what == "folder" else None)

    def _cancel_index(self) -> None:
        if self._indexer.cancel():
            kept = "" if self._index is None else f" {len(self._index)} pictures are in it; what was done is kept."
            self._tell_index("paused" if self._index is not None else "none", f"Stopped.{kept}")

    def _do_index(self, index: PatchIndex, ticket: Ticket) -> None:
        def progress(done: int, total: int) -> None:
            with self._worker.lock:
                if not ticket.dropped:
                    self._tell_index("building", f"{done} of {total} pictures", done / total)

        try:
            with self._worker.lock:
                ticket.check()
                self._index = index  # what is in it is of use from the first picture on
            index.build(progress, lambda: ticket.dropped)
            with self._worker.lock:
                ticket.check()
                broken = len(index.broken())
                note = f", {broken} could not be read" if broken else ""
                self._tell_index("ready", f"{len(index)} pictures indexed: {index.name}{note}")
        except Superseded:
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, the user reads it in the panel
            with self._worker.lock:
                if not ticket.dropped:
                    self._index = None
                    self._tell_index("error", sentence(error))
            return
        finally:
            with self._worker.lock:
                if self._shown is not None:
                    self._shown.sights.clear()
        self._submit(self._want(self.opened))

    def _tell_index(self, state: str, text: str, done: float = 0.0) -> None:
        self.side.index = {"state": state, "text": text, "done": round(done, 3)}

    def _begin_index(self, source: Any) -> None:
        """What was given as `index=`."""
        if source is None:
            self._tell_index("none", "")
        elif isinstance(source, PatchIndex) and not source.missing():
            self._index = index_of(self.classifier, source)
            self._tell_index("ready", f"{len(source)} pictures indexed: {source.name}")
        else:
            self.build_index(Path(source) if isinstance(source, str) else source)

    # ------------------------------------------------------------------ the selected channel

    def _see(self, shown: Shown, ticket: Ticket) -> None:
        """In the worker's thread, after the tree: what the selected channel sees."""
        node = shown.tree.node(shown.want.selected)
        if node.parent is None:
            state: dict[str, Any] = {"id": node.id}
        elif node.id in shown.sights:
            state = shown.sights[node.id]
        else:
            if self.side.room:  # a page is looking on: it draws the tree first
                time.sleep(GRACE)
                ticket.check()
            try:
                state = sight_of(shown, node.id, self._index)
            except (ValueError, RuntimeError, MemoryError) as error:
                state = problem_state(node.id, sentence(error))
        with self._worker.lock:
            ticket.check()
            if len(shown.sights) >= KEPT:
                shown.sights.pop(next(iter(shown.sights)))
            shown.sights[node.id] = state
            self.side.seen = state

    def _sight(self, shown: Shown, number: int) -> dict[str, Any]:
        return shown.sights.get(number) or sight_of(shown, number, self._index)


def sight_of(shown: Shown, number: int, index: PatchIndex | None) -> dict[str, Any]:
    """What one node's channel sees, as the panel shows it."""
    filled = index if index is not None and len(index) else None
    return sight_state(number, what_it_sees(shown.tree, number, filled, PATCHES), filled)
