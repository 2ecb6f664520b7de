"""TreeExplorer without a browser: acts, traits, the worker, errors, code that reproduces, files, what it leaves."""

from __future__ import annotations

import gc
import io
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import camwidgets
from camwidgets import Decomposition, TreeExplorer
from camwidgets.decomposition.ablation import ablate
from camwidgets.decomposition.fidelity import channel_means
from camwidgets.widgets.tree.export import path_of
from tests.explorer_nets import LABELS, Gate, photo, small
from tests.nets import state


@pytest.fixture
def explorer() -> Iterator[TreeExplorer]:
    made = TreeExplorer(small(), pictures={"first": photo(1), "second": photo(2)})
    yield made.wait()
    made.close()


def first_open(explorer: TreeExplorer) -> int:
    """A node that a click would expand."""
    return next(n.id for n in explorer.tree.nodes.values() if not n.children and not n.dead and n.stage != "S1")


def drawn_ids(explorer: TreeExplorer) -> list[int]:
    return [int(i) for i in explorer.figure.data[0].customdata]


# ---------------------------------------------------------------------------------------------- what is shown


def test_it_begins_with_two_steps_of_the_top_class(explorer: TreeExplorer) -> None:
    best = small().predict(photo(1))[0]
    tree = explorer.tree
    assert (explorer.picture, explorer.target, tree.label) == ("first", best.index, best.label)
    assert {n.stage for n in tree.nodes.values()} == {"class", "S5", "S4"}
    assert set(explorer.opened) == {i for i, n in tree.nodes.items() if n.children}
    assert sorted(drawn_ids(explorer)) == sorted(tree.nodes)
    assert explorer.head.state["why"] == f"why “{best.label}”"
    assert explorer.head.state["sure"].endswith(f"logit {best.logit:.2f}".replace("-", "−"))
    assert [c["index"] for c in explorer.head.state["classes"]] == [p.index for p in small().predict(photo(1), 5)]


def test_a_click_selects_expands_and_folds(explorer: TreeExplorer) -> None:
    number = first_open(explorer)
    explorer.click(number)
    tree = explorer.tree
    assert explorer.selected == number
    assert number in explorer.opened
    assert set(tree.node(number).children) <= set(drawn_ids(explorer))
    assert explorer.side.state["title"] == f"{tree.node(number).stage} channel {tree.node(number).channel}"
    explorer.click(number)  # the selected one: fold
    explorer.wait()
    assert not set(tree.node(number).children) & set(drawn_ids(explorer))
    text = explorer.figure.data[0].text[drawn_ids(explorer).index(number)]
    assert text.endswith(f"▸ {len(tree.node(number).children)}")
    explorer.click(number)  # what is known is unfolded, not decomposed again
    assert explorer.code.count("tree.expand(") == 1
    other = tree.children(tree.root)[1].id
    explorer.click(other)  # opened, not selected: only looked at
    explorer.wait()
    assert (explorer.selected, other in explorer.opened) == (other, True)


def test_plotly_s_click_reaches_the_node(explorer: TreeExplorer) -> None:
    number = first_open(explorer)
    at = SimpleNamespace(point_inds=[drawn_ids(explorer).index(number)])
    explorer._canvas._on_click(None, at, SimpleNamespace(shift=False))
    assert explorer.wait().selected == number
    at = SimpleNamespace(point_inds=[drawn_ids(explorer).index(number)])
    explorer._canvas._on_click(None, at, SimpleNamespace(shift=True))
    assert explorer.wait().removed == (number,)
    explorer._canvas._on_click(None, SimpleNamespace(point_inds=[]), SimpleNamespace(shift=False))
    assert explorer.wait().selected == number


def test_removal_shows_predicted_and_real(explorer: TreeExplorer) -> None:
    node = explorer.tree.children(0)[0]
    explorer.click(node.id, shift=True)
    alone = ablate(explorer.tree, node.id)
    assert explorer.ablation is not None
    assert explorer.ablation.real == pytest.approx(alone.real)
    words = [f"{v:+.2f}".replace("-", "−") for v in (alone.predicted, alone.real)]
    assert explorer.side.state["removal"][0] == ["class score", *words]
    assert (
        explorer.figure.data[0].text[drawn_ids(explorer).index(node.id)] == f"#{node.channel} {words[0]} | {words[1]}"
    )
    assert f"predicted {words[0]}, real {words[1]}" in explorer.head.state["without"]
    below = next(n for n in explorer.tree.level("S4") if n.parent == node.id)
    explorer.remove(below.id)
    explorer.wait()
    assert explorer.ablation.channels == {node.stage: (node.channel,), "S4": (below.channel,)}
    (change,) = ablate(explorer.tree, below.id).changes
    assert explorer.side.state["removal"][1] == [
        node.name, *(f"{v:+.2f}".replace("-", "−") for v in (change.predicted, change.real))
    ]  # fmt: skip
    explorer.click(node.id, shift=True)  # again: undo
    explorer.wait()
    assert explorer.removed == (below.id,)
    explorer.restore()
    assert explorer.wait()._now().joint is None
    assert explorer.head.state["without"] == ""


def test_removal_to_means_needs_means(explorer: TreeExplorer) -> None:
    with pytest.raises(ValueError, match="needs means"):
        explorer.removal = "mean"
    means = channel_means(small(), [photo(1), photo(2)])
    other = TreeExplorer(small(), photo(1), means=means, removal="mean").wait()
    other.remove(1)
    assert other.ablation is not None
    assert other.ablation.real == pytest.approx(ablate(other.tree, 1, "mean", means=means).real)
    other.close()


def test_keys_walk_through_the_tree(explorer: TreeExplorer) -> None:
    def press(what: str) -> int:
        explorer._hear(None, {"kind": "do", "what": what}, [])
        return explorer.wait().selected

    children = explorer.tree.root.children
    assert press("right") == children[0]
    assert press("down") == children[1]
    assert press("up") == children[0]
    assert press("up") == children[0]  # nothing above
    assert press("toggle") == children[0]
    assert children[0] not in explorer.opened
    assert press("right") == children[0]  # opens it first
    assert children[0] in explorer.opened
    press("flip")
    assert list(explorer.removed) == [children[0]]
    press("undo")
    assert list(explorer.removed) == []
    assert press("left") == 0


def test_settings_make_another_tree(explorer: TreeExplorer) -> None:
    explorer.top = 2
    assert explorer.tree.how.top == 2
    explorer.sign, explorer.conditional, explorer.merge = "against", True, False
    how = explorer.tree.how
    assert (how.sign, how.conditional, how.merge) == ("against", True, False)
    explorer.sign, explorer.depth = "for", 1
    assert {n.stage for n in explorer.tree.nodes.values()} == {"class", "S5"}
    explorer.target = "red panda"
    assert explorer.tree.label == "red panda"
    explorer.picture = "second"
    assert explorer.tree.target == small().predict(photo(2))[0].index  # the top class of what is new
    np.testing.assert_array_equal(explorer.tree.picture, camwidgets.decompose(small(), photo(2), depth=1).picture)


def test_at_most_200_nodes_are_drawn() -> None:
    explorer = TreeExplorer(small(), photo(1), top=5, depth=5, merge=False, conditional=True).wait()
    assert len(drawn_ids(explorer)) <= 200
    assert "begun at 3 steps" in explorer.head.state["drawn"]
    explorer.opened = tuple(i for i in explorer.tree.nodes if explorer.tree.nodes[i].stage not in ("S1", "S2"))
    explorer.wait()
    assert len(explorer.tree.nodes) > 200
    assert len(drawn_ids(explorer)) <= 200
    assert "folded" in explorer.head.state["drawn"]
    explorer.close()


def test_a_second_class_follows_the_first(explorer: TreeExplorer) -> None:
    explorer.beside = "owl"
    second = explorer._second
    assert second is not None
    assert second.tree.label == "owl"
    assert explorer.children[2] is second
    explorer.top = 2
    assert second.tree.how.top == 2
    explorer.picture = "second"
    assert (second.picture, second.tree.label) == ("second", "owl")
    explorer.beside = None
    assert len(explorer.children) == 2


# ---------------------------------------------------------------------------------------------- code and files


def test_code_reproduces_the_view(explorer: TreeExplorer) -> None:
    explorer.click(first_open(explorer))
    explorer.wait().click(first_open(explorer))
    explorer.wait().click(explorer.tree.root.children[0], shift=True)
    explorer.wait()
    names: dict[str, Any] = {"classifier": small(), "image": photo(1)}
    exec(explorer.code, names)
    assert names["tree"].to_frame().equals(explorer.tree.to_frame())
    assert names["ablation"].real == explorer.ablation.real  # type: ignore[union-attr]
    assert [int(i) for i in names["figure"].data[0].customdata] == drawn_ids(explorer)


def test_code_survives_strange_labels() -> None:
    explorer = TreeExplorer(small(), photo(1), LABELS[3]).wait()
    names: dict[str, Any] = {"classifier": small(), "image": photo(1)}
    exec(explorer.code, names)
    assert names["tree"].label == LABELS[3]
    assert "<script>alert(1)" not in explorer.figure.data[0].text[0]
    assert "<script>alert(1)" not in explorer.export_html()
    explorer.close()


def test_saved_trees_open_again(explorer: TreeExplorer, tmp_path: Path) -> None:
    explorer.click(first_open(explorer))
    folder = explorer.wait().save(tmp_path / "tree")
    assert {p.name for p in folder.iterdir()} == {"tree.json", "tree.npz", "tree.graphml", "picture.png", "tree.svg"}
    again = Decomposition.load(folder)
    assert again.to_frame().equals(explorer.tree.to_frame())
    svg = (folder / "tree.svg").read_text("utf-8")
    assert svg.count("<image") == len(drawn_ids(explorer))


def test_files_for_the_browser(explorer: TreeExplorer) -> None:
    sent: list[tuple[dict[str, Any], list[bytes]]] = []
    explorer.head.send = lambda content, buffers=None: sent.append((content, buffers))
    for what in ("bundle", "svg", "html"):
        explorer._hear(None, {"kind": "save", "what": what}, [])
        explorer.wait()
    (bundle, zipped), (svg, drawing), (html, page) = sent
    assert [one["name"].rpartition(".")[2] for one in (bundle, svg, html)] == ["zip", "svg", "html"]
    with zipfile.ZipFile(io.BytesIO(zipped[0])) as archive:
        assert "tree/tree.graphml" in archive.namelist()
    assert drawing[0].startswith(b"<svg")
    assert page[0].startswith(b"<!doctype html>")
    assert explorer.head.status == {"state": "idle"}


def test_the_page_holds_the_whole_tree(explorer: TreeExplorer) -> None:
    number = first_open(explorer)
    explorer.click(number)
    html = explorer.wait().export_html()
    content = json.loads(html.partition('id="tree">')[2].partition("</script>")[0])
    whole = camwidgets.decompose(small(), photo(1))
    assert len(content["nodes"]) == len(whole.nodes)
    paths = {path_of(whole, n.id): n.id for n in whole.nodes.values()}
    assert sorted(content["opened"]) == sorted(paths[path_of(explorer.tree, i)] for i in explorer.opened)
    assert content["selected"] == paths[path_of(explorer.tree, number)]
    assert "http://" not in html.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in html


# ---------------------------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (lambda e: setattr(e, "top", 6), "children per node, 1 … 5"),
        (lambda e: setattr(e, "depth", 0), "at least 1"),
        (lambda e: setattr(e, "sign", "both"), "unknown sign 'both'"),
        (lambda e: setattr(e, "target", "panda"), "did you mean 'red panda'"),
        (lambda e: setattr(e, "beside", 99), "99"),
        (lambda e: setattr(e, "picture", "/no/such/picture.jpg"), "no picture or folder"),
        (lambda e: e.remove(0), "the root is the class itself"),
        (lambda e: e.click(999), "no node 999"),
    ],
)
def test_refusals(explorer: TreeExplorer, act: Callable[[TreeExplorer], Any], says: str) -> None:
    before = drawn_ids(explorer)
    with pytest.raises(ValueError, match=says):
        act(explorer)
    assert drawn_ids(explorer.wait()) == before


def test_errors_in_messages_are_shown_and_nothing_is_lost(explorer: TreeExplorer) -> None:
    before = drawn_ids(explorer)
    for content, says in (
        ({"kind": "set", "name": "picture", "value": "/no/such.jpg"}, "no picture or folder"),
        ({"kind": "set", "name": "close", "value": 1}, "unknown setting"),
        ({"kind": "do", "what": "explode"}, "unknown act"),
    ):
        explorer._hear(None, content, [])
        assert says in (explorer.error or "")
        assert explorer.head.status["hint"] == "The tree stays as it was."
        explorer._hear(None, {"kind": "dismiss"}, [])
        assert explorer.error is None
    assert drawn_ids(explorer.wait()) == before


def test_a_broken_picture_is_said(explorer: TreeExplorer, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not a picture")
    explorer.picture = str(broken)
    explorer.wait()
    assert "broken.png" in (explorer.error or "")
    assert explorer.picture == "first"
    assert explorer.tree.label


def test_unknown_options_and_bare_modules() -> None:
    with pytest.raises(ValueError, match="unknown option of TreeExplorer 'deep'"):
        TreeExplorer(small(), photo(1), deep=3)
    with pytest.raises(TypeError, match="wrap it first"):
        TreeExplorer(small().module, photo(1))  # type: ignore[arg-type]


def test_only_the_newest_request_is_answered() -> None:
    gate = Gate()
    explorer = TreeExplorer(
        camwidgets.wrap(gate.eval(), input_size=64, labels=LABELS), pictures={"a": photo(1), "b": photo(2)}
    )
    explorer.wait()
    gate.open.clear()
    gate.begun.clear()
    explorer.picture = "b"
    assert gate.begun.wait(20)
    explorer.picture = "a"
    explorer.target = "owl"
    gate.open.set()
    assert (explorer.tree.label, explorer.picture) == ("owl", "a")
    explorer.close()


def test_it_leaves_the_module_and_no_thread() -> None:
    classifier = small()
    assert classifier.stages
    before = state(classifier.module)
    explorer = TreeExplorer(classifier, photo(1)).wait()
    explorer.click(1, shift=True)
    explorer.wait().close()
    assert state(classifier.module) == before
    gc.collect()
    assert not [t for t in threading.enumerate() if t.name == "camwidgets-tree"]
    assert torch.is_grad_enabled()


# ---------------------------------------------------------------------------------------------- what a channel sees


def seen(explorer: TreeExplorer) -> dict[str, Any]:
    return dict(explorer.wait().side.seen)


def test_the_selected_channel_is_looked_into(explorer: TreeExplorer) -> None:
    assert seen(explorer) == {"id": 0}  # the class is no channel
    assert explorer.side.index["state"] == "none"
    node = explorer.tree.children(0)[0]
    explorer.select(node.id)
    state = seen(explorer)
    assert state["id"] == node.id
    assert state["guided"]["picture"].startswith("data:image/")
    assert "guided backprop" in state["guided"]["words"]
    evidence = explorer.tree.decomposer.evidence  # type: ignore[union-attr]
    A = evidence.activations[node.tap][0, node.channel]
    assert len(state["here"]["bars"]) == 24
    assert f"at {A.numel()} positions" in state["here"]["words"]
    assert state["here"]["value"] == f"{float(A[node.y, node.x]):.3g}"
    assert "patches" not in state
    explorer.select(explorer.tree.children(0)[1].id)
    assert seen(explorer)["id"] != node.id


def test_an_index_shows_the_patches_that_excite_it(explorer: TreeExplorer) -> None:
    explorer.select(1)
    explorer.build_index([photo(i) for i in range(10)])
    explorer.wait_index()
    assert explorer.side.index["state"] == "ready"
    assert explorer.side.index["text"].startswith("10 pictures indexed")
    state = seen(explorer)  # of the node that was selected before
    node = explorer.tree.node(1)
    assert explorer.index is not None
    best = explorer.index.top(node.tap, node.channel, 6)
    assert [patch["value"] for patch in state["patches"]] == [f"{patch.response:.3g}" for patch in best]
    assert all(patch["picture"].startswith("data:image/jpeg") for patch in state["patches"])
    assert "peaks in 10 pictures" in state["there"]["words"]
    assert "<script" not in explorer.export_html().partition("</header>")[2].partition("<script type")[0]


def test_a_folder_is_indexed_from_the_panel(explorer: TreeExplorer, tmp_path: Path, monkeypatch: Any) -> None:
    from PIL import Image

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(3):
        Image.fromarray(photo(i)).save(folder / f"{i}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    explorer.select(1)
    explorer._hear(None, {"kind": "index", "what": "folder", "path": str(folder)}, [])
    explorer.wait_index()
    assert explorer.side.index["text"] == f"3 pictures indexed: {folder}, 1 could not be read"
    assert {patch["words"].partition(",")[0] for patch in seen(explorer)["patches"]} == {"0.png", "1.png", "2.png"}
    (folder / "0.png").unlink()  # a picture that is gone since: said, not raised
    explorer._shown.sights.clear()  # type: ignore[union-attr]
    explorer.select(2)
    assert "" in {patch["picture"] for patch in seen(explorer)["patches"]}
    explorer._hear(None, {"kind": "index", "what": "folder", "path": str(tmp_path / "nowhere")}, [])
    assert "no folder of pictures" in (explorer.error or "")
    (tmp_path / "empty").mkdir()
    explorer._hear(None, {"kind": "index", "what": "folder", "path": str(tmp_path / "empty")}, [])
    explorer.wait_index()
    assert explorer.side.index["state"] == "error"
    assert "no picture in the folder" in explorer.side.index["text"]


def test_building_an_index_tells_how_far_it_is_and_can_be_stopped() -> None:
    gate = Gate()
    explorer = TreeExplorer(camwidgets.wrap(gate.eval(), input_size=64, labels=LABELS), photo(1)).wait()
    told: list[dict[str, Any]] = []
    explorer.side.observe(lambda change: told.append(change.new), "index")
    explorer.build_index([photo(i) for i in range(40)])
    for _ in range(2000):
        if any(one.get("done", 0) > 0 for one in told):
            break
        threading.Event().wait(0.01)
    explorer._hear(None, {"kind": "index", "what": "cancel"}, [])
    assert explorer.side.index["state"] == "paused"
    explorer._hear(None, {"kind": "index", "what": "again"}, [])
    explorer.wait_index()
    assert explorer.side.index["state"] == "ready"
    assert len(explorer.index or []) == 40
    assert {one["state"] for one in told} >= {"building", "paused", "ready"}
    explorer.close()


def test_a_problem_with_one_channel_does_not_take_the_tree_away(explorer: TreeExplorer, monkeypatch: Any) -> None:
    import camwidgets.widgets.tree.index as module

    def broken(*_: Any) -> Any:
        raise RuntimeError("no view today")

    monkeypatch.setattr(module, "what_it_sees", broken)
    explorer.select(1)
    assert seen(explorer) == {"id": 1, "problem": "no view today"}
    assert explorer.error is None
    explorer.click(first_open(explorer))
    assert explorer.wait().error is None


def test_toy_trees_carry_names() -> None:
    from camwidgets.datasets.toyworld import ToyWorld

    scene = ToyWorld(seed=4, n=10, classes=["train"])[0]
    explorer = TreeExplorer("toy", scene, depth=2).wait()
    assert (explorer.picture, explorer.pictures[explorer.picture].text) == ("train, scene 0 1", "train, scene 0")
    named = [n for n in explorer.tree.nodes.values() if n.concept]
    assert {n.concept for n in named} >= {"train", "wheel"}
    ids, texts = drawn_ids(explorer), explorer.figure.data[0].text
    for node in named:
        assert texts[ids.index(node.id)].endswith(f"<br>{node.concept} {node.iou:.2f}")
    wheel = next(n for n in named if n.concept == "wheel")
    explorer.click(wheel.id, shift=True)
    assert explorer.wait().side.state["title"] == f"S4 channel {wheel.channel}: wheel"
    assert ["overlaps with", f"wheel {wheel.iou:.2f} IoU"] in explorer.side.state["facts"]
    assert explorer.figure.data[0].text[drawn_ids(explorer).index(wheel.id)].endswith(f"<br>wheel {wheel.iou:.2f}")
    html = explorer.export_html()
    assert '"called":"wheel 0.' in html.replace('": "', '":"')
    explorer.close()


def test_other_networks_names_are_refused() -> None:
    from camwidgets.decomposition.naming import shipped

    with pytest.raises(ValueError, match="dissect it first"):
        TreeExplorer(small(), photo(1), names=shipped(camwidgets.load("toy")))


def test_pictures_are_called_what_they_call_themselves(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(photo(1)).save(tmp_path / "holiday.png")
    with Image.open(tmp_path / "holiday.png") as image:
        explorer = TreeExplorer(small(), image)
        assert explorer.pictures[explorer.picture].text == "holiday.png"
        explorer.wait().close()
    explorer = TreeExplorer(small(), camwidgets.samples.picture("cat"))
    assert explorer.pictures[explorer.picture].text == "cat"
    assert explorer.picture != "cat"  # the sample of that name stays on offer
    explorer.wait().close()
    explorer = TreeExplorer(small(), photo(1))
    assert explorer.pictures[explorer.picture].text == "picture 1"
    explorer.close()


def test_the_page_holds_what_the_drawn_channels_see(explorer: TreeExplorer) -> None:
    html = explorer.export_html()
    content = json.loads(html.partition('id="tree">')[2].partition("</script>")[0])
    with_sight = [node for node in content["nodes"].values() if node["seen"]]
    assert len(with_sight) == len(drawn_ids(explorer)) - 1  # all but the class
    assert all(node["seen"]["guided"]["picture"].startswith("data:") for node in with_sight)
    assert len(content["nodes"]) > len(with_sight) + 1
