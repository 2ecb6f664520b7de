"""Sanity checks ([000] 5.3.1.5; Adebayo et al. 2018): does an explanation depend on what the network has learnt?

Parameter randomisation: maps of the trained network against maps of copies whose weights were drawn anew. Label
randomisation: maps of a network trained on true labels against those of one trained on random labels (`compare_maps` of
the two). A method whose maps stay alike (a correlation near 1) shows the picture, not the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..classifiers.classifier import Classifier
from ..evidence import record
from ..images import ImageSource
from .copies import private_copy
from .fidelity import rank_correlation
from .gap import Decomposer
from .importance import Level, follow
from .randomised import parameter_groups, randomised
from .sets import Progress, check_labels, check_pictures, one_picture
from .similarity import ssim

if TYPE_CHECKING:
    import pandas as pd

# (classifier, picture, class index) → a map, or several by name (stages, say).
Explainer = Callable[[Classifier, Any, int], Any]
FOLLOWED = 3
UNTOUCHED = "none"


def gap_maps(classifier: Classifier, picture: ImageSource, target: int) -> dict[str, np.ndarray]:
    """Stage → h×w: gAP attention of the class followed down through three channels a stage, summed over channels."""
    return {level.stage: level.whole.attention.sum(0).cpu().numpy() for level in _follow(classifier, picture, target)}


def gap_contributions(classifier: Classifier, picture: ImageSource, target: int) -> dict[str, np.ndarray]:
    """Stage → K: the importance of each channel, the class followed down through three channels a stage."""
    return {level.stage: level.whole.share.cpu().numpy() for level in _follow(classifier, picture, target)}


def compare_maps(
    first: Classifier,
    second: Classifier,
    pictures: Sequence[ImageSource],
    explainer: Explainer = gap_maps,
    targets: Sequence[int | str] | None = None,
    *,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """How alike two classifiers' maps of the same pictures and classes are.

    For label randomisation: `first` trained on true labels, `second`, of the same architecture, on random ones.

    Args:
        explainer: (classifier, picture, class index) → array, or name → array; any method: for one of ours
            `lambda net, picture, c: camwidgets.explain(net, picture, target=c).map`.
        targets: the class of each picture whose maps are compared; None = what `first` predicts.
        progress: `progress(done, total)` after each picture; whatever it raises ends the work.
    Returns:
        One row per map name ("map" if there is one only): `spearman` (mean rank correlation over positions, −1 … 1;
        a flat map correlates with nothing: 0), `absolute` (the same of the maps' absolute values), `ssim` (mean
        structural similarity of the maps scaled to 0 … 1; NaN for what is no h×w map), `spread` (standard deviation of
        `spearman`), `flat` (share of pictures where the second map is constant), `pictures`.
    Raises:
        ValueError: no pictures, targets of another length, maps of other names or sizes, or not finite.

    Example:
        >>> import camwidgets
        >>> from camwidgets.datasets.toyworld import ToyWorld
        >>> net, scenes = camwidgets.load("toy"), [scene.image for scene in ToyWorld(seed=1, n=2)]
        >>> compare_maps(net, net, scenes)["spearman"].round(9).tolist()
        [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    import pandas as pd

    count = check_pictures(pictures)
    classes = check_labels(first, targets, count)
    found: dict[str, list[dict[str, float]]] = {}
    for i in range(count):
        target = first.predict(pictures[i], 1)[0].index if classes is None else classes[i]
        a, b = (_named(explainer(net, pictures[i], target)) for net in (first, second))
        if {name: one.shape for name, one in a.items()} != {name: one.shape for name, one in b.items()}:
            raise ValueError(f"the two classifiers' maps differ in name or size: {_shapes(a)} against {_shapes(b)}")
        for name in a:
            found.setdefault(name, []).append(similarity(a[name], b[name]))
        if progress is not None:
            progress(i + 1, count)
    rows = {name: pd.DataFrame(one).mean() for name, one in found.items()}
    table = pd.DataFrame(rows).T.rename_axis("map")
    table["spread"] = [float(np.std([one["spearman"] for one in found[name]])) for name in table.index]
    return table.assign(pictures=count)


def parameter_randomisation(
    classifier: Classifier,
    pictures: Sequence[ImageSource],
    explainer: Explainer = gap_maps,
    *,
    order: str = "cascading",
    targets: Sequence[int | str] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Maps of the trained network against maps of copies whose weights were drawn anew (see `randomised`).

    Args:
        order: "cascading" (from the head down, more and more) or "independent" (each group of layers alone).
        targets: the classes whose maps are compared; None = what the trained network predicts. Others: `compare_maps`.
        progress: `progress(done, total)` after each picture of each copy.
    Returns:
        The rows of `compare_maps` for each group of layers: columns `layers` ("none", "head", "S5" …), `map` and
        those of `compare_maps`. The rows of "none" compare the network with an untouched copy of itself.

    Example:
        >>> import camwidgets
        >>> from camwidgets.datasets.toyworld import ToyWorld
        >>> scenes = [scene.image for scene in ToyWorld(seed=1, n=1)]
        >>> table = parameter_randomisation(camwidgets.load("toy"), scenes)
        >>> list(table["layers"].unique())
        ['none', 'head', 'S5', 'S4', 'S3', 'S2', 'S1']
    """
    import pandas as pd

    count = check_pictures(pictures)
    copies = randomised(classifier, order, seed)
    total = count * (1 + len(parameter_groups(classifier)))
    tables: list[pd.DataFrame] = []

    def say(done: int, _: int) -> None:
        if progress is not None:
            progress(len(tables) * count + done, total)

    for name, copy in _with_untouched(classifier, copies):
        table = compare_maps(classifier, copy, pictures, explainer, targets, progress=say)
        tables.append(table.reset_index().assign(layers=name))
    return pd.concat(tables, ignore_index=True).assign(order=order)


def _with_untouched(
    classifier: Classifier, copies: Iterable[tuple[str, Classifier]]
) -> Iterable[tuple[str, Classifier]]:
    yield UNTOUCHED, private_copy(classifier)
    yield from copies


def _follow(classifier: Classifier, picture: ImageSource, target: int) -> list[Level]:
    with record(classifier, picture) as recording:
        evidence = one_picture(recording).evidence(target, last=True)
    return list(follow(Decomposer(evidence), FOLLOWED))


def _named(found: Any) -> dict[str, np.ndarray]:
    named = found if isinstance(found, Mapping) else {"map": found}
    arrays = {
        str(name): np.asarray(one.detach().cpu() if isinstance(one, torch.Tensor) else one, np.float64)
        for name, one in named.items()
    }
    broken = next((name for name, one in arrays.items() if not np.isfinite(one).all() or one.size == 0), None)
    if broken is not None or not arrays:
        raise ValueError(f"the explainer returned no finite numbers for {broken or 'any map'!r}")
    return arrays


def _shapes(maps: Mapping[str, np.ndarray]) -> str:
    return ", ".join(f"{name} {'×'.join(map(str, one.shape))}" for name, one in maps.items())


def similarity(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """How alike two arrays of one shape are: `spearman` and `absolute` in [−1, 1], `ssim`, and `flat`, whether b is.

    Spearman's rank correlation of the values and of their absolute values (a flat one correlates with nothing: 0); mean
    structural similarity after each was scaled to 0 … 1 (NaN for what is no h×w map). Adebayo et al., NeurIPS 2018.

    Example:
        >>> ramp = np.arange(64.0).reshape(8, 8)
        >>> found = similarity(ramp, ramp.max() - ramp)
        >>> round(found["spearman"], 9), found["ssim"] < 0, found["flat"]
        (-1.0, True, 0.0)
    """
    one, other = torch.from_numpy(a.ravel()), torch.from_numpy(b.ravel())
    return {
        "spearman": rank_correlation(one, other),
        "absolute": rank_correlation(one.abs(), other.abs()),
        "ssim": ssim(scaled(a), scaled(b)) if a.ndim == 2 else float("nan"),
        "flat": float(np.ptp(b) == 0),
    }


def scaled(values: np.ndarray) -> np.ndarray:
    """To 0 … 1 by minimum and maximum; a flat map is 0 everywhere."""
    spread = float(np.ptp(values))
    return (values - values.min()) / spread if spread > 0 else np.zeros_like(values)
