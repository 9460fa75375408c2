"""Which step size, how many leapfrog steps, which mass? Those that make the user's own estimate sure soonest.

The score of settings is the asymptotic variance of the estimate times what a draw costs: the variance of the estimate
per gradient evaluation, whatever the acceptance rate is. Settings whose draws swing around the mean (antithetic ones)
win for functions that are odd around it, those of a quarter of a period for even ones. Budget goes to the candidates by
successive halving (`control.Halving`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from metaloop.control import Halving
from metaloop.online.mcmc.chains import BLOCK, Chains, Draws, joined
from metaloop.online.mcmc.variance import asymptotic_variance
from metaloop.online.mcmc.warmup import Warm

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """Of the sampler.

    Attributes:
        step: mean size of the leapfrog steps, in the metric of the mass.
        steps: leapfrog steps a draw.
        mass: name of the mass matrix.
    """

    step: float
    steps: int
    mass: str

    def __str__(self) -> str:
        return f"{self.steps} step{'s' if self.steps > 1 else ''} of {self.step:.3g} ({self.mass} mass)"


@dataclass
class Arm:
    """A candidate: its chains and its draws so far."""

    setting: Setting
    state: Any
    parts: list[Draws]


def candidates(warm: Warm, affordable: float) -> list[Setting]:
    """The most plausible settings first, as many as can be afforded, and at least one.

    Args:
        warm: what warm-up found.
        affordable: leapfrog steps in all, of one chain, that a first block of each may take.
    """
    rated: list[tuple[float, Setting]] = []
    best = next(iter(warm.masses.values()))
    for name, inverse_mass in warm.masses.items():
        fastest, slowest = _frequencies(inverse_mass, best)
        for factor in (1.0, 0.8, 0.6, 0.4):
            step = factor * warm.step / fastest
            half = math.pi / step / math.sqrt(fastest * slowest)  # leapfrog steps in half a typical period
            for n in sorted({max(1, round(share * half)) for share in (0.25, 0.5, 0.75, 1.0, 1.5, 2.5, 4.0)}):
                unlikely = abs(math.log(n / (0.6 * half))) - 1.5 * math.log(factor) + math.log(fastest / slowest)
                rated.append((unlikely, Setting(step, n, name)))
    out = [s for _, s in sorted(rated, key=lambda r: r[0])]
    cost = BLOCK * np.cumsum([s.steps for s in out])
    return out[: max(1, int(np.searchsorted(cost, affordable, side="right")))]


def _frequencies(inverse_mass: Array, covariance: Array) -> tuple[float, float]:
    """Fastest and slowest of a Gaussian's oscillations with this mass."""
    from scipy.linalg import eigh

    squares = eigh(inverse_mass, covariance, eigvals_only=True)
    return math.sqrt(squares[-1]), math.sqrt(max(squares[0], 1e-300))


def race(
    chains: Chains,
    warm: Warm,
    rng: np.random.Generator,
    settings: list[Setting],
    budget: int,
    residual: Callable[[Draws], Array],
) -> tuple[list[Arm], Array, int]:
    """Successive halving of the settings.

    Args:
        chains: the engine.
        warm: where each arm begins.
        rng: for the draws.
        settings: the candidates.
        budget: gradient evaluations in all; enough for a block of each.
        residual: from all draws of all arms so far to what is to be estimated, shape (draws, chains, k), in order.

    Returns:
        the arms, the best first; their scores, sorted, one for every arm; and what was spent.
    """
    rule = Halving()
    state = rule.init(len(settings))
    arms = [Arm(s, warm.state, []) for s in settings]
    spent = 0
    # A pull is one block, or more where there would be thousands: then each is scored from many draws at once.
    blocks = max(1, int(budget / (32 * BLOCK * len(warm.draws.g[0]) * sum(s.steps for s in settings))))
    while True:
        i = rule.decide(state, budget)
        arm = arms[i]
        if spent + blocks * BLOCK * arm.setting.steps * len(warm.draws.g[0]) > budget:
            break
        steps = np.full(blocks * BLOCK, arm.setting.steps)
        arm.state, draws = chains.draw(arm.state, rng, arm.setting.step, warm.masses[arm.setting.mass], steps)
        arm.parts.append(draws)
        spent += draws.cost
        rule.observe(state, i, 0.0, draws.cost)
        # All arms are scored anew: each draw of any of them makes the mean, and the control variates, surer.
        latest = scores(arms, residual)
        last = {int(a): k for k, a in enumerate(state.pulled)}
        for a, k in last.items():
            state.score[k] = -latest[a]
    final = np.where(state.alive, scores(arms, residual), np.inf)
    order = np.argsort(final, kind="stable")
    return [arms[i] for i in order], scores(arms, residual)[order], spent


def scores(arms: list[Arm], residual: Callable[[Draws], Array]) -> Array:
    """Variance of the estimate times gradient evaluations of a chain, relative to that of single draws, shape (arms,);
    inf where nothing was drawn. Of several components, the mean counts.
    """
    drawn = [a for a in arms if a.parts]
    series = residual(joined([p for a in drawn for p in a.parts]))
    mean, variance = series.mean(axis=(0, 1)), series.var(axis=(0, 1))
    tiny = np.finfo(float).tiny
    out, at = np.full(len(arms), np.inf), 0
    for i, arm in enumerate(arms):
        n = sum(len(p.g) for p in arm.parts)
        if n:
            sigma = asymptotic_variance(series[at : at + n], mean)
            out[i] = float(np.mean(sigma / np.maximum(variance, tiny))) * arm.setting.steps
            at += n
    return out
