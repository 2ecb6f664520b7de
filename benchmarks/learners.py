"""Networks that learn to tell spoilt surfaces from sound ones by their labels alone, as the thesis' ResNet-50 did.

"defects", the network that ships, was trained to be explained: a defect may only speak by features that are there, and
these are few. The two here were not:

* "resnet": ResNet-18's layout at a quarter of its width (16, 32, 64, 128 channels), without the max-pool behind the
  stem, so that layer3 has 16×16 positions of a 128×128 picture. From scratch, cross-entropy and nothing else.
* "lite0": EfficientNet-Lite0 with its ImageNet weights and a new head, all layers trained on, as the ResNet-50 of [000]
  3.4.3.1. Its S3 has 16×16 positions.

Both see what "defects" saw: larger defects among the small, without which small nets stay at chance.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import camwidgets
from camwidgets.classifiers.preprocessing import Preprocessing
from camwidgets.classifiers.toynet import MEAN, STD, Block
from camwidgets.datasets.textures import LABELS, SIZE, TextureWorld

SCALES = ((3.0, 0.18), (1.8, 0.23), (1.0, 0.59))  # of the defects, and the share of the pictures that have them
EPOCHS = {"resnet": 3, "lite0": 3}
PICTURES = {"resnet": 8000, "lite0": 4000}
RATES = {"resnet": 3e-3, "lite0": 5e-4}


class PlainResNet(nn.Module):
    """Stem 7×7 at stride 2, then four stages of two residual blocks, mean, linear."""

    widths = (16, 32, 64, 128)

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        first = self.widths[0]
        self.stem = nn.Sequential(nn.Conv2d(3, first, 7, 2, 3, bias=False), nn.BatchNorm2d(first), nn.ReLU())
        before = (first, *self.widths[:-1])
        for i, (inputs, width) in enumerate(zip(before, self.widths, strict=True), start=1):
            stride = 1 if i == 1 else 2
            stage = nn.Sequential(Block(inputs, width, stride, 3, norm=True), Block(width, width, 1, 3, norm=True))
            setattr(self, f"layer{i}", stage)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(self.widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for i in range(1, len(self.widths) + 1):
            x = self.get_submodule(f"layer{i}")(x)
        logits: Tensor = self.classifier(self.pool(x).flatten(1))
        return logits


def untrained(kind: str) -> tuple[nn.Module, Preprocessing]:
    """The network as training finds it, and how pictures are brought to it."""
    if kind == "resnet":
        return PlainResNet(len(LABELS)), Preprocessing((SIZE, SIZE), fit="squash", mean=MEAN, std=STD)
    base = camwidgets.load("efficientnet_lite0")
    base.module.classifier = nn.Linear(1280, len(LABELS))
    seen: Any = base.preprocessing
    return base.module, Preprocessing((SIZE, SIZE), fit="squash", mean=seen.mean, std=seen.std)


def learner(kind: str, seed: int = 0, folder: Path | None = None) -> camwidgets.Classifier:
    """The trained network; from `folder` if it was kept there, else trained (minutes) and kept there."""
    torch.manual_seed(seed)
    net, seen = untrained(kind)
    kept = None if folder is None else folder / f"{kind}-{seed}.pt"
    if kept is not None and kept.is_file():
        net.load_state_dict(torch.load(kept, weights_only=True))
    else:
        train(net, kind, seen, seed)
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            torch.save(net.state_dict(), kept)
    return camwidgets.wrap(net.eval(), transform=seen, labels=list(LABELS), input_size=SIZE, name=kind)


def painted(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """N×3×H×W uint8 pictures and N labels: each spoilt surface beside its sound twin, defects of three scales."""
    pictures, labels = [], []
    for k, (scale, share) in enumerate(SCALES):
        world = TextureWorld(seed=5000 + seed + 1000 * k, n=int(n * share) // 2, defect_scale=scale, defect_share=1.0)
        for pair in zip(world, world.replace(defect_share=0.0), strict=True):
            pictures += [torch.from_numpy(surface.image.transpose(2, 0, 1).copy()) for surface in pair]
            labels += [surface.main for surface in pair]
    return torch.stack(pictures), torch.tensor(labels)


def train(net: nn.Module, kind: str, seen: Preprocessing, seed: int, batch: int = 32) -> None:
    """Cross-entropy on labels, AdamW, one cycle; twins share a batch; mirrored and turned at random."""
    pictures, labels = painted(PICTURES[kind], seed)
    mean, std = (torch.tensor(one).view(3, 1, 1) for one in (seen.mean, seen.std))
    net.train().to(memory_format=torch.channels_last)
    steps = torch.optim.AdamW(net.parameters(), lr=RATES[kind], weight_decay=2e-2)
    total = EPOCHS[kind] * (len(pictures) // batch)
    rate = torch.optim.lr_scheduler.OneCycleLR(steps, RATES[kind], total_steps=total + 1, pct_start=0.2)
    for epoch in range(EPOCHS[kind]):
        order = (2 * torch.randperm(len(pictures) // 2)[:, None] + torch.arange(2)).flatten()
        said = 0.0
        for some in order[: len(order) // batch * batch].split(batch):
            x = turned((pictures[some].float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)
            loss = F.cross_entropy(net(x), labels[some])
            steps.zero_grad(set_to_none=True)
            loss.backward()
            steps.step()
            rate.step()
            said += float(loss.detach()) * batch / len(order)
        print(f"{kind}: epoch {epoch + 1}, loss {said:.3f}", file=sys.stderr, flush=True)


def turned(x: Tensor) -> Tensor:
    """The batch mirrored and turned by a multiple of 90° at random."""
    x = x.flip(3) if torch.rand(()) < 0.5 else x
    return x.rot90(int(torch.randint(4, ())), (2, 3))


@torch.no_grad()
def accuracy(classifier: camwidgets.Classifier, seed: int = 9001, n: int = 400) -> float:
    """Share of held-out surfaces, half of them spoilt, that the network is right about."""
    world = TextureWorld(seed=seed, n=n)
    x = [classifier.preprocess(camwidgets.images.open_image(surface.image)) for surface in world]
    answers = torch.cat([classifier.logits(torch.cat(x[i : i + 16])) for i in range(0, n, 16)]).argmax(1)
    return float((answers == torch.tensor([surface.main for surface in world])).float().mean())
