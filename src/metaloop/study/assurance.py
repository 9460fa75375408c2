"""What independent random trials guarantee, whatever the objective looks like."""

from __future__ import annotations

import math
from dataclasses import dataclass

from metaloop.errors import refuse


def trials_needed(fraction: float, confidence: float = 0.95) -> int:
    """How many independent trials put the best into the top `fraction` with probability `confidence`.

    The smallest n with 1 - (1 - fraction)^n >= confidence.

    Raises:
        InputError: a fraction or confidence outside (0, 1).
    """
    _share("fraction", fraction)
    _share("confidence", confidence)
    return math.ceil(math.log1p(-confidence) / math.log1p(-fraction))


@dataclass(frozen=True)
class Assurance:
    """The guarantee that n independent, uniform trials give: P(best in the top α) = 1 - (1 - α)^n.

    The space is measured by the search distribution (its own scales), and a trial that failed counts as a bad one.

    Attributes:
        independent: n; 0 where the points were chosen by looking at earlier ones.
    """

    independent: int

    def top_fraction(self, confidence: float = 0.95) -> float:
        """The α such that with this confidence the best lies in the top α; 1 where nothing is guaranteed.

        Raises:
            InputError: a confidence outside (0, 1).
        """
        _share("confidence", confidence)
        return -math.expm1(math.log1p(-confidence) / self.independent) if self.independent else 1.0

    def confidence(self, fraction: float) -> float:
        """The probability that the best lies in the top `fraction`.

        Raises:
            InputError: a fraction outside (0, 1).
        """
        _share("fraction", fraction)
        return -math.expm1(self.independent * math.log1p(-fraction))

    def __str__(self) -> str:
        if not self.independent:
            return (
                "No guarantee: the points were chosen by looking at earlier ones, or evenly spread. "
                f"{trials_needed(0.05)} independent trials (RandomSearch) reach the top 5 % with 95 % confidence."
            )
        return (
            f"After {self.independent} independent trials the best is in the top "
            f"{100 * self.top_fraction():.2g} % of the space with 95 % confidence."
        )


def _share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise refuse(name, value, "between 0 and 1, both excluded")
