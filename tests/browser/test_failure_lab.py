"""FailureExplorer in real JupyterLab: from the gallery to a cause and a check of that cause, by hand."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

import camwidgets
from camwidgets import FailureExplorer
from camwidgets.investigate import open_bundle
from tests.browser.lab import Lab
from tests.browser.pictures import canvas_pixels, changed_share, keep_screenshot
from tests.browser.test_benchmark_lab import FREE

SHORTCUT = """import camwidgets
from camwidgets.datasets.toyworld import ToyWorld

explorer = camwidgets.FailureExplorer("toy-shortcut", ToyWorld(seed=5, n=60, context="swap"))
explorer"""
LITE0 = """import camwidgets

lite0, cat = camwidgets.load("efficientnet_lite0"), camwidgets.samples.picture("cat")
explorer = camwidgets.FailureExplorer(lite0, [(cat, "Samoyed"), (cat, "tiger cat")], radius=20.0)
explorer"""
WAIT = 120_000
PROBE = "document.querySelector('.cw-failures').cw"
LOG = "explorer.log['cases'][0]['edits']['edits']"


def test_from_the_gallery_to_a_cause_and_its_check(lab: Lab, tmp_path: Path) -> None:
    lab.write_notebook("failures.ipynb", [SHORTCUT, "explorer.wait().error"])
    lab.page.set_viewport_size({"width": 1440, "height": 1900})  # the whole of it is seen
    lab.open_notebook("failures.ipynb")
    lab.run_all()
    root = lab.page.locator(".cw-failures")
    gallery(root)
    one_failure(root)
    cause(lab, root)
    check(root)
    log_and_bundle(lab, root, tmp_path)
    looks(lab, root)


def gallery(root: Locator) -> None:
    expect(root.locator(".cw-fail-headline")).to_contain_text("of 60 misclassified", timeout=WAIT)
    expect(root.locator(".cw-fail-card")).to_have_count(12)
    cell = root.locator("[data-cell]:not(.cw-fail-right *)").first
    count = int(cell.inner_text())
    cell.click()
    expect(root.locator(".cw-fail-card")).to_have_count(count)
    expect(cell).to_have_attribute("aria-pressed", "true")
    root.get_by_role("button", name="show all").click()
    expect(root.locator(".cw-fail-card")).to_have_count(12)


def one_failure(root: Locator) -> None:
    # A picture on rails, taken for what runs on rails: duck → train.
    card = root.locator(".cw-fail-card", has_text="→ train").first
    card.click()
    expect(card).to_have_attribute("aria-pressed", "true")
    expect(root.locator(".cw-fail-title")).to_have_text(re.compile("taken for train"))
    expect(root.locator(".cw-fail-row")).to_have_count(12, timeout=WAIT)
    expect(root.locator(".cw-fail-tree svg")).to_have_count(2, timeout=WAIT)
    assert root.locator(".cw-fail-tree image").count() > 10
    assert len(canvas_pixels(root.locator(".cw-fail-frame canvas").first)) == 96


def cause(lab: Lab, root: Locator) -> None:
    first = root.locator(".cw-fail-row").first
    expect(first).to_contain_text("rails")  # its name
    before = canvas_pixels(root.locator(".cw-fail-frame canvas").first)
    first.locator(".cw-fail-pick").click()
    expect(root.locator(".cw-fail-caption")).to_contain_text("where it speaks for “train”", timeout=WAIT)
    expect(root.get_by_role("button", name="Find what excites it")).to_be_visible()
    assert changed_share(before, canvas_pixels(root.locator(".cw-fail-frame canvas").first)) > 0.1
    root.get_by_role("button", name="Find what excites it").click()
    expect(root.locator(".cw-fail-patch")).to_have_count(6, timeout=WAIT)


def check(root: Locator) -> None:
    root.get_by_role("button", name="they were off").click()
    expect(root.locator(".cw-fail-verdict")).not_to_have_attribute("data-kind", "working", timeout=WAIT)
    expect(root.locator(".cw-fail-row.cw-fail-off")).to_have_count(12)
    root.get_by_role("button", name="on again").click()
    expect(root.locator(".cw-fail-row.cw-fail-off")).to_have_count(0)
    # Everything but the object, from another picture: what was around it is gone.
    root.get_by_role("radio", name="Object").check()
    root.get_by_role("radio", name="Background").check()
    duck = root.locator(".cw-fail-title").inner_text().split()[0]
    options = root.get_by_label("Background taken from").locator("option")
    assert options.count() > 3
    other = options.filter(has_text=f"{duck} (").first.inner_text()
    root.get_by_label("Background taken from").select_option(label=other)
    root.get_by_role("button", name="Apply to the object").click()
    expect(root.locator(".cw-fail-steps li[data-state=now]")).to_contain_text("before another background", timeout=WAIT)
    expect(root.locator(".cw-fail-verdict")).to_have_attribute(
        "data-kind", re.compile("same|flipped|back"), timeout=WAIT
    )
    root.get_by_role("radio", name="before | after").check()
    expect(root.locator(".cw-fail-tree figcaption").nth(1)).to_contain_text("after", timeout=WAIT)
    root.get_by_role("button", name="Undo").click()
    expect(root.locator(".cw-fail-steps li[data-state=undone]")).to_have_count(1)


def log_and_bundle(lab: Lab, root: Locator, folder: Path) -> None:
    root.locator(".cw-fail-steps button").first.click()
    expect(root.locator(".cw-fail-steps li[data-state=now]")).to_have_text("the picture as it was")
    expect(root.locator(".cw-fail-verdict")).to_have_attribute("data-kind", "none")
    root.locator(".cw-fail-steps button").last.click()
    expect(root.locator(".cw-fail-steps li[data-state=now]")).to_contain_text("before another background")
    expect(root.locator(".cw-fail-verdict")).to_have_attribute(
        "data-kind", re.compile("same|flipped|back"), timeout=WAIT
    )
    with lab.page.expect_download(timeout=WAIT) as waiting:
        root.get_by_role("button", name="Save bundle").click()
    file = folder / "failures.zip"
    waiting.value.save_as(file)
    said, _ = lab.page.evaluate(FREE, f"print(explorer.effect.after, explorer.chosen, len({LOG}))")
    after, chosen, steps = said.split()
    assert set(open_bundle(file).pages) == {chosen}
    again = FailureExplorer.from_bundle(file).wait()
    assert again.check() == []
    assert again.effect is not None
    assert (again.effect.after, str(again.chosen), str(len(again._log) - 1)) == (after, chosen, steps)
    again.close()


def looks(lab: Lab, root: Locator) -> None:
    keep_screenshot(root, "failure-lab-light")
    lab.set_theme(dark=True)
    keep_screenshot(root, "failure-lab-dark")


def drag(page: Page, frame: Locator, points: list[tuple[float, float]]) -> None:
    box = frame.bounding_box()
    assert box is not None
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*at[0])
    page.mouse.down()
    for x, y in at[1:]:
        page.mouse.move(x, y, steps=4)
    page.mouse.up()


def test_a_stroke_on_a_photograph_is_answered(lab: Lab, record_property: Callable[[str, object], None]) -> None:
    """EfficientNet-Lite0: strokes are drawn while dragging, sent at release, answered; how fast is put on record."""
    lab.write_notebook("stroke.ipynb", [LITE0, "explorer.choose(0).wait().error"])
    lab.open_notebook("stroke.ipynb")
    lab.run_all()
    root = lab.page.locator(".cw-failures")
    frame = root.locator(".cw-fail-frame")
    expect(root.locator(".cw-fail-tree svg")).to_have_count(2, timeout=WAIT)
    frame.scroll_into_view_if_needed()
    before = canvas_pixels(frame.locator("canvas").first)
    times = []
    for i in range(6):
        drag(lab.page, frame, [(0.2, 0.15 + 0.1 * i), (0.5, 0.2 + 0.1 * i), (0.8, 0.15 + 0.1 * i)])
        expect(root.locator(".cw-fail-steps li")).to_have_count(i + 2)
        lab.page.wait_for_function(f"() => {PROBE}.ms !== null && {PROBE}.pending === null", timeout=WAIT)
        times.append(round(lab.page.evaluate(f"() => {PROBE}.ms")))
    record_property("click_to_drawn_ms", times)
    print("release to drawn, ms:", times)
    assert changed_share(before, canvas_pixels(frame.locator("canvas").first)) > 0.2
    said, _ = lab.page.evaluate(FREE, f"print(explorer.effect.after, '|', len({LOG}))")
    after, count = said.split(" | ")
    assert count == "6"
    expect(root.locator(".cw-fail-verdict")).to_contain_text(after)
    keep_screenshot(root, "failure-lab-stroke")
    assert camwidgets.load("efficientnet_lite0").labels.count(after) >= 1
