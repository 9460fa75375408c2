"""Which scheduler should share the turns of a portfolio? On generated functions, which no other benchmark scores.

    python benchmarks/schedulers.py [--seeds 2] [--quick]

The portfolio is the one that Auto has on exact, real parameters: a trust region, a Gaussian process and CMA-ES with a
surrogate on one archive. Only who has the next turn differs. *Greedy restarts* is the published baseline: a member goes
on as long as it improves the best value within its last ten turns, then the next begins. Regret: of the best point,
over that of a median random point, at least 1e-4; geometric means over 14 kinds of functions and seeds, and the ratio
to Auto's `Credit` with a 95 % interval over kinds.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import datetime
import platform
from dataclasses import dataclass

import generated
import numpy as np

import metaloop as ml
from metaloop.control import Credit, Halving, RisingBandit, Shares
from metaloop.control.schedulers import SchedulerState

FLOOR = 1e-4
CELLS = ((2, 20), (2, 100), (5, 20), (5, 50))  # d, evaluations a parameter
MEMBERS = ("TrustRegion", "GaussianProcess", "SurrogateCMAES")


@dataclass(frozen=True)
class Greedy:
    """A member goes on as long as it improves the best value of all within its last `patience` turns."""

    patience: int = 10

    def init(self, arms: int) -> SchedulerState:
        """Nothing pulled."""
        return SchedulerState.fresh(arms)

    def decide(self, state: SchedulerState, budget: float) -> int:
        """The arm to pull next; `budget` is not read."""
        if not len(state.pulled):
            return 0
        arm = int(state.pulled[-1])
        changes = np.flatnonzero(np.diff(state.pulled))
        turns = len(state.pulled) - (int(changes[-1]) + 1 if len(changes) else 0)
        late = state.score[-self.patience :].max()
        before = state.score[: -self.patience].max(initial=-np.inf)
        return arm if turns < self.patience or late > before else (arm + 1) % state.arms

    def observe(self, state: SchedulerState, arm: int, score: float, cost: float = 1.0) -> SchedulerState:
        """One pull."""
        return Shares().observe(state, arm, score, cost)


SCHEDULES = {
    "Credit(hope=1e-4), Auto's": Credit(hope=1e-4),
    "Credit()": Credit(),
    "Shares()": Shares(),
    "Shares((3, 1, 1))": Shares((3.0, 1.0, 1.0)),
    "RisingBandit()": RisingBandit(),
    "Halving()": Halving(),
    "greedy restarts": Greedy(),
}


def regret(optimizer: object, kind: str, dim: int, multiple: int, seed: int) -> float:
    """Natural logarithm of one run's regret."""
    f, typical = generated.function(kind, dim, 500 + seed)
    space = [(0.0, 1.0)] * dim
    found = ml.minimize(f, space, budget=multiple * dim, seed=seed, optimizer=optimizer, noisy=False, progress=False)
    return float(np.log(max(found.value / typical, FLOOR)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="two kinds of functions, the first cell")
    options = parser.parse_args()
    kinds, cells = list(generated.KINDS), CELLS
    if options.quick:
        kinds, cells = kinds[:2], CELLS[:1]
    members = [getattr(ml.optimizers, m)() for m in MEMBERS]
    solvers = {n: ml.Portfolio(members, schedule=s, exact=True) for n, s in SCHEDULES.items()}
    solvers |= {f"{n} alone": m for n, m in zip(MEMBERS, members, strict=True)} | {"Auto": ml.Auto()}
    rng = np.random.default_rng(0)
    print(f"{datetime.date.today()}, Python {platform.python_version()}, {platform.machine()}, one BLAS thread\n")
    print(f"| turns | {' | '.join(f'd = {d}, {m} d' for d, m in cells)} | over Auto's |")
    print("|---" * (len(cells) + 2) + "|")
    base = np.empty(0)
    for name, optimizer in solvers.items():
        logs = np.array([
            [[regret(optimizer, k, d, m, s) for s in range(options.seeds)] for d, m in cells] for k in kinds
        ]).mean(axis=2)  # fmt: skip
        base = logs if not len(base) else base
        change = (logs - base).mean(axis=1)
        low, high = np.exp(np.quantile(rng.choice(change, (4000, len(change))).mean(axis=1), [0.025, 0.975]))
        shown = " | ".join(f"{v:.2g}" for v in np.exp(logs.mean(axis=0)))
        print(f"| {name} | {shown} | {np.exp(change.mean()):.2f} [{low:.2f}, {high:.2f}] |", flush=True)


if __name__ == "__main__":
    main()
