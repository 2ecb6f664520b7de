"""Small networks and pictures for the explorer's tests: five stages, no download, a pass in milliseconds."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import camwidgets
from camwidgets import Classifier

LABELS = ["fox", "owl", "red panda", "<script>alert(1)</script>", "red fox", "rusty owl"]


def small_module(classes: int = 6, seed: int = 0) -> nn.Sequential:
    """Four max-pools, so that five resolutions 64 … 4 exist and the next layer's gradient differs from the own."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    channels = 3
    for wide in (4, 6, 8, 8, 12):
        layers += [nn.Conv2d(channels, wide, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        channels = wide
    return nn.Sequential(*layers[:-1], nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)).eval()


def small(name: str = "small", seed: int = 0, module: nn.Module | None = None) -> Classifier:
    return camwidgets.wrap(module or small_module(seed=seed), labels=LABELS, name=name, input_size=64)


def photo(seed: int = 0, size: tuple[int, int] = (90, 120), detail: int = 9) -> np.ndarray:
    """A picture with some structure: blurred noise, H×W×3 uint8."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.random((1, 3, detail, detail), np.float32))
    fine = torch.nn.functional.interpolate(coarse, size, mode="bicubic")[0].clamp(0, 1)
    return (255 * fine).byte().permute(1, 2, 0).numpy()


class Gate(nn.Module):
    """A network that waits for `open` and tells that a pass has `begun`; to hold the worker in the middle of a pass."""

    def __init__(self) -> None:
        super().__init__()
        self.body = small_module()
        self.begun, self.open = threading.Event(), threading.Event()
        self.open.set()

    def forward(self, x: Tensor) -> Any:
        self.begun.set()
        if not self.open.wait(20):
            raise TimeoutError("the test did not open the gate")
        return self.body(x)
