"""What has been seen of one number so far: its mean, and how sure that is.

The posterior of the mean of normal values with unknown variance (Gelman et al., Bayesian Data Analysis, 3rd ed.,
section 3.3), updated one value at a time (Welford 1962), with forgetting (West 1979: weights that decay).
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Evidence:
    """An online estimate of a mean.

    A prior is some values' worth of evidence: ``Evidence(weight=2.0, mean=1.0, squares=2.0)`` are two values with mean
    1 and sample variance 2.

    Attributes:
        weight: how many values it is worth, >= 0.
        mean: their weighted mean.
        squares: weighted sum of squared differences from it.
        memory: number of values after which one counts for 1/e; inf to forget nothing.
    """

    weight: float = 0.0
    mean: float = 0.0
    squares: float = 0.0
    memory: float = math.inf

    def add(self, value: float, weight: float = 1.0) -> None:
        """One more value; not finite ones are left out."""
        if not (math.isfinite(value) and weight > 0):
            return
        fade = math.exp(-1 / self.memory)
        self.weight, self.squares = fade * self.weight + weight, fade * self.squares
        step = value - self.mean
        self.mean += step * weight / self.weight
        self.squares += weight * step * (value - self.mean)

    @property
    def variance(self) -> float:
        """Of single values; inf below two values' worth."""
        return self.squares / (self.weight - 1) if self.weight > 1 else math.inf

    @property
    def error(self) -> float:
        """Standard error of the mean; inf below two values' worth."""
        return math.sqrt(self.variance / self.weight) if self.weight > 1 else math.inf

    def bound(self, deviations: float) -> float:
        """The mean plus so many standard errors, widened where there is little evidence; infinite below two values.

        The normal quantile z is turned into Student's t by its expansion in 1 / degrees of freedom (Abramowitz & Stegun
        26.7.5): within 2 % for |z| <= 2 from four values on.
        """
        if deviations == 0:
            return self.mean
        nu = self.weight - 1
        if nu < 1:
            return math.copysign(math.inf, deviations)
        z = deviations
        t = z + (z**3 + z) / (4 * nu) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * nu**2)
        t += (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * nu**3)
        return self.mean + t * self.error
