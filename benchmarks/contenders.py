"""The contenders of the speed benchmark: each explains an N×3×H×W batch by LayerCAM fused over all stages.

Each works on its own copy of the network (same weights) and in its documented normal use; extractors are made once,
outside of the timing. What each hands back: ours float32 maps at input size with everything an `Explanation` holds;
torchcam a tensor at the size of the largest stage; pytorch-grad-cam an array at input size; the limit gradients only,
no map.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import camwidgets
from camwidgets import Classifier

Contender = Callable[[Tensor], Any]


def ours(classifier: Classifier) -> Contender:
    """`camwidgets.explain` over all stages, as a user calls it."""
    stages = list(classifier.stages)
    return lambda x: camwidgets.explain(classifier, x, stages=stages)


def prepared(classifier: Classifier) -> Contender:
    """`camwidgets.explain` on `classifier.prepared()`: BatchNorm folded, channels last; rounded differently."""
    return ours(classifier.prepared())


def limit(classifier: Classifier) -> Contender:
    """The least there is to do: a forward pass and one backward pass to the stage activations, nothing else.

    Parameters are frozen and the graph begins at the shallowest activation. No copies, no checks, no maps.
    """
    net = _copy(classifier).requires_grad_(False)
    sites: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, out: Tensor) -> Tensor:
        out = out if out.requires_grad else out.detach().requires_grad_()
        sites.append(out)
        return out

    for name in _tapped(classifier):
        net.get_submodule(name).register_forward_hook(keep)

    def run(x: Tensor) -> Any:
        sites.clear()
        y = net(x)
        return torch.autograd.grad(y.amax(1).sum(), sites)

    return run


def torchcam(classifier: Classifier) -> Contender:
    """torchcam's README: LayerCAM on named layers, `cam_extractor(class_idx, out)`, then `fuse_cams`."""
    from torchcam.methods import LayerCAM

    net = _copy(classifier).eval()
    extractor = LayerCAM(net, _tapped(classifier))

    def run(x: Tensor) -> Any:
        out = net(x)
        top = out.argmax(1).tolist()
        return extractor.fuse_cams(extractor(top if len(top) > 1 else top[0], out))

    return run


def pytorch_grad_cam(classifier: Classifier) -> Contender:
    """pytorch-grad-cam's README: LayerCAM with several target layers, `cam(input_tensor=…)` for the top class."""
    from pytorch_grad_cam import LayerCAM

    net = _copy(classifier).eval()
    cam = LayerCAM(model=net, target_layers=[net.get_submodule(name) for name in _tapped(classifier)])
    return lambda x: cam(input_tensor=x, targets=None)


CONTENDERS: dict[str, Callable[[Classifier], Contender]] = {
    "limit": limit,
    "camwidgets": ours,
    "camwidgets, prepared": prepared,
    "torchcam": torchcam,
    "pytorch-grad-cam": pytorch_grad_cam,
}


def _copy(classifier: Classifier) -> nn.Module:
    """A copy with its own hooks and flags, its weights in the same memory: nobody has luckier pages than the others."""
    net = copy.deepcopy(classifier.module)
    for own, shared in zip(net.parameters(), classifier.module.parameters(), strict=True):
        own.data = shared.data
    return net


def _tapped(classifier: Classifier) -> list[Any]:
    """The modules of the stage taps; the other libraries can tap modules only, and a module's every call."""
    taps = list(classifier.stages.values())
    if any(tap.function or tap.call for tap in taps):
        raise ValueError(f"{classifier.name} has stage taps that are not modules; the neighbours cannot tap them")
    return [tap.module for tap in taps]
