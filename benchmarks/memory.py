"""Does a long run of Auto stay small and quick? Resident memory and CPU time a trial, up to ten thousand trials.

Usage: python benchmarks/memory.py [--dim 20] [--trials 10000]
"""

from __future__ import annotations

import argparse
import os
import resource
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

import metaloop as ml

STEPS = (200, 500, 1000, 2000, 5000, 10_000)


def resident() -> float:
    """MB that this process holds now."""
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * resource.getpagesize() / 1e6


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dim", type=int, default=20)
    parser.add_argument("--trials", type=int, default=STEPS[-1])
    given = parser.parse_args()
    space = ml.Space.from_bounds([(-5.0, 5.0)] * given.dim)
    weights = np.arange(1.0, given.dim + 1)
    print("| think (s) | trials | MB | MB more than at 200 | CPU ms a trial since the line above |")
    print("|---|---|---|---|---|")
    for think in (0.1, 0.0):
        auto = ml.Auto(budget=given.trials, think=think)
        state, first, before, clock = auto.init(space, 0), 0.0, 0, time.process_time()
        for n in range(1, given.trials + 1):
            rows, state = auto.ask(state, 1)
            state = auto.tell(state, rows, [float((weights * (rows[0] - 0.3) ** 2 + 0.05 * np.sin(9 * rows[0])).sum())])
            if n in STEPS:
                used, now = time.process_time() - clock, resident()
                first = first or now
                print(
                    f"| {think} | {n} | {now:.0f} | {now - first:.1f} | {1e3 * used / (n - before):.2f} |", flush=True
                )
                before, clock = n, time.process_time()


if __name__ == "__main__":
    main()
