"""What a person may do with a tree explorer: clicks, keys, buttons, and a second class beside the first."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import traitlets as t

from ...errors import unknown
from ...figures.layout import Layout
from .traits import SETTINGS, TreeTraits
from .work import Shown

if TYPE_CHECKING:
    from .explorer import TreeExplorer

OPTIONS = ("depth", "conditional", "sign", "merge", "removal", "beside")
FOLLOWED = ("picture", "top", "depth", "conditional", "sign", "merge", "removal")


class TreeActs(TreeTraits):
    """The part of `TreeExplorer` that listens. Acts change traits; what follows from them is the explorer's."""

    _shown: Shown | None
    _layout: Layout | None
    _second: TreeExplorer | None = None
    children: Any

    # ------------------------------------------------------------------ acts

    def select(self, number: int) -> None:
        """Select a node: its path from the class lights up, its facts stand beside the tree."""
        self.selected = self._node(number)

    def expand(self, number: int) -> None:
        """Show what supports a node."""
        self._look(opened=tuple(sorted({*self.opened, self._node(number)})), selected=number)

    def collapse(self, number: int) -> None:
        """Fold what is below a node."""
        self._look(opened=tuple(i for i in self.opened if i != self._node(number)), selected=number)

    def remove(self, number: int) -> None:
        """Take the node's channel out of the network and see what really happens."""
        if number == 0:
            raise ValueError("the root is the class itself; remove one of the channels below it")
        if self._node(number) not in self.removed:
            self._look(removed=(*self.removed, number), selected=number)

    def restore(self, number: int | None = None) -> None:
        """Put a removed channel back; None = all of them."""
        self._look(removed=() if number is None else tuple(i for i in self.removed if i != number))

    def click(self, number: int, shift: bool = False) -> None:
        """As a click on a node does: select and expand, or fold if it was selected; with shift, remove or put back."""
        if shift and number != 0:
            self.restore(number) if number in self.removed else self.remove(number)
        elif number not in self.opened and self._opens(number):
            self.expand(number)
        elif number in self.opened and number == self.selected:
            self.collapse(number)
        else:
            self.select(number)

    def move(self, where: str) -> None:
        """Select the neighbour: "left" (parent), "right" (child, expanding), "up", "down" (same stage)."""
        layout = self._layout
        if layout is None or self.selected not in layout.places:
            return
        here = layout.places[self.selected]
        if where == "left":
            self.select(here.node.parent or 0)
        elif where == "right":
            self._move_right(layout)
        else:
            sign = 1 if where == "down" else -1
            column = [p for p in layout.places.values() if p.node.stage == here.node.stage]
            beyond = [p for p in column if (p.y - here.y) * sign > 0]
            if beyond:
                self.select(min(beyond, key=lambda p: abs(p.y - here.y)).node.id)

    # ------------------------------------------------------------------ helpers

    def _look(self, **changes: Any) -> None:
        """Change several traits of the view at once: one request."""
        assert self._shown is not None
        with self._worker.lock:
            self._say(lambda told: told.forget())
            with self._muted():
                for name, value in changes.items():
                    setattr(self, name, value)
            self._submit(self._want(self.opened))

    def _move_right(self, layout: Layout) -> None:
        below = [i for i in layout.places[self.selected].node.children if i in layout.places]
        if below and self.selected in self.opened:
            self.select(below[0])
        elif self._opens(self.selected):
            self.expand(self.selected)

    def _node(self, number: int) -> int:
        if self._shown is None:
            raise RuntimeError("the tree explorer shows no tree yet")
        return self._shown.tree.node(number).id

    def _opens(self, number: int) -> bool:
        from ...figures.tree import expandable

        assert self._shown is not None
        node = self._shown.tree.node(number)
        return bool(node.children) or expandable(node, self._shown.tree)

    def _click(self, number: int, shift: bool) -> None:
        self._safely(lambda: self.click(number, shift))

    def _safely(self, act: Any) -> None:
        try:
            self._say(lambda told: told.forget())
            act()
        except Exception as error:  # noqa: BLE001 - JupyterLab hides errors in callbacks; the widget shows them
            self._refuse(error)

    # ------------------------------------------------------------------ messages

    def _hear(self, _: Any, content: dict[str, Any], __: Any) -> None:
        self._safely(lambda: self._act(content))

    def _act(self, content: dict[str, Any]) -> None:
        kind = content.get("kind")
        if kind == "set":
            name = str(content["name"])
            if name not in (*SETTINGS, "removal", "beside"):
                raise unknown("setting", name, (*SETTINGS, "removal", "beside"))
            setattr(self, name, content["value"])
        elif kind == "do":
            self._do(str(content["what"]))
        elif kind == "save":
            self._save(str(content["what"]))
        elif kind == "index":
            self._hear_index(content)
        elif kind == "dismiss":
            self._say(lambda told: told.forget())
        elif kind == "cancel":
            self._cancel()

    def _do(self, what: str) -> None:
        acts: dict[str, Callable[[], Any]] = {
            "expand": lambda: self.expand(self.selected),
            "collapse": lambda: self.collapse(self.selected),
            "toggle": lambda: (self.collapse if self.selected in self.opened else self.expand)(self.selected),
            "remove": lambda: self.remove(self.selected),
            "undo": lambda: self.restore(self.selected),
            "restore": self.restore,
            "flip": lambda: self.click(self.selected, shift=True),
            **{way: partial(self.move, way) for way in ("left", "right", "up", "down")},
        }
        if what not in acts:
            raise unknown("act", what, acts)
        acts[what]()

    def _hear_index(self, content: dict[str, Any]) -> None:
        """Build, stop or go on with an index: set by `TreeIndexing`."""

    def _check_option(self, name: str) -> None:
        if name not in OPTIONS:
            raise unknown("option of TreeExplorer", name, OPTIONS)

    # ------------------------------------------------------------------ a second class

    @t.observe("beside")
    def _set_beside(self, _: Any) -> None:
        if self._second is not None:
            self.children = self.children[:2]
            self._second._end()
            self._second = None
        if self.beside is not None:
            from .explorer import TreeExplorer

            mine: Any = self
            settings = {name: getattr(self, name) for name in FOLLOWED if name not in ("picture", "top")}
            self._second = TreeExplorer(
                mine.classifier, self.picture, self.beside, self.top,
                pictures=mine.pictures, means=mine._maker.means, names=mine._maker.names,
                index=mine.index, inner=True, **settings,
            )  # fmt: skip
            self.children = (*self.children[:2], self._second)
        self._draw_head()

    @t.observe(*FOLLOWED)
    def _lead(self, change: Any) -> None:
        if self._second is None or self.beside is None:
            return
        second = self._second
        if change.name == "picture":
            with second._muted():
                second.picture, second.target = self.picture, self.beside
            second._submit(second._want(None))
        else:
            setattr(second, change.name, change.new)
