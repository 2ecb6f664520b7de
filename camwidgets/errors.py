"""Error messages that name what was given and what would be valid."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

LISTED = 32  # names that a sentence lists; of more it says how many there are


def unknown(kind: str, given: object, valid: Iterable[str]) -> ValueError:
    """Return a `ValueError` for a name that does not exist, with the nearest one that does.

    Example:
        >>> str(unknown("stage", "S6", ["S1", "S2"]))
        "unknown stage 'S6'; valid: S1, S2 (did you mean 'S2'?)"
    """
    names = [str(name) for name in valid]
    few = len(names) <= LISTED
    near = nearest(str(given), names, 1, 0.5) if few else nearest(str(given), names, 4)
    hint = f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""
    if few:
        return ValueError(f"unknown {kind} {given!r}; valid: {', '.join(names)}{hint}")
    listed = "" if near else f": {', '.join(names[:8])}, …"
    return ValueError(f"unknown {kind} {given!r}{hint}; {len(names)} are valid{listed}")


def nearest(given: str, names: Sequence[str], most: int, alike: float = 0.6) -> list[str]:
    """The names that hold the word, then those that are spelt alike (difflib's ratio); the best first, at most so many.

    Example:
        >>> nearest("dog", ["dough", "sea lion", "Maltese dog", "Eskimo dog"], 3)
        ['Eskimo dog', 'Maltese dog', 'dough']
    """
    folded = given.casefold()
    holding = [name for name in names if folded and folded in re.split(r"[^\w]+", name.casefold())]
    by_fold = {name.casefold(): name for name in reversed(names)}
    spelt = [by_fold[one] for one in difflib.get_close_matches(folded, by_fold, n=most, cutoff=alike)]
    return list(dict.fromkeys(sorted(holding, key=len) + spelt))[:most]


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
