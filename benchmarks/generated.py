"""Generated functions on the unit cube, of kinds that BBOB does not have: what defaults are tuned on.

Each has its least value, 0, at a point drawn at random. `function(kind, dim, seed)` gives one; `KINDS` names them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Function = Callable[[np.ndarray], float]


def _rotation(rng: np.random.Generator, d: int) -> np.ndarray:
    q, r = np.linalg.qr(rng.standard_normal((d, d)))
    return q * np.sign(np.diag(r))


def _scales(rng: np.random.Generator, d: int, decades: float) -> np.ndarray:
    return 10.0 ** rng.permutation(np.linspace(-decades, 0.0, d)) if d > 1 else np.ones(1)


def logcosh(rng, d, best):
    """Smooth and convex, linear far from the optimum; condition up to 10^6."""
    a = _rotation(rng, d) * _scales(rng, d, rng.uniform(0.5, 3.0))[:, None] * 10.0
    return lambda u: float(np.log(np.cosh(a @ (u - best))).sum())


def powers(rng, d, best):
    """Sums of |z|^p in rotated coordinates, p between 0.5 and 4."""
    q, p, c = _rotation(rng, d), rng.uniform(0.5, 4.0, d), _scales(rng, d, 3.0)
    return lambda u: float((c * np.abs(q @ (u - best)) ** p).sum())


def river(rng, d, best):
    """A narrow valley that bends as a sine."""
    q, k = _rotation(rng, d), 10.0 ** rng.uniform(1.0, 2.5)

    def f(u):
        z = q @ (u - best)
        bend = z[1:] - 0.3 * np.sin(5.0 * z[:-1])
        return float((z**2).sum() + k * (bend**2).sum())

    return f


def basins(rng, d, best):
    """The least of 15 bowls of different width, depth and orientation."""
    m = 15
    centers = np.concatenate([best[None], rng.uniform(0.02, 0.98, (m - 1, d))])
    depth = np.concatenate([[0.0], rng.uniform(0.02, 0.5, m - 1)])
    shapes = [_rotation(rng, d) * (10.0 ** rng.uniform(-0.75, 0.25, d))[:, None] for _ in range(m)]

    def f(u):
        return float(min(h + ((a @ (u - c)) ** 2).sum() for h, a, c in zip(depth, shapes, centers, strict=True)))

    return f


def waves(rng, d, best):
    """A bowl with waves of random direction, length and height on it."""
    m = 6 * d
    w = rng.standard_normal((m, d)) * rng.uniform(4.0, 25.0, (m, 1)) / np.sqrt(d)
    h = rng.exponential(1.0, m) * rng.uniform(0.02, 0.3) / m
    return lambda u: float(((u - best) ** 2).mean() + (h * (1.0 - np.cos(w @ (u - best)))).sum())


def ripples(rng, d, best):
    """Waves that are higher than the bowl is deep over most of the cube."""
    m = 6 * d
    w = rng.standard_normal((m, d)) * rng.uniform(8.0, 60.0, (m, 1)) / np.sqrt(d)
    h = rng.exponential(1.0, m) * 10.0 ** rng.uniform(-0.5, 0.5) / m
    return lambda u: float(((u - best) ** 2).mean() + (h * (1.0 - np.cos(w @ (u - best)))).sum())


def needles(rng, d, best):
    """Sixty wells of different depth on a flat plain, the deepest the narrowest of the deep ones."""
    m = 60
    centers = np.concatenate([best[None], rng.uniform(0.02, 0.98, (m - 1, d))])
    depth = np.concatenate([[1.0], rng.uniform(0.1, 0.95, m - 1)])
    width = np.concatenate([[0.1], rng.uniform(0.08, 0.3, m - 1)]) * np.sqrt(d)

    def f(u):
        return float(1.0 - max(depth * np.exp(-0.5 * ((u - centers) ** 2).sum(axis=1) / width**2)))

    return f


def field(rng, d, best):
    """A rough random field with waves of all lengths, laid over a shallow cone."""
    m = 200
    w = rng.standard_normal((m, d)) * 10.0 ** rng.uniform(0.3, 2.0, (m, 1)) / np.sqrt(d)
    h = 1.0 / np.sqrt((w**2).sum(axis=1))
    return lambda u: float(np.sqrt(((u - best) ** 2).sum()) * 0.3 + (h * (1.0 - np.cos(w @ (u - best)))).mean())


def warped(rng, d, best):
    """A bowl of condition 10^6 seen through a bent, asymmetric scale of every coordinate."""
    q, c = _rotation(rng, d), _scales(rng, d, 3.0)
    bend = rng.uniform(1.0, 6.0, d) * rng.choice([-1.0, 1.0], d)

    def f(u):
        z = np.expm1(bend * (u - best)) / np.abs(bend)
        return float(((c * (q @ z)) ** 2).sum())

    return f


def facets(rng, d, best):
    """Absolute residuals of a linear regression: convex, with edges everywhere."""
    a = rng.standard_normal((3 * d, d)) * _scales(rng, d, 1.0)
    return lambda u: float(np.abs(a @ (u - best)).mean())


def network(rng, d, best):
    """A small network that is to answer like another: flat parts, valleys, symmetries."""
    inputs = rng.standard_normal((40, 2))
    hidden = max(d // 2, 1)
    out = rng.standard_normal(hidden)

    def answer(u):
        w = 8.0 * np.resize(u, 2 * hidden).reshape(hidden, 2) - 4.0
        return np.tanh(inputs @ w.T) @ out + (u[-1] if d % 2 else 0.0)

    truth = answer(best)
    return lambda u: float(((answer(u) - truth) ** 2).mean())


def decay(rng, d, best):
    """Least squares of a sum of saturating exponentials, ill-conditioned."""
    t, m = np.linspace(0.05, 1.0, 30), max(d // 2, 1)
    mix = np.eye(d) if d < 3 else 0.7 * np.eye(d) + 0.3 * _rotation(rng, d)

    def curve(u):
        z = mix @ u
        rate, height = np.exp(3.0 * z[:m]), np.resize(z[m:], m) if d > 1 else np.ones(m)
        phase = np.arange(m)
        return ((1.0 + height[:, None]) * np.exp(-rate[:, None] * t) * np.cos(phase[:, None] * t * 3.0)).sum(axis=0)

    truth = curve(best)
    return lambda u: float(((curve(u) - truth) ** 2).mean() + 1e-4 * ((u - best) ** 2).sum())


def rim(rng, d, best):
    """A smooth slope whose optimum lies on some of the cube's faces."""
    on = rng.random(d) < 0.5
    best[on] = np.round(best[on])
    pull = rng.uniform(0.2, 2.0, d)
    q = _rotation(rng, d) * _scales(rng, d, 1.0)[:, None]
    return lambda u: float(((q @ (u - best)) ** 2).sum() + (pull * np.abs(u - best))[on].sum())


def steps(rng, d, best):
    """A rotated bowl seen through a coarse scale: plateaus, and a slight slope far below them."""
    q, c = _rotation(rng, d), _scales(rng, d, 1.5)

    def f(u):
        z = c * (q @ (u - best))
        return float((np.floor(12.0 * np.abs(z) + 0.5) ** 2).sum() / 144.0 + 1e-4 * (z**2).sum())

    return f


KINDS = {
    f.__name__: f for f in (logcosh, powers, river, basins, waves, facets, network, decay, rim, steps, ripples,
                             needles, field, warped)
}  # fmt: skip


def function(kind: str, dim: int, seed: int) -> tuple[Function, float]:
    """A function of points in the unit cube, and its value at a median random point."""
    rng = np.random.default_rng([list(KINDS).index(kind), dim, seed])
    best = rng.uniform(0.05, 0.95, dim)
    f = KINDS[kind](rng, dim, best)
    return f, float(np.median([f(u) for u in np.random.default_rng(0).random((512, dim))]))
