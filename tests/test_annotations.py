"""COCO's JSON and Pascal VOC's XML: boxes, outlines, run lengths, masks, and what is wrong or malicious in them."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from camwidgets.datasets import open_dataset
from camwidgets.datasets.coco import read_coco
from camwidgets.datasets.masks import polygon, run_lengths
from camwidgets.datasets.voc import CLASSES, read_voc

# pycocotools.mask.encode of an ellipse in a mask of 90×12
ELLIPSE = "\\6Q1b1>E8J4N0002L6H;BY2"


def paint(path: Path, size: tuple[int, int] = (40, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (9, 90, 200)).save(path)
    return path


def encoded(mask: np.ndarray) -> list[int]:
    """Run lengths, written independently of the reader: pixel by pixel, column by column."""
    counts, value = [0], False
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


def compressed(counts: Sequence[int]) -> str:
    """COCO's text of run lengths: five bits a character, the lowest first; differences from the fourth run on."""
    text = ""
    for i, count in enumerate(counts):
        left = count - counts[i - 2] if i > 2 else count
        more = True
        while more:
            piece, left = left & 31, left >> 5
            more = left != (-1 if piece & 16 else 0)
            text += chr(48 + piece + 32 * more)
    return text


# ----------------------------------------------------------------------------------------------- outlines, run lengths


def test_run_lengths_of_random_masks() -> None:
    random = np.random.default_rng(0)
    for height, width, block in ((1, 1, 1), (7, 5, 1), (40, 60, 1), (64, 96, 8), (200, 3, 50)):
        for share in (0.0, 0.1, 0.5, 0.9, 1.0):
            small = random.random((-(-height // block), -(-width // block))) < share
            mask = np.kron(small, np.ones((block, block), bool))[:height, :width].astype(bool)
            counts = encoded(mask)
            assert (run_lengths(counts, (height, width)) == mask).all()
            assert (run_lengths(compressed(counts), (height, width)) == mask).all()


def test_texts_that_pycocotools_wrote() -> None:
    mask = np.zeros((8, 9), bool)
    mask[2:5, 3:8] = True
    assert (run_lengths("j03500000006", (8, 9)) == mask).all()
    ys, xs = np.mgrid[:90, :12]
    assert (run_lengths(ELLIPSE, (90, 12)) == ((ys - 40) ** 2 + 40 * (xs - 6) ** 2 < 900)).all()


@pytest.mark.parametrize(
    ("counts", "told"),
    [([3, 4], "run lengths of 7 pixels do not fill a mask of 4×2 = 8"), ([9], "of 9 pixels"), ([10, -2], "do not fill"),
     ("\x01", "damaged"), ("oooooooooooooooooo", "damaged"), ("o", "cut off"), ("ü" * 5, "damaged"), ([], "of 0")],
)  # fmt: skip
def test_damaged_run_lengths(counts: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        run_lengths(counts, (2, 4))


def test_a_huge_mask_is_refused_before_it_is_made() -> None:
    for size in ((10**6, 10**6), (0, 5), (-3, 4)):
        with pytest.raises(ValueError, match=r"mask"):
            run_lengths([1], size)
        with pytest.raises(ValueError, match=r"mask"):
            polygon([0, 0, 1, 0, 1, 1], size)


def test_outlines_follow_the_pixels_centres() -> None:
    # Golden by hand: a centre (x + ½, y + ½) lies inside this triangle when x + y + 1 < 4, on its edge when = 4
    triangle = polygon([0, 0, 4, 0, 0, 4], (4, 4))
    assert triangle.astype(int).tolist() == [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    # a frame: the hole of an outline that crosses itself is a hole (even–odd)
    frame = polygon([0, 0, 6, 0, 6, 6, 0, 6, 0, 0, 2, 2, 2, 4, 4, 4, 4, 2, 2, 2], (6, 6))
    assert frame.sum() == 36 - 4
    assert not frame[2:4, 2:4].any()
    # beyond the edges nothing wraps around
    assert (polygon([-50, -50, 3, -50, 3, 90, -50, 90], (5, 6)) == (np.arange(6) < 3)[None]).all()
    assert not polygon([10, 10, 20, 10, 20, 20], (5, 6)).any()


def test_outlines_agree_with_the_winding_angle() -> None:
    """The outline turns once around a centre inside (2π) and not at all around one outside (0): another way to tell."""
    random = np.random.default_rng(1)
    centres = (np.mgrid[:40, :40][::-1] + 0.5).reshape(2, -1).T
    for _ in range(50):
        corners = random.integers(3, 12)
        angles = np.sort(random.random(corners)) * 2 * np.pi
        points = 20 + random.uniform(6, 18, corners)[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
        to = (points[None] - centres[:, None]) @ np.array([1, 1j])
        turned = np.angle(np.roll(to, -1, 1) / to).sum(1)
        assert (polygon(points.ravel().tolist(), (40, 40)).ravel() == (np.abs(turned) > np.pi)).all()


@pytest.mark.parametrize("outline", [[], [1, 2, 3, 4], [0, 0, 1, 0, 1], [0, 0, 1, 0, 1, float("nan")]])
def test_damaged_outlines(outline: list[float]) -> None:
    with pytest.raises(ValueError, match="an outline needs three points or more"):
        polygon(outline, (4, 4))


# ---------------------------------------------------------------------------------------------------------------- COCO


def coco(folder: Path, **changes: Any) -> Path:
    """Two pictures, three classes: outlines, run lengths as numbers and as text, a crowd."""
    crowd = np.zeros((30, 40), bool)
    crowd[20:30, 30:40] = True
    content: dict[str, Any] = {
        "images": [
            {"id": 1, "file_name": "a.png", "width": 40, "height": 30},
            {"id": 2, "file_name": "b.png", "width": 40, "height": 30},
        ],
        "categories": [{"id": 17, "name": "cat"}, {"id": 18, "name": "dog"}, {"id": 1, "name": "person"}],
        "annotations": [
            _object(1, 1, 17, [2, 3, 10, 6], [[2, 3, 12, 3, 12, 9, 2, 9]]),
            _object(2, 1, 17, [20, 3, 5, 6], [[20, 3, 25, 3, 25, 9, 20, 9]]),
            _object(3, 1, 17, [30, 20, 10, 10], {"size": [30, 40], "counts": encoded(crowd)}, iscrowd=1),
            _object(4, 2, 18, [30, 20, 10, 10], {"size": [30, 40], "counts": compressed(encoded(crowd))}),
            _object(5, 2, 1, [30, 20, 10, 10], {"size": [30, 40], "counts": encoded(crowd)}, iscrowd=1),
            _object(6, 99, 1, [0, 0, 1, 1], []),
        ],
    }
    content.update(changes)
    path = folder / "annotations" / "instances_val2017.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def _object(number: int, picture: int, category: int, box: Any, shape: Any, **more: Any) -> dict[str, Any]:
    return {"id": number, "image_id": picture, "category_id": category, "bbox": box, "segmentation": shape, **more}


def test_coco(tmp_path: Path) -> None:
    paint(tmp_path / "val2017" / "a.png")
    paint(tmp_path / "val2017" / "b.png")
    items = open_dataset(coco(tmp_path))
    assert [one.id for one in items] == ["a.png#cat", "b.png#dog"]
    assert items.labels == ["cat", "dog"]
    assert list(items[0].boxes) == [(2, 3, 12, 9), (20, 3, 25, 9)]
    first, second = items[0].mask(), items[1].mask()
    assert first is not None
    assert second is not None
    wanted = np.zeros((30, 40), bool)
    wanted[3:9, 2:12] = wanted[3:9, 20:25] = wanted[20:30, 30:40] = True  # the crowd counts for the mask
    assert (first == wanted).all()
    assert (second == (wanted & (np.arange(40) >= 30))).all()
    assert items[0].open().size == (40, 30)
    assert "1 with crowds only left out; 1 annotations of unknown pictures or classes left out" in repr(items)


def test_coco_pictures_elsewhere_and_missing(tmp_path: Path) -> None:
    paint(tmp_path / "far" / "a.png")
    file = coco(tmp_path / "set")
    with pytest.raises(FileNotFoundError):
        open_dataset(file)[0].open()
    items = open_dataset(file, images=tmp_path / "far")
    assert items[0].open().size == (40, 30)
    with pytest.raises(FileNotFoundError):
        items[1].open()
    with pytest.raises(ValueError, match=r"holds annotation files: name one of them \(annotations/instances_val2017"):
        open_dataset(tmp_path / "set")


def test_no_mask_where_one_object_has_none(tmp_path: Path) -> None:
    annotations = [_object(1, 1, 17, [2, 3, 10, 6], [[2, 3, 12, 3, 12, 9]]), _object(2, 1, 17, [2, 3, 10, 6], [])]
    items = read_coco(coco(tmp_path, annotations=annotations))
    assert items[0].drawn is None
    assert not items.has_masks


@pytest.mark.parametrize(
    ("box", "shape", "told"),
    [([2, 3, 0, 6], [], "box 2 3 2 9 is empty"), ([2, 3, 100, 6], [], "reaches out of the picture of 40×30"),
     ([2, 3, 10], [], "annotation 7"), ("none", [], "annotation 7"), (None, [], "annotation 7"),
     ([2, 3, 5, 5], [["a", 1]], "annotation 7"), ([2, 3, 5, 5], 5, "annotation 7"),
     ([2, 3, 5, 5], {"size": [5, 5], "counts": [25]}, r"its mask has \[5, 5\] rows and columns"),
     ([2, 3, 5, 5], {"counts": [25]}, "annotation 7")],
)  # fmt: skip
def test_bad_annotations_are_told_when_opened(box: Any, shape: Any, told: str, tmp_path: Path) -> None:
    paint(tmp_path / "val2017" / "a.png")
    good = _object(8, 2, 18, [1, 1, 5, 5], [])
    items = read_coco(coco(tmp_path, annotations=[_object(7, 1, 17, box, shape), good]))
    assert len(items) == 2
    with pytest.raises(ValueError, match=told) as caught:
        items[0].open()
    assert "instances_val2017.json, annotation 7" in str(caught.value)


def test_damaged_outlines_are_told_when_the_mask_is_read(tmp_path: Path) -> None:
    paint(tmp_path / "val2017" / "a.png")
    items = read_coco(coco(tmp_path, annotations=[_object(7, 1, 17, [2, 3, 5, 5], [[1, 2]])]))
    with pytest.raises(ValueError, match="an outline needs three points"):
        items[0].mask()


def test_coco_names_may_not_lead_out(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "../../../etc/passwd", "width": 40, "height": 30}]
    items = read_coco(coco(tmp_path, images=images))
    with pytest.raises(ValueError, match=r"instances_val2017.json, picture 1: .*leads out of the data set's folder"):
        items[0].open()


def test_json_that_is_no_coco(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    for text in ("", "{", '{"images": []}', "[]", '{"images": 1, "annotations": [], "categories": []}', "[" * 100_000):
        file.write_text(text)
        with pytest.raises(ValueError, match=r"'a.json' is no (JSON|COCO instances file)"):
            open_dataset(file)
    file.write_text(json.dumps({"images": [1, None, {}], "annotations": [[], {}, None, {"image_id": []}],
                                "categories": ["x", {"id": {}}]}))  # fmt: skip
    with pytest.raises(ValueError, match="has no pictures"):
        open_dataset(file)
    with pytest.raises(FileNotFoundError, match="no annotation file"):
        read_coco(tmp_path / "none.json")


# ----------------------------------------------------------------------------------------------------------------- VOC


def xml(objects: Sequence[tuple[str, Sequence[Any]]], file: str = "a.jpg", size: tuple[int, int] = (40, 30)) -> str:
    inner = "".join(
        f"<object><name>{name}</name><difficult>{int(name == 'dog')}</difficult><bndbox><xmin>{b[0]}</xmin><ymin>{b[1]}"
        f"</ymin><xmax>{b[2]}</xmax><ymax>{b[3]}</ymax></bndbox></object>"
        for name, b in objects
    )
    shape = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    return f"<annotation><filename>{file}</filename>{shape}{inner}</annotation>"


def voc(folder: Path, **files: str) -> Path:
    (folder / "Annotations").mkdir(parents=True, exist_ok=True)
    (folder / "JPEGImages").mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / "Annotations" / f"{name}.xml").write_text(text, encoding="utf-8")
        paint(folder / "JPEGImages" / f"{name}.jpg")
    return folder


def test_voc_boxes_count_from_one_and_include_the_last_pixel(tmp_path: Path) -> None:
    objects = [("cat", (3, 4, 12, 9)), ("dog", (1, 1, 40, 30)), ("cat", (21, 4, 25, 9))]
    items = open_dataset(voc(tmp_path, a=xml(objects)))
    assert [one.id for one in items] == ["a#cat", "a#dog"]
    assert list(items[0].boxes) == [(2, 3, 12, 9), (20, 3, 25, 9)]
    assert list(items[1].boxes) == [(0, 0, 40, 30)]
    assert items[0].size == (30, 40)
    assert items[0].open().size == (40, 30)
    assert [one.id for one in read_voc(tmp_path, difficult=False)] == ["a#cat"]


def test_voc_masks_of_classes_and_of_objects(tmp_path: Path) -> None:
    root = voc(tmp_path, a=xml([("cat", (3, 4, 12, 9)), ("robot", (21, 4, 25, 9)), ("robot", (31, 4, 35, 9))]))
    by_class, by_object = np.zeros((30, 40), np.uint8), np.zeros((30, 40), np.uint8)
    by_class[3:9, 2:12] = CLASSES.index("cat") + 1
    by_class[9, 2:12] = 255  # void
    by_object[3:9, 2:12], by_object[3:9, 20:25], by_object[3:9, 30:35] = 1, 2, 3
    by_object[9, :] = 255
    for kind, values in (("Class", by_class), ("Object", by_object)):
        (root / f"Segmentation{kind}").mkdir()
        picture = Image.fromarray(values, "P")
        picture.putpalette(np.random.default_rng(0).integers(0, 255, 768).tolist())
        picture.save(root / f"Segmentation{kind}" / "a.png")
    cat, robot = (one.mask() for one in open_dataset(root))
    assert cat is not None
    assert robot is not None
    assert (cat == (by_class == 8)).all()
    assert cat.sum() == 60
    assert (robot == np.isin(by_object, (2, 3))).all()


def test_voc_splits(tmp_path: Path) -> None:
    root = voc(tmp_path, a=xml([("cat", (3, 4, 12, 9))]), b=xml([("cat", (3, 4, 12, 9))], "b.jpg"))
    (root / "ImageSets" / "Main").mkdir(parents=True)
    (root / "ImageSets" / "Main" / "val.txt").write_text("b\nmissing\n")
    items = open_dataset(root, split="val")
    assert [one.id for one in items] == ["b#cat", "missing"]
    with pytest.raises(ValueError, match=r"there is no annotation 'missing.xml'"):
        items[1].open()
    with pytest.raises(FileNotFoundError, match=r"no split 'test' in .*; it has: val"):
        open_dataset(root, split="test")
    (root / "ImageSets" / "Main" / "out.txt").write_text("../../../etc/passwd\n")
    with pytest.raises(ValueError, match="leads out of the data set's folder"):
        open_dataset(root, split="out")


def test_pictures_that_are_no_jpegs_and_names_without_suffix(tmp_path: Path) -> None:
    root = voc(tmp_path, a=xml([("cat", (3, 4, 12, 9))], file="a"))
    (root / "JPEGImages" / "a.jpg").rename(root / "JPEGImages" / "a.jpeg")
    assert open_dataset(root)[0].open().size == (40, 30)


@pytest.mark.parametrize(
    ("text", "told"),
    [("<annotation>", "a.xml is damaged"), ("", "a.xml is damaged"), ("\x00", "a.xml is damaged"),
     (xml([("cat", (9, 4, 3, 9))]), "a.xml, object 1: box 8 3 3 9 is empty"),
     (xml([("cat", (9, 4, 90, 9))]), "a.xml, object 1: box 8 3 90 9 reaches out"),
     (xml([("cat", ("x", 4, 90, 9))]), "a.xml: could not convert"),
     (xml([("", (9, 4, 20, 9))]), "a.xml, object 1: object 1 has no name"),
     (xml([("cat", (9, 4, 20, 9))], "../../../../etc/passwd"), "a.xml: .*leads out of the data set's folder"),
     (xml([("cat", (9, 4, 20, 9))], "/etc/passwd.jpg"), "a.xml: .*leads out of the data set's folder"),
     (xml([("cat", (9, 4, 20, 9))], size=(80, 60)), r"has 40×30 pixels, but its data set says 80×60"),
     ("<annotation><object><name>cat</name></object></annotation>", "a.xml: object 1 has no bndbox"),
     ("<annotation><object><name>c</name><bndbox/></object></annotation>", "needs xmin, ymin, xmax, ymax")],
)  # fmt: skip
def test_bad_annotations_of_voc_are_told_when_opened(text: str, told: str, tmp_path: Path) -> None:
    items = open_dataset(voc(tmp_path, a=text, b=xml([("cat", (3, 4, 12, 9))], "b.jpg")))
    assert items[1].open().size == (40, 30)
    with pytest.raises(ValueError, match=told):
        items[0].open()


LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE annotation [<!ENTITY l0 "ha">'
    + "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    + "]><annotation><filename>&l9;</filename></annotation>"
)
STOLEN = (
    '<?xml version="1.0"?><!DOCTYPE annotation [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    "<annotation><object><name>&x;</name></object></annotation>"
)


@pytest.mark.parametrize("text", [LAUGHS, STOLEN])
def test_entities_are_refused_and_not_expanded(text: str, tmp_path: Path) -> None:
    begun = time.perf_counter()
    item = open_dataset(voc(tmp_path, a=text))[0]
    with pytest.raises(ValueError, match=r"a.xml is refused: entities and references have no place"):
        item.open()
    assert time.perf_counter() - begun < 2


def test_a_voc_folder_without_annotations(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no annotations: Annotations/\*.xml are needed"):
        open_dataset(voc(tmp_path))
