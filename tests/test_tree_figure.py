"""The tree as a figure: where nodes stand, what is folded, what the labels say, figure and SVG alike."""

from __future__ import annotations

import base64
import io
import itertools
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

import camwidgets
from camwidgets import Decomposition
from camwidgets.figures.layout import MOST_DRAWN, ROW, THUMB, arrange
from camwidgets.figures.thumbnails import normalised, thumbnail
from camwidgets.figures.tree import DARK, LIGHT, View, draw, tree_figure
from camwidgets.figures.tree_svg import tree_svg
from tests.explorer_nets import LABELS, photo, small


@pytest.fixture(scope="module")
def tree() -> Decomposition:
    return camwidgets.decompose(small(), photo(1), top=3, merge=False)


def test_thumbnails_never_overlap(tree: Decomposition) -> None:
    layout = arrange(tree, set(tree.nodes), 744)
    assert len(layout.places) > 60
    for a, b in itertools.combinations(layout.places.values(), 2):
        assert abs(a.x - b.x) >= THUMB or abs(a.y - b.y) >= ROW - 1e-9, (a.node.name, b.node.name)
    inside = [THUMB / 2 <= p.x <= 744 - THUMB / 2 and THUMB / 2 <= p.y <= layout.height for p in layout.places.values()]
    assert all(inside)


def test_parents_stand_in_the_middle_of_their_children(tree: Decomposition) -> None:
    layout = arrange(tree, set(tree.nodes))
    for number, place in layout.places.items():
        below = [layout.places[i].y for i in tree.nodes[number].children if i in layout.places]
        if below:
            assert place.y == pytest.approx((below[0] + below[-1]) / 2)
    columns = [layout.places[n.id].x for n in tree.path(max(layout.places))]
    assert columns == sorted(columns)


def test_folding_says_how_much(tree: Decomposition) -> None:
    layout = arrange(tree, {0})
    assert set(layout.places) == {0, *tree.root.children}
    assert {p.folded for p in layout.places.values() if p.node.id} == {
        len(n.children) for n in tree.children(0)
    }  # fmt: skip
    few = arrange(tree, set(tree.nodes), most=20)
    assert len(few.places) <= 20
    assert few.cut == min(len(tree.nodes), len(tree.nodes)) - len(few.places)
    assert MOST_DRAWN == 200


def test_figure_draws_each_node_edge_and_remainder(tree: Decomposition) -> None:
    opened = [0, *tree.root.children]
    figure = tree_figure(tree, opened, selected=tree.root.children[0])
    drawn = arrange(tree, set(opened)).places
    trace = figure.data[0]
    assert list(trace.customdata) == list(drawn)
    assert len(figure.layout.images) == len(drawn)
    assert len(figure.layout.shapes) == len(drawn) - 1
    for number, text in zip(trace.customdata, trace.text, strict=True):
        node = tree.nodes[number]
        assert text.startswith(f"#{node.channel} · {node.share:.0%}" if number else LABELS[int(tree.target)])
    notes = [note.text for note in figure.layout.annotations]
    assert f"others {tree.root.others:.0%}".replace("-", "−") in notes
    assert [n.partition(" ")[0] for n in notes[:6]] == ["class", "S5", "S4", "S3", "S2", "S1"]
    lit = [n for n, colour in zip(trace.customdata, trace.marker.color, strict=True) if colour == LIGHT.accent]
    assert sorted(lit) == [0, tree.root.children[0]]


def test_removed_nodes_are_crossed_and_labelled(tree: Decomposition) -> None:
    number = tree.root.children[1]
    spec = draw(tree, View([0], 0, {number: "#7 −0.66 | −0.71"}, DARK), arrange(tree, {0}))
    trace, at = spec["data"][0], list(spec["data"][0]["customdata"]).index(number)
    assert trace["text"][at] == "#7 −0.66 | −0.71"
    assert trace["marker"]["color"][at] == DARK.gone
    assert [shape for shape in spec["layout"]["shapes"] if shape["layer"] == "above"]


def test_images_are_never_taken_for_one_another(tree: Decomposition) -> None:
    images = tree_figure(tree).layout.images
    keys = {(i.x, i.y, i.sizex, i.sizey) for i in images}
    assert len(keys) == len(images)


def test_labels_cannot_bring_markup() -> None:
    classifier = small()
    tree = camwidgets.decompose(classifier, photo(1), LABELS[3], depth=1)
    assert "<script" not in tree_figure(tree).to_json()
    assert "<script" not in tree_svg(tree)


def test_thumbnail_is_bright_where_the_evidence_is(tree: Decomposition) -> None:
    node = max(tree.level("S3"), key=lambda n: float(n.attention.max()))
    data = base64.b64decode(thumbnail(node, tree.picture).partition(",")[2])
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    values = normalised(node, (pixels.shape[0], pixels.shape[1]))
    assert float(values.max()) == pytest.approx(1)
    colourful = np.ptp(pixels, axis=2)
    assert colourful[values > 0.7].mean() > 3 * colourful[values < 0.02].mean()


def test_svg_is_one_valid_drawing(tree: Decomposition) -> None:
    opened = [0, *tree.root.children]
    root = ElementTree.fromstring(tree_svg(tree, opened))
    name = "{http://www.w3.org/2000/svg}"
    drawn = arrange(tree, set(opened)).places
    assert len(root.findall(f"{name}image")) == len(root.findall(f"{name}rect")) == len(drawn)
    assert len(root.findall(f"{name}path")) == len(drawn) - 1
    said = [text.text for text in root.findall(f"{name}text")]
    assert all(any((s or "").startswith(f"#{tree.nodes[i].channel} ") for s in said) for i in drawn if i)
