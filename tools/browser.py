"""Find a Chromium for the browser tests, or bring one; print its path.

A browser that is there already is used: ``$CAMWIDGETS_CHROMIUM``, then one on the PATH, then one that
Playwright brought earlier. Otherwise Debian's package is installed where apt works as root, and Playwright's
own build elsewhere. Exit status 1, with what to do, when none can be had: browser tests are never skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from camwidgets.doctor import find_browser

APT = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium", "fonts-dejavu-core"]


def main() -> int:
    browser = find_browser() or _from_apt() or _from_playwright()
    if browser is None:
        _say(
            "No browser for the tests: none was found, and neither apt-get nor Playwright could bring one.\n"
            "Install one (Debian: sudo apt-get install chromium), or name one: CAMWIDGETS_CHROMIUM=/its/path"
        )
        return 1
    if not _starts(browser):
        _say(f"The browser {browser} does not start. Name another: CAMWIDGETS_CHROMIUM=/path/to/it")
        return 1
    print(browser)
    return 0


def _from_apt() -> Path | None:
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return None
    _say("No Chromium yet: installing Debian's (about 120 MB).")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update", "-qq"], APT):
        if subprocess.run(command, check=False, env=environment, stdout=subprocess.DEVNULL).returncode != 0:
            _say(f"`{' '.join(command)}` failed.")
            return None
    return find_browser()


def _from_playwright() -> Path | None:
    _say("No Chromium yet: asking Playwright for its own build.")
    command = [sys.executable, "-m", "playwright", "install", "chromium"]
    return find_browser() if subprocess.run(command, check=False, stdout=sys.stderr).returncode == 0 else None


def _starts(browser: Path) -> bool:
    # Ubuntu's `chromium` is a script that only says "install the snap": it has to be run to be believed.
    try:
        command = [str(browser), "--version"]
        answer = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and "chrom" in answer.stdout.lower()


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
