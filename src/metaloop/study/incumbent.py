"""The incumbent is an estimate, not a lucky draw.

Where the objective repeats itself the best observation is the best. Where it is noisy, the smallest of n noisy values
is biased low by about σ √(2 ln n) (the winner's curse), so the incumbent is the evaluated configuration with the best
posterior mean under a Gaussian process whose noise is learned.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metaloop.space import Array, Space
from metaloop.study.trial import Trial, TrialState

_MOST_POINTS = 500  # the posterior is fitted to at most this many trials
_FEWEST_POINTS = 6


@dataclass(frozen=True)
class Incumbent:
    """The best configuration so far.

    Attributes:
        trial: number of the trial that holds the configuration.
        value: its estimated value, with the objective's own sign.
        std: standard deviation of the estimate; 0 where the objective repeats itself, NaN where unknown.
        note: how it was estimated, a sentence.
    """

    trial: int
    value: float
    std: float
    note: str


def incumbent(
    space: Space, trials: Sequence[Trial], *, maximize: bool = False, noisy: bool | None = None
) -> Incumbent | None:
    """The best configuration as an estimate.

    Args:
        space: of the trials.
        trials: any; those complete count, of these the feasible ones, if there are some, and of these the ones at the
            highest fidelity.
        maximize: the best is the largest.
        noisy: whether equal configurations may give different values; None to judge by those that were repeated.

    Returns:
        None while no trial is complete.
    """
    done = [t for t in trials if t.state is TrialState.COMPLETE and t.observation is not None]
    feasible = [t for t in done if t.observation is not None and t.observation.violation == 0]
    if not done:
        return None
    if not feasible:
        least = min(done, key=lambda t: t.observation.violation if t.observation else math.inf)
        return Incumbent(least.number, least.value, math.nan, "No trial was feasible; this one violates least.")
    most = max(t.observation.fidelity for t in feasible if t.observation)
    feasible = [t for t in feasible if t.observation and t.observation.fidelity == most]
    values = np.array([t.value for t in feasible])
    sign = -1.0 if maximize else 1.0
    best = int(np.argmin(sign * values))
    groups = _repeats(feasible)
    spread = _pooled_std(groups)
    if noisy is None:
        noisy = None if spread is None else spread > 0
    if noisy and len(feasible) >= _FEWEST_POINTS:
        return _posterior_best(space, feasible, sign, groups)
    number, value = feasible[best].number, float(values[best])
    if noisy:
        return Incumbent(number, value, math.nan, "Too few trials to tell value from noise; this is the best observed.")
    if noisy is None:
        note = "No configuration was evaluated twice, so noise is unknown; the value is the best single observation."
        return Incumbent(number, value, math.nan, note)
    note = "Repeated configurations gave equal values, so the best observation is exact."
    return Incumbent(number, value, 0.0, note if spread is not None else "The best observation is taken as exact.")


def _repeats(trials: Sequence[Trial]) -> list[list[Trial]]:
    groups: dict[bytes, list[Trial]] = {}
    for t in trials:
        groups.setdefault(t.row.tobytes(), []).append(t)
    return list(groups.values())


def _pooled_std(groups: Sequence[Sequence[Trial]]) -> float | None:
    """Pooled standard deviation within repeated configurations; None without any repeat."""
    squares, freedom = 0.0, 0
    for group in groups:
        if len(group) > 1:
            v = np.array([t.value for t in group])
            squares += float(((v - v.mean()) ** 2).sum()) if np.ptp(v) > 0 else 0.0
            freedom += len(group) - 1
    return math.sqrt(squares / freedom) if freedom else None


def _posterior_best(space: Space, trials: Sequence[Trial], sign: float, groups: Sequence[Sequence[Trial]]) -> Incumbent:
    from metaloop.landscape.gaussian_process import posterior_at

    y = sign * np.array([t.value for t in trials])
    rows: Array = np.stack([t.row for t in trials])
    keep = np.arange(len(y))
    if len(y) > _MOST_POINTS:
        # The best half by value and the newest: the rest says little about where the best is.
        best = np.argsort(y)[: _MOST_POINTS // 2]
        keep = np.union1d(best, np.setdiff1d(keep, best)[-(_MOST_POINTS - len(best)) :])
    mean, std, noise = posterior_at(space, rows[keep], y[keep])
    at = int(np.argmin(mean))
    chosen = trials[int(keep[at])]
    count = next(len(g) for g in groups if any(t.number == chosen.number for t in g))
    times = "once" if count == 1 else f"{count} times"
    note = (
        f"The objective is noisy (standard deviation about {noise:.2g}): the incumbent is the configuration with the "
        f"best posterior mean, evaluated {times}; the best single observation was {sign * float(y.min()):.5g}."
    )
    return Incumbent(chosen.number, sign * float(mean[at]), float(std[at]), note)
