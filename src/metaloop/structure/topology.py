"""SIMP: find where material should be, density by density.

Sources: Bendsøe 1989; Sigmund 2001; Andreassen et al. 2011 (the problem and its optimality criteria); Wang, Lazarov &
Sigmund 2011 (projection, robust designs); Guest, Prévost & Belytschko 2004 (length scale by projection).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metaloop.errors import InputError, refuse, require
from metaloop.recipe import tunable
from metaloop.space import Float
from metaloop.structure import mma
from metaloop.structure.filters import Chain, Map, Mirror, Overhang, Passive, Projection, check_filter
from metaloop.structure.interpolation import Power, Rational
from metaloop.structure.problem import Problem
from metaloop.structure.responses import Analysis, Response, Stress

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SIMP:
    """How a topology is searched for.

    Args:
        penalty: of intermediate densities, at the end.
        penalty_start: at the beginning; it rises over the first `ramp` of the iterations.
        radius: of the filter, in elements: about the smallest length in the design.
        filter: "sensitivity", "density" or "helmholtz".
        sharpness: β of the projection at the end, 0 for none. It grows from 1, by a constant factor each iteration,
            over the iterations from `ramp` to 1 - `hold`.
        ramp, hold: shares of the iterations.
        iterations: at most.
        tolerance: stop when no density changes by more in one iteration, once penalty and sharpness are final.
        move: the largest change of a density in one iteration.
        update: "criteria", or "mma" where volume is not the only constraint or there is a projection; "auto" decides.
        material: "power" (SIMP) or "rational" (RAMP, to be taken with gravity); "auto" decides.
        robust: distance of the eroded and dilated designs' thresholds from 1/2 (0 for none): the eroded design is made
            stiff, which keeps both members and holes from being thinner than about `radius` (needs `sharpness`).
        overhang: axis along which the design is printed, "-" before it to print against it: no member hangs over by
            more than 45°. None for any shape.
        bisection: relative accuracy of the optimality criteria's multiplier; the 99 and the 88 lines of the literature
            took 1e-3, which their published compliances show in the fourth digit.
        precision: relative error of displacements in the energy norm; compliance errs by its square.

    Raises:
        InputError: an argument outside its range.
    """

    penalty: float = tunable(3.0, Float(2.0, 5.0))
    penalty_start: float = tunable(3.0, Float(1.0, 3.0))
    radius: float = 2.4
    filter: str = "density"
    sharpness: float = 0.0
    ramp: float = tunable(0.3, Float(0.0, 0.6))
    hold: float = tunable(0.1, Float(0.05, 0.3))
    iterations: int = 200
    tolerance: float = 0.01
    move: float = tunable(0.2, Float(0.05, 0.5, log=True))
    update: str = "auto"
    material: str = "auto"
    robust: float = 0.0
    overhang: str | None = None
    bisection: float = 1e-9
    precision: float = 3e-4

    def __post_init__(self) -> None:
        require("penalty", self.penalty, lambda v: 1 <= v < 20, "a number from 1 to 20")
        require("penalty_start", self.penalty_start, lambda v: 1 <= v < 20, "a number from 1 to 20")
        require("radius", self.radius, lambda v: 0 < v < math.inf, "a number greater than 0, in elements")
        require("sharpness", self.sharpness, lambda v: 0 <= v < math.inf, "a number of at least 0")
        require("ramp", self.ramp, lambda v: 0 <= v <= 1, "a share from 0 to 1")
        require("hold", self.hold, lambda v: 0 <= v <= 1 - self.ramp, "a share of what the ramp leaves")
        require("iterations", self.iterations, lambda v: v >= 1 and v == int(v), "a whole number of at least 1")
        require("tolerance", self.tolerance, lambda v: 0 <= v < 1, "a number from 0 to 1")
        require("move", self.move, lambda v: 0 < v <= 1, "a number greater than 0, at most 1")
        require("robust", self.robust, lambda v: 0 <= v < 0.5, "a number from 0 to 1/2")
        for name, known in (
            ("filter", ("sensitivity", "density", "helmholtz")),
            ("update", ("auto", "criteria", "mma")),
            ("material", ("auto", "power", "rational")),
        ):
            if getattr(self, name) not in known:
                raise refuse(name, getattr(self, name), f"one of {list(known)}")
        if self.robust and not self.sharpness:
            raise refuse("sharpness", 0, "greater than 0 for a robust design")
        if self.filter == "sensitivity" and (self.sharpness or self.overhang):
            raise refuse("filter", self.filter, "'density' or 'helmholtz' where there is a projection or an overhang")

    def schedule(self, iteration: int) -> tuple[float, float]:
        """(penalty, sharpness) in an iteration, counted from 0."""
        at = iteration / max(1, self.iterations - 1)
        rise = min(1.0, at / self.ramp) if self.ramp else 1.0
        penalty = self.penalty_start + (self.penalty - self.penalty_start) * rise
        if not self.sharpness:
            return penalty, 0.0
        length = 1 - self.hold - self.ramp
        share = min(1.0, max(0.0, (at - self.ramp) / length)) if length > 0 else float(at >= self.ramp)
        return penalty, min(1.0, self.sharpness) * (self.sharpness / min(1.0, self.sharpness)) ** share

    def final(self, iteration: int) -> bool:
        """Whether penalty and sharpness have reached their ends."""
        at = iteration / max(1, self.iterations - 1)
        return (self.penalty_start == self.penalty or at >= self.ramp) and (not self.sharpness or at >= 1 - self.hold)


@dataclass(frozen=True)
class Topology:
    """A design that was found.

    Attributes:
        problem, recipe: as given.
        variables: of the design, shape `problem.shape`.
        density: of the elements, after filter, projection and all else.
        values: what was minimized, one a load case: compliance, or minus the output displacement.
        volume: mean density.
        grey: 4 mean(ρ (1 - ρ)) over designed elements, from 0 (black and white) to 1.
        black_and_white: densities rounded so that the volume is kept, with their analysis below.
        thresholded: its values, one a load case.
        stress: largest von Mises stress of the thresholded design, in units of load over edge length to the power of
            the axes less one; NaN for heat.
        history: of each iteration: what was minimized, volume, largest change, iterations of the solver; shape
            (iterations, 4).
        residual: the largest of the last iteration's solves.
        status: one sentence.
    """

    problem: Problem
    recipe: SIMP
    variables: Array
    density: Array
    values: Array
    volume: float
    grey: float
    black_and_white: Array
    thresholded: Array
    stress: float
    history: Array
    residual: float
    status: str

    @property
    def compliance(self) -> float:
        """The weighted sum of the load cases' values, or the largest."""
        return combined(self.problem, self.values)


Progress = Callable[[int, float, Array], None]


def combined(problem: Problem, values: Array) -> float:
    """Load cases' values in one number, as the problem weighs them."""
    return float(values.max() if isinstance(problem.weights, str) else problem.weights @ values)  # type: ignore[operator]


def optimize(
    problem: Problem,
    recipe: SIMP | None = None,
    *,
    stress: float | None = None,
    start: Array | None = None,
    progress: Progress | None = None,
) -> Topology:
    """Find the density of every element.

    ```python
    found = optimize(beam(300, 100), SIMP(radius=4, sharpness=32))
    found.compliance, found.thresholded, found.grey
    ```

    Args:
        problem: what is to be designed.
        recipe: how; `SIMP()` if None.
        stress: the largest von Mises stress allowed; the volume is then minimized, with the problem's fraction as its
            upper bound, and the status says where the limit was not kept.
        start: densities to begin with; the fraction everywhere if None.
        progress: called after each iteration with its number, what is minimized, and the density.

    Raises:
        InputError: a problem that cannot be posed: see `Problem`.
    """
    recipe = recipe or SIMP()
    if stress is not None and (problem.heat or problem.output is not None or not stress > 0):
        raise refuse("stress", stress, "a number greater than 0, for a stiff structure")
    run = _Run(problem, recipe, stress)
    return run.go(start, progress)


class _Run:
    """One search: what stays the same, and the loop."""

    def __init__(self, problem: Problem, recipe: SIMP, limit: float | None) -> None:
        self.problem, self.recipe, self.limit = problem, recipe, limit
        self.analysis = Analysis(problem)
        self.blur = check_filter(recipe.filter, problem.shape, recipe.radius)
        self.free = problem.designed
        rational = recipe.material == "rational" or (recipe.material == "auto" and problem.gravity is not None)
        self.make = Rational if rational else Power
        plain = problem.output is None and problem.gravity is None and not isinstance(problem.weights, str)
        simple = plain and limit is None and not recipe.sharpness  # sharp projections throw optimality criteria off
        self.criteria = recipe.update == "criteria" or (recipe.update == "auto" and simple)
        if self.criteria and not (plain and limit is None):
            raise refuse("update", "criteria", "'mma' for this problem: volume is not all that decides")
        self.stress = None if problem.heat else Stress(problem)

    def chain(self, sharpness: float, shift: float = 0.0) -> Chain:
        """From variables to densities."""
        maps: list[Map] = [Mirror(self.problem.symmetry)] if self.problem.symmetry else []
        maps.append(self.blur)
        if sharpness:
            maps.append(Projection(sharpness, None, shift))
        if self.recipe.overhang:
            axis = "xyz".find(self.recipe.overhang.lstrip("-"))
            if not 0 <= axis < self.problem.axes:
                raise refuse("overhang", self.recipe.overhang, "'x', 'y' or 'z', perhaps with '-' before it")
            maps.append(Overhang(axis, not self.recipe.overhang.startswith("-")))
        maps.append(Passive(self.problem.solid, self.problem.void))
        return Chain(maps)

    def begin(self, start: Array | None) -> Array:
        """Variables to begin with."""
        p = self.problem
        if start is not None:
            start = np.asarray(start, float)
            if start.shape != p.shape or not ((start >= 0) & (start <= 1)).all():
                raise refuse("start", start.shape, f"an array of shape {p.shape} of numbers from 0 to 1")
            return start.copy()
        room = int(self.free.sum())
        level = (p.fraction * self.free.size - p.solid.sum()) / max(room, 1)
        if level < 1e-3:
            raise InputError(f"fraction {p.fraction:g} leaves nothing to design beside the solid elements")
        x = np.full(p.shape, min(level, 1.0) if self.limit is None else 1.0)
        x[p.solid] = 1.0
        x[p.void] = 0.0
        return x

    def go(self, start: Array | None, progress: Progress | None) -> Topology:
        """The loop; Ctrl-C ends it with the design so far."""
        recipe = self.recipe
        x = self.begin(start)
        self.state = mma.start(self.packed(x))
        self.scale, self.ratio = 0.0, np.ones(len(self.problem.loads))
        history: list[tuple[float, float, float, int]] = []
        status = ""
        try:
            for iteration in range(recipe.iterations):
                new, objective, density, effort = self.advance(x, iteration)
                change = float(np.abs(new - x).max())
                history.append((objective, float(density.mean()), change, effort))
                x = new
                if progress is not None:
                    progress(iteration, objective, density)
                if change < recipe.tolerance and recipe.final(iteration):
                    status = f"converged in {iteration + 1} iterations"
                    break
        except KeyboardInterrupt:
            if not history:
                raise
            status = f"interrupted after {len(history)} iterations"
        if not status:
            status = (
                f"stopped after {len(history)} iterations, the last of which changed densities by {history[-1][2]:.3f}"
            )
        return self.judge(x, np.array(history), status)

    def advance(self, x: Array, iteration: int) -> tuple[Array, float, Array, int]:
        """One iteration: (the next variables, what is minimized, densities, iterations of the solver)."""
        p, recipe = self.problem, self.recipe
        penalty, sharpness = recipe.schedule(iteration)
        material = self.make(penalty)
        chain = self.chain(sharpness)
        density = chain.values(x)
        judged, widest, volume, allowed = chain, chain, float(density.mean()), p.fraction
        if recipe.robust:
            judged, widest = self.chain(sharpness, recipe.robust), self.chain(sharpness, -recipe.robust)
            wide = float(widest.values(x).mean())
            # The dilated design may be larger by as much as it is now: then the middle one keeps the fraction.
            volume, allowed = wide, p.fraction * wide / max(volume, 1e-9)
        response = self.analysis(judged.values(x) if recipe.robust else density, material, recipe.precision)
        objective = combined(p, response.values)
        self.scale = self.scale or max(abs(objective), 1e-300)
        counted = Chain([Passive(p.solid, p.void)]) if recipe.filter == "sensitivity" else widest
        volume_slope = counted.pull(x, np.ones(p.shape))
        slopes = np.stack([judged.pull(x, g) for g in response.gradients])
        if self.criteria:
            low, high = mma.limits(x, 0.0, 1.0, recipe.move)
            low, high = np.where(self.free, low, x), np.where(self.free, high, x)
            gradient = np.tensordot(p.weights, slopes, 1)  # type: ignore[arg-type]
            excess = (volume - allowed) * x.size
            new = mma.criteria(x, gradient, volume_slope, excess, low, high, recipe.bisection)
            return new, objective, density, response.iterations
        constraints, rows = [volume / allowed - 1], [volume_slope / (allowed * x.size)]
        worst: float | None = None
        evaluate = None
        if self.limit is not None:
            norms, most, steep = self.stress(self.analysis, density, material, response, recipe.precision)  # type: ignore[misc]
            self.ratio = 0.5 * self.ratio + 0.5 * most / norms if iteration else most / norms
            constraints += list(self.ratio * norms / self.limit - 1)
            rows += [r * chain.pull(x, g) / self.limit for r, g in zip(self.ratio, steep, strict=True)]
            goal = volume_slope
            evaluate = self.limited(chain, material, self.ratio, allowed)
        elif isinstance(p.weights, str):
            worst = objective / self.scale
            constraints += list(response.values / self.scale - worst)
            rows += list(slopes / self.scale)
            goal = np.zeros(p.shape)
        else:
            goal = np.tensordot(p.weights, slopes, 1) / self.scale  # type: ignore[arg-type]
        new, self.state = self.asymptotes(self.state, x, goal, constraints, rows, worst, evaluate)
        return new, objective, density, response.iterations

    def limited(
        self, chain: Chain, material: Power | Rational, ratio: Array, allowed: float
    ) -> Callable[..., list[float]]:
        """Variables -> the values of the constraints on volume and stress."""

        def evaluate(x: Array) -> list[float]:
            density = chain.values(x)
            response = self.analysis(density, material, self.recipe.precision)
            norms, _ = self.stress.norms(density, response)  # type: ignore[union-attr]
            return [float(density.mean()) / allowed - 1, *(ratio * norms / self.limit - 1)]

        return evaluate

    def packed(self, x: Array) -> Array:
        """Variables that are designed, and one more for the largest value where that is minimized."""
        flat = x[self.free]
        return np.append(flat, 1.0) if isinstance(self.problem.weights, str) and self.limit is None else flat

    def asymptotes(
        self,
        state: mma.State,
        x: Array,
        goal: Array,
        constraints: list[float],
        rows: list[Array],
        worst: float | None,
        evaluate: Callable[[Array], list[float]] | None = None,
    ) -> tuple[Array, mma.State]:
        """One step of the method of moving asymptotes."""
        packed = self.packed(x)
        low, high = np.zeros_like(packed), np.ones_like(packed)
        gradient = goal[self.free]
        matrix = np.stack([r[self.free] for r in rows])
        if worst is not None:
            packed[-1] = worst
            low[-1], high[-1] = 0.0 if worst > 0 else 10 * worst, max(10 * worst, 10.0)
            gradient = np.append(gradient, 1.0)
            matrix = np.column_stack([matrix, [0.0] + [-1.0] * (len(rows) - 1)])
        else:
            size = np.abs(gradient).sum()
            gradient = gradient / max(size, 1e-300)
        if evaluate is None:
            new, state = mma.step(
                state, packed, gradient, np.array(constraints), matrix, low, high, move=self.recipe.move
            )
        else:
            values = np.append(gradient @ packed, constraints)
            new, state = mma.conservative_step(
                state, packed, values, np.vstack([gradient, matrix]), low, high,
                lambda v: np.append(gradient @ v, evaluate(self.unpacked(v, x))), move=self.recipe.move,
            )  # fmt: skip
        return self.unpacked(new, x), state

    def unpacked(self, packed: Array, x: Array) -> Array:
        """Variables of all elements, from those that are designed."""
        out = x.copy()
        out[self.free] = packed[: int(self.free.sum())]
        return out

    def judge(self, x: Array, history: Array, status: str) -> Topology:
        """The design as it is, and rounded."""
        p, recipe = self.problem, self.recipe
        penalty, sharpness = recipe.schedule(recipe.iterations - 1)
        density = self.chain(sharpness).values(x)
        response = self.analysis(density, self.make(penalty), recipe.precision)
        rounded = threshold(density, round(float(density.sum())))
        again = self.analysis(rounded, self.make(penalty), min(recipe.precision, 1e-3))
        largest = math.nan
        if self.stress is not None:
            largest = max(float((self.stress.of(s.values)[1] * (rounded > 0.5)).max()) for s in again.solutions)
        grey = float(4 * (density * (1 - density))[self.free].mean()) if self.free.any() else 0.0
        if self.limit is not None:
            relaxed = max(
                float((np.sqrt(density) * self.stress.of(s.values)[1]).max())  # type: ignore[union-attr]
                for s in response.solutions
            )
            if relaxed > 1.02 * self.limit:
                status += f"; the stress limit {self.limit:g} is not kept: {relaxed:.4g} is reached"
                if density.mean() > 0.95:
                    status += ", even though nearly everything is solid"
        if float(density.mean()) > p.fraction * 1.001 + 1e-9:
            status += f"; the volume {density.mean():.4f} is above the fraction {p.fraction:g}"
        return Topology(
            p, recipe, x, density, response.values, float(density.mean()), grey, rounded, again.values, largest,
            history, response.residual, status,
        )  # fmt: skip


def threshold(density: Array, count: int) -> Array:
    """The `count` densest elements solid, the others void; of equal ones the first."""
    out = np.zeros(density.size)
    out[np.argsort(-density, axis=None, kind="stable")[:count]] = 1.0
    return out.reshape(density.shape)


def evaluate(problem: Problem, density: Array, penalty: float = 3.0, tolerance: float = 1e-3) -> Response:
    """What a given design does."""
    return Analysis(problem)(np.asarray(density, float), Power(penalty), tolerance)
