"""The attention drop layer: what the network looked at before is hidden, so that it must look elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ..datasets.checks import check_share
from ..errors import choose
from .objective import View

WHERE = ("picture", "features")


class AttentionDrop:
    """S(I, A_{t−1}, δ) with probability β ([000] 4.2.2, algorithm 1; figure 4.5).

    Each picture by itself: r = Rand(0, 1); if r < β, all places are blanked where the picture's previous map (of the
    epoch before, largest over the classes present) is above δ; else it is left as it is. A_{t−1} is kept by sample id,
    one map in half precision a picture (12×12: 2.9 MB for 10,000 pictures), in the coordinates of the picture.

    Args:
        threshold: δ in [0, 1]; the thesis found 0.6 best (table 4.8). Near 1 little is hidden, near 0 whole objects.
        rate: β in [0, 1]; 0.5 in the thesis.
        where: "picture": pixels become 0 after normalisation, mid-grey (OAA++; table 4.9: 59.9 % mIoU);
            "features": the features before the class convolution become 0 (59.5 %).
    Raises:
        TypeError, ValueError: δ or β outside [0, 1], an unknown place.

    Example:
        >>> drop = AttentionDrop(rate=1.0)
        >>> drop.remember(["a"], torch.tensor([[[[0.7, 0.5], [0.1, 1.0]]]]))
        >>> drop.keep(["a", "b"], (2, 2), torch.Generator().manual_seed(0))[:, 0].tolist()
        [[[0.0, 1.0], [1.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]]]
    """

    def __init__(self, threshold: float = 0.6, rate: float = 0.5, where: str = "picture") -> None:
        check_share("threshold (δ)", threshold, 1.0)
        check_share("rate (β)", rate, 1.0)
        self.threshold, self.rate, self.where = float(threshold), float(rate), choose("place to drop", where, WHERE)
        self._rows: dict[str, int] = {}
        self._maps = torch.zeros((0, 1, 1), dtype=torch.float16)

    def settings(self) -> dict[str, Any]:
        """δ, β and where, in plain values."""
        return {"threshold": self.threshold, "rate": self.rate, "where": self.where}

    def keep(
        self, ids: Sequence[str], size: tuple[int, int], generator: torch.Generator, view: View | None = None
    ) -> Tensor:
        """B×1×H×W float32, to multiply with: 0 where a picture is blanked this time, else 1.

        Args:
            size: (H, W) of what is blanked; previous maps are scaled to it (bilinear). generator: B numbers are drawn
                from it. view: how the pictures were moved before the network sees them.
        """
        chosen = torch.rand(len(ids), generator=generator) < self.rate
        hidden = self.hidden(ids, size, view) & chosen[:, None, None, None]
        return (~hidden).float()

    def hidden(self, ids: Sequence[str], size: tuple[int, int], view: View | None = None) -> Tensor:
        """B×1×H×W bool: A_{t−1} > δ, what would be blanked; nothing of a picture that was not seen yet."""
        known = [b for b, id in enumerate(ids) if id in self._rows]
        previous = torch.zeros((len(ids), 1, *size))
        if known:
            maps = self._maps[[self._rows[ids[b]] for b in known], None].float()
            if maps.shape[-2:] != size:
                maps = functional.interpolate(maps, size, mode="bilinear", align_corners=False)
            previous[known] = maps
        return (previous if view is None else view.to_view(previous)) > self.threshold

    def remember(self, ids: Sequence[str], maps: Tensor) -> None:
        """Take these maps (B×C×h×w in [0, 1], 0 for classes that are absent; in the picture's coordinates) for A_{t−1}.

        Raises:
            ValueError: maps of another number, or of another size than before.
        """
        if maps.ndim != 4 or len(maps) != len(ids):
            raise ValueError(f"maps of {len(ids)} pictures (B×C×h×w) are needed; got {tuple(maps.shape)}")
        size = tuple(maps.shape[-2:])
        if self._rows and size != tuple(self._maps.shape[-2:]):
            raise ValueError(f"maps of {tuple(self._maps.shape[-2:])} were remembered before; got {size}")
        for id in ids:
            self._rows.setdefault(id, len(self._rows))
        self._grow(len(self._rows), size)
        self._maps[[self._rows[id] for id in ids]] = maps.detach().float().amax(1).cpu().half()

    def _grow(self, rows: int, size: tuple[int, ...]) -> None:
        if rows > len(self._maps) or tuple(self._maps.shape[-2:]) != size:
            grown = torch.zeros((max(rows, 64, len(self._maps) * 3 // 2), *size), dtype=torch.float16)
            if tuple(self._maps.shape[-2:]) == size:
                grown[: len(self._maps)] = self._maps
            self._maps = grown

    def state_dict(self) -> dict[str, Any]:
        """The previous maps and whose they are."""
        return {"ids": list(self._rows), "maps": self._maps[: len(self._rows)].clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to the previous maps of a `state_dict()`.

        Raises:
            ValueError: it is none.
        """
        ids, maps = state.get("ids"), state.get("maps")
        if not isinstance(ids, list) or not isinstance(maps, Tensor) or maps.ndim != 3 or len(maps) != len(ids):
            raise ValueError("the state of an attention drop layer has ids and as many maps; this one has not")
        self._rows = {str(id): row for row, id in enumerate(ids)}
        self._maps = maps.detach().cpu().half().clone()
