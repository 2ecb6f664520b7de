"""The shipped networks: small, plain, and as good as their cards say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from camwidgets.classifiers.toynet import (
    MEAN,
    NAMES,
    STD,
    DefectNet,
    ToyNet,
    build,
    fold,
    load_toy_weights,
    toy_card,
    toy_model,
)
from camwidgets.datasets.textures import LABELS, TextureWorld
from camwidgets.datasets.torch_data import SceneDataset
from camwidgets.datasets.toyworld import CLASSES, ToyWorld

WEIGHTS = Path(__file__).resolve().parent.parent / "camwidgets" / "datasets" / "weights"
FRESH = 424242  # a seed that neither training nor the recorded test used


@torch.no_grad()
def share_right(name: str, world: ToyWorld | TextureWorld) -> float:
    net = toy_model(name).module
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    data = SceneDataset(world, transform=lambda x: (x - mean) / std)
    pictures, labels = (torch.stack(column) for column in zip(*(data[i] for i in range(len(world))), strict=True))
    return float((net(pictures).argmax(1) == labels).float().mean())


@pytest.mark.parametrize("name", NAMES)
def test_files_are_small_and_the_net_too(name: str) -> None:
    assert (WEIGHTS / f"{name}.safetensors").stat().st_size <= 3_000_000
    parameters = sum(p.numel() for p in build(name).parameters())
    assert parameters == toy_card(name)["parameters"] <= 1_000_000
    assert not list(WEIGHTS.glob("*.pt*"))


@pytest.mark.parametrize("name", NAMES)
def test_loads_from_safetensors_without_unpickling(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("weights must not be unpickled")

    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr("pickle.loads", refuse)
    module, labels, size, mean, std = toy_model(name)
    assert not module.training
    assert {p.dtype for p in module.parameters()} == {torch.float32}
    assert labels == list(LABELS if name == "defects" else CLASSES)
    assert (mean, std) == (MEAN, STD)
    assert module(torch.zeros(1, 3, *size)).shape == (1, len(labels))


def test_the_toy_net_is_plain_and_has_five_stages() -> None:
    module = toy_model("toy").module
    kinds = {type(m) for m in module.modules() if not list(m.children())}
    assert kinds == {nn.Conv2d, nn.ReLU, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.Linear}
    assert isinstance(module, ToyNet)
    x, sizes = torch.rand(1, 3, 96, 96), []
    for name, layer in module.features.named_children():
        x = layer(x)
        if name in ("relu1_1", "relu2_1", "relu3_2", "relu4_2", "relu5_2"):
            sizes.append(x.shape[-1])
    assert sizes == [96, 48, 24, 12, 6]


def test_the_defect_net_has_four_stages() -> None:
    module = toy_model("defects").module
    assert isinstance(module, DefectNet)
    x, sizes = module.relu(module.stem(torch.rand(1, 3, 128, 128))), []
    for layer in (module.layer1, module.layer2, module.layer3, module.layer4):
        x = layer(x)
        sizes.append(x.shape[-1])
    assert sizes == [64, 32, 16, 8]


def test_the_toy_net_keeps_its_promise() -> None:
    """≥ 97 % on held-out scenes, as recorded and on a sample that nobody has looked at."""
    recorded = toy_card("toy")["accuracy"]
    assert recorded["held-out"] >= 0.97
    world = ToyWorld(seed=FRESH, n=200)
    assert share_right("toy", world) >= recorded["held-out"] - 0.03
    assert share_right("toy", world.replace(context="swap")) >= recorded["context swapped"] - 0.03


def test_the_transformer_keeps_its_promise() -> None:
    recorded = toy_card("toy-vit")["accuracy"]["held-out"]
    assert recorded >= 0.97
    assert share_right("toy-vit", ToyWorld(seed=FRESH, n=150)) >= recorded - 0.03


def test_the_shortcut_learner_believes_the_context() -> None:
    recorded = toy_card("toy-shortcut")["accuracy"]
    world = ToyWorld(seed=FRESH, n=150, context_strength=1.0)
    intact, swapped = share_right("toy-shortcut", world), share_right("toy-shortcut", world.replace(context="swap"))
    assert intact >= recorded["context intact"] - 0.04
    assert abs(swapped - recorded["context swapped"]) <= 0.1
    assert swapped < 0.3 < 0.9 < intact


def test_the_defect_net_is_as_good_as_recorded() -> None:
    recorded = toy_card("defects")["accuracy"]["held-out"]
    assert recorded >= 0.9
    assert share_right("defects", TextureWorld(seed=FRESH, n=200)) >= recorded - 0.05


def positive_map(name: str, tap: str, pictures: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Σ_k ReLU(g_k) ⊙ A_k at a tap, at the size of the pictures (N×H×W), with a maximum of 1."""
    module, found = toy_model(name).module, []
    handle = module.get_submodule(tap).register_forward_hook(lambda _, __, out: found.append(out))
    logits = module(pictures)
    handle.remove()
    (gradient,) = torch.autograd.grad(logits.gather(1, target[:, None]).sum(), found)
    stage_map = (found[0] * gradient.clamp(min=0)).sum(1, keepdim=True).detach()
    large = nn.functional.interpolate(stage_map, size=pictures.shape[2:], mode="bilinear")[:, 0]
    return large / large.amax((1, 2), keepdim=True).clamp(min=1e-9)


def batch(world: ToyWorld | TextureWorld) -> torch.Tensor:
    data = SceneDataset(world, transform=lambda x: (x - 0.5) / 0.25)
    return torch.stack([data[i][0] for i in range(len(world))])


def test_the_toy_net_looks_at_the_object_and_the_shortcut_learner_less() -> None:
    world = ToyWorld(seed=FRESH, n=40, context_strength=1.0)
    mask = torch.stack([torch.from_numpy(scene.mask(scene.main)) for scene in world])
    target, share = torch.tensor([scene.main for scene in world]), {}
    for name in ("toy", "toy-shortcut"):
        where = positive_map(name, "features.relu5_2", batch(world), target)
        share[name] = float(((where * mask).sum((1, 2)) / where.sum((1, 2))).mean())
    assert share["toy"] > 2.2 * float(mask.float().mean())
    assert share["toy"] > share["toy-shortcut"] + 0.1


def test_stage_three_points_at_the_defect() -> None:
    """Within eight pixels (one cell of stage 3) for four of five defects that the net finds."""
    world = TextureWorld(seed=FRESH, n=80, defect_share=1.0)
    pictures = batch(world)
    found = (toy_model("defects").module(pictures).argmax(1) == 1).tolist()
    where = positive_map("defects", "layer3", pictures, torch.ones(len(world), dtype=torch.long)).numpy()
    hits = []
    for i, surface in enumerate(world):
        y, x = np.unravel_index(where[i].argmax(), where[i].shape)
        near = surface.mask[max(y - 8, 0) : y + 9, max(x - 8, 0) : x + 9]
        if found[i]:
            hits.append(bool(near.any()))
    assert len(hits) > 50
    assert np.mean(hits) > 0.8


@pytest.mark.parametrize("name", ["toy", "defects", "toy-vit"])
def test_folding_the_normalisation_changes_nothing(name: str) -> None:
    torch.manual_seed(0)
    trained, size = build(name, norm=True), 96 if name == "toy-vit" else 64
    for module in trained.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    trained(torch.randn(8, 3, size, size))  # moves the running statistics
    plain = fold(trained.eval().double(), build(name).double())
    x = torch.randn(2, 3, size, size, dtype=torch.float64)
    torch.testing.assert_close(plain(x), trained(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("ask", [toy_model, load_toy_weights, toy_card, build])
def test_unknown_names(ask: Any) -> None:
    with pytest.raises(ValueError, match="unknown toy network 'toi'; valid: toy, toy-shortcut, defects, toy-vit"):
        ask("toi")


def test_training_is_seeded_and_writes_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tools import train_toy

    monkeypatch.setitem(train_toy.RECIPES, "toy", train_toy.Recipe(1, ((128, {"clutter": 0.1}),)))
    arguments = ["toy", "--threads", "1", "--test-pictures", "20", "--out"]
    for run in ("a", "b"):
        assert train_toy.main([*arguments, str(tmp_path / run)]) == 0
    first, second = ((tmp_path / run / "toy.safetensors").read_bytes() for run in ("a", "b"))
    assert first == second
    card = (tmp_path / "a" / "toy.json").read_text(encoding="utf-8")
    assert '"held-out"' in card
    assert '"seed": 1' in card
