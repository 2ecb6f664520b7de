"""CamExplorer without a browser: traits, the worker, stale answers, errors, what it leaves behind."""

from __future__ import annotations

import gc
import io
import json
import re
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

import camwidgets
from camwidgets import CamExplorer, Explanation
from camwidgets.widgets import sources
from camwidgets.widgets.cam.export import export_html
from camwidgets.widgets.worker import Superseded, Ticket, Worker
from tests.explorer_nets import LABELS, Gate, photo, small


@pytest.fixture
def explorer() -> Iterator[CamExplorer]:
    made = CamExplorer(small(), pictures={"first": photo(1), "second": photo(2), "third": photo(3)})
    yield made.wait()
    made.close()


def layout_maps(explorer: CamExplorer) -> dict[tuple[str, str, bool], np.ndarray]:
    """The bytes that the front end gets, cut as it cuts them."""
    floats, at, found = np.frombuffer(explorer._maps, "<f4"), 0, {}
    sizes = {s["name"]: (s["height"], s["width"]) for s in explorer._scene["stages"]}
    for entry in explorer._scene["layout"]:
        h, w = sizes[entry["stage"]]
        found[entry["sign"], entry["stage"], entry["ungridded"]] = floats[at : at + h * w].reshape(h, w)
        at += h * w
    assert at == len(floats)
    return found


# ---------------------------------------------------------------------------------------------- what is shown


def test_first_view_is_the_top_class_of_the_first_picture(explorer: CamExplorer) -> None:
    best = small().predict(photo(1))[0]
    assert (explorer.picture, explorer.target) == ("first", best.index)
    assert explorer._scene["target"]["label"] == best.label
    assert explorer._scene["target"]["probability"] == pytest.approx(best.probability, abs=1e-6)
    assert [entry["index"] for entry in explorer._scene["top"]] == [p.index for p in small().predict(photo(1), 5)]
    assert explorer.stages == ["S3", "S4", "S5"]
    assert explorer.error is None


def test_the_bytes_are_the_core_s_stage_maps(explorer: CamExplorer) -> None:
    evidence = camwidgets.capture(small(), photo(1), explorer.target)
    sent = layout_maps(explorer)
    for sign in ("positive", "signed", "absolute", "negative"):
        for stage, values in camwidgets.maps.stage_maps(evidence, "layercam", sign, list(evidence.stages)).items():
            np.testing.assert_allclose(sent[sign, stage, False], values, atol=1e-6)
    official = camwidgets.maps.PRESETS["official-script"]
    script = camwidgets.maps.stage_maps(evidence, "layercam", "positive", ["S2"], official)
    np.testing.assert_allclose(sent["positive", "S2", True], script["S2"], atol=1e-6)
    assert not np.allclose(sent["positive", "S2", True], sent["positive", "S2", False])


def test_explanation_is_the_core_s_for_the_view(explorer: CamExplorer) -> None:
    explorer.stages, explorer.gradient, explorer.gamma, explorer.reduce = ["S5", "S2"], "absolute", 3.5, "mean"
    asked = camwidgets.explain(
        small(), photo(1), target=explorer.target, stages=["S2", "S5"], gradient="absolute", gamma=3.5, reduce="mean"
    )
    np.testing.assert_allclose(explorer.explanation.map, asked.map, atol=1e-6)
    assert explorer.stages == ["S2", "S5"]  # shallow to deep, however they were given


def test_a_switch_never_runs_the_network(explorer: CamExplorer) -> None:
    before = dict(explorer._pipeline.passes)
    explorer.gamma, explorer.scale, explorer.gradient, explorer.stages = 3.0, "cbrt", "signed", ["S1"]
    explorer.opacity, explorer.threshold, explorer.channel_stage = 0.3, 0.5, "S5"
    assert explorer.explanation.stage_maps.keys() == {"S1"}
    assert explorer._pipeline.passes == before


def test_class_costs_one_backward_and_method_none(explorer: CamExplorer) -> None:
    explorer.target = "owl"
    assert explorer.wait().target == 1
    assert explorer._pipeline.passes == {"forward": 1, "backward": 2}
    explorer.method = "gradcam"
    assert explorer.wait()._scene["method"]["title"] == "Grad-CAM"
    assert explorer.gradient == "signed"  # as published for the method
    explorer.method, explorer.gradient = "normgrad", "absolute"  # a choice made meanwhile stays
    assert explorer.wait().gradient == "absolute"
    explorer.method, explorer.gradient = "gradcam", "signed"
    explorer.wait()
    assert explorer._pipeline.passes == {"forward": 1, "backward": 2}
    np.testing.assert_allclose(
        explorer.explanation.map,
        camwidgets.explain(small(), photo(1), "gradcam", target=1, stages=explorer.stages).map,
        atol=1e-6,
    )


def test_a_new_picture_starts_at_its_own_top_class(explorer: CamExplorer) -> None:
    explorer.target = "<script>alert(1)</script>"
    explorer.wait().picture = "second"
    assert explorer.wait().target == small().predict(photo(2))[0].index
    assert explorer._scene["picture"]["name"] == "second"


def test_networks_to_choose_from() -> None:
    with_two = CamExplorer(small("a"), photo(1), classifiers=[small("b", seed=5)])
    with_two.wait().network = "b"
    assert with_two.wait()._scene["network"] == "b"
    assert [o["value"] for o in with_two._networks][:3] == ["a", "b", "efficientnet_lite0"]
    with_two.close()


def test_the_picture_is_crisper_where_it_has_the_pixels() -> None:
    large = CamExplorer(small(), photo(1, (300, 300), detail=4)).wait()
    assert large._scene["picture"] == {"name": "picture 1", "height": 128, "width": 128}
    assert len(large._picture) == 128 * 128 * 3
    seen = np.asarray(Image.frombytes("RGB", (128, 128), large._picture).resize((64, 64), Image.Resampling.BOX), int)
    assert np.abs(seen - large.explanation.picture).mean() < 4  # the same part of the picture
    large.close()


def test_single_channels_sum_to_the_stage_map(explorer: CamExplorer) -> None:
    explorer.channel_stage = "S5"
    total, shares = np.zeros((4, 4), np.float32), []
    for rank in range(12):
        explorer.channel_rank = rank
        total += np.frombuffer(explorer._channel_map, "<f4").reshape(4, 4)
        shares.append(explorer._channel["share"])
    np.testing.assert_allclose(total, layout_maps(explorer)["positive", "S5", False], atol=1e-6)
    assert shares == sorted(shares, reverse=True)
    assert sum(share for share in shares if share > 0) == pytest.approx(1, abs=1e-5)


def test_presets_set_the_switches(explorer: CamExplorer) -> None:
    explorer.preset = "pytorch-grad-cam"
    assert (explorer.scale, explorer.reduce) == ("none", "mean")
    np.testing.assert_allclose(
        explorer.explanation.map,
        camwidgets.explain(small(), photo(1), target=explorer.target, preset="pytorch-grad-cam").map,
        atol=1e-6,
    )


# ---------------------------------------------------------------------------------------------- taking it away


@pytest.mark.parametrize(
    "view",
    [
        {},
        {"preset": "gated", "stages": ["S3", "S4", "S5"]},
        {"method": "xgradcam", "gradient": "absolute", "stages": ["S4"]},
        {"stages": ["S1", "S5"], "scale": "tan", "reduce": "product", "gamma": 0.7, "gradient": "signed"},
        {"target": "owl", "preset": "torchcam", "gamma": 1.3},
    ],
)
def test_copied_code_reproduces_the_map(view: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "it's a picture.png"
    Image.fromarray(photo(4)).save(path)
    explorer = CamExplorer(small(), path, **view).wait()
    space: dict[str, Any] = {"classifier": small()}
    exec(explorer.code, space)
    np.testing.assert_array_equal(space["explanation"].map, explorer.explanation.map)
    explorer.close()


def test_code_names_samples_and_the_embedded_network() -> None:
    explorer = CamExplorer().wait()
    assert "camwidgets.load('efficientnet_lite0')" in explorer.code
    space: dict[str, Any] = {}
    exec(explorer.code, space)
    np.testing.assert_array_equal(space["explanation"].map, explorer.explanation.map)
    explorer.close()


def test_saved_bundle_and_files(explorer: CamExplorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = Explanation.load(explorer.save(tmp_path / "kept"))
    np.testing.assert_array_equal(loaded.map, explorer.explanation.map)
    sent: list[Any] = []
    monkeypatch.setattr(explorer, "send", lambda content, buffers=None: sent.append((content, buffers)))
    for what in ("bundle", "html"):
        explorer._handle_custom_msg({"kind": "save", "what": what}, [])
    (bundle, html) = sent
    assert bundle[0]["name"].endswith(".zip")
    with zipfile.ZipFile(io.BytesIO(bundle[1][0])) as archive:
        archive.extractall(tmp_path / "zip")
    np.testing.assert_array_equal(Explanation.load(tmp_path / "zip" / "explanation").map, loaded.map)
    assert html[1][0].startswith(b"<!doctype html>")
    assert explorer._status == {"state": "idle"}


def test_html_holds_no_live_label_and_asks_for_nothing() -> None:
    evidence = camwidgets.capture(small(), photo(1), "<script>alert(1)</script>")
    page = export_html(evidence, name="</script><img src=x onerror=alert(2)>.png")
    assert "<script>alert(1)" not in page
    assert "<img" not in page
    assert page.count("</script") == 2  # the data and the code, each closed once
    assert not re.findall(r"(?:https?:)?//[\w.]+\.\w+/", page)
    data = json.loads(page.split('id="traits">')[1].split("</script>")[0])
    assert data["_scene"]["target"]["label"] == LABELS[3]


# ---------------------------------------------------------------------------------------------- the worker


def test_only_the_newest_request_is_answered() -> None:
    gate = Gate()
    explorer = CamExplorer(small(module=gate), pictures={"first": photo(1), "second": photo(2), "third": photo(3)})
    explorer.wait()
    shown: list[str] = []
    explorer.observe(lambda change: shown.append(change.new["picture"]["name"]), "_scene")
    gate.open.clear()
    gate.begun.clear()
    explorer.picture = "second"
    assert gate.begun.wait(10)
    assert explorer._status["state"] == "working"
    explorer.picture = "first"
    explorer.picture = "third"
    gate.open.set()
    assert explorer.wait().picture == "third"
    assert shown == ["third"]
    assert explorer._scene["picture"]["name"] == "third"
    explorer.close()


def test_cancel_keeps_the_view() -> None:
    gate = Gate()
    explorer = CamExplorer(small(module=gate), pictures={"first": photo(1), "second": photo(2)}).wait()
    number = explorer._scene["id"]
    gate.open.clear()
    gate.begun.clear()
    explorer.picture = "second"
    assert gate.begun.wait(10)
    explorer._handle_custom_msg({"kind": "cancel"}, [])
    assert (explorer.picture, explorer._status) == ("first", {"state": "idle"})
    gate.open.set()
    time.sleep(0.2)
    assert explorer.wait()._scene["id"] == number
    explorer.picture = "second"
    assert explorer.wait()._scene["picture"]["name"] == "second"
    explorer.close()


def test_everything_of_a_scene_travels_in_one_message(explorer: CamExplorer, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[set[str]] = []

    def note(key: Any = None) -> None:
        sent.append({key} if isinstance(key, str) else set(key))

    monkeypatch.setattr(explorer, "send_state", note)
    explorer.picture = "second"
    explorer.wait()
    (scene,) = [names for names in sent if "_scene" in names]
    assert {"_scene", "_picture", "_maps", "_status"} <= scene
    assert not any(names & {"_picture", "_maps"} for names in sent if names is not scene)


def test_worker_drops_and_ends() -> None:
    go, done = threading.Event(), []

    def work(job: str, ticket: Ticket) -> None:
        go.wait(10)
        try:
            ticket.check()
        except Superseded:
            return
        done.append(job)

    worker = Worker(work, "under test")
    for job in "abc":
        worker.submit(job)
    assert worker.busy
    assert not worker.wait(0.05)
    go.set()
    assert worker.wait(10)
    assert done == ["c"]
    worker.close()
    worker.submit("d")
    assert done == ["c"]
    assert not [thread for thread in threading.enumerate() if thread.name == "under test"]


def test_two_hundred_interactions_leave_nothing() -> None:
    classifier, others = small(), set(threading.enumerate())
    state = {name: tensor.clone() for name, tensor in classifier.module.state_dict().items()}
    explorer = CamExplorer(classifier, pictures={"first": photo(1), "second": photo(2)}).wait()

    def interact(i: int) -> None:
        explorer.picture = ("first", "second")[i % 2]
        explorer.wait().target = i % 6
        explorer.wait().method = ("layercam", "gradcam")[i % 2]
        explorer.wait()
        explorer.gamma, explorer.channel_stage, explorer.channel_rank = 1 + i / 100, f"S{1 + i % 5}", i % 4
        assert explorer.error is None

    for i in range(20):
        interact(i)
    gc.collect()
    before = psutil.Process().memory_info().rss
    for i in range(180):
        interact(i)
    gc.collect()
    grown = (psutil.Process().memory_info().rss - before) / 2**20
    assert grown < 20, f"{grown:.1f} MB more after 180 interactions"
    explorer.close()
    assert not [thread for thread in set(threading.enumerate()) - others if thread.name.startswith("camwidgets")]
    assert all(torch.equal(state[name], tensor) for name, tensor in classifier.module.state_dict().items())
    assert not any(m._forward_hooks or m._backward_hooks for m in classifier.module.modules())
    assert all(p.grad is None and p.requires_grad for p in classifier.module.parameters())


# ---------------------------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("gamma", 0.0, "above 0"),
        ("gamma", float("nan"), "finite"),
        ("stages", [], "no stage was given"),
        ("stages", ["S9"], "unknown stage 'S9'"),
        ("method", "gradcamm", "did you mean 'gradcam'"),
        ("gradient", "postive", "did you mean 'positive'"),
        ("scale", "log", "unknown scale"),
        ("reduce", "sum", "unknown reduction"),
        ("preset", "papr", "did you mean 'paper'"),
        ("colormap", "rainbow", "unknown colour table"),
        ("opacity", 1.5, "0 … 1"),
        ("target", "foks", "did you mean 'fox'"),
        ("target", 6, "classes 0 … 5"),
        ("target", -1, "out of range"),
        ("network", "resnet51", "did you mean 'resnet"),
        ("picture", "/no/such/picture.jpg", "no picture or folder"),
    ],
)
def test_a_wrong_value_is_refused_in_words(explorer: CamExplorer, name: str, value: Any, words: str) -> None:
    before = getattr(explorer, name)
    with pytest.raises(ValueError, match=re.escape(words)):
        setattr(explorer, name, value)
    assert getattr(explorer, name) == before
    assert explorer.wait().error is None
    explorer._handle_msg({"content": {"data": {"method": "update", "state": {name: value}}}, "buffers": []})
    assert words in (explorer.error or "")  # from the front end: said in the widget, not raised
    explorer.picture = "second"
    assert explorer.wait().error is None


def test_what_the_constructor_refuses() -> None:
    with pytest.raises(TypeError, match=r"camwidgets\.wrap"):
        CamExplorer(small().module)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="did you mean 'gamma'"):
        CamExplorer(small(), photo(), gama=2)
    with pytest.raises(FileNotFoundError, match="no picture or folder"):
        CamExplorer(small(), "/no/such/picture.jpg")
    wrong = CamExplorer(small(), photo(), stages=["S9"]).wait()
    assert "unknown stage 'S9'" in (wrong.error or "")
    wrong.close()


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("cut.jpg", b"\xff\xd8\xff\xe0 not a picture", "picture"),
        ("<img src=x onerror=alert(1)>.png", b"", "picture"),
        ("tiny.png", None, "8×8"),
    ],
)
def test_an_upload_that_is_no_picture(explorer: CamExplorer, name: str, data: bytes | None, words: str) -> None:
    if data is None:
        buffer = io.BytesIO()
        Image.new("RGB", (1, 1)).save(buffer, "PNG")
        data = buffer.getvalue()
    explorer._handle_custom_msg({"kind": "upload", "name": name}, [memoryview(data)])
    assert words in (explorer.wait().error or "")
    assert "Traceback" in explorer._status["details"]
    assert explorer.picture == "first"
    explorer._handle_custom_msg({"kind": "dismiss"}, [])
    assert explorer._status == {"state": "idle"}


def test_uploads_and_folders(explorer: CamExplorer, tmp_path: Path) -> None:
    for i in range(3):
        Image.fromarray(photo(i)).save(tmp_path / f"{i}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    data = (tmp_path / "0.png").read_bytes()
    explorer._handle_custom_msg({"kind": "upload", "name": "mine.png"}, [memoryview(data)])
    assert explorer.wait()._scene["picture"]["name"] == "mine.png"
    explorer._handle_custom_msg({"kind": "open", "path": str(tmp_path)}, [])
    assert explorer.wait()._scene["picture"]["name"] == "0.png"
    assert [o["text"] for o in explorer._pictures if o["group"] == tmp_path.name] == ["0.png", "1.png", "2.png"]
    explorer._handle_custom_msg({"kind": "open", "path": str(tmp_path / "no.png")}, [])
    assert "no picture or folder" in (explorer.error or "")
    empty = tmp_path / "empty"
    empty.mkdir()
    explorer._handle_custom_msg({"kind": "open", "path": str(empty)}, [])
    assert "no picture in the folder" in (explorer.error or "")


def test_a_network_that_answers_nan(explorer: CamExplorer) -> None:
    broken = small("broken")
    with torch.no_grad():
        list(broken.module.parameters())[-1].fill_(float("nan"))
    both = CamExplorer(small(), photo(1), classifiers=[broken]).wait()
    both.network = "broken"
    assert "NaN" in (both.wait().error or "")
    assert both.network == "small"
    assert both.explanation.map.max() > 0
    both.close()


def test_weights_are_downloaded_only_when_asked(explorer: CamExplorer, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def unreachable(name: str, **_: Any) -> Any:
        asked.append(name)
        raise ConnectionError(f"the weights of {name} could not be downloaded")

    monkeypatch.setattr(sources, "cached", lambda name: False)
    monkeypatch.setattr("camwidgets.classifiers.registry.load", unreachable)
    explorer.network = "resnet50"
    assert explorer.wait()._status["state"] == "offer"
    assert re.fullmatch(r"Download \d+\.\d MB", explorer._status["offer"])
    assert asked == []
    explorer._handle_custom_msg({"kind": "offer"}, [])
    assert "could not be downloaded" in (explorer.wait().error or "")
    assert "needs no download" in explorer._status["hint"]
    assert (asked, explorer.network) == (["resnet50"], "small")


def test_a_download_says_how_far_it_is(explorer: CamExplorer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    heard: list[str] = []
    monkeypatch.setattr(sources, "weights_file", lambda name: tmp_path / "resnet18.pth")
    monkeypatch.setattr(sources, "cached", lambda name: False)

    def slow(name: str, **_: Any) -> Any:
        (tmp_path / "resnet18.pth.0123.partial").write_bytes(bytes(3 * 2**20))
        time.sleep(0.7)
        return small("resnet18", seed=3)

    monkeypatch.setattr("camwidgets.classifiers.registry.load", slow)
    explorer.observe(lambda change: heard.append(change.new.get("text", "")), "_status")
    explorer.network = "resnet18"
    explorer.download().wait()
    assert any(re.fullmatch(r"downloading resnet18: 3 of 4\d MB …", text) for text in heard)
    assert explorer._scene["network"] == "resnet18"
    assert not [thread for thread in threading.enumerate() if thread.name == "camwidgets-download"]


def test_prints_what_it_shows(explorer: CamExplorer) -> None:
    assert repr(explorer) == f"CamExplorer('first', small, {LABELS[explorer.target]!r}, LayerCAM)"


def test_a_flat_map_says_why(explorer: CamExplorer) -> None:
    silent = small("silent")
    with torch.no_grad():
        last = [m for m in silent.module.modules() if isinstance(m, torch.nn.Conv2d)][-1]
        last.weight.zero_()
        torch.nn.init.constant_(last.bias, -1)  # type: ignore[arg-type]
    blank = CamExplorer(silent, photo(1), stages=["S5"]).wait()
    assert "every channel" in blank.reason
    assert blank.explanation.reason == blank.reason
    blank.stages = ["S4", "S5"]
    assert blank.reason
    blank.close()


def test_cam_has_one_stage_and_one_sign() -> None:
    explorer = CamExplorer(small(), photo(1), method="cam", stages=["S3", "S5"]).wait()
    assert explorer.error is None
    assert [s["name"] for s in explorer._scene["stages"] if s["usable"]] == ["S5"]
    assert explorer.explanation.stage_maps.keys() == {"S5"}
    explorer.gradient = "negative"
    np.testing.assert_array_equal(
        explorer.explanation.map, camwidgets.explain(small(), photo(1), "cam", target=explorer.target).map
    )
    explorer.close()
