"""From a picture to a network's input tensor, and back to what the network saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

Fit = Literal["crop", "squash"]
RGB = tuple[float, float, float]
IMAGENET_MEAN: RGB = (0.485, 0.456, 0.406)
IMAGENET_STD: RGB = (0.229, 0.224, 0.225)
_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


class Preprocess(Protocol):
    """What a `Classifier` needs of its preprocessing."""

    def __call__(self, image: Image.Image) -> Tensor:
        """An RGB picture to the 3×h×w input tensor."""

    def show(self, tensor: Tensor) -> np.ndarray:
        """A 3×h×w input tensor to the h×w×3 uint8 picture that it stands for."""


@dataclass(frozen=True)
class Preprocessing:
    """Resize, crop, scale to [0, 1] and normalise: x = (pixel / 255 − mean) / std.

    Attributes:
        size: (h, w) of the network's input, pixels.
        resize: length of the shorter side before the centre crop, pixels (`fit="crop"` only).
        fit: "crop" keeps the proportions and cuts the borders off; "squash" shows the whole picture, distorted.
        mean, std: per channel (RGB), in units of the full range (255 = 1).
    """

    size: tuple[int, int] = (224, 224)
    resize: int = 256
    fit: Fit = "crop"
    mean: RGB = IMAGENET_MEAN
    std: RGB = IMAGENET_STD
    interpolation: str = "bilinear"

    def __call__(self, image: Image.Image) -> Tensor:
        pixels = torch.from_numpy(np.array(self.view(image))).permute(2, 0, 1)
        mean, std = self._moments()
        return (pixels.float() / 255 - mean) / std

    def view(self, image: Image.Image) -> Image.Image:
        """The part of an RGB picture that the network sees, at its input size."""
        height, width = self.size
        method = _FILTERS[self.interpolation]
        if self.fit == "squash":
            return image.resize((width, height), method)
        short = min(image.size)
        scaled = [max(1, int(self.resize * side / short)) for side in image.size]
        left, top = round((scaled[0] - width) / 2), round((scaled[1] - height) / 2)
        return image.resize((scaled[0], scaled[1]), method).crop((left, top, left + width, top + height))

    def show(self, tensor: Tensor) -> np.ndarray:
        mean, std = self._moments()
        pixels = (tensor.detach().float().cpu() * std + mean) * 255
        return np.dstack(list(pixels.round_().clamp_(0, 255).to(torch.uint8).numpy()))

    def _moments(self) -> tuple[Tensor, Tensor]:
        return torch.tensor(self.mean).view(3, 1, 1), torch.tensor(self.std).view(3, 1, 1)

    @classmethod
    def from_torchvision(cls, preset: Any) -> Preprocessing:
        """From a torchvision `ImageClassification` preset (what `weights.transforms()` returns)."""
        crop, resize = int(preset.crop_size[0]), int(preset.resize_size[0])
        return cls(
            (crop, crop),
            resize,
            mean=tuple(preset.mean),
            std=tuple(preset.std),
            interpolation=str(preset.interpolation.value),
        )


@dataclass(frozen=True)
class CustomPreprocessing:
    """Somebody's own transform (a callable from an RGB PIL picture to a 3×h×w tensor)."""

    transform: Callable[[Image.Image], Tensor]
    moments: tuple[RGB, RGB] | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "moments", _find_moments(self.transform))

    def __call__(self, image: Image.Image) -> Tensor:
        tensor = self.transform(image)
        if not isinstance(tensor, Tensor) or tensor.ndim != 3:
            got = f"shape {tuple(tensor.shape)}" if isinstance(tensor, Tensor) else type(tensor).__name__
            raise ValueError(f"the transform must return a 3×h×w tensor; it returned {got}")
        if tensor.shape[0] != 3:
            raise ValueError(
                f"the transform must return a 3×h×w tensor, for networks that take RGB pictures are served; it "
                f"returned shape {tuple(tensor.shape)}: leave the grey for a layer before the network"
            )
        return tensor

    def show(self, tensor: Tensor) -> np.ndarray:
        if self.moments:
            return Preprocessing(mean=self.moments[0], std=self.moments[1]).show(tensor)
        # The normalisation is unknown: stretch to the full range, which keeps the picture recognisable.
        tensor = tensor.detach().float()
        low, high = tensor.min(), tensor.max()
        return Preprocessing(mean=(0, 0, 0), std=(1, 1, 1)).show((tensor - low) / (high - low).clamp(min=1e-12))


def _find_moments(transform: Any) -> tuple[RGB, RGB] | None:
    """Mean and std of a torchvision preset, a `Normalize`, or a `Compose` that holds one."""
    for part in [transform, *getattr(transform, "transforms", [])]:
        mean, std = getattr(part, "mean", None), getattr(part, "std", None)
        if mean is not None and std is not None:
            return tuple(torch.as_tensor(mean).tolist()), tuple(torch.as_tensor(std).tolist())
    return None
