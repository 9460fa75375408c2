"""The levels of multigrid on a box: grids, supports, and elements that the supports make special."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metaloop.structure.elasticity.element import Element, signs
from metaloop.structure.elasticity.grid import Grid, sides

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

COARSEST = 400  # unknowns that a dense factorization takes
DIRECT = 1024  # moduli from which a stored matrix is made by one product; larger ones are made from their children's


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


class Levels:
    """All levels of a box: what follows from the mesh and its supports, but not from the moduli."""

    def __init__(self, element: Element, grid: Grid, fixed: npt.NDArray[np.bool_], springs: Array) -> None:
        self.element, self.springs = element, springs
        c, d = element.components, element.axes
        self.rows = (np.arange(2**d)[:, None] ^ element.shifts) * c + np.arange(c)
        self.blocks = element.blocks
        self.single_blocks = element.blocks.astype(np.float32)
        self.inside = [_interpolation(d, c, child) for child in range(2**d)]
        self.first = np.stack([p.T @ element.matrix @ p for p in self.inside])  # level 1, each child alone
        self.whole = element.in_parities(self.first[0])
        self.single_whole = np.ascontiguousarray(self.whole, dtype=np.float32)
        self.first_diagonal = np.diagonal(self.first, axis1=1, axis2=2).T
        self.levels = [Level(grid, fixed, _spring_elements(grid, springs), *_nothing(d, c))]
        while self.levels[-1].grid.size * c > COARSEST and max(self.levels[-1].grid.shape) > 1:
            self.levels.append(self._coarser(self.levels[-1]))
        # Stored matrices: the blocks (x, z) of characters x <= z; entries[k] is the row and the column of the k-th.
        pairs = [(x, z) for x in range(2**d) for z in range(x, 2**d)]
        self.entries = np.array([(x * c + i, z * c + j) for x, z in pairs for i in range(c) for j in range(c)])
        self.position = np.empty((2**d * c,) * 2, np.int64)
        self.position[self.entries[:, 1], self.entries[:, 0]] = np.arange(len(self.entries))
        self.position[self.entries[:, 0], self.entries[:, 1]] = np.arange(len(self.entries))
        self.corner_weights = self._corner_weights()
        self.direct = self._direct()
        self.families = {
            k: _family(self.levels[k - 1].grid, self.levels[k].grid)
            for k in range(2 + len(self.direct), len(self.levels))
        }

    def _direct(self) -> list[npt.NDArray[np.float32]]:
        """For level 2 and some more: from moduli to stored entries, shape (entries, moduli).

        The moduli are those of level 1, one a character, of all children on the levels between.
        """
        c, n = self.element.components, 2**self.element.axes
        x = np.arange(n)
        parts = np.zeros((n, n, c, n, c))
        for k in range(n):
            parts[k, x, :, x ^ k, :] = self.whole[x, :, x ^ k, :]
        matrices = self.element.in_corners(parts)
        found: list[npt.NDArray[np.float32]] = []
        while len(matrices) * n <= DIRECT and len(found) < len(self.levels) - 2:
            matrices = np.concatenate([p.T @ matrices @ p for p in self.inside])
            turned = self.element.in_parities(matrices).reshape(len(matrices), n * c, n * c)
            found.append(np.ascontiguousarray(turned[:, self.entries[:, 0], self.entries[:, 1]].T, np.float32))
        return found

    def _corner_weights(self) -> npt.NDArray[np.float32]:
        """From stored entries to the diagonal of corner values, shape (2^d · components, entries)."""
        c, n = self.element.components, 2**self.element.axes
        h = signs(self.element.axes)
        (x, i), (z, j) = (np.divmod(e, c) for e in self.entries.T)
        shift = self.element.shifts
        twice = np.where(x == z, 1.0, 2.0) * (i == j)
        own = np.eye(c)[:, i]  # (components, entries)
        return np.asarray((h[x ^ shift[i]] * h[z ^ shift[j]] * twice[:, None]).T[:, None, :] * own, np.float32).reshape(
            n * c, -1
        )

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
        place = place[(place < np.asarray(level.grid.shape)).all(1)] // 2
        parents = np.unique(np.ravel_multi_index(tuple(place.T), grid.nodes)) if len(place) else np.zeros(0, np.int64)
        place = np.stack(np.unravel_index(parents, grid.nodes), axis=1)
        below = 2 * place[:, None, :] + sides(d)  # (parents, children, axes)
        there = np.asarray((below < np.asarray(level.grid.shape)).all(2))
        children = np.where(
            there, np.ravel_multi_index(tuple(np.moveaxis(below, 2, 0)), level.grid.nodes, mode="clip"), 0
        )
        corner = children[..., None] + level.grid.offsets
        held = np.moveaxis(level.fixed[:, corner], 0, -1).reshape(len(parents), 2**d, -1) & there[..., None]
        moving = ~np.moveaxis(fixed[:, parents[:, None] + grid.offsets], 0, -1).reshape(len(parents), -1)
        leak = np.stack([moving.astype(float) @ p.T > 0 for p in self.inside], axis=1) & held
        chosen = np.asarray(leak.any((1, 2))) | np.isin(children, level.special).any(1)
        return Level(grid, fixed, parents[chosen], children[chosen], there[chosen], held[chosen])


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
    return np.asarray(np.kron(total, np.eye(components)), float)


def _spring_elements(grid: Grid, springs: Array) -> Ints:
    """One element at each node with a spring."""
    nodes = np.flatnonzero((springs > 0).any(0))
    place = np.minimum(np.stack(np.unravel_index(nodes, grid.nodes), axis=1), np.asarray(grid.shape) - 1)
    return np.unique(np.ravel_multi_index(tuple(place.T), grid.nodes)) if len(nodes) else np.zeros(0, np.int64)


def _family(fine: Grid, coarse: Grid) -> Ints:
    """The children of every coarse element, -1 where there is none, shape (elements, 2^d)."""
    elements = coarse.elements()
    place = np.stack(np.unravel_index(elements, coarse.nodes), axis=1)
    below = 2 * place[:, None, :] + sides(fine.axes)
    there = (below < np.asarray(fine.shape)).all(2)
    return np.where(there, (below * fine.strides).sum(2), -1)
