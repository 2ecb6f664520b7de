"""A small network, data and objective for the tests of training; run as a program it trains, to be killed."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from camwidgets.datasets.toyworld import ToyWorld
from camwidgets.learning.labelled import Labelled, open_labelled
from camwidgets.learning.objective import Batch

CLASSES = 4


class Tiny(nn.Module):
    """All that has a state: BatchNorm's buffers, dropout's chance."""

    def __init__(self, seed: int = 0, norm: bool = True) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.conv1 = nn.Conv2d(3, 6, 3, stride=2, padding=1)
            self.norm = nn.BatchNorm2d(6) if norm else nn.Identity()
            self.relu = nn.ReLU()
            self.pool = nn.MaxPool2d(2)
            self.drop = nn.Dropout(0.2)
            self.conv2 = nn.Conv2d(6, CLASSES, 3, padding=1)

    def scores(self, x: Tensor) -> Tensor:
        return self.conv2(self.drop(self.pool(self.relu(self.norm(self.conv1(x))))))

    def forward(self, x: Tensor) -> Tensor:
        return self.scores(x).mean((2, 3))


class Plain:
    """Binary cross-entropy, and what an objective may keep: a sum of maps by sample id, noise of its own."""

    name = "plain"

    def __init__(self, noise: float = 0.1) -> None:
        self.noise = noise
        self.seen: dict[str, float] = {}
        self.ends: list[int] = []

    def settings(self) -> dict[str, Any]:
        return {"noise": self.noise}

    def check(self, data: Labelled) -> None:
        data.need_multi_label()

    def losses(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        drawn = torch.randn(batch.x.shape, generator=batch.generator).to(batch.x.device)
        maps = net.scores(batch.x + self.noise * drawn)  # type: ignore[operator]
        for id, one in zip(batch.ids, batch.view.to_picture(maps.detach().float()), strict=True):
            self.seen[id] = max(self.seen.get(id, -1e9), float(one[:, 0, 0].sum()))
        loss = F.binary_cross_entropy_with_logits(maps.mean((2, 3)), batch.present.float())
        return {"total": loss, "logged": 2 * loss.detach()}

    def end_epoch(self, net: nn.Module, epoch: int) -> dict[str, float]:
        self.ends.append(epoch)
        return {"seen": sum(self.seen.values())}

    def state_dict(self) -> dict[str, Any]:
        return {"seen": dict(self.seen), "ends": list(self.ends)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seen, self.ends = dict(state["seen"]), list(state["ends"])

    def watch(self, net: nn.Module, x: Tensor, ids: tuple[str, ...], present: Tensor) -> dict[str, Tensor]:
        return {"current": net.scores(x)}  # type: ignore[operator]


def world(n: int = 22, seed: int = 0, **changes: Any) -> Labelled:
    parameters: dict[str, Any] = {"objects": (1, 3), "classes": ("cat", "dog", "car", "bus")}
    return open_labelled(ToyWorld(seed=seed, n=n, **{**parameters, **changes}), classes=("cat", "dog", "car", "bus"))


def arguments(**changes: Any) -> dict[str, Any]:
    return {"epochs": 3, "batch": 4, "rate": 0.01, "watch": 2, "progress": None, **changes}


def kill_after(steps: int) -> Any:
    """A progress function that kills this very process, as `kill -9` would, in the middle of the training."""
    told = 0

    def progress(done: int, total: int) -> None:
        nonlocal told
        told += 1
        if told == steps:
            os.kill(os.getpid(), signal.SIGKILL)

    return progress


if __name__ == "__main__":
    from camwidgets.learning.training import train

    given = arguments(progress=kill_after(int(sys.argv[2])), workers=int(sys.argv[3]))
    train(Tiny(7), world().painted(), Plain(), Path(sys.argv[1]), **given)
