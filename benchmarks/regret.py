"""When to leave DIIS: policies replayed on recorded traces, beside the best choice in hindsight.

    python benchmarks/regret.py [--record]

A trace is one mean field of the design half of benchmarks/scf.py: what DIIS showed at every cycle (residual, energy,
density matrices), and what the second-order method then needed to the end from the best point so far
(benchmarks/scf_traces.npz, which `--record` measures). So what any rule for leaving would have cost is known exactly.
`metaloop.tune` looks for better settings of the supervisor on half of the traces; the table is of the other half.
"""

from __future__ import annotations

import argparse
import math
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from metaloop import tune
from metaloop.control import RentOrBuy, Trace, hindsight, replay
from metaloop.online import Method, Move, Switching
from metaloop.recipe import tunable
from metaloop.space import Float, Int

FILE = Path(__file__).with_name("scf_traces.npz")
CYCLES, MOST = 50, 600
DENSE = 20  # cycles after each of which the second-order method was tried; then after every fifth


def record():
    """DIIS and, after its cycles, the second-order method."""
    from metaloop.systems.scf.cases import CASES
    from metaloop.systems.scf.course import SECOND, Course
    from metaloop.systems.scf.model import Field

    out = {}
    for case in CASES:
        if case.untouched:
            continue
        field = Field(case.mean_field())
        tolerance = math.sqrt(field.mf.conv_tol)
        at = best = field.start()
        rows, ends = [(at.residual, at.energy)], []
        for k in range(CYCLES + 1):
            if k <= DENSE or k % 5 == 0:
                course = Course(field, best, np.random.default_rng(0), best, tolerance, field.mf.conv_tol)
                recipe = Switching(tolerance=tolerance, most=float(MOST))
                before = field.meter.count
                kept = field.extrapolation
                course.drive(recipe, recipe.init([Method(SECOND, 12.0 * field.spins)]))
                field.extrapolation = kept
                ends.append((k, field.meter.count - before, course.at.energy))
            last, at = at, field.first(at)
            rows.append((at.residual, at.energy))
            best = min(best, at, key=lambda p: p.energy)
            if at.residual < tolerance and abs(at.energy - last.energy) < field.mf.conv_tol:
                break
        out[f"{case.name}|rows"] = np.array(rows)
        out[f"{case.name}|ends"] = np.array(ends)
        out[f"{case.name}|spins"] = np.array(field.spins)
        print(f"{case.name}: DIIS {len(rows) - 1} cycles, second order {[int(e[1]) for e in ends]}", flush=True)
    np.savez_compressed(FILE, **out)


@dataclass(frozen=True)
class Recorded:
    """A trace with what a policy may see."""

    name: str
    trace: Trace
    residuals: np.ndarray
    energies: np.ndarray
    spins: int


def load():
    """All traces. What DIIS did not finish in its cycles is finished by the second-order method."""
    data = np.load(FILE)
    out = []
    for key in data.files:
        if not key.endswith("|rows"):
            continue
        name = key.removesuffix("|rows")
        rows, ends, spins = data[key], data[f"{name}|ends"], int(data[f"{name}|spins"])
        steps = len(rows) - 1
        price = np.interp(np.arange(steps), ends[:, 0], ends[:, 1])
        costs = np.zeros((steps, 2))
        costs[:, 0] = spins
        if steps > CYCLES:  # not converged
            costs[-1, 0] += price[-1]
        prices = np.zeros((steps, 2, 2))
        prices[:, 0, 1] = price
        prices[:, 1, 0] = price.max() * 10
        out.append(Recorded(name, Trace(costs, prices, keep=False), rows[:, 0], rows[:, 1], spins))
    return out


@dataclass(frozen=True)
class Leave:
    """The supervisor's rule, with what it believes of the second-order method.

    Args:
        trust: of `RentOrBuy`.
        window, floor: of `Switching`.
        finish: what second order is believed to need to the end, in Fock matrices.
    """

    trust: float = tunable(0.5, Float(0.1, 1.0, log=True))
    window: int = tunable(6, Int(3, 16))
    floor: int = tunable(3, Int(1, 10))
    finish: float = tunable(25.0, Float(5.0, 100.0, log=True))

    def on(self, recorded):
        """A policy for `replay`."""
        ladder = [Method("DIIS", recorded.spins, rate=0.4), Method("second", 1.0, self.finish * recorded.spins)]
        recipe = Switching(tolerance=1e-12, window=self.window, floor=self.floor, rent=RentOrBuy(trust=self.trust))
        recipe = replace(recipe, tolerance=math.sqrt(1e-9))
        state = recipe.init(ladder)

        def policy(step, method, seen):
            if method == 0 and step:
                recipe.observe(state, recorded.residuals[step], recorded.spins, recorded.energies[step])
            return 1 if method == 1 or (recipe.decide(state) is Move.STEP and state.at == 1) else 0

        return policy


def after(count):
    """Leave after so many cycles."""
    return lambda recorded: lambda step, method, seen: int(step >= count)


def renting(recorded):
    """Rent or buy without a prediction: leave when DIIS has cost what second order is believed to cost."""
    recipe = RentOrBuy(trust=1.0)
    state = recipe.init()

    def policy(step, method, seen):
        if step:
            recipe.observe(state, seen[-1, 0])
        return 1 if method == 1 or recipe.decide(state, 25.0 * recorded.spins) is not None else 0

    return policy


def regret(make, traces):
    """Costs and best costs, shape (traces, 2)."""
    return np.array([[(r := replay(make(t), t.trace)).cost, r.best] for t in traces])


def table(title, rules, traces):
    print(f"\n## {title}: {len(traces)} traces, best in hindsight {sum(hindsight(t.trace) for t in traces):.0f}\n")
    print("| rule | cost | of the best | geometric mean | worst |\n|---|---|---|---|---|")
    for name, make in rules.items():
        cost = regret(make, traces)
        ratio = cost[:, 0] / cost[:, 1]
        print(f"| {name} | {cost[:, 0].sum():.0f} | {cost[:, 0].sum() / cost[:, 1].sum():.2f} "
              f"| {math.exp(np.log(ratio).mean()):.2f} | {ratio.max():.2f} |")  # fmt: skip


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--budget", type=int, default=4000, help="replays that tuning may spend")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.record:
        record()
    traces = load()
    halves = traces[::2], traces[1::2]
    rules = {
        "count 50": after(50),
        "count 15": after(15),
        "second order only": after(0),
        "rent or buy, no prediction": renting,
        "supervisor": Leave().on,
    }
    for k in (0, 1):
        here, there = halves[k], halves[1 - k]
        tasks = [lambda recipe, seed, t=t: math.log(replay(recipe.on(t), t.trace).ratio) for t in here]
        tuned = tune(Leave(), tasks, budget=args.budget, seeds=1, seed=0)
        print(f"\ntuned on half {k}: {tuned.config or 'nothing better'}, gain there {tuned.gain:.3f}")
        table(f"Half {1 - k}", rules | {f"supervisor, tuned on half {k}": tuned.recipe.on}, there)


if __name__ == "__main__":
    main()
