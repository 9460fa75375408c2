"""The convex step of sizing, in the reciprocals of the areas: stresses and displacements are nearly linear in them.

    minimize  Σ cost / y + ½ (y - 1)ᵀ M (y - 1) + price · t
    subject to  J y <= b + t,  low <= y <= high,  t >= 0

by Mehrotra's primal-dual interior-point method (Nocedal & Wright, Numerical Optimization, 2006, chapter 19). The one
elastic variable t makes every step feasible; where M bends down, the matrix is shifted until it is positive definite.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
PRICE = 10.0  # of t; the multipliers sum to at most about 1 where the costs do, so t is 0 wherever it can be
STEPS = 60


class Step(NamedTuple):
    """The solution: y, (n,), and the multipliers of J y <= b, (m,)."""

    y: Array
    multipliers: Array


def solve(cost: Array, bend: Array, rows: Array, right: Array, low: Array, high: Array) -> Step | None:
    """See above.

    Args:
        cost: positive, (n,), summing to about 1.
        bend: M, (n, n), symmetric.
        rows, right: J, (m, n), and b, (m,).
        low, high: bounds of y, positive; an infinite `high` is none.

    Returns:
        the step, or None where the matrix cannot be made positive definite.
    """
    n, m = len(cost), len(right)
    eye = np.eye(n)
    left = np.block(
        [
            [rows, -np.ones((m, 1))],
            [eye, np.zeros((n, 1))],
            [-eye, np.zeros((n, 1))],
            [np.zeros((1, n)), -np.ones((1, 1))],
        ]
    )
    limits = np.concatenate([right, high, -low, [0.0]])
    kept = np.isfinite(limits)
    left, limits = left[kept], limits[kept]
    room = 1e-3 * (np.minimum(high, 10.0) - low)
    v = np.append(np.clip(1.0, low + room, np.minimum(high, 10.0) - room), 0.1)
    slack = np.maximum(limits - left @ v, 1e-2)
    z = 0.1 / (slack * len(slack))
    for _ in range(STEPS):
        y = v[:n]
        slope = np.append(bend @ (y - 1.0) - cost / y**2, PRICE)
        dual = slope + left.T @ z
        primal = left @ v + slack - limits
        gap = float(slack @ z)
        if max(np.abs(dual[:n] * y).max(), abs(dual[n]), np.abs(primal).max(), gap) < 1e-10:
            break
        matrix = (left.T * (z / slack)) @ left
        matrix[:n, :n] += bend + np.diag(2.0 * cost / y**3)
        inverse = _inverse(matrix)
        if inverse is None:
            return None

        def newton(target: Array, inverse: Array, dual: Array, primal: Array, z: Array, slack: Array) -> list[Array]:
            dv = -inverse @ (dual + left.T @ ((z * primal - target) / slack))
            ds = -primal - left @ dv
            return [dv, ds, -(target + z * ds) / slack]

        dv, ds, dz = newton(slack * z, inverse, dual, primal, z, slack)
        ahead = _reach(slack, ds), _reach(z, dz)
        center = (float((slack + ahead[0] * ds) @ (z + ahead[1] * dz)) / gap) ** 3 * gap / len(z)
        dv, ds, dz = newton(slack * z + ds * dz - center, inverse, dual, primal, z, slack)
        most = min(0.9995, max(0.9, 1.0 - gap))
        walk, walk_dual = most * min(_reach(slack, ds), _reach(y, dv[:n])), most * _reach(z, dz)
        if bend.any():  # then the dual residual is not linear in both, and they go together
            walk = walk_dual = min(walk, walk_dual)
        v, slack, z = v + walk * dv, slack + walk * ds, z + walk_dual * dz
    multipliers = np.zeros(len(kept))
    multipliers[kept] = z
    return Step(v[:n], multipliers[:m])


def _inverse(matrix: Array) -> Array | None:
    """Of the matrix, or of the first shifted one that is positive definite."""
    from scipy.linalg import lapack

    size = np.abs(np.diag(matrix))
    shift = 0.0
    while shift < 1e4:
        triangle, wrong = lapack.dpotrf(matrix + np.diag(shift * size))
        if not wrong:
            inverse, _ = lapack.dpotri(triangle)
            upper = np.triu(inverse)
            return np.asarray(upper + np.triu(upper, 1).T)
        shift = max(1e-8, 10.0 * shift)
    return None


def _reach(value: Array, change: Array) -> float:
    """How far one may go before a value is 0, at most 1."""
    down = change < 0
    return float(min(1.0, (-value[down] / change[down]).min())) if down.any() else 1.0
