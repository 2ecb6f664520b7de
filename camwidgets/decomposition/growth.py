"""Growing trees: all nodes of a level are decomposed together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from ..classifiers.taps import Tap
from ..errors import choose
from ..evidence import Evidence
from ..images import picture_hash
from .attach import Answer, array, attach, read
from .gap import CHUNK_BYTES, Decision
from .nodes import SIGNS, How, Node, decision_of
from .tree import Decomposition


def check(top: int, depth: int | None, sign: str) -> None:
    """Refuse settings that mean nothing."""
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise ValueError(f"top is the number of children per node, at least 1; got {top!r}")
    if depth is not None and (isinstance(depth, bool) or not isinstance(depth, int) or depth < 1):
        raise ValueError(f"depth is a number of steps, at least 1, or None for all; got {depth!r}")
    choose("sign", sign, SIGNS)


def check_shared(conditional: bool, shared: bool) -> None:
    """Raise a ValueError for a graph of paths: each node of a path is that path's part of the class score only."""
    if conditional and shared:
        raise ValueError(
            "conditional=True and shared=True do not go together: along paths a node is its path's own part of the "
            "class score, and those of two paths are not the same feature; leave one of them out"
        )


def check_spatial(name: str, stages: dict[str, Tap]) -> None:
    """Raise a ValueError for stages that hold a transformer's tokens."""
    fed = [tap for tap in stages.values() if tap.layout == "tokens"]
    if fed:
        raise ValueError(
            f"gAP trees need spatial stages of rectified activations; the stages of {name} are the tokens of a "
            f"transformer ({str(fed[-1])!r}), for which maps exist but no tree"
        )


def grow(evidence: Evidence, stages: dict[str, Tap], how: How, depth: int | None) -> Decomposition:
    """The whole tree, level by level."""
    check_spatial(evidence.classifier.name, stages)
    check_shared(how.conditional, how.shared)
    tree = Decomposition(evidence, stages, how, about(evidence))
    plant(tree)
    level, sign = [tree.root], how.sign
    for name in list(stages)[::-1][:depth]:
        fresh: dict[int, Node] = {}
        for node, answer in zip(level, _answers(tree, level, name, how.top, sign), strict=True):
            fresh |= {child.id: child for child in attach(tree, node, answer, name)}
        level, sign = list(fresh.values()), below(how)
    return tree


def below(how: How) -> str:
    """The sign below the class: in a node-conditioned tree every feature shown, whatever it does to the class, is
    decomposed into what supports it (against × against would be for); along paths the class stays the measure.
    """
    return how.sign if how.conditional else "for"


def about(evidence: Evidence) -> dict[str, Any]:
    """What a tree says of its decision and its making."""
    classifier, target = evidence.classifier, evidence.targets[0]
    picture = evidence.pictures[0]
    known = isinstance(target, int)
    return {
        "target": target,
        "label": classifier.labels[target] if isinstance(target, int) else str(target),
        "score": float(evidence.scores[0]),
        "probability": float(evidence.probabilities[0, int(target)]) if known else None,
        "picture": picture,
        "made_by": {
            "model": classifier.name,
            "weights_sha256": classifier.weights_hash(),
            "picture_sha256": picture_hash(picture),
        },
    }


def plant(tree: Decomposition) -> Node:
    """The root: the class itself."""
    assert tree.decomposer is not None
    deepest = list(tree.stages.values())[-1]
    total = tree.decomposer.of_class(deepest).attention.sum(0)
    target = tree.target if isinstance(tree.target, int) else -1
    root = Node(
        0, None, "class", "class", target, 0, 0, tree.score, 1.0, 1.0, array(total), value=tree.score
    )  # fmt: skip
    tree.nodes[0] = root
    return root


def rebuild_known(tree: Decomposition) -> None:
    """Rebuild from its nodes and edges what a tree keeps of them to grow on: for trees that were read from a file.

    To be called when `tree.nodes` and `tree.edges` are complete. A shared tree then goes on sharing: a feature it
    holds already, (stage, channel, y, x), gets another edge and no second node.
    """
    tree._known, tree._ways, tree._last = {}, {}, max(tree.nodes)
    for node in tree.nodes.values():
        if node.parent is not None:
            tree._known.setdefault(node.feature, node.id)


def expand(
    tree: Decomposition,
    node: Node,
    *,
    tap: str | None,
    top: int | None,
    position: tuple[int, int] | None,
    sign: str | None,
) -> list[Node]:
    """See `Decomposition.expand`."""
    if tree.decomposer is None:
        raise ValueError("this tree was loaded without its classifier: load(folder, classifier) to expand it further")
    usual = tree.how.sign if node.parent is None else below(tree.how)
    count, side = tree.how.top if top is None else top, usual if sign is None else sign
    check(count, None, side)
    check_shared(tree.how.conditional, tree.how.shared)
    name = _next_stage(tree, node) if tap is None else _lower_stage(tree, node, tap)
    place = node if position is None else _elsewhere(tree, node, position)
    (answer,) = _answers(tree, [place], name, count, side)
    if answer.dead:
        if position is None and not node.children:
            node.value, node.completeness, node.dead = answer.value, answer.completeness, answer.dead
        raise ValueError(f"{node.name} at ({place.y}, {place.x}) cannot be decomposed: {answer.dead}")
    tree.collapse(node)
    if place is not node:
        _move(tree, node, place)
    return attach(tree, node, answer, name)


def _next_stage(tree: Decomposition, node: Node) -> str:
    names = list(tree.stages)
    if node.parent is None:
        return names[-1]
    i = names.index(node.stage)
    if i == 0:
        raise ValueError(f"{node.name} lies at the shallowest stage {names[0]}: there is nothing below it to show")
    return names[i - 1]


def _lower_stage(tree: Decomposition, node: Node, tap: str) -> str:
    names = list(tree.stages)
    name = next((s for s, t in tree.stages.items() if tap in (s, t)), tap)
    below = names if node.parent is None else names[: names.index(node.stage)]
    return choose(f"stage below {node.name}", name, below)


def _elsewhere(tree: Decomposition, node: Node, position: tuple[int, int]) -> Node:
    """The same channel at another place, as a node that is in no tree."""
    if tree.how.conditional:
        raise ValueError(
            "in a path-conditioned tree a node stands for all places of its channel, weighed by the class's gradient: "
            "there is no position to move it to; decompose(…, conditional=False) decomposes single places"
        )
    h, w = tree.stages[node.stage].size if node.parent is not None else (0, 0)
    y, x = position
    if node.parent is None or not (0 <= y < h and 0 <= x < w):
        raise ValueError(f"position {tuple(position)} is out of range: {node.name} has {h}×{w} positions")
    probe = replace(node, y=int(y), x=int(x))
    other = tree._known.get(probe.feature, node.id)
    if tree.how.shared and other != node.id:
        raise ValueError(f"{node.name} at ({y}, {x}) is in this shared tree already: expand its node {other}")
    return probe


def _move(tree: Decomposition, node: Node, place: Node) -> None:
    if tree._known.get(node.feature) == node.id:
        del tree._known[node.feature]
    node.y, node.x = place.y, place.x
    tree._known[node.feature] = node.id


def _answers(tree: Decomposition, level: list[Node], stage: str, top: int, sign: str) -> Iterator[Answer]:
    """What decomposing each of a level's nodes at a stage gives; the tree is left as it is.

    Of the evidence no more than `CHUNK_BYTES` (or that of one node) is held at a time, besides the graph of one pass.
    """
    if not level:
        return
    assert tree.decomposer is not None
    decomposer, how, lower = tree.decomposer, tree.how, tree.stages[stage]
    if level[0].parent is None:
        yield read(decomposer.of_class(lower), how, top, sign, tree.score)
        return
    upper = tree.stages[level[0].stage]
    if how.conditional:
        paths = [(decision_of(node), torch.zeros(upper.size) if node.seed is None else node.seed) for node in level]
        for found in decomposer.along_channels(paths, upper, lower):
            yield read(found, how, top, sign, tree.score)
        return
    wanted = list(dict.fromkeys(decision_of(node) for node in level))
    A = decomposer.evidence.activations[lower]
    chunk = max(1, CHUNK_BYTES // (2 * A.numel() * A.element_size()))
    answers: dict[Decision, Answer] = {}
    for i in range(0, len(wanted), chunk):
        for found in decomposer.of_features(wanted[i : i + chunk], upper, lower):
            assert found.decision is not None
            answers[found.decision] = read(found, how, top, sign, tree.score)
    for node in level:
        yield answers[decision_of(node)]
