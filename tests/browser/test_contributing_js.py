"""The widget that CONTRIBUTING.md shows a stranger: its Python, JavaScript, style and test run as they stand there."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from camwidgets.widgets import assets
from tests.browser.stub import StubPage
from tests.conftest import ROOT
from tests.test_assets import DECLARED

TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
PART = TEXT[TEXT.index("**A widget**") : TEXT.index("**An objective**")]
NAME = "camwidgets.widgets.hello"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PART, re.DOTALL)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What the test's block leaves behind, with the other blocks where the text puts them."""
    (script,), (style,), (widget, test) = blocks("js"), blocks("css"), blocks("python")
    made = {"hello/hello.js": script, "hello/hello.css": style}
    real = assets.part
    monkeypatch.setattr(assets, "part", lambda name: made.get(name) or real(name))
    package, module = ModuleType(NAME), ModuleType(f"{NAME}.hello")
    package.__path__ = []
    module.__package__ = NAME
    for one in (package, module):
        monkeypatch.setitem(sys.modules, one.__name__, one)
    exec(compile(widget, "CONTRIBUTING.md", "exec"), module.__dict__)
    names: dict[str, Any] = {}
    exec(compile(test, "CONTRIBUTING.md", "exec"), names)
    yield names
    assets.parts.cache_clear()
    assets.esm.cache_clear()
    assets.css.cache_clear()


def test_its_test_passes(shown: dict[str, Any], stub_page: StubPage) -> None:
    shown["test_one_more"](stub_page)


def test_its_test_can_fail(shown: dict[str, Any], stub_page: StubPage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown["Hello"], "_act", lambda *_: None)
    with pytest.raises(AssertionError):
        shown["test_one_more"](stub_page)


def test_it_keeps_the_rules_of_the_house(shown: dict[str, Any]) -> None:
    whole = assets.esm("hello/hello.js")
    declared = DECLARED.findall(whole)
    assert len(set(declared)) == len(declared)
    assert whole.count("export default") == 1
    assert not re.search(r"^import\b", whole, re.MULTILINE)
    assert all(".cw-hello" in line for line in blocks("css")[0].splitlines() if line)


def test_what_is_wrong_is_told_in_the_widget(shown: dict[str, Any], stub_page: StubPage) -> None:
    import camwidgets

    hello = shown["Hello"](camwidgets.load("toy"), camwidgets.samples.picture("cat"))
    hello._hear(None, {}, [])
    assert hello.error == "KeyError: 'kind'"
    view = stub_page.mount_widget(hello)
    view.wait_until("el.textContent.includes('KeyError')")
