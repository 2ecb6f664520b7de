"""Trees on disk: nothing is lost by loading and saving, what is damaged is told, names of any kind can be written."""

from __future__ import annotations

import copy
import io
import json
import math
import shutil
import xml.dom.minidom
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch

import camwidgets
from camwidgets import Classifier, Decomposition, decompose
from camwidgets.figures.tree_svg import tree_svg
from tests.nets import small


@pytest.fixture(scope="module")
def toy() -> Classifier:
    return camwidgets.load("toy")


@pytest.fixture(scope="module")
def cat() -> Any:
    return camwidgets.samples.picture("cat")


@pytest.fixture
def kept(toy: Classifier, cat: Any, tmp_path: Path) -> Path:
    return Path(decompose(toy, cat, depth=2, conditional=True).save(tmp_path / "kept"))


def said(tree: Decomposition) -> list[str]:
    return [str(node.attributes()) for node in tree.nodes.values()]


# ------------------------------------------------------------------------------------------------- there and back again


def test_a_tree_loaded_without_its_classifier_loses_nothing_when_it_is_saved(
    toy: Classifier, cat: Any, kept: Path
) -> None:
    before = {file.name: file.read_bytes() for file in kept.iterdir()}
    Decomposition.load(kept).save(kept)
    assert {file.name: file.read_bytes() for file in kept.iterdir()} == before
    tree, fresh = Decomposition.load(kept, toy), decompose(toy, cat, depth=2, conditional=True)
    for one in (tree, fresh):
        one.expand(one.level("S4")[0])
    assert said(tree) == said(fresh)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_trees_of_other_precision(dtype: torch.dtype, tmp_path: Path) -> None:
    net = small()
    net.module.to(dtype)
    x = torch.randn((1, 3, 16, 16), generator=torch.Generator().manual_seed(1)).to(dtype)
    tree = decompose(net, x, depth=1, conditional=True)
    again = Decomposition.load(tree.save(tmp_path), net)
    assert again.decomposer is not None
    assert tree.decomposer is not None
    assert again.decomposer.evidence.x.dtype == dtype
    assert torch.equal(again.decomposer.evidence.x, tree.decomposer.evidence.x)
    for a, b in zip(again.children(0), tree.children(0), strict=True):
        assert a.seed is not None
        assert b.seed is not None
        assert a.seed.dtype == b.seed.dtype
        assert torch.equal(a.seed, b.seed)
    assert [node.name for node in again.expand(1)] == [node.name for node in tree.expand(1)]
    assert said(again) == said(tree)


def test_a_shared_tree_goes_on_sharing_when_it_was_loaded(toy: Classifier, cat: Any, tmp_path: Path) -> None:
    tree = decompose(toy, cat, depth=2, shared=True)
    alive = [node for node in tree.level("S4") if node.value > 0 or math.isnan(node.value)]
    tree.expand(alive[0])
    again = Decomposition.load(tree.save(tmp_path), toy)
    for one in (tree, again):
        for node in alive[1:]:
            one.expand(node.id)
    assert said(again) == said(tree)
    assert again.edges == tree.edges
    below = [child for _, child in tree.edges if tree.nodes[child].stage == "S3"]
    assert len(below) > len(set(below)), "this picture's tree shares nothing: the test tests nothing"


def test_a_shared_node_whose_first_parent_was_collapsed_is_saved(toy: Classifier, cat: Any, tmp_path: Path) -> None:
    tree = decompose(toy, cat, depth=3, shared=True)
    tree.collapse(next(node for node in tree.level("S5") if any(
        tree.nodes[c].parent == k and sum(below == c for _, below in tree.edges) > 1
        for k in node.children for c in tree.nodes[k].children
    )))  # fmt: skip
    again = Decomposition.load(tree.save(tmp_path))
    assert said(again) == said(tree)
    assert all(again.path(node)[0] is again.root for node in again.nodes)


def test_a_save_that_fails_leaves_what_was_there(
    toy: Classifier, cat: Any, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {file.name: file.read_bytes() for file in kept.iterdir()}
    tree = decompose(toy, cat.rotate(90), depth=1)
    for what, name in ((np, "savez_compressed"), (nx, "write_graphml"), (json, "dumps")):
        with monkeypatch.context() as patch:

            def full(*args: Any, **options: Any) -> None:
                raise OSError("no space left on device")

            patch.setattr(what, name, full)
            with pytest.raises(OSError, match="no space left"):
                tree.save(kept)
        assert {file.name: file.read_bytes() for file in kept.iterdir()} == before


def test_files_of_two_savings_are_told(toy: Classifier, cat: Any, kept: Path, tmp_path: Path) -> None:
    other = decompose(toy, cat.rotate(90), depth=2, conditional=True).save(tmp_path / "other")
    shutil.copy(other / "tree.npz", kept / "tree.npz")
    with pytest.raises(ValueError, match=r"tree\.npz' was not written together with tree\.json"):
        Decomposition.load(kept)


# ------------------------------------------------------------------------------------------------- damaged and hostile


def node(content: Any, number: int) -> Any:
    return next(row for row in content["nodes"] if row["id"] == number)


def drop_edge(content: Any) -> None:
    node(content, 1)["children"] = []


DAMAGES: list[tuple[Callable[[Any], Any], str]] = [
    (lambda c: [c], "holds a list, not an object"),
    (lambda c: c.pop("score"), "score is missing"),
    (lambda c: c.update(score="high"), "score is 'high'"),
    (lambda c: c.update(score=True), "score is True"),
    (lambda c: c.update(nodes=3), "nodes is 3"),
    (lambda c: c.update(target=[1]), r"target must be .* it is \[1\]"),
    (lambda c: c.update(made_by={}), "made_by: model is missing"),
    (lambda c: c.update(stages={}), "stages must name a tap"),
    (lambda c: c["how"].update(colour="red"), "how: colour = 'red' is no setting"),
    (lambda c: c["how"].update(top="3"), "how: top = '3' is no setting"),
    (lambda c: c["how"].update(sign="maybe"), "sign one of for, against"),
    (lambda c: node(c, 1).pop("tap"), "node 1: 'tap' is missing"),
    (lambda c: node(c, 1).update(colour="red"), "node 1: 'colour' is unknown"),
    (lambda c: node(c, 1).update(stage="S9"), "there is no stage 'S9'"),
    (lambda c: node(c, 1).update(tap="elsewhere"), "there is no stage 'S5' at 'elsewhere'"),
    (lambda c: node(c, 1).update(channel="x"), "node 1: channel is 'x'"),
    (lambda c: node(c, 1).update(channel=-1), "node 1: channel is -1"),
    (lambda c: node(c, 1).update(share="much"), "node 1: share is 'much'"),
    (lambda c: node(c, 1).update(members="1 two"), "node 1: members is '1 two'"),
    (lambda c: node(c, 1).update(children=[999]), "node 1 names node 999, which is not there"),
    (lambda c: node(c, 1).update(parent=999), "node 1 names node 999"),
    (lambda c: node(c, 1).update(parent=node(c, 1)["children"][0]), "not below its parent"),
    (lambda c: node(c, 1).update(parent=None), "node 0, and no other"),
    (lambda c: node(c, 2).update(id=1), "two nodes have one number"),
    (lambda c: c["edges"].append([1, 999, 0.5]), "the edge 1 → 999 leads to a node that is not there"),
    (lambda c: c["edges"].append([1, 0, 0.5]), "does not lead downwards"),
    (lambda c: c["edges"].append([1, 2]), "an edge is two nodes and a share"),
    (lambda c: c["edges"][0].__setitem__(2, None), "share is None"),
    (drop_edge, "edges and children do not agree at 1 → "),
    (lambda c: c.update(names=[1]), "names that cannot be read"),
]


@pytest.mark.parametrize(("damage", "told"), DAMAGES, ids=[told for _, told in DAMAGES])
def test_what_is_wrong_with_a_file_is_told(kept: Path, damage: Callable[[Any], Any], told: str) -> None:
    content = json.loads((kept / "tree.json").read_text("utf-8"))
    wrapped = damage(content)
    (kept / "tree.json").write_text(json.dumps(wrapped if isinstance(wrapped, list) else content), "utf-8")
    with pytest.raises(ValueError, match=rf"tree\.json' .*{told}"):
        Decomposition.load(kept)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe{}", b'{"format": NaN}', b"[" * 100_000])
def test_what_is_no_json_is_told(kept: Path, text: bytes) -> None:
    (kept / "tree.json").write_bytes(text)
    with pytest.raises(ValueError, match=r"tree\.json' is no saved tree: "):
        Decomposition.load(kept)


def rewritten(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """The arrays changed, as somebody would who also changes the hash."""
    with np.load(folder / "tree.npz") as file:
        arrays = {name: file[name] for name in file.files}
    change(arrays)
    np.savez(folder / "tree.npz", **arrays)
    content = json.loads((folder / "tree.json").read_text("utf-8"))
    del content["arrays_sha256"]
    (folder / "tree.json").write_text(json.dumps(content), "utf-8")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda a: a.pop("attention_1"), "there is no map of node 1"),
        (lambda a: a.update(attention_1=np.zeros((1, 1), np.float32)), r"outside its 1×1 map"),
        (lambda a: a.pop("seed_1"), "node 1 of a path-conditioned tree has no gradient"),
        (lambda a: a.update(seed_1=np.zeros((2, 2), np.float32)), "the gradient of node 1 is 2×2"),
        (lambda a: a.update(x=np.zeros((3, 3), np.float32)), "input must be 1×3×h×w; it is 3×3"),
    ],
)
def test_arrays_that_do_not_go_with_the_tree_are_told(kept: Path, change: Any, told: str) -> None:
    content = json.loads((kept / "tree.json").read_text("utf-8"))
    node(content, 1).update(y=1, x=1)
    (kept / "tree.json").write_text(json.dumps(content), "utf-8")
    rewritten(kept, change)
    with pytest.raises(ValueError, match=rf"tree\.npz' does not go with tree\.json: .*{told}"):
        Decomposition.load(kept)


def test_other_files_that_are_missing_or_damaged_are_named(kept: Path, toy: Classifier) -> None:
    whole = {file.name: file.read_bytes() for file in kept.iterdir()}
    for name in ("tree.npz", "picture.png"):
        (kept / name).unlink()
        with pytest.raises(FileNotFoundError, match=f"not whole: {name} is missing"):
            Decomposition.load(kept)
        (kept / name).write_bytes(b"no")
        with pytest.raises(ValueError, match=f"{name}'"):
            Decomposition.load(kept)
        (kept / name).write_bytes(whole[name])
    npy = io.BytesIO()
    np.save(npy, np.eye(2))
    rewritten(kept, lambda arrays: None)
    for content in (b"no", npy.getvalue(), whole["tree.npz"][:100]):
        (kept / "tree.npz").write_bytes(content)
        with pytest.raises(ValueError, match=r"tree\.npz' is no readable file of arrays"):
            Decomposition.load(kept)


def test_a_tree_that_is_not_of_the_network_it_names_is_told(kept: Path, toy: Classifier) -> None:
    whole = (kept / "tree.json").read_text("utf-8")
    content = json.loads(whole)
    node(content, 1).update(channel=10_000)
    (kept / "tree.json").write_text(json.dumps(content), "utf-8")
    with pytest.raises(ValueError, match=r"tree\.json' is no tree of toy: node 1 is channel 10000 of "):
        Decomposition.load(kept, toy)
    (kept / "tree.json").write_text(whole.replace(str(toy.stages["S4"]), str(toy.stages["S3"])), "utf-8")
    with pytest.raises(ValueError, match=r"tree\.json' says that S4 is "):
        Decomposition.load(kept, toy)


# ------------------------------------------------------------------------------------------------- labels of any kind


def test_labels_with_characters_that_xml_cannot_hold(toy: Classifier, cat: Any, tmp_path: Path) -> None:
    odd = ["x\x0b\x00y<&\"'", "caf\udce9", *(f"k{i}" for i in range(len(toy.labels) - 2))]
    net = camwidgets.wrap(copy.deepcopy(toy.module), input_size=96, labels=odd, name="n\x01")
    for target, cleaned in enumerate(("x\ufffd\ufffdy<&\"'", "caf\ufffd")):
        tree = decompose(net, cat, target=target, depth=1)
        xml.dom.minidom.parseString(tree_svg(tree).encode())
        folder = tree.save(tmp_path / str(target))
        assert nx.read_graphml(folder / "tree.graphml").graph["label"] == cleaned
        assert Decomposition.load(folder, net).label == odd[target]
