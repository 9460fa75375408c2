"""Updates of design variables: optimality criteria, and the method of moving asymptotes.

Sources: Bendsøe & Sigmund 2003, section 1.2.1 (optimality criteria); Svanberg 1987 and 2002 (MMA, GCMMA). The convex
subproblem is solved in its dual, by an interior-point method in as many variables as there are constraints.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy.optimize import brentq

Array = npt.NDArray[np.float64]


def criteria(
    x: Array, gradient: Array, volume: Array, excess: float, low: Array, high: Array, accuracy: float = 1e-9
) -> Array:
    """One step of the optimality criteria: x √(-gradient / (λ volume)) within bounds, λ so that the volume is kept.

    Args:
        x: design variables, of any shape, at least 0.
        gradient: of the objective; positive entries count as 0.
        volume: gradient of the volume, greater than 0 where anything is to change.
        excess: volume minus what is allowed, at x.
        low, high: bounds, move limits included.
        accuracy: of λ, relative.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.where(volume > 0, np.sqrt(np.maximum(0, -gradient) / volume), 0)
    flat = [np.ascontiguousarray(a).ravel() for a in (x * factor, volume, low, high)]
    out = np.empty(x.size)
    find = _bisect if accuracy > 1e-6 else _newton
    find(*flat, float((volume * x).sum() - excess), accuracy, out)  # type: ignore[call-arg]
    return out.reshape(x.shape)


@njit(fastmath={"reassoc", "contract", "nsz"}, cache=True)
def _bisect(scaled, volume, low, high, allowed, accuracy, out):  # type: ignore[no-untyped-def]
    """out = clip(scaled / √λ, low, high), with λ such that volume · out is what is allowed."""
    lower, upper, top = 0.0, 1e9, False
    for _ in range(1000):
        middle = 0.5 * (lower + upper) if top else upper
        size = 1 / np.sqrt(middle)
        total = 0.0
        for k in range(scaled.size):
            total += volume[k] * min(high[k], max(low[k], size * scaled[k]))
        if top:
            if total > allowed:
                lower = middle
            else:
                upper = middle
        elif total > allowed and upper < 1e60:
            upper *= 1e3
        else:
            top = True
        if upper - lower <= accuracy * (upper + lower) or upper < 1e-60:
            break
    for k in range(scaled.size):
        out[k] = min(high[k], max(low[k], size * scaled[k]))


@njit(fastmath={"reassoc", "contract", "nsz"}, cache=True)
def _newton(scaled, volume, low, high, allowed, accuracy, out):  # type: ignore[no-untyped-def]
    """The same by Newton's method in s = 1 / √λ: the volume rises in s, piecewise linearly."""
    least, most = 0.0, np.inf
    slope = 0.0
    for k in range(scaled.size):
        slope += volume[k] * scaled[k]
    size = allowed / slope if slope > 0 else 1.0
    for _ in range(200):
        total, slope = 0.0, 0.0
        for k in range(scaled.size):
            value = size * scaled[k]
            kept = min(high[k], max(low[k], value))
            total += volume[k] * kept
            slope += volume[k] * scaled[k] if kept == value else 0.0
        if total <= allowed:
            least = size
        else:
            most = size
        new = size + (allowed - total) / slope if slope > 0 else -1.0
        if not least <= new <= most:
            new = 0.5 * (least + most) if most < np.inf else 4 * size
        done = abs(new - size) <= 0.5 * accuracy * size
        size = new
        if done or size > 1e30 or size < 1e-30:
            break
    for k in range(scaled.size):
        out[k] = min(high[k], max(low[k], size * scaled[k]))


@dataclass(frozen=True)
class State:
    """Of the moving asymptotes: the last two designs, and the asymptotes. Arrays of shape (n,)."""

    before: Array
    earlier: Array
    lower: Array
    upper: Array
    count: int


def start(x: Array) -> State:
    """Before the first step."""
    flat = np.asarray(x, float).ravel()
    return State(flat, flat, flat, flat, 0)


@dataclass(frozen=True)
class _Model:
    """Convex separable approximations of f and g at x: constants plus sums of p / (U - x) + q / (x - L)."""

    p: Array  # (1 + m, n)
    q: Array
    constants: Array  # (1 + m,)
    lower: Array
    upper: Array
    alpha: Array
    beta: Array

    def values(self, x: Array) -> Array:
        """Of f and g, shape (1 + m,)."""
        return np.asarray(self.constants + (self.p / (self.upper - x) + self.q / (x - self.lower)).sum(1))

    def minimizer(self) -> Array:
        """Of f, where g <= 0."""
        return _dual(self.p, self.q, -self.constants[1:], self.lower, self.upper, self.alpha, self.beta)


def _model(
    state: State, x: Array, values: Array, slopes: Array, low: Array, high: Array, move: float, curvature: Array
) -> _Model:
    """Svanberg 2002, equations 3.1 to 3.6; values and slopes: of f and g; curvature: ρ, shape (1 + m,)."""
    span = np.maximum(high - low, 1e-12)
    lower, upper = _asymptotes(state, x, span)
    alpha = np.maximum.reduce([low, lower + 0.1 * (x - lower), x - move * span])
    beta = np.minimum.reduce([high, upper - 0.1 * (upper - x), x + move * span])
    up, down = np.maximum(slopes, 0), np.maximum(-slopes, 0)
    extra = (1e-5 + curvature[:, None]) / span
    p = (upper - x) ** 2 * (1.001 * up + 0.001 * down + extra)
    q = (x - lower) ** 2 * (0.001 * up + 1.001 * down + extra)
    constants = values - (p / (upper - x) + q / (x - lower)).sum(1)
    return _Model(p, q, constants, lower, upper, alpha, beta)


def step(
    state: State,
    x: Array,
    gradient: Array,
    values: Array,
    slopes: Array,
    low: Array,
    high: Array,
    *,
    move: float = 0.5,
) -> tuple[Array, State]:
    """The next design of the method of moving asymptotes: minimize f(x) subject to g(x) <= 0 and low <= x <= high.

    Args:
        state: from `start` or from the last step.
        x: the design, shape (n,).
        gradient: of f, shape (n,).
        values, slopes: of the constraints g and their gradients, shapes (m,) and (m, n).
        low, high: bounds, shape (n,).
        move: at most this share of the range in one step.

    Returns:
        (the next design, the state for the next step). A constraint that cannot be met is violated at a cost of 1000.
    """
    both = np.vstack([gradient, slopes])
    model = _model(state, x, np.append(0.0, values), both, low, high, move, np.zeros(len(both)))
    return model.minimizer(), State(x, state.before, model.lower, model.upper, state.count + 1)


def conservative_step(
    state: State,
    x: Array,
    values: Array,
    slopes: Array,
    low: Array,
    high: Array,
    evaluate: Callable[[Array], Array],
    *,
    move: float = 0.5,
    tries: int = 8,
) -> tuple[Array, State]:
    """The same, globally convergent (GCMMA): approximations get more curved until they are not below the truth.

    Args:
        values, slopes: of f, first, and the constraints, shapes (1 + m,) and (1 + m, n).
        evaluate: a design -> the values of f and the constraints there, shape (1 + m,).
        tries: at most.
        state, x, low, high, move: as in `step`.
    """
    span = np.maximum(high - low, 1e-12)
    curvature = np.maximum(1e-6, 0.1 * np.abs(slopes * span).mean(1))
    new, model = x, None
    for _ in range(tries):
        model = _model(state, x, values, slopes, low, high, move, curvature)
        new = model.minimizer()
        short = evaluate(new) - model.values(new)
        if (short <= 1e-7 * np.maximum(1, np.abs(values))).all():
            break
        near = (model.upper - new) * (new - model.lower) * span
        distance = float(((model.upper - model.lower) * (new - x) ** 2 / near).sum())
        wanted = 1.1 * (curvature + short / max(distance, 1e-30))
        curvature = np.where(short > 0, np.minimum(wanted, 10 * curvature), curvature)
    assert model is not None
    return new, State(x, state.before, model.lower, model.upper, state.count + 1)


def _asymptotes(state: State, x: Array, span: Array) -> tuple[Array, Array]:
    if state.count < 2:
        return x - 0.5 * span, x + 0.5 * span
    turned = (x - state.before) * (state.before - state.earlier)
    factor = np.where(turned > 0, 1.2, np.where(turned < 0, 0.7, 1.0))
    lower = x - factor * (state.before - state.lower)
    upper = x + factor * (state.upper - state.before)
    return np.clip(lower, x - 10 * span, x - 0.01 * span), np.clip(upper, x + 0.01 * span, x + 10 * span)


_PRICE = 1000.0  # of violating a constraint


def _dual(p: Array, q: Array, right: Array, lower: Array, upper: Array, alpha: Array, beta: Array) -> Array:
    """The minimizer of the convex subproblem; right: what the constraints' fractions may sum to, shape (m,)."""
    m = len(right)
    if m == 0:
        return _best(p[0], q[0], lower, upper, alpha, beta)
    if m == 1:
        return _one(p, q, float(right[0]), lower, upper, alpha, beta)
    scale = np.maximum(np.abs(p[1:] / (upper - lower)).sum(1) + np.abs(q[1:] / (upper - lower)).sum(1), 1e-12)
    price = np.ones(m)
    slack = np.ones(m)
    barrier = 1.0
    x = alpha
    for _ in range(200):
        weighted_p, weighted_q = p[0] + price @ p[1:], q[0] + price @ q[1:]
        x = _best(weighted_p, weighted_q, lower, upper, alpha, beta)
        over = np.maximum(price - _PRICE, 0)
        unmet = (p[1:] / (upper - x) + q[1:] / (x - lower)).sum(1) - right - over
        residual = np.concatenate([(unmet + slack) / scale, price * slack / scale - barrier])
        if np.abs(residual).max() < 1e-9 or (barrier < 1e-9 and np.abs(residual).max() < 1e-7):
            break
        if np.abs(residual).max() < max(10 * barrier, 1e-9):
            barrier = max(barrier * 0.1, 1e-10)
        inside = (x > alpha) & (x < beta)
        curved = 2 * weighted_p / (upper - x) ** 3 + 2 * weighted_q / (x - lower) ** 3
        slopes = np.where(inside, p[1:] / (upper - x) ** 2 - q[1:] / (x - lower) ** 2, 0)
        hessian = (slopes / curved) @ slopes.T + np.diag((price > _PRICE) * 1.0)
        # Newton: -hessian dprice + dslack = -(unmet + slack);  slack dprice + price dslack = target.
        target = barrier * scale - price * slack
        matrix = hessian + np.diag(slack / price)
        change = np.linalg.solve(matrix + 1e-14 * np.eye(m) * np.trace(matrix), unmet + slack + target / price)
        moved = (target - slack * change) / price
        length = 1.0
        for value, delta in ((price, change), (slack, moved)):
            shrinking = delta < 0
            if shrinking.any():
                length = min(length, float((-0.98 * value[shrinking] / delta[shrinking]).min()))
        price, slack = price + length * change, slack + length * moved
    return x


def _one(p: Array, q: Array, right: float, lower: Array, upper: Array, alpha: Array, beta: Array) -> Array:
    """The same for one constraint: its value falls as its price rises, so the price is bracketed and cannot be missed,
    however flat the objective is where a design is nearly black and white."""
    x = np.empty_like(alpha)

    def unmet(logarithm: float) -> float:
        return float(_at_price(math.exp(logarithm), p, q, lower, upper, alpha, beta, x)) - right

    highest = math.log(_PRICE)
    if unmet(-math.inf) <= 0 or unmet(highest) >= 0:
        return x
    low = high = 0.0
    while unmet(low) <= 0:
        low -= 3.0
        if low < -200:  # met at any price
            return x
    while unmet(high) > 0:
        high = min(high + 3.0, highest)
    price = brentq(unmet, low, high, xtol=1e-13, rtol=1e-14) if high > low else low
    unmet(price)
    return x


@njit(fastmath={"reassoc", "contract", "nsz"}, cache=True)
def _at_price(price, p, q, lower, upper, alpha, beta, x):  # type: ignore[no-untyped-def]
    """x = the minimizer of f + price · g; returns the sum in g."""
    total = 0.0
    for k in range(x.size):
        a, b = math.sqrt(p[0, k] + price * p[1, k]), math.sqrt(q[0, k] + price * q[1, k])
        best = (a * lower[k] + b * upper[k]) / max(a + b, 1e-300)
        best = min(beta[k], max(alpha[k], best))
        x[k] = best
        total += p[1, k] / (upper[k] - best) + q[1, k] / (best - lower[k])
    return total


def _best(p: Array, q: Array, lower: Array, upper: Array, alpha: Array, beta: Array) -> Array:
    """Minimizer of p / (U - x) + q / (x - L) between alpha and beta."""
    a, b = np.sqrt(p), np.sqrt(q)
    return np.asarray(np.clip((a * lower + b * upper) / np.maximum(a + b, 1e-300), alpha, beta))


def limits(x: Array, low: float | Array, high: float | Array, move: float) -> tuple[Array, Array]:
    """Bounds with a move limit."""
    return np.maximum(low, x - move), np.minimum(high, x + move)
