"""Bayesian optimization with a Gaussian process: model, ask where the acquisition is highest, tell, repeat.

Sources: Jones, Schonlau & Welch 1998 (EGO); log expected improvement: Ament et al. 2023 (arXiv 2310.20708); pending
points at the posterior mean ("kriging believer"): Ginsbourger, Le Riche & Carraro 2010. The model is
`metaloop.landscape.gaussian_process`, the search for its best points `metaloop.optimizers.acquisition`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from metaloop.errors import refuse, require
from metaloop.landscape.gaussian_process import Hyperparameters, Posterior, Warp, embed, fit
from metaloop.optimizers.acquisition import Acquisition, Search, lcb, log_ei
from metaloop.optimizers.archive import Archive
from metaloop.optimizers.protocol import Decision, Told, check_tell, generator
from metaloop.optimizers.sobol import Sobol, SobolState
from metaloop.optimizers.state import plan, state
from metaloop.recipe import tunable
from metaloop.space import Array, Float, Int, Space

state(Hyperparameters)
state(Warp)

_GROWTH = 0.12  # refit when the points grew by this share
_SURPRISE = 4.0  # or when new points' squared errors exceed their expectation by so many standard deviations
_VISIBLE_NOISE = 1e-3  # relative variance from which an objective counts as noisy
_MODELLED = 200  # picks of one batch that the model makes, and pending points that it takes into account


@state
@dataclass
class GaussianProcessState:
    """Points, random generator and hyperparameters; the posterior is a plan.

    Attributes:
        fitted: points that had been told at the last refit.
        subset: those of them that the model holds, in its order, shape (m,).
        refits: how often hyperparameters were fitted.
        log: (points told, relative noise, name) each time that "auto" changed the acquisition.
    """

    space: Space
    archive: Archive
    design: SobolState
    rng: np.random.Generator
    hyper: Hyperparameters | None
    fitted: int
    subset: npt.NDArray[np.int64]
    refits: int
    log: list[tuple[int, float, str]]
    model: Posterior | None = plan()

    @property
    def noise(self) -> float:
        """Learned noise standard deviation relative to the amplitude of the (warped) objective; NaN before a fit."""
        return math.sqrt(self.hyper.noise) if self.hyper else math.nan


@dataclass(frozen=True)
class GaussianProcess:
    """Bayesian optimization for some tens of columns and up to about a thousand costly evaluations.

    Args:
        initial: space-filling points before the model takes over; dim + 1 within [4, 20] if None. Points told from
            outside count.
        acquisition: "logei", "lcb", or "auto": LCB once noise is visible, else log expected improvement.
        kappa: standard deviations of optimism of LCB, alternating with half of it.
        length_factor: multiplies the length scales that the prior expects.
        candidates: points scored per ask before the best are refined by gradient.
        starts: how many are refined.
        max_points: points the model holds; beyond, those nearest to the incumbent and the most recent.

    Raises:
        InputError: a setting out of range.
    """

    initial: int | None = None
    acquisition: str = "auto"
    kappa: float = tunable(2.0, Float(0.5, 5.0, log=True))
    length_factor: float = tunable(1.0, Float(0.25, 4.0, log=True))
    candidates: int = tunable(300, Int(100, 2000, log=True))
    starts: int = tunable(3, Int(1, 8))
    max_points: int = 500

    def __post_init__(self) -> None:
        if self.initial is not None:
            require("initial", self.initial, lambda v: v >= 1 and v == int(v), "a whole number of at least 1, or None")
        if self.acquisition not in ("auto", "logei", "lcb"):
            raise refuse("acquisition", self.acquisition, "'auto', 'logei' or 'lcb'")
        for name, least in (("kappa", 0), ("length_factor", 0), ("candidates", 9), ("starts", 0), ("max_points", 9)):
            require(name, getattr(self, name), partial(operator.lt, least), f"a number above {least}")

    def init(self, space: Space, seed: int) -> GaussianProcessState:
        """A fresh state.

        Raises:
            InputError: more columns than Sobol' points exist for (21201).
        """
        design = Sobol().init(space, seed)
        none = np.empty(0, dtype=np.int64)
        return GaussianProcessState(space, Archive.empty(space.dim), design, generator(seed, 1), None, 0, none, 0, [])

    def tell(self, state: GaussianProcessState, points: Array, told: Sequence[Told] | Array) -> GaussianProcessState:
        """File what came back; the model follows at the next ask."""
        state.archive.add(*check_tell(state.space, points, told))
        return state

    def ask(self, state: GaussianProcessState, n: int) -> tuple[Array, GaussianProcessState]:
        """n points, shape (n, dim): of the initial design while it lasts, then where the acquisition is highest."""
        archive = state.archive
        size = self.initial or max(4, min(state.space.dim + 1, 20))
        told = int(np.isfinite(archive.values).sum())
        # While less than half of the design has come back, a model would know too little to place the rest.
        design = n if 2 * told < size else min(n, max(0, size - len(archive) - len(archive.pending)))
        rows, state.design = Sobol().ask(state.design, design)
        archive.pend(rows)
        if n > len(rows):
            more = self._propose(state, n - len(rows))
            archive.pend(more)
            rows = np.concatenate([rows, more])
        return rows, state

    def posterior(self, state: GaussianProcessState, rows: Array) -> tuple[Array, Array]:
        """What the model expects at some rows, in the objective's own units; the state's decisions do not change.

        Where the model works on a logarithm of the objective, the mean is the median of the posterior and the standard
        deviation half the width of its central 68 % interval.

        Args:
            state: with at least one evaluated point.
            rows: shape (m, dim).

        Returns:
            mean and standard deviation of the noise-free objective, shapes (m,).

        Raises:
            InputError: no evaluated point yet.
        """
        y = _outputs(state.archive)
        if y is None:
            raise refuse("state", f"{len(state.archive)} failed or no points", "one with an evaluated point")
        if state.hyper is None:
            x, groups = embed(state.space, state.archive.rows)
            model = Posterior(fit(x, groups, y, length_factor=self.length_factor), groups, x)
            model.observe(y)
        else:
            model = self._model(state, y)
        return model.in_units(*model.predict(embed(state.space, state.space.snap(rows))[0]))

    def decisions(self, state: GaussianProcessState) -> tuple[Decision, ...]:
        """When "auto" changed the acquisition function, and why."""
        words = {
            "lcb": ("lower confidence bound", "noise no longer to be mistaken for progress"),
            "logei": ("log expected improvement", "faster convergence while values can be trusted"),
        }
        return tuple(
            Decision(n, f"a noise of {100 * noise:.2g} % of the amplitude was learned",
                     f"noise counts as visible from {100 * math.sqrt(_VISIBLE_NOISE):.2g} %",
                     f"points are chosen by {words[name][0]}", words[name][1])
            for n, noise, name in state.log
        )  # fmt: skip

    # --- the model ---------------------------------------------------------------------------------------------

    def _refitted(self, state: GaussianProcessState, y: Array) -> Posterior:
        """The posterior of all told points, with new hyperparameters where they are due."""
        n = len(y)
        held = max(len(state.subset), 1)
        if state.hyper is not None and n - state.fitted < _GROWTH * held:
            model = self._model(state, y)
            new = model.observe(_picked(y, state))[len(state.subset) :]
            excess = float(new @ new) - len(new)
            if excess <= _SURPRISE * math.sqrt(2.0 * len(new)) + 2.0:
                return model
        state.subset = self._choose(state, y)
        x, groups = embed(state.space, state.archive.rows[state.subset])
        state.hyper = fit(
            x,
            groups,
            y[state.subset],
            state.hyper,
            restart=n < 30 or state.refits % 4 == 3,
            length_factor=self.length_factor,
        )
        state.fitted, state.model = n, None
        state.refits += 1
        return self._model(state, y)

    def _model(self, state: GaussianProcessState, y: Array) -> Posterior:
        """The posterior with the stored hyperparameters; rebuilt, or extended row by row, to hold all told points."""
        assert state.hyper is not None
        rows = state.archive.rows
        if state.model is None:
            x, groups = embed(state.space, rows[state.subset])
            state.model = Posterior(state.hyper, groups, x)
        first = state.fitted + len(state.model) - len(state.subset)
        if first < len(rows):
            for x in embed(state.space, rows[first:])[0]:
                state.model.append(x)
        state.model.observe(_picked(y, state))
        return state.model

    def _choose(self, state: GaussianProcessState, y: Array) -> npt.NDArray[np.int64]:
        """All points, or the `max_points` of them that matter: a fifth the most recent, the rest near the best."""
        n = len(y)
        if n <= self.max_points:
            return np.arange(n)
        if state.hyper is None:
            center = int(np.argmin(y))
        else:
            members = np.append(state.subset, np.arange(state.fitted, n))
            center = int(members[np.argmin(self._model(state, y).smoothed())])
        x, _ = embed(state.space, state.archive.rows)
        recent = n - self.max_points // 5
        distance = ((x[:recent] - x[center]) ** 2).sum(axis=1)
        near = np.argsort(distance, kind="stable")[: self.max_points - (n - recent)]
        return np.append(np.sort(near), np.arange(recent, n))

    # --- the next points ---------------------------------------------------------------------------------------

    def _propose(self, state: GaussianProcessState, n: int) -> Array:
        y = _outputs(state.archive)
        if y is None:
            return Sobol().ask(state.design, n)[0]
        model = self._refitted(state, y)
        held = len(model)
        for x in embed(state.space, state.archive.pending[-_MODELLED:])[0]:
            model.append(x)
        count = len(state.archive) + len(state.archive.pending)
        picks = min(n, _MODELLED)
        members = np.append(state.subset, np.arange(state.fitted, len(y)))
        top = members[np.argsort(model.smoothed(), kind="stable")[:4]]
        search = Search(
            state.space,
            model,
            self._acquisitions(self._kind(state), count),
            state.rng,
            state.archive.rows[top],
            np.concatenate([state.archive.rows, state.archive.pending]),
            min(max(self.candidates, 4 * picks), 4 * self.candidates),
            self.starts,
            picks,
        )
        rows = [search.pick(j) for j in range(picks)]
        model.truncate(held)
        if n > len(rows):
            rows += list(Sobol().ask(state.design, n - len(rows))[0])
        return np.array(rows)

    def _acquisitions(self, kind: str, count: int) -> list[Callable[[float], Acquisition]]:
        """The acquisition functions of the next points, in turn, given the least posterior mean seen."""
        if kind == "logei":
            return [lambda best: partial(log_ei, best=best)]
        kappas = (self.kappa, 0.5 * self.kappa) if count % 2 == 0 else (0.5 * self.kappa, self.kappa)
        return [partial(_optimistic, kappa) for kappa in kappas]

    def _kind(self, state: GaussianProcessState) -> str:
        assert state.hyper is not None
        if self.acquisition != "auto":
            return self.acquisition
        kind = "lcb" if state.hyper.noise > _VISIBLE_NOISE else "logei"
        if kind != (state.log[-1][2] if state.log else "logei"):
            state.log.append((len(state.archive), state.noise, kind))
        return kind


def _optimistic(kappa: float, _: float) -> Acquisition:
    return partial(lcb, kappa=kappa)


def _outputs(archive: Archive) -> Array | None:
    """What the model sees: failed points get the worst value seen, so that they repel; None if all failed."""
    merit = archive.merit()
    missing = np.isnan(merit)
    if missing.all():
        return None
    return np.where(missing, merit[~missing].max(), merit) if missing.any() else merit


def _picked(y: Array, state: GaussianProcessState) -> Array:
    """The outputs of the points that the model holds, in its order."""
    return np.concatenate([y[state.subset], y[state.fitted :]])
