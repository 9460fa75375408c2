"""Trusses in the plane and in space: the direct stiffness method, and exact derivatives of all that it computes.

A bar of area A and length l between two joints has the strain e = b·u, its stress is E e, and the structure's stiffness
is K = Σ E A l b bᵀ. So K is linear in the areas, and every derivative is a product of vectors that are there already
(Haftka & Gürdal, Elements of Structural Optimization, 1992: direct and adjoint method).
Units are the caller's, and only have to agree with each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from metaloop.errors import InputError, refuse
from metaloop.structure.joints import (
    Array,
    Bools,
    Ints,
    Loads,
    Supports,
    connections,
    coordinates,
    floats,
    groups,
    held,
    pulls,
    refuse_bare,
)

AXES = "xyz"
LOOSE = 1e-10  # a singular value of the bars' directions below this share of the largest one is a mechanism


@dataclass(frozen=True, eq=False)
class Truss:
    """Joints, the bars between them, what holds them and what pulls at them.

    Args:
        nodes: coordinates of the joints, shape (n, 2) or (n, 3).
        bars: the two joints of every bar, counted from 0, shape (m, 2).
        supports: for each joint that is held, the directions in which it is: ``{0: "xy", 3: "y"}``.
        loads: for each load case, the force on each loaded joint: ``[{1: (0, -100)}]``; one mapping is one case.
        modulus: Young's modulus, one number or one of each bar.
        density: weight per volume, one number or one of each bar.
        groups: for each bar the number of its design variable, from 0; without it every bar has its own.

    Raises:
        InputError: a shape that does not fit, a joint that does not exist or has no bar, a bar of no length, no
            support, no load, a load where the joint is held, or a mechanism: the message names the joint that moves.
    """

    nodes: ArrayLike
    bars: ArrayLike
    supports: Supports
    loads: Loads
    modulus: ArrayLike = 1.0
    density: ArrayLike = 1.0
    groups: ArrayLike | None = None

    def __post_init__(self) -> None:
        _ = self.lengths, self.forces, self.group
        for name, value in (("modulus", self.moduli), ("density", self.densities)):
            if not (np.isfinite(value).all() and (value > 0).all()):
                raise refuse(name, getattr(self, name), "positive numbers")
        self._refuse_mechanism()

    # --- what was given, as arrays

    @cached_property
    def points(self) -> Array:
        """Coordinates, (n, d)."""
        return coordinates(self.nodes)

    @cached_property
    def ends(self) -> Ints:
        """The joints of the bars, (m, 2)."""
        return connections("bars", self.bars, len(self.points))

    @cached_property
    def fixed(self) -> Bools:
        """Which coordinates are held, (n, d)."""
        n, d = self.points.shape
        return held(self.supports, n, AXES[:d])

    @cached_property
    def forces(self) -> Array:
        """Forces on the joints, (cases, n, d)."""
        return pulls(self.loads, self.fixed, AXES[: self.points.shape[1]])

    @cached_property
    def moduli(self) -> Array:
        """Young's modulus of each bar, (m,)."""
        return self._each("modulus", self.modulus)

    @cached_property
    def densities(self) -> Array:
        """Weight per volume of each bar, (m,)."""
        return self._each("density", self.density)

    @cached_property
    def group(self) -> Ints:
        """The design variable of each bar, (m,)."""
        return groups(self.groups, len(self.ends))

    # --- what follows from it

    @property
    def variables(self) -> int:
        """How many design variables there are."""
        return int(self.group.max()) + 1

    @cached_property
    def spans(self) -> Array:
        """From the first joint of each bar to the second, (m, d)."""
        return np.asarray(self.points[self.ends[:, 1]] - self.points[self.ends[:, 0]])

    @cached_property
    def lengths(self) -> Array:
        """Of the bars, (m,)."""
        return refuse_bare("bars", self.points, self.ends)

    @cached_property
    def weights(self) -> Array:
        """The weight of each design variable at an area of 1, (g,): the derivative of the weight."""
        return np.asarray(np.bincount(self.group, self.densities * self.lengths), dtype=float)

    @cached_property
    def free(self) -> Ints:
        """Numbers of the coordinates that may move, in the flat order of (n, d)."""
        return np.flatnonzero(~self.fixed.ravel())

    @cached_property
    def strain(self) -> Array:
        """b: the strain of each bar for a unit displacement of each free coordinate, (m, free)."""
        n, d = self.points.shape
        rows = np.zeros((len(self.ends), n, d))
        each = np.arange(len(self.ends))
        slope = self.spans / self.lengths[:, None] ** 2
        rows[each, self.ends[:, 0]] = -slope
        rows[each, self.ends[:, 1]] = slope
        return rows.reshape(len(self.ends), -1)[:, self.free]

    def analyze(self, areas: ArrayLike) -> Analysis:
        """Solve for the displacements under all load cases: one factorization.

        Args:
            areas: of the design variables, shape (g,), all positive.

        Raises:
            InputError: another shape, or an area that is not positive.
        """
        a = floats("areas", areas)
        if a.shape != (self.variables,) or not np.isfinite(a).all() or not (a > 0).all():
            raise refuse("areas", areas, f"{self.variables} positive numbers")
        return Analysis(self, a)

    def _each(self, name: str, value: ArrayLike) -> Array:
        given = floats(name, value)
        if given.shape not in ((), (len(self.ends),)):
            raise refuse(name, value, f"a number, or {len(self.ends)} of them")
        return np.broadcast_to(given, len(self.ends)).astype(float)

    def _refuse_mechanism(self) -> None:
        """A motion that strains no bar is a null vector of the bars' directions, whatever their areas are."""
        if not self.free.size:
            raise refuse("supports", self.supports, "a mapping that leaves a joint free to move")
        matrix = self.strain * self.lengths[:, None]
        _, values, modes = np.linalg.svd(matrix, full_matrices=len(matrix) < len(self.free))
        if len(values) < len(self.free) or values[-1] <= LOOSE * values[0]:
            joint, axis = divmod(int(self.free[np.argmax(np.abs(modes[-1]))]), self.points.shape[1])
            raise InputError(
                f"bars was a mechanism: joint {joint} moves in {AXES[axis]} and no bar resists; "
                "it may be a truss with more bars or supports"
            )


@dataclass(frozen=True, eq=False)
class Analysis:
    """A truss with its areas, and what follows from them. Everything is computed when it is first asked for.

    Attributes:
        truss: what was analyzed.
        areas: of the design variables, (g,).
    """

    truss: Truss
    areas: Array

    def scaled(self, factor: float) -> Analysis:
        """All areas times a factor: displacements are divided by it, so nothing has to be solved again."""
        other = Analysis(self.truss, self.areas * factor)
        triangle, lower = self.factor
        object.__setattr__(other, "factor", (triangle * np.sqrt(factor), lower))
        object.__setattr__(other, "moved", self.moved / factor)
        return other

    @cached_property
    def sections(self) -> Array:
        """The area of each bar, (m,)."""
        return np.asarray(self.areas[self.truss.group])

    @cached_property
    def weight(self) -> float:
        """Of all bars."""
        return float(self.truss.weights @ self.areas)

    @cached_property
    def stiffness(self) -> Array:
        """K of the free coordinates."""
        t = self.truss
        return np.asarray((t.strain.T * (t.moduli * self.sections * t.lengths)) @ t.strain)

    @cached_property
    def factor(self) -> tuple[Any, bool]:
        """The Cholesky factor of K, as scipy keeps it."""
        from scipy.linalg import cho_factor

        return cho_factor(self.stiffness)

    def solve(self, right: Array) -> Array:
        """K⁻¹ times columns over the free coordinates."""
        from scipy.linalg import cho_solve

        return np.asarray(cho_solve(self.factor, right))

    @cached_property
    def moved(self) -> Array:
        """Displacements of the free coordinates, (free, cases)."""
        return self.solve(self._loads)

    @cached_property
    def _loads(self) -> Array:
        forces = self.truss.forces
        return forces.reshape(len(forces), -1)[:, self.truss.free].T

    @cached_property
    def displacements(self) -> Array:
        """Of the joints, (cases, n, d)."""
        return self._spread(self.moved)

    @cached_property
    def stresses(self) -> Array:
        """Of the bars, tension positive, (cases, m)."""
        return np.asarray((self.truss.moduli[:, None] * (self.truss.strain @ self.moved)).T)

    @cached_property
    def forces(self) -> Array:
        """In the bars, tension positive, (cases, m)."""
        return self.stresses * self.sections

    @cached_property
    def compliance(self) -> Array:
        """Work of the loads, (cases,)."""
        return np.asarray(np.einsum("fk,fk->k", self._loads, self.moved))

    @cached_property
    def residual(self) -> float:
        """What equilibrium leaves over: the largest of K u - f, as a share of the largest load."""
        return float(np.abs(self.stiffness @ self.moved - self._loads).max() / np.abs(self._loads).max())

    def jacobian(self) -> tuple[Array, Array]:
        """Derivatives with respect to the areas, by the direct method.

        Returns:
            of the displacements, (cases, n, d, g), and of the stresses, (cases, m, g).
        """
        t = self.truss
        moved = self.slopes
        shape = (*t.points.shape, t.variables)
        whole = np.zeros((moved.shape[1], t.points.size, t.variables))
        whole[:, t.free] = moved.transpose(1, 0, 2)
        stress = t.moduli[:, None, None] * np.tensordot(t.strain, moved, axes=1)
        return whole.reshape(-1, *shape), stress.transpose(1, 0, 2)

    @cached_property
    def slopes(self) -> Array:
        """Derivatives of the free displacements with respect to the areas, (free, cases, g): -K⁻¹ ∂K/∂A u."""
        cases = self.moved.shape[1]
        pull = self.pull(self.moved)
        return -self.solve(pull.reshape(len(pull), -1)).reshape(len(pull), cases, -1)

    def pull(self, vectors: Array) -> Array:
        """∂K/∂A times columns over the free coordinates, (free, columns, g)."""
        t = self.truss
        force = (t.moduli * t.lengths)[:, None] * (t.strain @ vectors)
        each = np.zeros((len(t.free), vectors.shape[1], t.variables))
        for g in range(t.variables):
            bars = t.group == g
            each[:, :, g] = t.strain[bars].T @ force[bars]
        return each

    def gradient(
        self, displacements: ArrayLike | None = None, stresses: ArrayLike | None = None
    ) -> tuple[Array, Array]:
        """Of a function of displacements and stresses, by the adjoint method: one solve, however many variables.

        Args:
            displacements: the function's derivatives with respect to them, (cases, n, d); without it they are 0.
            stresses: with respect to the stresses, (cases, m); without it they are 0.

        Returns:
            derivatives with respect to the areas, (g,), and to the joints' coordinates, (n, d); supported joints too.

        Raises:
            InputError: a shape that does not fit.
        """
        t = self.truss
        by_stress = np.zeros(self.stresses.shape) if stresses is None else floats("stresses", stresses)
        by_moved = np.zeros(t.forces.shape) if displacements is None else floats("displacements", displacements)
        if by_stress.shape != self.stresses.shape:
            raise refuse("stresses", by_stress.shape, f"an array of shape {self.stresses.shape}")
        if by_moved.shape != t.forces.shape:
            raise refuse("displacements", by_moved.shape, f"an array of shape {t.forces.shape}")
        force = (by_stress * t.moduli).T
        flat = by_moved.reshape(len(by_moved), -1)[:, t.free].T
        adjoint = self.solve(flat + t.strain.T @ force)
        e, e_adjoint = t.strain @ self.moved, t.strain @ adjoint  # strains, (m, cases)
        rigidity = t.moduli * self.sections
        area = np.asarray(np.bincount(t.group, -t.moduli * t.lengths * (e * e_adjoint).sum(axis=1)), dtype=float)
        # With v the difference of the ends' displacements and s the span, the strain is s·v / l².
        inner = rigidity[:, None] * t.lengths[:, None]
        span = (
            self._strain_slope(self.moved, e, force - inner * e_adjoint)
            - self._strain_slope(adjoint, e_adjoint, inner * e)
            - ((rigidity * (e * e_adjoint).sum(axis=1)) / t.lengths)[:, None] * t.spans
        )
        nodes = np.zeros(t.points.shape)
        np.add.at(nodes, t.ends[:, 1], span)
        np.add.at(nodes, t.ends[:, 0], -span)
        return area, nodes

    def _strain_slope(self, vectors: Array, strains: Array, weights: Array) -> Array:
        """Σ over columns of weights times the derivative of the strains with respect to the spans, (m, d)."""
        t = self.truss
        joints = self._spread(vectors)
        v = joints[:, t.ends[:, 1]] - joints[:, t.ends[:, 0]]  # (columns, m, d)
        square = t.lengths**2
        turn = np.einsum("kmd,mk->md", v, weights) / square[:, None]
        return np.asarray(turn - (2 * (strains * weights).sum(axis=1) / square)[:, None] * t.spans)

    def _spread(self, columns: Array) -> Array:
        """Columns over the free coordinates as displacements of all joints, (columns, n, d)."""
        t = self.truss
        whole = np.zeros((columns.shape[1], t.points.size))
        whole[:, t.free] = columns.T
        return whole.reshape(-1, *t.points.shape)
