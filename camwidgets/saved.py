"""Saved explanations: what is written, and what is checked before it is believed."""

from __future__ import annotations

import io
import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from .files import read_arrays, replaced

if TYPE_CHECKING:
    from .explanation import Explanation

FORMAT = 2  # of a saved explanation; raised when the files change their meaning
READS = (1, 2)  # 1 named the arrays of maps.npz after the stages, which a tap called "map" or "file" broke

# What explanation.json must hold, and of which kinds.
_FIELDS: dict[str, tuple[type, ...]] = {
    "target": (int, str), "label": (str,), "score": (int, float), "probability": (int, float, type(None)),
    "reason": (str, type(None)), "stages": (list,), "made_by": (dict,),
}  # fmt: skip


def write(explanation: Explanation, folder: str | Path) -> Path:
    """See `Explanation.save`."""
    about = {
        "format": FORMAT, "target": explanation.target, "label": explanation.label, "score": explanation.score,
        "probability": explanation.probability, "reason": explanation.reason, "stages": list(explanation.stage_maps),
        "made_by": explanation.made_by,
    }  # fmt: skip
    arrays = {f"stage_{i}": values for i, values in enumerate(explanation.stage_maps.values())}
    packed = io.BytesIO()
    np.savez_compressed(packed, map=explanation.map, **arrays)  # type: ignore[arg-type]
    made = {
        "maps.npz": packed.getvalue(),
        "picture.png": _png(Image.fromarray(explanation.picture)),
        "overlay.png": explanation._repr_png_(),
        "explanation.json": json.dumps(about, indent=1, ensure_ascii=False).encode("utf-8", "backslashreplace"),
    }
    folder = Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:  # written beside, all of them; renamed as the block ends, explanation.json last
        for name, content in reversed(made.items()):
            stack.enter_context(replaced(folder / name)).write(content)
    return folder


def read(folder: str | Path) -> dict[str, Any]:
    """See `Explanation.load`: its fields by name."""
    folder = Path(folder).expanduser()
    source = folder / "explanation.json"
    if not source.is_file():
        raise FileNotFoundError(f"no saved explanation in {str(folder)!r} (explanation.json is missing)")
    about = _about(source)
    arrays = read_arrays(folder / "maps.npz")
    keys = list(about["stages"]) if about["format"] == 1 else [f"stage_{i}" for i in range(len(about["stages"]))]
    for key in ("map", *keys):
        if key not in arrays or arrays[key].ndim != 2 or arrays[key].dtype.kind != "f":
            raise ValueError(f"{str(folder / 'maps.npz')!r} is damaged: it has no map {key!r} of numbers, h×w")
    try:
        with Image.open(folder / "picture.png", formats=["PNG"]) as image:
            picture = np.array(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{str(folder / 'picture.png')!r} is damaged: {error}") from error
    if picture.shape[:2] != arrays["map"].shape:
        raise ValueError(f"{str(folder / 'picture.png')!r} and maps.npz differ in size: they are not of one map")
    stages = {name: arrays[key] for name, key in zip(about["stages"], keys, strict=True)}
    fields = {name: about[name] for name in _FIELDS if name != "stages"}
    return {**fields, "map": arrays["map"], "stage_maps": stages, "picture": picture}


def _about(source: Path) -> dict[str, Any]:
    """The content of an explanation.json, checked."""
    damaged = f"{str(source)!r} is damaged"
    try:
        about = json.loads(source.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{damaged}: {error}") from error
    if not isinstance(about, dict):
        raise ValueError(f"{damaged}: it holds a {type(about).__name__}, not a JSON object")
    if about.get("format") not in READS:
        known = " and ".join(map(str, READS))
        raise ValueError(f"{str(source)!r} has format {about.get('format')!r}; this version reads {known}")
    for name, kinds in _FIELDS.items():
        if name not in about or not isinstance(about[name], kinds):
            held = type(about[name]).__name__ if name in about else "nothing"
            raise ValueError(f"{damaged}: {held} stands where {name!r} should")
    if not all(isinstance(stage, str) for stage in about["stages"]):
        raise ValueError(f"{damaged}: its 'stages' are not names")
    return about


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
