"""Surrogate-assisted CMA-ES: of each generation only as many points are evaluated as it takes to trust a model's ranks.

Source: Hansen, A global surrogate assisted CMA-ES, GECCO 2019 (lq-CMA-ES). As there, a model ranks the generation, the
best are evaluated, and once Kendall's rank correlation of model and values is at least 0.85 the model stands in for the
rest. Each generation begins with the model's own minimizer. Other than there, the model is fitted to the points nearest
to the distribution, whoever asked them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metaloop.errors import require
from metaloop.optimizers.archive import Archive, same
from metaloop.optimizers.cmaes import CMAES, CMAESState
from metaloop.optimizers.protocol import FAILED, Observation, Status, Told, check_tell
from metaloop.optimizers.quadratic_model import minimize_in_ball_and_box
from metaloop.optimizers.search_distribution import fold, unfold
from metaloop.optimizers.state import state
from metaloop.recipe import tunable
from metaloop.space import Array, Float, Mask, Space

_TRUST = 0.85  # Kendall's tau from which the model's ranks are believed
_MORE = 1.5  # growth of the number of evaluations while they are not
_SPARE = 1.1  # points that a model needs, a term
_BEST = 20.0  # weight of the best point, where the worst has 1
_LARGEST = 1e100  # values beyond are clipped: their squares stay finite


@state
@dataclass
class SurrogateCMAESState:
    """The distribution, and the generation under way.

    Attributes:
        inner: the CMA-ES that is told the generation when it is complete.
        archive: all points told.
        rows: of this generation, shape (m, dim); none before it begins.
        expected: what the model says of each, shape (m,).
        values: what came back, shape (m,); NaN before, inf where failed or not allowed.
        asked: which are out or told, shape (m,).
        wanted: evaluations after which the model is judged.
        extra: the model's minimizer while it is out, shape (0 or 1, dim).
    """

    space: Space
    inner: CMAESState
    archive: Archive
    rows: Array
    expected: Array
    values: Array
    asked: Mask
    wanted: int
    extra: Array


@dataclass(frozen=True)
class SurrogateCMAES:
    """CMA-ES for exact values and dear evaluations: a quadratic model spares most of each generation.

    Args:
        sigma0: first step size, in widths of the unit cube, in (0, 10].
        population_factor: as of `CMAES`.
        mean: where the first run begins, one number in [0, 1] per column of the space; None is the center.

    Raises:
        InputError: a setting out of range.
    """

    sigma0: float = tunable(0.2, Float(0.02, 1.0, log=True))
    population_factor: float = tunable(1.0, Float(0.5, 4.0, log=True))
    mean: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        require("sigma0", self.sigma0, lambda v: 0 < v <= 10, "a number in (0, 10]")
        require("population_factor", self.population_factor, lambda v: 0 < v <= 1e6, "a number in (0, 1e+06]")
        self._inner  # noqa: B018 - refuses a mean that is none

    @property
    def _inner(self) -> CMAES:
        return CMAES(sigma0=self.sigma0, population_factor=self.population_factor, mean=self.mean)

    def init(self, space: Space, seed: int) -> SurrogateCMAESState:
        """A fresh state.

        Raises:
            InputError: a mean whose length is not the space's number of columns.
        """
        d, no = space.dim, np.empty(0)
        none, inner = np.empty((0, d)), self._inner.init(space, seed)
        return SurrogateCMAESState(space, inner, Archive.empty(d), none, no, no, no.astype(bool), 0, none)

    def ask(self, state: SurrogateCMAESState, n: int) -> tuple[Array, SurrogateCMAESState]:
        """n points, shape (n, dim): the most promising of the generation that are not out."""
        s, rows = state, list[Array]()
        while len(rows) < n:
            if not len(s.rows):
                self._begin(s)
                if len(s.extra):
                    rows.append(s.extra[0])
                    s.archive.pend(s.extra)
                    continue
            left = np.flatnonzero(~s.asked)
            if not len(left):
                self._enlarge(s)
                continue
            pick = left[np.argmin(s.expected[left])]
            s.asked[pick] = True
            rows.append(s.rows[pick])
            s.archive.pend(s.rows[pick][None])
        return np.array(rows).reshape(-1, s.space.dim), s

    def tell(self, state: SurrogateCMAESState, points: Array, told: Sequence[Told] | Array) -> SurrogateCMAESState:
        """File what came back; whenever the model is trusted, or all is told, the generation is complete."""
        s = state
        for row, one in zip(*check_tell(s.space, points, told), strict=True):
            s.archive.add(row[None], [one])
            if one.status is Status.PENDING:
                continue
            mine = np.flatnonzero(same(s.rows, row) & s.asked & np.isnan(s.values))
            if not len(mine):
                if len(s.extra) and bool(same(s.extra, row)[0]):
                    s.extra = s.extra[:0]
                    s.inner = self._inner.tell(s.inner, row[None], [one])
                continue
            if one.status is Status.RELEASED:
                s.asked[mine[0]] = False
                continue
            usable = one.status is Status.OK and one.violation == 0
            s.values[mine[0]] = one.value if usable else math.inf
            self._judge(s)
        return s

    def _begin(self, s: SurrogateCMAESState) -> None:
        """A new generation, and the model's opinion of it."""
        self._enlarge(s, s.inner.population)
        known = int(np.isfinite(s.archive.values).sum())
        s.wanted = 1 + max(1, math.ceil(0.02 * len(s.rows))) if known > s.space.dim + 1 else len(s.rows)
        model = self._model(s)
        s.extra = s.extra[:0]
        if model is not None:
            row = s.space.repair(fold(s.space, model.minimizer()[None]), s.inner.rng)
            if not same(s.archive.rows, row[0]).any() and not same(s.archive.pending, row[0]).any():
                s.extra = row

    def _enlarge(self, s: SurrogateCMAESState, n: int = 1) -> None:
        """More samples of the distribution for this generation."""
        rows, s.inner = self._inner.ask(s.inner, n)
        s.rows = np.concatenate([s.rows, rows])
        s.values = np.append(s.values, np.full(n, np.nan))
        s.asked = np.append(s.asked, np.zeros(n, dtype=bool))
        s.expected = self._expected(s)

    def _expected(self, s: SurrogateCMAESState) -> Array:
        model = self._model(s)
        return np.arange(len(s.rows), dtype=float) if model is None else model.values(s.rows)

    def _judge(self, s: SurrogateCMAESState) -> None:
        """Is the model right about what was evaluated? Then the rest need not be."""
        back = ~np.isnan(s.values)
        if back.all():
            self._complete(s, s.values)
            return
        if back.sum() < s.wanted:
            return
        s.expected = self._expected(s)
        seen = np.flatnonzero(back & np.isfinite(s.values))
        if len(seen) >= 2 and self._model(s) is not None and self._tau(s) >= _TRUST:
            best = seen[np.argmin(s.values[seen])]
            rest = ~back
            believed = s.values.copy()
            # what was not evaluated may not be better than the best that was
            believed[rest] = s.expected[rest] + max(0.0, s.values[best] - float(s.expected[rest].min()))
            self._complete(s, believed)
            return
        s.wanted = math.ceil(_MORE * s.wanted)

    def _tau(self, s: SurrogateCMAESState) -> float:
        """Kendall's rank correlation of model and values, over this generation and the latest points before it."""
        most = max(15, min(math.ceil(1.2 * int((~np.isnan(s.values)).sum())), math.ceil(0.75 * len(s.rows))))
        values = s.archive.values
        late = np.flatnonzero(np.isfinite(values) & (s.archive.violations == 0))[-most:]
        model = self._model(s)
        if model is None or len(late) < 2:
            return -1.0
        a, b = values[late], model.values(s.archive.rows[late])
        i, j = np.triu_indices(len(late), 1)
        signs = np.sign(a[i] - a[j]) * np.sign(b[i] - b[j])
        return float(signs.mean())

    def _complete(self, s: SurrogateCMAESState, values: Array) -> None:
        told = [Observation((float(v),)) if math.isfinite(v) else FAILED for v in values]
        rows, s.rows, s.expected = s.rows, s.rows[:0], s.expected[:0]
        s.values, s.asked = s.values[:0], s.asked[:0]
        s.inner = self._inner.tell(s.inner, rows, told)

    def _model(self, s: SurrogateCMAESState) -> _Model | None:
        """The model around the distribution's mean; None while too little is known."""
        usable = np.isfinite(s.archive.values) & (s.archive.violations == 0)
        if usable.sum() < s.space.dim + 2:
            return None
        return _Model(s, usable)


class _Model:
    """A quadratic regression in the distribution's own coordinates, on the points near its mean, good ones weighted."""

    def __init__(self, s: SurrogateCMAESState, usable: Mask) -> None:
        d, self.space, normal = s.space.dim, s.space, s.inner.normal
        unit = normal.sigma * math.sqrt(d)  # the typical distance of a sample
        self.mean, self.forward = normal.mean, normal.B / (normal.D * unit)
        self.backward = (normal.B * (normal.D * unit)).T
        t, v = self._steps(s.archive.rows[usable]), s.archive.values[usable]
        full, diagonal = (d + 1) * (d + 2) // 2, 2 * d + 1
        near = np.argsort((t**2).sum(axis=1), kind="stable")[: max(2 * full, 3 * s.inner.population)]
        t, v = t[near], np.clip(v[near], -_LARGEST, _LARGEST)
        order = np.argsort(v, kind="stable")
        t, v = t[order], v[order]
        self.terms = next((k for k in (full, diagonal) if len(v) >= _SPARE * k), d + 1)
        self.upper = np.triu_indices(d)
        size = float(v[-1] - v[0]) or 1.0
        weight = np.sqrt(np.linspace(_BEST, 1.0, len(v)))
        a = self._features(t) * weight[:, None]
        gram = a.T @ a
        gram.flat[:: len(gram) + 1] += 1e-10 * np.trace(gram) / len(gram)
        self.base, self.slopes = float(v[0]), size * np.linalg.solve(gram, a.T @ (weight * (v - v[0]) / size))

    def _steps(self, rows: Array) -> Array:
        return (unfold(self.space, rows, self.mean) - self.mean) @ self.forward

    def _features(self, t: Array) -> Array:
        d = t.shape[1]
        squares = t**2 if self.terms == 2 * d + 1 else t[:, self.upper[0]] * t[:, self.upper[1]]
        return np.concatenate([np.ones((len(t), 1)), t, squares], axis=1)[:, : self.terms]

    def values(self, rows: Array) -> Array:
        """Of points, shape (m, dim): what the model says, shape (m,)."""
        return np.asarray(self.base + self._features(self._steps(rows)) @ self.slopes)

    def minimizer(self) -> Array:
        """Its least value within a typical distance of the mean, shape (dim,), not confined to the cube."""
        d = len(self.mean)
        hessian = np.zeros((d, d))
        if self.terms == 2 * d + 1:
            hessian.flat[:: d + 1] = 2.0 * self.slopes[d + 1 :]
        elif self.terms > d + 1:
            hessian[self.upper] = self.slopes[d + 1 :]
            hessian = hessian + hessian.T
        t = minimize_in_ball_and_box(self.slopes[1 : d + 1], hessian, np.full(d, -2.0), np.full(d, 2.0))
        return np.asarray(self.mean + t @ self.backward)
