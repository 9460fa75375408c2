"""Is there enough evidence? What the contributions of a method's points say about those that were not drawn."""

from __future__ import annotations

import math

import numpy as np

from metaloop.space import Array

FEW = 50.0  # effective contributions below which no mean is believed
HEAVY = 0.7  # tail index above which means of so many contributions converge too slowly (Vehtari et al. 2024)


def tail_index(parts: Array) -> float:
    """The shape of a generalized Pareto law fitted to the largest contributions, -inf where there is no tail.

    The estimate is Zhang & Stephens' (2009), with the weak prior of Vehtari, Simpson, Gelman, Yao & Gabry (2024).

    Args:
        parts: contributions, shape (n,); their sizes count.
    """
    size = np.sort(np.abs(parts))
    count = int(min(len(size) / 5, 3 * math.sqrt(len(size))))
    excess = size[-count:] - size[-count - 1]
    excess = excess[excess > 1e-12 * max(float(size[-1]), 1e-300)]
    if len(excess) < 10:
        return -math.inf
    n, largest = len(excess), float(excess[-1])
    grid = 30 + int(math.sqrt(n))
    theta = 1 / largest + (1 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))) / (3 * float(excess[n // 4 - 1]))
    shapes = np.log1p(-theta[:, None] * excess).mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        likelihood = n * (np.log(-theta / shapes) - shapes - 1)
    likelihood = np.where(np.isfinite(likelihood), likelihood, -np.inf)
    weight = np.exp(likelihood - likelihood.max())
    best = float(weight @ theta / weight.sum())
    shape = float(np.log1p(-best * excess).mean())
    return (n * shape + 10 * 0.5) / (n + 10)
