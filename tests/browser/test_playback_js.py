"""Playback's front end in Chromium with a stub in the kernel's place: scrubbing, playing, pictures, curves, states."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Locator, expect

from camwidgets import Playback
from camwidgets.figures.overlay import overlay
from camwidgets.learning.run import open_run
from tests.browser.pictures import canvas_pixels, changed_share, colours
from tests.browser.stub import StubPage, StubView
from tests.browser.test_explorer_js import CONTRASTS, FRAMES
from tests.playback_runs import write_run


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("runs")
    return write_run(root / "oaa"), write_run(root / "oaa++", epochs=4, seed=2)


@pytest.fixture(scope="module")
def playback(folders: tuple[Path, Path]) -> Iterator[Playback]:
    made = Playback(folders[0], epoch=3).wait()
    yield made
    made.close()


@pytest.fixture
def view(stub_page: StubPage, playback: Playback) -> StubView:
    mounted = stub_page.mount_widget(playback)
    settle(mounted)
    return mounted


def settle(view: StubView) -> None:
    view.page.evaluate(FRAMES)


def cell(view: StubView, layer: str, run: int = 0) -> Locator:
    return view.root.locator(".cw-pb-run").nth(run).locator(f"[data-layer='{layer}']")


def pixels(view: StubView, layer: str, run: int = 0) -> np.ndarray:
    settle(view)
    return canvas_pixels(cell(view, layer, run).locator(".cw-picture"))


def facts(view: StubView, layer: str, run: int = 0) -> str:
    settle(view)
    return cell(view, layer, run).locator(".cw-pb-cell-line").inner_text()


def drawn(folder: Path, epoch: int, id: str, c: int, layer: str) -> np.ndarray:
    """What Python draws of a map."""
    import torch

    run = open_run(folder)
    maps = run.maps(epoch, id, layer)
    assert maps is not None
    large = torch.nn.functional.interpolate(torch.from_numpy(maps)[None], (96, 96), mode="bilinear")[0, c].numpy()
    return np.asarray(overlay(run.picture(id), large, "inferno", 1.0, "even"), int)


# ---------------------------------------------------------------------------------------------- drawing



def test_maps_are_drawn_as_python_would(view: StubView, folders: tuple[Path, Path]) -> None:
    view.set(opacity=1.0)
    for epoch, picture, label, c in ((3, "a", "dog", 1), (6, "b", "dog", 1), (1, "c", "bird", 2)):
        view.set(epoch=epoch, picture=picture, label=label)
        for layer in ("current", "cumulative"):
            asked = drawn(folders[0], epoch, picture, c, layer)
            assert (
                np.abs(pixels(view, layer)[..., :3] - asked).max() <= 12
            )  # 8 bits before enlarging, then a colour table
        np.testing.assert_array_equal(pixels(view, "picture")[..., :3], open_run(folders[0]).picture(picture))


def test_what_was_dropped_is_striped_and_the_rest_is_the_picture(view: StubView, folders: tuple[Path, Path]) -> None:
    run = open_run(folders[0])
    dropped = run.maps(3, "a", "dropped")
    assert dropped is not None
    gone = np.kron(dropped[0], np.ones((8, 8))) > 0.5
    shown = pixels(view, "dropped")[..., :3]
    np.testing.assert_array_equal(shown[~gone], run.picture("a")[~gone])
    assert {tuple(one) for one in shown[gone].tolist()} == {(112, 112, 112), (144, 144, 144)}
    assert facts(view, "dropped") == f"{100 * gone.mean():.1f} % blanked"


def test_the_outline_is_that_of_the_class(view: StubView) -> None:
    def place() -> tuple[float, float]:
        lines = canvas_pixels(cell(view, "current").locator(".cw-lines"))
        ys, xs = np.nonzero(lines[..., 3])
        return ys.mean() / lines.shape[0] * 96, xs.mean() / lines.shape[1] * 96

    view.set(epoch=3, label="cat")
    settle(view)
    assert place() == pytest.approx((35, 45), abs=1)
    view.set(label="dog")
    settle(view)
    assert place() == pytest.approx((75, 25), abs=1)
    view.root.get_by_label("outline of the true mask").uncheck()
    settle(view)
    assert not canvas_pixels(cell(view, "current").locator(".cw-lines"))[..., 3].any()
    view.set(picture="b", label="dog")
    settle(view)
    expect(view.root.get_by_label("outline of the true mask")).to_be_disabled()


def test_each_map_by_its_own_maximum(view: StubView) -> None:
    faint = view.get("_maps0")
    view.set(_maps0=bytes(value // 4 for value in faint), opacity=1.0)
    settle(view)
    fixed = pixels(view, "current")[..., :3].astype(int)
    view.root.get_by_role("radio", name="each its own").check()
    own = pixels(view, "current")[..., :3].astype(int)
    assert view.get("scale") == "own"
    assert own.max() > fixed.max() + 60
    expect(view.root.locator(".cw-scale")).to_contain_text("of each map's maximum")


# ---------------------------------------------------------------------------------------------- time


def test_scrubbing_asks_the_kernel_nothing(view: StubView) -> None:
    seen = []
    slider = view.root.get_by_label("Epoch that is shown")
    for at in (1, 4, 6):
        slider.fill(str(at))
        settle(view)
        seen.append(pixels(view, "current"))
        expect(view.root.locator(".cw-words")).to_have_text(f"after epoch {at} · “cat”")
    assert changed_share(seen[0], seen[1]) > 0.1
    assert changed_share(seen[1], seen[2]) > 0.05
    assert view.sent == []
    view.wait_until("model.log.saved.length && model.log.saved.at(-1).epoch === 6")  # when the hand rests: Python knows
    slider.fill("0")
    settle(view)
    told = cell(view, "cumulative").locator(".cw-pb-missing")
    expect(told).to_have_text("none yet at epoch 0: the first is of epoch 1")
    assert view.root.locator(".cw-words").inner_text() == "before training · “cat”"


def test_playing_walks_to_the_end_and_begins_again(view: StubView) -> None:
    view.set(epoch=4, speed=16.0)
    settle(view)
    view.root.get_by_role("button", name="Play").click()
    view.wait_until("model.get('epoch') === 6 && el.querySelector('.cw-pb-play').textContent === 'Play'")
    view.set(speed=1.0)
    view.root.get_by_role("button", name="Play").click()
    view.wait_until("model.get('epoch') < 6")
    view.root.get_by_role("button", name="Pause").click()
    at = view.get("epoch")
    view.page.wait_for_timeout(1200)
    assert view.get("epoch") == at


def test_keys(view: StubView) -> None:
    view.set(epoch=3, picture="a", label="cat")
    settle(view)
    view.root.get_by_role("button", name="Copy code").focus()
    press = view.page.keyboard.press
    press("ArrowRight")
    assert view.get("epoch") == 4
    press("ArrowLeft")
    press("ArrowLeft")
    assert view.get("epoch") == 2
    press("End")
    assert view.get("epoch") == 6
    press("Home")
    assert view.get("epoch") == 0
    press("c")
    assert view.get("label") == "dog"
    press("]")
    assert (view.get("picture"), view.get("label")) == ("b", "dog")
    press("[")
    press("[")
    assert (view.get("picture"), view.get("label")) == ("c", "bird")
    press("o")
    assert view.get("outline") is False
    press("t")
    assert view.sent[-1]["content"]["kind"] == "tree"
    press("?")
    expect(view.root.locator("dl.cw-keys")).to_be_visible()
    press("Escape")
    expect(view.root.locator("dl.cw-keys")).to_be_hidden()
    cell(view, "current").locator(".cw-frame").focus()
    press("ArrowRight")
    expect(view.root.locator(".cw-words")).to_contain_text("at (49, 48)")
    assert view.get("epoch") == 0
    view.root.locator(".cw-frame").first.focus()
    press(" ")
    view.wait_until("model.get('epoch') > 0")


def test_a_click_on_a_curve_is_an_epoch(view: StubView) -> None:
    plot = view.root.locator(".cw-pb-plot-box").first
    plot.scroll_into_view_if_needed()
    place = plot.bounding_box()
    assert place
    for epoch in (2, 5):
        x = 40 + (place["width"] - 52) * epoch / 6
        plot.click(position={"x": x + 3, "y": 70})
        settle(view)
        assert view.get("epoch") == epoch
        cursor = float(str(view.root.locator(".cw-pb-plot-cursor").first.get_attribute("x1")))
        assert cursor == pytest.approx(x, abs=1)
    assert view.root.locator("[data-metric='recall'] b").first.inner_text() == "0.500"
    expect(view.root.locator(".cw-pb-plot polyline[data-metric='recall']").first).to_have_attribute("data-points", "6")
    view.root.get_by_role("button", name="Choose curves").click()
    view.root.locator(".cw-pb-plot-part .cw-panel").get_by_label("noise").uncheck()
    settle(view)
    assert view.get("curves") == ["recall"]
    expect(view.root.locator(".cw-pb-plots [data-metric='noise']")).to_have_count(0)


# ---------------------------------------------------------------------------------------------- pictures


def test_pictures_classes_and_values(view: StubView, folders: tuple[Path, Path]) -> None:
    before = pixels(view, "picture")
    view.root.get_by_role("button", name="c: bird").click()
    settle(view)
    assert (view.get("picture"), view.get("label")) == ("c", "bird")
    assert changed_share(before, pixels(view, "picture")) > 0.3
    view.root.get_by_role("button", name="a: cat, dog").click()
    view.root.locator(".cw-pb-labels [data-label='dog']").click()
    settle(view)
    assert view.get("label") == "dog"
    frame = cell(view, "picture").locator(".cw-frame").bounding_box()
    assert frame
    view.page.mouse.move(frame["x"] + frame["width"] * 44.5 / 96, frame["y"] + frame["height"] * 36.5 / 96)
    settle(view)
    maps = open_run(folders[0]).maps(view.get("epoch"), "a")
    assert maps is not None
    said = float(cell(view, "current").locator(".cw-pb-cell-value").inner_text())
    assert said == pytest.approx(maps[1, 36 // 8, 44 // 8], abs=0.008)
    view.root.get_by_role("checkbox", name="dropped").uncheck()
    settle(view)
    assert view.get("layers") == ["picture", "current", "cumulative"]
    expect(view.root.locator("[data-layer='dropped']")).to_have_count(0)


def test_maps_that_are_not_here_yet_are_waited_for(view: StubView) -> None:
    reels = view.get("_reels")
    view.set(_reels=[one for one in reels if one["id"] == "a"])
    settle(view)
    view.root.get_by_role("button", name="c: bird").click()
    settle(view)
    expect(cell(view, "current").locator(".cw-pb-missing")).to_have_text("reading …")
    assert colours(pixels(view, "picture")) > 100
    view.wait_until("model.log.saved.some(one => one.picture === 'c')")  # the kernel hears of it
    view.set(_reels=reels)
    settle(view)
    expect(cell(view, "current").locator(".cw-pb-missing")).to_be_hidden()


def test_two_runs_in_two_rows(stub_page: StubPage, folders: tuple[Path, Path]) -> None:
    playback = Playback(folders[0], folders[1], epoch=6, opacity=1.0).wait()
    view = stub_page.mount_widget(playback)
    playback.close()
    expect(view.root.locator(".cw-pb-run")).to_have_count(2)
    for run, epoch in ((0, 6), (1, 4)):
        asked = drawn(folders[run], epoch, "a", 0, "cumulative")
        assert np.abs(pixels(view, "cumulative", run)[..., :3] - asked).max() <= 12
    assert facts(view, "cumulative", 1).startswith("epoch 4: ")
    expect(view.root.locator(".cw-pb-plot-legend").first).to_contain_text("solid: oaa, dashed: oaa++")
    expect(view.root.locator(".cw-pb-plot-legend [data-metric='recall'] b").first).to_have_text("0.600 | –")
    view.root.get_by_role("radio", name="the other run").check()
    view.root.get_by_role("button", name="Compare trees").click()
    assert view.sent[-1]["content"]["asked"]["against"] == "other"


# ---------------------------------------------------------------------------------------------- trees


def test_trees_are_asked_for_shown_and_never_stale(view: StubView, playback: Playback) -> None:
    view.set(epoch=3, picture="a", label="cat", since=0)
    settle(view)
    expect(view.root.locator(".cw-pb-tree-words")).to_contain_text("epoch 0 and epoch 3, compared. Not made yet")
    view.root.get_by_role("button", name="Compare trees").click()
    assert view.sent[-1]["content"] == {
        "kind": "tree", "dark": False,
        "asked": {"picture": "a", "label": "cat", "epoch": 3, "since": 0, "against": "since"},
    }  # fmt: skip
    key = ["since", 0, 3, "a", "cat"]
    view.set(_tree={"state": "working", "text": "growing …", "share": 0.4, "key": key})
    settle(view)
    expect(view.root.locator(".cw-pb-trees [role='progressbar']")).to_have_attribute("aria-valuenow", "40")
    view.root.locator(".cw-pb-trees").get_by_role("button", name="Cancel").click()
    assert view.sent[-1]["content"] == {"kind": "cancel"}
    playback.epoch, playback.picture, playback.label = 3, "a", "cat"
    playback.tree_diff(since=0).wait()
    words = playback._tree
    view.set(_tree=words)
    settle(view)
    boxes = view.root.locator(".cw-pb-diff-box")
    assert boxes.count() == sum(len(column["channels"]) for column in words["columns"])
    expect(view.root.locator(".cw-pb-tree-words")).to_contain_text("“cat”, epoch 0 → epoch 3")
    view.root.get_by_role("radio", name="epoch 3").check()
    expect(view.root.locator(".cw-pb-tree-board img")).to_be_visible()
    image = view.root.locator(".cw-pb-tree-board img")
    assert image.evaluate("async img => { await img.decode(); return img.naturalWidth }") > 300
    view.set(epoch=4)
    settle(view)
    expect(view.root.locator(".cw-pb-tree-result")).to_be_hidden()
    view.set(epoch=3)
    settle(view)
    expect(view.root.locator(".cw-pb-tree-result")).to_be_visible()
    view.set(_tree={"state": "failed", "text": "weights of another network", "key": key})
    settle(view)
    expect(view.root.locator(".cw-pb-tree-failed .cw-pb-tree-words")).to_have_text("weights of another network")
    view.set(since=3)
    settle(view)
    expect(view.root.get_by_role("button", name="Compare trees")).to_be_disabled()


# ---------------------------------------------------------------------------------------------- states


STATES: dict[str, tuple[dict[str, Any], str]] = {
    "no-run": ({"_runs": [], "_epochs": [], "_pictures": [], "_reels": []}, "There is no run in this folder yet"),
    "no-epoch": ({"_epochs": [], "_reels": []}, "No epoch is there yet"),
}


@pytest.mark.parametrize("name", list(STATES))
def test_empty_states_say_what_comes_and_offer_a_look(stub_page: StubPage, view: StubView, name: str) -> None:
    traits, words = STATES[name]
    view.set(**traits)
    settle(view)
    expect(view.root.locator(".cw-pb-run-empty")).to_contain_text(words)
    expect(view.root.locator(".cw-pb-time")).to_be_hidden()
    view.root.get_by_role("button", name="Look again").click()
    assert view.sent[-1]["content"] == {"kind": "look"}
    stub_page.screenshot(f"playback-{name}", view.root)


def test_a_run_without_watched_pictures_shows_its_curves(view: StubView) -> None:
    run = {**view.get("_runs")[0], "watched": 0}
    view.set(_runs=[run], _epochs=[], _pictures=[], _reels=[])
    settle(view)
    expect(view.root.locator(".cw-pb-run-empty")).to_contain_text("watched no pictures")
    expect(view.root.get_by_role("button", name="Look again")).to_be_hidden()
    expect(view.root.locator(".cw-pb-plot polyline").first).to_be_visible()


def test_failures_and_work_are_told(stub_page: StubPage, view: StubView) -> None:
    run = {**view.get("_runs")[0], "damaged": ["epoch 2: no readable file of arrays"], "left_out": 3}
    view.set(_runs=[run], _status={"state": "working", "text": "reading maps: epoch 2 of 7 …"})
    settle(view)
    expect(view.root.locator(".cw-busy")).to_have_text("reading maps: epoch 2 of 7 …")
    expect(view.root.locator(".cw-pb-warning")).to_contain_text(
        "oaa: epoch 2: no readable file of arrays · oaa: 3 epochs are left out"
    )
    view.root.locator("header").get_by_role("button", name="Cancel").click()
    assert view.sent[-1]["content"] == {"kind": "cancel"}
    view.set(
        _status={"state": "error", "text": "'run.json' is damaged", "hint": "What was read before stays on screen."}
    )
    settle(view)
    expect(view.root.get_by_role("alert")).to_contain_text("'run.json' is damaged")
    assert colours(pixels(view, "current")) > 20
    stub_page.screenshot("playback-failed", view.root)
    view.root.get_by_role("button", name="Dismiss").click()
    assert view.sent[-1]["content"] == {"kind": "dismiss"}


def test_a_saved_page_plays_without_a_kernel(stub_page: StubPage, playback: Playback, tmp_path: Path) -> None:
    page, errors = stub_page.page.context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    playback.picture = "a"
    playback.to_html(tmp_path / "page.html")
    page.goto((tmp_path / "page.html").as_uri())
    page.evaluate(FRAMES)
    canvas = page.locator("[data-layer='current'] .cw-picture")
    before = canvas_pixels(canvas)
    page.get_by_label("Epoch that is shown").fill("6")
    page.evaluate(FRAMES)
    assert changed_share(before, canvas_pixels(canvas)) > 0.05
    for name in ("Save page", "Compare trees", "Cancel"):
        expect(page.get_by_role("button", name=name).first).to_be_hidden()
    expect(page.get_by_label("follow")).to_be_hidden()
    assert errors == []
    page.close()


@pytest.mark.parametrize(("width", "dark"), [(1240, False), (1240, True), (700, False), (560, True)])
def test_looks(stub_page: StubPage, folders: tuple[Path, Path], width: int, dark: bool) -> None:
    """Nothing is cut off, everything can be read, in both themes and at all widths; kept to be looked at."""
    playback = Playback(folders[0], folders[1] if width != 1240 or dark else None, epoch=4).wait()
    playback.tree_diff(since=1, dark=dark).wait()
    view = stub_page.mount_widget(playback, width=width, dark=dark)
    playback.close()
    settle(view)
    stub_page.screenshot(f"playback-{width}-{'dark' if dark else 'light'}", view.root)
    assert view.root.evaluate("root => root.scrollWidth <= root.clientWidth")
    weak = [one for one in view.root.evaluate(CONTRASTS) if one["ratio"] < 4.5]
    assert weak == []


def test_views_close_cleanly(view: StubView) -> None:
    view.root.get_by_role("button", name="Play").click()
    view.destroy()
    assert view.page.evaluate("() => window.views[0].model.handlers.length") == 0


@pytest.mark.parametrize(
    ("values", "ticks"),
    [([120, 200], ["120", "160", "200"]), ([0, 20], ["0", "10", "20"]), ([0, 3e10], ["0", "1.5e+10", "3.0e+10"]),
     ([0.25, 0.35], ["0", "0.5", "1"])],
)  # fmt: skip
def test_the_axis_says_its_numbers_whole(view: StubView, values: list[float], ticks: list[str]) -> None:
    """Zeros go behind the point only: 200 is no 2."""
    run = view.get("_runs")[0]
    metrics = {"epoch": [1, 2], "recall": values, "noise": values, "total": values}
    view.set(_runs=[{**run, "metrics": {**run["metrics"], **metrics}}])
    settle(view)
    beside = view.root.locator(".cw-pb-plot").first.locator(".cw-pb-plot-tick[text-anchor='end']:not(:text('epoch'))")
    assert beside.all_text_contents() == ticks


# ---------------------------------------------------------------------------------------------- following


def another_epoch(view: StubView, reels: list[dict[str, Any]]) -> None:
    """The kernel has found one more epoch: the maps of the last, once more."""
    view.set(_epochs=[*view.get("_epochs"), view.get("_epochs")[-1] + 1], _reels=reels)
    settle(view)


def test_a_new_epoch_takes_nothing_from_the_hand(view: StubView) -> None:
    reels = view.get("_reels")
    frame = cell(view, "current").locator(".cw-frame")
    frame.focus()
    another_epoch(view, reels)
    expect(frame).to_be_focused()
    slider = view.root.get_by_label("Epoch that is shown")
    expect(slider).to_have_attribute("max", "7")
    slider.scroll_into_view_if_needed()
    place = slider.bounding_box()
    assert place
    mouse, y = view.page.mouse, place["y"] + place["height"] / 2
    mouse.move(place["x"] + place["width"] * 3 / 7, y)
    mouse.down()
    mouse.move(place["x"] + place["width"] * 4 / 7, y)
    settle(view)
    assert view.get("epoch") == 4
    another_epoch(view, reels)
    expect(slider).to_have_attribute("max", "7")  # a thumb that moved away would be dragged to another epoch
    mouse.move(place["x"] + place["width"] * 4 / 7 + 1, y)
    settle(view)
    assert view.get("epoch") == 4
    mouse.up()
    expect(slider).to_have_attribute("max", "8")
    assert view.get("epoch") == 4


def test_who_leaves_the_last_epoch_is_heard_at_once(view: StubView) -> None:
    """While the hand moves changes are held back; the kernel, which thinks that the last is looked at, would go on."""
    view.set(epoch=6)
    settle(view)
    slider = view.root.get_by_label("Epoch that is shown")
    told = """slider => { const model = window.views[%d].model;
        const put = (at) => { slider.value = at; slider.dispatchEvent(new Event('input')); };
        put(4); const first = model.log.saved.length; put(3); return [first, model.log.saved.length]; }"""
    before = len(view.saved)
    first, second = slider.evaluate(told % view._index)
    assert (first - before, second - first) == (1, 0)
    assert view.saved[-1]["epoch"] == 4


def test_an_echo_of_an_earlier_change_does_not_take_back_what_the_hand_did_since(view: StubView) -> None:
    """What was sent when the hand rested comes back from a busy kernel when the hand has moved on."""
    slider = view.root.get_by_label("Epoch that is shown")
    put = "slider.value = 4; slider.dispatchEvent(new Event('input'));"
    slider.evaluate(f"slider => {{ {put} window.views[{view._index}].model.receive({{ epoch: 2 }}); }}")
    view.wait_until("model.log.saved.length")
    settle(view)
    assert (view.saved[-1]["epoch"], view.get("epoch"), slider.input_value()) == (4, 4, "4")


def test_a_first_look_says_what_is_awaited(view: StubView, stub_page: StubPage) -> None:
    run = {**view.get("_runs")[0], "curves": [], "metrics": {"epoch": []}, "text": "oaa · 0 of 6 epochs · training"}
    view.set(_runs=[run], _epochs=[0], epoch=0, curves=[])
    settle(view)
    expect(view.root.locator(".cw-pb-plots")).to_contain_text("The first row comes with the end of the first epoch.")
    expect(view.root.locator(".cw-made")).to_contain_text("1 epoch,")
    view.set(_runs=[], _epochs=[], _pictures=[], _reels=[], follow=True, _note="There is no run in runs/oaa yet; it …")
    settle(view)
    expect(view.root.locator(".cw-pb-run-empty")).to_contain_text("There is no run in runs/oaa yet")
    expect(view.root.locator(".cw-pb-run-empty")).to_contain_text("looking each second")
    expect(view.root.get_by_role("button", name="Look again")).to_be_hidden()
    expect(view.root.locator(".cw-pb-warning")).to_be_hidden()


def test_a_killed_training_is_told_with_what_to_do(view: StubView) -> None:
    words = {"text": "oaa · 2 of 6 epochs · killed", "hint": "the same training with resume goes on"}
    view.set(_runs=[{**view.get("_runs")[0], **words}])
    settle(view)
    expect(view.root.locator(".cw-pb-about")).to_contain_text("killed")
    expect(view.root.locator(".cw-pb-warning")).to_contain_text("oaa: the same training with resume goes on")


def test_the_epoch_slider_has_room_at_480_pixels(stub_page: StubPage, playback: Playback) -> None:
    view = stub_page.mount_widget(playback, width=480)
    settle(view)
    place = view.root.get_by_label("Epoch that is shown").bounding_box()
    assert place
    assert place["width"] > 280
    assert view.root.evaluate("root => root.scrollWidth <= root.clientWidth")
    stub_page.screenshot("playback-480-light", view.root)
