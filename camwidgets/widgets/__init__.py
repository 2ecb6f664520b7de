"""Views for notebooks. State lives in traits; the mathematics lives elsewhere."""

from __future__ import annotations

from .cam_explorer import CamExplorer

__all__ = ["CamExplorer"]
