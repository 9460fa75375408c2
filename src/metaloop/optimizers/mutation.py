"""One change at a time: the neighbors of a point, and random mutations of it."""

from __future__ import annotations

import numpy as np

from metaloop.space import Array, Space

_STEP = 0.2  # standard deviation of a mutation of an ordered column, in units of the cube
_TRIES = 20  # mutations drawn before a random point stands in


def levels(space: Space, j: int) -> Array:
    """Coordinates of all values of a discrete column, ascending, shape (cells,)."""
    line = space.columns[j].parameter.line
    v = np.arange(line.first, line.last + 1)
    low, high = line.first - 0.5, line.last + 0.5
    return np.asarray(np.log(v / low) / np.log(high / low) if line.log else (v - low) / (high - low))


def neighbors(space: Space, row: Array) -> Array:
    """All allowed points that differ in one discrete column.

    An unordered column takes every other value, an ordered one the next value up and down. A parameter that the change
    brings to life takes its middle value.

    Args:
        space: of the point.
        row: canonical, shape (dim,).

    Returns:
        canonical rows, shape (m, dim), in the order of the columns; continuous columns stay as they are.
    """
    out = [np.empty((0, space.dim))]
    for j in np.flatnonzero(np.isfinite(space.cells) & ~np.isnan(row)):
        values = levels(space, int(j))
        at = int(np.abs(values - row[j]).argmin())
        others = np.delete(values, at) if space.categorical[j] else values[[k for k in (at - 1, at + 1)
                                                                           if 0 <= k < len(values)]]  # fmt: skip
        lines = np.repeat(row[None], len(others), axis=0)
        lines[:, j] = others
        out.append(lines)
    rows = space.snap(np.concatenate(out))
    return rows[space.allowed(rows)]


def mutate(space: Space, row: Array, rng: np.random.Generator) -> Array:
    """An allowed point that differs from `row`, shape (dim,): one active column, drawn at random, is drawn anew.

    An unordered column takes any other value, an ordered one moves by a normal step of 0.2. Where the clauses of the
    space forbid some 20 mutations in turn, a random point stands in.
    """
    columns = np.flatnonzero(~np.isnan(row) & (space.cells > 1))
    for _ in range(_TRIES if len(columns) else 0):
        child = row.copy()
        j = int(rng.choice(columns))
        if space.categorical[j]:
            child[j] = (np.floor(row[j] * space.cells[j]) + rng.integers(1, space.cells[j])) % space.cells[j]
            child[j] = (child[j] + 0.5) / space.cells[j]
        else:
            child[j] = row[j] + _STEP * rng.standard_normal()
        child = space.snap(child[None])[0]
        if child[j] != row[j] and space.allowed(child[None])[0]:
            return np.asarray(child)
    return np.asarray(space.sample(rng, 1)[0])
