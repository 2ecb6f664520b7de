"""Playback without a browser: what the view gets are the run's maps; two runs, following, trees, damage, pages."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import traitlets

from camwidgets import Playback
from camwidgets.files import write_arrays, write_json
from camwidgets.learning.run import open_run
from camwidgets.widgets.playback import reel as playback_reel
from camwidgets.widgets.playback import work as playback_work
from camwidgets.widgets.playback.reel import quantised
from camwidgets.widgets.worker import Superseded
from tests.playback_runs import SIDE, about_of, write_epoch, write_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "oaa")


@pytest.fixture
def playback(folder: Path) -> Iterator[Playback]:
    made = Playback(folder).wait()
    yield made
    made.close()


def until(holds: Callable[[], Any], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


def shown(playback: Playback, layer: str, run: int = 0) -> np.ndarray:
    """The map of the present view as the front end reads it from the bytes, in the run's own values."""
    reel = next(one for one in playback._reels if one["id"] == playback.picture and one["run"] == run)
    words = next(one for one in reel["layers"] if one["name"] == layer)
    picture = next(one for one in playback._pictures if one["id"] == playback.picture)
    place = [c["label"] for c in picture["classes"]].index(playback.label)
    at, size = words["epochs"].index(playback.epoch), words["height"] * words["width"]
    begin = words["at"] + (at * len(picture["classes"]) + place) * size
    found = np.frombuffer(playback._maps1 if run else playback._maps0, np.uint8)[begin : begin + size]
    return found.reshape(words["height"], words["width"]) * (words["scales"][at] / 255)


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("camwidgets-playback")]


# ---------------------------------------------------------------------------------------------- what is seen


def test_the_view_gets_the_maps_of_the_run_to_eight_bits(playback: Playback, folder: Path) -> None:
    run = open_run(folder)
    for epoch, picture, label in ((6, "a", "cat"), (1, "a", "dog"), (4, "c", "bird")):
        playback.epoch = epoch
        playback.picture = picture
        playback.label = label
        for layer in ("current", "cumulative", "dropped"):
            asked = run.maps(epoch, picture, layer)
            assert asked is not None
            np.testing.assert_allclose(shown(playback, layer), asked[run.classes.index(label)], atol=0.5 / 255 + 1e-6)
            np.testing.assert_array_equal(playback.map(layer), asked[run.classes.index(label)])
    playback.epoch = 0
    with pytest.raises(ValueError, match="unknown layer 'cumulative'; valid: current"):
        playback.map("cumulative")


def test_only_maps_of_classes_in_the_picture_travel(playback: Playback) -> None:
    words = {one["id"]: [c["label"] for c in one["classes"]] for one in playback._pictures}
    assert words == {"a": ["cat", "dog"], "b": ["dog"], "c": ["bird"]}
    maps = (2 + 1 + 1) * (7 + 6 + 6)  # classes × epochs of current, cumulative, dropped
    assert len(playback._maps0) == maps * SIDE * SIDE == playback._runs[0]["bytes"]


def test_large_and_faint_maps_keep_their_values() -> None:
    for most in (1.0, 0.3, 40.0, 0.002):
        maps = np.linspace(0, most, 50, dtype=np.float32)
        found, scale = quantised(maps)
        np.testing.assert_allclose(found * (scale / 255), maps, atol=0.5 / 255 * max(scale, 1e-9) * 1.001)
        assert scale == (1.0 if most in (1.0, 0.3) else np.float32(most))
    assert quantised(np.array([np.nan, -1.0, np.inf]))[0].tolist() == [0, 0, 255]
    assert quantised(np.zeros(3))[1] == 1.0


def test_the_share_on_the_object_is_the_energy_in_its_mask(playback: Playback, folder: Path) -> None:
    import torch

    run = open_run(folder)
    reel = next(one for one in playback._reels if one["id"] == "a")
    current = next(one for one in reel["layers"] if one["name"] == "current")
    maps, mask = run.maps(2, "a"), run.mask("a")
    assert maps is not None
    assert mask is not None
    large = torch.nn.functional.interpolate(torch.from_numpy(maps)[None], (96, 96), mode="bilinear")[0].numpy()
    wanted = [large[c][mask == c + 1].sum() / large[c].sum() for c in (0, 1)]
    np.testing.assert_allclose(current["inside"][current["epochs"].index(2)], wanted, atol=1e-3)
    other = next(one for one in playback._reels if one["id"] == "b")
    assert other["layers"][0]["inside"][0] == [None]  # no mask, no share


def test_everything_to_begin_with(playback: Playback) -> None:
    assert (playback.epoch, playback.picture, playback.label) == (6, "a", "cat")
    assert playback.layers == ["picture", "current", "cumulative", "dropped"]
    assert playback.curves == ["recall", "noise"]
    assert playback._runs[0]["metrics"]["recall"][2] == pytest.approx(0.3)
    assert playback._weights == [0, 1, 2, 3, 4, 5, 6]
    assert (playback.error, playback._status) == (None, {"state": "idle"})
    assert playback.run is not None
    assert playback.run.epochs_done == 6


def test_options_and_code_make_the_same_view(folder: Path) -> None:
    asked: dict[str, Any] = {
        "epoch": 3,
        "picture": "a",
        "label": "dog",
        "layers": ["current", "dropped"],
        "scale": "own",
        "since": 2,
    }
    first = Playback(folder, **asked).wait()
    names: dict[str, Any] = {}
    exec(first.code, names)
    second = names["playback"].wait()
    try:
        for name, value in asked.items():
            assert getattr(second, name) == getattr(first, name) == value
        assert "opacity" not in first.code
        np.testing.assert_array_equal(first.map(), second.map())
    finally:
        first.close()
        second.close()


# ---------------------------------------------------------------------------------------------- what may be asked


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("epoch", 9, "no maps were kept for epoch 9; valid: 0, 1, 2"),
        ("since", -1, "no weights were kept for epoch -1"),
        ("picture", "z", "unknown watched picture 'z'; valid: a, b, c"),
        ("label", "bird", "unknown class of the picture 'a' 'bird'; valid: cat, dog"),
        ("layers", ["past"], "unknown layer 'past'; valid: picture, current"),
        ("curves", ["accuracy"], "unknown metric 'accuracy'; valid: total, recall, noise"),
        ("opacity", 1.5, "opacity must lie in 0 … 1"),
        ("speed", 0.0, "speed is in epochs a second"),
        ("scale", "log", "unknown scale 'log'; valid: fixed, own"),
        ("colormap", "rainbow", "unknown colour table"),
        ("against", "other", "no other run"),
    ],
)
def test_what_cannot_be_is_refused_and_said(playback: Playback, name: str, value: Any, said: str) -> None:
    before = getattr(playback, name)
    with pytest.raises(traitlets.TraitError, match=said):
        setattr(playback, name, value)
    assert getattr(playback, name) == before
    playback.set_state({name: value})  # as from the front end: said in the widget, nothing raised
    assert playback.error is not None
    assert said.split(";")[0] in playback.error
    assert getattr(playback, name) == before


def test_a_picture_brings_a_class_of_its_own(playback: Playback) -> None:
    playback.picture = "c"
    assert playback.label == "bird"
    playback.set_state({"picture": "a", "label": "dog"})
    assert (playback.picture, playback.label, playback.error) == ("a", "dog", None)
    playback.picture = "b"
    assert playback.label == "dog"  # it is there as well: kept


def test_wrong_arguments_are_said(tmp_path: Path, folder: Path, playback: Playback) -> None:
    with pytest.raises(ValueError, match=r"unknown option of Playback 'epok'.*did you mean 'epoch'"):
        Playback(folder, epok=3)
    with pytest.raises(TypeError, match="takes a Run or the folder of one; got int"):
        Playback(3)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        Playback(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="holds no run"):
        Playback(tmp_path)
    with pytest.raises(traitlets.TraitError, match="no maps were kept for epoch 17"):
        Playback(folder, epoch=17)
    with pytest.raises(ValueError, match="there is no such run"):
        playback.map(other=True)


# ---------------------------------------------------------------------------------------------- runs that are not whole


def test_a_run_of_a_newer_version_and_a_damaged_one(tmp_path: Path) -> None:
    there = write_run(tmp_path / "run", epochs=2)
    write_json(there / "run.json", about_of(2, schema=9))
    with pytest.raises(ValueError, match="newer version"):
        Playback(there)
    (there / "run.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        Playback(there)


def test_a_damaged_epoch_is_left_out_and_said(tmp_path: Path) -> None:
    there = write_run(tmp_path / "run", epochs=4)
    (there / "watch" / "epoch_002.npz").write_bytes(b"half of it")
    write_arrays(there / "watch" / "epoch_003.npz", {"current": np.zeros((3, 9, 4, 4), np.float16)})
    playback = Playback(there).wait()
    try:
        assert playback._epochs == [0, 1, 4]
        first, second = playback._runs[0]["damaged"]
        assert first.startswith("epoch 2:")
        assert "no readable file" in first
        assert "not maps of 3 pictures" in second
        np.testing.assert_allclose(shown(playback, "current"), playback.map(), atol=0.01)
    finally:
        playback.close()


def test_no_epoch_yet_and_no_watched_pictures(tmp_path: Path) -> None:
    there = write_run(tmp_path / "run", epochs=0)
    for path in (there / "watch" / "epoch_000.npz", there / "weights" / "epoch_000.safetensors"):
        path.unlink()
    begun = Playback(there).wait()
    assert (begun._epochs, begun.picture, [one["layers"] for one in begun._reels]) == ([], "a", [[], [], []])
    write_epoch(there, 1)
    begun.look().wait()
    assert (begun.epoch, begun._epochs) == (1, [1])
    begun.close()
    blind = write_run(tmp_path / "blind", epochs=3, n=0)
    for path in (blind / "watch").glob("epoch_*"):
        path.unlink()
    playback = Playback(blind).wait()
    assert (playback._pictures, playback._epochs) == ([], [])
    assert (playback._runs[0]["watched"], playback._runs[0]["damaged"]) == (0, [])
    assert playback._runs[0]["metrics"]["recall"] == pytest.approx([0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="no picture to grow a tree for"):
        playback.tree_diff()
    playback.close()


# ---------------------------------------------------------------------------------------------- two runs


def test_two_runs_are_linked_by_epoch_and_picture(tmp_path: Path, folder: Path) -> None:
    other = write_run(tmp_path / "oaa++", epochs=4, n=2, seed=2)
    playback = Playback(folder, other).wait()
    try:
        assert [one["id"] for one in playback._pictures] == ["a", "b"]
        assert playback._note.startswith(
            "Shown are the pictures that both runs watched; 1 of the first and 0 of the other"
        )
        playback.epoch = 3
        np.testing.assert_allclose(shown(playback, "current", 1), playback.map(other=True), atol=0.01)
        assert np.abs(shown(playback, "current") - shown(playback, "current", 1)).max() > 0.2
        playback.epoch = 6  # the other ended at 4
        np.testing.assert_array_equal(playback.map(other=True), open_run(other).maps(4, "a")[0])  # type: ignore[index]
        playback.against = "other"
        assert playback.tree_diff().wait().diff is not None
        assert playback._tree["names"] == ["oaa, epoch 6", "oaa++, epoch 4"]
    finally:
        playback.close()


def test_runs_that_cannot_stand_side_by_side(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ValueError, match="watched different pictures: a, b, c and x, y, z; train both with the same"):
        Playback(folder, write_run(tmp_path / "others", epochs=1, ids=["x", "y", "z"]))
    with pytest.raises(ValueError, match="picture 'a' is not the same in both runs"):
        Playback(folder, write_run(tmp_path / "moved", epochs=1, ids=["b", "a", "c"]))
    there = write_run(tmp_path / "classes", epochs=1)
    about = about_of(1)
    about["data"]["classes"] = ["cat", "dog", "fish"]
    write_json(there / "run.json", about)
    with pytest.raises(ValueError, match="know different classes: cat, dog, bird and cat, dog, fish"):
        Playback(folder, there)


# ---------------------------------------------------------------------------------------------- following


def test_new_epochs_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playback_work, "EVERY", 0.02)
    there = tmp_path / "run"
    playback = Playback(there, follow=True)
    try:
        assert playback.run is None
        assert playback._runs == []
        write_run(there, epochs=1)
        until(lambda: playback._epochs == [0, 1] and playback._reels and playback.wait().epoch == 1)
        assert (playback.picture, playback.layers) == ("a", ["picture", "current", "cumulative", "dropped"])
        write_epoch(there, 2)
        until(lambda: playback._epochs == [0, 1, 2] and len(playback.wait()._reels[0]["layers"][0]["epochs"]) == 3)
        assert playback.epoch == 2  # the last was shown: the last is shown
        playback.epoch = 1
        write_epoch(there, 3)
        until(lambda: playback._epochs == [0, 1, 2, 3])
        assert playback.wait().epoch == 1  # who looks at another epoch is not disturbed
        np.testing.assert_allclose(shown(playback, "current"), playback.map(), atol=0.01)
        (there / "run.json").write_text("{")
        until(lambda: playback.error)
        assert "damaged" in str(playback.error)
        write_epoch(there, 4)
        until(lambda: playback._epochs[-1] == 4)
        playback.follow = False
        until(lambda: "camwidgets-playback-follow" not in threads())
    finally:
        playback.close()


@pytest.mark.parametrize("half", [False, True])
def test_maps_that_were_not_there_yet_are_read_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, half: bool
) -> None:
    """Somebody looks between an epoch's weights and its maps, or while a run is copied: that is no lasting damage."""
    monkeypatch.setattr(playback_work, "EVERY", 0.02)
    there = write_run(tmp_path / "run", epochs=0)
    late = there / "watch" / "epoch_000.npz"
    late.rename(tmp_path / "late")
    if half:
        late.write_bytes((tmp_path / "late").read_bytes()[:300])
    playback = Playback(there, follow=True).wait()
    try:
        assert [one["layers"] for one in playback._reels] == [[]] * 3
        assert len(playback._runs[0]["damaged"]) == half
        (tmp_path / "late").rename(late)
        write_epoch(there, 1)
        until(lambda: playback.wait()._epochs == [0, 1] and playback._reels and playback._reels[0]["layers"])
        assert playback._reels[0]["layers"][0]["epochs"] == [0, 1]
        assert not playback._runs[0]["damaged"]
    finally:
        playback.close()


def test_a_training_begun_anew_in_the_same_folder_is_not_mixed_with_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody deleted the folder and trained again with other settings: no map, picture or tree of the first stays."""
    monkeypatch.setattr(playback_work, "EVERY", 0.02)
    there = write_run(tmp_path / "run", epochs=4)
    playback = Playback(there, follow=True, epoch=2).wait()
    try:
        playback.tree_diff(since=3).wait()
        before = playback.map(), playback._picture_bytes
        shutil.rmtree(there)
        write_run(tmp_path / "new", epochs=2, seed=2, first=3).rename(there)
        until(lambda: playback.wait()._epochs == [0, 1, 2] and playback._reels[0]["layers"][0]["epochs"] == [0, 1, 2])
        for epoch in (0, 1, 2):
            playback.epoch = epoch
            np.testing.assert_allclose(shown(playback, "current"), playback.map(), atol=0.01)
        assert np.abs(playback.map() - before[0]).max() > 0.2
        assert playback._picture_bytes != before[1]
        assert (playback._tree, playback.diff, playback.since) == ({"state": "none"}, None, 0)
    finally:
        playback.close()


def test_what_happened_while_nobody_followed_is_read_when_following_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(playback_work, "EVERY", 0.02)
    there = write_run(tmp_path / "run", epochs=1)
    playback = Playback(there).wait()
    try:
        for epoch in (2, 3):
            write_epoch(there, epoch)
        playback.follow = True
        until(lambda: playback.wait()._epochs == [0, 1, 2, 3])
    finally:
        playback.close()


def test_a_killed_training_is_said_to_be_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file says "running" for ever; the process that wrote it says more."""
    monkeypatch.setattr(playback_work, "EVERY", 0.02)
    there = write_run(tmp_path / "run", epochs=2)
    playback = Playback(there, follow=True).wait()
    try:
        assert playback._runs[0]["text"] == "oaa · 2 of 6 epochs · training (or killed)"  # nobody said who trains
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
            write_json(there / "holder.json", {"pid": process.pid, "host": socket.gethostname()})
            until(lambda: playback.wait()._runs[0]["text"] == "oaa · 2 of 6 epochs · training")
            process.kill()
        until(lambda: playback.wait()._runs[0]["text"] == "oaa · 2 of 6 epochs · killed")
        assert "the same training with resume goes on after epoch 2" in playback._runs[0]["hint"]
        assert playback.epoch == 2
        write_json(there / "holder.json", {"pid": 1, "host": "another machine"})
        until(lambda: playback.wait()._runs[0]["text"].endswith("training (or killed)"))
    finally:
        playback.close()


@pytest.mark.parametrize("late", [0, 1])
def test_a_second_run_is_waited_for_while_the_first_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: int
) -> None:
    monkeypatch.setattr(playback_work, "EVERY", 0.02)
    folders = [tmp_path / "one", tmp_path / "two"]
    write_run(folders[1 - late], epochs=2, seed=1 - late)
    playback = Playback(*folders, follow=True, epoch=1).wait()
    try:
        assert [one["name"] for one in playback._runs] == [folders[1 - late].name]
        assert playback._note.startswith(f"There is no run in {folders[late]} yet")
        np.testing.assert_allclose(shown(playback, "current"), playback.map(), atol=0.01)
        write_epoch(folders[1 - late], 3, seed=1 - late)
        until(lambda: playback.wait()._epochs == [0, 1, 2, 3])
        assert (playback.error, playback.epoch) == (None, 1)
        write_run(tmp_path / "new", epochs=1, seed=late).rename(folders[late])
        until(lambda: len(playback.wait()._runs) == 2 and len(playback._reels) == 6)
        assert [one["name"] for one in playback._runs] == ["one", "two"]
        assert (playback.error, playback._note, playback.epoch) == (None, "", 1)
        for run in (0, 1):
            np.testing.assert_allclose(shown(playback, "current", run), playback.map(other=bool(run)), atol=0.01)
    finally:
        playback.close()
    with pytest.raises(FileNotFoundError, match="three"):
        Playback(folders[0], tmp_path / "three")


def test_only_what_is_new_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = write_run(tmp_path / "run", epochs=3)
    playback = Playback(there).wait()
    read: list[int] = []
    real = playback_reel.still_of

    def counted(stack: Any, run: Any, id: str) -> Any:
        read.append(1)
        return real(stack, run, id)

    monkeypatch.setattr(playback_reel, "still_of", counted)
    write_epoch(there, 4)
    playback.look().wait()
    assert (playback._epochs[-1], len(read)) == (4, 3)  # three pictures of one epoch
    playback.close()


# ---------------------------------------------------------------------------------------------- bounds


def test_too_many_maps_travel_picture_by_picture(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playback_reel, "EVERYTHING", 8000)
    playback = Playback(folder).wait()
    try:
        assert [one["id"] for one in playback._reels] == ["a"]
        assert len(playback._maps0) == 2 * 19 * SIDE * SIDE
        playback.picture = "c"
        assert [one["id"] for one in playback.wait()._reels] == ["c"]
        np.testing.assert_allclose(shown(playback, "cumulative"), playback.map("cumulative"), atol=0.01)
        assert all(set(stills) <= {"c"} for stills in playback._reel_of[0]._kept.values())  # a is not held any more
    finally:
        playback.close()


def test_too_many_epochs_are_thinned_and_that_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playback_reel, "ONE", 4 * 2 * 3 * SIDE * SIDE)
    monkeypatch.setattr(playback_reel, "EVERYTHING", 1)
    playback = Playback(folder).wait()
    try:
        assert playback._epochs == [0, 3, 6]
        assert playback._runs[0]["left_out"] == 4
        assert playback.epoch == 6
    finally:
        playback.close()


def test_large_pictures_travel_smaller(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playback_reel, "PICTURES", 3 * 3 * 48 * 48)
    words, pictures, masks = playback_reel.pictures_of(open_run(folder), ["a", "b", "c"])
    assert [(one["height"], one["width"]) for one in words] == [(48, 48)] * 3
    assert (len(pictures), len(masks)) == (3 * 48 * 48 * 3, 3 * 48 * 48)
    assert set(np.frombuffer(masks, np.uint8)[: 48 * 48].tolist()) == {0, 1, 2}


# ---------------------------------------------------------------------------------------------- trees


def test_the_trees_of_two_epochs_are_those_of_their_networks(playback: Playback, folder: Path) -> None:
    from camwidgets import decompose

    diff = playback.tree_diff(since=1).wait().diff
    assert diff is not None
    run = open_run(folder)
    trees = [decompose(run.classifier(e), run.picture("a"), "cat", top=3, depth=3) for e in (1, 6)]
    wanted = trees[0].diff(trees[1])
    assert diff.distance == pytest.approx(wanted.distance)
    assert {(c.stage, c.channel, c.kind) for c in diff.channels} == {
        (c.stage, c.channel, c.kind) for c in wanted.channels
    }
    words = playback._tree
    assert (words["state"], words["key"]) == ("done", ["since", 1, 6, "a", "cat"])
    for column in words["columns"]:
        strongest = max((c for c in wanted.channels if c.stage == column["stage"]), key=lambda c: abs(c.change))
        assert strongest.channel in [one["channel"] for one in column["channels"]]
    assert words["drawings"][0].startswith("<svg")
    json.dumps(words)
    with pytest.raises(ValueError, match="compared with itself"):
        playback.tree_diff(since=6)


def test_growing_can_be_cancelled(playback: Playback, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go = threading.Event(), threading.Event()
    ended: list[type[BaseException]] = []

    def slow(sides: Any, tell: Any) -> Any:
        tell("decomposing …", 0.3)
        begun.set()
        assert go.wait(60)
        try:
            tell("growing …", 0.6)
        except Superseded as error:
            ended.append(type(error))
            raise
        raise AssertionError("nobody ended it")

    monkeypatch.setattr(playback_work, "compared", slow)
    playback.tree_diff(since=0)
    assert begun.wait(60)
    assert playback._tree["share"] == 0.3
    playback.cancel()
    assert playback._tree["state"] == "none"
    go.set()
    until(lambda: ended)
    playback.wait()
    assert playback._tree["state"] == "none"
    assert playback.diff is None
    monkeypatch.undo()
    assert playback.tree_diff(since=0).wait().diff is not None


def test_a_network_that_cannot_be_taken_apart_is_said_in_its_place(tmp_path: Path) -> None:
    there = write_run(tmp_path / "run", epochs=2)
    (there / "weights" / "epoch_001.safetensors").write_bytes(b"no weights")
    playback = Playback(there).wait()
    try:
        playback._hear(None, {"kind": "tree", "asked": {"since": 1}}, [])
        playback.wait()
        assert playback._tree["state"] == "failed"
        assert playback._tree["text"]
        assert playback.error is None  # what is on screen is not at fault
        playback._hear(None, {"kind": "tree", "asked": {"since": 2}}, [])
        assert "compared with itself" in str(playback.error)
    finally:
        playback.close()


def test_a_network_of_ones_own_is_filled_and_left_as_it_was(tmp_path: Path) -> None:
    import torch

    from tests.playback_runs import net_of

    there = write_run(tmp_path / "run", epochs=2)
    about = json.loads((there / "run.json").read_text())
    about["net"]["config"] = None
    write_json(there / "run.json", about)
    own = net_of(99)
    before = {name: tensor.clone() for name, tensor in own.state_dict().items()}
    playback = Playback(there, module=own).wait()
    try:
        assert playback.tree_diff(since=0).wait()._tree["state"] == "done"
        assert all(torch.equal(before[name], tensor) for name, tensor in own.state_dict().items())
        assert own.training
    finally:
        playback.close()


# ---------------------------------------------------------------------------------------------- pages, threads


def test_the_page_holds_what_is_seen(playback: Playback, tmp_path: Path) -> None:
    playback.epoch = 2
    text = playback.to_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text("utf-8") == text
    held = json.loads(text.split('id="traits">')[1].split("</script>")[0])
    assert (held["epoch"], held["_still"], held["follow"]) == (2, True, False)
    import base64

    assert base64.b64decode(held["_maps0"]["$bytes"]) == playback._maps0


def test_closing_ends_the_threads(folder: Path) -> None:
    playback = Playback(folder, follow=True).wait()
    playback.tree_diff(since=0)
    playback.close()
    until(lambda: not threads())
    playback.close()
