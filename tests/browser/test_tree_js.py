"""The tree explorer's side panel alone: what a channel sees, the index, and never another node's sight."""

from __future__ import annotations

from typing import Any

import numpy as np
from playwright.sync_api import expect

import camwidgets
from camwidgets.decomposition.channels import what_it_sees
from camwidgets.decomposition.patches import DatasetIndex
from camwidgets.widgets.tree.panel import TreePanel
from camwidgets.widgets.tree.sight import problem_state, sight_state
from camwidgets.widgets.tree.view import side_state
from camwidgets.widgets.tree.work import Shown, Want
from tests.browser.pictures import colours, shown_pixels
from tests.browser.stub import StubPage, StubView
from tests.explorer_nets import photo, small


def made() -> tuple[dict[str, Any], dict[str, Any]]:
    """State and sight of node 4 of a small tree."""
    tree = camwidgets.decompose(small(), photo(1), depth=3)
    want = Want("one", tree.target, 3, 2, False, "for", True, "zero", opened=(0,), selected=4)
    index = DatasetIndex(small(), [photo(i) for i in range(8)], "eight pictures")
    index.build()
    shown = Shown(want, tree, [], 2)
    return side_state(shown, tree.node(4)), sight_state(4, what_it_sees(tree, 4, index), index)


def panel(stub_page: StubPage, state: dict[str, Any], seen: dict[str, Any], dark: bool = False) -> StubView:
    return stub_page.mount_widget(TreePanel(role="side", state=state, seen=seen), width=304, dark=dark)


def test_everything_that_a_channel_sees_is_drawn(stub_page: StubPage) -> None:
    state, seen = made()
    view = panel(stub_page, state, seen)
    tiles = view.root.locator(".cw-tree-tile img")
    expect(tiles).to_have_count(2)
    crop, guided = (shown_pixels(tiles.nth(i)) for i in range(2))
    assert colours(crop) > 10
    assert colours(guided) > 10
    corner = guided.reshape(-1, 3).astype(int)
    assert np.abs(np.median(corner, 0) - 128).max() < 24  # mid-grey is zero
    heights = view.root.locator(".cw-tree-bars").first.locator(".cw-tree-count").evaluate_all(
        "bars => bars.map(bar => Number(bar.getAttribute('height')))"
    )  # fmt: skip
    assert [height > 0 for height in heights] == [bar > 0 for bar in seen["here"]["bars"]]
    assert int(np.argmax(heights)) == int(np.argmax(seen["here"]["bars"]))
    marks = view.root.locator(".cw-tree-own")
    expect(marks).to_have_count(2)
    left, width = marks.first.evaluate("m => { const b = m.getBBox(); return [b.x + b.width / 2, 272]; }")
    assert abs(left / width - seen["here"]["own"]) < 0.02
    expect(view.root.locator(".cw-tree-patches img")).to_have_count(6)
    assert colours(shown_pixels(view.root.locator(".cw-tree-patches"))) > 200
    expect(view.root.locator(".cw-tree-patches")).to_contain_text("eight pictures")
    stub_page.screenshot("tree-sight", view.root)


def test_another_node_s_sight_is_never_shown(stub_page: StubPage) -> None:
    state, seen = made()
    view = panel(stub_page, state, {**seen, "id": 3})
    expect(view.root.locator(".cw-tree-blank")).to_have_text("looking …")
    expect(view.root.locator(".cw-tree-bars")).to_have_count(0)
    view.set(seen=seen)
    expect(view.root.locator(".cw-tree-bars")).to_have_count(2)
    view.set(seen=problem_state(4, "no view today"))
    expect(view.root.locator(".cw-tree-blank")).to_have_text("no view today")
    view.set(state={**state, "id": 0, "root": True})
    expect(view.root.locator(".cw-tree-sees")).to_have_count(0)


def test_an_index_is_asked_for_watched_and_stopped(stub_page: StubPage) -> None:
    state, _ = made()
    view = panel(stub_page, state, {}, dark=True)
    expect(view.root.locator(".cw-tree-index")).to_contain_text("Build the index of a folder")
    view.root.get_by_role("button", name="Index the built-in pictures").click()
    path = view.root.get_by_label("Folder of pictures to index")
    path.fill("/holiday")
    path.press("Enter")
    view.set(index={"state": "building", "text": "3 of 12 pictures", "done": 0.25})
    bar = view.root.get_by_role("progressbar")
    expect(bar).to_have_attribute("aria-valuenow", "25")
    expect(view.root.get_by_role("button", name="Index the built-in pictures")).to_be_hidden()
    view.root.get_by_role("button", name="Cancel").click()
    view.set(index={"state": "paused", "text": "Stopped. 3 pictures are in it; what was done is kept.", "done": 0})
    expect(bar).to_be_hidden()
    view.root.get_by_role("button", name="Go on").click()
    view.set(index={"state": "ready", "text": "12 pictures indexed: holiday", "done": 0})
    expect(view.root.locator(".cw-tree-index")).to_contain_text("12 pictures indexed: holiday")
    expect(path).to_be_hidden()  # under "other pictures"
    view.set(index={"state": "error", "text": "no picture in the folder 'x<b>'", "done": 0})
    expect(view.root.locator(".cw-tree-index .cw-bad")).to_have_text("no picture in the folder 'x<b>'")
    expect(path).to_be_visible()
    sent = [message["content"] for message in view.sent]
    assert sent == [
        {"kind": "index", "what": "built-in"}, {"kind": "index", "what": "folder", "path": "/holiday"},
        {"kind": "index", "what": "cancel"}, {"kind": "index", "what": "again"},
    ]  # fmt: skip


def test_a_mistake_is_said_beside_the_work_and_the_controls_go_back(stub_page: StubPage) -> None:
    values = {
        "picture": "a", "target": 0, "top": 3, "depth": 2, "conditional": False, "sign": "for", "merge": True,
        "removal": "zero", "beside": None,
    }  # fmt: skip
    state = {
        "why": "why “fox”", "sure": "80 %", "classes": [{"index": 0, "label": "fox", "probability": 0.8}], "depths": 5,
        "pictures": [{"value": "a", "text": "a", "group": ""}, {"value": "b", "text": "b", "group": ""}],
        "inner": False, "means": False, "code": "", "drawn": "", "without": "", "values": values,
    }  # fmt: skip
    view = stub_page.mount_widget(TreePanel(role="head", state=state, labels=["fox", "owl"]), width=900)
    picture, notice = view.root.locator("select").first, view.root.locator(".cw-tree-notice")
    picture.select_option("b")
    assert view.sent[-1]["content"] == {"kind": "set", "name": "picture", "value": "b"}
    view.set(status={"state": "working", "text": "running net …"})
    expect(notice).to_be_hidden()
    assert picture.input_value() == "b"  # what runs stays chosen
    problem = {"state": "error", "text": "top is the number of children", "hint": "", "details": "where"}
    view.set(state={**state, "values": {**values, "picture": "b"}})
    view.set(status={"state": "working", "text": "running net …", "problem": problem})
    expect(notice).to_contain_text("top is the number of children")
    expect(view.root.get_by_role("button", name="Cancel")).to_be_visible()
    assert picture.input_value() == "b"
    stub_page.screenshot("tree-mistake", view.root)
    view.set(state=state)
    picture.select_option("b")
    view.set(status={"state": "idle"})  # cancelled: no value of the state is new
    expect(notice).to_be_hidden()
    assert picture.input_value() == "a"
