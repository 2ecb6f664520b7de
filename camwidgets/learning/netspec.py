"""What a run's network is, in plain values, and the same network again from them; nothing is unpickled."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from ..classifiers.states import adapt
from ..classifiers.toynet import ToyNet
from ..errors import unknown

# Networks that the kit builds from their configuration: name → module of this package that has `build_net`.
HOMES = {"AttentionNet": "nets", "TwoBranchNet": "nets", "SmallLargeFOV": "segmenter"}


def spec_of(net: nn.Module) -> dict[str, Any]:
    """{"net": class, "config": its arguments, or None where only its owner can build it, "shapes": hash}.

    `shapes` hashes the names and shapes of all parameters and buffers: two networks of one hash can swap weights.
    "origin" beside them is the name of the weights that a training begins with, where `with_origin` said it.
    """
    text = "\n".join(f"{name} {tuple(tensor.shape)}" for name, tensor in net.state_dict().items())
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    origin = getattr(net, "origin", None)
    named = {"origin": origin} if isinstance(origin, str) else {}
    return {"net": type(net).__name__, "config": _config(net), "shapes": digest, **named}


def with_origin(net: nn.Module, name: str) -> nn.Module:
    """The same network, which says what its weights are: networks of one build are told apart when a run goes on.

    A hash of the weights could not do it: who goes on with a run has a network that was trained since it began, or a
    fresh one, and the checkpoint's weights take the place of either.
    """
    net.__dict__["origin"] = name  # a plain attribute: not a parameter, not in the state
    return net


def _config(net: nn.Module) -> dict[str, Any] | None:
    if type(net) is ToyNet:
        norm = any(isinstance(part, nn.BatchNorm2d) for part in net.modules())
        return {"classes": net.classifier.out_features, "norm": norm}
    config = getattr(net, "config", None)
    if type(net).__name__ in HOMES and callable(config):
        return dict(config())
    return None


def rebuilt(spec: dict[str, Any], state: dict[str, Tensor], name: str) -> nn.Module:
    """The network of a spec with these weights.

    It is built without memory first and filled with what was read: a spec that claims a giant costs nothing.

    Raises:
        ValueError: a network that the kit cannot build, or weights of another one.
    """
    build = _builder(spec, name)
    try:
        with torch.device("meta"):
            net = build()
    except (TypeError, ValueError, RuntimeError, KeyError, OverflowError, MemoryError) as error:
        raise ValueError(f"the network of {name} cannot be built from {spec['config']!r}: {error}") from error
    net.load_state_dict(adapt(state, net, spec["net"]), assign=True)
    return net.eval()


def _builder(spec: dict[str, Any], name: str) -> Callable[[], nn.Module]:
    kind, config = spec.get("net"), spec.get("config")
    if not isinstance(kind, str) or not (config is None or isinstance(config, dict)):
        raise ValueError(f"{name} does not say what its network is")
    if config is None:
        raise ValueError(f"the kit cannot build a {kind}, the network of {name}: give one, net(module=…), to be filled")
    if kind == "ToyNet":
        return lambda: ToyNet(**config)
    if kind not in HOMES:
        raise unknown("network", kind, ("ToyNet", *HOMES))
    return lambda: import_module(f".{HOMES[kind]}", __package__).build_net(config)
