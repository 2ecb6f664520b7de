"""Tables of `benchmarks learning`: means and standard deviations over seeds, and which orderings hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from .tables import Row

Results = Mapping[int, Mapping[str, Mapping[str, float]]]  # seed → kind → what → value
HEADS = {
    "background": "background below", "miou": "pseudo-labels, mIoU", "recall": "recall at 50 %",
    "noise": "noise at 50 %", "segmenter": "segmentation net, mIoU",
    "foreground": "labels on the true foreground, mIoU",
}  # fmt: skip


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Mean ± standard deviation (n − 1) in per cent; the mean alone if there is one value, "" if none.

    Example:
        >>> spread([0.5, 0.6]), spread([0.25])
        ('55.0 ± 7.1', '25.0')
    """
    if not len(values):
        return ""
    mean, number = 100 * float(np.mean(values)), len(values)
    return f"{mean:.{digits}f}" + (f" ± {100 * float(np.std(values, ddof=1)):.{digits}f}" if number > 1 else "")


def table(results: Results, heads: Mapping[str, str] = HEADS) -> list[Row]:
    """A row a kind, a column a measurement (`heads`: its name → the column's head)."""
    kinds = list(dict.fromkeys(kind for one in results.values() for kind in one))
    rows = []
    for kind in kinds:
        of = [one[kind] for one in results.values() if kind in one]
        rows.append({"maps": kind} | {h: _cell(what, [r[what] for r in of if what in r]) for what, h in heads.items()})
    return rows


def _cell(what: str, values: list[float]) -> str:
    return ", ".join(f"{v:.2f}" for v in values) if what == "background" else spread(values)


def orderings(
    results: Results, pairs: Sequence[tuple[str, str]], whats: Sequence[str], heads: Mapping[str, str] = HEADS
) -> list[Row]:
    """For "a < b": the difference b − a seed by seed (points), its mean ± sd, and whether it holds.

    "every seed" if it is above 0 in all, "in the mean" if only the mean is, else "no".
    """
    rows = []
    for low, high in pairs:
        row = {"expected": f"{low} < {high}"}
        for what in whats:
            gains = [one[high][what] - one[low][what] for one in results.values() if high in one and low in one]
            row[heads[what]] = f"{'+' if np.mean(gains) > 0 else ''}{spread(gains)}: {verdict(gains)}" if gains else ""
        rows.append(row)
    return rows


def verdict(gains: Sequence[float]) -> str:
    """Does "b − a > 0" hold?

    Example:
        >>> verdict([0.1, 0.2]), verdict([0.3, -0.1]), verdict([-0.1])
        ('every seed', 'in the mean', 'no')
    """
    if min(gains) > 0:
        return "every seed"
    return "in the mean" if float(np.mean(gains)) > 0 else "no"


def curves(metrics: Mapping[int, Mapping[str, pd.DataFrame]], names: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """Seed → run → its metrics, as one table for `recall_figure`: method, seed, epoch, recall, noise.

    Args:
        names: method → (run, ending of its columns): {"CAM": ("oaa", "now")} reads recall_now and noise_now.
    """
    parts = []
    for seed, runs in metrics.items():
        for method, (run, ending) in names.items():
            frame = runs[run][["epoch", f"recall_{ending}", f"noise_{ending}"]]
            frame = frame.set_axis(["epoch", "recall", "noise"], axis=1)
            parts.append(frame.assign(method=method, seed=seed))
    return pd.concat(parts, ignore_index=True)


def epochs(table: pd.DataFrame) -> list[Row]:
    """A row an epoch: recall / noise of each method, means over seeds in per cent."""
    rows = []
    methods = list(dict.fromkeys(table["method"]))
    for epoch in sorted(set(table["epoch"])):
        row = {"epoch": str(int(epoch))}
        for method in methods:
            here = table[(table["epoch"] == epoch) & (table["method"] == method)]
            row[f"{method}, recall / noise"] = f"{100 * here['recall'].mean():.1f} / {100 * here['noise'].mean():.1f}"
        rows.append(row)
    return rows
