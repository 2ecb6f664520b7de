"""The house as CONTRIBUTING draws it: a room imports only rooms above it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import camwidgets

PACKAGE = Path(camwidgets.__file__).parent
CONTRIBUTING = (PACKAGE.parent / "CONTRIBUTING.md").read_text("utf-8")

# Imports that point down the list, inside functions, and why.
DOWN = {
    ("classifiers", "evidence"): "whether a head is linear, and a fold right, is told by passes",
    ("saved", "explanation"): "what it reads becomes one",
    ("explanation", "figures"): "a result draws itself when it is asked to",
    ("evaluation", "figures"): "a result draws itself when it is asked to",
}
NO_ROOM = {"__init__", "py", "frontend", "jupyter"}


def rooms() -> list[str]:
    """In the order of the drawing; the parts of the command line stand before it."""
    drawn = re.search(r"```\ncamwidgets/\n(.*?)^notebooks/", CONTRIBUTING, re.DOTALL | re.MULTILINE)
    assert drawn is not None
    lines = [line for line in drawn[1].splitlines() if line.startswith("  ")]
    names = [one for line in lines for one in re.findall(r"(\w+)(?:\.py|/)", line[:20])]
    return [name for name in names if name not in ("cli", *NO_ROOM)]


def imports() -> Iterator[tuple[str, str, bool, str]]:
    """(room, room that it imports, whether as soon as it is imported itself, where)."""
    for path in PACKAGE.rglob("*.py"):
        place = path.relative_to(PACKAGE)
        tree = ast.parse(path.read_text("utf-8"))
        first = {id(node) for node in tree.body}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                for name in _targets(place, node):
                    yield _room(place.parts[0]), name, id(node) in first, f"{place}:{node.lineno}"


def _targets(place: Path, node: ast.ImportFrom) -> list[str]:
    module = (node.module or "").split(".") if node.module else []
    if node.level:
        folder = list(place.parts[:-1])
        module = folder[: len(folder) - node.level + 1] + module
    elif module[:1] == ["camwidgets"]:
        module = module[1:]
    else:
        return []
    return [_room(module[0])] if module else [_room(alias.name) for alias in node.names]


def _room(name: str) -> str:
    name = name.removesuffix(".py")
    return "cli" if name.startswith("cli") else name


def test_the_drawing_shows_every_room() -> None:
    there = {_room(path.name) for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert there - NO_ROOM - {"cli"} == set(rooms())
    assert len(set(rooms())) == len(rooms())


def test_a_room_imports_only_rooms_above_it() -> None:
    order = [*rooms(), "cli"]
    wrong = [
        f"{where}: {room} imports {other}"
        for room, other, at_once, where in imports()
        if room != other and room in order and other in order and order.index(other) > order.index(room)
        if at_once or (room, other) not in DOWN
    ]
    assert not wrong


def test_no_exception_is_left_that_nothing_needs() -> None:
    assert set(DOWN) == {(room, other) for room, other, _, _ in imports()} & set(DOWN)
