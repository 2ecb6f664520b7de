"""Benchmark's front end in Chromium with a stub in the kernel's place: what is asked, tables, dots, runs, states."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from camwidgets import Benchmark
from tests.browser.pictures import keep_screenshot
from tests.browser.stub import StubPage, StubView
from tests.browser.test_explorer_js import CONTRASTS, FRAMES

METHODS = ["gradcam", "layercam", "centre", "random"]


@pytest.fixture(scope="module")
def bench() -> Iterator[Benchmark]:
    """Two runs of the toy world on record, the second on screen."""
    made = Benchmark("toy", "toyworld", methods=METHODS, tests=["energy", "pointing"], limit=4).wait()
    made.run().wait()
    made.limit = 8
    made.run().wait()
    assert made.error is None
    assert made.report is not None
    assert made.report.pictures == 8
    yield made
    made.close()


@pytest.fixture
def view(stub_page: StubPage, bench: Benchmark) -> StubView:
    return mounted(stub_page, bench)


def mounted(page: StubPage, bench: Benchmark, **how: Any) -> StubView:
    view = page.mount_widget(bench, **how)
    settle(view)
    return view


def settle(view: StubView) -> None:
    view.page.evaluate(FRAMES)


def messages(view: StubView, kind: str) -> list[dict[str, Any]]:
    return [one["content"] for one in view.sent if one["content"]["kind"] == kind]


def first_column(view: StubView) -> list[str]:
    return [text.split("\n")[0] for text in rows(view).locator("th").all_inner_texts()]


def rows(view: StubView) -> Locator:
    return view.root.locator(".cw-table-results tbody tr")



# ---------------------------------------------------------------------------------------------- results


def test_the_table_says_the_numbers_of_the_report(view: StubView, bench: Benchmark) -> None:
    report = bench.report
    assert report is not None
    middle, (low, high) = report.table(), report.intervals()
    for at, title in enumerate(report.methods):
        cells = rows(view).nth(at).locator("td")
        for column, name in enumerate(report.results):
            words = cells.nth(column).inner_text().split()
            wanted = [float(frame[name][title]) for frame in (middle, low, high)]
            assert [words[0], words[1], words[3]] == [f"{value:.3f}" for value in wanted]
    bold = {
        (row, column)
        for row in range(len(METHODS))
        for column in range(len(report.results))
        if rows(view).nth(row).locator("td").nth(column).locator("b").count()
    }
    best = {
        (row, column)
        for column, name in enumerate(report.results)
        for row, value in enumerate(middle[name])
        if value == middle[name].max()
    }
    assert bold == best


def test_a_head_sorts_best_first_then_turns_then_lets_go(view: StubView, bench: Benchmark) -> None:
    assert bench.report is not None
    column = bench.report.table()["energy"].sort_values(ascending=False)
    head = view.root.locator(".cw-table-results th button", has_text="energy")
    head.click()
    assert first_column(view) == list(column.index)
    expect(view.root.locator(".cw-table-results th[aria-sort=descending]")).to_have_count(1)
    view.page.keyboard.press("Enter")  # the head is focused still
    assert first_column(view) == list(column.index)[::-1]
    head.click()
    assert first_column(view) == bench.report.methods


def test_dots_lie_where_the_numbers_say(view: StubView, bench: Benchmark) -> None:
    assert bench.report is not None
    view.root.locator(".cw-table-results th button", has_text="pointing-100").click()  # chooses the figure's result
    expect(view.root.locator(".cw-figure select")).to_have_value("pointing-100")
    known = bench.report.table()["pointing-100"]
    dots = view.root.locator(".cw-dots-dot").evaluate_all(
        "dots => dots.map(dot => [dot.dataset.method, Number(dot.dataset.value), Number(dot.getAttribute('cx'))])"
    )
    assert [value for _, value, _ in dots] == pytest.approx(sorted(known, reverse=True))
    assert {name: value for name, value, _ in dots} == pytest.approx(known.to_dict())
    (_, top, x_top), (_, least, x_least) = dots[0], dots[-1]
    for _, value, x in dots:  # linear between the ends
        assert (x - x_least) / (x_top - x_least) == pytest.approx((value - least) / (top - least), abs=1e-6)
    assert view.root.locator(".cw-dots-range").count() == len(METHODS)


def test_two_methods_are_asked_for_and_drawn(view: StubView) -> None:
    part = view.root.locator(".cw-pairing")
    part.locator("select").nth(1).select_option("random")
    assert messages(view, "pair")[-1] == {"kind": "pair", "a": "Grad-CAM", "b": "random"}
    expect(part.locator("table")).to_be_hidden()  # the other two's numbers are not shown for these
    row = {"result": "energy", "title": "mass", "arrow": "↑", "difference": 0.25, "low": 0.125, "high": 0.5,
           "better": "Grad-CAM"}  # fmt: skip
    even = row | {"result": "pointing", "difference": -0.1, "low": -0.3, "high": 0.1, "better": ""}
    view.set(_pair={"a": "Grad-CAM", "b": "random", "rows": [row, even], "problem": ""})
    lines = part.locator("tbody tr")
    assert lines.nth(0).inner_text().split("\t") == ["energy ↑", "+0.250", "+0.125 … +0.500", "Grad-CAM"]
    assert lines.nth(1).inner_text().split("\t") == ["pointing ↑", "−0.100", "−0.300 … +0.100", "not told apart"]
    assert lines.nth(0).locator("b").count() == 1
    assert lines.nth(1).locator("b").count() == 0


def test_what_failed_is_listed_as_text(view: StubView) -> None:
    report = dict(view.get("_report"))
    report |= {"skips": 1, "skipped": [["<b>a.png</b>", "is no picture"]],
               "failed": [{"method": "CAM", "test": "energy", "error": "no head", "count": 3}]}  # fmt: skip
    view.set(_report=report)
    part = view.root.locator(".cw-troubles")
    expect(part.locator("summary")).to_have_text("1 picture skipped, 1 failure of methods")
    part.locator("summary").click()
    assert part.locator("li").all_inner_texts() == [
        "CAM failed on 3 pictures (energy): no head", "skipped <b>a.png</b>: is no picture",
    ]  # fmt: skip


# ---------------------------------------------------------------------------------------------- asking


def test_choices_become_traits(view: StubView) -> None:
    view.root.get_by_label("RISE", exact=True).check()
    view.root.get_by_label("LayerCAM enhanced").check()
    view.root.get_by_label("random", exact=True).uncheck()
    view.root.get_by_label("Pointing game", exact=True).uncheck()
    view.root.get_by_label("Localisation: threshold").fill("0.3")
    view.root.get_by_label("Localisation: threshold").press("Tab")
    view.root.get_by_label("Number of pictures").fill("")
    view.root.get_by_label("Number of pictures").press("Tab")
    view.root.locator(".cw-segment", has_text="the prediction").click()
    assert view.get("methods") == ["gradcam", "layercam", "centre", "rise"]
    assert view.get("enhanced") == ["layercam"]
    assert view.get("tests") == ["energy"]
    assert view.get("parameters") == {"localisation": {"threshold": 0.3}}
    assert view.get("limit") is None
    assert view.get("target") == "predicted"
    view.wait_until("model.log.saved.length > 0")


def test_a_path_is_found_by_enter_and_what_was_found_is_said(view: StubView) -> None:
    view.root.get_by_label("Path of a data set").fill(" /data/birds ")
    view.root.get_by_label("Path of a data set").press("Enter")
    assert view.saved[-1] == {"data": "/data/birds"}
    view.set(_found={"name": "birds", "text": "125 pictures, 40 classes, boxes, no masks", "pictures": 125,
                     "boxes": True, "masks": False})  # fmt: skip
    settle(view)
    expect(view.root.locator(".cw-found-set")).to_have_text("125 pictures, 40 classes, boxes, no masks")


def test_a_test_that_cannot_be_served_says_why(view: StubView) -> None:
    tests = [dict(one) for one in view.get("_tests")]
    for one in tests:
        one["why"] = "needs boxes; this data set has none" if "boxes" in one["needs"] else ""
    view.set(_tests=tests, tests=[])
    settle(view)
    energy = view.root.locator("[data-test=energy]")
    expect(energy.locator("input[type=checkbox]")).to_be_disabled()
    expect(energy).to_contain_text("needs boxes; this data set has none")
    expect(view.root.locator("[data-test=insertion-deletion] input[type=checkbox]")).to_be_enabled()


def test_a_run_is_followed_and_cancelled_and_nothing_jumps(view: StubView) -> None:
    table = view.root.locator(".cw-table-results")
    before = table.bounding_box()
    view.root.get_by_role("button", name="Run", exact=True).click()
    asked = messages(view, "run")[0]["asked"]  # what was chosen goes with it: changes may be held back
    assert [asked["methods"], asked["limit"], asked["results"]] == [METHODS, 8, ""]
    view.set(_progress={"state": "running", "done": 3, "total": 12, "rate": 0.5, "left": 18.0, "seconds": 6.0})
    expect(view.root.locator(".cw-run-words")).to_have_text("3 of 12 pictures · 30.0 pictures/min · 18 s left")
    expect(view.root.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "3")
    expect(view.root.get_by_label("Network", exact=True)).to_be_disabled()
    expect(view.root.get_by_role("button", name="Run", exact=True)).to_be_disabled()
    view.root.locator(".cw-table-results th button").first.focus()
    view.page.keyboard.press("x")
    assert messages(view, "cancel")
    view.set(_progress={"state": "cancelled", "done": 4, "total": 12, "rate": 0.5, "left": 16.0, "seconds": 8.0})
    expect(view.root.get_by_role("button", name="Resume")).to_be_enabled()
    view.set(code="another request")
    expect(view.root.locator(".cw-run")).to_have_text("Run")
    assert table.bounding_box() == before
    view.set(_progress={"state": "running", "done": 5, "total": 12, "rate": 0.5, "left": 14.0, "seconds": 10.0})
    keep_screenshot(view.root, "benchmark-working")


def test_a_problem_keeps_run_from_being_pressed(view: StubView) -> None:
    view.set(problem="toyworld has no labels")
    expect(view.root.locator(".cw-run-why")).to_have_text("Cannot run yet: toyworld has no labels.")
    expect(view.root.locator(".cw-run")).to_be_disabled()


def test_runs_are_opened_compared_set_again_and_deleted_only_when_sure(view: StubView) -> None:
    old = view.root.locator("[data-run='1']")
    old.get_by_role("button", name="Open").click()
    old.get_by_role("button", name="Compare").click()
    old.get_by_role("button", name="Set again").click()
    assert messages(view, "show") == [{"kind": "show", "run": 1}, {"kind": "show", "run": 2, "before": 1}]
    assert messages(view, "again") == [{"kind": "again", "run": 1}]
    old.get_by_role("button", name="Delete").click()
    assert not messages(view, "delete")
    view.page.keyboard.press("Escape")
    expect(old.get_by_role("alertdialog")).to_have_count(0)
    old.get_by_role("button", name="Delete").click()
    expect(old.get_by_role("button", name="Keep")).to_be_focused()
    old.get_by_role("button", name="Delete").click()
    assert messages(view, "delete") == [{"kind": "delete", "run": 1}]
    expect(view.root.locator("[data-run='2']").get_by_role("button", name="Compare")).to_be_disabled()


def test_two_runs_are_drawn_beside_each_other(view: StubView, bench: Benchmark) -> None:
    bench.show(2, before=1).wait()
    try:
        view.set(_change=bench._change)
    finally:
        bench.show(2).wait()
    part = view.root.locator(".cw-changes")
    expect(part.locator("h3")).to_have_text("Run 1 → run 2")
    assert part.get_by_label("Difference of two runs").locator("tbody tr").count() == len(METHODS)
    expect(part).to_contain_text("pictures of both runs")
    asked = part.get_by_label("What was asked differently").locator("tbody tr")
    assert {row.inner_text().split("\t")[0] for row in asked.all()} == {"pictures", "limit"}
    assert asked.first.inner_text().split("\t") == ["pictures", "4", "8"]
    keep_screenshot(view.root, "benchmark-compare")
    same = dict(view.get("_change")) | {"settings": []}
    view.set(_change=same)
    expect(part).to_contain_text("Nothing was asked differently.")


def test_an_error_is_a_sentence_and_escape_puts_it_away(view: StubView) -> None:
    view.set(_status={"state": "error", "text": "there is no data set at 'x'", "hint": "", "details": "Traceback"})
    note = view.root.locator(".cw-notice")
    keep_screenshot(view.root, "benchmark-error")
    expect(note.locator(".cw-sentence")).to_have_text("there is no data set at 'x'")
    assert note.locator("details").get_attribute("open") is None
    view.root.locator(".cw-sort").first.focus()
    view.page.keyboard.press("Escape")
    expect(note).to_be_hidden()


def test_nothing_on_record_says_what_to_do(stub_page: StubPage) -> None:
    bench = Benchmark("toy").wait()
    try:
        view = mounted(stub_page, bench)
    finally:
        bench.close()
    expect(view.root.locator(".cw-bench-empty")).to_contain_text("press Run")
    expect(view.root.locator(".cw-run-why")).to_contain_text("no data set was chosen")
    expect(view.root.locator(".cw-bench-empty")).not_to_contain_text("on record")  # there is none
    keep_screenshot(view.root, "benchmark-empty")
    view.root.get_by_role("button", name="Choose the toy world").click()
    assert view.get("data") == "toyworld"
    expect(view.root.get_by_role("button", name="Choose the toy world")).to_be_hidden()


def test_what_run_would_do_stands_beside_it(stub_page: StubPage) -> None:
    bench = Benchmark("toy", "toyworld", methods=["layercam", "random"], tests=["energy"], limit=6).wait()
    try:
        view = mounted(stub_page, bench)
    finally:
        bench.close()
    words = view.root.locator(".cw-run-words")
    expect(words).to_have_text("Ready: 2 methods × 1 test × 6 pictures · toy · toyworld seed 0")
    expect(view.root.locator(".cw-list-head").first).to_contain_text("2 chosen")
    expect(view.root.locator(".cw-list-head").last).to_contain_text("1 of ")
    view.root.get_by_label("Pointing game", exact=True).check()
    view.set(code="…")  # the kernel has heard of it
    settle(view)
    expect(words).to_contain_text("2 methods × 2 tests")
    keep_screenshot(view.root, "benchmark-ready")


def test_past_runs_can_be_opened_at_480_pixels(stub_page: StubPage, bench: Benchmark) -> None:
    """What can be done with a run is not beyond the edge, and no column is lost but the words that say when."""
    view = mounted(stub_page, bench, width=480)
    width = view.root.evaluate("root => root.getBoundingClientRect().right")
    for button in view.root.locator(".cw-past tbody button").all():
        place = button.bounding_box()
        assert place
        assert place["x"] + place["width"] <= width
    assert view.root.evaluate("root => root.scrollWidth <= root.clientWidth")
    keep_screenshot(view.root, "benchmark-light-480")


def test_mosaics_fit_and_engine_are_asked_for(view: StubView) -> None:
    view.root.get_by_role("radio", name="middle").check()
    view.root.get_by_label("Number of mosaics").fill("12")
    view.root.get_by_label("Number of mosaics").press("Tab")
    expect(view.root.get_by_label("Number of workers")).to_be_hidden()
    view.root.get_by_role("radio", name="Ray").check()
    expect(view.root.get_by_label("Number of workers")).to_be_visible()
    view.root.get_by_label("Number of workers").fill("3")
    view.root.get_by_label("Number of workers").press("Tab")
    assert [view.get(name) for name in ("fit", "mosaics", "engine", "workers")] == ["crop", 12, "ray", 3]
    expect(view.root.locator(".cw-made")).to_contain_text("48 cells of 12 mosaics")
    view.root.get_by_role("button", name="Run", exact=True).click()
    asked = messages(view, "run")[-1]["asked"]
    assert [asked[name] for name in ("fit", "mosaics", "engine", "workers")] == ["crop", 12, "ray", 3]
    view.root.get_by_label("Number of mosaics").fill("")
    view.root.get_by_label("Number of mosaics").press("Tab")
    assert view.get("mosaics") is None


def test_parameters_that_are_words(view: StubView) -> None:
    layers = view.root.get_by_label("Cascading randomisation: layers")
    expect(layers).to_have_value("all")
    layers.fill("head+S5")
    layers.press("Tab")
    assert view.get("parameters") == {"cascading": {"layers": "head+S5"}}
    seed = view.root.get_by_label("Cascading randomisation: seed")
    seed.fill("4")
    seed.press("Tab")
    assert view.get("parameters") == {"cascading": {"layers": "head+S5", "seed": 4}}
    layers.fill(" ")
    layers.press("Tab")
    assert "cascading" not in view.get("parameters") or "layers" not in view.get("parameters")["cascading"]


def test_numbers_so_far_say_that_they_are(view: StubView) -> None:
    report = dict(view.get("_report"))
    rows = [row | {"cells": [[value, None, None] for value, _, _ in row["cells"]]} for row in report["rows"]]
    view.set(_progress={"state": "running", "done": 3, "total": 8, "rate": 0.5, "left": 10.0, "seconds": 6.0})
    view.set(_report=report | {"state": "running", "pictures": 3, "rows": rows})
    settle(view)
    expect(view.root.locator(".cw-headline")).to_contain_text("3 of 8 pictures")
    expect(view.root.locator(".cw-headline")).to_contain_text("so far")
    expect(view.root).to_contain_text("The run goes on: intervals come at its end.")
    assert view.root.locator(".cw-dots-range").count() == 0
    assert view.root.locator(".cw-dots-dot").count() == len(METHODS)
    keep_screenshot(view.root, "benchmark-so-far")
    view.set(_pair={})
    view.set(_report=view.get("_report") | {"pictures": 4})
    settle(view)
    expect(view.root.locator(".cw-pairing")).to_contain_text("Compared when the run is over.")
    view.set(_progress={"state": "cancelled", "done": 3, "total": 8, "rate": None, "left": None, "seconds": 6.0})
    settle(view)  # until its intervals are read
    expect(view.root).not_to_contain_text("The run goes on")
    expect(view.root).to_contain_text("Without intervals so far.")


def test_a_curve_over_layers(view: StubView) -> None:
    steps = ["head", "S3", "S1"]
    values: dict[str, list[float]] = {
        "Grad-CAM": [0.9, 0.2, -0.1], "LayerCAM": [0.8, 0.3, 0.1], "centre": [1.0, 1.0, 1.0], "random": [1.0, 1.0, 1.0],
    }  # fmt: skip
    curve = [
        {"method": name, "steps": steps, "value": at, "low": [v - 0.05 for v in at], "high": [v + 0.05 for v in at]}
        for name, at in values.items()
    ]
    report = dict(view.get("_report"))
    about = {"name": "cascading-mean", "title": "ρ as more and more is drawn anew", "test": "cascading", "arrow": "↓",
             "better": -1, "unit": "correlation", "curve": curve}  # fmt: skip
    rows = [row | {"cells": [*row["cells"], [sum(values[row["method"]]) / 3, None, None]]} for row in report["rows"]]
    view.set(_report=report | {"results": [*report["results"], about], "rows": rows})
    expect(view.root.locator(".cw-curves")).to_be_hidden()
    view.root.locator(".cw-figure select").select_option("cascading-mean")
    expect(view.root.locator(".cw-curves")).to_be_visible()
    dots = view.root.locator(".cw-curve-dot").evaluate_all(
        "dots => dots.map(dot => [dot.dataset.step, Number(dot.dataset.value), dot.getBoundingClientRect().y])"
    )
    wanted = [pair for at in values.values() for pair in zip(steps, at, strict=True)]
    assert [(step, value) for step, value, _ in dots] == wanted
    by_value = sorted(dots, key=lambda dot: dot[1])
    assert by_value[0][2] > by_value[-1][2], "greater values lie higher"
    names = view.root.locator(".cw-curve text").evaluate_all("all => all.map(one => one.getBoundingClientRect().y)")
    gaps = [abs(a - b) for i, a in enumerate(names) for b in names[:i]]
    assert min(gaps) > 12, "names at the lines' ends do not lie on each other"
    keep_screenshot(view.root, "benchmark-curve")
    view.root.locator(".cw-figure select").select_option("energy")
    expect(view.root.locator(".cw-curves")).to_be_hidden()


# ---------------------------------------------------------------------------------------------- looks


@pytest.mark.parametrize(("dark", "width"), [(False, 1240), (True, 1240), (False, 800), (True, 480)])
def test_themes_and_widths(stub_page: StubPage, bench: Benchmark, dark: bool, width: int) -> None:
    view = mounted(stub_page, bench, dark=dark, width=width)
    view.root.locator(".cw-pairing select").nth(1).select_option("random")
    keep_screenshot(view.root, f"benchmark-{'dark' if dark else 'light'}-{width}")
    wide = view.root.evaluate("el => [el.scrollWidth, el.clientWidth]")
    assert wide[0] <= wide[1]


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_can_be_read(stub_page: StubPage, bench: Benchmark, dark: bool) -> None:
    found = mounted(stub_page, bench, dark=dark).root.evaluate(CONTRASTS)
    assert len(found) > 60
    assert [one for one in found if one["ratio"] < 4.5] == []


def test_views_close_cleanly(view: StubView) -> None:
    view.destroy()
    assert view.page.evaluate("() => window.views[0].model.handlers.length") == 0
