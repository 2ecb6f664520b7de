"""TreeExplorer in real JupyterLab: three levels down, a channel removed, both changes read, exported, reopened."""

from __future__ import annotations

import json
import re
import statistics
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from camwidgets import decompose
from camwidgets.figures.layout import arrange
from camwidgets.widgets import assets
from camwidgets.widgets.tree.page import page_layout
from tests.browser.lab import Lab
from tests.browser.pictures import colours, keep_screenshot, shown_pixels
from tests.browser.test_explorer_lab import IN_KERNEL
from tests.explorer_nets import photo, small

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "02_why.ipynb"
CELLS = ["import camwidgets", "explorer = camwidgets.TreeExplorer(image=camwidgets.samples.picture('cat'))\nexplorer"]

# Scrolls the node into its frame and says where on the page its centre is.
CENTRE = """([root, id]) => {
    const gd = root.querySelector('.js-plotly-plot'), frame = gd.closest('.cw-tree-frame'), full = gd._fullLayout;
    const at = [...gd.data[0].customdata].indexOf(id), y = full.yaxis.l2p(gd.data[0].y[at]);
    if (y < frame.scrollTop + 40 || y > frame.scrollTop + frame.clientHeight - 40) frame.scrollTop = y - 200;
    const box = gd.querySelector('.nsewdrag').getBoundingClientRect();
    return [box.left + full.xaxis.l2p(gd.data[0].x[at]), box.top + y];
}"""
DRAWN = "root => [...root.querySelector('.js-plotly-plot').data[0].customdata].map(Number)"
TEXTS = "root => [...root.querySelectorAll('.textpoint text')].map(node => node.textContent)"
BROKEN_MS = 3000
STOPWATCH = """root => {
    const gd = root.querySelector('.js-plotly-plot'), frame = gd.closest('.cw-tree-frame');
    window.clicked = window.drawn = 0;
    window.addEventListener('mouseup', () => { window.clicked = performance.now(); window.drawn = 0; }, true);
    gd.on('plotly_afterplot', () => { window.drawn = performance.now(); });
}"""


class Tree:
    """The tree explorer in an open notebook."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.page = lab, lab.page
        self.root = lab.page.locator(".cw-tree").first
        self.side = self.root.locator(".cw-tree-side").first
        expect(self.root.locator("h2").first).to_contain_text("why", timeout=90_000)
        self.settle()
        self.page.wait_for_function("() => document.querySelector('.cw-tree-tip')")  # the front end has found the plot

    def settle(self) -> None:
        expect(self.root.locator(".cw-tree-head").first).to_have_attribute("aria-busy", "false", timeout=60_000)

    def drawn(self) -> list[int]:
        return list(self.root.evaluate(DRAWN))

    def images(self) -> int:
        return self.root.locator(".js-plotly-plot").first.locator("g.imagelayer image, .layer-above image").count()

    def click(self, number: int, shift: bool = False) -> None:
        """On the node, as a person does, and wait for the answer."""
        self.page.wait_for_timeout(350)  # two clicks in a row are a double click to Plotly
        x, y = self.page.evaluate(CENTRE, [self.root.element_handle(), number])
        if shift:
            self.page.keyboard.down("Shift")
        self.page.mouse.click(x, y)
        if shift:
            self.page.keyboard.up("Shift")

    def expand(self, number: int) -> list[int]:
        before = set(self.drawn())
        self.click(number)
        self.page.wait_for_function("([root, n]) => root.querySelector('.js-plotly-plot').data[0].x.length > n",
                                    arg=[self.root.element_handle(), len(before)])  # fmt: skip
        return [i for i in self.drawn() if i not in before]

    def python(self, code: str) -> str:
        return str(self.page.evaluate(IN_KERNEL, code)).strip()

    def save(self, kind: str) -> Any:
        self.root.get_by_role("button", name="Save", exact=True).click()
        with self.page.expect_download(timeout=120_000) as waiting:
            self.root.locator(f"[data-kind={kind}]").click()
        return waiting.value


@pytest.fixture
def tree(lab: Lab) -> Tree:
    lab.write_notebook("tree.ipynb", CELLS)
    lab.open_notebook("tree.ipynb")
    lab.run_all()
    return Tree(lab)


def test_a_person_asks_why(tree: Tree, tmp_path: Path, browser: Browser) -> None:
    number = three_levels_down(tree)
    keep_screenshot(tree.root, "tree-light")
    remove_and_read(tree, number)
    by_keyboard(tree)
    tree.lab.screenshot("tree-removed", tree.root)
    take_away(tree, tmp_path, browser)


def three_levels_down(tree: Tree) -> int:
    assert len(tree.drawn()) == 13
    assert tree.images() == 13
    assert colours(shown_pixels(tree.root.locator(".cw-tree-frame").first)) > 1000
    number = 4
    for stage in ("S4", "S3", "S2"):
        children = tree.expand(number)
        expect(tree.side.locator("h3")).to_contain_text(f"{stage} channel")
        assert len(children) == 3
        number = children[0]
    assert tree.images() == len(tree.drawn()) == 22
    assert tree.side.locator("img").first.evaluate("image => image.naturalWidth") > 400
    return 4


def remove_and_read(tree: Tree, number: int) -> None:
    tree.click(number, shift=True)
    rows = tree.side.locator(".cw-tree-removal tbody tr")
    expect(rows.first).to_contain_text("class score", timeout=30_000)
    cells = rows.first.locator("td").all_inner_texts()
    said = [float(text.replace("−", "-")) for text in cells[1:]]
    known = json.loads(tree.python(
        f"import json; from camwidgets.decomposition.ablation import ablate; a = ablate(explorer.tree, {number});"
        "print(json.dumps([a.predicted, a.real, a.changes[0].predicted, a.changes[0].real]))"
    ))  # fmt: skip
    assert said == pytest.approx(known[:2], abs=0.006)
    above = [float(text.replace("−", "-")) for text in rows.nth(1).locator("td").all_inner_texts()[1:]]
    assert above == pytest.approx(known[2:], abs=0.006)
    expect(tree.root.locator(".cw-tree-without").first).to_contain_text(f"real {cells[2]}")
    assert any(f"{cells[1]} | {cells[2]}" in text for text in tree.root.evaluate(TEXTS))
    tree.side.get_by_role("button", name="Undo removal").click()
    expect(tree.side.locator(".cw-tree-removal")).to_have_count(0)
    tree.side.get_by_role("button", name="Remove channel").click()
    expect(rows.first).to_contain_text("class score")


def by_keyboard(tree: Tree) -> None:
    tree.root.locator(".cw-tree-frame").first.focus()
    before = tree.side.locator("h3").inner_text()
    tree.page.keyboard.press("ArrowDown")
    expect(tree.side.locator("h3")).not_to_have_text(before)
    count = len(tree.drawn())
    tree.page.keyboard.press("Enter")
    tree.page.wait_for_function("([root, n]) => root.querySelector('.js-plotly-plot').data[0].x.length > n",
                                arg=[tree.root.element_handle(), count])  # fmt: skip
    tree.page.keyboard.press("ArrowLeft")
    expect(tree.side.locator("h3")).to_contain_text("S5 channel")


def take_away(tree: Tree, folder: Path, browser: Browser) -> None:
    tree.save("png").save_as(folder / "tree.png")
    with Image.open(folder / "tree.png") as png:
        assert png.width > 600
        assert colours(np.asarray(png.convert("RGB"))) > 500
    tree.save("bundle").save_as(folder / "tree.zip")
    with zipfile.ZipFile(folder / "tree.zip") as archive:
        assert {"tree/tree.json", "tree/tree.graphml", "tree/tree.npz"} <= set(archive.namelist())
    tree.save("html").save_as(folder / "tree.html")
    alone(folder / "tree.html", len(tree.drawn()), browser)


def alone(file: Path, count: int, browser: Browser) -> None:
    """The exported page, with no kernel and no network."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000}, offline=True)
    page, requests, errors = context.new_page(), [], []  # type: Any, list[str], list[str]
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(file.as_uri())
    nodes = page.locator("#canvas .node")
    expect(nodes).to_have_count(count)
    closed = page.locator("#canvas .node[aria-expanded=false]", has_text="▸")
    closed.first.click()
    expect(nodes).to_have_count(count + 3)
    expect(page.locator("#facts h3")).to_contain_text("channel")
    expect(page.locator("#facts .cw-tree-tile img").last).to_be_visible()  # on screen when saved: looked into
    assert colours(shown_pixels(page.locator("#facts .cw-tree-tile img").last)) > 10
    page.locator("#canvas .node[aria-selected=true]").focus()
    page.keyboard.press("Enter")
    expect(nodes).to_have_count(count)
    sizes = page.evaluate("() => [...document.querySelectorAll('#canvas image')].map(i => i.getBBox().width)")
    assert set(sizes) == {48}
    keep_screenshot(page, "tree-page")
    assert [url for url in requests if not url.startswith("data:")] == [file.as_uri()]
    assert errors == []
    context.close()


def test_clicks_are_drawn_at_once(tree: Tree) -> None:
    """From the release of the button to the drawn tree, at about 60 nodes: printed; the goal is 300 ms at rest.

    How busy the machine is decides whether the goal shows; the test fails only at what a person would call broken.
    """
    while len(tree.drawn()) < 58:
        tree.python(f"explorer.expand({max(tree.drawn()) - 2}); explorer.wait()")
        if not tree.python("print(len(explorer.figure.data[0].x))").isdigit():
            break
        tree.python("""
for n in list(explorer.tree.nodes.values()):
    if len(explorer.figure.data[0].x) >= 58: break
    if not n.children and not n.dead and n.stage != 'S1':
        explorer.expand(n.id); explorer.wait()
""")
    tree.page.wait_for_timeout(500)
    shown = tree.drawn()
    assert 56 <= len(shown) <= 64
    tree.root.evaluate(STOPWATCH)
    rounds = []
    for _ in range(2):
        times = []
        for number in (1, 2, 3, 1, 2, 3):
            tree.click(number)
            tree.page.wait_for_function("() => window.drawn > window.clicked && window.clicked > 0")
            times.append(tree.page.evaluate("() => window.drawn - window.clicked"))
            tree.page.evaluate("() => { window.clicked = 0; }")
        rounds.append(statistics.median(times))
    print(f"click to drawn, {len(shown)} nodes: median {min(rounds):.0f} ms (goal 300)")
    assert min(rounds) <= BROKEN_MS, rounds


def test_dark_theme_and_reload(tree: Tree) -> None:
    tree.expand(4)
    tree.lab.set_theme(dark=True)
    plot = tree.root.locator(".js-plotly-plot").first
    expect(plot.locator("text.annotation-text").first).to_be_visible()
    tree.page.wait_for_function("() => document.querySelector('.js-plotly-plot').layout.font.color === '#f5f5f5'")
    tree.lab.screenshot("tree-dark", tree.root)
    paper = tree.page.evaluate("() => document.querySelector('.js-plotly-plot').layout.paper_bgcolor")
    assert max(int(part) for part in re.findall(r"\d+", paper)[:3]) < 64
    before = tree.drawn()
    tree.lab.save()
    tree.lab.reload()
    again = Tree(tree.lab)
    assert again.drawn() == before
    assert again.images() == len(before)
    assert colours(shown_pixels(again.root.locator(".cw-tree-frame").first)) > 1000
    again.expand(before[0])


def test_what_a_channel_sees_and_a_narrow_page(tree: Tree) -> None:
    tree.click(4)
    title = tree.side.locator("h3")
    expect(title).to_contain_text("S4 channel")
    sees = tree.side.locator(".cw-tree-sees")
    expect(sees.locator(".cw-tree-tile img")).to_have_count(2, timeout=30_000)
    guided = sees.locator(".cw-tree-tile img").last
    guided.scroll_into_view_if_needed()
    assert colours(shown_pixels(guided)) > 50
    assert "14" in tree.python("print(explorer.tree.stages['S4'].size)")
    expect(sees.locator(".cw-tree-bars")).to_contain_text("196 positions")
    sees.get_by_role("button", name="Index the built-in pictures").click()
    expect(sees.locator(".cw-tree-patches img")).to_have_count(5, timeout=60_000)
    assert sees.locator(".cw-tree-patches img").first.evaluate("image => image.naturalWidth") > 40
    said = sees.locator(".cw-tree-patches figcaption").nth(1).inner_text()
    known = "n = explorer.tree.node(4); print(f'{explorer.index.top(n.tap, n.channel)[0].response:.3g}')"
    assert said == tree.python(known)
    tree.root.locator(".cw-tree-frame").first.focus()
    tree.page.keyboard.press("?")
    tops = "list => [...list.children].map(c => c.getBoundingClientRect().top)"
    keys = tree.root.locator("dl.cw-keys").evaluate(tops)
    assert keys[::2] == keys[1::2]  # each key beside its words
    assert len(set(keys)) == len(keys) // 2
    tree.root.locator(".cw-tree-frame").first.focus()
    tree.page.keyboard.press("Escape")
    expect(tree.root.locator("dl.cw-keys").first).to_be_hidden()
    tree.page.set_viewport_size({"width": 900, "height": 1200})
    frame, side = tree.root.locator(".cw-tree-frame").first, tree.side
    tree.page.wait_for_function(
        "([a, b]) => a.getBoundingClientRect().bottom <= b.getBoundingClientRect().top",
        arg=[frame.element_handle(), side.element_handle()],
    )
    assert side.evaluate("node => node.scrollWidth <= node.clientWidth + 1")
    tree.lab.screenshot("tree-narrow", tree.root)


def test_a_second_class_is_taken_apart_below(tree: Tree) -> None:
    tree.root.get_by_label("second class", exact=True).check()
    second = tree.root.locator(".cw-tree")
    expect(second.locator("h2")).to_contain_text("why", timeout=60_000)
    expect(second.locator("h2")).not_to_have_text(tree.root.locator("h2").first.inner_text())
    expect(second.locator(".js-plotly-plot .textpoint")).to_have_count(13, timeout=60_000)
    tree.root.get_by_role("combobox", name="search").first.fill("espresso")
    tree.page.keyboard.press("Enter")
    expect(tree.root.locator("h2").first).to_contain_text("espresso", timeout=30_000)
    tree.lab.screenshot("tree-second", tree.root)
    tree.root.get_by_label("second class", exact=True).first.uncheck()
    expect(second).to_have_count(0)


@pytest.mark.slow
@pytest.mark.timeout(420)
def test_the_second_lesson_runs(lab: Lab) -> None:
    """Every cell, in a person's JupyterLab; its three trees are drawn."""
    lab.open_notebook(NOTEBOOK)
    lab.run_all(timeout=280)
    trees = lab.page.locator(".cw-tree")
    expect(trees).to_have_count(3)
    for i, label in enumerate(("tiger cat", "duck", "cat")):
        expect(trees.nth(i).locator("h2")).to_have_text(f"why “{label}”", timeout=60_000)
        trees.nth(i).scroll_into_view_if_needed()
        expect(trees.nth(i).locator(".js-plotly-plot .textpoint")).to_have_count(13, timeout=60_000)
    lab.screenshot("tree-toy", trees.nth(1))


def test_the_page_lays_out_as_python_does(page: Page) -> None:
    decomposed = decompose(small(), photo(1), merge=False)
    ids = sorted(decomposed.nodes)
    for opened, most in ((ids, 200), (ids, 25), (ids[:3], 200), ([0], 200), ([], 200), (ids[::2], 40)):
        ours = arrange(decomposed, set(opened), 900.0, most)
        source = assets.part("tree/layout.js").replace("export function", "function")
        theirs = page.evaluate(
            "([source, tree, opened]) => { const f = new Function(source + '; return arrange;')();"
            "const { places, height, cut } = f(tree, new Set(opened)); "
            "return { places: [...places.values()], height, cut }; }",
            [source, page_layout(decomposed, 900.0, most), list(opened)],
        )
        assert (theirs["height"], theirs["cut"]) == (pytest.approx(ours.height), ours.cut)
        found = {p["id"]: (p["x"], p["y"], p["folded"]) for p in theirs["places"]}
        assert found == {i: pytest.approx((p.x, p.y, p.folded)) for i, p in ours.places.items()}
