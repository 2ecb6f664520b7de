"""The catalogue of saliency methods, collected from the families' files. See `method.py` for what a method is."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib import import_module
from typing import Any

from ..errors import unknown
from .method import Method

# The modules of this package that hold `METHODS`, in the order in which menus show them.
FAMILIES = (
    "gradient",
    "scorecam",
    "groupcam",
    "multiscale",
    "rise",
    "excitation",
    "relevance",
    "inputs",
    "transformer",
)

WIDTH = 150  # of the printed table, in characters
ABOUT = 'methods()["NAME"].about() has the whole formula, its source ([002]: docs/sources.md) and the parameters.'

_SPELLINGS = {"gradcampp": "gradcam++", "gradcamplusplus": "gradcam++"}


class Catalogue(dict[str, Method]):
    """Methods by name; prints as a table."""

    def __repr__(self) -> str:
        rows = [("method", "kind", "needs", "formula")]
        rows += [(m.name, m.kind, ", ".join(m.needs), m.formula) for m in self.values()]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        left = WIDTH - sum(widths) - 2 * len(widths)
        lines = [
            "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), _cut(row[3], left)]).rstrip()
            for row in rows
        ]
        return "\n".join([*lines, "", ABOUT])

    def _repr_html_(self) -> str:
        import pandas as pd

        parameters = {name: "; ".join(map(str, method.parameters)) for name, method in self.items()}
        rows = [
            (m.name, m.title, m.formula, ", ".join(m.needs), parameters[m.name], m.source) for m in self.values()
        ]
        columns = ["name", "method", "formula", "needs", "parameters", "source"]
        with pd.option_context("display.max_colwidth", None):
            return str(pd.DataFrame(rows, columns=columns).to_html(index=False))  # escapes every cell


def methods() -> Catalogue:
    """All saliency methods: name → `Method`. Printing the result shows them with kind, needs and formula.

    Example:
        >>> print(methods()["gradcam"].about())
        Grad-CAM (gradcam)
          ReLU(Σ_k mean(g_k) A_k)
          Selvaraju et al., ICCV 2017, eq. 1–2
          needs: gradients
    """
    return Catalogue(_known())


def evidence_methods() -> Catalogue:
    """The methods that are arithmetic on what one pass left, and that an explorer can switch between at once."""
    return Catalogue({name: method for name, method in _known().items() if method.kind == "evidence"})


def find(name: str | Method) -> Method:
    """The method of that name; "Grad-CAM++", "grad_cam" and "LayerCAM" are understood. A `Method` is itself."""
    if isinstance(name, Method):
        return name
    known = {_plain(one): method for one, method in _known().items()}
    plain = _plain(name)
    plain = _SPELLINGS.get(plain, plain)
    if plain not in known:
        raise unknown("method", name, _known())
    return known[plain]


def find_evidence(name: str | Method) -> Method:
    """The same, if it is arithmetic on evidence; a method that runs the network is refused in words."""
    found = find(name)
    if found.kind != "evidence":
        valid = ", ".join(evidence_methods())
        raise ValueError(f"{found.title} runs the network itself and is not made from evidence; what is: {valid}")
    return found


@cache
def _known() -> dict[str, Method]:
    everything: Iterable[Method] = (
        method for family in FAMILIES for method in import_module(f".{family}", __package__).METHODS
    )
    return {method.name: method for method in everything}


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _plain(name: Any) -> str:
    return str(name).lower().replace("-", "").replace("_", "").replace(" ", "")
