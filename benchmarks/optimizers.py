"""Every optimizer beside its reference implementation: same problems, same budgets, paired seeds, one run.

    python benchmarks/optimizers.py [--peer-python /path/to/python] [--only NAME ...] [--quick]

Problems are drawn anew for every seed: the optimum lies anywhere in the space, and what can be rotated is. Both of a
pair solve the same one. Printed: log10 of ours' regret minus the reference's, the regret being the loss of the point
with the best observed value over that of a typical random point, at least 1e-12 (0 is the optimum's loss); its mean
with a 95 % bootstrap interval (seeds are drawn within each problem), how often either was better, and CPU ms per
evaluation, the objective included and imports not. References run with their recommended settings, begin where ours
begin if that is for the caller to say, and begin again at random points until the budget is used. Those that cannot
share our environment run in a child process with an interpreter of their own (`--peer-python`) on the same file.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import contextlib
import datetime
import itertools
import json
import math
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from metaloop import registry
from metaloop.space import Array, Categorical, Float, Int, Space

FLOOR = 1e-12
PACKAGES = ("numpy", "scipy", "cma", "optuna", "torch", "Py-BOBYQA")

# --- problems --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Problem:
    """One random member of a kind.

    Attributes:
        loss: of a row of the unit cube; 0 at the optimum.
        typical: its median over random points.
        noise: standard deviation of what is told, as a share of `typical`.
    """

    space: Space
    loss: Callable[[Array], float]
    typical: float
    noise: float = 0.0


def problem(kind: str, dim: int, seed: int) -> Problem:
    """A member of a kind; `dim` is the number of columns."""
    rng = np.random.default_rng([*kind.encode(), dim, seed])
    space, loss = mixed(dim, rng) if kind == "mixed" else boxed(KINDS[kind], dim, rng)
    typical = float(np.median([loss(row) for row in space.sample(rng, 300)]))
    return Problem(space, loss, typical, 0.01 if kind == "noisy sphere" else 0.0)


def boxed(shape: Callable[[Array], Any], dim: int, rng: np.random.Generator) -> tuple[Space, Callable[[Array], float]]:
    """A function of steps from the optimum, in a cube of width 10 around it, moved and rotated."""
    turn, optimum = np.linalg.qr(rng.standard_normal((dim, dim)))[0], rng.uniform(0.05, 0.95, dim)
    return Space.from_bounds([(0.0, 1.0)] * dim), lambda row: float(shape(10 * turn @ (row - optimum)))


def rosenbrock(z: Array) -> Any:
    x = z / 2 + 1
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def ackley(z: Array) -> Any:
    return 20 - 20 * np.exp(-0.2 * np.sqrt((z**2).mean())) + math.e - np.exp(np.cos(2 * np.pi * z).mean())


KINDS: dict[str, Callable[[Array], Any]] = {
    "sphere": lambda z: z @ z,
    "noisy sphere": lambda z: z @ z,
    "ellipsoid": lambda z: 1e4 ** (np.arange(len(z)) / (len(z) - 1)) @ z**2,
    "Rosenbrock": rosenbrock,
    "Ackley": ackley,
    "Rastrigin": lambda z: (z**2 + 10 - 10 * np.cos(2 * np.pi * z)).sum(),
}


def mixed(dim: int, rng: np.random.Generator) -> tuple[Space, Callable[[Array], float]]:
    """Two categories, of which one moves the optimum of the rest; two whole numbers; real numbers."""
    reals = dim - 4
    space = Space(
        {f"x{j}": Float(-5.0, 5.0) for j in range(reals)},
        layers=Int(1, 20),
        width=Int(1, 256, log=True),
        kind=Categorical(list("abcd")),
        rule=Categorical(list("xyz")),
    )
    optima, layers, width = rng.uniform(-4.5, 4.5, (4, reals)), rng.integers(1, 21), 2.0 ** rng.integers(0, 9)
    kinds, rules = rng.permutation(4), rng.permutation(3)

    def loss(row: Array) -> float:
        c = space.decode(row)[0]
        kind = "abcd".index(c["kind"])
        x = np.array([c[f"x{j}"] for j in range(reals)])
        numbers = ((c["layers"] - layers) / 5) ** 2 + math.log2(c["width"] / width) ** 2 / 4
        return float(
            ((x - optima[kind]) ** 2).sum() + numbers + 2.0 * kinds[kind] + 2.0 * rules["xyz".index(c["rule"])]
        )

    return space, loss


class Spent(Exception):
    """The budget is used."""


class Recorder:
    """The objective that an optimizer sees: it counts, adds the noise, and remembers the best observed point."""

    def __init__(self, p: Problem, budget: int, seed: int) -> None:
        self.problem, self.left = p, budget
        self.rng, self.best, self.regret = np.random.default_rng([seed, 1]), math.inf, math.inf

    def __call__(self, row: Any) -> float:
        if not self.left:
            raise Spent
        self.left -= 1
        p = self.problem
        loss = p.loss(np.asarray(row, dtype=float))
        told = loss + p.noise * p.typical * self.rng.standard_normal() if p.noise else loss
        if told < self.best:
            self.best, self.regret = told, loss / p.typical
        return told


# --- ours and theirs: each minimizes until the recorder stops it -----------------------------------------------------

Runner = Callable[[Recorder, int], None]


def ours(name: str) -> Runner:
    recipe = registry.find("optimizers", name)()

    def run(f: Recorder, seed: int) -> None:
        state = recipe.init(f.problem.space, seed)
        while True:
            points, state = recipe.ask(state, 1)
            state = recipe.tell(state, points, [f(points[0])])

    return run


def starts(f: Recorder, seed: int) -> Any:
    """The center, then random points for ever."""
    rng = np.random.default_rng([seed, 2])
    d = f.problem.space.dim
    return itertools.chain([np.full(d, 0.5)], (rng.random(d) for _ in itertools.count()))


def pycma(f: Recorder, seed: int) -> None:
    import cma

    begin = starts(f, seed)
    while True:
        options = {"bounds": [0, 1], "seed": seed + 1, "verbose": -9, "verb_disp": 0, "verb_log": 0}
        cma.fmin2(f, lambda: next(begin), 0.2, options, restarts=9)


def scipy_differential_evolution(f: Recorder, seed: int) -> None:
    from scipy.optimize import differential_evolution

    rng = np.random.default_rng(seed)
    while True:
        differential_evolution(f, [(0.0, 1.0)] * f.problem.space.dim, rng=rng)


def scipy_lbfgsb(f: Recorder, seed: int) -> None:
    from scipy.optimize import minimize

    for x in starts(f, seed):
        minimize(f, x, method="L-BFGS-B", bounds=[(0.0, 1.0)] * len(x))


def bobyqa(f: Recorder, seed: int) -> None:
    import pybobyqa

    np.random.seed(seed)  # noqa: NPY002 - the peer draws its initial directions from the global state
    for x in starts(f, seed):
        box = (np.zeros(len(x)), np.ones(len(x)))
        noisy = f.problem.noise > 0
        pybobyqa.solve(
            f, x, bounds=box, maxfun=f.left + 1, scaling_within_bounds=True, objfun_has_noise=noisy, do_logging=False
        )


def optuna(sampler: str, **settings: Any) -> Runner:
    def run(f: Recorder, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        space = f.problem.space
        study = optuna.create_study(sampler=getattr(optuna.samplers, sampler)(seed=seed, **settings))
        while True:
            trial = study.ask()
            config = {c.name: suggest(trial, c.name, c.parameter) for c in space}
            study.tell(trial, f(space.encode(config)[0]))

    return run


def suggest(trial: Any, name: str, parameter: Any) -> Any:
    if isinstance(parameter, Categorical):
        return trial.suggest_categorical(name, parameter.choices)
    kind = trial.suggest_int if isinstance(parameter, Int) else trial.suggest_float
    return kind(name, parameter.low, parameter.high, log=parameter.log)


@dataclass(frozen=True)
class Pair:
    """One of ours, and what it is measured by.

    Attributes:
        ours: its name in the registry.
        run: the reference.
        peer: whether the reference runs in the peers' environment.
        budget: evaluations, given the number of columns.
        problems: kinds, and numbers of columns.
    """

    ours: str
    reference: str
    run: Runner
    budget: Callable[[int], int]
    problems: tuple[tuple[tuple[str, ...], tuple[int, ...]], ...]
    peer: bool = False
    seeds: int = 10


SMOOTH, RUGGED = ("sphere", "ellipsoid", "Rosenbrock"), ("Ackley", "Rastrigin")
REAL = (*SMOOTH, *RUGGED, "noisy sphere")
PAIRS = (
    Pair("CMAES", "pycma, IPOP", pycma, lambda d: 100 * d, ((REAL, (2, 5, 10)),)),
    Pair("DifferentialEvolution", "scipy differential_evolution", scipy_differential_evolution, lambda d: 500 * d,
         ((REAL, (2, 5, 10)),)),
    Pair("LBFGS", "scipy L-BFGS-B, multistart", scipy_lbfgsb, lambda d: 50 * d, ((REAL, (2, 5, 10)),)),
    Pair("TrustRegion", "Py-BOBYQA, multistart", bobyqa, lambda d: 20 * d, ((REAL, (2, 5, 10)),), peer=True),
    Pair("TPE", "Optuna TPESampler()", optuna("TPESampler"), lambda d: 200,
         ((("sphere", *RUGGED, "noisy sphere"), (2, 10)), (("mixed",), (6, 10))), peer=True),
    Pair("GaussianProcess", "Optuna GPSampler(deterministic_objective=True)",
         optuna("GPSampler", deterministic_objective=True), lambda d: 60,
         ((("ellipsoid", "Rosenbrock", "Ackley"), (2, 5)), (("mixed",), (6,))), peer=True, seeds=5),
)  # fmt: skip


def measure(run: Runner, budget: int, kind: str, dim: int, seed: int) -> tuple[float, float]:
    """log10 of the regret, and CPU ms per evaluation."""
    recorder = Recorder(problem(kind, dim, seed), budget, seed)
    begun = time.process_time()
    with contextlib.suppress(Spent):
        run(recorder, seed)
    spent = time.process_time() - begun
    return math.log10(max(recorder.regret, FLOOR)), 1e3 * spent / budget


# --- the references' own process -------------------------------------------------------------------------------------


def versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def serve() -> None:
    """Answer each line of arguments of `measure` with its results; the first line says what is installed."""
    answers, sys.stdout = sys.stdout, sys.stderr  # a reference may print what it likes
    print(json.dumps(versions()), file=answers, flush=True)
    for line in sys.stdin:
        which, *arguments = json.loads(line)
        try:
            out = measure(PAIRS[which].run, *arguments)
        except ImportError as error:
            out = str(error)
        print(json.dumps(out), file=answers, flush=True)


class Peers:
    """The child process; `measure` is the one above, over there."""

    def __init__(self, python: str) -> None:
        command, pipe = [python, "-W", "ignore", __file__, "--serve"], subprocess.PIPE
        where = {"PYTHONPATH": str(Path(registry.__file__).parents[1])}
        self.child = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=os.environ | where)
        self.versions: dict[str, str] = self._read()

    def measure(self, *arguments: Any) -> Any:
        assert self.child.stdin is not None
        print(json.dumps(arguments), file=self.child.stdin, flush=True)
        return self._read()

    def _read(self) -> Any:
        assert self.child.stdout is not None
        line = self.child.stdout.readline()
        if not line:
            sys.exit("the peers' process has died")
        return json.loads(line)


# --- the report ------------------------------------------------------------------------------------------------------


def interval(groups: list[Array], draws: int = 5000) -> tuple[float, float]:
    """95 % bootstrap interval of the mean over all groups; values are drawn within each."""
    rng = np.random.default_rng(0)
    sums = sum(rng.choice(g, (draws, len(g))).sum(axis=1) for g in groups)
    low, high = np.quantile(sums / sum(map(len, groups)), [0.025, 0.975])
    return float(low), float(high)


def row(pair: Pair, what: str, budget: str, results: list[Array]) -> str:
    """One line of the table, from results of shape (seeds, 4): our and their regret, our and their time."""
    differences = [r[:, 0] - r[:, 1] for r in results]
    every, (low, high) = np.concatenate(differences), interval(differences)
    ms = np.concatenate(results)[:, 2:].mean(axis=0)
    cells = [pair.ours, pair.reference, what, budget, f"{len(every)}", f"{every.mean():+.2f} [{low:+.2f}, {high:+.2f}]",
             f"{(every < 0).sum()} / {(every > 0).sum()}", f"{ms[0]:.3g}", f"{ms[1]:.3g}"]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def compare(pair: Pair, peers: Peers, quick: bool) -> None:
    """Run one pair and print its lines, the last one over all problems."""
    index, our = PAIRS.index(pair), ours(pair.ours)
    theirs = (lambda *a: peers.measure(index, *a)) if pair.peer else (lambda *a: measure(pair.run, *a))
    first = theirs(12, *first_problem(pair), 99)  # imports and first-use costs
    if isinstance(first, str):
        print(f"| {pair.ours} | {pair.reference} | left out: {first} |" + " |" * 6)
        return
    measure(our, 12, *first_problem(pair), 99)
    every = []
    for kinds, dims in pair.problems:
        for kind, dim in itertools.product(kinds, dims):
            budget, results = pair.budget(dim), []
            for seed in range(1 if quick else pair.seeds):
                a, b = measure(our, budget, kind, dim, seed), theirs(budget, kind, dim, seed)
                results.append([a[0], b[0], a[1], b[1]])
            every.append(np.array(results))
            print(row(pair, f"{kind}, d = {dim}", str(budget), every[-1:]), flush=True)
    print(row(pair, "**all**", "", every), flush=True)


def first_problem(pair: Pair) -> tuple[str, int]:
    (kinds, dims), *_ = pair.problems
    return kinds[0], dims[0]


def exact() -> None:
    """What can be checked exactly: the same points, or a probability that is known."""
    from scipy.stats import qmc

    def asked(name: str, space: Space, n: int, seed: int, **settings: Any) -> Array:
        recipe = registry.find("optimizers", name)(**settings)
        return np.asarray(recipe.ask(recipe.init(space, seed), n)[0])

    box = Space.from_bounds([(0.0, 1.0)] * 5)
    engines = [qmc.Sobol(5, rng=np.random.default_rng(seed), bits=30) for seed in range(10)]
    equal = sum(np.array_equal(asked("Sobol", box, 256, s), engine.random(256)) for s, engine in enumerate(engines))
    print(f"* Sobol beside scipy.stats.qmc.Sobol: the same 256 points for {equal} of 10 seeds.")
    grid = np.array(list(itertools.product(np.linspace(0, 1, 4), repeat=5)))
    same = np.array_equal(asked("GridSearch", box, 2000, 0, levels=4), grid)
    print(f"* GridSearch beside itertools.product: the same points: {same}.")
    n, share, runs = 59, 0.05, 2000
    p = problem("Rastrigin", 5, 0)
    top = np.quantile([p.loss(x) for x in np.random.default_rng(1).random((20_000, 5))], share)
    hits = np.mean([min(map(p.loss, asked("RandomSearch", p.space, n, s))) <= top for s in range(runs)])
    error = 2 * math.sqrt(hits * (1 - hits) / runs)
    seen, least = f"{hits:.1%} ± {error:.1%} of {runs} runs", 1 - (1 - share) ** n
    print(
        f"* RandomSearch: the best of {n} points is among the best {share:.0%} in {seen}; guaranteed are {least:.1%}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter that has optuna, torch, Py-BOBYQA")
    parser.add_argument("--only", nargs="*", help="names of ours, to leave the others out")
    parser.add_argument("--quick", action="store_true", help="one seed a problem")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    if options.serve:
        serve()
        return
    peers = Peers(options.peer_python)
    print(f"{datetime.date.today()}, Python {platform.python_version()}, {platform.machine()}, one BLAS thread\n")
    head = ("ours", "reference", "problem", "evaluations", "pairs", "log10 regret, ours - reference",
            "better: ours / reference", "CPU ms, ours", "CPU ms, reference")  # fmt: skip
    print(f"| {' | '.join(head)} |\n{'|---' * len(head)}|")
    known = registry.names("optimizers")
    for pair in PAIRS:
        if pair.ours not in known:
            print(f"| {pair.ours} | {pair.reference} | left out: not in this version |" + " |" * 6)
        elif not options.only or pair.ours in options.only:
            compare(pair, peers, options.quick)
    print()
    exact()
    others = sorted(set(known) - {p.ours for p in PAIRS} - {"Sobol", "GridSearch", "RandomSearch"})
    print(f"* Not compared here: {', '.join(others)}.\n")
    for where, found in (("here", versions()), ("peers", peers.versions)):
        print(f"Versions {where}: {', '.join(f'{k} {v}' for k, v in found.items())}")


if __name__ == "__main__":
    main()
