"""One scrambled Sobol' net, and the error of its mean, read off its own blocks.

The 2^k blocks of consecutive points of a scrambled net of 2^m points are scrambled nets of 2^(m-k) points themselves
(Niederreiter 1992; Owen 1995). How their means vary with their size tells the rate at which the error falls, so that no
replicates are needed, whose price is that of a net k times smaller. This needs Owen's nested scrambling: under the
usual linear one all blocks share their bad luck (the heavy tails that Pan & Owen 2023 found), and their spread does not
show it.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from metaloop.space import Array

_BITS = 32
_LEVELS = range(3, 8)  # logarithms of the numbers of blocks that are compared

Words = npt.NDArray[np.uint32]


class Net:
    """A scrambled net that grows by doubling.

    Args:
        dim: of its points.
        rng: for the scrambling, which is nested and uniform but for a hash in place of random numbers (Laine & Karras
            2011, with the constants of Burley 2020, J. Comput. Graph. Tech. 9(4), listing 3).
    """

    def __init__(self, dim: int, rng: np.random.Generator) -> None:
        from scipy.stats import qmc

        self._sobol = qmc.Sobol(dim, scramble=False, bits=_BITS)
        self._seed = rng.integers(0, 1 << _BITS, dim, dtype=np.uint32)
        self.size = 0

    def grow(self, size: int) -> Array:
        """The points that are new in a net of `size` points, a power of two; all in (0, 1)."""
        words = (self._sobol.random(size - self.size) * 2.0**_BITS).astype(np.uint32)
        self.size = size
        return np.asarray((_reversed(_hashed(_reversed(words), self._seed)) + 0.5) / 2.0**_BITS)


def _hashed(x: Words, seed: Words) -> Words:
    """A permutation in which every bit depends on the lower ones alone."""
    x = x + seed  # uint32 wraps around
    for factor in (0x6C50B47C, 0xB82F1E52, 0xC7AFE638, 0x8D22F6E6):
        x ^= x * np.uint32(factor)
    return x


def _reversed(x: Words) -> Words:
    """The bits in the opposite order."""
    for shift, mask in ((1, 0x55555555), (2, 0x33333333), (4, 0x0F0F0F0F)):
        s, m = np.uint32(shift), np.uint32(mask)
        x = ((x >> s) & m) | ((x & m) << s)
    return x.byteswap()


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
