"""A faster private copy of a classifier: BatchNorm folded into the convolutions, channels last in memory.

In evaluation mode BatchNorm is one multiplication and one addition per channel, so conv → BatchNorm is one convolution
with other weights. The sums are then rounded differently: logits and maps agree to about 1e-6 of their size, not to
the last bit, and where a last bit decides (a ReLU at 0, two equal maxima of a pool) single gradients go another way:
on photographs EfficientNet-Lite0's fused maps differ by more than 1e-4 at one position in 3000, by 5e-4 at most; with
random weights ResNet-50's by up to 6e-3; in float64 nothing differs. This is why it is never done unasked.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.utils._python_dispatch import TorchDispatchMode

from .classifier import Classifier
from .guards import every_module, this_thread, undisturbed
from .notes import flat
from .taps import Tap

TOLERANCE = 1e-3  # of the largest value: beyond this, what was folded was not what it seemed


class PreparedClassifier(Classifier):
    """What `Classifier.prepared()` returns. Taps keep their names; those whose value folding changes are refused."""

    folded: frozenset[str] = frozenset()

    def tap(self, name: str) -> Tap:
        """The tap of that name or stage; `ValueError` for one that holds a value from before a folded BatchNorm."""
        found = super().tap(name)
        if found.module in self.folded and not found.function:
            raise ValueError(
                f"{str(found)!r} is the value before a BatchNorm, which is folded in this prepared copy; tap it in the "
                f"original classifier"
            )
        return found


def prepare(classifier: Classifier) -> PreparedClassifier:
    """A prepared copy of `classifier`, which stays as it is.

    Raises:
        ValueError: the copy's stages or logits are not those of the original (tried on one noise picture).
    """
    noise = torch.randn((1, 3, *classifier.input_size), generator=torch.Generator().manual_seed(2))
    pairs, folded = _pairs(classifier, noise)
    module = copy.deepcopy(classifier.module)
    for conv, norm in pairs:
        _fold(module, conv, norm)
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    made = PreparedClassifier(
        module.eval().to(memory_format=torch.channels_last),
        classifier.preprocessing,
        classifier.labels,
        name=classifier.name,
        input_size=classifier.input_size,
        output=classifier._output,
        dtype=classifier.dtype,
    )
    made.folded = folded
    _check(classifier, made, noise)
    return made


class _Watch(TorchDispatchMode):
    """What is called in a pass, and how often each convolution's output is read, by whatever operation."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.convs = {name for name, child in module.named_modules() if _is_conv(child)}
        self.norms = {name for name, child in module.named_modules() if _is_fixed_norm(child)}
        self.calls: list[tuple[str, Any, Any]] = []  # module, its input, its output; kept, so that ids stay theirs
        self.made: dict[int, str] = {}  # id of an output → the convolution that made it
        self.reads: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for one in {id(value) for value in flat((args, tuple(kwargs.values())))}:
            if one in self.made:
                self.reads[self.made[one]] += 1
        return func(*args, **kwargs)

    @contextmanager
    def attached(self) -> Iterator[None]:
        mine = this_thread()
        with ExitStack() as stack:
            for name, child in self.module.named_modules():

                def called(m: nn.Module, given: Any, out: Any, name: str = name) -> None:
                    if mine():
                        self.calls.append((name, given[0] if given else None, out))
                        if name in self.convs:
                            self.made[id(out)] = name

                stack.callback(child.register_forward_hook(called).remove)
            yield


def _pairs(classifier: Classifier, noise: Tensor) -> tuple[list[tuple[str, str]], frozenset[str]]:
    """(convolution, BatchNorm) names where the one is called once and read by the other alone, which is called once.

    Beside them the names of all modules whose output is such a convolution's.
    """
    x = classifier.preprocess(noise)
    with classifier.lock, torch.inference_mode(False), torch.no_grad(), undisturbed(classifier.module):
        watch = _Watch(classifier.module)
        with watch.attached(), watch:
            classifier.logits(x)
    calls = Counter(name for name, *_ in watch.calls)
    pairs = [
        (watch.made[id(given)], name)
        for name, given, _ in watch.calls
        if name in watch.norms and calls[name] == 1 and id(given) in watch.made
    ]
    pairs = [(conv, norm) for conv, norm in pairs if calls[conv] == 1 and watch.reads[conv] == 1]
    folded = {conv for conv, _ in pairs}
    outputs = {id(out) for name, _, out in watch.calls if name in folded}
    return pairs, frozenset(name for name, _, out in watch.calls if id(out) in outputs)


def _is_conv(module: nn.Module) -> bool:
    return type(module) is nn.Conv2d and _is_plain(module)


def _is_fixed_norm(module: nn.Module) -> bool:
    """BatchNorm with stored statistics; without them it depends on the batch and cannot be folded."""
    return type(module) is nn.BatchNorm2d and module.running_mean is not None and _is_plain(module)


def _is_plain(module: nn.Module) -> bool:
    """Whether its weights are its own and it computes with them alone: no hook makes them (pruning, weight_norm,
    spectral_norm) or changes what goes in or comes out."""
    own = all(name in module._parameters for name in ("weight", "bias"))
    return own and not module._forward_hooks and not module._forward_pre_hooks


def _fold(module: nn.Module, conv: str, norm: str) -> None:
    """Put the BatchNorm's factor and offset into the convolution; an identity takes its place and names."""
    layer, batch = module.get_submodule(conv), module.get_submodule(norm)
    assert isinstance(layer, nn.Conv2d)
    assert isinstance(batch, nn.BatchNorm2d)
    assert batch.running_mean is not None
    assert batch.running_var is not None
    with torch.no_grad():
        layer.weight, layer.bias = fuse_conv_bn_weights(
            layer.weight, layer.bias, batch.running_mean, batch.running_var, batch.eps, batch.weight, batch.bias
        )
    identity = nn.Identity()
    for parent in every_module(module):
        for name, child in parent._modules.items():
            if child is batch:  # under each of its names
                parent._modules[name] = identity


def _check(original: Classifier, made: Classifier, noise: Tensor) -> None:
    """The copy must have the same stages and give the same values there."""
    from ..evidence import record

    if {s: str(tap) for s, tap in original.stages.items()} != {s: str(tap) for s, tap in made.stages.items()}:
        raise ValueError(f"{original.name} cannot be prepared: its stages would be others; use it as it is")
    taps = "stages" if original.stages else list(original.taps)[-1:]
    with record(original, noise, taps) as a, record(made, noise, taps) as b:
        pairs = [(a.logits, b.logits), *((a.activations[tap], b.activations[tap]) for tap in a.activations)]
    for before, after in pairs:
        if float((before - after).abs().max()) > TOLERANCE * float(before.abs().max()):
            raise ValueError(f"{original.name} cannot be prepared: folding changes what it answers; use it as it is")
