"""Timing side by side: interleaved rounds, medians, and ratios taken round by round."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass
class Times:
    """Seconds of each round. wall: elapsed. cpu: spent by all threads of this process (what others do adds little)."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def interleaved(calls: Mapping[str, Callable[[], Any]], rounds: int, warm_up: int = 2) -> dict[str, Times]:
    """Call each in turn, `rounds` times, after `warm_up` uncounted rounds; the order moves on by one every round."""
    times = {name: Times() for name in calls}
    names = list(calls)
    for number in range(warm_up + rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
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
