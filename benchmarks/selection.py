"""How much of what a perfect choice among our own optimizers would gain does Auto gain?

    python benchmarks/selection.py run --family tuning [--out out/bbob/tuning.jsonl]
    python benchmarks/selection.py run --family control [--out out/bbob/control.jsonl]
    .venv-peers/bin/python benchmarks/selection.py run --family bbob [--out FILE]        (ioh, the functions, is there)
    python benchmarks/selection.py table --out 'FILES'

Three families: BBOB; real tuning tables; simulated engineering and control tasks (benchmarks/families.py). On none of
them was anything tuned. Regret as in benchmarks/bbob.py: of the recommended point, free of noise, over that of a median
random point, at least 1e-4.

The *single best solver* (SBS) is the one member whose mean log10 regret over all cells of the family is least. The
*virtual best* (VBS) takes for every problem and cell the member that is best there, in the mean over instances, so
that it cannot profit from the luck of one run. Their difference, in decades (dex), is what choosing can bring; the
share that Auto brings of it is the gap closed: 1 is perfect, 0 as good as knowing the best solver of the family
beforehand, and below that it would have been better not to choose.
"""

from __future__ import annotations

import argparse
import json
import platform
import warnings
from pathlib import Path

import bbob
import numpy as np

FLOOR = 1e-4
CELLS = {"tuning": ((5, 20), (0.0,)), "control": ((5, 20), (0.0, 0.1))}  # evaluations a parameter, noises


def run(options: argparse.Namespace) -> None:
    """Every member and Auto on a family's problems; on BBOB the members, Auto's runs are benchmarks/bbob.py's."""
    if options.family == "bbob":
        options.solvers = [s for s in options.solvers if s in bbob.MEMBERS]
        options.dims, options.noises, options.instances = [2, 5], [0.0, 0.1], [11, 12]
        for options.multiples in ([5], [20], [100]):
            bbob.run(options)
        return
    import families

    problems = []
    for name in families.names(options.family):
        for instance in options.instances:
            p = families.problem(options.family, name, instance)

            def make(budget, noise, p=p, name=name, instance=instance):
                seed = [sum(name.encode()), instance, 1]
                levels = [set(range(n)) if c else n for n, c in zip(p.steps, p.categorical, strict=True)]
                return bbob.Recorder(lambda u: p.loss(u) - p.best, p.dim, p.typical, budget, noise, seed, levels)

            problems.append((name, p.dim, instance, make))
    options.multiples, options.noises = CELLS[options.family]
    bbob.measure(options, problems)


def table(options: argparse.Namespace) -> None:
    """Gap closed a family and cell."""
    first, last, data = "9", "", {}
    for path in sorted(options.out.parent.glob(options.out.name)):
        for row in map(json.loads, path.open()):
            if row["solver"] != bbob.OURS and row["solver"] not in bbob.MEMBERS and row["solver"] != "random":
                continue
            name = str(row["function"])
            family = next((f for f in ("tuning", "control") if f in path.stem), "BBOB")
            first, last = min(first, row["date"]), max(last, row["date"])
            for multiple, regret in row["regret"].items():
                cell = (row["dim"] if family == "BBOB" else "all", int(multiple), row["noise"])
                at = data.setdefault(family, {}).setdefault(cell, {}).setdefault(row["solver"], {})
                at[name, row["instance"]] = np.log10(max(regret, FLOOR))
    print(f"Runs of {first} to {last}, Python {platform.python_version()}, {platform.machine()}\n")
    rng = np.random.default_rng(0)
    for family, cells in data.items():
        names = sorted(set.union(*(set(c) for c in cells.values())) - {bbob.OURS})
        grids = []  # of each cell the mean log10 regret, shape (problems, members + 1), Auto last
        for cell, runs in sorted(cells.items()):
            if not {bbob.OURS, *names} <= set(runs):
                continue
            keys = sorted(set.intersection(*(set(r) for r in runs.values())))
            groups = sorted({k[0] for k in keys})
            mean = [[np.mean([runs[n][k] for k in keys if k[0] == g]) for n in (*names, bbob.OURS)] for g in groups]
            grids.append((cell, np.array(mean), len(keys)))
        if not grids:
            continue
        total = sum(g.mean(axis=0) for _, g, _ in grids)
        single = int(np.argmin(total[:-1]))

        def closed(rows, single=single):
            """Dex of the gap between single and virtual best, and dex closed of it, of each set of rows, summed."""
            gap = sum(float((r[:, single] - r[:, :-1].min(axis=1)).mean()) for r in rows)
            return gap, sum(float((r[:, single] - r[:, -1]).mean()) for r in rows)

        print(f"{family}: the single best solver is {names[single]}.\n")
        short = [n.removeprefix("metaloop ") for n in names]
        print(
            f"| d | evaluations | noise | runs | Auto | virtual best | gap, dex | closed, dex | {' | '.join(short)} |"
        )
        print("|---" * (8 + len(names)) + "|")
        for (dim, multiple, noise), rows, count in grids:
            gap, gained = closed([rows])
            shown = [f"{10**v:.2g}" for v in rows.mean(axis=0)]
            best = 10 ** rows[:, :-1].min(axis=1).mean()
            row = [dim, f"{multiple} d", f"{noise:g}", count, shown[-1], f"{best:.2g}", f"{gap:.2f}", f"{gained:+.2f}"]
            print(f"| {' | '.join(map(str, row + shown[:-1]))} |")
        gap, gained = closed([r for _, r, _ in grids])
        draws = []
        for _ in range(2000):
            gap_of, gained_of = closed([r[rng.integers(len(r), size=len(r))] for _, r, _ in grids])
            draws.append(gained_of / gap_of if gap_of > 0 else np.nan)
        low, high = np.nanquantile(draws, [0.025, 0.975])
        print(f"\n{family}: {100 * gained / gap:.0f} % of the gap closed [95 %: {100 * low:.0f}, {100 * high:.0f}], "
              f"{gained:.2f} of {gap:.2f} dex.\n")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--family", choices=("bbob", *CELLS), default="tuning")
    parser.add_argument("--solvers", nargs="+", default=[bbob.OURS, *bbob.MEMBERS, "random"])
    parser.add_argument("--instances", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--out", type=Path, default=Path("out/selection.jsonl"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    {"run": run, "table": table}[options.what](options)


if __name__ == "__main__":
    main()
