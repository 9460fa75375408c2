"""Sizing: the lightest areas of a truss within its limits on stress, displacement and buckling.

A sequence of convex steps in the reciprocals of the areas (Schmit & Farshi 1974), with the exact Hessian of the
Lagrangian from the second step on. Two properties of trusses make it short. All areas times a factor divide
displacements and stresses by it, so every analysis gives a design that keeps all limits, for nothing: its weight is the
merit. And the linearized limits of one analysis are the same for all its multiples, so a step is never blocked.
Where a local optimum was found, bars at their lower bound often carry nothing and so have no reason to grow; they are
raised together and the search goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from metaloop.errors import require
from metaloop.structure.joints import Array
from metaloop.structure.limits import Ratios, SizingProblem
from metaloop.structure.reciprocal import solve

SAME = 0.03  # designs whose areas all agree to 3 % on the way are taken for the same optimum
FEASIBLE = 1e-9
FIRST = 4.0  # by what factor the first step may change an area
PATIENCE = 2  # steps in a row that may make the design heavier before the search goes back to its best


@dataclass(frozen=True)
class Start:
    """One start and where it led.

    Attributes:
        begun: the areas it began with, (g,).
        areas: the lightest design that keeps the limits, (g,).
        value: its weight.
        violation: by what share the worst limit or bound is exceeded; 0 where none is.
        kkt: what is left of the optimality conditions, as a share of the weight.
        analyses: factorizations of a stiffness matrix, with all that was solved with them.
        status: a sentence.
    """

    begun: Array
    areas: Array
    value: float
    violation: float
    kkt: float
    analyses: int
    status: str


@dataclass(frozen=True)
class Sized:
    """The lightest design of all starts.

    Attributes:
        areas, value, violation, kkt: as of `Start`.
        analyses: of all starts together.
        active: the limits and bounds that hold the weight up, in words.
        starts: one record each.
        status: a sentence.
    """

    areas: Array
    value: float
    violation: float
    kkt: float
    analyses: int
    active: tuple[str, ...]
    starts: tuple[Start, ...]
    status: str


def size(
    problem: SizingProblem,
    *,
    starts: int | Sequence[ArrayLike] = 10,
    seed: int = 0,
    raises: Sequence[float] = (0.5, 0.15),
    limit: int = 200,
    progress: Callable[[int, float], None] | None = None,
) -> Sized:
    """Minimize the weight from several starts.

    Args:
        problem: truss, limits and bounds.
        starts: how many random starts, or the areas to begin with, (g,) each.
        seed: of the random starts: areas spread log-uniformly over three decades about a uniform design; the k-th start
            does not depend on how many there are.
        raises: after a local optimum is found, the bars at their lower bound are raised to each of these shares of the
            mean area in turn, and the search goes on from there.
        limit: analyses of a start; the last correction may take two or three more.
        progress: called after each start with its number and its weight.

    Raises:
        InputError: a number out of range, or start areas that are not positive.
    """
    require("limit", limit, lambda v: v >= 3 and v == int(v), "a whole number of at least 3")
    require("raises", raises, lambda v: all(0 < float(r) < np.inf for r in v), "positive numbers")
    begun, shared = _begin(problem, starts, seed)
    ends = []
    for k, areas in enumerate(begun):
        ends.append(_start(problem, areas, raises, _Search(problem, limit, shared)))
        if progress is not None:
            progress(k + 1, ends[-1][0].value)
    records = [record for record, _ in ends]
    kept = [r for r in records if r.violation <= FEASIBLE]
    best = min(kept, key=lambda r: r.value) if kept else min(records, key=lambda r: r.violation)
    again = sum(r.value <= best.value * (1 + 1e-5) for r in kept)
    status = (
        f"{again} of {len(records)} starts reached this weight; it keeps all limits"
        if kept
        else f"no start kept all limits: the least violation found is {best.violation:.2g}"
    )
    total = sum(r.analyses for r in records)
    active = _active(problem, next(ratios for record, ratios in ends if record is best))
    return Sized(best.areas, best.value, best.violation, best.kkt, total, active, tuple(records), status)


@dataclass
class _Search:
    """The state of one start: what was analyzed, and the lightest design on the way."""

    problem: SizingProblem
    limit: int
    count: int = 0

    def look(self, areas: Array) -> Ratios:
        self.count += 1
        return Ratios(self.problem, self.problem.truss.analyze(areas))

    def merit(self, ratios: Ratios) -> float:
        """The weight of the multiple that keeps the limits."""
        return ratios.analysis.weight * max(ratios.needed, 1.0)

    def descend(self, ratios: Ratios, known: Array | None = None) -> tuple[Ratios, bool]:
        """From a design to a local optimum, or to None where that is the known one; also whether it came to an end."""
        best, multipliers, best_multipliers = ratios, None, None
        radius, bad = FIRST, 0
        while self.count < self.limit:
            at = self._feasible(ratios)
            found = self._step(at, multipliers, radius) or self._step(at, None, radius)
            if found is None:
                return best, False
            y, multipliers = found
            gain = 1 - float(self.problem.truss.weights @ (at.analysis.areas / y)) / at.analysis.weight
            if abs(gain) < 1e-11 and at.needed <= 1 + FEASIBLE and np.abs(np.log(y)).max() < 1e-4:
                return (at if self.merit(at) <= self.merit(best) else best), True
            after = self.look(at.analysis.areas / y)
            if known is not None and np.abs(np.log(after.analysis.areas / known)).max() < SAME:
                return best, True
            now, new, least = self.merit(at), self.merit(after), self.merit(best)
            length = float(np.exp(np.abs(np.log(y)).max()))
            if new < least * (1 - 1e-11):
                share = (now - new) / max(abs(now * gain), 1e-300)
                if share > 0.5:
                    radius = max(radius, min(length**2, 1e3))
                elif share < 0.1:
                    radius = min(radius, length**0.5)
                ratios = best = after
                best_multipliers, bad = multipliers, 0
                continue
            if abs(new - least) <= 1e-9 * least and after.needed <= 1 + 1e-8:
                return best, True
            bad += 1
            if bad <= PATIENCE and new < 1.5 * least:  # a curved limit is often better followed from a little outside
                ratios, radius = after, min(radius, length**0.7)
            else:
                ratios, multipliers, bad = best, best_multipliers, PATIENCE
                radius = min(radius, length) ** 0.35
                if radius < 1 + 1e-7:
                    return best, True
            radius = max(radius, 1 + 1e-9)
        return best, False

    def _feasible(self, ratios: Ratios) -> Ratios:
        """The multiple that keeps the limits, as far as the bounds let it."""
        low, high = self.problem.bounds
        areas = ratios.analysis.areas
        return ratios.scaled(float(np.clip(ratios.needed, (low / areas).max(), max(1.0, (high / areas).min()))))

    def _step(self, at: Ratios, multipliers: Array | None, radius: float) -> tuple[Array, Array] | None:
        """The convex step: the factor of each reciprocal area, and the multipliers."""
        low, high = self.problem.bounds
        areas = at.analysis.areas
        cost = self.problem.truss.weights * areas / at.analysis.weight
        rows = -at.jacobian * areas
        bend = np.zeros((len(areas), len(areas)))
        if multipliers is not None:
            slope, curve = at.curvature(multipliers)
            bend = areas[:, None] * curve * areas + np.diag(2 * slope * areas)
        least = np.maximum(1 / radius, areas / high)
        most = np.minimum(radius, areas / low)
        step = solve(cost, bend, rows, 1 - at.values + rows.sum(axis=1), least, np.maximum(most, least + 1e-12))
        return None if step is None else (step.y, step.multipliers)


def _start(problem: SizingProblem, begun: Array, raises: Sequence[float], search: _Search) -> tuple[Start, Ratios]:
    low, high = problem.bounds
    first = search.look(begun)
    inside = np.clip(begun * first.needed, low, high)
    ratios = first.scaled(first.needed)
    if not np.allclose(inside, ratios.analysis.areas, rtol=1e-12, atol=0):
        ratios = search.look(inside)
    found, ended = search.descend(ratios)
    final = _settle(search, found)
    for share in raises:
        areas = final.analysis.areas
        least = areas <= low * 1.01
        if not least.any() or search.count >= search.limit:
            continue
        mean = final.analysis.weight / problem.truss.weights.sum()
        raised = np.where(least, np.clip(mean * share, low, high), areas)
        found, over = search.descend(search.look(raised), known=areas)
        if search.merit(found) < final.analysis.weight * (1 - 1e-9) or _violation(final) > FEASIBLE:
            rival = _settle(search, found)
            if (_violation(rival), rival.analysis.weight) < (_violation(final), final.analysis.weight):
                final, ended = rival, over
    wrong, kkt = _violation(final), _kkt(problem, final)[0]
    status = "the search came to an end" if ended else f"stopped after {search.count} analyses"
    if wrong > FEASIBLE:
        status = f"the limits are exceeded by {wrong:.2g}: {status}"
    return Start(begun, final.analysis.areas, final.analysis.weight, wrong, kkt, search.count, status), final


def _settle(search: _Search, ratios: Ratios) -> Ratios:
    """Correct the last digits: a common factor, so that no limit is exceeded, and once more for rounding."""
    low, high = search.problem.bounds
    for _ in range(3):
        if _violation(ratios) == 0:
            break
        areas = np.clip(ratios.analysis.areas * max(ratios.needed, 1.0) * (1 + 2e-16), low, high)
        ratios = search.look(areas)
    return ratios


def _begin(problem: SizingProblem, starts: int | Sequence[ArrayLike], seed: int) -> tuple[list[Array], int]:
    """The areas to begin with, and how many analyses that took: each start is charged with them."""
    low, high = problem.bounds
    g = problem.truss.variables
    if not isinstance(starts, (int, np.integer)):
        given = [np.asarray(a, dtype=float) for a in starts]
        require("starts", given, lambda v: len(v) > 0 and all(a.shape == (g,) and (a > 0).all() for a in v),
                f"a whole number, or arrays of {g} positive areas")  # fmt: skip
        return [np.clip(a, low, high) for a in given], 0
    require("starts", starts, lambda v: v >= 1, "a whole number of at least 1")
    uniform = Ratios(problem, problem.truss.analyze(np.ones(g))).needed
    spread = [np.random.default_rng([seed, k]).uniform(-1.5, 1.5, g) for k in range(starts)]
    return [np.clip(uniform * 10.0**s, low, high) for s in spread], 1


def _violation(ratios: Ratios) -> float:
    low, high = ratios.problem.bounds
    areas = ratios.analysis.areas
    return max(float(ratios.values.max()) - 1, float((low / areas).max()) - 1, float((areas / high).max()) - 1, 0.0)


def _kkt(problem: SizingProblem, ratios: Ratios) -> tuple[float, Array, list[str]]:
    """The least that non-negative multipliers of the active limits leave of the gradient, as a share of the weight."""
    from scipy.optimize import nnls

    low, high = problem.bounds
    areas = ratios.analysis.areas
    pull = problem.truss.weights * areas / ratios.analysis.weight
    near = np.flatnonzero(ratios.values > 1 - 1e-6)
    down, up = np.flatnonzero(areas < low * (1 + 1e-6)), np.flatnonzero(areas > high * (1 - 1e-6))
    eye = np.eye(len(areas))
    columns = np.concatenate([-ratios.jacobian[near] * areas, eye[down], -eye[up]])
    names = [problem.names[i] for i in near]
    names += [f"lower bound of area {i}" for i in down] + [f"upper bound of area {i}" for i in up]
    if not len(columns):
        return float(np.abs(pull).max()), np.zeros(0), names
    found, _ = nnls(columns.T, pull)
    return float(np.abs(columns.T @ found - pull).max()), np.asarray(found), names


def _active(problem: SizingProblem, ratios: Ratios) -> tuple[str, ...]:
    _, found, names = _kkt(problem, ratios)
    return tuple(names[i] for i in np.argsort(-found, kind="stable") if found[i] > 1e-9)
