"""What `benchmarks learning` does for one seed: trainings, maps, labels, segmentation nets; each made only once."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from camwidgets.learning.accumulate import AttentionAccumulator
from camwidgets.learning.classification import ClassifierObjective
from camwidgets.learning.drop import AttentionDrop
from camwidgets.learning.labelled import Example, Labelled
from camwidgets.learning.oaa import IntegralObjective, OAAObjective
from camwidgets.learning.pseudo import BACKGROUND, pseudo_labelled, pseudo_labels
from camwidgets.learning.quality import Confusion, MapQuality
from camwidgets.learning.run import Run, open_run
from camwidgets.learning.segmenter import SegmentObjective, SmallLargeFOV, score

from . import learning_maps as made_of
from .learning_maps import FUSED, SIZE, Both, accumulated, by_net, cam, integral, kept, layercam
from .learning_nets import begun, learn, take_over, world

JUDGED = 200  # pictures: for thresholds, and for recall and noise per epoch
GRID = tuple(round(0.05 * i, 2) for i in range(1, 17))
TRUTH = "true masks (upper bound)"
SPLIT = 0.7  # between N₊ and N₋ of the integral models that are not the thesis': chosen by --show split
#: Kind of map → the file of its arrays.
KINDS = {
    "CAM": "cam", "OAA, mean": "mean", "OAA, max": "max", "OAA++": "drop", "OAA⁺": "integral",
    "OAA+++": "integral_drop", "OAA⁺, ReLU": "integral_relu", "OAA+++, ReLU": "integral_drop_relu",
    "OAA⁺, t = 0.3, ReLU": "integral_0.3_relu", f"OAA⁺, t = {SPLIT}": f"integral_{SPLIT}",
    f"OAA+++, t = {SPLIT}": f"integral_drop_{SPLIT}",
    "LayerCAM, last stage": "layercam_1", f"LayerCAM, {FUSED} stages fused": f"layercam_{FUSED}",
}  # fmt: skip


def split_name(name: str, split: float) -> str:
    """The run of an integral model with that threshold between N₊ and N₋; "integral" for the thesis' 0.

    Example:
        >>> split_name("integral", 0.0), split_name("integral", 0.4)
        ('integral', 'integral_0.4')
    """
    return f"{name}_{split:.1f}" if split else name


#: Integral models: run → the maps that it learns, and the threshold between N₊ and N₋ (table 4.6 of [000]).
MODELS = {
    split_name(name, split): (source, split)
    for split, name, source in (
        (0.0, "integral", "accumulated/max"), (0.0, "integral_drop", "dropped"), (0.3, "integral", "accumulated/max"),
        (SPLIT, "integral", "accumulated/max"), (SPLIT, "integral_drop", "dropped"),
    )
}  # fmt: skip
Result = dict[str, float]
#: Options that what lies in a folder was made with.
SETTINGS = ("pictures", "warm", "epochs", "held_out", "segment_epochs", "segment_width")


def claim(folder: Path, options: argparse.Namespace) -> None:
    """Make the folder and note what it is made with; a folder of other settings is refused, not taken for these."""
    folder.mkdir(parents=True, exist_ok=True)
    asked = {name: getattr(options, name) for name in SETTINGS}
    note = folder / "options.json"
    if not note.exists():
        note.write_text(json.dumps(asked), encoding="utf-8")
    made = json.loads(note.read_text(encoding="utf-8"))
    if made != asked:
        raise SystemExit(f"{folder} was made with {made}, not with {asked}; name another --folder, or remove it")


class Stages:
    """One seed in its folder.

    Attributes:
        data: the pictures that are trained on. judged: those of them that recall and noise per epoch, and the
            thresholds of the other seeds, are measured on.
    """

    def __init__(self, folder: Path, seed: int, options: argparse.Namespace) -> None:
        self.folder, self.seed, self.options = folder / f"seed_{seed}", seed, options
        claim(self.folder, options)
        self.data = world(1000 + seed, options.pictures)
        self.places = {id: place for place, id in enumerate(self.data.ids)}
        self.judged = list(self.data.take(range(min(JUDGED, len(self.data)))))

    # ------------------------------------------------------------------------------------------------ maps

    def maps(self) -> dict[str, np.ndarray]:
        """Kind → N×C×h×w, read from the disk piece by piece."""
        for make in (self._oaa, self._drop, self._integral, self._layercam):
            make()
        return {kind: np.load(self._path(name), mmap_mode="r", allow_pickle=False) for kind, name in KINDS.items()}

    def regions(self) -> np.ndarray:
        """N×H×W: superpixels."""
        return kept(self._path("regions"), lambda: made_of.regions(self.data))

    def _oaa(self) -> None:
        if self._has("cam", "mean", "max"):
            return
        with Both(self.folder / "accumulated", self.data) as both:
            net = self._started()
            measure = partial(self._measure, {"max": both, "mean": both.mean})
            self._learn(net, OAAObjective(both), "oaa", measure=measure)
            kept(self._path("max"), lambda: accumulated(both, self.data))
            kept(self._path("mean"), lambda: accumulated(both.mean, self.data))
        kept(self._path("cam"), lambda: by_net(net, self.data, cam))

    def _drop(self) -> None:
        if self._has("drop"):
            return
        with self._accumulator("dropped") as maps:
            measure = partial(self._measure, {"drop": maps})
            self._learn(self._started(), OAAObjective(maps, AttentionDrop()), "oaa++", measure=measure)
            kept(self._path("drop"), lambda: accumulated(maps, self.data))

    def _integral(self) -> None:
        for name, (source, split) in MODELS.items():
            if self._has(name, f"{name}_relu"):
                continue
            net = self._integrated(name, source, split)
            for file, read in ((name, integral), (f"{name}_relu", cam)):
                made = by_net(net, self.data, read)
                kept(self._path(file), lambda made=made: made)  # type: ignore[misc]

    def _integrated(self, name: str, source: str, split: float) -> nn.Module:
        """A net that has learnt the maps in `source`, N₊ = {p > split}."""
        net = self._started()
        self._learn(net, IntegralObjective(self.folder / source, threshold=split), name)
        return net

    def _layercam(self) -> None:
        for stages in (1, FUSED):
            if not self._has(f"layercam_{stages}"):
                print(f"{self.folder}: LayerCAM, {stages} stages", file=sys.stderr, flush=True)
                made = layercam(open_run(self.folder / "oaa").classifier(), self.data, stages)
                kept(self._path(f"layercam_{stages}"), lambda made=made: made)  # type: ignore[misc]

    def _learn(self, net: nn.Module, objective: Any, name: str, **more: Any) -> Run:
        return learn(net, self.data, objective, self.folder / name, self.options.epochs, self.seed, **more)

    def _started(self) -> nn.Module:
        """A net that has learnt to classify these pictures for a while: before, its maps are anything."""
        net, folder = begun(self.seed, self.data), self.folder / "warm"
        if not self.options.warm:
            return net
        if not (folder / "run.json").is_file() or open_run(folder).status != "done":
            learn(net, self.data, ClassifierObjective(), folder, self.options.warm, self.seed, watch=1)
        return open_run(folder).net(module=net).train()  # read, not resumed: it may be of an older version

    def _accumulator(self, name: str) -> AttentionAccumulator:
        return AttentionAccumulator(self.folder / name, self.data.ids, self.data.classes, SIZE)

    def _measure(self, kinds: dict[str, AttentionAccumulator], net: nn.Module, epoch: int, _: Any) -> Result:
        """Recall and noise of the cumulative maps, and of the net's own as they are now."""
        now = by_net(net, self.data.take(range(len(self.judged))), cam)
        whole = {"now": self._quality(self.judged, lambda example: now[self.places[example.id]])}
        for name, maps in kinds.items():
            whole[name] = self._quality(self.judged, lambda example, maps=maps: maps.maps(example.id))  # type: ignore[misc]
        told = [(f"recall_{name}", recall) for name, (recall, _) in whole.items()]
        return dict(told + [(f"noise_{name}", noise) for name, (_, noise) in whole.items()])

    def _quality(self, examples: list[Example], maps_of: Callable[[Example], Any]) -> tuple[float, float]:
        quality = MapQuality(self.data.classes)
        for example in examples:
            assert example.mask is not None
            quality.add(maps_of(example), example.mask, np.flatnonzero(example.present).tolist())
        return quality.whole

    def _path(self, name: str) -> Path:
        return self.folder / "maps" / f"{name}.npy"

    def _has(self, *names: str) -> bool:
        return all(self._path(name).is_file() for name in names)

    # ------------------------------------------------------------------------------------------------ labels

    def thresholds(self) -> dict[str, list[float]]:
        """Kind → mIoU of the pseudo-labels of the judged pictures at each threshold of `GRID`."""
        maps = self.maps()

        def scored(kind: str) -> np.ndarray:
            return np.array(self._line(maps[kind]))

        lines = {kind: kept(self._path(f"thresholds_{name}"), partial(scored, kind)) for kind, name in KINDS.items()}
        return {kind: line.tolist() for kind, line in lines.items()}

    def _line(self, maps: np.ndarray) -> list[float]:
        """mIoU of the judged pictures' labels at each threshold of `GRID`."""
        areas = self.regions()
        return [self._miou(maps, areas, b, self.judged) for b in GRID]

    def split(self, split: float) -> Result:
        """An integral model of OAA max, N₊ = {p > split}: what N₊ covers; of both readings recall, noise and, at its
        best threshold, mIoU of the judged pictures."""

        def measured() -> Result:
            net = self._integrated(split_name("integral", split), "accumulated/max", split)
            found = dict(zip(("positive", "object"), made_of.covered(self._maximum(), self.judged, split), strict=True))
            for reading, read in (("relu", cam), ("sigma", integral)):
                maps = by_net(net, self.data.take(range(len(self.judged))), read)
                found |= self._judged_with(maps, f"_{reading}")
            return found

        return self._kept(f"OAA⁺, N₊ above {split:.1f}, judged pictures", measured)

    def unsplit(self) -> Result:
        """The same of the maps that it learns: OAA max, which is read as ReLU(F)/max F."""
        return self._kept("OAA, max, judged pictures", lambda: self._judged_with(self._maximum(), "_relu"))

    def _maximum(self) -> np.ndarray:
        self._oaa()
        return np.asarray(np.load(self._path("max"), mmap_mode="r", allow_pickle=False)[: len(self.judged)])

    def _judged_with(self, maps: np.ndarray, ending: str) -> Result:
        recall, noise = self._quality(self.judged, lambda example: maps[self.places[example.id]])
        return {f"recall{ending}": recall, f"noise{ending}": noise, f"miou{ending}": max(self._line(maps))}

    def labels(self, kind: str, background: float) -> Result:
        """Recall and noise of a kind's maps of all pictures, and mIoU of the labels made with that threshold."""

        def measured() -> Result:
            maps = np.load(self._path(KINDS[kind]), mmap_mode="r", allow_pickle=False)
            recall, noise = self._quality(list(self.data), lambda example: maps[self.places[example.id]])
            miou = self._miou(maps, self.regions(), background, list(self.data))
            return {"background": background, "recall": recall, "noise": noise, "miou": miou}

        return self._kept(f"{kind}, labels at {background:.2f}", measured)

    def foreground(self, kind: str) -> Result:
        """mIoU of the judged pictures' labels if the background were known: b = 0.3 and true foreground as saliency."""

        def measured() -> Result:
            maps = np.load(self._path(KINDS[kind]), mmap_mode="r", allow_pickle=False)
            return {"foreground": self._miou(maps, self.regions(), BACKGROUND, self.judged, made_of.foreground)}

        return self._kept(f"{kind}, labels on the true foreground", measured)

    def segmented(self, kind: str, background: float) -> Result:
        """mIoU on the held-out world of a segmentation net trained on such labels, or on the true masks (`TRUTH`)."""

        def measured() -> Result:
            if kind == TRUTH:
                return {"segmenter": self._segmenter("truth", self.data)}
            maps, areas = np.load(self._path(KINDS[kind]), mmap_mode="r", allow_pickle=False), self.regions()
            labelled = pseudo_labelled(
                self.data, lambda example: maps[self.places[example.id]], background=background, conflict="largest",
                superpixels=lambda example: areas[self.places[example.id]],
            )  # fmt: skip
            return {"segmenter": self._segmenter(f"{KINDS[kind]}_{background:.2f}", labelled.painted())}

        return self._kept(f"{kind}, segmentation net at {background:.2f}", measured)

    def _segmenter(self, name: str, labelled: Labelled) -> float:
        torch.manual_seed(self.seed)
        net = SmallLargeFOV(len(self.data.classes), width=self.options.segment_width)
        take_over(net.front, self.data)
        learn(
            net, labelled, SegmentObjective(), self.folder / f"segment_{name}", self.options.segment_epochs,
            self.seed, watch=1,
        )  # fmt: skip
        return score(net, self._held_out).miou()

    @cached_property
    def _held_out(self) -> Labelled:
        return world(2000 + self.seed, self.options.held_out)

    def _miou(
        self, maps: np.ndarray, areas: np.ndarray, background: float, examples: list[Example],
        saliency: Callable[[Example], np.ndarray | None] = lambda example: None,
    ) -> float:  # fmt: skip
        confusion = Confusion(self.data.classes)
        for example in examples:
            assert example.mask is not None
            place = self.places[example.id]
            found = pseudo_labels(
                example.picture, maps[place], example.present, background, saliency(example), areas[place], "largest"
            )
            confusion.add(found, example.mask)
        return confusion.miou()

    def _kept(self, key: str, make: Callable[[], Result]) -> Result:
        path = self.folder / "results.json"
        known: dict[str, Result] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        if key not in known:
            known[key] = make()
            path.with_suffix(".part").write_text(json.dumps(known, indent=1, ensure_ascii=False), "utf-8")
            path.with_suffix(".part").replace(path)
        print(f"seed {self.seed}: {key}: {known[key]}", file=sys.stderr, flush=True)
        return known[key]
