"""The curvature of a smooth function, learned from changes of its gradient, and the steps that follow from it.

Sources: [NW] Nocedal & Wright, Numerical Optimization, 2nd ed. 2006; [HIK] Hintermüller, Ito & Kunisch, SIAM J. Optim.
13 (2003): the primal-dual active set method; Murty, Linear Complementarity, 1988: one exchange at a time. Byrd, Lu,
Nocedal & Zhu, SIAM J. Sci. Comput. 16 (1995), L-BFGS-B, follow a piecewise path to the bounds and refine its end; here
the model is minimized over the box, since evaluations cost more than algebra.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from metaloop.space import Array

_ACTIVE_SETS = 1000  # guesses of the active set before the step is clipped instead
_PATIENCE = 3  # guesses in a row that may be no better than one before
_ARMIJO = 1e-4  # [NW] (3.4)
_TRIES = 12  # step lengths per line search
_LONGEST = 5.0  # times the step so far, at most, for the next one


def inverse_times(s: Array, y: Array, h0: Array, r: Array) -> Array:
    """H r by the two-loop recursion ([NW] algorithm 7.4), H being the BFGS approximation of the inverse Hessian.

    Args:
        s, y: changes of the point and of the gradient, oldest first, shape (m, d), with s_i'y_i > 0.
        h0: diagonal of the initial H, > 0, shape (d,).
        r: vectors, shape (d, k).

    Returns:
        shape (d, k).
    """
    q = r.copy()
    rho = 1.0 / np.einsum("ij,ij->i", s, y)
    a = np.empty((len(s), r.shape[1]))
    for i in range(len(s) - 1, -1, -1):
        a[i] = rho[i] * (s[i] @ q)
        q -= np.multiply.outer(y[i], a[i])
    q *= h0[:, None]
    for i in range(len(s)):
        q += np.multiply.outer(s[i], a[i] - rho[i] * (y[i] @ q))
    return q


def box_step(inverse: Callable[[Array], Array], g: Array, low: Array, high: Array) -> tuple[Array, float]:
    """The minimizer of the model g'p + p'Bp / 2 over low <= p <= high [HIK], and by how much the model falls there.

    With the bounds in A active, p = H (E_A force - g), so that products with H are all that is needed.

    Args:
        inverse: H r for vectors r, shape (d, k).
        g: gradient, shape (d,).
        low, high: bounds of the step, low <= 0 <= high.
    """
    newton = -inverse(g[:, None])[:, 0]
    p, side, fall = newton, np.zeros(len(g)), -0.5 * float(g @ newton)
    new = np.where(newton < low, -1.0, np.where(newton > high, 1.0, 0.0))
    fewest, patience = len(g) + 1, _PATIENCE
    for _ in range(_ACTIVE_SETS):
        wrong = np.flatnonzero(new != side)
        if not len(wrong):
            return p, fall
        if len(wrong) < fewest:
            fewest, patience = len(wrong), _PATIENCE
        elif patience:
            patience -= 1
        else:  # going in circles; one change at a time does not
            wrong = wrong[-1:]
        side[wrong] = new[wrong]
        active = np.flatnonzero(side)
        unit = np.zeros((len(g), len(active)))
        unit[active, np.arange(len(active))] = 1.0
        columns = inverse(unit)
        bound = np.where(side < 0, low, high)[active]
        try:
            force = np.linalg.solve(columns[active], bound - newton[active])
        except np.linalg.LinAlgError:
            break
        p = newton + columns @ force
        p[active] = bound
        fall = -0.5 * float(g @ p + force @ bound)
        new = np.where(p < low, -1.0, np.where(p > high, 1.0, 0.0))
        # A wall carries what is pushed against it; one that would have to pull lets go.
        new[active] = np.where(force * side[active] < 0, side[active], 0.0)
    p = np.clip(p, low, high)
    return p, -0.5 * float(g @ p)


def next_length(f: float, slope: float, tried: Array, longest: float, noise: float, worth: float) -> float:
    """The step length to try next in a line search that sees values only.

    A gradient costs d evaluations and a step length one, so the line is searched until another try is not `worth` it;
    the curvature condition of Wolfe is left to the longer steps that this takes while the function falls.

    Args:
        f: value at the start.
        slope: derivative along the step, < 0.
        tried: (length, value) of the tries so far, NaN where failed, shape (k, 2), k >= 1.
        longest: largest length allowed.
        noise: how far a value may be off.
        worth: share of the decrease so far that another try has to promise.

    Returns:
        the length; 0 when the best one tried is good, NaN when none is and none can be found.
    """
    values = np.where(np.isnan(tried[:, 1]), math.inf, tried[:, 1])
    best = int(np.argmin(values))
    length, value = float(tried[best, 0]), float(values[best])
    if value > f + _ARMIJO * length * slope + noise:
        length, value = float(tried[-1, 0]), float(values[-1])
        if len(tried) >= _TRIES:
            return math.nan
        if math.isinf(value):
            return 0.25 * length
        curvature = 2.0 * (value - f - slope * length) / length**2
        return length * min(max(-slope / (curvature * length), 0.1), 0.5)
    if len(tried) >= _TRIES or value >= f:
        return 0.0
    curvature = 2.0 * (value - f - slope * length) / length**2
    other = min(-slope / curvature if curvature > 0 else math.inf, _LONGEST * length, longest)
    # Beyond a length that was worse, the minimum lies between
    worse = tried[(tried[:, 0] > length), 0]
    if len(worse):
        other = min(other, 0.5 * (length + float(worse.min())))
    promised = value - (f + slope * other + 0.5 * curvature * other**2)
    taken = np.abs(tried[:, 0] - other).min() < 0.1 * other
    return 0.0 if taken or promised <= worth * (f - value) + noise else other
