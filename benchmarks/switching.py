"""The same supervisor on two other kinds of solvers, beside each fixed method.

    python benchmarks/switching.py

Nonlinear least squares (Moré, Garbow & Hillstrom 1981): gradient descent, Gauss-Newton, Levenberg-Marquardt; the unit
is a residual vector, a Jacobian counts its columns, a gradient three. Sparse linear systems: conjugate gradients, the
same with an incomplete factorization (SuperLU's ILU), a sparse factorization; the unit is a product with
the matrix (multiplications over its nonzeros), factorizations counted by their multiplications.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spl
from scipy.sparse.csgraph import reverse_cuthill_mckee

from metaloop.control import RentOrBuy
from metaloop.online import Method, Move, Switching


def drive(recipe, problem, fixed=None, unit="units"):
    """Run a ladder of methods, or one of them only; (converged, cost, state)."""
    ladder = problem.ladder
    state = recipe.init(ladder if fixed is None else [ladder[fixed]], unit=unit)
    state.residuals, state.merits = [problem.residual()], [problem.merit()]
    best, lowest = problem.keep(), state.merits[0]
    for _ in range(20_000):
        before = state.at
        if recipe.decide(state) is not Move.STEP:
            break
        if state.at != before and lowest < state.merits[-1]:  # the next method begins at the best point
            problem.restore(best)
        cost = problem.step(state.at if fixed is None else fixed)
        recipe.observe(state, problem.residual(), cost, problem.merit())
        if state.merits[-1] < lowest:
            best, lowest = problem.keep(), state.merits[-1]
    return state.residuals[-1] <= recipe.tolerance, state.spent, state


# --- nonlinear least squares ---------------------------------------------------------------------------------------

Y = np.array([0.1957, 0.1947, 0.1735, 0.16, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246])
U = np.array([4, 2, 1, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625])
T = np.arange(1, 11) / 10
PROBLEMS = {
    "Rosenbrock": (lambda x: np.array([10 * (x[1] - x[0] ** 2), 1 - x[0]]), [-1.2, 1]),
    "Freudenstein-Roth": (
        lambda x: np.array([-13 + x[0] + ((5 - x[1]) * x[1] - 2) * x[1], -29 + x[0] + ((x[1] + 1) * x[1] - 14) * x[1]]),
        [0.5, -2],
    ),
    "Beale": (lambda x: np.array([1.5, 2.25, 2.625]) - x[0] * (1 - x[1] ** np.arange(1, 4)), [1, 1]),
    "Helical valley": (
        lambda x: np.array([
            10 * (x[2] - 10 * (math.atan(x[1] / x[0]) / (2 * math.pi) + 0.5 * (x[0] < 0))),
            10 * (math.hypot(x[0], x[1]) - 1), x[2],
        ]),
        [-1, 0, 0],
    ),
    "Kowalik-Osborne": (
        lambda x: Y - x[0] * (U**2 + U * x[1]) / (U**2 + U * x[2] + x[3]), [0.25, 0.39, 0.415, 0.39]
    ),
    "Powell singular": (
        lambda x: np.array([
            x[0] + 10 * x[1], 5**0.5 * (x[2] - x[3]), (x[1] - 2 * x[2]) ** 2, 10**0.5 * (x[0] - x[3]) ** 2
        ]),
        [3, -1, 0, 1],
    ),
    "Box": (
        lambda x: np.exp(-T * x[0]) - np.exp(-T * x[1]) - x[2] * (np.exp(-T) - np.exp(-10 * T)), [0, 10, 20]
    ),
    "Wood": (
        lambda x: np.array([
            10 * (x[1] - x[0] ** 2), 1 - x[0], 90**0.5 * (x[3] - x[2] ** 2), 1 - x[2],
            10**0.5 * (x[1] + x[3] - 2), 10**-0.5 * (x[1] - x[3]),
        ]),
        [-3, -1, -3, -1],
    ),
    "Linear": (lambda x: np.concatenate([x, np.zeros(5)]) - 0.2 * x.sum() / 1.5 - 1, [1.0] * 5),
    "Variably dimensioned": (
        lambda x: np.concatenate([x - 1, [(s := np.arange(1, 7) @ (x - 1)), s**2]]), 1 - np.arange(1, 7) / 6
    ),
    "Trigonometric": (
        lambda x: 6 - np.cos(x).sum() + np.arange(1, 7) * (1 - np.cos(x)) - np.sin(x), [1 / 6] * 6
    ),
    "Jennrich-Sampson": (
        lambda x: 2 + 2 * np.arange(1, 11) - np.exp(np.arange(1, 11) * x[0]) - np.exp(np.arange(1, 11) * x[1]),
        [0.3, 0.4],
    ),
}  # fmt: skip


class LeastSquares:
    """One step of each method; the residual is the norm of the gradient over that at the start."""

    def __init__(self, name):
        self.f, start = PROBLEMS[name]
        self.start = np.array(start, dtype=float)
        self.x = self.start.copy()
        self.damping, self.length = 1e-2, None
        self.r, self.jac = self.f(self.x), self.jacobian(self.x)
        self.scale = np.linalg.norm(self.jac.T @ self.r)
        self.ladder = [
            Method("gradient", 4.0, rate=0.9),
            Method("Gauss-Newton", len(self.x) + 1.0, 12.0 * (len(self.x) + 1), rate=0.3),
            Method("Levenberg-Marquardt", len(self.x) + 1.0, 25.0 * (len(self.x) + 1), rate=0.4),
        ]

    def jacobian(self, x):
        def slope(e):  # central differences of fourth order
            near, far = self.f(x + e) - self.f(x - e), self.f(x + 2 * e) - self.f(x - 2 * e)
            return (8 * near - far) / 12e-3

        return np.column_stack([slope(1e-3 * e) for e in np.eye(len(x))])

    def residual(self):
        with np.errstate(all="ignore"):
            g = np.linalg.norm(self.jac.T @ self.r)
        return float(g / self.scale) if np.isfinite(g) else math.inf

    def merit(self):
        with np.errstate(all="ignore"):
            value = float(self.r @ self.r)
        return value if np.isfinite(value) else math.inf

    def keep(self):
        return self.x, self.r, self.jac

    def restore(self, kept):
        self.x, self.r, self.jac = kept

    def accept(self, x):
        self.x = x
        self.r, self.jac = self.f(x), self.jacobian(x)

    def step(self, k):
        with np.errstate(all="ignore"):
            return self._step(k)

    def _step(self, k):
        g, n = self.jac.T @ self.r, len(self.x)
        value = self.r @ self.r
        if k == 0:  # halving the step until it goes down enough (Armijo)
            length = 2 * self.length if self.length else 1 / np.linalg.norm(self.jac.T @ self.jac, 2)
            for _tried in range(1, 40):
                new = self.f(self.x - length * g)
                if new @ new < value - length * (g @ g):
                    break
                length /= 2
            self.length = length
            self.accept(self.x - length * g)
            return 3 + _tried
        if k == 1:
            if not (np.isfinite(self.jac).all() and np.isfinite(self.r).all()):
                return n + 1
            self.accept(self.x + np.clip(np.linalg.lstsq(self.jac, -self.r, rcond=1e-12)[0], -1e6, 1e6))
            return n + 1
        a = self.jac.T @ self.jac
        x = self.x - np.linalg.lstsq(a + self.damping * np.diag(np.maximum(a.diagonal(), 1e-12)), g, rcond=None)[0]
        new = self.f(x)
        if new @ new < value:
            self.damping = max(self.damping / 5, 1e-12)
            self.accept(x)
            return n + 1
        self.damping = min(self.damping * 4, 1e12)
        return 1


def least_squares(name, fixed=None):
    problem = LeastSquares(name)
    recipe = Switching(tolerance=1e-8, most=4000.0, rent=RentOrBuy(trust=0.5))
    return drive(recipe, problem, fixed, "residual vectors")


# --- sparse linear systems -----------------------------------------------------------------------------------------


def laplace(n, contrast=0.0, seed=0):
    """A diffusion problem on a square, with conductivities over so many decades."""
    rng = np.random.default_rng(seed)
    k = 10 ** (contrast * rng.random((n, n)))
    index = np.arange(n * n).reshape(n, n)
    a = sp.lil_matrix((n * n, n * n))
    for i, j, w in (
        (index[1:].ravel(), index[:-1].ravel(), np.sqrt(k[1:] * k[:-1]).ravel()),
        (index[:, 1:].ravel(), index[:, :-1].ravel(), np.sqrt(k[:, 1:] * k[:, :-1]).ravel()),
    ):
        b = sp.coo_matrix((w, (i, j)), shape=a.shape)
        d = sp.diags(np.asarray(b.sum(0)).ravel() + np.asarray(b.sum(1)).ravel())
        a = a + d - b - b.T
    return sp.csc_matrix(a + sp.diags(np.where((index % n == 0).ravel(), 1.0, 1e-8)))


def dominant(n, weight, seed=0):
    """Sparse, random, symmetric, diagonally dominant: conjugate gradients need a few steps."""
    a = sp.random(n, n, 5 / n, random_state=seed)
    a = a + a.T
    return sp.csc_matrix(a + sp.diags(weight * np.asarray(abs(a).sum(0)).ravel() + 1e-3))


def biharmonic(n):
    a = laplace(n)
    return sp.csc_matrix(a @ a + 1e-6 * sp.eye(n * n))


SYSTEMS = {
    "dominant, 1000": lambda: dominant(1000, 1.5),
    "dominant, weak, 1000": lambda: dominant(1000, 1.01),
    "dominant, strong, 1000": lambda: dominant(1000, 4.0),
    "Laplace 16": lambda: laplace(16),
    "Laplace 24": lambda: laplace(24),
    "diffusion 32, 3 decades": lambda: laplace(32, 3.0),
    "diffusion 32, 6 decades": lambda: laplace(32, 6.0),
    "diffusion 32, 8 decades": lambda: laplace(32, 8.0),
    "biharmonic 24": lambda: biharmonic(24),
}


def multiplications(lu):
    return float(np.diff(sp.csc_matrix(lu.L).indptr) @ np.diff(sp.csr_matrix(lu.U).indptr))


SYMMETRIC = {"permc_spec": "MMD_AT_PLUS_A", "options": {"SymmetricMode": True}}


def bandwidth(a):
    order = reverse_cuthill_mckee(a, symmetric_mode=True)
    b = sp.coo_matrix(a[order][:, order])
    return float(np.abs(b.row - b.col).max())


class Linear:
    """One step of each method on A x = b."""

    def __init__(self, name):
        self.a = SYSTEMS[name]()
        n = self.a.shape[0]
        self.b = np.random.default_rng(1).standard_normal(n)
        self.x, self.r = np.zeros(n), self.b.copy()
        self.norm = np.linalg.norm(self.b)
        self.on = None
        self.ladder = [
            Method("CG", 1.0, rate=0.8),
            Method("CG with ILU", 4.0, 100.0, rate=0.5),
            # What a band of that width would cost: an upper bound that is known beforehand.
            Method("factorization", 400.0, n * bandwidth(self.a) ** 2 / self.a.nnz, rate=1e-8),
        ]

    def residual(self):
        return float(np.linalg.norm(self.r) / self.norm)

    def merit(self):
        return math.nan  # conjugate gradients minimize what is not known

    def keep(self):
        return None

    def step(self, k):
        cost = 1.0
        if self.on != k:
            self.on, self.p = k, None
            if k == 1:
                ilu = spl.spilu(self.a, drop_tol=1e-3, fill_factor=4, diag_pivot_thresh=0.0, **SYMMETRIC)
                self.solve = ilu.solve
                cost += multiplications(ilu) / self.a.nnz
                self.extra = (ilu.L.nnz + ilu.U.nnz) / self.a.nnz
        if k == 2:
            lu = spl.splu(self.a, diag_pivot_thresh=0.0, **SYMMETRIC)
            self.x = self.x + lu.solve(self.b - self.a @ self.x)
            self.r = self.b - self.a @ self.x
            return cost + multiplications(lu) / self.a.nnz
        if not self.r.any():
            return cost
        z = self.r if k == 0 else self.solve(self.r)
        cost += 0 if k == 0 else self.extra
        rz = self.r @ z
        # Polak-Ribiere's form tolerates a preconditioner that is not exactly symmetric.
        self.p = z if self.p is None else z + (z @ (self.r - self.last) / self.rz) * self.p
        ap = self.a @ self.p
        alpha = (self.r @ self.p) / (self.p @ ap)
        self.last, self.rz = self.r, rz
        self.x, self.r = self.x + alpha * self.p, self.r - alpha * ap
        return cost


def linear(name, fixed=None):
    problem = Linear(name)
    recipe = Switching(tolerance=1e-8, most=3000.0, window=16, floor=8)
    return drive(recipe, problem, fixed, "products")


def table(title, names, run, methods):
    print(f"\n## {title}\n\n| problem | " + " | ".join(methods) + " | supervisor | of the best |\n|---|" + "---|" * 5)
    ratios, total, fine = [], np.zeros(4), np.zeros(4, dtype=int)
    for name in names:
        runs = [run(name, k) for k in (0, 1, 2)] + [run(name)]
        best = min((c for ok, c, _ in runs[:3] if ok), default=math.nan)
        ratios.append(runs[3][1] / best)
        total += [c for _, c, _ in runs]
        fine += [ok for ok, _, _ in runs]
        cells = [f"{c:.0f}" if ok else f"X {c:.0f}" for ok, c, _ in runs]
        print(f"| {name} | " + " | ".join(cells) + f" | {ratios[-1]:.2f} |", flush=True)
    print("| solved | " + " | ".join(map(str, fine)) + " | |")
    print("| sum | " + " | ".join(f"{t:.0f}" for t in total) + f" | at most {np.nanmax(ratios):.2f} |")


if __name__ == "__main__":
    table("Nonlinear least squares (residual vectors)", PROBLEMS, least_squares,
          ["gradient", "Gauss-Newton", "Levenberg-Marquardt"])  # fmt: skip
    table("Sparse linear systems (products)", SYSTEMS, linear, ["CG", "CG with ILU", "factorization"])
