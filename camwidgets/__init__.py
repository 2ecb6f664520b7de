"""camwidgets: see where an image classifier looks, and why it decided, inside Jupyter."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import samples
    from .classifiers import Classifier, Tap, available, load, wrap
    from .decomposition import (
        Decomposition,
        channel_counts,
        compare_maps,
        contribution_curve,
        decompose,
        discriminativeness,
        parameter_randomisation,
        removal_curve,
        surrogate,
    )
    from .decomposition.fidelity import fidelity
    from .evaluation import Report, evaluate, measures
    from .evidence import Evidence, Recording, capture, record
    from .explanation import Explanation, explain
    from .investigate.adversarial import attack
    from .investigate.failures import failures
    from .learning.run import open_run
    from .learning.training import train
    from .maps import methods
    from .widgets import (
        AdversarialExplorer,
        Benchmark,
        CamExplorer,
        FailureExplorer,
        MethodComparison,
        Playback,
        TreeExplorer,
    )

__version__ = "0.1.0"

# Name → module. Loaded at first use: `import camwidgets` stays fast, and needs no widget library in a script.
_HOMES = {
    "Classifier": "classifiers",
    "Tap": "classifiers",
    "available": "classifiers",
    "load": "classifiers",
    "wrap": "classifiers",
    "Decomposition": "decomposition",
    "decompose": "decomposition",
    "fidelity": "decomposition.fidelity",
    "channel_counts": "decomposition",
    "compare_maps": "decomposition",
    "contribution_curve": "decomposition",
    "discriminativeness": "decomposition",
    "parameter_randomisation": "decomposition",
    "removal_curve": "decomposition",
    "surrogate": "decomposition",
    "Report": "evaluation",
    "evaluate": "evaluation",
    "measures": "evaluation",
    "Evidence": "evidence",
    "Recording": "evidence",
    "capture": "evidence",
    "record": "evidence",
    "Explanation": "explanation",
    "explain": "explanation",
    "attack": "investigate.adversarial",
    "failures": "investigate.failures",
    "open_run": "learning.run",
    "train": "learning.training",
    "methods": "maps",
    "AdversarialExplorer": "widgets",
    "Benchmark": "widgets",
    "CamExplorer": "widgets",
    "FailureExplorer": "widgets",
    "MethodComparison": "widgets",
    "Playback": "widgets",
    "TreeExplorer": "widgets",
}
_MODULES = (
    "samples", "maps", "figures", "classifiers", "evidence", "decomposition", "evaluation", "investigate", "widgets",
    "datasets", "learning", "settings",
)  # fmt: skip

__all__ = [
    "AdversarialExplorer",
    "Benchmark",
    "CamExplorer",
    "Classifier",
    "Decomposition",
    "Evidence",
    "Explanation",
    "FailureExplorer",
    "MethodComparison",
    "Playback",
    "Recording",
    "Report",
    "Tap",
    "TreeExplorer",
    "attack",
    "available",
    "capture",
    "channel_counts",
    "compare_maps",
    "contribution_curve",
    "decompose",
    "discriminativeness",
    "evaluate",
    "explain",
    "failures",
    "fidelity",
    "load",
    "measures",
    "methods",
    "open_run",
    "parameter_randomisation",
    "record",
    "removal_curve",
    "samples",
    "surrogate",
    "train",
    "wrap",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module 'camwidgets' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES, *_MODULES])
