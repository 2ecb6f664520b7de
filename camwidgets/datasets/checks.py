"""Parameters of the worlds, checked: each error names what was given and what would be valid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from camwidgets.errors import unknown


def check_integer(name: str, value: object, low: int) -> None:
    """Raise unless value is an integer ≥ low and below 2⁶³."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer ≥ {low}, not {value!r}")
    if not low <= value < 2**63:
        raise ValueError(f"{name} must be ≥ {low} and below 2⁶³, not {value}")


def check_steps(start: int, step: object, n: int) -> None:
    """Raise unless start, start + step, … (n of them) are all ≥ 0 and different."""
    if isinstance(step, bool) or not isinstance(step, (int, np.integer)) or step == 0:
        raise ValueError(f"step must be an integer other than 0, not {step!r}")
    if n and start + int(step) * (n - 1) < 0:
        raise ValueError(f"start {start}, step {step} and n {n} lead to numbers below 0")


def check_share(name: str, value: object, high: float, low: float = 0.0) -> None:
    """Raise unless value is a number between low and high."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise TypeError(f"{name} must be a number between {low:g} and {high:g}, not {value!r}")
    if not low <= float(value) <= high:
        raise ValueError(f"{name} must lie between {low:g} and {high:g}, not {value}")


def checked_range(name: str, value: object, high: int) -> tuple[int, int]:
    """(smallest, largest) from such a pair or from one number, both 1…high."""
    pair = (value, value) if isinstance(value, (int, np.integer)) else value
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise TypeError(f"{name} must be one number or (smallest, largest), not {value!r}")
    for count in pair:
        check_integer(name, count, 1)
    smallest, largest = int(pair[0]), int(pair[1])
    if not smallest <= largest <= high:
        raise ValueError(f"{name} must be (smallest, largest) with 1 ≤ smallest ≤ largest ≤ {high}, not {value!r}")
    return smallest, largest


def checked_names(name: str, value: object, valid: Sequence[str]) -> tuple[str, ...] | None:
    """A tuple of different names out of `valid`, or None."""
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise TypeError(f"{name} must be None or a non-empty list of names, not {value!r}")
    for item in value:
        if item not in valid:
            raise unknown(f"entry of {name}", item, valid)
    if len(set(value)) < len(value):
        raise ValueError(f"{name} holds one name twice: {list(value)}")
    return tuple(value)
