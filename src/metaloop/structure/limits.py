"""What a truss must not exceed, each limit as a ratio that has to be at most 1, with first and second derivatives."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from metaloop.errors import refuse, require
from metaloop.structure.joints import Array, floats
from metaloop.structure.truss import AXES, Analysis, Truss


@dataclass(frozen=True, eq=False)
class SizingProblem:
    """Find the lightest areas of a truss that keep its limits in every load case.

    Args:
        truss: joints, bars, supports, loads; its groups are the design variables.
        tension, compression: largest stress, both positive: a number, one of each bar, or infinite.
        displacement: largest displacement of a joint either way: a number for every free coordinate, or an array (n, d)
            with infinities where there is none.
        lower, upper: bounds of the areas, a number or one of each design variable; lower is positive.
        buckling: for Euler's limit, the k of the sections' second moment k A²; without it bars do not buckle.

    Raises:
        InputError: a limit that is not positive or of the wrong shape, bounds that cross, or no limit at all.
    """

    truss: Truss
    tension: ArrayLike = np.inf
    compression: ArrayLike = np.inf
    displacement: ArrayLike = np.inf
    lower: ArrayLike = 1e-6
    upper: ArrayLike = np.inf
    buckling: float | None = None

    def __post_init__(self) -> None:
        if self.buckling is not None:
            require("buckling", self.buckling, lambda k: 0 < k < np.inf, "a positive number, or None")
        low, high = self.bounds
        if not (low > 0).all() or not np.isfinite(low).all():
            raise refuse("lower", self.lower, "positive numbers")
        if not (low <= high).all():
            raise refuse("upper", self.upper, "at least lower")
        stress, moved = self.stress_limits, self.moved_limits
        if self.buckling is None and not (np.isfinite(stress).any() or np.isfinite(moved).any()):
            raise refuse("tension", self.tension, "finite, where no other limit is")

    @cached_property
    def bounds(self) -> tuple[Array, Array]:
        """Of the design variables, (g,) each."""
        g = self.truss.variables
        return _shaped("lower", self.lower, (g,)), _shaped("upper", self.upper, (g,))

    @cached_property
    def stress_limits(self) -> Array:
        """In tension and in compression, (2, m)."""
        m = len(self.truss.ends)
        return np.stack([_shaped(n, getattr(self, n), (m,), True) for n in ("tension", "compression")])

    @cached_property
    def moved_limits(self) -> Array:
        """Of the free coordinates, (free,)."""
        t = self.truss
        return _shaped("displacement", self.displacement, t.points.shape, True).ravel()[t.free]

    @cached_property
    def euler(self) -> Array | None:
        """What times -stress / area is the buckling ratio, (m,)."""
        t = self.truss
        return None if self.buckling is None else t.lengths**2 / (np.pi**2 * t.moduli * self.buckling)

    @cached_property
    def names(self) -> list[str]:
        """Of all ratios, in their order."""
        t = self.truss
        cases, bars = range(len(t.forces)), range(len(t.ends))
        names = [f"{word} of bar {i} in case {k}" for word in ("tension", "compression") for k in cases for i in bars]
        at = [divmod(int(f), t.points.shape[1]) for f in t.free[np.isfinite(self.moved_limits)]]
        names += [f"displacement of joint {j} in {s}{AXES[x]} in case {k}" for s in "+-" for k in cases for j, x in at]
        return names + ([f"buckling of bar {i} in case {k}" for k in cases for i in bars] if self.buckling else [])


@dataclass(frozen=True, eq=False)
class Ratios:
    """All limits at one analysis. Sharp edges of a maximum are avoided: each limit is a smooth ratio of its own."""

    problem: SizingProblem
    analysis: Analysis

    @cached_property
    def values(self) -> Array:
        """(r,): tension and compression by case and bar, displacements either way, buckling."""
        stress, moved = self.analysis.stresses, self._moved
        tension, compression = self.problem.stress_limits
        parts = [stress / tension, -stress / compression, moved, -moved]
        if self.problem.euler is not None:
            parts.append(-stress * self.problem.euler / self.analysis.sections)
        return np.concatenate([p.ravel() for p in parts])

    @cached_property
    def degrees(self) -> Array:
        """By what power of a common factor of the areas each ratio falls, (r,)."""
        degrees = np.ones(len(self.values))
        if self.problem.euler is not None:
            degrees[-self.analysis.stresses.size :] = 2.0
        return degrees

    @cached_property
    def needed(self) -> float:
        """The common factor of the areas that makes the largest ratio 1."""
        return float((np.maximum(self.values, 0.0) ** (1.0 / self.degrees)).max())

    def scaled(self, factor: float) -> Ratios:
        """With all areas times a factor: no new analysis."""
        return Ratios(self.problem, self.analysis.scaled(factor))

    @cached_property
    def jacobian(self) -> Array:
        """With respect to the areas, (r, g)."""
        p, a = self.problem, self.analysis
        g = p.truss.variables
        stress = a.jacobian()[1]
        tension, compression = p.stress_limits[:, :, None]
        seen = np.isfinite(p.moved_limits)
        moved = a.slopes.transpose(1, 0, 2)[:, seen] / p.moved_limits[seen, None]
        parts = [stress / tension, -stress / compression, moved, -moved]
        if p.euler is not None:
            own = np.eye(g)[p.truss.group]
            by_area = stress / a.sections[:, None] - (a.stresses / a.sections**2)[:, :, None] * own
            parts.append(-p.euler[:, None] * by_area)
        return np.concatenate([x.reshape(-1, g) for x in parts])

    def curvature(self, multipliers: Array) -> tuple[Array, Array]:
        """Gradient, (g,), and Hessian, (g, g), of the sum of multipliers times ratios, with respect to the areas.

        With λ = K⁻¹ p the adjoint of p·u, ∂²(p·u) = λᵀ Kg K⁻¹ Kh u + λᵀ Kh K⁻¹ Kg u: no further solve.
        """
        p, a = self.problem, self.analysis
        t = p.truss
        cases, bars = a.stresses.shape
        size = cases * bars
        tension, compression = p.stress_limits
        stress = multipliers[:size].reshape(cases, bars) / tension
        stress -= multipliers[size : 2 * size].reshape(cases, bars) / compression
        local = np.zeros(t.variables), np.zeros((t.variables, t.variables))
        if p.euler is not None:
            weight = -p.euler * multipliers[-size:].reshape(cases, bars)
            stress += weight / a.sections
            local = self._local(weight)
        seen = np.isfinite(p.moved_limits)
        pairs = multipliers[2 * size : 2 * size + 2 * cases * int(seen.sum())].reshape(2, cases, -1)
        pull = t.strain.T @ (stress * t.moduli).T
        pull[seen] += ((pairs[0] - pairs[1]) / p.moved_limits[seen]).T
        adjoint = a.solve(pull)
        turned = a.pull(adjoint)
        half = -np.einsum("fkg,fkh->gh", turned, a.slopes)
        return local[0] - np.einsum("fkg,fk->g", turned, a.moved), local[1] + half + half.T

    def _local(self, weight: Array) -> tuple[Array, Array]:
        """What the bars' own areas add to the curvature of stress / area."""
        a, group = self.analysis, self.problem.truss.group
        g = self.problem.truss.variables
        own = np.eye(g)[group]
        falling = weight / a.sections**2
        mixed = -np.einsum("ki,kig,ih->gh", falling, a.jacobian()[1], own)
        twice = np.bincount(group, (2 * weight * a.stresses / a.sections**3).sum(axis=0), g)
        slope = np.asarray(-np.bincount(group, (falling * a.stresses).sum(axis=0), g), dtype=float)
        return slope, mixed + mixed.T + np.diag(twice)

    @property
    def _moved(self) -> Array:
        limits = self.problem.moved_limits
        seen = np.isfinite(limits)
        return np.asarray((self.analysis.moved[seen] / limits[seen, None]).T)


def _shaped(name: str, value: ArrayLike, shape: tuple[int, ...], positive: bool = False) -> Array:
    given = floats(name, value)
    if given.shape not in ((), shape) or np.isnan(given).any() or (positive and not (given > 0).all()):
        raise refuse(name, value, f"{'positive, ' if positive else ''}a number or an array of shape {shape}")
    return np.broadcast_to(given, shape).astype(float)
