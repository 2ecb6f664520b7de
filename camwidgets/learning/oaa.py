"""What `train` minimises for maps: OAA and OAA++, the integral model (OAA⁺), two branches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from ..datasets.checks import check_integer, check_share
from ..errors import choose
from .accumulate import AttentionAccumulator
from .accumulated import Maps, open_accumulated
from .classification import (
    LABELS,
    check_labels,
    check_map_size,
    check_scores,
    classification_loss,
    scores_of,
    validated,
)
from .classification import ClassifierObjective as ClassifierObjective
from .drop import AttentionDrop
from .losses import check_threshold, enhancement, hybrid, soft_label
from .nets import TwoBranchNet, attention_maps, scaled
from .objective import Batch

if TYPE_CHECKING:
    from .labelled import Labelled

INTEGRAL: dict[str, Callable[[Tensor, Tensor, Tensor, float], Tensor]] = {
    "hybrid": hybrid,
    "soft": lambda F, p, present, threshold: soft_label(F, p, present),
    "enhancement": enhancement,
}


class OAAObjective:
    """Online attention accumulation ([000] 4.2.2): classification, and each pass's maps folded into cumulative ones.

    The maps A^c = ReLU(F^c)/max F^c of the classes present come from the same forward pass as the loss, are moved back
    into the picture's own coordinates (`batch.view`) and folded into the accumulator: OAA. With `drop` it is OAA++.

    Args:
        accumulator: of the ids and classes of the data, and of the size of the net's maps; empty at the beginning.
        drop: the attention drop layer, or None.
        labels: "multi-label" or "single-label", as in `ClassifierObjective`.
        begin: the first epoch whose maps count. The thesis' 1 suits a net that knows pictures; what one with random
            weights looks at in its first epochs is chance, and the maximum forgets nothing.

    The net has `scores(x) -> B×C×h×w` whose means are the logits (`AttentionNet`; for drop on features also `features`
    and `scores(x, keep)`).

    Example:
        >>> import tempfile
        >>> from camwidgets.learning.labelled import open_labelled
        >>> data = open_labelled("toyworld", n=8, objects=(1, 3))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with AttentionAccumulator(folder, data.ids, data.classes, (12, 12)) as kept:
        ...         OAAObjective(kept, AttentionDrop()).settings()["drop"]
        {'threshold': 0.6, 'rate': 0.5, 'where': 'picture'}
    """

    name = "oaa"

    def __init__(
        self, accumulator: AttentionAccumulator, drop: AttentionDrop | None = None, labels: str = "multi-label",
        begin: int = 1,
    ) -> None:  # fmt: skip
        check_integer("begin", begin, 1)
        self.accumulator, self.drop, self.begin = accumulator, drop, begin
        self.labels = choose("kind of labels", labels, LABELS)

    def settings(self) -> dict[str, Any]:
        layout = self.accumulator.layout
        kept = {"rule": layout.rule, "dtype": layout.dtype, "size": list(layout.size)}
        drop = None if self.drop is None else self.drop.settings()
        return {"labels": self.labels, "maps": kept, "drop": drop, "begin": self.begin}

    def check(self, data: Labelled) -> None:
        """ValueError if the labels are of the other kind, or the accumulator is of other pictures or classes."""
        check_labels(data, self.labels)
        check_maps(self.accumulator, data)

    def check_net(self, net: nn.Module, size: tuple[int, int]) -> None:
        """TypeError, ValueError if the net has no maps, or of another size than the accumulator's."""
        check_map_size(net, size, self.accumulator)

    def check_new(self) -> None:
        """ValueError if a new training would begin with maps of an old one."""
        if len(self.accumulator):
            raise ValueError(
                f"{self.accumulator!r} holds maps already, and this training is at its first step; a new training "
                f"begins with an empty accumulator: name another folder, or delete {str(self.accumulator.folder)!r} if "
                "nobody needs them"
            )

    def losses(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        x, keep = self._dropped(batch)
        F = scores_of(net, x, batch.present, keep)
        self._accumulate(F, batch)
        return {"total": classification_loss(F.mean((-2, -1)), batch.present, self.labels)}

    def _dropped(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """The pictures as they are shown to the network, and what to multiply its last features with."""
        if self.drop is None:
            return batch.x, None
        height, width = batch.x.shape[-2:]
        size = (height, width) if self.drop.where == "picture" else self.accumulator.size
        keep = self.drop.keep(batch.ids, size, batch.generator, batch.view).to(batch.x)
        return (batch.x * keep, None) if self.drop.where == "picture" else (batch.x, keep)

    def _accumulate(self, F: Tensor, batch: Batch) -> None:
        if batch.epoch < self.begin:
            return
        with torch.no_grad():
            A = attention_maps(F.detach().float(), batch.present)
            A = batch.view.to_picture(A).clamp(0, 1)
        self.accumulator.update(batch.ids, A, batch.present)
        if self.drop is not None:
            self.drop.remember(batch.ids, A)

    def validate(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """"loss", and "top1": the share of pictures whose strongest logit is a class present."""
        return validated(net(batch.x), batch.present, self.labels)

    def end_epoch(self, net: nn.Module, epoch: int) -> dict[str, float]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Which accumulator, which of its states, and what the drop layer remembers."""
        maps = {"mark": self.accumulator.layout.mark, "state": self.accumulator.flush()}
        return {"maps": maps, "drop": None if self.drop is None else self.drop.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Back to that state. ValueError if it speaks of another accumulator: state 7 of one is not that of another."""
        if state["maps"]["mark"] != self.accumulator.layout.mark:
            raise ValueError(
                f"{self.accumulator!r} holds the maps of another training than this one, which cannot go on with them; "
                "open the accumulator that it began with"
            )
        self.accumulator.rollback(state["maps"]["state"])
        if self.drop is not None:
            self.drop.load_state_dict(state["drop"])

    def watch(self, net: nn.Module, x: Tensor, ids: tuple[str, ...], present: Tensor) -> dict[str, Tensor]:
        """"current": A^c; "cumulative": M^c; with a drop layer "dropped": 1 where the next drop would blank."""
        found = {
            "current": attention_maps(scores_of(net, x, present).float(), present),
            "cumulative": self.accumulator.batch(ids),
        }
        if self.drop is not None:
            hidden = self.drop.hidden(ids, self.accumulator.size)
            found["dropped"] = (hidden & present.cpu()[..., None, None]).float()
        return found


class IntegralObjective:
    """OAA⁺ ([000] 4.2.3): a net of its own learns the accumulated maps of a finished run, and strengthens what is weak.

    Its net is an `AttentionNet` without the mean: q = σ(F̂), trained with p = M/max M of each class present. Of maps
    made with a drop layer it is OAA+++.

    Args:
        accumulated: the folder of an accumulator, or its maps as `open_accumulated` gives them.
        loss: "hybrid" (4.8), "soft" (4.5) or "enhancement" (4.6).
        threshold: in [0, 1], between N₊ and N₋ (table 4.6); "soft" has none.
    """

    name = "integral"
    has_val_loss = False  # of other pictures no map was accumulated

    def __init__(self, accumulated: Maps | str | Path, loss: str = "hybrid", threshold: float = 0.0) -> None:
        self.loss = choose("loss", loss, INTEGRAL)
        check_threshold(threshold)
        self.threshold = float(threshold)
        self.maps = accumulated if isinstance(accumulated, Maps) else open_accumulated(accumulated)

    def settings(self) -> dict[str, Any]:
        return {"loss": self.loss, "threshold": self.threshold, "maps": self.maps.fingerprint()}

    def check(self, data: Labelled) -> None:
        """ValueError if the maps are of other pictures or classes, or a picture has no class to learn a map of."""
        check_maps(self.maps, data)
        if not len(self.maps):
            raise ValueError("nothing was accumulated yet: train OAA first, and give the folder of its maps")
        data.need_positives()

    def check_net(self, net: nn.Module, size: tuple[int, int]) -> None:
        """TypeError, ValueError if the net has no maps, or of another size than the accumulated ones."""
        check_map_size(net, size, self.maps)

    def losses(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        F = scores_of(net, batch.x, batch.present).float()
        p, known = target_maps(self.maps, batch, F)
        return {"total": INTEGRAL[self.loss](F, p, known, self.threshold)}

    def validate(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """"top1": the share of pictures where the class of the highest q is present. There is no loss to be told: of
        other pictures no map was accumulated."""
        peaks = scores_of(net, batch.x, batch.present).amax((-2, -1))
        return {"top1": batch.present.gather(1, peaks.argmax(1, keepdim=True)).float().mean()}

    def end_epoch(self, net: nn.Module, epoch: int) -> dict[str, float]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass

    def watch(self, net: nn.Module, x: Tensor, ids: tuple[str, ...], present: Tensor) -> dict[str, Tensor]:
        """"current": q of the classes present; "cumulative": what it is trained with."""
        q = scores_of(net, x, present).float().sigmoid() * present[..., None, None]
        return {"current": q, "cumulative": self.maps.batch(ids)}


class TwoBranchObjective(OAAObjective):
    """OAA and the hybrid loss in one net, which so has maps for pictures it was not trained on ([000] 4.3.5).

    L = classification of F1 + weight · hybrid(F2, M_t): the second branch learns what the first has gathered so far,
    this step's map included. The net is a `TwoBranchNet`; afterwards `net.attention(x)` gives the maps.

    Args:
        accumulator, drop, labels, begin: as in `OAAObjective`. threshold: as in `IntegralObjective`. weight: ≥ 0.
    """

    name = "two-branch"

    def __init__(
        self, accumulator: AttentionAccumulator, drop: AttentionDrop | None = None, labels: str = "multi-label",
        begin: int = 1, threshold: float = 0.0, weight: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__(accumulator, drop, labels, begin)
        check_threshold(threshold)
        check_share("weight", weight, 1e6)
        self.threshold, self.weight = float(threshold), float(weight)

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "threshold": self.threshold, "weight": self.weight}

    def losses(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        if not hasattr(net, "both"):
            got = type(net).__name__
            raise TypeError(f"a net with two branches is needed, both(x) -> (F1, F2), as TwoBranchNet; got a {got}")
        x, keep = self._dropped(batch)
        F1, F2 = cast(TwoBranchNet, net).both(x, keep)
        check_scores(F1, batch.present, net)
        self._accumulate(F1, batch)
        p, known = target_maps(self.accumulator, batch, F2)
        classification = classification_loss(F1.mean((-2, -1)), batch.present, self.labels)
        integral = hybrid(F2.float(), p, known, self.threshold)
        return {"total": classification + self.weight * integral, "classification": classification, "hybrid": integral}

    def watch(self, net: nn.Module, x: Tensor, ids: tuple[str, ...], present: Tensor) -> dict[str, Tensor]:
        """As OAA, and "integral": σ(F2) of the classes present."""
        q = cast(TwoBranchNet, net).attention(x).float() * present[..., None, None]
        return {**super().watch(net, x, ids, present), "integral": q}


def target_maps(maps: Maps, batch: Batch, F: Tensor) -> tuple[Tensor, Tensor]:
    """(p, known): the accumulated maps where the network sees them, each divided by its maximum; and B×C bool, which
    classes are present and have a map. A map that is still 0 everywhere says that nothing is known, not "nowhere"."""
    M = maps.batch(batch.ids)
    if M.shape != F.shape:
        raise ValueError(f"the accumulated maps are {tuple(M.shape[2:])}, those of the net {tuple(F.shape[2:])}")
    known = batch.present & M.flatten(2).any(2).to(batch.present.device)
    return batch.view.to_view(scaled(M)).clamp(0, 1).to(F.device), known


def check_maps(maps: Maps, data: Labelled) -> None:
    """ValueError if maps are of other classes than the data, or lack a picture of it."""
    if maps.classes != data.classes:
        raise ValueError(
            f"the accumulated maps are of the classes {', '.join(maps.classes)[:120]}, those of {data.name} are "
            f"{', '.join(data.classes)[:120]}"
        )
    missing = [id for id in data.ids if id not in maps.layout.places]
    if missing:
        raise ValueError(
            f"{len(missing)} pictures of {data.name} have no place among the accumulated maps: {', '.join(missing[:5])}"
        )
