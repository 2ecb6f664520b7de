"""Two runs beside each other: what differs in what was asked, and in the numbers, on the pictures of both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .results import Run
from .statistics import difference, places, sure

if TYPE_CHECKING:
    import pandas as pd

    from .measure import Result
    from .report import Report

NOTHING = "–"
# What a run is told apart by, in the words of a table; hashes are cut short.
_SETTINGS = {
    "model": "network", "weights_sha256": "weights", "network": "layers and their code", "data": "data set",
    "source": "from", "pictures": "pictures", "limit": "limit", "listed": "list of pictures",
    "target": "class explained", "fit": "fit", "seed": "seed", "version": "version of the tests",
}  # fmt: skip
_SHORT = 12


@dataclass(frozen=True)
class Comparison:
    """`after` − `before`; made by `Report.against`.

    Attributes:
        before, after: the runs. common: how many pictures they have in common.
        rows: a frame, one row a method and result of both runs: method, result, before, after, difference, low, high
            (95 % bootstrap interval, paired by picture), change: "better", "worse", "the same" (all drawn differences
            are 0) or "" (the interval holds 0). Numbers are of the pictures in common; where there are none, each run's
            own, without an interval.
        settings: a frame of what was asked differently: setting, before, after.
    """

    before: Run
    after: Run
    common: int
    rows: pd.DataFrame
    settings: pd.DataFrame

    def __str__(self) -> str:
        asked = self.settings.to_string(index=False) if len(self.settings) else "nothing was asked differently"
        numbers = self.rows.to_string(index=False, float_format="{:.3f}".format)
        head = f"run {self.before.id} → run {self.after.id}, on {self.common} pictures of both"
        return f"{head}\n\n{asked}\n\n{numbers}"

    def _repr_html_(self) -> str:
        settings = self.settings.to_html(index=False) if len(self.settings) else ""
        head = f"<p>run {self.before.id} → run {self.after.id}, on {self.common} pictures of both</p>"
        return f"{head}{settings}{self.rows.to_html(index=False, float_format='{:.3f}'.format)}"


def compare(before: Report, after: Report) -> Comparison:
    """after − before, for each method (by its title) and result that both have.

    Raises:
        ValueError: they have no method, or no result, in common.
    """
    import pandas as pd

    methods = [title for title in after.methods if title in before.methods]
    names = [name for name in after.results if name in before.results]
    if not methods or not names:
        raise ValueError(f"runs {before.run.id} and {after.run.id} have no method and test in common")
    pictures = {row["item"] for row in before.rows} & {row["item"] for row in after.rows}
    found = [_row(before, after, title, name, after.results[name][1]) for title in methods for name in names]
    columns = ["method", "result", "before", "after", "difference", "low", "high", "change"]
    settings = pd.DataFrame(_settings(before.run.request, after.run.request), columns=["setting", "before", "after"])
    return Comparison(before.run, after.run, len(pictures), pd.DataFrame(found, columns=columns), settings)


def pair(report: Report, a: str, b: str, results: Sequence[str] | None = None) -> pd.DataFrame:
    """Two methods of one run on the pictures that both have, as `Report.paired` gives it."""
    import pandas as pd

    rows = {}
    for name in results or list(report.results):
        (items_a, of_a, labels), (items_b, of_b, _) = report.values(a, name), report.values(b, name)
        about = report.results[name][1]
        at_a, at_b = places(items_a, items_b)
        found = math.nan, math.nan, math.nan
        if at_a:
            found = difference(of_a[at_a], of_b[at_b], labels[at_a], about.aggregate)
        better = (a if found[0] * about.better > 0 else b) if sure(*found[1:], len(at_a)) else ""
        rows[f"{name} {about.arrow}"] = (len(at_a), *found, better)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["n", "difference", "low", "high", "better"])


def _row(before: Report, after: Report, method: str, name: str, about: Result) -> tuple[Any, ...]:
    (items_b, of_b, labels_b), (items_a, of_a, labels_a) = before.values(method, name), after.values(method, name)
    one, two = (about.aggregate(v, g) if len(v) else math.nan for v, g in ((of_b, labels_b), (of_a, labels_a)))
    low = high = math.nan
    here, there = places(items_a, items_b)
    if here:
        one, two = about.aggregate(of_b[there], labels_b[there]), about.aggregate(of_a[here], labels_a[here])
        _, low, high = difference(of_a[here], of_b[there], labels_a[here], about.aggregate)
    change = ("better" if (two - one) * about.better > 0 else "worse") if sure(low, high, len(here)) else ""
    change = "the same" if one == two and low == high == 0 else change
    return method, name, one, two, two - one, low, high, change


def _settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(setting, before, after) of all that differs."""
    lines = [(word, before.get(key), after.get(key)) for key, word in _SETTINGS.items()]
    # Hashes that only repeat what words say already.
    told = {key for key in _SETTINGS if before.get(key) != after.get(key)}
    mute = {"network"} if "weights_sha256" in told else set()
    mute |= {"listed"} if told & {"data", "pictures", "limit", "seed"} else set()
    lines = [line for line in lines if line[0] not in {_SETTINGS[key] for key in mute}]
    for kind, key in (("method", "methods"), ("test", "tests")):
        old, new = before[key], after[key]
        for title in dict.fromkeys([*old, *new]):
            if title not in old or title not in new:
                there = ["taken" if title in one else NOTHING for one in (old, new)]
                lines.append((f"{kind} {title}", there[0], there[1]))
                continue
            names = dict.fromkeys([*old[title], *new[title]])
            lines += [(f"{title}: {name}", old[title].get(name), new[title].get(name)) for name in names]
    return [(word, _shown(one), _shown(two)) for word, one, two in lines if one != two]


def _shown(value: Any) -> str:
    if value is None or value == {}:
        return NOTHING
    if isinstance(value, str) and len(value) == 64 and not set(value) - set("0123456789abcdef"):
        return f"{value[:_SHORT]}…"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={_shown(one)}" for name, one in value.items())
    return f"{value:g}" if isinstance(value, (float, np.floating)) else str(value)
