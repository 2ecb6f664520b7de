"""Which concept a channel overlaps with: network dissection (Bau et al., CVPR 2017, arXiv:1704.05796, section 2.3).

A channel's activation, raised to the resolution of the masks and cut at a high quantile t_k of all its values over the
data set, marks a region M_k in every picture. For a concept c with masks L_c

    IoU(k, c) = Σ |M_k ∩ L_c| / Σ |M_k ∪ L_c|        (sums over the data set; Bau et al., eq. 1)

Two things differ from the paper. Bau et al. fix the quantile (t_k: 0.5 % of the positions lie above it); concepts of a
small world differ a hundredfold in size, so of a few quantiles the best is taken and told. And a region says nothing
of what lies below the threshold: a channel that answers everywhere, a little more strongly on wheels, is no wheel
detector, and removing it hurts every class. So a name also needs *selectivity* (after Morcos et al., ICLR 2018)

    (μ_with − μ_without) / (μ_with + μ_without)

of its mean activation in pictures with and without the concept: 1 = answers only where the concept is, 0 = to anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..classifiers.classifier import Classifier
from ..classifiers.given import check_classifier
from ..classifiers.taps import Tap
from ..evidence import record
from .naming import SHIPPED, Dissection, Name

QUANTILES = (0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
SIDE = 64  # masks and activations meet on a grid of at most so many rows and columns
SAMPLE = 200_000  # values per channel that its quantiles are taken from
BATCH, KEPT = 16, 3
Progress = Callable[[int, int], None]


def dissect(
    classifier: Classifier,
    data: Sequence[Any],
    taps: str | Sequence[str] = "stages",
    *,
    quantiles: Sequence[float] = QUANTILES,
    progress: Progress | None = None,
) -> Dissection:
    """Which concept each channel overlaps with, over a data set whose masks are known.

    Args:
        classifier: whose channels. taps: "stages", or names of stages and taps.
        data: a sequence of (picture, {name: H×W mask}), or of toy-world scenes (parts, contexts and objects are the
            concepts). It is gone through twice; memory does not grow with it.
        quantiles: of which t_k may be; the one with the largest IoU is taken for each channel and concept.
        progress: called with (pictures done, pictures to do).
    Raises:
        ValueError: no pictures, no masks, a quantile outside (0, 1), a mask that is not of its picture's size.

    Example:
        >>> import camwidgets
        >>> from camwidgets.datasets.toyworld import ToyWorld
        >>> found = dissect(camwidgets.load("toy"), ToyWorld(seed=5, n=20, context_strength=0), "S4")
        >>> found.best("features.relu4_2", 40).concept
        'wheel'
    """
    if not len(data):
        raise ValueError("no picture was given to dissect the channels with")
    if not quantiles or not all(0 < q < 1 for q in quantiles):
        raise ValueError(f"quantiles lie between 0 and 1; got {tuple(quantiles)}")
    check_classifier(classifier, "dissect")
    stages = classifier.select(taps)
    total = 2 * len(data)
    thresholds = _thresholds(classifier, data, stages, quantiles, lambda done: _tell(progress, done, total))
    concepts = tuple(dict.fromkeys(name for item in data for name in _masks(item)))
    if not concepts:
        raise ValueError("none of the pictures has a mask: there is nothing to name channels after")
    counts = {tap: _Counts(len(quantiles), tap.channels, len(concepts)) for tap in stages.values()}
    done = len(data)
    for items in _batches(data):
        masks = torch.stack([_on_grid(classifier, item, concepts) for item in items])
        with torch.no_grad(), record(classifier, [_picture(item) for item in items], list(stages)) as recording:
            for tap, count in counts.items():
                count.add(recording.activations[tap], masks, thresholds[tap])
        done += len(items)
        _tell(progress, done, total)
    ranked = {str(tap): count.ranked(concepts, quantiles) for tap, count in counts.items()}
    return Dissection(classifier.name, classifier.weights_hash(), len(data), concepts, ranked)


class _Counts:
    """What is summed up over the data set for one tap: Q thresholds, K channels, C concepts."""

    def __init__(self, Q: int, K: int, C: int) -> None:
        self.both, self.marked = torch.zeros((Q, K, C), dtype=torch.float64), torch.zeros((Q, K), dtype=torch.float64)
        self.concept, self.pictures = torch.zeros(C, dtype=torch.float64), 0
        self.answer, self.answer_with = torch.zeros(K, dtype=torch.float64), torch.zeros((K, C), dtype=torch.float64)
        self.having = torch.zeros(C, dtype=torch.float64)

    def add(self, A: Tensor, masks: Tensor, thresholds: Tensor) -> None:
        """A: n×K×h×w, masks: n×C×H×W shares, thresholds: Q×K."""
        flat = masks.flatten(2)
        self.concept += flat.sum((0, 2)).double()
        for values, mask in zip(_resized(A.cpu(), masks.shape[2:]), flat, strict=True):
            for q, t in enumerate(thresholds):
                region = (values > t[:, None, None]).flatten(1).float()
                self.both[q] += (region @ mask.T).double()
                self.marked[q] += region.sum(1).double()
        has, mean = (flat.amax(2) > 0).double(), A.clamp(min=0).mean((2, 3)).double().cpu()
        self.pictures += len(A)
        self.having += has.sum(0)
        self.answer += mean.sum(0)
        self.answer_with += mean.T @ has

    def ranked(self, concepts: Sequence[str], quantiles: Sequence[float]) -> tuple[tuple[Name, ...], ...]:
        iou = self.both / (self.marked[..., None] + self.concept - self.both).clamp(min=1e-9)
        best, which = iou.max(0)  # K×C
        inside = self.answer_with / self.having.clamp(min=1)
        outside = (self.answer[:, None] - self.answer_with) / (self.pictures - self.having).clamp(min=1)
        selectivity = (inside - outside) / (inside + outside).clamp(min=1e-12)
        found = []
        for k in range(len(best)):
            order = best[k].argsort(descending=True, stable=True)[:KEPT].tolist() if self.answer[k] > 0 else []
            found.append(tuple(
                Name(concepts[c], float(best[k, c]), float(selectivity[k, c]), quantiles[int(which[k, c])])
                for c in order if best[k, c] > 0
            ))  # fmt: skip
        return tuple(found)


def _thresholds(
    classifier: Classifier, data: Sequence[Any], stages: dict[str, Tap], quantiles: Sequence[float], tell: Any
) -> dict[str, Tensor]:
    """Tap → Q×K quantiles of the activations over all positions of all pictures (of an even sample of them)."""
    kept: dict[str, list[Tensor]] = {tap: [] for tap in stages.values()}
    each = max(1, SAMPLE // len(data))
    done = 0
    for items in _batches(data):
        with torch.no_grad(), record(classifier, [_picture(item) for item in items], list(stages)) as recording:
            for tap, A in recording.activations.items():
                values = A.flatten(2)
                step = max(1, values.shape[2] // each)
                kept[tap].append(values[:, :, done % step :: step].transpose(0, 1).flatten(1).cpu().clone())
        done += len(items)
        tell(done)
    q = np.asarray(quantiles)
    cut = {tap: np.quantile(torch.cat(values, 1).numpy(), q, axis=1) for tap, values in kept.items()}
    return {tap: torch.from_numpy(np.asarray(values)).float().clamp(min=0) for tap, values in cut.items()}


def _on_grid(classifier: Classifier, item: Any, concepts: Sequence[str]) -> Tensor:
    """C×H×W: the share of every cell of the grid that a concept covers, seen through the network's preprocessing."""
    h, w = classifier.input_size
    coarse = -(-max(h, w) // SIDE)
    grid = torch.zeros((len(concepts), h // coarse, w // coarse))
    picture = _picture(item)
    size = picture.size[::-1] if hasattr(picture, "mode") else np.shape(picture)[:2]
    for name, mask in _masks(item).items():
        values = np.asarray(mask, bool)
        if values.shape != tuple(size):
            raise ValueError(f"the mask {name!r} is {values.shape}, its picture {tuple(size)}")
        if values.any():
            white = np.repeat(255 * values[..., None].astype(np.uint8), 3, 2)
            shown = classifier.pictures(classifier.preprocess(white))[0][..., 0]
            share = torch.from_numpy(shown.astype(np.float32) / 255)[None]
            grid[concepts.index(name)] = F.adaptive_avg_pool2d(share, (grid.shape[1], grid.shape[2]))[0]
    return grid


def _resized(A: Tensor, size: Sequence[int]) -> Tensor:
    if A.shape[-2] > size[0] or A.shape[-1] > size[1]:
        return F.adaptive_avg_pool2d(A.float(), (size[0], size[1]))
    return F.interpolate(A.float(), size=(size[0], size[1]), mode="bilinear", align_corners=False)


def _picture(item: Any) -> Any:
    return item.image if hasattr(item, "image") else item[0]


def _masks(item: Any) -> dict[str, Any]:
    """Concept → mask: given, or a toy scene's parts, contexts and objects."""
    if not hasattr(item, "image"):
        return dict(item[1])
    return {**item.parts, **item.contexts, **{name: item.mask(name) for name in item.names}}


def _batches(data: Sequence[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(data), BATCH):
        yield [data[i] for i in range(start, min(start + BATCH, len(data)))]


def _tell(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done // 2, total // 2)


def main() -> None:
    """Make the names that are shipped with the toy networks: 300 scenes in contexts that say nothing of the class."""
    from ..classifiers.registry import load
    from ..datasets.toyworld import ToyWorld

    for name in SHIPPED:
        file = Path(__file__).parents[1] / "datasets" / "weights" / f"{name}-names.json"
        found = dissect(load(name), ToyWorld(seed=501, n=300, context_strength=0.0))
        print(f"{found.save(file)}: {int(found.to_frame()['named'].sum())} of {len(found.to_frame())} channels named")


if __name__ == "__main__":
    main()
