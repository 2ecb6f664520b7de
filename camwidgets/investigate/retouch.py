"""What can be done to a region of a picture, as functions of pixels: H×W×3 uint8 and a mask to H×W×3 uint8."""

from __future__ import annotations

from typing import Any

import numpy as np

Colour = tuple[int, int, int]


def paint(picture: np.ndarray, mask: np.ndarray, colour: Colour | None = None) -> np.ndarray:
    """The region in one colour (RGB 0 … 255); None = the mean colour of the picture outside the region.

    Example:
        >>> paint(np.zeros((4, 4, 3), np.uint8), np.eye(4, dtype=bool), (9, 8, 7))[2, 2].tolist()
        [9, 8, 7]
    """
    out = picture.copy()
    if colour is None:
        around = picture[~mask] if not mask.all() else picture.reshape(-1, 3)
        out[mask] = np.round(around.mean(0)).astype(np.uint8)
        return out
    values = tuple(colour)
    if len(values) != 3 or not all(isinstance(v, (int, np.integer)) and 0 <= v <= 255 for v in values):
        raise ValueError(f"a colour is three whole numbers 0 … 255 (red, green, blue); got {colour!r}")
    out[mask] = values
    return out


def blur(picture: np.ndarray, mask: np.ndarray, sigma: float = 8.0) -> np.ndarray:
    """The region under a Gaussian of `sigma` pixels; the picture is mirrored at its edges."""
    from scipy import ndimage

    if not (isinstance(sigma, (int, float)) and 0 < sigma <= 1000):
        raise ValueError(f"a blur's sigma is a number of pixels, above 0 and at most 1000; got {sigma!r}")
    soft = ndimage.gaussian_filter(picture.astype(np.float32), (sigma, sigma, 0), mode="mirror")
    return _laid_over(picture, mask, soft)


def inpaint(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    r"""The region filled smoothly from its surroundings: the biharmonic u with the least ∑ (Δu)² that agrees outside.

    Δ is the five-point Laplacian, neighbours beyond the picture's edge left out (Damelin & Hoang, "On surface
    completion and image inpainting by biharmonic functions", IJMMS 2018, for the continuous problem); one sparse solve.

    Raises:
        ValueError: the region leaves nothing of the picture to fill it from.

    Example:
        >>> ramp = np.repeat(np.arange(0, 90, 10, dtype=np.uint8)[None, :, None], 9, 0).repeat(3, 2)
        >>> hole = np.zeros((9, 9), bool); hole[3:6, 3:6] = True
        >>> bool(np.abs(inpaint(paint(ramp, hole, (0, 0, 0)), hole).astype(int) - ramp).max() <= 1)
        True
    """
    from scipy import ndimage, sparse
    from scipy.sparse import linalg

    if mask.all():
        raise ValueError("the region covers the whole picture: nothing is left to fill it from")
    # Only the region and two pixels around it enter the equations.
    near = ndimage.binary_dilation(mask, np.ones((5, 5)))
    rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    hole, values = mask[part].ravel(), picture[part].reshape(-1, 3).astype(np.float64)
    L = _laplacian(mask[part].shape)
    touched = np.asarray(abs(L[:, hole]).sum(1)).ravel() > 0  # the equations that an unknown enters
    A, b = L[touched][:, hole], -(L[touched][:, ~hole] @ values[~hole])
    solve = linalg.factorized(sparse.csc_matrix(A.T @ A))
    filled = values.copy()
    filled[hole] = np.stack([solve(np.ascontiguousarray(column)) for column in (A.T @ b).T], 1)
    out = picture.astype(np.float64)
    out[part] = filled.reshape(*mask[part].shape, 3)
    return _laid_over(picture, mask, out)


def swap_background(picture: np.ndarray, mask: np.ndarray, background: np.ndarray) -> np.ndarray:
    """The object (mask) before another background, H×W×3 of the same size."""
    if background.shape != picture.shape:
        got, want = ("×".join(map(str, one.shape)) for one in (background, picture))
        raise ValueError(f"the background is {got}, the picture {want}; they must be of one size")
    return np.where(mask[..., None], picture, background)


def paste(picture: np.ndarray, patch: np.ndarray, x: int, y: int) -> np.ndarray:
    """A patch (h×w×3 uint8) with its top left corner at (x, y); what goes over the edge is cut off.

    Raises:
        ValueError: the patch lies wholly outside, or is no picture.
    """
    if patch.ndim != 3 or patch.shape[2] != 3 or patch.dtype != np.uint8:
        raise ValueError(f"a patch is h×w×3 uint8; got shape {patch.shape}, {patch.dtype}")
    h, w = picture.shape[:2]
    x0, y0, x1, y1 = max(0, x), max(0, y), min(w, x + patch.shape[1]), min(h, y + patch.shape[0])
    if x0 >= x1 or y0 >= y1:
        raise ValueError(f"a patch at ({x}, {y}) lies outside the picture of {w}×{h} pixels")
    out = picture.copy()
    out[y0:y1, x0:x1] = patch[y0 - y : y1 - y, x0 - x : x1 - x]
    return out


def surroundings(picture: np.ndarray, region: np.ndarray) -> np.ndarray:
    """A whole backdrop from one region of a picture: every pixel takes the region's nearest one."""
    from scipy import ndimage

    if not region.any():
        raise ValueError("an empty region makes no backdrop")
    _, (ys, xs) = ndimage.distance_transform_edt(~region, return_indices=True)
    return np.ascontiguousarray(picture[ys, xs])


def _laid_over(picture: np.ndarray, mask: np.ndarray, values: np.ndarray) -> np.ndarray:
    out = picture.copy()
    out[mask] = np.clip(np.round(values[mask]), 0, 255).astype(np.uint8)
    return out


def _laplacian(size: tuple[int, int]) -> Any:
    """The five-point Laplacian of an h×w grid as a sparse matrix; a neighbour beyond the edge counts as equal."""
    from scipy import sparse

    def line(n: int) -> Any:
        ones = np.ones(max(n - 1, 0))
        steps = sparse.diags([-np.r_[ones, 0] - np.r_[0, ones], ones, ones], [0, 1, -1])
        return steps if n > 1 else sparse.csr_matrix((1, 1))

    h, w = size
    return sparse.csr_matrix(sparse.kron(line(h), sparse.eye(w)) + sparse.kron(sparse.eye(h), line(w)))
