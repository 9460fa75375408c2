"""Auto beside single solvers on the 24 BBOB functions, none of which had a part in its design.

    .venv-peers/bin/python benchmarks/bbob.py [--dims 5 20] [--multiples 5 20] [--noises 0 0.1] [--instances 1 2]
        [--only NAME ...]

Runs in the peers' environment (`make peers`), which has ioh, the functions. Every problem is a box of 60 % of BBOB's
width, placed at random around the optimum, so that the center carries little information (f5, whose optimum is a
corner, keeps it on the rim). Regret is that of the recommended point, free of noise, over that of the median random
point, at least 1e-4: geometric means, and the ratio of Auto to the best peer of the cell with a 95 % bootstrap interval
over functions. Noise is normal, its deviation a share of that median. Under noise Auto recommends by its study's
posterior, a peer its best observation. Peers begin at the center, and again at random points until the budget is used.
"""

# ruff: noqa: E402 - the number of threads is read when numpy is imported
from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import contextlib
import datetime
import itertools
import platform
import sys
import time
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

import metaloop as ml

FLOOR, SHARE = 1e-4, 0.6


class Spent(Exception):
    """The budget is used."""


class Recorder:
    """One problem on the unit cube: it counts, adds the noise, and remembers what was seen and what was true."""

    def __init__(self, function: int, dim: int, instance: int, budget: int, noise: float) -> None:
        import ioh

        self.problem = ioh.get_problem(function, instance, dim, ioh.ProblemClass.BBOB)
        optimum, rng = np.array(self.problem.optimum.x), np.random.default_rng([function, dim, instance])
        self.width, self.left, self.dim = 10 * SHARE, budget, dim
        self.low = np.clip(optimum - rng.uniform(0.05, 0.95, dim) * self.width, -5, 5 - self.width)
        self.typical = float(np.median([self.loss(u) for u in np.random.default_rng(0).random((512, dim))]))
        self.noise, self.rng = noise * self.typical, np.random.default_rng([function, dim, instance, 1])
        self.points, self.seen = [], []

    def loss(self, u):
        return self.problem(self.low + self.width * np.clip(u, 0, 1)) - self.problem.optimum.y

    def __call__(self, u):
        if len(self.seen) >= self.left:
            raise Spent
        self.points.append(np.array(u, dtype=float))
        self.seen.append(float(self.loss(u) + (self.noise * self.rng.standard_normal() if self.noise else 0.0)))
        return self.seen[-1]

    def regret(self, u):
        return max(self.loss(u) / self.typical, FLOOR)


def auto(f, seed):
    result = ml.minimize(f, [(0.0, 1.0)] * f.dim, budget=f.left, seed=seed, progress=False)
    return result.x


def starts(f, seed):
    rng = np.random.default_rng(seed)
    return itertools.chain([np.full(f.dim, 0.5)], (rng.random(f.dim) for _ in itertools.count()))


def cobyla(f, seed):
    from scipy.optimize import minimize

    for x in starts(f, seed):
        minimize(f, x, method="COBYLA", bounds=[(0.0, 1.0)] * f.dim, options={"rhobeg": 0.2})


def lbfgsb(f, seed):
    from scipy.optimize import minimize

    for x in starts(f, seed):
        minimize(f, x, method="L-BFGS-B", bounds=[(0.0, 1.0)] * f.dim)


def bobyqa(f, seed):
    import pybobyqa

    np.random.seed(seed)  # noqa: NPY002 - the peer draws its initial directions from the global state
    box = (np.zeros(f.dim), np.ones(f.dim))
    for x in starts(f, seed):
        pybobyqa.solve(f, x, bounds=box, maxfun=f.left + 1, scaling_within_bounds=True, objfun_has_noise=f.noise > 0,
                       do_logging=False)  # fmt: skip


def pycma(f, seed):
    import cma

    begin = starts(f, seed)
    while True:
        options = {"bounds": [0, 1], "seed": seed + 1, "verbose": -9, "verb_disp": 0, "verb_log": 0}
        cma.fmin2(f, lambda: next(begin), 0.2, options, restarts=9)


def tpe(f, seed):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    while True:
        trial = study.ask()
        study.tell(trial, f(np.array([trial.suggest_float(f"x{j}", 0.0, 1.0) for j in range(f.dim)])))


PEERS = {"COBYLA": cobyla, "L-BFGS-B": lbfgsb, "Py-BOBYQA": bobyqa, "pycma": pycma, "Optuna TPE": tpe}


def measured(solver, dim, budget, noise, instances):
    """Regrets, shape (24, instances), crashes, and CPU ms an evaluation."""
    out, crashed, begun = np.ones((24, len(instances))), 0, time.process_time()
    for function, (k, instance) in itertools.product(range(1, 25), enumerate(instances)):
        f, x = Recorder(function, dim, instance, budget, noise), None
        try:
            with contextlib.suppress(Spent):
                x = solver(f, instance)
        except Exception:  # a crash is a failure of the solver: what it had seen counts
            crashed += 1
        if f.seen:
            out[function - 1, k] = f.regret(f.points[int(np.argmin(f.seen))] if x is None else x)
    return out, crashed, 1e3 * (time.process_time() - begun) / (out.size * budget)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[5, 20])
    parser.add_argument("--multiples", type=int, nargs="+", default=[5, 20])
    parser.add_argument("--noises", type=float, nargs="+", default=[0.0, 0.1])
    parser.add_argument("--instances", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", nargs="*", default=list(PEERS))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{datetime.date.today()}, Python {platform.python_version()}, {platform.machine()}, one BLAS thread\n")
    print(f"| d | evaluations | noise | metaloop Auto | CPU ms | Auto / best peer | {' | '.join(options.only)} |")
    print("|---" * (6 + len(options.only)) + "|")
    rng, logs = np.random.default_rng(0), []
    for dim, multiple, noise in itertools.product(options.dims, options.multiples, options.noises):
        ours, _, ms = measured(auto, dim, multiple * dim, noise, options.instances)
        theirs = {n: measured(PEERS[n], dim, multiple * dim, noise, options.instances) for n in options.only}
        means = {n: float(np.exp(np.log(r).mean())) for n, (r, _, _) in theirs.items()}
        best = min(means, key=means.get)
        difference = (np.log(ours) - np.log(theirs[best][0])).mean(axis=1)
        low, high = np.quantile(rng.choice(difference, (4000, 24)).mean(axis=1), [0.025, 0.975])
        logs.append(difference.mean())
        cells = [f"{means[n]:.4f}" + (f" ({c} crashed)" if c else "") for n, (_, c, _) in theirs.items()]
        ratio = f"{np.exp(logs[-1]):.2f} [{np.exp(low):.2f}, {np.exp(high):.2f}] ({best})"
        row = [dim, f"{multiple} d", f"{noise:g}", f"{np.exp(np.log(ours).mean()):.4f}", f"{ms:.1f}", ratio, *cells]
        print(f"| {' | '.join(map(str, row))} |", flush=True)
    print(
        f"\nGeometric mean of Auto / best peer of the cell: {np.exp(np.mean(logs)):.2f}; worst {np.exp(max(logs)):.2f}."
    )


if __name__ == "__main__":
    main()
