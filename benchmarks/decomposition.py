"""What does a decomposition tree cost, against doing it node by node and against removing channels one at a time?

* A full tree (top 3, all stages) against the same decisions taken one by one, each with a pass of its own through the
  whole network (what a hook on two layers and `autograd.grad` would do).
* All contributions of a step (one backward pass) against the truth, channels removed one at a time: by our own
  `fidelity` (batched, only the part of the network between the taps) and by plain forward passes through all of it
  (timed on 12 channels, scaled to all).
* One expansion, as after a click.
* Where zennit-crp can be imported and the network is a plain chain of convolutions (toy, vgg16): its attribution graph
  of the same shape, three channels below each channel, from the tree's three strongest of the deepest stage on.

Besides elapsed time the CPU time of the process is given; with `--threads 1` it hardly depends on other load.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

import torch

import camwidgets
from camwidgets import Classifier, Decomposition
from camwidgets.classifiers import Tap
from camwidgets.decomposition import Decision
from camwidgets.decomposition.fidelity import true_changes
from camwidgets.decomposition.gap import Decomposer
from camwidgets.decomposition.segment import Segment
from camwidgets.decomposition.tree import decision_of
from camwidgets.evidence import capture

from .tables import Row, text
from .timing import Times, interleaved, ratio

NETWORKS = ("efficientnet_lite0", "vgg16")
CHAINS = ("toy", "vgg16")  # networks that zennit-crp is timed on
TIMED = 12  # channels that plain removal is timed on


def one_by_one(classifier: Classifier, x: torch.Tensor, tree: Decomposition) -> int:
    """Every decision of a tree by a pass of its own through the whole network up to it; returns how many."""
    stages = list(tree.stages)
    wanted = [(n.stage, decision_of(n)) for n in tree.nodes.values() if n.parent is not None and n.stage != stages[0]]
    capture(classifier, x, tree.target)
    for stage, decision in dict.fromkeys(wanted):
        full_pass(classifier, x, decision, tree.stages[stage], tree.stages[stages[stages.index(stage) - 1]])
    return len(set(wanted)) + 1


def full_pass(classifier: Classifier, x: torch.Tensor, decision: Decision, upper: Any, lower: Any) -> torch.Tensor:
    """Forward from the picture to the decision, backward to the tap below it, nothing kept."""
    with camwidgets.record(classifier, x, [lower, upper]) as recording:
        recorded = recording.activations[lower], recording.activations[upper]
    values = recorded[0].detach().clone().requires_grad_()
    out = Segment(classifier, lower, upper, x, recorded).run(values)
    return torch.autograd.grad(out[0, decision.channel, decision.y, decision.x], values)[0]


def trees(classifier: Classifier, x: torch.Tensor, rounds: int) -> list[Row]:
    """The whole tree, one expansion, and the same decisions one by one."""
    tree = camwidgets.decompose(classifier, x)
    stages = list(tree.stages)
    small = camwidgets.decompose(classifier, x, depth=1)
    calls: dict[str, Callable[[], Any]] = {
        f"whole tree, {len(tree.nodes)} nodes": lambda: camwidgets.decompose(classifier, x),
        "one by one": lambda: one_by_one(classifier, x, tree),
        f"one expansion, {stages[-1]} → {stages[-2]}": lambda: small.expand(1),
    }
    graph = attribution_graph(classifier, x, tree)
    if graph is not None:
        calls["zennit-crp's attribution graph"] = graph
    times = interleaved(calls, rounds, warm_up=1)
    whole = next(iter(times.values()))
    return [_row(name, t, whole) for name, t in times.items()]


def attribution_graph(classifier: Classifier, x: torch.Tensor, tree: Decomposition) -> Callable[[], Any] | None:
    """zennit-crp's attribution graph (ε-plus-flat LRP) below the tree's deepest channels; None where it cannot be had.

    It is a graph of channels, each conditioned on the whole channel above it, ours a tree of single features.
    """
    try:
        from crp.attribution import AttributionGraph, CondAttribution  # type: ignore[import-not-found, unused-ignore]
        from crp.concepts import ChannelConcept  # type: ignore[import-not-found, unused-ignore]
        from crp.graph import trace_model_graph  # type: ignore[import-not-found, unused-ignore]
        from zennit.canonizers import SequentialMergeBatchNorm
        from zennit.composites import EpsilonPlusFlat
    except ImportError:
        return None
    if classifier.name not in CHAINS:
        return None
    modules = list(classifier.module.named_modules())
    layers: list[str] = []
    for tap in tree.stages.values():
        inside = [name for name, _ in modules if name == tap.module or name.startswith(f"{tap.module}.")]
        end = max(i for i, (name, _) in enumerate(modules) if name in inside)
        layers.append([name for name, m in modules[: end + 1] if isinstance(m, torch.nn.Conv2d)][-1])
    known = trace_model_graph(classifier.module, x, layers)
    run = AttributionGraph(CondAttribution(classifier.module), known, dict.fromkeys(layers, ChannelConcept()))
    top = [node.channel for node in tree.children(tree.root)]
    width = [tree.how.top] * (len(layers) - 1)

    def call() -> list[Any]:
        composite = EpsilonPlusFlat(canonizers=[SequentialMergeBatchNorm()])
        pixels = x.clone().requires_grad_()
        return [run(pixels, composite, k, layers[-1], tree.target, width=width, verbose=False) for k in top]

    return call


def steps(classifier: Classifier, x: torch.Tensor) -> list[Row]:
    """Per step: all contributions at once, and the true change of one channel after the other."""
    evidence = capture(classifier, x)
    decomposer = Decomposer(evidence)
    names = list(evidence.stages)[::-1]
    found = decomposer.of_class(evidence.stages[names[0]])
    above: Tap | None = None
    rows: list[Row] = []
    for name in names:
        lower = evidence.stages[name]
        best = found.top(1)[0]
        decision = None if above is None else Decision(found.tap, best, *found.position(best))
        calls: dict[str, Callable[[], Any]] = {
            "gAP": _contributions(decomposer, classifier, x, decision, above, lower),
            "removal": partial(true_changes, decomposer, decision, above, lower, {}),
            "plain": partial(plain_removal, classifier, x, lower),
        }
        times = interleaved(calls, 2)
        rows.append({
            "step": f"{'T' if above is None else names[names.index(name) - 1]}→{name}",
            "channels": str(lower.channels),
            "gAP ms": f"{1e3 * median(times['gAP'].wall):.1f}",
            "removal ms": f"{1e3 * median(times['removal'].wall):.1f}",
            "× gAP": f"{ratio(times['removal'].wall, times['gAP'].wall):.0f}",
            "plain removal ms": f"{1e3 * median(times['plain'].wall) * lower.channels / TIMED:.0f}",
            "plain × gAP": f"{ratio(times['plain'].wall, times['gAP'].wall) * lower.channels / TIMED:.0f}",
        })  # fmt: skip
        if decision is not None and above is not None:
            found = decomposer.of_features([decision], above, lower)[0]
        above = lower
    return rows


def plain_removal(classifier: Classifier, x: torch.Tensor, tap: Tap) -> list[torch.Tensor]:
    """One plain forward pass for each of a few channels, that channel set to 0 by a hook."""
    found = []
    for channel in range(TIMED):

        def drop(module: Any, args: Any, out: torch.Tensor, channel: int = channel) -> torch.Tensor:
            return out.index_fill(1, torch.tensor([channel]), 0.0)

        handle = classifier.module.get_submodule(tap.module).register_forward_hook(drop)
        with torch.no_grad():
            found.append(classifier.module(x))
        handle.remove()
    return found


def _contributions(
    decomposer: Decomposer, classifier: Classifier, x: torch.Tensor, decision: Any, above: Any, lower: Any
) -> Callable[[], Any]:
    if decision is None:
        return lambda: capture(classifier, x, taps=[lower])
    return lambda: decomposer.of_features([decision], above, lower)


def _row(name: str, times: Times, first: Times) -> Row:
    return {
        "what": name,
        "ms": f"{1e3 * median(times.wall):.0f}",
        "CPU ms": f"{1e3 * median(times.cpu):.0f}",
        "× whole tree": f"{ratio(times.wall, first.wall):.2f}",
        "× whole tree, CPU": f"{ratio(times.cpu, first.cpu):.2f}",
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks decomposition", description=__doc__)
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--markdown", action="store_true")
    asked = parser.parse_args(arguments)
    if asked.threads:
        torch.set_num_threads(asked.threads)
    for network in asked.networks:
        torch.manual_seed(0)
        classifier = camwidgets.load(network, weights="DEFAULT" if network in ("efficientnet_lite0", "toy") else None)
        x = classifier.preprocess(camwidgets.samples.picture("cat"))
        print(f"\n{network}\n{text(trees(classifier, x, asked.rounds), asked.markdown)}")
        print(f"\n{network}, contributions against removal\n{text(steps(classifier, x), asked.markdown)}", flush=True)
    return 0
