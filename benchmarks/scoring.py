"""What a map is worth, as the evaluation says it; and how sure a mean over pictures is."""

from __future__ import annotations

import numpy as np

from camwidgets.evaluation import statistics
from camwidgets.evaluation.location import THRESHOLDS, box_hits, cell_share
from camwidgets.evaluation.measure import mean

__all__ = ["THRESHOLDS", "box_hits", "cell_share", "interval"]


def interval(values: np.ndarray) -> tuple[float, float]:
    """Percentile bootstrap 95 % interval of the mean over the first axis (further axes belong together)."""
    means = values.reshape(len(values), -1).mean(1)
    return statistics.interval(means, np.zeros(len(means)), mean)
