"""Grid search: every combination of a few values per parameter.

Its cost is the product of the levels, and a good region thinner than the mesh is never seen, however long it runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metaloop.errors import nearest, refuse
from metaloop.optimizers.protocol import Told, check_tell, generator
from metaloop.optimizers.state import plan, state
from metaloop.space import Array, Space

_LARGEST_SHUFFLE = 10_000_000
_CHUNK = 4096


@state
@dataclass
class GridState:
    """How far the enumeration has come; the axes and the order are plans."""

    space: Space
    seed: int
    position: int = 0
    waiting: Array | None = None
    axes: list[Array] | None = plan()
    order: Any = plan()


@dataclass(frozen=True)
class GridSearch:
    """Every combination of levels, each once; combinations that differ only in inactive parameters are one.

    Args:
        levels: points per continuous parameter (and the most for a discrete one, which otherwise takes all its
            values), as one number or per label, e.g. ``{"lr": 5, "*": 3}``. Levels are evenly spread, ends included,
            in the parameter's own scale.
        shuffle: visit in a random order (fixed by the seed) instead of the last parameter fastest; worth it when
            the budget may end before the grid does.

    Raises:
        InputError: levels below 2, unknown labels, or a continuous parameter without levels.
    """

    levels: int | Mapping[str, int] | None = None
    shuffle: bool = False

    def __post_init__(self) -> None:
        counts = self.levels.values() if isinstance(self.levels, Mapping) else [self.levels]
        for count in counts:
            if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 2):
                raise refuse("levels", self.levels, "whole numbers of at least 2")

    def init(self, space: Space, seed: int) -> GridState:
        """A fresh state.

        Raises:
            InputError: a continuous parameter without levels, or a shuffle of more than ten million combinations.
        """
        state = GridState(space, seed)
        total = math.prod(len(a) for a in self._axes(state))
        if self.shuffle and total > _LARGEST_SHUFFLE:
            raise refuse("shuffle", True, f"False for a grid of more than {_LARGEST_SHUFFLE} ({total}) combinations")
        return state

    def ask(self, state: GridState, n: int) -> tuple[Array, GridState]:
        """The next n combinations, shape (m, dim); none when the grid is finished."""
        axes = self._axes(state)
        total = math.prod(len(a) for a in axes)
        found = [] if state.waiting is None else [state.waiting]
        have = sum(map(len, found))
        while have < n and state.position < total:
            end = min(state.position + _CHUNK, total)
            found.append(self._combinations(state, axes, total, end))
            state.position = end
            have += len(found[-1])
        rows = np.concatenate(found) if found else np.empty((0, state.space.dim))
        state.waiting = rows[n:] if len(rows) > n else None
        return rows[:n], state

    def tell(self, state: GridState, points: Array, told: Sequence[Told] | Array) -> GridState:
        """Checked and forgotten."""
        check_tell(state.space, points, told)
        return state

    def _combinations(self, state: GridState, axes: list[Array], total: int, end: int) -> Array:
        shape = [len(a) for a in axes]
        index: Any = np.arange(state.position, end)
        if self.shuffle:
            if state.order is None:
                state.order = generator(state.seed).permutation(total)
            index = state.order[index]
        digits = _digits(index, shape)
        rows = np.stack([a[k] for a, k in zip(axes, digits.T, strict=True)], axis=1)
        # Of the combinations that differ only where inactive, the one with the first level there stands for all.
        first = (digits == 0) | state.space.active(rows)
        rows = state.space.snap(rows[first.all(axis=1)])
        return rows[state.space.allowed(rows)]

    def _axes(self, state: GridState) -> list[Array]:
        """Unit coordinates of the levels, one array a column."""
        if state.axes is not None:
            return state.axes
        space = state.space
        levels = self.levels if isinstance(self.levels, Mapping) else {"*": self.levels}
        for label in levels:
            if label != "*" and label not in space.labels:
                raise refuse("levels", label, f"labels of the space or '*'{nearest(label, space.labels)}")
        axes = []
        for column, cells in zip(space.columns, space.cells, strict=True):
            k = levels.get(column.label, levels.get("*"))
            if not math.isfinite(cells) and k is None:
                raise refuse("levels", self.levels, f"a number of levels for the continuous {column.label!r}, e.g. 5")
            if math.isfinite(cells) and (k is None or k >= cells):
                line = column.parameter.line
                v = np.arange(line.first, line.last + 1)
                axes.append(_unit(v, line.first - 0.5, line.last + 0.5, line.log))
            else:
                axes.append(np.linspace(0.0, 1.0, k or 2))
        state.axes = [np.unique(a) for a in axes]
        return state.axes


def _unit(v: Array, low: float, high: float, log: bool) -> Array:
    return np.asarray(np.log(v / low) / math.log(high / low) if log else (v - low) / (high - low))


def _digits(index: Any, shape: list[int]) -> Any:
    """Mixed-radix digits, last fastest; whole-number arithmetic beyond 64 bits is not needed within a chunk."""
    digits = np.empty((len(index), len(shape)), dtype=np.int64)
    rest = [int(i) for i in index]
    for j in range(len(shape) - 1, -1, -1):
        digits[:, j] = [i % shape[j] for i in rest]
        rest = [i // shape[j] for i in rest]
    return digits
