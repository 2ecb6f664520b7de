"""Taking a comparison away: a page that works alone, a sheet of pictures, a folder of explanations (or a ZIP)."""

from __future__ import annotations

import io
import re
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from ...figures.strip import GAP, PAPER, strip
from .. import assets
from ..page import alone
from ..scene import palettes
from .traits import VIEW

if TYPE_CHECKING:
    from .comparison import MethodComparison

FILES = {"bundle": ("zip", "application/zip"), "html": ("html", "text/html"), "sheet": ("png", "image/png")}
SIDE = 280  # pixels of a picture on the sheet


def made(comparison: MethodComparison, what: str) -> bytes:
    """One file's content: "bundle", "html" or "sheet"."""
    if what == "html":
        return page(comparison).encode()
    buffer = io.BytesIO()
    if what == "sheet":
        sheet(comparison).save(buffer, "PNG")
        return buffer.getvalue()
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        root = save(comparison, Path(folder) / "comparison")
        for path in sorted(p for p in root.rglob("*") if p.is_file()):
            archive.write(path, f"comparison/{path.relative_to(root)}")
    return buffer.getvalue()


def save(comparison: MethodComparison, folder: str | Path) -> Path:
    """Every map that is done in a folder of its name, and `sheet.png`, `comparison.html`, `code.py`, `table.csv`."""
    with comparison._worker.lock:
        root = Path(folder).expanduser()
        picture, html, found = sheet(comparison), page(comparison), comparison.explanations
    root.mkdir(parents=True, exist_ok=True)
    for name, explanation in found.items():
        explanation.save(root / re.sub(r"[^\w+]+", "-", name).strip("-"))
    picture.save(root / "sheet.png")
    (root / "comparison.html").write_text(html, "utf-8")
    (root / "code.py").write_text(comparison.code, "utf-8")
    comparison.to_frame().to_csv(root / "table.csv", index_label="map")
    return root


def sheet(comparison: MethodComparison) -> Image.Image:
    """All maps that are done, as many in a row as on screen, in its colours and opacity, with captions."""
    cells = [cell for cell in comparison._shown if cell.explanation is not None]
    if not cells:
        raise RuntimeError("no map is done yet: there is nothing to save")
    look: dict[str, Any] = {name: getattr(comparison, name) for name in ("colormap", "opacity", "blend")}
    pictures = [cell.explanation.overlay(**look) for cell in cells if cell.explanation is not None]
    captions = [f"{cell.name} · {cell.facts} · {cell.settings}" for cell in cells]
    wide = comparison.columns + comparison.columns % 2 * comparison.enhanced
    rows = [slice(at, at + wide) for at in range(0, len(cells), wide)]
    return _stacked([strip(pictures[one], captions[one], SIDE) for one in rows])


def _stacked(strips: Sequence[Image.Image]) -> Image.Image:
    height = sum(one.height for one in strips) + GAP * (len(strips) - 1)
    found = Image.new("RGB", (max(one.width for one in strips), height), PAPER)
    y = 0
    for one in strips:
        found.paste(one, (0, y))
        y += one.height + GAP
    return found


def page(comparison: MethodComparison) -> str:
    """One HTML page of all maps that are done: hover, zoom, cut-out, colours and curves work without a kernel."""
    with comparison._worker.lock:
        ground = comparison._ground
        if ground is None:
            raise RuntimeError(comparison.error or "the comparison shows no picture yet")
        cells = [cell for cell in comparison._shown if cell.explanation is not None]
        traits = {name: getattr(comparison, name) for name in (*VIEW, "enhanced", "target")}
        traits |= {cell.slot: getattr(comparison, cell.slot) for cell in cells}
        traits |= {"_cells": [cell.words() for cell in cells], "_codes": comparison._codes}
    traits |= {**palettes(), **ground.traits(), "_still": True, "_status": {"state": "idle"}, "_progress": {}}
    traits["_defaults"] = comparison._defaults
    network = ground.classifier.name
    traits |= {
        "_pictures": [{"value": ground.name, "text": ground.name}], "picture": ground.name, "_labels": [],
        "_networks": [{"value": network, "text": network}], "network": network, "_methods": [],
        "code": comparison.code,
    }  # fmt: skip
    css = assets.css("comparison/comparison.css")
    return alone(f"{ground.label} · {ground.name}", traits, assets.esm("comparison/comparison.js"), css)


def file_name(comparison: MethodComparison, ending: str) -> str:
    """picture-class-maps.ending, in letters, digits and dashes."""
    ground = comparison._ground
    parts = (Path(ground.name).stem, ground.label, "maps") if ground else ("maps",)
    return "-".join(re.sub(r"\W+", "_", part).strip("_")[:40] for part in parts) + f".{ending}"
