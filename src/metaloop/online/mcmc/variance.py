"""How sure is a mean over Markov chains, and do the chains agree?

Sources: Geyer, Statistical Science 7, 473 (1992), section 3.3 (initial monotone sequence); Flegal & Jones, Annals of
Statistics 38, 1034 (2010) (batch means); Vehtari, Gelman, Simpson, Carpenter & Buerkner, Bayesian Analysis 16, 667
(2021) (split R-hat).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def asymptotic_variance(series: Array, mean: Array | float) -> Array:
    """Limit of draws times variance of the mean, for reversible chains: sums of pairs of autocovariances, as long as
    these are positive, and made to decrease. Below the variance of single draws where the chains are antithetic.

    Args:
        series: shape (draws, chains, k), at least 4 draws.
        mean: the best estimate there is of the mean, shape (k,): better than one from these draws alone.

    Returns:
        shape (k,).
    """
    n = len(series)
    centered = series - mean
    transform = np.fft.rfft(centered, 2 * n, axis=0)
    covariance = np.fft.irfft(np.abs(transform) ** 2, axis=0)[:n].mean(axis=1)
    covariance /= np.arange(n, 0, -1)[:, None]
    most = n // 2 // 2 * 2  # later ones rest on too few pairs
    pairs = covariance[:most:2] + covariance[1:most:2]
    positive = np.logical_and.accumulate(pairs > 0, axis=0)
    falling = np.minimum.accumulate(np.where(positive, pairs, 0.0), axis=0)
    # The first pair is positive in truth; where noise says otherwise, a small share of the variance stands for it.
    return np.asarray(np.maximum(2 * falling.sum(axis=0) - covariance[0], 0.02 * covariance[0]))


def batch_means(series: Array, batches: int) -> tuple[Array, Array]:
    """Mean over all chains and its standard error, shapes (k,), from the means of batches of each chain.

    Batches of different chains count alike, so chains that disagree widen the error.

    Args:
        series: shape (draws, chains, k).
        batches: a chain, at least 2 in all.
    """
    n, chains, k = series.shape
    length = n // batches
    means = series[n - batches * length :].reshape(batches, length, chains, k).mean(axis=1).reshape(-1, k)
    return series.mean(axis=(0, 1)), means.std(axis=0, ddof=1) / np.sqrt(len(means))


def split_rhat(series: Array) -> Array:
    """Split R-hat, shape (k,): 1 where the halves of all chains tell the same; inf where they stand still apart.

    Args:
        series: shape (draws, chains, k), at least 4 draws.
    """
    half = len(series) // 2
    halves = np.concatenate([series[:half], series[half : 2 * half]], axis=1)
    within = halves.var(axis=0, ddof=1).mean(axis=0)
    between = halves.mean(axis=0).var(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        out = np.sqrt((half - 1) / half + between / within)
    return np.where(between == 0, 1.0, np.where(within == 0, np.inf, out))
