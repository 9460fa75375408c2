"""Integrals and probabilities with an interval to believe, or the answer that there is not enough evidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from metaloop.errors import require
from metaloop.online.sampling import targets
from metaloop.online.sampling.portfolio import Portfolio, Run
from metaloop.online.sampling.targets import Target
from metaloop.online.status import Status
from metaloop.online.switching import Decision
from metaloop.space import Array

_QUANTILE = 2.36  # of Student's t at 97.5 % with the degrees of freedom of eight blocks
_LEAST = 1024


@dataclass(frozen=True)
class Estimate:
    """An integral or a probability.

    Attributes:
        value: the estimate; no more than a guess without enough evidence.
        error: its standard error.
        interval: at 95 %.
        evaluations: spent, whatever for.
        method: that gave it.
        status: ok, or not enough evidence; then `why()` says what is missing.
        decisions: what was decided, in order.
        doubts: why there is not enough evidence; empty where there is.
        methods: of every method tried: its name, points, value and standard error.
    """

    value: float
    error: float
    interval: tuple[float, float]
    evaluations: int
    method: str
    status: Status
    decisions: tuple[Decision, ...]
    doubts: tuple[str, ...]
    methods: tuple[tuple[str, int, float, float], ...]

    def why(self) -> str:
        """Every decision, one a line, and what is missing."""
        return "\n".join([*map(str, self.decisions), *(f"Not enough evidence: {d}." for d in self.doubts)])


def integrate(
    f: Callable[[Array], Any], bounds: Any, budget: int = 200_000, *, seed: int = 0, recipe: Portfolio | None = None
) -> Estimate:
    """The integral of a function over a box.

    Args:
        f: of points, shape (n, d), one a row; returns shape (n,), finite.
        bounds: pairs (low, high), one for each of the d dimensions.
        budget: evaluations of f, at most; at least 1024. The answer may use fewer, as nets grow by doubling.
        seed: of everything random.
        recipe: how evaluations are shared out; None for the default.

    Raises:
        InputError: an argument out of range, or a function that returns something else.
    """
    return _estimate(targets.integral(f, bounds), budget, seed, recipe)


def probability(
    event: Callable[[Array], Any], distribution: Any, budget: int = 200_000, *, seed: int = 0,
    recipe: Portfolio | None = None,
) -> Estimate:  # fmt: skip
    """The probability of an event, however rare.

    Args:
        event: a limit state of points, shape (n, d), that returns shape (n,) and is <= 0 where the event happens: its
            size leads to rare events. A condition (bool) is accepted, but then nothing leads there.
        distribution: the number of independent standard normal variables, a list of frozen `scipy.stats` distributions
            of independent variables, or a frozen `scipy.stats.multivariate_normal`.
        budget: evaluations, at most; at least 1024.
        seed: of everything random.
        recipe: how evaluations are shared out; None for the default.

    Raises:
        InputError: an argument out of range, or a function that returns something else.
    """
    return _estimate(targets.event(event, distribution), budget, seed, recipe)


def _estimate(target: Target, budget: int, seed: int, recipe: Portfolio | None) -> Estimate:
    whole = "a whole number of at least"
    require("budget", budget, lambda v: v >= _LEAST and v == int(v), f"{whole} {_LEAST}")
    require("seed", seed, lambda v: v >= 0 and v == int(v), f"{whole} 0")
    run = Run(recipe or Portfolio(), target, int(budget), np.random.default_rng(int(seed)))
    best = run.spend()
    half = _QUANTILE * best.error
    low, high = best.value - half, best.value + half
    if not target.cube:
        low = max(low, 0.0)
        high = min(high if best.parts.any() else 3.0 / best.size, 1.0)  # the rule of three
    return Estimate(
        best.value, best.error, (low, high), target.evaluations, best.name,
        Status.NOT_ENOUGH_EVIDENCE if run.doubts else Status.OK, tuple(run.decisions), tuple(run.doubts),
        tuple((m.name, m.size, m.value, m.error) for m in run.methods),
    )  # fmt: skip
