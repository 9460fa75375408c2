"""CPU milliseconds that one suggestion costs, ours beside Optuna's GPSampler and TPESampler, from one run.

    python benchmarks/suggest_time.py [--peer-python /path/to/python] [--quick]

History: random points on a fixed, rotated, ill-conditioned quadratic, up to ten before the window. Then one suggestion
and one answer at a time. What is counted: process time, one BLAS thread, of both calls and all refits while n goes
through the window. Imports and what comes before the window are not. Every sampler runs in a child process of this run;
the peer's interpreter may be another one (`--peer-python`), since GPSampler needs torch.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import datetime
import json
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

OURS = "metaloop GaussianProcess"
AUTO = "metaloop Auto"
BARE = "metaloop Auto, categories"  # after 500 trials CMA-ES is alone: no surrogate
OF_OURS = (OURS, AUTO, BARE)
PEERS = ("Optuna GPSampler(deterministic_objective=True)", "Optuna GPSampler()", "Optuna TPESampler()")
WINDOWS = {  # trials told, and who is timed there
    (45, 55): (OURS, *PEERS, AUTO),
    (190, 210): (OURS, *PEERS, AUTO),
    (480, 520): (OURS, PEERS[0], PEERS[2], AUTO),
    (600, 640): (AUTO, BARE),
}
BEFORE = 10  # suggestions that are not counted, in which a sampler comes to its steady state


def problem(dim: int, seed: int, n: int) -> tuple[Callable[[Any], float], Any]:
    """The objective on the unit cube, and a history of n random points."""
    rng = np.random.default_rng([seed, dim])
    rotation = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    weights, center = np.logspace(0, 3, dim), rng.uniform(0.2, 0.8, dim)
    return lambda x: float(weights @ (rotation @ (np.asarray(x) - center)) ** 2), rng.random((n, dim))


def ours(name: str, dim: int, first: int, last: int, seed: int) -> float:
    import metaloop as ml

    objective, history = problem(dim, seed, first - BEFORE)
    optimizer: Any = ml.optimizers.GaussianProcess() if name == OURS else ml.Auto(budget=4 * last)
    space = ml.Space.from_bounds([(0.0, 1.0)] * dim)
    if name == BARE:
        space = ml.Space(**{f"x{j}": ml.Float(0.0, 1.0) for j in range(dim - 1)}, c=ml.Categorical([0, 1]))
    state = optimizer.init(space, seed)
    state = optimizer.tell(state, history, [objective(x) for x in history])
    start = 0.0
    for n in range(first - BEFORE, last):
        if n == first:
            start = time.process_time()
        points, state = optimizer.ask(state, 1)
        state = optimizer.tell(state, points, [objective(points[0])])
    return 1e3 * (time.process_time() - start) / (last - first)


def peer(name: str, dim: int, first: int, last: int, seed: int) -> float:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    samplers = optuna.samplers
    sampler = {
        PEERS[0]: lambda: samplers.GPSampler(seed=seed, deterministic_objective=True),
        PEERS[1]: lambda: samplers.GPSampler(seed=seed),
        PEERS[2]: lambda: samplers.TPESampler(seed=seed),
    }[name]()
    objective, history = problem(dim, seed, first - BEFORE)
    space = {f"x{j}": optuna.distributions.FloatDistribution(0.0, 1.0) for j in range(dim)}
    study = optuna.create_study(sampler=sampler)
    for x in history:
        params = {f"x{j}": float(u) for j, u in enumerate(x)}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=objective(x)))
    start = 0.0
    for n in range(first - BEFORE, last):
        if n == first:
            start = time.process_time()
        trial = study.ask()
        study.tell(trial, objective([trial.suggest_float(f"x{j}", 0.0, 1.0) for j in range(dim)]))
    return 1e3 * (time.process_time() - start) / (last - first)


def child(name: str, dim: int, first: int, last: int, repeats: int) -> None:
    """Print one JSON line: the repeats' times, or why there are none, and the versions."""
    from importlib.metadata import PackageNotFoundError, version

    warnings.simplefilter("ignore")
    packages = ("metaloop", "numpy", "scipy") if name in OF_OURS else ("optuna", "torch", "numpy", "scipy")
    versions, missing = {}, []
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            missing.append(package)
    if missing and not (missing == ["torch"] and name == PEERS[2]):
        print(json.dumps({"missing": missing, "versions": versions}))
        return

    def measure(*args: int) -> float:
        return ours(name, *args) if name in OF_OURS else peer(name, *args)

    measure(2, 22, 24, 99)  # imports and first-use costs
    print(json.dumps({"ms": [measure(dim, first, last, s) for s in range(repeats)], "versions": versions}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter that has optuna and torch")
    parser.add_argument("--quick", action="store_true", help="one repeat, and only n = 45 ... 55")
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        name, *numbers = arguments.child
        child(name, *map(int, numbers))
        return
    repeats, windows = (1, list(WINDOWS)[:1]) if arguments.quick else (3, list(WINDOWS))
    print(f"CPU ms per suggestion: mean [min, max] of {repeats} repeats; {datetime.date.today()}, "
          f"Python {platform.python_version()}, {platform.machine()}, one BLAS thread\n")  # fmt: skip
    print("| sampler | d | n | CPU ms | times GaussianProcess |\n|---|---|---|---|---|")
    versions: dict[str, str] = {}
    for dim in (5, 20):
        for first, last in windows:
            base = float("nan")
            for name in WINDOWS[first, last]:
                python = sys.executable if name in OF_OURS else arguments.peer_python
                command = [python, __file__, "--child", name, *map(str, (dim, first, last, repeats))]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    sys.exit(f"{name} failed:\n{done.stderr}")
                out = json.loads(done.stdout.splitlines()[-1])
                versions |= {f"{k}{'' if name in OF_OURS else ' (peer)'}": v for k, v in out["versions"].items()}
                where = f"| {name} | {dim} | {first}-{last} |"
                if "missing" in out:
                    print(f"{where} not installed: {', '.join(out['missing'])} | |", flush=True)
                    continue
                ms = np.array(out["ms"])
                base = float(ms.mean()) if name == OURS else base
                times = f"{ms.mean():.1f} [{ms.min():.1f}, {ms.max():.1f}]"
                times += f" | {ms.mean() / base:.1f} |" if base == base else " | |"
                print(f"{where} {times}", flush=True)
    print("\n" + ", ".join(f"{k} {v}" for k, v in sorted(versions.items())))


if __name__ == "__main__":
    main()
