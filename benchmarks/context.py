"""Is a class told by what surrounds it? The plain toy net and the one that was taught shortcuts, side by side.

Every object before every context (`context_reliance`), and where the top channels look (`context_evidence`; thesis,
figure 5.14). The truth is known: `toy-shortcut` saw every class in one context only.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch

import camwidgets
from camwidgets.datasets.toyworld import HOME, ToyWorld
from camwidgets.investigate import context_evidence, context_reliance

from .tables import Row, text


def measure(network: str, count: int, seed: int) -> tuple[str, list[Row]]:
    """A sentence, and one row for each class."""
    classifier = camwidgets.load(network)
    found = context_reliance(classifier, ToyWorld(seed=seed, n=count))
    table = context_evidence(classifier, ToyWorld(seed=seed + 1, n=count, context_strength=1.0))
    looks = table.on_context
    rows = [
        {"class": one.label, "home": HOME[one.label], "told by": one.shortcut or "–", "score": f"{one.score:.3f}",
         "context share": f"{one.context_share:.3f}", "object share": f"{one.object_share:.3f}",
         "drop of p": f"{one.drop:+.2f}", "evidence on context": f"{looks[one.label]:.0%}"}
        for one in found.leanings
    ]  # fmt: skip
    hits = sum(found.shortcuts.get(label) == home for label, home in HOME.items())
    mean = sum(looks.values()) / len(looks)
    told = f"{network}, {count} objects before {len(found.contexts)} contexts: the planted context is named for {hits} "
    return told + f"of {len(HOME)} classes; {mean:.0%} of the evidence lies on context", rows


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks context", description=__doc__)
    parser.add_argument("--networks", nargs="+", default=["toy-shortcut", "toy"])
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=31)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--markdown", action="store_true")
    asked = parser.parse_args(arguments)
    if asked.threads:
        torch.set_num_threads(asked.threads)
    for network in asked.networks:
        told, rows = measure(network, asked.scenes, asked.seed)
        print(f"\n{told}\n{text(rows, asked.markdown)}", flush=True)
    return 0
