"""The outer loops: searches of a table until its best is found, and a search of small nets that are really trained."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from metaloop.optimizers import CategoricalProcess, LocalSearch, RandomSearch, RegularizedEvolution
from metaloop.optimizers.protocol import AnyOptimizer
from metaloop.space import Array, Space
from metaloop.systems.architecture.model import Indices, Table

MOST = 1000  # queries of a search of a table
SEARCHES: dict[str, AnyOptimizer] = {
    "Gaussian process": CategoricalProcess(),
    "local search": LocalSearch(),
    "regularized evolution": RegularizedEvolution(),
    "random": RandomSearch(),
}


@dataclass(frozen=True)
class Searched:
    """Searches of one table by one optimizer, one a seed.

    Attributes:
        queries: different architectures seen until the best of the table was, shape (seeds,); `MOST` + 1 where it was
            not.
        best: the best accuracy searched for after 1, 2, … queries, shape (seeds, MOST), in percent.
        test: the test accuracy of what was best after `MOST` queries, or where the search ended, shape (seeds,).
        seconds: CPU time, of all seeds.
    """

    queries: Indices
    best: Array
    test: Array
    seconds: float

    @property
    def found(self) -> int:
        """In how many searches the best was found."""
        return int((self.queries <= MOST).sum())


def search_table(table: Table, optimizer: AnyOptimizer, seeds: range, space: Space | None = None,
                 progress: Callable[[float], None] | None = None) -> Searched:  # fmt: skip
    """Search a table until its best architecture is found, one query at a time.

    Architectures that are asked again cost nothing: only different ones count.

    Args:
        table: what is searched.
        optimizer: how.
        seeds: of the searches.
        space: that of the table with limits; None for the whole.
        progress: called with the share that is done.
    """
    begun = time.process_time()
    space = table.space if space is None else space
    within = np.ones(len(table.searched), dtype=bool) if space is table.space else space.allowed(_rows(table))
    goal = np.where(within, table.searched, -np.inf).max()
    queries, curves, tests = [], np.empty((len(seeds), MOST)), []
    for i, seed in enumerate(seeds):
        state, seen, asked = optimizer.init(space, seed), dict[int, None](), 0
        while len(seen) < MOST and asked < 20 * MOST:
            rows, state = optimizer.ask(state, 1)
            if not len(rows):
                break
            k, asked = int(table.index(rows)[0]), asked + 1
            seen[k] = None
            if table.searched[k] == goal:
                break
            state = optimizer.tell(state, rows, [-table.searched[k]])
        values = table.searched[list(seen)]
        curves[i] = np.pad(np.maximum.accumulate(values), (0, MOST - len(seen)), mode="edge")
        queries.append(len(seen) if values.max() == goal else MOST + 1)
        tests.append(table.test[list(seen)[int(values.argmax())]])
        if progress is not None:
            progress((i + 1) / len(seeds))
    return Searched(np.array(queries), curves, np.array(tests), time.process_time() - begun)


def _rows(table: Table) -> Array:
    """All architectures of a table, as rows in its order."""
    cells = table.space.cells.astype(int)
    digits = np.stack(np.unravel_index(np.arange(len(table.searched)), tuple(cells)), axis=1)
    return np.asarray((digits + 0.5) / cells)
