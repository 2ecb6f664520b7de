"""CAMERAS and MSG-CAM against plain loops in float64 that upsample every channel, as the algorithms are written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

import camwidgets
from camwidgets import Classifier, explain, wrap
from camwidgets.maps import Enhancement, Passes, Request, methods
from camwidgets.maps.method import Unexplained
from camwidgets.maps.multiscale import cameras, counted, mean_of_upsampled, msgcam, sizes
from tests.nets import Tutorial, picture, settled, small
from tests.test_perturbation import bilinear, blurred, groups_by_loops, weighed_by_loops

X = picture(dtype=torch.float64)


def net() -> Classifier:
    return small(dtype=torch.float64)


def top(classifier: Classifier, x: Tensor = X) -> int:
    with torch.no_grad():
        return int(classifier.module(x)[0].argmax())


def asked(classifier: Classifier, stage: str, target: Any) -> Request:
    return Request(classifier, X, target, Passes(), classifier.tap(stage))


def means_by_loops(
    classifier: Classifier, stage: str, target: int, grown: list[tuple[int, int]]
) -> tuple[np.ndarray, np.ndarray, int]:  # fmt: skip
    """Ā and Ḡ at 16×16, and how many sizes count."""
    As, gs = [], []
    for size in grown:
        x = F.interpolate(X, size, mode="bilinear")
        if top(classifier, x) != target:
            continue
        A, g = (one[0].numpy() for one in camwidgets.capture(classifier, x, target, [stage]).at(stage))
        As.append(np.stack([bilinear(a, 16, 16) for a in A]))
        gs.append(np.stack([bilinear(a, 16, 16) for a in g]))
    return np.mean(As, axis=0), np.mean(gs, axis=0), len(As)


@pytest.mark.parametrize(("stage", "scales", "reach"), [("S2", 3, 1.0), ("S1", 2, 0.5), ("S2", 1, 0.0)])
def test_cameras_against_loops(stage: str, scales: int, reach: float) -> None:
    classifier = net()
    target = top(classifier)
    A, G, count = means_by_loops(classifier, stage, target, sizes((16, 16), scales, reach))
    assert count >= min(2, scales)
    expected = np.maximum((A * G).sum(0), 0)
    request = asked(classifier, stage, target)
    np.testing.assert_allclose(cameras(request, scales, reach), expected, atol=1e-12)
    assert expected.any()
    assert (request.passes.counts.forward, request.passes.counts.backward) == (scales, scales)


@pytest.mark.parametrize(("stage", "scales", "groups"), [("S2", 3, 2), ("S2", 3, 6), ("S1", 2, 3)])
def test_msgcam_against_loops(stage: str, scales: int, groups: int) -> None:
    classifier = net()
    target = top(classifier)
    A, G, _ = means_by_loops(classifier, stage, target, sizes((16, 16), scales, 1.0))
    M = groups_by_loops(A, G.mean((1, 2)), groups)
    expected = weighed_by_loops(classifier, M, 60.0, blurred(X, 5, 2.0), target)
    found = msgcam(asked(classifier, stage, target), scales, 1.0, groups, 60.0, 5, 2.0)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert found.shape == (16, 16)
    assert expected.any()


def test_one_scale_of_msgcam_is_groupcam() -> None:
    """With one scale W̄ is the mean of the upsampled gradient: at a stage of the input's size, of the gradient."""
    classifier = net()
    one = explain(classifier, X, "msgcam", stages=["S1"], scales=1, groups=2)
    np.testing.assert_allclose(one.map, explain(classifier, X, "groupcam", stages=["S1"], groups=2).map, atol=1e-6)


def test_sizes() -> None:
    assert sizes((224, 224), 8, 3.6) == [(n, n) for n in range(224, 1000, 100)]  # CAMERAS' own code
    assert sizes((224, 160), 5, 1.0) == [(224, 160), (268, 192), (312, 224), (356, 256), (400, 288)]
    assert sizes((16, 16), 3, 0.0) == [(16, 16)] * 3


@pytest.mark.parametrize(("size", "to"), [((3, 4), (7, 9)), ((8, 8), (16, 16)), ((20, 20), (16, 16)), ((1, 1), (5, 5))])
def test_mean_of_upsampled(size: tuple[int, int], to: tuple[int, int]) -> None:
    g = torch.randn(5, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(g[None], to, mode="bilinear")[0].mean((1, 2))
    torch.testing.assert_close(mean_of_upsampled(g, to), expected, atol=1e-13, rtol=0)


# ---------------------------------------------------------------------------------- scales that count, or do not


class Sized(nn.Module):
    """Says class 0 of pictures up to 20 pixels, class 2 of larger ones."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.fc(F.relu(self.conv(x)).mean((2, 3)))
        large = float(x.shape[2] > 20)
        return y + torch.tensor([100 * (1 - large), 0, 100 * large], dtype=x.dtype)


def sized() -> Classifier:
    return wrap(settled(Sized()).double().eval(), labels=["mouse", "cat", "whale"], input_size=16)


def test_only_scales_at_which_the_class_is_seen_count() -> None:
    classifier = sized()
    grown = sizes((16, 16), 4, 1.0)
    assert [size[0] for size in grown] == [16, 20, 24, 28]
    assert len(counted(asked(classifier, "S1", 0), 4, 1.0)) == 2
    assert len(counted(asked(classifier, "S1", 2), 4, 1.0)) == 2
    assert len(counted(asked(classifier, "S1", lambda y: y[1]), 4, 1.0)) == 4


@pytest.mark.parametrize("method", ["msgcam", "cameras"])
def test_no_scale_keeps_the_class(method: str) -> None:
    sentence = (
        r"Sized sees 'cat' at none of 3 input sizes, so none counts; "
        r"it sees 'mouse' at 16×16, 'whale' at 21×21, 'whale' at 26×26"
    )
    with pytest.raises(ValueError, match=sentence):
        explain(sized(), X, method, "cat", scales=3, reach=1.0)
    with pytest.raises(Unexplained):
        explain(sized(), X, method, "cat", scales=3, reach=1.0, enhance=True)


class Bright(nn.Module):
    """Class 1 if the picture is bright somewhere, else class 0."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        most = F.relu(self.conv(x)).amax((2, 3))
        return torch.stack([torch.full_like(most[:, 0], 0.5), most.sum(1)], 1)


def test_windows_without_the_class_count_nothing() -> None:
    module = Bright().double()
    with torch.no_grad():
        module.conv.weight.fill_(1)
        module.conv.bias.zero_()  # type: ignore[union-attr]
    x = torch.zeros(1, 3, 16, 16, dtype=torch.float64)
    x[:, :, 10:14, 10:14] = 1
    classifier = wrap(module.eval(), input_size=16)
    with pytest.raises(Unexplained):  # a window of the dark half has no map of its own
        explain(classifier, torch.zeros_like(x), "cameras", 1, scales=2)
    found = explain(classifier, x, "cameras", 1, scales=2, reach=1.0, enhance=Enhancement(8, 4, 100))
    assert found.map[10:14, 10:14].max() == 1
    assert found.map[:4, :4].max() < 0.05


# ------------------------------------------------------------------------------------------- networks of one size


def test_networks_of_one_input_size_are_refused() -> None:
    tutorial = wrap(settled(Tutorial()).eval(), input_size=32)
    for name in ("msgcam", "cameras"):
        with pytest.raises(ValueError, match=r"shows the picture in several sizes; Tutorial takes 32×32 only \(.*mat1"):
            explain(tutorial, picture(side=32), name)
        assert methods()[name].why_not(small()) is None
    vit = torchvision.models.VisionTransformer(32, 8, 1, 2, 16, 32, num_classes=3).eval()
    assert "takes 32×32 only" in str(methods()["msgcam"].why_not(wrap(vit, input_size=32)))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"scales": 0}, r"scales \(N: input sizes\) must be at least 1; got 0"),
        ({"reach": -1}, "between 0 and 16; got -1"),
        ({"groups": 0}, "at least 1"),
        ({"scale": 3}, "scale"),
        ({"kernel": 4}, "odd"),
    ],
)
def test_bad_parameters(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        explain(net(), X, "msgcam", **options)


def test_progress_of_both_halves() -> None:
    seen: list[tuple[float, float]] = []
    explain(net(), X, "msgcam", scales=2, groups=3, batch=2, progress=lambda *done: seen.append(done))
    done = [one for one, _ in seen]
    assert done[:2] == [0.5, 1.0]
    assert done[-1] == 2.0
    assert done == sorted(done)
    assert {total for _, total in seen} == {2}
