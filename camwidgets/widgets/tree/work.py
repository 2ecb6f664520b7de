"""What a tree explorer's worker does: from what is wanted to what can be shown, by the shortest way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...classifiers.classifier import Classifier
from ...decomposition.ablation import Ablation, ablate
from ...decomposition.growth import grow
from ...decomposition.naming import Dissection
from ...decomposition.tree import Decomposition, How
from ...evidence import Evidence, Recording, record
from ...figures.layout import MOST_DRAWN
from ..sources import Pictures, opened

Tell = Callable[[str], None]
Check = Callable[[], None]


@dataclass(frozen=True)
class Want:
    """The view that is asked for. `opened` None: as the starting depth says."""

    picture: str
    target: int | str | None
    top: int
    depth: int
    conditional: bool
    sign: str
    merge: bool
    removal: str
    opened: tuple[int, ...] | None = None
    selected: int = 0
    removed: tuple[int, ...] = ()

    def fresh(self, **changes: Any) -> Want:
        """The same with other settings: a new tree, of which nothing is opened, selected or removed yet."""
        return replace(self, **{"opened": None, "selected": 0, "removed": (), **changes})


@dataclass
class Shown:
    """A tree and how it is looked at; `calls` are the nodes that were expanded one by one, in their order."""

    want: Want
    tree: Decomposition
    top5: list[dict[str, Any]]
    depth: int
    calls: list[int] = field(default_factory=list)
    single: dict[int, Ablation] = field(default_factory=dict)
    joint: Ablation | None = None
    note: str = ""
    thumbs: dict[int, str] = field(default_factory=dict)
    sights: dict[int, dict[str, Any]] = field(default_factory=dict)  # what channels see, of the last few looked at


class TreeMaker:
    """Keeps the last recording, evidence and tree, so that each request costs only what is new in it."""

    def __init__(
        self, classifier: Classifier, pictures: Pictures, means: Mapping[Any, Any] | None, names: Dissection | None
    ) -> None:
        self.classifier, self.pictures, self.means, self.names = classifier, pictures, means, names
        self._recorded: tuple[str, Recording] | None = None
        self._evidence: tuple[tuple[str, int], Evidence] | None = None
        self._shown: tuple[tuple[Any, ...], Shown] | None = None

    def run(self, want: Want, tell: Tell, check: Check) -> Shown:
        """What is to be shown for `want`; `check` raises when nobody waits for it any more."""
        shown = self._tree(want, tell, check)
        tree = shown.tree
        opened = self._opened(want, shown)
        for number in sorted(opened - {i for i in opened if i in tree.nodes and tree.nodes[i].children}):
            check()
            tell(f"decomposing {tree.node(number).name} …")
            shown.note = _expand(shown, number) or shown.note
        opened = {i for i in opened if i in tree.nodes and tree.nodes[i].children}
        selected = tree.node(want.selected).id
        self._remove(want, shown, tell, check)
        done = replace(want, target=tree.target, opened=tuple(sorted(opened)), selected=selected)
        shown.want = done
        return shown

    def full(self, want: Want, tell: Tell) -> Decomposition:
        """The whole tree of these settings, every node decomposed; the one on screen stays as it is."""
        evidence = self._evidence_of(want, tell, lambda: None)
        depth = _affordable(want.top, len(self.classifier.stages), most=1100)
        tell(f"decomposing every node, {depth} steps deep …")
        return self._named(grow(evidence, dict(evidence.stages), _how(want), depth))

    def close(self) -> None:
        """Free the graph."""
        if self._recorded is not None:
            self._recorded[1].close()
        self._recorded = self._evidence = self._shown = None

    # ------------------------------------------------------------------ steps

    def _tree(self, want: Want, tell: Tell, check: Check) -> Shown:
        evidence = self._evidence_of(want, tell, check)
        key = (want.picture, evidence.targets[0], want.top, want.depth, want.conditional, want.sign, want.merge)
        if self._shown is not None and self._shown[0] == key:
            self._shown[1].note = ""
            return self._shown[1]
        check()
        depth = _affordable(want.top, min(want.depth, len(evidence.stages)))
        tell(f"decomposing, {depth} steps deep …")
        tree = self._named(grow(evidence, dict(evidence.stages), _how(want), depth))
        shown = Shown(want, tree, _top(self.classifier, evidence), depth)
        if depth < min(want.depth, len(evidence.stages)):
            shown.note = f"{want.top} per node: begun at {depth} steps, so that at most {MOST_DRAWN} nodes are drawn"
        if tree.root.dead:
            shown.note = tree.root.dead
        self._shown = (key, shown)
        return shown

    def _named(self, tree: Decomposition) -> Decomposition:
        return tree if self.names is None else tree.named(self.names)

    def _evidence_of(self, want: Want, tell: Tell, check: Check) -> Evidence:
        if self._recorded is None or self._recorded[0] != want.picture:
            tell(f"running {self.classifier.name} …")
            found = record(self.classifier, opened(self.pictures[want.picture]))
            if len(found.x) != 1:
                raise ValueError(f"one picture is decomposed at a time; this batch has {len(found.x)}")
            if self._recorded is not None:
                self._recorded[1].close()
            self._recorded, self._evidence = (want.picture, found), None
        check()
        recording = self._recorded[1]
        best = int(recording.logits[0].argmax())
        target = best if want.target is None else self.classifier.index(want.target)
        if self._evidence is None or self._evidence[0] != (want.picture, target):
            self._evidence = ((want.picture, target), recording.evidence(target))
        return self._evidence[1]

    def _opened(self, want: Want, shown: Shown) -> set[int]:
        if want.opened is None:
            return {i for i, node in shown.tree.nodes.items() if node.children}
        for number in want.opened:
            shown.tree.node(number)
        return set(want.opened)

    def _remove(self, want: Want, shown: Shown, tell: Tell, check: Check) -> None:
        for number in want.removed:
            known = shown.single.get(number)
            if known is None or known.removal != want.removal:
                check()
                tell(f"removing {shown.tree.node(number).name} …")
                shown.single[number] = ablate(shown.tree, number, want.removal, means=self.means)
        if len(want.removed) > 1:
            check()
            shown.joint = ablate(shown.tree, list(want.removed), want.removal, means=self.means)
        else:
            shown.joint = shown.single[want.removed[0]] if want.removed else None


def _expand(shown: Shown, number: int) -> str:
    """Decompose a node; why not, in words, if it cannot be."""
    try:
        shown.tree.expand(number)
    except ValueError as error:
        return str(error)
    shown.calls.append(number)
    return ""


def _how(want: Want) -> How:
    return How(want.top, want.conditional, want.sign, want.merge)


def _affordable(top: int, depth: int, most: int = MOST_DRAWN) -> int:
    """The deepest start whose nodes are not more than can be drawn; at least one step."""
    sizes = [sum(top**i for i in range(d + 1)) for d in range(depth + 1)]
    return max([1, *(d for d, size in enumerate(sizes) if size <= most)])


def _top(classifier: Classifier, evidence: Evidence, count: int = 5) -> list[dict[str, Any]]:
    found = evidence.probabilities[0].topk(min(count, evidence.logits.shape[1]))
    return [
        {"index": i, "label": classifier.labels[i], "probability": p}
        for p, i in zip(found.values.tolist(), found.indices.tolist(), strict=True)
    ]
