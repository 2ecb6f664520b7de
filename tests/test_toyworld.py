"""The toy world: reproducible, balanced, and honest about what it shows."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from camwidgets.datasets.torch_data import SceneDataset
from camwidgets.datasets.toyworld import CLASS_PARTS, CLASSES, CONTEXTS, HOME, PARTS, SIZE, Scene, ToyWorld

CROWD = ToyWorld(seed=11, n=40, objects=(1, 5), occlusion=0.5, clutter=1.0)


def digest(scene: Scene) -> str:
    parts = (scene.image, scene.instance_map, scene.part_map, scene.context_map)
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


# -- reproducible --
def test_same_seed_same_bytes_in_another_process() -> None:
    code = (
        "import hashlib; from camwidgets.datasets.toyworld import ToyWorld; s = ToyWorld(seed=11, n=40,"
        "objects=(1, 5), occlusion=0.5, clutter=1.0)[17]; print(hashlib.sha256(b''.join(p.tobytes() for p in"
        "(s.image, s.instance_map, s.part_map, s.context_map))).hexdigest())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == digest(CROWD[17])


def test_a_scene_does_not_depend_on_what_was_painted_before() -> None:
    forwards = [digest(CROWD[i]) for i in range(8)]
    backwards = [digest(CROWD[i]) for i in reversed(range(8))]
    assert forwards == backwards[::-1]
    assert digest(CROWD.replace(n=3)[2]) == forwards[2]
    assert len(set(forwards)) == 8
    assert digest(ToyWorld(seed=12)[0]) != digest(ToyWorld(seed=13)[0])


def test_slices_hold_the_same_scenes() -> None:
    part = CROWD[10:30:4]
    assert (len(part), part[1].index, part[-1].index) == (5, 14, 26)
    assert digest(part[1]) == digest(CROWD[14])
    assert [s.index for s in CROWD[::-1][:3]] == [39, 38, 37]
    assert digest(part[1:3][1]) == digest(CROWD[18])
    assert len(CROWD[5:5]) == 0
    with pytest.raises(IndexError, match="picture 5 is outside a world of 5 pictures"):
        part[5]


def test_batches_match_scenes() -> None:
    pictures, labels = CROWD.batch([3, 1])
    assert pictures.shape == (2, SIZE, SIZE, 3)
    assert pictures.dtype == np.uint8
    assert np.array_equal(pictures[1], CROWD[1].image)
    assert labels.tolist() == [CROWD[3].main, CROWD[1].main] == [CROWD.main_label(3), CROWD.main_label(1)]


# -- the truth --
@pytest.mark.parametrize("index", range(0, 40, 3))
def test_masks_boxes_parts_and_contexts_agree(index: int) -> None:
    scene = CROWD[index]
    taken = scene.clutter.astype(int) + scene.occluder
    for item in scene.objects:
        x0, y0, x1, y1 = item.box
        inside = np.zeros_like(item.mask)
        inside[y0:y1, x0:x1] = True
        assert not (item.mask & ~inside).any()
        assert item.mask[y0].any()
        assert item.mask[y1 - 1].any()
        assert item.mask[:, x0].any()
        assert item.mask[:, x1 - 1].any()
        assert not (item.mask & ~item.whole).any()
        assert set(item.parts) <= set(CLASS_PARTS[item.name])
        assert np.array_equal(np.logical_or.reduce(list(item.parts.values())), item.mask)
        assert sum(int(m.sum()) for m in item.parts.values()) == item.mask.sum()
        assert scene.labels[item.label] == 1.0
        taken += item.mask
    for mask in scene.contexts.values():
        taken += mask
    assert taken.max() == 1  # no pixel is two things
    assert set(scene.contexts) == ({scene.context} if scene.context else set())
    assert scene.labels.sum() == len({item.label for item in scene.objects})


def test_what_is_painted_later_is_in_front() -> None:
    crossings = 0
    for scene in ToyWorld(seed=4, n=60, objects=(3, 4), occlusion=0.6, clutter=0.0):
        for back in scene.objects:
            for front in scene.objects:
                shared = back.whole & front.whole
                if front.number > back.number and shared.any():
                    crossings += 1
                    assert not (back.mask & shared).any()
    assert crossings > 20


def test_occlusion_hides_at_most_its_share() -> None:
    hidden = np.array([1 - s.objects[0].visible for s in ToyWorld(seed=5, n=80, occlusion=0.4)])
    assert hidden.max() <= 0.4
    assert hidden.mean() > 0.08
    assert all(s.objects[0].visible == 1.0 for s in ToyWorld(seed=5, n=20))


def test_every_class_shows_its_parts() -> None:
    seen: dict[str, set[str]] = {name: set() for name in CLASSES}
    for scene in ToyWorld(seed=6, n=60, clutter=0.0):
        seen[scene.name] |= set(scene.parts)
    assert {name: set(parts) for name, parts in CLASS_PARTS.items()} == seen
    shared = [part for part in PARTS if sum(part in parts for parts in CLASS_PARTS.values()) > 1]
    assert {"eye", "wheel", "window", "sail", "wing", "beak"} <= set(shared)


def test_more_objects_more_labels_and_all_inside() -> None:
    world = ToyWorld(seed=7, n=50, objects=(2, 4))
    counts = [len(scene.objects) for scene in world]
    assert set(counts) == {2, 3, 4}
    for scene in world:
        assert scene.labels.sum() == len(scene.objects)
        assert scene.labels[scene.main] == 1
        assert min(int(item.mask.sum()) for item in scene.objects) > 40


# -- balance and context --
def test_main_labels_are_balanced_in_every_run_of_ten() -> None:
    world = ToyWorld(seed=8, n=200)
    labels = [world.main_label(i) for i in range(200)]
    assert all(sorted(labels[k : k + 10]) == list(range(10)) for k in range(0, 200, 10))
    assert labels[:10] != labels[10:20]
    few = ToyWorld(seed=8, n=30, classes=["cat", "train", "boat"], objects=(2, 2))
    assert {name for scene in few for name in scene.names} == {"cat", "train", "boat"}


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_context_strength_is_what_it_says(strength: float) -> None:
    world = ToyWorld(seed=9, n=400, context_strength=strength, clutter=0.0)
    at_home = np.mean([scene.context == HOME[scene.name] for scene in world])
    expected = strength + (1 - strength) / 6
    assert abs(at_home - expected) <= 3.5 * np.sqrt(expected * (1 - expected) / 400)


def test_swapping_the_context_leaves_the_objects_alone() -> None:
    world = ToyWorld(seed=10, n=12, context_strength=1.0, objects=(2, 2))
    for home, away, bare in zip(world, world.replace(context="swap"), world.replace(context="none"), strict=True):
        assert home.context == HOME[home.name] != away.context
        assert bare.context is None
        assert not bare.contexts
        assert np.array_equal(home.instance_map, away.instance_map)
        assert np.array_equal(home.part_map, bare.part_map)
        core = home.mask(home.main) & ~_rim(home.mask(home.main))
        differs = np.abs(home.image[core].astype(int) - away.image[core]).max(axis=1)
        # Only where two antialiased parts meet does a little of the context show between them.
        assert (differs > 1).mean() < 0.1
        assert differs.mean() < 2.0
        assert (np.abs(home.image.astype(int) - away.image).max(axis=2) > 20).mean() > 0.2


def _rim(mask: np.ndarray) -> np.ndarray:
    """Pixels within two of the mask's outside, where antialiasing mixes in what lies behind."""
    inner = mask.copy()
    for _ in range(2):
        inner[1:-1, 1:-1] &= inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
    return mask & ~inner


@pytest.mark.parametrize("context", CONTEXTS)
def test_contexts_can_be_named_and_look_different(context: str) -> None:
    scene = ToyWorld(seed=3, n=1, context=context, clutter=0.0)[0]
    assert list(scene.contexts) == [context]
    assert scene.contexts[context].mean() > 0.25
    other = CONTEXTS[CONTEXTS.index(context) - 1]
    twin = ToyWorld(seed=3, n=1, context=other, clutter=0.0)[0]
    both = scene.contexts[context] & twin.contexts[other]
    assert np.abs(scene.image[both].mean(0) - twin.image[both].mean(0)).max() > 8


# -- bad input --
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"seed": -1}, "seed must be ≥ 0"),
        ({"seed": 1.5}, "seed must be an integer"),
        ({"n": -3}, "n must be ≥ 0"),
        ({"context_strength": 1.2}, "context_strength must lie between 0 and 1, not 1.2"),
        ({"context_strength": "strong"}, "context_strength must be a number"),
        ({"context_strength": float("nan")}, "context_strength must lie between"),
        ({"occlusion": 0.95}, "occlusion must lie between 0 and 0.8"),
        ({"clutter": -0.1}, "clutter must lie between"),
        ({"objects": (3, 2)}, "1 ≤ smallest ≤ largest ≤ 6"),
        ({"objects": (0, 2)}, "objects must be ≥ 1"),
        ({"objects": "two"}, "objects must be one number or"),
        ({"context": "watr"}, "did you mean 'water'"),
        ({"classes": ["cat", "dgo"]}, "did you mean 'dog'"),
        ({"classes": []}, "non-empty list"),
        ({"classes": ["cat", "cat"]}, "twice"),
        ({"step": 0}, "step must be an integer other than 0"),
        ({"step": -1, "n": 4}, "numbers below 0"),
    ],
)
def test_bad_parameters_are_named(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        ToyWorld(**parameters)


def test_replace_and_empty_batches_say_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="did you mean 'clutter'"):
        CROWD.replace(cluter=1)
    with pytest.raises(ValueError, match="at least one"):
        CROWD.batch([])
    with pytest.raises(ValueError, match="valid: main, labels"):
        SceneDataset(CROWD, target="boxes")  # type: ignore[arg-type]


# -- use --
def test_torch_dataset() -> None:
    data = SceneDataset(CROWD, target="labels", transform=lambda x: (x - 0.5) / 0.25, with_index=True)
    loader = torch.utils.data.DataLoader(data, batch_size=4, shuffle=True, generator=torch.Generator().manual_seed(0))
    pictures, labels, numbers = next(iter(loader))
    assert pictures.shape == (4, 3, SIZE, SIZE)
    assert labels.shape == (4, 10)
    for picture, hot, number in zip(pictures, labels, numbers, strict=True):
        scene = CROWD[int(number)]
        assert torch.equal(hot, torch.from_numpy(scene.labels))
        back = ((picture * 0.25 + 0.5) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        assert np.array_equal(back, scene.image)


def test_contact_sheet(tmp_path: Path) -> None:
    from camwidgets.datasets.sheet import run
    from camwidgets.datasets.toyworld.__main__ import sheet

    path = run("toyworld", sheet, ["--out", str(tmp_path / "deep" / "sheet.png"), "--seed", "2"])
    with Image.open(path) as page:
        assert page.width > 1000
        assert page.height > 800


def test_painting_is_quick() -> None:
    world = ToyWorld(seed=1, n=150)
    _ = [world[i] for i in range(20)]  # make the noise tiles
    start = time.process_time()
    for _ in world:
        pass
    assert len(world) / (time.process_time() - start) > 60  # several hundred on an idle core
