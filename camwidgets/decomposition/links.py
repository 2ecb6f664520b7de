"""Who hangs below whom: cutting nodes off a tree or graph, and what is left of those with another parent."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .nodes import Node

if TYPE_CHECKING:
    from .tree import Decomposition


def cut(tree: Decomposition, node: Node) -> None:
    """Remove everything below a node; what another parent reaches stays, and hangs below that one then."""
    parents = parents_of(tree)
    orphans, todo = set(), [node]
    while todo:
        above = todo.pop()
        for child in above.children:
            tree.edges.pop((above.id, child), None)
            tree._ways.pop((above.id, child), None)
            parents[child].remove(above.id)
            if parents[child]:
                orphans.add(child)
            else:
                todo.append(_forget(tree, child))
    node.children = []
    node.completeness = node.others = math.nan
    for number in orphans & tree.nodes.keys():
        _adopt(tree, tree.nodes[number], parents[number])
    if tree.how.shared:
        weigh(tree)


def parents_of(tree: Decomposition) -> dict[int, list[int]]:
    """Node → its parents, in the order in which they came upon it."""
    found: dict[int, list[int]] = {number: [] for number in tree.nodes}
    for above, below in tree.edges:
        found[below].append(above)
    return found


def _forget(tree: Decomposition, number: int) -> Node:
    gone = tree.nodes.pop(number)
    if tree._known.get(gone.feature) == number:
        del tree._known[gone.feature]
    return gone


def _adopt(tree: Decomposition, node: Node, parents: list[int]) -> None:
    """Hang a node whose parent is gone below the first that is left; what it says of its parent is of that one then."""
    if node.parent in parents:
        return
    node.parent = parents[0]
    node.share = tree.edges[node.parent, node.id]
    way = tree._ways.pop((node.parent, node.id), None)
    if way is not None:
        node.contribution, node.attention, node.members = way.contribution, way.attention, way.members
    else:  # a tree read from a file keeps the first parent's map only: of its whole, α is the part that the share is
        node.contribution = node.share * abs(tree.nodes[node.parent].value) / node.attention.size


def weigh(tree: Decomposition) -> None:
    """Shares of the class score in a node-conditioned graph: each node's, summed over all paths that lead to it.

    c(root) = 1, c(n) = Σ_p c(p) · share(p → n) over its parents p: what its copies in the tree add up to.
    """
    depth = {name: i for i, name in enumerate([*list(tree.stages), tree.root.stage][::-1])}
    for node in tree.nodes.values():
        node.class_share = 1.0 if node.parent is None else 0.0
    for (above, below), share in sorted(tree.edges.items(), key=lambda edge: depth[tree.nodes[edge[0][0]].stage]):
        tree.nodes[below].class_share += tree.nodes[above].class_share * share
