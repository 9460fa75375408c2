"""Between a level and the next coarser one, by linear interpolation P along every axis, in one pass over memory.

Nodes along the axes are three numbers, see `Grid.box`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from metaloop.structure.elasticity.kernels import _FAST, Floats, Ints


@njit(fastmath=_FAST, cache=True)
def restrict(fine: Floats, nodes: Ints, coarser: Ints, out: Floats) -> None:
    """out = Pᵀ fine; shapes (components, nodes) and (components, coarser nodes)."""
    n0, n1, n2 = nodes
    m0, m1, m2 = coarser
    row = np.zeros(2 * m2 + 1, fine.dtype)  # a row of nodes, from the second place on, with zeros around
    inner = row[1 : 1 + n2]
    half = fine.dtype.type(0.5)
    for a in range(fine.shape[0]):
        for i in range(m0):
            for j in range(m1):
                inner[:] = 0
                for p in range(max(2 * i - 1, 0), min(2 * i + 2, n0)):
                    for q in range(max(2 * j - 1, 0), min(2 * j + 2, n1)):
                        w = fine.dtype.type(1)
                        if p != 2 * i:
                            w *= half
                        if q != 2 * j:
                            w *= half
                        one = fine[a, (p * n1 + q) * n2 : (p * n1 + q + 1) * n2]
                        for k in range(n2):
                            inner[k] += w * one[k]
                to = out[a, (i * m1 + j) * m2 : (i * m1 + j + 1) * m2]
                for k in range(m2):
                    to[k] = row[2 * k + 1] + half * (row[2 * k] + row[2 * k + 2])


@njit(fastmath=_FAST, cache=True)
def prolong_add(coarse: Floats, nodes: Ints, coarser: Ints, inverse: Floats, z: Floats) -> None:
    """z += P coarse where nodes are free."""
    n0, n1, n2 = nodes
    m1, m2 = coarser[1], coarser[2]
    row, plane = np.zeros(m2 + 1, z.dtype), np.empty((m1, 2 * m2), z.dtype)
    half, none = z.dtype.type(0.5), z.dtype.type(0)
    for a in range(z.shape[0]):
        for i in range(n0):
            for q in range(m1):  # a plane, long enough along the last axis
                start = (i // 2 * m1 + q) * m2
                one = coarse[a, start : start + m2]
                if i & 1:
                    two = coarse[a, start + m1 * m2 : start + m1 * m2 + m2]
                    for k in range(m2):
                        row[k] = half * (one[k] + two[k])
                else:
                    for k in range(m2):
                        row[k] = one[k]
                long = plane[q]
                for k in range(m2):
                    long[2 * k] = row[k]
                    long[2 * k + 1] = half * (row[k] + row[k + 1])
            for j in range(n1):
                start = (i * n1 + j) * n2
                to, free, one = z[a, start : start + n2], inverse[a, start : start + n2], plane[j // 2]
                if j & 1:
                    two = plane[j // 2 + 1]
                    for k in range(n2):
                        to[k] += half * (one[k] + two[k]) if free[k] > 0 else none
                else:
                    for k in range(n2):
                        to[k] += one[k] if free[k] > 0 else none
