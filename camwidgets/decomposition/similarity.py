"""Structural similarity of two maps."""

from __future__ import annotations

import numpy as np

K1, K2 = 0.01, 0.03  # of the range: keep the quotient finite where maps are dark or flat
SIGMA = 1.5  # px, of the Gaussian window


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Mean structural similarity (Wang et al. 2004, eq. 13) of two h×w maps in [0, 1]: 1 if they are the same.

    ((2 μ_a μ_b + C1)(2 σ_ab + C2)) / ((μ_a² + μ_b² + C1)(σ_a² + σ_b² + C2)), C1 = 0.01², C2 = 0.03², means over a
    Gaussian window of σ = 1.5 px (11×11, mirrored at the border), then over the whole map.

    Example:
        >>> ssim(np.full((8, 8), 0.5), np.full((8, 8), 0.5))
        1.0
    """
    from scipy.ndimage import gaussian_filter

    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"ssim compares two h×w maps of one size; got {a.shape} and {b.shape}")

    def mean(values: np.ndarray) -> np.ndarray:
        return np.asarray(gaussian_filter(values, SIGMA, truncate=3.5))

    a, b = a.astype(np.float64), b.astype(np.float64)
    mu_a, mu_b = mean(a), mean(b)
    var_a, var_b, both = mean(a * a) - mu_a**2, mean(b * b) - mu_b**2, mean(a * b) - mu_a * mu_b
    c1, c2 = K1**2, K2**2
    found = (2 * mu_a * mu_b + c1) * (2 * both + c2) / ((mu_a**2 + mu_b**2 + c1) * (var_a + var_b + c2))
    return float(found.mean())
