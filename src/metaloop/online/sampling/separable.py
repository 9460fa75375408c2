"""A map of the unit cube to itself, axis by axis, that puts points where an integrand is large (Lepage 1978)."""

from __future__ import annotations

import numpy as np

from metaloop.space import Array

_BINS = 64


class Separable:
    """Piecewise linear: every bin of an axis gets points in proportion to a power of the mean weight in it.

    Args:
        u: points of the cube, shape (n, d).
        weights: shape (n,). For points of a net the squared contributions, whose roots are the best density (Lepage);
            for points that are drawn where the integrand is large, any constant.
        power: 1/2 or 1, accordingly.
        share: of the points that stay evenly spread, against bins in which nothing was seen.
    """

    def __init__(self, u: Array, weights: Array, power: float, share: float = 0.2) -> None:
        n, d = u.shape
        bins = min(_BINS, max(2, int(n**0.5) // 2))
        self.edges = np.empty((d, bins + 1))
        for j in range(d):
            # nodes at which a first, even histogram becomes one with about equal mass a bin
            where = np.minimum((u[:, j] * bins).astype(int), bins - 1)
            mass = (np.bincount(where, weights, bins) / n * bins) ** power
            mass = np.convolve(np.pad(mass, 1, mode="edge"), [0.25, 0.5, 0.25], "valid")
            density = (1 - share) * mass / max(mass.sum(), 1e-300) + share / bins
            total = np.concatenate([[0.0], np.cumsum(density)])
            total /= total[-1]
            self.edges[j] = np.interp(np.linspace(0, 1, bins + 1), total, np.linspace(0, 1, bins + 1))

    def __call__(self, u: Array) -> tuple[Array, Array]:
        """The images of points, shape (n, d), and the logarithm of the map's Jacobian there, shape (n,)."""
        d, bins = self.edges.shape[0], self.edges.shape[1] - 1
        place = np.minimum((u * bins).astype(int), bins - 1)
        axis = np.arange(d)
        low, width = self.edges[axis, place], np.diff(self.edges, axis=1)[axis, place]
        return low + width * (u * bins - place), np.log(width * bins).sum(axis=1)
