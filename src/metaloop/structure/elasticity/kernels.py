"""The loops over elements, for any number of axes and components, without an assembled matrix.

Nodes and elements are numbered alike: an element has the number of its lowest corner, its other corners lie at fixed
offsets from there, and the last layer of numbers along each axis has nodes but no elements (modulus 0). So a loop over
elements is one over consecutive numbers, whatever the number of axes; it runs over runs of them that stay in the
cache. `rows[parity, component]` says where the scratch array keeps a parity of a component: sorted by character.

A task is a range of numbers; what tasks write overlaps only with their next neighbor's, so even ones run together,
then odd ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import get_num_threads, njit, prange

Floats = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]

RUN = 448  # elements whose scratch arrays stay in the cache; rows a power of two apart would crowd it
_FAST = {"reassoc", "contract", "nsz", "arcp"}


@njit(fastmath=_FAST, cache=True, inline="never")
def _gather(u: Floats, start: int, count: int, offsets: Ints, rows: Ints, t: Floats) -> None:
    """Corner values of a run of elements, as sums and differences along every axis."""
    corners, components = rows.shape
    for a in range(components):
        for p in range(0, corners, 2):  # the first axis while loading
            low, high = t[rows[p, a]], t[rows[p + 1, a]]
            one, two = u[a, start + offsets[p] :], u[a, start + offsets[p + 1] :]
            for k in range(count):
                x, y = one[k], two[k]
                low[k] = x + y
                high[k] = y - x
        bit = 2
        while bit < corners:
            for p in range(corners):
                if p & bit == 0:
                    low, high = t[rows[p, a]], t[rows[p | bit, a]]
                    for k in range(count):
                        x, y = low[k], high[k]
                        low[k] = x + y
                        high[k] = y - x
            bit *= 2


@njit(fastmath=_FAST, cache=True, inline="never")
def _scatter(t: Floats, start: int, count: int, offsets: Ints, rows: Ints, out: Floats) -> None:
    """Back to corners, and added to what is there."""
    corners, components = rows.shape
    for a in range(components):
        bit = corners >> 1
        while bit > 1:
            for p in range(corners):
                if p & bit == 0:
                    low, high = t[rows[p, a]], t[rows[p | bit, a]]
                    for k in range(count):
                        x, y = low[k], high[k]
                        low[k] = x - y
                        high[k] = x + y
            bit >>= 1
        for p in range(0, corners, 2):
            low, high = t[rows[p, a]], t[rows[p + 1, a]]
            one = out[a, start + offsets[p] :]
            for k in range(count):
                one[k] += low[k] - high[k]
            two = out[a, start + offsets[p + 1] :]
            for k in range(count):
                two[k] += low[k] + high[k]


@njit(fastmath=_FAST, cache=True, inline="never")
def _blocks(blocks: Floats, moduli: Floats, start: int, count: int, t: Floats) -> None:
    """The element matrices: one small block a character."""
    characters, components, _ = blocks.shape
    e = moduli[start : start + count]
    flat = t.reshape(-1)  # rows at constant distances, which the compiler can tell apart
    for x in range(characters):
        b = blocks[x]
        r = flat[x * components * RUN :]
        if components == 3:
            b00, b11, b22, b01, b02, b12 = b[0, 0], b[1, 1], b[2, 2], b[0, 1], b[0, 2], b[1, 2]
            for k in range(count):
                t0, t1, t2 = e[k] * r[k], e[k] * r[RUN + k], e[k] * r[2 * RUN + k]
                r[k] = b00 * t0 + b01 * t1 + b02 * t2
                r[RUN + k] = b01 * t0 + b11 * t1 + b12 * t2
                r[2 * RUN + k] = b02 * t0 + b12 * t1 + b22 * t2
        elif components == 2:
            b00, b11, b01 = b[0, 0], b[1, 1], b[0, 1]
            for k in range(count):
                t0, t1 = e[k] * r[k], e[k] * r[RUN + k]
                r[k] = b00 * t0 + b01 * t1
                r[RUN + k] = b01 * t0 + b11 * t1
        else:
            b00 = b[0, 0]
            for k in range(count):
                r[k] *= b00 * e[k]


@njit(fastmath=_FAST, cache=True, inline="never")
def _children(whole: Floats, moduli: Floats, start: int, count: int, t: Floats, y: Floats) -> None:
    """Matrices of elements of two elements a side: entry (x, z) is whole[x, z] · moduli[x ^ z], see `multigrid`."""
    characters, components, _, _ = whole.shape
    source, target = t.reshape(-1), y.reshape(-1)
    target[:] = 0
    for apart in range(characters):
        e = moduli[apart, start : start + count]
        for x in range(characters):
            b = whole[x, :, x ^ apart, :]
            r = source[(x ^ apart) * components * RUN :]
            o = target[x * components * RUN :]
            if components == 3:
                b00, b01, b02 = b[0, 0], b[0, 1], b[0, 2]
                b10, b11, b12 = b[1, 0], b[1, 1], b[1, 2]
                b20, b21, b22 = b[2, 0], b[2, 1], b[2, 2]
                for k in range(count):
                    t0, t1, t2 = e[k] * r[k], e[k] * r[RUN + k], e[k] * r[2 * RUN + k]
                    o[k] += b00 * t0 + b01 * t1 + b02 * t2
                    o[RUN + k] += b10 * t0 + b11 * t1 + b12 * t2
                    o[2 * RUN + k] += b20 * t0 + b21 * t1 + b22 * t2
            elif components == 2:
                b00, b01, b10, b11 = b[0, 0], b[0, 1], b[1, 0], b[1, 1]
                for k in range(count):
                    t0, t1 = e[k] * r[k], e[k] * r[RUN + k]
                    o[k] += b00 * t0 + b01 * t1
                    o[RUN + k] += b10 * t0 + b11 * t1
            else:
                b00 = b[0, 0]
                for k in range(count):
                    o[k] += b00 * e[k] * r[k]


@njit(fastmath=_FAST, cache=True, inline="never")
def _stored(entries: Floats, components: int, count: int, t: Floats, y: Floats) -> None:
    """Matrices stored entry by entry, the blocks (x, z) with x <= z of a symmetric whole: entries[block, RUN]."""
    characters = t.shape[0] // components
    source, target, kept = t.reshape(-1), y.reshape(-1), entries.reshape(-1)
    target[:] = 0
    at = 0
    for x in range(characters):
        for z in range(x, characters):
            b = kept[at * components * components * RUN :]
            r, o = source[z * components * RUN :], target[x * components * RUN :]
            if components == 3:
                for k in range(count):
                    t0, t1, t2 = r[k], r[RUN + k], r[2 * RUN + k]
                    o[k] += b[k] * t0 + b[RUN + k] * t1 + b[2 * RUN + k] * t2
                    o[RUN + k] += b[3 * RUN + k] * t0 + b[4 * RUN + k] * t1 + b[5 * RUN + k] * t2
                    o[2 * RUN + k] += b[6 * RUN + k] * t0 + b[7 * RUN + k] * t1 + b[8 * RUN + k] * t2
            elif components == 2:
                for k in range(count):
                    t0, t1 = r[k], r[RUN + k]
                    o[k] += b[k] * t0 + b[RUN + k] * t1
                    o[RUN + k] += b[2 * RUN + k] * t0 + b[3 * RUN + k] * t1
            else:
                for k in range(count):
                    o[k] += b[k] * r[k]
            if x != z:
                r, o = source[x * components * RUN :], target[z * components * RUN :]
                if components == 3:
                    for k in range(count):
                        t0, t1, t2 = r[k], r[RUN + k], r[2 * RUN + k]
                        o[k] += b[k] * t0 + b[3 * RUN + k] * t1 + b[6 * RUN + k] * t2
                        o[RUN + k] += b[RUN + k] * t0 + b[4 * RUN + k] * t1 + b[7 * RUN + k] * t2
                        o[2 * RUN + k] += b[2 * RUN + k] * t0 + b[5 * RUN + k] * t1 + b[8 * RUN + k] * t2
                elif components == 2:
                    for k in range(count):
                        t0, t1 = r[k], r[RUN + k]
                        o[k] += b[k] * t0 + b[2 * RUN + k] * t1
                        o[RUN + k] += b[RUN + k] * t0 + b[3 * RUN + k] * t1
                else:
                    for k in range(count):
                        o[k] += b[k] * r[k]
            at += 1


def parts(grid_size: int, reach: int) -> int:
    """Into how many parts a loop over so many elements is divided for threads; 1 to run it as it is.

    Args:
        grid_size: numbers of elements.
        reach: the largest corner offset: what neighboring parts share.
    """
    threads = int(get_num_threads())
    if threads == 1 or grid_size < _WORTH_THREADS:
        return 1
    return max(1, min(4 * threads, grid_size // (2 * reach)))


_WORTH_THREADS = 150_000


@njit(fastmath=_FAST, cache=True, inline="never")
def _fine_part(u, moduli, blocks, offsets, rows, out, first, last):  # type: ignore[no-untyped-def]
    t = np.empty((rows.size, RUN), u.dtype)
    for start in range(first, last, RUN):
        count = min(RUN, last - start)
        _gather(u, start, count, offsets, rows, t)
        _blocks(blocks, moduli, start, count, t)
        _scatter(t, start, count, offsets, rows, out)


@njit(fastmath=_FAST, cache=True, inline="never")
def _children_part(u, moduli, whole, offsets, rows, out, first, last):  # type: ignore[no-untyped-def]
    t, y = np.empty((rows.size, RUN), u.dtype), np.empty((rows.size, RUN), u.dtype)
    for start in range(first, last, RUN):
        count = min(RUN, last - start)
        _gather(u, start, count, offsets, rows, t)
        _children(whole, moduli, start, count, t, y)
        _scatter(y, start, count, offsets, rows, out)


@njit(fastmath=_FAST, cache=True)
def apply_fine(u: Floats, moduli: Floats, blocks: Floats, offsets: Ints, rows: Ints, out: Floats) -> None:
    """out = K u for elements whose matrices differ by their modulus only.

    Args:
        u, out: shape (components, nodes).
        moduli: shape (nodes,), 0 where no element is.
        blocks: of `Element`.
        offsets: of the corners.
        rows: where the scratch array keeps a parity of a component.
    """
    out[:] = 0
    _fine_part(u, moduli, blocks, offsets, rows, out, 0, u.shape[1] - offsets[-1])


@njit(fastmath=_FAST, cache=True)
def apply_children(u: Floats, moduli: Floats, whole: Floats, offsets: Ints, rows: Ints, out: Floats) -> None:
    """The same for elements of two elements a side; moduli: their 2^d children's, transformed: (2^d, nodes)."""
    out[:] = 0
    _children_part(u, moduli, whole, offsets, rows, out, 0, u.shape[1] - offsets[-1])


@njit(fastmath=_FAST, cache=True, parallel=True)
def apply_fine_threads(u, moduli, blocks, offsets, rows, out, tasks):  # type: ignore[no-untyped-def]
    """`apply_fine` in so many tasks, of which every second one runs at a time."""
    out[:] = 0
    last = u.shape[1] - offsets[-1]
    size = -(-last // tasks)
    for phase in range(2):
        for task in prange((tasks + 1 - phase) // 2):
            begin = (2 * task + phase) * size
            _fine_part(u, moduli, blocks, offsets, rows, out, begin, min(begin + size, last))


@njit(fastmath=_FAST, cache=True, parallel=True)
def apply_children_threads(u, moduli, whole, offsets, rows, out, tasks):  # type: ignore[no-untyped-def]
    """`apply_children` in so many tasks, of which every second one runs at a time."""
    out[:] = 0
    last = u.shape[1] - offsets[-1]
    size = -(-last // tasks)
    for phase in range(2):
        for task in prange((tasks + 1 - phase) // 2):
            begin = (2 * task + phase) * size
            _children_part(u, moduli, whole, offsets, rows, out, begin, min(begin + size, last))


@njit(fastmath=_FAST, cache=True)
def apply_stored(u: Floats, entries: Floats, offsets: Ints, rows: Ints, out: Floats) -> None:
    """The same for stored matrices; entries: shape (runs, blocks · components², RUN)."""
    out[:] = 0
    t, y = np.empty((rows.size, RUN), u.dtype), np.empty((rows.size, RUN), u.dtype)
    last = u.shape[1] - offsets[-1]
    for start in range(0, last, RUN):
        count = min(RUN, last - start)
        _gather(u, start, count, offsets, rows, t)
        _stored(entries[start // RUN], rows.shape[1], count, t, y)
        _scatter(y, start, count, offsets, rows, out)


@njit(fastmath=_FAST, cache=True)
def apply_special(u: Floats, elements: Ints, matrices: Floats, offsets: Ints, out: Floats) -> None:
    """out += the parts of a few elements whose matrices are not like the others', of corner values."""
    components, corners = u.shape[0], offsets.size
    for m in range(elements.size):
        for i in range(corners * components):
            total = u.dtype.type(0)
            for j in range(corners * components):
                total += matrices[m, i, j] * u[j % components, elements[m] + offsets[j // components]]
            out[i % components, elements[m] + offsets[i // components]] += total


@njit(fastmath=_FAST, cache=True)
def coarsen(  # type: ignore[no-untyped-def]
    stored, position, entries, rows, elements, families, out
):
    """Matrices of elements from their children's, as sums of PᵀAP.

    In the basis of reflections P is sparse: along one axis, a sum s and a difference d become s ∓ d / 2 and d / 2 in
    the lower or upper child.

    Args:
        stored: of the children.
        position: where an entry (row, column) is stored, shape (rows, rows).
        entries: row and column of each stored entry, shape (entries, 2).
        rows: of the scratch array.
        elements, families: their numbers, and their children's (-1 for none), shapes (m,) and (m, 2^d).
        out: stored matrices.
    """
    corners, components = rows.shape
    size = rows.size
    local, turned = np.empty((size, size), np.float32), np.empty((size, size), np.float32)
    total = np.empty((size, size), np.float32)
    half = np.float32(0.5)
    for m in range(elements.size):
        total[:] = 0
        for child in range(corners):
            e = families[m, child]
            if e < 0:
                continue
            run, k = e // RUN, e % RUN
            for i in range(size):
                for j in range(size):
                    local[i, j] = stored[run, position[i, j], k]
            for _ in range(2):  # rows; transposed, columns
                bit, side = 1, child
                while bit < corners:
                    g = half if side & 1 else -half
                    for p in range(corners):
                        if p & bit:
                            for a in range(components):
                                one, other = local[rows[p, a]], local[rows[p ^ bit, a]]
                                for j in range(size):
                                    one[j] = half * one[j] + g * other[j]
                    bit *= 2
                    side >>= 1
                for i in range(size):
                    for j in range(size):
                        turned[j, i] = local[i, j]
                local, turned = turned, local
            for i in range(size):
                for j in range(size):
                    total[i, j] += local[i, j]
        run, k = elements[m] // RUN, elements[m] % RUN
        for q in range(entries.shape[0]):
            out[run, q, k] = total[entries[q, 0], entries[q, 1]]


@njit(fastmath=_FAST, cache=True)
def energies(u: Floats, v: Floats, blocks: Floats, offsets: Ints, rows: Ints, out: Floats) -> None:
    """out[element] = u K v of each element at unit modulus; u, v: shape (components, nodes)."""
    t, y = np.empty((rows.size, RUN), u.dtype), np.empty((rows.size, RUN), u.dtype)
    ones = np.ones(RUN, u.dtype)
    last = u.shape[1] - offsets[-1]
    out[:] = 0
    for start in range(0, last, RUN):
        count = min(RUN, last - start)
        _gather(u, start, count, offsets, rows, t)
        _gather(v, start, count, offsets, rows, y)
        _blocks(blocks, ones, 0, count, t)
        total = out[start : start + count]
        for row in range(rows.size):
            one, two = t[row], y[row]
            for k in range(count):
                total[k] += one[k] * two[k]


@njit(fastmath=_FAST, cache=True)
def relax(r: Floats, inverse: Floats, weight: float, z: Floats) -> None:
    """z = weight · inverse · r, for arrays of one axis."""
    w = z.dtype.type(weight)
    for k in range(z.size):
        z[k] = w * inverse[k] * r[k]


@njit(fastmath=_FAST, cache=True)
def relax_more(r: Floats, az: Floats, inverse: Floats, weight: float, z: Floats) -> None:
    """z += weight · inverse · (r - az)."""
    w = z.dtype.type(weight)
    for k in range(z.size):
        z[k] += w * inverse[k] * (r[k] - az[k])


@njit(fastmath=_FAST, cache=True)
def masked_residual(r: Floats, az: Floats, inverse: Floats) -> None:
    """az = r - az where nodes are free, else 0."""
    for k in range(az.size):
        az[k] = (r[k] - az[k]) if inverse[k] > 0 else az.dtype.type(0)


@njit(fastmath=_FAST, cache=True)
def dot(a: Floats, b: Floats) -> float:
    """The inner product in double precision, of arrays of one axis."""
    total = 0.0
    for k in range(a.size):
        total += a[k] * b[k]
    return total


@njit(fastmath=_FAST, cache=True)
def step(alpha: float, p: Floats, ap: Floats, free: Floats, x: Floats, r: Floats, single: Floats) -> float:
    """x += alpha p and r -= alpha ap where free; r in single precision, and its square."""
    total = 0.0
    for k in range(x.size):
        x[k] += alpha * p[k]
        now = (r[k] - alpha * ap[k]) * free[k]
        r[k] = now
        single[k] = now
        total += now * now
    return total


@njit(fastmath=_FAST, cache=True)
def turn(z: Floats, beta: float, p: Floats) -> None:
    """p = z + beta p."""
    for k in range(p.size):
        p[k] = z[k] + beta * p[k]
