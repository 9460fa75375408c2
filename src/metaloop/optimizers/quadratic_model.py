"""A local quadratic model of scattered points, and its minimizer in a ball and a box.

The model is Powell's minimum-Frobenius-norm interpolation (2009, BOBYQA) seen as Gaussian regression: slopes and
curvatures are independent normal numbers, so that the covariance of two values is a + b s.t + (s.t)^2 / 2, and any
number of points will do. What a quadratic cannot follow has its own variance, (tau r^3)^2 at distance r as in Taylor's
theorem, with tau by marginal likelihood: far points count less; at tau = 0 the model interpolates.
The minimizer is More & Sorensen's (1983) in the ball, with the box's active set around it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from metaloop.space import Array, Mask

CONSTANT, SLOPE = 1e4, 1e2  # prior variances, relative to that of a curvature
ERRORS = (0.0, 1e-3, 1e-2, 0.1, 1.0, 10.0)  # tau, relative to the prior deviation of a curvature
NOISES = tuple(10.0 ** np.arange(-4, 3))  # variances of noise, on the same scale


class QuadraticModel:
    """f(s) = constant + gradient.s + s.hessian.s / 2, fitted to values at scaled steps.

    Args:
        s: steps from the center in units of the radius, shape (m, d), m >= 1.
        v: values minus the value at the center, shape (m,).
        noises: candidate variances of noise; (0,) where values are exact, and the model passes through the center.

    Attributes:
        constant: 0 where values are exact.
        gradient, hessian: at the center, shapes (d,), (d, d).
        error, noise: the tau and the noise variance that the likelihood chose, in units of `scale` and its square.
        scale: deviation of a curvature.
    """

    def __init__(self, s: Array, v: Array, noises: Sequence[float] = (0.0,)) -> None:
        from scipy.linalg.lapack import dpotrf, dpotrs

        m = len(v)
        size = float(np.abs(v).max()) or 1.0  # squares of huge values would overflow
        v = v / size
        self._s, self._solve = s, dpotrs
        self._constant = CONSTANT if noises[0] > 0 else 0.0
        inner = s @ s.T
        squares = inner.diagonal().copy()
        kernel = self._constant + SLOPE * inner + 0.5 * inner * inner
        best = math.inf
        for jitter in (1e-13, 1e-9, 1e-4):
            for error in ERRORS:
                for noise in noises:
                    matrix = kernel.copy()
                    matrix.flat[:: m + 1] += error**2 * squares**3 + noise + jitter * kernel.diagonal()
                    factor, failed = dpotrf(matrix, lower=1, overwrite_a=1)
                    if failed:
                        continue
                    weights, _ = dpotrs(factor, v, lower=1)
                    variance = max(float(v @ weights), 1e-300) / m
                    loss = 0.5 * m * math.log(variance) + float(np.log(factor.diagonal()).sum())
                    if loss < best:
                        best, self.error, self.noise, self._factor, self._weights = loss, error, noise, factor, weights
                        self.scale = size * math.sqrt(variance)
            if best < math.inf:
                break
        self._weights = size * self._weights
        self.constant = self._constant * float(self._weights.sum())
        self.gradient: Array = SLOPE * (self._weights @ s)
        self.hessian: Array = (s * self._weights[:, None]).T @ s

    def value(self, step: Array) -> float:
        """The model at a step, shape (d,)."""
        return self.constant + float(self.gradient @ step + 0.5 * step @ self.hessian @ step)

    def gradient_covariance(self) -> Array:
        """Posterior covariance of the gradient over `scale` squared, shape (d, d): which directions are not covered."""
        solved, _ = self._solve(self._factor, self._s, lower=1)
        return np.asarray(SLOPE * np.eye(self._s.shape[1]) - SLOPE**2 * (self._s.T @ solved))

    def difference_deviation(self, step: Array) -> float:
        """Posterior standard deviation of f(step) - f(0), the model's own error left out."""
        t = self._s @ step
        k = SLOPE * t + 0.5 * t * t
        solved, _ = self._solve(self._factor, k, lower=1)
        r = float(step @ step)
        return self.scale * math.sqrt(max(SLOPE * r + 0.5 * r * r - float(k @ solved), 0.0))

    def draw(self, rng: np.random.Generator, v: Array) -> tuple[Array, Array]:
        """A gradient and a hessian from the posterior (Matheron's rule), shapes (d,), (d, d)."""
        m, d = self._s.shape
        g = math.sqrt(SLOPE) * self.scale * rng.standard_normal(d)
        w = self.scale * rng.standard_normal((d, d))
        h = (w + w.T) / math.sqrt(2.0)
        r = np.einsum("ij,ij->i", self._s, self._s)
        own = self.scale * np.sqrt(self.error**2 * r**3 + self.noise) * rng.standard_normal(m)
        start = math.sqrt(self._constant) * self.scale * rng.standard_normal()
        prior = start + self._s @ g + 0.5 * np.einsum("ij,jk,ik->i", self._s, h, self._s) + own
        weights, _ = self._solve(self._factor, v - prior, lower=1)
        return g + SLOPE * (weights @ self._s), h + (self._s * weights[:, None]).T @ self._s


def minimize_in_ball(w: Array, q: Array, g: Array, radius: float) -> tuple[Array, float]:
    """The least of g.s + s.H.s / 2 with |s| <= radius, for H = q diag(w) q', and its multiplier (More & Sorensen)."""
    t = q.T @ g
    size = math.sqrt(float(t @ t))
    if w[0] > 0:
        s = -t / w
        if float(s @ s) <= radius * radius:
            return q @ s, 0.0
    if size == 0.0:
        return (q[:, 0] * radius, -float(w[0])) if w[0] < 0 else (np.zeros_like(g), 0.0)
    low, high = max(0.0, -float(w[0])), size / radius - float(w[0])
    low = min(low, high) + 1e-14 * max(abs(w[0]), abs(w[-1]), size / radius)
    s = -t / np.maximum(w + low, 1e-300)
    if float(s @ s) < radius * radius:  # the hard case: go on along the lowest eigenvector to the boundary
        if w[0] <= 0:
            s[0] = math.copysign(math.sqrt(max(radius * radius - float(s[1:] @ s[1:]), 0.0)), s[0])
        return q @ s, low
    multiplier, high = low, max(high, low)
    for _ in range(50):
        s = t / (w + multiplier)
        length = math.sqrt(float(s @ s))
        low, high = (multiplier, high) if length > radius else (low, multiplier)
        if abs(length - radius) <= 1e-12 * radius or high - low <= 1e-15 * high:
            break
        slope = float((s * s) @ (1 / (w + multiplier)))
        newton = multiplier + (length / radius - 1) * length * length / slope
        multiplier = newton if low < newton < high else 0.5 * (low + high)
    return q @ (-s * (radius / math.sqrt(float(s @ s)))), multiplier


def minimize_in_ball_and_box(g: Array, h: Array, low: Array, high: Array, radius: float = 1.0) -> Array:
    """The least of g.s + s.H.s / 2 with |s| <= radius and low <= s <= high, by active sets; shape (d,).

    Args:
        g, h: gradient and hessian, shapes (d,), (d, d).
        low, high: shapes (d,), low <= 0 <= high.
        radius: > 0.
    """
    s, multiplier = minimize_in_ball(*np.linalg.eigh(h), g, radius)
    best, least = np.clip(s, low, high), math.inf
    fixed: Mask = np.zeros(len(g), dtype=bool)
    at = np.zeros(len(g))
    for _ in range(3 * len(g) + 3):
        outside = ~fixed & ((s < low) | (s > high))
        if outside.any():
            fixed = fixed | outside
            at[outside] = np.clip(s[outside], low[outside], high[outside])
        else:
            value = float(g @ s + 0.5 * s @ h @ s)
            if value >= least - 1e-15 * abs(least):
                break
            best, least = s.copy(), value
            pull = g + h @ s + multiplier * s
            wrong = fixed & (((at <= low) & (pull < 0)) | ((at >= high) & (pull > 0))) & (low < high)
            if not wrong.any():
                break
            j = int(np.argmax(np.where(wrong, np.abs(pull), 0.0)))
            fixed[j], at[j] = False, 0.0
        free = ~fixed
        rest = radius * radius - float(at[fixed] @ at[fixed])
        s, multiplier = at.copy(), 0.0
        if free.any() and rest > 0:
            inner = g[free] + h[np.ix_(free, fixed)] @ at[fixed]
            s[free], multiplier = minimize_in_ball(*np.linalg.eigh(h[np.ix_(free, free)]), inner, math.sqrt(rest))
    return np.clip(best, low, high)
