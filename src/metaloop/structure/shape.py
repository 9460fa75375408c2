"""Shapes: boundaries described by a few smooth parameters, and the search for the best of them.

A parametrization says where a mesh's nodes are and pulls gradients in those places back to its parameters; a response
(`mapped.Sheet`, `mapped.Membrane`) gives those gradients exactly. The search itself is sequential quadratic
programming.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy import optimize as scipy_optimize

from metaloop.errors import InputError, refuse, require
from metaloop.structure.mapped import Mesh, grid

Array = npt.NDArray[np.float64]


class Parametrization(Protocol):
    """Parameters -> places of nodes."""

    mesh: Mesh

    def places(self, parameters: Array) -> Array:
        """Of the nodes, shape (nodes, 2)."""
        ...

    def pull(self, parameters: Array, gradient: Array) -> Array:
        """The gradient in the parameters, given that in the places."""
        ...


class Profile:
    """A beam along x from 0 to `length`, symmetric about y = 0, whose height is linear between equally spaced values.

    Args:
        length: of the beam.
        stations: values of the height, from x = 0 on.
        across: cells across the height; there are two cells between stations.
    """

    def __init__(self, length: float, stations: int, across: int = 2) -> None:
        require("stations", stations, lambda v: v >= 2, "at least 2")
        require("length", length, lambda v: v > 0, "greater than 0")
        self.length, self.stations = length, stations
        self.mesh, self.at = grid(2 * (stations - 1), across)
        x = self.at[:, 0] * (stations - 1)
        left = np.minimum(x.astype(int), stations - 2)
        self.weights = np.zeros((self.mesh.nodes, stations))
        rows = np.arange(self.mesh.nodes)
        self.weights[rows, left] = 1 - (x - left)
        self.weights[rows, left + 1] = x - left

    def places(self, parameters: Array) -> Array:
        """See `Parametrization`; parameters: heights."""
        return np.column_stack([self.at[:, 0] * self.length, (self.at[:, 1] - 0.5) * (self.weights @ parameters)])

    def pull(self, parameters: Array, gradient: Array) -> Array:
        """See `Parametrization`."""
        return np.asarray(((self.at[:, 1] - 0.5) * gradient[:, 1]) @ self.weights)


class Star:
    """A domain about the origin whose radius is a Fourier series of the angle: c0 + Σ ck cos kθ + sk sin kθ.

    Args:
        order: of the series; parameters are c0, c1 … , s1 … .
        rings, sectors: cells along the radius and around.
    """

    def __init__(self, order: int, rings: int = 6, sectors: int = 24) -> None:
        require("order", order, lambda v: v >= 1, "at least 1")
        self.order = order
        self.mesh, self.at = grid(rings, sectors, periodic=True, pole=True)
        angle = 2 * np.pi * self.at[:, 1]
        k = np.arange(1, order + 1)
        self.series = np.column_stack([np.ones(len(angle)), np.cos(np.outer(angle, k)), np.sin(np.outer(angle, k))])
        self.rays = self.at[:, :1] * np.column_stack([np.cos(angle), np.sin(angle)])

    @cached_property
    def rim(self) -> npt.NDArray[np.bool_]:
        """Which nodes are on the boundary."""
        return np.asarray(self.at[:, 0] == 1)

    def places(self, parameters: Array) -> Array:
        """See `Parametrization`."""
        return np.asarray(self.rays * (self.series @ parameters)[:, None])

    def pull(self, parameters: Array, gradient: Array) -> Array:
        """See `Parametrization`."""
        return np.asarray((self.rays * gradient).sum(1) @ self.series)


class Hole:
    """A quarter of a plate with a hole about the origin, symmetric about both axes; the outer rim is a fixed circle.

    The hole's radius is exp(c0 + Σ ck cos 2kθ), θ from 0 to 90°, and radii in between are spaced geometrically.

    Args:
        order: of the series; parameters are c0 … .
        outer: radius of the plate.
        rings, sectors: cells along the radius and around.
    """

    def __init__(self, order: int, outer: float, rings: int = 12, sectors: int = 12) -> None:
        require("order", order, lambda v: v >= 1, "at least 1")
        require("outer", outer, lambda v: v > 0, "greater than 0")
        self.outer = outer
        # t runs backwards around, so that cells keep their orientation.
        self.mesh, self.at = grid(rings, sectors)
        angle = 0.5 * np.pi * self.at[:, 1]
        self.angle = angle
        self.series = np.cos(2 * np.outer(angle, np.arange(order + 1)))
        self.rays = np.column_stack([np.cos(angle), np.sin(angle)])

    def radii(self, parameters: Array) -> Array:
        """Of the nodes."""
        inner = self.series @ parameters
        return np.asarray(np.exp((1 - self.at[:, 0]) * inner + self.at[:, 0] * np.log(self.outer)))

    def places(self, parameters: Array) -> Array:
        """See `Parametrization`."""
        return np.asarray(self.rays * self.radii(parameters)[:, None])

    def pull(self, parameters: Array, gradient: Array) -> Array:
        """See `Parametrization`."""
        along = (self.rays * gradient).sum(1) * self.radii(parameters) * (1 - self.at[:, 0])
        return np.asarray(along @ self.series)

    def outer_load(self, stress: tuple[float, float]) -> Array:
        """Forces at the nodes of the outer rim that a uniform stress (xx, yy) exerts there, shape (nodes, 2)."""
        load = np.zeros((self.mesh.nodes, 2))
        rim = np.flatnonzero(self.at[:, 0] == 1)
        points, weights = np.polynomial.legendre.leggauss(3)
        for k in range(0, len(rim) - 2, 2):
            nodes = rim[k : k + 3]
            own = self.rays[nodes] * self.outer
            for x, w in zip(points, weights, strict=True):
                values = np.array([x * (x - 1) / 2, 1 - x * x, x * (x + 1) / 2])
                tangent = np.array([x - 0.5, -2 * x, x + 0.5]) @ own
                normal = np.array([tangent[1], -tangent[0]])  # outwards: the angle grows along the edge
                load[nodes] += w * np.outer(values, normal * stress)
        return load


_AWFUL = 1e6

Judge = Callable[[Array], tuple[float, Array]]  # places -> (value, gradient in the places)


@dataclass(frozen=True)
class Shape:
    """A shape that was found.

    Attributes:
        parameters: of the shape.
        value: of the objective.
        start: its value at the beginning.
        area: of the shape.
        solves: evaluations of the objective with its gradient.
        kkt: norm of the Lagrangian's gradient over free parameters, relative to that of the objective.
        status: one sentence.
    """

    parameters: Array
    value: float
    start: float
    area: float
    solves: int
    kkt: float
    status: str


def improve(
    parametrization: Parametrization,
    judge: Judge,
    start: Array,
    *,
    area: float | None = None,
    bounds: tuple[float, float] | None = None,
    iterations: int = 200,
) -> Shape:
    """Minimize an objective over the parameters, at a given area.

    Args:
        parametrization: of the shape.
        judge: places of the nodes -> (value, gradient in the places).
        start: parameters to begin with.
        area: that the shape is to keep; none to leave it free.
        bounds: of every parameter.
        iterations: of sequential quadratic programming (scipy's SLSQP) at most.

    Raises:
        InputError: a start that is outside the bounds or turns the mesh inside out.
    """
    start = np.asarray(start, float)
    if bounds is not None and not ((start >= bounds[0]) & (start <= bounds[1])).all():
        raise refuse("start", start, f"numbers from {bounds[0]:g} to {bounds[1]:g}")
    mesh = parametrization.mesh
    first, _ = judge(parametrization.places(start))
    size, solves = max(abs(first), 1e-300), 0

    def objective(x: Array) -> tuple[float, Array]:
        nonlocal solves
        solves += 1
        try:
            value, gradient = judge(parametrization.places(x))
        except InputError:  # a step so long that the mesh turns inside out: the line search takes a shorter one
            return _AWFUL, np.zeros_like(x)
        return value / size, parametrization.pull(x, gradient) / size

    def covered(x: Array) -> tuple[float, Array]:
        try:
            value, gradient = mesh.area(parametrization.places(x))
        except InputError:
            return _AWFUL, np.zeros_like(x)
        return value, parametrization.pull(x, gradient)

    held = []
    if area is not None:
        held = [{"type": "eq", "fun": lambda x: covered(x)[0] / area - 1, "jac": lambda x: covered(x)[1] / area}]
    search: Any = scipy_optimize.minimize
    found = search(
        objective, start, jac=True, method="SLSQP", constraints=held,
        bounds=None if bounds is None else [bounds] * len(start), options={"maxiter": iterations, "ftol": 1e-12},
    )  # fmt: skip
    x = np.asarray(found.x, float)
    value, gradient = objective(x)
    now, slope = covered(x)
    inside = np.ones(len(x), bool) if bounds is None else (x > bounds[0] + 1e-9) & (x < bounds[1] - 1e-9)
    g, a = gradient[inside], slope[inside]
    rest = g - a * float(a @ g) / float(a @ a) if area is not None else g
    kkt = float(np.linalg.norm(rest)) / max(float(np.linalg.norm(g)), 1e-300)
    status = f"converged in {found.nit} iterations" if found.success else f"stopped: {found.message}"
    return Shape(x, value * size, first, now, solves, kkt, status)
