"""Growing trees: all nodes of a level are decomposed together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..classifiers.taps import Tap
from ..errors import choose
from ..evidence import Evidence
from ..images import picture_hash
from .gap import Contributions, Decision
from .tree import SIGNS, Decomposition, How, Node, children_of, decision_of


def check(top: int, depth: int | None, sign: str) -> None:
    """Refuse settings that mean nothing."""
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise ValueError(f"top is the number of children per node, at least 1; got {top!r}")
    if depth is not None and (isinstance(depth, bool) or not isinstance(depth, int) or depth < 1):
        raise ValueError(f"depth is a number of steps, at least 1, or None for all; got {depth!r}")
    choose("sign", sign, SIGNS)


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
    tree = Decomposition(evidence, stages, how, about(evidence))
    plant(tree)
    names = list(stages)[::-1]
    level = _add(tree, [(tree.root, _class_evidence(tree, names[0]))], names[0], how.top, how.sign)
    for name in names[1 : depth if depth is not None else len(names)]:
        level = _decompose_level(tree, level, name, how.top, below(how))
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
        0, None, "class", "class", target, 0, 0, tree.score, 1.0, 1.0, _array(total), value=tree.score
    )  # fmt: skip
    tree.nodes[0] = root
    return root


def rebuild_known(tree: Decomposition) -> None:
    """Rebuild from its nodes and edges what a tree keeps of them to grow on: for trees that were read from a file.

    To be called when `tree.nodes` and `tree.edges` are complete. A shared tree then goes on sharing: a feature it
    holds already, (stage, channel, y, x), gets another edge and no second node.
    """
    tree._known = {}
    for node in tree.nodes.values():
        if node.parent is not None:
            tree._known.setdefault((node.stage, node.channel, node.y, node.x), node.id)


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
    name = _next_stage(tree, node) if tap is None else _lower_stage(tree, node, tap)
    tree.collapse(node)
    if position is not None:
        _move(tree, node, position)
    if node.parent is None:
        return _add(tree, [(node, _class_evidence(tree, name))], name, count, side)
    _decompose_level(tree, [node], name, count, side)
    if node.dead:
        raise ValueError(f"{node.name} at ({node.y}, {node.x}) cannot be decomposed: {node.dead}")
    return tree.children(node)


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


def _move(tree: Decomposition, node: Node, position: tuple[int, int]) -> None:
    h, w = tree.stages[node.stage].size if node.parent is not None else (0, 0)
    y, x = position
    if node.parent is None or not (0 <= y < h and 0 <= x < w):
        raise ValueError(f"position {tuple(position)} is out of range: {node.name} has {h}×{w} positions")
    node.y, node.x = int(y), int(x)


def _class_evidence(tree: Decomposition, stage: str) -> Contributions:
    assert tree.decomposer is not None
    found = tree.decomposer.of_class(tree.stages[stage])
    if found.dead:
        tree.root.dead = f"no gradient reaches {tree.stages[stage]} from the score"
    return found


def _decompose_level(tree: Decomposition, level: list[Node], stage: str, top: int, sign: str) -> list[Node]:
    """Decompose nodes of one stage together; returns their children."""
    if not level:
        return []
    assert tree.decomposer is not None
    upper, lower = tree.stages[level[0].stage], tree.stages[stage]
    if tree.how.conditional:
        found = _along_path(tree, level, upper, lower)
    else:
        wanted = list(dict.fromkeys(decision_of(node) for node in level))
        answers = dict(zip(wanted, tree.decomposer.of_features(wanted, upper, lower), strict=True))
        found = [answers[decision_of(node)] for node in level]
    return _add(tree, list(zip(level, found, strict=True)), stage, top, sign)


def _along_path(tree: Decomposition, level: list[Node], upper: Tap, lower: Tap) -> list[Contributions]:
    assert tree.decomposer is not None
    A = tree.decomposer.evidence.activations[upper][0]
    seeds = torch.zeros((len(level), *A.shape), dtype=A.dtype, device=A.device)
    for i, node in enumerate(level):
        if node.seed is not None:
            seeds[i, node.channel] = node.seed
    gradients, attentions = tree.decomposer.along_path(seeds, upper, lower)
    worth = (seeds * A).sum((1, 2, 3)).tolist()
    return [
        Contributions(
            lower, decision_of(node), worth[i], gradients[i], attentions[i], (0, 0), tree.decomposer.before(lower)
        )
        for i, node in enumerate(level)
    ]


def _add(
    tree: Decomposition, decomposed: list[tuple[Node, Contributions]], stage: str, top: int, sign: str
) -> list[Node]:
    """Add the strongest children of each decomposed node; returns the new nodes (each once)."""
    added: dict[int, Node] = {}
    for node, found in decomposed:
        node.value, node.completeness = found.value, found.completeness
        node.dead = _why_dead(node, found, tree.how.conditional)
        if node.dead:
            continue
        share = found.share
        for channel, members in children_of(found, tree.how, top, sign):
            child = _child(tree, node, found, stage, channel, members, float(share[channel]), SIGNS[sign])
            tree.edges[node.id, child.id] = float(share[channel])
            node.children.append(child.id)
            added[child.id] = child
        whole = float(np.sign(found.value))
        node.others = whole - sum(tree.edges[node.id, i] for i in node.children)
    return list(added.values())


def _why_dead(node: Node, found: Contributions, conditional: bool) -> str:
    if found.dead:
        return f"no gradient reaches {found.tap}"
    if node.parent is not None and found.value <= 0 and not conditional:
        return f"its value is {found.value:.3g}; only a positive feature is a decision that can be supported"
    return ""


def _child(
    tree: Decomposition,
    node: Node,
    found: Contributions,
    stage: str,
    channel: int,
    members: tuple[int, ...],
    share: float,
    sign: int,
) -> Node:
    y, x = found.position(channel, sign)
    key = (stage, channel, y, x)
    if tree.how.shared and key in tree._known:
        return tree.nodes[tree._known[key]]
    number = max(tree.nodes) + 1
    child = Node(
        number, node.id, stage, found.tap, channel, y, x, float(found.alpha[channel]), share,
        _class_share(tree, node, found, channel, share), _array(found.map(channel)), members=members,
        seed=_seed(found, channel) if tree.how.conditional else None,
    )  # fmt: skip
    tree.nodes[number] = child
    tree._known[key] = number
    return child


def _class_share(tree: Decomposition, node: Node, found: Contributions, channel: int, share: float) -> float:
    if not tree.how.conditional:
        return node.class_share * share
    total = float(found.attention[channel].sum())
    return total / abs(tree.score) if tree.score else math.nan


def _seed(found: Contributions, channel: int) -> Tensor:
    return found.gradient[channel].detach().clone()


def _array(values: Tensor) -> np.ndarray:
    return np.ascontiguousarray(values.detach().float().cpu().numpy())


__all__ = ["Decision", "How", "about", "check", "expand", "grow", "plant", "rebuild_known"]
