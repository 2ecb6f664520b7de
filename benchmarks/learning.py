"""Maps that learn, on the toy world: does accumulating, dropping and integrating bring what [000] chapter 4 says?

Written down before the order of the methods was looked at:

* Data, per seed s: a world of its own, `ToyWorld(seed=1000 + s, n=1200, objects=(1, 3), context_strength=0.2)`, 96×96,
  ten classes of which only the presence is told; a held-out world of 300 scenes for the segmentation nets.
* Nets: `AttentionNet`, stages 16 | 32 | 48 48, width 32, maps of 24×24. As the thesis begins with ImageNet's VGG-16,
  the backbone begins as the first three stages of the network "toy", which knows single objects; the rest is new.
  AdamW, batch 32, rate 3e-3 (one cycle), bf16, pictures mirrored, shifted and relit: 3 epochs of classification, from
  which every training goes on for 5 more. (A first try accumulated from the first step on. It was broken off in its
  fifth epoch, when the cumulative maps were seen to be full of what the untrained net had said: an epoch here has 38
  steps, in the thesis 2,116.) Drop: δ = 0.6, β = 0.5. The net was chosen on other worlds by plain classification
  alone: with 12×12 maps and a view of 110 pixels CAM finds 90 % of the objects (a twentieth of the picture each) with
  76 % noise, and nothing is left to accumulate; with 24×24 and a view of 50 pixels 35 % with 49 %, near the thesis' 37
  and 33.
* Maps of the training pictures: CAM (the last epoch's net), OAA mean and OAA max (the same training), OAA++ (with
  drop), OAA⁺ and OAA+++ (integral models on these, hybrid loss, threshold 0), read as σ(F), and, since the thesis does
  not say and σ(F) is nowhere near 0, as ReLU(F)/max F as well (added when seed 0's σ(F) was best at the highest b);
  LayerCAM of the last stage and of the three deepest fused ("paper") on CAM's net.
* Integral models once more: with threshold 0 they came out below the maps that they learn. Looked at afterwards on
  two worlds that nothing is judged on (`--show split`, seeds 3 and 4): of N₊ = {p > 0} 15 % is the object. The pair
  of threshold (0, 0.1 … 0.8) and reading with the best mean mIoU on 200 pictures of these two worlds, each at its best
  b, was written down as the rule before seed 4 was run, and what it chose (t = 0.7, σ(F)) before it was run on seeds
  0, 1 and 2; beside it 0.3, the end of the thesis' table 4.6. (Of no avail on seed 3: 15 epochs in place of 5, a start
  from CAM's net, min-max in place of σ.)
* Pseudo-labels: maps over their maximum, SLIC superpixels, the highest class, background below b, no pixel ignored. b
  is chosen from 0.05, 0.10 … 0.80 for each kind in the same way: the best mean mIoU on 200 pictures of each *other*
  seed. Masks are used for nothing else.
* Labels on the true foreground (added when the integral models were asked why; nothing is chosen): as the thesis takes
  the background from a saliency map, the same labels of 200 pictures with the best saliency map there can be, the
  objects of the masks, and its b = 0.3: background where no object is, nobody's where no map reaches b.
* Scores: mIoU of the pseudo-labels over the training pictures ((3.12), background counted); recall and noise at 50 % of
  each map's maximum (4.3.4.9), per epoch on 200 pictures, at the end on all; mIoU on the held-out world of a
  `SmallLargeFOV` (begins with weights of "toy", 5 epochs) trained on the pseudo-labels, beside one trained on the true
  masks: the bound. (First tried at half the width from scratch: after 5 epochs the bound was below what it bounds.)
* Thesis (mIoU of the segmentation net, VOC12 val): CAM 53.9 < OAA mean 57.0 < OAA max 58.6 < OAA++ 59.9; OAA⁺ 59.6 >
  OAA max; LayerCAM 55.6 at S5, 60.8 fused. Recall/noise: CAM 36.7/32.7, OAA 52.3/37.4, OAA++ 61.9/41.1: recall rises,
  noise rises less. An ordering counts as reproduced if it holds in every seed; "in the mean" says that only the mean
  does.
* Boxes (`--show boxes`): LayerCAM of each stage of the network "toy" on 200 scenes, the largest part at 15 % of the
  maximum against `spread_box` with its defaults (which were not tuned); expected: the cut helps at S1 and S2.
* GAIN_ext (`--show gain`, [003]): `cure_shortcut` as it stands (what was chosen there was chosen on seeds 20 and 21),
  masks on 30 of 600 pictures, each seed with a world of its own (30, 31 …); the same training without masks beside it.
  (First with grey in the place of what is erased: +13.8 and +5.0 points in two seeds, and less after more epochs.)
  Asked for: on 500 scenes whose context is swapped the accuracy rises by 10 points or more, and the share of the maps'
  mass on the context falls, in every seed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from camwidgets.figures.learning import epochs_strip, labels_figure, recall_figure
from camwidgets.learning.run import open_run
from camwidgets.learning.shortcut import JUDGED, cure_shortcut

from .learning_boxes import boxes
from .learning_stages import GRID, KINDS, SPLIT, TRUTH, Result, Stages
from .learning_tables import curves, epochs, orderings, table
from .tables import text

FOLDER = Path("artifacts/learning")
GAIN_HEADS = {
    "accuracy_home": "accuracy, context at home", "accuracy_swap": "accuracy, context swapped",
    **{f"{where}_{stage}": f"map mass on the {where}, {stage}" for stage in JUDGED for where in ("context", "object")},
}  # fmt: skip
SPLITS = tuple(round(0.1 * i, 1) for i in range(9))
SPLIT_HEADS = {
    "positive": "share of N₊", "object": "object in N₊", "recall_relu": "recall at 50 %", "noise_relu": "noise at 50 %",
    "miou_relu": "mIoU, ReLU", "miou_sigma": "mIoU, σ",
}  # fmt: skip
ORDER = (("CAM", "OAA, mean"), ("OAA, mean", "OAA, max"), ("OAA, max", "OAA++"), ("OAA, max", "OAA⁺"),
         ("OAA, max", "OAA⁺, ReLU"), ("OAA++", "OAA+++"), ("OAA++", "OAA+++, ReLU"), ("OAA⁺, ReLU", "OAA+++, ReLU"),
         ("OAA, max", "OAA⁺, t = 0.3, ReLU"), ("OAA, max", f"OAA⁺, t = {SPLIT}"), ("OAA++", f"OAA+++, t = {SPLIT}"),
         (f"OAA⁺, t = {SPLIT}", f"OAA+++, t = {SPLIT}"),
         tuple(list(KINDS)[-2:]))  # fmt: skip
CURVES = {"CAM": ("oaa", "now"), "OAA, mean": ("oaa", "mean"), "OAA, max": ("oaa", "max"),
          "CAM with drop": ("oaa++", "now"), "OAA++": ("oaa++", "drop")}  # fmt: skip


def chosen(thresholds: dict[int, dict[str, list[float]]], seed: int) -> dict[str, float]:
    """Kind → the threshold that was best on the other seeds."""
    others = [one for other, one in thresholds.items() if other != seed]
    return {kind: GRID[int(np.mean([one[kind] for one in others], 0).argmax())] for kind in KINDS}


def accumulation(options: argparse.Namespace) -> None:
    """Trainings and maps of all seeds, thresholds from the others, labels and segmentation nets; then the tables."""
    folder = Path(options.folder)
    stages = {seed: Stages(folder, seed, options) for seed in options.seeds}
    thresholds = {seed: one.thresholds() for seed, one in stages.items()}
    levels = {seed: chosen(thresholds, seed) for seed in stages}
    results: dict[int, dict[str, Result]] = {
        seed: {kind: one.labels(kind, levels[seed][kind]) | one.foreground(kind) for kind in KINDS}
        | {TRUTH: {"miou": 1.0}}
        for seed, one in stages.items()
    }
    for seed, one in stages.items():
        for kind in (TRUTH, *KINDS):
            results[seed][kind] |= one.segmented(kind, levels[seed].get(kind, 0.0))
    print(text(table(results), markdown=True), end="\n\n")
    print(text(orderings(results, ORDER, ("miou", "segmenter", "foreground")), markdown=True), end="\n\n")  # type: ignore[arg-type]
    runs = {name for name, _ in CURVES.values()}
    metrics = {s: {name: open_run(folder / f"seed_{s}" / name).metrics() for name in runs} for s in stages}
    lines = curves(metrics, CURVES)
    print(text(epochs(lines), markdown=True))
    draw(folder, lines, results)


def guidance(options: argparse.Namespace) -> None:
    """GAIN_ext on the shortcut learner: before, trained on without masks, trained on with a few."""
    found: dict[int, dict[str, Result]] = {}
    for seed in options.seeds:
        part = Path(options.folder) / f"gain_{seed}"
        frame = cure_shortcut(
            part, pictures=options.gain_pictures, masks=max(1, options.gain_pictures // 20), epochs=options.gain_epochs,
            seed=30 + seed, test_pictures=options.gain_test,
        )  # fmt: skip
        found[seed] = {str(name): {str(k): float(v) for k, v in row.items()} for name, row in frame.iterrows()}
        print(f"gain, seed {seed}: {found[seed]}", file=sys.stderr, flush=True)
    print(text(table(found, GAIN_HEADS), markdown=True), end="\n\n")
    for what, pairs in (
        ("accuracy_swap", [("before", "guided"), ("plain", "guided")]),
        *((f"context_{stage}", [("guided", "before"), ("guided", "plain")]) for stage in JUDGED),
    ):
        print(text(orderings(found, pairs, (what,), GAIN_HEADS), markdown=True), end="\n\n")


def draw(folder: Path, lines, results: dict[int, dict[str, Result]]) -> None:  # type: ignore[no-untyped-def]
    """Figures beside the runs: two pages and a strip of maps."""
    import pandas as pd

    recall_figure(lines).write_html(folder / "recall.html", include_plotlyjs=True)
    flat = pd.DataFrame([{"method": k, **r} for one in results.values() for k, r in one.items() if k != TRUTH])
    labels_figure(flat).write_html(folder / "labels.html", include_plotlyjs=True)
    run = open_run(folder / f"seed_{next(iter(results))}" / "oaa++")
    id = run.watched[0]
    epochs_strip(run, id, run.present(id)[0]).save(folder / "maps.png")


def splits(options: argparse.Namespace) -> None:
    """Integral models by the threshold between N₊ and N₋ ([000] table 4.6), on worlds that judge nothing else."""
    found: dict[int, dict[str, Result]] = {}
    for seed in options.split_seeds:
        one = Stages(Path(options.folder), seed, options)
        found[seed] = {"OAA, max": one.unsplit()} | {f"OAA⁺, N₊ = {{p > {t:.1f}}}": one.split(t) for t in SPLITS}
    print(text(table(found, SPLIT_HEADS), markdown=True), end="\n\n")


def localisation(options: argparse.Namespace) -> None:
    """Boxes of every stage, by threshold and by graph cut."""
    print(text(boxes(options.scenes), markdown=True), end="\n\n")


SHOWS = {"boxes": localisation, "split": splits, "accumulation": accumulation, "gain": guidance}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        "benchmarks learning", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--show", nargs="+", choices=list(SHOWS), default=list(SHOWS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="two or more")
    parser.add_argument("--split-seeds", type=int, nargs="+", default=[3, 4], help="of --show split")
    parser.add_argument("--pictures", type=int, default=1200, help="trained on, a seed")
    parser.add_argument("--warm", type=int, default=3, help="epochs of classification before anything is accumulated")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--held-out", type=int, default=300)
    parser.add_argument("--segment-epochs", type=int, default=5)
    parser.add_argument("--segment-width", type=int, default=32)
    parser.add_argument("--gain-pictures", type=int, default=600, help="a twentieth of them has masks")
    parser.add_argument("--gain-epochs", type=int, default=3)
    parser.add_argument("--gain-test", type=int, default=500)
    parser.add_argument("--scenes", type=int, default=200, help="of --show boxes")
    parser.add_argument("--folder", default=str(FOLDER), help="runs and results; what is there is not made again")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    if len(set(options.seeds)) < 2:
        parser.error("thresholds are chosen on other seeds: give two or more, --seeds 0 1")
    torch.set_num_threads(options.threads)
    for show in options.show:
        SHOWS[show](options)
    return 0
