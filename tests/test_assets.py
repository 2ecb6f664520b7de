"""The front end is joined from modules: each after what it needs, nothing declared twice, none left behind."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from camwidgets.widgets import assets

FRONTEND = Path(assets.__file__).parents[1] / "frontend"
VIEWS = [
    "cam/explorer.js", "tree/panel.js", "comparison/comparison.js", "benchmark/benchmark.js", "failure/failure.js",
    "adversarial/adversarial.js", "playback/playback.js",
]  # fmt: skip
PAGES = ["tree/page.js"]
DECLARED = re.compile(r"^(?:export )?(?:async )?(?:function\*?|const|let|class) (\w+)", re.MULTILINE)
MODULES = sorted(str(path.relative_to(FRONTEND)) for path in FRONTEND.rglob("*.js"))


@pytest.mark.parametrize("entry", [*VIEWS, *PAGES])
def test_joined_parts_are_one_module(entry: str) -> None:
    names = assets.parts(entry)
    assert names[-1] == entry
    assert len(set(names)) == len(names)
    whole = assets.esm(entry)
    assert not re.search(r"^import\b", whole, re.MULTILINE)
    assert not re.search(r"^export (?!default)", whole, re.MULTILINE)
    assert whole.count("export default") == (entry in VIEWS)
    assert not [name for name, times in Counter(DECLARED.findall(whole)).items() if times > 1]


@pytest.mark.parametrize("entry", VIEWS)
def test_a_part_comes_after_what_it_needs(entry: str) -> None:
    seen: set[str] = set()
    for name in assets.parts(entry):
        text = assets.part(name)
        taken = {
            word.strip()
            for names in re.findall(r"^import \{([^}]*)\}", text, re.MULTILINE)
            for word in names.split(",")
        }
        assert taken <= seen, name
        seen |= set(DECLARED.findall(text))


@pytest.mark.parametrize("name", MODULES)
def test_a_part_is_small_and_harmless(name: str) -> None:
    text = assets.part(name)
    assert len(text.splitlines()) < 300
    assert "</script" not in text
    assert "innerHTML" not in text


def test_no_part_is_left_behind() -> None:
    used = {name for entry in (*VIEWS, *PAGES) for name in assets.parts(entry)} | {"page.js"}
    assert used == set(MODULES)
