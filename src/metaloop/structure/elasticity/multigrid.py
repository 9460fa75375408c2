"""Geometric multigrid on boxes: one V-cycle in single precision, as a preconditioner.

Every level is the Galerkin product PᵀAP of the one below, with linear interpolation P. In the basis of an element's
reflections (see `element`) that costs little:

- Level 0, the mesh itself: its elements' matrices differ by a modulus only.
- Level 1, elements of 2^d elements: reflecting a child in the basis of reflections changes signs only, so entry (x, z)
  of the matrix, of characters x and z, is a constant times the sum of the children's moduli with the signs of the
  character x ^ z. It is never stored.
- From level 2 on, matrices are stored. Interpolation in the basis of reflections is sparse: along one axis, a sum s and
  a difference d become s ∓ d / 2 and d / 2 in the lower or upper half.
- Supports and springs that the coarser nodes cannot represent make a few elements special; theirs are made densely.
- The coarsest level is solved by a Cholesky factorization.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

from metaloop.structure.elasticity import coarsen, kernels
from metaloop.structure.elasticity.element import Element, signs
from metaloop.structure.elasticity.grid import Grid, sides

Array = npt.NDArray[np.float64]
Single = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

COARSEST = 400  # unknowns that a dense factorization takes
RELAXATION = 0.6  # of the damped Jacobi smoother
_DIRECT = 1024  # moduli up to which a matrix is made from them at once


@dataclass(frozen=True)
class Level:
    """What a level needs that the moduli do not change.

    Attributes:
        grid: its elements.
        fixed: unknowns that are held at 0, shape (components, nodes).
        special: elements whose matrix is not that of their children's plain interpolation.
        inside: which of each special element's children are there, shape (special, 2^d), and
        held: which of their unknowns are fixed, shape (special, 2^d, 2^d · components).
    """

    grid: Grid
    fixed: npt.NDArray[np.bool_]
    special: Ints
    children: Ints
    inside: npt.NDArray[np.bool_]
    held: npt.NDArray[np.bool_]


@dataclass
class Values:
    """What a level needs that the moduli do change; and its work arrays."""

    moduli: Single  # (nodes,) on level 0, (2^d, nodes) on level 1
    entries: Single  # from level 2 on
    matrices: Array  # of the special elements: corrections on level 1, whole from level 2 on
    inverse: Single  # of the diagonal, 0 where fixed; (components, nodes)
    z: Single = field(repr=False)
    az: Single = field(repr=False)


class Multigrid:
    """The levels of a box, and a V-cycle on them once moduli are known."""

    def __init__(self, element: Element, grid: Grid, fixed: npt.NDArray[np.bool_], springs: Array) -> None:
        self.element, self.springs = element, springs
        c, d = element.components, element.axes
        self.rows = (np.arange(2**d)[:, None] ^ element.shifts) * c + np.arange(c)
        self.blocks = element.blocks
        self.single_blocks = element.blocks.astype(np.float32)
        self.inside = [_interpolation(d, c, child) for child in range(2**d)]
        first = [p.T @ element.matrix @ p for p in self.inside]
        self.whole = element.in_parities(first[0])
        self.single_whole = np.ascontiguousarray(self.whole, dtype=np.float32)
        self.first_diagonal = np.stack([np.diag(m) for m in first], axis=1)
        self.levels = [Level(grid, fixed, _spring_elements(grid, springs), *_nothing(d, c))]
        while self.levels[-1].grid.size * c > COARSEST and max(self.levels[-1].grid.shape) > 1:
            self.levels.append(self._coarser(self.levels[-1]))
        self.pairs = [(x, z) for x in range(2**d) for z in range(x, 2**d)]
        self.characters, self.entries = self._places()
        self.direct = self._direct()
        self.corner_weights = _corner_weights(self)

    def _places(self) -> tuple[Ints, Ints]:
        """Of the rows (parity, component) of a matrix: their characters; and where pairs of them are stored."""
        c = self.element.components
        x, a = np.divmod(self.rows.ravel(), c)
        at = np.zeros((2**self.element.axes,) * 2, np.int64)
        for k, (one, two) in enumerate(self.pairs):
            at[one, two] = k
        swap = x[:, None] > x
        first, second = np.where(swap, x, x[:, None]), np.where(swap, x[:, None], x)
        row, column = np.where(swap, a, a[:, None]), np.where(swap, a[:, None], a)
        return x, (at[first, second] * c + row) * c + column

    def _direct(self) -> list[Single]:
        """For the first levels that are stored: from the moduli below them to entries, shape (entries, moduli).

        The moduli are level 1's, transformed, of all children of children …; more than that are merged step by step.
        """
        d, c = self.element.axes, self.element.components
        n = 2**d
        x = np.arange(n)
        parts = np.zeros((n, n, c, n, c))  # level 1: one matrix a character
        for k in range(n):
            parts[k, x, :, x ^ k, :] = self.whole[x, :, x ^ k, :]
        matrices = self.element.in_corners(parts)
        found = []
        while len(matrices) * n <= _DIRECT:
            matrices = np.concatenate([p.T @ matrices @ p for p in self.inside])
            turned = self.element.in_parities(matrices)
            packed = [turned[:, one, :, two, :].reshape(-1, c * c) for one, two in self.pairs]
            found.append(np.ascontiguousarray(np.concatenate(packed, axis=1).T, dtype=np.float32))
        return found

    def _coarser(self, level: Level) -> Level:
        c, d = self.element.components, self.element.axes
        grid = level.grid.coarser
        even = (slice(None), *(slice(None, None, 2) for _ in range(d)))
        kept = level.fixed.reshape(c, *level.grid.nodes)[even]
        fixed = np.zeros((c, *grid.nodes), bool)
        fixed[tuple(slice(0, n) for n in kept.shape)] = kept
        fixed = fixed.reshape(c, -1)
        # Candidates: all that touch a fixed unknown, or hold a special child.
        nodes = np.flatnonzero(level.fixed.any(0))
        near = (nodes[:, None] - level.grid.offsets).ravel()
        near = np.union1d(near[near >= 0], level.special)
        place = np.stack(np.unravel_index(near, level.grid.nodes), axis=1)
        place = place[(place < level.grid.shape).all(1)] // 2
        parents = np.unique(np.ravel_multi_index(tuple(place.T), grid.nodes)) if len(place) else np.zeros(0, np.int64)
        place = np.stack(np.unravel_index(parents, grid.nodes), axis=1)
        below = 2 * place[:, None, :] + sides(d)  # (parents, children, axes)
        there = (below < level.grid.shape).all(2)
        children = np.where(
            there, np.ravel_multi_index(tuple(np.moveaxis(below, 2, 0)), level.grid.nodes, mode="clip"), 0
        )
        corner = children[..., None] + level.grid.offsets
        held = np.moveaxis(level.fixed[:, corner], 0, -1).reshape(len(parents), 2**d, -1) & there[..., None]
        moving = ~np.moveaxis(fixed[:, parents[:, None] + grid.offsets], 0, -1).reshape(len(parents), -1)
        leak = np.stack([moving.astype(float) @ p.T > 0 for p in self.inside], axis=1) & held
        chosen = leak.any((1, 2)) | np.isin(children, level.special).any(1)
        return Level(grid, fixed, parents[chosen], children[chosen], there[chosen], held[chosen])

    def set(self, moduli: Array, scale: float = 1.0) -> Hierarchy:
        """A preconditioner for these moduli, shape (nodes,) as `Grid.spread` gives them, all divided by the scale."""
        return Hierarchy(self, moduli, scale)


class Hierarchy:
    """The levels with their moduli."""

    def __init__(self, plan: Multigrid, moduli: Array, scale: float) -> None:
        self.plan = plan
        self.values: list[Values] = []
        none = np.zeros(0, np.float32)
        self.below = none  # moduli that the next level is made from
        c, d = plan.element.components, plan.element.axes
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
                    self.below = kept
                    if len(level.special):
                        plain = np.einsum("cij,cm->mij", np.stack([p.T @ plan.element.matrix @ p for p in plan.inside]),
                                          children[:, level.special])  # fmt: skip
                        matrices = matrices - plain
                else:
                    entries, diagonal = self._stored(depth, level, matrices)
            if depth < 2:
                own = np.diagonal(matrices, axis1=1, axis2=2).reshape(-1, 2**d, c)
                np.add.at(diagonal.T, level.special[:, None] + grid.offsets, own)
            with np.errstate(divide="ignore"):
                inverse = np.where(level.fixed | (diagonal <= 0), 0, 1 / diagonal).astype(np.float32)
            shape = (c, grid.size)
            self.values.append(
                Values(kept, entries, matrices, inverse, np.empty(shape, np.float32), np.empty(shape, np.float32))
            )
        self.below = none
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
            return plan.element.in_corners(
                self._unpacked(values.entries[elements // kernels.RUN, :, elements % kernels.RUN])
            )
        found = np.array(found)
        where = np.searchsorted(level.special, elements)
        if len(level.special):
            where = np.minimum(where, len(level.special) - 1)
            hit = level.special[where] == elements
            found[hit] += values.matrices[where[hit]]
        return found

    def _unpacked(self, entries: Array) -> Array:
        """Symmetric matrices from their blocks: (n, blocks · components²) -> (n, 2^d, components, 2^d, components)."""
        plan = self.plan
        c, n = plan.element.components, 2**plan.element.axes
        full = np.empty((len(entries), n, c, n, c))
        for k, (x, z) in enumerate(plan.pairs):
            block = entries[:, k * c * c : (k + 1) * c * c].reshape(-1, c, c)
            full[:, x, :, z, :] = block
            full[:, z, :, x, :] = block.transpose(0, 2, 1)
        return full

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
        plan, below, values = self.plan, self.plan.levels[depth - 1].grid, self.values[depth - 1]
        c, d = plan.element.components, plan.element.axes
        grid = level.grid
        runs = -(-grid.size // kernels.RUN)
        packed = np.zeros((runs, len(plan.pairs) * c * c, kernels.RUN), np.float32)
        nodes, finer = (np.array((1,) * (3 - d) + g.nodes, np.int64) for g in (grid, below))
        if depth - 2 < len(plan.direct):
            weights = plan.direct[depth - 2]
            self.below = _children(below, grid, self.below, runs * kernels.RUN)
            parts = self.below.reshape(weights.shape[1], runs, kernels.RUN).transpose(1, 0, 2)
            np.matmul(weights, parts, out=packed)
        else:
            coarsen.from_entries(values.entries, plan.characters, plan.entries, d, nodes, finer, packed)
        if len(level.special):
            dense = plan.element.in_parities(special)
            for k, (one, two) in enumerate(plan.pairs):
                packed[level.special // kernels.RUN, k * c * c : (k + 1) * c * c, level.special % kernels.RUN] = (
                    dense[:, one, :, two, :].reshape(-1, c * c)
                )
        corners = np.matmul(plan.corner_weights, packed).transpose(1, 0, 2).reshape(2**d, c, -1)
        return packed, _at_corners(grid, corners[..., : grid.size])

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
        return cho_factor(total, overwrite_a=True, check_finite=False)

    def apply(self, depth: int, u: Single, out: Single) -> None:
        """out = A u on a level."""
        plan, values = self.plan, self.values[depth]
        level = plan.levels[depth]
        offsets = level.grid.offsets
        if depth == 0:
            kernels.apply_fine(u, values.moduli, plan.single_blocks, offsets, plan.rows, out)
        elif depth == 1:
            kernels.apply_children(u, values.moduli, plan.single_whole, offsets, plan.rows, out)
        else:
            kernels.apply_stored(u, values.entries, offsets, plan.rows, out)
        if depth < 2 and len(level.special):
            kernels.apply_special(u, level.special, values.matrices, offsets, out)

    def cycle(self, r: Single, depth: int = 0) -> Single:
        """An approximate solution of A z = r; the array returned belongs to the hierarchy."""
        values = self.values[depth]
        z, az, inverse = values.z, values.az, values.inverse
        if depth == len(self.plan.levels) - 1:
            right = np.where(self.coarsest_fixed, 0, r.ravel()).astype(float)
            z[:] = cho_solve(self.factor, right, check_finite=False).reshape(z.shape)
            return z
        flat = (r.reshape(-1), az.reshape(-1), inverse.reshape(-1), z.reshape(-1))
        kernels.relax(flat[0], flat[2], RELAXATION, flat[3])
        self.apply(depth, z, az)
        kernels.masked_residual(flat[0], flat[1], flat[2])
        grid, coarse = self.plan.levels[depth].grid, self.plan.levels[depth + 1].grid
        below = self.cycle(_restricted(az, grid, coarse), depth + 1)
        kernels.masked_add(_prolonged(below, coarse, grid).reshape(-1), flat[2], flat[3])
        self.apply(depth, z, az)
        kernels.relax_more(flat[0], flat[1], flat[2], RELAXATION, flat[3])
        return z


def signs_of(axes: int) -> Array:
    """Children's signs in the characters, shape (2^d, 2^d): -1 for an upper child where a bit of the character is."""
    return signs(axes) * signs(axes)[:, :1]


def _nothing(axes: int, components: int) -> tuple[Ints, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    n = 2**axes
    return np.zeros((0, n), np.int64), np.zeros((0, n), bool), np.zeros((0, n, n * components), bool)


def _interpolation(axes: int, components: int, child: int) -> Array:
    """From an element's corner values to a child's, shape (2^d · components,) * 2."""
    total = np.ones((1, 1))
    for a in reversed(range(axes)):  # the last axis is the highest bit
        one = np.array([[0.5, 0.5], [0, 1]]) if child >> a & 1 else np.array([[1, 0], [0.5, 0.5]])
        total = np.kron(total, one)
    return np.kron(total, np.eye(components))


def _children(fine: Grid, coarse: Grid, values: npt.NDArray[Any], size: int = 0) -> npt.NDArray[Any]:
    """The children's values of each coarse element: (..., fine nodes) -> (2^d, ..., coarse nodes, or that size)."""
    lead = values.shape[:-1]
    whole = values[..., : fine.size].reshape(*lead, *fine.nodes)
    out = np.zeros((2**fine.axes, *lead, size or coarse.size), values.dtype)
    inside = out[..., : coarse.size].reshape(2**fine.axes, *lead, *coarse.nodes)
    to = tuple(slice(0, n) for n in coarse.shape)
    for child, side in enumerate(sides(fine.axes)):
        of = tuple(slice(s, s + 2 * n, 2) for s, n in zip(side, coarse.shape, strict=True))
        inside[(child, ..., *to)] = whole[(..., *of)]
    return out


def _at_corners(grid: Grid, values: Array) -> Array:
    """Values of elements' corners, shape (2^d, components, nodes), added up at nodes, shape (components, nodes)."""
    out = np.zeros(values.shape[1:])
    last = grid.size - grid.offsets[-1]
    for corner, offset in enumerate(grid.offsets):
        out[:, offset : offset + last] += values[corner, :, :last]
    return out


def _corner_weights(plan: Multigrid) -> Single:
    """Diagonal of corner values from packed entries, shape (2^d · components, entries)."""
    c, n = plan.element.components, 2**plan.element.axes
    h = signs(plan.element.axes)
    weights = np.zeros((n, c, len(plan.pairs), c, c), np.float32)
    for k, (x, z) in enumerate(plan.pairs):
        for a in range(c):
            shift = int(plan.element.shifts[a])
            weights[:, a, k, a, a] = h[x ^ shift] * h[z ^ shift] * (1 if x == z else 2)
    return weights.reshape(n * c, -1)


def _restricted(fine: Single, grid: Grid, coarse: Grid) -> Single:
    c = len(fine)
    shape = list(grid.nodes)
    for a in range(grid.axes):
        lead, tail = c * math.prod(shape[:a]), math.prod(shape[a + 1 :])
        out = np.empty((lead, coarse.nodes[a], tail), np.float32)
        kernels.restrict(fine.reshape(lead, shape[a], tail), out)
        fine = out
        shape[a] = coarse.nodes[a]
    return fine.reshape(c, -1)


def _prolonged(values: Single, coarse: Grid, grid: Grid) -> Single:
    c = len(values)
    shape = list(coarse.nodes)
    for a in reversed(range(grid.axes)):
        lead, tail = c * math.prod(shape[:a]), math.prod(shape[a + 1 :])
        out = np.empty((lead, grid.nodes[a], tail), np.float32)
        kernels.prolong(values.reshape(lead, shape[a], tail), out)
        values = out
        shape[a] = grid.nodes[a]
    return values.reshape(c, -1)


def _spring_elements(grid: Grid, springs: Array) -> Ints:
    """One element at each node with a spring."""
    nodes = np.flatnonzero((springs > 0).any(0))
    place = np.minimum(np.stack(np.unravel_index(nodes, grid.nodes), axis=1), np.asarray(grid.shape) - 1)
    return np.unique(np.ravel_multi_index(tuple(place.T), grid.nodes)) if len(nodes) else np.zeros(0, np.int64)


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
