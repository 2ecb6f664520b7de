"""Small networks that several tests share, and a record of everything on a module that must never change.

Each network that has `reference` also carries its forward pass written out of place, operation by operation: what
plain autograd says about that is what our evidence must say about the network itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camwidgets import Classifier, wrap

Net = TypeVar("Net", bound=nn.Module)
Reference = tuple[dict[str, Tensor], Tensor]  # tap → tensor in the graph, and the logits


class Small(nn.Module):
    """Two stages, in-place ReLUs, BatchNorm, dropout: 3×16×16 → 5 logits. Fast enough for thousands of passes."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(4)
        self.relu1 = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(4, 6, 3, padding=1)
        self.relu2 = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(6, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu1(self.norm1(self.conv1(x))))
        x = self.relu2(self.conv2(x))
        return self.fc(self.drop(x.mean((2, 3))))

    def reference(self, x: Tensor) -> Reference:
        linear1 = self.conv1(x)
        n = self.norm1
        assert n.running_mean is not None
        assert n.running_var is not None
        scale = n.weight / torch.sqrt(n.running_var + n.eps)
        normed = (linear1 - n.running_mean[:, None, None]) * scale[:, None, None] + n.bias[:, None, None]
        a1 = torch.relu(normed)
        linear2 = self.conv2(F.max_pool2d(a1, 2))
        a2 = torch.relu(linear2)
        sites = {"conv1": linear1, "norm1": normed, "relu1": a1, "conv2": linear2, "relu2": a2}
        return sites, a2.mean((2, 3)) @ self.fc.weight.T + self.fc.bias


class SharedSkip(nn.Module):
    """One in-place ReLU called three times, a skip connection added in place, and a convolution called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.pool = nn.AvgPool2d(2)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.stem(x))
        y = self.conv(x)
        y += x
        z = self.pool(self.act(y))
        return self.fc(self.act(self.conv(z)).mean((2, 3)))

    def reference(self, x: Tensor) -> Reference:
        a = torch.relu(self.stem(x))
        c1 = F.conv2d(a, self.conv.weight, self.conv.bias, padding=1)
        b = torch.relu(c1 + a)
        c2 = F.conv2d(F.avg_pool2d(b, 2), self.conv.weight, self.conv.bias, padding=1)
        d = torch.relu(c2)
        sites = {"act": a, "conv": c1, "act@1": b, "conv@1": c2, "act@2": d}
        return sites, self.fc(d.mean((2, 3)))


class Tutorial(nn.Module):
    """The network of the PyTorch tutorial "Training a Classifier": activations are functions, not modules."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = torch.flatten(x, 1)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


class Written(nn.Module):
    """Two convolutions with an activation between pooling, where `activate` is any function; 3×32×32 → 3 logits."""

    def __init__(self, activate: Callable[[Tensor], Any], pool_first: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 6, 3, padding=1)
        self.fc = nn.Linear(6, 3)
        self.activate = activate
        self.pool_first = pool_first

    def forward(self, x: Tensor) -> Tensor:
        for conv in (self.conv1, self.conv2):
            x = conv(x)
            x = F.max_pool2d(x, 2) if self.pool_first else x
            x = self.activate(x)
            x = x if self.pool_first else F.max_pool2d(x, 2)
        return self.fc(x.mean((2, 3)))


class Gated(nn.Module):
    """An attention gate σ(a)·b of two different tensors: not a swish, so it is no rectified activation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.gate = nn.Conv2d(4, 4, 3, padding=1)
        self.value = nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        g = torch.sigmoid(self.gate(x))
        return self.fc((self.value(x) * g).mean((2, 3)))


class Raises(nn.Module):
    """Small, whose second stage raises `error` from the given pass on."""

    def __init__(self, error: BaseException, after: int = 0) -> None:
        super().__init__()
        self.net = Small()
        self.error, self.left = error, after
        self.net.conv2.register_forward_pre_hook(self._break)

    def _break(self, *_: Any) -> None:
        if self.left <= 0:
            raise self.error
        self.left -= 1

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def small(classes: int = 5, seed: int = 0, dtype: torch.dtype = torch.float32, **options: Any) -> Classifier:
    """A classifier around `Small`, in evaluation mode, with BatchNorm statistics that are not the initial ones."""
    return wrap(settled(Small(classes), seed).to(dtype).eval(), input_size=16, name="small", **options)


def settled(module: Net, seed: int = 0) -> Net:
    """The module with seeded weights and BatchNorm statistics (and affine weights) that differ from 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            spread = (2 / max(1, p[0].numel())) ** 0.5 if p.ndim > 1 else 0.2
            p.copy_(torch.randn(p.shape, generator=generator) * spread)
        for m in module.modules():
            if isinstance(m, nn.BatchNorm2d) and m.running_mean is not None and m.running_var is not None:
                m.weight.copy_(0.5 + torch.rand(m.weight.shape, generator=generator))
                m.running_mean.copy_(0.1 * torch.randn(m.running_mean.shape, generator=generator))
                m.running_var.copy_(0.5 + torch.rand(m.running_var.shape, generator=generator))
    return module


def picture(n: int = 1, side: int = 16, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """A preprocessed batch of noise, n×3×side×side."""
    return torch.randn((n, 3, side, side), generator=torch.Generator().manual_seed(seed)).to(dtype)


def hooks(module: nn.Module) -> int:
    """How many hooks of any kind hang on the module and its children."""
    return sum(len(v) for m in module.modules() for k, v in vars(m).items() if k.endswith("hooks"))


def state(module: nn.Module) -> dict[str, Any]:
    """Everything on a module that explaining must not change: values bit for bit, flags, gradients, hooks in order."""
    found: dict[str, Any] = {}
    for name, m in module.named_modules():
        found[f"{name}.training"] = m.training
        found[f"{name}.attributes"] = sorted(vars(m))
        for key, value in vars(m).items():
            if key.endswith("hooks") or key.startswith(("_forward_hooks", "_forward_pre_hooks")):
                found[f"{name}.{key}"] = [(k, id(v)) for k, v in value.items()] if isinstance(value, dict) else value
    for name, p in module.named_parameters():
        found[f"{name}.asks"], found[f"{name}.leaf"] = p.requires_grad, p.is_leaf
        found[f"{name}.grad"] = None if p.grad is None else (id(p.grad), _bits(p.grad))
        found[f"{name}.backward_hooks"] = list((p._backward_hooks or {}).items())
    for name, t in [*module.named_parameters(), *module.named_buffers()]:
        found[f"{name}.value"] = (id(t), t.data_ptr(), t.dtype, _bits(t))
    return found


def _bits(tensor: Tensor) -> bytes:
    return bytes(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
