"""The difference of two trees: by hand on trees written down, its distance's laws, and its figure."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import camwidgets
from camwidgets import Decomposition, decompose
from camwidgets.classifiers.taps import Tap
from camwidgets.decomposition.diff import TreeDiff, diff, ruzicka
from camwidgets.decomposition.tree import How, Node
from camwidgets.figures.tree_diff import colour_of, tree_diff_figure
from tests.explorer_nets import photo, small
from tests.test_gap import deep

STAGES = {"S1": Tap("one", channels=8), "S2": Tap("two", channels=8)}
Children = dict[int, tuple[float, dict[int, float]]]  # channel of S2 → (share, {channel of S1 → share})


def tree(
    children: Children, members: dict[tuple[str, int], tuple[int, ...]] | None = None, **how: Any
) -> Decomposition:
    """A tree of two stages, written down."""
    about = {"target": 0, "label": "a", "score": 2.0, "probability": 0.5, "picture": np.zeros((8, 8, 3), np.uint8)}
    made = Decomposition(None, STAGES, How(**how), about | {"made_by": {"model": "by hand"}})
    flat = np.zeros((2, 2), np.float32)
    made.nodes[0] = Node(0, None, "class", "class", 0, 0, 0, 2.0, 1.0, 1.0, flat)
    number = itertools.count(1)

    def add(parent: int, stage: str, channel: int, share: float) -> int:
        i, above = next(number), made.nodes[parent]
        ms = (members or {}).get((stage, channel), ())
        made.nodes[i] = Node(
            i, parent, stage, str(STAGES[stage]), channel, 0, 0, share / 10, share, share * above.class_share, flat,
            members=ms,
        )  # fmt: skip
        above.children.append(i)
        made.edges[parent, i] = share
        return i

    for channel, (share, below) in children.items():
        upper = add(0, "S2", channel, share)
        for lower, part in below.items():
            add(upper, "S1", lower, part)
    return made


def test_a_diff_by_hand() -> None:
    first = tree({0: (0.5, {1: 0.4}), 1: (0.3, {1: 0.2, 2: 0.1}), 2: (0.1, {})})
    second = tree({0: (0.6, {1: 0.4}), 1: (0.2, {3: 0.5}), 4: (0.1, {})})
    found = diff(first, second)
    kinds = {(c.stage, c.channel): c.kind for c in found.channels}
    assert kinds == {
        ("S2", 0): "strengthened", ("S2", 1): "weakened", ("S2", 2): "lost", ("S2", 4): "gained",
        ("S1", 1): "weakened", ("S1", 2): "lost", ("S1", 3): "gained",
    }  # fmt: skip
    shares = {(c.stage, c.channel): c.share for c in found.channels}
    assert shares["S1", 1] == pytest.approx((0.5 * 0.4 + 0.3 * 0.2, 0.6 * 0.4))
    assert shares["S2", 4] == (0.0, 0.1)
    edges = {(e.parent, e.channel): e for e in found.edges if e.stage == "S1"}
    assert edges[("S2", 1), 1].kind == "lost"
    assert edges[("S2", 0), 1].kind == "same"
    assert edges[("S2", 1), 3].share == (0.0, 0.5)
    top = next(e for e in found.edges if e.stage == "S2" and e.channel == 0)
    assert top.name == "class → S2 #0"
    assert top.change == pytest.approx(0.1)
    assert found.parting == "S2"
    # S2: min 0.5 + 0.2, max 0.6 + 0.3 + 0.1 + 0.1; S1: min 0.24, max 0.26 + 0.03 + 0.1
    assert found.distances == {"S2": pytest.approx(1 - 0.7 / 1.1), "S1": pytest.approx(1 - 0.24 / 0.39)}
    assert found.distance == pytest.approx((2 - 0.7 / 1.1 - 0.24 / 0.39) / 2)
    table = found.to_frame()
    assert len(table) == len(found.channels) + len(found.edges)
    assert table[(table["what"] == "channel") & (table["channel"] == 4)]["contribution_after"].item() == 0.01
    assert "part at S2" in str(found)
    assert [c.channel for c in found.of("lost")] == [2, 2]
    with pytest.raises(ValueError, match="unknown kind of change 'stronger'; valid: gained"):
        found.of("stronger")


def test_the_first_stage_where_trees_part() -> None:
    a, b = tree({0: (0.5, {1: 0.4})}), tree({0: (0.4, {2: 0.4})})
    assert diff(a, b).parting == "S1"
    assert diff(a, tree({0: (0.1, {1: 0.4})})).parting is None


def test_channels_merged_under_another_number_are_one() -> None:
    a = tree({0: (0.5, {1: 0.4}), 1: (0.2, {})}, {("S2", 0): (5, 6)})
    b = tree({5: (0.4, {1: 0.4}), 1: (0.2, {})}, {("S2", 5): (0,)})
    found = diff(a, b)
    assert {(c.channel, c.kind, c.also) for c in found.channels if c.stage == "S2"} == {
        (0, "weakened", 5), (1, "same", None),
    }  # fmt: skip
    assert [e.kind for e in found.edges if e.stage == "S1"] == ["same"]  # it hangs below the same place
    assert found.parting is None
    back = diff(b, a)
    assert back.distances == pytest.approx(found.distances)
    assert next(c for c in back.channels if c.also is not None).channel == 5


shares = st.dictionaries(
    st.integers(0, 5),
    st.tuples(st.floats(0.01, 1), st.dictionaries(st.integers(0, 5), st.floats(0.01, 1), max_size=4)),
    min_size=1, max_size=4,
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(shares, shares)
def test_the_distance_is_one(a: Children, b: Children) -> None:
    first, second = tree(a), tree(b)
    there, back = diff(first, second), diff(second, first)
    assert 0 <= there.distance <= 1
    assert there.distances == pytest.approx(back.distances)
    assert diff(first, tree(a)).distance == 0
    assert {c.kind for c in diff(first, tree(a)).channels} == {"same"}
    swap = {"gained": "lost", "lost": "gained", "strengthened": "weakened", "weakened": "strengthened", "same": "same"}
    forth = {(c.stage, c.channel): c.kind for c in there.channels}
    assert {(c.stage, c.channel): swap[c.kind] for c in back.channels} == forth
    if not a.keys() & b.keys():
        assert there.distances["S2"] == 1


def test_ruzicka_weighs_negative_shares_by_themselves() -> None:
    assert ruzicka([(-0.5, -0.5), (0.2, 0.2)]) == 0
    assert ruzicka([(-0.5, 0.5)]) == 1
    assert ruzicka([]) == 0


def test_trees_that_cannot_be_compared_say_how_they_differ() -> None:
    first = tree({0: (0.5, {1: 0.4})})
    other = tree({0: (0.5, {1: 0.4})})
    other.stages = {"S1": STAGES["S1"], "S2": Tap("three", channels=8)}
    with pytest.raises(ValueError, match=r"the first over S1 one, S2 two; the second over S1 one, S2 three"):
        diff(first, other)
    other.stages = {"S1": STAGES["S1"], "S2": Tap("two", channels=9)}
    with pytest.raises(ValueError, match=r"different networks .* has 8 channels in the first and 9 in"):
        diff(first, other)
    with pytest.raises(ValueError, match="top is 3 in the first and 5 in the second"):
        diff(first, tree({0: (0.5, {1: 0.4})}, top=5))
    with pytest.raises(ValueError, match="shared is False in the first and True in the second; grow both alike"):
        diff(first, tree({0: (0.5, {1: 0.4})}, shared=True))
    with pytest.raises(ValueError, match="sign is 'for' in the first and 'against'"):
        diff(first, tree({0: (0.5, {1: 0.4})}, sign="against"))
    with pytest.raises(TypeError, match="compared with another tree; got dict"):
        diff(first, {})  # type: ignore[arg-type]
    lite, toy = (camwidgets.load(name) for name in ("efficientnet_lite0", "toy"))
    cat = camwidgets.samples.picture("cat")
    with pytest.raises(ValueError, match="efficientnet_lite0 and toy"):
        diff(decompose(lite, cat, depth=1), decompose(toy, cat, depth=1))


def test_trees_of_different_depth_are_compared_as_far_as_both_go() -> None:
    classifier, x = deep()
    found = diff(decompose(classifier, x, depth=1), decompose(classifier, x))
    assert found.stages == ("S3",)
    assert found.left_out == ("S2", "S1")
    assert found.distance == 0


def test_a_decision_that_nothing_supports_has_lost_every_channel() -> None:
    first = tree({0: (0.5, {1: 0.4})})
    nothing = tree({})
    nothing.root.completeness = -0.3  # decomposed: all that speaks is against
    found = diff(first, nothing)
    assert (found.stages, found.distance) == (("S2", "S1"), 1.0)
    assert {c.kind for c in found.channels} == {"lost"}
    first.collapse(0)
    with pytest.raises(ValueError, match="no stage that both trees were grown to"):
        diff(first, nothing)


def test_real_trees_of_one_network(tmp_path: Any) -> None:
    classifier = camwidgets.load("toy")
    cat = camwidgets.samples.picture("cat")
    first, second = (decompose(classifier, cat, target=name) for name in ("cat", "dog"))
    found = first.diff(second)
    assert found.stages == ("S5", "S4", "S3", "S2", "S1")
    assert 0 < found.distance <= 1
    loaded = Decomposition.load(first.save(tmp_path))
    assert diff(loaded, second).distance == pytest.approx(found.distance)
    other = camwidgets.load("toy-shortcut")
    assert diff(first, decompose(other, cat, target="cat")).distance > 0.5  # another training, the same taps


# ----------------------------------------------------------------------------------------------------- the figure


@pytest.fixture(scope="module")
def big() -> TreeDiff:
    first, second = (decompose(small(), photo(i), merge=False, top=4) for i in (1, 2))
    return diff(first, second)


def test_the_figure_says_change_in_colour_sign_and_number() -> None:
    first = tree({0: (0.5, {1: 0.4}), 2: (0.1, {})})
    second = tree({0: (0.6, {1: 0.4}), 4: (0.1, {})})
    figure = tree_diff_figure(diff(first, second))
    texts = [note.text for note in figure.layout.annotations]
    assert "<b>#4</b> + new<br>0 → 10 %" in texts
    assert "<b>#2</b> − gone<br>10 → 0 %" in texts
    assert "<b>#0</b> ▲<br>50 → 60 %" in texts
    assert any("part here" in text for text in texts)
    boxes = {s.fillcolor: s.line.dash for s in figure.layout.shapes if s.type == "rect"}
    assert "dot" in boxes.values()
    red, blue = colour_of(1, 1), colour_of(-1, 1)
    assert red[0] > red[2] + 60
    assert blue[2] > blue[0] + 60
    middle = colour_of(0, 1)
    assert max(middle) - min(middle) < 12
    assert figure.layout.width == 1280
    lost = [s for s in figure.layout.shapes if s.type == "path" and s.line.dash == "dot"]
    assert len(lost) == 1


def test_boxes_of_a_large_diff_do_not_overlap_and_the_rest_is_counted(big: TreeDiff) -> None:
    figure = tree_diff_figure(big, most=6)
    boxes = [s for s in figure.layout.shapes if s.type == "rect"]
    counts = {stage: sum(c.stage == stage for c in big.channels) for stage in big.stages}
    assert len(boxes) == sum(min(6, n) for n in counts.values())
    for a, b in itertools.combinations(boxes, 2):
        assert a.x1 <= b.x0 or b.x1 <= a.x0 or a.y1 <= b.y0 or b.y1 <= a.y0
    assert all(s.x0 >= 0 and s.x1 <= 1280 for s in boxes)
    told = [n.text for n in figure.layout.annotations if n.text.startswith("…")]
    assert sum(int(text.split()[1]) for text in told) == sum(max(0, n - 6) for n in counts.values())


def test_hostile_labels_are_text() -> None:
    first = tree({0: (0.5, {1: 0.4})})
    first.label = "<img src=x onerror=alert(1)>"
    figure = tree_diff_figure(diff(first, first))
    assert not any("<img" in note.text for note in figure.layout.annotations)
