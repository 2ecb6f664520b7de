"""What a tree explorer's worker does: from what is wanted to what can be shown, by the shortest way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...classifiers.classifier import Classifier
from ...decomposition.ablation import Ablation, ablate
from ...decomposition.growth import grow
from ...decomposition.naming import Dissection
from ...decomposition.tree import Decomposition, How
from ...evidence import Evidence, Recording, record
from ...figures.layout import MOST_DRAWN
from ..sources import Pictures, Source, opened

Tell = Callable[[str], None]
Check = Callable[[], None]


@dataclass(frozen=True)
class Want:
    """The view that is asked for. `opened` None: as the starting depth says.

    `of`: the tree whose nodes `opened`, `selected` and `removed` name; None: whichever the settings lead to.
    """

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
    of: Decomposition | None = field(default=None, compare=False, repr=False)

    def fresh(self, **changes: Any) -> Want:
        """The same with other settings: a new tree, of which nothing is opened, selected or removed yet."""
        return replace(self, **{"opened": None, "selected": 0, "removed": (), "of": None, **changes})


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


@dataclass(frozen=True)
class Subject:
    """What a recording is of: whatever in it changes, the network is run again.

    `source` is kept, so that no other object takes its identity; `stamp` is a file's time and size.
    """

    picture: str
    weights: str
    source: Source = field(compare=False)
    stamp: tuple[int, int] | None

    def same(self, other: Subject) -> bool:
        """Whether a recording of one is a recording of the other."""
        return self == other and self.source is other.source

    def differs(self, other: Subject) -> str:
        """What has changed under the same name, in words; "" where the picture is another one."""
        if self.picture != other.picture:
            return ""
        return "the network's weights have" if self.weights != other.weights else "the picture has"


class TreeMaker:
    """Keeps the last recording, evidence and tree, so that each request costs only what is new in it."""

    def __init__(
        self, classifier: Classifier, pictures: Pictures, means: Mapping[Any, Any] | None, names: Dissection | None
    ) -> None:
        self.classifier, self.pictures, self.means, self.names = classifier, pictures, means, names
        self._recorded: tuple[Subject, Recording] | None = None
        self._evidence: Evidence | None = None
        self._shown: tuple[tuple[Any, ...], Shown] | None = None
        self.growing = threading.RLock()  # held while the tree on screen grows, and while all of it is read
        self._changed = ""  # what has changed under the tree that is on screen, in words

    def run(self, want: Want, tell: Tell, check: Check) -> Shown:
        """What is to be shown for `want`; `check` raises when nobody waits for it any more.

        Where the tree had to be made anew, what `want` says of the nodes of another one means nothing in it.
        """
        made = self._tree(want, tell, check)
        tree, note = made.tree, made.note
        if want.of is not None and want.of is not tree:
            want = want.fresh()
            if self._changed:
                note = f"taken apart anew: {self._changed} changed since{'; ' if note else ''}{note}"
        opened = self._opened(want, made)
        for number in sorted(opened - {i for i in opened if i in tree.nodes and tree.nodes[i].children}):
            check()
            tell(f"decomposing {tree.node(number).name} …")
            with self.growing:
                note = _expand(made, number) or note
        opened = {i for i in opened if i in tree.nodes and tree.nodes[i].children}
        selected = tree.node(want.selected).id
        joint = self._remove(want, made, tell, check)
        done = replace(want, target=tree.target, opened=tuple(sorted(opened)), selected=selected, of=None)
        self._changed = ""
        return replace(made, want=done, joint=joint, note=note)  # on screen nothing changes until this is applied

    def full(self, shown: Shown, tell: Tell) -> Decomposition:
        """The whole tree of what is shown, every node decomposed; the one on screen stays as it is.

        Raises:
            ValueError: the network has other weights by now.
        """
        decomposer, want = shown.tree.decomposer, shown.want
        assert decomposer is not None
        if shown.tree.made_by["weights_sha256"] != self.classifier.weights_hash():
            raise ValueError("the network's weights have changed since this tree was made; show the picture again")
        depth = _affordable(want.top, len(shown.tree.stages), most=1100)
        tell(f"decomposing every node, {depth} steps deep …")
        return self._named(grow(decomposer.evidence, dict(decomposer.evidence.stages), _how(want), depth))

    def close(self) -> None:
        """Free the graph."""
        if self._recorded is not None:
            self._recorded[1].close()
        self._recorded = self._evidence = self._shown = None

    # ------------------------------------------------------------------ steps

    def _tree(self, want: Want, tell: Tell, check: Check) -> Shown:
        evidence = self._evidence_of(want, tell, check)
        key = (id(evidence), want.top, want.depth, want.conditional, want.sign, want.merge)  # which is kept as long
        if self._shown is not None and self._shown[0] == key:
            return self._shown[1]
        check()
        depth = _affordable(want.top, min(want.depth, len(evidence.stages)))
        tell(f"decomposing, {depth} steps deep …")
        tree = self._named(grow(evidence, dict(evidence.stages), _how(want), depth))
        shown, note = Shown(want, tree, _top(self.classifier, evidence), depth), tree.root.dead
        if not note and depth < min(want.depth, len(evidence.stages)):
            note = f"{want.top} per node: begun at {depth} steps, so that at most {MOST_DRAWN} nodes are drawn"
        self._shown = (key, shown)
        shown.note = note
        return shown

    def _named(self, tree: Decomposition) -> Decomposition:
        return tree if self.names is None else tree.named(self.names)

    def _evidence_of(self, want: Want, tell: Tell, check: Check) -> Evidence:
        subject = self._subject(want.picture)
        if self._recorded is None or not self._recorded[0].same(subject):
            tell(f"running {self.classifier.name} …")
            found = record(self.classifier, opened(subject.source))
            if len(found.x) != 1:
                raise ValueError(f"one picture is decomposed at a time; this batch has {len(found.x)}")
            if self._recorded is not None:
                self._changed = self._recorded[0].differs(subject)
                self._recorded[1].close()
            self._recorded, self._evidence = (subject, found), None
        check()
        recording = self._recorded[1]
        best = int(recording.logits[0].argmax())
        target = best if want.target is None else self.classifier.index(want.target)
        if self._evidence is None or self._evidence.targets[0] != target:
            self._evidence = recording.evidence(target)
        return self._evidence

    def _subject(self, picture: str) -> Subject:
        source = self.pictures[picture]
        found = Subject(picture, self.classifier.weights_hash(), source, _stamp(source.image))
        known = None if self._recorded is None else self._recorded[0]
        if found.stamp is None and known is not None and known.source is source:
            return replace(found, stamp=known.stamp)  # the file is gone; what was read of it is there
        return found

    def _opened(self, want: Want, shown: Shown) -> set[int]:
        if want.opened is None:
            return {i for i, node in shown.tree.nodes.items() if node.children}
        for number in want.opened:
            shown.tree.node(number)
        return set(want.opened)

    def _remove(self, want: Want, shown: Shown, tell: Tell, check: Check) -> Ablation | None:
        """What removing all of them together does."""
        for number in want.removed:
            known = shown.single.get(number)
            if known is None or known.removal != want.removal:
                check()
                tell(f"removing {shown.tree.node(number).name} …")
                shown.single[number] = ablate(shown.tree, number, want.removal, means=self.means)
        if len(want.removed) > 1:
            check()
            return ablate(shown.tree, list(want.removed), want.removal, means=self.means)
        return shown.single[want.removed[0]] if want.removed else None


def _expand(shown: Shown, number: int) -> str:
    """Decompose a node; why not, in words, if it cannot be."""
    try:
        shown.tree.expand(number)
    except ValueError as error:
        return str(error)
    shown.calls.append(number)
    return ""


def _stamp(image: Any) -> tuple[int, int] | None:
    """When a file was written last, and its size; None for what is no file."""
    if not isinstance(image, (str, Path)):
        return None
    try:
        found = Path(image).expanduser().stat()
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size


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
