"""The harness itself: it draws, clicks through to the kernel and back, and notices every kind of error."""

from __future__ import annotations

import numpy as np
import pytest

from tests.browser.lab import Lab
from tests.browser.pictures import canvas_pixels, changed_share, colours, shown_pixels
from tests.browser.stub import StubPage

ESM = """
function render({ model, el }) {
    const canvas = document.createElement("canvas"), button = document.createElement("button");
    canvas.width = canvas.height = 8;
    canvas.className = "smoke";
    canvas.style.cssText = "width: 160px; image-rendering: pixelated";
    button.textContent = "brighter";
    const draw = () => {
        const context = canvas.getContext("2d"), image = context.createImageData(8, 8);
        const bytes = model.get("pixels"), gain = model.get("gain");
        for (let i = 0; i < 64; i++) {
            const value = Math.min(255, gain * bytes.getUint8(i));
            image.data.set([value, 255 - value, 64, 255], 4 * i);
        }
        context.putImageData(image, 0, 0);
    };
    button.onclick = () => { model.set("gain", model.get("gain") + 1); model.save_changes(); };
    model.on("change:gain change:pixels", draw);
    model.on("msg:custom", (content, buffers) => {
        canvas.title = content.title;
        model.send({ length: buffers[0].byteLength }, undefined, [new Uint8Array([7, 8])]);
    });
    draw();
    el.append(canvas, button);
    return () => { document.title = "cleaned up"; };
}
export default { render };
"""

WIDGET = f'''
import anywidget, traitlets

class Smoke(anywidget.AnyWidget):
    _esm = """{ESM}"""
    pixels = traitlets.Bytes(bytes(range(0, 128, 2))).tag(sync=True)
    gain = traitlets.Int(1).tag(sync=True)
    doubled = traitlets.Int(2).tag(sync=True)

    @traitlets.observe("gain")
    def _double(self, change):
        self.doubled = 2 * change.new
        self.layout.border = "3px solid rgb(1, 2, 3)"
        if change.new > 3:
            raise RuntimeError("too bright")
'''
PIXELS = bytes(range(0, 128, 2))


def expected(gain: int) -> np.ndarray:
    value = np.minimum(255, gain * np.frombuffer(PIXELS, np.uint8).astype(int)).reshape(8, 8)
    return np.stack([value, 255 - value, np.full_like(value, 64), np.full_like(value, 255)], axis=-1)


class TestStub:
    def test_draws_listens_and_answers(self, stub_page: StubPage) -> None:
        view = stub_page.mount(ESM, traits={"pixels": PIXELS, "gain": 1})
        canvas = view.root.locator("canvas")
        np.testing.assert_array_equal(canvas_pixels(canvas), expected(1))

        view.root.locator("button").click()
        assert view.saved == [{"gain": 2}]
        np.testing.assert_array_equal(canvas_pixels(canvas), expected(2))

        view.set(gain=1, pixels=bytes(64))
        assert (view.get("pixels"), view.get("gain")) == (bytes(64), 1)
        assert colours(canvas_pixels(canvas)) == 1
        assert len(view.saved) == 1, "a change that comes from the kernel must not be sent back to it"

        view.send({"title": "from the kernel"}, [b"abc"])
        assert view.sent == [{"content": {"length": 3}, "buffers": [b"\x07\x08"]}]
        assert canvas.get_attribute("title") == "from the kernel"

    def test_destroy_runs_the_clean_up(self, stub_page: StubPage) -> None:
        view = stub_page.mount(ESM, traits={"pixels": PIXELS, "gain": 1})
        view.destroy()
        assert stub_page.page.title() == "cleaned up"
        assert view.root.locator("canvas").count() == 0

    def test_takes_a_python_widget(self, stub_page: StubPage) -> None:
        names: dict[str, type] = {}
        exec(WIDGET, names)
        view = stub_page.mount_widget(names["Smoke"](gain=2))
        np.testing.assert_array_equal(canvas_pixels(view.root.locator("canvas")), expected(2))

    def test_themes_differ(self, stub_page: StubPage) -> None:
        stub_page.mount("export default { render({ el }) { el.textContent = 'dark'; } }", dark=True)
        shown = shown_pixels(stub_page.page.locator("body"))
        assert np.median(shown) < 64
        assert colours(shown) > 1

    def test_an_exception_is_noticed(self, stub_page: StubPage) -> None:
        stub_page.mount("export default { render() { setTimeout(() => { throw new Error('boom'); }); } }")
        stub_page.page.wait_for_timeout(50)
        with pytest.raises(AssertionError, match="uncaught in the page: boom"):
            stub_page.check()
        stub_page.watch.forgive("boom")

    def test_a_request_that_leaves_this_machine_is_noticed(self, stub_page: StubPage) -> None:
        stub_page.mount(
            "export default { async render() { await fetch('https://example.org/').catch(() => 0); } }"
        )
        with pytest.raises(AssertionError, match=r"left this machine: https://example\.org/"):
            stub_page.check()
        stub_page.watch.forgive("example.org")


class TestLab:
    def test_a_widget_lives(self, lab: Lab) -> None:
        lab.write_notebook("smoke.ipynb", [WIDGET, "widget = Smoke()\nwidget"])
        lab.open_notebook("smoke.ipynb")
        lab.run_all()
        canvas = lab.page.locator("canvas.smoke")
        np.testing.assert_array_equal(canvas_pixels(canvas), expected(1))
        before = shown_pixels(canvas)

        lab.page.get_by_role("button", name="brighter").click()
        lab.page.wait_for_selector("[style*='rgb(1, 2, 3)']")  # the kernel has answered
        np.testing.assert_array_equal(canvas_pixels(canvas), expected(2))
        assert changed_share(before, shown_pixels(canvas)) > 0.5

        lab.set_theme(dark=True)
        picture = lab.screenshot("harness-smoke")
        assert np.median(shown_pixels(lab.page.locator(".jp-NotebookPanel"))) < 64
        assert picture.stat().st_size > 10_000

        lab.save()
        lab.reload()
        np.testing.assert_array_equal(canvas_pixels(lab.page.locator("canvas.smoke")), expected(2))

    def test_errors_in_cells_and_callbacks_are_noticed(self, lab: Lab) -> None:
        lab.write_notebook("errors.ipynb", [WIDGET, "widget = Smoke(gain=3)\nwidget", "1 / 0", "'never run'"])
        lab.open_notebook("errors.ipynb")
        with pytest.raises(AssertionError, match="a cell failed: ZeroDivisionError"):
            lab.run_all()
        lab.watch.forgive("ZeroDivisionError")

        lab.page.get_by_role("button", name="brighter").click()
        lab.page.wait_for_function("() => window.kernelProblems.length > 0")
        with pytest.raises(AssertionError, match="RuntimeError: too bright"):
            lab.check()
        lab.watch.forgive("too bright")
