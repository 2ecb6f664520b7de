"""The index of exciting patches: right, resumable, honest about what it could not read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from camwidgets import Classifier, wrap
from camwidgets.decomposition.patches import PatchIndex
from camwidgets.evidence import record


class Reds(nn.Module):
    """Channel 0 answers to red, channel 1 to green, channel 2 to blue; then half the resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.see = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.relu = nn.ReLU()
        self.shrink = nn.Conv2d(3, 4, 2, stride=2)
        self.act = nn.ReLU()
        self.head = nn.Linear(4, 2)
        with torch.no_grad():
            self.see.weight.copy_(torch.eye(3)[:, :, None, None].expand(3, 3, 3, 3) / 9)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.shrink(self.relu(self.see(x)))).mean((2, 3)))


def unit(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image.resize((32, 32)))).permute(2, 0, 1).float() / 255


@pytest.fixture
def classifier() -> Classifier:
    torch.manual_seed(0)
    return wrap(Reds(), unit, input_size=32, name="reds")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "pictures"
    (place / "deeper").mkdir(parents=True)
    for i, level in enumerate((40, 240, 120)):
        pixels = np.zeros((32, 32, 3), np.uint8)
        pixels[10:16, 20:26, 0] = level
        Image.fromarray(pixels).save(place / ("deeper" if i == 1 else "") / f"red{level}.png")
    return place


def test_finds_the_patches_that_excite_a_channel(classifier: Classifier, folder: Path, tmp_path: Path) -> None:
    index = PatchIndex(classifier, folder, store=tmp_path)
    assert index.build() == 3
    found = index.top("S1", 0, count=2)
    assert [patch.path.name for patch in found] == ["red240.png", "red120.png"]
    assert found[0].response == pytest.approx(240 / 255, abs=1e-5)
    assert 11 <= found[0].y <= 14
    assert 21 <= found[0].x <= 24
    crop = np.asarray(index.crop(found[0]))
    assert crop.shape == (3, 3, 3)
    assert (crop == [255, 0, 0]).all()  # the reddest patch there is, stretched to the full range
    with record(classifier, found[0].path) as recording:
        assert float(recording.activations["relu"][0, 0].max()) == pytest.approx(found[0].response)
    counts, _ = index.histogram("S1", 0, bins=4)
    assert counts.sum() == 3


def test_goes_on_where_it_was_stopped(classifier: Classifier, folder: Path, tmp_path: Path) -> None:
    for i in range(20):
        Image.new("RGB", (32, 32), (i, 0, 0)).save(folder / f"more{i:02}.png")
    seen: list[tuple[int, int]] = []
    index = PatchIndex(classifier, folder, store=tmp_path)
    held = index.build(lambda done, total: seen.append((done, total)), cancelled=lambda: len(seen) >= 1)
    assert (held, seen) == (8, [(8, 23)])
    seen.clear()
    passes = []
    handle = classifier.module.register_forward_hook(lambda *_: passes.append(1))
    assert PatchIndex(classifier, folder, store=tmp_path).build(lambda done, total: seen.append((done, total))) == 23
    assert PatchIndex(classifier, folder, store=tmp_path).build() == 23
    handle.remove()
    assert seen[-1] == (23, 23)
    assert len(passes) == 15  # each picture once, none again


def test_notices_what_changed_went_or_is_broken(classifier: Classifier, folder: Path, tmp_path: Path) -> None:
    index = PatchIndex(classifier, folder, store=tmp_path)
    index.build()
    (folder / "red120.png").unlink()
    Image.new("RGB", (32, 32), (255, 0, 0)).save(folder / "red40.png")
    os.utime(folder / "red40.png", ns=(1, 1))
    (folder / "broken.jpg").write_bytes(b"not a picture")
    assert index.build() == 2
    assert [patch.path.name for patch in index.top("S1", 0)] == ["red40.png", "red240.png"]
    assert list(index.broken()) == [folder / "broken.jpg"]


def test_bad_input(classifier: Classifier, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="no folder of pictures"):
        PatchIndex(classifier, folder / "nowhere", store=tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match="no picture in the folder"):
        PatchIndex(classifier, empty, store=tmp_path).build()
    index = PatchIndex(classifier, folder, store=tmp_path)
    index.build()
    with pytest.raises(ValueError, match="channel 9 is out of range"):
        index.top("S1", 9)
    with pytest.raises(ValueError, match="unknown tap"):
        index.top("S8", 0)
