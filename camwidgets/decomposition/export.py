"""Trees as graphs, tables and files."""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from ..classifiers.classifier import Classifier
from ..classifiers.taps import Tap
from ..evidence import Evidence, record
from ..files import replaced
from .growth import rebuild_known
from .naming import Dissection
from .stored import FILES, FLOATS, FORMAT, read
from .tree import Decomposition, How, Node

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd

# What XML 1.0 cannot hold: control characters, halves of surrogate pairs.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_networkx(tree: Decomposition) -> nx.DiGraph:
    """See `Decomposition.to_networkx`."""
    import networkx as nx

    graph: nx.DiGraph = nx.DiGraph(
        label=tree.label, score=tree.score, top=tree.how.top, sign=tree.how.sign,
        conditioning="path" if tree.how.conditional else "node",
    )  # fmt: skip
    for node in tree.nodes.values():
        graph.add_node(node.id, **node.attributes())
    for (parent, child), share in tree.edges.items():
        graph.add_edge(parent, child, share=share)
    return graph


def to_frame(tree: Decomposition) -> pd.DataFrame:
    """See `Decomposition.to_frame`."""
    import pandas as pd

    rows = [{"id": node.id, "parent": node.parent, **node.attributes()} for node in tree.nodes.values()]
    return pd.DataFrame(rows).set_index("id")


def xml_text(text: str) -> str:
    """Text with U+FFFD in place of each character that XML cannot hold.

    Example:
        >>> xml_text("cat\\x0b")
        'cat\ufffd'
    """
    return _NO_XML.sub("\ufffd", text)


def save(tree: Decomposition, folder: str | Path) -> Path:
    """See `Decomposition.save`. All is made before anything is written: a failure leaves a tree that was there."""
    arrays = _packed(tree)
    content = {**_content(tree), "arrays_sha256": hashlib.sha256(arrays).hexdigest()}
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    picture = io.BytesIO()
    Image.fromarray(tree.picture).save(picture, "PNG")
    # A half of a surrogate pair is written as JSON's own escape.
    made = [text.encode("utf-8", "backslashreplace"), arrays, _graphml(tree), picture.getvalue()]
    folder = Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:  # written beside, all of them, then renamed, tree.json last
        for name, content_of in zip(FILES, made, strict=True):
            stack.enter_context(replaced(folder / name)).write(content_of)
    return folder


def _content(tree: Decomposition) -> dict[str, Any]:
    nodes = [{"id": n.id, "parent": n.parent, "children": n.children, **n.attributes()} for n in tree.nodes.values()]
    return {
        "format": FORMAT, "target": tree.target, "label": tree.label, "score": tree.score,
        "probability": tree.probability, "how": asdict(tree.how), "made_by": tree.made_by,
        "stages": {name: str(tap) for name, tap in tree.stages.items()},
        "nodes": [_without_nan(node) for node in nodes],
        "edges": [[parent, child, share] for (parent, child), share in tree.edges.items()],
        "names": None if tree.names is None else tree.names.to_json(),
    }  # fmt: skip


def _packed(tree: Decomposition) -> bytes:
    """The .npz: maps, gradients, and the network's input, without which nobody could expand the tree again."""
    arrays: dict[str, Any] = {f"attention_{n.id}": n.attention for n in tree.nodes.values()}
    arrays |= {f"seed_{n.id}": _array(n.seed) for n in tree.nodes.values() if n.seed is not None}
    x = tree.x if tree.decomposer is None else _array(tree.decomposer.evidence.x)
    if x is not None:
        arrays["x"] = x
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def _array(tensor: torch.Tensor) -> np.ndarray:
    """numpy knows no bfloat16; every one of its values is a float32."""
    found: np.ndarray = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().cpu().numpy()
    return found


def _graphml(tree: Decomposition) -> bytes:
    import networkx as nx

    graph = to_networkx(tree)
    for held in (graph.graph, *(data for _, data in graph.nodes(data=True))):
        held.update({name: xml_text(value) for name, value in held.items() if isinstance(value, str)})
    file = io.BytesIO()
    nx.write_graphml(graph, file)
    return file.getvalue()


def load(folder: str | Path, classifier: Classifier | None = None) -> Decomposition:
    """See `Decomposition.load`. Nothing in the files is run; every value in them is checked (`stored`)."""
    folder = Path(folder).expanduser()
    content, arrays = read(folder)
    stages = {name: Tap(tap) for name, tap in content["stages"].items()}
    evidence = None
    if classifier is not None:
        evidence = _evidence_again(content, arrays, classifier, folder)
        stages = evidence.stages
    tree = Decomposition(evidence, stages, How(**content["how"]), content)
    tree.x = arrays.get("x")
    for row in content["nodes"]:
        tree.nodes[row["id"]] = _node(row, arrays, evidence)
    tree.edges = {(parent, child): share for parent, child, share in content["edges"]}
    tree.names = _names(content.get("names"), folder)
    rebuild_known(tree)
    return tree


def _names(content: Any, folder: Path) -> Dissection | None:
    try:
        return Dissection.load(content) if content else None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{str(folder / 'tree.json')!r} holds names that cannot be read: {error!r}") from error


def _evidence_again(
    content: dict[str, Any], arrays: dict[str, np.ndarray], classifier: Classifier, folder: Path
) -> Evidence:
    made_by = content["made_by"]
    if made_by["weights_sha256"] != classifier.weights_hash():
        raise ValueError(
            f"this tree was made with {made_by['model']} (weights {made_by['weights_sha256'][:12]}…), not with "
            f"{classifier.name} (weights {classifier.weights_hash()[:12]}…)"
        )
    if "x" not in arrays or not isinstance(content["target"], int):
        raise ValueError("this tree was saved without what is needed to expand it further")
    for name, tap in content["stages"].items():
        if str(classifier.tap(tap)) != tap or classifier.stages.get(name, tap) != tap:
            source = str(folder / "tree.json")
            raise ValueError(f"{source!r} says that {name} is {tap!r}; in {classifier.name} it is not")
    with record(classifier, torch.from_numpy(arrays["x"]), list(content["stages"])) as recording:
        evidence = recording.evidence(content["target"])
    for row in content["nodes"]:
        _fits(row, arrays[f"attention_{row['id']}"], evidence, folder)
    return evidence


def _fits(row: dict[str, Any], map_: np.ndarray, evidence: Evidence, folder: Path) -> None:
    """A node's channel and the size of its map must be those of its tap."""
    if row["id"]:
        channels, *size = evidence.activations[evidence.stages[row["stage"]]].shape[1:]
        if row["channel"] >= channels or list(map_.shape) != size:
            raise ValueError(
                f"{str(folder / 'tree.json')!r} is no tree of {evidence.classifier.name}: node {row['id']} is channel "
                f"{row['channel']} of {row['tap']!r}, {map_.shape[0]}×{map_.shape[1]}; there are {channels} channels "
                f"of {size[0]}×{size[1]}"
            )


def _node(row: dict[str, Any], arrays: dict[str, np.ndarray], evidence: Evidence | None) -> Node:
    row = {key: math.nan if value is None and key in FLOATS else value for key, value in row.items()}
    members = tuple(int(m) for m in row.pop("members").split())
    found = arrays.get(f"seed_{row['id']}")
    seed = None if found is None else torch.from_numpy(found)
    if seed is not None and evidence is not None:
        seed = seed.to(next(iter(evidence.activations.values())))
    return Node(**row, members=members, attention=arrays[f"attention_{row['id']}"], seed=seed)


def _without_nan(row: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
