"""TreeExplorer: why did the classifier decide so? Its decision as a tree of channels, taken apart by hand."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ipywidgets

from ...classifiers.classifier import Classifier
from ...classifiers.registry import EMBEDDED, load
from ...decomposition.ablation import Ablation
from ...decomposition.naming import Dissection, shipped
from ...decomposition.patches import PatchIndex
from ...decomposition.tree import Decomposition
from ...figures.layout import Layout, arrange
from ...figures.tree import DARK, LIGHT, Palette, View, draw
from ..page import written
from ..sources import Pictures, embedded
from ..subject import given
from ..worker import Worker
from .canvas import TreeCanvas
from .code import tree_code
from .export import export
from .index import TreeIndexing
from .panel import TreePanel
from .telling import Telling
from .traits import SETTINGS
from .view import drawn_words, removed_label, side_state, title, without_words
from .work import Shown, TreeMaker, Want

WIDTHS = (640, 1040)  # px: narrower, labels would touch; wider, parents and children part


class TreeExplorer(TreeIndexing):
    """A decision as a tree: click to expand, shift-click to remove a channel and see what really happens.

    Args:
        classifier: a `Classifier`, or a name for `camwidgets.load`; None = the embedded network.
        image: a path, a PIL picture, an array; None = the first picture on offer. target: class; None = the top class.
        top: children per node. pictures: further pictures: a folder, a list, or a dict name → picture.
        means: tap → K data-set means (see `channel_means`), which offers removal="mean".
        index: pictures whose patches show what a channel responds to: a folder, a sequence of pictures, a `PatchIndex`;
            built in the background. names: a `Dissection` of this network; None = what comes with a toy network.
        options: `depth`, `conditional`, `sign`, `merge`, `removal`, `beside` (see `TreeTraits`).

    The network runs in a thread of its own; only the newest request is answered. `wait()` blocks until it has been.

    Example:
        >>> import camwidgets
        >>> explorer = camwidgets.TreeExplorer(image=camwidgets.samples.picture("cat"))
        >>> explorer.wait().tree.label
        'tiger cat'
        >>> explorer.close()
    """

    def __init__(
        self,
        classifier: Classifier | str | None = None,
        image: Any = None,
        target: int | str | None = None,
        top: int = 3,
        *,
        pictures: Any = None,
        means: Mapping[Any, Any] | None = None,
        index: Any = None,
        names: Dissection | None = None,
        inner: bool = False,
        **options: Any,
    ) -> None:
        given(classifier, "TreeExplorer")
        self._ready, self._local, self._inner, self._telling = False, threading.local(), inner, Telling()
        self.classifier = classifier if isinstance(classifier, Classifier) else load(classifier or EMBEDDED)
        shared = isinstance(pictures, Pictures)  # with the tree that this one stands beside
        self.pictures = pictures if shared else Pictures()
        first = image if shared else self.pictures.offer(image, pictures)
        names = names or shipped(self.classifier)
        if names is not None:
            names.check(self.classifier.weights_hash(), self.classifier.name)
        self._maker = TreeMaker(self.classifier, self.pictures, means, names)
        self._worker: Worker[Want] = Worker(self._work, "camwidgets-tree")
        self._filer: Worker[None] = Worker(self._write_files, "camwidgets-tree")
        self._files: list[tuple[str, Shown]] = []
        self._indexer: Worker[PatchIndex] = Worker(self._do_index, "camwidgets-tree")
        self._shown: Shown | None = None
        self._layout: Layout | None = None
        self._palette, self._width = LIGHT, 744.0
        self.head, self.side = TreePanel(role="head"), TreePanel(role="side")
        self._canvas = TreeCanvas(_empty(self._palette, self._width), self._click)
        frame = ipywidgets.Box([self._canvas.widget]).add_class("cw-tree-frame")
        body = ipywidgets.HBox([frame, self.side]).add_class("cw-tree-body")
        super().__init__([self.head, body])
        self.add_class("cw-tree")
        self.picture = first
        self.target, self.top = target, top
        for name, value in options.items():
            self._check_option(name)
            setattr(self, name, value)
        for panel in (self.head, self.side):
            panel.on_msg(self._hear)
        self.head.observe(self._themed, ["dark", "paper"])
        self.side.observe(self._themed, "room")
        self.head.labels = list(self.classifier.labels)
        self._ready = True
        self._begin_index(index)
        self._tell_head({"state": "working", "text": "waiting for the network …"})
        self._submit(self._want(None))

    def __repr__(self) -> str:
        shown = self._shown
        return f"TreeExplorer({shown.tree!r})" if shown else f"TreeExplorer({self.error or 'no tree yet'})"

    # ------------------------------------------------------------------ for scripts and notebooks

    def wait(self, timeout: float = 300) -> TreeExplorer:
        """Block until the newest request was answered (or failed: see `error`); returns self."""
        if not (self._worker.wait(timeout) and self._filer.wait(timeout)):
            raise TimeoutError(f"the tree explorer was still busy after {timeout:g} s: {self.head.status.get('text')}")
        return self

    @property
    def error(self) -> str | None:
        """What went wrong with the newest request or act, in one sentence, or None."""
        problem = self._telling.problem
        return problem["text"] if problem else None

    @property
    def tree(self) -> Decomposition:
        """The `Decomposition` on screen."""
        return self.wait()._now().tree

    @property
    def ablation(self) -> Ablation | None:
        """What removing everything that is crossed out does, or None."""
        return self.wait()._now().joint

    @property
    def figure(self) -> Any:
        """The Plotly `FigureWidget` of the tree."""
        return self._canvas.widget

    def show(self, image: Any, name: str = "") -> TreeExplorer:
        """Take another picture apart: a path, a PIL picture or an array; returns self."""
        key = self.pictures.add(image, name)
        if self.picture != key:
            self.picture = key
            return self
        with self._worker.lock:  # another picture of the same name
            self._say(lambda told: told.forget())
            with self._muted():
                self.target = None
            self._submit(self._want(None))
            if self._second is not None:
                self._second._submit(self._second._want(None))
        return self

    def save(self, folder: str | Path) -> Path:
        """Write the tree to a folder: JSON, NPZ, GraphML, the picture, and `tree.svg` as drawn."""
        shown = self.wait()._now()
        with self._maker.growing:
            target = Path(shown.tree.save(folder))
        (target / "tree.svg").write_bytes(export("svg", shown, self._maker, lambda _: None, self._sight)[0])
        return target

    def export_html(self, path: str | Path | None = None) -> str:
        """The whole tree as one HTML page in which nodes expand without a kernel; written to `path` if given."""
        return written(export("html", self.wait()._now(), self._maker, lambda _: None, self._sight)[0].decode(), path)

    def close(self) -> None:
        """End the worker, free the graph, and close the widgets."""
        if hasattr(self, "_worker"):
            self._end()
            for worker in (self._indexer, self._worker, self._filer):
                worker.close()
        super().close()

    def _end(self) -> None:
        """Close, and wait for nobody: a pass that runs is not torn apart, what it holds is freed when it ends."""
        with self._worker.lock:
            self._ended, self._shown = True, None
            for worker in (self._indexer, self._worker, self._filer):
                worker._shut()
            if not self._at_work:
                self._maker.close()
        if self._second is not None:
            self._second._end()
        for part in (self.head, self.side, self._canvas.widget):
            part.close()
        super().close()

    # ------------------------------------------------------------------ what is shown

    def _apply(self, shown: Shown) -> None:
        self._shown, want = shown, shown.want
        self._take_over(want)
        node = shown.tree.node(want.selected)
        self.side.focus = [node.id, list(node.children)]
        self._redraw()  # before the facts: the hand waits for the tree
        self.side.state = side_state(shown, node)
        self.code = tree_code(self._classifier_code(), self.pictures[want.picture].code, shown)
        self._draw_head()

    def _redraw(self) -> None:
        shown = self._shown
        if shown is None:
            return
        want, tree = shown.want, shown.tree
        labels = {i: removed_label(tree.nodes[i], shown.single[i]) for i in want.removed}
        view = View(want.opened, want.selected, labels, self._palette, self._width)
        self._layout = arrange(tree, set(want.opened or ()), self._width)
        self._canvas.draw(draw(tree, view, self._layout, shown.thumbs))

    def _draw_head(self) -> None:
        shown = self._shown
        if shown is None or self._layout is None:
            return
        self.head.state = {
            **title(shown.tree), "classes": shown.top5, "pictures": self.pictures.options(), "inner": self._inner,
            "depths": len(shown.tree.stages), "means": bool(self._maker.means), "code": self.code,
            "drawn": drawn_words(self._layout, shown), "without": without_words(shown.joint),
            "values": {name: getattr(self, name) for name in (*SETTINGS, "removal", "beside")},
        }  # fmt: skip

    def _themed(self, _: Any) -> None:
        base = DARK if self.head.dark else LIGHT
        paper = self.head.paper or base.paper
        with self._worker.lock:
            if self.side.room:
                self._width = float(min(max(self.side.room, WIDTHS[0]), WIDTHS[1]))
            self._palette = Palette(base.ink, base.quiet, base.line, base.accent, base.gone, paper)
            self._redraw()

    def _classifier_code(self) -> str:
        name = self.classifier.name
        return f"classifier = camwidgets.load({name!r})" if name in embedded() else f"# classifier: {name!r}, as given"

    def _now(self) -> Shown:
        if self._shown is None:
            raise RuntimeError(self.error or "the tree explorer shows no tree yet; choose a picture with show(picture)")
        return self._shown


def _empty(palette: Palette, width: float) -> dict[str, Any]:
    trace = {"type": "scatter", "x": [], "y": [], "mode": "markers+text", "customdata": [], "hoverinfo": "none"}
    layout = {"width": width, "height": 600, "margin": {"l": 0, "r": 0, "t": 0, "b": 0}}
    axes = {"xaxis": {"visible": False}, "yaxis": {"visible": False}}
    return {
        "data": [trace],
        "layout": {**layout, **axes, "paper_bgcolor": palette.paper, "plot_bgcolor": palette.paper},
    }
