"""Make the pictures of README (`make pictures`): screenshots of the widgets in JupyterLab, and plain figures."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

import camwidgets
from camwidgets.doctor import find_browser
from camwidgets.explanation import explain_evidence
from camwidgets.figures import strip
from camwidgets.maps import make_plan
from tests.browser.conftest import CHROMIUM_ARGUMENTS
from tests.browser.jupyter import JupyterServer
from tests.browser.lab import Lab
from tests.browser.test_explorer_lab import IN_KERNEL

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"

EXPLORER = """import camwidgets
explorer = camwidgets.CamExplorer("efficientnet_lite0")
explorer.picture = "{picture}"
explorer"""


def maps_per_stage() -> None:
    """Grad-CAM and LayerCAM at each stage, and two classes by two presets."""
    classifier = camwidgets.load("efficientnet_lite0")
    picture = camwidgets.samples.picture("cat-and-coffee")
    cat, cup = camwidgets.capture(classifier, picture, target=["tiger cat", "espresso"])
    for method in ("gradcam", "layercam"):
        maps = [explain_evidence(cat, method, [stage]) for stage in cat.stages]
        strip([m.overlay() for m in maps], list(cat.stages), side=176).save(PICTURES / f"{method}_per_stage.png")
    views = [
        (f"{name}, {preset}", explain_evidence(evidence, plan=make_plan(preset=preset)).overlay())
        for evidence, name in ((cat, "tiger cat"), (cup, "espresso"))
        for preset in ("paper", "gated")
    ]
    strip([view for _, view in views], [name for name, _ in views], side=220).save(PICTURES / "two_classes.png")


@contextmanager
def opened(
    browser: Browser, folder: Path, name: str, cell: str, size: tuple[int, int], dark: bool = False
) -> Iterator[Lab]:
    """A notebook of one cell, run in JupyterLab in a window of that size."""
    folder = folder / name
    folder.mkdir()
    server = JupyterServer(folder)
    server.start()
    context = browser.new_context(viewport={"width": size[0], "height": size[1]})
    try:
        lab = Lab(context.new_page(), server)
        lab.write_notebook(f"{name}.ipynb", [cell])
        lab.open_notebook(f"{name}.ipynb")
        lab.set_theme(dark)
        lab.run_all()
        yield lab
        lab.close()
    finally:
        context.close()
        server.stop()


def keep(lab: Lab, widget: str, name: str, *parts: str) -> None:
    """A picture of the widget, when it has settled; of the rectangle around some of its parts if any are named.

    README shows a picture some 850 px wide: what is much wider cannot be read there.
    """
    lab.page.wait_for_timeout(2000)
    root = lab.page.locator(widget).first
    path = PICTURES / f"{name}.png"
    if not parts:
        root.screenshot(path=path)
        return
    boxes = [box for part in parts if (box := root.locator(part).first.bounding_box())]
    assert len(boxes) == len(parts), f"not all of {parts} are shown"
    left, top = (min(box[side] for box in boxes) - 8 for side in ("x", "y"))
    right = max(box["x"] + box["width"] for box in boxes) + 8
    foot = max(box["y"] + box["height"] for box in boxes) + 8
    lab.page.screenshot(path=path, clip={"x": left, "y": top, "width": right - left, "height": foot - top})


def in_kernel(lab: Lab, code: str) -> None:
    """Run code that prints nothing, as a further cell would."""
    told = lab.page.evaluate(IN_KERNEL, code)
    if told:
        raise RuntimeError(told)


def explorers(browser: Browser, folder: Path) -> None:
    """The explorer, light and dark."""
    for name, picture, dark in (("explorer", "cat", False), ("explorer_dark", "coffee", True)):
        cell = EXPLORER.format(picture=picture)
        with opened(browser, folder, name, cell, (1240, 1200), dark) as lab:
            expect(lab.page.locator(".cw-root .cw-caption").first).to_contain_text("%", timeout=90_000)
            keep(lab, ".cw-root", name)


COMPARISON = """import camwidgets
comparison = camwidgets.MethodComparison(
    camwidgets.load("efficientnet_lite0"), camwidgets.samples.picture("cat-and-coffee"), target="espresso",
    methods=["gradcam", "layercam", "groupcam", "lrp"], enhanced=True,
)
comparison"""


def comparison(browser: Browser, folder: Path) -> None:
    """Four methods, plain and enhanced, on one picture and class."""
    with opened(browser, folder, "comparison", COMPARISON, (1640, 1400)) as lab:
        in_kernel(lab, "comparison.wait(300)")
        keep(lab, ".cw-root", "comparison", ".cw-view")


TREES = {
    "tree": """import camwidgets
explorer = camwidgets.TreeExplorer(depth=1)
explorer.picture = "cat"
explorer""",
    "toy_tree": """import camwidgets
from camwidgets.datasets.toyworld import ToyWorld
scene = ToyWorld(seed=17, n=40, context="water")[36]
explorer = camwidgets.TreeExplorer("toy-shortcut", depth=1, pictures={"a cat on water": scene.image})
explorer""",
}
# Two levels down along the strongest thread, and the class's three channels removed.
GO_DOWN = """explorer.wait()
strongest = explorer.tree.children(0)
node = strongest[0]
for _ in range(2):
    explorer.expand(node.id); explorer.wait()
    node = explorer.tree.children(node)[0]
for one in strongest:
    explorer.remove(one.id)
explorer.select(node.id); explorer.wait()"""

AS_HIGH_AS_THE_TREE = "part => { part.style.height = '736px'; part.scrollTop = part.scrollLeft = 0; }"


def trees(browser: Browser, folder: Path) -> None:
    """The tree of a photograph, and of a cat on water that the shortcut learner takes for a duck."""
    for name, cell in TREES.items():
        with opened(browser, folder, name, cell, (1180, 1200)) as lab:
            root = lab.page.locator(".cw-tree").first
            expect(root.locator(".textpoint")).to_have_count(4, timeout=90_000)
            in_kernel(lab, GO_DOWN)
            expect(root.locator(".cw-tree-without")).to_contain_text("real", timeout=60_000)
            for part in (".cw-tree-frame", ".cw-tree-facts"):
                root.locator(part).evaluate(AS_HIGH_AS_THE_TREE)
            keep(lab, ".cw-tree", name)


FAILURES = """import camwidgets
from camwidgets.datasets.toyworld import ToyWorld
from camwidgets.investigate import Edit, Region
world = ToyWorld(seed=5, n=60, context="swap")
explorer = camwidgets.FailureExplorer("toy-shortcut", world)
explorer"""
# A train in the sky, and the same train on rails.
ON_RAILS = """explorer.wait()
names = explorer.classifier.labels
train = next(d for d in explorer.table.failures if (names[d.label], names[d.predicted]) == ("train", "plane")).number
rails = world.replace(context="rails")[train]
explorer.choose(train); explorer.wait()
explorer.edit(Edit("background", Region.of_mask(rails.instance_map == 1), {"picture": rails.image})); explorer.wait()"""


def failures(browser: Browser, folder: Path) -> None:
    """A train before the sky that is taken for a plane, put on rails: the check, and the channels to blame."""
    with opened(browser, folder, "failures", FAILURES, (1440, 2400)) as lab:
        in_kernel(lab, ON_RAILS)
        root = lab.page.locator(".cw-failures").first
        root.locator(".cw-fail-row .cw-fail-pick").first.click()
        expect(root.locator(".cw-fail-tree svg")).to_have_count(2, timeout=90_000)
        keep(lab, ".cw-failures", "failures", ".cw-fail-case", ".cw-fail-blame")


ADVERSARIAL = """import camwidgets
explorer = camwidgets.AdversarialExplorer("efficientnet_lite0", camwidgets.samples.picture("coffee"))
explorer.run()
explorer"""


def adversarial(browser: Browser, folder: Path) -> None:
    """A cup of coffee under attack, at the ε where its class flips: slider, pictures, maps."""
    with opened(browser, folder, "adversarial", ADVERSARIAL, (1440, 2400)) as lab:
        in_kernel(lab, "explorer.wait(300)")
        keep(lab, ".cw-adversarial", "adversarial", ".cw-adv-found > :nth-child(1)", ".cw-adv-found > :nth-child(3)")


# Made once, in some minutes, as `make bench ARGS="learning --show gain"` makes them.
PLAYBACK = """import camwidgets
from camwidgets.learning.shortcut import cure_shortcut
folder = {folder!r}
cure_shortcut(folder, seed=30, test_pictures=20)
playback = camwidgets.Playback(folder + "/plain", other=folder + "/guided", epoch=3, outline=True)
playback.picture = playback.run.watched[1]
playback"""


def playback(browser: Browser, folder: Path) -> None:
    """The shortcut learner, trained further without masks and with a few: pictures, maps, epochs."""
    cell = PLAYBACK.format(folder=str(ROOT / "artifacts" / "playback"))
    with opened(browser, folder, "playback", cell, (1440, 2400)) as lab:
        expect(lab.page.locator(".cw-playback .cw-made")).to_contain_text("in the browser", timeout=600_000)
        keep(lab, ".cw-playback", "playback", ".cw-view > :nth-child(2)", ".cw-view > :nth-child(4)")


SHOTS = (explorers, trees, comparison, failures, adversarial, playback)


def main() -> int:
    names = sys.argv[1:]  # of the functions in SHOTS; all if none is named
    PICTURES.mkdir(parents=True, exist_ok=True)
    if not names:
        maps_per_stage()
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=CHROMIUM_ARGUMENTS)
        for take in SHOTS:
            if not names or take.__name__ in names:
                take(browser, Path(folder))
        browser.close()
    print(*sorted(str(p.relative_to(ROOT)) for p in PICTURES.iterdir()), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
