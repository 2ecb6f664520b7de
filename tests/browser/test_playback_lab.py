"""Playback in real JupyterLab: scrub, play, another picture and class, a click on a curve, trees, cancel, follow."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.lab import Lab
from tests.browser.pictures import canvas_pixels, changed_share, colours
from tests.browser.test_explorer_lab import FRAMES, IN_KERNEL
from tests.playback_runs import write_epoch, write_run

# The second cell's second widget waits in the middle of growing a tree until the test lets it go on.
SLOW = """
import threading
from camwidgets.widgets.playback import work as playback_work
gate, real = threading.Event(), playback_work.compared
def slow(sides, tell):
    tell("growing the tree of epoch 0 …", 0.4)
    gate.wait(60)
    return real(sides, tell)
playback_work.compared = slow
"""


class Person:
    """The playback in an open notebook."""

    def __init__(self, page: Page) -> None:
        self.page, self.root = page, page.locator(".cw-playback")

    def canvas(self, layer: str, run: int = 0) -> Locator:
        return self.root.locator(".cw-pb-run").nth(run).locator(f"[data-layer='{layer}'] .cw-picture")

    def pixels(self, layer: str, run: int = 0) -> np.ndarray:
        self.page.evaluate(FRAMES)
        return canvas_pixels(self.canvas(layer, run))

    def python(self, code: str) -> str:
        return str(self.page.evaluate(IN_KERNEL, code)).strip()

    def ready(self) -> None:
        expect(self.root.locator(".cw-made")).to_contain_text("in the browser", timeout=90_000)
        self.page.evaluate(FRAMES)

    def told(self, expression: str, wanted: str) -> None:
        """Python knows, as soon as the hand's change has come to it."""
        for _ in range(100):
            if self.python(f"print({expression})") == wanted:
                return
            self.page.wait_for_timeout(100)
        assert self.python(f"print({expression})") == wanted


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_run(tmp_path / "oaa", epochs=4)


@pytest.fixture
def person(lab: Lab, folder: Path, tmp_path: Path) -> Person:
    other = write_run(tmp_path / "oaa++", epochs=4, seed=2)
    made = f"playback = camwidgets.Playback({str(folder)!r}, other={str(other)!r})\nplayback"
    lab.write_notebook("playback.ipynb", ["import camwidgets", made])
    lab.open_notebook("playback.ipynb")
    lab.run_all()
    found = Person(lab.page)
    found.ready()
    return found


def test_a_person_looks_at_a_training(person: Person, lab: Lab, folder: Path) -> None:
    scrub_and_play(person)
    lab.screenshot("playback-light", person.root)
    another_picture_and_class(person)
    click_a_curve(person)
    trees(person)
    lab.screenshot("playback-trees", person.root)
    trees_that_are_ended(person)
    follow(person, folder)
    expect(person.root.locator(".cw-busy")).to_have_text("")
    lab.set_theme(dark=True)
    person.page.evaluate(FRAMES)
    lab.screenshot("playback-dark", person.root)


def scrub_and_play(person: Person) -> None:
    root, last = person.root, person.pixels("current")
    assert colours(last) > 500
    assert changed_share(last, person.pixels("current", 1)) > 0.1
    root.get_by_label("Epoch that is shown").fill("1")
    assert changed_share(last, person.pixels("current")) > 0.1
    person.told("playback.epoch", "1")
    root.get_by_role("button", name="Play").click()
    expect(root.locator(".cw-words")).to_contain_text("after epoch 4", timeout=30_000)
    np.testing.assert_array_equal(person.pixels("current"), last)
    person.told("playback.epoch", "4")
    assert person.python("playback.epoch = 2") == ""
    expect(root.locator(".cw-words")).to_contain_text("after epoch 2")


def another_picture_and_class(person: Person) -> None:
    root, before = person.root, person.pixels("cumulative")
    root.locator("[data-label='dog']").click()
    assert changed_share(before, person.pixels("cumulative")) > 0.1
    person.told("playback.label", "dog")
    root.get_by_role("button", name="c: bird").click()
    assert changed_share(before, person.pixels("picture")) > 0.3
    person.told("playback.picture, playback.label", "c bird")
    frame = root.locator("[data-layer='current'] .cw-frame").first
    frame.scroll_into_view_if_needed()
    place = frame.bounding_box()
    assert place
    person.page.mouse.move(place["x"] + place["width"] * 0.55, place["y"] + place["height"] * 0.45)
    person.page.evaluate(FRAMES)
    said = float(root.locator("[data-layer='current'] .cw-pb-cell-value").first.inner_text())
    wanted = float(person.python("print(float(playback.map()[5, 6]))"))
    assert said == pytest.approx(wanted, abs=0.01)


def click_a_curve(person: Person) -> None:
    plot = person.root.locator(".cw-pb-plot-box").first
    plot.scroll_into_view_if_needed()
    place = plot.bounding_box()
    assert place
    plot.click(position={"x": 40 + (place["width"] - 52) * 0.75, "y": 60})
    expect(person.root.locator(".cw-words")).to_contain_text("after epoch 3")
    person.told("playback.epoch", "3")


def trees(person: Person) -> None:
    root = person.root
    root.get_by_role("button", name="Compare trees").click()
    expect(root.locator(".cw-pb-tree-words")).to_contain_text("epoch 0 → epoch 3", timeout=120_000)
    shown = root.locator(".cw-pb-diff-box").count()
    code = "import json; print(json.dumps([len(playback.diff.channels), playback.diff.distance]))"
    channels, distance = json.loads(person.python(code))
    assert 6 <= shown <= channels
    expect(root.locator(".cw-pb-tree-words")).to_contain_text(f"distance {distance:.2f}")
    root.get_by_role("radio", name="the other run").check()
    expect(root.locator(".cw-pb-tree-result")).to_be_hidden()
    root.get_by_role("button", name="Compare trees").click()
    expect(root.locator(".cw-pb-tree-words")).to_contain_text("oaa, epoch 3 → oaa++, epoch 3", timeout=120_000)


def trees_that_are_ended(person: Person) -> None:
    root = person.root
    assert person.python(SLOW) == ""
    root.get_by_role("radio", name="an earlier epoch").check()
    root.get_by_label("Epoch to compare with").select_option("1")
    root.get_by_role("button", name="Compare trees").click()
    expect(root.locator(".cw-pb-tree-words")).to_contain_text("growing the tree of epoch 0", timeout=60_000)
    root.locator(".cw-pb-trees").get_by_role("button", name="Cancel").click()
    expect(root.locator(".cw-pb-tree-words")).to_contain_text("Cancelled.", timeout=60_000)
    assert person.python("gate.set(); playback_work.compared = real") == ""
    person.told("playback.wait()._tree['state']", "none")


def follow(person: Person, folder: Path) -> None:
    root = person.root
    root.get_by_role("button", name="a: cat, dog").click()
    root.get_by_label("Epoch that is shown").fill("4")
    person.told("playback.epoch", "4")
    root.get_by_label("follow").check()
    person.told("playback.follow", "True")
    write_epoch(folder, 5)
    expect(root.locator(".cw-words")).to_contain_text("after epoch 5", timeout=60_000)
    assert colours(person.pixels("current")) > 500
    root.get_by_label("follow").uncheck()
    person.told("playback.follow", "False")
