"""Under noise, is the recommended point better than the best observation? And what does it cost without noise?

    .venv-peers/bin/python benchmarks/noise.py run [--out FILE]
    .venv-peers/bin/python benchmarks/noise.py table --out 'FILES'

On the BBOB functions as in benchmarks/bbob.py, whose files `table` reads too: they hold Auto's own runs, in which the
recommended point and the best observation are compared, and the peers'. What `run` adds: Auto that knows from the start
that there is no noise, so that it repeats no point; and pycma, whose recommendation under noise is the mean of its
distribution.
"""

from __future__ import annotations

import argparse
import platform
import warnings
from pathlib import Path

import bbob
import numpy as np

FLOOR = 1e-4
EXACT, MEAN = "metaloop Auto, told that values are exact", "pycma, its mean"


def exact(f, seed):
    """Auto without what it does about noise."""
    import metaloop as ml

    class Told(ml.Auto):
        def init(self, space, seed):
            state = super().init(space, seed)
            state.noisy, state.repeated = False, np.full(space.dim, np.nan)
            return state

    space = [(0.0, 1.0)] * f.dim
    return ml.minimize(f, space, budget=f.left, seed=seed, progress=False, optimizer=Told(), noisy=False).x


def mean(f, seed):
    """pycma with restarts; the mean of the run that goes on at the end."""
    import cma

    options = {"bounds": [0, 1], "seed": seed + 1, "verbose": -9}
    favorite = np.full(f.dim, 0.5)
    try:
        for k, x in enumerate(bbob.starts(f, seed)):
            size = (4 + int(3 * np.log(f.dim))) * 2**k
            strategy = cma.CMAEvolutionStrategy(x, 0.2, options | {"popsize": size})
            while not strategy.stop():
                points = strategy.ask()
                strategy.tell(points, [f(p) for p in points])
                favorite = strategy.result.xfavorite
    except bbob.Spent:
        return favorite


def run(options: argparse.Namespace) -> None:
    """The two that benchmarks/bbob.py does not have."""
    bbob.SOLVERS |= {EXACT: exact, MEAN: mean}
    bbob.READS_BUDGET += (EXACT, MEAN)
    for options.solvers, options.noises in (([EXACT], [0.0]), ([MEAN], [0.1])):
        bbob.run(options)


def table(options: argparse.Namespace) -> None:
    """Per cell, geometric means, and ratios with intervals over functions."""
    rows = bbob.load(options.out)
    data: dict[tuple, dict[tuple, float]] = {}
    for row in rows:
        for multiple, regret in row["regret"].items():
            cell = (row["solver"], row["noise"], row["dim"], int(multiple))
            data.setdefault(cell, {})[row["function"], row["instance"]] = regret
            if row["solver"] == bbob.OURS:
                data.setdefault(("observed", *cell[1:]), {})[row["function"], row["instance"]] = row["observed"]
    rng = np.random.default_rng(0)

    def ratio(ours, theirs, cells, skip=()):
        """Geometric mean of ours / theirs over cells and functions, and its 95 % interval over functions."""
        by: dict[int, list[float]] = {}
        for cell in cells:
            a, b = data.get((ours, *cell), {}), data.get((theirs, *cell), {})
            for key in sorted(set(a) & set(b)):
                if key[0] not in skip:
                    by.setdefault(key[0], []).append(np.log(max(a[key], FLOOR) / max(b[key], FLOOR)))
        if not by:
            return ""
        means = np.array([np.mean(v) for v in by.values()])
        low, high = np.quantile(rng.choice(means, (4000, len(means))).mean(axis=1), [0.025, 0.975])
        return f"{np.exp(means.mean()):.2f} [{np.exp(low):.2f}, {np.exp(high):.2f}]"

    first, last = min(r["date"] for r in rows), max(r["date"] for r in rows)
    print(f"Runs of {first} to {last}, Python {platform.python_version()}, {platform.machine()}, one BLAS thread\n")
    cells = sorted({k[1:] for k in data if k[0] == bbob.OURS})
    noisy, calm = [c for c in cells if c[0]], [c for c in cells if not c[0]]
    others = ["observed", MEAN, *(n for n in bbob.PEERS if any(k[0] == n for k in data))]
    print("Regret of Auto's recommendation under 10 % noise over that of its own best observation, and over that of the"
          " peers' recommendations:\n")  # fmt: skip
    print(f"| d | evaluations | own best observation | {' | '.join(others[1:])} |")
    print("|---" * (2 + len(others)) + "|")
    for cell in noisy:
        print(f"| {cell[1]} | {cell[2]} d | {' | '.join(ratio(bbob.OURS, o, [cell]) for o in others)} |")
    print(f"| all | | {' | '.join(ratio(bbob.OURS, o, noisy) for o in others)} |")
    print(f"| all but f5 | | {' | '.join(ratio(bbob.OURS, o, noisy, (5,)) for o in others)} |\n")
    print("Without noise, Auto over Auto that was told so:\n")
    for cell in calm:
        if (EXACT, *cell) in data:
            print(f"- d = {cell[1]}, {cell[2]} d: {ratio(bbob.OURS, EXACT, [cell])}")
    print(f"\nTogether: {ratio(bbob.OURS, EXACT, calm)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--dims", type=int, nargs="+", default=[2, 5])
    parser.add_argument("--multiples", type=int, nargs="+", default=[5, 20, 100])
    parser.add_argument("--instances", type=int, nargs="+", default=[11, 12, 13, 14, 15])
    parser.add_argument("--out", type=Path, default=Path("out/bbob/noise.jsonl"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    {"run": run, "table": table}[options.what](options)


if __name__ == "__main__":
    main()
