"""Where an iteration is going: does it converge, how long will it take, does it swing or stand still?

From the history of its residuals: a line through their latest logarithms, by the median of pairwise slopes (Theil 1950,
Sen 1968), which one outlier in three does not move.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Forecast:
    """What the latest residuals say.

    Attributes:
        rate: factor on the residual a step; below 1 where it contracts.
        low, high: the quartiles of the pairwise factors: how sure that is.
        level: the fitted residual now.
        swing: spread of the residuals around the line, as a factor >= 1: large where they oscillate.
        steps: how many residuals were read.
    """

    rate: float
    low: float
    high: float
    level: float
    swing: float
    steps: int

    def remaining(self, tolerance: float, *, cautious: bool = False) -> float:
        """Steps until the residual is below a tolerance; inf where it does not contract.

        Args:
            tolerance: > 0.
            cautious: by the upper quartile of the factors instead of their median.
        """
        rate = self.high if cautious else self.rate
        if self.level <= tolerance:
            return 0.0
        if not rate < 1:
            return math.inf
        return math.log(tolerance / self.level) / math.log(rate) if rate > 0 else 1.0


def forecast(residuals: Array | list[float], window: int = 8) -> Forecast:
    """Read the latest residuals of an iteration.

    Args:
        residuals: positive numbers, oldest first, one a step; zeros count as the smallest double, NaN as none.
        window: how many to read at most, at least 2.

    Returns:
        the forecast; with fewer than two finite residuals the rate is 1 and the interval (0, inf).
    """
    y = np.asarray(residuals, dtype=float)
    y = y[np.isfinite(y)][-window:]
    n = len(y)
    if n < 2:
        level = float(y[-1]) if n else math.inf
        return Forecast(1.0, 0.0, math.inf, level, 1.0, n)
    logs = np.log(np.maximum(y, np.finfo(float).tiny))
    i, j = np.triu_indices(n, 1)
    low, slope, high = np.quantile((logs[j] - logs[i]) / (j - i), [0.25, 0.5, 0.75])
    rest = logs - slope * np.arange(n)
    middle = float(np.median(rest))
    swing = float(np.median(np.abs(rest - middle)))
    return Forecast(
        math.exp(slope), math.exp(low), math.exp(high), math.exp(middle + slope * (n - 1)), math.exp(swing), n
    )
