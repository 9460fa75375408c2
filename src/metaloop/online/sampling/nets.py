"""One scrambled Sobol' net, and the error of its mean, read off its own blocks.

The 2^k blocks of consecutive points of a scrambled net of 2^m points are scrambled nets of 2^(m-k) points themselves
(Niederreiter 1992; Owen 1995). How their means vary with their size tells the rate at which the error falls, so that no
replicates are needed, whose price is that of a net k times smaller.
"""

from __future__ import annotations

import math

import numpy as np

from metaloop.space import Array

_BITS = 52
_LEVELS = range(3, 8)  # logarithms of the numbers of blocks that are compared


class Net:
    """A scrambled net that grows by doubling.

    Args:
        dim: of its points.
        rng: for the scrambling (linear matrix scrambling and a digital shift, Matousek 1998).
    """

    def __init__(self, dim: int, rng: np.random.Generator) -> None:
        from scipy.stats import qmc

        self._sobol = qmc.Sobol(dim, scramble=True, bits=_BITS, rng=rng)
        self.size = 0

    def grow(self, size: int) -> Array:
        """The points that are new in a net of `size` points, a power of two; all in (0, 1)."""
        new = self._sobol.random(size - self.size)
        self.size = size
        return np.asarray(new + 0.5 ** (_BITS + 1))


def net_error(values: Array) -> tuple[float, float]:
    """Standard error of the mean of a function's values on a net, in the net's order, and the rate at which it falls.

    The rate at which the variance of block means falls with their size is fitted, taken one standard error lower and
    halfway back to that of independent points, and extended to the whole net.

    Args:
        values: shape (2^m,) with m >= 8.

    Returns:
        the error, and r in error ~ size^-r, from 1/2 for independent points to 3/2 for smooth functions.
    """
    v = np.array([values.reshape(2**k, -1).mean(axis=1).var(ddof=1) for k in _LEVELS])
    if not v.all():
        return math.sqrt(float(v.max()) / 2 ** _LEVELS[0]), 0.5
    k, weight = np.array(_LEVELS), 2.0 ** np.array(_LEVELS) - 1
    middle = weight @ k / weight.sum()
    square = weight @ (k - middle) ** 2
    log = np.log2(v)
    slope = float(weight * (k - middle) @ log / square)
    doubt = math.sqrt(2.0 / math.log(2) ** 2 / square)  # the logarithm of a chi-squared mean varies by 2 / its degrees
    start = float(weight @ log / weight.sum()) + slope * (_LEVELS[0] - middle)
    rate = (min(max(slope - doubt, 1.0), 3.0) + 1.0) / 2
    return math.sqrt(2.0 ** (start - rate * _LEVELS[0])), rate / 2
