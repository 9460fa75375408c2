"""The 88 lines in Python, written from the paper, with several solvers: CPU seconds of set-up and of each iteration.

    python topology2d.py --engine port --nx 300 --ny 100 --radius 12 --iterations 10

Andreassen, Clausen, Schevenels, Lazarov & Sigmund 2011: half of the MBB beam, volume 1/2, penalty 3, sensitivity (or
density) filter, optimality criteria with move limit 0.2. Prints one line of JSON.

Engines:
    port        as such ports are: loops that build the filter, triplets assembled anew, scipy's spsolve
    vectorized  the filter without loops; scipy's SuperLU in symmetric mode with minimum-degree ordering
    cholmod     the same with CHOLMOD (cvxopt), whose symbolic factorization is made once
    pardiso     the same with PARDISO (pypardiso)
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import time

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spl


def stiffness(nu: float = 0.3) -> np.ndarray:
    """The square in plane stress, in the 88 lines' numbering."""
    a11 = np.array([[12, 3, -6, -3], [3, 12, 3, 0], [-6, 3, 12, -3], [-3, 0, -3, 12]])
    a12 = np.array([[-6, -3, 0, 3], [-3, -6, -3, -6], [0, -3, -6, 3], [3, -6, 3, -6]])
    b11 = np.array([[-4, 3, -2, 9], [3, -4, -9, 4], [-2, -9, -4, -3], [9, 4, -3, -4]])
    b12 = np.array([[2, -3, 4, -9], [-3, 2, 9, -2], [4, 9, 2, 3], [-9, -2, 3, 2]])
    whole = np.block([[a11, a12], [a12.T, a11]]) + nu * np.block([[b11, b12], [b12.T, b11]])
    return whole / (1 - nu**2) / 24


def loops(nx: int, ny: int, radius: float) -> sp.csr_matrix:
    """The filter's weights, element by element."""
    rows, columns, weights = [], [], []
    reach = math.ceil(radius) - 1
    for i in range(nx):
        for j in range(ny):
            for k in range(max(i - reach, 0), min(i + reach + 1, nx)):
                for m in range(max(j - reach, 0), min(j + reach + 1, ny)):
                    weight = radius - math.sqrt((i - k) ** 2 + (j - m) ** 2)
                    if weight > 0:
                        rows.append(i * ny + j)
                        columns.append(k * ny + m)
                        weights.append(weight)
    return sp.csr_matrix((weights, (rows, columns)), shape=(nx * ny,) * 2)


def shifts(nx: int, ny: int, radius: float) -> sp.csr_matrix:
    """The same, one array operation a neighbor."""
    number = np.arange(nx * ny).reshape(nx, ny)
    reach = math.ceil(radius) - 1
    rows, columns, weights = [], [], []
    for a in range(-reach, reach + 1):
        for b in range(-reach, reach + 1):
            weight = radius - math.hypot(a, b)
            if weight > 0:
                one = number[max(0, -a) : nx - max(0, a), max(0, -b) : ny - max(0, b)].ravel()
                rows.append(one)
                columns.append(one + a * ny + b)
                weights.append(np.full(one.size, weight))
    return sp.csr_matrix((np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))), (nx * ny,) * 2)


def solver(engine: str, pattern: sp.csc_matrix):
    """A function (matrix, right side) -> solution."""
    if engine == "port":
        return spl.spsolve
    if engine == "vectorized":
        options = {"SymmetricMode": True}
        return lambda k, f: spl.splu(k, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options).solve(f)
    if engine == "pardiso":
        import pypardiso

        return lambda k, f: pypardiso.spsolve(k.tocsr(), f)
    from cvxopt import cholmod, matrix, spmatrix

    lower = sp.tril(pattern).tocoo()
    symbolic = cholmod.symbolic(spmatrix(1.0, lower.row.tolist(), lower.col.tolist(), pattern.shape))

    def solve(k: sp.csc_matrix, f: np.ndarray) -> np.ndarray:
        part = sp.tril(k).tocoo()
        entries = spmatrix(matrix(part.data), matrix(part.row.astype(int)), matrix(part.col.astype(int)), k.shape)
        cholmod.numeric(entries, symbolic)
        right = matrix(f)
        cholmod.solve(symbolic, right)
        return np.array(right).ravel()

    return solve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("port", "vectorized", "cholmod", "pardiso"), required=True)
    parser.add_argument("--nx", type=int, default=300)
    parser.add_argument("--ny", type=int, default=100)
    parser.add_argument("--radius", type=float, default=12)
    parser.add_argument("--filter", choices=("sensitivity", "density"), default="sensitivity")
    parser.add_argument("--iterations", type=int, default=10)
    given = parser.parse_args()
    nx, ny, radius = given.nx, given.ny, given.radius

    begun = time.process_time()
    ke = stiffness()
    weights = (loops if given.engine == "port" else shifts)(nx, ny, radius)
    sums = np.asarray(weights.sum(1)).ravel()
    first = (np.arange(nx)[:, None] * (ny + 1) + np.arange(ny)).ravel()
    corner = 2 * first[:, None] + 2
    dofs = corner + np.array([0, 1, 2 * ny + 2, 2 * ny + 3, 2 * ny, 2 * ny + 1, -2, -1])
    rows, columns = np.repeat(dofs, 8, axis=1).ravel(), np.tile(dofs, (1, 8)).ravel()
    size = 2 * (nx + 1) * (ny + 1)
    load = np.zeros(size)
    load[1] = -1
    fixed = np.union1d(np.arange(0, 2 * (ny + 1), 2), [size - 1])
    free = np.setdiff1d(np.arange(size), fixed)
    pattern = sp.csc_matrix((np.ones(rows.size), (rows, columns)), shape=(size, size))[free][:, free]
    solve = solver(given.engine, pattern)
    setup = time.process_time() - begun

    x = np.full(nx * ny, 0.5)
    physical = x.copy()
    seconds, compliances = [], []
    change = 1.0
    for _ in range(given.iterations):
        if change <= 0.01:
            break
        begun = time.process_time()
        moduli = 1e-9 + physical**3 * (1 - 1e-9)
        entries = (ke.ravel()[None] * moduli[:, None]).ravel()
        k = sp.csc_matrix((entries, (rows, columns)), shape=(size, size))[free][:, free]
        u = np.zeros(size)
        u[free] = solve(k, load[free])
        energy = ((u[dofs] @ ke) * u[dofs]).sum(1)
        compliance = float((moduli * energy).sum())
        dc, dv = -3 * (1 - 1e-9) * physical**2 * energy, np.ones(nx * ny)
        if given.filter == "sensitivity":
            dc = (weights @ (x * dc)) / sums / np.maximum(0.001, x)
        else:
            dc, dv = weights @ (dc / sums), weights @ (dv / sums)
        low, high = 0.0, 1e9
        while (high - low) / (low + high) > 1e-3:
            middle = 0.5 * (low + high)
            new = np.maximum(0, np.maximum(x - 0.2, np.minimum(1, np.minimum(x + 0.2, x * np.sqrt(-dc / dv / middle)))))
            physical = new if given.filter == "sensitivity" else (weights @ new) / sums
            low, high = (middle, high) if physical.sum() > 0.5 * nx * ny else (low, middle)
        change = float(np.abs(new - x).max())
        x = new
        seconds.append(time.process_time() - begun)
        compliances.append(compliance)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"setup": setup, "seconds": seconds, "compliances": compliances, "mb": memory}))


if __name__ == "__main__":
    main()
