"""The catalogue of saliency methods: name → function, defaults, what it needs, formula, source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ..errors import unknown
from . import gradient as family

MapFunction = Callable[..., Tensor]


@dataclass(frozen=True)
class Method:
    """One saliency method of the gradient family.

    Attributes:
        name: as given to `explain`. title: as written in the literature. function: (A, g, gradient) → map; for a
            method that `needs` "gap head": (A, weights) → map.
        gradient: its published handling of gradient signs. signs: the handlings it can take.
        depth: how many of the deepest stages it uses unless told otherwise.
        needs: "gradients" or "gap head" (global average pooling, then one linear layer).
    """

    name: str
    title: str
    function: MapFunction
    formula: str
    source: str
    gradient: str = "signed"
    signs: tuple[str, ...] = tuple(family.SIGNS)
    depth: int = 1
    needs: str = "gradients"


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "layercam", "LayerCAM", family.layercam, "ReLU(Σ_k ReLU(g_k) ⊙ A_k)",
            "Jiang et al., IEEE TIP 2021, eq. 6–8", gradient="positive", depth=3,
        ),
        Method(
            "gradcam", "Grad-CAM", family.gradcam, "ReLU(Σ_k mean(g_k) A_k)",
            "Selvaraju et al., ICCV 2017, eq. 1–2",
        ),
        Method(
            "gradcam++", "Grad-CAM++", family.gradcam_pp, "ReLU(Σ_k Σ_ij(α ReLU(g)) A_k), α = g²/(2g² + ΣA g³)",
            "Chattopadhay et al., WACV 2018, eq. 19", gradient="positive",
        ),
        Method(
            "xgradcam", "XGrad-CAM", family.xgradcam, "ReLU(Σ_k (Σ_ij g_k A_k / Σ_ij A_k) A_k)",
            "Fu et al., BMVC 2020, eq. 7",
        ),
        Method(
            "normgrad", "NormGrad", family.normgrad, "‖g_ij‖ · ‖A_ij‖",
            "Rebuffi et al., CVPR 2020, eq. 6", depth=3,
        ),
        Method(
            "cam", "CAM", family.cam, "ReLU(Σ_k W_ck A_k)",
            "Zhou et al., CVPR 2016, eq. 2", signs=("signed",), needs="gap head",
        ),
    )
}  # fmt: skip

_SPELLINGS = {"gradcampp": "gradcam++", "gradcamplusplus": "gradcam++"}


def find(name: str) -> Method:
    """The method of that name; "Grad-CAM++", "grad_cam" and "LayerCAM" are understood."""
    plain = str(name).lower().replace("-", "").replace("_", "").replace(" ", "")
    plain = _SPELLINGS.get(plain, plain)
    if plain not in METHODS:
        raise unknown("method", name, METHODS)
    return METHODS[plain]


class Catalogue(dict[str, Method]):
    """Methods by name; prints as a table."""

    def __repr__(self) -> str:
        rows = [("method", "formula", "gradient", "needs", "source")]
        rows += [(m.name, m.formula, m.gradient, m.needs, m.source) for m in self.values()]
        widths = [max(len(row[i]) for row in rows) for i in range(5)]
        return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def methods() -> Catalogue:
    """All saliency methods: name → `Method`. Printing the result shows them with formula, defaults and source."""
    return Catalogue(METHODS)
