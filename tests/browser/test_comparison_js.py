"""MethodComparison's front end in Chromium with a stub in the kernel's place: linked hands, pixels, states, words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Locator, expect

from camwidgets import MethodComparison
from camwidgets.figures.overlay import overlay
from tests.browser.pictures import canvas_pixels, changed_share, colours
from tests.browser.stub import StubPage, StubView
from tests.browser.test_explorer_js import CONTRASTS, FRAMES
from tests.explorer_nets import LABELS, photo, small

METHODS = ("gradcam", "layercam", "gradcam++", "normgrad")
CURVE = {"x": [0.0, 0.5, 1.0], "y": [0.1, 0.6, 0.9], "auc": 0.55}


@pytest.fixture(scope="module")
def comparison() -> Iterator[MethodComparison]:
    bright = 40 + photo(1, (160, 180)) // 2  # no black pixel: dimming changes every one; drawn at 128×128
    pictures = {"first": bright, "second": photo(2)}
    made = MethodComparison(small(), pictures=pictures, methods=METHODS).wait()
    yield made
    made.close()


@pytest.fixture
def view(stub_page: StubPage, comparison: MethodComparison) -> StubView:
    mounted = stub_page.mount_widget(comparison)
    settle(mounted)
    return mounted


def settle(view: StubView) -> None:
    view.page.evaluate(FRAMES)


def frame(view: StubView, number: int) -> Locator:
    return view.root.locator(".cw-frame").nth(number)


def pixels(view: StubView, number: int) -> np.ndarray:
    settle(view)
    return canvas_pixels(frame(view, number).locator(".cw-picture"))


def values(view: StubView) -> list[str]:
    settle(view)
    return view.root.locator(".cw-cell-value").all_inner_texts()


def changed(view: StubView, number: int, **words: Any) -> list[dict[str, Any]]:
    """The cells with other words for one of them, as the kernel would send them."""
    cells = [dict(cell) for cell in view.get("_cells")]
    cells[number] |= words
    return cells


def hover(view: StubView, number: int, x: float, y: float) -> None:
    """Put the pointer on the middle of an input pixel of a frame that shows the whole picture."""
    place = frame(view, number).bounding_box()
    assert place
    view.page.mouse.move(place["x"] + place["width"] * (x + 0.5) / 64, place["y"] + place["height"] * (y + 0.5) / 64)
    settle(view)


# ---------------------------------------------------------------------------------------------- drawing


def test_every_cell_draws_its_own_map_as_python_would(view: StubView, comparison: MethodComparison) -> None:
    view.set(blend="even", opacity=1.0)
    seen = [pixels(view, i) for i in range(4)]
    for name, shown in zip(METHODS, seen, strict=True):
        found = comparison.explanations[name]
        asked = np.asarray(overlay(found.picture, found.map, "inferno", 1.0, "even"), int)
        small_one = shown[..., :3].reshape(64, shown.shape[0] // 64, 64, -1, 3).mean((1, 3))
        assert np.abs(small_one - asked).mean() < 6
        assert colours(shown) > 50
    assert changed_share(seen[0], seen[1]) > 0.1



def test_hover_is_linked(view: StubView, comparison: MethodComparison) -> None:
    hover(view, 1, 20, 40)
    wanted = [f"{found.map[40, 20]:.2f}" for found in comparison.explanations.values()]
    assert values(view) == wanted
    expect(view.root.locator(".cw-words")).to_contain_text("at (20, 40)")
    for i in range(4):  # the crosshair stands at the same place of every frame
        lines = canvas_pixels(frame(view, i).locator(".cw-lines"))
        ys, xs = np.nonzero(lines[..., 3])
        assert abs(xs.mean() / lines.shape[1] - 20.5 / 64) < 0.01
        assert abs(ys.mean() / lines.shape[0] - 40.5 / 64) < 0.01
    view.page.mouse.move(2, 2)
    assert values(view) == [""] * 4
    frame(view, 3).focus()
    hover(view, 2, 10, 10)
    view.page.keyboard.press("ArrowRight")
    view.page.keyboard.press("Shift+ArrowDown")
    settle(view)
    expect(view.root.locator(".cw-words")).to_contain_text("at (11, 26)")


def test_zoom_is_linked(view: StubView) -> None:
    whole = [pixels(view, i) for i in range(4)]
    hover(view, 0, 16, 48)
    view.page.keyboard.down("Control")
    view.page.mouse.wheel(0, -330)
    view.page.keyboard.up("Control")
    settle(view)
    zoom = view.get("zoom")
    assert zoom == pytest.approx(3.0, abs=0.05)
    seen = view.root.locator(".cw-root").evaluate("root => root.cw.seen")
    assert seen["left"] + 16.5 / 64 * seen["side"] == pytest.approx(16.5 / 64, abs=2e-3)  # stays under the pointer
    for i in range(4):
        now, side = pixels(view, i), whole[i].shape[0]
        y, x = int((seen["top"] + 0.3 * seen["side"]) * side), int((seen["left"] + 0.6 * seen["side"]) * side)
        np.testing.assert_allclose(now[int(0.3 * side), int(0.6 * side), :3], whole[i][y, x, :3], atol=24)
        assert changed_share(whole[i], now) > 0.3
    words = view.root.locator(".cw-words").inner_text()
    assert "at (16, 48)" in words
    view.root.get_by_label("Zoom of all maps").fill("1")
    settle(view)
    np.testing.assert_array_equal(pixels(view, 2), whole[2])


def test_dragging_moves_all(view: StubView) -> None:
    view.set(zoom=4.0, centre=[0.5, 0.5])
    settle(view)
    before = [pixels(view, i) for i in range(4)]
    place = frame(view, 1).bounding_box()
    assert place
    x, y = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
    view.page.mouse.move(x, y)
    view.page.mouse.down()
    view.page.mouse.move(x + place["width"] / 4, y, steps=4)
    view.page.mouse.up()
    settle(view)
    assert view.get("centre") == [pytest.approx(0.5 - 0.25 / 4, abs=2e-3), 0.5]
    assert all(changed_share(before[i], pixels(view, i)) > 0.1 for i in range(4))
    view.page.mouse.move(x, y)  # let go: the hand only reads
    assert view.get("centre")[0] == pytest.approx(0.4375, abs=2e-3)
    frame(view, 0).focus()
    view.page.keyboard.press("0")
    assert (view.get("zoom"), view.get("centre")) == (1, [0.5, 0.5])
    view.page.keyboard.press("+")
    assert view.get("zoom") == 1.25


def test_a_plain_wheel_scrolls_the_page(view: StubView) -> None:
    view.page.set_viewport_size({"width": 1280, "height": 400})
    frame(view, 0).hover()
    view.page.mouse.wheel(0, 200)
    view.page.wait_for_function("() => window.scrollY > 50")
    assert view.get("zoom") == 1


# ---------------------------------------------------------------------------------------------- cut-out


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 1.0])
def test_a_cut_out_keeps_so_many_pixels(view: StubView, comparison: MethodComparison, share: float) -> None:
    plain = np.frombuffer(comparison._picture, np.uint8).reshape(*pixels(view, 0).shape[:2], 3)
    view.set(cut=True, share=share)
    for i, found in enumerate(comparison.explanations.values()):
        shown = pixels(view, i)[..., :3]
        kept = (shown == plain).all(-1)
        scale = plain.shape[0] // 64
        small_one = kept.reshape(64, scale, 64, scale).all((1, 3))
        assert small_one.sum() == round(share * 64 * 64)
        assert found.map[small_one].min() >= found.map[~small_one].max() if share < 1 else small_one.all()


def test_the_rest_is_dimmed_or_blurred(view: StubView, comparison: MethodComparison) -> None:
    plain = np.frombuffer(comparison._picture, np.uint8).reshape(*pixels(view, 0).shape[:2], 3).astype(int)
    view.set(cut=True, share=0.1, rest="dim")
    dimmed = pixels(view, 0)[..., :3].astype(int)
    view.set(rest="blur")
    blurred = pixels(view, 0)[..., :3].astype(int)
    rest = (dimmed != plain).any(-1)
    assert np.abs(dimmed[rest] - 0.2 * plain[rest]).max() <= 1
    assert np.abs(blurred[rest].mean(0) - plain[rest].mean(0)).max() < 6  # as light as before
    assert np.abs(np.diff(blurred, axis=1)).mean() < np.abs(np.diff(plain, axis=1)).mean()


def test_cut_out_by_hand(view: StubView) -> None:
    view.root.get_by_label("Share of pixels that each map keeps").fill("0.35")
    assert (view.get("cut"), view.get("share")) == (True, 0.35)
    frame(view, 0).focus()
    view.page.keyboard.press("c")
    assert view.get("cut") is False
    view.root.get_by_role("radio", name="blurred").check()
    assert (view.get("cut"), view.get("rest")) == (True, "blur")
    view.root.get_by_role("button", name="Reset Look").click()
    assert (view.get("cut"), view.get("share"), view.get("rest")) == (False, 0.2, "dim")


# ---------------------------------------------------------------------------------------------- states of a cell


def test_states(view: StubView) -> None:
    cell = view.root.locator(".cw-cell").first
    over = cell.locator(".cw-cell-over")
    expect(over).to_be_hidden()
    view.set(_cells=changed(view, 0, state="waiting", map=None, facts=""))
    expect(over).to_contain_text("waiting")
    over.get_by_role("button", name="Cancel").click()
    assert view.sent[-1]["content"] == {"kind": "cancel", "cell": "1"}
    working = changed(view, 0, state="working", map=None)
    view.set(_cells=working, _progress={"cell": "1", "share": 0.41, "text": "41 %, about 12 s left"})
    expect(over).to_contain_text("41 %, about 12 s left")
    bar = over.get_by_role("progressbar")
    expect(bar).to_have_attribute("aria-valuenow", "41")
    assert bar.locator("i").evaluate("bar => bar.style.width") == "41%"
    costly = {"state": "costly", "text": "≈ 4000 passes, about 95 s on this machine", "hint": "Run it now."}
    view.set(_cells=changed(view, 0, map=None, **costly), _progress={})
    expect(over).to_contain_text("≈ 4000 passes, about 95 s on this machine")
    over.get_by_role("button", name="Run now").click()
    assert view.sent[-1]["content"] == {"kind": "run", "cell": "1"}
    view.set(_cells=changed(view, 0, state="unfit", map=None, text="small has no <b>attention</b>", hint=""))
    expect(over).to_contain_text("Cannot serve this network: small has no <b>attention</b>")
    expect(over.get_by_role("button")).to_have_count(0)
    failed = {"state": "failed", "text": "the window is larger", "hint": "Change it.", "details": "Traceback"}
    view.set(_cells=changed(view, 0, map=None, **failed))
    expect(over.get_by_text("Traceback")).to_be_hidden()
    over.get_by_text("Details").click()
    expect(over.get_by_text("Traceback")).to_be_visible()
    expect(over.get_by_role("button", name="Run again")).to_be_visible()
    assert colours(pixels(view, 0)) > 100  # the picture is there, whatever state its map is in


def test_a_flat_map_says_why(view: StubView) -> None:
    told = {**view.get("_cells")[0]["map"], "reason": "flat: every channel is silent", "number": 999}
    view.set(**{told["slot"]: bytes(4 * 64 * 64)}, _cells=changed(view, 0, map=told))
    over = view.root.locator(".cw-cell-over").first
    expect(over).to_contain_text("Why is the map blank? flat: every channel is silent")


def test_cells_come_and_go_in_order(view: StubView) -> None:
    cells = view.get("_cells")
    view.set(_cells=[cells[2], cells[0], {**cells[1], "id": "9", "title": "New", "state": "waiting", "map": None}])
    settle(view)
    titles = view.root.locator(".cw-cell h3").all_inner_texts()
    assert titles == ["Grad-CAM++", "Grad-CAM", "New"]
    np.testing.assert_array_equal(canvas_pixels(frame(view, 1).locator(".cw-picture")), pixels(view, 1))
    expect(view.root.locator(".cw-made")).to_have_text("2 of 3 maps ready · 1 to come, cheap ones first")


def test_a_new_ground_draws_nothing_of_the_old(stub_page: StubPage, comparison: MethodComparison) -> None:
    view = stub_page.mount_widget(comparison)
    before = pixels(view, 0)
    other = MethodComparison(small(), photo(7), METHODS).wait()
    scene = {**other._scene, "id": 77}
    cells = [{**cell, "state": "waiting", "map": None, "facts": ""} for cell in other._cells]
    view.set(_scene=scene, _picture=other._picture, _cells=cells)
    plain = np.frombuffer(other._picture, np.uint8).reshape(scene["picture"]["height"], scene["picture"]["width"], 3)
    np.testing.assert_array_equal(pixels(view, 0)[..., :3], plain)
    assert before.shape != plain.shape or changed_share(before[..., :3], plain) > 0.3
    other.close()


# ---------------------------------------------------------------------------------------------- acts


def test_curves(view: StubView) -> None:
    expect(view.root.locator(".cw-legend")).to_be_hidden()
    view.root.get_by_role("button", name="Curves for all").click()
    assert view.sent[-1]["content"] == {"kind": "curves"}
    down = {"x": CURVE["x"], "y": [0.9, 0.2, 0.1], "auc": 0.35}
    view.set(_cells=changed(view, 1, curve={"state": "done", "text": "", "insertion": CURVE, "deletion": down}))
    expect(view.root.locator(".cw-legend")).to_have_count(1)
    expect(view.root.locator(".cw-legend")).to_be_visible()
    plot = view.root.locator(".cw-curve").nth(1)
    expect(plot).to_contain_text("insertion ↑ 0.550")
    expect(plot).to_contain_text("deletion ↓ 0.350")
    assert [plot.locator(f".cw-curve-{kind}").get_attribute("points") for kind in ("insertion", "deletion")] == [
        "0.00,88.89 50.00,33.33 100.00,0.00",
        "0.00,0.00 50.00,77.78 100.00,88.89",
    ]  # of an axis that ends at 0.90
    view.root.locator(".cw-curve").nth(2).get_by_role("button", name="Make curve").click()
    assert view.sent[-1]["content"] == {"kind": "curves", "cell": "3"}


def test_add_a_method_with_its_parameters(view: StubView) -> None:
    menu = view.root.get_by_label("Method to add")
    menu.select_option("rise")
    about = view.root.locator(".cw-method")
    expect(about).to_contain_text("Petsiuk")
    expect(about).to_contain_text("says how long before it goes on")
    masks = about.get_by_label("masks")
    expect(masks).to_have_value("4000")
    masks.fill("250")
    view.root.get_by_role("button", name="Add", exact=True).click()
    sent = view.sent[-1]["content"]
    assert (sent["kind"], sent["method"], sent["parameters"]["masks"]) == ("add", "rise", 250)
    menu.select_option("transformer-lrp")
    expect(about.locator(".cw-why")).to_contain_text("Cannot serve this network")


def test_the_menu_of_a_cell(view: StubView, comparison: MethodComparison) -> None:
    cell = view.root.locator(".cw-cell").nth(1)
    cell.get_by_role("button", name="More about LayerCAM").click()
    expect(cell.locator(".cw-code")).to_contain_text("method='layercam'")
    cell.locator("[data-kind=curves]").click()
    assert view.sent[-1]["content"] == {"kind": "curves", "cell": "2"}
    cell.get_by_role("button", name="More about LayerCAM").click()
    cell.locator("[data-kind=remove]").click()
    assert view.sent[-1]["content"] == {"kind": "remove", "row": "2"}
    rise = {"method": "rise", "title": "RISE", "values": {"masks": 12}, "row": "7"}
    view.set(_cells=changed(view, 1, **rise))
    cell.get_by_role("button", name="More about RISE").click()
    expect(cell.get_by_label("masks")).to_have_value("12")
    cell.get_by_label("masks").fill("30")
    cell.get_by_label("keep for this network").check()
    cell.get_by_role("button", name="Apply").click()
    sent = view.sent[-1]["content"]
    assert (sent["kind"], sent["row"], sent["keep"], sent["parameters"]["masks"]) == ("set", "7", True, 30)
    view.page.keyboard.press("Escape")


def test_picture_class_and_enhanced_ask_the_kernel(view: StubView) -> None:
    view.root.locator(".cw-class").nth(2).click()
    assert view.saved[-1]["target"] == view.get("_scene")["top"][2]["index"]
    view.root.get_by_role("combobox", name="search").fill("owl")
    view.page.keyboard.press("Enter")
    assert view.saved[-1]["target"] == LABELS.index("owl")
    view.root.get_by_role("button", name="Next").click()
    assert view.saved[-1]["picture"] == "second"
    view.root.get_by_label("enhanced beside plain").check()
    view.page.wait_for_timeout(200)
    assert view.saved[-1]["enhanced"] is True
    chosen = {"name": "a.png", "mimeType": "image/png", "buffer": b"12345"}
    view.root.locator("input[type=file]").set_input_files(chosen)  # type: ignore[arg-type]
    view.wait_until("model.log.sent.length === 1")
    assert view.sent[0] == {"content": {"kind": "upload", "name": "a.png"}, "buffers": [b"12345"]}


def test_save_and_receive_a_file(view: StubView) -> None:
    for kind in ("sheet", "bundle", "html"):
        view.root.get_by_role("button", name="Save", exact=True).click()
        view.root.locator(f"[data-kind={kind}]").click()
        assert view.sent[-1]["content"] == {"kind": "save", "what": kind}
    with view.page.expect_download() as waiting:
        view.send({"kind": "file", "name": "x.zip", "type": "application/zip"}, [b"PK"])
    assert waiting.value.suggested_filename == "x.zip"


# ---------------------------------------------------------------------------------------------- form


def test_error_over_the_grid(view: StubView) -> None:
    view.set(_status={"state": "error", "text": "no picture at <b>x</b>", "hint": "Check it.", "details": "Traceback"})
    alert = view.root.get_by_role("alert")
    expect(alert).to_contain_text("no picture at <b>x</b>")
    alert.get_by_role("button", name="Dismiss").click()
    expect(alert).to_be_hidden()
    assert view.sent[-1]["content"] == {"kind": "dismiss"}


def test_empty_state_has_one_button(stub_page: StubPage, comparison: MethodComparison) -> None:
    state = {name: value for name, value in comparison.get_state().items() if name not in ("_esm", "_css")}
    view = stub_page.mount(comparison._esm, comparison._css, {**state, "_scene": {}, "picture": ""})
    view.root.get_by_role("button", name="Compare on first").click()
    assert view.saved[-1]["picture"] == "first"


def test_nothing_jumps(view: StubView) -> None:
    def places() -> Any:
        return view.root.evaluate("""root => ['grid', 'cell', 'column', 'foot', 'look', 'frame'].map(name => {
            const box = root.querySelector(`.cw-${name}`).getBoundingClientRect();
            return [box.x, box.y, box.width, box.height];
        })""")

    settle(view)
    before = places()
    hover(view, 0, 30, 30)
    view.set(_status={"state": "working", "text": "a long sentence about what runs " * 9})
    failed = {"state": "failed", "text": "words " * 60, "hint": "hint " * 20, "details": "x\n" * 40}
    view.set(_cells=changed(view, 0, map=None, **failed))
    settle(view)
    assert places() == before
    view.set(_cells=changed(view, 0, facts="words " * 40, settings="words " * 40), cut=True, zoom=3.0)
    settle(view)
    assert places() == before


@pytest.mark.parametrize(
    ("width", "columns", "beside"), [(1240, 3, True), (1600, 4, True), (860, 3, False), (600, 2, False)]
)
def test_layout(stub_page: StubPage, comparison: MethodComparison, width: int, columns: int, beside: bool) -> None:
    view = stub_page.mount_widget(comparison, width=width)
    view.set(columns=columns if columns != 2 else 4)
    settle(view)
    tops = [frame(view, i).bounding_box() for i in range(4)]
    assert sum(abs(box["y"] - tops[0]["y"]) < 1 for box in tops if box and tops[0]) == columns
    grid, column = (view.root.locator(f".cw-{name}").bounding_box() for name in ("grid", "column"))
    assert grid
    assert column
    assert (column["x"] >= grid["x"] + grid["width"]) == beside
    assert grid["width"] >= width / 2
    assert view.root.evaluate("root => root.querySelector('.cw-root').scrollWidth <= root.clientWidth + 1")


def test_pairs_stay_together(stub_page: StubPage) -> None:
    made = MethodComparison(small(), photo(1), METHODS[:3], enhanced=True, columns=3).wait()
    view = stub_page.mount_widget(made)
    settle(view)
    titles = view.root.locator(".cw-cell h3").all_inner_texts()
    assert titles[:2] == ["Grad-CAM", "Grad-CAM enhanced"]
    boxes = [frame(view, i).bounding_box() for i in range(6)]
    for plain, enhanced in zip(boxes[::2], boxes[1::2], strict=True):
        assert plain
        assert enhanced
        assert plain["y"] == pytest.approx(enhanced["y"], abs=1)
    made.close()


@pytest.mark.parametrize("dark", [False, True])
def test_text_has_the_contrast_of_wcag_aa(stub_page: StubPage, comparison: MethodComparison, dark: bool) -> None:
    view = stub_page.mount_widget(comparison, dark=dark)
    curve = {"state": "done", "text": "", "insertion": CURVE, "deletion": CURVE}
    cells = changed(view, 1, curve=curve)
    cells[0] |= {"state": "costly", "map": None, "text": "≈ 4000 passes", "hint": "Run it now"}
    cells[2] |= {"state": "failed", "map": None, "text": "a sentence", "hint": "what to do", "details": "more"}
    view.set(_cells=cells)
    view.root.locator(".cw-cell").nth(3).get_by_role("button", name="More").click()
    settle(view)
    found = view.root.evaluate(CONTRASTS)
    assert len(found) > 60
    assert [one for one in found if one["ratio"] < 4.5] == []


def test_every_control_has_a_name_and_is_reached_by_tab(view: StubView) -> None:
    nameless = view.root.evaluate("""root => [...root.querySelectorAll('button, input, select')]
        .filter(el => el.type !== 'file' && el.offsetParent)
        .filter(el => !(el.getAttribute('aria-label') || el.textContent.trim() || el.labels?.length))
        .map(el => el.outerHTML)""")
    assert nameless == []
    view.page.evaluate("() => document.body.focus()")
    reached = set()
    for _ in range(70):
        view.page.keyboard.press("Tab")
        reached.add(view.page.evaluate("() => document.activeElement.className"))
    for wanted in ("cw-frame", "cw-class", "cw-slider", "cw-select", "cw-search", "cw-button"):
        assert any(wanted in each for each in reached), wanted
    frame(view, 0).focus()
    view.page.keyboard.press("?")
    expect(view.root.get_by_text("this list")).to_be_visible()
    view.page.keyboard.press("Escape")
    expect(view.root.get_by_text("this list")).to_be_hidden()


def test_a_label_is_only_ever_text(stub_page: StubPage) -> None:
    named = MethodComparison(small(), pictures={"<img src=x onerror=alert(1)>": photo(1)}, methods=["cam"], target=3)
    view = stub_page.mount_widget(named.wait())
    settle(view)
    expect(view.root.locator(".cw-about")).to_contain_text("<script>alert(1)</script>")
    assert view.root.locator("script, img").count() == 0
    named.close()


def test_views_close_cleanly(view: StubView) -> None:
    view.destroy()
    assert view.page.evaluate("() => window.views[0].model.handlers.length") == 0
