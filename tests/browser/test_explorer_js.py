"""CamExplorer's front end in Chromium with a stub in the kernel's place: arithmetic, pixels, hands, words."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect

from camwidgets import CamExplorer
from camwidgets.figures.overlay import overlay
from camwidgets.maps import PRESETS, box
from camwidgets.widgets import assets
from tests.browser.pictures import canvas_pixels, changed_share, colours
from tests.browser.stub import StubPage, StubView
from tests.explorer_nets import LABELS, photo, small

FRAMES = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


# The contrast of every text that is shown and not disabled, against what lies behind it.
CONTRASTS = """root => {
    const paint = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const over = (back, colour) => {
        paint.fillStyle = `rgb(${back})`; paint.fillRect(0, 0, 1, 1);
        paint.fillStyle = colour; paint.fillRect(0, 0, 1, 1);
        return [...paint.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const behind = node => {
        const chain = [];
        for (let at = node; at; at = at.parentElement) chain.unshift(getComputedStyle(at).backgroundColor);
        return chain.reduce(over, [255, 255, 255]);
    };
    const light = rgb => rgb.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT), found = [];
    while (walker.nextNode()) {
        const node = walker.currentNode.parentElement, text = walker.currentNode.textContent.trim();
        if (!text || !node.offsetParent || node.closest('.cw-off, :disabled, option, optgroup, style')) continue;
        const back = behind(node), ink = light(over(back, getComputedStyle(node).color)), ground = light(back);
        found.push({ text, ratio: (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05) });
    }
    return found;
}"""


@pytest.fixture(scope="module")
def explorer() -> Iterator[CamExplorer]:
    made = CamExplorer(small(), pictures={"first": photo(1), "second": photo(2)}).wait()
    yield made
    made.close()


@pytest.fixture
def view(stub_page: StubPage, explorer: CamExplorer) -> StubView:
    mounted = stub_page.mount_widget(explorer)
    settle(mounted)
    return mounted


def settle(view: StubView) -> None:
    view.page.evaluate(FRAMES)


def drawn(view: StubView) -> np.ndarray:
    """The map that is on screen, as the front end computed it."""
    settle(view)
    values = view.root.locator(".cw-root").evaluate("root => Array.from(root.cw.map)")
    return np.asarray(values, np.float32)


def picture(view: StubView) -> np.ndarray:
    settle(view)
    return canvas_pixels(view.root.locator(".cw-picture").first)


def switches() -> Iterator[dict[str, Any]]:
    """Every preset and every scale × reduction, each with every sign, over several sets of stages."""
    stages = itertools.cycle([["S1", "S2", "S3", "S4", "S5"], ["S3", "S4", "S5"], ["S5"], ["S2", "S4"]])
    for sign, preset in itertools.product(("positive", "signed", "absolute", "negative"), PRESETS):
        yield {"gradient": sign, "preset": preset, "gamma": 2.0, "stages": next(stages)}
    for sign, scale, reduce in itertools.product(
        ("positive", "signed", "absolute", "negative"), ("tanh", "none", "cbrt", "tan"), ("max", "mean", "product")
    ):
        switch = {"gradient": sign, "preset": None, "gamma": 3.3, "scale": scale, "reduce": reduce}
        yield {**switch, "stages": next(stages)}


# ---------------------------------------------------------------------------------------------- arithmetic


def test_the_browser_s_arithmetic_is_python_s(view: StubView, explorer: CamExplorer) -> None:
    worst, count = 0.0, 0
    for switch in switches():
        with explorer.hold_trait_notifications():
            for name, value in switch.items():
                setattr(explorer, name, value)
        view.set(**switch)
        wanted = explorer.explanation.map
        difference = float(np.abs(drawn(view) - wanted.ravel()).max())
        assert difference < 1 / 255, (switch, difference)
        worst, count = max(worst, difference), count + 1
    assert count == 4 * (5 + 12)
    assert worst < 1e-5  # float32 rounding; 1/255 is what may be seen
    print(f"largest difference of {count} maps: {worst:.1e}")
    explorer.preset, explorer.gradient, explorer.stages = "paper", "positive", ["S3", "S4", "S5"]


@pytest.mark.parametrize("method", ["gradcam", "gradcam++", "xgradcam", "normgrad", "cam"])
def test_every_method_s_maps_arrive(stub_page: StubPage, method: str) -> None:
    other = CamExplorer(small(), photo(5), method=method).wait()
    view = stub_page.mount_widget(other)
    np.testing.assert_allclose(drawn(view), other.explanation.map.ravel(), atol=1e-5)
    other.close()


@pytest.mark.parametrize(("blend", "opacity"), [("even", 0.5), ("by value", 0.8), ("even", 1.0), ("by value", 0.0)])
def test_pixels_are_those_of_the_overlay(stub_page: StubPage, blend: str, opacity: float) -> None:
    explorer = CamExplorer(small(), photo(6, (64, 72))).wait()  # no larger than the input: drawn pixel by pixel
    view = stub_page.mount_widget(explorer)
    for table in ("inferno", "jet"):
        view.set(blend=blend, opacity=opacity, colormap=table)
        asked = overlay(explorer.explanation.picture, explorer.explanation.map, table, opacity, blend)  # type: ignore[arg-type]
        difference = np.abs(picture(view)[..., :3].astype(int) - np.asarray(asked, int))
        # A map value on the border of two table rows may fall to either: one row apart at most.
        assert difference.max() <= 6
        assert (difference.max(-1) > 1).mean() < 0.01
    explorer.close()


@pytest.mark.parametrize("threshold", [0.15, 0.4, 0.8])
def test_the_box_is_python_s(view: StubView, explorer: CamExplorer, threshold: float) -> None:
    view.set(box=True, contour=True, threshold=threshold)
    settle(view)
    found = view.root.locator(".cw-root").evaluate("root => root.cw.box")
    assert (found["x0"], found["y0"], found["x1"], found["y1"]) == box(explorer.explanation.map, threshold)
    lines = canvas_pixels(view.root.locator(".cw-lines").first)
    assert (lines[..., 3] > 0).mean() > 0.005



# ---------------------------------------------------------------------------------------------- hands


def test_stage_cards_toggle_and_show_their_own_map(view: StubView) -> None:
    cards, before = view.root.locator(".cw-card"), picture(view)
    assert cards.count() == 5
    thumbs = [canvas_pixels(view.root.locator(".cw-thumb").nth(i)) for i in range(5)]
    assert [t.shape[0] for t in thumbs] == [64, 32, 16, 8, 4]
    assert all(colours(t) > 5 for t in thumbs)
    cards.nth(4).click()
    assert view.get("stages") == ["S3", "S4"]
    assert changed_share(before, picture(view)) > 0.02
    cards.nth(0).click(modifiers=["Shift"])
    assert view.get("stages") == ["S1"]
    cards.nth(0).click()
    assert view.get("stages") == ["S1"]  # one has to stay
    expect(view.root.locator(".cw-busy")).to_have_text("One stage has to stay on.")


def test_switches_change_the_picture_and_tell_the_kernel_once(view: StubView) -> None:
    acts: list[tuple[str, Callable[[], Any]]] = [
        ("sign", lambda: view.root.get_by_role("radio", name="negative").check()),
        ("γ", lambda: view.root.get_by_label("Gamma").fill("6")),
        ("scale", lambda: view.root.get_by_label("Scale function").select_option("cbrt")),
        ("reduce", lambda: view.root.get_by_label("Reduction over stages").select_option("product")),
        ("preset", lambda: view.root.get_by_label("Preset", exact=True).select_option("torchcam")),
        ("opacity", lambda: view.root.get_by_label("Opacity of the map").fill("0.3")),
        ("blend", lambda: view.root.get_by_role("radio", name="even").check()),
        ("colours", lambda: view.root.get_by_label("Colours").select_option("jet")),
        ("all", lambda: view.root.get_by_role("button", name="all", exact=True).click()),
    ]
    for name, act in acts:
        before = picture(view)
        act()
        assert changed_share(before, picture(view), tolerance=2) > 0.02, name
    view.page.wait_for_timeout(300)
    saved = {name: value for each in view.saved for name, value in each.items()}
    assert saved["gradient"] == "negative"
    assert (saved["preset"], saved["opacity"], saved["blend"], saved["colormap"]) == ("torchcam", 0.3, "even", "jet")
    assert not any("target" in each or "picture" in each for each in view.saved)


def test_dragging_is_told_only_when_the_hand_rests(view: StubView) -> None:
    drag = """async slider => {
        for (let i = 0; i < 60; i++) {
            slider.value = 1 + i / 10;
            slider.dispatchEvent(new Event('input'));
            if (i % 10 === 0) await new Promise(requestAnimationFrame);
        }
    }"""
    view.root.get_by_label("Gamma").evaluate(drag)
    view.page.wait_for_timeout(300)
    assert len([each for each in view.saved if "gamma" in each]) <= 3  # of 60; one on a quiet machine
    assert view.get("gamma") == pytest.approx(6.9)


def test_class_picture_and_network_ask_the_kernel(view: StubView) -> None:
    view.root.locator(".cw-class").nth(2).click()
    assert view.saved[-1]["target"] == view.get("_scene")["top"][2]["index"]
    expect(view.root.locator(".cw-busy")).to_have_text("asking the kernel …")
    view.root.get_by_role("button", name="Next").click()
    assert view.saved[-1]["picture"] == "second"
    view.root.get_by_role("combobox", name="search").fill("owl")
    expect(view.root.get_by_role("option", name="owl · 1")).to_have_attribute("aria-selected", "true")
    view.page.keyboard.press("ArrowDown")
    view.page.keyboard.press("Enter")
    assert view.saved[-1]["target"] == LABELS.index("rusty owl")
    view.root.get_by_label("Method").select_option("gradcam")
    assert view.saved[-1]["method"] == "gradcam"


def test_upload_and_drop_send_the_file(view: StubView) -> None:
    chosen = {"name": "a.png", "mimeType": "image/png", "buffer": b"12345"}
    view.root.locator("input[type=file]").set_input_files(chosen)  # type: ignore[arg-type]
    view.wait_until("model.log.sent.length === 1")
    assert view.sent[0]["content"] == {"kind": "upload", "name": "a.png"}
    assert view.sent[0]["buffers"] == [b"12345"]
    drop = """node => {
        const data = new DataTransfer();
        data.items.add(new File(['678'], 'b.jpg', { type: 'image/jpeg' }));
        for (const kind of ['dragenter', 'dragover', 'drop'])
            node.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
    }"""
    view.root.locator(".cw-frame").first.evaluate(drop)
    view.wait_until("model.log.sent.length === 2")
    assert view.sent[1] == {"content": {"kind": "upload", "name": "b.jpg"}, "buffers": [b"678"]}
    view.root.get_by_label("Path of a picture").fill("/some/folder")
    view.page.keyboard.press("Enter")
    assert view.sent[2]["content"] == {"kind": "open", "path": "/some/folder"}


def test_readout_names_value_and_stages(view: StubView, explorer: CamExplorer) -> None:
    frame, words = view.root.locator(".cw-frame").first, view.root.locator(".cw-words")
    frame.scroll_into_view_if_needed()
    place = frame.bounding_box()
    assert place
    view.page.mouse.move(place["x"] + place["width"] * 20.5 / 64, place["y"] + place["height"] * 40.5 / 64)
    settle(view)
    value = drawn(view).reshape(64, 64)[40, 20]
    expect(words).to_contain_text(f"value {value:.2f} at (20, 40) · S5 ")
    frame.focus()
    view.page.keyboard.press("ArrowRight")
    settle(view)
    expect(words).to_contain_text("at (21, 40)")
    view.page.keyboard.press("Shift+ArrowDown")
    settle(view)
    expect(words).to_contain_text("at (21, 56)")


def test_pin_keeps_a_view_beside_the_live_one(view: StubView) -> None:
    before = picture(view)
    view.root.get_by_role("button", name="Pin", exact=True).click()
    view.root.get_by_role("radio", name="negative").check()
    settle(view)
    pinned = canvas_pixels(view.root.locator(".cw-pinned .cw-picture"))
    np.testing.assert_array_equal(pinned, before)
    assert changed_share(pinned, picture(view)) > 0.02
    caption = view.root.locator(".cw-pinned figcaption")
    expect(caption).to_contain_text("pinned: LayerCAM · S5+S4+S3 · positive gradient")
    view.page.keyboard.press("p")
    expect(view.root.locator(".cw-pinned")).to_be_hidden()


def test_keyboard(view: StubView) -> None:
    view.root.locator(".cw-frame").first.focus()
    view.page.keyboard.press("5")
    assert view.get("stages") == ["S3", "S4"]
    view.page.keyboard.press("g")
    assert view.get("gradient") == "signed"
    view.page.keyboard.press("]")
    assert view.get("picture") == "second"
    view.page.keyboard.press("?")
    expect(view.root.get_by_text("this list")).to_be_visible()
    view.page.keyboard.press("Escape")
    expect(view.root.get_by_text("this list")).to_be_hidden()
    view.page.evaluate("() => { window.heard = []; }")
    view.page.evaluate("() => document.addEventListener('keydown', event => heard.push(event.key))")
    view.page.keyboard.press("d")  # two of them delete a cell, if the notebook hears them
    assert view.page.evaluate("heard") == []


def test_every_control_is_reached_by_tab_and_has_a_name(view: StubView) -> None:
    view.page.evaluate("() => document.body.focus()")
    reached = set()
    for _ in range(80):
        view.page.keyboard.press("Tab")
        reached.add(view.page.evaluate("() => document.activeElement.className"))
    for wanted in ("cw-card", "cw-class", "cw-slider", "cw-select", "cw-frame", "cw-search", "cw-button"):
        assert any(wanted in each for each in reached), wanted
    nameless = view.root.evaluate("""root => [...root.querySelectorAll('button, input, select')]
        .filter(el => el.type !== 'file' && el.offsetParent)
        .filter(el => !(el.getAttribute('aria-label') || el.textContent.trim() || el.labels?.length))
        .map(el => el.outerHTML)""")
    assert nameless == []


def test_single_channel(view: StubView) -> None:
    view.root.get_by_text("one channel").click()
    assert view.get("channel_stage") == "S5"
    values = np.zeros((4, 4), np.float32)
    values[1, 2] = 7
    channel = {"id": "1 S5 3", "scene": view.get("_scene")["id"], "height": 4, "width": 4, "peak": "7", "unit": "logit"}
    words = {"fact": "channel 3 of 12 · 41 % of what speaks for the class", "text": "S5 · channel 3 · rank 1 of 12"}
    view.set(_channel={**channel, **words}, _channel_map=values.tobytes())
    peak = np.unravel_index(drawn(view).argmax(), (64, 64))
    assert 16 <= peak[0] < 32 <= peak[1] < 48
    expect(view.root.locator(".cw-fact")).to_have_text(words["fact"])
    expect(view.root.locator(".cw-scale")).to_contain_text("07logit")
    expect(view.root.locator(".cw-made")).to_contain_text("S5 · channel 3")
    rank = view.root.get_by_label("Channel by rank")
    rank.focus()
    view.page.keyboard.press("ArrowRight")
    assert view.get("channel_rank") == 1


def test_reset_per_group(view: StubView) -> None:
    view.set(gamma=5.0, scale="tan", opacity=0.1, contour=True, stages=["S1"], gradient="negative")
    for group, wanted in (
        ("How", {"gamma": 2, "scale": "tanh", "gradient": "positive"}),
        ("Show", {"opacity": 0.8, "contour": False}),
        ("Where", {"stages": ["S3", "S4", "S5"]}),
    ):
        view.root.get_by_role("button", name=f"Reset {group}").click()
        assert {name: view.get(name) for name in wanted} == wanted


def test_save_png_is_the_drawn_picture(view: StubView, tmp_path: Path) -> None:
    from PIL import Image

    view.root.get_by_role("button", name="Save", exact=True).click()
    with view.page.expect_download() as waiting:
        view.root.locator("[data-kind=png]").click()
    waiting.value.save_as(tmp_path / "saved.png")
    with Image.open(tmp_path / "saved.png") as saved:
        np.testing.assert_array_equal(np.asarray(saved.convert("RGBA")), picture(view))
    view.root.get_by_role("button", name="Save", exact=True).click()
    view.root.locator("[data-kind=bundle]").click()
    assert view.sent[-1]["content"] == {"kind": "save", "what": "bundle"}
    with view.page.expect_download() as waiting:
        view.send({"kind": "file", "name": "x.zip", "type": "application/zip"}, [b"PK"])
    assert waiting.value.suggested_filename == "x.zip"


# ---------------------------------------------------------------------------------------------- states and words


def test_working_error_and_offer(view: StubView) -> None:
    view.set(_status={"state": "working", "text": "running small on second …"})
    expect(view.root.locator(".cw-busy")).to_have_text("running small on second …")
    view.root.get_by_role("button", name="Cancel").click()
    assert view.sent[-1]["content"] == {"kind": "cancel"}
    told = {"text": "no picture at <b>x</b>", "hint": "Check the path.", "details": "Traceback"}
    view.set(_status={"state": "error", **told})
    alert = view.root.get_by_role("alert")
    expect(alert).to_contain_text("no picture at <b>x</b>")  # as text, not as a tag
    expect(alert.get_by_text("Traceback")).to_be_hidden()
    alert.get_by_text("Details").click()
    expect(alert.get_by_text("Traceback")).to_be_visible()
    view.page.keyboard.press("Escape")
    expect(alert).to_be_hidden()
    view.set(_status={"state": "offer", "text": "resnet50 needs 97.8 MB", "offer": "Download 97.8 MB"})
    view.root.get_by_role("button", name="Download 97.8 MB").click()
    assert view.sent[-1]["content"] == {"kind": "offer"}


def test_a_silent_kernel_is_noticed(stub_page: StubPage, explorer: CamExplorer) -> None:
    hasty = assets.esm("cam/explorer.js").replace("const SILENCE = 8000", "const SILENCE = 50")
    view = stub_page.mount(hasty, assets.css(), {
        name: value for name, value in explorer.get_state().items() if name not in ("_esm", "_css")
    })  # fmt: skip
    view.root.get_by_role("button", name="Next").click()
    expect(view.root.get_by_role("alert")).to_contain_text("The kernel has not answered")
    view.set(_status={"state": "working", "text": "running"})
    expect(view.root.get_by_role("alert")).to_be_hidden()


def test_nothing_jumps(view: StubView) -> None:
    def places() -> Any:
        return view.root.evaluate("""root => ['frame', 'stages', 'column', 'foot', 'how', 'show'].map(name => {
            const box = root.querySelector(`.cw-${name}`).getBoundingClientRect();
            return [box.x, box.y, box.width, box.height];
        })""")

    settle(view)
    before = places()
    frame = view.root.locator(".cw-frame").first
    frame.hover()
    view.set(_status={"state": "working", "text": "a long sentence about what runs " * 9})
    settle(view)
    assert places() == before
    view.set(_status={"state": "error", "text": "a sentence", "hint": "what to do", "details": "x\n" * 50})
    view.set(gamma=9.9, stages=["S5"], channel_stage="S5", contour=True, reason="flat " * 40)
    settle(view)
    assert places() == before


def test_empty_state_has_one_button(stub_page: StubPage) -> None:
    blank = CamExplorer(small(), photo(1)).wait()
    state = {name: value for name, value in blank.get_state().items() if name not in ("_esm", "_css")}
    view = stub_page.mount(assets.esm("cam/explorer.js"), assets.css(), {**state, "_scene": {}, "picture": ""})
    view.root.get_by_role("button", name="Look at picture 1").click()
    assert view.saved[-1]["picture"] == "picture 1"
    blank.close()


def test_a_label_is_only_ever_text(stub_page: StubPage) -> None:
    named = CamExplorer(small(), pictures={"<img src=x onerror=alert(1)>": photo(1)}, target=3).wait()
    view = stub_page.mount_widget(named)
    settle(view)
    expect(view.root.locator(".cw-caption").first).to_contain_text("<script>alert(1)</script>")
    assert view.root.locator("script, img").count() == 0
    named.close()


def test_the_flat_map_says_why(view: StubView) -> None:
    state = view.get("_maps")
    scene = {**view.get("_scene"), "id": 99}
    reason = "flat: every channel of features.12 is silent"
    view.set(_maps=bytes(len(state)), _scene=scene, reason=reason)
    settle(view)
    expect(view.root.locator(".cw-blank")).to_have_text(f"Why is the map blank? {reason}")
    assert colours(picture(view)) > 100


@pytest.mark.parametrize("dark", [False, True])
def test_text_has_the_contrast_of_wcag_aa(stub_page: StubPage, explorer: CamExplorer, dark: bool) -> None:
    view = stub_page.mount_widget(explorer, dark=dark)
    view.set(contour=True, _status={"state": "error", "text": "a sentence", "hint": "what to do", "details": "more"})
    settle(view)
    found = view.root.evaluate(CONTRASTS)
    assert len(found) > 60
    weak = [one for one in found if one["ratio"] < 4.5]
    assert weak == []


def test_views_close_cleanly(view: StubView) -> None:
    view.destroy()
    assert view.page.evaluate("() => window.views[0].model.handlers.length") == 0


@pytest.mark.parametrize(("width", "beside"), [(1240, True), (920, True), (880, False), (600, False)])
def test_the_column_stands_beside_or_below(
    stub_page: StubPage, explorer: CamExplorer, width: int, beside: bool
) -> None:
    view = stub_page.mount_widget(explorer, width=width)
    settle(view)
    place, column = view.root.locator(".cw-view").bounding_box(), view.root.locator(".cw-column").bounding_box()
    assert place
    assert column
    assert (column["x"] >= place["x"] + place["width"]) == beside
    frame = view.root.locator(".cw-frame").first.bounding_box()
    assert frame
    assert frame["width"] >= 448
    assert view.root.evaluate("root => root.querySelector('.cw-root').scrollWidth <= root.clientWidth + 1")
