"""Benchmark in real JupyterLab: a person chooses, runs, cancels, reads, reopens and saves."""

from __future__ import annotations

import csv
from pathlib import Path

from playwright.sync_api import Locator, expect

from tests.browser.lab import Lab
from tests.browser.pictures import keep_screenshot

CELLS = [
    "import camwidgets\nbench = camwidgets.Benchmark('toy', results='runs.sqlite')\nbench",
    "bench.wait().error",
]
FREE = """async code => {
    const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
    const future = kernel.requestExecute({ code }), said = [];
    future.onIOPub = ({ header, content }) => { if (header.msg_type === 'stream') said.push(content.text); };
    const start = performance.now();
    await future.done;
    return [said.join('').trim(), performance.now() - start];
}"""


def test_a_person_finds_out_which_method_is_better(lab: Lab, tmp_path: Path) -> None:
    lab.write_notebook("bench.ipynb", CELLS)
    lab.open_notebook("bench.ipynb")
    lab.run_all()
    root = lab.page.locator(".cw-benchmark")
    choose(root)
    read(lab, root)
    cancel_and_resume(lab, root)
    reopen(root)
    save(lab, root, tmp_path)
    lab.set_theme(dark=True)
    keep_screenshot(root, "benchmark-lab-dark")


def choose(root: Locator) -> None:
    expect(root.locator(".cw-bench-empty")).to_be_visible()
    root.get_by_label("Data set", exact=True).select_option("toyworld")
    expect(root.locator(".cw-found-set")).to_have_text("1000 pictures, 10 classes, boxes, masks", timeout=60_000)
    root.get_by_label("Grad-CAM", exact=True).uncheck()
    root.get_by_label("centre", exact=True).uncheck()
    root.get_by_label("Insertion and deletion", exact=True).uncheck()
    root.get_by_label("Pointing game", exact=True).uncheck()
    root.get_by_label("Energy in the box", exact=True).check()
    pictures(root, "6")


def pictures(root: Locator, number: str) -> None:
    root.get_by_label("Number of pictures").fill(number)
    root.get_by_label("Number of pictures").press("Tab")
    expect(root.locator(".cw-made")).to_contain_text(f"× {number} pictures")
    expect(root.locator(".cw-run")).to_be_enabled()


def read(lab: Lab, root: Locator) -> None:
    root.locator(".cw-run").click()
    expect(root.locator(".cw-run-words")).to_contain_text("6 pictures in", timeout=60_000)
    rows = root.locator(".cw-table-results tbody tr")
    expect(rows).to_have_count(2, timeout=60_000)
    # Until the run's report was read, which comes after its last picture, the table holds the numbers so far.
    said, _ = lab.page.evaluate(FREE, "print(' '.join(f'{v:.3f}' for v in bench.wait().report.table()['energy']))")
    for row, value in zip(rows.all(), said.split(), strict=True):
        expect(row.locator("td").first).to_contain_text(value)
    expect(rows.first.locator("td b")).to_have_text(said.split()[0])  # LayerCAM beats noise
    expect(root.locator(".cw-dots-dot")).to_have_count(2)
    expect(root.locator(".cw-pairing tbody")).to_contain_text("LayerCAM")
    keep_screenshot(root, "benchmark-lab-light")


def cancel_and_resume(lab: Lab, root: Locator) -> None:
    pictures(root, "300")
    root.locator(".cw-run").click()
    expect(root.locator(".cw-run-words")).to_contain_text("left", timeout=60_000)
    said, ms = lab.page.evaluate(FREE, "print(bench._progress['state'])")
    assert said == "running"
    assert ms < 5000  # the kernel is free while it works
    root.locator(".cw-cancel").click()
    expect(root.locator(".cw-run")).to_have_text("Resume", timeout=60_000)
    expect(root.locator(".cw-run-words")).to_contain_text("are kept")
    expect(root.locator(".cw-headline")).to_contain_text("cancelled")
    expect(root.locator("[data-run='2']")).to_contain_text("of 300")
    before = int(root.get_by_role("progressbar").get_attribute("aria-valuenow") or 0)
    assert 0 < before < 300
    root.locator(".cw-run").click()  # goes on
    lab.page.wait_for_function("n => Number(document.querySelector('.cw-track').getAttribute('aria-valuenow')) > n",
                               arg=before, timeout=60_000)  # fmt: skip
    root.locator(".cw-cancel").click()
    expect(root.locator(".cw-run")).to_be_enabled(timeout=60_000)
    expect(root.locator(".cw-past tbody tr")).to_have_count(2)


def reopen(root: Locator) -> None:
    past = root.locator("[data-run='1']")
    past.get_by_role("button", name="Open").click()
    expect(root.locator(".cw-headline")).to_contain_text("Run 1 · toy on toyworld seed 0 · 6 of 6 pictures")
    root.locator("[data-run='2']").get_by_role("button", name="Compare").click()
    expect(root.locator(".cw-changes h3")).to_have_text("Run 2 → run 1", timeout=60_000)
    expect(root.get_by_label("Difference of two runs").locator("tbody tr")).to_have_count(2)
    expect(root.get_by_label("What was asked differently")).to_contain_text("limit")
    other = root.locator("[data-run='2']")
    other.get_by_role("button", name="Delete").click()
    other.get_by_role("button", name="Delete").click()
    expect(root.locator(".cw-past tbody tr")).to_have_count(1)


def save(lab: Lab, root: Locator, folder: Path) -> None:
    root.locator("[data-run='1']").get_by_role("button", name="Open").click()
    expect(root.locator(".cw-headline")).to_contain_text("Run 1")
    root.get_by_role("button", name="Save", exact=True).click()
    with lab.page.expect_download(timeout=60_000) as waiting:
        root.locator("[data-kind=csv]").click()
    waiting.value.save_as(folder / "run.csv")
    with (folder / "run.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert {row["method"] for row in rows} == {"LayerCAM", "random"}
