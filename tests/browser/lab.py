"""A person at JupyterLab: opens a notebook, runs it, looks, clicks. And notices every error.

The order of the waits is what makes this dependable. "Run All" before the kernel is connected silently does
nothing, and the "idle" indicator shows idle while there is no kernel at all; so the page itself is asked.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import Locator, Page

from tests.browser.jupyter import JupyterServer
from tests.browser.pictures import keep_screenshot
from tests.browser.watch import Watch, assert_no_problems

SHOWN = "name => window.jupyterapp?.shell.currentWidget?.context?.path === name"

# Errors in widget callbacks appear in no output: they are only seen where the kernel's messages arrive.
READY = """async () => {
    const app = window.jupyterapp, notebook = app.shell.currentWidget;
    await app.restored;
    await notebook.revealed;
    await notebook.context.ready;
    await notebook.sessionContext.ready;
    const kernel = notebook.sessionContext.session.kernel;
    await kernel.info;
    window.kernelProblems = [];
    kernel.anyMessage.connect((_, { msg, direction }) => {
        if (direction !== 'recv' || msg.channel !== 'iopub') return;
        const { msg_type } = msg.header, { name, text, ename, evalue } = msg.content;
        if (msg_type === 'error') window.kernelProblems.push(`error in the kernel: ${ename}: ${evalue}`);
        // At every connection Lab asks for widget comms; a kernel that has not imported ipywidgets says this.
        if (text?.startsWith('No such comm')) return;
        if (msg_type === 'stream' && name === 'stderr') window.kernelProblems.push(`on stderr: ${text}`);
    });
    app.shell.collapseLeft();
    app.shell.collapseRight();
}"""

RUN_ALL = """async seconds => {
    const late = new Error(`the notebook did not finish within ${seconds} s`);
    const timeout = new Promise((_, reject) => setTimeout(() => reject(late), 1000 * seconds));
    await Promise.race([window.jupyterapp.commands.execute('notebook:run-all-cells'), timeout]);
    const notebook = window.jupyterapp.shell.currentWidget.context.model.toJSON();
    return notebook.cells
        .filter(cell => cell.cell_type === 'code' && [cell.source].flat().join('').trim())
        .filter(cell => cell.execution_count === null).length;
}"""

OUTPUTS = """() => window.jupyterapp.shell.currentWidget.context.model.toJSON().cells
    .filter(cell => cell.cell_type === 'code').map(cell => cell.outputs)"""

SHOWN_ERRORS = """() => Array.from(document.querySelectorAll('.jp-OutputArea-output'))
    .flatMap(output => output.innerText.match(
        /(Error (displaying|creating|rendering) widget|Loading widget|Failed to load)[^\\n]*/g) ?? [])"""


class Lab:
    """One page at JupyterLab. Get it from the ``lab`` fixture, which fails the test if anything went wrong.

    ::

        def test_slider(lab):
            lab.write_notebook("one.ipynb", ["from camwidgets …", "explorer"])
            lab.open_notebook("one.ipynb")
            lab.run_all()
            lab.page.locator(".cw-stages canvas").click()
            lab.screenshot("slider")
    """

    def __init__(self, page: Page, server: JupyterServer) -> None:
        self.page = page
        self.server = server
        self.watch = Watch(page)
        self._dark = False

    def write_notebook(self, name: str, cells: Sequence[str]) -> Path:
        """Write a notebook of code cells to where the server looks."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
        notebook.metadata["kernelspec"] = {
            "name": "python3",
            "display_name": "Python 3",
            "language": "python",
        }
        path = self.server.root / name
        nbformat.write(notebook, path)
        return path

    def open_notebook(self, notebook: str | Path) -> None:
        """Open a notebook in a new workspace and wait until it can be run.

        Args:
            notebook: the name of one that is in the server's folder, or the path of one to copy there.
        """
        name = Path(notebook).name
        if Path(notebook).is_absolute():
            shutil.copy(notebook, self.server.root / name)
        if not (self.server.root / name).is_file():
            raise FileNotFoundError(f"There is no {name} in {self.server.root}; write_notebook() makes one.")
        self.page.goto(f"{self.server.url}/lab/tree/{name}?reset")
        self._wait_until_ready(name)

    def reload(self) -> None:
        """Reload the page, as a person does: the kernel lives on, the notebook is as it was last saved."""
        name = self.page.evaluate("() => window.jupyterapp.shell.currentWidget.context.path")
        self._take_kernel_problems()
        self.page.reload()
        self._wait_until_ready(name)

    def _wait_until_ready(self, name: str) -> None:
        self.page.wait_for_function(SHOWN, arg=name, timeout=90_000)
        self.page.evaluate(READY)

    def run_all(self, timeout: float = 200) -> None:
        """Run every cell and wait for the last; fail if one was not run, or one ended in an error."""
        left_out = self.page.evaluate(RUN_ALL, timeout)
        errors = [output for output in self.outputs() if output["output_type"] == "error"]
        for error in errors:
            self.watch.add(f"a cell failed: {error['ename']}: {error['evalue']}")
        if left_out and not errors:
            self.watch.add(f"{left_out} cells were not run")
        self.check()

    def outputs(self) -> list[dict[str, Any]]:
        """The outputs of all code cells, in their order, as in the notebook's file."""
        return [output for cell in self.page.evaluate(OUTPUTS) for output in cell]

    def command(self, name: str, **arguments: Any) -> None:
        """Execute one of JupyterLab's commands, such as ``docmanager:save``."""
        self.page.evaluate(
            "([name, args]) => window.jupyterapp.commands.execute(name, args)", [name, arguments]
        )

    def save(self) -> None:
        """Save the notebook, widget state included."""
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.context.save()")

    def set_theme(self, dark: bool) -> None:
        """Switch to JupyterLab's dark or light theme and wait until it is on."""
        self.command("apputils:change-theme", theme="JupyterLab Dark" if dark else "JupyterLab Light")
        wanted = "false" if dark else "true"
        self.page.wait_for_selector(f"body[data-jp-theme-light='{wanted}']", state="attached")
        self._dark = dark

    def screenshot(self, name: str, place: Locator | None = None) -> Path:
        """Keep a picture of the page, or of one place in it, as ``artifacts/screenshots/NAME.png``."""
        return keep_screenshot(place or self.page, name)

    def check(self) -> None:
        """Fail if anything went wrong so far: in the page, in the kernel, or said in an output."""
        self._take_kernel_problems()
        for text in self.page.evaluate(SHOWN_ERRORS):
            self.watch.add(f"shown in an output: {text}")
        assert_no_problems(self.watch)

    def _take_kernel_problems(self) -> None:
        for problem in self.page.evaluate("() => (window.kernelProblems ?? []).splice(0)"):
            self.watch.add(problem)

    def close(self) -> None:
        """End the notebook's kernel and leave the page; the next test finds JupyterLab in its light theme."""
        if self._dark:
            self.set_theme(dark=False)
        self.page.evaluate("() => window.jupyterapp?.shell.currentWidget?.sessionContext?.shutdown()")
        self.page.close()
