"""Networks whose weights were drawn anew, stage by stage: what a method that depends on the weights must notice.

Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import torch
from torch import nn

from ..classifiers.classifier import Classifier
from ..classifiers.guards import undisturbed
from ..errors import choose
from .copies import private_copy

ORDERS = ("cascading", "independent")
HEAD = "head"


def randomised(classifier: Classifier, order: str = "cascading", seed: int = 0) -> Iterator[tuple[str, Classifier]]:
    """Private copies of a classifier with more and more, or other and other, layers drawn anew.

    Layers go together by stage: "head" is all that comes after the deepest tap, "S5" what lies between the taps of S4
    and S5, … "S1" the beginning. Every parameter of a layer gets values drawn from a normal distribution with the mean
    and the standard deviation of its trained values, so that activations keep their order of size; buffers (BatchNorm's
    statistics) stay. A group gets the same numbers in both orders.

    Args:
        order: "cascading": head; head and S5; … everything. "independent": each alone, the rest as trained.
    Yields:
        (group, classifier), from the head down; groups without parameters are left out. Each classifier is a copy of
        its own; the one given stays as it is.

    Example:
        >>> import camwidgets
        >>> [name for name, _ in randomised(camwidgets.load("toy"))]
        ['head', 'S5', 'S4', 'S3', 'S2', 'S1']
    """
    choose("order", order, ORDERS)
    groups = parameter_groups(classifier)
    if not groups:
        raise ValueError(f"{classifier.name} has no parameters to draw anew")
    current = classifier
    for i, (name, modules) in enumerate(groups.items()):
        current = private_copy(current if order == "cascading" else classifier)
        generator = torch.Generator().manual_seed(1_000_003 * seed + i)
        for module in modules:
            _draw(current.module.get_submodule(module), generator)
        yield name, current


def parameter_groups(classifier: Classifier) -> dict[str, list[str]]:
    """Group (from "head" down to the first stage) → names of the modules in it that own parameters."""
    stages = classifier.select("stages")
    owners = [name for name, module in classifier.module.named_modules() if list(module.parameters(recurse=False))]
    ends = _ends(classifier, {*owners, *(tap.module for tap in stages.values())})
    found: dict[str, list[str]] = {group: [] for group in (*stages, HEAD)}
    for name in owners:
        if (name, 0) in ends:  # a module that takes no part in the pass changes nothing
            stage = next((s for s, tap in stages.items() if ends[name, 0] <= ends[tap.module, tap.call]), HEAD)
            found[stage].append(name)
    return {name: modules for name, modules in list(found.items())[::-1] if modules}


def _ends(classifier: Classifier, names: set[str]) -> dict[tuple[str, int], int]:
    """(module, call) → its place in the order in which calls end in a forward pass."""
    calls: Counter[str] = Counter()
    ends: dict[tuple[str, int], int] = {}

    def leave(name: str) -> None:
        ends[name, calls[name]] = len(ends)
        calls[name] += 1

    with ExitStack() as stack:
        for name in names:
            child = classifier.module.get_submodule(name)
            stack.callback(child.register_forward_hook(lambda m, args, out, n=name: leave(n)).remove)
        stack.enter_context(classifier.lock)
        stack.enter_context(undisturbed(classifier.module))
        with torch.inference_mode(False), torch.no_grad():
            noise = torch.randn((1, 3, *classifier.input_size), generator=torch.Generator().manual_seed(0))
            classifier.logits(classifier.preprocess(noise))
    return ends


def _draw(module: nn.Module, generator: torch.Generator) -> None:
    for parameter in module.parameters(recurse=False):
        if not parameter.is_floating_point() or parameter.numel() == 0:
            continue
        with torch.inference_mode(parameter.is_inference()), torch.no_grad():
            mean, spread = float(parameter.mean()), float(parameter.std(correction=0))
            fresh = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_((mean + spread * fresh).to(parameter.dtype))
