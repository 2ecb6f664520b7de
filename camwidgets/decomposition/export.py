"""Trees as graphs, tables and files."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from ..classifiers.classifier import Classifier
from ..classifiers.taps import Tap
from ..evidence import Evidence, record
from .naming import Dissection
from .tree import Decomposition, How, Node

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd

FORMAT = 1


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


def save(tree: Decomposition, folder: str | Path) -> Path:
    """See `Decomposition.save`."""
    import networkx as nx

    folder = Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    nodes = [{"id": n.id, "parent": n.parent, "children": n.children, **n.attributes()} for n in tree.nodes.values()]
    content = {
        "format": FORMAT, "target": tree.target, "label": tree.label, "score": tree.score,
        "probability": tree.probability, "how": asdict(tree.how), "made_by": tree.made_by,
        "stages": {name: str(tap) for name, tap in tree.stages.items()},
        "nodes": [_without_nan(node) for node in nodes],
        "edges": [[parent, child, share] for (parent, child), share in tree.edges.items()],
        "names": None if tree.names is None else tree.names.to_json(),
    }  # fmt: skip
    (folder / "tree.json").write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False), "utf-8")
    arrays: dict[str, Any] = {f"attention_{n.id}": n.attention for n in tree.nodes.values()}
    arrays |= {f"seed_{n.id}": n.seed.cpu().numpy() for n in tree.nodes.values() if n.seed is not None}
    if tree.decomposer is not None:
        arrays["x"] = tree.decomposer.evidence.x.cpu().numpy()
    np.savez_compressed(folder / "tree.npz", **arrays)
    nx.write_graphml(to_networkx(tree), folder / "tree.graphml")
    Image.fromarray(tree.picture).save(folder / "picture.png")
    return folder


def load(folder: str | Path, classifier: Classifier | None = None) -> Decomposition:
    """See `Decomposition.load`. Nothing in the files is run."""
    folder = Path(folder).expanduser()
    source = folder / "tree.json"
    if not source.is_file():
        raise FileNotFoundError(f"no saved tree in {str(folder)!r} (tree.json is missing)")
    content = json.loads(source.read_text("utf-8"))
    if content.get("format") != FORMAT:
        raise ValueError(f"{str(source)!r} has format {content.get('format')!r}; this version reads {FORMAT}")
    with Image.open(folder / "picture.png") as image:
        content["picture"] = np.array(image.convert("RGB"))
    with np.load(folder / "tree.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    stages = {name: Tap(tap) for name, tap in content["stages"].items()}
    evidence = None
    if classifier is not None:
        evidence = _evidence_again(content, arrays, classifier)
        stages = evidence.stages
    tree = Decomposition(evidence, stages, How(**content["how"]), content)
    for row in content["nodes"]:
        tree.nodes[row["id"]] = _node(row, arrays)
    if content.get("names"):
        tree.names = Dissection.load(content["names"])
    tree.edges = {(parent, child): share for parent, child, share in content["edges"]}
    return tree


def _evidence_again(content: dict[str, Any], arrays: dict[str, np.ndarray], classifier: Classifier) -> Evidence:
    made_by = content["made_by"]
    if made_by["weights_sha256"] != classifier.weights_hash():
        raise ValueError(
            f"this tree was made with {made_by['model']} (weights {made_by['weights_sha256'][:12]}…), not with "
            f"{classifier.name} (weights {classifier.weights_hash()[:12]}…)"
        )
    if "x" not in arrays or not isinstance(content["target"], int):
        raise ValueError("this tree was saved without what is needed to expand it further")
    with record(classifier, torch.from_numpy(arrays["x"]), list(content["stages"])) as recording:
        return recording.evidence(content["target"])


def _node(row: dict[str, Any], arrays: dict[str, np.ndarray]) -> Node:
    row = {key: math.nan if value is None and key in _FLOATS else value for key, value in row.items()}
    members = tuple(int(m) for m in row.pop("members").split())
    seed = arrays.get(f"seed_{row['id']}")
    return Node(
        **row, members=members, attention=arrays[f"attention_{row['id']}"],
        seed=None if seed is None else torch.from_numpy(seed),
    )  # fmt: skip


_FLOATS = frozenset({"contribution", "share", "class_share", "value", "completeness", "others", "iou"})


def _without_nan(row: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
