"""An evaluation in plain words and numbers, as the front end draws it; and the Python lines that run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from ...classifiers.classifier import Classifier
from ...datasets.items import Items
from ...evaluation import Report
from ...evaluation.measure import measures
from ...evaluation.plan import BASELINES
from ...evaluation.results import Run
from ...maps.catalogue import methods as catalogue
from ..speaking import sentence

Words = dict[str, Any]
MOST_SHOWN = 100  # skipped pictures that are listed; the files that are saved name all
_BLIND = {"centre": "a blob in the middle", "whole": "the same everywhere", "random": "noise"}


def report_words(report: Report, so_far: bool = False) -> Words:
    """Everything that table and figure show of a run: value, lower and upper end of each method and result.

    so_far: the run goes on; its numbers are told without intervals, which would take time from it.
    """
    middle, cost = report.table(), report.cost()
    low, high = (middle * np.nan,) * 2 if so_far else report.intervals()
    names = list(report.results)
    rows = []
    for title in report.methods:
        cells = [[_number(frame.loc[title, name]) for frame in (middle, low, high)] for name in names]
        spent = {name: _number(cost.loc[title, name]) for name in ("seconds", "forward", "backward")}
        blind = report.run.request["methods"][title]["method"] in BASELINES
        rows.append({"method": title, "cells": cells, "baseline": blind, **spent})
    return {
        **run_words(report.run), "pictures": report.pictures,
        "results": [
            {"name": name, "title": about.title, "test": test, "arrow": about.arrow, "better": about.better,
             "unit": about.unit, "curve": [] if so_far else _curve(report, name)}
            for name, (test, about) in report.results.items()
        ],
        "rows": rows,
        "skipped": [list(one) for one in list(report.skipped.items())[:MOST_SHOWN]],
        "skips": len(report.skipped),
        "failed": _failures(report),
    }  # fmt: skip


def _curve(report: Report, name: str) -> list[Words]:
    """A result's curve over its steps, such as groups of layers: one line a method; [] if it has none."""
    frame = report.by_step(name)
    return [
        {"method": str(method), "steps": part["step"].tolist(),
         **{key: part[key].tolist() for key in ("value", "low", "high")}}
        for method, part in frame.fillna(0.0).groupby("method", sort=False)
    ]  # fmt: skip


def pair_words(report: Report, a: str, b: str) -> Words:
    """Two methods on the same pictures: a − b with its interval for each result; or why that cannot be said."""
    rows = []
    for name, (_, about) in report.results.items():
        try:
            line = report.paired(a, b, [name]).iloc[0]
        except ValueError as error:
            return {"a": a, "b": b, "rows": [], "problem": str(error)}
        ends = {key: _number(line[key]) for key in ("difference", "low", "high")}
        rows.append({"result": name, "title": about.title, "arrow": about.arrow, **ends, "better": line["better"]})
    return {"a": a, "b": b, "rows": rows, "problem": ""}


def change_words(before: Report, after: Report) -> Words:
    """`after.against(before)`: the runs, what was asked differently, and each method's and result's change."""
    said = {"before": run_words(before.run), "after": run_words(after.run)}
    try:
        found = after.against(before)
    except ValueError as error:
        return {**said, "common": 0, "rows": [], "results": [], "settings": [], "problem": str(error)}
    names = list(dict.fromkeys(found.rows["result"]))
    results = [{"name": name, "arrow": after.results[name][1].arrow, "title": after.results[name][1].title}
               for name in names]  # fmt: skip
    rows: dict[str, list[Words]] = {}
    for row in found.rows.itertuples(index=False):
        numbers = {key: _number(getattr(row, key)) for key in ("before", "after", "difference", "low", "high")}
        rows.setdefault(str(row.method), []).append({**numbers, "kind": row.change})
    return {
        **said, "common": found.common, "results": results, "problem": "",
        "rows": [{"method": title, "cells": cells} for title, cells in rows.items()],
        "settings": [list(map(str, line)) for line in found.settings.itertuples(index=False)],
    }  # fmt: skip


def run_words(run: Run) -> Words:
    """A run on record: when, of what, how far."""
    asked = run.request
    return {
        "run": run.id, "state": run.state, "done": run.pictures, "asked": asked["pictures"], "model": asked["model"],
        "data": asked["data"], "made": datetime.fromisoformat(run.made).astimezone().strftime("%d %b %Y, %H:%M"),
        "methods": list(asked["methods"]), "tests": list(asked["tests"]), "target": asked["target"],
        "seed": asked["seed"], "limit": asked["limit"],
    }  # fmt: skip


def set_words(items: Items | None) -> Words:
    """A data set as it was found."""
    if items is None:
        return {}
    said = repr(items).removeprefix(f"{items.name}: ")
    return {"name": items.name, "text": said, "pictures": len(items), "boxes": items.has_boxes,
            "masks": items.has_masks}  # fmt: skip


def method_words(classifier: Classifier | None) -> list[Words]:
    """The catalogue and the baselines; `why`: why it cannot serve this network."""
    found: list[Words] = []
    for one in catalogue().values():
        try:
            why = (one.why_not(classifier) if classifier else "") or ""
        except ValueError as error:
            why = sentence(error)
        slow = "many forwards" in one.needs
        about = f"{one.formula} · {one.source} · needs {', '.join(one.needs) or 'nothing but forward passes'}"
        words = {"value": one.name, "text": one.title, "about": about, "why": why}
        found.append({**words, "slow": slow, "baseline": False})
    return found + [
        {"value": name, "text": name, "about": f"{_BLIND[name]}: knows nothing of the picture, to be beaten",
         "why": "", "slow": False, "baseline": True}
        for name in BASELINES
    ]  # fmt: skip


def lacking(items: Items | None, needs: Sequence[str], mosaics: bool = False) -> str:
    """What a test needs and the data set (or mosaics of it, whose cells are boxes) has not: "boxes", "masks", or ""."""
    if items is None:
        return ""
    missing = ["boxes"] if "boxes" in needs and not items.has_boxes and not mosaics else []
    missing += ["masks"] if "mask" in needs and (mosaics or not items.has_masks) else []
    return " and ".join(missing)


def measure_words(items: Items | None, mosaics: bool = False) -> list[Words]:
    """The tests; `why`: what of them the data set, or mosaics of it, cannot serve."""
    found = []
    whose = "mosaics have" if mosaics else "this data set has"
    for one in measures().values():
        missing = lacking(items, one.needs, mosaics)
        found.append({
            "value": one.name, "text": one.title, "formula": one.formula, "source": one.source,
            "results": [{"name": r.name, "arrow": r.arrow, "title": r.title, "unit": r.unit} for r in one.results],
            "needs": [{"mask": "masks"}.get(need, need) for need in one.needs], "passes": one.passes,
            "parameters": [
                {"name": p.name, "value": p.default, "about": p.meaning, "low": p.low, "high": p.high,
                 "whole": isinstance(p.default, int), "valid": p.valid}
                for p in one.parameters
            ],
            "why": f"needs {missing}; {whose} none" if missing else "",
        })  # fmt: skip
    return found


def asked_methods(methods: Sequence[str], enhanced: Sequence[str]) -> list[Any]:
    """As `evaluate` takes them: names, and those whose maps are enhanced."""
    return [*methods, *({"method": name, "enhance": True} for name in enhanced)]


def benchmark_code(classifier: str, data: str, asked: Mapping[str, Any], cells: Mapping[str, Any] | None = None) -> str:
    """The lines that run the same evaluation. data: an expression. cells: of mosaics: count, seed, limit (pictures)."""
    lines = ["import camwidgets", "", classifier]
    if data == "dataset":
        lines.append("# dataset: the one that was given to the benchmark")
    if cells is not None:
        some = "" if cells["limit"] is None else f".limit({cells['limit']}, {cells['seed']})"
        lines.insert(1, "from camwidgets.evaluation.mosaics import mosaics")
        lines.append(f"pictures = camwidgets.datasets.open_dataset({data}){some}")
        data = f"mosaics(classifier, pictures, {cells['count']}, seed={cells['seed']})"
    lines += ["report = camwidgets.evaluate(", "    classifier,", f"    {data},"]
    lines += [f"    {name}={_code(value)}," for name, value in asked.items() if value is not None]
    return "\n".join([*lines, ")", "report"]) + "\n"


def _code(value: Any) -> str:
    if not isinstance(value, list) or len(repr(value)) < 88:
        return repr(value)
    return "[\n" + "".join(f"        {one!r},\n" for one in value) + "    ]"


def _failures(report: Report) -> list[Words]:
    counts: dict[tuple[str, str, str], int] = {}
    for row in report.rows:
        if row["error"]:
            key = (row["method"], row["test"], row["error"])
            counts[key] = counts.get(key, 0) + 1
    return [{"method": method, "test": test, "error": error, "count": n} for (method, test, error), n in counts.items()]


def _number(value: Any) -> float | None:
    """JSON has no NaN."""
    return None if not np.isfinite(value) else float(value)
