"""From the starts to the posterior: the chains settle while the mass matrix and a first step size are learned."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from metaloop.errors import InputError
from metaloop.online.mcmc import mass
from metaloop.online.mcmc.chains import BLOCK, Chains, Draws, joined
from metaloop.online.mcmc.variance import split_rhat

Array = npt.NDArray[np.float64]

LEAST = 10  # blocks
MOST_STEPS = 16
AGREE = 1.1  # split R-hat of everything, over the latter half of the warm-up
TARGET = 0.8  # acceptance; only where the search for better settings begins
FAR = 1e100  # where no draw of a density in double precision should be
DENSE = 256  # dimensions up to which a matrix with all correlations is worth its price


@dataclass(frozen=True)
class Warm:
    """Where warm-up ended.

    Attributes:
        state: of the chains.
        step: size at which proposals are accepted with probability `TARGET`.
        masses: inverse mass by name, the one in use first.
        draws: the latter half.
        cost: gradient evaluations in all.
        rhat: the largest of the latter half.
    """

    state: Any
    step: float
    masses: dict[str, Array]
    draws: Draws
    cost: int
    rhat: float


def starts(chains: Chains, rng: np.random.Generator, start: Array, count: int, spread: float) -> tuple[Any, int]:
    """States at points around one, each coordinate within `spread` of it, nearer where the density is not finite.

    Returns:
        the states and what they cost.

    Raises:
        InputError: no finite density or gradient at the start itself.
    """
    x = np.repeat(start[None], count, axis=0) if start.ndim == 1 else start
    away = rng.uniform(-spread, spread, x.shape) if start.ndim == 1 else np.zeros_like(x)
    cost = 0
    for _ in range(20):
        state = chains.begin(x + away)
        cost += count
        fine = np.isfinite(state.logdensity) & np.isfinite(state.logdensity_grad).all(axis=1)
        if fine.all():
            return state, cost
        if not away.any():
            break
        away[~fine] *= 0.5
    raise InputError("start was a point where the log density or its gradient is not finite; it may be one inside")


def warm_up(chains: Chains, state: Any, rng: np.random.Generator, most: int) -> Warm:
    """Blocks of draws, after each of which mass and step size are learned from the latter half of all, until the
    chains agree or the budget of gradient evaluations is spent.

    Raises:
        InputError: draws that run away.
    """
    count = len(state.logdensity)
    x, gradient = np.asarray(state.position), np.asarray(state.logdensity_grad)
    d = x.shape[1]
    inverse_mass = mass.diagonal(x, gradient)
    step, cost, rhat = d**-0.25 / 2, 0, math.inf
    parts: list[Draws] = []
    steps_tried: list[float] = []
    while len(parts) < LEAST or rhat > AGREE:
        longest = min(math.ceil(math.pi / step), 4 if len(parts) < 4 else MOST_STEPS)
        steps = rng.integers(1, longest + 1, BLOCK)
        if cost + int(steps.sum()) * count > most and parts:
            break
        state, draws = chains.draw(state, rng, step, inverse_mass, steps)
        parts.append(draws)
        cost += draws.cost
        accepted = float(draws.acceptance.mean())
        steps_tried.append(step)
        step *= 0.25 if accepted < 0.1 else math.exp((3.0 if len(parts) < 4 else 1.0) * (accepted - TARGET))
        half = joined(parts[len(parts) // 2 :])
        if np.abs(half.x).max() > FAR:
            raise InputError("log_density seems to be improper: draws run away; it may be one that can be normalized")
        inverse_mass = learned(half, d)[0]
        seen = np.concatenate([half.x, half.log_density[:, :, None]], axis=2)
        rhat = float(split_rhat(seen).max())
    latter = steps_tried[-max(1, len(steps_tried) // 3) :]
    step = math.exp(float(np.mean(np.log(latter))))
    _, masses = learned(half, d)
    return Warm(state, step, masses, half, cost, rhat)


def learned(draws: Draws, d: int) -> tuple[Array, dict[str, Array]]:
    """The inverse mass to use and all by name."""
    fine = np.isfinite(draws.gradient).all(axis=2)
    x, gradient = draws.x[fine], draws.gradient[fine]
    masses = {"diagonal": mass.diagonal(x, gradient)}
    if 1 < d <= DENSE:
        masses = {"dense": mass.dense(x, gradient)} | masses
    return next(iter(masses.values())), masses
