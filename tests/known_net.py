"""A network whose channels' importances can be had with a pencil, and two pictures for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from camwidgets import Classifier, wrap


class Known(nn.Module):
    """Bias-free 1×1 convolutions: on a picture of one colour (r, g, b) S1 is (r, g, b) everywhere, S2 (r, g, 2b, 0),
    and the logits are 3·r + g, 1.5·g + b, 2b.
    """

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 3, 1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(2)
        self.two = nn.Conv2d(3, 4, 1, bias=False)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(4, 3, bias=False)
        with torch.no_grad():
            self.one.weight.copy_(torch.eye(3)[:, :, None, None])
            two = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 2], [0, 0, 0]])
            self.two.weight.copy_(two[:, :, None, None])
            self.head.weight.copy_(torch.tensor([[3.0, 1, 0, 0], [0, 1.5, 0.5, 0], [0, 0, 1, 5]]))
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.one(x)))
        return self.head(self.act(self.two(x)).mean((2, 3)))


def known() -> Classifier:
    return wrap(Known(), input_size=8, labels=["a", "b", "c"], name="known")


def colour(r: float, g: float, b: float) -> Tensor:
    """1×3×8×8 of one colour."""
    return torch.tensor([r, g, b], dtype=torch.float64)[None, :, None, None].repeat(1, 1, 8, 8)


# Logits 5, 3.5, 1: at S2 #0 carries 3/5 of class a and #1 2/5; at S1 the same.
FIRST = colour(1, 2, 0.5)
# Logits 2.3, 4, 2: at S2 #1 carries 3/4 of class b and #2 1/4; at S1 the same.
SECOND = colour(0.1, 2, 1)


def cell(table: Any, row: object, column: str) -> Any:
    """One value of a table."""
    return table.to_dict("index")[row][column]
