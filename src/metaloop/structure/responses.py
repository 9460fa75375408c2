"""What a design does, and the gradient of that: compliance, displacement, stress."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from metaloop.structure.elasticity.grid import sides
from metaloop.structure.elasticity.solve import Body, Material, Solution
from metaloop.structure.interpolation import Power, Rational
from metaloop.structure.problem import Problem

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Response:
    """Of one design.

    Attributes:
        values: to be minimized, one a load case: compliance, or minus the output displacement; shape (cases,).
        gradients: with respect to the densities, shape (cases, *shape).
        solutions: displacements or temperatures, one a load case.
        residual: the largest of the solves.
        iterations: of all solves together.
    """

    values: Array
    gradients: Array
    solutions: list[Solution]
    residual: float
    iterations: int


@dataclass
class Analysis:
    """A problem's body, with the solutions of the last design as starts for the next."""

    problem: Problem
    body: Body = field(init=False)
    _last: dict[str, Array] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        p = self.problem
        self.body = Body(p.element, p.shape, p.supports, p.springs)

    def loads(self, density: Array) -> Array:
        """The problem's loads and the design's weight, shape (cases, d, *nodes)."""
        p = self.problem
        if p.gravity is None:
            return p.loads
        share = np.zeros(tuple(n + 1 for n in p.shape))
        for side in sides(p.axes):
            share[_at(side, p.shape)] += density / 2**p.axes
        return np.asarray(p.loads + np.multiply.outer(p.gravity, share))

    def __call__(self, density: Array, material: Power | Rational, tolerance: float = 1e-3) -> Response:
        """What a design does.

        Args:
            density: of the elements, from 0 to 1, shape `problem.shape`.
            material: how stiff it is.
            tolerance: see `Material.solve`.
        """
        p = self.problem
        made = self.body.set(material.moduli(density))
        slopes = material.slopes(density)
        values, gradients, solutions, work = [], [], [], []
        for case, load in enumerate(self.loads(density)):
            found = self._solve(made, f"load {case}", load, tolerance)
            u = found.values
            solutions.append(found)
            work.append(found)
            if p.output is None:
                values.append(found.work)
                gradients.append(-slopes * self.body.energies(u, u) + 2 * self._weight(u))
            else:
                adjoint = self._solve(made, f"output {case}", p.output, tolerance)
                work.append(adjoint)
                values.append(-float((p.output * u).sum()))
                gradients.append(slopes * self.body.energies(adjoint.values, u) - self._weight(adjoint.values))
        return Response(
            np.array(values),
            np.stack(gradients),
            solutions,
            max(s.residual for s in work),
            sum(s.iterations for s in work),
        )

    def _solve(self, made: Material, name: str, load: Array, tolerance: float) -> Solution:
        found = made.solve(load, self._last.get(name), tolerance)
        self._last[name] = found.values
        return found

    def adjoint(self, made: Material, name: str, load: Array, tolerance: float) -> Solution:
        """K v = load, started from the last solution of that name."""
        return self._solve(made, name, load, tolerance)

    def _weight(self, u: Array) -> Array | float:
        """d (u · load) / d density through the design's weight."""
        p = self.problem
        if p.gravity is None:
            return 0.0
        along = np.tensordot(p.gravity, u, 1)
        return np.asarray(sum(along[_at(side, p.shape)] for side in sides(p.axes)) / 2**p.axes)


def _at(side: npt.NDArray[np.int64], shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(int(s), int(s) + n) for s, n in zip(side, shape, strict=True))


class Stress:
    """Von Mises stress at the elements' centers, relaxed where there is little material.

    Relaxation σ ρ^(1/2) (qp-approach: Bruggi 2008) and aggregation by a p-norm (Duysinx & Sigmund 1998), rescaled to
    the largest value as the design changes (Le et al. 2010).
    """

    def __init__(self, problem: Problem, power: float = 10.0) -> None:
        d, nu = problem.axes, problem.poisson
        self.problem, self.power = problem, power
        corners = sides(d)
        slopes = (2 * corners - 1) / 2 ** (d - 1)  # at the center, shape (corners, d)
        pairs = [(a, a) for a in range(d)] + [(a, b) for a in range(d) for b in range(a + 1, d)]
        strain = np.zeros((len(pairs), 2**d, d))
        for row, (a, b) in enumerate(pairs):
            strain[row, :, a] += slopes[:, b]
            if a != b:
                strain[row, :, b] += slopes[:, a]
        shear = 1 / (2 * (1 + nu))
        first = nu / (1 - nu**2) if d == 2 else nu / ((1 + nu) * (1 - 2 * nu))
        law = np.diag([2 * shear] * d + [shear] * (len(pairs) - d))
        law[:d, :d] += first
        self.stress = np.tensordot(law, strain, 1)  # (components of stress, corners, d)
        mises = np.diag([1.0] * d + [3.0] * (len(pairs) - d))
        mises[:d, :d] -= 0.5 * (1 - np.eye(d))
        self.mises = mises

    def of(self, u: Array) -> tuple[Array, Array]:
        """(stress of solid material, its components first, and von Mises's) at displacements u."""
        p = self.problem
        s = np.zeros((len(self.mises), *p.shape))
        for corner, side in enumerate(sides(p.axes)):
            s += np.tensordot(self.stress[:, corner], u[(slice(None), *_at(side, p.shape))], 1)
        square = (s * np.tensordot(self.mises, s, 1)).sum(0)
        return s, np.sqrt(np.maximum(square, 1e-300))

    def norms(self, density: Array, response: Response) -> tuple[Array, Array]:
        """p-norms and largest values of the relaxed stress, one a load case."""
        relaxed = np.sqrt(np.maximum(density, 1e-9))
        norms, most = [], []
        for solution in response.solutions:
            value = relaxed * self.of(solution.values)[1]
            top = value.max()
            norms.append(top * ((value / top) ** self.power).sum() ** (1 / self.power))
            most.append(top)
        return np.array(norms), np.array(most)

    def __call__(
        self, analysis: Analysis, density: Array, material: Power | Rational, response: Response, tolerance: float
    ) -> tuple[Array, Array, Array]:
        """(p-norms, largest values, gradients of the p-norms) of the relaxed stress, one a load case."""
        p = self.problem
        made = analysis.body.set(material.moduli(density))
        slopes = material.slopes(density)
        norms, most, gradients = [], [], []
        relaxed = np.sqrt(np.maximum(density, 1e-9))
        for case, solution in enumerate(response.solutions):
            s, mises = self.of(solution.values)
            value = relaxed * mises
            top = value.max()
            total = ((value / top) ** self.power).sum()
            norm = top * total ** (1 / self.power)
            outer = (value / norm) ** (self.power - 1)  # d norm / d value
            direct = outer * mises * 0.5 / relaxed
            inner = np.tensordot(self.mises, s, 1) * (outer * relaxed / mises)
            load = np.zeros(p.loads.shape[1:])
            for corner, side in enumerate(sides(p.axes)):
                load[(slice(None), *_at(side, p.shape))] += np.tensordot(self.stress[:, corner], inner, ((0,), (0,)))
            back = analysis.adjoint(made, f"stress {case}", load, tolerance).values
            gradients.append(direct - slopes * analysis.body.energies(back, solution.values) + analysis._weight(back))
            norms.append(norm)
            most.append(top)
        return np.array(norms), np.array(most), np.stack(gradients)
