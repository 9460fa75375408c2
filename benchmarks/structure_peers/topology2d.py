"""The 88 lines in Python, written from the paper, with several solvers: CPU seconds of set-up and of each iteration.

    python topology2d.py --engine port --nx 300 --ny 100 --radius 12 --iterations 10

Andreassen, Clausen, Schevenels, Lazarov & Sigmund 2011: half of the MBB beam, volume 1/2, penalty 3, sensitivity (or
density) filter, optimality criteria with move limit 0.2. Prints one line of JSON.

Engines:
    port        as such ports are: loops that build the filter, triplets assembled anew, scipy's spsolve
    vectorized  the filter without loops; scipy's SuperLU in symmetric mode with minimum-degree ordering
    cholmod     that with CHOLMOD (cvxopt); pattern and symbolic factorization are made once
    pardiso     that with PARDISO (pypardiso), likewise, told that the matrix is symmetric and positive definite
    pytopo3d    that with PARDISO as pytopo3d calls it: a new unsymmetric matrix every time
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


def solver(engine: str):
    """A function (matrix, right side) -> solution."""
    if engine == "port":
        return spl.spsolve
    if engine == "pytopo3d":
        import pypardiso

        return lambda k, f: pypardiso.spsolve(k.tocsr(), f)
    options = {"SymmetricMode": True}
    return lambda k, f: spl.splu(k, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options).solve(f)


class Prepared:
    """One triangle whose pattern and order of elimination are found once, and only numbers change.

    Args:
        engine: "cholmod" or "pardiso", which is told that the matrix is symmetric and positive definite.
        rows, columns: of all elements' entries, among all unknowns.
        free: unknowns that are not fixed.
    """

    def __init__(self, engine: str, rows: np.ndarray, columns: np.ndarray, free: np.ndarray) -> None:
        number = np.full(rows.max() + 1, -1)
        number[free] = np.arange(n := len(free))
        row, column = number[rows], number[columns]
        self.kept = np.flatnonzero((row >= 0) & (row <= column))
        # The upper triangle by rows is the lower one by columns.
        places, self.target = np.unique(row[self.kept] * n + column[self.kept], return_inverse=True)
        first, second = np.divmod(places, n)
        self.engine = engine
        if engine == "cholmod":
            from cvxopt import cholmod, spmatrix

            self.matrix = spmatrix(1.0, second.tolist(), first.tolist(), (n, n))
            self.symbolic = cholmod.symbolic(self.matrix)
            return
        import pypardiso

        pointer = np.searchsorted(first, np.arange(n + 1))
        self.upper = sp.csr_matrix((np.ones(len(places)), second, pointer), (n, n))
        self.upper.data[pointer[:-1]] = 1e3  # any positive definite matrix will do for the order
        self.pardiso = pypardiso.PyPardisoSolver(mtype=2)
        self.pardiso.set_phase(11)
        self.pardiso._call_pardiso(self.upper, np.zeros((n, 1)))

    def __call__(self, entries: np.ndarray, right: np.ndarray) -> np.ndarray:
        """The solution, from all elements' entries."""
        data = np.bincount(self.target, entries[self.kept])
        if self.engine == "pardiso":
            self.upper.data[:] = data
            self.pardiso.set_phase(23)
            return self.pardiso._call_pardiso(self.upper, right[:, None]).ravel()
        from cvxopt import cholmod, matrix

        self.matrix.V = matrix(data)
        cholmod.numeric(self.matrix, self.symbolic)
        found = matrix(right)
        cholmod.solve(self.symbolic, found)
        return np.array(found).ravel()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("port", "vectorized", "cholmod", "pardiso", "pytopo3d"), required=True)
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
    prepared = Prepared(given.engine, rows, columns, free) if given.engine in ("cholmod", "pardiso") else None
    solve = solver(given.engine)
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
        u = np.zeros(size)
        if prepared:
            u[free] = prepared(entries, load[free])
        else:
            k = sp.csc_matrix((entries, (rows, columns)), shape=(size, size))[free][:, free]
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
