"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def photographs() -> Path:
    """The folder with the pictures that maps are measured on; too large to travel with the code.

    ``$CAMWIDGETS_DATA`` names it; without that, ``shared/data`` beside the checkout is tried.
    """
    folder = Path(os.environ.get("CAMWIDGETS_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the measuring pictures are not on this machine: there is no folder {folder}")
    return folder
