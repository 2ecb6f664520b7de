"""A tree explorer's traits, and what is valid."""

from __future__ import annotations

from typing import Any

import ipywidgets
import traitlets as t

from ...decomposition.ablation import REMOVALS
from ...decomposition.tree import SIGNS
from ...errors import unknown
from ..speaking import BadValue

SETTINGS = ("picture", "target", "top", "depth", "conditional", "sign", "merge")
MOST_TOP = 5


class TreeTraits(ipywidgets.VBox):
    """State of a `TreeExplorer`. Every trait may be set from Python and by the controls alike.

    What: `picture` (a key of `explorer.pictures`, or a path), `target` (class index or label; None = the top class).
    How: `top` (children per node, 1 … 5), `depth` (steps to start with), `conditional` (False: each node by itself,
    True: along the whole path), `sign` ("for", "against"), `merge`, `removal` ("zero", or "mean" if means were given).
    The view: `opened` (ids of nodes whose children are drawn), `selected` (a node's id), `removed` (ids), `beside` (a
    second class below the first, or None). Read only: `code`.
    """

    picture = t.Unicode("")
    target = t.Union([t.Int(), t.Unicode()], default_value=None, allow_none=True)
    top = t.Int(3)
    depth = t.Int(2)
    conditional = t.Bool(False)
    sign = t.Unicode("for")
    merge = t.Bool(True)
    removal = t.Unicode("zero")
    opened = t.Tuple()
    selected = t.Int(0)
    removed = t.Tuple()
    beside = t.Union([t.Int(), t.Unicode()], default_value=None, allow_none=True)
    code = t.Unicode("")

    @t.validate("top")
    def _few(self, proposal: Any) -> int:
        if not 1 <= proposal.value <= MOST_TOP:
            raise BadValue(f"top is the number of children per node, 1 … {MOST_TOP}; got {proposal.value!r}")
        return int(proposal.value)

    @t.validate("depth")
    def _steps(self, proposal: Any) -> int:
        if proposal.value < 1:
            raise BadValue(f"depth is the number of steps to start with, at least 1; got {proposal.value!r}")
        return int(proposal.value)

    @t.validate("sign")
    def _one_sign(self, proposal: Any) -> str:
        if proposal.value not in SIGNS:
            raise BadValue(str(unknown("sign", proposal.value, SIGNS)))
        return str(proposal.value)

    @t.validate("removal")
    def _one_removal(self, proposal: Any) -> str:
        if proposal.value not in REMOVALS:
            raise BadValue(str(unknown("removal", proposal.value, REMOVALS)))
        if proposal.value == "mean" and not self._has_means:
            raise BadValue("removal='mean' needs means: TreeExplorer(…, means=channel_means(classifier, pictures))")
        return str(proposal.value)

    @property
    def _has_means(self) -> bool:
        return False
