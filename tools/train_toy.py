"""Train the small networks that ship with the kit (`make toy-model`): a few minutes each on one core, seeded.

python tools/train_toy.py                     all three, into camwidgets/datasets/weights/
python tools/train_toy.py toy --check         train again and compare with what ships; exit 1 beyond one point
python tools/train_toy.py toy --out /tmp/w    somewhere else
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from camwidgets.classifiers.toynet import MEAN, NAMES, STD, build, fold, toy_card
from camwidgets.datasets.textures import LABELS, TextureWorld
from camwidgets.datasets.toyworld import CLASSES, ToyWorld

WEIGHTS = Path(__file__).resolve().parent.parent / "camwidgets" / "datasets" / "weights"
VERSION = 1
TEST_SEED = 9001
Data = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Recipe:
    """How one network is trained."""

    pictures: int
    epochs: int
    world: dict[str, Any]
    seed: int = 1
    batch: int = 64
    rate: float = 3e-3
    decay: float = 2e-2


RECIPES: dict[str, Recipe] = {
    "toy": Recipe(12000, 4, {"context_strength": 0.0, "occlusion": 0.3, "clutter": 0.6}),
    "toy-shortcut": Recipe(6000, 3, {"context_strength": 1.0, "occlusion": 0.7, "clutter": 0.9}, seed=2),
    "defects": Recipe(9000, 5, {"defect_share": 0.5}, seed=3),
}


def world_of(name: str, seed: int, n: int, **changes: Any) -> Sequence[Any]:
    """The pictures that a network is trained or tested on."""
    if name == "defects":
        return TextureWorld(seed=seed, n=n, **changes)
    return ToyWorld(seed=seed, n=n, **changes)


def paint(world: Any, progress: str = "") -> Data:
    """All pictures (N×3×H×W uint8) and labels (N) of a world."""
    pictures, labels = [], []
    for i, scene in enumerate(world):
        pictures.append(torch.from_numpy(np.ascontiguousarray(scene.image.transpose(2, 0, 1))))
        labels.append(scene.main)
        if progress and (i + 1) % 1000 == 0:
            print(f"{progress}: {i + 1} of {len(world)} pictures painted", flush=True)
    return torch.stack(pictures), torch.tensor(labels)


def prepare(pictures: torch.Tensor) -> torch.Tensor:
    """uint8 pictures as the network wants them: (x/255 − mean)/std, channels last."""
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    return ((pictures.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def jitter(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirror half of the pictures, shift all by a few pixels, change brightness and contrast a little."""
    n = len(x)
    mirrored = torch.rand(n, generator=generator) < 0.5
    x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
    dy, dx = (int(torch.randint(0, 9, (), generator=generator)) for _ in range(2))
    h, w = x.shape[2:]
    x = F.pad(x, (4, 4, 4, 4), mode="replicate")[:, :, dy : dy + h, dx : dx + w]
    gain = 1 + 0.16 * (torch.rand(n, 1, 1, 1, generator=generator) - 0.5)
    return x * gain + 0.24 * (torch.rand(n, 1, 1, 1, generator=generator) - 0.5)


def train(name: str, recipe: Recipe) -> nn.Module:
    """Train with batch normalisation, then fold it away."""
    torch.manual_seed(recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    pictures, labels = paint(world_of(name, recipe.seed, recipe.pictures, **recipe.world), name)
    net = build(name, norm=True).to(memory_format=torch.channels_last)
    steps = recipe.epochs * (len(pictures) // recipe.batch)
    optimiser = torch.optim.AdamW(net.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=steps, pct_start=0.2)
    for epoch in range(recipe.epochs):
        order, right, loss_sum = torch.randperm(len(pictures), generator=generator), 0, 0.0
        batches = order[: len(order) // recipe.batch * recipe.batch].split(recipe.batch)
        for chosen in batches:
            logits = net(jitter(prepare(pictures[chosen]), generator))
            loss = F.cross_entropy(logits, labels[chosen], label_smoothing=0.02)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            right += int((logits.argmax(1) == labels[chosen]).sum())
            loss_sum += float(loss.detach())
        share = right / (len(batches) * recipe.batch)
        print(f"{name}: epoch {epoch + 1}, loss {loss_sum / len(batches):.3f}, right {share:.1%}", flush=True)
    return fold(net.eval(), build(name))


@torch.no_grad()
def accuracy(net: nn.Module, data: Data) -> float:
    """Share of pictures whose highest logit is the right one."""
    pictures, labels = data
    right = sum(
        int((net(prepare(p)).argmax(1) == y).sum())
        for p, y in zip(pictures.split(200), labels.split(200), strict=True)
    )
    return round(right / len(labels), 4)


def measure(name: str, net: nn.Module, n: int) -> dict[str, float]:
    """Accuracies on pictures that training never saw, by kind of picture."""
    tests: dict[str, dict[str, Any]] = {
        "held-out": {},
        "context intact": {"context_strength": 1.0},
        "context swapped": {"context": "swap"},
        "bare backdrop": {"context": "none"},
        "occluded": {"occlusion": 0.5},
    }
    if name == "defects":
        tests = {"held-out": {}, "sound only": {"defect_share": 0.0}, "defects only": {"defect_share": 1.0}}
    return {
        title: accuracy(net, paint(world_of(name, TEST_SEED, n, **changes)))
        for title, changes in tests.items()
    }


def ship(name: str, net: nn.Module, out: Path, seconds: float, n: int) -> dict[str, Any]:
    """Round to float16, measure what was rounded, write weights and card."""
    for parameter in net.parameters():
        parameter.data = parameter.data.half().float()
    card = {
        "name": name,
        "version": VERSION,
        "labels": list(LABELS if name == "defects" else CLASSES),
        "input_size": [128, 128] if name == "defects" else [96, 96],
        "parameters": sum(p.numel() for p in net.parameters()),
        "recipe": asdict(RECIPES[name]),
        "test": {"seed": TEST_SEED, "pictures": n},
        "accuracy": measure(name, net, n),
        "seconds": round(seconds),
        "torch": torch.__version__.split("+")[0],
        "made_by": "tools/train_toy.py",
    }
    out.mkdir(parents=True, exist_ok=True)
    state = {key: value.half().contiguous() for key, value in net.state_dict().items()}
    save_file(state, str(out / f"{name}.safetensors"))
    (out / f"{name}.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    return card


def differences(card: dict[str, Any], shipped: dict[str, Any]) -> dict[str, float]:
    """Points by which each accuracy differs from the shipped one."""
    return {k: 100 * (v - shipped["accuracy"][k]) for k, v in card["accuracy"].items()}


def main(arguments: Sequence[str] | None = None, say: Callable[[str], None] = print) -> int:
    """Train the networks named on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help=f"of {', '.join(NAMES)} (all when none is named)")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="folder for weights and cards")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--test-pictures", type=int, default=2000)
    parser.add_argument(
        "--check", action="store_true", help="compare with the shipped accuracy instead of replacing it"
    )
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    worst = 0.0
    for name in given.names or NAMES:
        begun = time.perf_counter()
        net = train(name, RECIPES[name])
        seconds = time.perf_counter() - begun
        shipped = toy_card(name) if given.check else None
        card = ship(
            name, net, given.out / "check" if given.check else given.out, seconds, given.test_pictures
        )
        say(f"{name}: {card['accuracy']} in {seconds:.0f} s")
        if shipped is not None:
            by = differences(card, shipped)
            worst = max(worst, abs(by["held-out"]))
            say(
                f"{name}: points from the shipped accuracy: "
                + ", ".join(f"{k} {v:+.1f}" for k, v in by.items())
            )
    return int(worst > 1.0)


if __name__ == "__main__":
    sys.exit(main())
