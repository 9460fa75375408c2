"""Integrals and probabilities with known values: Genz's families, peaks and ridges, rare events, one truss.

Sources: Genz 1987, "A package for testing multiple integration subroutines" (the six families, with his difficulties);
Lepage 2021, J. Comput. Phys. 439, 110386 (peaks and ridges, for vegas+); Au & Beck 2001, Prob. Eng. Mech. 16,
263 (rare events); Waarts 2000 (four branches); Song, Lu & Qiao 2009, Struct. Saf. 31, 42 (roof truss).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from metaloop.space import Array


@dataclass(frozen=True)
class Case:
    """One problem.

    Attributes:
        name: with its number of dimensions.
        group: "smooth", "peaks" or "rare".
        dim: number of dimensions.
        function: of points, shape (n, dim), to values, shape (n,): an integrand on the unit cube, or a limit state
            whose event is a value <= 0.
        exact: the integral or the probability.
        untouched: nothing was designed or tuned on it.
        marginals: of the variables of a limit state, as names of `scipy.stats` with their parameters; empty where they
            are standard normal.
    """

    name: str
    group: str
    dim: int
    function: Callable[[Array], Array]
    exact: float
    untouched: bool
    marginals: tuple[tuple[str, dict[str, float]], ...] = ()

    @property
    def distribution(self) -> Any:
        """Of the variables of a limit state: frozen distributions, or how many are standard normal."""
        import scipy.stats

        return [getattr(scipy.stats, name)(**arguments) for name, arguments in self.marginals] or self.dim


# --- Genz ------------------------------------------------------------------------------------------------------------


def _genz(kind: str, dim: int, difficulty: float, seed: int) -> tuple[Callable[[Array], Array], float]:
    """A member of a family: `difficulty` is the sum of its coefficients."""
    rng = np.random.default_rng(seed)
    u, a = rng.random(dim), rng.random(dim)
    a *= difficulty / a.sum()
    match kind:
        case "oscillatory":
            phases = np.exp(2j * np.pi * u[0]) * np.prod((np.exp(1j * a) - 1) / (1j * a))
            return lambda x: np.cos(2 * np.pi * u[0] + x @ a), float(phases.real)
        case "product peak":
            exact = np.prod(a * (np.arctan(a * (1 - u)) + np.arctan(a * u)))
            return lambda x: np.prod(1 / (a**-2 + (x - u) ** 2), axis=1), float(exact)
        case "corner peak":
            signs = [(math.prod(v), a[np.array(v) < 0].sum()) for v in itertools.product((1, -1), repeat=dim)]
            total = math.fsum(sign / (1 + s) for sign, s in signs)
            return lambda x: (1 + x @ a) ** -(dim + 1.0), total / (math.factorial(dim) * float(np.prod(a)))
        case "Gaussian":
            erf = np.vectorize(math.erf)
            exact = np.prod(math.sqrt(math.pi) / (2 * a) * (erf(a * (1 - u)) + erf(a * u)))
            return lambda x: np.exp(-(((x - u) * a) ** 2).sum(axis=1)), float(exact)
        case "continuous":
            exact = np.prod((2 - np.exp(-a * u) - np.exp(-a * (1 - u))) / a)
            return lambda x: np.exp(-(np.abs(x - u) @ a)), float(exact)
        case _:
            top = np.where(np.arange(dim) < 2, u, 1.0)
            exact = np.prod((np.exp(a * top) - 1) / a)
            return lambda x: np.exp(x @ a) * (x[:, :2] <= u[:2]).all(axis=1), float(exact)


# --- peaks and ridges ------------------------------------------------------------------------------------------------


def _bumps(centers: Array, widths: Array, heights: Array) -> tuple[Callable[[Array], Array], float]:
    """A sum of round Gaussian bumps in the cube, each with an integral of `height` over all space."""
    erf, d = np.vectorize(math.erf), centers.shape[1]
    scale = np.sqrt(2.0) * widths[:, None]
    inside = np.prod((erf((1 - centers) / scale) + erf(centers / scale)) / 2, axis=1)

    def f(x: Array) -> Array:
        out = np.zeros(len(x))
        for c, s, h in zip(centers, widths, heights, strict=True):
            out += h / (math.sqrt(2 * math.pi) * s) ** d * np.exp(-((x - c) ** 2).sum(axis=1) / (2 * s * s))
        return out

    return f, float(heights @ inside)


def _chain(dim: int, width: float) -> tuple[Callable[[Array], Array], float]:
    """A ridge along the diagonal: neighboring coordinates are alike."""
    nodes, weights = np.polynomial.legendre.leggauss(600)
    nodes, weights = (nodes + 1) / 2, weights / 2
    kernel = np.exp(-((nodes[:, None] - nodes) ** 2) / (2 * width**2)) * weights
    exact = weights @ np.linalg.matrix_power(kernel, dim - 1).sum(axis=1)
    return lambda x: np.exp(-(np.diff(x, axis=1) ** 2).sum(axis=1) / (2 * width**2)), float(exact)


def _tilted(dim: int, seed: int) -> tuple[Callable[[Array], Array], float]:
    """A Gaussian with a random orientation and widths from 0.002 to 0.05, all of it inside the cube."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    widths = np.geomspace(2e-3, 0.05, dim)
    return lambda x: np.exp(-0.5 * ((((x - 0.5) @ turn) / widths) ** 2).sum(axis=1)), float(
        np.prod(math.sqrt(2 * math.pi) * widths)
    )


def _shell(dim: int, radius: float, width: float) -> tuple[Callable[[Array], Array], float]:
    """A spherical shell around the center."""
    r = np.linspace(max(radius - 12 * width, 0.0), radius + 12 * width, 20001)
    values = np.exp(-((r - radius) ** 2) / (2 * width**2)) * r ** (dim - 1)
    area = 2 * math.pi ** (dim / 2) / math.gamma(dim / 2)
    exact = area * float(((values[1:] + values[:-1]) / 2 * np.diff(r)).sum())
    return lambda x: np.exp(-((np.sqrt(((x - 0.5) ** 2).sum(axis=1)) - radius) ** 2) / (2 * width**2)), exact


def _banana(pairs: int) -> tuple[Callable[[Array], Array], float]:
    """Bent ridges, one for every two coordinates (Haario et al. 1999); the bend keeps the volume."""

    def f(x: Array) -> Array:
        a, b = x[:, ::2] - 0.5, x[:, 1::2] - 0.3
        return np.asarray(np.exp(-0.5 * ((a / 0.08) ** 2 + ((b - 6 * a**2) / 0.01) ** 2).sum(axis=1)))

    return f, (2 * math.pi * 0.08 * 0.01) ** pairs


def _lorentz(dim: int, width: float) -> tuple[Callable[[Array], Array], float]:
    """A product of Lorentz resonances along the axes."""
    centers = np.linspace(0.2, 0.8, dim)
    exact = np.prod((np.arctan((1 - centers) / width) + np.arctan(centers / width)) / width)
    return lambda x: np.prod(1 / ((x - centers) ** 2 + width**2), axis=1), float(exact)


# --- rare events -----------------------------------------------------------------------------------------------------


def _tail(beta: float) -> float:
    return 0.5 * math.erfc(beta / math.sqrt(2))


def _quantile(p: float) -> float:
    from scipy.special import ndtri

    return -float(ndtri(p))


def _half_space(dim: int, p: float, seed: int) -> tuple[Callable[[Array], Array], float]:
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal(dim)
    normal /= math.sqrt(float(normal @ normal))
    return lambda x: _quantile(p) - x @ normal, p


def _slabs(dim: int, axes: int, beta: float) -> tuple[Callable[[Array], Array], float]:
    """Beyond +-beta along any of the first axes: 2 modes an axis."""
    exact = -math.expm1(axes * math.log1p(-2 * _tail(beta)))
    return lambda x: beta - np.abs(x[:, :axes]).max(axis=1), exact


def _paraboloid(dim: int, beta: float, bend: float) -> tuple[Callable[[Array], Array], float]:
    """x_1 > beta + bend * (sum of the other squares) / 2: by quadrature over the chi-squared sum."""
    from scipy.special import ndtr

    t = np.linspace(0, 60.0, 200001)[1:]
    k = dim - 1
    density = np.exp((k / 2 - 1) * np.log(t) - t / 2 - math.lgamma(k / 2) - k / 2 * math.log(2))
    values = density * ndtr(-(beta + bend * t / 2))
    exact = float(values.sum() * (t[1] - t[0]))
    return lambda x: beta + bend * (x[:, 1:] ** 2).sum(axis=1) / 2 - x[:, 0], exact


def _branches(shift: float) -> tuple[Callable[[Array], Array], float]:
    """A series system of four branches in two dimensions; by quadrature of the density along lines."""
    from scipy.special import ndtr

    def g(x: Array) -> Array:
        a, b = x[:, 0], x[:, 1]
        mean, difference = (a + b) / math.sqrt(2), a - b
        bent, flat = shift + 0.1 * difference**2, shift + 2.0
        return np.asarray(np.minimum.reduce([bent - mean, bent + mean, flat - difference, flat + difference]))

    # With s = (a + b) / sqrt 2 and t = (a - b) / sqrt 2 independent normals: safe where |s| < shift + 0.2 t^2 and
    # |t| < (shift + 2) / sqrt 2.
    end = (shift + 2.0) / math.sqrt(2)
    t, w = np.polynomial.legendre.leggauss(400)
    t, w = end * t, end * w
    unsafe = 2 * ndtr(-(shift + 0.2 * t**2))
    exact = float((w * np.exp(-(t**2) / 2) / math.sqrt(2 * math.pi) * unsafe).sum()) + 2 * float(ndtr(-end))
    return g, exact


def _truss(x: Array) -> Array:
    """Roof truss: load q (N/m), span l (m), areas of steel and concrete (m2), moduli of steel and concrete (N/m2).

    The deflection of the peak is to stay below 3 cm.
    """
    q, span, a_s, a_c, e_s, e_c = x.T
    return np.asarray(0.03 - q * span**2 / 2 * (3.81 / (a_c * e_c) + 1.13 / (a_s * e_s)))


TRUSS = (
    ("norm", {"loc": 20000.0, "scale": 1400.0}),
    ("norm", {"loc": 12.0, "scale": 0.12}),
    ("norm", {"loc": 9.82e-4, "scale": 5.892e-5}),
    ("norm", {"loc": 0.04, "scale": 0.0048}),
    ("norm", {"loc": 1e11, "scale": 6e9}),
    ("norm", {"loc": 2e10, "scale": 1.2e9}),
)
TRUSS_FAILS = 9.359409e-3  # by quadrature: the load analytically, the rest on nets of 8 x 2^19 points (+- 3e-7)


@cache
def cases() -> tuple[Case, ...]:
    """All problems; the untouched half is for figures only."""
    corners = np.array([[1 / 3] * 4, [2 / 3] * 4])
    wide = np.random.default_rng(3).uniform(0.25, 0.75, (3, 16))
    ones = np.ones
    table: list[tuple[str, str, int, tuple[Callable[[Array], Array], float], bool]] = [
        ("Genz oscillatory", "smooth", 6, _genz("oscillatory", 6, 9.0, 1), False),
        ("Genz product peak", "smooth", 8, _genz("product peak", 8, 7.25, 2), True),
        ("Genz corner peak", "smooth", 6, _genz("corner peak", 6, 1.85, 3), True),
        ("Genz Gaussian", "smooth", 8, _genz("Gaussian", 8, 7.03, 4), False),
        ("Genz continuous", "smooth", 8, _genz("continuous", 8, 20.4, 5), True),
        ("Genz discontinuous", "smooth", 6, _genz("discontinuous", 6, 4.3, 6), False),
        ("two peaks", "peaks", 4, _bumps(corners, np.full(2, 0.1), ones(2)), False),
        ("two peaks", "peaks", 8, _bumps(np.repeat(corners, 2, axis=1), np.full(2, 0.1), ones(2)), True),
        ("diagonal ridge", "peaks", 4, _chain(4, 0.03), True),
        ("diagonal ridge", "peaks", 8, _chain(8, 0.03), False),
        ("tilted peak", "peaks", 6, _tilted(6, 7), False),
        ("three peaks", "peaks", 16, _bumps(wide, np.array([0.03, 0.05, 0.07]), ones(3)), True),
        ("shell", "peaks", 4, _shell(4, 0.3, 0.02), True),
        ("bent ridges", "peaks", 6, _banana(3), False),
        ("peak less a peak", "peaks", 4, _bumps(corners, np.array([0.05, 0.1]), np.array([1.0, -0.5])), False),
        ("Lorentz product", "peaks", 5, _lorentz(5, 0.02), True),
        ("half-space 1e-4", "rare", 4, _half_space(4, 1e-4, 8), False),
        ("half-space 1e-9", "rare", 4, _half_space(4, 1e-9, 9), True),
        ("half-space 1e-6", "rare", 100, _half_space(100, 1e-6, 10), False),
        ("two modes", "rare", 4, _slabs(4, 1, 4.892), False),
        ("eight modes", "rare", 16, _slabs(16, 4, 5.5), True),
        ("paraboloid", "rare", 10, _paraboloid(10, 4.0, 0.2), False),
        ("four branches", "rare", 2, _branches(4.5), True),
    ]
    out = [Case(f"{n}, d = {d}", group, d, f, exact, u) for n, group, d, (f, exact), u in table]
    out.append(Case("roof truss, d = 6", "rare", 6, _truss, TRUSS_FAILS, True, TRUSS))
    return tuple(out)


def named(name: str) -> Case:
    """The case of that name."""
    return next(c for c in cases() if c.name == name)
