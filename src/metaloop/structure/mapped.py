"""Quadratic quadrilaterals on meshes whose nodes move with a boundary, and exact derivatives in the nodes' places.

If the nodes move with velocity V, the gradient G of a discrete field changes by -G ∇V and a volume by its divergence
(the field's nodal values held). So an integral of W(G) changes by that of (W I - Gᵀ ∂W/∂G) : ∇V - Eshelby's tensor -
which is the exact derivative of the discrete functional, not only of the one that it approximates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse
import scipy.sparse.linalg

from metaloop.errors import InputError, refuse, require

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_SPOTS = np.array([-1.0, 0.0, 1.0])
_GAUSS, _WEIGHTS = np.polynomial.legendre.leggauss(3)


def _along(x: Array) -> tuple[Array, Array]:
    """The three quadratic functions of an edge and their slopes, shape (points, 3)."""
    values = np.stack([x * (x - 1) / 2, 1 - x * x, x * (x + 1) / 2], -1)
    return values, np.stack([x - 0.5, -2 * x, x + 0.5], -1)


def _shapes(x: Array, y: Array) -> tuple[Array, Array]:
    """Nine functions and their gradients in the unit square, shapes (points, 9) and (points, 9, 2)."""
    (a, da), (b, db) = _along(x), _along(y)
    values = np.einsum("pi,pj->pij", a, b).reshape(len(x), 9)
    slopes = np.stack([np.einsum("pi,pj->pij", da, b), np.einsum("pi,pj->pij", a, db)], -1).reshape(len(x), 9, 2)
    return values, slopes


@dataclass(frozen=True)
class Mesh:
    """Nine-node quadrilaterals.

    Args:
        cells: nodes of each, shape (cells, 9), ordered (i, j) along both edges, j fastest.
        nodes: how many there are.
    """

    cells: Ints
    nodes: int

    @cached_property
    def _rule(self) -> tuple[Array, Array, Array]:
        x, y = (g.ravel() for g in np.meshgrid(_GAUSS, _GAUSS, indexing="ij"))
        values, slopes = _shapes(x, y)
        return values, slopes, np.outer(_WEIGHTS, _WEIGHTS).ravel()

    def geometry(self, places: Array) -> tuple[Array, Array, Array]:
        """At all quadrature points: (functions (points, 9), their gradients (cells, points, 9, 2), volumes).

        Raises:
            InputError: places of another shape, or a cell that is turned inside out.
        """
        if places.shape != (self.nodes, 2) or not np.isfinite(places).all():
            raise refuse("places", places.shape, f"an array of shape ({self.nodes}, 2) of finite numbers")
        values, slopes, weights = self._rule
        jacobian = np.einsum("pna,cnb->cpab", slopes, places[self.cells])
        size = np.linalg.det(jacobian)
        if not (size > 0).all():
            where = places[self.cells[int(np.argmin(size.min(1)))]].mean(0)
            raise InputError(f"the mesh is turned inside out near ({where[0]:.3g}, {where[1]:.3g})")
        gradients = np.einsum("cpab,pnb->cpna", np.linalg.inv(jacobian), slopes)
        return values, gradients, size * weights

    def area(self, places: Array) -> tuple[float, Array]:
        """The area, and its gradient in the places."""
        _, gradients, volumes = self.geometry(places)
        return float(volumes.sum()), self.gathered(np.einsum("cpna,cp->cna", gradients, volumes))

    def gathered(self, values: Array) -> Array:
        """Cells' values added up at the nodes: (cells, 9, k) -> (nodes, k)."""
        out = np.zeros((self.nodes, values.shape[2]))
        np.add.at(out, self.cells, values)
        return out

    def assembled(self, matrices: Array) -> scipy.sparse.csc_matrix:
        """Cells' matrices, shape (cells, 9 k, 9 k), in one of all unknowns, numbered node by node."""
        k = matrices.shape[1] // 9
        unknowns = (self.cells[..., None] * k + np.arange(k)).reshape(len(self.cells), -1)
        place = (np.repeat(unknowns, 9 * k, axis=1).ravel(), np.tile(unknowns, (1, 9 * k)).ravel())
        return scipy.sparse.csc_matrix((matrices.ravel(), place), shape=(self.nodes * k,) * 2)


@dataclass(frozen=True)
class Sheet:
    """Plane stress on a mesh.

    Args:
        mesh: of the sheet.
        fixed: displacements held at 0, shape (nodes, 2).
        load: at the nodes, shape (nodes, 2).
        poisson: Poisson's ratio; Young's modulus is 1.
        thickness: of the cells, shape (cells,); 1 if None.
    """

    mesh: Mesh
    fixed: npt.NDArray[np.bool_]
    load: Array
    poisson: float = 0.3
    thickness: Array | None = None

    def __post_init__(self) -> None:
        for name in ("fixed", "load"):
            require(name, getattr(self, name).shape, lambda v: v == (self.mesh.nodes, 2), f"({self.mesh.nodes}, 2)")

    @cached_property
    def law(self) -> Array:
        """Stress from a displacement's gradient, both flattened (xx, xy, yx, yy)."""
        nu, shear = self.poisson, 1 / (2 * (1 + self.poisson))
        one, two = 1 / (1 - nu**2), nu / (1 - nu**2)
        return np.array([[one, 0, 0, two], [0, shear, shear, 0], [0, shear, shear, 0], [two, 0, 0, one]])

    def solve(self, places: Array) -> Array:
        """Displacements, shape (nodes, 2)."""
        _, gradients, volumes = self.mesh.geometry(places)
        law = self.law.reshape(2, 2, 2, 2)
        if self.thickness is not None:
            volumes = volumes * self.thickness[:, None]
        matrices = np.einsum("cpna,iajb,cpmb,cp->cnimj", gradients, law, gradients, volumes, optimize=True)
        matrix = self.mesh.assembled(matrices.reshape(len(matrices), 18, 18))
        free = np.flatnonzero(~self.fixed.ravel())
        u = np.zeros(self.load.size)
        u[free] = scipy.sparse.linalg.spsolve(matrix[free][:, free], self.load.ravel()[free])
        return u.reshape(-1, 2)

    def strains(self, places: Array, u: Array) -> tuple[Array, Array, Array, Array]:
        """(gradients of functions, volumes, gradient of u (cells, points, 2, 2), stress, the same shape)."""
        _, gradients, volumes = self.mesh.geometry(places)
        slope = np.einsum("cni,cpna->cpia", u[self.mesh.cells], gradients)
        stress = (slope.reshape(*slope.shape[:2], 4) @ self.law).reshape(slope.shape)
        return gradients, volumes, slope, stress

    def compliance(self, places: Array) -> tuple[float, Array, Array]:
        """load · u, its gradient in the places (nodes, 2), and in the cells' thicknesses (cells,)."""
        u = self.solve(places)
        gradients, volumes, slope, stress = self.strains(places, u)
        energy = 0.5 * (slope * stress).sum((2, 3))
        by_thickness = -2 * (energy * volumes).sum(1)
        if self.thickness is not None:
            volumes = volumes * self.thickness[:, None]
        eshelby = energy[..., None, None] * np.eye(2) - np.einsum("cpkb,cpka->cpba", slope, stress)
        moved = np.einsum("cpba,cpna,cp->cnb", eshelby, gradients, volumes, optimize=True)
        return float((self.load * u).sum()), -2 * self.mesh.gathered(moved), by_thickness

    def boundary_stress(self, places: Array, u: Array, edge: int) -> tuple[Array, Array]:
        """At the middles of all cells' edges i = 0 (edge 0) or i = 2 (edge 1): places, and stress (cells, 2, 2)."""
        values, slopes = _shapes(np.array([-1.0 if edge == 0 else 1.0]), np.array([0.0]))
        own = places[self.mesh.cells]
        jacobian = np.einsum("na,cnb->cab", slopes[0], own)
        gradients = np.einsum("cab,nb->cna", np.linalg.inv(jacobian), slopes[0])
        slope = np.einsum("cni,cna->cia", u[self.mesh.cells], gradients)
        return values[0] @ own, (slope.reshape(-1, 4) @ self.law).reshape(-1, 2, 2)


@dataclass(frozen=True)
class Membrane:
    """The lowest vibration of a membrane that is held at some nodes: -∇²u = λ u.

    Args:
        mesh: of the membrane.
        fixed: nodes that are held, shape (nodes,).
    """

    mesh: Mesh
    fixed: npt.NDArray[np.bool_]

    def lowest(self, places: Array) -> tuple[float, Array, Array]:
        """(λ, its mode (nodes,) of unit mass, the gradient of λ in the places (nodes, 2))."""
        values, gradients, volumes = self.mesh.geometry(places)
        stiff = np.einsum("cpna,cpma,cp->cnm", gradients, gradients, volumes, optimize=True)
        mass = np.einsum("pn,pm,cp->cnm", values, values, volumes, optimize=True)
        free = np.flatnonzero(~self.fixed)
        k, m = (self.mesh.assembled(a)[free][:, free] for a in (stiff, mass))
        found: Any = scipy.sparse.linalg.eigsh(k, 1, m, sigma=0.0, v0=np.ones(len(free)))
        level, mode = float(found[0][0]), np.zeros(self.mesh.nodes)
        mode[free] = found[1][:, 0]
        own = mode[self.mesh.cells]
        field = own @ values.T
        scale = 1 / np.sqrt((field**2 * volumes).sum())
        mode, field = mode * scale, field * scale
        slope = np.einsum("cn,cpna->cpa", own * scale, gradients)
        energy = (slope**2).sum(2) - level * field**2
        eshelby = energy[..., None, None] * np.eye(2) - 2 * slope[..., :, None] * slope[..., None, :]
        return (
            level,
            mode,
            self.mesh.gathered(np.einsum("cpba,cpna,cp->cnb", eshelby, gradients, volumes, optimize=True)),
        )


def grid(first: int, second: int, *, periodic: bool = False, pole: bool = False) -> tuple[Mesh, Array]:
    """A mesh of `first` x `second` cells, and its nodes' coordinates (s, t), each from 0 to 1, shape (nodes, 2).

    Args:
        first, second: cells along s and t.
        periodic: t = 1 is t = 0.
        pole: all nodes at s = 0 are one.

    Raises:
        InputError: no cells.
    """
    require("cells", (first, second), lambda v: min(v) >= 1 and v[1] >= (2 if periodic else 1), "at least 1 along each")
    rows, columns = 2 * first + 1, 2 * second + (0 if periodic else 1)
    number = np.arange(rows * columns).reshape(rows, columns)
    s, t = np.meshgrid(np.linspace(0, 1, rows), np.arange(columns) / (2 * second), indexing="ij")
    places = np.stack([s.ravel(), t.ravel()], 1)
    if pole:
        number = np.maximum(number - (columns - 1), 0)
        places = places[columns - 1 :]
    i, j = (2 * g.ravel() for g in np.meshgrid(np.arange(first), np.arange(second), indexing="ij"))
    cells = np.stack([number[i + a, (j + b) % columns] for a in range(3) for b in range(3)], 1)
    return Mesh(cells, len(places)), places
