"""Hanging what was found out about a decision into a tree: first everything is read, then the tree is changed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..classifiers.taps import Tap
from .contributions import Contributions
from .links import weigh
from .nodes import SIGNS, How, Node, Way
from .overlap import pick
from .tree import Decomposition


@dataclass(frozen=True)
class Child:
    """A channel to be shown below a decision; `seed` where paths are followed, `path_share` its part of the class."""

    channel: int
    place: tuple[int, int]
    contribution: float
    share: float
    attention: np.ndarray
    members: tuple[int, ...]
    seed: torch.Tensor | None
    path_share: float


@dataclass(frozen=True)
class Answer:
    """What a tree keeps of the evidence of one decision at one tap, much less than the evidence itself.

    value, completeness: of the decision. dead: why there is nothing to show, or "". children: strongest first.
    """

    tap: Tap
    value: float
    completeness: float
    dead: str
    children: tuple[Child, ...]


def read(found: Contributions, how: How, top: int, sign: str, score: float) -> Answer:
    """The children of a decision (None: of the class), chosen from its evidence; changes nothing.

    Raises:
        ValueError: more children are asked for than there are channels.
    """
    dead = _why_dead(found, how)
    chosen = [] if dead else children_of(found, how, top, sign)
    share, alpha = found.share, found.alpha
    total = found.attention.sum((1, 2)) / abs(score) if score else torch.full_like(alpha, math.nan)
    children = tuple(
        Child(
            channel, found.position(channel, SIGNS[sign]), float(alpha[channel]), float(share[channel]),
            array(found.map(channel)), members, found.gradient[channel].detach().clone() if how.conditional else None,
            float(total[channel]),
        )
        for channel, members in chosen
    )  # fmt: skip
    return Answer(found.tap, found.value, found.completeness, dead, children)


def children_of(found: Contributions, how: How, top: int, sign: str) -> list[tuple[int, tuple[int, ...]]]:
    """The channels to show below a decision, each with the channels it stands for."""
    if top > len(found.attention):
        raise ValueError(f"top {top} is more than the {len(found.attention)} channels of {str(found.tap)!r}")
    return pick(found, top, SIGNS[sign], how.merge)


def _why_dead(found: Contributions, how: How) -> str:
    if found.dead:
        return f"no gradient reaches {found.tap}"
    if found.decision is not None and found.value <= 0 and not how.conditional:
        return f"its value is {found.value:.3g}; only a positive feature is a decision that can be supported"
    return ""


def attach(tree: Decomposition, node: Node, answer: Answer, stage: str) -> list[Node]:
    """Hang an answer's children below its node, which has none; returns them, shared ones too."""
    node.value, node.completeness, node.dead = answer.value, answer.completeness, answer.dead
    if answer.dead:
        return []
    shown = [_child(tree, node, answer.tap, stage, child) for child in answer.children]
    if tree.how.shared:
        weigh(tree)
    node.others = float(np.sign(answer.value)) - sum(child.share for child in answer.children)
    return shown


def _child(tree: Decomposition, node: Node, tap: Tap, stage: str, child: Child) -> Node:
    key = (stage, child.channel, *child.place)
    known = tree.nodes[tree._known[key]] if tree.how.shared and key in tree._known else None
    if known is None:
        known = Node(
            tree.new_number(), node.id, stage, tap, child.channel, *child.place, child.contribution, child.share,
            child.path_share if tree.how.conditional else node.class_share * child.share, child.attention,
            members=child.members, seed=child.seed,
        )  # fmt: skip
        tree.nodes[known.id] = known
        tree._known[key] = known.id
    else:
        tree._ways[node.id, known.id] = Way(child.contribution, child.attention, child.members)
    tree.edges[node.id, known.id] = child.share
    node.children.append(known.id)
    return known


def array(values: Tensor) -> np.ndarray:
    """A tensor as a float32 array of its own."""
    return np.ascontiguousarray(values.detach().float().cpu().numpy())
