"""Boxes from maps ([000] 3.4.1.1), also where a shallow map lies scattered over its object.

The graph cut is scipy's maximum flow: exact, a core dependency, milliseconds a picture. PyMaxflow, the usual choice,
is under the GPL, which does not go with this project's licence.
"""

from __future__ import annotations

import numpy as np

from ..maps.regions import Box, box, largest_part

STEPS = 1000  # costs become whole numbers: a thousandth of a nat is told apart (less in pictures beyond 100,000 pixels)
FIXED = 1e6  # nats; what a seed would cost on the other side
MOST = 2**31 - 1  # scipy's flow is counted in 32 bits; it cannot exceed what all pixels cost as object
BINS = 8  # of a colour channel
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))  # half of the eight: right, below, and the two diagonals below


def box_of(values: np.ndarray, threshold: float = 0.15) -> Box | None:
    """The bounding box of the map's largest connected part at or above `threshold` · max ([000] 3.4.1.1; 5 % for CUB).

    Args:
        values: H×W, any scale; what is negative speaks for nothing.
        threshold: share of the maximum, above 0 and at most 1.

    Returns:
        (x0, y0, x1, y1) in pixels of the map, x1 and y1 exclusive; None for a map that is flat or nowhere above 0.

    Raises:
        ValueError: not one finite H×W map; a threshold outside (0, 1].

    Example:
        >>> m = np.zeros((4, 6)); m[1:3, 2:5] = 1; m[0, 0] = 0.1
        >>> box_of(m), box_of(m, 0.05)
        ((2, 1, 5, 3), (2, 1, 5, 3))
    """
    return box(checked_map(values), threshold)


def spread_mask(
    values: np.ndarray, picture: np.ndarray, high: float = 0.95, low: float = 0.3, smoothness: float = 2.0
) -> np.ndarray:
    """A region from a scattered map: a graph cut between the colours where the map is high and where it is low.

        E(L) = Σ_p −ln Pr(I_p | L_p) + λ Σ_{p,q neighbours} [L_p ≠ L_q] exp(−‖I_p − I_q‖² / 2σ²) / ‖p − q‖

    Boykov & Jolly, ICCV 2001, (1)–(3), with σ² the mean of ‖I_p − I_q‖² over neighbours. As in Simonyan et al., ICLR
    workshop 2014, 3.2, the object's colours are those where the map is at least its 95 % quantile, the surroundings'
    those where it is at most its 30 % quantile; the former also are fixed as object. Colours are histograms (8 bins a
    channel, smoothed over neighbouring bins), as Boykov & Jolly have them, in place of Simonyan's Gaussian mixtures.
    The minimum is exact.

    Args:
        values: H×W map. picture: H×W×3 uint8, or H×W grey, of the same size.
        high, low: quantiles of the map, 0 ≤ low < high ≤ 1.
        smoothness: λ ≥ 0; 0 decides every pixel by its colour.

    Returns:
        H×W bool, which may have several parts; False everywhere for a flat map.

    Raises:
        ValueError: a map that is not finite or not of the picture's size; quantiles or λ out of range.
    """
    values = checked_map(values)
    colours = checked_picture(picture, values.shape)
    if not 0 <= low < high <= 1:
        raise ValueError(f"quantiles must keep 0 ≤ low < high ≤ 1; got low={low!r}, high={high!r}")
    if not smoothness >= 0:
        raise ValueError(f"the smoothness λ is at least 0; got {smoothness!r}")
    if values.max() <= max(0.0, values.min()):
        return np.zeros(values.shape, bool)
    below, above = np.quantile(values, low), np.quantile(values, high)
    around = values <= below
    seeds = (values >= above) & ~around if above > below else ~around
    as_object, as_around = colour_cost(colours, seeds), colour_cost(colours, around)
    return cut(np.where(seeds, 0.0, as_object), np.where(seeds, FIXED, as_around), colours, smoothness)


def spread_box(
    values: np.ndarray, picture: np.ndarray, high: float = 0.95, low: float = 0.3, smoothness: float = 2.0
) -> Box | None:
    """The box of the largest connected part of `spread_mask`: for maps of S1 and S2 ([000] 3.4.1.1).

    Returns:
        (x0, y0, x1, y1) in pixels, x1 and y1 exclusive; None for a flat map.

    Example:
        >>> picture = np.zeros((16, 16, 3), np.uint8); picture[4:12, 4:12] = 200
        >>> m = np.zeros((16, 16)); m[4, 4] = m[11, 11] = m[5, 10] = 1      # three specks on the square
        >>> box_of(m), spread_box(m, picture)
        ((4, 4, 5, 5), (4, 4, 12, 12))
    """
    found = spread_mask(values, picture, high, low, smoothness)
    return box(largest_part(found).astype(np.float32)) if not found.all() else (0, 0, found.shape[1], found.shape[0])


def cut(as_object: np.ndarray, as_around: np.ndarray, colours: np.ndarray, smoothness: float) -> np.ndarray:
    """The labelling of least energy, H×W bool: given the cost (nats) of either label at each pixel.

    Costs are rounded to thousandths. Of several minima, the one with the fewest object pixels.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import breadth_first_order, maximum_flow

    height, width = as_object.shape
    nodes = np.arange(height * width).reshape(height, width)
    source, sink = height * width, height * width + 1
    # A pixel cut off from the source becomes surroundings and pays for that; cut off from the sink, object.
    flat = nodes.ravel()
    links = [(np.full(flat.size, source), flat, as_around), (flat, np.full(flat.size, sink), as_object)]
    for one, other, weight in neighbour_weights(nodes, colours):
        links += [(one, other, smoothness * weight), (other, one, smoothness * weight)]
    steps = min(float(STEPS), MOST / max(float(as_object.sum()), FIXED))
    capacity = np.concatenate([np.floor(steps * cost.ravel() + 0.5) for _, _, cost in links])
    if capacity.min() < 0:
        raise ValueError("costs must not be negative")
    starts, ends = (np.concatenate([link[i].ravel() for link in links]) for i in (0, 1))
    graph = coo_matrix((capacity.astype(np.int32), (starts, ends)), shape=(nodes.size + 2, nodes.size + 2)).tocsr()
    left = graph - maximum_flow(graph, source, sink).flow
    left.data[left.data < 0] = 0
    left.eliminate_zeros()
    reached = np.zeros(nodes.size + 2, bool)
    reached[breadth_first_order(left, source, return_predecessors=False)] = True
    return reached[: nodes.size].reshape(height, width)


def neighbour_weights(nodes: np.ndarray, colours: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(pixels, their neighbours, exp(−‖ΔI‖²/2σ²)/distance) for the eight neighbours, each pair once."""
    height, width = nodes.shape
    pairs = []
    for down, right in NEIGHBOURS:
        here = (slice(0, height - down), slice(max(0, -right), width - max(0, right)))
        there = (slice(down, height), slice(max(0, right), width + min(0, right)))
        apart = ((colours[here] - colours[there]) ** 2).sum(-1)
        pairs.append((nodes[here], nodes[there], apart, float(np.hypot(down, right))))
    every = np.concatenate([apart.ravel() for _, _, apart, _ in pairs])
    variance = float(every.mean()) if every.size else 0.0
    scale = 2 * variance if variance > 0 else 1.0
    return [(one, other, np.exp(-apart / scale) / distance) for one, other, apart, distance in pairs]


def colour_cost(colours: np.ndarray, sample: np.ndarray) -> np.ndarray:
    """−ln Pr(I_p | sample), H×W nats: a smoothed histogram of the sample's colours, one count spread over all bins."""
    from scipy import ndimage

    bins = np.minimum((colours * BINS / 256).astype(np.intp), BINS - 1)
    flat = np.ravel_multi_index(tuple(np.moveaxis(bins, -1, 0)), (BINS,) * 3)
    counts = np.bincount(flat[sample], minlength=BINS**3).reshape((BINS,) * 3).astype(np.float64)
    smooth = ndimage.gaussian_filter(counts, 0.7, mode="nearest") + 1 / BINS**3
    return np.asarray(-np.log(smooth / smooth.sum()).ravel()[flat])


def checked_map(values: np.ndarray) -> np.ndarray:
    """One finite H×W map as float64, or a ValueError that says what it is instead."""
    found = np.asarray(values, np.float64)
    if found.ndim != 2 or not found.size:
        raise ValueError(f"one map of H×W pixels is needed; got an array of shape {found.shape}")
    if not np.isfinite(found).all():
        raise ValueError(f"the map holds {int((~np.isfinite(found)).sum())} values that are NaN or infinite")
    return found


def checked_picture(picture: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """H×W×3 float64 in 0…255 of a picture of that size (grey ones get three equal channels)."""
    pixels = np.asarray(picture)
    if pixels.dtype != np.uint8 or pixels.shape not in (size, (*size, 3)):
        raise ValueError(
            f"a map of {size[0]}×{size[1]} pixels needs a picture of that size, uint8, grey or with three channels "
            f"last; got {pixels.dtype} of shape {pixels.shape}"
        )
    return np.asarray(np.broadcast_to(pixels.reshape(*size, -1), (*size, 3)), np.float64)
