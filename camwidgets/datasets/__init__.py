"""Pictures whose truth is known: the toy world, textures with defects, and readers for what lies on a disk.

Nothing is downloaded. `open_dataset` recognises what it is given; `Item` and `Items` are what an evaluation works on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .items import Item, Items

if TYPE_CHECKING:
    from .labels import match_labels as match_labels
    from .opening import open_dataset as open_dataset

_LATER = {"open_dataset": "opening", "match_labels": "labels"}
_WORLDS = ("toyworld", "textures")
__all__ = ["Item", "Items", "match_labels", "open_dataset"]


def __getattr__(name: str) -> Any:
    """The readers are loaded at first use: the worlds must not wait for them."""
    from importlib import import_module

    if name in _WORLDS:
        return import_module(f"{__name__}.{name}")
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
