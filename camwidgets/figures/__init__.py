"""Pictures from plain results: no network is run here, and no widget."""

from .overlay import overlay
from .strip import strip

__all__ = ["overlay", "strip"]
