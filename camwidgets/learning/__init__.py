"""Maps that learn: online accumulation (OAA), guided attention (GAIN), and what weak labels can do."""

from __future__ import annotations

from .accumulate import AttentionAccumulator
from .accumulated import open_accumulated
from .classification import ClassifierObjective
from .drop import AttentionDrop
from .labelled import Example, Labelled, open_labelled
from .nets import AttentionNet, TwoBranchNet, attention_maps, build_net
from .oaa import IntegralObjective, OAAObjective, TwoBranchObjective

__all__ = [
    "AttentionAccumulator",
    "AttentionDrop",
    "AttentionNet",
    "ClassifierObjective",
    "Example",
    "IntegralObjective",
    "Labelled",
    "OAAObjective",
    "TwoBranchNet",
    "TwoBranchObjective",
    "attention_maps",
    "build_net",
    "open_accumulated",
    "open_labelled",
]
