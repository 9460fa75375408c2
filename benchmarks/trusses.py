"""Sizing and layout of trusses: beside SLSQP, differential evolution and the linear program of all pairs.

All starts of ours and of SLSQP are the same random areas. SLSQP has our exact gradients and the areas themselves as
its variables; differential evolution has a penalty on the worst limit. An analysis is one factorization of the
stiffness with all that is solved with it. A start succeeds if it ends within 1e-5 of the best known weight, with no
limit exceeded by more than 1e-9 (ours) or 1e-6 (peers).

Usage: python benchmarks/trusses.py [--starts 10] [--evolutions 3] [--full]
"""

from __future__ import annotations

import argparse
import os
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np
from scipy.optimize import differential_evolution, minimize

from metaloop.structure.catalogue import select
from metaloop.structure.classic_trusses import CLASSICS, SECTIONS, Classic, ten_bar_case
from metaloop.structure.layout import Layout, LayoutProblem, layout
from metaloop.structure.limits import Ratios
from metaloop.structure.sizing import size

TOP = {"10": 50.0, "25": 5.0, "72": 5.0, "20": 20.0}  # largest area that the evolution may try


def slsqp(classic: Classic, begun: np.ndarray) -> tuple[float, float, int]:
    """Weight, violation and analyses of a practitioner's way."""
    problem, seen = classic.problem, {}
    low, high = problem.bounds
    weights = problem.truss.weights

    def ratios(areas: np.ndarray) -> Ratios:
        key = areas.tobytes()
        if key not in seen:
            seen[key] = Ratios(problem, problem.truss.analyze(np.maximum(areas, 1e-9)))
        return seen[key]

    limits = {"type": "ineq", "fun": lambda a: 1 - ratios(a).values, "jac": lambda a: -ratios(a).jacobian}
    found = minimize(lambda a: weights @ a, begun, jac=lambda a: weights, method="SLSQP", constraints=[limits],
                     bounds=list(zip(low, high, strict=True)), options={"maxiter": 500, "ftol": 1e-10})  # fmt: skip
    areas = np.maximum(found.x, low)
    return float(weights @ areas), max(0.0, float(ratios(areas).values.max()) - 1), len(seen)


def evolution(classic: Classic, top: float, seed: int, budget: int) -> tuple[float, float, int]:
    """The same of differential evolution with a penalty."""
    problem = classic.problem
    low, _ = problem.bounds
    weights = problem.truss.weights
    count = 0

    def worst(areas: np.ndarray) -> float:
        return Ratios(problem, problem.truss.analyze(areas)).needed - 1

    def penalized(areas: np.ndarray) -> float:
        nonlocal count
        count += 1
        return float(weights @ areas) * (1 + 10 * max(worst(areas), 0.0))

    rounds = max(1, budget // (15 * len(low)) - 1)
    found = differential_evolution(penalized, [(a, top) for a in low], seed=seed, maxiter=rounds, polish=False, tol=0)
    return float(weights @ found.x), max(worst(found.x), 0.0), count


def row(name: str, method: str, best: float, runs: list[tuple[float, float, int]], allowed: float, cpu: float) -> str:
    """Of the table: the best run among those that keep the limits, or the least wrong one."""
    good = [r for r in runs if r[1] <= allowed]
    value, wrong, _ = min(good) if good else min(runs, key=lambda r: r[1])
    hits = sum(r[0] <= best * (1 + 1e-5) for r in good)
    median = np.median([r[2] for r in runs])
    return (f"| {name} | {method} | {value:.4f} | {value / best - 1:+.1e} | {wrong:.0e} | {hits} of {len(runs)} "
            f"| {median:.0f} | {cpu:.1f} |")  # fmt: skip


def sizing(starts: int, evolutions: int, budget: int) -> None:
    """Print the tables of sizing."""
    print("| truss | best known | source |\n|---|---|---|")
    for name, make in CLASSICS.items():
        print(f"| {name} | {make().best:.10g} | {make().source} |")
    print("\n| truss | method | weight | rel. difference | max violation | successes | median analyses | CPU s |")
    print("|---|---|---|---|---|---|---|---|")
    residuals = {}
    for name, make in CLASSICS.items():
        classic, begun = make(), time.process_time()
        found = size(classic.problem, starts=starts)
        runs = [(s.value, s.violation, s.analyses) for s in found.starts]
        residuals[name] = found.kkt, max(s.kkt for s in found.starts)
        print(row(name, "ours", classic.best, runs, 1e-9, time.process_time() - begun), flush=True)
        begun = time.process_time()
        runs = [slsqp(classic, s.begun) for s in found.starts]
        print(row(name, "SLSQP", classic.best, runs, 1e-6, time.process_time() - begun), flush=True)
        begun = time.process_time()
        runs = [evolution(classic, TOP[name[:2]], seed, budget) for seed in range(evolutions)]
        print(row(name, "evolution", classic.best, runs, 1e-6, time.process_time() - begun), flush=True)
    print("\n| truss | KKT residual of the best start | largest of all starts |\n|---|---|---|")
    for name, (best, worst) in residuals.items():
        print(f"| {name} | {best:.0e} | {worst:.0e} |")

    begun = time.process_time()
    found = select(ten_bar_case(1), SECTIONS)
    print(f"\n10-bar, case 1, 42 sections: {found.value:.3f} lb (reported: 5490.74), violation {found.violation:.0e}, "
          f"{found.nodes} relaxations, {found.analyses} analyses, {time.process_time() - begun:.1f} CPU s; "
          f"{found.status}", flush=True)  # fmt: skip


def many_starts(starts: int) -> None:
    """The 200-bar truss, which has many local optima."""
    classic = CLASSICS["200-bar"]()
    found = size(classic.problem, starts=starts, seed=1)
    values = np.array([s.value for s in found.starts])
    print(f"\n200-bar, best of {starts} starts: {found.value:.4f} lb, violation {found.violation:.0e}, KKT residual "
          f"{found.kkt:.0e}; within 1e-5 of it {np.mean(values <= found.value * (1 + 1e-5)):.0%} of the starts, within "
          f"1e-3 {np.mean(values <= found.value * 1.001):.0%}")  # fmt: skip


def grid(columns: int, rows: int) -> np.ndarray:
    return np.array([(2.0 * i / columns, j / rows) for i in range(columns + 1) for j in range(rows + 1)])


def at(nodes: np.ndarray, x: float, y: float) -> int:
    return int(np.argmin(np.abs(nodes - [x, y]).sum(axis=1)))


def wheel(n: int) -> LayoutProblem:
    nodes = grid(2 * n, n)
    return LayoutProblem(nodes, {at(nodes, 0, 0): "xy", at(nodes, 2, 0): "xy"}, {at(nodes, 1, 0): (0, -1)})


def spokes(n: int) -> LayoutProblem:
    """The wheel's load and supports, with joints on rings about the load: one of them is the rim of the optimum."""
    angles = np.linspace(0, np.pi, 2 * n + 1)
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    nodes = np.concatenate(
        [[(0, 0), (-1, 0), (1, 0)], ring / np.sqrt(2), *(r * ring[1:-1:2] for r in (0.3, 0.5, 0.9, 1.1))]
    )
    return LayoutProblem(nodes, {1: "xy", 2: "xy"}, {0: (0, -1)})


def cantilever(n: int) -> LayoutProblem:
    nodes = grid(2 * n, n)
    held = dict.fromkeys(np.flatnonzero(nodes[:, 0] == 0).tolist(), "xy")
    return LayoutProblem(nodes, held, {at(nodes, 2, 0): (0, -1)})


def layouts(full: bool) -> None:
    """Print the table of layouts."""
    print(
        "\n| layout | pairs of joints | method | volume | gap | largest strain | programs | bars in the last | CPU s |"
    )
    print("|---|---|---|---|---|---|---|---|---|")

    def line(name: str, problem: LayoutProblem, adding: bool) -> Layout:
        begun = time.process_time()
        found = layout(problem, adding=adding)
        print(f"| {name} | {found.potential:,} | {'adding' if adding else 'all pairs'} | {found.volume:.6f} "
              f"| {found.gap:.0e} | 1 + {max(found.strain - 1, 0):.0e} | {len(found.rounds)} | {found.rounds[-1][0]:,} "
              f"| {time.process_time() - begun:.1f} |", flush=True)  # fmt: skip
        return found

    for n in (4, 8, 12):
        for adding in (False, True):
            found = line(f"wheel {2 * n} x {n}", wheel(n), adding)
        print(f"|   relative to Michell's 1 + π/2: {found.volume / (1 + np.pi / 2) - 1:+.4f} ||||||||")
    for n in (8, 16, 32):
        found = line(f"wheel, rings of {2 * n + 1}", spokes(n), True)
        print(f"|   relative to Michell's 1 + π/2: {found.volume / (1 + np.pi / 2) - 1:+.6f} ||||||||")
    for n in (8, 12):
        for adding in (False, True):
            line(f"cantilever {2 * n} x {n}", cantilever(n), adding)
    if full:
        line("cantilever 36 x 18", cantilever(18), True)
        line("cantilever 54 x 27", cantilever(27), True)


def main() -> None:
    """Print all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--evolutions", type=int, default=3)
    parser.add_argument("--budget", type=int, default=5000, help="analyses of an evolution")
    parser.add_argument("--full", action="store_true")
    given = parser.parse_args()
    sizing(given.starts, given.evolutions, given.budget)
    if given.full:
        many_starts(100)
    layouts(given.full)


if __name__ == "__main__":
    main()
