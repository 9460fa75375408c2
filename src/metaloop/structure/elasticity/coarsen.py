"""Matrices of elements from those of their 2^d children, for a few parents along the last axis at a time.

Interpolation in the basis of reflections is sparse: along one axis, a sum s and a difference d become s ∓ d / 2 and
d / 2 in the lower or upper half. So the Galerkin product is taken one axis after the other, in scratch arrays that
stay in the second cache: work[child, row, column, parent], rows and columns in order of (parity, component).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from metaloop.structure.elasticity.kernels import RUN

Floats = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]

WIDE = 16  # parents at a time
_FAST = {"reassoc", "contract", "nsz"}


@njit(fastmath=_FAST, cache=True)
def _merge(work: Floats, axes: int, size: int) -> None:
    """Leaves the parents' matrices where the first children's were."""
    half, quarter = work.dtype.type(0.5), work.dtype.type(0.25)
    components = size >> axes
    square = size * size * WIDE
    for axis in range(axes):
        step = components << axis  # from a row to that of the other parity along the axis
        bit = 1 << axis
        for child in range(0, 1 << axes, 2 * bit):
            low, high = work[child * square : (child + 1) * square], work[(child + bit) * square :]
            for i in range(size):
                if (i // step) & 1:
                    continue
                for j in range(size):
                    if (j // step) & 1:
                        continue
                    at = (i * size + j) * WIDE
                    right, down = at + step * WIDE, at + step * size * WIDE
                    both = down + step * WIDE
                    for k in range(WIDE):
                        l00, l01, l10, l11 = low[at + k], low[right + k], low[down + k], low[both + k]
                        h00, h01, h10, h11 = high[at + k], high[right + k], high[down + k], high[both + k]
                        low[at + k] = l00 + h00
                        low[right + k] = half * (l01 + h01 + h00 - l00)
                        low[down + k] = half * (l10 + h10 + h00 - l00)
                        low[both + k] = quarter * (l00 + h00 + l11 + h11 + h01 - l01 + h10 - l10)


@njit(cache=True)
def _store(work: Floats, characters: Ints, places: Ints, start: int, count: int, packed: Floats) -> None:
    """Into the entries of the parents start, start + 1, …"""
    size = characters.size
    for i in range(size):
        for j in range(size):
            if characters[i] <= characters[j]:
                at = (i * size + j) * WIDE
                for k in range(count):
                    number = start + k
                    packed[number // RUN, places[i, j], number % RUN] = work[at + k]


@njit(cache=True)
def from_entries(
    entries: Floats, characters: Ints, places: Ints, axes: int, nodes: Ints, below: Ints, packed: Floats
) -> None:
    """The entries of a level from those of the level below it.

    Args:
        entries, packed: of the children and of the parents, shape (runs, entries, RUN).
        characters: of a matrix's rows, shape (size,).
        places: of a matrix's elements among the entries, shape (size, size).
        axes: d.
        nodes, below: along each axis, on the parents' level and on that of the children, shape (3,), 1 first in 2D.
    """
    size = characters.size
    work = np.empty((size * size * WIDE) << axes, packed.dtype)
    first = 1 if axes == 2 else max(1, nodes[0] - 1)
    for p in range(first):
        for q in range(nodes[1] - 1):
            for r in range(0, nodes[2] - 1, WIDE):
                count = min(WIDE, nodes[2] - 1 - r)
                for child in range(1 << axes):
                    number = _child(child, axes, p, q, r, below)
                    base = child * size * size * WIDE
                    for i in range(size):
                        for j in range(size):
                            at, place = base + (i * size + j) * WIDE, places[i, j]
                            for k in range(count):
                                work[at + k] = entries[(number + 2 * k) // RUN, place, (number + 2 * k) % RUN]
                            for k in range(count, WIDE):
                                work[at + k] = 0
                _merge(work, axes, size)
                _store(work, characters, places, (p * nodes[1] + q) * nodes[2] + r, count, packed)


@njit(cache=True)
def _child(child: int, axes: int, p: int, q: int, r: int, below: Ints) -> int:
    """The number of a parent's child; one that does not exist has a number without an element, of modulus 0."""
    if axes == 2:
        return (2 * q + (child & 1)) * below[2] + 2 * r + (child >> 1 & 1)
    return ((2 * p + (child & 1)) * below[1] + 2 * q + (child >> 1 & 1)) * below[2] + 2 * r + (child >> 2 & 1)
