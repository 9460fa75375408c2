"""What people use now, each with its usual settings: Monte Carlo, Sobol', vegas+, cross-entropy, subset simulation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from metaloop.errors import InputError
from metaloop.space import Array
from metaloop.systems.sampling.model import Case

_REPLICATES = 8
_SMOOTH = 0.7  # weight of what is new in cross-entropy, as the tutorial advises


@dataclass(frozen=True)
class Answer:
    """What a method said: the value, its standard error (NaN where it gives none), and the evaluations it took."""

    value: float
    error: float
    evaluations: int


def _law(case: Case, u: Array) -> Array:
    """What is averaged, at points of the unit cube."""
    if case.group != "rare":
        return case.function(u)
    from scipy.special import ndtri

    return (case.function(_variables(case, ndtri(u))) <= 0).astype(float)


def _variables(case: Case, z: Array) -> Array:
    """Of a limit state, from independent standard normal ones."""
    from scipy.special import ndtr

    if not case.marginals:
        return z
    return np.stack([m.ppf(ndtr(c)) for m, c in zip(case.distribution, z.T, strict=True)], axis=1)


def monte_carlo(case: Case, budget: int, seed: int) -> Answer:
    """Independent points."""
    rng, total, squares, left = np.random.default_rng(seed), 0.0, 0.0, budget
    while left:
        n = min(left, 1 << 16)
        v = _law(case, rng.random((n, case.dim)))
        total, squares, left = total + float(v.sum()), squares + float(v @ v), left - n
    mean = total / budget
    return Answer(mean, math.sqrt(max(squares / budget - mean**2, 0.0) / budget), budget)


def sobol(case: Case, budget: int, seed: int) -> Answer:
    """One scrambled net: the least error that Sobol' points can have, without an error bar."""
    from scipy.stats import qmc

    m = int(math.log2(budget))
    u = qmc.Sobol(case.dim, scramble=True, rng=np.random.default_rng(seed)).random_base2(m)
    return Answer(float(_law(case, np.clip(u, 1e-16, 1 - 1e-16)).mean()), math.nan, 2**m)


def replicated_sobol(case: Case, budget: int, seed: int) -> Answer:
    """Eight scrambled nets, whose spread gives the error bar."""
    parts = [sobol(case, budget // _REPLICATES, _REPLICATES * seed + k) for k in range(_REPLICATES)]
    values = np.array([p.value for p in parts])
    return Answer(
        float(values.mean()), float(values.std(ddof=1)) / math.sqrt(_REPLICATES), sum(p.evaluations for p in parts)
    )


def need_vegas() -> None:
    """See that there is vegas.

    Raises:
        InputError: it is not installed.
    """
    try:
        import vegas  # noqa: F401
    except ImportError:
        raise InputError("the peers of sampling need vegas: pip install 'metaloop[sampling]'") from None


def vegas_plus(case: Case, budget: int, seed: int) -> Answer:
    """Lepage's package: half of the budget in ten iterations to adapt, half in ten to measure, as in its manual."""
    import gvar
    import vegas

    gvar.ranseed(seed)
    count = 0

    @vegas.lbatchintegrand  # type: ignore[untyped-decorator,unused-ignore]
    def f(x: Array) -> Array:
        nonlocal count
        count += len(x)
        return _law(case, np.clip(np.asarray(x), 1e-16, 1 - 1e-16))

    integrator = vegas.Integrator([[0, 1]] * case.dim)
    integrator(f, nitn=10, neval=budget // 20)
    result = integrator(f, nitn=10, neval=budget // 20)
    return Answer(float(result.mean), float(result.sdev), count)


def cross_entropy(case: Case, budget: int, seed: int) -> Answer:
    """Rubinstein's method for rare events with one Gaussian (de Boer et al. 2005), then importance sampling."""
    rng, d = np.random.default_rng(seed), case.dim
    each, spent = max(budget // 15, 1000), 0
    mean, covariance = np.zeros(d), np.eye(d)
    root: Array = np.eye(d)
    while spent + each <= budget // 2:
        z = mean + rng.standard_normal((each, d)) @ root.T
        g = case.function(_variables(case, z))
        spent += each
        level = max(float(np.quantile(g, 0.1)), 0.0)
        w = np.where(g <= level, np.exp(_log_ratio(z, mean, root)), 0.0)
        if not w.sum() > 0:
            break
        w /= w.sum()
        mean = _SMOOTH * (w @ z) + (1 - _SMOOTH) * mean
        centered = z - w @ z
        covariance = _SMOOTH * (centered * w[:, None]).T @ centered + (1 - _SMOOTH) * covariance
        root = _root(covariance)  # narrower ones have infinite variance: tails of events are exponential
        if level == 0.0:
            break
    z = mean + rng.standard_normal((budget - spent, d)) @ root.T
    v = np.where(case.function(_variables(case, z)) <= 0, np.exp(_log_ratio(z, mean, root)), 0.0)
    return Answer(float(v.mean()), float(v.std()) / math.sqrt(len(v)), budget)


def _root(covariance: Array) -> Array:
    """Cholesky factor, no direction narrower than half a standard deviation."""
    w, q = np.linalg.eigh(covariance)
    return np.asarray(np.linalg.cholesky((q * np.maximum(w, 0.25)) @ q.T))


def _log_ratio(z: Array, mean: Array, root: Array) -> Array:
    """Logarithm of the standard normal density over a Gaussian's."""
    white = np.linalg.solve(root, (z - mean).T)
    return np.asarray(0.5 * (white**2).sum(axis=0) - 0.5 * (z**2).sum(axis=1) + np.log(root.diagonal()).sum())


def subset_simulation(case: Case, budget: int, seed: int) -> Answer:
    """Au & Beck 2001 with conditional sampling (Papaioannou et al. 2015): as many points a level as the budget allows.

    A level is passed by a tenth. The error is the spread of four runs.
    """
    parts = [_subset(case, budget // 4, 4 * seed + k) for k in range(4)]
    values = np.array([v for v, _ in parts])
    return Answer(float(values.mean()), float(values.std(ddof=1)) / 2, sum(n for _, n in parts))


def _subset(case: Case, budget: int, seed: int) -> tuple[float, int]:
    rng, d, levels = np.random.default_rng(seed), case.dim, 12
    n = budget // levels // 10 * 10
    z = rng.standard_normal((n, d))
    g = case.function(_variables(case, z))
    spent, p = n, 1.0
    for _ in range(levels - 1):
        order = np.argsort(g)
        level = float(g[order[n // 10 - 1]])
        if level <= 0:
            break
        p *= 0.1
        z, g = z[order[: n // 10]], g[order[: n // 10]]
        chains, values, step = [z], [g], 0.6
        for _ in range(9):
            new = math.sqrt(1 - step**2) * z + step * rng.standard_normal(z.shape)
            there = case.function(_variables(case, new))
            spent += len(new)
            inside = there <= level
            z, g = np.where(inside[:, None], new, z), np.where(inside, there, g)
            step = min(max(step * math.exp(float(inside.mean()) - 0.44), 0.05), 1.0)
            chains.append(z)
            values.append(g)
        z, g = np.concatenate(chains), np.concatenate(values)
    return p * float((g <= 0).mean()), spent


Peer = Callable[[Case, int, int], Answer]


def peers(case: Case) -> dict[str, Peer]:
    """By name; those that ask for a limit state only where there is one."""
    found: dict[str, Peer] = {
        "Monte Carlo": monte_carlo,
        "Sobol'": sobol,
        "Sobol', 8 replicates": replicated_sobol,
        "vegas+": vegas_plus,
    }
    if case.group == "rare":
        found |= {"cross-entropy": cross_entropy, "subset simulation": subset_simulation}
    return found
