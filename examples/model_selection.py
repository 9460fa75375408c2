"""Which model, with which settings? Tuned on real data, beside scikit-learn's defaults and random search.

The space is mixed and conditional: a support vector machine, gradient boosting or a neural network, each with settings
of its own. The data are the Wisconsin breast cancer measurements that ship with scikit-learn (569 patients, 30
features); the objective is the cross-validated log loss on three quarters of them, and the last quarter is held out.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import StratifiedKFold, cross_val_predict, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

import metaloop as ml
from metaloop.landscape.importance import importance
from metaloop.report import figures, page
from metaloop.report.timeline import timeline

SPACE = ml.Space(
    model=ml.Choice(
        svm=ml.Space(
            C=ml.Float(1e-2, 1e3, log=True),
            kernel=ml.Categorical(["rbf", "poly"]),
            gamma=ml.Float(1e-4, 1.0, log=True),
            degree=ml.Int(2, 5, when={"kernel": "poly"}),
        ),
        boosting=ml.Space(
            learning_rate=ml.Float(0.01, 0.5, log=True),
            max_iter=ml.Int(20, 200, log=True),
            max_leaf_nodes=ml.Int(3, 31, log=True),
            l2_regularization=ml.Float(1e-6, 10.0, log=True),
        ),
        network=ml.Space(
            width=ml.Int(4, 128, log=True),
            layers=ml.Int(1, 3),
            alpha=ml.Float(1e-6, 10.0, log=True),
            learning_rate_init=ml.Float(1e-4, 1e-1, log=True),
        ),
    )
)


def build(model: str, **settings: Any) -> Any:
    """A scikit-learn estimator with probabilities."""
    if model == "svm":
        return make_pipeline(StandardScaler(), CalibratedClassifierCV(SVC(**settings), ensemble=False))
    if model == "boosting":
        return HistGradientBoostingClassifier(random_state=0, **settings)
    if "width" in settings:
        settings["hidden_layer_sizes"] = (settings.pop("width"),) * settings.pop("layers")
    return make_pipeline(StandardScaler(), MLPClassifier(max_iter=200, random_state=0, **settings))


class Problem:
    """The objective on a training part, and scores on the part held out."""

    def __init__(self) -> None:
        x, y = load_breast_cancer(return_X_y=True)
        self.x, self.x_test, self.y, self.y_test = train_test_split(x, y, test_size=0.25, random_state=0, stratify=y)
        self.folds = StratifiedKFold(5, shuffle=True, random_state=0)

    def loss(self, config: dict[str, Any]) -> float:
        """Cross-validated log loss (nats) of a configuration."""
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore", ConvergenceWarning)  # an early stop is a property of the configuration
            p = cross_val_predict(build(**config), self.x, self.y, cv=self.folds, method="predict_proba")
        return float(log_loss(self.y, p))

    def held_out(self, config: dict[str, Any]) -> tuple[float, float]:
        """Log loss (nats) and accuracy on the held-out quarter."""
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore", ConvergenceWarning)
            p = build(**config).fit(self.x, self.y).predict_proba(self.x_test)
        return float(log_loss(self.y_test, p)), float(accuracy_score(self.y_test, np.argmax(p, axis=1)))


def main() -> None:
    """Tune, compare, print, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", type=int, default=80, help="trials for each of the two searches")
    parser.add_argument("--out", type=Path, default=Path("out"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    problem = Problem()
    store = options.out / "model_selection.db"
    store.unlink(missing_ok=True)
    runs: dict[str, ml.Result] = {}
    seconds: dict[str, float] = {}
    for name, optimizer in (("Auto", ml.Auto()), ("random search", ml.RandomSearch())):
        begun = time.monotonic()
        print(f"{name}: {options.budget} trials ...", flush=True)
        runs[name] = ml.minimize(
            problem.loss, SPACE, budget=options.budget, optimizer=optimizer, seed=options.seed, store=store, name=name
        )
        seconds[name] = time.monotonic() - begun

    header = ["", "model", "CV log loss (nats)", "held-out log loss (nats)", "held-out accuracy", "trials", "seconds"]
    rows: list[list[Any]] = []
    for model in ("svm", "boosting", "network"):
        loss, accuracy = problem.held_out({"model": model})
        rows.append(["scikit-learn's defaults", model, problem.loss({"model": model}), loss, accuracy, 1, ""])
    for name, result in runs.items():
        assert result.config is not None
        loss, accuracy = problem.held_out(result.config)
        spent = f"{seconds[name]:.0f}"
        rows.append([name, result.config["model"], result.value, loss, accuracy, len(result.trials), spent])
    table = [[f"{v:.4f}" if isinstance(v, float) else str(v) for v in row] for row in rows]
    widths = [max(len(r[i]) for r in [header, *table]) for i in range(len(header))]
    for row in [header, *table]:
        print("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)))

    best = runs["Auto"]
    print(f"\nBest configuration: {best.config}\n\nWhy:")
    for sentence in best.why.sentences:
        print(f"- {sentence}")
    print(f"\nPage: {write_page(options.out, best, runs, header, table)}")
    print(f"Look closer with: metaloop show {store} --name Auto")


def write_page(
    out: Path, best: ml.Result, runs: dict[str, ml.Result], header: list[str], table: list[list[str]]
) -> Path:
    """Convergence, importance, slices and the why, on one page."""
    done = [t for t in best.trials if t.state == "complete"]
    rows = np.stack([t.row for t in done])
    values = np.array([t.value for t in done])
    shares = importance(SPACE, rows, values)
    configs = [t.config for t in done]
    columns = [[c.get(p.name) if active else None for c, active in zip(configs, SPACE.active(rows)[:, j], strict=True)]
               for j, p in enumerate(SPACE.columns)]  # fmt: skip
    labels = list(SPACE.labels)
    log = [p.label for p in SPACE.columns if getattr(p.parameter, "log", False)]
    y_label = "cross-validated log loss (nats)"
    curves = {name: result.values for name, result in runs.items()}
    convergence = figures.svg(figures.convergence(curves, y_label=y_label))
    bars = figures.svg(figures.importance(labels, shares))
    slices = figures.svg(figures.slices(labels, columns, values, log=log, y_label=y_label))
    why = best.why
    turns = figures.svg(timeline(why.values, why.askers, [d.trial for d in why], y_label=y_label))
    return page.write(
        out / "model_selection.html",
        "Which model, with which settings?",
        [
            page.Text([" ".join((__doc__ or "").split("\n\n")[1].split())]),
            page.Table(header, table, "The incumbents beside scikit-learn's defaults; lower loss is better."),
            page.Text([f"Best configuration: {SPACE.describe(SPACE.encode(best.config or {}))}."]),
            page.Heading("Convergence"),
            page.Figure(convergence, "Every trial (dots) and the best so far (line), for both searches."),
            page.Heading("Importance"),
            page.Figure(bars, "Share of the loss's variance in which a parameter takes part, by a Gaussian process."),
            page.Heading("Slices"),
            page.Figure(slices, "Loss of every trial of Auto against each parameter, where it was active."),
            page.Heading("Why"),
            page.Figure(turns, "Auto's trials: who asked for each, and when it decided something (numbered as below)."),
            page.Text(why.sentences, bullets=True),
        ],
    )


if __name__ == "__main__":
    main()
