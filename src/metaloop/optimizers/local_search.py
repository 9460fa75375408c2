"""Local search: go to the first neighbor that is better; where none is, start again elsewhere.

The strongest of the simple methods on tables of architectures: White, Nolen & Savani 2021 (UAI, arXiv 2005.02960).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metaloop.errors import refuse
from metaloop.optimizers.archive import Archive, same
from metaloop.optimizers.mutation import neighbors
from metaloop.optimizers.protocol import Told, check_tell, generator
from metaloop.optimizers.state import state
from metaloop.space import Array, Space

_TRIES = 1000  # random points drawn for one that is new


@state
@dataclass
class LocalSearchState:
    """Where the climb stands.

    Attributes:
        center: the point whose neighbors are tried, shape (dim,); None before a start has come back.
        height: its merit, to be minimized; inf where it failed.
        waiting: neighbors not yet asked, in random order, shape (m, dim).
        restarts: how many local optima were left.
    """

    space: Space
    archive: Archive
    rng: np.random.Generator
    center: Array | None
    height: float
    waiting: Array
    restarts: int = 0


@dataclass(frozen=True)
class LocalSearch:
    """First improvement among the points that differ in one parameter, with random restarts; discrete spaces only.

    No point is asked twice; of a neighbor that was tried before, the known value counts.
    """

    def init(self, space: Space, seed: int) -> LocalSearchState:
        """A fresh state.

        Raises:
            InputError: a continuous parameter: it has no next value.
        """
        for column, cells in zip(space.columns, space.cells, strict=True):
            if not np.isfinite(cells):
                raise refuse(
                    f"parameter {column.label!r}", column.parameter, "discrete for LocalSearch: give it a step"
                )
        nothing = np.empty((0, space.dim))
        return LocalSearchState(space, Archive.empty(space.dim), generator(seed), None, np.inf, nothing)

    def tell(self, state: LocalSearchState, points: Array, told: Sequence[Told] | Array) -> LocalSearchState:
        """File what came back; the first point that is better than the center is the new center."""
        new = state.archive.add(*check_tell(state.space, points, told))
        for k in range(len(state.archive) - int(new.sum()), len(state.archive)):
            merit = _merit(state.archive)
            if state.center is None or merit[k] < state.height:
                self._move(state, k)
        return state

    def ask(self, state: LocalSearchState, n: int) -> tuple[Array, LocalSearchState]:
        """At most n points, shape (m, dim): neighbors of the center, then random ones; none once all were tried."""
        archive = state.archive
        known = {row.tobytes() for rows in (archive.rows, archive.pending) for row in rows}
        out: list[Array] = []
        while len(out) < n:
            if len(state.waiting):
                row, state.waiting = state.waiting[0], state.waiting[1:]
            else:
                if state.center is not None and not (len(out) or len(archive.pending)):
                    state.center, state.height = None, np.inf
                    state.restarts += 1
                tries = (state.space.sample(state.rng, 1)[0] for _ in range(_TRIES))
                fresh = next((row for row in tries if row.tobytes() not in known), None)
                if fresh is None:
                    break
                row = fresh
            if row.tobytes() not in known:
                known.add(row.tobytes())
                out.append(row)
        rows = np.array(out).reshape(len(out), state.space.dim)
        archive.pend(rows)
        return rows, state

    def _move(self, state: LocalSearchState, k: int) -> None:
        """Climb from an entry of the archive, through neighbors whose values are known, as far as those lead."""
        archive, merit = state.archive, _merit(state.archive)
        while True:
            state.center, state.height = archive.rows[k].copy(), float(merit[k])
            around = neighbors(state.space, state.center)
            state.waiting = around[state.rng.permutation(len(around))]
            tried = [hits[-1] for row in state.waiting if len(hits := np.flatnonzero(same(archive.rows, row)))]
            better = [i for i in tried if merit[i] < state.height]
            if not better:
                return
            k = int(better[0])


def _merit(archive: Archive) -> Array:
    merit = archive.merit()
    return np.where(np.isnan(merit), np.inf, merit)
