"""Boxes and masks as the network sees them: compared with where a drawn rectangle is found in the input tensor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms
from torchvision.transforms import v2
from torchvision.transforms._presets import ImageClassification

import camwidgets
from camwidgets import Classifier
from camwidgets.classifiers.preprocessing import Preprocessing
from camwidgets.datasets import Item, open_dataset
from camwidgets.datasets.items import Box
from camwidgets.datasets.masks import MaskFile
from camwidgets.datasets.sources import PictureFile
from camwidgets.evaluation.view import Geometry, fitted, geometry, seen
from tests.nets import Small

OURS = Preprocessing((64, 64), 72, mean=(0, 0, 0), std=(1, 1, 1))
SIZES = [(64, 64), (227, 227), (480, 640), (333, 200), (31, 57), (500, 64)]  # (h, w)


def classifier(transform: Any, size: tuple[int, int] = (64, 64)) -> Classifier:
    return camwidgets.wrap(Small(4), transform, input_size=size)


def drawn(folder: Path, size: tuple[int, int], box: tuple[int, int, int, int]) -> Item:
    """A black picture with a white rectangle, with its box and its mask."""
    for name in ("picture.png", "mask.png"):
        image = Image.new("RGB" if name == "picture.png" else "L", size[::-1])
        image.paste("white", box)
        image.save(folder / name)
    boxes: tuple[Box, ...] = ((float(box[0]), float(box[1]), float(box[2]), float(box[3])),)
    return Item("picture.png", 1, boxes, size, PictureFile(folder / "picture.png"), MaskFile(folder / "mask.png"))


def rectangle(size: tuple[int, int]) -> tuple[int, int, int, int]:
    """A rectangle off the middle: no symmetry hides a wrong sign, an exchanged axis or a forgotten crop."""
    h, w = size
    return round(0.35 * w), round(0.42 * h), round(0.62 * w), round(0.75 * h)


def found(x: Tensor) -> np.ndarray:
    """Where the input is more white than black."""
    return np.asarray(x[0, 1] > 0.5)


def bounds(mask: np.ndarray) -> tuple[float, ...]:
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(xs[0]), float(ys[0]), float(xs[-1] + 1), float(ys[-1] + 1)


def assert_agrees(view: Any) -> None:
    """Box and mask lie where the rectangle is found, to one pixel of the input."""
    white = found(view.x)
    assert white.any()
    assert np.abs(np.subtract(view.boxes[0], bounds(white))).max() <= 1.0
    assert view.mask.shape == view.size == white.shape
    assert np.abs(np.subtract(bounds(view.mask), bounds(white))).max() <= 1.0
    assert (view.mask & white).sum() / (view.mask | white).sum() > 0.85


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fit", ["squash", "crop", None])
def test_our_preprocessing(size: tuple[int, int], fit: str | None, tmp_path: Path) -> None:
    item = drawn(tmp_path, size, rectangle(size))
    assert_agrees(seen(classifier(OURS), item, fit))


@pytest.mark.parametrize("size", SIZES)
def test_an_input_that_is_not_square_and_a_crop_with_borders(size: tuple[int, int], tmp_path: Path) -> None:
    item = drawn(tmp_path, size, rectangle(size))
    wide = replace(OURS, size=(48, 90), resize=64)  # the crop is wider than most resized pictures: borders are added
    for fit in ("squash", "crop"):
        assert_agrees(seen(classifier(wide, (48, 90)), item, fit))


def ties(cut: float, scale: float, side: int) -> np.ndarray:
    """Which of the 64 input pixels have their centre exactly between two pixels of the original."""
    resized = round(scale * side)
    return np.array([(2 * i + 1 + 2 * int(cut)) * side % (2 * resized) == 0 for i in range(64)])


@pytest.mark.parametrize("size", [(64, 64), (227, 227), (479, 643), (333, 200), (31, 57), (500, 64)])
@pytest.mark.parametrize("fit", ["squash", "crop"])
def test_the_mask_is_the_nearest_pixel(size: tuple[int, int], fit: str, tmp_path: Path) -> None:
    """Pillow's own nearest neighbour says the same of every pixel, those on a tie left out."""
    nearest = replace(OURS, interpolation="nearest")
    random = np.random.default_rng(3)
    blocks = np.kron(random.random((40, 40)) < 0.5, np.ones((13, 17), bool))[: size[0], : size[1]]
    Image.fromarray(np.dstack([blocks * np.uint8(255)] * 3)).save(tmp_path / "picture.png")
    Image.fromarray(blocks).save(tmp_path / "mask.png")
    item = Item("p", 1, (), None, PictureFile(tmp_path / "picture.png"), MaskFile(tmp_path / "mask.png"))
    view = seen(classifier(nearest), item, fit)
    assert view.mask is not None
    assert 0.3 < view.mask.mean() < 0.7
    clear = ~np.logical_or.outer(
        ties(view.geometry.top, view.geometry.sy, size[0]), ties(view.geometry.left, view.geometry.sx, size[1])
    )
    assert clear.mean() > 0.4
    assert (view.mask == found(view.x))[clear].all()


PRESET = ImageClassification(crop_size=64, resize_size=72, mean=(0, 0, 0), std=(1, 1, 1))
COMPOSE = transforms.Compose(
    [transforms.Resize(72), transforms.CenterCrop(64), transforms.ToTensor(), transforms.Normalize((0,) * 3, (1,) * 3)]
)
SQUASH = transforms.Compose([transforms.Resize((64, 64)), transforms.ToTensor()])
BORDER = transforms.Compose([transforms.Resize(51), transforms.CenterCrop((64, 65)), transforms.ToTensor()])
TWICE = transforms.Compose([transforms.CenterCrop(200), SQUASH])
SECOND = v2.Compose(
    [v2.Resize([72]), v2.CenterCrop(64), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]
)  # fmt: skip


@pytest.mark.parametrize("size", [*SIZES[:4], (73, 99)])
@pytest.mark.parametrize("transform", [PRESET, COMPOSE, SQUASH, BORDER, TWICE, SECOND])
def test_torchvisions_transforms(transform: Any, size: tuple[int, int], tmp_path: Path) -> None:
    item = drawn(tmp_path, size, rectangle(size))
    width = 65 if transform is BORDER else 64
    assert_agrees(seen(classifier(transform, (64, width)), item, None))


def test_a_preset_is_shown_whole_when_asked(tmp_path: Path) -> None:
    item = drawn(tmp_path, (100, 300), (0, 0, 60, 100))
    model = classifier(PRESET)
    view = seen(model, item, "squash")
    assert_agrees(view)
    assert list(view.boxes) == [(0, 0, 64 * 60 / 300, 64)]
    assert seen(model, item, None).boxes == ()
    # a transform that cannot be changed stays, and its geometry with it
    assert seen(classifier(COMPOSE), item, "squash").boxes == ()
    assert fitted(COMPOSE, "squash") is COMPOSE


def test_golden_values() -> None:
    # 480×640 → 256×341 → crop 224: left (341 − 224)/2 = 58.5 → 58 (to even), top 16
    assert geometry(Preprocessing(), (480, 640), (224, 224)) == Geometry(341 / 640, 256 / 480, 58, 16, (224, 224))
    squash = geometry(replace(OURS, fit="squash"), (128, 32), (64, 64))
    assert squash == Geometry(2.0, 0.5, 0, 0, (64, 64))
    assert squash.box((4, 8, 20, 40)) == (8, 4, 40, 20)
    mask = np.zeros((4, 2), bool)
    mask[1, 1] = True
    wide = Geometry(2.0, 1.0, -1, 0, (4, 6))  # twice as wide, a border of one pixel left and right
    assert np.argwhere(wide.mask(mask)).tolist() == [[1, 3], [1, 4]]


def test_boxes_mostly_cut_away_are_left_out_and_said(tmp_path: Path) -> None:
    # 64×128 → 72×144 → crop 64: columns 40 … 104 of 144, which are 35.6 … 92.4 of 128
    inside, half, sliver = (40.0, 10.0, 80.0, 50.0), (30.0, 10.0, 40.0, 50.0), (0.0, 10.0, 40.0, 50.0)
    item = replace(drawn(tmp_path, (64, 128), (40, 10, 80, 50)), boxes=(inside, half, sliver))
    view = seen(classifier(OURS), item, "crop")
    assert view.geometry.share(inside) == 1.0
    assert view.geometry.share(half) == pytest.approx((40 - 40 / 1.125) / 10)
    assert view.geometry.share(sliver) == pytest.approx((40 - 40 / 1.125) / 40)
    assert len(view.boxes) == 2
    assert view.boxes[1][0] == 0.0
    assert view.note == "1 of 3 boxes of picture.png left out: the crop shows less than a quarter"
    whole = seen(classifier(OURS), item, "squash")
    assert len(whole.boxes) == 3
    assert whole.note == ""
    assert whole.boxes[2] == (0.0, 10.0, 20.0, 50.0)


def test_what_was_drawn_beyond_the_edge_does_not_count(tmp_path: Path) -> None:
    item = replace(drawn(tmp_path, (64, 64), (0, 0, 9, 9)), boxes=((-2.0, -1.0, 1.0, 64.4),))
    view = seen(classifier(OURS), item)
    assert list(view.boxes) == [(0, 0, 1, 64)]
    assert view.geometry.share((0, 0, 1, 64)) == 1.0


class Unknown:
    """A transform of somebody's own."""

    def __call__(self, image: Image.Image) -> Tensor:
        return torch.from_numpy(np.array(image.resize((64, 64)))).permute(2, 0, 1) / 255


def test_a_transform_of_ones_own_is_refused_in_words(tmp_path: Path) -> None:
    item = drawn(tmp_path, (100, 90), (10, 10, 30, 40))
    tensor = transforms.ToTensor()
    flip = transforms.Compose([transforms.Resize((64, 64)), transforms.RandomHorizontalFlip(1.0), tensor])
    longest = transforms.Compose([transforms.Resize(60, max_size=64), transforms.CenterCrop(64), tensor])
    for transform in (Unknown(), flip, longest, transforms.Compose([Unknown()])):
        view = seen(classifier(transform), item)
        assert view.x.shape == (1, 3, 64, 64)  # the picture can be seen; only what is true of it cannot be carried
        for truth in ("boxes", "mask", "note"):
            with pytest.raises(ValueError, match="cannot be carried through a transform of your own: give"):
                getattr(view, truth)


def test_a_picture_of_the_input_size_needs_no_geometry(tmp_path: Path) -> None:
    item = drawn(tmp_path, (64, 64), (10, 12, 30, 44))
    view = seen(classifier(Unknown()), item)
    assert_agrees(view)
    assert view.boxes == item.boxes
    mask = item.mask()
    assert mask is not None
    assert view.mask is not None
    assert (view.mask == mask).all()


def test_bad_items_and_names_are_told(tmp_path: Path) -> None:
    item = drawn(tmp_path, (64, 64), (10, 12, 30, 44))
    with pytest.raises(ValueError, match="unknown fit 'stretch'"):
        seen(classifier(OURS), item, "stretch")
    with pytest.raises(ValueError, match="line 3: no box"):
        seen(classifier(OURS), replace(item, problem="line 3: no box"))
    Image.new("L", (10, 10)).save(tmp_path / "mask.png")
    with pytest.raises(ValueError, match=r"the mask of picture.png has 10×10 pixels, the picture 64×64"):
        _ = seen(classifier(OURS), item).mask
    (tmp_path / "picture.png").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"'picture.png' is not a picture"):
        seen(classifier(OURS), item)


def test_no_truth_is_no_error(tmp_path: Path) -> None:
    item = replace(drawn(tmp_path, (64, 90), (10, 12, 30, 44)), boxes=(), drawn=None)
    view = seen(classifier(OURS), item)
    assert view.boxes == ()
    assert view.mask is None
    assert view.note == ""


def test_the_benchmark_sees_the_same_boxes(photographs: Path) -> None:
    """The localisation benchmark scales shares of width and height; the view must say the same."""
    from benchmarks.pictures import read_pictures

    model = classifier(replace(OURS, size=(224, 224)), (224, 224))
    pictures = read_pictures(photographs / "ilsvrc_dev")
    for item, one in zip(open_dataset(photographs / "ilsvrc_dev")[:20], pictures[:20], strict=True):
        assert item.label == one.target
        np.testing.assert_allclose(seen(model, item).boxes, one.boxes_at((224, 224)), rtol=1e-9)
