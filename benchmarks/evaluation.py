"""Throughput of an evaluation: four gradient methods, average drop and increase in confidence, the same pictures.

Ours: `camwidgets.evaluate`, which keeps every outcome in SQLite. torchcam: an extractor a method and its own
`ClassificationMetric`, in batches. pytorch-grad-cam: a CAM object a method and its own `DropInConfidence` and
`IncreaseInConfidence`, in batches. Everyone opens and preprocesses the pictures anew in every round, and explains the
network's own top class at the last stage. All run in one process, so that what one of them leads the C library to keep
(`camwidgets.maps.passes.keep_memory`) serves the others, too.
"""

from __future__ import annotations

import argparse
import copy
import os
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import camwidgets
from camwidgets.datasets import Items, open_dataset
from camwidgets.evaluation.layout import cell

from .pictures import DEFAULT_FOLDER
from .tables import text
from .timing import interleaved, ratio

METHODS = ("gradcam", "gradcam++", "xgradcam", "layercam")
Found = dict[str, tuple[float, float]]  # method → (average drop, share of pictures with an increase)


def ours(classifier: camwidgets.Classifier, items: Items) -> Found:
    """`evaluate`, results on disk."""
    stage = list(classifier.stages)[-1]
    methods = {name: {"method": name, "stages": [stage]} for name in METHODS}
    with tempfile.TemporaryDirectory() as folder:
        report = camwidgets.evaluate(
            classifier, items, methods, ["confidence"], target="predicted", results=Path(folder) / "results.sqlite",
            progress=False,
        )  # fmt: skip
    table = report.table()
    return {name: (cell(table, name, "average-drop"), cell(table, name, "increase")) for name in METHODS}


def batches(classifier: camwidgets.Classifier, items: Items, size: int) -> Any:
    """The pictures as inputs, so many at a time."""
    from camwidgets.evaluation.view import seen

    for start in range(0, len(items), size):
        yield torch.cat([seen(classifier, items[i]).x for i in range(start, min(start + size, len(items)))])


def torchcam(classifier: camwidgets.Classifier, items: Items, size: int) -> Found:
    """torchcam's README on evaluation: extractor, `ClassificationMetric`, `update` a batch."""
    from torchcam import methods
    from torchcam.metrics import ClassificationMetric

    kinds = {"gradcam": "GradCAM", "gradcam++": "GradCAMpp", "xgradcam": "XGradCAM", "layercam": "LayerCAM"}
    net, layer = copy.deepcopy(classifier.module).eval(), list(classifier.stages.values())[-1].module
    found = {}
    for name, kind in kinds.items():
        with getattr(methods, kind)(net, target_layer=layer) as extractor:
            metric = ClassificationMetric(extractor, partial(torch.softmax, dim=-1))
            for x in batches(classifier, items, size):
                metric.update(x)
            said = metric.summary()
        found[name] = said["avg_drop"], said["conf_increase"]
    return found


def pytorch_grad_cam(classifier: camwidgets.Classifier, items: Items, size: int) -> Found:
    """pytorch-grad-cam's documentation: a CAM object, then its metrics on the maps."""
    import pytorch_grad_cam as library
    from pytorch_grad_cam.metrics.cam_mult_image import DropInConfidence, IncreaseInConfidence
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget, ClassifierOutputTarget

    kinds = {"gradcam": "GradCAM", "gradcam++": "GradCAMPlusPlus", "xgradcam": "XGradCAM", "layercam": "LayerCAM"}
    net = copy.deepcopy(classifier.module).eval()
    layer = net.get_submodule(list(classifier.stages.values())[-1].module)
    found = {}
    for name, kind in kinds.items():
        drops: list[float] = []
        rises: list[float] = []
        with getattr(library, kind)(model=net, target_layers=[layer]) as cam:
            for x in batches(classifier, items, size):
                classes = top(net, x)
                maps = cam(input_tensor=x, targets=[ClassifierOutputTarget(c) for c in classes])
                scores = [ClassifierOutputSoftmaxTarget(c) for c in classes]
                drops += DropInConfidence()(x, maps, scores, net).tolist()
                rises += IncreaseInConfidence()(x, maps, scores, net).tolist()
        found[name] = float(np.mean(drops)), float(np.mean(rises))  # its drop is absolute, not relative
    return found


@torch.no_grad()
def top(net: torch.nn.Module, x: Tensor) -> list[int]:
    """Each picture's top class."""
    return [int(c) for c in net(x).argmax(1)]


def _kept(found: dict[str, Found], name: str, run: Callable[[], Found]) -> None:
    found[name] = run()


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("benchmarks evaluation", description=__doc__)
    parser.add_argument("folder", nargs="?", default=str(DEFAULT_FOLDER))
    parser.add_argument("--network", default="efficientnet_lite0")
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--batch", type=int, nargs="+", default=[16, 4],
                        help="pictures a batch, for torchcam; the first one for pytorch-grad-cam, too")  # fmt: skip
    parser.add_argument("--without", nargs="*", default=[], choices=["torchcam", "pytorch-grad-cam"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    classifier = camwidgets.load(options.network)
    items = open_dataset(options.folder).limit(options.pictures)
    found: dict[str, Found] = {}
    contenders: dict[str, Callable[[], Found]] = {"camwidgets": partial(ours, classifier, items)}
    for name, run in (("torchcam", torchcam), ("pytorch-grad-cam", pytorch_grad_cam)):
        for size in options.batch if name == "torchcam" else options.batch[:1]:
            if name not in options.without:
                contenders[f"{name}, batches of {size}"] = partial(run, classifier, items, size)
    calls = {name: partial(_kept, found, name, run) for name, run in contenders.items()}
    times = interleaved(calls, options.rounds, warm_up=0)
    mine = times["camwidgets"].cpu
    rows = [
        {
            "contender": name,
            "pictures/s": f"{len(items) / np.median(each.cpu):.2f}",
            "CPU s": f"{np.median(each.cpu):.1f}",
            "× camwidgets": f"{ratio(each.cpu, mine):.2f}",
            "of the fastest rounds": f"{min(each.cpu) / min(mine):.2f}",
        }
        for name, each in times.items()
    ]
    print(f"{options.network}, {len(items)} pictures, {len(METHODS)} methods, {options.threads} thread(s), "
          f"{options.rounds} round(s), load of the machine {os.getloadavg()[0]:.1f}")  # fmt: skip
    print(text(rows, markdown=True))
    for name in METHODS:
        said = {who: f"{drop:.4f} / {rise:.3f}" for who, each in found.items() for drop, rise in [each[name]]}
        print(f"{name}: average drop / increase: {said}")
    return 0
