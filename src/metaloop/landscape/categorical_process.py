"""Gaussian-process regression on categories: what each column holds, and how often each choice occurs.

Covariance: exp(-Σ_j w_j d_j(x, x')) + a exp(-b |c(x) - c(x')|² / 2) + g (1 + a) [same point].
d_j is 0 for equal and 1 for different categories (a weighted Hamming distance), the difference of coordinates in
ordered columns, 1 where a parameter is active in one point only. c counts, for every set of columns with the same
choices, how often each choice occurs: what an operation is worth anywhere is learned before where it matters.
The amplitude is profiled out; w, a, b and g are set by maximum a posteriori probability (Rasmussen & Williams 2006,
eqs. 5.8-5.9). Outputs are replaced by their normal scores, so only the order of the values counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.special import ndtri
from scipy.stats import rankdata

from metaloop.space import Array, Categorical, Space

_SPREAD = 1.5  # of the logarithm of every hyperparameter, a priori
_NOISE, _SHARE, _BEND = 1e-2, 1.0, 0.5  # prior medians of g, a and b
_WEIGHTS = 4.0  # prior median of the sum of all w
_BOUNDS = ((-9.0, 3.0), (-9.0, 1.0), (-6.0, 3.0), (-6.0, 3.0))  # of log w, log g, log a, log b
_STEPS = 20


def normal_scores(values: Array) -> Array:
    """Standard normal quantiles of the ranks, shape (n,): mean 0 and, from two different values on, variance 1."""
    z = np.asarray(ndtri((rankdata(values) - 0.5) / len(values)))
    return np.asarray((z - z.mean()) / (z.std() or 1.0))


@dataclass(frozen=True)
class Features:
    """What the covariance reads of n points.

    Attributes:
        columns: coordinates in the cube, shape (n, dim); NaN where inactive.
        unordered: which columns hold categories, shape (dim,).
        counts: how often each choice occurs in each set of columns with the same choices, shape (n, p); p may be 0.
    """

    columns: Array
    unordered: npt.NDArray[np.bool_]
    counts: Array

    def __len__(self) -> int:
        return len(self.columns)

    def __getitem__(self, rows: slice | npt.NDArray[np.intp]) -> Features:
        return Features(self.columns[rows], self.unordered, self.counts[rows])

    def joined(self, other: Features) -> Features:
        """These points, then others."""
        columns, counts = (
            np.concatenate(pair) for pair in ((self.columns, other.columns), (self.counts, other.counts))
        )
        return Features(columns, self.unordered, counts)

    def distances(self, other: Features) -> Iterator[Array]:
        """d_j for each column, shapes (n, m)."""
        for a, b, unordered in zip(self.columns.T, other.columns.T, self.unordered, strict=True):
            off = (a[:, None] != b) * 1.0 if unordered else np.abs(a[:, None] - b)
            here, there = np.isnan(a)[:, None], np.isnan(b)
            if here.any() or there.any():
                off = np.where(here | there, (here != there) * 1.0, off)
            yield off

    def apart(self, other: Features) -> Array:
        """|c - c'|², shape (n, m)."""
        a, b = self.counts, other.counts
        return np.asarray((a**2).sum(1)[:, None] + (b**2).sum(1) - 2.0 * a @ b.T)


def features(space: Space, rows: Array) -> Features:
    """What the covariance reads of canonical rows, shape (n, dim)."""
    alike: dict[tuple[object, ...], list[int]] = {}
    for j, column in enumerate(space.columns):
        if isinstance(column.parameter, Categorical) and not column.parameter.ordered:
            alike.setdefault(tuple(column.parameter.choices), []).append(j)
    counts = [np.empty((len(rows), 0))]
    for choices, columns in alike.items():
        if len(columns) > 1:
            chosen = np.floor(rows[:, columns] * len(choices))
            counts.append((chosen[:, :, None] == np.arange(len(choices))).sum(axis=1).astype(float))
    return Features(rows, space.categorical, np.concatenate(counts, axis=1))


@dataclass(frozen=True)
class Covariance:
    """The covariance function, its amplitude left out.

    Attributes:
        log: (log w_1 … log w_dim, log g, log a, log b), shape (dim + 3,).
    """

    log: Array

    @classmethod
    def prior(cls, dim: int) -> Covariance:
        """The prior medians."""
        return cls(np.log(np.r_[np.full(dim, _WEIGHTS / dim), _NOISE, _SHARE, _BEND]))

    def parts(self, x: Features, y: Features) -> tuple[Array, Array]:
        """The covariance by columns and that by counts, shapes (n, m)."""
        w, (_, a, b) = np.exp(self.log[:-3]), np.exp(self.log[-3:])
        columns = np.zeros((len(x), len(y)))
        for weight, off in zip(w, x.distances(y), strict=True):
            columns -= weight * off
        counts = a * np.exp(-0.5 * b * x.apart(y)) if x.counts.shape[1] else np.zeros_like(columns)
        return np.exp(columns), counts

    def variance(self, x: Features) -> float:
        """Of the noise-free function."""
        return 1.0 + (float(np.exp(self.log[-2])) if x.counts.shape[1] else 0.0)

    def noise(self, x: Features) -> float:
        """Variance of the noise."""
        return float(np.exp(self.log[-3])) * self.variance(x)


def fit(x: Features, z: Array, start: Covariance) -> Covariance:
    """The most probable hyperparameters for outputs z, shape (n,), searched from `start`."""
    dim, n = x.columns.shape[1], len(z)
    prior = Covariance.prior(dim).log
    distances, apart, counted = list(x.distances(x)), x.apart(x), bool(x.counts.shape[1])
    eye = np.eye(n)

    def loss(log: Array) -> tuple[float, Array]:
        now = Covariance(log)
        columns, counts = now.parts(x, x)
        noise = now.noise(x)
        factor = cholesky(columns + counts + noise * eye, lower=True, check_finite=False)
        alpha = cho_solve((factor, True), z, check_finite=False)
        fitted = max(float(z @ alpha), 1e-12)
        pull = 0.5 * (cho_solve((factor, True), eye, check_finite=False) - (n / fitted) * np.outer(alpha, alpha))
        w, (_, a, b) = np.exp(log[:dim]), np.exp(log[dim:])
        by_columns = pull * columns
        slope = [-weight * float((by_columns * off).sum()) for weight, off in zip(w, distances, strict=True)]
        trace = float(np.trace(pull))
        by_counts = float((pull * counts).sum()) + (trace * noise * a / (1.0 + a) if counted else 0.0)
        slope += [trace * noise, by_counts, -0.5 * b * float((pull * counts * apart).sum())]
        away = (log - prior) / _SPREAD**2
        value = 0.5 * n * np.log(fitted / n) + np.log(np.diag(factor)).sum() + 0.5 * float(away @ (log - prior))
        return float(value), np.array(slope) + away

    bounds = [_BOUNDS[0]] * dim + list(_BOUNDS[1:])
    found = minimize(loss, start.log, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _STEPS})
    return Covariance(np.asarray(found.x))


class Posterior:
    """What is expected in a pool of points once some points are known; grows by blocks of known points.

    Each row depends on the points before it alone, so that points appended one by one give the same bits again.

    Args:
        covariance: with its hyperparameters.
        pool: where predictions are wanted, m points.

    Attributes:
        known: n points.
        factor: Cholesky factor of their covariance with noise, shape (n, n).
    """

    def __init__(self, covariance: Covariance, pool: Features) -> None:
        self.covariance, self.pool, self.known = covariance, pool, pool[:0]
        self.factor = np.empty((0, 0))
        self._half = np.empty((32, len(pool)), np.float32)  # factor⁻¹ times the covariance of known points and pool
        self._explained = np.zeros(len(pool))  # the sums of the squares of its columns

    def __len__(self) -> int:
        return len(self.known)

    def append(self, points: Features) -> None:
        """k more known points."""
        n, k = len(self), len(points)
        if n + k > len(self._half):
            room = np.empty((2 * (n + k), len(self.pool)), np.float32)
            room[:n] = self._half[:n]
            self._half = room
        across = self._across(points, self.known)
        row = solve_triangular(self.factor, across.T, lower=True, check_finite=False).T if n else across
        inner = self._across(points, points) + self.covariance.noise(points) * np.eye(k) - row @ row.T
        inner[np.diag_indices(k)] = np.maximum(inner.diagonal(), 1e-10)
        corner = cholesky(inner, lower=True, check_finite=False)
        self.factor = np.block([[self.factor, np.zeros((n, k))], [row, corner]])
        lines = self._across(points, self.pool).astype(np.float32)
        lines -= row.astype(np.float32) @ self._half[:n]
        self._half[n : n + k] = solve_triangular(corner.astype(np.float32), lines, lower=True, check_finite=False)
        self._explained += (self._half[n : n + k].astype(float) ** 2).sum(axis=0)
        self.known = self.known.joined(points)

    def predict(self, z: Array) -> tuple[Array, Array]:
        """Mean and standard deviation in the pool, noise-free, shapes (m,), for outputs z, shape (n,)."""
        answer = solve_triangular(self.factor, z, lower=True, check_finite=False)
        amplitude = max(float(answer @ answer) / len(z), 1e-12)
        mean = answer.astype(np.float32) @ self._half[: len(z)]
        left = np.maximum(self.covariance.variance(self.pool) - self._explained, 1e-9)
        return mean.astype(float), np.sqrt(amplitude * left)

    def mean_at(self, points: Features, z: Array) -> Array:
        """Mean at some points, shape (k,)."""
        return np.asarray(self._across(points, self.known) @ cho_solve((self.factor, True), z, check_finite=False))

    def copy(self) -> Posterior:
        """One to go on with, this one stays as it is."""
        twin = copy(self)
        twin._explained = self._explained.copy()
        twin._half = self._half[: len(self)]  # no room left: it moves to an array of its own before it grows
        return twin

    def _across(self, a: Features, b: Features) -> Array:
        columns, counts = self.covariance.parts(a, b)
        return columns + counts
