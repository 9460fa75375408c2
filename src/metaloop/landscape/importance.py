"""How much of an objective's variation each column is responsible for, interactions included.

Total-effect Sobol' indices (Homma & Saltelli 1996) of a Gaussian process's posterior mean by Jansen's estimator
(Jansen 1999; Saltelli et al. 2010, table 2 (f)): T_k = E[(f(A) - f(A with column k of B))²] / (2 Var f).
"""

from __future__ import annotations

import numpy as np

from metaloop.errors import refuse
from metaloop.landscape.gaussian_process import Posterior, embed, fit
from metaloop.space import Array, Space

_LARGEST_FIT = 500
_CHUNK = 1024


def importance(space: Space, rows: Array, values: Array, seed: int = 0, samples: int = 2048) -> Array:
    """Share of each column in the variation of the objective over the whole space, shape (space.dim,).

    A column that switches others on and off is credited with what they then do; a conditional column counts only
    where it is active. Pairs of samples of which one is forbidden are left out. The indices are those of the model:
    they mean little where it predicts badly, and of more than 500 points a random 500 are modelled.

    Args:
        space: of the rows.
        rows: evaluated points, shape (n, dim).
        values: their objective values, shape (n,); points with NaN or infinity are left out.
        seed: of the samples.
        samples: pairs a column; the error falls with their square root.

    Returns:
        total-effect indices divided by their sum; all zeros where the model sees no variation.

    Raises:
        InputError: shapes that do not fit, or fewer than two finite values.
    """
    rows, values = space.snap(rows), np.asarray(values, dtype=float)
    if values.shape != (len(rows),):
        raise refuse("values", values.shape, f"one number for each of the {len(rows)} rows")
    finite = np.isfinite(values)
    if finite.sum() < 2:
        raise refuse("values", values, "at least two finite numbers")
    rows, values = rows[finite], values[finite]
    rng = np.random.default_rng(seed)
    if len(rows) > _LARGEST_FIT:
        some = np.sort(rng.choice(len(rows), _LARGEST_FIT, replace=False))
        rows, values = rows[some], values[some]
    x, groups = embed(space, rows)
    model = Posterior(fit(x, groups, values), groups, x)
    model.observe(values)

    def mean(points: Array) -> Array:
        z = [model.predict(embed(space, points[i : i + _CHUNK])[0])[0] for i in range(0, len(points), _CHUNK)]
        return model.hyper.warp.inverse(np.concatenate(z))

    # Raw coordinates are kept, so that a column which a change of its parent switches on has its own random value.
    a, b = rng.random((samples, space.dim)), rng.random((samples, space.dim))
    before = space.snap(a)
    allowed = space.allowed(before)
    at_a = mean(before)
    if not np.ptp(at_a[allowed]) > 1e-9 * np.abs(at_a).max():
        return np.zeros(space.dim)
    total = np.zeros(space.dim)
    for k in range(space.dim):
        mixed = a.copy()
        mixed[:, k] = b[:, k]
        after = space.snap(mixed)
        both = allowed & space.allowed(after)
        if both.any():
            total[k] = np.mean((mean(after[both]) - at_a[both]) ** 2)
    share = total.sum()
    return total / share if share > 0 else total
