"""Networks whose weights were drawn anew, stage by stage: what a method that depends on the weights must notice.

Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..classifiers.classifier import Classifier
from ..classifiers.given import check_classifier
from ..classifiers.guards import undisturbed
from ..classifiers.notes import flat
from ..errors import choose
from .copies import private_copy

ORDERS = ("cascading", "independent")
HEAD = "head"


def randomised(classifier: Classifier, order: str = "cascading", seed: int = 0) -> Iterator[tuple[str, Classifier]]:
    """Private copies of a classifier with more and more, or other and other, layers drawn anew.

    Layers go together by stage: "head" is all that comes after the deepest tap, "S5" what lies between the taps of S4
    and S5, … "S1" the beginning. A layer lies where the first of its own parameters is first used, whether it is called
    itself or read by another (an attention's output projection, a class token); one that the pass does not use goes
    with the part of the network that holds it. So nothing trained is left at the end of the cascade.

    Every parameter of a layer gets values drawn from a normal distribution with the mean and the standard deviation of
    its trained values, so that activations keep their order of size; buffers (BatchNorm's statistics) stay. A group
    gets the same numbers in both orders.

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
    """Group (from "head" down to the first stage) → names of the modules in it that own parameters ("": the whole)."""
    check_classifier(classifier, "parameter_groups")
    stages = classifier.select("stages")
    owners = [name for name, module in classifier.module.named_modules() if list(module.parameters(recurse=False))]
    seen = _watched(classifier)
    found: dict[str, list[str]] = {group: [] for group in (*stages, HEAD)}
    for name in owners:
        when = seen.first_use(name)
        stage = next((s for s, tap in stages.items() if when <= seen.ends[tap.module, tap.call]), HEAD)
        found[stage].append(name)
    return {name: modules for name, modules in list(found.items())[::-1] if modules}


class _Uses(TorchDispatchMode):
    """When calls end and parameters are used in a forward pass, in calls ended so far."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.ends: dict[tuple[str, int], int] = {}  # (module, call) -> its place in the order in which calls end
        self.uses: dict[int, int] = {}  # id of a parameter -> how many calls had ended
        self._calls: Counter[str] = Counter()
        self._parameters = {id(parameter) for parameter in module.parameters()}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for one in flat((args, tuple((kwargs or {}).values()))):
            if id(one) in self._parameters:
                self.uses.setdefault(id(one), len(self.ends))
        return func(*args, **(kwargs or {}))

    def left(self, name: str) -> None:
        """A call of a module has ended."""
        self.ends[name, self._calls[name]] = len(self.ends)
        self._calls[name] += 1

    def first_use(self, name: str) -> int:
        """When the first of a module's own parameters is used; of one that is not, when what holds it ends."""
        own = self.module.get_submodule(name).parameters(recurse=False)
        used = [self.uses[id(parameter)] for parameter in own if id(parameter) in self.uses]
        if used:
            return min(used)
        while name and (name, 0) not in self.ends:
            name = name.rpartition(".")[0]
        return self.ends[name, 0]


def _watched(classifier: Classifier) -> _Uses:
    """One pass over noise, watched."""
    seen = _Uses(classifier.module)
    with ExitStack() as stack:
        for name, child in classifier.module.named_modules():
            stack.callback(child.register_forward_hook(lambda m, args, out, n=name: seen.left(n)).remove)
        stack.enter_context(classifier.lock)
        stack.enter_context(undisturbed(classifier.module))
        with torch.inference_mode(False), torch.no_grad():
            noise = torch.randn((1, 3, *classifier.input_size), generator=torch.Generator().manual_seed(0))
            x = classifier.preprocess(noise)
            with seen:
                classifier.logits(x)
    return seen


def _draw(module: nn.Module, generator: torch.Generator) -> None:
    for parameter in module.parameters(recurse=False):
        if not parameter.is_floating_point() or parameter.numel() == 0:
            continue
        with torch.inference_mode(parameter.is_inference()), torch.no_grad():
            mean, spread = float(parameter.mean()), float(parameter.std(correction=0))
            fresh = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_((mean + spread * fresh).to(parameter.dtype))
