"""Acquisition functions over a Gaussian posterior, to be maximized, with gradients; and their maximization.

Sources: log expected improvement, stable in both tails: Ament et al. 2023 (arXiv 2310.20708), eq. 9 and appendix A;
lower confidence bound: Srinivas et al. 2010, here for minimization; the maximizer is BFGS with the inverse update
(Nocedal & Wright 2006, eq. 6.17) and gradient projection on a box, many starts in one batch;
perturbing some coordinates of good points in high dimension: Regis & Shoemaker 2013.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from metaloop.landscape.gaussian_process import Posterior, embed
from metaloop.space import Array, Mask, Space

_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
_HALF_LOG_HALF_PI = 0.5 * math.log(0.5 * math.pi)
_REFINED = 4  # picks of one batch that are refined by gradient
_FINE = 20  # discrete columns with more cells are refined like continuous ones

Acquisition = Callable[[Array, Array], tuple[Array, Array, Array]]


def log_h(z: Array) -> Array:
    """log(φ(z) + z Φ(z)), the log expected improvement at unit standard deviation (Ament et al. 2023, eq. 9)."""
    from scipy.special import erfcx, ndtr

    z = np.asarray(z, dtype=float)
    out = np.empty_like(z)
    near = z > -1.0
    u = z[near]
    out[near] = np.log(np.exp(-0.5 * u * u - _HALF_LOG_2PI) + u * ndtr(u))
    middle = ~near & (z > -50.0)
    u = z[middle]
    # z Φ / φ = -|z| sqrt(π/2) erfcx(|z| / sqrt 2), a number in (-1, 0)
    ratio = np.exp(_HALF_LOG_HALF_PI + np.log(erfcx(-u * math.sqrt(0.5)) * -u))
    out[middle] = -0.5 * u * u - _HALF_LOG_2PI + np.log1p(-ratio)
    far = z <= -50.0
    # 1 - ratio cancels there: its asymptotic series is 1/z² - 3/z⁴ + 15/z⁶ - …
    u = np.maximum(z[far], -1e150)
    s = 1.0 / (u * u)
    out[far] = -0.5 * u * u - _HALF_LOG_2PI + np.log(s) + np.log1p(s * (-3.0 + s * (15.0 - 105.0 * s)))
    return out


def log_ei(mean: Array, std: Array, best: float) -> tuple[Array, Array, Array]:
    """Log expected improvement below `best`, and its derivatives by mean and standard deviation, shapes (m,)."""
    from scipy.special import log_ndtr

    z = (best - mean) / std
    h = log_h(z)
    by_mean = -np.exp(log_ndtr(z) - h) / std
    by_std = np.exp(-0.5 * z * z - _HALF_LOG_2PI - h) / std
    return h + np.log(std), by_mean, by_std


def lcb(mean: Array, std: Array, kappa: float) -> tuple[Array, Array, Array]:
    """kappa std - mean, and its derivatives by mean and standard deviation, shapes (m,)."""
    return kappa * std - mean, np.full_like(mean, -1.0), np.full_like(mean, kappa)


def ascend(
    function: Callable[[Array], tuple[Array, Array]],
    x: Array,
    free: Mask,
    scale: Array,
    evaluations: int = 20,
) -> Array:
    """Local maxima over the unit cube, from several starts at once.

    Each batched evaluation is one trial step of every start that still climbs; a start whose step fails shortens it
    and tries again while the others go on.

    Args:
        function: points (m, p) -> values (m,) and gradients (m, p).
        x: starts within [0, 1] where free, shape (m, p).
        free: coordinates that may move, shape (m, p).
        scale: lengths over which the function changes, shape (p,): the first metric and the longest first step.
        evaluations: batched evaluations at most, the first included.

    Returns:
        points no worse than the starts, shape (m, p).
    """
    out = x.copy()
    live = np.arange(len(x))
    x = x / scale
    low, high = np.zeros_like(scale), 1.0 / scale
    value, up = function(out)
    value, g = -value, np.where(free, -up * scale, 0.0)
    metric = np.tile(np.eye(x.shape[1]), (len(x), 1, 1))
    fresh = np.ones(len(x), dtype=bool)
    t = np.ones(len(x))
    for _ in range(evaluations - 1):
        blocked = ~free | ((x <= low) & (g > 0.0)) | ((x >= high) & (g < 0.0))
        slope = np.where(blocked, 0.0, g)
        step = np.where(blocked, 0.0, -(metric @ slope[:, :, None])[:, :, 0])
        uphill = _dot(step, slope) >= 0.0
        if uphill.any():
            step[uphill] = -slope[uphill]
        longest = np.abs(step).max(axis=1)
        step *= (t * np.minimum(1.0, np.where(fresh, 0.2, 1.0) / np.maximum(longest, 1e-300)))[:, None]
        target = np.clip(x + step, low, high)
        move = target - x
        new, up = function(np.minimum(np.where(free, target * scale, out[live]), 1.0))
        new, up = -new, np.where(free, -up * scale, 0.0)
        good = new <= value + 1e-4 * _dot(g, move)
        change = np.where(blocked, 0.0, up - g)
        metric, updated = _update(metric, np.where(good[:, None], move, 0.0), change, fresh)
        stop = (good & (value - new < 1e-4) & ~fresh) | (np.abs(move).max(axis=1) < 1e-6) | (t < 1e-4)
        fresh &= ~updated
        x, value, g = np.where(good[:, None], target, x), np.where(good, new, value), np.where(good[:, None], up, g)
        t = np.where(good, 1.0, 0.3 * t)
        out[live] = np.where(free & good[:, None], np.minimum(x * scale, 1.0), out[live])
        if stop.any():
            go = ~stop
            if not go.any():
                break
            live, x, value, g, t = live[go], x[go], value[go], g[go], t[go]
            metric, fresh, free = metric[go], fresh[go], free[go]
    return out


def _dot(a: Array, b: Array) -> Array:
    return np.asarray(np.einsum("mp,mp->m", a, b))


def _update(metric: Array, s: Array, y: Array, first: Mask) -> tuple[Array, Mask]:
    """The inverse BFGS updates, eq. 6.17, where the curvature is positive; the first rescales before, eq. 6.20.

    Returns:
        the metrics, shape (m, p, p), and which were updated, shape (m,).
    """
    curve = _dot(s, y)
    use = curve > 1e-12
    curve = np.where(use, curve, 1.0)
    u = (metric @ y[:, :, None])[:, :, 0]
    spread = _dot(y, u)
    rescale = np.where(first & use, curve / np.where(spread > 0, spread, 1.0), 1.0)
    u, spread = u * rescale[:, None], spread * rescale
    a = np.where(use[:, None], s, 0.0)
    b = (0.5 * (1.0 + spread / curve) / curve)[:, None] * a - u / curve[:, None]
    outer = a[:, :, None] * b[:, None, :]
    return metric * rescale[:, None, None] + outer + outer.transpose(0, 2, 1), use


class Search:
    """The maximization of an acquisition over one pool of candidates, for one ask; pending points are believed.

    Args:
        space: to search.
        model: posterior of the told points, extended by the pending ones.
        acquisitions: taken in turn, one a pick, each given the least posterior mean seen so far.
        rng: draws the candidates.
        good: rows to look around, best first, shape (m, dim), m >= 1.
        known: told and pending rows, not to be repeated if avoidable, shape (k, dim).
        candidates: size of the pool.
        starts: how many candidates are refined.
        n: picks to come.
    """

    def __init__(
        self,
        space: Space,
        model: Posterior,
        acquisitions: Sequence[Callable[[float], Acquisition]],
        rng: np.random.Generator,
        good: Array,
        known: Array,
        candidates: int,
        starts: int,
        n: int,
    ) -> None:
        self.space, self.model, self.rng, self.acquisitions, self.starts = space, model, rng, acquisitions, starts
        self.known = {row.tobytes() for row in known + 0.0}  # + 0.0: one zero only
        self.best = float(model.smoothed().min())
        self.lengths = np.minimum(model.hyper.lengths, 1.0)
        self.pool = _candidates(space, rng, good, self.lengths, candidates)
        self.x, self.groups = embed(space, self.pool)
        v, self.mean = model.whiten(self.x)
        self.explained = np.einsum("ij,ij->j", v, v)
        self.v = np.zeros((len(v) + n, v.shape[1])) if n > 1 else v
        self.v[: len(v)] = v
        parents = [p for column in self.space.columns for p, _ in column.conditions]
        fine = ~self.space.categorical & (self.space.cells > _FINE)
        fine[parents] = False  # moving one would switch other columns on and off
        self.fine = fine

    def pick(self, j: int) -> Array:
        """The j-th point of the batch; the model is extended by it, its output unknown."""
        acquisition = self.acquisitions[j % len(self.acquisitions)](self.best)
        std = self.model.deviation(self.explained)
        score = acquisition(self.mean, std)[0]
        order = np.argsort(-score, kind="stable")
        row, x = self._refine(acquisition, order, score) if j < _REFINED else (None, None)
        if row is None or x is None:
            i = next((i for i in order if (self.pool[i] + 0.0).tobytes() not in self.known), order[0])
            row, x = self.pool[i], self.x[i]
        self.known.add((row + 0.0).tobytes())
        if len(self.v) > len(self.model):
            self.best = min(self.best, float(self.model.predict(x[None])[0][0]))
            n = len(self.model)
            k = self.model.correlation(x, self.x)
            factor, d = self.model.append(x)
            self.v[n] = (k - factor @ self.v[:n]) / d
            self.explained += self.v[n] ** 2
        return row

    def _refine(
        self, acquisition: Acquisition, order: npt.NDArray[np.intp], score: Array
    ) -> tuple[Array | None, Array | None]:
        """The best few candidates climbed by gradient, snapped; the best that is not known yet, if any."""
        chosen = self._spread(order)
        x, rows = self.x[chosen], self.pool[chosen]
        free = (self.fine & ~np.isnan(rows))[:, self.groups]
        if free.any():

            def function(points: Array) -> tuple[Array, Array]:
                mean, std, mean_by_x, std_by_x = self.model.predict_with_gradient(points)
                value, by_mean, by_std = acquisition(mean, std)
                return value, by_mean[:, None] * mean_by_x + by_std[:, None] * std_by_x

            x = ascend(function, x, free, self.lengths[self.groups])
            rows = self._rows(x, rows)
        rows = np.concatenate([rows, self._exchanged(rows)])
        allowed = self.space.allowed(rows)
        rows[~allowed] = self.space.repair(rows[~allowed], self.rng)
        x, _ = embed(self.space, rows)
        value = acquisition(*self.model.predict(x))[0]
        for i in np.argsort(-value, kind="stable"):
            if (rows[i] + 0.0).tobytes() not in self.known:
                return rows[i], x[i]
        return None, None

    def _rows(self, x: Array, rows: Array) -> Array:
        moved = rows.copy()
        for j in np.flatnonzero(self.fine):
            feature = int(np.searchsorted(self.groups, j))
            moved[:, j] = np.where(np.isnan(rows[:, j]), np.nan, x[:, feature])
        return self.space.snap(moved)

    def _exchanged(self, rows: Array) -> Array:
        """The first row with each of its coarse columns at every other value, up to some hundred rows."""
        cells = self.space.cells
        coarse = np.flatnonzero((cells > 1) & ~self.fine & (cells <= 100) & ~np.isnan(rows[0]))
        out = []
        for j in coarse:
            values = _values(self.space, int(j))
            lines = np.repeat(rows[:1], len(values), axis=0)
            lines[:, j] = values
            out.append(lines)
            if sum(map(len, out)) > 200:
                break
        return self.space.snap(np.concatenate(out)) if out else rows[:0]

    def _spread(self, order: npt.NDArray[np.intp]) -> list[int]:
        """The best candidates that lie apart from each other."""
        chosen = [int(order[0])]
        scaled = self.x / self.lengths[self.groups]
        apart = 0.01 * scaled.shape[1]
        for i in order[1:60]:
            if len(chosen) == self.starts:
                break
            if (((scaled[chosen] - scaled[i]) ** 2).sum(axis=1) > apart).all():
                chosen.append(int(i))
        return chosen


def _values(space: Space, j: int) -> Array:
    """Coordinates of all values of a discrete column, shape (cells,)."""
    line = space.columns[j].parameter.line
    low, high = line.first - 0.5, line.last + 0.5
    v = np.arange(line.first, line.last + 1)
    return np.asarray(np.log(v / low) / math.log(high / low) if line.log else (v - low) / (high - low))


def _candidates(space: Space, rng: np.random.Generator, good: Array, lengths: Array, n: int) -> Array:
    """A pool of canonical, allowed rows: a third anywhere, the rest perturbations of good points at all scales.

    Every value of a small discrete space.
    """
    total = float(np.prod(space.cells))
    if total <= n:
        axes = [_values(space, j) for j in range(space.dim)]
        rows = space.snap(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, space.dim))
        rows = np.unique(rows[space.allowed(rows)], axis=0)
        return rows if len(rows) else space.sample(rng, 1)
    m = n - n // 3
    weights = np.array([0.5, 0.2, 0.15, 0.15])[: len(good)]
    start = np.where(np.isnan(good), 0.5, good)[rng.choice(len(good), m, p=weights / weights.sum())]
    scale = 10.0 ** rng.uniform(-3.0, -0.3, (m, 1)) * lengths
    step = scale * rng.standard_normal((m, space.dim))
    share = np.where(rng.random((m, 1)) < 0.5, 1.0, min(1.0, 2.0 / space.dim))
    step = np.where(rng.random((m, space.dim)) < np.minimum(share, 20.0 / space.dim), step, 0.0)
    near = np.clip(start + step, 0.0, 1.0)
    coarse = space.cells <= _FINE
    if coarse.any():
        redraw = coarse & (rng.random((m, space.dim)) < 1.0 / space.dim)
        near = np.where(redraw, rng.random((m, space.dim)), near)
    rows = space.snap(near)
    return np.concatenate([space.sample(rng, n - m), rows[space.allowed(rows)] if space.has_forbidden else rows])
