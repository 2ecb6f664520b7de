"""Many forward passes: how fast, and in how much memory?

Score-CAM, RISE and MSG-CAM of one picture against torchcam's and pytorch-grad-cam's Score-CAM, as their READMEs use
them, on the same deepest stage. Rounds are interleaved; the CPU time of the process counts, for the machine may do
other things; ratios are taken round by round. Passes are the pictures that go through the network. Peak memory is what
explaining adds to the loaded network, in a process of its own; of the neighbours over their first hundred pictures,
which saves time and can only be in their favour.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

import camwidgets
from camwidgets import Classifier

from .memory import peak_of
from .tables import Row, text
from .timing import Times, interleaved, ratio

NETWORKS = ("efficientnet_lite0", "resnet18")
Contender = Callable[[Tensor], Any]


def ours(classifier: Classifier, method: str, **options: Any) -> Contender:
    """`camwidgets.explain`, as a user calls it."""
    return lambda x: camwidgets.explain(classifier, x, method, **options)


def torchcam(classifier: Classifier) -> Contender:
    """torchcam's README: `ScoreCAM(model, layer)`, batches of 32 (its default)."""
    from torchcam.methods import ScoreCAM

    net = classifier.module.eval()
    extractor = ScoreCAM(net, _deepest(classifier))

    def run(x: Tensor) -> Any:
        with torch.inference_mode():
            out = net(x)
        return extractor(int(out.argmax()), out)

    return run


def pytorch_grad_cam(classifier: Classifier) -> Contender:
    """pytorch-grad-cam's README: `ScoreCAM(model, [layer])`, batches of 16 (its default)."""
    from pytorch_grad_cam import ScoreCAM

    net = classifier.module.eval()
    cam = ScoreCAM(model=net, target_layers=[net.get_submodule(_deepest(classifier))])

    def run(x: Tensor) -> Any:
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
            return cam(input_tensor=x, targets=None)

    return run


CONTENDERS: dict[str, Callable[[Classifier], Contender]] = {
    "camwidgets Score-CAM": lambda classifier: ours(classifier, "scorecam"),
    "torchcam Score-CAM": torchcam,
    "pytorch-grad-cam Score-CAM": pytorch_grad_cam,
    "camwidgets RISE, 200 masks": lambda classifier: ours(classifier, "rise", masks=200),
    "camwidgets MSG-CAM": lambda classifier: ours(classifier, "msgcam"),
}


def load(network: str) -> Classifier:
    """The network; random weights unless they are embedded."""
    torch.manual_seed(0)
    return camwidgets.load(network, weights="DEFAULT" if network == "efficientnet_lite0" else None)


def race(network: str, rounds: int) -> list[Row]:
    """All contenders on the same weights, each with a classifier (and hooks) of its own."""
    x = load(network).preprocess(camwidgets.samples.picture("cat"))
    calls: dict[str, Callable[[], Any]] = {}
    seen: dict[str, int] = {}
    for name, make in CONTENDERS.items():
        classifier = load(network)
        calls[name] = partial(make(classifier), x)
        seen[name] = 0
        classifier.module.register_forward_pre_hook(partial(_count, seen, name))
    times = interleaved(calls, rounds, warm_up=0)
    return [_row(name, t, times["camwidgets Score-CAM"], seen[name] // rounds) for name, t in times.items()]


def _count(seen: dict[str, int], name: str, module: nn.Module, inputs: Any) -> None:
    seen[name] += len(inputs[0])


def _row(name: str, t: Times, mine: Times, passes: int) -> Row:
    return {
        "contender": name,
        "passes": str(passes),
        "s": f"{median(t.wall):.1f}",
        "CPU s": f"{median(t.cpu):.1f}",
        "ms a pass, CPU": f"{1e3 * median(t.cpu) / passes:.1f}",
        "× camwidgets Score-CAM": f"{ratio(t.wall, mine.wall):.2f}",
        "×, CPU": f"{ratio(t.cpu, mine.cpu):.2f}",
    }


def memory(network: str) -> list[Row]:
    """Peak memory that each contender adds to the loaded network, in a process of its own."""
    found: dict[str, float] = {}
    for name in CONTENDERS:
        command = [sys.executable, "-m", "benchmarks.many", name, network]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
        found[name] = float(done.stdout.split()[-1])
    mine = found["camwidgets Score-CAM"]
    return [{"contender": n, "peak MB": f"{mb:.0f}", "× camwidgets": f"{mb / mine:.2f}"} for n, mb in found.items()]


def peak(contender: str, network: str) -> float:
    """Megabytes that one map adds at its peak to the resident memory of a loaded network; in this process."""
    classifier = load(network)
    x = classifier.preprocess(camwidgets.samples.picture("cat"))
    run = partial(CONTENDERS[contender](classifier), x)
    if not contender.startswith("camwidgets"):
        classifier.module.register_forward_pre_hook(partial(_stop, {contender: 0}, contender))

    def call() -> None:
        with contextlib.suppress(_Enough):
            run()

    return peak_of(call, runs=1)


class _Enough(Exception):
    pass


def _stop(seen: dict[str, int], name: str, module: nn.Module, inputs: Any) -> None:
    _count(seen, name, module, inputs)
    if seen[name] > 100:
        raise _Enough


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks many", description=__doc__)
    parser.add_argument("--networks", nargs="+", default=NETWORKS, help="classifiers that `camwidgets.load` knows")
    parser.add_argument("--rounds", type=int, default=2, help="interleaved rounds (median over them)")
    parser.add_argument("--threads", type=int, help="threads that torch may use (default: its own choice)")
    parser.add_argument("--no-memory", action="store_true", help="leave out the peak memory")
    parser.add_argument("--no-time", action="store_true", help="leave out the times")
    parser.add_argument("--markdown", action="store_true")
    asked = parser.parse_args(arguments)
    if asked.threads:
        torch.set_num_threads(asked.threads)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, CPU, {asked.rounds} interleaved rounds")
    for network in asked.networks:
        if not asked.no_time:
            print(f"\n{network}\n{text(race(network, asked.rounds), asked.markdown)}", flush=True)
        if not asked.no_memory:
            table = text(memory(network), asked.markdown)
            print(f"\n{network}, peak memory beyond the loaded network\n{table}", flush=True)
    return 0


def _deepest(classifier: Classifier) -> str:
    return list(classifier.stages.values())[-1].module


if __name__ == "__main__":
    print(peak(sys.argv[1], sys.argv[2]))
