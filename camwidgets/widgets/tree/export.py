"""Files that a tree explorer writes."""

from __future__ import annotations

import io
import json
import re
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...decomposition.tree import Decomposition
from ...figures.layout import arrange
from ...figures.tree_svg import tree_svg
from .page import page
from .work import Shown, TreeMaker

FILES = {"bundle": ("zip", "application/zip"), "html": ("html", "text/html"), "svg": ("svg", "image/svg+xml")}


Look = Callable[[Shown, int], dict[str, Any]]
MOST_SEEN, MOST_BYTES = 80, 3_000_000  # of what channels see, a page holds at most so many nodes and so many bytes


def export(kind: str, shown: Shown, maker: TreeMaker, tell: Callable[[str], None], look: Look) -> list[bytes]:
    """One file's content, as a list of one buffer. "html" decomposes what is left first; `tell` says how far it is.

    `look` says what the channel of a node sees; a page holds that of the nodes on screen, within bounds.
    """
    svg = tree_svg(shown.tree, shown.want.opened, shown.want.selected).encode()
    if kind == "svg":
        return [svg]
    if kind == "html":
        full = maker.full(shown, tell)
        seen = _seen(shown, look, tell)
        tell("drawing every node …")
        return [page(full, opened_paths(shown), path_of(shown.tree, shown.want.selected), seen).encode()]
    with maker.growing:
        return [_bundle(shown.tree, svg)]


def _seen(shown: Shown, look: Look, tell: Callable[[str], None]) -> dict[tuple[str, ...], dict[str, Any]]:
    """What the drawn nodes' channels see; path → state."""
    tree, found, size = shown.tree, {}, 0
    drawn = [i for i in arrange(tree, set(shown.want.opened or ())).places if tree.nodes[i].parent is not None]
    for count, number in enumerate(drawn[:MOST_SEEN]):
        tell(f"looking into channels, {count + 1} of {min(len(drawn), MOST_SEEN)} …")
        state = look(shown, number)
        size += len(json.dumps(state))
        if size > MOST_BYTES:
            break
        found[path_of(tree, number)] = state
    return found


def file_name(tree: Decomposition, ending: str) -> str:
    """why-LABEL.ending, in letters, digits and underscores."""
    return f"why-{re.sub(r'[^0-9A-Za-z]+', '_', tree.label).strip('_')[:40] or 'class'}.{ending}"


def path_of(tree: Decomposition, number: int) -> tuple[str, ...]:
    """A node's features from the root on: the same in every tree of these settings, whatever its ids are."""
    return tuple(f"{n.stage} {n.channel} {n.y} {n.x}" for n in tree.path(number)[1:])


def opened_paths(shown: Shown) -> set[tuple[str, ...]]:
    """The opened nodes as `path_of`."""
    return {path_of(shown.tree, number) for number in shown.want.opened or ()}


def _bundle(tree: Decomposition, svg: bytes) -> bytes:
    buffer = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(Path(tree.save(Path(folder) / "tree")).iterdir()):
            archive.write(path, f"tree/{path.name}")
        archive.writestr("tree/tree.svg", svg)
    return buffer.getvalue()
