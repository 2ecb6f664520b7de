"""What expanding, folding and sharing leave behind: nothing half done, no node without its parent."""

from __future__ import annotations

import weakref
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch

import camwidgets
from camwidgets import Decomposition, decompose
from camwidgets.decomposition import gap, growth
from camwidgets.decomposition.ablation import ablate
from camwidgets.decomposition.gap import Decomposer
from camwidgets.decomposition.growth import rebuild_known
from camwidgets.decomposition.links import parents_of
from camwidgets.decomposition.tree import Node
from camwidgets.figures.tree import tree_figure
from tests.test_gap import deep


def content(tree: Decomposition) -> list[object]:
    """All that a tree says, to hold it against itself."""
    nodes = [(n.id, n.parent, tuple(n.children), str(n.attributes())) for n in tree.nodes.values()]
    return [nodes, dict(tree.edges), dict(tree._known), dict(tree._ways)]


def silent_place(tree: Decomposition, node: Node) -> tuple[int, int]:
    assert tree.decomposer is not None
    A = tree.decomposer.evidence.activations[node.tap][0, node.channel]
    y, x = (A == 0).nonzero()[0].tolist()
    return y, x


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("what", ["position", "top", "tap", "sign", "silent", "interrupt"])
def test_what_cannot_be_expanded_stays_as_it_was(what: str, shared: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier, x = deep()
    tree = decompose(classifier, x, target=1, top=4, shared=shared)
    node = next(n for n in tree.level("S3") if n.children and torch.as_tensor(n.attention).eq(0).any())
    before = content(tree)
    given: dict[str, dict[str, Any]] = {
        "position": {"position": (99, 0)}, "top": {"top": 10000}, "tap": {"tap": "S4"}, "sign": {"sign": "maybe"},
        "silent": {"position": silent_place(tree, node)}, "interrupt": {},
    }  # fmt: skip
    if what == "interrupt":

        def stopped(*args: Any, **kwargs: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(Decomposer, "of_features", stopped)
    with pytest.raises(KeyboardInterrupt if what == "interrupt" else ValueError):
        tree.expand(node, **given[what])
    assert content(tree) == before


def test_a_node_that_turns_out_dead_where_it_stands_says_so() -> None:
    classifier, x = deep()
    tree = decompose(classifier, x, target=1, depth=1)
    node = tree.children(0)[0]
    node.y, node.x = silent_place(tree, node)
    with pytest.raises(ValueError, match="cannot be decomposed: its value is"):
        tree.expand(node)
    assert "only a positive feature" in node.dead


def test_another_place_of_the_channel_is_decomposed() -> None:
    classifier, x = deep()
    tree = decompose(classifier, x, target=1, top=4)
    node = tree.children(0)[0]
    places = (torch.as_tensor(node.attention) > 0).nonzero().tolist()
    y, x_ = next(place for place in places if place != [node.y, node.x])
    assert tree.decomposer is not None
    F = tree.decomposer.evidence.activations[node.tap][0, node.channel]
    tree.expand(node, position=(y, x_))
    assert (node.y, node.x) == (y, x_)
    assert node.value == pytest.approx(float(F[y, x_]))


def sound(tree: Decomposition) -> None:
    """Every node hangs below a parent that is there, by an edge, and says of it what the edge says."""
    parents = parents_of(tree)
    for node in tree.nodes.values():
        if node.parent is None:
            continue
        assert node.parent in parents[node.id]
        assert node.share == tree.edges[node.parent, node.id]
        assert node.id in tree.nodes[node.parent].children
        assert tree._known[node.feature] == node.id
        assert tree.path(node)[0] is tree.root
    assert {(p, c) for p, n in tree.nodes.items() for c in n.children} == set(tree.edges)
    assert set(tree._ways) < set(tree.edges)


def test_nodes_of_a_shared_graph_whose_parent_goes_hang_below_another() -> None:
    classifier, picture = camwidgets.load("toy"), camwidgets.samples.picture("cat")
    plain, tree = (decompose(classifier, picture, shared=s, top=6, depth=3) for s in (False, True))
    said = {(plain.path(n)[-2].feature, n.feature): n for n in plain.nodes.values() if n.parent is not None}
    sound(tree)
    moved = 0
    for above in tree.level("S5")[:-1]:
        before = {n.id: n.parent for n in tree.nodes.values()}
        tree.collapse(above)
        sound(tree)
        for node in [n for n in tree.nodes.values() if n.parent != before[n.id]]:
            moved += 1
            # What it says of the parent it now has is what the tree says of it below that parent.
            twin = said[tree.path(node)[-2].feature, node.feature]
            assert (node.share, node.contribution) == pytest.approx((twin.share, twin.contribution), rel=1e-4)
            assert torch.allclose(torch.as_tensor(node.attention), torch.as_tensor(twin.attention), atol=1e-6)
            assert node.members == twin.members
            if moved == 1:
                assert ablate(tree, node).channels
                assert tree_figure(tree, selected=node.id)
    assert moved > 5
    tree.expand(tree.level("S5")[0])
    sound(tree)


def test_a_node_of_a_file_that_hangs_below_another_parent_keeps_its_share(tmp_path: Path) -> None:
    classifier, picture = camwidgets.load("toy"), camwidgets.samples.picture("cat")
    tree = decompose(classifier, picture, shared=True, top=6, depth=3)
    again = Decomposition.load(tree.save(tmp_path / "tree"), classifier)
    rebuild_known(again)
    for one in (tree, again):
        one.collapse(one.level("S5")[0])
        sound(one)
    for node in tree.nodes.values():
        twin = again.nodes[node.id]
        assert (twin.parent, twin.share) == (node.parent, node.share)
        assert twin.contribution == pytest.approx(node.contribution, rel=1e-4)
        assert twin.class_share == pytest.approx(node.class_share)


def test_shares_of_the_class_add_up_over_all_paths_of_a_shared_graph() -> None:
    classifier, x = deep()
    plain, shared = (decompose(classifier, x, target=0, shared=s, top=4) for s in (False, True))

    def check() -> None:
        sums: dict[object, float] = defaultdict(float)
        for node in plain.nodes.values():
            sums[node.feature] += node.class_share
        assert {n.feature: n.class_share for n in shared.nodes.values()} == pytest.approx(dict(sums))

    check()
    for tree in (plain, shared):
        tree.collapse(tree.children(0)[1])
    check()


def test_numbers_are_given_once_and_a_node_stands_for_itself_only() -> None:
    classifier, x = deep()
    tree, other = (decompose(classifier, x, target=1, top=3) for _ in range(2))
    held, seen = tree.level("S2")[0], set(tree.nodes)
    fresh = tree.expand(0, top=5)
    assert not {n.id for n in fresh} & seen
    with pytest.raises(ValueError, match=r"no node|is not this tree's node"):
        tree.node(held)
    stranger = other.children(0)[0]
    tree.nodes[stranger.id] = fresh[0]
    with pytest.raises(ValueError, match=f"the node {stranger.name} given is not this tree's node"):
        tree.node(stranger)
    assert other.node(stranger) is stranger


def test_paths_have_no_single_place_and_are_not_shared() -> None:
    classifier, x = deep()
    tree = decompose(classifier, x, target=1, conditional=True)
    before = content(tree)
    with pytest.raises(ValueError, match="a node stands for all places of its channel"):
        tree.expand(tree.children(0)[0], position=(0, 0))
    assert content(tree) == before
    with pytest.raises(ValueError, match="conditional=True and shared=True do not go together"):
        decompose(classifier, x, target=1, conditional=True, shared=True)


def test_a_place_that_another_shared_node_has_is_pointed_to() -> None:
    classifier, x = deep()
    tree = decompose(classifier, x, target=0, shared=True, top=4)
    by_channel: dict[tuple[str, int], list[Node]] = defaultdict(list)
    for node in tree.level("S2"):
        by_channel[node.stage, node.channel].append(node)
    one, other = next(nodes for nodes in by_channel.values() if len(nodes) > 1)[:2]
    with pytest.raises(ValueError, match=f"is in this shared tree already: expand its node {other.id}"):
        tree.expand(one, position=(other.y, other.x))


@pytest.mark.parametrize("conditional", [False, True])
def test_chunks_change_nothing(conditional: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier, x = deep()
    whole = decompose(classifier, x, target=1, top=4, conditional=conditional)
    monkeypatch.setattr(growth, "CHUNK_BYTES", 1)
    monkeypatch.setattr(gap, "CHUNK_BYTES", 1)
    assert content(decompose(classifier, x, target=1, top=4, conditional=conditional)) == content(whole)


def test_paths_are_taken_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier, x = deep()
    made: list[weakref.ref[torch.Tensor]] = []
    most = 0
    handed_down = Decomposer._handed_down

    def counted(self: Decomposer, *args: Any) -> Any:
        nonlocal most
        for g in handed_down(self, *args):
            made.append(weakref.ref(g))
            most = max(most, sum(one() is not None for one in made))
            yield g

    monkeypatch.setattr(Decomposer, "_handed_down", counted)
    tree = decompose(classifier, x, target=1, top=6, conditional=True)
    assert len(tree.level("S2")) > 12
    assert len(made) > 12
    assert 1 <= most <= 3
