"""Views for notebooks. State lives in traits; the mathematics lives elsewhere."""

from __future__ import annotations

from .adversarial import AdversarialExplorer
from .benchmark import Benchmark
from .cam_explorer import CamExplorer
from .comparison import MethodComparison
from .failure_explorer import FailureExplorer
from .playback import Playback
from .tree_explorer import TreeExplorer

__all__ = [
    "AdversarialExplorer",
    "Benchmark",
    "CamExplorer",
    "FailureExplorer",
    "MethodComparison",
    "Playback",
    "TreeExplorer",
]
