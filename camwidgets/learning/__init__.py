"""Maps that learn: online accumulation (OAA), guided attention (GAIN), and what weak labels can do."""

from __future__ import annotations
