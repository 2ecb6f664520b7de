"""Data sets for training: the same truth whatever they are made from."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from camwidgets.datasets import Item, Items, open_dataset
from camwidgets.datasets.items import Size
from camwidgets.datasets.sources import MaskSource, PictureFile
from camwidgets.datasets.textures import TextureWorld
from camwidgets.datasets.toyworld import CLASSES, ToyWorld
from camwidgets.learning.classification import ClassifierObjective
from camwidgets.learning.gain import GainObjective
from camwidgets.learning.labelled import open_labelled

WORLD = ToyWorld(seed=3, n=6, objects=(2, 3))


def test_toy_world_says_what_is_seen_and_where() -> None:
    data = open_labelled(WORLD)
    assert data.multi_label
    assert data.has_masks
    for example, scene in zip(data, WORLD, strict=True):
        assert example.id == str(scene.index)
        assert example.present.tolist() == (scene.labels > 0).tolist()
        assert example.mask is not None
        for c, name in enumerate(CLASSES):
            np.testing.assert_array_equal((example.mask == c + 1).numpy(), scene.mask(name))
        np.testing.assert_array_equal(example.picture.permute(1, 2, 0).numpy(), scene.image)


def test_ids_of_a_part_are_those_of_the_whole_and_keys_tell_sets_apart() -> None:
    whole = open_labelled(WORLD)
    part = open_labelled(WORLD[2:5])
    assert part.ids == ["2", "3", "4"] == whole.take([2, 3, 4]).ids
    assert part.key == whole.take([2, 3, 4]).key == whole[2:5].key
    keys = [
        data.key
        for data in (
            whole,
            part,
            open_labelled(WORLD.replace(clutter=0.0)),
            open_labelled(WORLD.replace(seed=4)),
            open_labelled(WORLD, size=48),
            open_labelled(WORLD, classes=["dog", "cat"]),
            whole.take([1, 0]),
        )
    ]
    assert len(set(keys)) == len(keys)


def test_painted_is_the_same_in_memory_and_refuses_what_does_not_fit() -> None:
    data = open_labelled(WORLD)
    seen: list[tuple[int, int]] = []
    painted = data.painted(progress=lambda done, all_: seen.append((done, all_)))
    assert seen[-1] == (6, 6)
    assert (painted.key, painted.ids, painted.classes, repr(painted)) == (data.key, data.ids, data.classes, repr(data))
    for one, other in zip(painted, data, strict=True):
        assert torch.equal(one.picture, other.picture)
        assert torch.equal(one.present, other.present)
        assert one.mask is not None
        assert other.mask is not None
        assert torch.equal(one.mask, other.mask)
    with pytest.raises(ValueError, match=r"6 pictures of 96×96 take 0 MiB, more than the budget of 0 MiB"):
        data.painted(budget_bytes=1000)


def test_textures_have_one_class_and_negatives() -> None:
    data = open_labelled(TextureWorld(seed=0, n=20, defect_share=0.5), size=(64, 64))
    assert data.classes == ("defect",)
    assert data.multi_label
    assert sum(bool(example.present[0]) for example in data) == 10
    for example in data:
        assert example.mask is not None
        assert example.mask.shape == (64, 64)
    with pytest.raises(ValueError, match=r"picture '\d+' of textures seed 0 holds none of the classes \(defect\)"):
        data.need_positives()
    open_labelled(WORLD).need_positives()


def test_limit_is_seeded_and_keeps_the_order() -> None:
    data = open_labelled(ToyWorld(n=40))
    some = data.limit(10, seed=1).ids
    assert len(set(some)) == 10
    assert some == sorted(some, key=int) == data.limit(10, seed=1).ids
    assert some != data.limit(10, seed=2).ids
    assert data.limit(99) is data
    with pytest.raises(TypeError, match="n must be an integer"):
        data.limit(2.5)  # type: ignore[arg-type]
    with pytest.raises(IndexError, match="picture 40 is outside toyworld seed 0, which has 40"):
        data.take([0, 40])
    with pytest.raises(ValueError, match="has no pictures"):
        data[5:5]


def test_single_and_multi_label_are_told_apart() -> None:
    single, several = open_labelled(ToyWorld(n=5)), open_labelled(WORLD)
    single.need_single_label()
    several.need_multi_label()
    with pytest.raises(ValueError, match="exactly one class in each picture, but several labels a picture are needed"):
        single.need_multi_label()
    with pytest.raises(ValueError, match="may hold none or several classes in one picture, but exactly one is needed"):
        several.need_single_label()
    alone = open_labelled(ToyWorld(n=5, classes=("duck",)))
    for check in (ClassifierObjective().check, GainObjective("relu").check):  # its loss would be 0 from the start
        with pytest.raises(ValueError, match="holds its one class, duck: there is nothing to be told apart"):
            check(alone)


class Drawn(MaskSource):
    def __init__(self, mask: np.ndarray) -> None:
        self.mask = mask

    def read(self) -> np.ndarray:
        return self.mask


def _mask(rows: slice, size: Size = (16, 16)) -> Drawn:
    mask = np.zeros(size, bool)
    mask[rows] = True
    return Drawn(mask)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{name}.png" for name in ("a", "b", "c")]
    for k, path in enumerate(paths):
        Image.new("RGB", (16, 16), (60 * k, 0, 0)).save(path)
    return paths


def test_other_labels_of_the_same_pictures_have_another_key(pictures: list[Path]) -> None:
    def labelled(*labels: str) -> Items:
        both = zip(pictures, labels, strict=True)
        return Items("mine", [Item(path.name, label, (), None, PictureFile(path)) for path, label in both])

    one, other, again = (
        open_labelled(labelled(*some, "dog"), classes=["cat", "dog"])
        for some in (("cat", "dog"), ("dog", "cat"), ("cat", "dog"))
    )
    assert one.ids == other.ids
    assert one.key == again.key != other.key


def test_items_that_share_a_picture_are_one_example(pictures: list[Path]) -> None:
    a, b, c = (PictureFile(path) for path in pictures)
    items = Items(
        "mine",
        [
            Item("a#cat", "cat", (), None, a, _mask(slice(0, 8))),
            Item("b#dog", "dog", (), None, b, _mask(slice(0, 4))),
            Item("a#dog", "dog", (), None, a, _mask(slice(6, 12))),
            Item("c#cat", "cat", (), None, c, _mask(slice(0, 4))),
            Item("c#dog", "dog", (), None, c),
        ],
    )
    data = open_labelled(items)
    assert (data.ids, data.classes, data.size) == (["a", "b", "c"], ("cat", "dog"), (16, 16))
    assert [example.present.tolist() for example in data] == [[True, True], [False, True], [True, True]]
    columns = [example.mask[:, 0].tolist() for example in data if example.mask is not None]
    assert columns[0] == [1] * 6 + [255] * 2 + [2] * 4 + [0] * 4  # two claim rows 6 and 7
    assert columns[1] == [2] * 4 + [0] * 12
    assert columns[2] == [1] * 4 + [255] * 12  # where the dog is, nobody says
    assert open_labelled(items, classes=["dog"])[0].present.tolist() == [True]
    with pytest.raises(ValueError, match=r"unknown class 'dgo'; valid: cat, dog \(did you mean 'dog'\?\)"):
        open_labelled(items, classes=["dgo"])


def test_pictures_of_several_sizes_need_one_to_be_said(pictures: list[Path]) -> None:
    Image.new("RGB", (20, 16)).save(pictures[1])
    items = Items("mine", [Item(p.name, "x", (), None, PictureFile(p)) for p in pictures])
    data = open_labelled(items)
    with pytest.raises(ValueError, match=r"b\.png has 20×16 pixels and others 16×16: .* size=\(H, W\)"):
        list(data)
    assert open_labelled(items, size=(12, 24))[1].picture.shape == (3, 12, 24)
    known = [Item(str(i), "x", (), (16, 16 + i), PictureFile(p)) for i, p in enumerate(pictures)]
    with pytest.raises(ValueError, match=r"of 3 sizes \(16×16, 17×16, 18×16 …\)"):
        open_labelled(Items("mine", known))


def test_a_damaged_picture_is_named(pictures: list[Path]) -> None:
    pictures[2].write_bytes(b"no picture")
    items = Items("mine", [Item(p.name, "x", (), (16, 16), PictureFile(p)) for p in pictures])
    with pytest.raises(ValueError, match=r"'c\.png' is not a picture"):
        open_labelled(items).painted()


def test_torch_data_sets_of_vectors_and_of_indices() -> None:
    picture = torch.zeros(3, 12, 12)
    vectors = [(picture, torch.tensor([1.0, 0, 1])), (picture + 1, torch.tensor([0.0, 0, 0]))]
    data = open_labelled(vectors)
    assert data.multi_label
    assert [e.present.tolist() for e in data] == [[True, False, True], [False] * 3]
    assert int(data[1].picture.min()) == 255
    assert data[0].mask is None
    with pytest.raises(ValueError, match="picture '1' of list holds none"):
        data.need_positives()
    single = open_labelled([(picture, 2), (picture, 0)])
    assert (single.multi_label, single.classes) == (False, ("class 0", "class 1", "class 2"))
    with pytest.raises(ValueError, match="picture 1 of list must be a vector of 0 and 1"):
        open_labelled([vectors[0], (picture, torch.tensor([0.5, 0, 1]))])


def test_voc_void_is_unknown(tmp_path: Path) -> None:
    for name in ("JPEGImages", "Annotations", "SegmentationClass"):
        (tmp_path / name).mkdir()
    Image.new("RGB", (16, 12)).save(tmp_path / "JPEGImages" / "1.jpg")
    indices = np.zeros((12, 16), np.uint8)
    indices[:4], indices[4], indices[6:8] = 8, 255, 12  # cat, void, dog
    Image.fromarray(indices).save(tmp_path / "SegmentationClass" / "1.png")
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    objects = "".join(f"<object><name>{name}</name>{box}</object>" for name in ("cat", "dog"))
    size = "<size><width>16</width><height>12</height></size>"
    text = f"<annotation><filename>1.jpg</filename>{size}{objects}</annotation>"
    (tmp_path / "Annotations" / "1.xml").write_text(text)
    data = open_labelled(str(tmp_path))
    assert data.ids == ["1"]
    mask = data[0].mask
    assert mask is not None
    assert mask[:, 0].tolist() == [1] * 4 + [255] + [0] + [2] * 2 + [0] * 4


@pytest.mark.parametrize("bad", [0, 7, (96,), 5000, (96, -1)])
def test_sizes_out_of_range(bad: Any) -> None:
    with pytest.raises(ValueError, match="size"):
        open_labelled(WORLD, size=bad)


def test_what_is_no_data_set() -> None:
    with pytest.raises(FileNotFoundError, match="no data set at"):
        open_labelled("nowhere")
    with pytest.raises(TypeError, match="map-style"):
        open_labelled(7)
    with pytest.raises(TypeError, match="a world has its own already"):
        open_labelled(WORLD, n=5)
    with pytest.raises(ValueError, match="name the main object alone"):
        open_labelled(open_dataset(WORLD))


def test_can_be_sent_to_a_worker() -> None:
    data = open_labelled(WORLD)
    again = pickle.loads(pickle.dumps(data))
    assert again.key == data.key
    assert torch.equal(again[1].picture, data[1].picture)
