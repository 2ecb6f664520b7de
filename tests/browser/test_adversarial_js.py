"""AdversarialExplorer's front end in Chromium with a stub in the kernel's place: one slider moves everything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import Locator, expect

from camwidgets import AdversarialExplorer
from camwidgets.figures.overlay import overlay
from camwidgets.maps.fusion import upsample
from tests.browser.pictures import canvas_pixels, changed_share
from tests.browser.stub import StubPage, StubView
from tests.browser.test_explorer_js import CONTRASTS, FRAMES
from tests.explorer_nets import LABELS, photo, small

EPS = [8 / 255, 32 / 255, 96 / 255]


@pytest.fixture(scope="module")
def explorer() -> Iterator[AdversarialExplorer]:
    """A picture that flips at one of the ε, moved towards the class whose label would like to be a script."""
    made = AdversarialExplorer(small(), pictures={"first": photo(1), "second": photo(2)}, epsilons=EPS, steps=8).wait()
    made.target, made.targeted = 3, True
    made.run().wait()
    assert made.error is None
    yield made
    made.close()


@pytest.fixture
def view(stub_page: StubPage, explorer: AdversarialExplorer) -> StubView:
    mounted = stub_page.mount_widget(explorer)
    settle(mounted)
    return mounted


def settle(view: StubView) -> None:
    view.page.evaluate(FRAMES)


def go(view: StubView, index: int) -> None:
    """Drag the slider, as a person would: by the keyboard, from where it is."""
    slider = view.root.locator(".cw-eps")
    slider.focus()
    view.page.keyboard.press("Home")
    for _ in range(index):
        view.page.keyboard.press("ArrowRight")
    settle(view)


def seen(view: StubView, place: str, number: int = 0) -> np.ndarray:
    settle(view)
    return canvas_pixels(view.root.locator(place).nth(number))[..., :3]


# ---------------------------------------------------------------------------------------------- one slider


def test_the_slider_moves_everything_without_the_kernel(view: StubView, explorer: AdversarialExplorer) -> None:
    assert explorer.sweep is not None
    figures = ".cw-adv-picture canvas"
    for i, frame in enumerate(explorer.sweep.frames):
        go(view, i)
        np.testing.assert_array_equal(seen(view, figures, 0), explorer.sweep.frames[0].attack.adversarial_pictures[0])
        np.testing.assert_array_equal(seen(view, figures, 1), frame.attack.adversarial_pictures[0])
        np.testing.assert_array_equal(seen(view, figures, 2), frame.attack.amplified())
        rows = view.root.locator(".cw-adv-class")
        assert rows.nth(0).locator(".cw-label").inner_text() == frame.predictions[0].label
        assert rows.nth(0).get_attribute("data-of") == (
            {explorer.sweep.target: "true", 3: "wrong"}.get(frame.predictions[0].index, "other")
        )
        level = "0" if not i else f"{round(255 * frame.eps)}/255"
        expect(view.root.locator(".cw-eps-value")).to_have_text(f"ε = {level}")
        assert float(view.root.locator(".cw-adv-cursor").first.get_attribute("x1") or 0) == pytest.approx(_x(i))
        shown = view.root.locator(".cw-adv-lines .cw-number").all_inner_texts()
        peaks = [f"{v:.1f}" for v in frame.peaks]
        assert [one.removesuffix(" ×") for one in shown[2 : 2 + len(peaks)]] == peaks
        assert [one.endswith(" ×") for one in shown[2 : 2 + len(peaks)]] == [rank > 4 for rank in frame.ranks]
    assert view.sent == []


def _x(i: int) -> float:
    return 40 + (440 - 48) * i / len(EPS)


def test_maps_are_pythons_maps(view: StubView, explorer: AdversarialExplorer) -> None:
    view.set(opacity=1.0)
    shown = explorer._shown
    assert shown is not None
    for of, label in (("true class", "true"), ("wrong class", "wrong"), ("top class", "top")):
        view.root.get_by_role("radio", name=of).check()
        go(view, 2)
        for row, i in ((0, 0), (1, 2)):
            for s, stage in enumerate(("S1", "S5")):
                values = shown.maps[label][i][stage]
                top = float(values.max())
                whole = upsample(torch.from_numpy(values / top if top > 0 else values), (64, 64)).numpy()
                picture = shown.sweep.frames[i].attack.adversarial_pictures[0]
                wanted = np.asarray(overlay(picture, whole, "inferno", 1.0), int)
                found = seen(view, ".cw-adv-grid canvas", 5 * row + 4 * s)
                assert np.abs(found - wanted).mean() < 3, (label, i, stage)
    assert {"maps_of": "top"} in [{k: v for k, v in one.items() if k == "maps_of"} for one in view.saved]


def test_marks_and_finding(view: StubView, explorer: AdversarialExplorer) -> None:
    words = explorer._sweep
    gone = {one["at"] for one in words["drops"] if one["at"] is not None}
    assert view.root.locator(".cw-eps-drop").count() == len(gone)
    told = view.root.locator(".cw-eps-bar .cw-adv-finding").inner_text()
    if words["flip"] is None:
        assert "does not become" in told
        assert view.root.locator(".cw-eps-flip").count() == 0
    else:
        assert view.root.locator(".cw-eps-flip").get_attribute("data-at") == str(words["flip"])
        assert "becomes" in told
    assert LABELS[3] in told  # a label with <script> stays a label
    unflipped = {**words, "id": 99, "flip": None, "asked": {**words["asked"], "targeted": False}}
    view.set(_sweep=unflipped)
    settle(view)
    expect(view.root.locator(".cw-eps-bar .cw-adv-finding")).to_contain_text("does not flip up to ε = 96/255.")
    assert view.root.locator(".cw-notice").is_hidden()
    view.set(_sweep={**unflipped, "id": 100, "flip": 2})
    settle(view)
    assert view.root.locator(".cw-eps-flip").get_attribute("data-at") == "2"
    expect(view.root.locator(".cw-eps-bar .cw-adv-finding")).to_contain_text("at ε = 32/255 (not yet at 8/255).")


def test_keys_and_play(view: StubView) -> None:
    view.root.locator(".cw-adv-tree").evaluate("node => { node.setAttribute('tabindex', '0'); node.focus(); }")
    view.page.keyboard.press("Home")
    view.page.keyboard.press("ArrowRight")
    view.page.keyboard.press("ArrowUp")
    view.wait_until("model.get('index') === 2")
    view.page.keyboard.press("ArrowLeft")
    view.wait_until("model.get('index') === 1")
    view.page.keyboard.press("w")
    view.wait_until("model.get('maps_of') === 'wrong'")
    view.page.keyboard.press("End")
    view.wait_until("model.get('index') === 3")
    view.root.get_by_role("button", name="Play").click()
    view.wait_until("model.get('index') === 0 || model.get('index') === 1")
    expect(view.root.locator(".cw-adv-play")).to_have_text("Pause")
    view.wait_until("model.get('index') === 3")
    expect(view.root.locator(".cw-adv-play")).to_have_text("Play")
    view.root.locator(".cw-adv-plot").first.click(position={"x": 45, "y": 60})
    view.wait_until("model.get('index') === 0")
    assert view.sent == []


# ---------------------------------------------------------------------------------------------- tree


def box(view: StubView, name: str) -> Locator:
    return view.root.locator(f".cw-adv-box[data-name='{name}']")


def test_the_tree_stays_in_place_and_a_click_shows_the_channel(view: StubView, explorer: AdversarialExplorer) -> None:
    tree = explorer._sweep["tree"]
    places: dict[str, Any] = {}
    for i in range(4):
        go(view, i)
        for row, cell in zip(tree["rows"], tree["frames"][i]["cells"], strict=True):
            node = box(view, row["name"])
            assert node.get_attribute("data-kind") == (cell["kind"] if cell else "none")
            place = node.locator("rect").get_attribute("x"), node.locator("rect").get_attribute("y")
            assert places.setdefault(row["name"], place) == place
            if cell:
                assert node.locator("rect").evaluate("n => n.style.fill") == "rgb({}, {}, {})".format(*cell["colour"])
    before = seen(view, ".cw-adv-channel canvas", 1)
    other = tree["rows"][-1]
    box(view, other["name"]).click()
    settle(view)
    assert view.get("channel") == other["name"]
    assert box(view, other["name"]).get_attribute("aria-pressed") == "true"
    expect(view.root.locator(".cw-adv-channel h4")).to_contain_text(other["name"])
    expect(view.root.locator(".cw-adv-channel .cw-adv-under").nth(1)).to_have_text(f"attacked: {other['peaks'][3]:.2f}")
    assert changed_share(before, seen(view, ".cw-adv-channel canvas", 1)) > 0.02
    box(view, tree["rows"][0]["name"]).focus()
    view.page.keyboard.press("Enter")
    view.wait_until(f"model.get('channel') === {tree['rows'][0]['name']!r}")
    assert view.page.evaluate("document.activeElement.dataset.name") == tree["rows"][0]["name"]


def test_without_trees_it_says_why(view: StubView, explorer: AdversarialExplorer) -> None:
    view.set(_sweep={**explorer._sweep, "id": 98, "tree": None, "no_tree": "No tree of this network: it has none."})
    settle(view)
    expect(view.root.get_by_label("Tree", exact=True)).to_contain_text("No tree of this network: it has none.")
    expect(view.root.locator(".cw-adv-why")).to_be_hidden()


# ---------------------------------------------------------------------------------------------- channels, honestly


def test_the_wrong_class_channels_chosen_before_the_attack(view: StubView, explorer: AdversarialExplorer) -> None:
    peaks = explorer._sweep["peaks"]

    def names() -> list[str]:
        return view.root.locator(".cw-adv-lines .cw-label").all_inner_texts()[2:]

    assert names() == [f"#{k}" for k in peaks["true"]["channels"] + peaks["attacked"]["channels"]]
    expect(view.root.locator(".cw-adv-note")).to_contain_text("part of their rise is that choice")
    view.root.get_by_role("radio", name="in clean").check()
    settle(view)
    assert names() == [f"#{k}" for k in peaks["true"]["channels"] + peaks["clean"]["channels"]]
    expect(view.root.locator(".cw-adv-note")).to_contain_text("before the attack")


# ---------------------------------------------------------------------------------------------- states


def test_attack_takes_what_was_chosen_with_it(view: StubView) -> None:
    view.root.get_by_role("combobox", name="Attack").select_option("fgsm")
    view.root.get_by_label("Strongest ε").fill("4")
    view.root.get_by_label("Strongest ε").press("Tab")
    view.root.get_by_role("radio", name="away from a class").check()
    settle(view)
    expect(view.root.locator(".cw-adv-run-why")).to_contain_text("Of other settings than those chosen now (")
    expect(view.root.locator(".cw-adv-run-why")).to_contain_text("Attack again")
    assert view.root.locator(".cw-adv-run-bar").evaluate("n => n.classList.contains('cw-is-stale')")
    view.root.locator(".cw-adv-run").click()
    content = view.sent[-1]["content"]
    assert content["kind"] == "run"
    asked = content["asked"]
    assert (asked["attack"], asked["targeted"], asked["target"]) == ("fgsm", False, 3)
    assert asked["strongest"] == pytest.approx(4 / 255)
    assert "epsilons" not in asked


def test_working_cancel_and_failing(view: StubView) -> None:
    running = {"state": "running", "share": 0.42, "seconds": 10.0, "left": 14.2, "text": "attacking: ε 3 of 9"}
    view.set(_progress=running)
    settle(view)
    expect(view.root.locator(".cw-adv-run-words")).to_have_text("attacking: ε 3 of 9 · about 14 s left")
    track = view.root.locator(".cw-adv-track")
    assert track.get_attribute("aria-valuenow") == "42"
    assert track.evaluate("n => n.firstChild.style.width") == "42%"
    go(view, 1)  # what is there can be looked at meanwhile
    expect(view.root.locator(".cw-eps-value")).to_have_text("ε = 8/255")
    view.root.get_by_role("button", name="Cancel").click()
    assert view.sent[-1]["content"] == {"kind": "stop"}
    view.set(_progress={**running, "state": "stopping"})
    settle(view)
    expect(view.root.locator(".cw-adv-run-words")).to_have_text("stopping after this pass …")
    view.set(_progress={**running, "state": "cancelled"})
    settle(view)
    expect(view.root.locator(".cw-adv-run-words")).to_contain_text("the one from before")
    expect(view.root.locator(".cw-adv-stop")).to_be_hidden()
    failed = {"state": "error", "text": "the attack mine returned NaN", "hint": "What was there …", "details": "x"}
    view.set(_progress={**running, "state": "failed"}, _status=failed)
    settle(view)
    expect(view.root.locator(".cw-notice")).to_contain_text("the attack mine returned NaN")
    view.root.get_by_role("button", name="Dismiss").click()
    assert view.sent[-1]["content"] == {"kind": "dismiss"}


def test_before_the_first_attack(stub_page: StubPage) -> None:
    made = AdversarialExplorer(small(), photo(1)).wait()
    try:
        view = stub_page.mount_widget(made)
    finally:
        made.close()
    settle(view)
    expect(view.root.locator(".cw-adv-found")).to_be_hidden()
    ready = view.root.locator(".cw-adv-ready")
    expect(ready).to_contain_text(f"Taken for {made._scene['target']['label']}")
    assert view.root.get_by_role("button", name="Attack", exact=True).count() == 1
    ready.get_by_role("button", name="Attack").click()
    assert view.sent[-1]["content"]["kind"] == "run"
    expect(view.root.get_by_role("button", name="Save")).to_be_disabled()
    view.set(_scene={}, picture="")
    settle(view)
    expect(view.root.locator(".cw-adv-empty")).to_contain_text("No picture yet. Drop one here")
    view.root.locator(".cw-adv-empty button").click()
    assert view.saved[-1] == {"picture": "picture 1"}


def test_aim_search(view: StubView) -> None:
    view.root.get_by_placeholder("search all 6 classes").fill("red")
    view.page.keyboard.press("ArrowDown")
    view.page.keyboard.press("Enter")
    settle(view)
    assert view.get("target") in (2, 4)
    expect(view.root.locator(".cw-aim-now b")).to_have_text(LABELS[view.get("target")])


def test_the_saved_page_works_alone(stub_page: StubPage, explorer: AdversarialExplorer) -> None:
    assert explorer.sweep is not None
    html, page = explorer.export_html(), stub_page.page
    page.route("http://127.0.0.1/saved", lambda route: route.fulfill(body=html, content_type="text/html"))
    page.goto("http://127.0.0.1/saved")
    slider = page.locator(".cw-eps")
    slider.focus()
    for index, key in ((0, "Home"), (3, "End")):
        page.keyboard.press(key)
        page.evaluate(FRAMES)
        found = canvas_pixels(page.locator(".cw-adv-picture canvas").nth(1))[..., :3]
        np.testing.assert_array_equal(found, explorer.sweep.frames[index].attack.adversarial_pictures[0])
    page.locator(".cw-adv-box").last.click()
    expect(page.locator(".cw-adv-run-bar")).to_be_hidden()
    expect(page.get_by_role("button", name="Copy code")).to_be_visible()


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read(stub_page: StubPage, explorer: AdversarialExplorer, dark: bool) -> None:
    view = stub_page.mount_widget(explorer, dark=dark)
    settle(view)
    texts = view.root.evaluate(CONTRASTS)
    assert len(texts) > 60
    assert [one for one in texts if one["ratio"] < 4.5] == []
    stub_page.screenshot(f"adversarial-{'dark' if dark else 'light'}")


@pytest.mark.parametrize("width", [700, 460])
def test_nothing_runs_over_when_it_is_narrow(stub_page: StubPage, explorer: AdversarialExplorer, width: int) -> None:
    view = stub_page.mount_widget(explorer, width=width)
    settle(view)
    root = view.root.locator(".cw-adversarial")
    assert root.evaluate("n => n.scrollWidth - n.clientWidth") <= 1
    stub_page.screenshot(f"adversarial-{width}")


def test_closing_ends_its_timers(view: StubView) -> None:
    go(view, 0)
    view.root.get_by_role("button", name="Play").click()
    view.destroy()
    view.page.evaluate("() => new Promise((done) => setTimeout(done, 900))")
    assert view.get("index") in (0, 1)
