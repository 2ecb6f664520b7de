"""Taking a sweep away: a sheet of pictures, a page whose ε slider works alone, and a bundle."""

from __future__ import annotations

import io
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from ...figures.overlay import overlay
from ...figures.strip import GAP, PAPER, strip
from ...investigate.bundle import save_bundle
from ...maps.fusion import upsample
from .. import assets
from ..page import alone
from ..scene import palettes
from .traits import SETTINGS, VIEW
from .words import Shown

if TYPE_CHECKING:
    from .explorer import AdversarialExplorer

FILES = {"sheet": ("png", "image/png"), "bundle": ("zip", "application/zip"), "html": ("html", "text/html"),
         "csv": ("csv", "text/csv")}  # fmt: skip
SIDE = 224  # pixels of a picture on the sheet


def made(explorer: AdversarialExplorer, what: str) -> bytes:
    """One file's content: "sheet", "bundle", "html" or "csv"."""
    if what == "html":
        return page(explorer).encode()
    if what == "csv":
        return table(shown_of(explorer)).encode()
    if what == "sheet":
        buffer = io.BytesIO()
        sheet(explorer).save(buffer, "PNG")
        return buffer.getvalue()
    with tempfile.TemporaryDirectory(prefix="camwidgets-") as folder:
        return bundle(explorer, Path(folder) / "sweep.zip").read_bytes()


def shown_of(explorer: AdversarialExplorer) -> Shown:
    if explorer._shown is None:
        raise RuntimeError(explorer.error or "no sweep is done yet: there is nothing to save; run() makes one")
    return explorer._shown


def _code(explorer: AdversarialExplorer, shown: Shown) -> str:
    """The lines that make the sweep on screen; the explorer's `code` is that of the settings as they are now."""
    labels = shown.sweep.frames[0].attack.classifier.labels
    return explorer.code_of(explorer._sweep["asked"], labels, explorer.index)


def table(shown: Shown) -> str:
    """CSV, one row per ε."""
    return str(shown.sweep.to_frame().assign(wrong=shown.rival.probabilities).to_csv())


def sheet(explorer: AdversarialExplorer) -> Image.Image:
    """The ε on screen: clean, attacked, perturbation; and the stage maps of the chosen class, clean above attacked."""
    with explorer._worker.lock:
        shown, i = shown_of(explorer), explorer.index
    first, here = shown.sweep.frames[0], shown.sweep.frames[i]
    # Plain letters: the font that Pillow brings has no ε and no ×.
    unit = f"{255 * here.eps:.3g}/255" if here.attack.norm == "linf" else f"{here.eps:.3g} (L2)"
    told = [f"{f.predictions[0].label} {f.predictions[0].probability:.0%}" for f in (first, here)]
    factor = 0.5 / max(float(here.attack.perturbation.abs().max()), 1e-12)
    noise = f"perturbation, {factor:.0f} times" if i else "no perturbation"
    pictures = [first.attack.pictures[0], here.attack.adversarial_pictures[0], here.attack.amplified()]
    rows = [strip([Image.fromarray(p) for p in pictures], [f"clean: {told[0]}", f"eps {unit}: {told[1]}", noise], SIDE)]
    label = {"true": shown.sweep.label, "wrong": shown.rival.label, "top": "the top class"}[explorer.maps_of]
    for frame, at, word in ((first, 0, "clean"), (here, i, "attacked")):
        maps = shown.maps[explorer.maps_of][at]
        over = [_over(frame.attack.adversarial_pictures[0], one, explorer) for one in maps.values()]
        rows.append(strip(over, [f"{name}, {word}: {label}" for name in maps], 144))
    height = sum(one.height for one in rows) + GAP * (len(rows) - 1)
    found, y = Image.new("RGB", (max(one.width for one in rows), height), PAPER), 0
    for one in rows:
        found.paste(one, (0, y))
        y += one.height + GAP
    return found


def _over(picture: np.ndarray, values: np.ndarray, explorer: AdversarialExplorer) -> Image.Image:
    top = float(values.max())
    whole = upsample(torch.from_numpy(values / top if top > 0 else values), picture.shape[:2]).numpy()
    return overlay(picture, whole, explorer.colormap, explorer.opacity)


def page(explorer: AdversarialExplorer) -> str:
    """One HTML page: the slider, the switches, the curves and the tree work without a kernel."""
    with explorer._worker.lock:
        shown = shown_of(explorer)
        names = ("_sweep", "_attacked", "_noise", "_maps", "_responses", "_settings", *VIEW)
        traits: dict[str, Any] = {name: getattr(explorer, name) for name in names}
        traits["code"], asked = _code(explorer, shown), traits["_sweep"]["asked"]
    traits |= {name: asked[name] for name in SETTINGS}
    traits |= {"strongest": asked["epsilons"][-1], "count": len(asked["epsilons"])}
    traits |= {**palettes(), "_still": True, "_labels": []}
    traits |= {"_status": {"state": "idle"}, "_progress": {"state": "idle"}}
    said = {name: traits["_sweep"][name] for name in ("picture", "network")}
    traits |= {f"_{name}s": [{"value": asked[name], "text": text}] for name, text in said.items()}
    traits |= {"_scene": {}, "_picture": b"", "_attacks": [{"value": asked["attack"], "text": asked["attack"]}]}
    css = assets.css("adversarial/adversarial.css")
    return alone(f"{shown.sweep.label} · {said['picture']}", traits, assets.esm("adversarial/adversarial.js"), css)


def bundle(explorer: AdversarialExplorer, path: str | Path) -> Path:
    """Everything of the sweep in one file with hashes; see `camwidgets.investigate.save_bundle`."""
    with explorer._worker.lock:
        shown, words, pages = shown_of(explorer), explorer._sweep, {"explorer": page(explorer)}
        code = _code(explorer, shown)
    found, other = shown.sweep, shown.rival
    frames = {f"{i:02}": frame for i, frame in enumerate(found.frames)}
    pictures = {f"attacked {n}": f.attack.adversarial_pictures[0] for n, f in frames.items()}
    pictures |= {f"perturbation {n}": f.attack.amplified() for n, f in frames.items()}
    maps = {f"{of} {n} {stage}": one for of, at in shown.maps.items() for n, each in zip(frames, at, strict=True)
            for stage, one in each.items()}  # fmt: skip
    config = {
        "settings": words["asked"], "picture": words["picture"], "code": code,
        "network": words["network"], "weights": found.frames[0].attack.classifier.weights_hash(),
        "epsilons": [frame.eps for frame in found.frames], "true": found.label, "wrong": other.label,
        "flip": found.flip, "drops": {str(k): e for k, e in found.drops.items()}, "table": table(shown),
    }  # fmt: skip
    trees = {f"tree {n}": f.tree for n, f in frames.items() if f.tree is not None}
    return save_bundle(path, config=config, pictures=pictures, maps=maps, trees=trees, pages=pages)


def file_name(explorer: AdversarialExplorer, ending: str) -> str:
    """picture-class-attacked.ending, in letters, digits and dashes."""
    with explorer._worker.lock:
        shown, words = shown_of(explorer), explorer._sweep
    parts = (Path(str(words["picture"])).stem, shown.sweep.label, "attacked")
    return "-".join(re.sub(r"\W+", "_", part).strip("_")[:40] for part in parts) + f".{ending}"
