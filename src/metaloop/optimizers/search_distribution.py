"""The normal distribution of CMA-ES: its update by one ranked generation, its walls, its margin for discrete columns.

Equation numbers are those of [T] Hansen, The CMA Evolution Strategy: A Tutorial, arXiv 1604.00772 (v2); [I] is Hansen,
arXiv 1110.4181; [M] is Hamano et al., CMA-ES with Margin, arXiv 2205.13482. What is asked and told is in `cmaes`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from metaloop.optimizers.state import state
from metaloop.space import Array, Mask, Space

_CONDITION = 1e14  # [T] B.3


@dataclass(frozen=True)
class Strategy:
    """The strategy constants of [T] Table 1; `weights` has shape (population,), decreasing, negative from `mu` on."""

    weights: Array
    mu: int
    mu_eff: float
    c_sigma: float
    d_sigma: float
    c_c: float
    c_1: float
    c_mu: float
    chi: float  # E||N(0, I)||


@lru_cache(maxsize=64)
def strategy(dim: int, population: int, damping: float = 1.0, covariance_rate: float = 1.0) -> Strategy:
    """The constants for a dimension and a population of at least 2.

    Args:
        dim: number of coordinates, n.
        population: lambda.
        damping: factor on d_sigma.
        covariance_rate: factor on alpha_cov = 2, in (0, 1].
    """
    n = float(dim)
    raw = math.log((population + 1) / 2) - np.log(np.arange(1, population + 1))  # (49)
    positive, negative = np.maximum(raw, 0.0), np.maximum(-raw, 0.0)
    mu_eff = positive.sum() ** 2 / (positive**2).sum()  # (8)
    mu_eff_minus = negative.sum() ** 2 / (negative**2).sum()  # Table 1
    alpha = 2.0 * covariance_rate
    c_1 = alpha / ((n + 1.3) ** 2 + mu_eff)  # (57)
    c_mu = min(1 - c_1, alpha * (0.25 + mu_eff + 1 / mu_eff - 2) / ((n + 2) ** 2 + alpha * mu_eff / 2))  # (58)
    least = min(1 + c_1 / c_mu, 1 + 2 * mu_eff_minus / (mu_eff + 2), (1 - c_1 - c_mu) / (n * c_mu))  # (50)-(52)
    weights = positive / positive.sum() - least * negative / negative.sum()  # (53)
    weights.flags.writeable = False
    c_sigma = (mu_eff + 2) / (n + mu_eff + 5)  # (55)
    d_sigma = damping * (1 + 2 * max(0.0, math.sqrt((mu_eff - 1) / (n + 1)) - 1) + c_sigma)  # (55)
    c_c = (4 + mu_eff / n) / (n + 4 + 2 * mu_eff / n)  # (56)
    chi = math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n * n))
    return Strategy(weights, int((raw > 0).sum()), float(mu_eff), c_sigma, d_sigma, c_c, c_1, c_mu, chi)


@state
@dataclass
class Gaussian:
    """The search distribution N(mean, sigma^2 C) and its paths; all in units of the cube.

    Attributes:
        mean: shape (d,); outside the cube it stands for its reflection at the walls.
        sigma: step size, > 0.
        C: covariance shape, (d, d), symmetric.
        p_sigma, p_c: evolution paths, shape (d,).
        B, D: C = B diag(D^2) B' as of `age` updates ago; shapes (d, d), (d,).
        age: updates since B and D were computed.
        updates: updates since the run began.
    """

    mean: Array
    sigma: float
    C: Array
    p_sigma: Array
    p_c: Array
    B: Array
    D: Array
    age: int = 0
    updates: int = 0

    @classmethod
    def isotropic(cls, mean: Array, sigma: float) -> Gaussian:
        """Where a run begins."""
        d = len(mean)
        return cls(mean.copy(), sigma, np.eye(d), np.zeros(d), np.zeros(d), np.eye(d), np.ones(d))

    def update(self, s: Strategy, y: Array, ties: Mask | None = None) -> None:
        """One generation.

        Args:
            s: constants for len(y) samples.
            y: steps (x - mean) / sigma, best first, shape (population, d).
            ties: which samples rank equal to the one before, shape (population,); they share their weights.
        """
        weights, recombination, mu_eff = s.weights, np.maximum(s.weights, 0.0), s.mu_eff
        if ties is not None and ties.any():
            # An arbitrary order among equals would be noise. Shared weights have a larger effective number, and with
            # that number the paths keep their length under neutral selection.
            group = np.cumsum(~ties) - 1
            size = np.bincount(group)
            weights = (np.bincount(group, weights) / size)[group]
            recombination = (np.bincount(group, recombination) / size)[group]
            mu_eff = 1 / float(recombination @ recombination)
        n = len(self.mean)
        z = (y @ self.B) / self.D  # C^(-1/2) y up to a rotation, which keeps lengths
        step = recombination @ y  # (41)
        self.mean = self.mean + self.sigma * step  # (42), c_m = 1
        whitened = self.B @ ((step @ self.B) / self.D)
        gain = math.sqrt(s.c_sigma * (2 - s.c_sigma) * mu_eff)
        self.p_sigma = (1 - s.c_sigma) * self.p_sigma + gain * whitened  # (43)
        self.updates += 1
        length = math.sqrt(self.p_sigma @ self.p_sigma)
        # (44); the step is limited as in [I], Delta_sigma^max = 1
        self.sigma *= math.exp(min(1.0, s.c_sigma / s.d_sigma * (length / s.chi - 1)))
        settled = math.sqrt(1 - (1 - s.c_sigma) ** (2 * self.updates))
        h = 1.0 if length / settled < (1.4 + 2 / (n + 1)) * s.chi else 0.0  # [T] below (47)
        self.p_c = (1 - s.c_c) * self.p_c + h * math.sqrt(s.c_c * (2 - s.c_c) * mu_eff) * step  # (45)
        squares = np.einsum("ij,ij->i", z, z)
        w = np.where(weights >= 0, weights, weights * n / (squares + 1e-300))  # (46)
        keep = 1 + s.c_1 * (1 - h) * s.c_c * (2 - s.c_c) - s.c_1 - s.c_mu * float(weights.sum())
        self.C = keep * self.C + s.c_1 * np.outer(self.p_c, self.p_c) + s.c_mu * (y.T * w) @ y  # (47)
        self.age += 1

    def decompose(self, s: Strategy) -> bool:
        """Renew B and D when they are due ([T] B.2); False where C is no usable covariance any more."""
        n = len(self.mean)
        if self.age < 1 / (s.c_1 + s.c_mu) / n / 10:
            return True
        self.C = (self.C + self.C.T) / 2
        if not np.isfinite(self.C).all():
            return False
        try:
            eigenvalues, self.B = np.linalg.eigh(self.C)
        except np.linalg.LinAlgError:
            return False
        if not eigenvalues[0] > 0:
            return False
        self.D = np.sqrt(eigenvalues)
        self.age = 0
        return bool(eigenvalues[-1] <= _CONDITION * eigenvalues[0])


def widen(normal: Gaussian, stretch: Array, space: Space, population: int) -> None:
    """Keep P(leaving the cell) of every discrete column at 1 / (d population) or more: [M], "margin correction".

    Where continuous coordinates let the step size shrink, a whole number would otherwise never change again. In an
    outermost cell the mean is kept near the one edge; elsewhere mean and stretch are solved for.

    Args:
        normal: its mean is changed in place.
        stretch: factor on the sampling deviation, shape (d,); changed in place.
        space: says which columns are discrete, and where their cells end.
        population: lambda.
    """
    columns = np.flatnonzero(np.isfinite(space.cells) & (space.cells > 1))
    if not len(columns):
        return
    from scipy.special import ndtr, ndtri

    alpha = 1 / (space.dim * population)
    for j in columns.tolist():
        m = float(normal.mean[j])
        lower, upper = _cell(space, j, m)
        deviation = max(float(normal.sigma * stretch[j] * math.sqrt(normal.C[j, j])), 1e-300)
        if lower <= 1e-12 or upper >= 1 - 1e-12:
            edge, outward = (upper, -1.0) if lower <= 1e-12 else (lower, 1.0)
            normal.mean[j] = edge + outward * min(abs(m - edge), -ndtri(alpha) * deviation)
            continue
        p_low, p_up = float(ndtr((lower - m) / deviation)), float(ndtr((m - upper) / deviation))
        if min(p_low, p_up) >= alpha / 2:
            continue
        p_mid = 1 - p_low - p_up
        p_low, p_up = max(alpha / 2, p_low), max(alpha / 2, p_up)
        surplus = (1 - p_low - p_up - p_mid) / (p_low + p_up + p_mid - 3 * alpha / 2)
        p_low, p_up = p_low + surplus * (p_low - alpha / 2), p_up + surplus * (p_up - alpha / 2)
        q_low, q_up = -float(ndtri(p_low)), -float(ndtri(p_up))
        normal.mean[j] = (lower * q_up + upper * q_low) / (q_low + q_up)
        stretch[j] *= (upper - lower) / (deviation * (q_low + q_up))


def _cell(space: Space, j: int, u: float) -> tuple[float, float]:
    """The interval of unit coordinates that decode to the same value as u, in a discrete column."""
    line = space.columns[j].parameter.line
    low, high = line.first - 0.5, line.last + 0.5
    width = math.log(high / low) if line.log else high - low
    u = min(max(u, 0.0), 1.0)
    number = low * math.exp(u * width) if line.log else low + u * width
    k = min(max(math.floor(number + 0.5), line.first), line.last)
    if line.log:
        return math.log((k - 0.5) / low) / width, math.log((k + 0.5) / low) / width
    return (k - 0.5 - low) / width, (k + 0.5 - low) / width


def fold(space: Space, raw: Array) -> Array:
    """Points of R^d as points of the cube: mirrored at its walls, or clipped where discrete (outermost cells have no
    far end).

    The normal distribution lives in R^d, on the objective mirrored at the walls. There an optimum on a wall is an
    optimum inside, found as fast as any other; samples clipped to the wall would shorten the evolution paths, and the
    step size would collapse too early.
    """
    out = (raw < 0.0) | (raw > 1.0)
    if not out.any():
        return raw
    bounded: Array = raw.copy()
    bounded[out] = np.abs(np.mod(raw[out] + 1.0, 2.0) - 1.0)
    discrete = np.isfinite(space.cells)
    return np.where(discrete, np.clip(raw, 0.0, 1.0), bounded) if discrete.any() else bounded


def unfold(space: Space, rows: Array, mean: Array) -> Array:
    """The image of each point of the cube that lies in the mean's own cell of the mirrored pattern; NaN: the mean."""
    cell = np.where(np.isfinite(space.cells), 0.0, np.floor(mean))
    image = np.where(np.mod(cell, 2.0) == 0.0, cell + rows, cell + 1.0 - rows)
    return np.where(np.isnan(rows), mean, image)
