"""Gaussian-process regression on points of the unit cube: hyperparameters by MAP, posterior by an incremental factor.

Covariance: s² (R + g I) with R the Matérn-5/2 correlation of the scaled distance and one length scale a column (ARD);
the amplitude s² and the constant mean are profiled out, the relative noise g and the length scales are learned.
Sources: Rasmussen & Williams 2006, eqs. 2.25-2.26, 4.17 and 5.8-5.9; length-scale prior that grows with the square
root of the dimension: Hvarfner et al. 2024 (arXiv 2402.02746), eq. 4; output warping chosen by the likelihood with
its Jacobian: Snelson et al. 2004.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from metaloop.errors import refuse
from metaloop.space import Array, Space

Groups = npt.NDArray[np.intp]

LEAST_NOISE = 1e-7  # relative variance g; keeps the factor well defined for coincident points
_MOST_NOISE = 10.0
_LENGTHS = (0.01, 1e3)
_LENGTH_SPREAD = math.sqrt(3.0)  # of log length, Hvarfner et al. 2024
_NOISE_CENTER, _NOISE_SPREAD = math.log(1e-5), 3.5  # of log g: small, yet 10 % noise costs only some 2 nats
_NOISE_START, _LEAST_NOISE_START = 1e-2, 1e-4  # below, the likelihood is flat in log g: a search would not leave
_AMPLITUDE_WEIGHT = 1.0  # points' worth of belief that standardized outputs have amplitude 1
_BLOCK = 8192  # elements that the kernel works on at a time, so that they stay in the cache
_LARGEST = 1e140  # outputs beyond are clipped: their squares stay finite
_WIDTHS = (1.0, 0.1, 0.01)  # candidate widths of the warp, in units of the spread of the better half


@dataclass(frozen=True)
class Warp:
    """z = (f(t) - center) / scale with t = (y - origin) / width; f = log(1 + t) for t >= 0 and t below, or f = t.

    Strictly increasing with a continuous slope, so values below those of the fit are extrapolated linearly.

    Attributes:
        origin, width: place and scale of the outputs, width > 0.
        center, scale: mean and standard deviation of f over the fitted outputs, scale > 0.
        logarithmic: whether f is the logarithm above.
    """

    origin: float = 0.0
    width: float = 1.0
    center: float = 0.0
    scale: float = 1.0
    logarithmic: bool = False

    def forward(self, y: Array) -> Array:
        """Outputs -> standardized, warped outputs."""
        t = (np.clip(y, -_LARGEST, _LARGEST) - self.origin) / self.width
        f = np.where(t >= 0, np.log1p(np.maximum(t, 0.0)), t) if self.logarithmic else t
        return np.asarray((f - self.center) / self.scale)

    def inverse(self, z: Array) -> Array:
        """Standardized, warped outputs -> outputs, finite always."""
        f = np.asarray(z) * self.scale + self.center
        if self.logarithmic:
            f = np.where(f >= 0, np.expm1(np.clip(f, 0.0, 320.0)), f)
        return np.asarray(self.origin + self.width * f)

    def log_slope(self, y: Array) -> Array:
        """log dz/dy."""
        t = (y - self.origin) / self.width
        bend = np.log1p(np.maximum(t, 0.0)) if self.logarithmic else 0.0
        return np.asarray(-math.log(self.width) - math.log(self.scale) - bend + 0.0 * t)


@dataclass(frozen=True)
class Hyperparameters:
    """What a fit learned.

    Attributes:
        lengths: length scale a column, in units of the cube, shape (dim,).
        noise: noise variance relative to the amplitude (g), at least `LEAST_NOISE`.
        mean: constant mean of the warped outputs.
        variance: amplitude s² of the warped outputs.
        warp: from outputs to warped outputs.
    """

    lengths: Array
    noise: float
    mean: float = 0.0
    variance: float = 1.0
    warp: Warp = Warp()


def embed(space: Space, rows: Array) -> tuple[Array, Groups]:
    """Rows as features whose scaled squared distance the kernel reads.

    An ordered column is its coordinate (0.5 where inactive); an unordered one of K choices is K features one-hot /
    sqrt(2) (zeros where inactive), so that two different choices lie at squared distance 1.

    Args:
        space: of the rows.
        rows: canonical rows, shape (n, dim).

    Returns:
        features, shape (n, p), and the column of each feature, shape (p,).
    """
    categorical = space.categorical
    if not categorical.any():
        return (np.where(np.isnan(rows), 0.5, rows) if space.conditional.any() else rows), np.arange(space.dim)
    parts, groups = [], []
    for j in range(space.dim):
        column = rows[:, j]
        if not categorical[j]:
            parts.append(np.where(np.isnan(column), 0.5, column)[:, None])
            groups.append(j)
            continue
        k = int(space.cells[j])
        chosen = np.where(np.isnan(column), -1, np.floor(column * k))
        parts.append((chosen[:, None] == np.arange(k)) * math.sqrt(0.5))
        groups += [j] * k
    return np.concatenate(parts, axis=1), np.array(groups, dtype=np.intp)


def matern(squared: Array) -> tuple[Array, Array]:
    """Matérn-5/2 correlation and its derivative by the squared scaled distance.

    Args:
        squared: squared scaled distances, shape (n, m); overwritten.
    """
    k, slope = np.empty_like(squared), np.empty_like(squared)
    rows = max(1, _BLOCK // max(1, squared.shape[1]))
    for i in range(0, len(squared), rows):
        a, e, s = squared[i : i + rows], k[i : i + rows], slope[i : i + rows]
        a *= 5.0
        np.sqrt(a, out=a)
        np.negative(a, out=e)
        np.exp(e, out=e)
        np.add(a, 1.0, out=s)
        s *= e
        a *= a
        e *= a
        e *= 1 / 3
        e += s
        s *= -5 / 6
    return k, slope


def _squared(a: Array, b: Array) -> Array:
    """Squared distances between scaled features, shape (len(a), len(b))."""
    out = a @ b.T
    out *= -2.0
    out += np.einsum("ij,ij->i", a, a)[:, None]
    out += np.einsum("ij,ij->i", b, b)
    return np.maximum(out, 0.0, out=out)


@dataclass(frozen=True)
class _Prior:
    center: float  # of log length

    def start(self, dim: int) -> Array:
        return np.append(np.full(dim, self.center), math.log(_NOISE_START))

    def penalty(self, theta: Array) -> tuple[float, Array]:
        a = (theta[:-1] - self.center) / _LENGTH_SPREAD
        b = (theta[-1] - _NOISE_CENTER) / _NOISE_SPREAD
        return 0.5 * float(a @ a + b * b), np.append(a / _LENGTH_SPREAD, b / _NOISE_SPREAD)


def length_prior(dim: int, factor: float = 1.0) -> float:
    """Center of log length: the mode of LogNormal(√2 + log(dim)/2, √3) (Hvarfner et al. 2024), times `factor`."""
    return math.sqrt(2.0) + 0.5 * math.log(dim) - _LENGTH_SPREAD**2 + math.log(factor)


def _factor(theta: Array, x: Array, groups: Groups) -> tuple[Array, Array, Array, bool]:
    """(lower factor of R + g I, slope of R, scaled features, whether it exists) at log lengths and log noise."""
    from scipy.linalg.lapack import dpotrf

    scaled = x * np.exp(-theta[:-1])[groups]
    squared = _squared(scaled, scaled)
    squared.flat[:: len(x) + 1] = 0.0
    k, slope = matern(squared)
    k.flat[:: len(x) + 1] = 1.0 + math.exp(theta[-1])
    lower, info = dpotrf(k.T, lower=1, clean=1, overwrite_a=1)
    return lower, slope, scaled, info == 0


def _profile(lower: Array, z: Array) -> tuple[Array, Array, Array]:
    """Mean, amplitude and K⁻¹(z - mean) that maximize the likelihood, for columns of z, shape (n, m)."""
    from scipy.linalg.lapack import dpotrs

    n = len(z)
    solved, _ = dpotrs(lower, np.column_stack([z, np.ones(n)]), lower=1)
    ones = solved[:, -1]
    mean = solved[:, :-1].sum(axis=0) / ones.sum()
    beta = solved[:, :-1] - np.outer(ones, mean)
    q = np.maximum(np.einsum("ij,ij->j", z - mean, beta), 0.0)
    return mean, (q + _AMPLITUDE_WEIGHT) / (n + _AMPLITUDE_WEIGHT), beta


def negative_log_posterior(theta: Array, x: Array, groups: Groups, z: Array, center: float) -> tuple[float, Array]:
    """The function that a fit minimizes, and its gradient, in O(n³ + n² p).

    -log N(z | m 1, s² (R + g I)) + (w/2)(log s² + 1/s²) - log prior(theta), up to a constant, at the m and s² that
    minimize it. The gradient by a length needs no tensor of pairwise differences: for any weights,
    Σ W_ij (x_i - x_j)² = (row sums + column sums)·x² - 2 x'W x.

    Args:
        theta: log lengths and log noise, shape (dim + 1,).
        x: features, shape (n, p).
        groups: column of each feature, shape (p,).
        z: standardized outputs, shape (n,).
        center: of the prior of log length.

    Returns:
        value, in nats without the constant (n/2) log 2π, and gradient, shape (dim + 1,).
    """
    from scipy.linalg.lapack import dpotri

    n = len(z)
    penalty, slope_of_penalty = _Prior(center).penalty(theta)
    lower, slope, scaled, exists = _factor(theta, x, groups)
    if not exists:
        return 1e10, np.zeros_like(theta)
    _, variance, columns = _profile(lower, z[:, None])
    s2, beta = float(variance[0]), columns[:, 0]
    total = n + _AMPLITUDE_WEIGHT
    value = 0.5 * total * (math.log(s2) + 1.0) + float(np.log(lower.diagonal()).sum()) + penalty
    inverse, _ = dpotri(lower, lower=1, overwrite_c=1)
    g = math.exp(theta[-1])
    by_noise = 0.5 * g * (float(inverse.trace()) - float(beta @ beta) / s2)
    # dpotri fills one triangle: twice that triangle stands for the symmetric matrix (the diagonal has no effect).
    weights = inverse.T
    weights *= 2.0
    weights -= np.multiply.outer(beta / s2, beta)
    weights *= slope
    sums = weights.sum(axis=0) + weights.sum(axis=1)
    by_feature = sums @ (scaled * scaled) - 2.0 * np.einsum("ij,ij->j", scaled, weights @ scaled)
    gradient = np.append(-np.bincount(groups, by_feature, len(theta) - 1), by_noise)
    return value, gradient + slope_of_penalty


def fit(
    x: Array,
    groups: Groups,
    y: Array,
    start: Hyperparameters | None = None,
    *,
    restart: bool = False,
    length_factor: float = 1.0,
    warping: bool = True,
) -> Hyperparameters:
    """Maximum a-posteriori hyperparameters and the warp.

    Args:
        x: features, shape (n, p), n >= 1.
        groups: column of each feature, shape (p,).
        y: outputs, finite, shape (n,).
        start: where to start the search; the prior's mode if None.
        restart: start from the prior's mode as well.
        length_factor: multiplies the prior's length scales.
        warping: whether logarithmic warps are candidates.

    Raises:
        InputError: shapes that do not fit, no points, or outputs that are not finite.
    """
    if len(x) != len(y) or not len(y) or not np.isfinite(y).all():
        raise refuse("y", y, f"{len(x)} finite numbers, at least one")
    dim = int(groups.max()) + 1
    prior = _Prior(length_prior(dim, length_factor))
    y = np.clip(y, -_LARGEST, _LARGEST)
    warps = _warps(y, warping)
    default = prior.start(dim)
    if len(y) < 2 or np.ptp(y) == 0:
        return Hyperparameters(np.exp(default[:-1]), LEAST_NOISE, warp=warps[0])
    thetas = [default]
    if start is not None:
        thetas = [np.append(np.log(start.lengths), math.log(max(start.noise, _LEAST_NOISE_START)))]
    if start is not None and restart:
        thetas.append(default)
    warp = _best_warp(warps, thetas[0], x, groups, y)
    theta = _search(thetas, x, groups, warp.forward(y), prior)
    again = _best_warp(warps, theta, x, groups, y)
    if again is not warp:
        warp = again
        theta = _search([theta], x, groups, warp.forward(y), prior)
    lower, _, _, _ = _factor(theta, x, groups)
    mean, variance, _ = _profile(lower, warp.forward(y)[:, None])
    return Hyperparameters(np.exp(theta[:-1]), math.exp(theta[-1]), float(mean[0]), float(variance[0]), warp)


def _search(thetas: list[Array], x: Array, groups: Groups, z: Array, prior: _Prior) -> Array:
    from scipy.optimize import minimize

    dim = len(thetas[0]) - 1
    bounds = [tuple(np.log(_LENGTHS))] * dim + [(math.log(LEAST_NOISE), math.log(_MOST_NOISE))]
    best, least = thetas[0], math.inf
    for theta in thetas:
        found = minimize(
            negative_log_posterior,
            np.clip(theta, *np.array(bounds).T),
            args=(x, groups, z, prior.center),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": 60, "ftol": 1e-5, "gtol": 0.02, "maxcor": 20},
        )
        if found.fun < least:
            best, least = np.asarray(found.x), float(found.fun)
    return best


def _warps(y: Array, logarithmic: bool) -> list[Warp]:
    """Candidate warps, standardized on y; the first is the identity."""
    low = float(y.min())
    better = float(np.median(y)) - low
    spread = better if better > 0 else float(y.max()) - low
    plain = [Warp(low, spread if spread > 0 else 1.0)]
    if logarithmic and spread > 0:
        plain += [Warp(low, c * spread, logarithmic=True) for c in _WIDTHS]
    out = []
    for w in plain:
        f = w.forward(y)
        out.append(Warp(w.origin, w.width, float(f.mean()), float(f.std()) or 1.0, w.logarithmic))
    return out


def _best_warp(warps: list[Warp], theta: Array, x: Array, groups: Groups, y: Array) -> Warp:
    """The warp under which y is most likely, Jacobian included; the factor is shared, so each costs O(n²)."""
    if len(warps) == 1:
        return warps[0]
    lower, _, _, exists = _factor(theta, x, groups)
    if not exists:
        return warps[0]
    _, variance, _ = _profile(lower, np.column_stack([w.forward(y) for w in warps]))
    slopes = np.array([w.log_slope(y).sum() for w in warps])
    return warps[int(np.argmax(slopes - 0.5 * (len(y) + _AMPLITUDE_WEIGHT) * np.log(variance)))]


class Posterior:
    """The posterior of a Gaussian process, in warped units; points can be appended in O(n²) each.

    It keeps the inverse of the Cholesky factor of R + g I, so that prediction is matrix products only. The same
    points in the same order give the same bits: the first ones by one factorization, all later ones row by row.

    Args:
        hyper: from `fit`.
        groups: column of each feature, shape (p,).
        x: features, shape (n, p), n >= 1.
    """

    def __init__(self, hyper: Hyperparameters, groups: Groups, x: Array) -> None:
        from scipy.linalg.lapack import dtrtri

        self.hyper = hyper
        self._inverse_lengths = (1.0 / hyper.lengths)[groups]
        self._noise = hyper.noise
        n = len(x)
        while True:
            theta = np.append(np.log(hyper.lengths), math.log(self._noise))
            lower, _, scaled, exists = _factor(theta, x, groups)
            if exists:
                break
            self._noise *= 10.0
        self._x = np.zeros((2 * n + 16, x.shape[1]))
        self._inverse = np.zeros((2 * n + 16, 2 * n + 16))
        self._x[:n] = scaled
        self._inverse[:n, :n] = dtrtri(lower, lower=1)[0]
        self._alpha = np.zeros(2 * n + 16)
        self._targets = np.zeros(0)
        self.n = n

    def __len__(self) -> int:
        return self.n

    def append(self, x: Array) -> tuple[Array, float]:
        """Add one point, shape (p,); its output is predicted until `observe` is called.

        Returns:
            its row of the Cholesky factor: (l, shape (n,), d > 0).
        """
        n = self.n
        if n == len(self._x):
            self._grow()
        scaled = x * self._inverse_lengths
        k, _ = matern(_squared(self._x[:n], scaled[None]))
        row = self._inverse[:n, :n] @ k[:, 0]
        d = math.sqrt(max(1.0 + self._noise - float(row @ row), 0.5 * self._noise))
        self._x[n] = scaled
        self._inverse[n, :n] = (row @ self._inverse[:n, :n]) / -d
        self._inverse[n, n] = 1.0 / d
        self._alpha[n] = 0.0
        self.n = n + 1
        return row, d

    def truncate(self, n: int) -> None:
        """Forget all but the first n points, e.g. appended ones whose output was only predicted."""
        self._inverse[n : self.n, :] = 0.0
        self.n = n

    def observe(self, y: Array) -> Array:
        """Set the outputs of the first len(y) points, which must be all but the ones appended for prediction.

        Returns:
            one-step-ahead errors of the warped outputs, standardized (R&W 2006, section 5.4.2), shape (len(y),):
            entry i is the error of point i predicted from the points before it, independent N(0, 1) if the model
            holds.
        """
        m = len(y)
        self._targets = self.hyper.warp.forward(y)
        white = self._inverse[:m, :m] @ (self._targets - self.hyper.mean)
        self._alpha[:m] = white @ self._inverse[:m, :m]
        self._alpha[m : self.n] = 0.0
        return np.asarray(white / math.sqrt(self.hyper.variance))

    def smoothed(self) -> Array:
        """Posterior mean at the observed points, warped units, shape (m,)."""
        # (R + g I) α = z - mean, so R α + mean = z - g α.
        return np.asarray(self._targets - self._noise * self._alpha[: len(self._targets)])

    def whiten(self, x: Array) -> tuple[Array, Array]:
        """(V = L⁻¹ R(X, x), shape (n, m); posterior mean, shape (m,)): what a pool of candidates needs."""
        k, _ = matern(_squared(self._x[: self.n], x * self._inverse_lengths))
        mean = self.hyper.mean + self._alpha[: self.n] @ k
        return self._inverse[: self.n, : self.n] @ k, mean

    def correlation(self, point: Array, x: Array) -> Array:
        """Prior correlation of one point, shape (p,), with others, shape (m, p)."""
        scaled = (point * self._inverse_lengths)[None]
        return np.asarray(matern(_squared(scaled, x * self._inverse_lengths))[0][0])

    def deviation(self, explained: Array) -> Array:
        """Posterior standard deviation of the noise-free function from the explained share of variance."""
        return np.asarray(np.sqrt(self.hyper.variance * np.maximum(1.0 - explained, 1e-12)))

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Posterior mean and standard deviation of the noise-free function, warped units, shapes (m,)."""
        v, mean = self.whiten(x)
        return mean, self.deviation(np.einsum("ij,ij->j", v, v))

    def predict_with_gradient(self, x: Array) -> tuple[Array, Array, Array, Array]:
        """(mean, std, their gradients by x), shapes (m,), (m,), (m, p), (m, p)."""
        past = self._x[: self.n]
        scaled = x * self._inverse_lengths
        k, slope = matern(_squared(past, scaled))
        alpha = self._alpha[: self.n]
        inverse = self._inverse[: self.n, : self.n]
        v = inverse @ k
        mean = self.hyper.mean + alpha @ k
        std = self.deviation(np.einsum("ij,ij->j", v, v))
        m = len(x)
        weights = np.concatenate([alpha[:, None] * slope, (inverse.T @ v) * slope], axis=1)
        by_x = weights.sum(axis=0)[:, None] * np.concatenate([scaled, scaled]) - weights.T @ past
        by_x *= 2.0 * self._inverse_lengths
        return mean, std, by_x[:m], by_x[m:] * (-self.hyper.variance / std)[:, None]

    def in_units(self, mean: Array, std: Array) -> tuple[Array, Array]:
        """Warped mean and standard deviation in the outputs' own units.

        After a logarithmic warp: the median, and half the width of the central 68 % interval.
        """
        warp = self.hyper.warp
        return warp.inverse(mean), np.asarray(0.5 * (warp.inverse(mean + std) - warp.inverse(mean - std)))

    def _grow(self) -> None:
        size = 2 * len(self._x)
        for name in ("_x", "_inverse", "_alpha"):
            old: Any = getattr(self, name)
            new = np.zeros((size, size) if name == "_inverse" else (size, *old.shape[1:]))
            new[tuple(slice(0, k) for k in old.shape)] = old
            setattr(self, name, new)


def posterior_at(space: Space, rows: Array, y: Array) -> tuple[Array, Array, float]:
    """The posterior at the observed rows themselves, from a fit to them.

    Args:
        space: of the rows.
        rows: canonical rows, shape (n, dim), n >= 1; a row may occur several times.
        y: outputs, finite, shape (n,).

    Returns:
        mean and standard deviation of the noise-free objective, shapes (n,), and the standard deviation of the noise
        (at the median output, where a logarithmic warp makes it vary), all in the units of y; see `in_units`.
    """
    x, groups = embed(space, rows)
    model = Posterior(fit(x, groups, y), groups, x)
    model.observe(y)
    mean, std = model.predict(x)
    hyper = model.hyper
    middle = hyper.warp.forward(np.median(y, keepdims=True))
    noise = model.in_units(middle, np.array([math.sqrt(hyper.noise * hyper.variance)]))[1]
    return *model.in_units(mean, std), float(noise[0])
