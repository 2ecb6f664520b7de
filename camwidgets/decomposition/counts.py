"""How many channels carry a decision ([000] 5.3.1.2–5.3.1.3, figure 5.5), and how unequally they share it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..classifiers.classifier import Classifier
from ..classifiers.given import check_classifier
from ..evidence import record
from ..images import ImageSource
from .fidelity import true_changes
from .gap import Contributions, Decomposer
from .importance import Level, follow
from .overlap import SAME, region
from .sets import Progress, check_decisions, check_pictures, check_removal, one_picture

if TYPE_CHECKING:
    import pandas as pd


def channel_counts(
    classifier: Classifier,
    pictures: Sequence[ImageSource],
    *,
    decisions: int = 3,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Active, overlapping and all channels of each step of a decision's decomposition, as means over a set.

    Args:
        decisions: through how many channels of each stage the predicted class is followed down.
        progress: `progress(done, total)` after each picture; whatever it raises ends the work.
    Returns:
        One row per step, indexed "T→S5" …: `active` (channels with α > 0), `overlapping` (of these, channels whose
        region, attention ≥ half its maximum, has IoU > 0.9 with a stronger channel's that was kept), `channels` (all),
        `decisions` (how many the means are over: dead ones are none), `stage`, `pictures`.

    Example:
        >>> import camwidgets
        >>> table = channel_counts(camwidgets.load("efficientnet_lite0"), [camwidgets.samples.picture("cat")])
        >>> bool(table.loc["T→S5", "active"] < table.loc["T→S5", "channels"])
        True
    """
    import pandas as pd

    totals: dict[str, dict[str, Any]] = {}
    for _, level in _levels(classifier, pictures, decisions, progress):
        row = totals.setdefault(
            level.step,
            {"stage": level.stage, "active": 0.0, "overlapping": 0.0, "channels": level.tap.channels, "decisions": 0},
        )
        row["decisions"] += len(level.parts)
        for part in level.parts:
            row["active"] += int((part.alpha > 0).sum())
            row["overlapping"] += overlapping(part)
    table = pd.DataFrame.from_dict(totals, orient="index").rename_axis("step")
    for column in ("active", "overlapping"):
        table[column] /= table["decisions"].where(table["decisions"] > 0)
    return table.assign(pictures=len(pictures))


def contribution_curve(
    classifier: Classifier,
    pictures: Sequence[ImageSource],
    *,
    decisions: int = 1,
    truth: str | None = None,
    means: Mapping[Any, Tensor] | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Contributions in falling order, as means over a set: the long tail of figure 5.5.

    Args:
        decisions: through how many channels of each stage the predicted class is followed down.
        truth: "zero" or "mean" (with `means`): also remove every channel for real, one forward pass each, and give the
            real shares in falling order, as the figure does ("GT"). None: do not.
    Returns:
        One row per step and rank (1 = the largest): `step`, `stage`, `rank`, `share` (Σ_yx A_k / |Z|: the channel's
        part of the decision), `cumulative` (of all shares up to this rank), and with `truth` also `real`, the share
        Z − Z(without k) of |Z| of the channel at this rank of the real order. Means over pictures and decisions.

    Example:
        >>> import camwidgets
        >>> table = contribution_curve(camwidgets.load("efficientnet_lite0"), [camwidgets.samples.picture("cat")])
        >>> top = table[table["step"] == "T→S5"]["share"]
        >>> bool(top.iloc[0] > 5 * top.iloc[100])
        True
    """
    import pandas as pd

    check_classifier(classifier, "contribution_curve")
    check_removal(truth or "zero", means, classifier.select("stages").values())
    fills = dict(means or {}) if truth == "mean" else {}
    sums: dict[str, dict[str, Any]] = {}
    for decomposer, level in _levels(classifier, pictures, decisions, progress):
        for part in level.parts:
            row = sums.setdefault(level.step, {"stage": level.stage, "n": 0, "share": 0.0, "real": 0.0})
            row["n"] += 1
            row["share"] = row["share"] + part.share.double().sort(descending=True).values
            if truth is not None:
                change = true_changes(decomposer, part.decision, level.above, level.tap, fills)
                row["real"] = row["real"] + (change.double() / abs(part.value)).sort(descending=True).values
    tables = []
    for step, row in sums.items():
        share = (row["share"] / row["n"]).cpu().numpy()
        one = {"step": step, "stage": row["stage"], "rank": range(1, len(share) + 1), "share": share}
        one["cumulative"] = share.cumsum()
        if truth is not None:
            one["real"] = (row["real"] / row["n"]).cpu().numpy()
        tables.append(pd.DataFrame(one))
    return pd.concat(tables, ignore_index=True).assign(pictures=len(pictures))


def overlapping(found: Contributions) -> int:
    """How many active channels non-maximum suppression takes away: region's IoU > 0.9 with a stronger one's."""
    active = found.top(len(found.attention))
    masks = torch.stack([region(found.attention[k]) for k in active]).flatten(1) if active else torch.zeros(0, 1)
    sizes, masks = masks.sum(1), masks.float()
    gone = torch.zeros(len(active), dtype=torch.bool, device=masks.device)
    for i in range(len(active)):
        if not gone[i]:
            both = masks[i + 1 :] @ masks[i]
            gone[i + 1 :] |= both > SAME * (sizes[i] + sizes[i + 1 :] - both)
    return int(gone.sum())


def _levels(
    classifier: Classifier, pictures: Sequence[ImageSource], decisions: int, progress: Progress | None
) -> Any:
    """(decomposer, level) of each picture's predicted class."""
    count, decisions = check_pictures(pictures), check_decisions(decisions)
    for i in range(count):
        with record(classifier, pictures[i]) as recording:
            decomposer = Decomposer(one_picture(recording).evidence(last=True))
        for level in follow(decomposer, decisions):
            yield decomposer, level
        if progress is not None:
            progress(i + 1, count)


__all__ = ["Level", "channel_counts", "contribution_curve", "overlapping"]
