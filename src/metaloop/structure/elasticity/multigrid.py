"""Geometric multigrid on boxes: one V-cycle in single precision, as a preconditioner.

Every level is the Galerkin product PᵀAP of the one below, with linear interpolation P. In the basis of an element's
reflections (see `element`) that costs little:

- Level 0, the mesh itself: its elements' matrices differ by a modulus only.
- Level 1, elements of 2^d elements: reflecting a child in the basis of reflections changes signs only, so entry (x, z)
  of the matrix, of characters x and z, is a constant times the sum of the children's moduli with the signs of the
  character x ^ z. It is never stored.
- From level 2 on, matrices are stored. They are linear in the moduli: while those in an element are few, one product
  makes them all. Beyond, a level is made from the one below.
- Supports and springs that the coarser nodes cannot represent make a few elements special; theirs are made densely.
- The coarsest level is solved by a Cholesky factorization.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError, cho_factor
from scipy.linalg.lapack import dpotrs

from metaloop.structure.elasticity import kernels, transfer
from metaloop.structure.elasticity.grid import Grid, sides
from metaloop.structure.elasticity.levels import Level, Levels, signs_of

Array = npt.NDArray[np.float64]
Single = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

RELAXATION = 0.6  # at most, of the damped Jacobi smoother


@dataclass
class Values:
    """What a level needs that the moduli do change; and its work arrays."""

    moduli: Single  # (nodes,) on level 0, (2^d, nodes) on level 1
    entries: Single  # from level 2 on
    matrices: Array  # of the special elements: corrections on level 1, whole from level 2 on
    inverse: Single  # of the diagonal, 0 where fixed; (components, nodes)
    z: Single = field(repr=False)
    az: Single = field(repr=False)
    right: Single = field(repr=False)


class Hierarchy:
    """The levels with their moduli, and a V-cycle on them.

    Args:
        plan: the levels.
        moduli: shape (nodes,) as `Grid.spread` gives them, divided by
        scale: the largest of them.
    """

    def __init__(self, plan: Levels, moduli: Array, scale: float) -> None:
        self.plan = plan
        # Below 2 / (the largest eigenvalue of an element, relative to its diagonal) no error grows on the mesh itself,
        # whatever the moduli. On coarser levels that is no theorem: see `calmer`.
        element = plan.element.matrix
        largest = float(np.linalg.eigvals(element / np.diag(element)[:, None]).real.max())
        self.relaxation = min(RELAXATION, 1.9 / largest)
        self.values: list[Values] = []
        c, d = plan.element.components, plan.element.axes
        none = np.zeros(0, np.float32)
        self._below: Single = none  # the moduli that the next level's matrices are made from
        size = 2**d * c
        for depth, level in enumerate(plan.levels):
            grid = level.grid
            matrices = np.zeros((len(level.special), size, size))
            entries, kept = np.zeros((0, 0, kernels.RUN), np.float32), none
            if depth == 0:
                kept = moduli.astype(np.float32)
                around = _at_corners(grid, np.broadcast_to(moduli, (2**d, 1, grid.size)))
                diagonal = np.diag(plan.element.matrix)[:c, None] * around  # every corner is like the first
                matrices = _spring_matrices(grid, plan.springs, level.special, c) / scale
            else:
                if len(level.special):
                    matrices = self._dense(depth, level)
                if depth == 1:
                    children = _children(plan.levels[0].grid, grid, moduli)
                    diagonal = _at_corners(grid, (plan.first_diagonal @ children).reshape(-1, c, grid.size))
                    kept = (signs_of(d) @ children).astype(np.float32)
                    self._below = kept
                    if len(level.special):
                        plain = np.tensordot(children[:, level.special].T, plan.first, 1)
                        matrices = matrices - plain
                else:
                    entries, diagonal = self._stored(depth, level, matrices)
            if depth < 2:
                own = np.diagonal(matrices, axis1=1, axis2=2).reshape(-1, 2**d, c)
                np.add.at(diagonal.T, level.special[:, None] + grid.offsets, own)
            with np.errstate(divide="ignore"):
                inverse = np.where(level.fixed | (diagonal <= 0), 0, 1 / diagonal).astype(np.float32)
            shape = (c, grid.size)
            work = [np.empty(shape if used else 0, np.float32) for used in (True, True, depth > 0)]
            self.values.append(Values(kept, entries, matrices, inverse, *work))
        self._below = none
        # How many parts threads take; asked here, once, as asking takes longer than small coarse grids.
        self.tasks = [
            kernels.parts(level.grid.size, int(level.grid.offsets[-1])) if depth < 2 else 1
            for depth, level in enumerate(plan.levels)
        ]
        self.factor = self._factor()

    def matrices(self, depth: int, elements: Ints) -> Array:
        """Of some elements of a level, of corner values, shape (elements, 2^d · components, same)."""
        plan, values, level = self.plan, self.values[depth], self.plan.levels[depth]
        d = plan.element.axes
        if depth == 0:
            found = values.moduli[elements].astype(float)[:, None, None] * plan.element.matrix
        elif depth == 1:
            x = np.arange(2**d)
            of = values.moduli[:, elements].astype(float)[x[:, None] ^ x]  # (x, z, elements)
            found = plan.element.in_corners(np.moveaxis(plan.whole[..., None] * of[:, None, :, None], -1, 0))
        else:
            packed = values.entries[elements // kernels.RUN, :, elements % kernels.RUN].astype(float)
            shape = (2**d, plan.element.components) * 2
            return plan.element.in_corners(packed[:, plan.position].reshape(len(elements), *shape))
        found = np.array(found)
        where = np.searchsorted(level.special, elements)
        if len(level.special):
            where = np.minimum(where, len(level.special) - 1)
            hit = level.special[where] == elements
            found[hit] += values.matrices[where[hit]]
        return found

    def _dense(self, depth: int, level: Level) -> Array:
        """The special elements' matrices: sums of PᵀZAZP over children, Z without the children's fixed unknowns."""
        plan = self.plan
        total = np.zeros((len(level.special), *plan.element.matrix.shape))
        for child, p in enumerate(plan.inside):
            there = level.inside[:, child]
            below = self.matrices(depth - 1, level.children[there, child])
            free = ~level.held[there, child]
            below = below * free[:, :, None] * free[:, None, :]
            total[there] += p.T @ below @ p
        return total

    def _stored(self, depth: int, level: Level, special: Array) -> tuple[Single, Array]:
        """The level's matrices, and its diagonal."""
        plan, grid, below = self.plan, level.grid, self.values[depth - 1]
        c, n = plan.element.components, 2**plan.element.axes
        runs = -(-grid.size // kernels.RUN)
        entries = np.zeros((runs, len(plan.entries), kernels.RUN), np.float32)
        if depth - 2 < len(plan.direct):
            weights = plan.direct[depth - 2]
            self._below = _children(plan.levels[depth - 1].grid, grid, self._below, runs * kernels.RUN)
            moduli = self._below.reshape(weights.shape[1], runs, kernels.RUN)
            for run in range(runs):
                np.dot(weights, moduli[:, run], out=entries[run])
        else:
            kernels.coarsen(
                below.entries, plan.position, plan.entries, plan.rows, grid.elements(), plan.families[depth], entries
            )
        if len(level.special):
            dense = plan.element.in_parities(special).reshape(len(special), n * c, n * c)
            chosen = dense[:, plan.entries[:, 0], plan.entries[:, 1]]
            entries[level.special // kernels.RUN, :, level.special % kernels.RUN] = chosen
        corners = np.matmul(plan.corner_weights, entries).transpose(1, 0, 2)
        diagonal = _at_corners(grid, corners.reshape(n * c, -1)[:, : grid.size].reshape(n, c, -1))
        return entries, diagonal

    def _factor(self) -> tuple[Array, bool]:
        depth = len(self.plan.levels) - 1
        level = self.plan.levels[depth]
        c, grid = self.plan.element.components, level.grid
        elements = grid.elements()
        matrices = self.matrices(depth, elements)
        where = (elements[:, None, None] + grid.offsets[:, None]) + grid.size * np.arange(c)
        where = where.reshape(len(elements), -1)
        total = np.zeros((c * grid.size, c * grid.size))
        np.add.at(total, (where[:, :, None], where[:, None, :]), matrices)
        fixed = level.fixed.ravel() | (np.diag(total) <= 0)
        total[fixed] = 0
        total[:, fixed] = 0
        total[fixed, fixed] = 1
        self.coarsest_fixed = fixed
        # Single precision does not resolve the void's stiffness: what floats in it may seem to have a negative one.
        diagonal, shift = np.diag(total).copy(), 1e-7
        while True:
            np.fill_diagonal(total, diagonal * (1 + shift))
            try:
                return cho_factor(total, check_finite=False)
            except LinAlgError:
                shift *= 10

    def apply(self, depth: int, u: Single, out: Single) -> None:
        """out = A u on a level."""
        plan, values = self.plan, self.values[depth]
        level = plan.levels[depth]
        offsets = level.grid.offsets
        tasks = self.tasks[depth]
        if depth == 0 and tasks > 1:
            kernels.apply_fine_threads(u, values.moduli, plan.single_blocks, offsets, plan.rows, out, tasks)
        elif depth == 0:
            kernels.apply_fine(u, values.moduli, plan.single_blocks, offsets, plan.rows, out)
        elif depth == 1 and tasks > 1:
            kernels.apply_children_threads(u, values.moduli, plan.single_whole, offsets, plan.rows, out, tasks)
        elif depth == 1:
            kernels.apply_children(u, values.moduli, plan.single_whole, offsets, plan.rows, out)
        else:
            kernels.apply_stored(u, values.entries, offsets, plan.rows, out)
        if depth < 2 and len(level.special):
            kernels.apply_special(u, level.special, values.matrices, offsets, out)

    def calmer(self) -> None:
        """Relax less, after a cycle that was not positive definite."""
        self.relaxation *= 0.7

    def cycle(self, r: Single, depth: int = 0) -> Single:
        """An approximate solution of A z = r; the array returned belongs to the hierarchy."""
        values = self.values[depth]
        z, az, inverse = values.z, values.az, values.inverse
        if depth == len(self.plan.levels) - 1:
            right = np.where(self.coarsest_fixed, 0, r.ravel()).astype(float)
            z[:] = dpotrs(self.factor[0], right, lower=self.factor[1])[0].reshape(z.shape)
            return z
        flat = (r.reshape(-1), az.reshape(-1), inverse.reshape(-1), z.reshape(-1))
        kernels.relax(flat[0], flat[2], self.relaxation, flat[3])
        self.apply(depth, z, az)
        kernels.masked_residual(flat[0], flat[1], flat[2])
        own, coarser = (self.plan.levels[k].grid.box for k in (depth, depth + 1))
        right = self.values[depth + 1].right
        transfer.restrict(az, own, coarser, right)
        transfer.prolong_add(self.cycle(right, depth + 1), own, coarser, inverse, z)
        self.apply(depth, z, az)
        kernels.relax_more(flat[0], flat[1], flat[2], self.relaxation, flat[3])
        return z


def _children(fine: Grid, coarse: Grid, values: Any, size: int = 0) -> Any:
    """The children's values of each coarse element: (..., fine nodes) -> (2^d, ..., coarse nodes, or that size)."""
    lead = values.shape[:-1]
    whole = values[..., : fine.size].reshape(*lead, *fine.nodes)
    out = np.zeros((2**fine.axes, *lead, size or coarse.size), values.dtype)
    inside = out[..., : coarse.size].reshape(2**fine.axes, *lead, *coarse.nodes)  # a view
    to: Any = tuple(slice(0, n) for n in coarse.shape)
    for child, side in enumerate(sides(fine.axes)):
        of: Any = tuple(slice(s, s + 2 * n, 2) for s, n in zip(side, coarse.shape, strict=True))
        inside[(child, ..., *to)] = whole[(..., *of)]
    return out


def _at_corners(grid: Grid, values: Any) -> Array:
    """Values of elements' corners, shape (2^d, components, nodes), added up at nodes, shape (components, nodes)."""
    out = np.zeros(values.shape[1:])
    last = grid.size - grid.offsets[-1]
    for corner, offset in enumerate(grid.offsets):
        out[:, offset : offset + last] += values[corner, :, :last]
    return out


def _spring_matrices(grid: Grid, springs: Array, special: Ints, components: int) -> Array:
    """Diagonal matrices of those elements; a node's spring belongs to one of them only."""
    size = 2**grid.axes * components
    out = np.zeros((len(special), size, size))
    taken: set[int] = set()
    for m, element in enumerate(special):
        for corner, offset in enumerate(grid.offsets):
            node = int(element + offset)
            if node not in taken and (springs[:, node] > 0).any():
                taken.add(node)
                at = corner * components + np.arange(components)
                out[m, at, at] = springs[:, node]
    return out
