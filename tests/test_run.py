"""Run folders read back, and what must not be believed of them."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from camwidgets.classifiers.toynet import ToyNet
from camwidgets.files import read_arrays, replaced, write_arrays, write_json, write_table
from camwidgets.learning.netspec import rebuilt, spec_of
from camwidgets.learning.run import open_run

CLASSES = ["cat", "dog", "bird"]


def net_of(seed: int) -> ToyNet:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ToyNet(3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two epochs of a run, written by hand."""
    (tmp_path / "weights").mkdir()
    (tmp_path / "watch").mkdir()
    about: dict[str, Any] = {
        "schema": 1, "kind": "oaa", "net": spec_of(net_of(0)), "settings": {"batch": 4}, "seed": 0, "status": "stopped",
        "data": {"name": "d", "key": "k", "classes": CLASSES, "size": [96, 96], "n": 5}, "epochs_done": 2,
    }  # fmt: skip
    write_json(tmp_path / "run.json", about)
    write_table(tmp_path / "metrics.csv", [{"epoch": e, "seconds": 1.5, "total": 1 / e} for e in (1, 2, 3)])
    masks = np.full((2, 96, 96), 255, np.uint8)
    masks[0, :8] = 2
    write_arrays(
        tmp_path / "watch" / "pictures.npz",
        {
            "ids": np.array(["a", "b"]), "pictures": np.full((2, 96, 96, 3), 7, np.uint8), "masks": masks,
            "present": np.array([[True, False, True], [False, False, False]]),
        },
    )  # fmt: skip
    for epoch in (0, 1, 2, 3):
        save_file(net_of(epoch).state_dict(), tmp_path / "weights" / f"epoch_{epoch:03d}.safetensors")
        maps = np.full((2, 3, 4, 4), epoch / 4, np.float16)
        write_arrays(tmp_path / "watch" / f"epoch_{epoch:03d}.npz", {"current": maps, "dropped": maps * 0})
    return tmp_path


def test_a_run_says_what_it_holds(folder: Path) -> None:
    run = open_run(folder)
    assert (run.kind, run.classes, run.size, run.status) == ("oaa", tuple(CLASSES), (96, 96), "stopped")
    assert run.epochs == [0, 1, 2]  # the third was begun and not finished: run.json does not know of it
    assert run.watched == ["a", "b"]
    assert run.present("a") == [0, 2]
    assert run.present("b") == []
    assert run.picture("b").shape == (96, 96, 3)
    mask = run.mask("a")
    assert mask is not None
    assert set(np.unique(mask).tolist()) == {2, 255}
    assert run.mask("b") is None
    assert run.layers(1) == ["current", "dropped"]
    stack = run.stack(2)
    assert list(stack) == ["current", "dropped"]
    np.testing.assert_array_equal(stack["current"], np.full((2, 3, 4, 4), 0.5))
    maps = run.maps(1, "a")
    assert maps is not None
    assert maps.dtype == np.float32
    np.testing.assert_array_equal(maps, np.full((3, 4, 4), 0.25))
    assert run.maps(1, "a", "cumulative") is None
    frame = run.metrics()
    assert frame["epoch"].tolist() == [1, 2]
    assert frame["total"].tolist() == [1.0, 0.5]


def test_the_network_of_an_epoch_comes_back_and_can_be_explained(folder: Path) -> None:
    run = open_run(folder)
    for epoch in (0, 2):
        net = run.net(epoch)
        assert not net.training
        for name, tensor in net_of(epoch).state_dict().items():
            assert torch.equal(tensor, net.state_dict()[name])
    assert torch.equal(run.net().state_dict()["classifier.bias"], net_of(2).state_dict()["classifier.bias"])
    classifier = run.classifier(1)
    assert classifier.labels == CLASSES
    x = classifier.preprocess(run.picture("a"))
    torch.testing.assert_close(x, torch.full((1, 3, 96, 96), (7 / 255 - 0.5) / 0.25))
    with torch.no_grad():
        torch.testing.assert_close(classifier.logits(x), net_of(1).eval()(x))


def test_the_hash_tells_runs_and_their_progress_apart(folder: Path) -> None:
    before = open_run(folder).hash
    assert open_run(folder).hash == before
    about = json.loads((folder / "run.json").read_text())
    write_json(folder / "run.json", {**about, "epochs_done": 1})
    assert open_run(folder).hash != before


def test_what_was_not_kept_is_said(folder: Path) -> None:
    run = open_run(folder)
    with pytest.raises(ValueError, match="no maps were kept for epoch 7; valid: 0, 1, 2"):
        run.maps(7, "a")
    with pytest.raises(ValueError, match="unknown watched picture 'z'; valid: a, b"):
        run.maps(1, "z")
    with pytest.raises(ValueError, match="no weights were kept for epoch 9"):
        run.net(9)
    with pytest.raises(ValueError, match="of another shape"):
        run.net(1, ToyNet(4))
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        open_run(folder / "nowhere")
    with pytest.raises(FileNotFoundError, match="holds no run"):
        open_run(folder / "watch")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 2}, "newer version"),
        ({"status": "fine"}, "'status'"),
        ({"epochs_done": -1}, "'epochs_done'"),
        ({"epochs_done": True}, "'epochs_done'"),
        ({"kind": None}, "'kind'"),
        ({"net": "ToyNet"}, "'net'"),
        ({"data": []}, "'data.classes'"),
        ({"data": {"classes": CLASSES, "size": [10**9, 1]}}, "'data.size'"),
        ({"data": {"classes": [], "size": [96, 96]}}, "'data.classes'"),
        ({"data": {"classes": ["cat"], "size": [96, 96]}}, "'present' is missing or not of shape"),
    ],
)
def test_a_damaged_description_is_refused(folder: Path, change: Any, said: str) -> None:
    about = json.loads((folder / "run.json").read_text())
    write_json(folder / "run.json", {**about, **change})
    with pytest.raises(ValueError, match=said):
        open_run(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"seconds": NaN}', "\x00\xff"])
def test_text_that_is_no_description_is_refused(folder: Path, text: str) -> None:
    (folder / "run.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match="is damaged"):
        open_run(folder)


def test_a_network_of_claimed_size_takes_no_memory(folder: Path) -> None:
    """10⁹ classes would be half a terabyte: the weights that lie there do not fit it, and that is said at once."""
    about = json.loads((folder / "run.json").read_text())
    about["net"]["config"]["classes"] = 10**9
    write_json(folder / "run.json", about)
    with pytest.raises(ValueError, match="of another shape"):
        open_run(folder).net()


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"net": "Popen", "config": {}}, "unknown network 'Popen'"),
        ({"net": "ToyNet", "config": {"depth": 3}}, "cannot be built"),
        ({"net": "ToyNet", "config": {"classes": "many"}}, "cannot be built"),
        ({"net": "Mine", "config": None}, "give one, net\\(module"),
        ({"config": {}}, "does not say"),
    ],
)
def test_a_network_that_cannot_be_built_is_said(spec: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rebuilt(spec, {}, "x")


def header_of(shape: tuple[int, ...], dtype: str) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (header_of((10**6, 10**6), "<f8"), "claims"),
        (header_of((2,), "|O") + b"cos\nsystem\n(S'true'\ntR.", "not numbers or text"),
        (b"no array", "no readable file"),
        (header_of((4,), "<f4") + b"\0" * 7, "EOF"),
    ],
)
def test_arrays_that_lie_are_refused_before_they_take_memory(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("current.npy", content)
    with pytest.raises(ValueError, match=said):
        read_arrays(path)


def test_an_archive_that_unpacks_to_more_than_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from camwidgets import files

    monkeypatch.setattr(files, "MOST_ARRAYS", 1000)
    write_arrays(tmp_path / "a.npz", {"a": np.zeros(600, np.uint8), "b": np.zeros(600, np.uint8)})
    with pytest.raises(ValueError, match="take more than"):
        read_arrays(tmp_path / "a.npz")
    assert read_arrays(tmp_path / "a.npz", ("b",))["b"].shape == (600,)


@pytest.mark.parametrize(("twin", "said"), [("ids", "no array"), ("ids.npy", "there twice"), ("x/ids", "no array")])
def test_a_member_that_is_not_the_one_checked_is_refused(tmp_path: Path, twin: str, said: str) -> None:
    """By "ids" numpy reads the member of that very name, whatever "ids.npy" was found to take."""
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(twin, bytes(10**6))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a name that is there twice
            file.writestr("ids.npy", header_of((1,), "<U1") + "a".encode("utf-32-le"))
    with pytest.raises(ValueError, match=said):
        read_arrays(tmp_path / "a.npz", ("ids",))


def test_maps_of_another_run_are_refused(folder: Path) -> None:
    write_arrays(folder / "watch" / "epoch_001.npz", {"current": np.zeros((2, 4, 4, 4), np.float16)})
    with pytest.raises(ValueError, match="not maps of 2 pictures × 3 classes"):
        open_run(folder).maps(1, "a")


def test_maps_without_a_pixel_are_damage_of_one_epoch(folder: Path) -> None:
    write_arrays(folder / "watch" / "epoch_001.npz", {"current": np.zeros((2, 3, 0, 0), np.float16)})
    with pytest.raises(ValueError, match=r"epoch_001\.npz' is damaged: 'current' is float16 of shape \(2, 3, 0, 0\)"):
        open_run(folder).maps(1, "a")
    assert open_run(folder).maps(2, "a") is not None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pictures": np.ones((2, 96, 96, 3), bool)}, "'pictures' is missing or not of shape .* and type uint8"),
        ({"masks": np.ones((2, 96, 96), np.uint16)}, "'masks' is missing or not of shape .* and type uint8"),
        ({"present": np.full((2, 3), 2, np.uint8)}, "'present' is missing or not of shape .* and type bool"),
        ({"ids": np.array(["a", "a"])}, "an id is there twice"),
    ],
)
def test_watched_pictures_of_another_kind_are_refused(folder: Path, change: Any, said: str) -> None:
    path = folder / "watch" / "pictures.npz"
    write_arrays(path, {**read_arrays(path), **change})
    with pytest.raises(ValueError, match=said):
        open_run(folder)


def test_a_damaged_table_is_refused(folder: Path) -> None:
    (folder / "metrics.csv").write_text("what,ever\n1,2\n")
    with pytest.raises(ValueError, match="is damaged"):
        open_run(folder).metrics()


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def fails() -> None:
        with replaced(path) as file:
            file.write(b"half of")
            raise OSError("disk full")

    with pytest.raises(OSError, match="full"):
        fails()
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["a"]
    with replaced(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"
