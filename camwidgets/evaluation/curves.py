r"""Insertion and deletion, positive and negative perturbation: does the network follow the order of the map?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..classifiers.classifier import Classifier
from ..maps.blur import blurred
from ..maps.method import Request
from ..maps.passes import Passes

STEPS = 112  # 224·2 of 224² pixels a step ([002] 3.3.4)
SHARES = tuple(round(0.1 * i, 1) for i in range(1, 10))  # 10 % … 90 % ([002] 4.3.6)


@dataclass(frozen=True)
class Curve:
    """A score as pixels come or go.

    Attributes:
        fractions: shares of the picture's pixels that were changed, rising, in [0, 1].
        scores: the score there: softmax probability of the class, or 1 where it is the top class and 0 elsewhere.

    Example:
        >>> Curve(np.array([0.0, 0.5, 1.0]), np.array([0.0, 1.0, 1.0])).auc
        0.75
    """

    fractions: np.ndarray
    scores: np.ndarray

    @property
    def auc(self) -> float:
        """Area under the curve by trapezia, over the width of the fractions: a mean score, in [0, 1]."""
        width = float(self.fractions[-1] - self.fractions[0])
        heights = (self.scores[1:] + self.scores[:-1]) / 2
        return float((np.diff(self.fractions) * heights).sum() / width)


def ranks(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """H×W int: 0 for the pixel with the greatest value … H·W − 1. Equal values in random (seeded) order.

    Without that a flat map would be read line by line, which is an order that means something.

    Example:
        >>> ranks(np.array([[0.1, 0.9], [0.5, 0.0]]))
        array([[2, 0],
               [1, 3]])
    """
    flat = np.asarray(values, np.float64).ravel()
    if not np.isfinite(flat).all():
        raise ValueError("the map has NaN or infinite values: its pixels have no order")
    order = np.lexsort((np.random.default_rng(seed).permutation(flat.size), -flat))
    found = np.empty(flat.size, np.int64)
    found[order] = np.arange(flat.size)
    return found.reshape(np.shape(values))


def insertion(
    classifier: Classifier,
    x: Tensor,
    target: Any,
    map: np.ndarray,
    *,
    steps: int | None = None,
    passes: Passes | None = None,
) -> Curve:
    """Insertion: on the blurred picture, pixels return in the order of the map; a good map makes p_c rise early.

    Petsiuk et al., "RISE", BMVC 2018, 3.2, with the blurred canvas of [002] 3.3.4 (kernel 51, σ 50). Higher is better.

    Args:
        x: 1×3×H×W preprocessed input. target: class index, label, or callable on the logits. map: H×W, any scale.
        steps: the pixels return in so many equal steps; None = 112 (of 448 pixels each at 224×224).
    """
    return _followed(classifier, x, target, map, steps, passes, start=blurred(x), end=x)


def deletion(
    classifier: Classifier,
    x: Tensor,
    target: Any,
    map: np.ndarray,
    *,
    steps: int | None = None,
    passes: Passes | None = None,
) -> Curve:
    """Deletion: pixels are replaced by the blurred picture's in the order of the map; p_c should fall early.

    Petsiuk et al., "RISE", BMVC 2018, 3.2, with the blurred canvas of [002] 3.3.4. Lower is better.
    """
    return _followed(classifier, x, target, map, steps, passes, start=x, end=blurred(x))


def perturbation(
    classifier: Classifier,
    x: Tensor,
    target: Any,
    map: np.ndarray,
    *,
    negative: bool = False,
    shares: tuple[float, ...] = SHARES,
    passes: Passes | None = None,
) -> Curve:
    """Perturbation: is c still the top class when the most (`negative`: the least) relevant pixels are blanked?

    [002] 4.3.6 after Chefer et al., CVPR 2021: 10 … 90 % of the pixels are set to 0 of the normalised input; scores
    are 1 or 0 per picture, their mean over pictures is the top-1 accuracy. Published AUCs are this one's times 0.8,
    the width of 10 … 90 %. A good map has low positive and high negative AUC.
    """
    request = _request(classifier, x, target, map, passes)
    order = ranks(-np.asarray(map, np.float64) if negative else map)
    counts = [round(share * order.size) for share in shares]
    wanted = classifier.index(target)
    logits = request.passes.map(classifier, _mixer(x, torch.zeros_like(x), order, counts), len(counts))
    return Curve(np.array(shares), (logits.argmax(1) == wanted).double().cpu().numpy())


def blanked(x: Tensor, map: np.ndarray, threshold: float = 0.7) -> Tensor:
    """The input with the pixels where the map is at least `threshold` (of 1) set to 0 of the normalised input.

    [000] table 3.7 (occlusion); Jiang et al., "LayerCAM", 4.4.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"the threshold is a value of the map, above 0 and at most 1; got {threshold!r}")
    hidden = torch.from_numpy(np.ascontiguousarray(map >= threshold)).to(x.device)
    return torch.where(hidden, torch.zeros_like(x), x)


def _followed(
    classifier: Classifier, x: Tensor, target: Any, map: np.ndarray, steps: int | None, passes: Passes | None, *,
    start: Tensor, end: Tensor,
) -> Curve:  # fmt: skip
    """The score from `start` to `end`, whose pixels are taken over in the order of the map."""
    request = _request(classifier, x, target, map, passes)
    steps = min(STEPS, map.size) if steps is None else steps
    if isinstance(steps, bool) or int(steps) != steps or not 1 <= steps <= map.size:
        raise ValueError(f"the number of steps is a whole number between 1 and {map.size} pixels; got {steps!r}")
    counts = [round(i * map.size / steps) for i in range(int(steps) + 1)]
    scores = request.scores_of(_mixer(start, end, ranks(map), counts), len(counts))
    return Curve(np.array(counts) / map.size, scores.double().cpu().numpy())


def _request(classifier: Classifier, x: Tensor, target: Any, map: np.ndarray, passes: Passes | None) -> Request:
    x = classifier.preprocess(x)
    if len(x) != 1 or np.shape(map) != tuple(x.shape[2:]):
        raise ValueError(f"one input 1×3×H×W and its map H×W are needed; got {tuple(x.shape)} and {np.shape(map)}")
    return Request(classifier, x, target if callable(target) else classifier.index(target), passes or Passes())


def _mixer(start: Tensor, end: Tensor, order: np.ndarray, counts: list[int]) -> Any:
    """Inputs number a … b − 1: `start` with its first counts[i] pixels (by `order`) taken from `end`."""
    place = torch.from_numpy(order).to(start.device)
    limits = torch.tensor(counts, device=start.device)[:, None, None, None]
    return lambda a, b: torch.where(place[None, None] < limits[a:b], end, start)
