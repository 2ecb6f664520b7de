"""Maps of every training picture, kind by kind: what `benchmarks learning` compares, kept in files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import camwidgets
from camwidgets.classifiers.guards import undisturbed
from camwidgets.learning.accumulate import AttentionAccumulator
from camwidgets.learning.labelled import Example, Labelled
from camwidgets.learning.nets import attention_maps
from camwidgets.learning.objective import normalised
from camwidgets.learning.pseudo import superpixels_of

SIZE = (24, 24)  # of the maps of an `AttentionNet` with two pools, for 96×96 pixels
FUSED = 3  # LayerCAM: so many of the deepest stages


class Both(AttentionAccumulator):
    """One training, two rules: what is folded into the maximum is folded into a running mean beside it as well."""

    def __init__(self, folder: Path, data: Labelled) -> None:
        self.mean = AttentionAccumulator(folder / "mean", data.ids, data.classes, SIZE, rule="mean")
        super().__init__(folder / "max", data.ids, data.classes, SIZE)

    def __enter__(self) -> Both:
        return self

    def update(self, ids: Sequence[str], maps: Tensor, present: Tensor) -> None:
        super().update(ids, maps, present)
        self.mean.update(ids, maps, present)

    def flush(self) -> int:
        mean, most = self.mean.flush(), super().flush()
        if mean != most:
            raise RuntimeError(f"the states of the two accumulators are {most} and {mean}")
        return most

    def rollback(self, number: int) -> None:
        self.mean.rollback(number)
        super().rollback(number)

    def close(self) -> None:
        self.mean.close()
        super().close()


def kept(path: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    """The array in that file; made, and written beside and renamed, if it is not there."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npy")
        np.save(part, make())
        part.replace(path)
    found: np.ndarray = np.load(path, allow_pickle=False)
    return found


def accumulated(maps: AttentionAccumulator, data: Labelled) -> np.ndarray:
    """N×C×h×w float16, in the data's order."""
    return np.stack([np.asarray(maps.maps(id), np.float16) for id in data.ids])


def by_net(net: nn.Module, data: Labelled, read: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> np.ndarray:
    """N×C×h×w float16: `read(net, x, present)` in batches, the net in evaluation mode, pictures unmoved."""
    parts = []
    with undisturbed(net), torch.no_grad():
        for start in range(0, len(data), 64):
            some = list(data[start : start + 64])
            x, present = (torch.stack(t) for t in ([normalised(e.picture) for e in some], [e.present for e in some]))
            parts.append(read(net, x, present).numpy().astype(np.float16))
    return np.concatenate(parts)


def cam(net: nn.Module, x: Tensor, present: Tensor) -> Tensor:
    """A^c = ReLU(F^c) / max F^c (4.2)."""
    return attention_maps(net.scores(x), present)  # type: ignore[operator]


def integral(net: nn.Module, x: Tensor, present: Tensor) -> Tensor:
    """q^c = σ(F^c) of the classes present ([000] 4.2.3)."""
    found: Tensor = net.scores(x).sigmoid() * present[..., None, None]  # type: ignore[operator]
    return found


def covered(maps: np.ndarray, examples: Sequence[Example], split: float) -> tuple[float, float]:
    """How much of the maps of the classes present is N₊ = {M/max M > split}, and how much of N₊ is the object."""
    positive = objects = positions = 0.0
    for M, example in zip(maps, examples, strict=True):
        assert example.mask is not None
        for c in example.present.nonzero()[:, 0].tolist():
            there = torch.nn.functional.adaptive_avg_pool2d((example.mask == c + 1).float()[None], M.shape[-2:])[0]
            above = torch.from_numpy(M[c].astype(np.float32) > split * float(M[c].max()))
            positive, objects = positive + float(above.sum()), objects + float(there[above].sum())
            positions += above.numel()
    return positive / positions, objects / max(positive, 1.0)


def layercam(classifier: camwidgets.Classifier, data: Labelled, stages: int) -> np.ndarray:
    """N×C×48×48 float16: LayerCAM of so many of the deepest stages, "paper" ([000] (3.9)); classes present."""
    found = np.zeros((len(data), len(data.classes), 48, 48), np.float16)
    names = list(classifier.stages)[-stages:]
    present = torch.stack([example.present for example in data])
    for c in range(len(data.classes)):
        for some in present[:, c].nonzero()[:, 0].split(32):
            x = normalised(torch.stack([data[i].picture for i in some.tolist()]))
            made = camwidgets.explain(classifier, x, "layercam", c, names, preset="paper")
            for i, one in zip(some.tolist(), made if isinstance(made, list) else [made], strict=True):
                halved = torch.nn.functional.avg_pool2d(torch.from_numpy(np.asarray(one.map))[None], 2)
                found[i, c] = halved[0].numpy()
    return found


def regions(data: Labelled) -> np.ndarray:
    """N×H×W int16: the superpixels of every picture."""
    return np.stack([superpixels_of(example.picture).astype(np.int16) for example in data])


def foreground(example: Example) -> np.ndarray:
    """1 on the objects of all classes, 0 elsewhere: what a perfect saliency map would say."""
    assert example.mask is not None
    return (example.mask > 0).numpy().astype(np.float32)
