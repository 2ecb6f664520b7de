"""A page under watch: uncaught exceptions, and requests to anywhere but this machine."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, Page

LOOPBACK = {"127.0.0.1", "localhost", "::1"}
LOCAL_SCHEMES = {"data", "blob", "about"}


class Watch:
    """Collects what must not happen on *page*. ``problems`` is empty as long as all is well.

    A test that provokes an error on purpose forgives it by a pattern: ``watch.forgive("not a picture")``.
    """

    def __init__(self, page: Page) -> None:
        self.console: list[str] = []
        self._problems: list[str] = []
        self._forgiven: list[re.Pattern[str]] = []
        page.on("pageerror", lambda error: self.add(f"uncaught in the page: {error}"))
        page.on("request", lambda request: self._asked(request.url))
        page.on("websocket", lambda socket: self._asked(socket.url))
        page.on("console", self._logged)

    @property
    def problems(self) -> list[str]:
        """What was seen so far and not forgiven."""
        return [text for text in self._problems if not any(p.search(text) for p in self._forgiven)]

    def add(self, problem: str) -> None:
        """Note a problem that somebody else saw."""
        self._problems.append(problem)

    def forgive(self, pattern: str) -> None:
        """Problems whose text matches the regular expression are expected by this test."""
        self._forgiven.append(re.compile(pattern))

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in LOCAL_SCHEMES and parts.hostname not in LOOPBACK:
            self.add(f"left this machine: {url}")

    def _logged(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.console.append(f"{message.type}: {message.text}")


def assert_no_problems(watch: Watch) -> None:
    """Fail with everything that was seen, and the end of the browser's console for a hint."""
    if watch.problems:
        console = watch.console[-10:] or ["(empty)"]
        lines = ["", *watch.problems, "", "the browser's console ends with:", *console]
        raise AssertionError("\n  ".join(["problems in the browser:", *lines]))
