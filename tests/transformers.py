"""Small transformers of every make, for the tests of taps, attention and maps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.vision_transformer import VisionTransformer

from camwidgets import Classifier, wrap
from tests.nets import settled


def torchvision_vit(blocks: int = 2, dtype: torch.dtype = torch.float32, seed: int = 0, **options: Any) -> Classifier:
    """torchvision's VisionTransformer: 32×32 pictures, 4×4 patches and a class token, two heads of eight channels."""
    net = VisionTransformer(32, 8, blocks, 2, 16, 32, num_classes=5, **options)
    return wrap(tamed(net, seed).to(dtype).eval(), input_size=32, name="vit")


def timm_vit(name: str = "vit_tiny_patch16_224", side: int | tuple[int, int] = 64, **options: Any) -> Classifier:
    """A transformer of timm's with seeded weights and two blocks."""
    import timm

    given = {"img_size": side, "depth": 2, "num_classes": 5, **options}
    return wrap(tamed(timm.create_model(name, pretrained=False, **given)).eval(), input_size=side, name=name)


def tamed(module: nn.Module, seed: int = 0) -> Any:
    """Seeded weights; normalising layers near 1, so that tokens differ and attention is not flat."""
    settled(module, seed)
    with torch.no_grad():
        for m in module.modules():
            if isinstance(m, nn.LayerNorm) and m.elementwise_affine:
                m.weight.add_(1)
    return module


class Handmade(nn.Module):
    """As people write it: patches by reshaping, no class token, attention written out, a sum in place, mean of tokens.

    24×32 pictures, patches of 8×8: 3×4 tokens.
    """

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(192, 16)
        self.positions = nn.Parameter(torch.zeros(1, 12, 16))
        self.norms = nn.ModuleList(nn.LayerNorm(16) for _ in range(4))
        self.qkv = nn.ModuleList(nn.Linear(16, 48) for _ in range(2))
        self.mlps = nn.ModuleList(nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16)) for _ in range(2))
        self.trunk = nn.Identity()
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        x = x.reshape(n, 3, h // 8, 8, w // 8, 8).permute(0, 2, 4, 1, 3, 5).reshape(n, (h // 8) * (w // 8), 192)
        x = self.trunk(self.embed(x) + self.positions)
        for i in range(2):
            y = self.attention(i, self.norms[2 * i](x))
            y += x
            x = self.trunk(y + self.mlps[i](self.norms[2 * i + 1](y)))
        return self.head(x.mean(1))

    def attention(self, i: int, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (2, 8)).transpose(1, 2) for part in self.qkv[i](x).chunk(3, -1))
        A = (q @ k.transpose(-2, -1) / 8**0.5).softmax(-1)
        return (A @ v).transpose(1, 2).flatten(2)


class Encoder(nn.Module):
    """PyTorch's own encoder layers (which have a fused path of their own), a class token and two registers."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.special = nn.Parameter(torch.zeros(1, 3, 16))
        layer = nn.TransformerEncoderLayer(16, 2, 32, 0.1, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        return self.head(self.layers(torch.cat([self.special.expand(len(x), -1, -1), tokens], 1))[:, 0])


def handmade(dtype: torch.dtype = torch.float32) -> Classifier:
    return wrap(tamed(Handmade()).to(dtype).eval(), input_size=(24, 32), name="handmade")


def encoder(dtype: torch.dtype = torch.float32) -> Classifier:
    return wrap(tamed(Encoder()).to(dtype).eval(), input_size=32, name="encoder")


def noise(classifier: Classifier, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """A preprocessed picture of noise in the classifier's size."""
    return torch.randn((1, 3, *classifier.input_size), generator=torch.Generator().manual_seed(seed)).to(dtype)
