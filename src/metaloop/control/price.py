"""What something will cost, learned from what it did cost: linear in the logarithm, with an interval.

Bayesian linear regression with unknown noise (Bishop 2006, section 3.3; O'Hagan & Forster 2004, section 11.3) of
log cost on given features: prices are positive, vary over decades, and err by factors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metaloop.errors import refuse, require

Array = npt.NDArray[np.float64]


@dataclass
class PriceState:
    """Sufficient statistics.

    Attributes:
        precision: of the coefficients, relative to the noise, shape (k, k).
        moment: precision times the mean of the coefficients, shape (k,).
        count: observations, those of the prior included.
        squares: weighted sum of squared logs, for the noise.
    """

    precision: Array
    moment: Array
    count: float
    squares: float


@dataclass(frozen=True)
class Price:
    """A model of log cost = features @ coefficients + noise.

    Args:
        coefficients: what is expected before anything was seen, shape (k,); the first feature is usually 1.
        spread: standard deviation of each around that, > 0.
        noise: standard deviation of the logarithm that is expected at equal features, > 0.
        worth: observations that the expected noise counts for, > 0.

    Raises:
        InputError: a setting out of range.
    """

    coefficients: tuple[float, ...] = (0.0,)
    spread: float = 3.0
    noise: float = 0.5
    worth: float = 2.0

    def __post_init__(self) -> None:
        require("coefficients", self.coefficients, lambda v: len(v) > 0, "a non-empty tuple of numbers")
        for name in ("spread", "noise", "worth"):
            require(name, getattr(self, name), _positive, "a number greater than 0")

    def init(self) -> PriceState:
        """Only the prior."""
        mean = np.array(self.coefficients, dtype=float)
        precision = np.eye(len(mean)) * (self.noise / self.spread) ** 2
        squares = self.worth * self.noise**2 + float(mean @ precision @ mean)
        return PriceState(precision, precision @ mean, self.worth, squares)

    def observe(self, state: PriceState, features: Array | tuple[float, ...], cost: float) -> PriceState:
        """One cost, > 0, at some features, shape (k,).

        Raises:
            InputError: a cost that is no positive number.
        """
        require("cost", cost, lambda v: 0 < v < math.inf, "a finite number greater than 0")
        x, y = self._features(features), math.log(cost)
        state.precision = state.precision + np.outer(x, x)
        state.moment = state.moment + y * x
        state.count += 1
        state.squares += y * y
        return state

    def estimate(
        self, state: PriceState, features: Array | tuple[float, ...], deviations: float = 1.0
    ) -> tuple[float, float, float]:
        """The median cost at some features, and the costs so many standard deviations below and above it."""
        x = self._features(features)
        mean = np.linalg.solve(state.precision, state.moment)
        variance = max(state.squares - float(mean @ state.moment), 1e-12) / state.count
        spread = math.sqrt(variance * (1 + float(x @ np.linalg.solve(state.precision, x))))
        middle = float(x @ mean)
        return math.exp(middle), math.exp(middle - deviations * spread), math.exp(middle + deviations * spread)

    def _features(self, features: Array | tuple[float, ...]) -> Array:
        x = np.asarray(features, dtype=float)
        if x.shape != (len(self.coefficients),):
            raise refuse("features", features, f"{len(self.coefficients)} numbers")
        return x


def _positive(value: float) -> bool:
    return value > 0
