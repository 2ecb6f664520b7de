"""Tiny defects: which map finds them? IoU with the mask at each line's best threshold ([000] 3.4.3, eq. 3.10).

On held-out textures, of three networks: "defects", which ships, and two that learnt from labels alone (`learners`).
Photographs of magnetic tiles are measured by `python -m benchmarks tiles`.

[000] table 3.9: a ResNet-50 with ImageNet weights, trained on with the labels of DAGM-2007, maps of layer3: LayerCAM
27.26, Grad-CAM 0.35, Grad-CAM++ 6.46. What would count as that here was written down before any map of "resnet" or
"lite0" was looked at:

* Networks are chosen and trained by their share of right answers on held-out surfaces, at least 90 %, never by a map;
  all that were tried are shown.
* Maps are judged at the stage of 16×16 positions (S3 of each), on 200 held-out surfaces with a defect, as pairs.
* The order comes out if LayerCAM − Grad-CAM and LayerCAM − Grad-CAM++ are above 0 with their 95 % intervals; the
  thesis' margin if they are at least .269 and .208, or, since these defects are other ones, if LayerCAM is at least
  78 × and 4.2 ×.

"Activations" is ReLU(Σ_k A_k): no gradient and no class. Where it does as well as a method, the method's weights have
no part in it. That was the suspicion about "defects", whose channels answer to little else but defects.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import camwidgets
from camwidgets.datasets import Items, open_dataset
from camwidgets.datasets.textures import TextureWorld
from camwidgets.evaluation import Report
from camwidgets.evaluation.layout import cell
from camwidgets.maps import Method

from .learners import accuracy, learner
from .tables import Row, text

NETWORKS = ("defects", "resnet", "lite0")
METHODS = ("gradcam", "gradcam++", "layercam")
JUDGED = "S3"
MARGINS = {"Grad-CAM": (0.269, 78.0), "Grad-CAM++": (0.208, 4.2)}  # LayerCAM's lead in [000] table 3.9: points, ratio


def activations(A: Tensor, g: Tensor, gradient: str = "signed") -> Tensor:
    """ReLU(Σ_k A_k): what the stage answers to, whatever the class."""
    return torch.relu(A.sum(-3))


PLAIN = Method("activations", "Activations", activations, "ReLU(Σ_k A_k)", "a baseline", gradient="signed",
               signs=("signed",))  # fmt: skip


def measured(classifier: camwidgets.Classifier, items: Items) -> Report:
    """Methods × stages against masks."""
    named: dict[str, Any] = {camwidgets.methods()[name].title: name for name in METHODS} | {PLAIN.title: PLAIN}
    lines: dict[str, Any] = {
        f"{title} {stage}": {"method": method, "stages": [stage]}
        for title, method in named.items()
        for stage in classifier.stages
    }
    return camwidgets.evaluate(classifier, items, lines | {"whole": "whole"}, ["best-iou"], progress=False)


def rows(report: Report) -> list[Row]:
    """One row a method, one column a stage; 95 % intervals in brackets."""
    middle, (low, high) = report.table(), report.intervals()
    found: dict[str, Row] = {}
    for name in (name for name in middle.index if name != "whole"):
        title, _, stage = name.rpartition(" ")
        value, ends = (cell(middle, name, "iou-best"), [cell(end, name, "iou-best") for end in (low, high)])
        found.setdefault(title, {"map": title})[stage] = f"{value:.3f} ({ends[0]:.3f}–{ends[1]:.3f})"
    return list(found.values())


def verdict(report: Report, stage: str = JUDGED) -> list[str]:
    """LayerCAM against the two others at the stage that counts, by what was written down before."""
    table, said = report.table(), []
    mine = cell(table, f"LayerCAM {stage}", "iou-best")
    for name, (points, ratio) in MARGINS.items():
        row = report.paired(f"LayerCAM {stage}", f"{name} {stage}", ["iou-best"]).iloc[0]
        other = cell(table, f"{name} {stage}", "iou-best")
        order = "ahead" if row["low"] > 0 else "behind" if row["high"] < 0 else "undecided"
        margin = row["difference"] >= points or (other > 0 and mine >= ratio * other)
        said.append(
            f"{stage}: LayerCAM − {name} {row['difference']:+.3f}, 95 % {row['low']:+.3f} … {row['high']:+.3f}: "
            f"{order}; × {mine / max(other, 1e-9):.1f}; the thesis' margin {'reached' if margin else 'not reached'}"
        )
    return said


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("benchmarks defects", description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--surfaces", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    parser.add_argument("--keep", type=Path, help="a folder for trained networks: the next run finds them there")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    items = open_dataset(TextureWorld(seed=9001, n=options.surfaces, defect_share=1.0))
    for name in options.networks:
        shipped = name == "defects"
        classifier = camwidgets.load(name) if shipped else learner(name, options.seed, options.keep)
        report = measured(classifier, items)
        print(f"\n{name}: {accuracy(classifier):.1%} of 400 held-out surfaces right")
        print(f"the whole picture: {cell(report.table(), 'whole', 'iou-best'):.4f}")
        print(text(rows(report), markdown=True))
        print("\n".join(verdict(report)), flush=True)
    return 0
