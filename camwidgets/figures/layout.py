"""Where the nodes of a tree stand: columns are stages, rows are leaves, parents in the middle of their children."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..decomposition.tree import Decomposition, Node

THUMB = 48  # px, edge of a thumbnail
ROW = 74  # px from leaf to leaf: a thumbnail, its label, and air
NAMED = 18  # px more for the name of a channel, where names are known
MARGIN = 56  # px above the first and below the last row
MOST_DRAWN = 200  # nodes; beyond that the rest is folded


@dataclass(frozen=True)
class Place:
    """A drawn node: its centre in px, and how many nodes are folded away below it."""

    node: Node
    x: float
    y: float
    folded: int


@dataclass(frozen=True)
class Layout:
    """Drawn nodes by id, and the drawing's size in px. `cut` says how many nodes were folded for want of room."""

    places: dict[int, Place]
    width: float
    height: float
    cut: int


def arrange(tree: Decomposition, opened: set[int], width: float = 900.0, most: int = MOST_DRAWN) -> Layout:
    """Place the nodes that are reached through opened ones, at most `most`; breadth first, so that folding is even."""
    children = _drawn_children(tree, opened, most)
    columns = ["class", *list(tree.stages)[::-1]]
    step, leaf = width / len(columns), row_of(tree)
    rows: dict[int, float] = {}
    _rows(0, children, rows, iter(range(10**9)).__next__)
    places = {}
    for number, row in rows.items():
        node = tree.nodes[number]
        x = step * (columns.index(node.stage) + 0.5)
        hidden = 0 if children[number] else len(node.children)
        places[number] = Place(node, x, MARGIN + THUMB / 2 + row * leaf, hidden)
    height = 2 * MARGIN + THUMB + leaf * max(rows.values())
    wanted = _reachable(tree, opened)
    return Layout(places, width, height, max(0, wanted - len(places)))


def row_of(tree: Decomposition) -> int:
    """px from leaf to leaf."""
    return ROW + (NAMED if tree.names is not None else 0)


def _drawn_children(tree: Decomposition, opened: set[int], most: int) -> dict[int, list[int]]:
    drawn: dict[int, list[int]] = {0: []}
    queue = [0]
    while queue:
        number = queue.pop(0)
        fresh = [i for i in tree.nodes[number].children if i not in drawn]
        if number not in opened or not fresh or len(drawn) + len(fresh) > most:
            continue
        drawn[number] = fresh
        drawn |= {i: [] for i in fresh}
        queue += fresh
    return drawn


def _rows(number: int, children: dict[int, list[int]], rows: dict[int, float], take: Callable[[], int]) -> float:
    below = [_rows(i, children, rows, take) for i in children[number]]
    rows[number] = (below[0] + below[-1]) / 2 if below else float(take())
    return rows[number]


def _reachable(tree: Decomposition, opened: set[int]) -> int:
    seen, queue = {0}, [0]
    while queue:
        number = queue.pop()
        if number in opened:
            fresh = [i for i in tree.nodes[number].children if i not in seen]
            seen |= set(fresh)
            queue += fresh
    return len(seen)
