"""Is it true? Sparse surrogates, removal curves, counts, discriminativeness and sanity checks, over sets of pictures.

The toy net is measured on held-out scenes, and against two nets of its kind that are trained here for a minute or two,
one on true and one on random labels; other networks on photographs with true labels.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F

import camwidgets
from camwidgets import Classifier
from camwidgets.classifiers.toynet import MEAN, STD, ToyNet
from camwidgets.datasets.toyworld import CLASSES, ToyWorld
from camwidgets.decomposition.counts import channel_counts, contribution_curve
from camwidgets.decomposition.discrimination import discriminativeness, stage_means
from camwidgets.decomposition.removal import RANKINGS, removal_curve
from camwidgets.decomposition.sanity import compare_maps, gap_contributions, gap_maps, parameter_randomisation
from camwidgets.decomposition.surrogates import surrogate

from .pictures import DEFAULT_FOLDER, read_pictures
from .tables import Row, text

Measured = list[tuple[str, pd.DataFrame]]
PARTS = ("surrogate", "removal", "counts", "curve", "discriminativeness", "parameters", "labels")
TRAINING_SEED, HELD_OUT_SEED = 41, 77


def pictures(network: str, count: int, folder: Path) -> tuple[list[Any], list[int]]:
    """Held-out scenes with their labels for the toy nets; else photographs, spread over the folder's index."""
    if network.startswith("toy"):
        scenes = list(ToyWorld(seed=HELD_OUT_SEED, n=count))
        return [scene.image for scene in scenes], [scene.main for scene in scenes]
    found = read_pictures(folder)
    some = found[:: max(1, len(found) // count)][:count]
    return [one.path for one in some], [one.target for one in some]


def of_surrogate(net: Classifier, images: list[Any], labels: list[int], asked: argparse.Namespace) -> Measured:
    ways = (("stage", "gap", "top"), ("decomposition", "gap", "top"), ("stage", "random", "top"),
            ("stage", "gap", "second"))  # fmt: skip
    tables = [
        surrogate(net, images, labels, asked.k, keep=keep, ranking=ranking, decision=decision)
        for keep, ranking, decision in ways
    ]
    rows = pd.concat(tables).reset_index()
    columns = ["keep", "ranking", "decision", "k", "kept", "accuracy", "match", "probability"]
    return [(f"Sparse surrogate (untouched accuracy {tables[0]['original'].iloc[0]:.3f})", rows[columns])]


def of_removal(net: Classifier, images: list[Any], labels: list[int], asked: argparse.Namespace) -> Measured:
    found = removal_curve(net, images, labels, asked.counts, stages=asked.stages or "stages", rankings=asked.rankings,
                          steps=asked.steps)  # fmt: skip
    tables = []
    for measure in ("probability", "accuracy"):
        wide = found.pivot(index=["stage", "removed"], columns="ranking", values=measure)[asked.rankings]
        tables.append((f"Removal curve: {measure} (lower is better)", wide.reset_index()))
    areas = found.query("removed > 0").groupby(["stage", "ranking"])[["probability", "accuracy"]].mean().unstack()
    for measure in ("probability", "accuracy"):
        title = f"Removal curve: mean {measure} over the N > 0"
        tables.append((title, areas[measure][asked.rankings].reset_index()))
    return tables


def of_counts(net: Classifier, images: list[Any], labels: list[int], asked: argparse.Namespace) -> Measured:
    found = channel_counts(net, images).reset_index()
    return [("Channels per step", found[["step", "active", "overlapping", "channels", "decisions"]])]


def of_curve(net: Classifier, images: list[Any], labels: list[int], asked: argparse.Namespace) -> Measured:
    """What the strongest 1, 4, 16 channels carry, by α and (on a few pictures) in truth."""
    found = contribution_curve(net, images[: asked.truth], truth="zero")
    rows = []
    for step, one in found.groupby("step", sort=False):
        share, real = one["share"].clip(lower=0), one["real"].clip(lower=0)
        row: dict[str, Any] = {"step": step}
        for n in (1, 4, 16):
            row[f"top {n}"] = share.iloc[:n].sum() / share.sum()
            row[f"top {n}, real"] = real.iloc[:n].sum() / real.sum()
        rows.append(row)
    title = f"Contribution curve: part of all positive contributions, {min(asked.truth, len(images))} pictures"
    return [(title, pd.DataFrame(rows))]


def of_discriminativeness(net: Classifier, images: list[Any], labels: list[int], asked: argparse.Namespace) -> Measured:
    return [("Discriminativeness D", stage_means(discriminativeness(net, images, labels)).reset_index())]


def of_parameters(net: Classifier, images: list[Any], labels: list[int], asked: argparse.Namespace) -> Measured:
    tables = []
    for name, explainer in (("maps", gap_maps), ("contributions", gap_contributions)):
        for order in ("cascading", "independent"):
            found = parameter_randomisation(net, images[: asked.sanity], explainer, order=order)
            wide = found.pivot(index="layers", columns="map", values="spearman")
            wide = wide.loc[list(found["layers"].unique())].reset_index()
            tables.append((f"Parameters drawn anew, {order}: Spearman of gAP {name}", wide))
    return tables


def of_labels(net: Classifier, images: list[Any], labels: list[int], asked: argparse.Namespace) -> Measured:
    """Nets of the toy's kind: two trained on true labels and one on random ones, on a few scenes."""
    if not net.name.startswith("toy"):
        return []
    scenes, true = ToyWorld(seed=TRAINING_SEED, n=asked.scenes).batch()
    x = (torch.from_numpy(scenes).permute(0, 3, 1, 2).float() / 255 - MEAN[0]) / STD[0]
    y = torch.from_numpy(true)
    dealt = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(0))]
    nets = {name: trained(x, labels_of, seed, asked.epochs) for name, labels_of, seed in
            (("true labels", y, 0), ("true labels, another seed", y, 1), ("random labels", dealt, 1))}  # fmt: skip
    first, some = nets["true labels"][0], images[: asked.sanity]
    rows = []
    for name, (other, right) in nets.items():
        # Maps only: channel k of one net has nothing to do with channel k of another.
        found = compare_maps(first, other, some, gap_maps, labels[: len(some)])
        rows.append({"against": name, "training accuracy": right, **found["spearman"]})
    return [("Label randomisation: Spearman of gAP maps of a net trained on true labels against …", pd.DataFrame(rows))]


def trained(x: torch.Tensor, y: torch.Tensor, seed: int, epochs: int) -> tuple[Classifier, float]:
    """A toy net trained on these pictures, and its accuracy on them."""
    torch.manual_seed(seed)
    net = ToyNet(len(CLASSES), norm=True)
    optimiser = torch.optim.AdamW(net.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=epochs * (len(x) // 20))
    for _ in range(epochs):
        for some in torch.randperm(len(x)).split(20)[: len(x) // 20]:
            optimiser.zero_grad(set_to_none=True)
            F.cross_entropy(net(x[some]), y[some]).backward()
            optimiser.step()
            schedule.step()
    with torch.no_grad():
        right = float((net.eval()(x).argmax(1) == y).float().mean())
    wanted = camwidgets.load("toy")
    return camwidgets.wrap(net, wanted.preprocessing, CLASSES, input_size=wanted.input_size, name="toy-like"), right


MEASURES: dict[str, Callable[[Classifier, list[Any], list[int], argparse.Namespace], Measured]] = dict(
    zip(PARTS, (of_surrogate, of_removal, of_counts, of_curve, of_discriminativeness, of_parameters, of_labels),
        strict=True)
)  # fmt: skip


def rows_of(table: pd.DataFrame) -> list[Row]:
    """Numbers as text: counts whole, the rest with three decimals."""
    return [
        {str(head): f"{value:.3f}" if isinstance(value, float) else str(value) for head, value in row.items()}
        for row in table.to_dict("records")
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks truth", description=__doc__)
    parser.add_argument("--networks", nargs="+", default=["toy"])
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--sanity", type=int, default=20, help="how many of them for the sanity checks")
    parser.add_argument("--truth", type=int, default=10, help="how many of them for the real contribution curve")
    parser.add_argument("--k", nargs="+", type=int, help="channels kept by the surrogates")
    parser.add_argument("--counts", nargs="+", type=int, help="channels removed")
    parser.add_argument("--stages", nargs="+", help="where channels are removed")
    parser.add_argument("--rankings", nargs="+", default=list(RANKINGS), choices=RANKINGS)
    parser.add_argument("--steps", type=int, default=8, help="of captum's integrals")
    parser.add_argument("--scenes", type=int, default=100, help="that the nets for label randomisation learn")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="photographs with their index.csv")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--markdown", action="store_true")
    asked = parser.parse_args(arguments)
    if asked.threads:
        torch.set_num_threads(asked.threads)
    for network in asked.networks:
        net = camwidgets.load(network, fit="squash")
        images, labels = pictures(network, asked.pictures, asked.folder)
        for part in asked.parts:
            begun = time.process_time()
            for title, table in MEASURES[part](net, images, labels, asked):
                print(f"\n{network}, {len(images)} pictures. {title}", flush=True)
                print(text(rows_of(table), asked.markdown), flush=True)
            print(f"({part}: {time.process_time() - begun:.0f} s of CPU)", flush=True)
    return 0
