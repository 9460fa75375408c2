"""`tune` looks for continuation schedules that give stiffer designs at equal cost, on load cases it has not seen.

Tasks are random sheets: a clamped edge, or two held corners; one or two loads at random nodes of the other edges; a
random share of material. A loss is the logarithm of the black and white compliance over even material's; iterations,
radius and sharpness are the same for all recipes. What is found is judged on other random sheets, and on finer meshes.

Usage: python benchmarks/topology_schedules.py [--budget 600] [--test 60]
"""

from __future__ import annotations

import argparse
import math
import os
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np

import metaloop as ml
from metaloop.recipe import space_of
from metaloop.structure import SIMP, Problem, empty, evaluate, optimize

ITERATIONS = 60


def sheet(seed: int, height: int) -> Problem:
    """A random problem; the same in all meshes, but for rounding to nodes."""
    rng = np.random.default_rng([7, seed])
    nx, ny = int(height * rng.uniform(1, 3)), height
    supports, load = empty((nx, ny))
    if rng.random() < 0.6:
        supports[:, 0] = True
    else:
        supports[:, 0, 0] = supports[:, -1, 0] = True
    loads = []
    for _ in range(int(rng.integers(1, 3))):
        one = load.copy()
        place, angle = rng.uniform(0.3, 1), rng.uniform(0, 2 * math.pi)
        at = (-1, round(place * ny)) if rng.random() < 0.5 else (round(place * nx), -1)
        one[0][at], one[1][at] = math.cos(angle), math.sin(angle)
        loads.append(one)
    return Problem((nx, ny), supports, np.array(loads), float(rng.uniform(0.25, 0.5)))


def task(seed: int, height: int = 24):
    """A function of a recipe: the logarithm of the compliance of its black and white design over even material's.

    At most 0: a design that falls apart is as bad as none, however little the void resists.
    """
    problem = sheet(seed, height)
    even = float(problem.weights @ evaluate(problem, np.full(problem.shape, problem.fraction)).values)

    def loss(recipe: SIMP, _: int) -> float:
        found = optimize(problem, recipe)
        return min(0.0, float(np.log(problem.weights @ found.thresholded / even)))

    return loss


def judged(recipe: SIMP, base: SIMP, seeds: range, height: int) -> tuple[float, float, float]:
    """Geometric mean of the compliance over the base's, with a 95 % interval."""
    gaps = np.array([task(s, height)(recipe, 0) - task(s, height)(base, 0) for s in seeds])
    half = 1.96 * gaps.std(ddof=1) / math.sqrt(len(gaps))
    return math.exp(gaps.mean()), math.exp(gaps.mean() - half), math.exp(gaps.mean() + half)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=int, default=600)
    parser.add_argument("--test", type=int, default=60)
    given = parser.parse_args()
    base = SIMP(radius=2.0, sharpness=32, iterations=ITERATIONS, tolerance=0)
    train = [task(s) for s in range(20)]
    print("| recipe | 24 high, unseen: compliance over the default's [95 %] | 48 high, unseen | CPU s of tuning |")
    print("|---|---|---|---|")
    for title, optimizer in (("tune, Auto", None), ("tune, random search", ml.optimizers.RandomSearch())):
        begun = time.process_time()
        found = ml.tune(base, train, budget=given.budget, seeds=1, space=space_of(base), optimizer=optimizer)
        spent = time.process_time() - begun
        fresh = judged(found.recipe, base, range(1000, 1000 + given.test), 24)
        finer = judged(found.recipe, base, range(2000, 2000 + given.test // 2), 48)
        shown = ", ".join(f"{k} {v:.3g}" for k, v in found.config.items())
        print(f"| {title}: {shown} | {fresh[0]:.3f} [{fresh[1]:.3f}, {fresh[2]:.3f}] | "
              f"{finer[0]:.3f} [{finer[1]:.3f}, {finer[2]:.3f}] | {spent:.0f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
