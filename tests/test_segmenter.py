"""The small segmentation network: its loss by hand, its field of view, that it learns, and that it is left alone."""

from __future__ import annotations

import copy
import doctest

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from camwidgets.datasets.toyworld import ToyWorld
from camwidgets.learning import segmenter
from camwidgets.learning.labelled import open_labelled
from camwidgets.learning.netspec import rebuilt, spec_of
from camwidgets.learning.objective import Batch, Objective, View, normalised
from camwidgets.learning.segmenter import SegmentObjective, SmallLargeFOV, build_net, predict, predictions, score


def batch_of(x: Tensor, masks: Tensor | None, classes: int) -> Batch:
    view = View(torch.zeros(len(x), dtype=torch.bool), (0, 0), (x.shape[-2], x.shape[-1]))
    ids = tuple(str(i) for i in range(len(x)))
    return Batch(ids, x, torch.ones(len(x), classes, dtype=torch.bool), masks, 1, 0, torch.Generator(), view)


class Given(nn.Module):
    """Says what it was told to say."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits


def test_loss_by_hand() -> None:
    """Two known pixels: p = e²/(e² + 2) for the first, 1/3 for the second; the third is unknown."""
    logits = torch.tensor([[[[0.0, 1.0, 5.0]], [[2.0, 1.0, 0.0]], [[0.0, 1.0, 0.0]]]])
    net, masks = Given(logits), torch.tensor([[[1, 0, 255]]], dtype=torch.uint8)
    batch = batch_of(torch.zeros(1, 3, 1, 3), masks, 2)
    loss = SegmentObjective().losses(net, batch)["total"]
    e = float(np.exp(2))
    assert float(loss.detach()) == pytest.approx(-(np.log(e / (e + 2)) + np.log(1 / 3)) / 2, rel=1e-6)
    loss.backward()
    assert net.logits.grad is not None
    assert not net.logits.grad[..., 2].any()  # nothing is learnt from what is unknown
    assert net.logits.grad[0, 1, 0, 0] < 0
    told = SegmentObjective().validate(net, batch)
    assert float(told["accuracy"]) == 1.0  # of equals the first, the background
    assert float(told["loss"].detach()) == pytest.approx(float(loss.detach()))


@pytest.mark.parametrize("masks", [None, torch.full((2, 8, 8), 255, dtype=torch.uint8)])
def test_nothing_known_costs_nothing(masks: Tensor | None) -> None:
    net = SmallLargeFOV(2, width=4)
    loss = SegmentObjective().losses(net, batch_of(torch.randn(2, 3, 8, 8), masks, 2))["total"]
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


def test_the_field_of_view_is_large_and_bounded() -> None:
    """In front of a pixel: 3×3 convolutions of rates 1, 2, 2 and 4 at a quarter of the size."""
    torch.manual_seed(0)
    net = SmallLargeFOV(1, width=8).eval()
    x = torch.randn(1, 3, 128, 128, requires_grad=True)
    net.coarse(x)[0, :, 16, 16].sum().backward()
    assert x.grad is not None
    seen = np.flatnonzero(x.grad[0].abs().sum((0, 1)))
    assert 60 <= seen[-1] - seen[0] + 1 <= 4 * (1 + 2 * (1 + 1 + 2 + 4)) + 6


def test_any_size_comes_back_at_its_size() -> None:
    net = SmallLargeFOV(5, width=4)
    for size in ((33, 47), (96, 96), (8, 8)):
        assert net(torch.zeros(2, 3, *size)).shape == (2, 6, *size)
    assert sum(p.numel() for p in SmallLargeFOV(10).parameters()) < 200_000


def test_it_is_built_again_from_plain_values() -> None:
    net = SmallLargeFOV(3, width=6, rate=2)
    again = rebuilt(spec_of(net), net.state_dict(), "here")
    x = torch.randn(1, 3, 20, 20)
    assert torch.equal(net.eval()(x), again(x))
    assert isinstance(again, SmallLargeFOV)
    with pytest.raises(ValueError, match="own config"):
        build_net({"net": "AttentionNet", "classes": 3})
    with pytest.raises(TypeError):
        build_net({"net": "SmallLargeFOV", "classes": 3, "depth": 2})


@pytest.mark.parametrize("wrong", [{"classes": 0}, {"classes": 255}, {"width": 5000}, {"rate": 0}])
def test_numbers_out_of_range_are_told(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must lie between"):
        SmallLargeFOV(**{"classes": 2, **wrong})
    with pytest.raises(TypeError, match="whole number"):
        SmallLargeFOV(2.0)  # type: ignore[arg-type]


def test_it_learns_squares_by_their_colour() -> None:
    """Grey pictures with a red and a blue square: after 60 steps it finds them in pictures it has not seen."""
    torch.manual_seed(0)
    chance = np.random.default_rng(0)

    def made(n: int) -> tuple[Tensor, Tensor]:
        pictures, masks = np.full((n, 3, 32, 32), 110, np.uint8), np.zeros((n, 32, 32), np.uint8)
        for i in range(n):
            for c, colour in enumerate(((200, 40, 40), (40, 60, 210))):
                y, x = chance.integers(0, 20, 2)
                pictures[i, :, y : y + 12, x : x + 12] = np.array(colour)[:, None, None]
                masks[i, y : y + 12, x : x + 12] = c + 1
        noisy = pictures + chance.integers(0, 30, pictures.shape)
        return torch.from_numpy(noisy.astype(np.uint8)), torch.from_numpy(masks)

    pictures, masks = made(48)
    net, objective = SmallLargeFOV(2, width=8), SegmentObjective()
    steps = torch.optim.Adam(net.parameters(), lr=1e-2)
    for step in range(60):
        some = slice(16 * (step % 3), 16 * (step % 3 + 1))
        loss = objective.losses(net, batch_of(normalised(pictures[some]), masks[some], 2))["total"]
        steps.zero_grad()
        loss.backward()
        steps.step()
    fresh, truth = made(16)
    found = segmenter.Confusion(2)
    for one, mask in zip(predict(net, fresh), truth, strict=True):
        found.add(one, mask)
    assert found.miou() > 0.8
    assert net.training


def test_predicting_leaves_the_net_as_it_was() -> None:
    net = SmallLargeFOV(10, width=4).train()
    net.front.get_submodule("normfc7").eval()  # somebody keeps a part in evaluation mode
    before = copy.deepcopy(net.state_dict())
    flags = [m.training for m in net.modules()]
    data = open_labelled(ToyWorld(seed=0, n=5, objects=(1, 2)))
    pairs = list(predictions(net, data, batch=2))
    assert [example.id for example, _ in pairs] == data.ids
    assert all(labels.shape == (96, 96) and labels.dtype == torch.uint8 for _, labels in pairs)
    assert [m.training for m in net.modules()] == flags
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    together = score(net, data, batch=5)
    assert together.counts.sum() == sum(int((e.mask != 255).sum()) for e in data if e.mask is not None)


def test_what_cannot_be_segmented_is_told() -> None:
    net, objective = SmallLargeFOV(2, width=4), SegmentObjective()
    assert isinstance(objective, Objective)
    with pytest.raises(ValueError, match="float32"):
        predict(net, torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match="at least one picture"):
        list(predictions(net, open_labelled(ToyWorld(n=2)), batch=0))
    with pytest.raises(ValueError, match="gives 4 logits"):
        objective.losses(net, batch_of(torch.zeros(1, 3, 8, 8), torch.zeros(1, 8, 8, dtype=torch.uint8), 3))
    pairs = [(torch.zeros(3, 16, 16, dtype=torch.uint8), torch.tensor([1, 0]))] * 2
    with pytest.raises(ValueError, match="masks"):
        objective.check(open_labelled(pairs, size=16))


def test_watching_gives_the_probability_of_each_class() -> None:
    net = SmallLargeFOV(3, width=4).eval()
    with torch.no_grad():
        maps = SegmentObjective().watch(net, torch.randn(2, 3, 32, 32), ("a", "b"), torch.ones(2, 3))["current"]
    assert maps.shape == (2, 3, 8, 8)
    assert 0 <= float(maps.min()) <= float(maps.sum(1).max()) <= 1


def test_the_examples_run() -> None:
    found = doctest.testmod(segmenter)
    assert (found.failed, found.attempted > 3) == (0, True)
