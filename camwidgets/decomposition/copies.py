"""Private copies of a classifier: what may be hooked, randomised or thrown away while the user's own stays as it is."""

from __future__ import annotations

import copy

from ..classifiers.classifier import Classifier
from ..classifiers.guards import structure


def private_copy(classifier: Classifier) -> Classifier:
    """A classifier around a deep copy of the module: the same taps and labels, in evaluation mode, parameters frozen,
    no activation in place.

    Raises:
        ValueError: the module cannot be copied (it holds a tensor that is part of a graph, say).
    """
    traced = classifier._traced  # made once and shared
    twin = copy.copy(classifier)
    try:
        with classifier.lock:
            twin.module = copy.deepcopy(classifier.module)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"{classifier.name} cannot be copied, and a private copy is needed: {error}") from error
    twin._known = structure(twin.module), traced
    for module in twin.module.modules():
        module.training = False
        if getattr(module, "inplace", False) is True:
            vars(module)["inplace"] = False
    for parameter in twin.module.parameters():
        if not parameter.is_inference():
            parameter.requires_grad_(False)
    return twin
