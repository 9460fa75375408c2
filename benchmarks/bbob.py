"""Auto beside single solvers on the 24 BBOB functions, none of which had a part in its design.

    .venv-peers/bin/python benchmarks/bbob.py run [--solvers NAME ...] [--dims 5 20] [--multiples 5 20] [--noises 0 0.1]
        [--instances 11 12] [--out FILE]
    python benchmarks/bbob.py table [--out 'FILES']
    python benchmarks/bbob.py figure [--out 'FILES'] [--figure FILE]

Runs in the peers' environment (`make peers`), which has ioh, the functions; NGOpt, which needs an older numpy, in
another (constraints/nevergrad.txt). `run` appends to the file what it does not hold yet; `table` and `figure` read
files.

Every problem is a box of 60 % of BBOB's width, placed at random around the optimum, so that the center carries little
information (f5, whose optimum is a corner, keeps it on the rim). Regret is that of the recommended point, free of
noise, over that of the median random point: geometric means over functions and instances, nothing counted below 1e-4.
Noise is normal, its deviation a share of that median. Under noise Auto recommends by its study's posterior, a peer its
best observation. Peers begin at the center, and again at random points until the budget is used; those that do not read
the budget run once, and are read at the smaller budgets on the way. A crash counts with what had been seen before it.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import datetime
import itertools
import json
import math
import platform
import sys
import time
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

SHARE = 0.6


class Spent(Exception):
    """The budget is used."""


class Recorder:
    """One problem on the unit cube: it counts, adds the noise, and remembers what was seen and what was true.

    Args:
        loss: of a point, shape (dim,), above the least there is.
        dim: coordinates.
        typical: the loss of a median random point.
        budget: evaluations.
        noise: its standard deviation, as a share of `typical`.
        seed: of the noise.
        levels: of each coordinate, None where it is continuous; a set of them where they have no order.
    """

    def __init__(self, loss, dim, typical, budget, noise, seed, levels=None) -> None:
        self.loss, self.dim, self.typical, self.left, self.noise = loss, dim, typical, budget, noise * typical
        self.rng, self.levels = np.random.default_rng(seed), levels or [None] * dim
        self.points, self.seen = [], []

    def __call__(self, u):
        if len(self.seen) >= self.left:
            raise Spent
        self.points.append(np.array(u, dtype=float))
        self.seen.append(float(self.loss(u) + (self.noise * self.rng.standard_normal() if self.noise else 0.0)))
        return self.seen[-1]

    def regret(self, u):
        return float(self.loss(u) / self.typical)


def bbob(function: int, dim: int, instance: int, budget: int, noise: float) -> Recorder:
    """A BBOB function in a box placed at random around its optimum."""
    import ioh

    problem = ioh.get_problem(function, instance, dim, ioh.ProblemClass.BBOB)
    optimum, rng = np.array(problem.optimum.x), np.random.default_rng([function, dim, instance])
    width = 10 * SHARE
    low = np.clip(optimum - rng.uniform(0.05, 0.95, dim) * width, -5, 5 - width)

    def loss(u):
        return problem(low + width * np.clip(u, 0, 1)) - problem.optimum.y

    typical = float(np.median([loss(u) for u in np.random.default_rng(0).random((512, dim))]))
    return Recorder(loss, dim, typical, budget, noise, [function, dim, instance, 1])


def metaloop(optimizer):
    """One of ours by its class's name, over the problem's own kinds of parameter; None for the default."""

    def solver(f, seed):
        import metaloop as ml

        def parameter(levels):
            if levels is None:
                return ml.Float(0.0, 1.0)
            return ml.Categorical(sorted(levels)) if isinstance(levels, set) else ml.Int(0, levels - 1)

        count = np.array([1 if n is None else len(n) if isinstance(n, set) else n for n in f.levels])
        middle = np.array([0.0 if n is None else 0.5 for n in f.levels])

        def unit(config):
            return (np.array([config[f"x{j}"] for j in range(f.dim)]) + middle) / count

        space = ml.Space(**{f"x{j}": parameter(n) for j, n in enumerate(f.levels)})
        recipe = None if optimizer is None else getattr(ml.optimizers, optimizer)()
        result = ml.minimize(lambda c: f(unit(c)), space, budget=f.left, seed=seed, progress=False, optimizer=recipe)
        return unit(result.config)

    return solver


def starts(f, seed):
    rng = np.random.default_rng(seed)
    return itertools.chain([np.full(f.dim, 0.5)], (rng.random(f.dim) for _ in itertools.count()))


def scipy_minimize(method, **options):
    def solver(f, seed):
        from scipy.optimize import minimize

        for x in starts(f, seed):
            minimize(f, x, method=method, bounds=[(0.0, 1.0)] * f.dim, options=options)

    return solver


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


def lq_cma(f, seed):
    import cma

    for k, x in enumerate(starts(f, seed)):
        options = {"bounds": [[0] * f.dim, [1] * f.dim], "seed": seed + 1 + k, "verbose": -9}
        cma.fmin_lq_surr2(f, x, 0.2, options)


def optuna(make):
    def solver(f, seed):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(sampler=make(optuna.samplers, f, seed))
        while True:
            trial = study.ask()
            study.tell(trial, f(np.array([trial.suggest_float(f"x{j}", 0.0, 1.0) for j in range(f.dim)])))

    return solver


def ngopt(f, seed):
    import nevergrad as ng

    box = ng.p.Array(init=np.full(f.dim, 0.5), lower=0.0, upper=1.0)
    box.random_state.seed(seed)
    box.function.deterministic = not f.noise
    np.random.seed(seed)  # noqa: NPY002 - the peer draws from the global state too
    budget = f.left
    return ng.optimizers.NGOpt(parametrization=box, budget=budget).minimize(f).value


def random_search(f, seed):
    rng = np.random.default_rng(seed)
    while True:
        f(rng.random(f.dim))


OURS = "metaloop Auto"
MEMBERS = {
    f"metaloop {n}": metaloop(n) for n in ("TrustRegion", "GaussianProcess", "SurrogateCMAES", "CMAES", "TPE", "LBFGS")
}
PEERS = {
    "COBYLA": scipy_minimize("COBYLA", rhobeg=0.2),
    "L-BFGS-B": scipy_minimize("L-BFGS-B"),
    "Py-BOBYQA": bobyqa,
    "pycma": pycma,
    "lq-CMA-ES": lq_cma,
    "Optuna CMA-ES": optuna(lambda s, f, seed: s.CmaEsSampler(seed=seed)),
    "Optuna TPE": optuna(lambda s, f, seed: s.TPESampler(seed=seed)),
    "Optuna GP": optuna(lambda s, f, seed: s.GPSampler(seed=seed, deterministic_objective=not f.noise)),
    "NGOpt": ngopt,
    "random": random_search,
}
SOLVERS = {OURS: metaloop(None), **MEMBERS, **PEERS}
READS_BUDGET = (OURS, *MEMBERS, "NGOpt")  # a member recommends by a model of all that was told by then


def run(options: argparse.Namespace) -> None:
    """The BBOB problems asked for."""
    problems = [
        (f, d, i, lambda *a, f=f, d=d, i=i: bbob(f, d, i, *a))
        for d, i, f in itertools.product(options.dims, options.instances, range(1, 25))
    ]
    measure(options, problems)


def measure(options: argparse.Namespace, problems: list) -> None:
    """What the file lacks, a line a run: the regrets at every budget.

    Args:
        options: solvers, multiples, noises and out.
        problems: (name, dim, instance, how it is made for a budget and a noise).
    """
    options.out.parent.mkdir(parents=True, exist_ok=True)
    done = {json.loads(line)["key"] for line in options.out.open()} if options.out.exists() else set()
    for solver, noise in itertools.product(options.solvers, options.noises):
        for function, dim, instance, make in problems:
            for multiples in [[m] for m in options.multiples] if solver in READS_BUDGET else [options.multiples]:
                key = f"{solver}|{function}|{dim}|{instance}|{noise:g}|{max(multiples)}"
                if key in done:
                    continue
                f, x, crash = make(max(multiples) * dim, noise), None, ""
                begun = time.process_time()
                try:
                    x = SOLVERS[solver](f, instance)
                except Spent:
                    pass
                except Exception as error:  # a failure of the solver
                    crash = f"{type(error).__name__}: {error}"[:200]
                ms = 1e3 * (time.process_time() - begun) / max(len(f.seen), 1)
                at = {m: f.points[int(np.argmin(f.seen[: m * dim]))] if f.seen else None for m in multiples}
                if x is not None:
                    at = {max(multiples): x}
                regret = {m: 1.0 if u is None else f.regret(u) for m, u in at.items()}
                row = {"key": key, "solver": solver, "function": function, "dim": dim, "instance": instance}
                row |= {"noise": noise, "regret": regret, "crash": crash, "ms": round(ms, 3)}
                if x is not None and f.seen:
                    row["observed"] = f.regret(f.points[int(np.argmin(f.seen))])
                row |= {"date": str(datetime.date.today())}
                with options.out.open("a") as out:
                    out.write(json.dumps(row) + "\n")


def load(out: Path) -> list[dict]:
    """The rows of all files that a pattern names, of runs on BBOB."""
    rows = [json.loads(line) for path in sorted(out.parent.glob(out.name)) for line in path.open()]
    return [r for r in rows if isinstance(r["function"], int)]


def figure(options: argparse.Namespace) -> None:
    """Which optimizer when: every peer over Auto in every cell, as a map."""
    from metaloop.report.figures import save
    from metaloop.report.maps import Cell, heat_map

    cells: dict[tuple, dict] = {}
    for row in load(options.out):
        for multiple, regret in row["regret"].items():
            cell = cells.setdefault((row["noise"], row["dim"], int(multiple)), {})
            cell.setdefault(row["solver"], {})[row["function"], row["instance"]] = math.log10(max(regret, 1e-4))
    cells = {k: c for k, c in sorted(cells.items()) if OURS in c}
    names = [n for n in reversed(PEERS) if any(n in c for c in cells.values())]
    columns = sorted({k[1:] for k in cells})
    panels = {}
    for noise in sorted({k[0] for k in cells}):
        grid = {}
        for at in columns:
            cell = cells.get((noise, *at), {})
            for name in names:
                keys = set(cell.get(name, {})) & set(cell.get(OURS, {}))
                if keys:
                    grid[name, at] = float(np.mean([cell[name][k] - cell[OURS][k] for k in keys]))
        panels["The peer's regret over Auto's, " + (f"{100 * noise:.0f} % noise" if noise else "no noise")] = [
            [
                Cell(-grid[n, c], f"{10 ** grid[n, c]:.2g}", grid[n, c] == min(grid.get((m, c), 9.0) for m in names))
                if (n, c) in grid
                else Cell(0.0, "")
                for c in columns
            ]
            for n in names
        ]
    drawn = heat_map(panels, rows=names, columns=[f"{d}, {m}d" for d, m in columns], bound=math.log10(8),
                     sides=("Auto has less regret", "the peer has less"), framed="best peer",
                     x_label="dimension d, evaluations", y_label="")  # fmt: skip
    save(drawn, options.figure)


def table(options: argparse.Namespace) -> None:
    """Geometric means a cell, Auto over the best peer of the cell, and over each peer in all of its cells."""
    rows = load(options.out)
    cells: dict[tuple, dict[str, dict]] = {}
    crashes: dict[str, int] = {}
    cost: dict[tuple, list[float]] = {}
    for row in rows:
        crashes[row["solver"]] = crashes.get(row["solver"], 0) + bool(row["crash"])
        for multiple, regret in row["regret"].items():
            cell = cells.setdefault((row["dim"], int(multiple), row["noise"]), {})
            cell.setdefault(row["solver"], {})[row["function"], row["instance"]] = regret
            cost.setdefault((row["dim"], int(multiple), row["noise"], row["solver"]), []).append(row["ms"])
    names = [n for n in PEERS if any(n in c for c in cells.values())]
    rng = np.random.default_rng(0)

    def log(cell, name, keys, floor):
        return np.log(np.maximum([cell[name][k] for k in keys], floor))

    def interval(difference, keys):
        by = [np.mean([v for v, k in zip(difference, keys, strict=True) if k[0] == f]) for f in {k[0] for k in keys}]
        return np.exp(np.quantile(rng.choice(by, (4000, len(by))).mean(axis=1), [0.025, 0.975]))

    first, last = min(r["date"] for r in rows), max(r["date"] for r in rows)
    print(f"Runs of {first} to {last}, Python {platform.python_version()}, {platform.machine()}, one BLAS thread\n")
    for floor in (1e-4, 1e-8):
        ratios: dict[float, list[float]] = {}
        against: dict[str, list[float]] = {}
        virtual: list[float] = []
        no_corner: list[float] = []
        print(f"Nothing counted below {floor:g}:\n")
        head = "d | evaluations | noise | runs | Auto | CPU ms | Auto / best peer | virtual best"
        print(f"| {head} | {' | '.join(names)} |")
        print("|---" * (8 + len(names)) + "|")
        for (dim, multiple, noise), cell in sorted(cells.items()):
            if OURS not in cell:
                continue
            means, shown = {}, []
            for name in names:
                keys = sorted(set(cell.get(name, {})) & set(cell[OURS]))
                if not keys:
                    shown.append("")
                    continue
                theirs, ours = log(cell, name, keys, floor), log(cell, OURS, keys, floor)
                means[name] = float((ours - theirs).mean())
                against.setdefault(name, []).append(means[name])
                mark = "" if len(keys) == len(cell[OURS]) else f" ({len(keys)})"
                shown.append(f"{np.exp(theirs.mean()):.2g}{mark}")
            best = max(means, key=means.get)
            keys = sorted(set(cell[best]) & set(cell[OURS]))
            difference = log(cell, OURS, keys, floor) - log(cell, best, keys, floor)
            low, high = interval(difference, keys)
            complete = [n for n in names if set(keys) <= set(cell.get(n, {}))]
            of_all = np.min([log(cell, n, keys, floor) for n in complete], axis=0).mean()
            ratios.setdefault(noise, []).append(means[best])
            virtual.append(float(log(cell, OURS, keys, floor).mean() - of_all))
            if noise:
                rest = [k for k in keys if k[0] != 5]
                lead = {n: (log(cell, OURS, rest, floor) - log(cell, n, rest, floor)).mean() for n in complete}
                no_corner.append(max(lead.values()))
            ours = np.exp(log(cell, OURS, sorted(cell[OURS]), floor).mean())
            ms = np.mean(cost[dim, multiple, noise, OURS])
            row = [dim, f"{multiple} d", f"{noise:g}", len(cell[OURS]), f"{ours:.2g}", f"{ms:.1f}"]
            row += [f"{np.exp(means[best]):.2f} [{low:.2f}, {high:.2f}] ({best})", f"{np.exp(of_all):.2g}", *shown]
            print(f"| {' | '.join(map(str, row))} |")
        print()
        for noise, logs in sorted(ratios.items()):
            text = f"noise {noise:g}: Auto / best peer of each cell, geometric mean {np.exp(np.mean(logs)):.2f}"
            print(f"{text}, worst cell {np.exp(max(logs)):.2f}.")
        if no_corner:
            print(f"noise without f5: {np.exp(np.mean(no_corner)):.2f}, worst cell {np.exp(max(no_corner)):.2f}.")
        print(f"Auto / virtual best of the peers: {np.exp(np.mean(virtual)):.2f}.")
        print("Auto / a peer, over the cells it has: " + ", ".join(
            f"{n} {np.exp(np.mean(v)):.2f}" for n, v in against.items()) + ".\n")  # fmt: skip
    print("Crashed runs: " + (", ".join(f"{n} {c}" for n, c in crashes.items() if c) or "none") + ".")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("run", "table", "figure"))
    parser.add_argument(
        "--solvers", nargs="+", default=[OURS, *(n for n in PEERS if n != "NGOpt")], choices=list(SOLVERS)
    )
    parser.add_argument("--dims", type=int, nargs="+", default=[5, 20])
    parser.add_argument("--multiples", type=int, nargs="+", default=[5, 20])
    parser.add_argument("--noises", type=float, nargs="+", default=[0.0, 0.1])
    parser.add_argument("--instances", type=int, nargs="+", default=[11, 12])
    parser.add_argument("--out", type=Path, default=Path("out/bbob.jsonl"))
    parser.add_argument("--figure", type=Path, default=Path("out/which.svg"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    {"run": run, "table": table, "figure": figure}[options.what](options)


if __name__ == "__main__":
    main()
