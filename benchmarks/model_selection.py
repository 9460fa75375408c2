"""Tuning a real model: Auto beside random search and Optuna's TPE, on the problem of `examples/model_selection.py`.

    python benchmarks/model_selection.py [--peer-python .venv-peers/bin/python] [--seeds 5] [--budget 60]

The peer samples in its own interpreter and sends each configuration over a pipe, so all three are scored by the same
code. Printed: best cross-validated log loss (nats) after 20, 40 and 60 trials, mean and standard error over seeds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

PEER = """
import json, sys
import optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)
def objective(t):
    m = t.suggest_categorical("model", ["svm", "boosting", "network"])
    c = {"model": m}
    if m == "svm":
        c["C"] = t.suggest_float("C", 1e-2, 1e3, log=True)
        c["kernel"] = t.suggest_categorical("kernel", ["rbf", "poly"])
        c["gamma"] = t.suggest_float("gamma", 1e-4, 1.0, log=True)
        if c["kernel"] == "poly":
            c["degree"] = t.suggest_int("degree", 2, 5)
    elif m == "boosting":
        c["learning_rate"] = t.suggest_float("learning_rate", 0.01, 0.5, log=True)
        c["max_iter"] = t.suggest_int("max_iter", 20, 200, log=True)
        c["max_leaf_nodes"] = t.suggest_int("max_leaf_nodes", 3, 31, log=True)
        c["l2_regularization"] = t.suggest_float("l2_regularization", 1e-6, 10.0, log=True)
    else:
        c["width"] = t.suggest_int("width", 4, 128, log=True)
        c["layers"] = t.suggest_int("layers", 1, 3)
        c["alpha"] = t.suggest_float("alpha", 1e-6, 10.0, log=True)
        c["learning_rate_init"] = t.suggest_float("learning_rate_init", 1e-4, 1e-1, log=True)
    print(json.dumps(c), flush=True)
    return float(sys.stdin.readline())
study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=int(sys.argv[1])))
study.optimize(objective, n_trials=int(sys.argv[2]))
"""


def peer_values(python: str, loss: Any, seed: int, budget: int) -> list[float]:
    """Losses of Optuna's TPE, in order."""
    command = [python, "-W", "ignore", "-c", PEER, str(seed), str(budget)]
    values = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        for line in child.stdout:
            values.append(loss(json.loads(line)))
            child.stdin.write(f"{values[-1]!r}\n")
            child.stdin.flush()
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--budget", type=int, default=60)
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
    import numpy as np
    from model_selection import SPACE, Problem

    import metaloop as ml

    problem = Problem()
    best: dict[str, list[Any]] = {"metaloop Auto": [], "random search": [], "Optuna TPESampler()": []}
    for seed in range(options.seeds):
        for name, optimizer in (("metaloop Auto", ml.Auto()), ("random search", ml.RandomSearch())):
            result = ml.minimize(
                problem.loss, SPACE, budget=options.budget, optimizer=optimizer, seed=seed, progress=False
            )
            best[name].append(np.fmin.accumulate(result.values))
        values = peer_values(options.peer_python, problem.loss, seed, options.budget)
        if values:
            best["Optuna TPESampler()"].append(np.fmin.accumulate(values))
    marks = [m for m in (20, 40, 60) if m <= options.budget]
    print(f"Best cross-validated log loss (nats), mean ± standard error of {options.seeds} seeds; {date.today()}\n")
    print("| optimizer | " + " | ".join(f"{m} trials" for m in marks) + " |\n|---|" + "---|" * len(marks))
    for name, curves in best.items():
        if not curves:
            print(f"| {name} | not installed |")
            continue
        at = np.array(curves)[:, [m - 1 for m in marks]]
        error = at.std(axis=0, ddof=1) / np.sqrt(len(at)) if len(at) > 1 else np.zeros(len(marks))
        print(
            f"| {name} | "
            + " | ".join(f"{m:.4f} ± {e:.4f}" for m, e in zip(at.mean(axis=0), error, strict=True))
            + " |"
        )


if __name__ == "__main__":
    main()
