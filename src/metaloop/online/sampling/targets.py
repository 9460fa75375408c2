"""What is integrated: a function over a box, or an event under a distribution; both against a known law.

A box is the unit cube, stretched. Random variables are made of independent standard normal ones, one at a time
(Rosenblatt 1952; for a Gaussian copula Nataf 1962).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metaloop.errors import InputError, refuse
from metaloop.online.sampling.population import Steps
from metaloop.space import Array

_KEPT = 0.3  # effective share of a population that a step of tempering keeps
_SEEDS = 0.15  # share of a population that lies beyond the next level of a limit state


@dataclass
class Target:
    """An integral against the standard normal law, with a way that leads to where its mass is.

    Attributes:
        dim: number of dimensions.
        cube: whether it is an integral over a box; normal space is then the cube's.
        function: of points in normal space, shape (n, d), to scores, shape (n,).
        amount: what is integrated, given scores.
        steps: to where it is.
        evaluations: so far.
    """

    dim: int
    cube: bool
    function: Callable[[Array], Array]
    amount: Callable[[Array], Array]
    steps: Steps
    evaluations: int = 0

    def score(self, z: Array) -> Array:
        """Scores of points in normal space, shapes (n, d) and (n,)."""
        self.evaluations += len(z)
        return self.function(z)


def integral(f: Callable[[Array], Any], bounds: Any) -> Target:
    """The mean of a function over a box, times its volume.

    Raises:
        InputError: bounds that are none.
    """
    from scipy.special import ndtr

    try:
        box = np.asarray(bounds, dtype=float)
    except (TypeError, ValueError):
        raise refuse("bounds", bounds, "pairs (low, high), one for each dimension") from None
    if box.ndim != 2 or box.shape[1] != 2 or not len(box):
        raise refuse("bounds", bounds, "pairs (low, high), one for each dimension")
    if not (np.isfinite(box).all() and (box[:, 0] < box[:, 1]).all()):
        raise refuse("bounds", bounds, "finite pairs (low, high) with low < high")
    low, width = box[:, 0], box[:, 1] - box[:, 0]
    volume = float(np.prod(width))

    def function(z: Array) -> Array:
        return _checked("f", f, low + width * ndtr(z))

    return Target(len(box), True, function, lambda s: volume * s, Tempering())


def event(limit: Callable[[Array], Any], distribution: Any) -> Target:
    """The probability that a limit state is <= 0, or that a condition is true.

    Raises:
        InputError: a distribution that is none.
    """
    dim, place = _placed(distribution)

    def function(z: Array) -> Array:
        return _checked("event", limit, place(z))

    return Target(dim, False, function, lambda s: (s <= 0).astype(float), Levels())


def _placed(distribution: Any) -> tuple[int, Callable[[Array], Array]]:
    """The number of dimensions, and the map from normal space."""
    from scipy.special import ndtr

    wanted = (
        "a number of independent standard normal variables, a list of frozen scipy.stats distributions, or a frozen "
        "scipy.stats.multivariate_normal"
    )
    if isinstance(distribution, (int, np.integer)) and not isinstance(distribution, bool) and distribution > 0:
        return int(distribution), lambda z: z
    if hasattr(distribution, "mean") and hasattr(distribution, "cov"):
        mean, covariance = np.atleast_1d(distribution.mean), np.atleast_2d(distribution.cov)
        try:
            root = np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError:
            raise refuse("distribution", distribution, "one with a positive definite covariance") from None
        return len(mean), lambda z: mean + z @ root.T
    if isinstance(distribution, Sequence) and len(distribution) and all(hasattr(d, "ppf") for d in distribution):
        marginals = list(distribution)

        def place(z: Array) -> Array:
            # the upper half from the other side: 1 - p has no digits left for large p
            columns = [np.where(c > 0, m.isf(ndtr(-c)), m.ppf(ndtr(c))) for m, c in zip(marginals, z.T, strict=True)]
            return np.stack(columns, axis=1)

        return len(marginals), place
    raise refuse("distribution", distribution, wanted)


def _checked(name: str, function: Callable[[Array], Any], x: Array) -> Array:
    """The function's values, one for each point, as numbers."""
    raw = np.asarray(function(x))
    if raw.shape != (len(x),):
        raise InputError(
            f"{name} gave shape {raw.shape} for points of shape {x.shape}; it may take an array of points, one a row, "
            "and return one number for each"
        )
    if raw.dtype == bool:
        return np.where(raw, -1.0, 1.0) if name == "event" else raw.astype(float)
    values = np.asarray(raw, dtype=float)
    bad = ~np.isfinite(values)
    if bad.any():
        raise InputError(f"{name} gave {values[bad][0]} at {x[bad][0].tolist()}; it may be a finite number")
    return values


class Tempering:
    """Powers of the integrand's size, from 0 to 1."""

    first, last = 0.0, 1.0

    def log(self, scores: Array, at: float) -> Array:
        """See `Steps`."""
        return at * _log_size(scores) if at else np.zeros(len(scores))

    def following(self, scores: Array, at: float, n: int) -> float:
        """The power at which as many points as are wanted stay effective, by bisection."""
        log = _log_size(scores)
        log = log[np.isfinite(log)]
        if not len(log):
            return at
        wanted = min(_KEPT * n, 0.9 * len(log))

        def effective(power: float) -> float:
            w = (power - at) * log
            w = np.exp(w - w.max())
            return float(w.sum() ** 2 / (w @ w))

        low, high = at, self.last
        if effective(high) >= wanted:
            return high
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if effective(middle) >= wanted else (low, middle)
        return low


class Levels:
    """Thresholds of a limit state, negated so that they grow: from -inf to 0 (subset simulation)."""

    first, last = -math.inf, 0.0

    def log(self, scores: Array, at: float) -> Array:
        """See `Steps`."""
        return np.where(-scores >= at, 0.0, -np.inf)

    def following(self, scores: Array, at: float, n: int) -> float:
        """The level beyond which a share of the population lies."""
        return float(np.sort(-scores)[-max(1, int(_SEEDS * n))])


def _log_size(scores: Array) -> Array:
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.abs(scores)))
