"""The worlds as torch data sets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from camwidgets.datasets.textures import TextureWorld
from camwidgets.datasets.toyworld import ToyWorld
from camwidgets.errors import choose

Transform = Callable[[torch.Tensor], torch.Tensor]


class SceneDataset(Dataset[tuple[torch.Tensor, ...]]):
    """Pictures of a world as tensors, painted when they are asked for (in any order, by any worker).

    Args:
        world: a `ToyWorld` or a `TextureWorld`.
        target: "main": the main label (int64 scalar); "labels": the multi-hot vector (float32, C).
        transform: applied to the picture (3×H×W float32 in [0, 1]); for the shipped nets (x − 0.5)/0.25.
        with_index: add the picture's number in its world as a third item, an identity that shuffling doesn't
            touch.

    Raises:
        ValueError: an unknown target.

    Example:
        >>> data = SceneDataset(ToyWorld(seed=0, n=4, objects=(2, 2)), target="labels")
        >>> picture, labels = data[0]
        >>> tuple(picture.shape), int(labels.sum())
        ((3, 96, 96), 2)
    """

    def __init__(
        self,
        world: ToyWorld | TextureWorld,
        target: Literal["main", "labels"] = "main",
        transform: Transform | None = None,
        *,
        with_index: bool = False,
    ) -> None:
        self.world, self.transform, self.with_index = world, transform, with_index
        self.target = choose("target", target, ("main", "labels"))

    def __len__(self) -> int:
        return len(self.world)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
        scene = self.world[index]
        picture = torch.from_numpy(np.ascontiguousarray(scene.image.transpose(2, 0, 1))).float() / 255
        if self.transform is not None:
            picture = self.transform(picture)
        target = torch.tensor(scene.main) if self.target == "main" else torch.from_numpy(scene.labels.copy())
        return (picture, target, torch.tensor(scene.index)) if self.with_index else (picture, target)
