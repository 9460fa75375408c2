"""Integrals and rare events: metaloop's portfolio beside Sobol', vegas+, cross-entropy and subset simulation.

    OMP_NUM_THREADS=1 python benchmarks/sampling.py [--half design|untouched|all] [--budget 200000] [--repeats 20]
        [--peer-repeats 8] [--only NAME ...]

Problems, with their known values and their split: metaloop.systems.sampling.model. Every figure is the mean squared
relative error over repeats, times the evaluations used (whatever for), under the root: what a single evaluation's
standard deviation would be. An answer of 0 has relative error 1. "Covered" counts intervals at 95 % that hold the known
value among answers with enough evidence; "silent" answers that are off by more than 3 half-widths and do not say so.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import datetime
import math
import platform
import time
import warnings

import numpy as np

from metaloop.online.sampling import Status, integrate, probability
from metaloop.systems.sampling.model import cases
from metaloop.systems.sampling.peers import peers


def ours(case, budget, seed):
    if case.group == "rare":
        return probability(case.function, case.distribution, budget, seed=seed)
    return integrate(case.function, [(0.0, 1.0)] * case.dim, budget, seed=seed)


def score(values, evaluations, exact):
    """Root of mean squared relative error times evaluations."""
    errors = np.array(values) / exact - 1
    return math.sqrt(float(np.mean(errors**2)) * float(np.mean(evaluations)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--half", choices=["design", "untouched", "all"], default="all")
    parser.add_argument("--budget", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--peer-repeats", type=int, default=8)
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    chosen = [
        c
        for c in cases()
        if options.half in ("all", "untouched" if c.untouched else "design")
        and (not options.only or any(n in c.name for n in options.only))
    ]
    print(f"{datetime.date.today()}, Python {platform.python_version()}, {platform.machine()}, one BLAS thread\n")
    columns = ["problem", "half", "metaloop", "covered", "not enough evidence", "silent", "CPU s", "best peer"]
    print(f"| {' | '.join([*columns, 'vegas+', 'all peers'])} |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    against, beside, total = [], [], np.zeros(4)
    for case in chosen:
        begun = time.process_time()
        runs = [ours(case, options.budget, seed) for seed in range(options.repeats)]
        cpu = (time.process_time() - begun) / len(runs)
        told = [r for r in runs if r.status is Status.OK]
        half = [(r.interval[1] - r.interval[0]) / 2 for r in told]
        off = [abs(r.value - case.exact) for r in told]
        covered = sum(o <= h for o, h in zip(off, half, strict=True))
        silent = sum(o > 3 * h for o, h in zip(off, half, strict=True))
        mine = score([r.value for r in runs], [r.evaluations for r in runs], case.exact)
        theirs = {}
        for name, peer in peers(case).items():
            answers = [peer(case, options.budget, seed) for seed in range(options.peer_repeats)]
            theirs[name] = score([a.value for a in answers], [a.evaluations for a in answers], case.exact)
        best = min(theirs, key=theirs.get)
        against.append(2 * math.log(mine / theirs[best]))
        beside.append((case.group, 2 * math.log(mine / theirs["vegas+"])))
        total += (len(told), covered, silent, len(runs))
        print(
            f"| {case.name} | {'untouched' if case.untouched else 'design'} | {mine:.3g} | {covered}/{len(told)} |"
            f" {len(runs) - len(told)}/{len(runs)} | {silent} | {cpu:.1f} | {best} {theirs[best]:.3g} |"
            f" {theirs['vegas+']:.3g} | {', '.join(f'{n} {v:.2g}' for n, v in theirs.items())} |",
            flush=True,
        )
    print(
        f"\n{len(chosen)} problems, {options.budget} evaluations, {options.repeats} repeats ({options.peer_repeats} of"
        f" the peers). Variance per evaluation, geometric mean of ours / best peer in hindsight:"
        f" {math.exp(np.mean(against)):.3g} (largest {math.exp(max(against)):.3g})."
    )
    for group in ("smooth", "peaks", "rare"):
        mine = [v for g, v in beside if g == group]
        if mine:
            print(f"Ours / vegas+ on {group}: {math.exp(np.mean(mine)):.3g} (largest {math.exp(max(mine)):.3g}).")
    print(
        f"Covered {total[1]:.0f} of {total[0]:.0f}; not enough evidence in {total[3] - total[0]:.0f} of {total[3]:.0f};"
        f" silent failures {total[2]:.0f}."
    )


if __name__ == "__main__":
    main()
