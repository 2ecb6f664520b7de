"""Views for notebooks. State lives in traits; the mathematics lives elsewhere."""

from __future__ import annotations

from .benchmark import Benchmark
from .cam_explorer import CamExplorer
from .comparison import MethodComparison
from .failure_explorer import FailureExplorer
from .tree_explorer import TreeExplorer

__all__ = ["Benchmark", "CamExplorer", "FailureExplorer", "MethodComparison", "TreeExplorer"]
