"""Score-CAM side by side with pytorch-grad-cam and torchcam on the same network, in float64.

What they do, as opposed to us: both take the logit where we take the probability (so here the target is a callable).
torchcam stretches A before it is upsampled, we after, as the paper has it: the same only where upsampling keeps the
extremes, as by odd factors. pytorch-grad-cam upsamples with aligned corners: the same only at the input's own size.
Where that matters they are lent our upsampling, so that all else is compared.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

from camwidgets import Classifier, wrap
from camwidgets.maps import Passes, Request
from camwidgets.maps.masking import stretched, upsampled
from camwidgets.maps.scorecam import scorecam
from tests.nets import picture, settled, small

pytest.importorskip("torchcam")
from pytorch_grad_cam import ScoreCAM as TheirScoreCAM
from torchcam.methods import ScoreCAM as TorchcamScoreCAM

LIMIT = 1e-4
TARGET = 2


class Thirds(nn.Module):
    """A second stage of a third of the input's side."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.relu1 = nn.ReLU()
        self.pool = nn.MaxPool2d(3)
        self.conv2 = nn.Conv2d(6, 12, 3, padding=1)
        self.relu2 = nn.ReLU()
        self.fc = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu2(self.conv2(self.pool(self.relu1(self.conv1(x)))))
        return self.fc(x.mean((2, 3)))


def thirds() -> tuple[Classifier, Tensor]:
    return wrap(settled(Thirds()).double().eval(), input_size=18), picture(side=18, dtype=torch.float64)


def resnet() -> tuple[Classifier, Tensor]:
    with torch.device("meta"):
        module = torchvision.models.resnet18(weights=None)
    module = settled(module.to_empty(device="cpu")).double().eval()
    return wrap(module, input_size=32), picture(side=32, dtype=torch.float64)


def ours(classifier: Classifier, x: Tensor, stage: str) -> Tensor:
    request = Request(classifier, x, lambda y: y[TARGET], Passes(), classifier.tap(stage))
    return scorecam(request)


def by_grad_cam(classifier: Classifier, x: Tensor, stage: str) -> np.ndarray:
    """Its raw map, before it is resized."""
    layer = classifier.module.get_submodule(classifier.tap(stage).module)
    with TheirScoreCAM(classifier.module, [layer]) as cam:
        targets = [lambda y: y[TARGET]]
        cam.activations_and_grads(x)
        activations = cam.activations_and_grads.activations[0].numpy()
        return np.maximum(cam.get_cam_image(x, layer, targets, activations, None)[0], 0)


def by_torchcam(classifier: Classifier, x: Tensor, stage: str, upsample: Any = None) -> Tensor:
    with TorchcamScoreCAM(classifier.module, classifier.tap(stage).module, input_shape=tuple(x.shape[1:])) as cam:
        if upsample:
            cam._upsample = upsample  # type: ignore[method-assign]
        with torch.no_grad():
            scores = classifier.module(x)
        found: Tensor = cam(TARGET, scores, normalized=False)[0][0]
    return found


def assert_agree(found: Tensor, wanted: Any) -> None:
    wanted = np.asarray(wanted, np.float64)
    assert found.shape == wanted.shape
    assert wanted.max() > 1e-3
    assert np.ptp(wanted) > 0.1 * wanted.max(), "the neighbour's own map is flat: this would compare nothing"
    assert np.abs(found.numpy() - wanted).max() / wanted.max() <= LIMIT


class Ours(nn.Module):
    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = tuple(size)

    def forward(self, maps: Tensor) -> Tensor:
        return upsampled(maps[0], self.size)[None]  # type: ignore[arg-type]


def test_torchcam_as_it_is() -> None:
    classifier, x = thirds()
    for stage in ("S1", "S2"):
        assert_agree(ours(classifier, x, stage), by_torchcam(classifier, x, stage))


def test_grad_cam_as_it_is() -> None:
    classifier, x = thirds()
    assert_agree(ours(classifier, x, "S1"), by_grad_cam(classifier, x, "S1"))
    small_one, y = small(dtype=torch.float64), picture(dtype=torch.float64)
    assert_agree(ours(small_one, y, "S1"), by_grad_cam(small_one, y, "S1"))


@pytest.mark.parametrize("stage", ["S2", "S3"])
def test_both_with_our_upsampling_on_a_resnet(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier, x = resnet()
    found = ours(classifier, x, stage)

    def upsample(masks: Tensor) -> Tensor:
        return stretched(upsampled(masks[:, 0], (32, 32)))[:, None]

    assert_agree(found, by_torchcam(classifier, x, stage, upsample))
    monkeypatch.setattr(torch.nn, "UpsamplingBilinear2d", Ours)
    assert_agree(found, by_grad_cam(classifier, x, stage))


def test_where_they_differ_they_do() -> None:
    """Should a neighbour change its conventions, this says so."""
    classifier, x = resnet()
    found = ours(classifier, x, "S3").numpy()
    for wanted in (by_torchcam(classifier, x, "S3").numpy(), by_grad_cam(classifier, x, "S3")):
        assert 1e-5 < np.abs(found - wanted).max() / wanted.max() < 0.5
