"""Maps that learn: online accumulation (OAA), guided attention (GAIN), and what weak labels can do."""

from __future__ import annotations

from .accumulate import AttentionAccumulator
from .accumulated import open_accumulated
from .boxes import box_of, spread_box
from .classification import ClassifierObjective
from .drop import AttentionDrop
from .gain import GainObjective
from .labelled import Example, Labelled, open_labelled
from .nets import AttentionNet, TwoBranchNet, attention_maps, build_net
from .oaa import IntegralObjective, OAAObjective, TwoBranchObjective
from .objective import Batch, Objective
from .pseudo import pseudo_labelled, pseudo_labels, superpixels_of
from .quality import Confusion, MapQuality, recall_noise
from .run import Run, open_run
from .segmenter import SegmentObjective, SmallLargeFOV
from .training import TrainingStopped, train

__all__ = [
    "AttentionAccumulator",
    "AttentionDrop",
    "AttentionNet",
    "Batch",
    "ClassifierObjective",
    "Confusion",
    "Example",
    "GainObjective",
    "IntegralObjective",
    "Labelled",
    "MapQuality",
    "OAAObjective",
    "Objective",
    "Run",
    "SegmentObjective",
    "SmallLargeFOV",
    "TrainingStopped",
    "TwoBranchNet",
    "TwoBranchObjective",
    "attention_maps",
    "box_of",
    "build_net",
    "open_accumulated",
    "open_labelled",
    "open_run",
    "pseudo_labelled",
    "pseudo_labels",
    "recall_noise",
    "spread_box",
    "superpixels_of",
    "train",
]
