"""Hierarchical decomposition ([000] 5.2.3): class → top channels of S5 → of S4 → … → S1, as a tree or a graph."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..classifiers.classifier import Classifier, Target
from ..classifiers.given import check_classifier
from ..classifiers.taps import Tap
from ..evidence import Evidence, capture
from ..images import ImageSource
from .gap import Decomposer
from .nodes import SIGNS, How, Node, Way, decision_of

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd

    from .diff import TreeDiff
    from .naming import Dissection

class Decomposition:
    """A decision taken apart. Made by `decompose`; nodes can be expanded further at any time.

    Attributes:
        nodes: id → `Node`. edges: (parent id, child id) → share. stages: name → tap, shallow to deep,
            with the size h×w it has in this picture.
        target, label, score, probability: the decision. picture: H×W×3 uint8. how: settings. made_by: model, hashes.
    """

    def __init__(self, evidence: Evidence | None, stages: dict[str, Tap], how: How, about: dict[str, Any]) -> None:
        self.decomposer = Decomposer(evidence) if evidence is not None else None
        decomposer = self.decomposer
        self.stages = stages if decomposer is None else {name: decomposer.sized(tap) for name, tap in stages.items()}
        self.how = how
        self.target, self.label = about["target"], about["label"]
        self.score, self.probability = about["score"], about["probability"]
        self.picture: np.ndarray = about["picture"]
        self.made_by: dict[str, Any] = about["made_by"]
        self.nodes: dict[int, Node] = {}
        self.edges: dict[tuple[int, int], float] = {}
        self._known: dict[tuple[str, int, int, int], int] = {}
        self._ways: dict[tuple[int, int], Way] = {}
        self._last = 0
        self.names: Dissection | None = None
        self.x: np.ndarray | None = None  # what the network was given, of a tree from a file: to be saved with it again

    def __repr__(self) -> str:
        kind = "path-conditioned" if self.how.conditional else "node-conditioned"
        return (
            f"Decomposition({self.label!r}, {len(self.nodes)} nodes over {len(self.stages)} stages, "
            f"top {self.how.top}, {kind}, evidence {self.how.sign} the class)"
        )

    @property
    def root(self) -> Node:
        """The class."""
        return self.nodes[0]

    def node(self, which: Node | int) -> Node:
        """The node of that id; a node stands for itself, as long as it is in this tree.

        Raises:
            ValueError: there is no node of that id, or the node is of another tree or no longer in this one.
        """
        number = which.id if isinstance(which, Node) else which
        if number not in self.nodes:
            raise ValueError(f"no node {number!r} in this tree; it has the nodes 0 … {max(self.nodes)}")
        if isinstance(which, Node) and self.nodes[number] is not which:
            raise ValueError(f"the node {which.name} given is not this tree's node {number}, {self.nodes[number].name}")
        return self.nodes[number]

    def new_number(self) -> int:
        """An id that no node of this tree has or had."""
        self._last = max(self._last or max(self.nodes), 0) + 1
        return self._last

    def children(self, which: Node | int) -> list[Node]:
        """The shown children of a node, strongest first."""
        return [self.nodes[i] for i in self.node(which).children]

    def level(self, stage: str) -> list[Node]:
        """All nodes of one stage."""
        return [node for node in self.nodes.values() if node.stage == stage]

    def path(self, which: Node | int) -> list[Node]:
        """From the root to a node."""
        found = [self.node(which)]
        while found[0].parent is not None:
            found.insert(0, self.nodes[found[0].parent])
        return found

    def expand(
        self,
        which: Node | int,
        *,
        tap: str | None = None,
        top: int | None = None,
        position: tuple[int, int] | None = None,
        sign: str | None = None,
    ) -> list[Node]:
        """Decompose one node and return its children.

        Args:
            which: a node or its id. tap: stage to look in; None = the next shallower. top: how many; None = as before.
            position: (y, x) of another place of the same channel to decompose; the node moves there.
            sign: "for" or "against" the node's own decision (in a path-conditioned tree: the class). None = as the
                tree was grown: its sign at the class and along paths, "for" below it where nodes stand for themselves.
        What was below the node is replaced once the new children are known: if anything fails before, the tree is as it
        was (only a node that turns out dead where it stands says so from then on).

        Raises:
            ValueError: the node is at the shallowest tap, is dead, or something given is out of range; a `position` in
                a path-conditioned tree, whose nodes stand for all places of their channel, or one another node has.
        """
        from .growth import expand

        children = expand(self, self.node(which), tap=tap, top=top, position=position, sign=sign)
        self._name(children)
        return children

    def named(self, names: Dissection) -> Decomposition:
        """Call its channels what a dissection of the same network calls them, new nodes too; returns self.

        Raises:
            ValueError: the dissection is of another network.

        Example:
            >>> import camwidgets
            >>> from camwidgets.datasets.toyworld import ToyWorld
            >>> from camwidgets.decomposition.naming import shipped
            >>> classifier, train = camwidgets.load("toy"), ToyWorld(seed=4, n=10, classes=["train"])[0]
            >>> tree = decompose(classifier, train.image, depth=2).named(shipped(classifier))
            >>> "wheel" in {node.concept for node in tree.level("S4")}
            True
        """
        names.check(self.made_by["weights_sha256"], self.made_by["model"])
        self.names = names
        self._name(self.nodes.values())
        return self

    def _name(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            found = self.names.name(node.tap, node.channel) if self.names and node.parent is not None else None
            node.concept, node.iou = (found.concept, found.iou) if found else ("", math.nan)

    def collapse(self, which: Node | int) -> None:
        """Remove everything below a node (nodes with another parent stay, and hang below that one then)."""
        from .links import cut

        cut(self, self.node(which))

    def diff(self, other: Decomposition) -> TreeDiff:
        """What came, went, grew and shrank from this tree to another over the same taps; see `TreeDiff`.

        Raises:
            ValueError: trees of different networks, or grown by different rules.

        Example:
            >>> import camwidgets
            >>> classifier, cat = camwidgets.load("toy"), camwidgets.samples.picture("cat")
            >>> a, b = (decompose(classifier, cat, target=name, depth=2) for name in ("cat", "dog"))
            >>> a.diff(b).stages, a.diff(a).distance
            (('S5', 'S4'), 0.0)
        """
        from .diff import diff

        return diff(self, other)

    def to_networkx(self) -> nx.DiGraph:
        """A `networkx.DiGraph`, edges parent → child with their share; node attributes are plain values."""
        from .export import to_networkx

        return to_networkx(self)

    def to_frame(self) -> pd.DataFrame:
        """A pandas table, one row per node."""
        from .export import to_frame

        return to_frame(self)

    def save(self, folder: Any) -> Any:
        """Write the tree to a folder: `tree.json`, `tree.npz`, `tree.graphml`, `picture.png`; returns the folder.

        All four are made before one is replaced, so that a failure leaves a tree that was there as it was. bfloat16
        is written as float32. Characters that XML cannot hold are U+FFFD in the GraphML.
        """
        from .export import save

        return save(self, folder)

    @classmethod
    def load(cls, folder: Any, classifier: Classifier | None = None) -> Decomposition:
        """Read what `save` wrote; with its classifier the tree can be expanded further.

        Raises:
            FileNotFoundError: no tree there, or a file of it is missing.
            ValueError: a file that is damaged or is no tree's, named with what is wrong; another network's tree.
        """
        from .export import load

        return load(folder, classifier)


def decompose(
    classifier: Classifier,
    image: ImageSource,
    target: Target = None,
    top: int = 3,
    taps: str | Iterable[str] = "stages",
    depth: int | None = None,
    conditional: bool = False,
    *,
    sign: str = "for",
    merge: bool = True,
    shared: bool = False,
) -> Decomposition:
    """Why this class? The decision taken apart, stage by stage, down to the shallowest tap.

    Args:
        classifier, image: as for `explain` (one picture). target: class index, label, callable; None = top class.
        top: children per node, N. taps: the stages to go through, "stages" = all.
        depth: number of steps; None = all, 1 = the class's own evidence only, to be expanded by `.expand`.
        conditional: False: each node is decomposed by itself (the paper); True: the class gradient is passed on along
            the path, so that contributions are parts of the class score.
        sign: "for" the class or "against" it: then the first step shows the channels that lower the score, each where
            it does so most; the steps below show what supports those (conditional: what lowers the score through them),
            which, taken out of the whole network, may well lower the score by what it does for the class elsewhere.
        merge: channels that see the same place become one node.
        shared: equal features reached from several parents become one node (a graph in place of a tree); only where
            nodes are decomposed by themselves.
    Raises:
        ValueError: unknown tap, N < 1, more channels asked for than there are, no spatial stages, taps side
            by side (two branches of a block), shared paths.

    Example:
        >>> import camwidgets
        >>> tree = decompose(camwidgets.load("efficientnet_lite0"), camwidgets.samples.picture("cat"), depth=1)
        >>> [node.stage for node in tree.children(tree.root)]
        ['S5', 'S5', 'S5']
    """
    from .growth import check, check_shared, check_spatial, grow

    check_classifier(classifier, "decompose")
    check(top, depth, sign)
    check_shared(conditional, shared)
    stages = classifier.select(taps)
    check_spatial(classifier.name, stages)
    order = {tap: i for i, tap in enumerate(classifier.taps)}
    stages = dict(sorted(stages.items(), key=lambda item: order[item[1]]))
    evidence = capture(classifier, image, target, list(stages))
    if not isinstance(evidence, Evidence) or len(evidence) != 1:
        raise ValueError("one picture and one target are decomposed at a time")
    return grow(evidence, stages, How(top, conditional, sign, merge, shared), depth)


__all__ = ["SIGNS", "Decomposition", "How", "Node", "decision_of", "decompose"]
