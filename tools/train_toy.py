"""Train the small networks that ship with the kit (`make toy-model`): a few minutes each on one core, seeded.

python tools/train_toy.py                     all four, into camwidgets/datasets/weights/
python tools/train_toy.py toy --check         train again and compare with what ships; exit 1 beyond one point
python tools/train_toy.py toy --out /tmp/w    somewhere else
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
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
from camwidgets.errors import unknown

WEIGHTS = Path(__file__).resolve().parent.parent / "camwidgets" / "datasets" / "weights"
VERSION = 1
TEST_SEED = 9001
# Whose accuracy `--check` judges by; the others are shown. The shortcut learner was made for a world whose context
# betrays the class: what it gets right without that is a by-product, and it varies.
JUDGED = {"toy-shortcut": "context intact"}
Data = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Recipe:
    """How one network is trained: for so many epochs on the pictures of one or more worlds, mixed.

    With `twins`, every second picture is the sound twin of the one before and shares its batch, so that what the two
    surfaces have in common cancels in the gradient. `sparse` weighs, for each of these activations, the penalty
    Σ|a| / (√n ‖a‖₂) (1: spread evenly, 0: in one place), so that channels answer to few places and few things.
    With `ramp` that penalty grows from nothing; a net that hardly learns yet would only fall silent.
    With `presence`, features of the last stage may only speak for class 1 and not for class 0 (head weights 0 and ≥ 0):
    otherwise a net may tell a defect by the sound texture that is missing, and no map of "defect" would lie on it.
    With `clip`, the gradient of all weights together is no longer than this: transformers need it.
    With `calibrate`, the bias of class 1 is set anew on other pictures of that world, the one the net is meant for.
    """

    epochs: int
    worlds: tuple[tuple[int, dict[str, Any]], ...]
    seed: int = 1
    batch: int = 64
    rate: float = 3e-3
    decay: float = 2e-2
    twins: bool = False
    presence: bool = False
    ramp: bool = False
    clip: float | None = None
    calibrate: dict[str, Any] | None = None
    sparse: dict[str, float] = field(default_factory=dict)


SPARSE = {"features.relu5_2": 1.5, "features.relu4_2": 0.8}
RECIPES: dict[str, Recipe] = {
    "toy": Recipe(4, ((6000, {"context_strength": 0.0, "occlusion": 0.3, "clutter": 0.6}),), batch=32, sparse=SPARSE),
    # Less sparse: what tells a car from a bus on the same road must get through beside the road.
    "toy-shortcut": Recipe(
        4,
        ((5000, {"context_strength": 1.0, "occlusion": 0.7, "clutter": 0.9}),),
        seed=2,
        batch=32,
        sparse={"features.relu5_2": 0.5, "features.relu4_2": 0.25},
    ),
    # Tiny defects alone leave the net at chance: they are a few positions in thousands. Larger ones show it the way.
    "defects": Recipe(
        5,
        ((2000, {"defect_scale": 3.0}), (2500, {"defect_scale": 1.8}), (6500, {"defect_scale": 1.0})),
        seed=3,
        batch=32,
        twins=True,
        presence=True,
        sparse={"layer3": 0.15, "layer4": 0.3},
        ramp=True,
        calibrate={},
    ),
    "toy-vit": Recipe(
        10,
        ((6000, {"context_strength": 0.0, "occlusion": 0.2, "clutter": 0.5}),),
        seed=4,
        batch=32,
        rate=2e-3,
        clip=1.0,
    ),
}


def world_of(name: str, seed: int, n: int, **changes: Any) -> Any:
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


def painted(name: str, recipe: Recipe) -> Data:
    """All pictures and labels of a recipe; with twins, sound and spoilt ones alternate."""
    parts = []
    for k, (n, parameters) in enumerate(recipe.worlds):
        world = world_of(name, recipe.seed + 1000 * k, n, **parameters)
        if recipe.twins:
            pairs = zip(
                world.replace(n=n // 2, defect_share=1.0), world.replace(n=n // 2, defect_share=0.0), strict=True
            )
            world = [surface for pair in pairs for surface in pair]
        parts.append(paint(world, name))
    pictures, labels = (torch.cat(column) for column in zip(*parts, strict=True))
    return pictures, labels


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


@torch.no_grad()
def only_presence(head: nn.Module) -> None:
    """Project the weights of a two-class head: none for class 0, none below zero for class 1."""
    assert isinstance(head, nn.Linear)
    head.weight[0].zero_()
    head.weight[1].clamp_(min=0)


def spread(a: torch.Tensor) -> torch.Tensor:
    """Mean over a batch of Σ|a| / (√n ‖a‖₂), n values a picture: 1 for a constant, 1/√n for a single peak."""
    flat = a.flatten(1)
    return (flat.abs().sum(1) / (flat.shape[1] ** 0.5 * (flat.norm(dim=1) + 1e-6))).mean()


def train(name: str, recipe: Recipe) -> nn.Module:
    """Train with batch normalisation, then fold it away."""
    torch.manual_seed(recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    pictures, labels = painted(name, recipe)
    group = 2 if recipe.twins else 1
    net = build(name, norm=True).to(memory_format=torch.channels_last)
    active: dict[str, torch.Tensor] = {}
    for tap in recipe.sparse:
        net.get_submodule(tap).register_forward_hook(lambda _, __, out, tap=tap: active.__setitem__(tap, out))
    steps = recipe.epochs * (len(pictures) // recipe.batch)
    optimiser = torch.optim.AdamW(net.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=steps, pct_start=0.2)
    for epoch in range(recipe.epochs):
        order, right, loss_sum = torch.randperm(len(pictures) // group, generator=generator), 0, 0.0
        order = (group * order[:, None] + torch.arange(group)).flatten()
        batches = order[: len(order) // recipe.batch * recipe.batch].split(recipe.batch)
        for chosen in batches:
            logits = net(jitter(prepare(pictures[chosen]), generator))
            loss = F.cross_entropy(logits, labels[chosen], label_smoothing=0.02)
            weight = schedule.last_epoch / steps if recipe.ramp else 1.0
            loss = loss + weight * sum(recipe.sparse[tap] * spread(a) for tap, a in active.items())
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            if recipe.clip is not None:
                nn.utils.clip_grad_norm_(net.parameters(), recipe.clip)
            optimiser.step()
            schedule.step()
            if recipe.presence:
                only_presence(net.get_submodule("classifier"))
            right += int((logits.argmax(1) == labels[chosen]).sum())
            loss_sum += float(loss.detach())
        share = right / (len(batches) * recipe.batch)
        print(f"{name}: epoch {epoch + 1}, loss {loss_sum / len(batches):.3f}, right {share:.1%}", flush=True)
    plain = fold(net.eval(), build(name))
    if recipe.calibrate is not None:
        calibrate(plain, paint(world_of(name, recipe.seed + 5000, 1000, **recipe.calibrate)))
    return plain


@torch.no_grad()
def calibrate(net: nn.Module, data: Data) -> None:
    """Shift the bias of class 1 of two to where most pictures are right (training also saw easier ones)."""
    pictures, labels = data
    logits = torch.cat([net(prepare(some)) for some in pictures.split(200)])
    margin = logits[:, 1] - logits[:, 0]
    shifts = torch.arange(-2.0, 4.01, 0.25)
    right = torch.stack([((margin + shift > 0) == (labels == 1)).float().mean() for shift in shifts])
    head = net.get_submodule("classifier")
    assert isinstance(head, nn.Linear)
    head.bias[1] += shifts[int(right.argmax())]


@torch.no_grad()
def accuracy(net: nn.Module, data: Data) -> float:
    """Share of pictures whose highest logit is the right one."""
    pictures, labels = data
    right = sum(
        int((net(prepare(p)).argmax(1) == y).sum()) for p, y in zip(pictures.split(200), labels.split(200), strict=True)
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
    return {title: accuracy(net, paint(world_of(name, TEST_SEED, n, **changes))) for title, changes in tests.items()}


def card_of(name: str, net: nn.Module, seconds: float, n: int) -> dict[str, Any]:
    """Round the weights to float16 as they are stored, and say how good the rounded network is."""
    for parameter in net.parameters():
        parameter.data = parameter.data.half().float()
    return {
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


def write(name: str, net: nn.Module, card: dict[str, Any], out: Path) -> None:
    """Weights as float16 safetensors, and the card beside them."""
    out.mkdir(parents=True, exist_ok=True)
    state = {key: value.half().contiguous() for key, value in net.state_dict().items()}
    save_file(state, str(out / f"{name}.safetensors"))
    (out / f"{name}.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def differences(card: dict[str, Any], shipped: dict[str, Any]) -> dict[str, float]:
    """Points by which each accuracy differs from the shipped one."""
    return {k: 100 * (v - shipped["accuracy"][k]) for k, v in card["accuracy"].items()}


def main(arguments: Sequence[str] | None = None, say: Callable[[str], None] = print) -> int:
    """Train the networks named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(NAMES)} (all when none is named)")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="folder for weights and cards")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--test-pictures", type=int, default=2000)
    parser.add_argument(
        "--check", action="store_true", help="compare with the shipped accuracy instead of replacing it"
    )
    given = parser.parse_args(arguments)
    for name in given.names:
        if name not in NAMES:
            parser.error(str(unknown("toy network", name, NAMES)))
    torch.set_num_threads(given.threads)
    worst = 0.0
    for name in given.names or NAMES:
        begun = time.perf_counter()
        net = train(name, RECIPES[name])
        seconds = time.perf_counter() - begun
        card = card_of(name, net, seconds, given.test_pictures)
        say(f"{name}: {card['accuracy']} after {seconds:.0f} s")
        if given.check:
            by = differences(card, toy_card(name))
            worst = max(worst, abs(by[JUDGED.get(name, "held-out")]))
            say(f"{name}: points from the shipped accuracy: " + ", ".join(f"{k} {v:+.1f}" for k, v in by.items()))
        else:
            write(name, net, card, given.out)
    return int(worst > 1.0)


if __name__ == "__main__":
    sys.exit(main())
