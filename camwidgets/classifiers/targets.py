"""Classes: how one is named by who asks, and how it is given back in an answer."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..errors import unknown


@dataclass(frozen=True)
class Prediction:
    """One class of a prediction: `probability` = softmax of the logits, in [0, 1]."""

    index: int
    label: str
    probability: float
    logit: float


def checked_index(target: Any, count: int, name: str) -> int:
    """A class index of any integer type, in range of the `count` classes of the network `name`."""
    position: int | None
    try:
        position = operator.index(target)
    except TypeError:
        position = None
    if position is None or isinstance(target, bool) or getattr(target, "dtype", None) == torch.bool:
        raise TypeError(f"a target is a class index, a label or a callable on the logits; got {target!r}")
    if not 0 <= position < count:
        raise ValueError(f"class {position} is out of range: {name} has classes 0 … {count - 1}")
    return position


def index_of_label(label: str, labels: Sequence[str]) -> int:
    """The index of a label, large and small letters alike; ValueError with the nearest where there is none."""
    found = [i for i, known in enumerate(labels) if known.casefold() == label.casefold()]
    if not found:
        raise unknown("label", label, labels)
    if len(found) > 1:
        raise ValueError(f"label {label!r} names the classes {found}; give one of these indices instead")
    return found[0]
