"""Fixtures for tests in a real browser: ``lab`` (JupyterLab) and ``stub_page`` (a plain page).

One Chromium and one JupyterLab serve all tests of this folder; every test gets a page of its own. After a
test the page is looked over, and any exception, stderr output or request that left this machine fails it.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from typing import Any, Protocol

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from camwidgets.doctor import find_browser
from tests.browser.jupyter import JupyterServer
from tests.browser.lab import Lab
from tests.browser.pictures import keep_screenshot
from tests.browser.stub import StubPage

CHROMIUM_ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    # Whatever a page asks for outside this machine fails at once instead of after a timeout.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]
VIEWPORT = ViewportSize(width=1440, height=1000)
FAILED = pytest.StashKey[bool]()
expect.set_options(timeout=30_000)  # of Playwright's 5 s a busy machine may take more


class Visitor(Protocol):
    """What ``lab`` and ``stub_page`` have in common."""

    page: Page

    def check(self) -> None: ...


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/browser/" in item.path.as_posix():
            item.add_marker(pytest.mark.browser)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    program = find_browser()
    if program is None:
        pytest.fail("No Chromium for the browser tests. `make test` brings one; so does `make browser`.")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=CHROMIUM_ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="package")
def jupyter_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    server = JupyterServer(tmp_path_factory.mktemp("jupyter"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport=VIEWPORT, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(30_000)
    yield page
    context.close()


@pytest.fixture
def lab(page: Page, jupyter_server: JupyterServer, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A page at JupyterLab, at 1440×1000 with both side bars folded."""
    visitor = Lab(page, jupyter_server)
    yield visitor
    try:
        _look_over(visitor, request.node)
    finally:
        visitor.close()


@pytest.fixture
def stub_page(page: Page, request: pytest.FixtureRequest) -> Iterator[StubPage]:
    """A plain page for single front-end files."""
    visitor = StubPage(page)
    yield visitor
    _look_over(visitor, request.node)


def _look_over(visitor: Visitor, test: Any) -> None:
    # A test that failed says why itself; a second error would only hide it. Its picture is what helps.
    if test.stash.get(FAILED, True):
        keep_screenshot(visitor.page, "FAILED-" + re.sub(r"\W+", "-", test.name))
    else:
        visitor.check()
