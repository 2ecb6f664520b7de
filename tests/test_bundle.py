"""Bundles: the same bytes out as in, and nothing that a hostile one could do."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import stat
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import camwidgets
from camwidgets.investigate import Edits, Region, open_bundle, save_bundle, sealed
from camwidgets.investigate.sealed import MANIFEST


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    classifier = camwidgets.load("toy")
    cat = camwidgets.samples.picture("cat")
    edits = Edits(classifier, cat).paint(Region.box(0, 0, 30, 30))
    return save_bundle(
        tmp_path_factory.mktemp("bundle") / "found.zip",
        config={"eps": 4 / 255, "log": edits.to_json(), "labels": ["Schwarzbär", "猫"]},
        pictures={"clean": edits.original, "painted 1": edits.picture},
        maps={"S5": np.linspace(0, 1, 49, dtype=np.float32).reshape(7, 7), "ids": np.arange(5)},
        trees={"clean": camwidgets.decompose(classifier, cat, target="cat", depth=2)},
        pages={"report": "<h1>Why “cat”</h1>"},
    )


def test_everything_comes_back(whole: Path, tmp_path: Path) -> None:
    classifier, cat = camwidgets.load("toy"), camwidgets.samples.picture("cat")
    found = open_bundle(whole)
    assert found.config["eps"] == 4 / 255
    assert found.config["labels"] == ["Schwarzbär", "猫"]
    edits = Edits.replay(classifier, cat, found.config["log"])
    assert np.array_equal(found.pictures["painted 1"], edits.picture)
    assert np.array_equal(found.pictures["clean"], edits.original)
    assert found.maps["S5"].dtype == np.float32
    assert float(found.maps["S5"][6, 6]) == 1
    assert found.pages == {"report": "<h1>Why “cat”</h1>"}
    tree, now = found.tree("clean", classifier), camwidgets.decompose(classifier, cat, target="cat", depth=2)
    assert tree.diff(now).distance == pytest.approx(0, abs=1e-6)
    assert tree.expand(tree.level("S4")[0])  # with its classifier it lives
    with pytest.raises(ValueError, match="unknown tree 'attacked'; valid: clean"):
        found.tree("attacked")


def test_the_same_content_is_the_same_file(tmp_path: Path) -> None:
    what: dict[str, Any] = {"maps": {"m": np.eye(3)}, "pictures": {"p": np.ones((9, 9, 3), "u1")}}
    paths = [save_bundle(tmp_path / f"{i}.zip", config={"a": 1}, **what) for i in range(2)]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    digests = {open_bundle(path).digest for path in paths}
    other = save_bundle(tmp_path / "c.zip", config={"a": 2}, maps={"m": np.eye(3)})
    assert len(digests | {open_bundle(other).digest}) == 2


@pytest.mark.parametrize(
    "name", ["../up", "a/b", "/etc/passwd", ".hidden", "", "C:\\x", "a\0b", "x" * 99, "a..b", "n\nl"]
)
def test_names_that_are_not_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be a name in a bundle"):
        save_bundle(tmp_path / "x.zip", maps={name: np.eye(2)})
    assert list(tmp_path.iterdir()) == []


def test_values_that_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be an array of numbers"):
        save_bundle(tmp_path / "x.zip", maps={"m": np.array([{}], object)})
    for bad in (object(), float("nan")):
        with pytest.raises(ValueError, match="plain values that JSON knows"):
            save_bundle(tmp_path / "x.zip", config={"a": bad})


# ------------------------------------------------------------------------------------------------- hostile bundles


class Bomb:
    """Leaves a file behind if it is ever unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


def entry(content: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def forged(path: Path, files: dict[str, bytes], *, hide: bool = False, mode: int = 0) -> Path:
    """A zip whose manifest is right about every file, as somebody would who wants it read."""
    manifest = {"format": 1, "config": {}, "files": {} if hide else {n: entry(c) for n, c in files.items()}}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(MANIFEST, json.dumps(manifest))
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            file.writestr(info, content, zipfile.ZIP_DEFLATED)
    return path


@pytest.mark.parametrize(
    "name",
    [
        "../../evil.png", "/tmp/evil.png", "pictures/../../evil.png", "pictures/..\\evil.png", "C:\\evil.png",
        "pictures/sub/evil.png", "maps/evil.pkl", "trees/a/run.py", "evil.png", "pictures/.evil.png", "pages/a.js",
        "PICTURES/a.png", "pictures/a.png/", "trees/../tree.json", "pictures/a\u202e.png",
    ],
)  # fmt: skip
def test_hostile_names_are_refused(name: str, tmp_path: Path) -> None:
    bundle = forged(tmp_path / "hostile.zip", {name: b"x"})
    with pytest.raises(ValueError, match="a bundle has no file called"):
        open_bundle(bundle)
    assert [p.name for p in tmp_path.iterdir()] == ["hostile.zip"]


def test_links_are_refused(tmp_path: Path) -> None:
    for kind in (stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR):
        bundle = forged(tmp_path / "link.zip", {"pages/a.html": b"/etc/passwd"}, mode=kind | 0o777)
        with pytest.raises(ValueError, match="link or another special file"):
            open_bundle(bundle)


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    trace = tmp_path / "was here"
    npy = io.BytesIO()
    np.save(npy, np.array([Bomb(trace)], object), allow_pickle=True)
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as file:
        file.writestr("values.npy", npy.getvalue())
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as file:
        file.writestr("values", pickle.dumps(Bomb(trace)))
    for content in (inner.getvalue(), raw.getvalue(), pickle.dumps(Bomb(trace))):
        for name in ("maps/a.npz", "trees/t/tree.npz"):
            with pytest.raises(ValueError, match="are refused"):
                open_bundle(forged(tmp_path / "pickle.zip", {name: content}))
    assert not trace.exists()
    np.load(io.BytesIO(npy.getvalue()), allow_pickle=True)  # the bomb is live: unpickled, it goes off
    assert trace.exists()


def test_damage_and_smuggled_files_are_told(whole: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(whole) as file:
        files = {name: file.read(name) for name in file.namelist()}

    def again(changed: dict[str, bytes]) -> Path:
        path = tmp_path / "changed.zip"
        with zipfile.ZipFile(path, "w") as file:
            for name, content in changed.items():
                file.writestr(name, content)
        return path

    with pytest.raises(ValueError, match=r"'pages/report.html' is not what its manifest says"):
        open_bundle(again(files | {"pages/report.html": b"<script>"}))
    with pytest.raises(ValueError, match=r"'maps/S5.npz' is missing"):
        open_bundle(again({n: c for n, c in files.items() if n != "maps/S5.npz"}))
    with pytest.raises(ValueError, match=r"its manifest does not list 'pages/more.html'"):
        open_bundle(again(files | {"pages/more.html": b"x"}))
    with pytest.raises(ValueError, match=r"has no manifest\.json"):
        open_bundle(again({n: c for n, c in files.items() if n != MANIFEST}))
    for text in (b"[1]", b"{", b"\xff", b"[" * 100_000):
        with pytest.raises(ValueError, match="is no bundle: its manifest"):
            open_bundle(again(files | {MANIFEST: text}))
    manifest = json.loads(files[MANIFEST])
    with pytest.raises(ValueError, match="has format 7; this version reads 1"):
        open_bundle(again(files | {MANIFEST: json.dumps(manifest | {"format": 7}).encode()}))
    with pytest.raises(ValueError, match="has no config"):
        open_bundle(again(files | {MANIFEST: json.dumps(manifest | {"config": []}).encode()}))
    cut = tmp_path / "cut.zip"
    cut.write_bytes(whole.read_bytes()[:-200])
    with pytest.raises(ValueError, match="no readable zip"):
        open_bundle(cut)
    with pytest.raises(FileNotFoundError, match="no bundle at"):
        open_bundle(tmp_path / "none.zip")


def test_what_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = forged(tmp_path / "twice.zip", {"pages/a.html": b"x"})
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("pages/a.html", b"y")
    with pytest.raises(ValueError, match="more than once"):
        open_bundle(path)


def test_what_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed, "MOST_BYTES", 1 << 20)
    monkeypatch.setattr(sealed, "MOST_TOTAL", 3 << 20)
    with pytest.raises(ValueError, match=r"'pages/a\.html' unpacks to more than 1 MiB"):
        open_bundle(forged(tmp_path / "big.zip", {"pages/a.html": bytes(2 << 20)}))
    with pytest.raises(ValueError, match="it unpacks to more than 0 GiB"):
        open_bundle(forged(tmp_path / "sum.zip", {f"pages/{i}.html": bytes(1 << 20) for i in range(4)}))
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("values.npy", bytes(8 << 20))  # a bomb in the bomb
    with pytest.raises(ValueError, match="it unpacks to more than 1 MiB"):
        open_bundle(forged(tmp_path / "inner.zip", {"maps/a.npz": inner.getvalue()}))
    monkeypatch.setattr(sealed, "MOST_FILES", 5)
    with pytest.raises(ValueError, match="7 files; at most 5 are read"):
        open_bundle(forged(tmp_path / "many.zip", {f"pages/{i}.html": b"" for i in range(6)}))


def npz_of(values: np.ndarray, key: str = "values") -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{key: values})  # type: ignore[arg-type]
    return buffer.getvalue()


def test_many_small_bombs_are_no_large_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed, "MOST_TOTAL", 2 << 20)
    picture = io.BytesIO()
    Image.new("RGB", (600, 400)).save(picture, "PNG")  # 0.7 MB, in 2 kB
    array = npz_of(np.zeros(700_000, "u1"))
    kinds = {"maps/{}.npz": array, "pictures/{}.png": picture.getvalue()}
    kinds |= {"trees/t{}/tree.npz": array, "trees/t{}/picture.png": picture.getvalue()}
    for name, content in kinds.items():
        open_bundle(forged(tmp_path / "two.zip", {name.format(i): content for i in range(2)}))
        with pytest.raises(ValueError, match="the bundle unpacks to too much"):
            open_bundle(forged(tmp_path / "three.zip", {name.format(i): content for i in range(3)}))


def test_arrays_that_lie_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'maps/a\.npz' are refused: none of them is called 'values'"):
        open_bundle(forged(tmp_path / "key.zip", {"maps/a.npz": npz_of(np.eye(2), "other")}))
    for length in (10**15, 10**30):
        header, inner = io.BytesIO(), io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (length,)})
        with zipfile.ZipFile(inner, "w") as file:
            file.writestr("values.npy", header.getvalue())
        with pytest.raises(ValueError, match=r"'maps/a\.npz' are refused"):
            open_bundle(forged(tmp_path / "header.zip", {"maps/a.npz": inner.getvalue()}))


def test_a_bit_that_fell_over_is_told(tmp_path: Path) -> None:
    """Wherever it falls: the deflated stream says so in an exception of its own."""
    pages = {"p": "".join(map(chr, np.random.default_rng(0).integers(32, 127, 2000)))}
    raw = save_bundle(tmp_path / "whole.zip", pages=pages).read_bytes()
    refused = 0
    for place in range(0, len(raw), 7):
        damaged = tmp_path / "bit.zip"
        damaged.write_bytes(raw[:place] + bytes([raw[place] ^ 4]) + raw[place + 1 :])
        try:
            assert open_bundle(damaged).pages == pages  # a byte of no account, as the date
        except ValueError:
            refused += 1
    assert refused > 200


def test_a_member_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    path = forged(tmp_path / "liar.zip", {"pages/a.html": bytes(100_000)})
    raw = bytearray(path.read_bytes())
    place = 0
    while (place := raw.find(struct.pack("<I", 100_000), place)) >= 0:  # local header and directory
        raw[place : place + 4] = struct.pack("<I", 10)
        place += 1
    path.write_bytes(bytes(raw))
    with pytest.raises(ValueError, match=r"readable|unpack|damaged"):
        open_bundle(path)


def test_a_tree_that_is_none_is_told(tmp_path: Path) -> None:
    npz = io.BytesIO()
    np.savez(npz, a=np.eye(2))
    for text in (b"{}", b'{"format": 1}', b"[]", b"{"):
        files = {"trees/t/tree.json": text, "trees/t/tree.npz": npz.getvalue()}
        found = open_bundle(forged(tmp_path / "t.zip", files))
        with pytest.raises(ValueError, match=r"cannot be read|has format|Expecting"):
            found.tree("t")


def test_a_picture_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="picture"):
        open_bundle(forged(tmp_path / "y.zip", {"trees/t/picture.png": b"GIF89a"}))
    with pytest.raises(ValueError, match="picture"):
        open_bundle(forged(tmp_path / "x.zip", {"pictures/a.png": b"<svg onload=alert(1)>"}))
