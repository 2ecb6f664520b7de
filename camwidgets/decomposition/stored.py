"""What a saved tree must be before it is read: every value looked at, everything wrong told in one sentence."""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .nodes import SIGNS

FORMAT = 1
FILES = ("tree.json", "tree.npz", "tree.graphml", "picture.png")
# Numbers of a node that may be unknown: null in the file, NaN in the tree.
FLOATS = frozenset({"contribution", "share", "class_share", "value", "completeness", "others", "iou"})
TEXTS = ("stage", "tap", "members", "dead", "concept")
COUNTS = ("channel", "y", "x")
ROW = {"id", "parent", "children", *FLOATS, *TEXTS, *COUNTS}
LATER: dict[str, Any] = {"concept": "", "iou": None}  # what trees of the first versions have not
HOW = {"top": int, "conditional": bool, "sign": str, "merge": bool, "shared": bool}
ABOUT = {
    "label": str, "score": (int, float), "how": dict, "made_by": dict, "stages": dict, "nodes": list, "edges": list,
}  # fmt: skip


def read(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The checked content of `tree.json`, with the picture, and the arrays of `tree.npz`.

    Raises:
        FileNotFoundError: no tree there, or a file of it is missing. ValueError: names the file and what is wrong.
    """
    source = folder / "tree.json"
    if not source.is_file():
        raise FileNotFoundError(f"no saved tree in {str(folder)!r} (tree.json is missing)")
    for name in ("tree.npz", "picture.png"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"the saved tree in {str(folder)!r} is not whole: {name} is missing")
    try:
        content = json.loads(source.read_text("utf-8"), parse_constant=_no_number)
        _check_about(content)
        _check_nodes(content["nodes"], content["stages"])
        _check_edges(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{str(source)!r} is no saved tree: {error}") from error
    arrays = _arrays(folder / "tree.npz", content.get("arrays_sha256"))
    try:
        _check_arrays(content, arrays)
    except ValueError as error:
        raise ValueError(f"{str(folder / 'tree.npz')!r} does not go with tree.json: {error}") from error
    content["picture"] = _picture(folder / "picture.png")
    return content, arrays


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _check_about(content: Any) -> None:
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}, not an object")
    if content.get("format") != FORMAT:
        raise ValueError(f"it has format {content.get('format')!r}; this version reads {FORMAT}")
    for name, kind in ABOUT.items():
        _has(content, name, kind)
    if type(content.get("target")) is not int and not isinstance(content.get("target"), str):
        raise ValueError(f"target must be a class index or the name of a score; it is {content.get('target')!r}")
    if content.get("probability") is not None:
        _has(content, "probability", (int, float))
    else:
        content["probability"] = None
    for name in ("model", "weights_sha256"):
        _has(content["made_by"], name, str, "made_by: ")
    stages = content["stages"]
    if not stages or not all(isinstance(tap, str) for tap in stages.values()):
        raise ValueError(f"stages must name a tap for each stage; they are {_short(stages)}")
    _check_how(content["how"])


def _check_how(how: dict[str, Any]) -> None:
    for name, value in how.items():
        if name not in HOW or type(value) is not HOW[name]:
            raise ValueError(f"how: {name} = {_short(value)} is no setting of a tree")
    if how.get("top", 1) < 1 or how.get("sign", "for") not in SIGNS:
        raise ValueError(f"how: top must be at least 1 and sign one of {', '.join(SIGNS)}; it is {_short(how)}")


def _has(content: Mapping[str, Any], name: str, kind: Any, where: str = "") -> None:
    if name not in content:
        raise ValueError(f"{where}{name} is missing")
    value = content[name]
    number = isinstance(value, (int, float))
    if not isinstance(value, kind) or (number and (isinstance(value, bool) or not math.isfinite(value))):
        raise ValueError(f"{where}{name} is {_short(value)}")


def _check_nodes(rows: list[Any], stages: Mapping[str, str]) -> None:
    """Each node by itself, then what it says of its parent and children."""
    for row in rows:
        if not isinstance(row, dict) or type(row.get("id")) is not int:
            raise ValueError(f"a node without a number: {_short(row)}")
        row |= {name: value for name, value in LATER.items() if name not in row}
        if row.keys() != ROW:
            name = min(map(str, row.keys() ^ ROW))
            raise ValueError(f"node {row['id']}: {_short(name)} is {'missing' if name in ROW else 'unknown'}")
        _check_node(row, stages)
    nodes = {row["id"]: row for row in rows}
    if len(nodes) != len(rows):
        raise ValueError("two nodes have one number")
    if 0 not in nodes or [row["id"] for row in rows if row["parent"] is None] != [0]:
        raise ValueError("node 0, and no other, must be the class, without a parent")
    depth = {"class": len(stages), **{name: i for i, name in enumerate(stages)}}
    for row in rows:
        for other in [*row["children"], *([] if row["parent"] is None else [row["parent"]])]:
            if type(other) is not int or other not in nodes:
                raise ValueError(f"node {row['id']} names node {_short(other)}, which is not there")
        if row["id"] and depth[nodes[row["parent"]]["stage"]] <= depth[row["stage"]]:
            raise ValueError(f"node {row['id']} lies at {row['stage']}, not below its parent, node {row['parent']}")


def _check_node(row: dict[str, Any], stages: Mapping[str, str]) -> None:
    where = f"node {row['id']}: "
    for name in TEXTS:
        _has(row, name, str, where)
    for name in COUNTS:
        _has(row, name, int, where)
        if row[name] < 0 and (row["id"], name, row[name]) != (0, "channel", -1):
            raise ValueError(f"{where}{name} is {row[name]}")
    for name in FLOATS:
        if row[name] is not None:
            _has(row, name, (int, float), where)
    _has(row, "children", list, where)
    if not all(one.isdecimal() for one in row["members"].split()):
        raise ValueError(f"{where}members is {_short(row['members'])}")
    known = {"class": "class"} if row["id"] == 0 else stages
    if known.get(row["stage"]) != row["tap"]:
        raise ValueError(f"{where}there is no stage {_short(row['stage'])} at {_short(row['tap'])} in this tree")


def _check_edges(content: Mapping[str, Any]) -> None:
    nodes = {row["id"]: row for row in content["nodes"]}
    depth = {"class": len(content["stages"]), **{name: i for i, name in enumerate(content["stages"])}}
    found: set[tuple[int, int]] = set()
    for edge in content["edges"]:
        if not isinstance(edge, list) or len(edge) != 3 or not all(type(one) is int for one in edge[:2]):
            raise ValueError(f"an edge is two nodes and a share; one is {_short(edge)}")
        if not all(one in nodes for one in edge[:2]):
            raise ValueError(f"the edge {edge[0]} → {edge[1]} leads to a node that is not there")
        _has({"share": edge[2]}, "share", (int, float), f"the edge {edge[0]} → {edge[1]}: ")
        if depth[nodes[edge[0]]["stage"]] <= depth[nodes[edge[1]]["stage"]]:
            raise ValueError(f"the edge {edge[0]} → {edge[1]} does not lead downwards")
        found.add((edge[0], edge[1]))
    told = {(row["id"], child) for row in content["nodes"] for child in row["children"]}
    if told != found or len(found) != len(content["edges"]):
        odd = sorted(told ^ found)
        raise ValueError(f"edges and children do not agree{f' at {odd[0][0]} → {odd[0][1]}' if odd else ''}")


def _arrays(path: Path, sha256: Any) -> dict[str, np.ndarray]:
    packed = path.read_bytes()
    if sha256 is not None and hashlib.sha256(packed).hexdigest() != sha256:
        raise ValueError(f"{str(path)!r} was not written together with tree.json: a saving was broken off")
    try:
        with np.load(io.BytesIO(packed), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, TypeError, OSError, EOFError, KeyError, AttributeError, zipfile.BadZipFile, zlib.error,
            NotImplementedError, RuntimeError) as error:  # fmt: skip
        raise ValueError(f"{str(path)!r} is no readable file of arrays: {error}") from error


def _check_arrays(content: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    x = arrays.get("x")
    if x is not None and (x.ndim != 4 or x.shape[:2] != (1, 3) or x.dtype.kind != "f"):
        raise ValueError(f"the network's input must be 1×3×h×w; it is {_size(x)}")
    for row in content["nodes"]:
        map_, seed = arrays.get(f"attention_{row['id']}"), arrays.get(f"seed_{row['id']}")
        if map_ is None or map_.ndim != 2 or map_.dtype.kind != "f":
            raise ValueError(f"there is no map of node {row['id']}")
        if row["y"] >= map_.shape[0] or row["x"] >= map_.shape[1]:
            raise ValueError(f"node {row['id']} lies at ({row['y']}, {row['x']}), outside its {_size(map_)} map")
        if row["id"] and content["how"].get("conditional") and seed is None:
            raise ValueError(f"node {row['id']} of a path-conditioned tree has no gradient")
        if seed is not None and (seed.shape != map_.shape or seed.dtype.kind != "f"):
            raise ValueError(f"the gradient of node {row['id']} is {_size(seed)}; its map is {_size(map_)}")


def _picture(path: Path) -> np.ndarray:
    try:
        with Image.open(path, formats=("PNG",)) as image:
            return np.array(image.convert("RGB"))
    except (ValueError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{str(path)!r} is no readable picture: {error}") from error


def _size(array: np.ndarray) -> str:
    return "×".join(map(str, array.shape))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:57]}…"
