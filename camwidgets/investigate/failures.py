"""What a classifier gets wrong: every error of a data set, how sure it was, what it took the picture for."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..classifiers.checks import check_finite
from ..classifiers.classifier import Classifier
from ..classifiers.given import check_classifier
from ..classifiers.guards import undisturbed
from ..decomposition.sets import Progress
from ..decomposition.tree import decompose
from ..errors import plain
from .groups import FailureGroup, group_failures, group_from_json, group_to_json
from .samples import Samples, by_shape, samples_of

if TYPE_CHECKING:
    import pandas as pd

    from ..decomposition.diff import TreeDiff

FORMAT = 1
BATCH = 16


@dataclass(frozen=True)
class Decided:
    """One picture and what it was taken for.

    Attributes:
        number, id: its place and name in the data set. label, predicted: class indices.
        confidence: softmax of the predicted class. own: softmax of the label.
    """

    number: int
    id: str
    label: int
    predicted: int
    confidence: float
    own: float

    @property
    def right(self) -> bool:
        return self.label == self.predicted


@dataclass(frozen=True)
class FailureTable:
    """Every decision over a data set, the wrong ones above all. Made by `failures`.

    Attributes:
        labels: class names. decided: every picture that could be read, in the data set's order. broken: name → why it
            could not be read. made_by: model, weights. groups: what failures share (`grouped`), or ().
    """

    labels: list[str] = field(repr=False)
    decided: tuple[Decided, ...] = field(repr=False)
    broken: dict[str, str]
    made_by: dict[str, Any]
    groups: tuple[FailureGroup, ...] = field(default=(), repr=False)
    samples: Samples | None = field(default=None, repr=False)
    folder: Path | None = field(default=None, repr=False)

    @property
    def failures(self) -> tuple[Decided, ...]:
        """The misclassified pictures, the most confident error first."""
        return tuple(sorted((d for d in self.decided if not d.right), key=lambda d: (-d.confidence, d.number)))

    @property
    def accuracy(self) -> float:
        """Share of the pictures that are classified rightly; NaN where none was decided."""
        return sum(d.right for d in self.decided) / len(self.decided) if self.decided else float("nan")

    def __len__(self) -> int:
        """How many failures there are."""
        return len(self.failures)

    def __str__(self) -> str:
        n, wrong = len(self.decided), len(self)
        if not n:
            return "no picture was decided"
        if not wrong:
            least = [f"{d.id} ({self.labels[d.predicted]!r} {d.confidence:.0%})" for d in self.least_confident(3)]
            return f"no failure among {n} pictures; the least confident: {', '.join(least)}"
        worst = self.failures[0]
        return (
            f"{wrong} of {n} pictures misclassified (accuracy {self.accuracy:.1%}); the most confident: {worst.id}, "
            f"{self.labels[worst.label]!r} taken for {self.labels[worst.predicted]!r} at {worst.confidence:.0%}"
        )

    def least_confident(self, count: int = 5) -> list[Decided]:
        """The pictures that were decided least confidently, right or wrong: where to look when nothing failed."""
        return sorted(self.decided, key=lambda d: (d.confidence, d.number))[:count]

    def confusion(self) -> pd.DataFrame:
        """Counts of label (rows) × predicted (columns) over the classes that occur, in the order of the logits."""
        import pandas as pd

        present = sorted({d.label for d in self.decided} | {d.predicted for d in self.decided})
        place = {index: i for i, index in enumerate(present)}
        counts = np.zeros((len(present), len(present)), int)
        for d in self.decided:
            counts[place[d.label], place[d.predicted]] += 1
        names = [self.labels[i] for i in present]
        return pd.DataFrame(counts, pd.Index(names, name="label"), pd.Index(names, name="predicted"))

    def to_frame(self) -> pd.DataFrame:
        """One row per picture: `id`, `label`, `predicted`, `confidence`, `own`, `right`."""
        import pandas as pd

        rows = [asdict(d) | {"label": self.labels[d.label], "predicted": self.labels[d.predicted], "right": d.right}
                for d in self.decided]  # fmt: skip
        columns = [*(one.name for one in fields(Decided)), "right"]
        return pd.DataFrame(rows, columns=columns).set_index("number")

    def input(self, one: Decided) -> Tensor:
        """The 1×3×h×w network input of a picture of the table.

        Raises:
            ValueError: the table was loaded from a file and has no data set.
        """
        if self.samples is None:
            raise ValueError("this table was loaded without its data set; run failures(classifier, dataset) for more")
        return self.samples.classifier.preprocess(self.samples[one.number].open())

    def picture(self, one: Decided) -> np.ndarray:
        """What the network saw of a picture, h×w×3 uint8; of a loaded table: of its failures."""
        if self.samples is not None:
            return self.samples.classifier.pictures(self.input(one))[0]
        path = (self.folder or Path()) / f"{one.number:07d}.png"
        if self.folder is None or not path.is_file():
            raise ValueError(f"the saved table holds pictures of its failures only, and {one.id!r} is none of them")
        with Image.open(path) as image:
            return np.array(image.convert("RGB"))

    def tree_diff(self, one: Decided, **how: Any) -> TreeDiff:
        """From the tree of a picture's own class to that of the class it was taken for; `how` as for `decompose`."""
        x = self.input(one)  # says so if there is no data set
        assert self.samples is not None
        own, taken = (decompose(self.samples.classifier, x, c, **how) for c in (one.label, one.predicted))
        return own.diff(taken)

    def grouped(self, **how: Any) -> FailureTable:
        """This table with its `groups`: the failures by the tree channels they share; `how` as for `group_failures`."""
        return replace(self, groups=tuple(group_failures(self, **how)))

    def save(self, folder: str | Path) -> Path:
        """Write `failures.json`, a PNG of each failure, and of each patch of the groups."""
        home = Path(folder).expanduser()
        home.mkdir(parents=True, exist_ok=True)
        content = {
            "format": FORMAT, "labels": self.labels, "made_by": self.made_by, "broken": self.broken,
            "decided": [asdict(d) for d in self.decided],
            "groups": [group_to_json(group, home, i) for i, group in enumerate(self.groups)],
        }  # fmt: skip
        for one in self.failures:
            Image.fromarray(self.picture(one)).save(home / f"{one.number:07d}.png")
        (home / "failures.json").write_text(json.dumps(content, ensure_ascii=False, allow_nan=False), "utf-8")
        return home

    @classmethod
    def load(cls, folder: str | Path) -> FailureTable:
        """Read what `save` wrote; nothing in the files is run."""
        home = Path(folder).expanduser()
        source = home / "failures.json"
        if not source.is_file():
            raise FileNotFoundError(f"no saved failures in {str(folder)!r} (failures.json is missing)")
        content = json.loads(source.read_text("utf-8"))
        if content.get("format") != FORMAT:
            raise ValueError(f"{str(source)!r} has format {content.get('format')!r}; this version reads {FORMAT}")
        decided = tuple(Decided(**row) for row in content["decided"])
        groups = tuple(group_from_json(one, home, i) for i, one in enumerate(content["groups"]))
        return cls(content["labels"], decided, content["broken"], content["made_by"], groups, None, home)


def failures(
    classifier: Classifier,
    dataset: Any,
    limit: int | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> FailureTable:
    """What is misclassified, how confidently, into what.

    Args:
        dataset: what `camwidgets.datasets.open_dataset` opens (a folder, a CSV …, a torch data set), or a sequence of
            items with `open()` or `image` and a `label` (class index or one of the classifier's labels), of toy scenes,
            or of pairs (picture, label). limit: look at the first so many only.
        progress: `progress(done, total)` after each few pictures; whatever it raises ends the work.
        cancelled: asked after each few pictures; True ends the work with the table of those looked at so far
            (`made_by["looked_at"]`).
    Raises:
        TypeError: no data set, or no labels. ValueError: an empty one, an unknown label, not one readable picture.

    Example:
        >>> import camwidgets
        >>> from camwidgets.datasets.toyworld import ToyWorld
        >>> table = failures(camwidgets.load("toy-shortcut"), ToyWorld(seed=5, n=40, context="swap"))
        >>> len(table) > 30
        True
    """
    check_classifier(classifier, "failures")
    samples, limit = samples_of(classifier, dataset), plain(limit)
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise ValueError(f"limit is a number of pictures, at least 1, or None for all; got {limit!r}")
    total = len(samples) if limit is None else min(limit, len(samples))
    decided: list[Decided] = []
    broken: dict[str, str] = {}
    for start in range(0, total, BATCH):
        looked_at = min(start + BATCH, total)
        decided += _decide(samples, range(start, looked_at), broken)
        if progress is not None:
            progress(looked_at, total)
        if cancelled is not None and cancelled():
            break
    if not decided:
        name, why = next(iter(broken.items()))
        raise ValueError(f"none of the {looked_at} pictures could be read; the first, {name!r}: {why}")
    made_by = {"model": classifier.name, "weights_sha256": classifier.weights_hash(), "looked_at": looked_at}
    return FailureTable(list(classifier.labels), tuple(decided), broken, made_by, (), samples)


def _decide(samples: Samples, numbers: range, broken: dict[str, str]) -> list[Decided]:
    classifier, found = samples.classifier, list[Decided]()
    for part in by_shape(samples.read(numbers, broken)):
        with classifier.lock, torch.inference_mode(False), torch.no_grad(), undisturbed(classifier.module):
            logits = classifier.logits(torch.cat([x for *_, x in part])).float().cpu()
        check_finite(logits, classifier.name)
        p = logits.softmax(1)
        found += [
            Decided(number, one.id, one.label, int(p[i].argmax()), float(p[i].max()), float(p[i, one.label]))
            for i, (number, one, _) in enumerate(part)
        ]
    return sorted(found, key=lambda d: d.number)
