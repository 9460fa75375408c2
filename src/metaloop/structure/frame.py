"""Plane frames of Euler-Bernoulli beams with stiff joints, and exact derivatives with respect to the members' sizes.

A member of size x has the area A(x) and the second moment I(x) that its section says; its stiffness is the
classical 6 x 6 matrix of a beam without shear deformation, linear in both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from metaloop.errors import InputError, refuse, require
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
from metaloop.structure.truss import LOOSE

DIRECTIONS = "xyr"


class Properties(NamedTuple):
    """Of sections of sizes x, arrays like x: area, second moment, distance of the outer fiber, and their slopes."""

    area: Array
    moment: Array
    fiber: Array
    area_slope: Array
    moment_slope: Array
    fiber_slope: Array


Section = Callable[[Array], Properties]


def rectangle(width: float) -> Section:
    """Rectangles of a fixed width; the size is the height h: A = w h, I = w h³ / 12."""
    require("width", width, lambda w: 0 < w < np.inf, "a positive number")

    def section(h: Array) -> Properties:
        one = np.ones_like(h)
        return Properties(width * h, width * h**3 / 12, h / 2, width * one, width * h**2 / 4, one / 2)

    return section


def similar(k: float, fiber: float = 0.5) -> Section:
    """Similar sections; the size is the area: I = k A², outer fiber at `fiber` times √A. A square has k = 1/12."""
    require("k", k, lambda v: 0 < v < np.inf, "a positive number")
    require("fiber", fiber, lambda v: 0 < v < np.inf, "a positive number")

    def section(a: Array) -> Properties:
        root = np.sqrt(a)
        return Properties(a, k * a**2, fiber * root, np.ones_like(a), 2 * k * a, fiber / (2 * root))

    return section


@dataclass(frozen=True, eq=False)
class Frame:
    """Joints, the beams between them, what holds them and what pulls at them.

    Args:
        nodes: coordinates of the joints, shape (n, 2).
        beams: the two joints of every beam, counted from 0, shape (m, 2).
        supports: for each joint that is held, the directions in which it is: ``{0: "xyr", 3: "y"}``; r is the rotation.
        loads: for each load case, force and moment on each loaded joint: ``[{1: (0, -9, 0)}]``; a mapping is one case.
        section: what area and second moment follow from a size.
        modulus, density: of the material.
        groups: for each beam the number of its design variable, from 0; without it every beam has its own.

    Raises:
        InputError: a shape that does not fit, a beam of no length, a joint without a beam, no support, no load, a load
            in a direction that is held, or a frame that can move as a mechanism: the message names the joint.
    """

    nodes: ArrayLike
    beams: ArrayLike
    supports: Supports
    loads: Loads
    section: Section
    modulus: float = 1.0
    density: float = 1.0
    groups: ArrayLike | None = None

    def __post_init__(self) -> None:
        require("modulus", self.modulus, lambda v: 0 < v < np.inf, "a positive number")
        require("density", self.density, lambda v: 0 < v < np.inf, "a positive number")
        _ = self.lengths, self.forces, self.group
        stiffness = self._assemble(np.ones(len(self.ends)), self.lengths**2)
        values, modes = np.linalg.eigh(stiffness)
        if values[0] <= LOOSE * values[-1]:
            joint, axis = divmod(int(self.free[np.argmax(np.abs(modes[:, 0]))]), 3)
            raise InputError(
                f"supports was too few: joint {joint} moves in {DIRECTIONS[axis]} and no beam resists; "
                "it may be a mapping that holds the frame"
            )

    @cached_property
    def points(self) -> Array:
        """Coordinates, (n, 2)."""
        return coordinates(self.nodes, (2,))

    @cached_property
    def ends(self) -> Ints:
        """The joints of the beams, (m, 2)."""
        return connections("beams", self.beams, len(self.points))

    @cached_property
    def fixed(self) -> Bools:
        """Which of x, y and the rotation are held, (n, 3)."""
        return held(self.supports, len(self.points), DIRECTIONS)

    @cached_property
    def forces(self) -> Array:
        """Forces and moments on the joints, (cases, n, 3)."""
        return pulls(self.loads, self.fixed, DIRECTIONS)

    @cached_property
    def group(self) -> Ints:
        """The design variable of each beam, (m,)."""
        return groups(self.groups, len(self.ends))

    @cached_property
    def lengths(self) -> Array:
        """Of the beams, (m,)."""
        return refuse_bare("beams", self.points, self.ends)

    @cached_property
    def free(self) -> Ints:
        """Numbers of the coordinates that may move, in the flat order of (n, 3)."""
        return np.flatnonzero(~self.fixed.ravel())

    @cached_property
    def parts(self) -> tuple[Array, Array]:
        """The stiffness of each beam in global coordinates for E A = 1 and for E I = 1, (m, 6, 6) each."""
        length = self.lengths
        m = len(length)
        axial, bending = np.zeros((m, 6, 6)), np.zeros((m, 6, 6))
        for i, j, sign in ((0, 0, 1), (3, 3, 1), (0, 3, -1), (3, 0, -1)):
            axial[:, i, j] = sign / length
        for (i, j), factor, power in _BENDING:
            bending[:, i, j] = bending[:, j, i] = factor / length**power
        turn = self._turn
        return turn.transpose(0, 2, 1) @ axial @ turn, turn.transpose(0, 2, 1) @ bending @ turn

    @cached_property
    def _turn(self) -> Array:
        """From global to local displacements of each beam, (m, 6, 6)."""
        c, s = ((self.points[self.ends[:, 1]] - self.points[self.ends[:, 0]]) / self.lengths[:, None]).T
        turn = np.zeros((len(c), 6, 6))
        for k in (0, 3):
            turn[:, k, k], turn[:, k, k + 1], turn[:, k + 1, k], turn[:, k + 1, k + 1] = c, s, -s, c
            turn[:, k + 2, k + 2] = 1
        return turn

    @cached_property
    def places(self) -> Ints:
        """The numbers of each beam's six coordinates among all, (m, 6)."""
        return (3 * self.ends[:, :, None] + np.arange(3)).reshape(len(self.ends), 6)

    def _assemble(self, area: Array, moment: Array) -> Array:
        axial, bending = self.parts
        local = axial * area[:, None, None] + bending * moment[:, None, None]
        whole = np.zeros((3 * len(self.points),) * 2)
        np.add.at(whole, (self.places[:, :, None], self.places[:, None, :]), local)
        return whole[np.ix_(self.free, self.free)]

    def analyze(self, sizes: ArrayLike) -> FrameAnalysis:
        """Solve for the displacements under all load cases: one factorization.

        Args:
            sizes: of the design variables, shape (g,), all positive.

        Raises:
            InputError: another shape, or a size that is not positive.
        """
        x, g = floats("sizes", sizes), int(self.group.max()) + 1
        if x.shape != (g,) or not np.isfinite(x).all() or not (x > 0).all():
            raise refuse("sizes", sizes, f"{g} positive numbers")
        return FrameAnalysis(self, x)


# entries of the bending stiffness in local coordinates for E I = 1: place, factor, power of the length below it
_BENDING = (
    ((1, 1), 12.0, 3), ((1, 2), 6.0, 2), ((1, 4), -12.0, 3), ((1, 5), 6.0, 2), ((2, 2), 4.0, 1), ((2, 4), -6.0, 2),
    ((2, 5), 2.0, 1), ((4, 4), 12.0, 3), ((4, 5), -6.0, 2), ((5, 5), 4.0, 1),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class FrameAnalysis:
    """A frame with its sizes, and what follows from them. Everything is computed when it is first asked for.

    Attributes:
        frame: what was analyzed.
        sizes: of the design variables, (g,).
    """

    frame: Frame
    sizes: Array

    @cached_property
    def properties(self) -> Properties:
        """Of each beam's section, (m,) each."""
        return Properties(*(np.asarray(p, dtype=float) for p in self.frame.section(self.sizes[self.frame.group])))

    @cached_property
    def weight(self) -> float:
        """Of all beams."""
        return float(self.frame.density * self.frame.lengths @ self.properties.area)

    @cached_property
    def weight_slope(self) -> Array:
        """Derivatives of the weight with respect to the sizes, (g,)."""
        f = self.frame
        slopes = f.density * f.lengths * self.properties.area_slope
        return np.asarray(np.bincount(f.group, slopes), dtype=float)

    @cached_property
    def _factor(self) -> Any:
        from scipy.linalg import cho_factor

        f, p = self.frame, self.properties
        return cho_factor(f.modulus * f._assemble(p.area, p.moment))

    def _solve(self, right: Array) -> Array:
        from scipy.linalg import cho_solve

        return np.asarray(cho_solve(self._factor, right))

    @cached_property
    def displacements(self) -> Array:
        """Of the joints: x, y, rotation; (cases, n, 3)."""
        f = self.frame
        flat = np.zeros((len(f.forces), 3 * len(f.points)))
        flat[:, f.free] = self._solve(f.forces.reshape(len(f.forces), -1)[:, f.free].T).T
        return flat.reshape(f.forces.shape)

    @cached_property
    def _local(self) -> Array:
        """Displacements of each beam's ends, global directions, (cases, m, 6)."""
        return self.displacements.reshape(len(self.displacements), -1)[:, self.frame.places]

    @cached_property
    def end_forces(self) -> Array:
        """On each beam at its two ends, in its own directions: axial, shear, moment, twice; (cases, m, 6)."""
        f, p = self.frame, self.properties
        axial, bending = f.parts
        stiff = f.modulus * (axial * p.area[:, None, None] + bending * p.moment[:, None, None])
        return np.asarray(np.einsum("mij,mjk,kml->lmi", f._turn, stiff, self._local.transpose(2, 1, 0)))

    @cached_property
    def stresses(self) -> Array:
        """In the outer fibers at each beam's two ends, upper and lower, tension positive, (cases, m, 4)."""
        p, e = self.properties, self.end_forces
        normal = e[:, :, 3] / p.area
        bend = [sign * e[:, :, k] * p.fiber / p.moment for k, sign in ((2, 1), (5, -1))]
        return np.stack([normal + bend[0], normal - bend[0], normal + bend[1], normal - bend[1]], axis=2)

    @cached_property
    def compliance(self) -> Array:
        """Work of the loads, (cases,)."""
        return np.asarray(np.einsum("kni,kni->k", self.frame.forces, self.displacements))

    def jacobian(self) -> tuple[Array, Array]:
        """Derivatives with respect to the sizes, by the direct method.

        Returns:
            of the displacements, (cases, n, 3, g), and of the stresses, (cases, m, 4, g).
        """
        f, p = self.frame, self.properties
        axial, bending = f.parts
        cases, g = len(f.forces), len(self.sizes)
        slope = f.modulus * (axial * p.area_slope[:, None, None] + bending * p.moment_slope[:, None, None])
        pull = np.einsum("mij,kmj->kmi", slope, self._local)
        right = np.zeros((cases, 3 * len(f.points), g))
        for beam, places in enumerate(f.places):
            right[:, places, f.group[beam]] += pull[:, beam]
        flat = np.zeros_like(right)
        for k in range(cases):
            flat[k, f.free] = -self._solve(right[k, f.free])
        own = np.eye(g)[f.group]  # which size each beam has
        stiff = f.modulus * (axial * p.area[:, None, None] + bending * p.moment[:, None, None])
        ends = np.einsum("mij,mjl,kmlg->kmig", f._turn, stiff, flat[:, f.places])
        ends += np.einsum("mij,kmj->kmi", f._turn, pull)[..., None] * own[:, None]
        e = self.end_forces
        normal = ends[:, :, 3] / p.area[:, None] - (e[:, :, 3] * p.area_slope / p.area**2)[..., None] * own
        ratio = p.fiber / p.moment
        ratio_slope = p.fiber_slope / p.moment - p.fiber * p.moment_slope / p.moment**2
        bend = [
            sign * (ends[:, :, k] * ratio[:, None] + (e[:, :, k] * ratio_slope)[..., None] * own)
            for k, sign in ((2, 1), (5, -1))
        ]
        stress = np.stack([normal + bend[0], normal - bend[0], normal + bend[1], normal - bend[1]], axis=2)
        return flat.reshape(cases, len(f.points), 3, g), stress

    def gradient(self, displacements: ArrayLike) -> Array:
        """Of a function of the displacements, by the adjoint method: one solve.

        Args:
            displacements: the function's derivatives with respect to them, (cases, n, 3).

        Returns:
            derivatives with respect to the sizes, (g,).

        Raises:
            InputError: a shape that does not fit.
        """
        f, p = self.frame, self.properties
        given = floats("displacements", displacements)
        if given.shape != f.forces.shape:
            raise refuse("displacements", given.shape, f"an array of shape {f.forces.shape}")
        flat = np.zeros((len(given), 3 * len(f.points)))
        flat[:, f.free] = self._solve(given.reshape(len(given), -1)[:, f.free].T).T
        axial, bending = f.parts
        slope = f.modulus * (axial * p.area_slope[:, None, None] + bending * p.moment_slope[:, None, None])
        each = np.einsum("kmi,mij,kmj->m", flat[:, f.places], slope, self._local)
        return np.asarray(-np.bincount(f.group, each), dtype=float)
