"""Sets of pictures: what every measurement over many pictures checks before it begins."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..classifiers.classifier import Classifier
from ..errors import choose
from ..evidence import Recording

Progress = Callable[[int, int], Any]  # (done, total); whatever it raises ends the work
REMOVALS = ("zero", "mean")


def check_pictures(pictures: Sequence[Any]) -> int:
    """How many pictures there are; refuses an empty set and what is no set."""
    if isinstance(pictures, (str, bytes)) or not hasattr(pictures, "__len__") or not hasattr(pictures, "__getitem__"):
        raise TypeError(f"pictures must be a sequence of pictures; got {type(pictures).__name__}")
    if len(pictures) == 0:
        raise ValueError("an empty set of pictures was given; at least one is needed")
    return len(pictures)


def check_labels(classifier: Classifier, labels: Sequence[int | str] | None, count: int) -> list[int] | None:
    """The class index of each picture, or None."""
    if labels is None:
        return None
    if len(labels) != count:
        raise ValueError(f"{len(labels)} labels were given for {count} pictures; one for each is needed")
    values = labels.tolist() if hasattr(labels, "tolist") else labels  # arrays and tensors
    return [classifier.index(label) for label in values]


def check_counts(kind: str, counts: Iterable[int], most: int, of: str) -> list[int]:
    """Numbers of channels, each 1 … most, in rising order without repeats."""
    given = list(counts)
    if not given:
        raise ValueError(f"no {kind} was given; valid: 1 … {most}")
    found = [whole_number(one) for one in given]
    for one, number in zip(given, found, strict=True):
        if number is None or not 1 <= number <= most:
            raise ValueError(f"{kind} {one!r} is not valid: {of} has {most} channels, so give 1 … {most}")
    return sorted({number for number in found if number is not None})


def check_decisions(decisions: Any) -> int:
    """How many decisions of each stage are taken, at least 1."""
    number = whole_number(decisions)
    if number is None or number < 1:
        raise ValueError(f"decisions is how many channels of each stage are followed, at least 1; got {decisions!r}")
    return number


def whole_number(value: Any) -> int | None:
    """An integer of Python, NumPy or PyTorch as Python's; None for anything else, truth values among them."""
    if isinstance(value, bool) or getattr(value, "dtype", None) == torch.bool:
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def check_removal(removal: str, means: Mapping[Any, Tensor] | None, taps: Iterable[str]) -> Mapping[Any, Tensor] | None:
    """What is put in place of channels: None for zero, else their means over a data set."""
    choose("removal", removal, REMOVALS)
    if removal == "zero":
        return None
    if not means:
        raise ValueError(
            "removal='mean' needs the channels' means over a data set: means=channel_means(classifier, pictures)"
        )
    missing = next((str(tap) for tap in taps if tap not in means), None)
    if missing is not None:
        raise ValueError(f"the means given do not hold the tap {missing!r}; they hold: {', '.join(means)}")
    return means


def one_picture(recording: Recording) -> Recording:
    """The recording, if it is of one picture."""
    if len(recording.x) != 1:
        raise ValueError(f"each item of the set must be one picture; one is a batch of {len(recording.x)}")
    return recording


def doubling(most: int) -> list[int]:
    """1, 2, 4 … up to `most`, which is always the last."""
    return [*(2**i for i in range(most.bit_length()) if 2**i < most), most]
