"""Intervals for what a run measured: frequencies, ratios of means, and where one method overtakes another.

Plain arrays in, numbers out. Bootstrap intervals resample the last axis, whose entries belong together: one seed each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]
Counts: TypeAlias = npt.NDArray[np.intp]
Estimate: TypeAlias = tuple[float, tuple[float, float]]
"""A number and the ends of its interval."""

_RESAMPLES = 4000


def clopper_pearson(hits: Counts, runs: int, confidence: float = 0.95) -> tuple[Array, Array]:
    """Exact interval for a probability, from how often it came true in independent runs (Clopper & Pearson 1934).

    Args:
        hits: any shape, between 0 and `runs`.
        runs: at least 1.
        confidence: in (0, 1).

    Returns:
        both ends, each of the shape of `hits`.
    """
    from scipy.stats import beta

    tail = 0.5 * (1.0 - confidence)
    low = np.where(hits > 0, beta.ppf(tail, np.maximum(hits, 1), runs - hits + 1), 0.0)
    high = np.where(hits < runs, beta.ppf(1.0 - tail, hits + 1, np.maximum(runs - hits, 1)), 1.0)
    return low, high


def ratio_of_means(above: Array, below: Array) -> Estimate:
    """mean(above) / mean(below) with a bootstrap interval over pairs; the geometric mean of it over leading axes.

    Args:
        above, below: positive, shape (..., n); entries k of all cells belong together (the same seed, say), so they
            are drawn together.
    """
    weights = resampled(above.shape[-1])
    logs = np.log(above @ weights) - np.log(below @ weights)
    return interval(np.exp(logs.reshape(-1, logs.shape[-1]).mean(axis=0)))


def crossover(x: Sequence[float], ours: Array, theirs: Array) -> Array:
    """The x from which on our mean is below theirs for good; twice the last x where it never is.

    Args:
        x: m positive numbers, increasing.
        ours, theirs: shapes (m, n).

    Returns:
        of all entries, then of each resample; see `interval`.
    """
    weights = resampled(ours.shape[-1])
    ahead = ours @ weights < theirs @ weights
    lasting = np.logical_and.accumulate(ahead[::-1], axis=0).sum(axis=0)
    return np.array([2 * x[-1], *x[::-1]], dtype=float)[lasting]  # type: ignore[no-any-return]


def best_without_hindsight(losses: Mapping[str, Array]) -> tuple[str, Array]:
    """Which of several methods has the least mean loss, and the losses of whoever has it on the other half.

    The least of several noisy means is too good to be true, so the method is chosen on one half of the entries and
    scored on the other, both ways.

    Args:
        losses: by method, each of shape (n,), n >= 2.

    Returns:
        the name by all entries, and the losses, shape (n,).
    """

    def least(chosen_on: npt.NDArray[np.bool_]) -> str:
        return min(losses, key=lambda name: losses[name][chosen_on].mean())

    everything = np.ones(len(next(iter(losses.values()))), dtype=bool)
    odd = np.arange(len(everything)) % 2 == 1
    return least(everything), np.where(odd, losses[least(~odd)], losses[least(odd)])


@cache
def resampled(n: int) -> Array:
    """Weights of n entries: equal ones, then those of bootstrap resamples, shape (n, 1 + resamples)."""
    draws = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=_RESAMPLES) / n
    return np.concatenate([np.full((1, n), 1 / n), draws]).T


def interval(estimates: Array) -> Estimate:
    """From `resampled` weights' estimates: the first, and the 95 % percentile interval of the others."""
    first = float(estimates[0])
    low, high = np.quantile(estimates[1:], [0.025, 0.975], method="nearest").tolist()
    return first, (min(low, first), max(high, first))
