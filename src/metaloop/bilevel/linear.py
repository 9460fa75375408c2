"""Solve H v = b where only products H p are to be had: conjugate gradients and the Neumann series.

Sources: Hestenes & Stiefel 1952 (conjugate gradients); Golub & Van Loan, section 10.1 (the Lanczos coefficients that
conjugate gradients leave behind, whose eigenvalues approach those of H from inside); Lorraine, Vicol & Duvenaud 2020
(the Neumann series for hypergradients).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from metaloop.errors import require
from metaloop.recipe import tunable
from metaloop.space import Float, Int

Product = Callable[[Any], Any]


class Linear(NamedTuple):
    """What a linear solve leaves behind.

    Attributes:
        solution: shape (n,).
        residual: norm of b - H v, measured with a product of its own, over the norm of b.
        products: how many were taken, that one included.
        curvature: the smallest p'Hp / p'p that was met; nan where none was.
        alphas, betas: step lengths and updates of conjugate gradients, shapes (limit,); nan where not taken.
    """

    solution: Any
    residual: Any
    products: Any
    curvature: Any
    alphas: Any
    betas: Any


@dataclass(frozen=True)
class CG:
    """Conjugate gradients: about the square root of the condition number's products. H must be positive definite.

    Args:
        limit: products at most.
        tolerance: of the residual, as a share of b.

    Raises:
        InputError: a limit below 1, or a tolerance outside of (0, 1).
    """

    limit: int = tunable(100, Int(5, 2000, log=True))
    tolerance: float = tunable(1e-6, Float(1e-10, 0.1, log=True))

    def __post_init__(self) -> None:
        require("limit", self.limit, lambda v: v >= 1 and v == int(v), "a whole number of at least 1")
        require("tolerance", self.tolerance, lambda v: 0 < v < 1, "a number between 0 and 1")

    def solve(self, product: Product, b: Any) -> Linear:
        """The solution for b, shape (n,); ends early where H is found not to be positive definite."""
        none = jnp.full(self.limit, jnp.nan, dtype=b.dtype)
        size = jnp.vdot(b, b)

        def goes_on(carry: tuple[Any, ...]) -> Any:
            k, _, _, _, left, curvature, _, _ = carry
            return (k < self.limit) & (left > self.tolerance**2 * size) & ~(curvature <= 0)

        def body(carry: tuple[Any, ...]) -> tuple[Any, ...]:
            k, v, r, p, left, curvature, alphas, betas = carry
            h = product(p)
            bent = jnp.vdot(p, h)
            alpha = left / bent
            good = bent > 0
            v = jnp.where(good, v + alpha * p, v)
            r = jnp.where(good, r - alpha * h, r)
            now = jnp.vdot(r, r)
            beta = now / left
            curvature = jnp.fmin(curvature, bent / jnp.vdot(p, p))
            return k + 1, v, r, r + beta * p, now, curvature, alphas.at[k].set(alpha), betas.at[k].set(beta)

        start = (jnp.asarray(0), jnp.zeros_like(b), b, b, size, jnp.asarray(jnp.nan, b.dtype), none, none)
        k, v, _, _, _, curvature, alphas, betas = jax.lax.while_loop(goes_on, body, start)
        return Linear(v, _residual(product, v, b), k + 1, curvature, alphas, betas)


@dataclass(frozen=True)
class Neumann:
    """The series v = rate Σ (1 - rate H)^k b: about the condition number's products.

    Args:
        terms: of the series, at most; it ends when the terms no longer matter.
        rate: below 2 over the largest eigenvalue of H; 0 to estimate that by power iteration.
        tolerance: of the residual, as a share of b.

    Raises:
        InputError: fewer than 1 term, a negative rate, or a tolerance outside of (0, 1).
    """

    terms: int = tunable(100, Int(5, 10_000, log=True))
    rate: float = 0.0
    tolerance: float = tunable(1e-6, Float(1e-10, 0.1, log=True))

    def __post_init__(self) -> None:
        require("terms", self.terms, lambda v: v >= 1 and v == int(v), "a whole number of at least 1")
        require("rate", self.rate, lambda v: 0 <= v < math.inf, "a number of at least 0")
        require("tolerance", self.tolerance, lambda v: 0 < v < 1, "a number between 0 and 1")

    def solve(self, product: Product, b: Any) -> Linear:
        """The solution for b, shape (n,)."""
        size = jnp.sqrt(jnp.vdot(b, b))
        powers, rate = 0, jnp.asarray(self.rate)
        if isinstance(self.rate, float) and self.rate == 0.0:
            powers, top = _POWERS, _largest(product, b)
            rate = jnp.where(top > 0, 1.0 / (1.05 * top), 1.0)  # an estimate from below; the margin is for that

        def goes_on(carry: tuple[Any, ...]) -> Any:
            k, _, r, _ = carry
            left = jnp.sqrt(jnp.vdot(r, r))
            return (k < self.terms) & (left > self.tolerance * size) & (left < 1e6 * size)

        def body(carry: tuple[Any, ...]) -> tuple[Any, ...]:
            k, v, r, curvature = carry
            h = product(r)
            curvature = jnp.fmin(curvature, jnp.vdot(r, h) / jnp.vdot(r, r))
            return k + 1, v + rate * r, r - rate * h, curvature

        start = (jnp.asarray(0), jnp.zeros_like(b), b, jnp.asarray(jnp.nan, b.dtype))
        k, v, _, curvature = jax.lax.while_loop(goes_on, body, start)
        none = jnp.full(1, jnp.nan, dtype=b.dtype)
        return Linear(v, _residual(product, v, b), k + 1 + powers, curvature, none, none)


_POWERS = 12


def _largest(product: Product, b: Any) -> Any:
    """The largest eigenvalue by power iteration from b, from below."""

    def body(_: Any, p: Any) -> Any:
        return product(p / jnp.sqrt(jnp.vdot(p, p)))

    last = jax.lax.fori_loop(0, _POWERS - 1, body, product(b / jnp.sqrt(jnp.vdot(b, b))))
    return jnp.sqrt(jnp.vdot(last, last))


def _residual(product: Product, v: Any, b: Any) -> Any:
    r = b - product(v)
    return jnp.sqrt(jnp.vdot(r, r) / jnp.maximum(jnp.vdot(b, b), jnp.finfo(b.dtype).tiny))


def eigenvalues(alphas: npt.ArrayLike, betas: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """What conjugate gradients have seen of the spectrum of H: the eigenvalues of their Lanczos matrix, ascending.

    Args:
        alphas, betas: as `Linear` holds them.
    """
    a, b = np.asarray(alphas, dtype=float), np.asarray(betas, dtype=float)
    n = int(np.isfinite(a).argmin()) if not np.isfinite(a).all() else len(a)
    if not n:
        return np.empty(0)
    a, b = a[:n], b[: n - 1]
    diagonal = 1 / a + np.append(0.0, b / a[:-1])
    off = np.sqrt(np.abs(b)) / a[:-1]
    return np.linalg.eigvalsh(np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1))
