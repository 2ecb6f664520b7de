"""`camwidgets explain`: what it writes, and what it says of pictures and names that are no good."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import camwidgets
from camwidgets import samples
from camwidgets.batch import OVERLAY_PAGE, PAGE, Settings, folders, write_explanation
from camwidgets.cli import app

SAVED = {"overlay.png", "picture.png", "explanation.json", "maps.npz"}
WRITTEN = {*SAVED, PAGE}


def explain(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["explain", *map(str, arguments)])


@pytest.fixture(scope="module")
def cat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "cat.png"
    samples.picture("cat").save(path)
    return path


@pytest.fixture(scope="module")
def coffee(cat: Path) -> Path:
    path = cat.with_name("coffee.png")
    samples.picture("coffee").save(path)
    return path


def test_a_folder_for_each_picture(cat: Path, coffee: Path, tmp_path: Path) -> None:
    result = explain(cat, coffee, "--out", tmp_path)
    assert result.exit_code == 0, result.stderr
    assert [line.partition(": ")[0] for line in result.stdout.splitlines()] == [str(cat), str(coffee)]
    for name in ("cat", "coffee"):
        assert {path.name for path in (tmp_path / name).iterdir()} == WRITTEN
        same = camwidgets.explain(camwidgets.load("efficientnet_lite0"), samples.picture(name))
        saved = camwidgets.Explanation.load(tmp_path / name)
        assert saved.label == same.label
        np.testing.assert_allclose(saved.map, same.map, atol=1e-5)
        with Image.open(tmp_path / name / "overlay.png") as overlay:
            assert np.asarray(overlay).std() > 10
        assert (tmp_path / name / PAGE).read_text("utf-8").startswith("<!doctype html>")
    assert "espresso" in result.stdout


def test_every_setting_arrives(cat: Path, tmp_path: Path) -> None:
    options = ["--method", "Grad-CAM", "--class", "tabby", "--stages", "S4, S5", "--sign", "absolute"]
    assert explain(cat, *options, "--preset", "torchcam", "--out", tmp_path).exit_code == 0
    about = json.loads((tmp_path / "cat" / "explanation.json").read_text("utf-8"))
    made = about["made_by"]
    assert (about["label"], about["stages"]) == ("tabby", ["S4", "S5"])
    assert (made["method"], made["gradient"], made["plan"]["name"]) == ("gradcam", "absolute", "torchcam")


def test_a_class_by_number_and_random_weights(cat: Path, tmp_path: Path) -> None:
    result = explain(cat, "--class", "7", "--weights", "none", "--out", tmp_path)
    assert result.exit_code == 0, result.stderr
    assert json.loads((tmp_path / "cat" / "explanation.json").read_text("utf-8"))["target"] == 7


def test_a_bad_picture_is_one_line_and_the_next_follows(cat: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("not a picture")
    tiny = tmp_path / "tiny.png"
    Image.new("RGB", (1, 1)).save(tiny)
    cut = tmp_path / "cut.png"
    cut.write_bytes(cat.read_bytes()[:2000])
    bad = [text, tiny, cut, tmp_path, tmp_path / "gone.png"]
    result = explain(*bad, cat, "--out", tmp_path / "out")
    assert result.exit_code == 1
    *lines, last = result.stderr.strip().splitlines()
    assert [line.partition(": ")[0] for line in lines] == list(map(str, bad))
    assert last == "5 of 6 pictures failed."
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["cat"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "resnet5000"], "unknown network 'resnet5000'"),
        (["--method", "gradcamel"], "unknown method 'gradcamel'; valid: layercam"),
        (["--class", "tabbi"], "did you mean 'tabby'?"),
        (["--class", "1000"], "class 1000 is out of range"),
        (["--stages", "S3,S9"], "unknown stage 'S9'; valid: S1, S2, S3, S4, S5"),
        (["--stages", ","], "no stage was given"),
        (["--sign", "both"], "unknown gradient handling for layercam 'both'"),
        (["--preset", "mine"], "unknown preset 'mine'"),
        (["--weights", "gone.pth"], "gone.pth"),
        (["--set", "samples=5"], "layercam has no parameters; 'samples' was given"),
        (["--method", "smoothgrad", "--set", "sample=5"], "did you mean 'samples'"),
        (["--method", "smoothgrad", "--set", "samples=many"], "a whole number, between 1 and 100000; got 'many'"),
        (["--method", "smoothgrad", "--set", "samples"], "--set takes NAME=VALUE, such as --set samples=200; got"),
        (["--method", "saliency", "--stages", "S5"], "makes one map of the whole picture and takes no stages"),
        (["--method", "saliency", "--sign", "signed"], "Saliency handles no gradient signs"),
        (["--method", "lrp", "--model", "vit_b_16", "--weights", "none"], "ViTs are served by"),
    ],
)
def test_a_wrong_name_is_told_once_and_nothing_is_written(
    cat: Path, tmp_path: Path, options: list[str], said: str
) -> None:
    result = explain(cat, cat, *options, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert len(result.stderr.strip().splitlines()) == 1
    assert said in result.stderr
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_cannot_be_made_is_said(cat: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    result = explain(cat, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"{cat}: ")


def test_pictures_of_one_name_do_not_overwrite_each_other() -> None:
    pictures = [Path("a/cat.jpg"), Path("b/Cat.png"), Path("cat-2.gif"), Path("c/cat.jpg"), Path("dog.x.jpg")]
    assert [path.name for path in folders(pictures, "out")] == ["cat", "Cat-2", "cat-2-2", "cat-3", "dog.x"]


def test_from_a_script(cat: Path, tmp_path: Path) -> None:
    settings = Settings(camwidgets.load("efficientnet_lite0"), method="normgrad", target="tabby", stages=("S2",))
    made = write_explanation(cat, tmp_path / "deep" / "er", settings)
    assert made.label == "tabby"
    assert list(made.stage_maps) == ["S2"]
    assert {path.name for path in (tmp_path / "deep" / "er").iterdir()} == WRITTEN


def test_a_method_that_runs_the_network(cat: Path, tmp_path: Path) -> None:
    options = ["--method", "SmoothGrad", "--set", "samples=6", "--set", "noise = 0.2", "--set", "colours=largest"]
    result = explain(cat, *options, "--batch", "4", "--out", tmp_path)
    assert result.exit_code == 0, result.stderr
    assert {path.name for path in (tmp_path / "cat").iterdir()} == {*SAVED, OVERLAY_PAGE}
    saved = camwidgets.Explanation.load(tmp_path / "cat")
    assert saved.made_by["parameters"] == {"samples": 6, "noise": 0.2, "seed": 0, "colours": "largest", "cap": 99.0}
    assert saved.made_by["passes"]["backward"] == 6
    classifier = camwidgets.load("efficientnet_lite0")
    same = camwidgets.explain(
        classifier, samples.picture("cat"), "smoothgrad", samples=6, noise=0.2, colours="largest"
    )
    np.testing.assert_allclose(saved.map, same.map, atol=1e-5)


def test_the_page_of_a_finished_map_is_whole_and_escaped(cat: Path, tmp_path: Path) -> None:
    odd = tmp_path / "<b>&.png"
    odd.write_bytes(cat.read_bytes())
    assert explain(odd, "--method", "saliency", "--out", tmp_path / "out").exit_code == 0
    page = (tmp_path / "out" / "<b>&" / OVERLAY_PAGE).read_text("utf-8")
    assert "<title>tiger cat · &lt;b&gt;&amp;.png</title>" in page
    assert "<b>" not in page
    assert page.count("data:image/png;base64,") == 2
    assert "http" not in page.replace("http-equiv", "")
    for data in re.findall(r"base64,([^\"]+)", page):
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            assert image.size == (224, 224)
            assert np.asarray(image).std() > 10


def test_an_enhanced_map(cat: Path, tmp_path: Path) -> None:
    result = explain(cat, "--method", "gradcam", "--enhance", "--out", tmp_path)
    assert result.exit_code == 0, result.stderr
    assert {path.name for path in (tmp_path / "cat").iterdir()} == {*SAVED, OVERLAY_PAGE}
    made = json.loads((tmp_path / "cat" / "explanation.json").read_text("utf-8"))["made_by"]
    assert made["enhancement"]["window"] == 96


def test_ctrl_c_leaves_what_is_done(cat: Path, coffee: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from camwidgets import batch

    real = batch.write_explanation

    def write(picture: Path, *rest: Any) -> Any:
        if picture == coffee:
            raise KeyboardInterrupt
        return real(picture, *rest)

    monkeypatch.setattr(batch, "write_explanation", write)
    result = explain(cat, coffee, cat, "--method", "saliency", "--out", tmp_path)
    assert result.exit_code == 130
    assert result.stderr.strip().endswith(f"stopped: 1 of 3 pictures were dealt with before {coffee}.")
    assert [path.name for path in tmp_path.iterdir()] == ["cat"]
    assert camwidgets.Explanation.load(tmp_path / "cat").label == "tiger cat"


def test_a_batch_ends_where_progress_ends_it(cat: Path, tmp_path: Path) -> None:
    settings = Settings(camwidgets.load("toy"), "smoothgrad", parameters={"samples": 4}, batch=1)
    seen: list[float] = []

    def progress(done: float, total: float) -> None:
        seen.append(done / total)
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_explanation(cat, tmp_path / "cat", settings, progress)
    assert seen == [0.25, 0.5]
    assert not (tmp_path / "cat").exists()


def test_help_names_every_method() -> None:
    text = " ".join(explain("--help").stdout.split()).replace("- ", "-")
    for name in camwidgets.methods():
        assert name in text


def test_the_catalogue_on_the_command_line() -> None:
    listed = CliRunner().invoke(app, ["methods"])
    assert listed.stdout.rstrip("\n") == repr(camwidgets.methods())
    one = CliRunner().invoke(app, ["methods", "SmoothGrad"])
    assert one.stdout.rstrip("\n") == camwidgets.methods()["smoothgrad"].about()
    assert "samples=50: noisy copies of the picture (between 1 and 100000)" in one.stdout
    wrong = CliRunner().invoke(app, ["methods", "smothgrad"])
    assert wrong.exit_code == 1
    assert "did you mean 'smoothgrad'" in wrong.stderr
