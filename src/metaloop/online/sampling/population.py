"""Where the mass is: a population moves from the standard normal law to what an integrand is large on.

Sources: Del Moral, Doucet & Jasra 2006 (sequential Monte Carlo samplers); Au & Beck 2001 (subset simulation: levels of
a limit state); Neal 2001 (tempering). Moves are Metropolis-Hastings,
of three kinds: short steps in the standard normal law (Neal 1999), short steps in a component of a mixture that was
fitted to the population, and draws from this mixture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np

from metaloop.online.sampling.mixture import Mixture, fit, total
from metaloop.space import Array, Mask

_FORGOTTEN = 0.3  # rank correlation of the scores before and after the moves of a step
_BASE, _NEAR, _FAR = 0, 1, 2  # short steps in the standard normal law, in a component, and draws of the mixture
_KINDS = (0.4, 0.3, 0.3)
_ACCEPTED = 0.3  # share of the short steps that their length aims at
_MOST = 24  # moves a step
_SEEDS = 50.0  # effective points from which a mixture is fitted


@dataclass
class Population:
    """What was found.

    Attributes:
        z: points, shape (n, d), about a sample of what is sought.
        log_mass: logarithm of the integral of what is sought, estimated on the way.
        levels: how many there were.
        reached: whether the last level is what is sought.
        evaluations: spent.
    """

    z: Array
    log_mass: float
    levels: int
    reached: bool
    evaluations: int


class Steps(Protocol):
    """A way from the standard normal law, by a number that grows.

    Attributes:
        first, last: of that law, and of what is sought.
    """

    first: float
    last: float

    def log(self, scores: Array, at: float) -> Array:
        """Logarithm of the density over the standard normal one at points with these scores; 0 at the first step."""
        ...

    def following(self, scores: Array, at: float, n: int) -> float:
        """The next step of a population of n."""
        ...


def explore(
    z: Array, scores: Array, score: Callable[[Array], Array], steps: Steps, n: int, most: int, rng: np.random.Generator
) -> Population:
    """Sequential Monte Carlo from the standard normal law.

    Args:
        z, scores: points of that law, shape (m, d), and their scores.
        score: the function, of points, shape (n, d).
        steps: the way to what is sought.
        n: points of the population.
        most: evaluations.
        rng: of everything.
    """
    d = z.shape[1]
    model = Mixture(np.ones(1), np.zeros((1, d)), np.eye(d)[None])
    spent, at, mass, levels, step = 0, steps.first, 0.0, 0, np.array([0.5, 0.5])
    while at < steps.last:
        new = min(steps.following(scores, at, n), steps.last)
        with np.errstate(invalid="ignore"):
            log = steps.log(scores, new) - steps.log(scores, at)
        log = np.where(np.isnan(log), -np.inf, log)
        top = float(log.max())
        if top == -math.inf or new <= at:
            return Population(z, mass, levels, False, spent)
        w = np.exp(log - top)
        mass += top + math.log(float(w.mean()))
        w /= w.sum()
        if 1.0 / float(w @ w) >= min(_SEEDS, 4 * (d + 1)):
            model = fit(z, w, rng).widened(1.0)
        kept = np.searchsorted(np.cumsum(w), (np.arange(n) + rng.random()) / n).clip(max=len(z) - 1)
        z, scores, at, levels = z[kept], scores[kept], new, levels + 1
        before = _ranks(scores)
        for move in range(_MOST):
            if spent + n > most:
                return Population(z, mass, levels, False, spent)
            z, scores, step = _moved(z, scores, score, partial(steps.log, at=at), model, step, rng)
            spent += n
            if move >= 1 and float(before @ _ranks(scores)) < _FORGOTTEN:
                break
            if move % 4 == 3:
                model = fit(z, np.full(n, 1.0 / n), rng).widened(1.0)
    return Population(z, mass, levels, True, spent)


def _moved(
    z: Array, scores: Array, score: Callable[[Array], Array], log: Callable[[Array], Array], model: Mixture,
    step: Array, rng: np.random.Generator,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """One Metropolis-Hastings move of every point, of one of three kinds."""
    n, d = z.shape
    kind: Array = np.asarray(rng.choice(3, n, p=_KINDS))
    here = model.densities(z)
    now = total(here, model.weights)
    chosen = _drawn(np.exp(here + np.log(model.weights) - now[:, None]), rng)
    chosen = np.where(kind == _FAR, rng.choice(len(model.weights), n, p=model.weights), chosen)
    length = np.append(step, 1.0)[kind.astype(int)][:, None]
    keep, normal = np.sqrt(1 - length**2), rng.standard_normal((n, d))
    proposed = keep * z + length * normal
    for k, (mean, root) in enumerate(zip(model.means, model.roots, strict=True)):
        mine = (kind != _BASE) & (chosen == k)
        proposed[mine] = mean + keep[mine] * (z[mine] - mean) + length[mine] * (normal[mine] @ root.T)
    # A short step is reversible in the standard normal law, or in the component that it is made in; with the chance
    # that this component is chosen, the latter is weighed by the mixture's density, as an independent proposal is.
    ratio = now - total(model.densities(proposed), model.weights)
    ratio += 0.5 * ((z**2).sum(axis=1) - (proposed**2).sum(axis=1))
    new = score(proposed)
    with np.errstate(invalid="ignore"):
        ratio = np.where(kind == _BASE, 0.0, ratio) + log(new) - log(scores)
    accepted: Mask = np.asarray(np.log(rng.random(n)) < np.where(np.isnan(ratio), -np.inf, ratio))
    rates = np.array([accepted[kind == k].mean() if (kind == k).any() else _ACCEPTED for k in (_BASE, _NEAR)])
    step = np.clip(step * np.exp(rates - _ACCEPTED), 1e-4, 1.0)
    return np.where(accepted[:, None], proposed, z), np.where(accepted, new, scores), step


def _ranks(scores: Array) -> Array:
    """Ranks, ties in order, with mean 0 and sum of squares 1."""
    ranks = np.argsort(np.argsort(scores)) - (len(scores) - 1) / 2
    return np.asarray(ranks / math.sqrt(float(ranks @ ranks)))


def _drawn(chance: Array, rng: np.random.Generator) -> Array:
    """A column for every row, with the row's probabilities."""
    total_chance = np.cumsum(chance, axis=1)
    return np.asarray((rng.random((len(chance), 1)) * total_chance[:, -1:] > total_chance).sum(axis=1))
