"""camwidgets: see where an image classifier looks, and why it decided, inside Jupyter."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import samples
    from .classifiers import Classifier, Tap, available, load, wrap
    from .decomposition import Decomposition, decompose
    from .decomposition.fidelity import fidelity
    from .evaluation import Report, evaluate, measures
    from .evidence import Evidence, Recording, capture, record
    from .explanation import Explanation, explain
    from .maps import methods
    from .widgets import CamExplorer, TreeExplorer

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
    "Report": "evaluation",
    "evaluate": "evaluation",
    "measures": "evaluation",
    "Evidence": "evidence",
    "Recording": "evidence",
    "capture": "evidence",
    "record": "evidence",
    "Explanation": "explanation",
    "explain": "explanation",
    "methods": "maps",
    "CamExplorer": "widgets",
    "TreeExplorer": "widgets",
}
_MODULES = (
    "samples", "maps", "figures", "classifiers", "evidence", "decomposition", "evaluation", "widgets", "datasets",
)  # fmt: skip

__all__ = [
    "CamExplorer",
    "Classifier",
    "Decomposition",
    "Evidence",
    "Explanation",
    "Recording",
    "Report",
    "Tap",
    "TreeExplorer",
    "available",
    "capture",
    "decompose",
    "evaluate",
    "explain",
    "fidelity",
    "load",
    "measures",
    "methods",
    "record",
    "samples",
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
