"""Trees: growing, expanding, merging, sharing, saving; fidelity of what they say."""

from __future__ import annotations

import json
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import torch

import camwidgets
from camwidgets import Decomposition, decompose
from camwidgets.datasets.toyworld import ToyWorld
from camwidgets.decomposition.ablation import ablate
from camwidgets.decomposition.fidelity import channel_means, correlation, fidelity, rank_correlation
from camwidgets.decomposition.gap import Decomposer
from camwidgets.decomposition.growth import rebuild_known
from camwidgets.decomposition.overlap import overlap, pick, region
from camwidgets.decomposition.segment import Segment, activated
from camwidgets.evidence import capture
from camwidgets.figures.tree import describe
from camwidgets.widgets.tree.view import _facts as facts
from tests.test_gap import deep, net_by_hand


def test_the_whole_tree_of_a_net_done_by_hand() -> None:
    classifier, x = net_by_hand()
    tree = decompose(classifier, x, target="a", top=2, merge=False)
    assert (tree.root.channel, tree.label) == (0, "a")
    assert tree.root.value == pytest.approx(4.125)
    first, second = tree.children(tree.root)
    assert [(n.stage, n.channel, n.y, n.x) for n in (first, second)] == [("S2", 0, 0, 0), ("S2", 1, 0, 0)]
    assert first.share == pytest.approx(3.25 / 4.125)
    assert second.share == pytest.approx(2 * 0.4375 / 4.125)
    assert tree.root.others == pytest.approx(0.0, abs=1e-12)
    # act[0] at the corner: 7 = 3·1 + 1·4; act[1]: 7 = −1·1 + 2·4. Only what speaks for it becomes a child.
    assert [n.channel for n in tree.children(first)] == [1, 0]
    assert [n.share for n in tree.children(first)] == pytest.approx([4 / 7, 3 / 7])
    assert [n.channel for n in tree.children(second)] == [1]
    assert [n.share for n in tree.children(second)] == pytest.approx([8 / 7])
    assert second.others == pytest.approx(-1 / 7)
    assert all(n.completeness == pytest.approx(1.0, abs=1e-12) for n in (tree.root, first, second))
    assert tree.children(first)[0].class_share == pytest.approx(first.share * 4 / 7)


def test_path_conditioned_contributions_are_parts_of_the_class_score() -> None:
    classifier, x = deep()
    tree = decompose(classifier, x, target=2, top=6, conditional=True, merge=False)
    assert len(tree.level("S1")) > 6
    for node in tree.nodes.values():
        if node.parent is not None and node.children:
            # A channel's part of the score is all there is to hand on, and bias-free ReLU parts hand on all of it.
            assert node.value == pytest.approx(node.class_share * abs(tree.score), abs=1e-9)
            assert node.completeness == pytest.approx(1.0, abs=1e-9)


def test_depth_and_lazy_expansion_give_the_same_tree() -> None:
    classifier, x = deep()
    whole = decompose(classifier, x, target=1)
    lazy = decompose(classifier, x, target=1, depth=1)
    assert {n.stage for n in lazy.nodes.values()} == {"class", "S3"}
    todo = list(lazy.children(0))
    while todo:
        node = todo.pop(0)
        if node.stage != "S1" and not node.dead:
            todo += lazy.expand(node)

    def lines(tree: Decomposition) -> set[tuple[object, ...]]:
        return {(*[(n.stage, n.channel, n.y, n.x) for n in tree.path(i)],) for i in tree.nodes}

    assert lines(lazy) == lines(whole)


def test_expanding_elsewhere_at_another_place_and_against() -> None:
    classifier, x = deep()
    tree = decompose(classifier, x, target=1, depth=1)
    node = tree.children(0)[0]
    straight = tree.expand(node, tap="S1", top=2)
    assert {child.stage for child in straight} == {"S1"}
    moved = tree.expand(node, position=(0, 0), top=1) if node.attention[0, 0] > 0 else tree.expand(node, top=1)
    assert len(moved) <= 1
    assert all(child.share < 0 for child in tree.expand(0, sign="against"))


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_tree_against_the_class_shows_what_lowers_its_score(number: int, conditional: bool) -> None:
    classifier = camwidgets.load("toy")
    image = ToyWorld(seed=3, n=20)[number].image
    tree = decompose(classifier, image, sign="against", depth=2, merge=False, conditional=conditional)
    assert tree.decomposer is not None
    evidence, upper, lower = tree.decomposer.evidence, tree.stages["S5"], tree.stages["S4"]
    A, G = evidence.at("S5")
    assert len(tree.level("S5")) == 3
    assert len(tree.level("S4")) >= 5
    for node in tree.level("S5"):
        channel = (A * G)[0, node.channel]
        assert channel[node.y, node.x] == channel.min() < 0
        assert not node.dead
        assert ablate(tree, node).real > 0  # the class score rises without it
    for parent in tree.level("S5"):
        # What is left of it without the channels shown below it is worth more to the class.
        values, cut = evidence.activations[lower].clone(), A.clone()
        values[0, [node.channel for node in tree.children(parent)]] = 0
        with torch.no_grad():
            without = activated(Segment(classifier, lower, upper, evidence.x).run(values), upper)
        place = (0, parent.channel) if conditional else (0, parent.channel, parent.y, parent.x)
        cut[place] = without[place]
        assert float(((cut - A) * G).sum()) > 0
        assert all(node.class_share < 0 for node in tree.children(parent))


def test_below_a_feature_against_the_class_stands_what_supports_it() -> None:
    classifier, x = deep()
    tree = decompose(classifier, x, target=1, sign="against", depth=1)
    node = tree.children(0)[0]
    assert all(child.share > 0 > child.class_share for child in tree.expand(node))
    against = tree.expand(node, sign="against")
    assert against
    assert all(child.share < 0 for child in against)
    assert all(child.share < 0 for child in tree.expand(0))


@pytest.mark.parametrize("sign", ["for", "against"])
@pytest.mark.parametrize("conditional", [False, True])
def test_shares_and_others_add_up_to_the_decision_whatever_its_sign(sign: str, conditional: bool) -> None:
    classifier, x = deep()
    evidence = capture(classifier, x, target=0)
    scores = evidence.logits[0].tolist()
    assert min(scores) < 0 < max(scores)
    for target, score in enumerate(scores):
        tree = decompose(classifier, x, target=target, sign=sign, conditional=conditional, merge=False)
        for node in tree.nodes.values():
            if node.completeness == node.completeness:
                shown = sum(child.share for child in tree.children(node)) * abs(node.value)
                assert shown + node.others * abs(node.value) == pytest.approx(node.value, abs=1e-12)
        A, G = capture(classifier, x, target=target).at("S3")
        unshown = [k for k in range(10) if k not in [n.channel for n in tree.children(0)]]
        assert tree.root.others == pytest.approx(float((A * G)[0, unshown].sum()) / abs(score), abs=1e-9)
        assert bool(tree.root.caution) == (score < 0)


def test_a_negative_class_says_how_it_is_to_be_read() -> None:
    classifier, x = deep()
    worst = int(capture(classifier, x, target=0).logits[0].argmin())
    tree = decompose(classifier, x, target=worst, depth=1)
    assert "the class score is negative (-0." in tree.root.caution
    assert not tree.children(0)[0].caution
    assert "negative" in describe(tree.root, tree)
    assert [row for row in facts(tree.root, tree) if row[0] == "read it so"] == [["read it so", tree.root.caution]]


def test_shared_nodes_become_a_graph() -> None:
    classifier, x = deep()
    plain, shared = (decompose(classifier, x, target=0, shared=s, top=4) for s in (False, True))
    keys = {(n.stage, n.channel, n.y, n.x) for n in plain.nodes.values()}
    assert len(shared.nodes) == len(keys) < len(plain.nodes)
    graph = shared.to_networkx()
    assert nx.is_directed_acyclic_graph(graph)
    assert any(degree > 1 for _, degree in graph.in_degree())


def test_what_a_shared_tree_knows_can_be_rebuilt_from_its_nodes() -> None:
    classifier, x = deep()
    tree = decompose(classifier, x, target=0, shared=True, top=4)
    known = dict(tree._known)
    assert known
    tree._known = {}
    rebuild_known(tree)
    assert tree._known == known


def test_channels_that_see_the_same_place_become_one() -> None:
    classifier, x = deep()
    evidence = capture(classifier, x, target=0)
    from camwidgets.decomposition import step

    found = step(evidence, None, "S3")
    merged = pick(found, 3)
    for channel, members in merged:
        for member in members:
            a, b = found.attention[channel], found.attention[member]
            assert overlap(a >= a.max() / 2, b >= b.max() / 2) > 0.9
    kept = [channel for channel, _ in merged]
    assert kept == sorted(kept, key=lambda k: -float(found.alpha[k]))
    assert [k for k, _ in pick(found, 3, merge=False)] == found.top(3)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("number", range(3))
def test_merged_members_are_all_channels_that_see_the_place(number: int, sign: int) -> None:
    """Non-maximum suppression channel by channel, as the paper says it, over all active channels."""
    classifier = camwidgets.load("toy")
    decomposer = Decomposer(capture(classifier, ToyWorld(seed=3, n=3)[number].image))
    for stage in ("S5", "S4", "S3"):
        found = decomposer.of_class(classifier.stages[stage])
        kept: dict[int, list[int]] = {}
        masks = {}
        for channel in found.top(len(found.attention), sign):
            masks[channel] = region(found.attention[channel] * sign)
            same = next((k for k in kept if overlap(masks[channel], masks[k]) > 0.9), None)
            if same is None:
                kept[channel] = []
            else:
                kept[same].append(channel)
        wanted = [(channel, tuple(members)) for channel, members in kept.items()]
        for count in (1, 3, len(found.attention)):
            assert pick(found, count, sign) == wanted[:count]


def test_graph_table_and_files(tmp_path: Path) -> None:
    classifier, x = deep()
    tree = decompose(classifier, x, target=1)
    graph = tree.to_networkx()
    wanted = {"tap", "channel", "y", "x", "contribution", "share", "completeness"}
    assert all(wanted <= set(data) for _, data in graph.nodes(data=True))
    assert all(type(v) in (int, float, str) for _, data in graph.nodes(data=True) for v in data.values())
    assert nx.is_tree(graph)
    assert list(tree.to_frame().loc[0, ["stage", "channel"]]) == ["class", 1]
    folder = tree.save(tmp_path / "tree")
    json.loads((folder / "tree.json").read_text(), parse_constant=lambda c: pytest.fail(f"{c} is not JSON"))
    assert len(nx.read_graphml(folder / "tree.graphml")) == len(tree.nodes)
    again = Decomposition.load(folder)
    for number, node in tree.nodes.items():
        assert str(again.nodes[number].attributes()) == str(node.attributes())
        assert np.array_equal(again.nodes[number].attention, node.attention)
    assert again.edges == tree.edges
    with pytest.raises(ValueError, match="loaded without its classifier"):
        again.expand(1)
    assert Decomposition.load(folder, classifier).expand(1)[0].stage == "S2"


def test_a_saved_tree_of_another_model_is_told_apart(tmp_path: Path) -> None:
    classifier, x = deep()
    folder = decompose(classifier, x, target=1, depth=1).save(tmp_path)
    other, _ = deep(bias=True)
    with pytest.raises(ValueError, match="this tree was made with deep"):
        Decomposition.load(folder, other)
    with pytest.raises(FileNotFoundError, match="no saved tree"):
        Decomposition.load(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"top": 0}, "at least 1; got 0"),
        ({"top": 99}, "top 99 is more than the 10 channels"),
        ({"depth": 0}, "at least 1, or None for all; got 0"),
        ({"sign": "maybe"}, "unknown sign 'maybe'"),
        ({"taps": ["S9"]}, "unknown tap 'S9'"),
        ({"target": "zebra"}, "unknown label 'zebra'"),
    ],
)
def test_bad_settings(options: dict[str, object], said: str) -> None:
    classifier, x = deep()
    with pytest.raises(ValueError, match=said):
        decompose(classifier, x, **options)  # type: ignore[arg-type]


def test_bad_nodes() -> None:
    classifier, x = deep()
    tree = decompose(classifier, x, target=1)
    with pytest.raises(ValueError, match="no node 999"):
        tree.expand(999)
    with pytest.raises(ValueError, match="nothing below it"):
        tree.expand(tree.level("S1")[0])
    with pytest.raises(ValueError, match="is out of range"):
        tree.expand(tree.children(0)[0], position=(500, 0))


def test_a_transformer_gets_a_clear_answer() -> None:
    classifier = camwidgets.load("vit_b_32", weights=None)
    said = "gAP trees need spatial stages of rectified activations; the stages of vit_b_32 are the tokens"
    with pytest.raises(ValueError, match=said):
        decompose(classifier, camwidgets.samples.picture("cat"))


def test_a_dead_feature_says_so() -> None:
    classifier, x = deep()
    tree = decompose(classifier, x, target=1, depth=1)
    node = tree.children(0)[0]
    A = tree.decomposer.evidence.activations[node.tap][0] if tree.decomposer else None
    assert A is not None
    silent = (A[node.channel] == 0).nonzero()
    if len(silent):
        with pytest.raises(ValueError, match="cannot be decomposed: its value is"):
            tree.expand(node, position=(int(silent[0][0]), int(silent[0][1])))


def test_prediction_is_exact_where_the_network_is_linear() -> None:
    classifier, x = deep()
    table = fidelity(classifier, x, target=0)
    assert list(table.index) == ["T→S3", "S3→S2", "S2→S1"]
    assert table.loc["T→S3", "pearson"] == pytest.approx(1.0, abs=1e-9)
    assert (table["pearson"] > 0.5).all()
    assert ((table["seconds_gap"] > 0) & (table["seconds_removal"] > 0)).all()
    with pytest.raises(ValueError, match="means over a data set"):
        fidelity(classifier, x, removal="mean")
    means = channel_means(classifier, [x, x * 0.5])
    assert fidelity(classifier, x, 0, "mean", means=means)["removal"].eq("mean").all()


def test_correlations() -> None:
    a, b = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([1.0, 4.0, 9.0, 16.0])
    assert correlation(a, 2 * a + 1) == pytest.approx(1.0)
    assert correlation(a, b) == pytest.approx(float(np.corrcoef(a, b)[0, 1]))
    assert rank_correlation(a, b) == pytest.approx(1.0)
    assert correlation(a, torch.ones(4)) == 0.0
