"""How much of what a perfect choice among our own optimizers would gain does Auto gain?

    python benchmarks/selection.py run --family tuning [--out out/bbob/tuning.jsonl]
    python benchmarks/selection.py run --family control [--out out/bbob/control.jsonl]
    .venv-peers/bin/python benchmarks/selection.py run --family bbob [--out FILE]        (ioh, the functions, is there)
    python benchmarks/selection.py table --out 'FILES'

Three families: BBOB; real tuning tables; simulated engineering and control tasks (benchmarks/families.py). On none of
them was anything tuned. Regret as in benchmarks/bbob.py: of the recommended point, free of noise, over that of a median
random point, at least 1e-4.

The *single best solver* (SBS) is the one member whose mean log10 regret over all cells of the family is least. The
*virtual best* (VBS) takes for every problem and cell the member that is best there. Their difference, in decades (dex),
is what choosing can bring; the share that Auto brings of it is the gap closed: 1 is perfect, 0 as good as knowing the
best solver of the family beforehand, and below that it would have been better not to choose. A best of several lucky
runs is better than any solver is, so there are two virtual bests: the usual one, by the mean over the very runs that
are scored, and an honest one, which chooses on a problem's other instances.
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
        grids = []  # of each cell the log10 regret, shape (problems, instances, members + 1), Auto last
        for cell, runs in sorted(cells.items()):
            if not {bbob.OURS, *names} <= set(runs):
                continue
            keys = sorted(set.intersection(*(set(r) for r in runs.values())))
            every = {i for _, i in keys}
            whole = sorted({g for g, _ in keys if {(g, i) for i in every} <= set(keys)})
            if whole and len(every) > 1:
                at = [[[runs[n][g, i] for n in (*names, bbob.OURS)] for i in sorted(every)] for g in whole]
                grids.append((cell, np.array(at)))
        if not grids:
            continue
        single = int(np.argmin(sum(g.mean(axis=(0, 1)) for _, g in grids)[:-1]))
        print(f"{family}: the single best solver is {names[single]}.\n")
        short = [n.removeprefix("metaloop ") for n in names]
        head = "d | evaluations | noise | problems x instances | Auto | virtual best | chosen on other instances"
        print(f"| {head} | gap, dex | closed, dex | {' | '.join(short)} |")
        print("|---" * (9 + len(names)) + "|")
        for (dim, multiple, noise), grid in grids:
            shown = [f"{10**v:.2g}" for v in grid.mean(axis=(0, 1))]
            bests = [10 ** (grid[..., single].mean() - gap(grid, single, honest)) for honest in (False, True)]
            row = [dim, f"{multiple} d", f"{noise:g}", f"{grid.shape[0]} x {grid.shape[1]}", shown[-1]]
            row += [f"{b:.2g}" for b in bests]
            row += [f"{gap(grid, single, True):.2f}", f"{(grid[..., single] - grid[..., -1]).mean():+.2f}"]
            print(f"| {' | '.join(map(str, row + shown[:-1]))} |")
        print()
        for honest in (False, True):
            draws = []
            for k in range(2001):  # the first is all of them
                drawn = [g[rng.integers(len(g), size=len(g))] if k else g for _, g in grids]
                room = sum(gap(g, single, honest) for g in drawn)
                gained = sum((g[..., single] - g[..., -1]).mean() for g in drawn)
                draws.append((gained / room if room > 0 else np.nan, gained, room))
            share, gained, room = draws[0]
            least, most = np.quantile([d[1] for d in draws[1:]], [0.025, 0.975])
            name = "virtual best chosen on other instances" if honest else "virtual best"
            text = (
                f"{family}, {name}: Auto gains {gained:+.2f} [{least:+.2f}, {most:+.2f}] dex on the single best solver"
            )
            if room > 0:
                low, high = np.nanquantile([d[0] for d in draws[1:]], [0.025, 0.975])
                text += f", {100 * share:.0f} % of the gap of {room:.2f} dex [{100 * low:.0f}, {100 * high:.0f}].\n"
            else:
                text += f"; this virtual best is {-room:.2f} dex worse than the single best, so there is no gap.\n"
            print(text)


def gap(grid: np.ndarray, single: int, honest: bool) -> float:
    """Mean log10 regret of the single best less that of the virtual best; see the module's text."""
    runs = grid[..., :-1]
    if not honest:
        return float((runs[..., single].mean(axis=1) - runs.mean(axis=1).min(axis=1)).mean())
    others = (runs.sum(axis=1, keepdims=True) - runs) / (runs.shape[1] - 1)
    chosen = np.take_along_axis(runs, others.argmin(axis=2)[..., None], axis=2)[..., 0]
    return float((runs[..., single] - chosen).mean())


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
