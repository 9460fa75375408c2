"""The outer loop on a case: one call, whatever kind of problem it is."""

from __future__ import annotations

from metaloop.online.sampling import Estimate, Portfolio, integrate, probability
from metaloop.systems.sampling.model import Case


def solve(case: Case, budget: int, seed: int, recipe: Portfolio | None = None) -> Estimate:
    """The integral or the probability, by the portfolio."""
    if case.group == "rare":
        return probability(case.function, case.distribution, budget, seed=seed, recipe=recipe)
    return integrate(case.function, [(0.0, 1.0)] * case.dim, budget, seed=seed, recipe=recipe)
