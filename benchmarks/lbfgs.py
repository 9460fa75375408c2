"""How many evaluations does LBFGS need, and how many scipy's L-BFGS-B with its own 2-point differences?

Both start at the same points.

Problems: Moré, Garbow & Hillstrom, ACM TOMS 7 (1981), from random points around their standard starts, in random boxes;
ellipsoids of condition 1e2 to 1e6: along the axes, rotated, rotated and lifted by 1 to 1e4 times the value at the start
(so that rounding shows), and rotated with the unconstrained optimum often outside the box.

Counted are evaluations until f - f* <= 1e-8 (f0 - f*), f* being the least value that any of the runs came to (or the
infimum, where known); a run that ends elsewhere counts as infinitely many. scipy runs without tolerances, so that it
stops only where its differences end, once with its default memory of 10 pairs and once with as many as LBFGS keeps.

    python benchmarks/lbfgs.py [--quick]
"""

from __future__ import annotations

import argparse
import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize

from metaloop.optimizers import LBFGS
from metaloop.space import Array, Space

LIMIT = 400  # evaluations per dim + 1
Function = Callable[[Array], float]


@dataclass(frozen=True)
class Problem:
    """A function in a box, and where to start.

    Attributes:
        kind: "MGH", or "ellipsoid, " and "axes", "rotated", "lifted" or "at walls".
        infimum: if it is known exactly.
    """

    kind: str
    name: str
    function: Function
    low: Array
    high: Array
    start: Array
    infimum: float | None = None


# --- Moré, Garbow & Hillstrom: residuals, of which the sum of squares is minimized -----------------------------------

BARD = np.array([0.14, 0.18, 0.22, 0.25, 0.29, 0.32, 0.35, 0.39, 0.37, 0.58, 0.73, 0.96, 1.34, 2.10, 4.39])
GAUSSIAN = np.array([0.0009, 0.0044, 0.0175, 0.0540, 0.1295, 0.2420, 0.3521, 0.3989])
GAUSSIAN = np.concatenate([GAUSSIAN, GAUSSIAN[-2::-1]])
KOWALIK_Y = np.array([0.1957, 0.1947, 0.1735, 0.1600, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246])
KOWALIK_U = np.array([4.0, 2.0, 1.0, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625])


def rosenbrock(x: Array) -> Array:
    return np.concatenate([10 * (x[1:] - x[:-1] ** 2), 1 - x[:-1]])


def extended_rosenbrock(x: Array) -> Array:
    return np.concatenate([10 * (x[1::2] - x[::2] ** 2), 1 - x[::2]])


def freudenstein(x: Array) -> Array:
    a, b = x
    return np.array([-13 + a + ((5 - b) * b - 2) * b, -29 + a + ((b + 1) * b - 14) * b])


def beale(x: Array) -> Array:
    return np.array([1.5, 2.25, 2.625]) - x[0] * (1 - x[1] ** np.arange(1, 4))


def jennrich(x: Array) -> Array:
    i = np.arange(1, 11)
    return 2 + 2 * i - np.exp(i * x[0]) - np.exp(i * x[1])


def helical(x: Array) -> Array:
    turn = math.atan2(x[1], x[0]) / (2 * math.pi)
    turn += turn < -0.25
    return np.array([10 * (x[2] - 10 * turn), 10 * (math.hypot(x[0], x[1]) - 1), x[2]])


def bard(x: Array) -> Array:
    u = np.arange(1, 16)
    return BARD - x[0] - u / ((16 - u) * x[1] + np.minimum(u, 16 - u) * x[2])


def gaussian(x: Array) -> Array:
    return x[0] * np.exp(-x[1] * ((8 - np.arange(1, 16)) / 2 - x[2]) ** 2 / 2) - GAUSSIAN


def box(x: Array) -> Array:
    t = 0.1 * np.arange(1, 11)
    return np.exp(-t * x[0]) - np.exp(-t * x[1]) - x[2] * (np.exp(-t) - np.exp(-10 * t))


def powell(x: Array) -> Array:
    a, b, c, d = x.reshape(-1, 4).T
    return np.concatenate([a + 10 * b, math.sqrt(5) * (c - d), (b - 2 * c) ** 2, math.sqrt(10) * (a - d) ** 2])


def wood(x: Array) -> Array:
    a, b, c, d = x
    return np.array(
        [
            10 * (b - a * a),
            1 - a,
            math.sqrt(90) * (d - c * c),
            1 - c,
            math.sqrt(10) * (b + d - 2),
            (b - d) / math.sqrt(10),
        ]
    )


def kowalik(x: Array) -> Array:
    u = KOWALIK_U
    return KOWALIK_Y - x[0] * (u * u + u * x[1]) / (u * u + u * x[2] + x[3])


def brown_dennis(x: Array) -> Array:
    t = np.arange(1, 21) / 5
    return (x[0] + t * x[1] - np.exp(t)) ** 2 + (x[2] + x[3] * np.sin(t) - np.cos(t)) ** 2


def biggs(x: Array) -> Array:
    t = 0.1 * np.arange(1, 14)
    y = np.exp(-t) - 5 * np.exp(-10 * t) + 3 * np.exp(-4 * t)
    return x[2] * np.exp(-t * x[0]) - x[3] * np.exp(-t * x[1]) + x[5] * np.exp(-t * x[4]) - y


def watson(x: Array) -> Array:
    t, j = np.arange(1, 30)[:, None] / 29, np.arange(len(x))
    slope = (j[1:] * t ** (j[1:] - 1)) @ x[1:]
    return np.concatenate([slope - (t**j @ x) ** 2 - 1, [x[0], x[1] - x[0] ** 2 - 1]])


def penalty1(x: Array) -> Array:
    return np.append(math.sqrt(1e-5) * (x - 1), x @ x - 0.25)


def penalty2(x: Array) -> Array:
    n, e = len(x), np.exp(x / 10)
    grown = np.exp(np.arange(1, n + 1) / 10)
    pairs = np.concatenate([e[1:] + e[:-1] - grown[1:] - grown[:-1], e[1:] - math.exp(-0.1)])
    return np.concatenate([[x[0] - 0.2], math.sqrt(1e-5) * pairs, [(n - np.arange(n)) @ (x * x) - 1]])


def variably_dimensioned(x: Array) -> Array:
    total = np.arange(1, len(x) + 1) @ (x - 1)
    return np.append(x - 1, [total, total**2])


def trigonometric(x: Array) -> Array:
    n = len(x)
    return n - np.cos(x).sum() + np.arange(1, n + 1) * (1 - np.cos(x)) - np.sin(x)


def brown_almost_linear(x: Array) -> Array:
    return np.append(x[:-1] + x.sum() - len(x) - 1, x.prod() - 1)


def boundary_value(x: Array) -> Array:
    h = 1 / (len(x) + 1)
    t, padded = h * np.arange(1, len(x) + 1), np.pad(x, 1)
    return 2 * x - padded[:-2] - padded[2:] + h * h * (x + t + 1) ** 3 / 2


def integral_equation(x: Array) -> Array:
    h = 1 / (len(x) + 1)
    t = h * np.arange(1, len(x) + 1)
    cube = (x + t + 1) ** 3
    after = np.append(np.cumsum(((1 - t) * cube)[::-1])[-2::-1], 0)
    return x + h * ((1 - t) * np.cumsum(t * cube) + t * after) / 2


def broyden_tridiagonal(x: Array) -> Array:
    padded = np.pad(x, 1)
    return (3 - 2 * x) * x - padded[:-2] - 2 * padded[2:] + 1


def broyden_banded(x: Array) -> Array:
    i = np.arange(len(x))
    near = (i[:, None] - i <= 5) & (i - i[:, None] <= 1) & (i[:, None] != i)
    return x * (2 + 5 * x * x) + 1 - near @ (x * (1 + x))


def chebyquad(x: Array) -> Array:
    i = np.arange(1, len(x) + 1)
    means = np.polynomial.chebyshev.chebvander(2 * x - 1, len(x)).mean(axis=0)[1:]
    return means + np.where(i % 2 == 0, 1 / np.maximum(i * i - 1, 1), 0)


T = np.arange(1, 11) / 11
MGH: tuple[tuple[str, Callable[[Array], Array], Any], ...] = (
    ("Rosenbrock", rosenbrock, [-1.2, 1]),
    ("Rosenbrock", rosenbrock, [-1.2, 1, -1.2, 1, -1.2]),
    ("Rosenbrock", rosenbrock, [-1.2, 1] * 10),
    ("extended Rosenbrock", extended_rosenbrock, [-1.2, 1] * 5),
    ("Freudenstein-Roth", freudenstein, [0.5, -2]),
    ("Beale", beale, [1, 1]),
    ("Jennrich-Sampson", jennrich, [0.3, 0.4]),
    ("helical valley", helical, [-1, 0, 0]),
    ("Bard", bard, [1, 1, 1]),
    ("Gaussian", gaussian, [0.4, 1, 0]),
    ("box 3-D", box, [0, 10, 20]),
    ("Powell singular", powell, [3, -1, 0, 1]),
    ("Powell singular", powell, [3, -1, 0, 1] * 3),
    ("Wood", wood, [-3, -1, -3, -1]),
    ("Kowalik-Osborne", kowalik, [0.25, 0.39, 0.415, 0.39]),
    ("Brown-Dennis", brown_dennis, [25, 5, -5, -1]),
    ("Biggs EXP6", biggs, [1, 2, 1, 1, 1, 1]),
    ("Watson", watson, [0] * 6),
    ("Watson", watson, [0] * 9),
    ("penalty I", penalty1, range(1, 11)),
    ("penalty II", penalty2, [0.5] * 10),
    ("variably dimensioned", variably_dimensioned, 1 - np.arange(1, 11) / 10),
    ("trigonometric", trigonometric, [0.1] * 10),
    ("Brown almost linear", brown_almost_linear, [0.5] * 10),
    ("discrete boundary value", boundary_value, T * (T - 1)),
    ("discrete integral equation", integral_equation, T * (T - 1)),
    ("Broyden tridiagonal", broyden_tridiagonal, [-1] * 20),
    ("Broyden banded", broyden_banded, [-1] * 20),
    ("Chebyquad", chebyquad, np.arange(1, 9) / 9),
)


def problems(seed: int) -> Iterator[Problem]:
    """All problems, each at a place, in a box and from a start that the seed draws."""
    for name, residuals, standard in MGH:
        center = np.array(standard, dtype=float)
        d = len(center)
        rng = np.random.default_rng([seed, d, *name.encode()])
        size = np.maximum(1.0, np.abs(center).max() if name == "box 3-D" else np.abs(center))
        low, high = center - 5 * size * rng.uniform(0.5, 1.5, d), center + 5 * size * rng.uniform(0.5, 1.5, d)
        start = center + 0.3 * size * rng.uniform(-1, 1, d)
        yield Problem("MGH", f"{name} {d}", lambda x, r=residuals: float((r(x) ** 2).sum()), low, high, start)
    for d in (5, 20):
        for condition in (1e2, 1e4, 1e6):
            for kind in ("axes", "rotated", "lifted", "at walls"):
                rng = np.random.default_rng([seed, d, int(condition), *kind.encode()])
                turn = np.eye(d) if kind == "axes" else np.linalg.qr(rng.standard_normal((d, d)))[0]
                turn *= np.sqrt(condition ** (rng.permutation(d) / (d - 1)))[:, None]
                optimum = rng.uniform(-1, 1, d) * (9 if kind == "at walls" else 3)
                start = rng.uniform(-5, 5, d)
                lift = ((turn @ (start - optimum)) ** 2).sum() * 10 ** rng.uniform(0, 4) if kind == "lifted" else 0.0
                yield Problem(
                    f"ellipsoid, {kind}",
                    f"{kind} {condition:.0e} {d}",
                    lambda x, a=turn, o=optimum, c=lift: float(((a @ (x - o)) ** 2).sum() + c),
                    np.full(d, -5.0),
                    np.full(d, 5.0),
                    start,
                    None if kind == "at walls" else float(lift),
                )


# --- the runs --------------------------------------------------------------------------------------------------------


class Recorder:
    """A function that remembers the best value so far after each evaluation, and stops the caller at a limit."""

    def __init__(self, function: Function, limit: int) -> None:
        self.function, self.limit, self.best = function, limit, list[float]()

    def __call__(self, x: Array) -> float:
        if len(self.best) >= self.limit:
            raise StopIteration
        value = self.function(x)
        self.best.append(min(value, self.best[-1]) if self.best else value)
        return value


def ours(p: Problem, recorder: Recorder) -> None:
    """One local search of LBFGS, one evaluation at a time."""
    width = p.high - p.low
    recipe = LBFGS(start=tuple((p.start - p.low) / width))
    state = recipe.init(Space.from_bounds(list(zip(p.low, p.high, strict=True))), 0)
    while len(recorder.best) < recorder.limit and not (state.begun and not state.descents):
        points, state = recipe.ask(state, 1)
        state = recipe.tell(state, points, [recorder(p.low + points[0] * width)])


def scipys(memory: int | None) -> Callable[[Problem, Recorder], None]:
    def run(p: Problem, recorder: Recorder) -> None:
        options = {"ftol": 0, "gtol": 0, "maxfun": 10**9, "maxiter": 10**9}
        options["maxcor"] = memory or max(10, 2 * len(p.start))
        minimize(recorder, p.start, method="L-BFGS-B", bounds=list(zip(p.low, p.high, strict=True)), options=options)

    return run


RUNS: dict[str, Callable[[Problem, Recorder], None]] = {
    "LBFGS": ours,
    "scipy": scipys(10),
    "scipy, memory 2 d": scipys(None),
}


def evaluations(p: Problem) -> tuple[Array, Array, Array]:
    """Evaluations to 1e-8, to 1e-10, and CPU ms per evaluation, of each run."""
    recorders, cpu = [], []
    for run in RUNS.values():
        recorder = Recorder(p.function, LIMIT * (len(p.start) + 1))
        begun = time.process_time()
        with contextlib.suppress(StopIteration):
            run(p, recorder)
        cpu.append(1e3 * (time.process_time() - begun) / len(recorder.best))
        recorders.append(np.array(recorder.best))
    infimum = min(r[-1] for r in recorders) if p.infimum is None else p.infimum
    counts = [[_first(r, infimum + share * (r[0] - infimum)) for r in recorders] for share in (1e-8, 1e-10)]
    return np.array(counts[0]), np.array(counts[1]), np.array(cpu)


def _first(best: Array, target: float) -> float:
    return float(np.argmax(best <= target) + 1) if best[-1] <= target else math.inf


def median_ratio(a: Array, b: Array) -> tuple[float, float, float]:
    """Median of a / b over the pairs that at least one run solved, with a 95 % bootstrap interval."""
    solved = np.isfinite(a) | np.isfinite(b)
    ratios = np.where(np.isinf(b), 0.0, a / b)[solved]
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(ratios, (2000, len(ratios))), axis=1)
    return float(np.median(ratios)), *np.quantile(medians, [0.025, 0.975])


def main(quick: bool = False, seed: int = 100) -> None:
    """Run everything and print the tables."""
    np.seterr(all="ignore")
    kinds, names, rows = [], [], []
    for s in range(seed, seed + (1 if quick else 10)):
        for p in problems(s):
            kinds.append(p.kind)
            names.append(p.name)
            rows.append(evaluations(p))
    to8, to10, cpu = (np.array([r[k] for r in rows]) for k in range(3))
    print("| problems | runs | scipy | ratio of evaluations | solved to 1e-8: ours, scipy | to 1e-10: ours, scipy |")
    print("|---|---|---|---|---|---|")
    for kind in [*dict.fromkeys(kinds), "all"]:
        some = np.array([kind in (k, "all") for k in kinds])
        for j, name in ((1, "default"), (2, "memory 2 d")):
            ratio, low, high = median_ratio(to8[some, 0], to8[some, j])
            cells = [kind, f"{some.sum()}", name, f"{ratio:.2f} [{low:.2f}, {high:.2f}]"]
            cells += [", ".join(f"{np.isfinite(t[some, k]).mean():.0%}" for k in (0, j)) for t in (to8, to10)]
            print(f"| {' | '.join(cells)} |")
    print(
        f"\nCPU ms per evaluation, objective included: {np.median(cpu[:, 0]):.3f}, scipy {np.median(cpu[:, 1]):.3f}\n"
    )
    print("| problem | LBFGS | scipy | scipy, memory 2 d |")
    print("|---|---|---|---|")
    for name in dict.fromkeys(names):
        some = np.array([n == name for n in names])
        print(f"| {name} | " + " | ".join(f"{m:.0f}" for m in np.median(to8[some], axis=0)) + " |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one start a problem instead of ten")
    main(parser.parse_args().quick)
