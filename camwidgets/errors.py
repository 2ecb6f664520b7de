"""Error messages that name what was given and what would be valid."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

import numpy as np


def unknown(kind: str, given: object, valid: Iterable[str]) -> ValueError:
    """Return a `ValueError` for a name that does not exist, with the nearest one that does.

    Example:
        >>> str(unknown("stage", "S6", ["S1", "S2"]))
        "unknown stage 'S6'; valid: S1, S2 (did you mean 'S2'?)"
    """
    names = [str(name) for name in valid]
    shown = ", ".join(names[:24]) + (f", … ({len(names)} in all)" if len(names) > 24 else "")
    near = difflib.get_close_matches(str(given), names, n=1, cutoff=0.5)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return ValueError(f"unknown {kind} {given!r}; valid: {shown}{hint}")


def choose(kind: str, given: str, valid: Iterable[str]) -> str:
    """Return `given` when it is one of `valid`, else raise `unknown(kind, given, valid)`."""
    names = list(valid)
    if given not in names:
        raise unknown(kind, given, names)
    return given


def plain(value: Any) -> Any:
    """A number of NumPy's as one of Python's; anything else as it is.

    Example:
        >>> import numpy as np
        >>> plain(np.int64(3)), plain("S5")
        (3, 'S5')
    """
    return value.item() if isinstance(value, np.generic) else value
