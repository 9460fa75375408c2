"""Are the defaults of Auto and GaussianProcess the best there are? `tune` looks, on functions that no benchmark scores.

    python benchmarks/tune_defaults.py [--recipes Auto GaussianProcess] [--budget 600] [--check 5] [--quick]

The tasks: every kind of benchmarks/generated.py in 2 and 5 dimensions, exact and with 10 % noise, 20 evaluations a
parameter; real tuning tables and mixed spaces of benchmarks/tpe_quality.py, 50 evaluations. A loss is the log10 regret
of the recommended point, free of noise, over that of the median random point, at least 1e-4. What `tune` finds is then
compared with the shipped defaults, paired, on fresh instances and seeds of the same kinds: a default changes only where
the whole 95 % interval is on the better side.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import datetime
import math
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import generated
import numpy as np
import tpe_quality

import metaloop as ml

RECIPES = {"Auto": ml.Auto, "GaussianProcess": ml.optimizers.GaussianProcess}
FLOOR = 1e-4
Task = Callable[[Any, int], float]


def on_function(kind: str, dim: int, noise: float, offset: int) -> Task:
    """A task on a generated function; the seed draws function, noise and run."""

    def task(recipe: Any, seed: int) -> float:
        f, typical = generated.function(kind, dim, offset + seed)
        rng = np.random.default_rng([offset, seed, dim])

        def told(u: Any) -> float:
            return f(u) + noise * typical * float(rng.standard_normal())

        space = [(0.0, 1.0)] * dim
        found = ml.minimize(told, space, budget=20 * dim, seed=seed, optimizer=recipe, progress=False)
        return math.log10(max(f(np.asarray(found.x)) / typical, FLOOR))

    return task


def on_table(problem: tpe_quality.Problem, offset: int) -> Task:
    """A task on a problem with kinds of parameters, or on a table."""

    def task(recipe: Any, seed: int) -> float:
        rng = np.random.default_rng([offset, seed])

        def told(config: Any) -> float:
            return problem.loss(config) + problem.noise * float(rng.standard_normal())

        found = ml.minimize(told, problem.space, budget=50, seed=offset + seed, optimizer=recipe, progress=False)
        return math.log10(max((problem.loss(found.config) - problem.best) / (problem.typical - problem.best), FLOOR))

    return task


def tasks(offset: int, tables: Path, quick: bool) -> dict[str, Task]:
    """By name; the offset makes instances and seeds others."""
    kinds = list(generated.KINDS)[:2] if quick else list(generated.KINDS)
    out = {
        f"{kind}, d = {dim}, {100 * noise:.0f} % noise": on_function(kind, dim, noise, offset)
        for kind in kinds
        for dim in (2, 5)
        for noise in (0.0, 0.1)
    }
    if not quick:
        out |= {p.name: on_table(p, offset) for p in tpe_quality.problems(tables)}
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--recipes", nargs="+", choices=list(RECIPES), default=list(RECIPES))
    parser.add_argument("--budget", type=int, default=1200, help="task evaluations of `tune`")
    parser.add_argument("--check", type=int, default=2, help="fresh seeds a task to compare with")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    print(f"{datetime.date.today()}, Python {platform.python_version()}, {platform.machine()}, one BLAS thread\n")
    with tempfile.TemporaryDirectory() as folder:
        if not options.quick:
            tpe_quality.tabulate(Path(folder) / "tables.npz")
        train = tasks(1000, Path(folder) / "tables.npz", options.quick)
        fresh = tasks(2000, Path(folder) / "tables.npz", options.quick)
        rng = np.random.default_rng(0)
        for name in options.recipes:
            begun, given = time.process_time(), RECIPES[name]()
            order = rng.permutation(len(train))
            shuffled = [list(train.values())[i] for i in order]  # a race compares on whatever comes first
            tuned = ml.tune(given, shuffled, budget=options.budget, seeds=1)
            print(f"{name}: {len(train)} tasks, {tuned.evaluations} task evaluations, "
                  f"{(time.process_time() - begun) / 60:.0f} CPU minutes.")  # fmt: skip
            if not tuned.config:
                print("Nothing that was tried beats the defaults on the tuning tasks: they stay.\n")
                continue
            print("Found: " + ", ".join(f"{k} = {v:.4g}" for k, v in tuned.config.items()))
            change = np.array([
                np.mean([task(tuned.recipe, s) - task(given, s) for s in range(options.check)])
                for task in fresh.values()
            ])  # fmt: skip
            low, high = np.quantile(rng.choice(change, (4000, len(change))).mean(axis=1), [0.025, 0.975])
            verdict = "better: ship it" if high < 0 else "not surely better: the defaults stay"
            print(f"On fresh tasks, log10 regret of what was found less that of the defaults: {change.mean():+.3f} "
                  f"[{low:+.3f}, {high:+.3f}] dex ({-tuned.gain:+.3f} on the tuning tasks): {verdict}.\n")  # fmt: skip


if __name__ == "__main__":
    main()
