"""The estimate: warm up, race the settings, spend the rest on the best, and say how sure the result is.

Hamiltonian Monte Carlo (Duane et al. 1987; Neal 2011, arXiv:1206.1901) in several chains. What other samplers tune for
an acceptance rate is tuned here for the variance of the one number that was asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from metaloop.errors import refuse, require
from metaloop.online.mcmc import variates
from metaloop.online.mcmc.chains import Chains, Draws, joined, need_jax
from metaloop.online.mcmc.tuning import Setting, candidates, race
from metaloop.online.mcmc.variance import batch_means, split_rhat
from metaloop.online.mcmc.warmup import AGREE, Warm, starts, warm_up
from metaloop.online.status import Status
from metaloop.online.switching import Decision
from metaloop.recipe import tunable
from metaloop.space import Float, Int

Array = npt.NDArray[np.float64]

BATCHES = 4  # a chain, for the error
DIVERGED = 1e-3  # share of trajectories from which on it matters


@dataclass(frozen=True)
class MCMCEstimate:
    """A posterior expectation.

    Attributes:
        value: of g's shape.
        error: standard error, of g's shape.
        interval: ends of the confidence interval, each of g's shape.
        evaluations: gradient evaluations in all, warm-up and tuning included.
        effective: independent draws that would be as sure, the least of all components; of the residual where control
            variates are used.
        rhat: largest split R-hat of what is estimated.
        setting: the sampler's settings that were chosen.
        status: ok, or not enough evidence; then `why()` says what is missing.
        decisions: what was decided, in order.
        draws: values of g at fixed settings, shape (draws, chains, k).
    """

    value: Any
    error: Any
    interval: tuple[Any, Any]
    evaluations: int
    effective: float
    rhat: float
    setting: Setting
    status: Status
    decisions: tuple[Decision, ...]
    draws: Array

    def why(self) -> str:
        """Every decision, one a line."""
        return "\n".join(map(str, self.decisions))


@dataclass(frozen=True)
class TunedHMC:
    """Settings of `estimate`.

    Args:
        chains: at least 4.
        warmup: largest share of the budget to settle in.
        tuning: share of the budget to race settings with.
        control: whether gradients may serve as control variates.
        spread: start coordinates are drawn within this of the start, where only one is given, >= 0.
        confidence: of the interval.
        rhat: split R-hat of the estimate above which there is not enough evidence, > 1.
        effective: effective draws below which there is not enough evidence.

    Raises:
        InputError: a setting out of range.
    """

    chains: int = tunable(8, Int(4, 32))
    warmup: float = tunable(0.3, Float(0.05, 0.6))
    tuning: float = tunable(0.2, Float(0.02, 0.5))
    control: bool = True
    spread: float = 1.0
    confidence: float = 0.95
    rhat: float = 1.02
    effective: float = 200.0

    def __post_init__(self) -> None:
        require("chains", self.chains, lambda v: v >= 4 and v == int(v), "a whole number of at least 4")
        for name in ("warmup", "tuning", "confidence"):
            require(name, getattr(self, name), lambda v: 0 < v < 1, "a number in (0, 1)")
        if self.warmup + self.tuning >= 1:
            raise refuse("warmup + tuning", self.warmup + self.tuning, "less than 1")
        if not isinstance(self.control, bool):
            raise refuse("control", self.control, "True or False")
        require("spread", self.spread, lambda v: 0 <= v < math.inf, "a finite number of at least 0")
        require("rhat", self.rhat, lambda v: v > 1, "a number greater than 1")
        require("effective", self.effective, lambda v: v >= 0, "a number of at least 0")


def estimate(
    log_density: Callable[[Any], Any],
    g: Callable[[Any], Any],
    start: Any,
    budget: int,
    *,
    seed: int = 0,
    recipe: TunedHMC = TunedHMC(),
) -> MCMCEstimate:
    """The expectation of g under a density, with an error bar.

    The result is a function of the arguments alone, on one machine. Computed in double precision, whatever JAX's
    configuration is. Functions are compiled once as long as the same objects are passed.

    Args:
        log_density: of the posterior up to a constant: a JAX function of a vector or pytree of floats, with gradients.
        g: whose expectation is wanted: a JAX function of the same, to a number or an array of them.
        start: a point with a finite density; or as many points as the recipe has chains, along a new first axis, which
            can reveal separate modes that starts around one point never see.
        budget: gradient evaluations, all chains and all phases together; at least 200 for each chain.
        seed: whole number >= 0.
        recipe: settings.

    Raises:
        ImportError: no JAX or no blackjax.
        InputError: an argument that cannot be used.
    """
    if not isinstance(recipe, TunedHMC):
        raise refuse("recipe", recipe, "a TunedHMC")
    for name, f in (("log_density", log_density), ("g", g)):
        if not callable(f):
            raise refuse(name, f, "a function")
    least = 200 * recipe.chains
    require("budget", budget, lambda v: v >= least and v == int(v), f"a whole number of at least {least}")
    require("seed", seed, lambda v: v >= 0 and v == int(v), "a whole number of at least 0")
    rng = np.random.default_rng(seed)
    one, points = _points(start, recipe.chains)
    chains = Chains(log_density, g, one)
    log: list[Decision] = []
    state, spent = starts(chains, rng, points, recipe.chains, recipe.spread)

    warm = warm_up(chains, state, rng, int(recipe.warmup * budget))
    spent += warm.cost
    log.append(_settled(warm, spent))
    if not np.isfinite(warm.draws.g).all():
        raise refuse("g", g, "finite wherever the density is not zero")
    use = recipe.control and _controllable(warm.draws, spent, log)

    def residual(draws: Draws) -> Array:
        return draws.g - draws.gradient @ variates.coefficients(draws.g, draws.gradient) if use else draws.g

    share = min(int(recipe.tuning * budget), (budget - spent) // 2)
    settings = candidates(warm, share / recipe.chains / 2)
    pilot, state, best = warm.draws, warm.state, settings[0]
    if len(settings) > 1:
        arms, score, cost = race(chains, warm, rng, settings, share, residual)
        spent += cost
        pilot, state, best = joined([p for a in arms for p in a.parts]), arms[0].state, arms[0].setting
        first = next(k for k, a in enumerate(arms) if a.setting == settings[0])
        log.append(
            Decision(
                spent, f"{len(arms)} settings were raced for {cost} evaluations", f"use {best}",
                f"{score[0] / max(score[first], 1e-300):.2f} of the variance per evaluation of {settings[0]}",
            )
        )  # fmt: skip
    else:
        log.append(Decision(spent, "there is no budget to race settings", f"use {best}", "a middling variance"))

    left = (budget - spent) // recipe.chains  # leapfrog steps of each chain; each batch needs some draws
    best = replace(best, steps=max(1, min(best.steps, left // (4 * BATCHES))))
    steps = np.full(left // best.steps, best.steps)
    _, final = chains.draw(state, rng, best.step, warm.masses[best.mass], steps)
    spent += final.cost
    series = final.g
    if use and variates.refuted(final.gradient):
        log.append(Decision(spent, "gradients do not average to zero", "drop the control variates", "no bias"))
    elif use:
        series = final.g - final.gradient @ variates.coefficients(pilot.g, pilot.gradient)
    return _judged(recipe, chains.shape, final, series, spent, best, log)


def _points(start: Any, count: int) -> tuple[Any, Array]:
    """One point as the user wrote it, and the flat start or starts, shape (d,) or (chains, d)."""
    need_jax()
    import jax

    leaves, structure = jax.tree.flatten(start)
    try:
        leaves = [np.asarray(leaf, dtype=float) for leaf in leaves]
    except (TypeError, ValueError):
        leaves = []
    if not leaves or not all(np.isfinite(leaf).all() for leaf in leaves) or sum(leaf.size for leaf in leaves) == 0:
        raise refuse("start", start, "a vector or pytree of finite numbers")
    many = all(leaf.ndim >= 2 and len(leaf) == count for leaf in leaves)
    if not many:
        return jax.tree.unflatten(structure, leaves), np.concatenate([leaf.ravel() for leaf in leaves])
    one = jax.tree.unflatten(structure, [leaf[0] for leaf in leaves])
    return one, np.concatenate([leaf.reshape(count, -1) for leaf in leaves], axis=1)


def _settled(warm: Warm, spent: int) -> Decision:
    agree = f"the chains {'agree' if warm.rhat <= AGREE else 'do not agree yet'} (split R-hat {warm.rhat:.3g})"
    kind = next(iter(warm.masses))
    return Decision(
        spent, f"{agree} after {warm.cost} evaluations of warm-up", f"end it with a {kind} mass matrix",
        f"a step of {warm.step:.3g} in its metric is accepted at about 0.8",
    )  # fmt: skip


def _controllable(draws: Draws, spent: int, log: list[Decision]) -> bool:
    """Whether the gradients make control variates, and a word about it."""
    d = draws.x.shape[2]
    count = draws.g.shape[0] * draws.g.shape[1]
    if count < 5 * (d + 1):
        log.append(Decision(spent, f"{count} draws are few for {d} gradients", "use no control variates", "no harm"))
        return False
    if variates.refuted(draws.gradient):
        log.append(Decision(spent, "gradients do not average to zero", "use no control variates", "no bias"))
        return False
    left = (draws.g - draws.gradient @ variates.coefficients(draws.g, draws.gradient)).var(axis=(0, 1))
    ratio = float(np.mean(left / np.maximum(draws.g.var(axis=(0, 1)), np.finfo(float).tiny)))
    log.append(
        Decision(
            spent, "gradients average to zero", "use them as control variates", f"{ratio:.2g} of the variance of a draw"
        )
    )  # fmt: skip
    return True


def _judged(
    recipe: TunedHMC, shape: tuple[int, ...], final: Draws, series: Array, spent: int, best: Setting,
    log: list[Decision],
) -> MCMCEstimate:  # fmt: skip
    """Value, error and verdict from the draws at fixed settings."""
    from scipy.stats import t

    draws, chains = series.shape[:2]
    value, error = batch_means(series, BATCHES)
    # Sums of equal numbers differ in their last bits; no estimate is surer than that.
    error = np.maximum(error, 4 * np.finfo(float).eps * np.abs(value))
    half = t.ppf(0.5 + recipe.confidence / 2, BATCHES * chains - 1) * error
    variance = series.var(axis=(0, 1))
    effective = float(np.min(np.where(variance > 0, variance / error**2, np.inf)))
    rhat = float(split_rhat(series).max())
    everything = np.concatenate([final.x, final.log_density[:, :, None]], axis=2)
    apart = float(split_rhat(everything).max())
    diverged = float(final.diverged.mean())
    missing = []
    if not np.isfinite(value).all():
        missing.append("the estimate is not a finite number")
    if rhat > recipe.rhat:
        missing.append(f"the chains disagree about the estimate (split R-hat {rhat:.3g} > {recipe.rhat:g})")
    if apart > AGREE:
        missing.append(f"the chains disagree about where the density is (split R-hat {apart:.3g} > {AGREE:g})")
    if effective < recipe.effective:
        missing.append(f"there are {effective:.0f} effective draws (< {recipe.effective:g})")
    if diverged > DIVERGED:
        missing.append(f"{100 * diverged:.2g} % of the trajectories diverged, so parts of the density may be missed")
    status = Status.NOT_ENOUGH_EVIDENCE if missing else Status.OK
    seen = f"{draws * chains} draws at fixed settings are worth {effective:.0f} (split R-hat {rhat:.4g})"
    log.append(Decision(spent, "; ".join([seen, *missing]), f"call it {status}", f"an error of {np.max(error):.2g}"))
    value, error, low, high = (v.reshape(shape)[()] for v in (value, error, value - half, value + half))
    return MCMCEstimate(
        value, error, (low, high), spent, effective, rhat, best, status, tuple(log), final.g
    )  # fmt: skip
