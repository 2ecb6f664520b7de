"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]

# One thread, here and in every process that a test starts. The networks are too small to gain from more, threads that
# share a busy core wait for each other for seconds, and with another number sums are rounded in another order.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def photographs() -> Path:
    """The folder with the pictures that maps are measured on; too large to travel with the code.

    ``$CAMWIDGETS_DATA`` names it; without that, ``shared/data`` beside the checkout is tried.
    """
    folder = Path(os.environ.get("CAMWIDGETS_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the measuring pictures are not on this machine: there is no folder {folder}")
    return folder
