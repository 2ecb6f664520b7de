"""Which map? Every method of the catalogue, plain and enhanced: insertion, deletion, box, mosaic share, cost.

python -m benchmarks maps --network toy --pictures 50
python -m benchmarks maps ../shared/data/ilsvrc_dev --pictures 20 --results maps.sqlite    # goes on where it was

On the pictures themselves the ground-truth class is explained; on 2×2 mosaics of them the class of each cell.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

import camwidgets
from camwidgets.datasets import open_dataset
from camwidgets.datasets.toyworld import ToyWorld
from camwidgets.evaluation import Report
from camwidgets.evaluation.layout import cell
from camwidgets.evaluation.mosaics import mosaics

from .pictures import DEFAULT_FOLDER
from .tables import Row, text

LEFT_OUT = ("cam", "excitation", "lrp-tap", "clustercam")  # cam is Grad-CAM here; the others have a better sibling
ENHANCED = ("gradcam", "gradcam++", "xgradcam", "layercam", "groupcam", "lrp")
COLUMNS = ("overall", "insertion", "deletion", "box", "box-best")


def methods(classifier: camwidgets.Classifier, masks: int) -> dict[str, dict[str, Any]]:
    """Title → options: every method that can serve the network, the cheap ones also enhanced."""
    fewer = {"rise": {"masks": masks}, "smoothgrad": {"samples": 20}, "integrated-gradients": {"steps": 20}}
    found: dict[str, dict[str, Any]] = {}
    for name, method in camwidgets.methods().items():
        if name in LEFT_OUT or method.why_not(classifier):
            continue
        found[method.title] = {"method": name, **fewer.get(name, {})}
        if name in ENHANCED:
            found[f"{method.title}, enhanced"] = {"method": name, "enhance": True}
    found["LayerCAM, gated"] = {"method": "layercam", "preset": "gated"}
    return found | {name: {"method": name} for name in ("centre", "random")}


def rows(pictures: Report, squares: Report) -> list[Row]:
    """One row a method, best overall AUC first."""
    low, high = pictures.intervals(["overall", "box"])
    table, share = pictures.table(list(COLUMNS)), squares.table(["energy"])["energy"]
    ends = [end["energy"] for end in squares.intervals(["energy"])]
    cost = pictures.cost()
    order = table["overall"].sort_values(ascending=False).index
    return [
        {
            "method": name,
            "overall AUC": f"{cell(table, name, 'overall'):.3f}",
            "95 %": f"{cell(low, name, 'overall'):.2f}–{cell(high, name, 'overall'):.2f}",
            "insertion ↑": f"{cell(table, name, 'insertion'):.3f}",
            "deletion ↓": f"{cell(table, name, 'deletion'):.3f}",
            "box at 15 %": f"{cell(table, name, 'box'):.3f}",
            "95 % of box": f"{cell(low, name, 'box'):.2f}–{cell(high, name, 'box'):.2f}",
            "box, best θ": f"{cell(table, name, 'box-best'):.3f}",
            "mosaic share": f"{share[name]:.3f}",
            "95 % of share": f"{ends[0][name]:.2f}–{ends[1][name]:.2f}",
            "s": f"{cell(cost, name, 'seconds'):.2f}",
            "passes": f"{cell(cost, name, 'forward') + cell(cost, name, 'backward'):.0f}",
        }
        for name in order
    ]


def verdicts(report: Report) -> list[str]:
    """What the sources lead one to expect, with the paired differences that it stands or falls by."""
    table = report.table(["overall"])["overall"]
    said = []
    for title in table.index:
        if title.endswith(", enhanced"):
            said.append(_difference(report, title, title.removesuffix(", enhanced")))
    if "MSG-CAM" in table.index:
        others = [name for name in ("Score-CAM", "Grad-CAM", "Grad-CAM++", "XGrad-CAM", "CAMERAS") if name in table]
        said += [_difference(report, "MSG-CAM", name) for name in others]
    return said


def _difference(report: Report, a: str, b: str) -> str:
    row = report.paired(a, b, ["overall"]).iloc[0]
    sure = row["better"] or "undecided"
    return f"{a} − {b}: overall {row['difference']:+.3f}, 95 % {row['low']:+.3f} … {row['high']:+.3f} ({sure})"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("benchmarks maps", description=__doc__)
    parser.add_argument("folder", nargs="?", help=f"pictures with boxes [default: the toy world, or {DEFAULT_FOLDER}]")
    parser.add_argument("--network", default="efficientnet_lite0")
    parser.add_argument("--pictures", type=int, default=20)
    parser.add_argument("--mosaics", type=int, default=5)
    parser.add_argument("--masks", type=int, default=500, help="of RISE (the paper: 4000)")
    parser.add_argument("--steps", type=int, default=28, help="of insertion and deletion ([002]: 112)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", help="a file that keeps every outcome")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    classifier = camwidgets.load(options.network)
    toy = options.network.startswith("toy")
    whole = open_dataset(ToyWorld(seed=9001, n=500) if toy else options.folder or DEFAULT_FOLDER)
    items = whole.limit(options.pictures)
    given: dict[str, Any] = {"results": options.results, "progress": sys.stderr.isatty()}
    chosen = methods(classifier, options.masks)
    tests = {"insertion-deletion": {"steps": options.steps}, "localisation": {}}
    pictures = camwidgets.evaluate(classifier, items, chosen, tests, **given)
    squares = mosaics(classifier, whole.limit(100), options.mosaics, cell=classifier.input_size[0] // 2, sure=0.8)
    shares = camwidgets.evaluate(classifier, squares, chosen, ["energy"], **given)
    print(f"{options.network}: {pictures.pictures} pictures, {shares.pictures} mosaic cells, seed 0")
    print(text(rows(pictures, shares), markdown=True))
    print("\n".join(verdicts(pictures)))
    failed = Counter((row["method"], row["error"]) for row in pictures.rows if row["error"])
    print("\n".join(f"{name}: {error} ({count}×)" for (name, error), count in failed.items()))
    print(f"mean over methods of the standard error of overall: {np.mean([_error(pictures, n) for n in chosen]):.3f}")
    return 0


def _error(report: Report, method: str) -> float:
    values = report.values(method, "overall")[1]
    return float(values.std() / np.sqrt(max(len(values), 1)))
