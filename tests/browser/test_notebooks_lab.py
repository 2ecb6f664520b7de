"""Every lesson in real JupyterLab: opened, run to its end, its pictures there."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.lab import Lab
from tests.browser.pictures import canvas_pixels, changed_share, colours
from tests.test_notebooks import NOTEBOOKS


@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_lesson_runs_from_top_to_bottom(lab: Lab, path: Path) -> None:
    lab.open_notebook(path)
    lab.run_all(timeout=540)  # a minute or two on a machine that does nothing else
    pictures = [output for output in lab.outputs() if "image/png" in output.get("data", {})]
    assert pictures
    lab.screenshot(path.stem)


def test_the_first_lesson_opens_on_an_explorer_that_works(lab: Lab) -> None:
    lab.open_notebook(next(path for path in NOTEBOOKS if path.name.startswith("01_")))
    lab.run_all(timeout=240)
    root = lab.page.locator(".cw-root").first
    expect(root.locator(".cw-caption").first).to_contain_text("%", timeout=60_000)
    canvas = root.locator(".cw-picture").first
    canvas.scroll_into_view_if_needed()
    before = canvas_pixels(canvas)
    assert colours(before) > 1000
    root.locator(".cw-card").nth(4).click()  # S5 off
    expect(root.locator(".cw-made")).to_contain_text("S4+S3")
    assert changed_share(before, canvas_pixels(canvas)) > 0.05
