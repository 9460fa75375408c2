"""The convex step of sizing, in the reciprocals of the areas: stresses and displacements are nearly linear in them.

    minimize  Σ cost / y + ½ (y - 1)ᵀ M (y - 1) + price · t
    subject to  J y <= b + t,  low <= y <= high,  t >= 0

by Mehrotra's primal-dual interior-point method (Nocedal & Wright, Numerical Optimization, 2006). The one
elastic variable t makes every step feasible; where M bends down, the matrix is shifted until it is positive definite.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
PRICE = 10.0  # of t; the multipliers sum to at most about 1 where the costs do, so t is 0 wherever it can be
STEPS = 60
DONE, USABLE = 1e-11, 1e-5  # of what is left of the optimality conditions, where the costs sum to 1


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
        the step, or None where the method does not converge.
    """
    n, m = len(cost), len(right)
    # a row that no point of the box can break need not be looked at
    far = np.maximum(rows * low, rows * np.minimum(high, 1e12)).sum(axis=1)
    ruling = np.flatnonzero(far > right)
    rows, right = rows[ruling], right[ruling]
    eye = np.eye(n)
    left = np.block(
        [
            [rows, -np.ones((len(rows), 1))],
            [eye, np.zeros((n, 1))],
            [-eye, np.zeros((n, 1))],
            [np.zeros((1, n)), -np.ones((1, 1))],
        ]
    )
    limits = np.concatenate([right, high, -low, [0.0]])
    kept = np.isfinite(limits)
    left, limits = left[kept], limits[kept]
    room = 1e-3 * (np.minimum(high, 10.0) - low)
    y = np.clip(1.0, low + room, np.minimum(high, 10.0) - room)
    elastic = max(0.0, float((rows @ y - right).max(initial=0.0))) + 0.1
    v = np.append(y, elastic)
    slack = limits - left @ v  # the elastic variable makes the start strictly feasible
    z = 0.1 / slack
    best, best_z, left_over, idle = v, z, np.inf, 0
    for _ in range(STEPS):
        y = v[:n]
        slope = np.append(bend @ (y - 1.0) - cost / y**2, PRICE)
        dual = slope + left.T @ z
        gap = float(slack @ z)
        wrong = max(float(np.abs(dual[:n] * y).max()), abs(float(dual[n])) / PRICE, gap)
        if not wrong < np.inf:
            break
        idle = 0 if wrong < left_over / 2 else idle + 1
        if wrong < left_over:
            best, best_z, left_over = v, z, wrong
        if wrong < DONE or (left_over < USABLE and idle > 2):
            break
        matrix = (left.T * (z / slack)) @ left
        matrix[:n, :n] += bend + np.diag(2.0 * cost / y**3)
        inverse = _inverse(matrix)
        if inverse is None:
            break

        def newton(target: Array, inverse: Array, dual: Array, z: Array, slack: Array) -> list[Array]:
            dv = -inverse @ (dual - left.T @ (target / slack))
            ds = -left @ dv
            return [dv, ds, -(target + z * ds) / slack]

        dv, ds, dz = newton(slack * z, inverse, dual, z, slack)
        ahead = _reach(slack, ds), _reach(z, dz)
        center = (float((slack + ahead[0] * ds) @ (z + ahead[1] * dz)) / gap) ** 3 * gap / len(z)
        if wrong > gap:  # the curved part is behind: stay near the central path until it has caught up
            dv, ds, dz = newton(slack * z - max(center, 0.5 * gap / len(z)), inverse, dual, z, slack)
        else:
            dv, ds, dz = newton(slack * z + ds * dz - center, inverse, dual, z, slack)
        # the dual residual is not linear, so that both go together
        walk = min(0.9995, max(0.9, 1.0 - gap)) * min(_reach(slack, ds), _reach(v[:n], dv[:n]), _reach(z, dz))
        v, slack, z = v + walk * dv, slack + walk * ds, z + walk * dz
    if left_over > USABLE:
        return None
    multipliers = np.zeros(m)
    multipliers[ruling] = best_z[: len(ruling)]
    return Step(best[:n], multipliers)


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
