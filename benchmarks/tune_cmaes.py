"""Does `tune` improve CMA-ES on functions of kinds that it was not tuned on?

CMA-ES is tuned on family A (random ellipsoids, Rosenbrock-like valleys, bowls with cosines) and compared, paired, with
its defaults on family B (other kinds: Ackley-, Griewank- and Schwefel-like, plateaus, a sharp ridge) with fresh
instances and seeds. Printed: the mean difference of log10 regret, with a 95 % bootstrap interval.

    python benchmarks/tune_cmaes.py [--quick]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from metaloop.optimizers import CMAES
from metaloop.space import Array, Space

EVALUATIONS_PER_DIM = 50
Function = Callable[[Array], Array]  # steps from the optimum, shape (n, d) -> values, shape (n,), 0 at the optimum


@dataclass(frozen=True)
class Problem:
    """One random function on the unit cube, as a task; the optimum's value is 0.

    Attributes:
        name: kind, dimension and instance.
        dim: number of coordinates.
        function: of the points of the cube, shape (n, d).
        typical: median value of uniform random points, by which the regret is divided.
    """

    name: str
    dim: int
    function: Function
    typical: float

    def __call__(self, recipe: Any, seed: int) -> float:
        """log10 of the regret after 50 d evaluations over that of a typical point; at least -10."""
        state = recipe.init(Space.from_bounds([(0.0, 1.0)] * self.dim), seed)
        budget, best = EVALUATIONS_PER_DIM * self.dim, math.inf
        while budget > 0:
            points, state = recipe.ask(state, min(budget, getattr(state, "population", 1)))
            values = self.function(points)
            budget, best = budget - len(points), min(best, float(values.min()))
            state = recipe.tell(state, points, values)
        return math.log10(max(best / self.typical, 1e-10))


def problem(kind: str, dim: int, instance: int) -> Problem:
    """A random member of a kind: rotation, conditioning, place of the optimum (anywhere in the cube) and units."""
    rng = np.random.default_rng([*kind.encode(), dim, instance])
    rotation, _ = np.linalg.qr(rng.standard_normal((dim, dim)))
    optimum = rng.uniform(0.05, 0.95, dim)
    shape = _KINDS[kind](dim, rng)

    def function(points: Array) -> Array:
        return shape(10 * (points - optimum) @ rotation.T)

    typical = float(np.median(function(rng.random((1000, dim)))))
    return Problem(f"{kind}-{dim}-{instance}", dim, function, typical)


def families(instances: int = 4, dims: tuple[int, ...] = (5, 10)) -> tuple[list[Problem], list[Problem]]:
    """(A, B): problems to tune on, and problems of other kinds to test on."""
    a = [problem(kind, d, i) for i in range(instances) for kind in TRAINING for d in dims]
    b = [problem(kind, d, 1000 + i) for i in range(instances) for kind in TEST for d in dims]
    return a, b


# --- family A ------------------------------------------------------------------------------------------------------


def _ellipsoid(dim: int, rng: np.random.Generator) -> Function:
    scale = 10 ** (rng.uniform(0, 6) * rng.permutation(dim) / (dim - 1))
    return lambda x: (scale * x**2).sum(axis=1)


def _valley(dim: int, rng: np.random.Generator) -> Function:
    bend, wall = rng.uniform(0.05, 0.3), 10 ** rng.uniform(1, 3)

    def f(x: Array) -> Array:
        return wall * ((x[:, 1:] - bend * x[:, :-1] ** 2) ** 2).sum(axis=1) + (x**2).sum(axis=1)

    return f


def _cosine_bowl(dim: int, rng: np.random.Generator) -> Function:
    height, frequency = 10 ** rng.uniform(-1, 1), rng.uniform(0.3, 1.0)
    scale = 10 ** (rng.uniform(0, 2) * rng.permutation(dim) / (dim - 1))
    return lambda x: (scale * x**2 + height * (1 - np.cos(2 * np.pi * frequency * x))).sum(axis=1)


# --- family B ------------------------------------------------------------------------------------------------------


def _ackley(dim: int, rng: np.random.Generator) -> Function:
    width, frequency = rng.uniform(0.1, 0.4), rng.uniform(0.5, 1.5)

    def f(x: Array) -> Array:
        far = 20 * (1 - np.exp(-width * np.sqrt((x**2).mean(axis=1))))
        return far + math.e - np.exp(np.cos(2 * np.pi * frequency * x).mean(axis=1))

    return f


def _plateaus(dim: int, rng: np.random.Generator) -> Function:
    scale = 10 ** (rng.uniform(0, 3) * rng.permutation(dim) / (dim - 1))
    step = rng.uniform(0.2, 0.6)
    return lambda x: (scale * np.round(x / step) ** 2).sum(axis=1) + 1e-4 * np.abs(x[:, 0])


def _sharp_ridge(dim: int, rng: np.random.Generator) -> Function:
    steep = 10 ** rng.uniform(0.5, 2)
    return lambda x: np.abs(x[:, 0]) + steep * np.sqrt((x[:, 1:] ** 2).sum(axis=1))


def _schwefel(dim: int, rng: np.random.Generator) -> Function:
    """Nested sums (Schwefel 1.2) of powers that are not quadratic."""
    power = rng.uniform(1.0, 4.0)
    return lambda x: (np.abs(np.cumsum(x, axis=1)) ** power).sum(axis=1)


def _griewank(dim: int, rng: np.random.Generator) -> Function:
    root, zoom = np.sqrt(np.arange(1, dim + 1)), rng.uniform(1, 10)
    return lambda x: (zoom * x**2).sum(axis=1) / 40 + 1 - np.cos(zoom * x / root).prod(axis=1)


_KINDS: dict[str, Callable[[int, np.random.Generator], Function]] = {
    "ellipsoid": _ellipsoid,
    "valley": _valley,
    "cosine bowl": _cosine_bowl,
    "ackley": _ackley,
    "plateaus": _plateaus,
    "sharp ridge": _sharp_ridge,
    "schwefel": _schwefel,
    "griewank": _griewank,
}
TRAINING = ("ellipsoid", "valley", "cosine bowl")
TEST = ("ackley", "plateaus", "sharp ridge", "schwefel", "griewank")


def compare(default: Any, tuned: Any, problems: list[Problem], seeds: int) -> Array:
    """Tuned minus default, log10 regret, shape (problems, seeds); negative where tuning helped."""
    return np.array([[p(tuned, 10_000 + s) - p(default, 10_000 + s) for s in range(seeds)] for p in problems])


def interval(differences: Array, draws: int = 10_000) -> tuple[float, float]:
    """95 % bootstrap interval of the mean; problems are drawn, since seeds of one problem are not independent."""
    means, rng = differences.mean(axis=1), np.random.default_rng(0)
    low, high = np.quantile(rng.choice(means, (draws, len(means))).mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def main(quick: bool = False, seed: int = 0) -> dict[str, Any]:
    """Tune on A, compare on B, print, and return the numbers."""
    from metaloop import tune

    a, b = families(instances=1 if quick else 8, dims=(5,) if quick else (5, 10))
    result = tune(CMAES(), a, budget=40 if quick else 6000, seed=seed)
    differences = compare(CMAES(), result.recipe, b, seeds=1 if quick else 5)
    mean, (low, high) = float(differences.mean()), interval(differences)
    verdict = "tuning helped" if high < 0 else "tuning did harm" if low > 0 else "no gain shown"
    print(f"tuned:   {result.recipe}")
    print(f"family B: log10 regret changed by {mean:+.3f} (95 % {low:+.3f} to {high:+.3f}, n = {len(b)}): {verdict}")
    for kind in TEST:
        rows = np.array([p.name.startswith(kind) for p in b])
        print(f"  {kind:12s} {differences[rows].mean():+.3f}")
    return {"recipe": result.recipe, "mean": mean, "interval": (low, high), "n": len(b)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes")
    main(parser.parse_args().quick)
