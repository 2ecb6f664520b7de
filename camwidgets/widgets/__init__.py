"""Views for notebooks. State lives in traits; the mathematics lives elsewhere."""

from __future__ import annotations

from .adversarial.explorer import AdversarialExplorer
from .benchmark.benchmark import Benchmark
from .cam.explorer import CamExplorer
from .comparison.comparison import MethodComparison
from .failure.explorer import FailureExplorer
from .playback.playback import Playback
from .tree.explorer import TreeExplorer

__all__ = [
    "AdversarialExplorer",
    "Benchmark",
    "CamExplorer",
    "FailureExplorer",
    "MethodComparison",
    "Playback",
    "TreeExplorer",
]
