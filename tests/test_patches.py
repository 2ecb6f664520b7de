"""The index of exciting patches: right, resumable, honest about what it could not read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from camwidgets import Classifier, wrap
from camwidgets.classifiers.identity import view_hash
from camwidgets.decomposition.patches import DatasetIndex, PatchIndex, index_of
from camwidgets.evidence import record
from camwidgets.widgets.tree import sight


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


# ------------------------------------------------------------------------------------------ whose answers they are


def other(transform: Any = unit, input_size: int = 32) -> Classifier:
    """The same weights, looking otherwise."""
    torch.manual_seed(0)
    return wrap(Reds(), transform, input_size=input_size, name="reds")


def halved(image: Image.Image) -> Tensor:
    return unit(image) / 2


def unit64(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image.resize((64, 64)))).permute(2, 0, 1).float() / 255


def test_the_same_weights_looking_otherwise_have_an_index_of_their_own(
    classifier: Classifier, folder: Path, tmp_path: Path
) -> None:
    first = PatchIndex(classifier, folder, store=tmp_path)
    first.build()
    again = PatchIndex(other(), folder, store=tmp_path)
    assert (again.missing(), again.file) == (0, first.file)
    for net in (
        other(halved),
        other(unit64, input_size=64),
        other().autocast(torch.bfloat16),
    ):
        index = PatchIndex(net, folder, store=tmp_path)
        assert index.missing() == 3
        index.build()
        with record(net, folder / "deeper" / "red240.png") as recording:
            peak = float(recording.activations["relu"][0, 0].max())
        assert index.top("S1", 0, count=1)[0].response == pytest.approx(peak, rel=1e-6)
        with pytest.raises(ValueError, match="input sizes, preprocessing or stages differ"):
            index_of(classifier, index)
    assert index_of(other(), first) is first


def test_transforms_are_told_apart_by_what_they_do() -> None:
    def by(factor: float) -> Any:
        return lambda image: unit(image) * factor

    class Times:
        def __init__(self, factor: float) -> None:
            self.inner = by(factor)

        def __call__(self, image: Image.Image) -> Tensor:
            return self.inner(image)

    given = [unit, halved, by(2), by(3), Times(2), Times(3)]
    hashes = [view_hash(other(one)) for one in given]
    assert len(set(hashes)) == len(given)
    assert hashes[3] == view_hash(other(by(3)))
    assert hashes[5] == view_hash(other(Times(3)))


# ------------------------------------------------------------------------------------------ one odd file among many


def test_a_picture_that_goes_while_the_index_is_built(classifier: Classifier, folder: Path, tmp_path: Path) -> None:
    """Before it is looked at, and while it is."""

    class Fleeting(PatchIndex):
        def _read(self, path: Path) -> Any:
            if path.name == "red120.png":
                (folder / "red40.png").unlink()  # the next to be looked at
                path.unlink()
            return path

    index = Fleeting(classifier, folder, store=tmp_path)
    assert index.build() == 1
    assert (index.broken(), index.missing()) == ({}, 0)


def test_a_picture_that_has_gone_since_the_folder_was_listed(
    classifier: Classifier, folder: Path, tmp_path: Path
) -> None:
    class Late(PatchIndex):
        def _pictures(self) -> list[Path]:
            return [*super()._pictures(), folder / "gone.png"]

    index = Late(classifier, folder, store=tmp_path)
    assert index.build() == 3
    assert index.missing() == 0


def test_a_picture_written_while_it_is_read_is_looked_at_again(
    classifier: Classifier, folder: Path, tmp_path: Path
) -> None:
    class Busy(PatchIndex):
        def _read(self, path: Path) -> Any:
            with Image.open(path) as image:
                seen = image.convert("RGB")
            Image.new("RGB", (32, 32), (0, 255, 0)).save(path)
            os.utime(path, ns=(1, 1))
            return seen

    Busy(classifier, folder, store=tmp_path).build()
    assert PatchIndex(classifier, folder, store=tmp_path).missing() == 3


def test_names_that_are_not_utf8(classifier: Classifier, folder: Path, tmp_path: Path) -> None:
    names = [b"caf\xe9.png", b"t\xe9.jpg"]
    try:
        for name, content in zip(names, ((folder / "red40.png").read_bytes(), b"no picture"), strict=True):
            Path(os.fsdecode(bytes(folder) + b"/" + name)).write_bytes(content)
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    index = PatchIndex(classifier, folder, store=tmp_path)
    assert index.build() == 4
    assert index.missing() == 0
    assert os.fsencode(index.top("S1", 0, count=4)[-1].path.name) in (names[0], b"red40.png")
    assert {os.fsencode(patch.path.name) for patch in index.top("S1", 0, count=4)} >= {names[0]}
    assert [os.fsencode(path.name) for path in index.broken()] == [names[1]]
    assert all(reason.encode() for reason in index.broken().values())
    words = sight._patch(next(p for p in index.top("S1", 0, count=4) if p.path.name.startswith("caf")), index)["words"]
    assert words.encode().startswith(b"caf?.png, ")


def test_whatever_one_picture_does_the_others_are_looked_at(classifier: Classifier) -> None:
    class Broken(list[Any]):
        def __getitem__(self, i: Any) -> Any:
            if i == 1:
                raise RuntimeError("decoder failed")
            return super().__getitem__(i)

    class NoSound(Reds):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x / (x.max() > 0.5))

    plain = Image.new("RGB", (32, 32), (200, 0, 0))
    index = DatasetIndex(classifier, Broken([plain, plain, plain]))
    assert index.build() == 2
    assert {str(path): error for path, error in index.broken().items()} == {"0000001": "decoder failed"}
    dark = Image.new("RGB", (32, 32))
    index = DatasetIndex(wrap(NoSound(), unit, input_size=32), [plain, dark, plain])
    assert index.build() == 2
    assert "NaN or infinite" in index.broken()[Path("0000001")]


def test_running_out_of_memory_is_no_pictures_fault(classifier: Classifier) -> None:
    class Full(list[Any]):
        def __getitem__(self, i: Any) -> Any:
            raise MemoryError

    index = DatasetIndex(classifier, Full([1]))
    with pytest.raises(MemoryError):
        index.build()
    assert index.missing() == 1


def test_when_no_picture_can_be_looked_at_it_is_said_and_tried_again(folder: Path, tmp_path: Path) -> None:
    class Moody(Reds):
        out_of_order = False

        def forward(self, x: Tensor) -> Tensor:
            if self.out_of_order:
                raise RuntimeError("out of order")
            return super().forward(x)

    net = wrap(Moody(), unit, input_size=32)
    index = PatchIndex(net, folder, store=tmp_path)
    Moody.out_of_order = True
    with pytest.raises(ValueError, match=r"none of 3 pictures could be .* 'red\d+.png': out of order"):
        index.build()
    Moody.out_of_order = False
    assert (index.missing(), index.build()) == (3, 3)


@pytest.mark.parametrize("kept", [0, 4096])
def test_a_damaged_index_says_what_to_do(
    classifier: Classifier, folder: Path, tmp_path: Path, kept: int
) -> None:
    index = PatchIndex(classifier, folder, store=tmp_path)
    index.build()
    whole = index.file.read_bytes()
    index.file.write_bytes(whole[:kept] + b"no data base " * 1000)
    with pytest.raises(ValueError, match=r"patches-.*\.sqlite' is damaged .*; delete this file"):
        PatchIndex(classifier, folder, store=tmp_path).build()
    index.file.unlink()
    assert PatchIndex(classifier, folder, store=tmp_path).build() == 3
