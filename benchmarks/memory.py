"""Peak memory of one contender in a process of its own: `python -m benchmarks.memory CONTENDER NETWORK BATCH`."""

from __future__ import annotations

import ctypes
import gc
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import torch

import camwidgets

from .contenders import CONTENDERS

MB = 1e6
_RESET = Path("/proc/self/clear_refs")


def peak(contender: str, network: str, batch: int, runs: int = 3) -> float:
    """Megabytes (10⁶ bytes) that explaining adds at its peak to the resident memory of a loaded network."""
    torch.manual_seed(0)
    run = CONTENDERS[contender](camwidgets.load(network, weights="DEFAULT" if "lite0" in network else None))
    x = torch.randn(batch, 3, 224, 224)
    return peak_of(lambda: run(x), runs)


def peak_of(call: Callable[[], object], runs: int) -> float:
    """Megabytes that `runs` calls add at their peak to the resident memory of this process."""
    _forget_peak()
    before = psutil.Process().memory_info().rss
    for _ in range(runs):
        call()
    return max(0.0, (_peak() - before) / MB)


def in_own_process(contender: str, network: str, batch: int) -> float:
    """`peak`, measured in a fresh Python."""
    command = [sys.executable, "-m", "benchmarks.memory", contender, network, str(batch)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    return float(done.stdout.split()[-1])


def _forget_peak() -> None:
    """Linux: give back what loading left free and set the high-water mark to the rest. Elsewhere loading counts too."""
    gc.collect()
    if _RESET.exists():
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
        if trim:
            trim(0)
        _RESET.write_text("5")


def _peak() -> int:
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


if __name__ == "__main__":
    print(peak(sys.argv[1], sys.argv[2], int(sys.argv[3])))
