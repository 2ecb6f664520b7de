"""Worlds and nets of `benchmarks learning`, and how all of its trainings go."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

import camwidgets
from camwidgets.datasets.toyworld import ToyWorld
from camwidgets.learning.labelled import Labelled, open_labelled
from camwidgets.learning.nets import AttentionNet
from camwidgets.learning.objective import normalised
from camwidgets.learning.run import Run
from camwidgets.learning.training import train

STAGES, WIDTH, RATE = ((16,), (32,), (48, 48)), 32, 3e-3  # the first three stages of the network "toy"


def world(seed: int, n: int, objects: tuple[int, int] = (1, 3)) -> Labelled:
    """Scenes in memory whose context says little about their objects."""
    return open_labelled(ToyWorld(seed=seed, n=n, objects=objects, context_strength=0.2)).painted()


def begun(seed: int, data: Labelled) -> AttentionNet:
    """A net whose backbone computes what the first three stages of the network "toy" do, which knows single objects.

    "toy" has no batch normalisation: those of the backbone are set so that on 128 pictures they change nothing, γ the
    standard deviation of what comes in, β its mean and the convolution's bias.
    """
    torch.manual_seed(seed)
    net = AttentionNet(len(data.classes), STAGES, WIDTH)
    take_over(net.backbone, data)
    return net


def take_over(layers: nn.Sequential, data: Labelled) -> None:
    """Give convolutions the weights of those of "toy" that are called alike, up to the first that has none."""
    known = dict(camwidgets.load("toy").module.features.named_children())  # type: ignore[union-attr]
    x = normalised(torch.stack([example.picture for example in data[:128]]))
    with torch.no_grad():
        for name, part in layers.named_children():
            if isinstance(part, nn.Conv2d):
                if name not in known or known[name].weight.shape != part.weight.shape:
                    break
                part.weight.copy_(known[name].weight)
                bias = known[name].bias
            elif isinstance(part, nn.BatchNorm2d):
                mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
                part.running_mean.copy_(mean)  # type: ignore[union-attr]
                part.running_var.copy_(variance)  # type: ignore[union-attr]
                part.weight.copy_((variance + part.eps).sqrt())
                part.bias.copy_(mean + bias)
            x = part.eval()(x)
    layers.train()


def learn(net: nn.Module, data: Labelled, objective: Any, folder: Path, epochs: int, seed: int, **more: Any) -> Run:
    """`train` as all trainings of this benchmark go: bf16 and channels last, three times as fast on one core."""
    net.to(memory_format=torch.channels_last)
    print(f"{folder}: {epochs} epochs", file=sys.stderr, flush=True)
    return train(
        net, data, objective, folder, epochs=epochs, rate=RATE, seed=seed, progress=None, device="cpu",
        precision="bf16", **more
    )  # fmt: skip
