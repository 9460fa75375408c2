"""CPU milliseconds that one suggestion of TPE costs: ours beside Optuna's and Rustuna's, from one run.

    python benchmarks/tpe_time.py [--peer-python /path/to/python] [--repeats 3] [--quick]

Spaces: 5 and 20 real numbers, and a mixed conditional one (17 columns). History: random points, told from outside. Then
one suggestion and one answer at a time, while n goes through 95 ... 105, 190 ... 210 and 480 ... 520 points. What is
counted: process time of both calls, one BLAS thread; imports, the history and one warm-up are not. Every sampler runs
in a child process of this run; the peers' interpreter may be another one (`--peer-python`). Each repeat times every
sampler in turn, so that a busy machine slows all of them alike.
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

import numpy as np
from tpe_quality import OURS, PEERS, peer_study, suggested

from metaloop.space import Array, Categorical, Choice, Config, Float, Int, Space

WINDOWS = ((95, 105), (190, 210), (480, 520))
SPACES = {
    "5 real": Space.from_bounds([(0.0, 1.0)] * 5),
    "20 real": Space.from_bounds([(0.0, 1.0)] * 20),
    "mixed": Space(
        scaling=Categorical(["none", "standard", "robust", "rank"]),
        share=Float(0.2, 1.0),
        seeds=Int(1, 8),
        model=Choice(
            svm=Space(
                C=Float(1e-3, 1e3, log=True),
                gamma=Float(1e-5, 10.0, log=True),
                kernel=Categorical(["rbf", "poly", "sigmoid"]),
                degree=Int(2, 5, when={"kernel": "poly"}),
            ),
            forest=Space(
                trees=Int(10, 1000, log=True),
                depth=Int(1, 32),
                leaf=Int(1, 50, log=True),
                criterion=Categorical(["gini", "entropy"]),
            ),
            network=Space(
                width=Int(8, 512, log=True),
                layers=Int(1, 4),
                rate=Float(1e-5, 1e-1, log=True),
                decay=Float(1e-6, 1.0, log=True),
                activation=Categorical(["relu", "tanh", "gelu"]),
            ),
        ),
    ),
}


def value(row: Array) -> float:
    """A bowl over the active coordinates."""
    return float(np.nansum(np.arange(1, len(row) + 1) * (row - 0.37) ** 2))


def ours(space: Space, history: Array, steps: int, seed: int) -> float:
    from metaloop.optimizers import TPE

    optimizer = TPE()
    state = optimizer.init(space, seed)
    state = optimizer.tell(state, history, [value(row) for row in history])
    start = time.process_time()
    for _ in range(steps):
        points, state = optimizer.ask(state, 1)
        state = optimizer.tell(state, points, [value(points[0])])
    return 1e3 * (time.process_time() - start) / steps


def labelled(space: Space, row: Array) -> Config:
    """A row's configuration, by label."""
    config, active = space.decode(row)[0], space.active(row[None])[0]
    return {c.label: config[c.name] for c, on in zip(space.columns, active, strict=True) if on}


def peer(name: str, space: Space, history: Array, steps: int, seed: int) -> float:
    study = peer_study(name, seed)
    if name == PEERS[2]:
        for row in history:
            study.enqueue_trial(labelled(space, row))
            trial = study.ask()
            study.tell(trial.number, value(space.encode(suggested(trial, space))[0]))
    else:
        from optuna import distributions as d
        from optuna.trial import create_trial

        kinds = {}
        for column in space.columns:
            q = column.parameter
            kinds[column.label] = (
                d.CategoricalDistribution(list(q.choices)) if isinstance(q, Categorical)
                else (d.IntDistribution if isinstance(q, Int) else d.FloatDistribution)(q.low, q.high, log=q.log)
            )  # fmt: skip
        for row in history:
            params = labelled(space, row)
            used = {label: kinds[label] for label in params}
            study.add_trial(create_trial(params=params, distributions=used, value=value(row)))
    spent = 0.0
    for _ in range(steps):
        start = time.process_time()
        trial = study.ask()
        config = suggested(trial, space)
        spent += time.process_time() - start
        answer = value(space.encode(config)[0])
        start = time.process_time()
        study.tell(trial.number, answer)
        spent += time.process_time() - start
    return 1e3 * spent / steps


def child(name: str, where: str, first: int, last: int, seed: int) -> None:
    """Print one JSON line: the time and the versions, or what is missing."""
    from importlib.metadata import PackageNotFoundError, version

    warnings.simplefilter("ignore")
    package = name.split()[0].lower()
    try:
        versions = {package: version(package)}
    except PackageNotFoundError:
        print(json.dumps({"missing": package}))
        return

    def measure(n: int, steps: int) -> float:
        history = SPACES[where].sample(np.random.default_rng(seed), n)
        return ours(SPACES[where], history, steps, seed) if name == OURS else peer(
            name, SPACES[where], history, steps, seed
        )  # fmt: skip

    measure(20, 3)  # imports and first-use costs
    print(json.dumps({"ms": measure(first, last - first), "versions": versions}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter that has optuna and rustuna")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one repeat, and only n = 95 ... 105")
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        name, where, *numbers = options.child
        child(name, where, *map(int, numbers))
        return
    repeats, windows = (1, WINDOWS[:1]) if options.quick else (options.repeats, WINDOWS)
    print(f"CPU ms per suggestion: mean [min, max] of {repeats} repeats; {datetime.date.today()}, "
          f"Python {platform.python_version()}, {platform.machine()}, one BLAS thread\n")  # fmt: skip
    print("| space | n | sampler | CPU ms | times ours |\n|---|---|---|---|---|")
    versions: dict[str, str] = {}
    for where in SPACES:
        for first, last in windows:
            spent: dict[str, list[float]] = {}
            for seed in range(repeats):
                for name in (OURS, *PEERS):
                    python = sys.executable if name == OURS else options.peer_python
                    command = [python, __file__, "--child", name, where, *map(str, (first, last, seed))]
                    done = subprocess.run(command, capture_output=True, text=True, check=False)
                    if done.returncode:
                        sys.exit(f"{name} failed:\n{done.stderr}")
                    out = json.loads(done.stdout.splitlines()[-1])
                    versions |= out.get("versions", {})
                    spent.setdefault(name, []).append(out.get("ms", float("nan")))
            for name, ms in spent.items():
                m = np.array(ms)
                text = "not installed |" if np.isnan(m).any() else (
                    f"{m.mean():.2f} [{m.min():.2f}, {m.max():.2f}] | {m.mean() / np.mean(spent[OURS]):.1f}"
                )  # fmt: skip
                print(f"| {where} | {first}-{last} | {name} | {text} |", flush=True)
    print("\n" + ", ".join(f"{k} {v}" for k, v in sorted(versions.items())))


if __name__ == "__main__":
    main()
