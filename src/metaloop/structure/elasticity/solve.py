"""Displacements (or temperatures) of a box of material, by conjugate gradients with multigrid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metaloop.errors import refuse, require
from metaloop.structure.elasticity import kernels
from metaloop.structure.elasticity.element import Element
from metaloop.structure.elasticity.grid import Grid
from metaloop.structure.elasticity.levels import Levels
from metaloop.structure.elasticity.multigrid import Hierarchy

Array = npt.NDArray[np.float64]
LIMIT = 500  # iterations


@dataclass(frozen=True)
class Solution:
    """What a solve found.

    Attributes:
        values: at the nodes, shape (components, *nodes).
        work: load · values: twice the strain energy, the compliance.
        residual: ‖load - K values‖ over ‖load‖.
        error: estimated relative error of `work`.
        iterations: of conjugate gradients.
        status: one sentence.
    """

    values: Array
    work: float
    residual: float
    error: float
    iterations: int
    status: str

    @property
    def converged(self) -> bool:
        """Whether the tolerance was met."""
        return self.status.startswith("converged")


class Body:
    """A box of elements on supports: what is given, and what follows from it but not from the material.

    Args:
        element: the physics, `elastic(axes)` or `conducting(axes)`.
        shape: elements along each axis.
        fixed: unknowns that are held at 0, shape (components, *nodes).
        springs: stiffness of springs from unknowns to the ground, the same shape, in the unit of moduli times edges.

    Raises:
        InputError: shapes that disagree, springs that are negative, or a body that is free to move.
    """

    def __init__(
        self,
        element: Element,
        shape: tuple[int, ...],
        fixed: npt.NDArray[np.bool_],
        springs: Array | None = None,
    ) -> None:
        require(
            "shape", shape, lambda v: len(v) == element.axes and min(v) >= 1, f"{element.axes} numbers of at least 1"
        )
        self.element, self.grid = element, Grid(tuple(int(n) for n in shape))
        self.unknowns = (element.components, *self.grid.nodes)
        fixed = np.asarray(fixed, bool)
        if fixed.shape != self.unknowns:
            raise refuse("fixed", fixed.shape, f"an array of shape {self.unknowns}")
        stiff = np.zeros(self.unknowns) if springs is None else np.asarray(springs, float)
        if stiff.shape != self.unknowns or not (stiff >= 0).all():
            raise refuse("springs", stiff.shape, f"an array of shape {self.unknowns}, of numbers of at least 0")
        self.fixed = fixed
        self._flat_fixed = fixed.reshape(element.components, -1)
        self._flat_springs = stiff.reshape(element.components, -1)
        _check_held(element, self.grid, self._flat_fixed | (self._flat_springs > 0))
        self.free = np.ascontiguousarray((~self._flat_fixed).ravel(), dtype=np.float64)
        self.plan = Levels(element, self.grid, self._flat_fixed, self._flat_springs)

    def set(self, moduli: Array) -> Material:
        """The body with a material.

        Args:
            moduli: of the elements, greater than 0, shape `shape`.

        Raises:
            InputError: another shape, or moduli that are not greater than 0.
        """
        moduli = np.asarray(moduli, float)
        if moduli.shape != self.grid.shape:
            raise refuse("moduli", moduli.shape, f"an array of shape {self.grid.shape}")
        low, top = float(moduli.min()), float(moduli.max())
        if not (low > 0 and top < math.inf):
            raise refuse("moduli", low if not low > 0 else top, "finite numbers greater than 0")
        return Material(self, self.grid.spread(moduli / top), top)

    def energies(self, u: Array, v: Array) -> Array:
        """u K v of each element at unit modulus; u, v: shape (components, *nodes). Shape `shape`."""
        c = self.element.components
        out = np.zeros(self.grid.size)
        kernels.energies(
            u.reshape(c, -1), v.reshape(c, -1), self.element.blocks, self.grid.offsets, self.plan.rows, out
        )
        return self.grid.gathered(out)


class Material:
    """A body whose moduli are known; made by `Body.set`."""

    def __init__(self, body: Body, moduli: Array, scale: float) -> None:
        self.body, self.moduli, self.scale = body, moduli, scale
        self.hierarchy = Hierarchy(body.plan, moduli, scale)
        springs = body._flat_springs.ravel()
        self._sprung = np.flatnonzero(springs)
        self._stiffness = springs[self._sprung] / scale

    def apply(self, u: Array, out: Array) -> None:
        """out = K u / scale, flat arrays of shape (components, nodes), fixed unknowns included."""
        plan = self.body.plan
        offsets = self.body.grid.offsets
        tasks = self.hierarchy.tasks[0]
        if tasks > 1:
            kernels.apply_fine_threads(u, self.moduli, plan.blocks, offsets, plan.rows, out, tasks)
        else:
            kernels.apply_fine(u, self.moduli, plan.blocks, offsets, plan.rows, out)
        if len(self._sprung):
            out.reshape(-1)[self._sprung] += self._stiffness * u.reshape(-1)[self._sprung]

    def solve(self, load: Array, start: Array | None = None, tolerance: float = 1e-3, limit: int = LIMIT) -> Solution:
        """The values at the nodes under a load.

        Conjugate gradients stop where the energy that the last steps gained, continued as a geometric series, says that
        the error, in the norm of the energy, is below the tolerance: what later steps gain is the error's square
        (Hestenes & Stiefel 1952, theorem 6:1). `work` errs by the tolerance's square.

        Args:
            load: at the nodes, shape (components, *nodes); what acts on fixed unknowns is carried by the supports.
            start: values to begin with, the same shape; 0 if None.
            tolerance: relative error of the values in the norm of the energy, greater than 0.
            limit: of iterations.

        Raises:
            InputError: shapes that disagree, a load that is not finite, or one that acts on supports alone.
        """
        body = self.body
        load = np.asarray(load, float)
        if load.shape != body.unknowns or not np.isfinite(load).all():
            raise refuse("load", load.shape, f"an array of shape {body.unknowns} of finite numbers")
        require("tolerance", tolerance, lambda v: 0 < v < 1, "a number between 0 and 1")
        right = load.ravel() * body.free
        size = math.sqrt(kernels.dot(right, right))
        if size == 0:
            raise refuse("load", "0 on every unknown that is free", "a load on at least one of them")
        right /= size
        few = np.flatnonzero(right)
        loaded = slice(None) if len(few) > right.size // 8 else few
        on = right[loaded]
        two = (body.element.components, body.grid.size)
        x, r = np.zeros(right.size), right.copy()
        ap, single = np.empty(two), np.empty(two, np.float32)
        flat_ap, flat_single = ap.reshape(-1), single.reshape(-1)
        if start is not None:
            x = np.asarray(start, float).ravel() * (body.free * self.scale / size)
            self.apply(x.reshape(two), ap)
            energy = kernels.dot(x, flat_ap)
            factor = kernels.dot(on, x[loaded]) / energy if energy > 0 else 0.0  # that of the least error
            x *= factor
            r -= factor * flat_ap
            r *= body.free
        flat_single[:] = r
        p = self.hierarchy.cycle(single).reshape(-1).astype(float)
        rz, square = kernels.dot(r, p), kernels.dot(r, r)
        done, error, calmed = 0, math.inf, 0
        gains: list[float] = []
        while done < limit:
            if square < 1e-30:
                error = 0.0
                break
            self.apply(p.reshape(two), ap)
            curvature = kernels.dot(p, flat_ap)
            if not (rz > 0 and curvature > 0):
                if calmed == 5:  # rounding has the last word
                    break
                calmed += 1
                self.hierarchy.calmer()
                p = self.hierarchy.cycle(single).reshape(-1).astype(float)
                rz = kernels.dot(r, p)
                continue
            alpha = rz / curvature
            square = kernels.step(alpha, p, flat_ap, body.free, x, r, flat_single)
            done += 1
            gains.append(alpha * rz)
            error = _left(gains) / max(kernels.dot(on, x[loaded]), 1e-300)
            if error <= tolerance**2:
                break
            z = self.hierarchy.cycle(single).reshape(-1)
            after = kernels.dot(r, z)
            kernels.turn(z, after / rz, p)
            rz = after
        # Twice the potential energy: its error is the square of the values', whatever they began with.
        work = kernels.dot(on, x[loaded]) + kernels.dot(r, x)
        values = x.reshape(body.unknowns) * (size / self.scale)
        met = error <= tolerance**2
        status = (
            f"converged in {done} iterations"
            if met
            else f"not converged after {done} iterations: error {error**0.5:.1e}"
        )
        return Solution(values, work * size * size / self.scale, math.sqrt(square), error, done, status)


def _left(gains: list[float]) -> float:
    """What is still to be gained, if gains go on falling as in the last four steps."""
    back = min(4, len(gains) - 1)
    if back < 2:
        return 4 * gains[-1]
    ratio = min(0.95, max(0.3, (gains[-1] / gains[-1 - back]) ** (1 / back)))
    return float(gains[-1] * ratio / (1 - ratio))


def _check_held(element: Element, grid: Grid, held: npt.NDArray[np.bool_]) -> None:
    """The supports stop every rigid motion.

    Raises:
        InputError: one of them they do not stop.
    """
    place = np.stack(np.unravel_index(np.arange(grid.size), grid.nodes)).astype(float)
    names, motions = [], []
    if element.components == 1:
        names, motions = ["any temperature"], [np.ones((1, grid.size))]
    else:
        for a in range(element.axes):
            motion = np.zeros((element.axes, grid.size))
            motion[a] = 1
            names.append(f"a shift along {'xyz'[a]}")
            motions.append(motion)
        for a in range(element.axes):
            for b in range(a + 1, element.axes):
                motion = np.zeros((element.axes, grid.size))
                motion[a], motion[b] = -(place[b] - place[b].mean()), place[a] - place[a].mean()
                names.append(f"a rotation in the plane of {'xyz'[a]} and {'xyz'[b]}")
                motions.append(motion / max(grid.shape))
    seen = np.stack([m[held] for m in motions], axis=1)
    if not seen.size:
        raise refuse("fixed", "empty", "supports, at least one")
    _, values, vectors = np.linalg.svd(np.linalg.qr(seen, mode="r"))
    rank = int((values > 1e-9 * values[0]).sum()) if values[0] > 0 else 0
    if rank < len(names):
        free = names[int(np.argmax(np.abs(vectors[rank])))]
        raise refuse("fixed", f"supports that allow {free}", "supports that stop every rigid motion")
