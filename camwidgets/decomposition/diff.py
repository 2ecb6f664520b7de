"""Two decompositions side by side: which channels and connections came, went, grew, and where the trees part.

Clean against attacked, predicted against true class, model A against model B of one architecture, before against after
training: whatever two trees over the same taps.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .tree import Decomposition, Node

if TYPE_CHECKING:
    import pandas as pd

Key = tuple[str, int]  # (stage, channel); the class of both trees is ("class", 0), whichever class it is
ROOT: Key = ("class", 0)
SAME = 1e-6  # shares closer than this, relative to the larger, are the same
CHANGES = ("gained", "lost", "strengthened", "weakened", "same")


@dataclass(frozen=True)
class Change:
    """One channel, or one connection, in both trees.

    Attributes:
        stage, tap, channel: which (for a connection: its lower end). parent: the upper end of a connection as (stage,
            channel), None for a channel. also: the channel of the other tree that stands for the same place (merged
            there under another number), or None.
        contribution: α before and after, summed over a channel's nodes (NaN for connections).
        share: before and after. Channel: its part of the class score (`Node.class_share`), summed over its nodes;
            connection: its part of its parent's decision, mean over the parent's nodes.
        kind: gained, lost, strengthened, weakened or same: of share, in size.
    """

    stage: str
    tap: str
    channel: int
    parent: Key | None
    also: int | None
    contribution: tuple[float, float]
    share: tuple[float, float]
    kind: str

    @property
    def change(self) -> float:
        """Share after − share before."""
        return self.share[1] - self.share[0]

    @property
    def name(self) -> str:
        """ "S5 #112", or "S5 #112 → S4 #7" """
        own = f"{self.stage} #{self.channel}"
        if self.parent is None:
            return own
        return f"{'class' if self.parent == ROOT else '{} #{}'.format(*self.parent)} → {own}"


@dataclass(frozen=True)
class TreeDiff:
    """The difference of two trees. Made by `Decomposition.diff`.

    Attributes:
        before, after: the trees. stages: the compared ones, deep to shallow; left_out: stages that only one tree was
            grown to. channels, edges: every channel and connection of either tree, largest change first.
        parting: the first stage, from the class down, at which the trees show different channels; None = at none.
        distances: stage → distance in [0, 1]. With s_k a channel's share of the class score, 0 where it is not shown:

                d = 1 − Σ_k min(s_k, s'_k) / Σ_k max(s_k, s'_k)        (Ruzicka; the weighted Jaccard distance)

            Negative shares are weighed as values of their own, not against positive ones: each channel counts twice,
            with max(s, 0) and max(−s, 0). Symmetric; 0 for equal trees, 1 for trees without a common channel.
        distance: mean of `distances`.
    """

    before: Decomposition
    after: Decomposition
    stages: tuple[str, ...]
    left_out: tuple[str, ...]
    channels: tuple[Change, ...]
    edges: tuple[Change, ...]
    parting: str | None
    distances: dict[str, float]

    @property
    def distance(self) -> float:
        """Mean distance of the stages, in [0, 1]."""
        return sum(self.distances.values()) / len(self.distances)

    def of(self, kind: str) -> list[Change]:
        """The channels of one kind: "gained", "lost", "strengthened", "weakened" or "same"."""
        from ..errors import choose

        choose("kind of change", kind, CHANGES)
        return [one for one in self.channels if one.kind == kind]

    def __str__(self) -> str:
        counts = ", ".join(f"{len(self.of(kind))} {kind}" for kind in CHANGES)
        where = f"part at {self.parting}" if self.parting else "show the same channels"
        return f"{self.before.label!r} → {self.after.label!r}: {where}, distance {self.distance:.2f} ({counts})"

    def to_frame(self) -> pd.DataFrame:
        """A pandas table, one row per channel and per connection: `parent` is empty for channels."""
        import pandas as pd

        rows: list[dict[str, Any]] = []
        for one in (*self.channels, *self.edges):
            rows.append({
                "what": "channel" if one.parent is None else "edge", "stage": one.stage, "tap": one.tap,
                "channel": one.channel, "parent": "" if one.parent is None else "{} #{}".format(*one.parent),
                "kind": one.kind, "contribution_before": one.contribution[0], "contribution_after": one.contribution[1],
                "share_before": one.share[0], "share_after": one.share[1], "change": one.change,
            })  # fmt: skip
        return pd.DataFrame(rows)


def diff(before: Decomposition, after: Decomposition) -> TreeDiff:
    """See `Decomposition.diff`."""
    _comparable(before, after)
    both = [_reached(before), _reached(after)]
    names = list(before.stages)[::-1]
    stages = tuple(name for name in names if all(name in reached for reached in both))
    if not stages:
        raise ValueError("there is no stage that both trees were grown to; expand both (`expand(0)`) to compare them")
    left_out = tuple(name for name in names if any(name in r for r in both) and name not in stages)
    first, second = (_channels(tree, stages) for tree in (before, after))
    aliases = _aliases(first, second)
    second = _renamed(second, aliases)
    also = {new: old for old, new in aliases.items()}
    channels = []
    for key in first.keys() | second.keys():
        a, b = first.get(key, []), second.get(key, [])
        other = also[key][1] if key in also else None
        share = (sum(n.class_share for n in a), sum(n.class_share for n in b))
        contribution = (sum(n.contribution for n in a), sum(n.contribution for n in b))
        channels.append(_change(before, key, None, other, contribution, share, (bool(a), bool(b))))
    edges = _edge_changes(before, after, stages, aliases)
    parting = next((s for s in stages if any(c.stage == s and c.kind in ("gained", "lost") for c in channels)), None)
    distances = {s: ruzicka([c.share for c in channels if c.stage == s]) for s in stages}
    return TreeDiff(before, after, stages, left_out, _sorted(channels), _sorted(edges), parting, distances)


def ruzicka(pairs: Iterable[tuple[float, float]]) -> float:
    """1 − Σ min / Σ max over pairs of values, negative parts weighed by themselves; 0 where there is nothing.

    Example:
        >>> ruzicka([(1.0, 0.5), (0.0, 0.5)])
        0.6666666666666667
    """
    least = most = 0.0
    for a, b in pairs:
        for x, y in ((max(a, 0), max(b, 0)), (max(-a, 0), max(-b, 0))):
            least, most = least + min(x, y), most + max(x, y)
    return 1 - least / most if most else 0.0


def _comparable(a: Decomposition, b: Any) -> None:
    """Trees of the same taps, grown by the same rule."""
    if not isinstance(b, Decomposition):
        raise TypeError(f"a tree is compared with another tree; got {type(b).__name__}")
    models = f"{a.made_by.get('model', '?')} and {b.made_by.get('model', '?')}"
    if {s: str(t) for s, t in a.stages.items()} != {s: str(t) for s, t in b.stages.items()}:
        told = [", ".join(f"{s} {t}" for s, t in tree.stages.items()) for tree in (a, b)]
        raise ValueError(
            f"the trees lie over different taps and cannot be aligned ({models}): the first over {told[0]}; the second "
            f"over {told[1]}"
        )
    for stage, tap in a.stages.items():
        counts = tap.channels, b.stages[stage].channels  # 0 in a tree that was loaded without its classifier
        if all(counts) and counts[0] != counts[1]:
            raise ValueError(
                f"the trees are of different networks ({models}): {stage} ({tap}) has {counts[0]} channels in the "
                f"first and {counts[1]} in the second"
            )
    for name in ("top", "conditional", "sign", "merge", "shared"):  # a graph counts a feature once, a tree each copy
        values = getattr(a.how, name), getattr(b.how, name)
        if values[0] != values[1]:
            raise ValueError(
                f"the trees were grown by different rules: {name} is {values[0]!r} in the first and {values[1]!r} in "
                f"the second; grow both alike"
            )


def _reached(tree: Decomposition) -> set[str]:
    """The stages that a tree was grown to; below a level that ends everywhere nothing is left to grow."""
    names = list(tree.stages)[::-1]
    grown = [name for name in names if tree.level(name)]
    last = tree.level(grown[-1]) if grown else [tree.root]
    # Decomposed, and yet no channel speaks for it; or a dead end.
    ended = all(node.dead or not (node.children or math.isnan(node.completeness)) for node in last)
    return set(names) if ended else set(grown)


def _channels(tree: Decomposition, stages: Iterable[str]) -> dict[Key, list[Node]]:
    wanted = set(stages)
    found: dict[Key, list[Node]] = {}
    for node in tree.nodes.values():
        if node.stage in wanted:
            found.setdefault((node.stage, node.channel), []).append(node)
    return found


def _aliases(first: Mapping[Key, list[Node]], second: Mapping[Key, list[Node]]) -> dict[Key, Key]:
    """Channels of the second tree that the first shows under another number: key in the second → key in the first.

    Channels that see the same place are merged under the strongest; which one that is may change where the place does
    not. Pairs are taken in the order of their shares, the same either way round.
    """
    alone = [[key for key in one if key not in other] for one, other in ((first, second), (second, first))]
    pairs: list[tuple[float, int, int, Key, Key]] = []
    for a in alone[0]:
        for b in alone[1]:
            if a[0] == b[0] and (_stands_for(second[b], a[1]) or _stands_for(first[a], b[1])):
                weight = sum(abs(n.class_share) for n in (*first[a], *second[b]))
                pairs.append((-weight, min(a[1], b[1]), max(a[1], b[1]), a, b))
    found: dict[Key, Key] = {}
    for *_, a, b in sorted(pairs):
        if b not in found and a not in found.values():
            found[b] = a
    return found


def _stands_for(nodes: Iterable[Node], channel: int) -> bool:
    return any(channel in node.members for node in nodes)


def _renamed(nodes: Mapping[Key, list[Node]], aliases: Mapping[Key, Key]) -> dict[Key, list[Node]]:
    return {aliases.get(key, key): value for key, value in nodes.items()}


def _edge_changes(
    before: Decomposition, after: Decomposition, stages: tuple[str, ...], aliases: Mapping[Key, Key]
) -> list[Change]:
    first, second = _edges(before, stages, {}), _edges(after, stages, aliases)
    found = []
    nan = (float("nan"), float("nan"))
    for parent, child in first.keys() | second.keys():
        a, b = first.get((parent, child), []), second.get((parent, child), [])
        share = (_mean(a), _mean(b))
        found.append(_change(before, child, parent, None, nan, share, (bool(a), bool(b))))
    return found


def _edges(
    tree: Decomposition, stages: tuple[str, ...], aliases: Mapping[Key, Key]
) -> dict[tuple[Key, Key], list[float]]:
    found: dict[tuple[Key, Key], list[float]] = {}
    for (above, below), share in tree.edges.items():
        parent, child = tree.nodes[above], tree.nodes[below]
        if child.stage in stages:
            upper = ROOT if parent.parent is None else (parent.stage, parent.channel)
            lower = (child.stage, child.channel)
            found.setdefault((aliases.get(upper, upper), aliases.get(lower, lower)), []).append(share)
    return found


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _change(
    tree: Decomposition,
    key: Key,
    parent: Key | None,
    also: int | None,
    contribution: tuple[float, float],
    share: tuple[float, float],
    there: tuple[bool, bool],
) -> Change:
    a, b = abs(share[0]), abs(share[1])
    if not all(there):
        kind = "lost" if there[0] else "gained"
    elif abs(share[1] - share[0]) <= SAME * max(a, b):
        kind = "same"
    else:
        kind = "strengthened" if b > a else "weakened"
    return Change(key[0], str(tree.stages[key[0]]), key[1], parent, also, contribution, share, kind)


def _sorted(changes: Iterable[Change]) -> tuple[Change, ...]:
    return tuple(sorted(changes, key=lambda c: (-abs(c.change), c.stage, c.channel, c.parent or ROOT)))
