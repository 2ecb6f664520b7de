"""One channel's part of a map, and what each channel contributes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from camwidgets.evidence import capture
from camwidgets.maps.stages import channel_contributions, channel_map
from tests.test_gap import net_by_hand


def test_contributions_by_hand() -> None:
    """act is 3 at fifteen of sixteen places and 7 at the corner; 7 at the corner alone; weights 1 and 2 over 16."""
    classifier, x = net_by_hand()
    evidence = capture(classifier, x, target="a")
    assert channel_contributions(evidence, "S2", "signed") == pytest.approx([(15 * 3 + 7) / 16, 2 * 7 / 16])
    corner = channel_map(evidence, "S2", 1)
    assert corner[0, 0] == pytest.approx(2 * 7 / 16)
    assert np.count_nonzero(corner) == 1
    assert not channel_contributions(evidence, "S2", "negative").any()


@pytest.mark.parametrize("gradient", ["positive", "signed", "absolute", "negative"])
def test_a_channel_is_a_map_of_its_own(gradient: str) -> None:
    classifier, x = net_by_hand()
    evidence = capture(classifier, x, target="b")
    for stage in evidence.stages:
        total = channel_contributions(evidence, stage, gradient)
        for channel in range(len(total)):
            part = channel_map(evidence, stage, channel, gradient)
            assert part.dtype == np.float32
            assert torch.from_numpy(part).min() >= 0
            if total[channel] >= 0 and gradient != "signed":
                assert part.sum() == pytest.approx(float(total[channel]), rel=1e-5)
