"""What CONTRIBUTING.md shows a stranger runs as it stands there; docs/methods.md and docs/sources.md are whole.

(The widget that CONTRIBUTING.md shows: tests/browser/test_contributing_js.py.)
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch

import camwidgets
from camwidgets import explain, samples
from camwidgets.classifiers import registry
from camwidgets.maps import Method, catalogue
from camwidgets.widgets.sources import Networks
from tools import methods_page

from .conftest import ROOT
from .nets import picture, small

TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")


@pytest.fixture(scope="module")
def shown() -> Iterator[list[dict[str, Any]]]:
    """The names that each block on methods leaves behind: a file of its own, under the name that the text gives it."""
    part = TEXT[TEXT.index("**A method**") : TEXT.index("**A fusion**")]
    blocks = re.findall(r"```python\n(.*?)```", part, re.DOTALL)
    names = (f"{catalogue.__package__}.occlusion", "test_occlusion", f"{catalogue.__package__}.mine")
    modules = [ModuleType(name) for name in names]
    try:
        for module, block in zip(modules, blocks, strict=True):
            sys.modules[module.__name__] = module
            exec(compile(block, "CONTRIBUTING.md", "exec"), module.__dict__)
        yield [module.__dict__ for module in modules]
    finally:
        for module in modules:
            sys.modules.pop(module.__name__, None)


def test_the_method_of_a_stranger(shown: list[dict[str, Any]]) -> None:
    (method,) = shown[0]["METHODS"]
    assert isinstance(method, Method)
    assert method.name not in camwidgets.methods(), "the example is to be new"
    made = explain(small(), picture(), method, 1, window=8, stride=4)
    assert made.stage_maps["input"].shape == (3, 3)
    assert made.made_by["passes"]["forward"] == 11
    with pytest.raises(ValueError, match="did you mean 'window'"):
        explain(small(), picture(), method, windw=8)
    classifier = camwidgets.load("toy")
    assert explain(classifier, samples.picture("cat"), method, stride=32).reason is None


def test_its_test_passes_and_can_fail(shown: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    test = shown[1]["test_occlusion_finds_the_only_place_that_matters"]
    test()
    wrong = Method("w", "W", lambda request, window, stride: torch.ones(2, 2), "", "", kind="picture",
                   parameters=shown[0]["METHODS"][0].parameters)  # fmt: skip
    monkeypatch.setitem(shown[1], "METHODS", (wrong,))
    with pytest.raises(AssertionError):
        test()


def test_the_method_of_kind_evidence(shown: list[dict[str, Any]]) -> None:
    A = torch.tensor([[[1.0, 3.0]], [[2.0, 2.0]]])
    g = torch.tensor([[[1.0, -1.0]], [[0.5, 1.0]]])
    assert shown[2]["gradient_times_mean"](A, g).tolist() == [[3.0, 2.0]]
    (method,) = shown[2]["METHODS"]
    assert explain(small(), picture(), method, gradient="absolute").made_by["gradient"] == "absolute"


def test_a_family_s_name_brings_its_methods_into_the_catalogue(
    shown: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "FAMILIES", (*catalogue.FAMILIES, "occlusion", "mine"))
    catalogue._known.cache_clear()
    try:
        found = camwidgets.methods()
        assert found["occlusion"] is shown[0]["METHODS"][0]
        assert found["gradient-mean"] is shown[2]["METHODS"][0]
        assert explain(small(), picture(), "occlusion", window=8, stride=8).reason is None
    finally:
        catalogue._known.cache_clear()


def test_what_the_text_names_is_there() -> None:
    assert "gradient" in catalogue.FAMILIES
    for name in ("gradient.py", "scorecam.py", "rise.py"):
        assert (ROOT / "camwidgets" / "maps" / name).is_file()
    named = set(re.findall(r"\b(?:camwidgets|tests|tools|notebooks|benchmarks|binder|docs)/[\w./-]*\w", TEXT))
    to_be_made = {path for path in named if re.search(r"/(test_)?(hello|occlusion)\b|/test_hello_js", path)}
    assert len(named - to_be_made) > 10
    for path in (*(named - to_be_made), *re.findall(r"\]\(([\w./-]+)\)", TEXT)):
        assert (ROOT / path).exists(), path
    for path in to_be_made:
        assert not (ROOT / path).exists(), f"{path} is an example of a new file"


def test_a_network_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """In `BUILT_IN`, as the text says: the command line and the menus ask `available`."""
    assert "`BUILT_IN` of `camwidgets/classifiers/registry.py`" in TEXT
    monkeypatch.setitem(registry.BUILT_IN, "mine", lambda weights, labels, fit: small())
    assert "mine" in camwidgets.available()
    assert camwidgets.load("mine").name == "small"
    assert "mine" in Networks([]).names()


def test_the_part_of_the_tests_that_is_shown_is_there() -> None:
    arguments = re.findall(r'make test ARGS="([^"]+)"', TEXT)
    assert arguments
    for given in arguments:
        command = [sys.executable, "-m", "pytest", "--collect-only", "-q", *shlex.split(given)]
        told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert told.returncode == 0, f"{given}: {told.stdout[-500:]}"


def test_every_source_is_spelt_out() -> None:
    """Each key such as [002] in the documents, the lessons, the code and what it prints stands in docs/sources.md."""
    places = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "notebooks").glob("*.ipynb")]
    places += [path for name in ("camwidgets", "benchmarks", "tests", "tools") for path in (ROOT / name).rglob("*.py")]
    used = {key for path in places for key in _keys(path.read_text("utf-8"))}
    used |= {key for one in camwidgets.methods().values() for key in _keys(one.about())}
    used |= set(_keys(repr(camwidgets.measures())))
    text = (ROOT / "docs" / "sources.md").read_text("utf-8")
    told = set(re.findall(r"^\*\*\[(\d+)\]\*\*", text, re.MULTILINE))
    assert {"000", "002", "004"} <= used
    assert used <= told, f"not in docs/sources.md: {sorted(used - told)}"
    for page in ("README.md", "docs/methods.md", "docs/benchmarks.md", "docs/evaluation.md"):
        assert "sources.md)" in (ROOT / page).read_text("utf-8"), f"{page} does not link to the sources"


def _keys(text: str) -> list[str]:
    return re.findall(r"\[(0\d\d)\]", text)


def test_the_page_of_methods_is_up_to_date() -> None:
    """If not: `.venv/bin/python -m tools.methods_page`."""
    kept = (ROOT / "docs" / "methods.md").read_text("utf-8")
    for name, method in camwidgets.methods().items():
        assert f"(`{name}`)" in kept
        assert method.formula in kept
        assert method.source in kept
        assert all(f"| `{p.name}` | `{p.default!r}` |" in kept for p in method.parameters)
    assert methods_page.page() == kept
