"""What `fidelity` puts in place of a channel, over which means, and which numbers it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import camwidgets
from camwidgets.decomposition.counts import channel_counts
from camwidgets.decomposition.fidelity import channel_means, fidelity, true_changes
from camwidgets.decomposition.gap import Decision, Decomposer
from camwidgets.decomposition.removal import removal_curve
from camwidgets.decomposition.surrogates import surrogate
from tests.nets import picture, small


class Squared(nn.Module):
    """One tap of three channels (those of the picture); the score sums the squares of their means, so what a removal
    changes depends on what is put in place."""

    def __init__(self) -> None:
        super().__init__()
        self.pass_on, self.relu = nn.Conv2d(3, 3, 1, bias=False), nn.ReLU()
        with torch.no_grad():
            self.pass_on.weight.copy_(torch.eye(3)[:, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        squares = self.relu(self.pass_on(x)).mean((2, 3)) ** 2
        return torch.stack([squares.sum(1), -squares.sum(1)], 1)


def squared() -> camwidgets.Classifier:
    return camwidgets.wrap(Squared().double(), input_size=8)


def flat(*channels: float) -> Tensor:
    return torch.tensor(channels, dtype=torch.float64)[None, :, None, None].expand(1, 3, 8, 8).clone()


def test_means_are_put_in_place_of_channels_by_hand() -> None:
    classifier, x = squared(), flat(3, 2, 1)
    tap = classifier.stages["S1"]
    decomposer = Decomposer(camwidgets.capture(classifier, x, 0))
    means = {tap: torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)}
    assert true_changes(decomposer, None, None, tap, {}).tolist() == pytest.approx([9, 4, 1])
    assert true_changes(decomposer, None, None, tap, means).tolist() == pytest.approx([8, 0, -8])
    # α = 2·mean²= (18, 8, 2): against (9, 4, 1) they are in line, against (8, 0, -8) not quite.
    assert fidelity(classifier, x, 0)["pearson"].tolist() == pytest.approx([1.0])
    r = np.corrcoef([18, 8, 2], [8, 0, -8])[0, 1]
    assert r < 0.995
    assert fidelity(classifier, x, 0, "mean", means=means)["pearson"].tolist() == pytest.approx([r])


def test_means_that_lack_a_tap_are_refused_not_taken_for_zero() -> None:
    classifier, x = small(), picture()
    means = channel_means(classifier, [x])
    deepest = list(means)[-1]
    with pytest.raises(ValueError, match=r"the means given do not hold the tap 'relu1'.*they hold: relu2"):
        fidelity(classifier, x, 0, "mean", means={deepest: means[deepest]})
    with pytest.raises(ValueError, match="the means given do not hold the tap"):
        fidelity(classifier, x, 0, "mean", means=dict(zip(classifier.stages, means.values(), strict=True)))
    decomposer = Decomposer(camwidgets.capture(classifier, x, 0))
    with pytest.raises(ValueError, match="the means given do not hold the tap 'relu1'"):
        true_changes(decomposer, None, None, classifier.stages["S1"], {deepest: means[deepest]})


def test_means_over_batches_are_means_over_pictures() -> None:
    classifier = squared()
    pictures = [flat(1, 2, 3), flat(3, 2, 1), flat(8, 5, 2), flat(0, 1, 0)]
    for given in (pictures, [torch.cat(pictures)], [torch.cat(pictures[:3]), pictures[3]]):
        (mean,) = channel_means(classifier, given).values()
        assert mean.tolist() == pytest.approx([3, 2.5, 1.5])


@pytest.mark.parametrize("decisions", [0, -1, True, 1.5, "2"])
def test_a_number_of_decisions_that_is_none_is_refused(decisions: Any) -> None:
    with pytest.raises(ValueError, match=r"decisions is how many .* at least 1; got"):
        fidelity(small(), picture(), decisions=decisions)


@pytest.mark.parametrize(
    "call",
    [
        lambda n: fidelity(small(), picture(), 0, decisions=n).drop(columns=["seconds_gap", "seconds_removal"]),
        lambda n: channel_counts(small(), [picture()], decisions=n),
        lambda n: surrogate(small(), [picture()], k=[n]),
        lambda n: removal_curve(small(), [picture()], counts=[n], rankings=["gradient"]),
    ],
)
def test_numpy_integers_are_integers(call: Callable[[Any], Any]) -> None:
    import pandas as pd

    pd.testing.assert_frame_equal(call(np.int64(2)), call(2))
    with pytest.raises(ValueError, match=r"at least 1|is not valid"):
        call(np.bool_(True))
    with pytest.raises(ValueError, match=r"at least 1|is not valid"):
        call(np.float64(2.0))


@pytest.mark.parametrize("side", [64, 96])
def test_a_picture_of_another_size_than_the_classifier_s(side: int) -> None:
    torch.manual_seed(2)
    layers = [nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU()]
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)).double()
    classifier = camwidgets.wrap(net, input_size=48)
    x = picture(side=side, dtype=torch.float64)
    decomposer = Decomposer(camwidgets.capture(classifier, x, 0))
    lower, upper = classifier.stages["S1"], classifier.stages["S2"]
    A = decomposer.evidence.activations[lower]
    for y, w in ((side // 2 - 1, side // 2 - 2), (side // 4, 3)):
        decision = Decision(upper, 5, y, w)
        (found,) = decomposer.of_features([decision], upper, lower)
        truth = true_changes(decomposer, decision, upper, lower, {})
        with torch.no_grad():
            z = net[3](net[2](A))[0, 5, y, w]
            assert found.value == pytest.approx(float(z), abs=1e-9)
            for k in range(lower.channels):
                gone = A.clone()
                gone[:, k] = 0
                assert float(truth[k]) == pytest.approx(float(z - net[3](net[2](gone))[0, 5, y, w]), abs=1e-9)
