"""Where local searches begin: sampled points that no better point is near to.

Source: multi level single linkage, Rinnooy Kan & Timmer, Math. Programming 39 (1987): a local search is started from a
sampled point unless a better one lies within a critical distance, which shrinks as more is sampled; any minimum whose
basin is sampled is found, and few are found twice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from metaloop.optimizers.state import state
from metaloop.space import Array, Mask, Space

_MOST = 2000  # points that are remembered, the best ones
_SIGMA = 2.0  # [RT]'s sigma; theirs is 4 for proofs, smaller ones start more searches


@state
@dataclass
class Starts:
    """Points with values, and which of them have begun or ended a local search.

    Attributes:
        rows: shape (n, dim).
        merit: (violation, value) of each, compared in this order, shape (n, 2).
        used: whether the point has begun or ended a search, shape (n,).
        apart: distance to the nearest better point, shape (n,); inf where discrete columns differ.
        sampled: points ever added that were not used already.
    """

    rows: Array
    merit: Array
    used: Mask
    apart: Array
    sampled: int = 0

    @classmethod
    def empty(cls, dim: int) -> Starts:
        """No points yet."""
        return cls(np.empty((0, dim)), np.empty((0, 2)), np.empty(0, dtype=bool), np.empty(0))

    def add(self, space: Space, row: Array, violation: float, value: float, used: bool = False) -> None:
        """One more point."""
        gap = distance(space, self.rows, row)
        v, f = self.merit.T
        better = (v < violation) | ((v == violation) & (f <= value))
        self.apart = np.append(
            np.where(better, self.apart, np.minimum(self.apart, gap)), gap[better].min(initial=np.inf)
        )
        self.rows = np.vstack([self.rows, row])
        self.merit = np.vstack([self.merit, [violation, value]])
        self.used = np.append(self.used, used)
        self.sampled += not used
        if len(self.rows) > _MOST:
            keep = np.lexsort((self.merit[:, 1], self.merit[:, 0]))[: _MOST // 2]
            self.rows, self.merit = self.rows[keep], self.merit[keep]
            self.used, self.apart = self.used[keep], self.apart[keep]

    @property
    def best(self) -> float:
        """The least feasible value; inf if there is none."""
        return float(self.merit[self.merit[:, 0] == 0, 1].min(initial=math.inf))

    def take(self, space: Space) -> int:
        """The index of the best point to begin from, now used; -1 if there is none."""
        n, d = max(self.sampled, 2), max(1, int(np.isinf(space.cells).sum()))
        volume = math.lgamma(1 + d / 2) + math.log(_SIGMA * math.log(n) / n)
        radius = math.exp(volume / d) / math.sqrt(math.pi)  # [RT] (1)
        free = np.flatnonzero(~self.used & (self.apart > radius))
        if not len(free):
            return -1
        k = int(free[np.lexsort((self.merit[free, 1], self.merit[free, 0]))[0]])
        self.used[k] = True
        return k


def distance(space: Space, rows: Array, row: Array) -> Array:
    """Distance in the continuous columns, shape (n,); inf where the others differ."""
    continuous = np.isinf(space.cells)
    gap = np.where(np.isnan(rows) & np.isnan(row), 0.0, rows - row)
    far = (gap[:, ~continuous] != 0).any(axis=1)  # NaN, a column that only one of them has, counts as different
    near = np.sqrt((gap[:, continuous] ** 2).sum(axis=1))
    return np.where(far | np.isnan(near), np.inf, near)
