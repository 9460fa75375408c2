"""What an optimizer remembers: the points told, what came back, and the points still out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metaloop.optimizers.protocol import Observation, Status
from metaloop.optimizers.state import state
from metaloop.space import Array, Mask


@state
@dataclass
class Archive:
    """Told and pending points.

    Attributes:
        rows: told points, shape (n, dim).
        values: first objective, shape (n,); NaN where failed.
        violations: summed constraint violation, shape (n,).
        pending: asked and not yet told, shape (p, dim).
    """

    rows: Array
    values: Array
    violations: Array
    pending: Array

    @classmethod
    def empty(cls, dim: int) -> Archive:
        """Nothing told, nothing pending."""
        return cls(np.empty((0, dim)), np.empty(0), np.empty(0), np.empty((0, dim)))

    def __len__(self) -> int:
        return len(self.rows)

    def pend(self, rows: Array) -> None:
        """Remember that these points are being evaluated."""
        self.pending = np.concatenate([self.pending, rows])

    def settle(self, row: Array) -> bool:
        """Forget one pending copy of a point; whether there was one."""
        hits = np.flatnonzero(same(self.pending, row))
        if not len(hits):
            return False
        self.pending = np.delete(self.pending, hits[0], axis=0)
        return True

    def add(self, rows: Array, told: Sequence[Observation]) -> Mask:
        """File what came back.

        Returns:
            which of the rows are new entries (OK or FAILED), shape (m,).
        """
        new = np.zeros(len(rows), dtype=bool)
        for i, (row, seen) in enumerate(zip(rows, told, strict=True)):
            if seen.status is Status.PENDING:
                self.pend(row[None])
                continue
            self.settle(row)
            new[i] = seen.status is not Status.RELEASED
        if new.any():
            kept = [seen for seen, is_new in zip(told, new, strict=True) if is_new]
            self.rows = np.concatenate([self.rows, rows[new]])
            self.values = np.concatenate([self.values, [o.value if o.status is Status.OK else np.nan for o in kept]])
            self.violations = np.concatenate([self.violations, [o.violation for o in kept]])
        return new

    def observations(self) -> list[Observation]:
        """What came back, as far as it is remembered: a violation is one constraint."""
        return [
            Observation(status=Status.FAILED) if np.isnan(v) else Observation((float(v),), (float(c),) if c > 0 else ())
            for v, c in zip(self.values, self.violations, strict=True)
        ]

    def feasible(self) -> Array:
        """The values of feasible points, shape (n,); NaN elsewhere."""
        return np.where(self.violations > 0, np.nan, self.values)

    def merit(self) -> Array:
        """One number a point to minimize, shape (n,); NaN where failed.

        Feasible points keep their value; infeasible ones rank below all feasible ones, by violation (Deb 2000,
        constraint-domination), on the scale of the feasible values.
        """
        infeasible = self.violations > 0
        if not infeasible.any():
            return self.values
        feasible = self.values[~infeasible & ~np.isnan(self.values)]
        worst, spread = (feasible.max(), np.ptp(feasible)) if len(feasible) else (0.0, 1.0)
        most = self.violations[infeasible].max()
        out = self.values.copy()
        out[infeasible] = worst + (spread or 1.0) * (0.1 + self.violations[infeasible] / most)
        out[np.isnan(self.values)] = np.nan
        return out


def same(rows: Array, row: Array) -> Mask:
    """Which rows equal one row, inactive columns included, shape (n,)."""
    equal: Mask = ((rows == row) | (np.isnan(rows) & np.isnan(row))).all(axis=1)
    return equal
