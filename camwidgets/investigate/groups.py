"""What failures share: the channels that wrong decisions rest on, and the patches where they do ([000] 5.3.2.1)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..classifiers.classifier import Classifier
from ..classifiers.taps import Tap
from ..decomposition.sets import Progress
from ..decomposition.tree import decompose

if TYPE_CHECKING:
    from .failures import Decided, FailureTable

Key = tuple[str, int]  # (stage, channel)
LARGEST = 0.5  # of the picture's shorter side: receptive fields beyond it are cut to this, around their middle
MOST_PATCHES = 24


@dataclass(frozen=True)
class CommonPatch:
    """One place where a failure rests on the channel.

    Attributes:
        number, id: the picture. y, x: the position in the tap. window: (x0, y0, x1, y1) of the network's input.
        share: the channel's part of the wrong class' score. picture: the window, h×w×3 uint8.
    """

    number: int
    id: str
    y: int
    x: int
    window: tuple[int, int, int, int]
    share: float
    picture: np.ndarray = field(repr=False, compare=False)


@dataclass(frozen=True)
class FailureGroup:
    """Failures whose wrong decisions rest on one channel.

    Attributes:
        stage, tap, channel: which. count: failures whose tree of the predicted class shows it; of: failures looked at.
        expected: how many would, if wrong decisions rested on it as often as right ones for the same classes: the sum
            over failures of (h + ½)/(n + 1), where h of n right pictures of the predicted class show it.
        into: predicted class index → how many of these failures. members: numbers of the pictures, strongest first.
        patches: where, strongest first, at most 24.
    """

    stage: str
    tap: str
    channel: int
    count: int
    of: int
    expected: float
    into: dict[int, int]
    members: tuple[int, ...] = field(repr=False)
    patches: tuple[CommonPatch, ...] = field(repr=False)

    @property
    def lift(self) -> float:
        """count / expected: above 1, errors rest on this channel more often than right decisions do."""
        return self.count / self.expected

    def __str__(self) -> str:
        name = f"{self.stage} #{self.channel}"
        return f"{self.count} of {self.of} errors rest on {name} ({self.lift:.1f} times as many as expected)"


def group_failures(
    table: FailureTable,
    *,
    depth: int = 2,
    top: int = 3,
    least: int = 2,
    controls: int = 8,
    progress: Progress | None = None,
) -> list[FailureGroup]:
    """Failures by the channels that their wrong decisions rest on, those first that explain most beyond expectation.

    Every failure's predicted class is decomposed; a (stage, channel) of its tree, merged members included, counts once.

    Args:
        depth: stages from the deepest up (2 = S5 and S4 of five). top: channels a node. least: failures in a group.
        controls: at most so many rightly classified pictures of each predicted class are decomposed, for comparison.
        progress: `progress(done, total)` after each tree; whatever it raises ends the work.
    Returns:
        Groups in falling order of count − expected; [] if nothing failed.

    Example:
        >>> import camwidgets
        >>> from camwidgets.datasets.toyworld import ToyWorld
        >>> table = camwidgets.failures(camwidgets.load("toy-shortcut"), ToyWorld(seed=5, n=30, context_strength=0.5))
        >>> group_failures(table, controls=2)[0].count >= 2
        True
    """
    if table.samples is None:
        raise ValueError("this table was loaded without its data set; run failures(classifier, dataset) to group them")
    for name, value in (("depth", depth), ("top", top), ("least", least), ("controls", controls)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} is a whole number, at least 1; got {value!r}")
    wrong = table.failures
    right = _controls(table, {d.predicted for d in wrong}, controls)
    trees = [*wrong, *(d for some in right.values() for d in some)]
    shown: list[dict[Key, _Place]] = []
    hits: dict[int, Counter[Key]] = defaultdict(Counter)
    for done, d in enumerate(trees, 1):
        found = _channels(table, d, depth, top)
        if d.right:
            hits[d.predicted].update(found.keys())
        else:
            shown.append(found)
        if progress is not None:
            progress(done, len(trees))
    counts = Counter(key for found in shown for key in found)
    rate = {c: {"n": len(right.get(c, [])), "hits": hits[c]} for c in {d.predicted for d in wrong}}
    groups = [_group(table, wrong, shown, key, rate) for key, count in counts.items() if count >= least]
    return sorted(groups, key=lambda g: (g.expected - g.count, g.stage, g.channel))


@dataclass(frozen=True)
class _Place:
    y: int
    x: int
    share: float


def _controls(table: FailureTable, classes: set[int], count: int) -> dict[int, list[Decided]]:
    found: dict[int, list[Decided]] = defaultdict(list)
    for d in table.decided:
        if d.right and d.predicted in classes and len(found[d.predicted]) < count:
            found[d.predicted].append(d)
    return found


def _channels(table: FailureTable, d: Decided, depth: int, top: int) -> dict[Key, _Place]:
    """The channels that a tree of the predicted class shows, each at its strongest node."""
    assert table.samples is not None
    tree = decompose(table.samples.classifier, table.input(d), d.predicted, top, depth=depth)
    found: dict[Key, _Place] = {}
    for node in sorted(tree.nodes.values(), key=lambda n: -n.class_share):
        if node.parent is not None:
            for channel in (node.channel, *node.members):
                found.setdefault((node.stage, channel), _Place(node.y, node.x, node.class_share))
    return found


def _group(
    table: FailureTable,
    wrong: tuple[Decided, ...],
    shown: list[dict[Key, _Place]],
    key: Key,
    rate: Mapping[int, Mapping[str, Any]],
) -> FailureGroup:
    assert table.samples is not None
    classifier = table.samples.classifier
    tap = classifier.tap(key[0])
    inside = [(d, places[key]) for d, places in zip(wrong, shown, strict=True) if key in places]
    inside.sort(key=lambda pair: (-pair[1].share, pair[0].number))
    expected = sum((rate[d.predicted]["hits"][key] + 0.5) / (rate[d.predicted]["n"] + 1) for d in wrong)
    into = Counter(d.predicted for d, _ in inside)
    patches = tuple(_patch(table, classifier, tap, d, place) for d, place in inside[:MOST_PATCHES])
    members = tuple(d.number for d, _ in inside)
    return FailureGroup(key[0], str(tap), key[1], len(inside), len(wrong), expected, dict(into), members, patches)


def _patch(table: FailureTable, classifier: Classifier, tap: Tap, d: Decided, place: _Place) -> CommonPatch:
    picture = table.picture(d)
    window = window_around(tap, place.y, place.x, (picture.shape[0], picture.shape[1]))
    x0, y0, x1, y1 = window
    return CommonPatch(d.number, d.id, place.y, place.x, window, place.share, picture[y0:y1, x0:x1].copy())


def window_around(tap: Tap, y: int, x: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The window that a position sees, (x0, y0, x1, y1) inside a picture of `size`; of one that sees more than half of
    the shorter side, so much around its middle (deep receptive fields are larger than the picture).
    """
    field, most = tap.receptive_field, max(1, round(LARGEST * min(size)))
    ends = []
    for i, at in enumerate((y, x)):
        if field.whole:  # mixed for good: only the place on the grid is left
            middle = (at + 0.5) * size[i] / tap.size[i]
        else:
            middle = field.start[i] + at * field.jump[i] + field.size[i] / 2
        side = most if field.whole else min(field.size[i], most)
        low = round(min(max(middle - side / 2, 0), size[i] - 1))
        ends.append((low, min(size[i], max(low + 1, round(middle + side / 2)))))
    return ends[1][0], ends[0][0], ends[1][1], ends[0][1]


def group_to_json(group: FailureGroup, folder: Path, number: int) -> dict[str, Any]:
    """Plain values; the patches become PNG files in `folder`."""
    content = asdict(group)
    for i, (row, patch) in enumerate(zip(content["patches"], group.patches, strict=True)):
        del row["picture"]
        Image.fromarray(patch.picture).save(folder / f"group{number:03d}_{i:02d}.png")
    return content


def group_from_json(content: dict[str, Any], folder: Path, number: int) -> FailureGroup:
    """What `group_to_json` wrote."""
    patches = []
    for i, row in enumerate(content["patches"]):
        with Image.open(folder / f"group{number:03d}_{i:02d}.png") as image:
            patches.append(CommonPatch(**row | {"window": tuple(row["window"]), "picture": np.array(image)}))
    into = {int(k): v for k, v in content["into"].items()}
    return FailureGroup(**content | {"patches": tuple(patches), "members": tuple(content["members"]), "into": into})
