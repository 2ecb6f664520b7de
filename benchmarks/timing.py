"""Timing side by side: interleaved rounds, medians, and ratios taken round by round."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from statistics import median
from typing import Any


@dataclass
class Times:
    """Seconds of each round. wall: elapsed. cpu: spent by all threads of this process (what others do adds little)."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def interleaved(calls: Mapping[str, Callable[[], Any]], rounds: int, warm_up: int = 2) -> dict[str, Times]:
    """Call all in every round, `rounds` times after `warm_up` uncounted rounds, each round in another (seeded) order.

    The order matters: who runs after one that gives much memory back has to fetch it anew from the system.
    """
    times = {name: Times() for name in calls}
    dice = Random(0)
    for number in range(warm_up + rounds):
        for name in dice.sample(list(calls), len(calls)):
            wall, cpu = time.perf_counter(), time.process_time()
            calls[name]()
            spent = time.perf_counter() - wall, time.process_time() - cpu
            if number >= warm_up:
                times[name].wall.append(spent[0])
                times[name].cpu.append(spent[1])
    return times


def ratio(a: list[float], b: list[float]) -> float:
    """The median of a/b, round by round: a machine that slows down in between slows both."""
    return median(x / y for x, y in zip(a, b, strict=True))
