"""Pixel space: a network's input in units of the picture's own range, whatever the preprocessing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ..classifiers.classifier import Classifier
from ..classifiers.preprocessing import Preprocessing

OUTSIDE = 1e-3  # how far a tensor may lie outside 0 … 1 by rounding before it is no picture


@dataclass(frozen=True)
class PixelSpace:
    """Pixels p in [0, 1] (255 = 1) and the network's input x = (p − mean)/std, per channel.

    Attributes:
        mean, std: 1×3×1×1 float64, in units of the full pixel range.

    Example:
        >>> import camwidgets
        >>> space = PixelSpace.of(camwidgets.load("efficientnet_lite0"))
        >>> [round(255 * float(space.mean[0, 0])), round(255 * float(space.std[0, 0]))]
        [127, 128]
    """

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, classifier: Classifier) -> PixelSpace:
        """The pixel space of a classifier's preprocessing: what it declares, or what it does to black, grey and white.

        Raises:
            ValueError: the preprocessing is not x = (p − mean)/std with one mean and std per channel.
        """
        rule = classifier.preprocessing
        moments = (rule.mean, rule.std) if isinstance(rule, Preprocessing) else getattr(rule, "moments", None)
        mean, std = moments if moments else _probed(rule, classifier)
        return cls(_moment(mean), _moment(std))

    def pixels(self, x: Tensor) -> Tensor:
        """N×3×h×w network input to pixels in [0, 1]: in float32 at least, for half precision knows no 1/255 near 1.

        Raises:
            ValueError: the input is no picture: a pixel lies outside 0 … 1 by more than rounding.
        """
        outside = max(OUTSIDE, torch.finfo(x.dtype).eps)
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        p = x * self.std.to(x) + self.mean.to(x)
        low, high = float(p.min()), float(p.max())
        if low < -outside or high > 1 + outside:
            raise ValueError(
                f"the input is no picture: its pixels reach from {low:.3g} to {high:.3g} in units of the full range, "
                f"and must lie in 0 … 1"
            )
        return p.clamp(0, 1)

    def input(self, p: Tensor) -> Tensor:
        """N×3×h×w pixels in [0, 1] to network input."""
        return (p - self.mean.to(p)) / self.std.to(p)

    def from_picture(self, picture: np.ndarray) -> Tensor:
        """An h×w×3 uint8 picture at the network's input size to a 1×3×h×w float32 input: no resizing, no cropping."""
        return self.input(torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float() / 255)


class PixelModel(nn.Module):
    """A classifier as other libraries' attacks want it: N×3×h×w pixels in [0, 1] to logits, normalisation inside.

    The user's module is not registered as a child: `train()`, `zero_grad()` and their like cannot reach it. Use it
    inside `undisturbed` (as `attack` does). `watch` is called before each pass; whatever it raises ends the work.
    """

    def __init__(
        self, classifier: Classifier, space: PixelSpace | None = None, watch: Callable[[], None] | None = None
    ) -> None:
        super().__init__()
        space = space or PixelSpace.of(classifier)
        self._classifier = (classifier,)
        # Parameters, for there are libraries that read a model's device off its first one.
        self.mean = nn.Parameter(space.mean.float().to(classifier.device), requires_grad=False)
        self.std = nn.Parameter(space.std.float().to(classifier.device), requires_grad=False)
        weight = next((one for one in classifier.module.parameters() if one.is_floating_point()), self.mean)
        self._dtype = weight.dtype  # the network's own; pixels stay exact outside it
        self.space, self._watch = space, watch
        self.eval()

    def forward(self, p: Tensor) -> Tensor:
        if self._watch is not None:
            self._watch()
        return self._classifier[0].logits(self.space.input(p).to(self._dtype))


def _moment(values: Any) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64).reshape(1, 3, 1, 1)


def _probed(rule: Any, classifier: Classifier) -> tuple[Tensor, Tensor]:
    """Mean and std of a transform that does not declare them."""
    h, w = classifier.input_size
    black, grey, white = (rule(Image.new("RGB", (w, h), (v, v, v))).detach().double() for v in (0, 51, 255))
    low, high = black.mean((1, 2)), white.mean((1, 2))
    flat = all(float((one - one.mean((1, 2), keepdim=True)).abs().max()) < 1e-4 for one in (black, grey, white))
    span = high - low
    straight = torch.allclose(grey.mean((1, 2)), low + 0.2 * span, atol=1e-4)
    if not flat or bool((span.abs() < 1e-9).any()) or not straight:
        raise ValueError(
            f"the preprocessing of {classifier.name} is not (pixel − mean)/std per channel, so that ε has no meaning "
            f"in pixels; wrap the module with a `Preprocessing` or a transform that ends with `Normalize`"
        )
    return -low / span, 1 / span
