"""The light layer: a widget's front-end file in a plain page, a stub in the kernel's place (0.4 s a test)."""

from __future__ import annotations

import base64
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page

from tests.browser.pictures import keep_screenshot
from tests.browser.watch import Watch, assert_no_problems

ADDRESS = "http://127.0.0.1/stub"
STUB = Path(__file__).with_name("stub_model.js")
THEMES = Path(sys.prefix) / "share" / "jupyter" / "lab" / "themes" / "@jupyterlab"

MOUNT = """async ([stub, esm, traits, index]) => {
    window.stub ??= await import(URL.createObjectURL(new Blob([stub], { type: 'text/javascript' })));
    const element = document.createElement('div');
    element.dataset.view = index;
    document.querySelector('main').append(element);
    (window.views ??= [])[index] = await window.stub.mount(esm, traits, element);
}"""


class StubView:
    """One mounted widget: the test plays the kernel."""

    def __init__(self, page: Page, index: int) -> None:
        self.page = page
        self.root: Locator = page.locator(f"[data-view='{index}']")
        self._index = index

    def get(self, trait: str) -> Any:
        """A trait's value in the front end; binary ones as bytes."""
        return self._call("(view, name) => view.model.get(name)", trait)

    def set(self, **traits: Any) -> None:
        """Change traits as the kernel would, all in one message."""
        self._call("(view, traits) => { view.model.receive(window.stub.revived(traits)); }", _packed(traits))

    def send(self, content: Any, buffers: Sequence[bytes] = ()) -> None:
        """Send a custom message as the kernel would."""
        script = """(view, [content, buffers]) => {
            view.model._trigger('msg:custom', content, window.stub.revived(buffers)); }"""
        self._call(script, [content, _packed(list(buffers))])

    @property
    def saved(self) -> list[dict[str, Any]]:
        """What the front end saved so far: one dictionary of traits for each ``save_changes()``."""
        return list(self._call("view => view.model.log.saved"))

    @property
    def sent(self) -> list[dict[str, Any]]:
        """The custom messages of the front end so far: ``{"content": …, "buffers": […]}`` each."""
        return list(self._call("view => view.model.log.sent"))

    def wait_until(self, condition: str, timeout: float = 10) -> None:
        """Wait until a JavaScript expression in ``model`` and ``el`` holds, such as ``model.get('n')``."""
        names = "const { model, element: el } = window.views[index]"
        script = f"index => {{ {names}; return ({condition}); }}"
        self.page.wait_for_function(script, arg=self._index, timeout=1000 * timeout)

    def destroy(self) -> None:
        """Take the widget away, as when its cell is cleared: its clean-up code runs."""
        self._call("view => view.destroy()")

    def _call(self, script: str, argument: Any = None) -> Any:
        called = (
            f"async ([index, arg]) => window.stub.plain(await ({script})(window.views[index], arg) ?? null)"
        )
        return _unpacked(self.page.evaluate(called, [self._index, argument]))


class StubPage:
    """A plain page with JupyterLab's colours. Get it from the ``stub_page`` fixture.

    ::

        def test_click(stub_page):
            view = stub_page.mount(esm="export default { render({ model, el }) { … } }", traits={"value": 1})
            view.root.locator("button").click()
            assert view.get("value") == 2

        def test_widget(stub_page):
            view = stub_page.mount_widget(MyAnyWidget(value=3))
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.watch = Watch(page)
        self._count = 0
        self._dark: bool | None = None

    def mount(
        self,
        esm: str | Path,
        css: str | Path = "",
        traits: Mapping[str, Any] | None = None,
        *,
        width: int = 1240,
        dark: bool = False,
    ) -> StubView:
        """Import the module text *esm* and let it render with *traits* (bytes arrive as a DataView)."""
        self._open(dark)
        self.page.evaluate("width => { document.querySelector('main').style.width = `${width}px`; }", width)
        if css:
            self.page.add_style_tag(content=_text(css))
        index, self._count = self._count, self._count + 1
        self.page.evaluate(MOUNT, [STUB.read_text(), _text(esm), _packed(dict(traits or {})), index])
        return StubView(self.page, index)

    def mount_widget(self, widget: Any, *, width: int = 1240, dark: bool = False) -> StubView:
        """Mount an anywidget with the state that its Python side has now."""
        state = {name: value for name, value in widget.get_state().items() if name not in ("_esm", "_css")}
        css = str(getattr(widget, "_css", ""))
        return self.mount(str(widget._esm), css, state, width=width, dark=dark)

    def screenshot(self, name: str, place: Locator | None = None) -> Path:
        """Keep a picture of the page, or of one place in it, as ``artifacts/screenshots/NAME.png``."""
        return keep_screenshot(place or self.page, name)

    def check(self) -> None:
        """Fail if the page raised an exception or asked for anything outside this machine."""
        self.page.evaluate("() => new Promise(requestAnimationFrame)")  # what is on its way arrives
        assert_no_problems(self.watch)

    def _open(self, dark: bool) -> None:
        if self._dark is not None:
            if dark != self._dark:
                raise ValueError("this page is open already, in the other theme; use one theme a test")
            return
        self._dark = dark
        self.page.route(ADDRESS, lambda route: route.fulfill(body=_html(dark), content_type="text/html"))
        self.page.goto(ADDRESS)


def _html(dark: bool) -> str:
    theme = THEMES / f"theme-{'dark' if dark else 'light'}-extension" / "index.css"
    return f"""<!doctype html><meta charset="utf-8"><title>stub</title><style>{theme.read_text()}</style>
<style>body {{ margin: 16px; background: var(--jp-layout-color0); color: var(--jp-content-font-color1);
font: var(--jp-content-font-size1)/1.5 var(--jp-content-font-family); }}</style>
<body data-jp-theme-light="{str(not dark).lower()}"><main class="jp-OutputArea-output"></main>"""


def _text(source: str | Path) -> str:
    return source.read_text(encoding="utf-8") if isinstance(source, Path) else source


def _packed(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return {"$bytes": base64.b64encode(bytes(value)).decode()}
    if isinstance(value, Mapping):
        return {str(key): _packed(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_packed(each) for each in value]
    return value


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict):
        if "$bytes" in value:
            return base64.b64decode(value["$bytes"])
        return {key: _unpacked(each) for key, each in value.items()}
    return [_unpacked(each) for each in value] if isinstance(value, list) else value
