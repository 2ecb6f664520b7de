"""A faster private copy of a classifier: BatchNorm folded into the convolutions, channels last in memory.

In evaluation mode BatchNorm is one multiplication and one addition per channel, so conv → BatchNorm is one convolution
with other weights. The sums are then rounded differently: logits and maps agree to about 1e-6 of their size, not to
the last bit, and where a last bit decides (a ReLU at 0, two equal maxima of a pool) single gradients go another way:
on photographs EfficientNet-Lite0's fused maps differ by more than 1e-4 at one position in 3000, by 5e-4 at most; with
random weights ResNet-50's by up to 6e-3; in float64 nothing differs. This is why it is never done unasked.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from .classifier import Classifier
from .guards import undisturbed
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


def _pairs(classifier: Classifier, noise: Tensor) -> tuple[list[tuple[str, str]], frozenset[str]]:
    """(convolution, BatchNorm) names where the one is called once and feeds the other, which is called once.

    Beside them the names of all modules whose output is such a convolution's.
    """
    seen: list[tuple[str, nn.Module, Any, Any]] = []
    handles = [
        child.register_forward_hook(lambda m, i, out, name=name: seen.append((name, m, i[0] if i else None, out)))
        for name, child in classifier.module.named_modules()
    ]
    try:
        with classifier.lock, torch.inference_mode(False), torch.no_grad(), undisturbed(classifier.module):
            classifier.logits(classifier.preprocess(noise))
    finally:
        for handle in handles:
            handle.remove()
    calls = [name for name, *_ in seen]
    made = {id(out): name for name, module, _, out in seen if _is_conv(module) and calls.count(name) == 1}
    pairs = [
        (made[id(given)], name)
        for name, module, given, _ in seen
        if _is_fixed_norm(module) and calls.count(name) == 1 and id(given) in made
    ]
    fed = [conv for conv, _ in pairs]
    pairs = [(conv, norm) for conv, norm in pairs if fed.count(conv) == 1]
    outputs = {id(out) for name, _, _, out in seen if name in {conv for conv, _ in pairs}}
    return pairs, frozenset(name for name, _, _, out in seen if id(out) in outputs)


def _is_conv(module: nn.Module) -> bool:
    return type(module) is nn.Conv2d


def _is_fixed_norm(module: nn.Module) -> bool:
    """BatchNorm with stored statistics; without them it depends on the batch and cannot be folded."""
    return type(module) is nn.BatchNorm2d and module.running_mean is not None


def _fold(module: nn.Module, conv: str, norm: str) -> None:
    """Put the BatchNorm's factor and offset into the convolution; an identity takes its place and its name."""
    layer, batch = module.get_submodule(conv), module.get_submodule(norm)
    assert isinstance(layer, nn.Conv2d)
    assert isinstance(batch, nn.BatchNorm2d)
    assert batch.running_mean is not None
    assert batch.running_var is not None
    with torch.no_grad():
        layer.weight, layer.bias = fuse_conv_bn_weights(
            layer.weight, layer.bias, batch.running_mean, batch.running_var, batch.eps, batch.weight, batch.bias
        )
    parent, _, last = norm.rpartition(".")
    setattr(module.get_submodule(parent), last, nn.Identity())


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
