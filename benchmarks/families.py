"""Two families of problems that are close to use, are not BBOB, and on which no default was tuned.

    python benchmarks/families.py check [--families tuning control]     # every problem: its size, cost, scale
    python benchmarks/families.py best [--names NAME ...] [--evaluations N] [--seed N]     # the least known values

"tuning": cross-validated losses of real models on full grids (make_selection_tables.py). "control": simulated
engineering tasks (control_tasks.py). They serve to measure how much of the gap between the single best solver and the
virtual best solver an automatic optimizer closes.

Every problem is a loss on the unit cube, free of noise, to be minimised; an instance moves the cube. Of a table it
takes a window of levels and turns axes around; of a task it draws the plant, and a window of each parameter's range.
So neither the center nor the order of levels carries information.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import sys
import time
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from control_tasks import TASKS

DATA = Path(__file__).parent / "data"
INSTANCES = (1, 2, 3, 4)  # those of the control tasks whose least values are stored
LARGE = 1e6  # what a failed simulation costs

Loss = Callable[[np.ndarray], float]


@dataclass(frozen=True)
class Problem:
    """A loss on the unit cube. The regret of a point is (loss(u) - best) / typical.

    `steps` holds the number of levels of a coordinate, None where it is continuous; `categorical` says which levels
    have no order. `best` is the least known value, exact for tables; `typical` is how far the median random point lies
    above it.
    """

    dim: int
    loss: Loss
    typical: float
    best: float
    steps: tuple[int | None, ...]
    categorical: tuple[bool, ...]


@functools.cache
def _tables() -> tuple[dict[str, np.ndarray], dict]:
    stored = dict(np.load(DATA / "selection_tables.npz"))
    about = json.loads(str(stored.pop("about")))
    return stored, about


def _rng(name: str, instance: int) -> np.random.Generator:
    """From the name, not its place in a list, so that another problem moves no instance of this one."""
    return np.random.default_rng([zlib.crc32(name.encode()), instance])


def _tuning(name: str, instance: int) -> Problem:
    tables, about = _tables()
    values, categorical = tables[name].astype(float), tuple(about[name]["categorical"])
    rng = _rng(name, instance)
    for axis, unordered in enumerate(categorical):
        n = values.shape[axis]
        if unordered:
            levels = rng.permutation(n)
        else:
            kept = n - int(rng.integers(0, n // 4 + 1))
            levels = rng.integers(0, n - kept + 1) + np.arange(kept)
            levels = levels[:: rng.choice([-1, 1])]
        values = np.take(values, levels, axis=axis)
    steps = np.array(values.shape)

    def loss(u: np.ndarray) -> float:
        u = np.clip(np.asarray(u, dtype=float), 0.0, 1.0)
        return float(values[tuple(np.minimum(u * steps, steps - 1).astype(int))])

    best = float(values.min())
    return Problem(values.ndim, loss, float(np.median(values)) - best, best, values.shape, categorical)


def window(rng: np.random.Generator, ranges: list[tuple]) -> Callable[[np.ndarray], list[float]]:
    """From the unit cube to 60 to 90 % of each range, at a random place, along its logarithm where it says so."""
    logs = np.array([len(r) > 2 for r in ranges])
    low, high = np.array([r[:2] for r in ranges], dtype=float).T
    low[logs], high[logs] = np.log(low[logs]), np.log(high[logs])
    width = (high - low) * rng.uniform(0.6, 0.9, len(low))
    low = low + rng.random(len(low)) * (high - low - width)

    def decode(u: np.ndarray) -> list[float]:
        z = low + width * np.clip(np.asarray(u, dtype=float), 0.0, 1.0)
        return np.where(logs, np.exp(np.where(logs, z, 0.0)), z).tolist()

    return decode


def _task(name: str, instance: int) -> tuple[int, Loss]:
    rng = _rng(name, instance)
    ranges, simulate = TASKS[name](rng)
    decode = window(rng, ranges)

    def loss(u: np.ndarray) -> float:
        try:
            value = float(simulate(decode(u)))
        except (ArithmeticError, ValueError, np.linalg.LinAlgError):  # floats that left their range
            return LARGE
        return min(value, LARGE) if math.isfinite(value) else LARGE

    return len(ranges), loss


def _stored() -> dict:
    path = DATA / "control_best.json"
    return json.loads(path.read_text()) if path.exists() else {}


def _control(name: str, instance: int) -> Problem:
    dim, loss = _task(name, instance)
    try:
        best = _stored()[name][str(instance)]["loss"]
    except KeyError:
        raise ValueError(f"the least value of {name}, instance {instance}, is not stored; known: {INSTANCES}") from None
    median = float(np.median([loss(u) for u in np.random.default_rng(0).random((512, dim))]))
    return Problem(dim, loss, median - best, best, (None,) * dim, (False,) * dim)


FAMILIES: dict[str, Callable[[str, int], Problem]] = {"tuning": _tuning, "control": _control}


def problem(family: str, name: str, instance: int) -> Problem:
    return FAMILIES[family](name, instance)


def names(family: str) -> tuple[str, ...]:
    return tuple(_tables()[0] if family == "tuning" else TASKS)


class Spent(Exception):
    """The share of evaluations is used."""


def search(dim: int, loss: Loss, evaluations: int, seed: int, begin: list[np.ndarray]) -> tuple[float, np.ndarray]:
    """The least value that differential evolution, CMA-ES with restarts and local searches find, each in turn."""
    import cma
    from scipy.optimize import differential_evolution, minimize

    least, rng = [math.inf, np.full(dim, 0.5)], np.random.default_rng([seed, dim])
    box, left = [(0.0, 1.0)] * dim, 0
    quiet = {"bounds": [0, 1], "verbose": -9, "verb_disp": 0, "verb_log": 0, "tolfun": 1e-9}

    def f(u):
        nonlocal left
        if left <= 0:
            raise Spent
        left -= 1
        value = loss(u)
        if value < least[0]:
            least[:] = value, np.clip(u, 0.0, 1.0)
        return value

    def evolution():
        differential_evolution(f, box, maxiter=10**6, popsize=max(5, 60 // dim), tol=0, rng=rng, polish=False)

    def adaptation():
        for k in range(10**6):
            size = (4 + int(3 * np.log(dim))) * 2 ** (k % 4)
            cma.fmin2(f, rng.random(dim), 0.3, quiet | {"seed": 1000 * seed + k + 1, "popsize": size})

    def gradients():
        while True:
            minimize(f, rng.random(dim), method="L-BFGS-B", bounds=box)

    def polish():
        width = 0.1
        while True:
            minimize(f, least[1], method="Powell", bounds=box, options={"xtol": 1e-7, "ftol": 1e-12})
            simplex = np.clip(least[1] + width * rng.uniform(-1, 1, (dim + 1, dim)), 0, 1)
            simplex[0] = least[1]
            options = {"initial_simplex": simplex, "adaptive": True}
            minimize(f, least[1], method="Nelder-Mead", bounds=box, options=options)
            cma.fmin2(f, least[1], width / 3, quiet | {"seed": seed + 1})
            width = max(width / 2, 1e-3)

    left = len(begin)
    for u in begin:
        f(u)
    for solver, share in ((evolution, 0.35), (adaptation, 0.35), (gradients, 0.1), (polish, 0.2)):
        left = int(share * evaluations)
        try:
            solver()
        except Spent:
            continue
    return least[0], least[1]


def best(options: argparse.Namespace) -> None:
    """Lowers what benchmarks/data/control_best.json holds, and keeps the point, so that the value can be checked.

    What is stored came of 12,000 evaluations with seed 0 and 30,000 with seed 1 on all, 60,000 with seed 2 on reactor,
    servo, arm, epidemic, array, farm and pumps, and 80,000 with seed 3 on reactor and arm, and on epidemic and farm but
    for their instance 4.
    """
    for instance in options.instances:
        for name in options.names:
            begun, stored, (dim, loss) = time.perf_counter(), _stored(), _task(name, instance)
            known = stored.setdefault(name, {}).get(str(instance))
            begin = [np.array(known["u"])] if known else []
            value, u = search(dim, loss, options.evaluations, options.seed, begin)
            stored[name][str(instance)] = {"loss": value, "u": u.tolist()}
            rows = [
                f'"{n}": {{\n' + ",\n".join(f'  "{i}": {json.dumps(r)}' for i, r in sorted(by.items())) + "\n}"
                for n, by in sorted(stored.items())
            ]
            (DATA / "control_best.json").write_text("{\n" + ",\n".join(rows) + "\n}\n")
            before = f"{known['loss']:.6g} to " if known else ""
            print(f"{name} {instance}: {before}{value:.6g}, {time.perf_counter() - begun:.0f} s", flush=True)


def check(options: argparse.Namespace) -> None:
    """One line a problem; the shares are of 512 other random points, by their regret."""
    print("| family | problem | instance | d | levels | ms | typical | best | < 0 | < 0.1 | > 1 | > 10 | same again |")
    print("|---" * 13 + "|")
    for family in options.families:
        for name in names(family):
            for instance in options.instances:
                p = problem(family, name, instance)
                points = np.random.default_rng(1).random((512, p.dim))
                begun = time.process_time()
                losses = np.array([p.loss(u) for u in points])
                ms = 1e3 * (time.process_time() - begun) / len(points)
                corners = [p.loss(u) for u in np.random.default_rng(2).integers(0, 2, (64, p.dim)).astype(float)]
                fine = np.isfinite(losses).all() and np.isfinite(corners).all()
                same = np.array_equal(losses, [p.loss(u) for u in points])
                if family == "control":
                    same = same and p.loss(np.array(_stored()[name][str(instance)]["u"])) == p.best
                regret = (losses - p.best) / p.typical
                shares = [f"{100 * np.mean(v):.1f} %" for v in (regret < 0, regret < 0.1, regret > 1, regret > 10)]
                levels = " ".join(f"{s}{'c' if c else ''}" for s, c in zip(p.steps, p.categorical, strict=True) if s)
                row = [family, name, instance, p.dim, levels, f"{ms:.3f}", f"{p.typical:.4g}", f"{p.best:.6g}", *shares]
                print(f"| {' | '.join(map(str, row))} | {'yes' if same and fine else 'NO'} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("check", "best"))
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--names", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--instances", type=int, nargs="+", default=list(INSTANCES))
    parser.add_argument("--evaluations", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # bounds and steps that the searches remark on
    {"check": check, "best": best}[options.what](options)


if __name__ == "__main__":
    main()
