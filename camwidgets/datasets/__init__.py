"""Pictures whose truth is known: the toy world, textures with defects, and readers for what lies on a disk.

Nothing is downloaded. `open_dataset` recognises what it is given; `Item` and `Items` are what an evaluation works on.
"""

from __future__ import annotations

from .items import Item, Items

__all__ = ["Item", "Items"]
