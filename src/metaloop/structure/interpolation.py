"""How stiff (or conductive) a material of intermediate density is taken to be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Power:
    """Modulus = least + ρ^penalty (1 - least): SIMP (Bendsøe 1989; Sigmund 2007 for the form)."""

    penalty: float = 3.0
    least: float = 1e-9

    def moduli(self, density: Array) -> Array:
        """Of the elements."""
        return np.asarray(self.least + (1 - self.least) * density**self.penalty)

    def slopes(self, density: Array) -> Array:
        """Their derivatives with respect to the densities."""
        return np.asarray((1 - self.least) * self.penalty * density ** (self.penalty - 1))


@dataclass(frozen=True)
class Rational:
    """Modulus = least + ρ / (1 + penalty (1 - ρ)) (1 - least): RAMP (Stolpe & Svanberg 2001).

    Its slope at 0 is not 0: the better choice where loads depend on the density, as weight does.
    """

    penalty: float = 3.0
    least: float = 1e-9

    def moduli(self, density: Array) -> Array:
        """Of the elements."""
        return np.asarray(self.least + (1 - self.least) * density / (1 + self.penalty * (1 - density)))

    def slopes(self, density: Array) -> Array:
        """Their derivatives with respect to the densities."""
        return np.asarray((1 - self.least) * (1 + self.penalty) / (1 + self.penalty * (1 - density)) ** 2)
