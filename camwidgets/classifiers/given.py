"""What was given where a classifier is needed."""

from __future__ import annotations

from typing import Any

from torch import nn

from .classifier import Classifier


def check_classifier(given: Any, who: str) -> None:
    """TypeError unless it is a `Classifier`; the sentence says how to make one of it.

    Args:
        who: what was called, the sentence's first word.

    Example:
        >>> check_classifier("resnet18", "explain")
        Traceback (most recent call last):
        TypeError: explain takes a Classifier; got the name 'resnet18': load it first, camwidgets.load('resnet18')
    """
    if isinstance(given, Classifier):
        return
    if isinstance(given, nn.Module):
        remedy = f"got a {type(given).__name__}: wrap it first, camwidgets.wrap(module, transform, labels)"
    elif isinstance(given, str):
        remedy = f"got the name {given!r}: load it first, camwidgets.load({given!r})"
    else:
        remedy = f"got {type(given).__name__}; camwidgets.load and camwidgets.wrap make one"
    raise TypeError(f"{who} takes a Classifier; {remedy}")
