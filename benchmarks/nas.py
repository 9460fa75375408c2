"""Architecture search: queries until the best of a table is found, and small nets that are really trained.

Tables: validation accuracy of all cells of NAS-Bench-201 after 12 epochs on three sets of images; NAS-Bench-Macro,
whole and under a limit on parameters. Every search has its own seed, and all run here, on one thread. Only different
architectures count as queries. Digits: scikit-learn's, a new split for each seed; see `systems.architecture.digits`.

Usage: python benchmarks/nas.py [--seeds 200] [--splits 10] [--only cells|macro|digits] [--searches gp ...]
"""

from __future__ import annotations

import argparse
import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import warnings

import numpy as np

from metaloop.optimizers import CategoricalProcess, RandomSearch, RegularizedEvolution
from metaloop.structure.architecture import Architectures, Limit
from metaloop.systems.architecture import differentiable, digits, model
from metaloop.systems.architecture.loop import MOST, SEARCHES, search_table


def table(title: str, data: model.Table, seeds: int, space: Architectures | None = None) -> None:
    print(f"\n{title}: best {data.searched.max() if space is None else 'within the limit'}")
    print(f"{'':24}{'found':>9}{'median':>9}{'quartiles':>16}{'95 %':>7}{'test':>8}{'CPU s a search':>17}")
    for name, optimizer in SEARCHES.items():
        found = search_table(data, optimizer, range(seeds), space)
        low, middle, high, late = np.quantile(found.queries, [0.25, 0.5, 0.75, 0.95])
        shown = [f"{q:.4g}" if q <= MOST else f">{MOST}" for q in (middle, low, high, late)]
        print(f"{name:24}{found.found:>5}/{seeds}{shown[0]:>9}{shown[1] + ' to ' + shown[2]:>16}{shown[3]:>7}"
              f"{found.test.mean():8.2f}{found.seconds / seeds:17.2f}", flush=True)  # fmt: skip


def nets(splits: int, which: list[str]) -> None:
    searches = {
        "gp": ("Gaussian process", lambda seed: digits.search(seed, CategoricalProcess(initial=8))),
        "evolution": ("regularized evolution", lambda seed: digits.search(seed, RegularizedEvolution(8, 4))),
        "random": ("random", lambda seed: digits.search(seed, RandomSearch())),
        "descent": ("differentiable", differentiable.search),
    }
    print(f"\nDigits, at most {digits.LIMIT:,} parameters, {splits} splits: test accuracy")
    for name, search in (searches[k] for k in which):
        found = []
        for seed in range(splits):
            found.append(search(seed))
            f = found[-1]
            print(f"  {seed} {f.net}: {f.net.parameters} parameters, validation {f.validation:.4f} nats,", end=" ")
            print(f"test {f.accuracy:.4f}, search {f.seconds:.0f} s, last {f.training:.0f} s", flush=True)
        print(summary(name, np.array([f.accuracy for f in found])))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the MLP stops before it has converged to the last digit
        for copies in (0, 10):
            name = "MLP 64-32-10" + (f", {copies} distorted copies" if copies else "")
            print(summary(name, np.array([digits.perceptron(seed, distorted=copies) for seed in range(splits)])))


def summary(name: str, accuracy: np.ndarray) -> str:
    error = accuracy.std(ddof=1) / np.sqrt(len(accuracy))
    return (
        f"{name:36}{accuracy.mean():.4f} ± {error:.4f} (standard error), {accuracy.min():.4f} to {accuracy.max():.4f}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--only", choices=("cells", "macro", "digits"))
    parser.add_argument("--searches", nargs="+", choices=("gp", "evolution", "random", "descent"), default=["gp"],
                        help="of digit nets")  # fmt: skip
    options = parser.parse_args()
    if options.only in (None, "cells"):
        for name in model.SETS:
            table(f"Cells, {name}", model.cells(name), options.seeds)
    if options.only in (None, "macro"):
        chains = model.macro()
        half = float(np.median(chains.parameters))
        small = Limit(lambda c: chains.parameters[chains.index(chains.space.encode(c))[0]], half)
        table("NAS-Bench-Macro", chains, options.seeds)
        table(f"NAS-Bench-Macro, at most {half:,.0f} parameters", chains, options.seeds,
              Architectures(chains.space, [small]))  # fmt: skip
    if options.only in (None, "digits"):
        nets(options.splits, options.searches)
