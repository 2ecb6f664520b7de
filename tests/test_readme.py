"""What README shows runs as it stands there: its Python, in the order of the page, and its command lines."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from PIL import Image
from torchvision import transforms
from typer.testing import CliRunner

import camwidgets
from camwidgets import samples
from camwidgets.classifiers.preprocessing import Preprocessing
from camwidgets.cli import app
from camwidgets.datasets.opening import open_dataset
from camwidgets.datasets.toyworld import ToyWorld
from tests.conftest import ROOT
from tests.playback_runs import write_run

TEXT = (ROOT / "README.md").read_text("utf-8")


def blocks(title: str, language: str = "python") -> list[str]:
    """The code under a heading."""
    part = TEXT[TEXT.index(f"\n## {title}\n") + 1 :]
    return re.findall(rf"^```{language}\n(.*?)^```", part.partition("\n## ")[0], re.DOTALL | re.MULTILINE)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., dict[str, Any]]]:
    """Runs a block in a folder of its own; the views that it opens are closed at the end."""
    monkeypatch.chdir(tmp_path)
    opened: list[Any] = []

    def exec_block(code: str, **names: Any) -> dict[str, Any]:
        # A cell shows what its lines return; here they are kept, to be looked at.
        lines = re.sub(r"^(camwidgets\.[A-Z])", r"opened += [None]; opened[-1] = \1", code, flags=re.MULTILINE)
        names["opened"] = opened
        exec(compile(lines, "README.md", "exec"), names)
        return names

    yield exec_block
    for one in opened:
        one.close()


def test_every_block_is_tried_here() -> None:
    tried = ["In a notebook", "Which map, and how good is it?", "Your network, your pictures", "In a script"]
    assert sum(len(blocks(title)) for title in tried) == len(re.findall(r"^```python", TEXT, re.MULTILINE))


def test_the_views_of_a_notebook(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "oaa")
    (code,) = blocks("In a notebook")
    names = run(code)
    views = names["opened"]
    assert [type(one).__name__ for one in views] == re.findall(r"^camwidgets\.(\w+)\(", code, re.MULTILINE)
    for one in views:
        if hasattr(one, "wait"):
            one.wait(200)
        assert getattr(one, "error", None) is None, type(one).__name__


def test_the_evaluation(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    (code,) = blocks("Which map, and how good is it?")
    names = run(code, camwidgets=camwidgets)
    assert names["report"].paired("LayerCAM", "Grad-CAM") is not None
    assert (tmp_path / "results.sqlite").is_file()
    assert (tmp_path / "report.html").is_file()


def test_a_network_and_pictures_of_one_s_own(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    world = ToyWorld(seed=1, n=6)
    for i in range(6):
        path = tmp_path / "pictures" / ("cat", "dog")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(world[i].image).save(path)
    net = torchvision.models.resnet18(num_classes=2).eval()
    torch.save({"state_dict": net.state_dict(), "epoch": 3}, tmp_path / "mine.pth")
    transform = transforms.Compose(
        [transforms.Resize((96, 128)), transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)]
    )
    (code,) = blocks("Your network, your pictures")
    assert '.to("cuda")' in code
    device = "cuda" if torch.cuda.is_available() else "cpu"
    names = run(code.replace('.to("cuda")', f'.to("{device}")'), net=net, transform=transform)
    assert names["classifier"].labels == names["ds"].classes == ["cat", "dog"]
    for key, value in net.state_dict().items():
        assert torch.equal(names["classifier"].module.state_dict()[key].cpu(), value)
    wrapped = camwidgets.wrap(net, transform, labels=["cat", "dog"])
    picture = names["ds"][0][0]
    assert wrapped.input_size == (96, 128)
    assert torch.equal(wrapped.preprocess(transform(picture)), wrapped.preprocess(picture)), "as it is"
    usual = camwidgets.wrap(net).preprocessing
    published = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.transforms()
    assert usual == Preprocessing.from_torchvision(published), "shorter side 256, crop 224, ImageNet's moments"


def test_the_script(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    (code,) = blocks("In a script")
    before, expand, after = code.partition("tree.expand(5)")
    names = run(before)
    nodes = len(names["tree"].to_frame())
    run(expand + after, **names)
    assert len(names["tree"].to_frame()) > nodes, "tree.expand shows something new"
    assert (tmp_path / "espresso.png").is_file()
    table = re.findall(r"^```\n(efficientnet_lite0: .*?)\n```", TEXT, re.DOTALL | re.MULTILINE)
    assert table == [repr(names["classifier"])]


def test_the_command_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    samples.picture("cat").save("cat.jpg")
    samples.picture("coffee").save("dog.jpg")
    (text,) = blocks("On the command line", "")
    lines = [line.partition("#")[0].strip().replace("[NAME]", "") for line in text.splitlines()]
    assert all(line.startswith("camwidgets ") for line in lines)
    for line in lines:
        command, *arguments = shlex.split(line)[1:]
        if command in ("lab", "train", "doctor"):  # serves until it is stopped; takes minutes; asks this machine
            arguments = ["--help"]
        result = CliRunner().invoke(app, [command, *arguments])
        assert result.exit_code == 0, f"{line}: {result.output[-800:]}"
    assert len(list((tmp_path / "results").iterdir())) >= 2
    assert (tmp_path / "r.sqlite").is_file()


def test_the_csv_of_the_documents(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "evaluation.md").read_text("utf-8")
    (text,) = re.findall(r"^```\n(file,label.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert text.splitlines()[0].startswith("file,label,x0,y0,x1,y1")
    assert "`file,label,x0,y0,x1,y1`" in TEXT
    for name, mode in (("cats/tom.jpg", "RGB"), ("street.png", "RGB"), ("masks/tom.png", "L")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new(mode, (200, 220), "white").save(tmp_path / name)
    (tmp_path / "index.csv").write_text(text)
    data = open_dataset(tmp_path)
    first, second = data
    assert (first.label, first.boxes, second.label, second.boxes) == (
        "cat", ((12, 30, 180, 200),), "car", ((0, 64, 120, 131),)
    )  # fmt: skip
    drawn = first.mask()
    assert drawn is not None
    assert drawn.all()
    assert second.mask() is None
    assert not [one.problem for one in data if one.problem]


def test_links_lead_somewhere() -> None:
    for path in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", TEXT):
        assert (ROOT / path).exists(), path
