"""How fast is a five-stage fused LayerCAM of one picture, against the neighbours and against the limit?

The limit is a forward pass and one backward pass to the stage activations on the same network, and nothing else.
Rounds are interleaved; times are medians; ratios are medians of round-by-round ratios. Besides elapsed time the CPU
time of the process is given: with `--threads 1` it hardly depends on what else the machine does.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

import torch

import camwidgets
from camwidgets import Classifier
from camwidgets.maps.fusion import fuse, make_plan
from camwidgets.maps.stages import stage_maps

from .contenders import CONTENDERS
from .memory import in_own_process
from .tables import Row, text
from .timing import Times, interleaved, ratio

NETWORKS = ("resnet50", "vgg16", "efficientnet_lite0")


def load(network: str) -> Classifier:
    """The network; random weights unless they are embedded (speed does not depend on them)."""
    torch.manual_seed(0)
    return camwidgets.load(network, weights="DEFAULT" if network == "efficientnet_lite0" else None)


def race(classifier: Classifier, batch: int, rounds: int, names: Sequence[str] = tuple(CONTENDERS)) -> list[Row]:
    """All contenders on one network."""
    x = torch.randn(batch, 3, *classifier.input_size, generator=torch.Generator().manual_seed(0))
    calls: dict[str, Callable[[], Any]] = {name: partial(CONTENDERS[name](classifier), x) for name in names}
    return compare(interleaved(calls, rounds))


def compare(times: dict[str, Times]) -> list[Row]:
    """One row per contender: milliseconds, and how often the limit and how often ours fits in."""
    ours, least = times["camwidgets"], times["limit"]
    return [
        {
            "contender": name,
            "ms": f"{1e3 * median(t.wall):.1f}",
            "CPU ms": f"{1e3 * median(t.cpu):.1f}",
            "× limit": f"{ratio(t.wall, least.wall):.3f}",
            "× limit, CPU": f"{ratio(t.cpu, least.cpu):.3f}",
            "× camwidgets": f"{ratio(t.wall, ours.wall):.3f}",
            "× camwidgets, CPU": f"{ratio(t.cpu, ours.cpu):.3f}",
        }
        for name, t in times.items()
    ]


def refusing(classifier: Classifier, rounds: int) -> Row:
    """Milliseconds for a switch in Python: another gradient handling (new maps and fusion), another γ (fusion only)."""
    evidence = camwidgets.capture(classifier, torch.randn(1, 3, *classifier.input_size))
    stages, size, plan = list(evidence.stages), classifier.input_size, make_plan()
    maps = stage_maps(evidence, "layercam", None, stages)
    calls: dict[str, Callable[[], Any]] = {
        "other sign": lambda: fuse(stage_maps(evidence, "layercam", "signed", stages), size, plan),
        "other γ, scale or stages": lambda: fuse(maps, size, plan),
    }
    times = interleaved(calls, max(rounds, 20))
    return {name: f"{1e3 * median(t.wall):.2f} ms" for name, t in times.items()}


def importing(runs: int = 5) -> Row:
    """Seconds that `import camwidgets` adds to `import torch`, and that its classifiers and maps add to that."""
    code = (
        "import torch, time; a = time.perf_counter(); import camwidgets; b = time.perf_counter(); "
        "camwidgets.load, camwidgets.explain, camwidgets.methods; print(b - a, time.perf_counter() - a)"
    )
    found = []
    for _ in range(runs):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        found.append([float(value) for value in done.stdout.split()])
    alone, used = (median(column) for column in zip(*found, strict=True))
    return {"import camwidgets": f"{alone:.3f} s", "… and load, explain, methods": f"{used:.3f} s"}


def memory(network: str, batch: int) -> list[Row]:
    """Peak memory that each contender adds to the loaded network, in a process of its own."""
    return [
        {"contender": name, "peak MB": f"{in_own_process(name, network, batch):.0f}"}
        for name in CONTENDERS
    ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks speed", description=__doc__)
    parser.add_argument("--networks", nargs="+", default=NETWORKS, help="classifiers that `camwidgets.load` knows")
    parser.add_argument("--rounds", type=int, default=11, help="interleaved rounds (median over them)")
    parser.add_argument("--batch", type=int, nargs="+", default=[1], help="pictures at a time, e.g. 1 16")
    parser.add_argument("--threads", type=int, help="threads that torch may use (default: its own choice)")
    parser.add_argument("--no-memory", action="store_true", help="leave out the peak memory")
    parser.add_argument("--markdown", action="store_true")
    asked = parser.parse_args(arguments)
    if asked.threads:
        torch.set_num_threads(asked.threads)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, CPU, {asked.rounds} interleaved rounds")
    for network in asked.networks:
        classifier = load(network)
        for batch in asked.batch:
            print(f"\n{network}, batch of {batch}\n{text(race(classifier, batch, asked.rounds), asked.markdown)}")
            if not asked.no_memory:
                print(f"\npeak memory beyond the loaded network\n{text(memory(network, batch), asked.markdown)}")
        print(f"\nafter a switch\n{text([refusing(classifier, asked.rounds)], asked.markdown)}", flush=True)
    print(f"\nafter import torch\n{text([importing()], asked.markdown)}")
    return 0
