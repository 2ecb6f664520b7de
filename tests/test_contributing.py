"""What CONTRIBUTING.md shows a stranger runs as it stands there; docs/methods.md is what the catalogue says today."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

import camwidgets
from camwidgets import explain, samples
from camwidgets.maps import Method
from tools import methods_page

from .conftest import ROOT
from .nets import picture, small

TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")


@pytest.fixture(scope="module")
def shown() -> dict[str, Any]:
    """The names that the blocks on methods leave behind, run in one module as a reader would."""
    part = TEXT[TEXT.index("**A method**") : TEXT.index("**A fusion**")]
    blocks = re.findall(r"```python\n(.*?)```", part, re.DOTALL)
    assert len(blocks) == 3
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "CONTRIBUTING.md", "exec"), names)
    return names


def test_the_method_of_a_stranger(shown: dict[str, Any]) -> None:
    (method,) = shown["METHODS"]
    assert isinstance(method, Method)
    assert method.name not in camwidgets.methods(), "the example is to be new"
    made = explain(small(), picture(), method, 1, window=8, stride=4)
    assert made.stage_maps["input"].shape == (3, 3)
    assert made.made_by["passes"]["forward"] == 11
    with pytest.raises(ValueError, match="did you mean 'window'"):
        explain(small(), picture(), method, windw=8)
    classifier = camwidgets.load("toy")
    assert explain(classifier, samples.picture("cat"), method, stride=32).reason is None


def test_its_test_passes_and_can_fail(shown: dict[str, Any]) -> None:
    test = shown["test_occlusion_finds_the_only_place_that_matters"]
    test()
    wrong = Method("w", "W", lambda request, window, stride: torch.ones(2, 2), "", "", kind="picture",
                   parameters=shown["METHODS"][0].parameters)  # fmt: skip
    right = shown["METHODS"]
    shown["METHODS"] = (wrong,)
    try:
        with pytest.raises(AssertionError):
            test()
    finally:
        shown["METHODS"] = right


def test_the_method_of_kind_evidence(shown: dict[str, Any]) -> None:
    A = torch.tensor([[[1.0, 3.0]], [[2.0, 2.0]]])
    g = torch.tensor([[[1.0, -1.0]], [[0.5, 1.0]]])
    assert shown["gradient_times_mean"](A, g).tolist() == [[3.0, 2.0]]
    assert explain(small(), picture(), shown["METHOD"], gradient="absolute").made_by["gradient"] == "absolute"


def test_what_the_text_names_is_there() -> None:
    assert "gradient" in camwidgets.maps.catalogue.FAMILIES
    for name in ("gradient.py", "scorecam.py", "rise.py", "catalogue.py", "method.py"):
        assert (ROOT / "camwidgets" / "maps" / name).is_file()
    assert (ROOT / "docs" / "methods.md").is_file()


def test_the_page_of_methods_is_up_to_date() -> None:
    """If not: `python -m tools.methods_page`."""
    kept = (ROOT / "docs" / "methods.md").read_text("utf-8")
    for name, method in camwidgets.methods().items():
        assert f"(`{name}`)" in kept
        assert method.formula in kept
        assert method.source in kept
        assert all(f"| `{p.name}` | `{p.default!r}` |" in kept for p in method.parameters)
    assert methods_page.page() == kept
