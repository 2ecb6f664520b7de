"""AdversarialExplorer in real JupyterLab, along the thesis' story (5.3.2): attack, drag ε, see it flip, ask why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from playwright.sync_api import Locator, expect

from camwidgets.investigate import open_bundle
from tests.browser.lab import Lab
from tests.browser.pictures import canvas_pixels, changed_share, keep_screenshot
from tests.browser.test_benchmark_lab import FREE

CELLS = [
    "import camwidgets\nfrom camwidgets.datasets.toyworld import ToyWorld\n"
    "scenes = ToyWorld(seed=1, n=4)\n"
    "def bad(model, x, y):\n    return x * float('nan')\n"
    "explorer = camwidgets.AdversarialExplorer('toy', scenes[1].image, attacks={'bad': bad}, steps=5)\nexplorer",
    "explorer.wait().error",
]
MINUTES = 240_000


def test_a_person_finds_out_how_thin_a_decision_is(lab: Lab, tmp_path: Path) -> None:
    lab.write_notebook("adversarial.ipynb", CELLS)
    lab.open_notebook("adversarial.ipynb")
    lab.run_all()
    root = lab.page.locator(".cw-adversarial")
    attack(lab, root)
    drag(lab, root)
    why(lab, root)
    cancel(lab, root)
    fail(lab, root)
    save(lab, root, tmp_path)
    lab.set_theme(dark=True)
    keep_screenshot(root, "adversarial-lab-dark")


def say(lab: Lab, code: str) -> str:
    """What the kernel prints."""
    said, _ = lab.page.evaluate(FREE, code)
    return str(said)


def hears(lab: Lab, code: str, wanted: str) -> None:
    """The kernel hears of what is looked at once the hand rests."""
    for _ in range(100):
        said = say(lab, code)
        if said == wanted:
            return
        lab.page.wait_for_timeout(50)
    assert said == wanted


def attack(lab: Lab, root: Locator) -> None:
    expect(root.locator(".cw-adv-ready")).to_contain_text("Taken for car", timeout=60_000)
    root.locator(".cw-adv-ready").get_by_role("button", name="Attack").click()
    expect(root.locator(".cw-eps-bar .cw-adv-finding")).to_contain_text("car becomes", timeout=MINUTES)
    expect(root.locator(".cw-adv-run-words")).to_contain_text("Done in")
    flip = say(lab, "print(round(255 * explorer.sweep.flip, 2))")
    expect(root.locator(".cw-eps-value")).to_have_text(f"ε = {float(flip):.3g}/255")  # it opens on the flip
    at = say(lab, "print(explorer._sweep['flip'])")
    assert root.locator(".cw-eps-flip").get_attribute("data-at") == at
    expect(root.locator(".cw-adv-run-why")).not_to_contain_text("Attack again")
    keep_screenshot(root, "adversarial-lab-light")


def drag(lab: Lab, root: Locator) -> None:
    slider, attacked = root.locator(".cw-eps"), root.locator(".cw-adv-picture canvas").nth(1)
    slider.scroll_into_view_if_needed()
    place = slider.bounding_box()
    assert place
    y = place["y"] + place["height"] / 2
    lab.page.mouse.move(place["x"] + place["width"] / 2, y)
    lab.page.mouse.down()
    lab.page.mouse.move(place["x"] + 2, y, steps=8)
    expect(root.locator(".cw-eps-value")).to_have_text("ε = 0")
    expect(root.locator(".cw-adv-class").first).to_have_attribute("data-of", "true")
    clean, noise = canvas_pixels(attacked), canvas_pixels(root.locator(".cw-adv-picture canvas").nth(2))
    assert len(np.unique(noise[..., :3])) == 1  # grey: nothing was changed
    lab.page.mouse.move(place["x"] + place["width"] - 2, y, steps=8)
    lab.page.mouse.up()
    expect(root.locator(".cw-eps-value")).to_have_text("ε = 8/255")
    expect(root.locator(".cw-adv-class").first).to_have_attribute("data-of", "wrong")
    found = canvas_pixels(attacked)
    assert np.abs(found[..., :3].astype(int) - clean[..., :3]).max() in (7, 8)
    expect(root.locator(".cw-adv-legend")).to_be_visible()
    root.get_by_role("radio", name="wrong class").check()
    before = canvas_pixels(root.locator(".cw-adv-grid canvas").nth(9))
    slider.focus()
    lab.page.keyboard.press("Home")
    expect(root.locator(".cw-eps-value")).to_have_text("ε = 0")
    assert changed_share(before, canvas_pixels(root.locator(".cw-adv-grid canvas").nth(9))) > 0.02
    lab.page.keyboard.press("End")
    expect(root.locator(".cw-eps-value")).to_have_text("ε = 8/255")


def why(lab: Lab, root: Locator) -> None:
    new = root.locator(".cw-adv-box[data-kind='gained']").first
    name = new.get_attribute("data-name") or ""
    new.click()
    expect(root.locator(".cw-adv-channel h4")).to_contain_text(name)
    pictures = [canvas_pixels(root.locator(".cw-adv-channel canvas").nth(i)) for i in (0, 1)]
    # It answers in the attacked picture, and did not in the clean one.
    assert changed_share(pictures[0], pictures[1]) > 0.02
    wrong = say(lab, "print(explorer.rival.label)")
    hears(lab, "print(explorer.channel, explorer.index, explorer.diff.after.label)", f"{name} 8 {wrong}")


def cancel(lab: Lab, root: Locator) -> None:
    root.get_by_label("Steps of PGD").fill("900")
    root.get_by_label("Steps of PGD").press("Tab")
    expect(root.locator(".cw-adv-run-why")).to_contain_text("Of other settings than those chosen now (steps)")
    root.locator(".cw-adv-run").click()
    expect(root.locator(".cw-adv-run-words")).to_contain_text("left", timeout=MINUTES)
    said, ms = lab.page.evaluate(FREE, "print(explorer._progress['state'])")
    assert said == "running"
    assert ms < 30_000  # the kernel is free while it works
    root.locator(".cw-adv-stop").click()
    expect(root.locator(".cw-adv-run-words")).to_contain_text("below is the one from before", timeout=MINUTES)
    expect(root.locator(".cw-eps-value")).to_have_text("ε = 8/255")


def fail(lab: Lab, root: Locator) -> None:
    root.get_by_label("Steps of PGD").fill("5")
    root.get_by_label("Steps of PGD").press("Tab")
    expect(root.locator(".cw-adv-run-why")).not_to_contain_text("Attack again")
    root.get_by_role("combobox", name="Attack").select_option("bad")
    root.locator(".cw-adv-run").click()
    notice = root.locator(".cw-notice")
    expect(notice).to_contain_text("the attack bad returned NaN or infinite pixels", timeout=MINUTES)
    expect(notice).to_contain_text("What was there before stays.")
    keep_screenshot(root, "adversarial-lab-failed")
    notice.get_by_role("button", name="Dismiss").click()
    expect(notice).to_be_hidden()
    root.get_by_role("combobox", name="Attack").select_option("pgd")
    expect(root.locator(".cw-adv-run-why")).not_to_contain_text("Attack again")


def save(lab: Lab, root: Locator, folder: Path) -> None:
    root.get_by_role("button", name="Save", exact=True).click()
    with lab.page.expect_download(timeout=MINUTES) as waiting:
        root.locator("[data-kind=bundle]").click()
    waiting.value.save_as(folder / "found.zip")
    kept = open_bundle(folder / "found.zip")
    assert kept.config["true"] == "car"
    found = canvas_pixels(root.locator(".cw-adv-picture canvas").nth(1))[..., :3]
    np.testing.assert_array_equal(kept.pictures["attacked 08"], found)
