"""FailureExplorer's front end in Chromium with a stub in the kernel's place: gallery, hand, bars, blame, trees, log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Locator, expect

import camwidgets
from camwidgets import FailureExplorer
from camwidgets.datasets.toyworld import ToyWorld
from camwidgets.investigate import Edit, Region
from tests.browser.pictures import Pixels, canvas_pixels, keep_screenshot
from tests.browser.stub import StubPage, StubView
from tests.browser.test_explorer_js import CONTRASTS, FRAMES
from tests.test_failures import RED, YELLOW, flat, net


@pytest.fixture(scope="module")
def explorer() -> Iterator[FailureExplorer]:
    """A duck taken for a train, two steps done to it, one channel looked at."""
    made = FailureExplorer("toy-shortcut", ToyWorld(seed=5, n=30, context="swap")).wait()
    assert made.table is not None
    made.choose(next(d.number for d in made.table.failures if made.table.labels[d.label] == "duck")).wait()
    made.edit(Edit("paint", Region.box(0, 60, 96, 96))).switch_off("S5", made.blame["S5"][1].channel)
    made.channel = ["S5", made.blame["S5"][0].channel]
    made.wait()
    made._make_index()
    made.wait()
    assert made.error is None
    yield made
    made.close()


@pytest.fixture
def view(stub_page: StubPage, explorer: FailureExplorer) -> StubView:
    return mounted(stub_page, explorer)


def mounted(page: StubPage, explorer: FailureExplorer, **how: Any) -> StubView:
    view = page.mount_widget(explorer, **how)
    page.page.set_viewport_size({"width": how.get("width", 1240) + 40, "height": 1600})
    view.page.evaluate(FRAMES)
    return view


def picture(view: StubView) -> Pixels:
    view.page.evaluate(FRAMES)
    return canvas_pixels(view.root.locator(".cw-fail-frame .cw-picture"))


def sent(view: StubView, kind: str) -> list[dict[str, Any]]:
    return [one["content"] for one in view.sent if one["content"]["kind"] == kind]


def saved(view: StubView) -> dict[str, Any]:
    return {name: value for one in view.saved for name, value in one.items()}


def frame(view: StubView) -> tuple[Locator, dict[str, float]]:
    place = view.root.locator(".cw-fail-frame")
    place.scroll_into_view_if_needed()
    box = place.bounding_box()
    assert box is not None
    return place, {name: float(box[name]) for name in ("x", "y", "width", "height")}


def drag(view: StubView, *points: tuple[float, float]) -> None:
    """Over the picture, in shares of it."""
    _, box = frame(view)
    spots = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    view.page.mouse.move(*spots[0])
    view.page.mouse.down()
    for spot in spots[1:]:
        view.page.mouse.move(*spot)
    view.page.mouse.up()



# ---------------------------------------------------------------------------------------------- gallery


def test_cards_and_cells_are_the_tables(view: StubView, explorer: FailureExplorer) -> None:
    table = explorer.table
    assert table is not None
    cards = view.root.locator(".cw-fail-card")
    assert [int(str(one.get_attribute("data-number"))) for one in cards.all()] == [
        d.number for d in table.failures[:12]
    ]
    first = table.failures[0]
    assert cards.first.inner_text().split("\n")[:2] == [table.labels[first.label], f"→ {table.labels[first.predicted]}"]
    expect(view.root.locator(".cw-fail-card[aria-pressed=true]")).to_have_attribute("data-number", str(explorer.chosen))
    cells = {
        str(one.get_attribute("data-cell")): int(one.inner_text()) for one in view.root.locator("[data-cell]").all()
    }
    counts = table.confusion().to_numpy()
    assert sum(cells.values()) == counts.sum() == 30
    assert sorted(cells.values()) == sorted(int(n) for n in counts.ravel() if n)
    other = cards.nth(3)
    other.click()
    assert saved(view)["chosen"] == int(str(other.get_attribute("data-number")))


def test_a_cell_filters_and_a_second_click_lets_go(view: StubView) -> None:
    cell = view.root.locator("[data-cell]").first
    wanted = [int(part) for part in str(cell.get_attribute("data-cell")).split()]
    cell.click()
    assert saved(view)["cell"] == wanted
    expect(cell).to_have_attribute("aria-pressed", "true")
    expect(view.root.get_by_role("button", name="show all")).to_be_visible()
    cell.click()
    assert saved(view)["cell"] == []


def test_of_many_classes_the_pairs_are_listed(view: StubView, explorer: FailureExplorer) -> None:
    view.set(_table={**explorer._table, "classes": [], "cells": []})
    pairs = view.root.locator(".cw-fail-pairs button")
    view.page.evaluate(FRAMES)
    assert pairs.count() == len(explorer._table["pairs"])
    pairs.first.click()
    first = explorer._table["pairs"][0]
    assert saved(view)["cell"] == [first["label"], first["predicted"]]


def test_shared_channels_are_asked_for_shown_and_chosen(view: StubView) -> None:
    view.root.get_by_role("radio", name="shared channels").check()
    view.root.get_by_role("button", name="Find what they share").click()
    assert sent(view, "groups")
    view.set(_progress={"groups": {"state": "running", "done": 3, "total": 9, "left": 12.0}})
    expect(view.root.locator(".cw-fail-shared .cw-job")).to_contain_text("trees: 3 of 9 · 12 s left")
    view.root.locator(".cw-fail-shared .cw-job button").click()
    assert sent(view, "cancel") == [{"kind": "cancel", "what": "groups"}]
    row = {"stage": "S4", "channel": 211, "name": "rails", "count": 14, "of": 22, "share": 14 / 22, "lift": 3.2,
           "into": "train 9", "text": "", "patches": []}  # fmt: skip
    view.set(_progress={}, _groups={"state": "done", "rows": [row, row | {"lift": 0.6, "channel": 3}]})
    groups = view.root.locator(".cw-fail-group")
    expect(groups.first).to_contain_text("14 of 22 errors rest on S4 #211 “rails”")
    expect(groups.first).to_contain_text("64 % · 3.2 × as many as among right decisions · into train 9")
    expect(groups.nth(1)).to_contain_text("no more than among right decisions")
    groups.first.click()
    assert saved(view)["group"] == 0


def test_the_gallery_folds(view: StubView) -> None:
    before = frame(view)[1]["width"]
    view.root.get_by_role("button", name="Hide gallery").click()
    expect(view.root.locator(".cw-fail-gallery")).to_be_hidden()
    assert frame(view)[1]["width"] > before
    view.root.get_by_role("button", name="Show gallery").click()
    expect(view.root.locator(".cw-fail-gallery")).to_be_visible()


# ---------------------------------------------------------------------------------------------- the hand


def test_the_picture_is_the_changed_one_and_the_original_at_a_key(view: StubView, explorer: FailureExplorer) -> None:
    view.set(_channel={}, _channel_map=b"", channel=[])
    now = np.frombuffer(explorer._now, np.uint8).reshape(96, 96, 3)
    original = np.frombuffer(explorer._picture, np.uint8).reshape(96, 96, 3)
    assert np.array_equal(picture(view)[..., :3], now)
    view.root.locator(".cw-fail-frame").focus()
    view.page.keyboard.press("o")
    assert np.array_equal(picture(view)[..., :3], original)
    view.page.keyboard.press("o")
    assert np.array_equal(picture(view)[..., :3], now)


def test_a_channels_map_lies_over_it_as_opaque_as_asked(view: StubView, explorer: FailureExplorer) -> None:
    changed = np.frombuffer(explorer._now, np.uint8).reshape(96, 96, 3)
    assert np.array_equal(picture(view)[..., :3], changed)  # the map is of the picture as it was: it lies over no other
    expect(view.root.locator(".cw-fail-caption")).to_contain_text("the channel's map is of the picture as it was")
    view.root.get_by_role("checkbox", name="as it was").check()
    plain = np.frombuffer(explorer._picture, np.uint8).reshape(96, 96, 3).astype(float)
    values = np.frombuffer(explorer._channel_map, np.uint8).reshape(96, 96, 1) / 255
    table = np.frombuffer(explorer._palette, np.uint8).reshape(256, 3)
    colours = table[(255 * values[..., 0] + 0.5).astype(int)]
    opacity = 0.8 * values
    np.testing.assert_allclose(picture(view)[..., :3], (1 - opacity) * plain + opacity * colours, atol=1.01)
    view.set(opacity=0.0)
    assert np.array_equal(picture(view)[..., :3], plain)


def test_a_stroke_is_sent_at_release_with_the_tools_settings(view: StubView) -> None:
    view.root.get_by_role("slider", name="Radius of the brush").fill("12")
    view.root.get_by_role("radio", name="Blur").check()
    _, box = frame(view)
    view.page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    view.page.mouse.down()
    view.page.mouse.move(box["x"] + 3 * box["width"] / 4, box["y"] + box["height"] / 2, steps=5)
    assert sent(view, "edit") == []  # while the hand draws
    (preview,) = sent(view, "preview")  # one question, which was not answered yet
    assert (preview["action"], preview["region"]["kind"]) == ("blur", "brush")
    lines = canvas_pixels(view.root.locator(".cw-fail-frame .cw-lines"))
    assert (lines[..., 3] > 0).mean() > 0.1  # and yet it is seen
    view.page.mouse.up()
    (edit,) = sent(view, "edit")
    region = edit["region"]
    assert (edit["tool"], edit["action"], edit["outside"]) == ("brush", "blur", False)
    assert (region["kind"], region["radius"]) == ("brush", 12)
    assert region["points"][0] == pytest.approx([23.5, 47.5], abs=0.3)  # pixel i is centred at i
    assert region["points"][-1] == pytest.approx([71.5, 47.5], abs=0.3)
    mask = Region.from_json(region).mask((96, 96))
    assert mask[48, 24:72].all()
    assert not mask[30].any()


def test_a_box_and_a_dot_by_keys(view: StubView) -> None:
    view.root.get_by_role("radio", name="Box").check()
    drag(view, (0.25, 0.5), (0.75, 0.75))
    assert sent(view, "edit")[-1]["region"] == {"kind": "box", "points": [[24, 48], [72, 72]]}
    drag(view, (0.5, 0.5), (0.5, 0.5))  # nothing is in it: nothing is sent
    assert len(sent(view, "edit")) == 1
    view.page.keyboard.press("f")  # filling takes longer: no question before the end
    before = len(sent(view, "preview"))
    drag(view, (0.25, 0.5), (0.5, 0.6), (0.75, 0.75))
    assert len(sent(view, "preview")) == before
    frame(view)[0].focus()
    view.page.mouse.move(0, 0)
    for key in ("b", "ArrowRight", "Shift+ArrowDown", "Enter"):
        view.page.keyboard.press(key)
    assert sent(view, "edit")[-1]["region"]["points"] == [[51.5, 63.5]]  # the middle, 4 right, 16 down
    view.page.keyboard.press("]")
    view.page.keyboard.press("l")
    assert view.get("radius") == 10
    assert view.get("action") == "blur"
    view.page.keyboard.press("u")
    view.page.keyboard.press("r")
    assert sent(view, "undo")
    assert sent(view, "redo")


def test_the_object_another_background_and_a_patch(view: StubView, explorer: FailureExplorer) -> None:
    view.root.get_by_role("radio", name="Object").check()
    view.root.get_by_role("radio", name="Background").check()
    view.root.get_by_label("Background taken from").select_option(index=1)
    view.root.get_by_role("button", name="Apply to the object").click()
    edit = sent(view, "edit")[-1]
    assert (edit["tool"], edit["action"], edit["region"]) == ("object", "background", {"kind": "object"})
    assert edit["backdrop"] == explorer._backdrops[1]["value"]
    drag(view, (0.2, 0.2), (0.5, 0.5))
    assert len(sent(view, "edit")) == 1  # there is nothing to draw
    view.root.locator(".cw-fail-patch").nth(2).click()
    assert sent(view, "patch") == [{"kind": "patch", "at": 2}]
    view.set(tool="paste", _patches={**explorer._patches, "taken": 2, "size": [40, 30]})
    expect(view.root.locator(".cw-fail-hint")).to_have_text("click on the picture to set the patch (40 × 30)")
    drag(view, (0.5, 0.5))
    edit = sent(view, "edit")[-1]
    assert (edit["x"], edit["y"]) == pytest.approx((48, 48), abs=0.3)


# ---------------------------------------------------------------------------------------------- before and after


def test_bars_say_what_the_effect_says(view: StubView, explorer: FailureExplorer) -> None:
    rows = view.root.locator(".cw-fail-bar")
    bars = explorer._effect["bars"]
    assert [float(str(row.get_attribute("data-after"))) for row in rows.all()] == pytest.approx(
        [b["after"] for b in bars]
    )
    assert [row.locator(".cw-fail-name").inner_text() for row in rows.all()] == [b["label"] for b in bars]
    widths = rows.evaluate_all("rows => rows.map(r => r.querySelector('.cw-fail-is').getBoundingClientRect().width)")
    full = rows.first.locator(".cw-fail-tracks").evaluate("node => node.getBoundingClientRect().width")
    top = int(np.argmax([b["after"] for b in bars]))
    assert widths[top] == pytest.approx(bars[top]["after"] * full, abs=2)


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"state": "working"}, "working", "asking the network"),
        ({"state": "preview", "flipped": False, "back": False, "after": "train"}, "same", "While you draw: Still"),
        ({"flipped": True, "back": True, "after": "duck"}, "back", "Now right: duck"),
        ({"flipped": True, "back": False, "before": "train", "after": "plane"}, "flipped", "Flipped: train → plane"),
        ({"flipped": False, "back": False, "after": "train", "leads": [9.0, -1.5]}, "same", "9.0 → −1.5"),
        ({"step": 0, "flipped": False, "back": False}, "none", "Draw, or switch"),
    ],
)
def test_the_verdict(view: StubView, explorer: FailureExplorer, change: dict[str, Any], kind: str, words: str) -> None:
    view.set(_effect={**explorer._effect, **change})
    verdict = view.root.locator(".cw-fail-verdict")
    expect(verdict).to_have_attribute("data-kind", kind)
    expect(verdict).to_contain_text(words)
    stale = view.root.locator(".cw-fail-bars.cw-fail-stale")
    expect(stale).to_have_count(1 if kind == "working" else 0)


def test_blame_is_listed_looked_at_and_switched(view: StubView, explorer: FailureExplorer) -> None:
    rows = view.root.locator(".cw-fail-row")
    wanted = explorer.blame["S5"]
    assert [row.get_attribute("data-channel") for row in rows.all()] == [f"S5 {one.channel}" for one in wanted]
    expect(rows.first).to_contain_text(f"+{wanted[0].taken:.2f} / −{-wanted[0].own:.2f}")
    assert [i for i, row in enumerate(rows.all()) if not row.locator("input").is_checked()] == [1]
    rows.nth(2).locator(".cw-fail-pick").click()
    assert saved(view)["channel"] == ["S5", wanted[2].channel]
    rows.nth(3).locator("input").click()
    assert sent(view, "switch")[-1] == {"kind": "switch", "stage": "S5", "channels": [wanted[3].channel], "on": False}
    view.root.get_by_role("button", name="they were off").click()
    assert len(sent(view, "switch")[-1]["channels"]) == 11  # one is off already
    view.root.get_by_role("radio", name="S4").check()
    assert saved(view)["stage"] == "S4"


def test_trees_show_every_node_and_its_change(view: StubView, explorer: FailureExplorer) -> None:
    for i, tree in enumerate(explorer._trees["trees"]):
        figure = view.root.locator(".cw-fail-tree").nth(i)
        nodes = figure.locator(".cw-fail-node")
        assert nodes.count() == len(tree["nodes"])
        assert [n.get_attribute("data-kind") for n in nodes.all()] == [one["kind"] for one in tree["nodes"]]
        boxes = figure.locator(".cw-fail-node rect").evaluate_all(
            "all => all.map(n => [n.x.baseVal.value, n.y.baseVal.value, n.width.baseVal.value, n.height.baseVal.value])"
        )
        text = figure.locator("text").evaluate_all(
            "all => all.map(n => { const b = n.getBBox(); return [b.x, b.x + b.width]; })"
        )
        assert min(low for low, _ in text) >= 0
        assert max(high for _, high in text) <= 600
        for a in range(len(boxes)):
            for b in range(a):
                (ax, ay, w, h), (bx, by, _, _) = boxes[a], boxes[b]
                assert abs(ax - bx) >= w or abs(ay - by) >= h, "two thumbnails overlap"
    node = view.root.locator(".cw-fail-tree").nth(1).locator(".cw-fail-node[role=button]").nth(1)
    stage, channel = str(node.get_attribute("data-node")).split()
    node.focus()
    view.page.keyboard.press("Enter")
    assert saved(view)["channel"] == [stage, int(channel)]
    view.root.get_by_role("radio", name="before | after").check()
    assert sent(view, "trees") == [{"kind": "trees", "what": "change"}]


def test_the_log_goes_back_and_forth(view: StubView) -> None:
    steps = view.root.locator(".cw-fail-steps li")
    assert [one.get_attribute("data-state") for one in steps.all()] == ["done", "done", "now"]
    steps.nth(1).locator("button").click()
    assert sent(view, "go") == [{"kind": "go", "step": 1}]
    view.set(_cases=[{"number": 4, "steps": 2, "text": "4: cat → dog"}])
    view.root.get_by_role("button", name="4: cat → dog (2)").click()
    assert saved(view)["chosen"] == 4
    view.root.get_by_role("button", name="Save bundle").click()
    assert sent(view, "save")


# ---------------------------------------------------------------------------------------------- states


def test_nothing_yet(stub_page: StubPage) -> None:
    made = FailureExplorer("toy")
    view = mounted(stub_page, made)
    empty = view.root.locator(".cw-fail-empty")
    expect(empty).to_contain_text("No data set yet")
    keep_screenshot(view.root, "failure-empty")
    view.root.get_by_role("button", name="Look at the toy world").click()
    assert sent(view, "showcase")
    view.root.get_by_label("Path of a data set").fill("pictures")
    view.page.keyboard.press("Enter")
    assert sent(view, "open") == [{"kind": "open", "path": "pictures"}]
    view.set(_progress={"table": {"state": "running", "done": 32, "total": 500, "left": 61.0}})
    expect(view.root.locator(".cw-view > .cw-job")).to_contain_text("looking at pictures: 32 of 500 · 61 s left")
    filled = view.root.locator(".cw-view > .cw-job i").evaluate("i => i.offsetWidth / i.parentElement.offsetWidth")
    assert filled == pytest.approx(32 / 500, abs=0.01)
    expect(empty).to_be_hidden()
    keep_screenshot(view.root, "failure-working")
    view.root.locator(".cw-view > .cw-job button").click()
    assert sent(view, "cancel") == [{"kind": "cancel", "what": "table"}]
    view.set(_progress={"table": {"state": "failed"}},
             _status={"state": "error", "text": "item 0 has no label", "hint": "", "details": "Traceback"})  # fmt: skip
    expect(empty).to_contain_text("could not be looked through")
    expect(view.root.locator(".cw-notice .cw-sentence")).to_have_text("item 0 has no label")
    keep_screenshot(view.root, "failure-failing")
    made.close()


def test_no_failure_and_a_case_that_cannot_be_opened(stub_page: StubPage) -> None:
    made = FailureExplorer(net(), [(flat(RED), "red")]).wait()
    view = mounted(stub_page, made)
    expect(view.root.locator(".cw-fail-headline")).to_contain_text("No failure among 1 pictures")
    expect(view.root.locator(".cw-fail-card")).to_contain_text("right")
    expect(view.root.locator(".cw-fail-title")).to_have_text("Choose a picture")
    view.set(_case={"state": "working"})
    expect(view.root.locator(".cw-fail-case .cw-fail-wait")).to_have_text("opening the picture …")
    view.set(_case={"state": "failed", "text": "it cannot be read"})
    expect(view.root.locator(".cw-fail-case .cw-fail-wait.cw-fail-bad")).to_have_text("it cannot be read")
    expect(view.root.locator(".cw-fail-tools")).to_be_hidden()
    keep_screenshot(view.root, "failure-no-failure")
    made.close()


def test_waiting_for_blame_and_trees_and_when_there_are_none(view: StubView) -> None:
    view.set(_blame={"state": "working"}, _trees={"state": "working"})
    expect(view.root.locator(".cw-fail-blame")).to_contain_text("comparing what speaks for either class")
    expect(view.root.locator(".cw-fail-trees .cw-fail-wait")).to_have_text("taking the decisions apart …")
    expect(view.root.locator(".cw-fail-tree")).to_have_count(0)
    view.set(
        _blame={"state": "failed", "text": "no stages"},
        _trees={"state": "failed", "what": "classes", "text": "no tree"},
    )
    expect(view.root.locator(".cw-fail-blame .cw-fail-bad")).to_have_text("no stages")
    expect(view.root.locator(".cw-fail-trees .cw-fail-bad")).to_have_text("no tree")


def test_what_could_not_be_opened_is_tried_again(stub_page: StubPage) -> None:
    made = FailureExplorer(net(), [(flat(RED, YELLOW), "red")] * 2).wait()
    fails = made.classifier.module.register_forward_pre_hook(lambda *_: 1 / 0)
    made.choose(1).wait()
    fails.remove()
    view = mounted(stub_page, made)
    expect(view.root.locator(".cw-fail-case .cw-fail-wait")).to_contain_text("division by zero")
    keep_screenshot(view.root, "failure-retry")
    view.root.get_by_role("button", name="Try again").click()
    assert sent(view, "retry") == [{"kind": "retry"}]
    view.root.locator(".cw-fail-card").nth(1).click()  # the same picture in the gallery
    assert len(sent(view, "retry")) == 2
    made._act({"kind": "retry"}, [])
    made.wait()
    view.set(_case={**made._case, "stale": True})
    expect(view.root.get_by_role("button", name="Try again")).to_be_hidden()
    expect(view.root.locator(".cw-fail-case .cw-fail-head")).to_contain_text("the network has other weights by now")
    made.close()


def test_labels_and_ids_are_text(stub_page: StubPage) -> None:
    labels = ["<img src=x onerror=alert(1)>", "<script>alert(2)</script>", "<b>c</b>"]

    class Odd:
        id, label, image = "<i>id</i>", 0, flat(RED, YELLOW)

    hostile = camwidgets.wrap(net().module, net().preprocessing, labels, name="<u>net</u>", input_size=16)
    made = FailureExplorer(hostile, [Odd()] * 2).wait()
    made.choose(0).wait()
    made.switch_off(made.stage, 3).wait()
    view = mounted(stub_page, made)
    expect(view.root.locator(".cw-fail-title")).to_contain_text(labels[0])
    expect(view.root.locator(".cw-fail-bar").first.locator(".cw-fail-name")).to_have_text(labels[0])
    assert view.root.locator("script, img[onerror], u, i > i").count() == 0
    assert view.root.locator("img:not([src^='data:'])").count() == 0
    made.close()


@pytest.mark.parametrize(("width", "dark"), [(1240, False), (1240, True), (980, False), (660, False), (480, False)])
def test_it_is_legible_and_nothing_sticks_out(
    stub_page: StubPage, explorer: FailureExplorer, width: int, dark: bool
) -> None:
    view = mounted(stub_page, explorer, width=width, dark=dark)
    keep_screenshot(view.root, f"failure-{width}{'-dark' if dark else ''}")
    assert view.root.locator(".cw-root").evaluate("root => root.scrollWidth <= root.clientWidth")
    out = view.root.locator(".cw-root").evaluate(
        "root => [...root.querySelectorAll('*')].filter(n => n.offsetParent && n.getBoundingClientRect().right >"
        " root.getBoundingClientRect().right + 1).map(n => n.className)"
    )
    assert out == []
    weak = [one for one in view.root.evaluate(CONTRASTS) if one["ratio"] < 4.5]
    assert weak == []


def test_views_close_cleanly(view: StubView) -> None:
    view.destroy()
    assert view.root.locator("*").count() == 0
