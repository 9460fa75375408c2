"""Bayesian optimization of categories: expected improvement under a Gaussian process that reads choices as choices.

The model is that of `metaloop.landscape.categorical_process`. A space of at most some 20,000 points is scored whole, a
larger one at random points and at mutations of the best: on a large space of architectures, minimal mutation of the
incumbent decided how well a Bayesian optimizer did (Schneider et al. 2021, arXiv 2107.07343). Expected improvement
(Jones, Schonlau & Welch 1998) is taken over the best posterior mean of what was tried: a lucky draw sets no bar.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr

from metaloop.errors import require
from metaloop.landscape.categorical_process import Covariance, Features, Posterior, features, fit, normal_scores
from metaloop.optimizers.archive import Archive
from metaloop.optimizers.mutation import levels, mutate, neighbors
from metaloop.optimizers.protocol import Told, check_tell, generator
from metaloop.optimizers.state import plan, state
from metaloop.recipe import tunable
from metaloop.space import Array, Float, Int, Mask, Space

_WHOLE = 20_000  # points of a space that is scored whole
_MODELLED = 16  # points of one ask that see each other; the rest are random
_FITTED = 300  # the newest points, from which hyperparameters are set
_PARENTS = 10  # the best points, whose mutations are candidates


@state
@dataclass
class CategoricalProcessState:
    """Points, random generator and hyperparameters; pool and posterior are plans.

    Attributes:
        log: logarithms of the hyperparameters, shape (dim + 3,); None before a fit.
        fitted: how many points had been told at the last fit.
    """

    space: Space
    archive: Archive
    rng: np.random.Generator
    log: Array | None = None
    fitted: int = 0
    whole: Any = plan()
    model: Any = plan()


@dataclass(frozen=True)
class CategoricalProcess:
    """Gaussian process for categorical spaces and some tens to hundreds of costly evaluations.

    Ordered and continuous columns are taken too, but where they are many, `GaussianProcess` knows more of them.

    Args:
        initial: random points that must have come back before the model takes over.
        growth: hyperparameters are set anew when the number of points has grown by this factor.
        candidates: points scored for each ask where the space is too large to be scored whole.

    Raises:
        InputError: a setting out of range.
    """

    initial: int = tunable(10, Int(3, 30, log=True))
    growth: float = tunable(1.25, Float(1.05, 2.0))
    candidates: int = tunable(500, Int(100, 5000, log=True))

    def __post_init__(self) -> None:
        require("initial", self.initial, lambda v: v >= 2 and v == int(v), "a whole number of at least 2")
        require("growth", self.growth, lambda v: 1 < v < float("inf"), "a number greater than 1")
        require("candidates", self.candidates, lambda v: v >= 10 and v == int(v), "a whole number of at least 10")

    def init(self, space: Space, seed: int) -> CategoricalProcessState:
        """A fresh state."""
        return CategoricalProcessState(space, Archive.empty(space.dim), generator(seed))

    def tell(
        self, state: CategoricalProcessState, points: Array, told: Sequence[Told] | Array
    ) -> CategoricalProcessState:
        """File what came back; the model follows at the next ask."""
        state.archive.add(*check_tell(state.space, points, told))
        return state

    def ask(self, state: CategoricalProcessState, n: int) -> tuple[Array, CategoricalProcessState]:
        """At most n new points, shape (m, dim): random ones, then those of highest expected improvement.

        Fewer, or none, where the whole space has been tried.
        """
        archive = state.archive
        known = {row.tobytes() for rows in (archive.rows, archive.pending) for row in rows}
        usable = int(np.isfinite(archive.values).sum())
        design = min(n, max(0, self.initial - len(archive) - len(archive.pending)))
        rows = _fresh(state, design if usable >= self.initial // 2 else n, known)
        if len(rows) < n and usable:
            rows += self._propose(state, min(n - len(rows), _MODELLED), rows, known)
        rows += _fresh(state, n - len(rows), known)
        out = np.array(rows).reshape(len(rows), state.space.dim)
        archive.pend(out)
        return out, state

    def _propose(self, state: CategoricalProcessState, n: int, asked: list[Array], known: set[bytes]) -> list[Array]:
        """The points of highest expected improvement, one after the other; each is believed to turn out as expected."""
        archive = state.archive
        merit = -_merit(archive)
        x = features(state.space, archive.rows)
        if state.log is None or len(archive) >= state.fitted * self.growth:
            before = Covariance.prior(state.space.dim) if state.log is None else Covariance(state.log)
            state.log = fit(x[-_FITTED:], normal_scores(merit[-_FITTED:]), before).log
            state.fitted, state.model = len(archive), None
        pool, rows = self._pool(state)
        if not len(rows):
            return []
        model = state.model
        if model is None:
            model = Posterior(Covariance(state.log), pool)
            if state.whole is None:
                model.append(x)  # the pool is another one the next time
            else:
                state.model = model
        for k in range(len(model), len(x)):
            model.append(x[k : k + 1])
        z = normal_scores(merit)
        waiting = [*archive.pending[-_MODELLED:], *asked]
        if waiting or n > 1:
            model = model.copy()
        for row in waiting:
            z = _believe(model, z, features(state.space, row[None]))
        out: list[Array] = []
        fresh = np.array([row.tobytes() not in known for row in rows])
        while len(out) < n and fresh.any():
            k = self._best(state, model, z, fresh)
            fresh[k] = False
            known.add(rows[k].tobytes())
            out.append(rows[k])
            if len(out) < n:
                z = _believe(model, z, pool[k : k + 1])
        return out

    def _best(self, state: CategoricalProcessState, model: Posterior, z: Array, fresh: Mask) -> int:
        """The fresh point of the pool with the highest expected improvement."""
        mean, deviation = model.predict(z)
        u = (mean - model.mean_at(model.known, z).max()) / deviation
        gain = deviation * (u * ndtr(u) + np.exp(-0.5 * u * u) / np.sqrt(2.0 * np.pi))
        gain[~fresh] = -np.inf
        return int(state.rng.choice(np.flatnonzero(gain == gain.max())))

    def _pool(self, state: CategoricalProcessState) -> tuple[Features, Array]:
        """The points to score: the whole space in its order, or random ones and mutations of the best."""
        space = state.space
        if state.whole is None and float(np.prod(space.cells)) <= _WHOLE:
            axes = [levels(space, j) for j in range(space.dim)]
            every = space.snap(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, space.dim))
            every = np.unique(every[space.allowed(every)], axis=0)
            state.whole = (features(space, every), every)
        if state.whole is not None:
            return state.whole  # type: ignore[no-any-return]
        best = state.archive.rows[np.argsort(_merit(state.archive), kind="stable")[:_PARENTS]]
        rows = [space.sample(state.rng, self.candidates // 4), *(neighbors(space, row) for row in best[:2])]
        for k in range(self.candidates // 2):
            row = best[k % len(best)]
            for _ in range(1 + k // len(best) % 3):
                row = mutate(space, row, state.rng)
            rows.append(row[None])
        some = np.unique(np.concatenate(rows), axis=0)
        return features(space, some), some


def _believe(model: Posterior, z: Array, point: Features) -> Array:
    """The outputs, with a pending point that turns out as expected."""
    expected = model.mean_at(point, z)
    model.append(point)
    return np.append(z, expected)


def _fresh(state: CategoricalProcessState, n: int, known: set[bytes]) -> list[Array]:
    """At most n random points that are not known yet; they are known then."""
    out: list[Array] = []
    for _ in range(50):
        for row in state.space.sample(state.rng, n - len(out)) if len(out) < n else ():
            if row.tobytes() not in known:
                known.add(row.tobytes())
                out.append(row)
    return out


def _merit(archive: Archive) -> Array:
    """What is minimized; a failed point counts as the worst."""
    merit = archive.merit()
    missing = np.isnan(merit)
    return np.where(missing, np.nanmax(merit), merit) if missing.any() else merit
