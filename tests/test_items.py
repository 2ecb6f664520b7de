"""Data sets as items: listing opens nothing, what is bad is told at opening, and everything travels by pickle."""

from __future__ import annotations

import csv
import hashlib
import pickle
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import camwidgets
from camwidgets.datasets import Item, Items, match_labels, open_dataset
from camwidgets.datasets.adapters import from_torchvision, from_world
from camwidgets.datasets.folders import read_folders, read_imagenet
from camwidgets.datasets.items import box_problem
from camwidgets.datasets.masks import MaskFile, open_mask
from camwidgets.datasets.paths import inside
from camwidgets.datasets.sources import PictureFile
from camwidgets.datasets.tables import read_table
from camwidgets.datasets.textures import TextureWorld
from camwidgets.datasets.toyworld import ToyWorld
from tests.nets import Small


def paint(path: Path, size: tuple[int, int] = (40, 30), colour: Any = (200, 10, 20)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def paint_mask(path: Path, size: tuple[int, int] = (40, 30), box: tuple[int, int, int, int] = (5, 6, 20, 15)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = Image.new("L", size)
    mask.paste(255, box)
    mask.save(path)
    return path


def table(folder: Path, text: str, name: str = "index.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def plain(count: int, labels: str = "ab") -> Items:
    files = [PictureFile(Path(f"{i}.png")) for i in range(count)]
    return Items("plain", [Item(str(i), labels[i % len(labels)], (), None, one) for i, one in enumerate(files)])


# ------------------------------------------------------------------------------------------------------- the items


def test_an_item_travels_and_hashes_the_files_bytes(tmp_path: Path) -> None:
    file = paint(tmp_path / "a.png")
    mask = MaskFile(paint_mask(tmp_path / "m.png"))
    item = Item("a.png", "cat", ((5, 6, 20, 15),), (30, 40), PictureFile(file), mask, extra={"exp": "1"})
    again = pickle.loads(pickle.dumps(item))
    assert again == item
    assert again.extra == {"exp": "1"}
    assert again.open().size == (40, 30)
    assert again.hash() == hashlib.sha256(file.read_bytes()).hexdigest()
    found = again.mask()
    assert found is not None
    assert found.shape == (30, 40)
    assert found[6:15, 5:20].all()
    assert found.sum() == 9 * 15


def test_a_problem_is_raised_at_open_and_not_before(tmp_path: Path) -> None:
    item = Item("a", "cat", (), None, PictureFile(tmp_path / "none.png"), problem="index.csv line 7: no box")
    assert len(Items("one", [item])) == 1
    for act in (item.open, item.mask):
        with pytest.raises(ValueError, match=r"index.csv line 7: no box"):
            act()


def test_what_does_not_fit_the_picture_is_told(tmp_path: Path) -> None:
    file = PictureFile(paint(tmp_path / "a.png"))
    with pytest.raises(ValueError, match=r"a.png has 40×30 pixels, but its data set says 50×30"):
        Item("a.png", 0, (), (30, 50), file).open()
    with pytest.raises(ValueError, match=r"box 5 5 60 20 reaches out of the picture of 40×30"):
        Item("a.png", 0, ((5, 5, 60, 20),), None, file).open()
    small = MaskFile(paint_mask(tmp_path / "m.png", (10, 8)))
    for size in ((30, 40), None):
        with pytest.raises(ValueError, match=r"the mask of a.png has 10×8 pixels, the picture 40×30"):
            Item("a.png", 0, (), size, file, small).mask()


@pytest.mark.parametrize(
    ("box", "told"),
    [((4, 0, 4, 8), "empty"), ((4, 9, 5, 8), "empty"), ((0, 0, float("nan"), 1), "four numbers"),
     ((0, 0, 1), "four numbers"), ((-9, 0, 5, 5), "reaches out"), ((0, 0, 20, 13), "reaches out"),
     ((20, 1, 21, 2), "reaches out"), ((-2, -1, 21, 11), "")],
)  # fmt: skip
def test_boxes_are_checked(box: tuple[float, ...], told: str) -> None:
    assert told in box_problem(box, (10, 20))
    assert bool(box_problem(box, (10, 20))) == bool(told)


def test_two_pictures_may_not_have_one_id() -> None:
    one = Item("a", 0, (), None, PictureFile(Path("a")))
    with pytest.raises(ValueError, match="two pictures with the id 'a'"):
        Items("twice", [one, one])
    with pytest.raises(ValueError, match="none has no pictures"):
        Items("none", [])


def test_slices_places_and_conditions() -> None:
    items = plain(10)
    assert [one.id for one in items[2:8:3]] == ["2", "5"]
    assert [one.id for one in items[::-1][:2]] == ["9", "8"]
    assert items[-1].id == "9"
    assert [one.id for one in items.where(lambda one: one.label == "b")[1:3]] == ["3", "5"]
    assert [one.id for one in items[5:].at([1, 0])] == ["6", "5"]
    assert items.labels == ["a", "b"]
    with pytest.raises(IndexError, match="picture 10 is outside plain, which has 10"):
        items[10]


def test_labels_can_be_exchanged() -> None:
    items = plain(6).relabelled({"a": 7})
    assert [one.label for one in items] == [7, "b"] * 3
    assert [items.label_of(i) for i in range(2)] == [7, "b"]
    assert items.labels == ["b"]
    again = items.relabelled({7: "c", "b": 8})[:4]
    assert [one.label for one in again] == ["c", 8, "c", 8]
    assert len(again.where(lambda one: one.label == 8)) == 2
    assert items.relabelled({"b": 8}).labels is None
    world = from_world(ToyWorld(seed=0, n=3, classes=["cat"])).relabelled({"cat": 281})
    assert (world[0].label, world.label_of(1), world.labels) == (281, 281, None)


def test_limit_is_balanced_drawn_by_the_seed_and_in_order() -> None:
    items = plain(90, "aaaaaaabbc")  # 63 a, 18 b, 9 c
    drawn = items.limit(30, seed=1)
    assert Counter(one.label for one in drawn) == {"a": 11, "b": 10, "c": 9} or Counter(
        one.label for one in drawn
    ) == {"a": 10, "b": 11, "c": 9}
    places = [int(one.id) for one in drawn]
    assert places == sorted(places)
    assert [one.id for one in items.limit(30, seed=1)] == [one.id for one in drawn]
    assert [one.id for one in items.limit(30, seed=2)] != [one.id for one in drawn]
    assert len(items.limit(1000)) == 90
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="n must be ≥ 1"):
            items.limit(wrong)
    with pytest.raises(TypeError, match="n must be an integer"):
        items.limit(2.5)  # type: ignore[arg-type]


def test_a_limit_below_the_number_of_classes_prefers_none() -> None:
    items = plain(100, "abcdefghij")
    drawn = Counter(items.limit(2, seed=seed)[0].label for seed in range(60))
    assert len(drawn) > 4
    rare = plain(100, "a" * 19 + "b")
    drawn = Counter(rare.limit(1, seed=seed)[0].label for seed in range(60))
    assert drawn["b"] > 15  # a half, not a twentieth


# ------------------------------------------------------------------------------------------------- folders of classes


def test_class_folders(tmp_path: Path) -> None:
    paint(tmp_path / "cat" / "2.png")
    paint(tmp_path / "cat" / "old" / "1.JPEG")
    paint(tmp_path / "dog" / "1.png")
    paint(tmp_path / "loose.png")
    (tmp_path / "dog" / "notes.txt").write_text("no picture")
    (tmp_path / "dog" / "._1.png").write_bytes(b"left by a file system")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "dog" / "broken.png").write_bytes(b"\x89PNG\r\n")
    items = open_dataset(tmp_path)
    ids = ["cat/2.png", "cat/old/1.JPEG", "dog/1.png", "dog/broken.png", "loose.png"]
    assert [one.id for one in items] == ids
    assert [one.label for one in items] == ["cat", "cat", "dog", "dog", None]
    assert items.labels == ["cat", "dog"]
    assert "5 pictures, 2 classes" in repr(items)
    assert "1 pictures lie in none" in repr(items)
    assert items[0].open().size == (40, 30)
    with pytest.raises(ValueError, match=r"'broken.png' is (not a picture|truncated)"):
        items[3].open()
    (tmp_path / "dog" / "1.png").unlink()
    with pytest.raises(FileNotFoundError):
        items[2].open()
    with pytest.raises(FileNotFoundError):
        items[2].hash()


def test_a_circle_of_links_ends(tmp_path: Path) -> None:
    paint(tmp_path / "cat" / "1.png")
    (tmp_path / "cat" / "again").symlink_to(tmp_path / "cat", target_is_directory=True)
    assert [one.id for one in read_folders(tmp_path)] == ["cat/1.png"]


def test_folders_that_are_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no pictures"):
        open_dataset(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"there is no data set at .*a folder of class folders, a CSV"):
        open_dataset(tmp_path / "none")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ValueError, match=r"'a.txt' is no data set; one is a folder of class folders"):
        open_dataset(tmp_path / "a.txt")
    with pytest.raises(ValueError, match=r"unknown kind of data set 'cocos'.*did you mean 'coco'"):
        open_dataset(tmp_path, kind="cocos")
    with pytest.raises(NotADirectoryError):
        open_dataset(tmp_path / "a.txt", kind="folders")


def test_parts_must_be_named(tmp_path: Path) -> None:
    paint(tmp_path / "train" / "cat" / "1.png")
    paint(tmp_path / "val" / "cat" / "1.png")
    with pytest.raises(ValueError, match=r"has the parts train, val: name one of them"):
        open_dataset(tmp_path)
    assert open_dataset(tmp_path / "val")[0].label == "cat"


# --------------------------------------------------------------------------------------------------------- ImageNet


def test_imagenet_with_a_mapping(tmp_path: Path) -> None:
    for wnid in ("n01440764", "n01443537"):
        paint(tmp_path / "val" / wnid / f"{wnid}_1.JPEG")
        paint(tmp_path / "train" / wnid / f"{wnid}_2.JPEG")
    assert [one.label for one in open_dataset(tmp_path)] == ["n01440764", "n01443537"]
    text = "n01443537 goldfish\nn09999999 other\nn01440764 tench, Tinca tinca\n"
    (tmp_path / "LOC_synset_mapping.txt").write_text(text)
    items = open_dataset(tmp_path)
    assert [(one.id, one.label) for one in items] == [
        ("n01440764/n01440764_1.JPEG", 2), ("n01443537/n01443537_1.JPEG", 0)
    ]  # fmt: skip
    assert [one.label for one in open_dataset(tmp_path / "train")] == [2, 0]
    assert open_dataset(tmp_path, split="train")[0].id.endswith("_2.JPEG")
    (tmp_path / "index.json").write_text('{"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]}')
    assert [one.label for one in open_dataset(tmp_path, mapping=tmp_path / "index.json")] == [0, 1]
    for wrong in ("{", '{"0": 1}', '{"a": ["n01440764"]}', "[]", "hello world"):
        (tmp_path / "index.json").write_text(wrong)
        with pytest.raises(ValueError, match=r"'index.json' is no table of ImageNet's classes"):
            read_imagenet(tmp_path, mapping=tmp_path / "index.json")


def test_all_thousand_class_folders_number_themselves(tmp_path: Path) -> None:
    for i in range(1000):
        (tmp_path / f"n{10000000 + 3 * i}").mkdir()
    paint(tmp_path / "n10000030" / "a.png")
    assert open_dataset(tmp_path)[0].label == 10


def test_imagenets_annotations(tmp_path: Path) -> None:
    data, notes = tmp_path / "Data" / "CLS-LOC" / "val", tmp_path / "Annotations" / "CLS-LOC" / "val"
    paint(data / "v_1.JPEG")
    paint(data / "v_2.JPEG")
    notes.mkdir(parents=True)
    box = "<bndbox><xmin>{}</xmin><ymin>3</ymin><xmax>30</xmax><ymax>20</ymax></bndbox>"
    text = (
        "<annotation><filename>v_1</filename><size><width>40</width><height>30</height></size>"
        f"<object><name>n01440764</name>{box}</object></annotation>"
    )
    (notes / "v_1.xml").write_text(text.format(0))
    (notes / "v_2.xml").write_text(text.format(35))
    (tmp_path / "LOC_synset_mapping.txt").write_text("n01440764 tench\n")
    items = open_dataset(tmp_path)
    assert (items[0].label, items[0].boxes, items[0].size) == (0, ((0, 3, 30, 20),), (30, 40))
    assert items[0].open().size == (40, 30)
    with pytest.raises(ValueError, match=r"v_2.xml, object 1: box 35 3 30 20 is empty"):
        items[1].open()


# -------------------------------------------------------------------------------------------------------------- CSV


def test_rows_of_one_picture_and_class_are_one_item(tmp_path: Path) -> None:
    paint(tmp_path / "images" / "a.png")
    table(
        tmp_path,
        "Image-Path;Class Name;xmin;ymin;xmax;ymax;split\n"
        "images/a.png;cat;1;2;10;12;val\nimages/a.png;cat;20;2;30;12;val\nimages/a.png;dog;5;5;9;9;val\n"
        "images\\b.png;dog;;;;;train\n",
    )
    items = open_dataset(tmp_path)
    assert [one.id for one in items] == ["images/a.png#cat", "images/a.png#dog", "images/b.png"]
    assert list(items[0].boxes) == [(1, 2, 10, 12), (20, 2, 30, 12)]
    assert items[2].boxes == ()
    assert items[2].extra == {"split": "train"}
    assert items[0].open().size == (40, 30)
    assert "picture from 'Image-Path', class from 'Class Name', boxes from 'xmin ymin xmax ymax'" in repr(items)


def test_columns_of_any_name_lists_of_boxes_and_masks(tmp_path: Path) -> None:
    paint(tmp_path / "p" / "a.png")
    paint_mask(tmp_path / "truth" / "a.png")
    paint_mask(tmp_path / "other.png", box=(0, 0, 4, 4))
    file = table(tmp_path, "n\twhat\twhere\tm\na.png\t3\t1 2 10 12;[20, 2, 30, 12]\tother.png\n", "t.tsv")
    options: dict[str, Any] = {"file": "n", "label": "what", "boxes": "where", "images": tmp_path / "p"}
    item = read_table(file, masks="m", **options)[0]
    assert item.label == 3
    assert list(item.boxes) == [(1, 2, 10, 12), (20, 2, 30, 12)]
    mask = item.mask()
    assert mask is not None
    assert mask.sum() == 16
    mask = read_table(file, masks=tmp_path / "truth", **options)[0].mask()
    assert mask is not None
    assert mask.sum() == 15 * 9
    with pytest.raises(ValueError, match=r"unknown column of t.tsv 'wher'.*did you mean 'where'"):
        read_table(file, **{**options, "boxes": "wher"})
    with pytest.raises(ValueError, match="boxes are in one column or in four"):
        read_table(file, **{**options, "boxes": ("n", "m")})


def test_masks_of_several_rows_are_one(tmp_path: Path) -> None:
    paint(tmp_path / "a.png")
    paint_mask(tmp_path / "m1.png", box=(0, 0, 4, 4))
    paint_mask(tmp_path / "m2.png", box=(10, 10, 12, 12))
    table(tmp_path, "file,label,mask\na.png,1,m1.png\na.png,1,m2.png\n")
    mask = open_dataset(tmp_path)[0].mask()
    assert mask is not None
    assert mask.sum() == 16 + 4


def test_bad_rows_are_told_with_file_and_line(tmp_path: Path) -> None:
    paint(tmp_path / "a.png")
    rows = [
        "a.png,cat,1,2,10,12,40,30",
        "b.png,cat,10,2,10,12,40,30",
        "c.png,cat,1,2,50,12,40,30",
        "d.png,cat,1,2,ten,12,40,30",
        "e.png,cat,1,2,nan,12,40,30",
        "f.png,cat,.1,.2,.5,.6,40,30",
        "../../etc/passwd,cat,1,2,10,12,40,30",
        "/etc/passwd,cat,1,2,10,12,40,30",
        "..\\..\\etc\\passwd,cat,1,2,10,12,40,30",
        ",cat,1,2,10,12,40,30",
        "g.png,cat,1,2,10,12,40,-3",
        "h.png,cat,1,2,10",
        "C:\\h.png,cat,1,2,10,12,40,30",
    ]
    table(tmp_path, "file,label,x0,y0,x1,y1,width,height\n" + "\n".join(rows) + "\n")
    items = open_dataset(tmp_path)
    assert len(items) == len(rows)
    assert items[0].open().size == (40, 30)
    told = []
    for i in range(1, len(rows)):
        with pytest.raises(ValueError, match=rf"^index\.csv line {i + 2}: ") as caught:
            items[i].open()
        told.append(str(caught.value))
    expected = ["empty", "reaches out", "four numbers", "four numbers", "not in shares", "leads out", "leads out",
                "leads out", "names no file", "size", "a box is four numbers", "leads out"]  # fmt: skip
    for sentence, part in zip(told, expected, strict=True):
        assert part in sentence


def test_masks_may_not_lead_out_either(tmp_path: Path) -> None:
    paint(tmp_path / "set" / "a.png")
    paint_mask(tmp_path / "secret.png")
    table(tmp_path / "set", "file,label,mask\na.png,1,../secret.png\n")
    with pytest.raises(ValueError, match=r"index.csv line 2: '../secret.png' leads out of the data set's folder"):
        open_dataset(tmp_path / "set")[0].mask()


def test_tables_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'a.csv' has no column of pictures that is recognised; it has who, what"):
        read_table(table(tmp_path, "who,what\n1,2\n", "a.csv"))
    with pytest.raises(ValueError, match=r"'b.csv' has no rows under its header file, label"):
        read_table(table(tmp_path, "file,label\n", "b.csv"))
    with pytest.raises(ValueError, match=r"'c.csv' has no rows"):
        read_table(table(tmp_path, "", "c.csv"))
    (tmp_path / "d.csv").write_bytes(b"file,label\n\xff\xfe.png,\xe9\n")
    with pytest.raises(ValueError, match=r"'d.csv' is no CSV in UTF-8"):
        read_table(tmp_path / "d.csv")
    with pytest.raises(FileNotFoundError, match="no table at"):
        read_table(tmp_path / "e.csv")


@pytest.mark.parametrize("name", ["../a.png", "a/../../a.png", "/etc/passwd", "..", "", "  ", "a\0b", "c:/x.png"])
def test_names_that_lead_out(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"index.csv line 2: .*(leads out|names no file)"):
        inside(tmp_path, name, "index.csv line 2")


def test_names_that_stay_inside(tmp_path: Path) -> None:
    for name in ("a.png", "./b/../a.png", str(tmp_path / "a.png"), "b\\..\\a.png", "..a.png"):
        assert inside(tmp_path, name, "here").parent == tmp_path


# -------------------------------------------------------------------------------------------------------------- masks


def test_masks_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.png").write_bytes(b"no mask")
    with pytest.raises(ValueError, match=r"the mask 'm.png' cannot be read"):
        open_mask(tmp_path / "m.png")
    with pytest.raises(FileNotFoundError, match="no mask at"):
        open_mask(tmp_path / "none.png")
    whole = paint_mask(tmp_path / "w.png", (400, 300)).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"the mask 'cut.png' cannot be read"):
        open_mask(tmp_path / "cut.png")
    monkeypatch.setattr("camwidgets.datasets.masks.MAX_PIXELS", 1000)
    with pytest.raises(ValueError, match=r"400×300 pixels, which is too many"):
        open_mask(tmp_path / "w.png")


def test_masks_of_every_mode(tmp_path: Path) -> None:
    values = np.zeros((10, 12), np.uint8)
    values[2:5, 3:9] = 1
    wanted = values.astype(bool)
    palette = Image.fromarray(values, "P")
    palette.putpalette([0, 0, 0, 0, 0, 0])  # both black: the index counts, not the colour
    pictures = {
        "p.png": palette,
        "l.png": Image.fromarray(values),
        "1.png": Image.fromarray(wanted),
        "rgb.png": Image.fromarray(np.dstack([values * 0, values * 200, values * 0])),
        "rgba.png": Image.fromarray(np.dstack([values * 0, values * 200, values * 0, values * 0 + 255])),
        "16.png": Image.fromarray(values.astype(np.uint16) * 300),
    }
    for name, image in pictures.items():
        image.save(tmp_path / name)
        assert (MaskFile(tmp_path / name).read() == wanted).all(), name


# ----------------------------------------------------------------------------------- worlds and torchvision's data sets


def test_the_toy_world() -> None:
    world = ToyWorld(seed=4, n=12, objects=(2, 3), classes=["cat", "boat", "car"])
    items = from_world(world)
    assert (items.has_boxes, items.has_masks, items.labels) == (True, True, ["boat", "car", "cat"])
    for i in (0, 5, 11):
        scene, item = world[i], pickle.loads(pickle.dumps(items[i]))
        assert (item.id, item.label, items.label_of(i)) == (str(scene.index), scene.name, scene.name)
        assert np.array_equal(np.asarray(item.open()), scene.image)
        assert np.array_equal(item.mask(), scene.mask(scene.main))
        assert item.boxes == tuple(tuple(map(float, box)) for name, box in scene.boxes if name == scene.name)
        assert item.parts().keys() == scene.parts.keys()
        assert item.context().keys() == scene.contexts.keys()
        assert item.hash() == items[i].hash()
    assert items[3].hash() != items[4].hash()
    assert [one.id for one in open_dataset(world[4:8])] == ["4", "5", "6", "7"]
    assert Counter(one.label for one in items.limit(6)) == {"cat": 2, "boat": 2, "car": 2}


def test_the_textures() -> None:
    items = open_dataset(TextureWorld(seed=2, n=20))
    spoilt = items.where(lambda one: one.label == "defect")
    sound = items.where(lambda one: one.label == "sound")
    assert (len(spoilt), len(sound)) == (10, 10)
    for item in spoilt:
        mask = item.mask()
        assert mask is not None
        x0, y0, x1, y1 = map(int, item.boxes[0])
        assert mask[y0:y1, x0:x1].sum() == mask.sum() > 0
    assert sound[0].mask() is None
    assert sound[0].boxes == ()
    assert sound[0].parts() == {}


class Pairs:
    """A map-style data set, as users write them."""

    classes = ("cat", "dog")

    def __init__(self, pictures: list[Any], targets: list[Any]) -> None:
        self.pictures, self.given = pictures, targets

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.pictures[index], self.given[index]


def test_a_map_style_data_set() -> None:
    red = np.zeros((12, 16, 3), np.uint8)
    red[..., 0] = 255
    tensor = torch.from_numpy(red).permute(2, 0, 1)
    pictures = [Image.fromarray(red), red, tensor, tensor / 255, torch.zeros(1, 12, 16)]
    items = open_dataset(Pairs(pictures, [0, torch.tensor(1), np.int64(1), "dog", np.array([0])]))
    assert [one.label for one in items] == ["cat", "dog", "dog", "dog", "cat"]
    assert [np.asarray(one.open())[3, 3].tolist() for one in items] == [[255, 0, 0]] * 4 + [[0, 0, 0]]
    assert items[0].hash() == items[2].hash() != items[4].hash()
    assert pickle.loads(pickle.dumps(items[2])).open().size == (16, 12)


def test_what_a_map_style_data_set_may_not_return() -> None:
    normalised = open_dataset(Pairs([torch.randn(3, 12, 16)], [0]))[0]
    with pytest.raises(ValueError, match=r"values in \[0, 1\].*no normalising transform"):
        normalised.open()
    with pytest.raises(ValueError, match="3×H×W"):
        open_dataset(Pairs([torch.zeros(12, 16)], [0]))[0].open()
    wrongs: list[Any] = [{"boxes": []}, 0.5, [1, 2], None]
    for wrong in wrongs:
        with pytest.raises(TypeError, match="a label is a class index or name"):
            open_dataset(Pairs([torch.zeros(3, 12, 16)], [wrong]))
    with pytest.raises(ValueError, match="has no pictures"):
        open_dataset(Pairs([], []))
    with pytest.raises(TypeError, match="must return \\(picture, label\\)"):
        open_dataset([torch.zeros(3, 8, 8)])
    with pytest.raises(TypeError, match="a map-style data set has a length"):
        open_dataset(iter([]))


def test_a_picture_whose_data_set_raises_anything_is_one_picture() -> None:
    class Moody(Pairs):
        def __getitem__(self, index: int) -> Any:
            if index == 1:
                raise KeyError("lost")
            return super().__getitem__(index)

    items = open_dataset(Moody([torch.zeros(3, 8, 8)] * 3, [0, 1, 2]))
    assert [item.label is None for item in items] == [False, True, False]
    with pytest.raises(ValueError, match="lost"):
        items[1].open()
    assert items[2].open().size == (8, 8)


def test_torchvisions_image_folder_and_subsets_read_the_files(tmp_path: Path) -> None:
    from torch.utils.data import Subset
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
        paint(tmp_path / name)
    (tmp_path / "cat" / "2.png").write_bytes(b"broken")
    folder = ImageFolder(str(tmp_path), transforms.ToTensor())
    items = from_torchvision(folder)
    assert [(one.id, one.label) for one in items] == [("cat/1.png", "cat"), ("cat/2.png", "cat"), ("dog/1.png", "dog")]
    assert items[0].hash() == hashlib.sha256((tmp_path / "cat" / "1.png").read_bytes()).hexdigest()
    with pytest.raises(ValueError, match=r"'2.png' is not a picture"):
        items[1].open()
    assert [one.id for one in open_dataset(Subset(folder, [2, 0]))] == ["dog/1.png", "cat/1.png"]


def test_a_broken_picture_of_a_data_set_is_told_at_open() -> None:
    class Broken(Pairs):
        def __getitem__(self, index: int) -> tuple[Any, Any]:
            if index == 1:
                raise OSError("the disk is gone")
            return super().__getitem__(index)

    items = open_dataset(Broken([Image.new("RGB", (9, 9))] * 3, [0, 0, 1]))
    assert [one.label for one in items] == ["cat", None, "dog"]
    with pytest.raises(ValueError, match="picture 1: the disk is gone"):
        items[1].open()


# -------------------------------------------------------------------------------------------------------------- labels


def test_labels_are_matched_to_the_models() -> None:
    model = camwidgets.wrap(Small(4), labels=["Giant Panda", "t-shirt", "crane", "crane"], input_size=16)

    def items(*labels: int | str | None) -> Items:
        return Items("mine", [Item(str(i), one, (), None, PictureFile(Path("x"))) for i, one in enumerate(labels)])

    found = match_labels(items("giant_panda", "T shirt", 2, None, "giant_panda"), model)
    assert found == {"giant_panda": 0, "T shirt": 1, 2: 2}
    with pytest.raises(ValueError, match=r"does not have 7 of the labels of mine: 'giant pandas' \(did you mean 'giant "
                       r"panda'\?\), 4, -1, 'crane'.*, 'a' and 2 more; its 4 classes are Giant Panda"):  # fmt: skip
        match_labels(items("giant pandas", 4, -1, "crane", "a", "b", "c", 1), model)


def test_a_model_without_names_takes_the_data_sets_numbers() -> None:
    model = camwidgets.wrap(Small(3), input_size=16)
    entries = [Item(one, one, (), None, PictureFile(Path("x"))) for one in "cab"]
    items = Items("mine", entries, classes=["c", "b", "a"])
    assert match_labels(items, model) == {"c": 0, "b": 1, "a": 2}
    assert match_labels(items[:1], model) == {"c": 0}
    with pytest.raises(ValueError, match=r"classes of Small have no names, and two numbers 2 classes: give .*labels="):
        match_labels(Items("two", entries[:2], classes=["c", "a"]), model)
    with pytest.raises(ValueError, match="have no names, and mine does not number its classes"):
        match_labels(Items("mine", entries), model)


class Shop(Sequence[tuple[Any, int]]):
    """As FashionMNIST: its classes are numbered in an order of its own."""

    classes = ("T-shirt", "Trouser", "Coat")
    targets = (0, 1, 2)

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: Any) -> Any:
        if index >= 3:
            raise IndexError
        return Image.new("RGB", (16, 16)), index


def test_numbers_of_a_data_set_are_kept() -> None:
    model = camwidgets.wrap(Small(3), input_size=16)
    items = open_dataset(Shop())
    assert items.labels == ["Coat", "T-shirt", "Trouser"]
    assert match_labels(items, model) == {"T-shirt": 0, "Trouser": 1, "Coat": 2}
    assert [one.label for one in items.relabelled(match_labels(items, model))] == [0, 1, 2]


def test_class_names_that_are_no_names() -> None:
    """torchvision's ImageNet: two cranes, and `maillot` first of the synonyms of two classes."""

    class Ambiguous(Shop):
        classes: Any = (("crane",), ("crane",), ("maillot", "tank suit"))

    assert [one.label for one in open_dataset(Ambiguous())] == [0, 1, 2]


def test_the_spelling_decides_before_the_case_is_forgotten() -> None:
    model = camwidgets.wrap(Small(3), input_size=16, labels=["Cardigan", "cardigan", "Tabby_Cat"])
    entries = [Item(one, one, (), None, PictureFile(Path("x"))) for one in ("cardigan", "Cardigan", "tabby cat")]
    assert match_labels(Items("mine", entries), model) == {"cardigan": 1, "Cardigan": 0, "tabby cat": 2}


@pytest.mark.parametrize("kind", ["P", "adaptive", "GIF", "alpha", "grey", "palette of greys"])
def test_a_mask_is_what_is_not_black(tmp_path: Path, kind: str) -> None:
    """A white box of 200 pixels on black, whatever number the palette has for black."""
    truth = np.zeros((40, 60), bool)
    truth[5:15, 10:30] = True
    white = Image.fromarray(np.uint8(truth) * 255)
    path = tmp_path / ("mask.gif" if kind == "GIF" else "mask.png")
    if kind == "P":
        white.convert("RGB").quantize(2).save(path)
    elif kind == "adaptive":
        white.convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE, colors=2).save(path)
    elif kind == "GIF":
        white.convert("RGB").save(path)
    elif kind == "alpha":
        picture = Image.new("RGBA", white.size, "white")
        picture.putalpha(white)
        picture.save(path)
    elif kind == "grey":
        white.save(path)
    else:
        indices = Image.fromarray(np.uint8(truth), "P")
        indices.putpalette([0, 0, 0] * 256)
        indices.save(path)
    np.testing.assert_array_equal(MaskFile(path).read(), truth)


def test_values_of_a_mask_are_palette_indices(tmp_path: Path) -> None:
    indices = Image.fromarray(np.array([[0, 1], [2, 255]], np.uint8), "P")
    indices.putpalette([9, 9, 9, 0, 0, 0, 255, 0, 0])
    indices.save(tmp_path / "m.png")
    np.testing.assert_array_equal(MaskFile(tmp_path / "m.png", (1,)).read(), [[False, True], [False, False]])


@pytest.mark.parametrize("names", ["x,y,w,h", "x,y,width,height", "left,top,width,height"])
def test_boxes_by_corner_and_extent(tmp_path: Path, names: str) -> None:
    Image.new("RGB", (60, 40)).save(tmp_path / "a.png")
    (tmp_path / "index.csv").write_text(f"file,label,{names}\na.png,cat,1,2,30,20\n")
    [item] = open_dataset(tmp_path)
    assert (item.boxes, item.size, item.open().size) == (((1, 2, 31, 22),), None, (60, 40))


def test_size_columns_beside_corners(tmp_path: Path) -> None:
    Image.new("RGB", (60, 40)).save(tmp_path / "a.png")
    (tmp_path / "index.csv").write_text("file,label,xmin,ymin,xmax,ymax,width,height\na.png,cat,1,2,30,20,60,40\n")
    [item] = open_dataset(tmp_path)
    assert (item.boxes, item.size) == (((1, 2, 30, 20),), (40, 60))


def test_links_between_class_folders_double_nothing(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.new("RGB", (16, 16)).save(tmp_path / name / f"{i}.png")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "a-cat-first").symlink_to(tmp_path / "cat")
    (tmp_path / "dog" / "tocat").symlink_to(tmp_path / "cat")
    elsewhere = tmp_path.parent / f"{tmp_path.name}-birds"
    elsewhere.mkdir()
    Image.new("RGB", (16, 16)).save(elsewhere / "b.png")
    (tmp_path / "bird").symlink_to(elsewhere)
    items = open_dataset(tmp_path)
    assert [one.id for one in items] == ["bird/b.png", "cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png"]
    assert items.classes == ("bird", "cat", "dog")


# --------------------------------------------------------------------------------------------------- the measuring sets


def test_the_photographs_with_boxes(photographs: Path) -> None:
    items = open_dataset(photographs / "ilsvrc_dev")
    with (photographs / "ilsvrc_dev" / "index.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(items) == len(rows) == 125
    assert [one.label for one in items] == [int(row["imagenet_class_index"]) for row in rows]
    assert [len(one.boxes) for one in items] == [int(row["n_boxes"]) for row in rows]
    assert all(one.open().size == (227, 227) for one in items)
    assert match_labels(items, camwidgets.load("efficientnet_lite0"))[388] == 388


def test_the_frames_and_tiles_with_masks(photographs: Path) -> None:
    frames = open_dataset(photographs / "davis_dev")
    tiles = open_dataset(photographs / "magnetic_tile_dev")
    assert (len(frames), len(tiles)) == (36, 297)
    assert tiles.labels == ["blowhole", "break", "crack", "fray", "free", "uneven"]
    for item in [*frames.limit(12), *tiles.limit(60)]:
        mask = item.mask()
        if mask is None:
            assert item.label == "free"
            continue
        x0, y0, x1, y1 = map(int, item.boxes[0])
        assert mask[y0:y1, x0:x1].sum() == mask.sum() > 0
        share = item.extra.get("mask_area_frac")
        assert share is None or abs(float(share) - mask.mean()) < 1e-4
    assert len({one.extra["tile_group"] for one in tiles if one.extra["tile_group"]}) > 10
