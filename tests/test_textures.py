"""Textures with defects: reproducible, balanced, masks exact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_dilation, label

from camwidgets.datasets.textures import DEFECTS, LABELS, SIZE, SURFACES, TextureWorld
from camwidgets.datasets.torch_data import SceneDataset

SPOILT = TextureWorld(seed=2, n=48, defect_share=1.0)


def test_a_picture_depends_on_seed_and_number_only() -> None:
    backwards = [SPOILT[i].image.tobytes() for i in (5, 3, 1)]
    assert backwards == [s.image.tobytes() for s in SPOILT[5:0:-2]]
    assert SPOILT.replace(n=4)[3].image.tobytes() == backwards[1]
    assert TextureWorld(seed=3, n=4, defect_share=1.0)[3].image.tobytes() != backwards[1]


def test_masks_are_exact() -> None:
    """Outside the mask and its antialiased rim the picture is its sound twin; inside it differs."""
    for spoilt, sound in zip(SPOILT, SPOILT.replace(defect_share=0.0), strict=True):
        changed = np.abs(spoilt.image.astype(int) - sound.image).max(axis=2)
        assert not sound.mask.any()
        assert changed[~binary_dilation(spoilt.mask, iterations=2)].max() <= 1
        assert (changed[spoilt.mask] > 2).mean() > 0.7


def test_defects_are_tiny_and_in_one_piece() -> None:
    for surface in SPOILT:
        assert 0.0004 < surface.mask.mean() < 0.012, (surface.index, surface.defect)
        assert label(surface.mask, structure=np.ones((3, 3)))[1] == 1
        assert surface.image.shape == (SIZE, SIZE, 3)


def test_defects_can_be_larger() -> None:
    larger = SPOILT.replace(defect_scale=2.5)
    areas = np.array([(s.mask.sum(), t.mask.sum()) for s, t in zip(SPOILT[:12], larger, strict=False)])
    assert (areas[:, 1] > 2 * areas[:, 0]).all()


def test_surfaces_and_defects_are_balanced() -> None:
    world = TextureWorld(seed=5, n=240)
    kinds = [s.kind for s in world]
    assert {kind: kinds.count(kind) for kind in SURFACES} == dict.fromkeys(SURFACES, 40)
    assert sum(s.main for s in world) == 120
    defects = [s.defect for s in world if s.defect]
    assert set(defects) == set(DEFECTS)
    assert min(defects.count(d) for d in DEFECTS) > 15
    for kind in SURFACES:
        assert 0.2 < np.mean([s.main for s in world if s.kind == kind]) < 0.8


def test_labels() -> None:
    spoilt, sound = SPOILT[0], SPOILT.replace(defect_share=0.0)[0]
    assert (spoilt.name, sound.name) == ("defect", "sound") == LABELS[::-1]
    assert (spoilt.labels.tolist(), sound.labels.tolist()) == ([0.0, 1.0], [1.0, 0.0])
    picture, target = SceneDataset(SPOILT)[0]
    assert tuple(picture.shape) == (3, SIZE, SIZE)
    assert int(target) == 1


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"defect_share": 2}, "defect_share must lie between 0 and 1, not 2"),
        ({"defect_scale": 0}, "defect_scale must lie between 0.5 and 4, not 0"),
        ({"surfaces": ["wod"]}, "did you mean 'wood'"),
        ({"defects": ["hole"]}, "valid: scratch, spot, crack, smudge"),
        ({"surfaces": "wood"}, "non-empty list of names"),
        ({"seed": None}, "seed must be an integer"),
        ({"n": -1}, "n must be ≥ 0"),
    ],
)
def test_bad_parameters_are_named(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        TextureWorld(**parameters)


def test_index_outside() -> None:
    with pytest.raises(IndexError, match="picture 48 is outside a world of 48 pictures"):
        SPOILT[48]


def test_contact_sheet(tmp_path: Path) -> None:
    from camwidgets.datasets.sheet import run
    from camwidgets.datasets.textures.__main__ import sheet

    with Image.open(run("textures", sheet, ["--out", str(tmp_path / "sheet.png")])) as page:
        assert page.width > 1000
    with pytest.raises(SystemExit):
        run("textures", sheet, ["--seed", "-1"])
