"""Does a network end in global average pooling and one linear layer? Told by numbers, not by names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from .classifier import Classifier


def gap_linear(classifier: Classifier) -> Tensor | None:
    """The C×K weights W with logits = W · mean_ij(A_ij) + b at the deepest stage, or None for other heads."""
    from ..evidence import record

    if not classifier.stages:
        return None
    stage, tap = list(classifier.stages.items())[-1]
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn((2, 3, *classifier.input_size), generator=generator)
    with record(classifier, noise, taps=[stage]) as recording:
        pooled = recording.activations[tap].mean((2, 3)).double()
        logits = recording.logits.double()
    for weight, bias in _linear_layers(classifier.module, tap.channels, logits.shape[1]):
        if not bool(weight.any()):
            continue  # a head that was never trained, all zero, would "explain" its equally empty logits
        predicted = pooled @ weight.double().T + bias.double()
        if torch.allclose(predicted, logits, rtol=1e-3, atol=1e-3 * float(logits.abs().max())):
            return weight
    return None


def _linear_layers(module: nn.Module, inputs: int, outputs: int) -> list[tuple[Tensor, Tensor]]:
    """Weights and biases of every Linear (or 1×1 convolution) of that shape, last first."""
    found = []
    for layer in module.modules():
        weight = getattr(layer, "weight", None)
        if not isinstance(layer, (nn.Linear, nn.Conv2d)) or not isinstance(weight, Tensor):
            continue
        if weight.shape[:2] == (outputs, inputs) and weight.numel() == inputs * outputs:
            bias = torch.zeros(outputs, device=weight.device) if layer.bias is None else layer.bias
            found.append((weight.detach().reshape(outputs, inputs), bias.detach()))
    return found[::-1]
