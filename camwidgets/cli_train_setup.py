"""What ``camwidgets train`` makes of its arguments: the data set, the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from camwidgets.learning.labelled import Labelled

WORLDS = ("toyworld", "textures")
BUDGET = 2 << 30  # bytes: a data set that fits is painted or decoded once


def opened(text: str, limit: int | None, size: int | None, seed: int) -> Labelled:
    """The data set of a name or path; in memory if it fits."""
    from camwidgets.learning.labelled import open_labelled

    name, options = source(text)
    data = open_labelled(name, size=size, **options)
    if limit is not None:
        data = data.limit(limit, seed)
    height, width = data.size
    return data.painted(BUDGET) if len(data) * height * width * 4 <= BUDGET else data


def source(text: str) -> tuple[str, dict[str, Any]]:
    """A world's name with its parameters, or a path as it is.

    Example:
        >>> source("toyworld:n=600,objects=1+3,context=swap")
        ('toyworld', {'n': 600, 'objects': (1, 3), 'context': 'swap'})
    """
    from camwidgets.cli_evaluate import parsed

    name = text.partition(":")[0].strip()
    if name not in WORLDS:
        return text, {}
    options = parsed(text)
    del options["method"]
    return name, {key: _pair(value) for key, value in options.items()}


def check_kind(data: Labelled, labels: str) -> None:
    """The pictures are labelled as the loss of OAA needs them; nothing is chosen without a word."""
    from camwidgets.errors import choose
    from camwidgets.learning.classification import LABELS, check_labels

    if choose("kind of labels", labels, LABELS) == "multi-label" and not data.multi_label:
        raise ValueError(
            f"{data.name} holds exactly one class in each picture, and OAA asks for every class whether it is there: "
            f"give pictures with several (such as toyworld:objects=1+3), or have softmax by --labels single-label"
        )
    check_labels(data, labels)


def _pair(value: Any) -> Any:
    """ "1+3" as (1, 3)."""
    parts = value.split("+") if isinstance(value, str) else []
    return tuple(map(int, parts)) if len(parts) == 2 and all(part.isdecimal() for part in parts) else value


def network(name: str, data: Labelled, seed: int) -> nn.Module:
    """A network for this data: one with random weights (seeded), or a shipped one to go on with."""
    import torch

    from camwidgets.classifiers.toynet import NAMES, toy_model
    from camwidgets.errors import choose
    from camwidgets.learning.nets import AttentionNet
    from camwidgets.learning.netspec import with_origin

    if choose("network", name, ("attention", *NAMES)) != "attention":
        model = toy_model(name)
        if tuple(model.labels) != data.classes:
            raise ValueError(f"{name} knows {', '.join(model.labels)}; {data.name} has {', '.join(data.classes)[:200]}")
        return with_origin(model.module, name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AttentionNet(len(data.classes))
