"""MethodComparison in real JupyterLab: cells fill, hands are linked, curves on demand, a page without a kernel."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from camwidgets import Explanation
from tests.browser.lab import Lab
from tests.browser.pictures import canvas_pixels, changed_share, colours, keep_screenshot
from tests.browser.test_explorer_lab import FRAMES, IN_KERNEL

MADE = "camwidgets.MethodComparison('toy', methods=['gradcam', 'layercam', 'groupcam'], steps=16)"
CELLS = ["import camwidgets", f"comparison = {MADE}\ncomparison"]


class Person:
    """The comparison on a page: in an open notebook, or in a file."""

    def __init__(self, page: Page) -> None:
        self.page, self.root = page, page.locator(".cw-comparison")

    def frame(self, number: int) -> Locator:
        return self.root.locator(".cw-frame").nth(number)

    def pixels(self, number: int) -> np.ndarray:
        self.page.evaluate(FRAMES)
        return canvas_pixels(self.frame(number).locator(".cw-picture"))

    def ready(self, words: str) -> None:
        expect(self.root.locator(".cw-made")).to_contain_text(words, timeout=90_000)
        self.page.evaluate(FRAMES)

    def python(self, code: str) -> str:
        return str(self.page.evaluate(IN_KERNEL, code)).strip()

    def hover(self, number: int, x: float, y: float) -> list[str]:
        """The values of all maps there, as said above them."""
        self.frame(number).scroll_into_view_if_needed()
        place = self.frame(number).bounding_box()
        assert place
        self.page.mouse.move(place["x"] + place["width"] * x, place["y"] + place["height"] * y)
        self.page.evaluate(FRAMES)
        return self.root.locator(".cw-cell-value").all_inner_texts()


@pytest.fixture
def person(lab: Lab) -> Person:
    lab.write_notebook("comparison.ipynb", CELLS)
    lab.open_notebook("comparison.ipynb")
    lab.run_all()
    found = Person(lab.page)
    found.ready("3 of 3 maps ready")
    return found


def test_a_person_compares(person: Person, lab: Lab, tmp_path: Path, browser: Browser) -> None:
    look_and_read(person)
    lab.screenshot("comparison-light", person.root)
    zoom_and_cut_out(person)
    add_and_follow(person)
    lab.screenshot("comparison-curves", person.root)
    another_class_and_picture(person)
    take_away(person, tmp_path, browser)


def look_and_read(person: Person) -> None:
    assert all(colours(person.pixels(i)) > 1000 for i in range(3))
    assert changed_share(person.pixels(0), person.pixels(1)) > 0.05
    said = person.hover(1, 0.5, 0.25)
    code = "import json; print(json.dumps([float(e.map[24, 48]) for e in comparison.explanations.values()]))"
    wanted = json.loads(person.python(code))
    assert [float(one) for one in said] == pytest.approx(wanted, abs=0.006)


def zoom_and_cut_out(person: Person) -> None:
    root, before = person.root, [person.pixels(i) for i in range(3)]
    root.get_by_label("Zoom of all maps").fill("4")
    assert all(changed_share(before[i], person.pixels(i)) > 0.2 for i in range(3))
    root.get_by_label("Zoom of all maps").fill("1")
    root.get_by_label("Share of pixels that each map keeps").fill("0.1")
    assert all(changed_share(before[i], person.pixels(i)) > 0.5 for i in range(3))
    person.page.wait_for_timeout(300)
    assert person.python("print(comparison.cut, comparison.share)") == "True 0.1"
    assert person.python("comparison.cut = False") == ""
    expect(root.get_by_label("cut out")).not_to_be_checked()
    np.testing.assert_array_equal(person.pixels(1), before[1])


def add_and_follow(person: Person) -> None:
    root = person.root
    root.get_by_label("Method to add").select_option("rise")
    root.locator(".cw-method").get_by_label("masks").fill("200")
    root.get_by_role("button", name="Add", exact=True).click()
    person.ready("4 of 4 maps ready")
    assert colours(person.pixels(3)) > 1000
    expect(root.locator(".cw-cell").nth(3)).to_contain_text("201 forward")
    root.get_by_role("button", name="Curves for all").click()
    expect(root.locator(".cw-curve-there")).to_have_count(4, timeout=90_000)
    points = root.locator(".cw-curve-insertion[data-points]")
    assert [one.get_attribute("data-points") for one in points.all()] == ["17"] * 4
    said = float(root.locator(".cw-curve-areas span").first.inner_text().split()[-1])
    assert said == pytest.approx(float(person.python("print(comparison.to_frame()['insertion'].iloc[0])")), abs=6e-4)


def another_class_and_picture(person: Person) -> None:
    root, before = person.root, person.pixels(0)
    label = root.locator(".cw-class .cw-label").nth(2).inner_text()
    root.locator(".cw-class").nth(2).click()
    expect(root.locator(".cw-about")).to_contain_text(label, timeout=30_000)
    person.ready("4 of 4 maps ready")
    root.get_by_role("button", name="Next").click()
    expect(root.locator(".cw-about")).not_to_contain_text(label, timeout=30_000)
    person.ready("4 of 4 maps ready")
    after = person.pixels(0)
    assert before.shape != after.shape or changed_share(before, after) > 0.3
    root.get_by_label("Path of a picture").fill("/no/such/picture.jpg")
    person.page.keyboard.press("Enter")
    expect(root.get_by_role("alert")).to_contain_text("no picture or folder at '/no/such/picture.jpg'")
    root.get_by_role("button", name="Dismiss").click()


def take_away(person: Person, folder: Path, browser: Browser) -> None:
    person.root.locator(".cw-cell").first.locator("button", has_text="More").click()
    person.root.locator(".cw-cell").first.locator("[data-kind=curves]").click()
    expect(person.root.locator(".cw-curve-there")).to_have_count(1, timeout=60_000)
    saved: dict[str, Path] = {}
    for kind in ("bundle", "html"):
        person.root.get_by_role("button", name="Save", exact=True).click()
        with person.page.expect_download() as waiting:
            person.root.locator(f"footer [data-kind={kind}]").click()
        saved[kind] = folder / kind
        waiting.value.save_as(saved[kind].with_suffix("." + waiting.value.suggested_filename.rsplit(".")[-1]))
    with zipfile.ZipFile(folder / "bundle.zip") as archive:
        archive.extractall(folder)
    loaded = Explanation.load(folder / "comparison" / "layercam")
    code = "print(float(comparison.explanations['layercam'].map.sum()))"
    assert float(loaded.map.sum()) == pytest.approx(float(person.python(code)))
    alone(folder / "html.html", [person.pixels(i) for i in range(4)], browser)


def alone(file: Path, shown: list[np.ndarray], browser: Browser) -> None:
    """The page with no kernel and no network: the same pictures; hover, zoom and cut-out are still linked."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000}, offline=True)
    requests: list[str] = []
    errors: list[str] = []
    page = context.new_page()
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(file.as_uri())
    reader = Person(page)
    reader.ready("4 of 4 maps ready")
    for i in range(4):
        np.testing.assert_array_equal(reader.pixels(i), shown[i])
    assert all(0 <= float(one) <= 1 for one in reader.hover(2, 0.4, 0.6))
    for act in (
        lambda: page.get_by_label("Zoom of all maps").fill("3"),
        lambda: page.get_by_label("Share of pixels").fill("0.3"),
        lambda: page.get_by_role("radio", name="blurred").check(),
    ):
        before = [reader.pixels(i) for i in range(4)]
        act()
        assert all(changed_share(before[i], reader.pixels(i), tolerance=3) > 0.02 for i in range(4))
    expect(page.locator(".cw-curve-there")).to_have_count(1)
    page.get_by_role("button", name="More").first.click()
    expect(page.locator(".cw-cell .cw-code").first).to_contain_text("camwidgets.explain(")
    expect(page.get_by_role("button", name="Save", exact=True)).to_be_hidden()
    keep_screenshot(page, "comparison-page")
    assert requests == [file.as_uri()]
    assert errors == []
    context.close()


def test_dark_theme_and_reload(person: Person, lab: Lab) -> None:
    lab.set_theme(dark=True)
    person.page.evaluate(FRAMES)
    lab.screenshot("comparison-dark", person.root)
    before = [person.pixels(i) for i in range(3)]
    lab.save()
    lab.reload()
    again = Person(lab.page)
    again.ready("3 of 3 maps ready")
    for i in range(3):  # maps that came after the view was shown are there as well
        np.testing.assert_array_equal(again.pixels(i), before[i])
    again.root.locator(".cw-class").nth(1).click()
    expect(again.root.locator(".cw-class").nth(1)).to_have_attribute("aria-pressed", "true", timeout=30_000)
    again.ready("3 of 3 maps ready")
