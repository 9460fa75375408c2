"""Makes benchmarks/data/selection_tables.npz: real models, cross-validated on full grids of their settings.

    python benchmarks/make_selection_tables.py [--only NAME ...] [--out FILE]

One thread, 14 minutes; a table already in the file is kept unless --only names it. Losses are means over the
held-out folds: log loss (probabilities kept within 1e-3 of 0 and 1), the share of errors for support vectors, which
have no probabilities, or squared error over the variance of the targets (of one case at most 100). Data: iris (Fisher
1936) and wine (Forina et al. 1988; both UCI, CC BY 4.0), bundled with scikit-learn, and its generators. No default was
tuned on these.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import itertools
import json
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from sklearn import datasets
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import ElasticNet, SGDClassifier
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.svm import SVC, SVR

FILE = Path(__file__).parent / "data" / "selection_tables.npz"

DATA: dict[str, Callable[[], tuple[Any, Any]]] = {
    "iris": lambda: datasets.load_iris(return_X_y=True),
    "wine": lambda: datasets.load_wine(return_X_y=True),
    "moons": lambda: datasets.make_moons(240, noise=0.35, random_state=1),
    "circles": lambda: datasets.make_circles(200, noise=0.2, factor=0.6, random_state=2),
    "blend": lambda: datasets.make_classification(
        240, 12, n_informative=5, n_redundant=3, n_classes=3, flip_y=0.05, class_sep=0.8, random_state=3
    ),
    "shells": lambda: datasets.make_gaussian_quantiles(n_samples=240, n_features=4, n_classes=3, random_state=4),
    "hastie": lambda: datasets.make_hastie_10_2(300, random_state=5),
    "friedman1": lambda: datasets.make_friedman1(200, noise=1.0, random_state=6),
    "friedman2": lambda: datasets.make_friedman2(200, noise=100.0, random_state=7),
    "friedman3": lambda: datasets.make_friedman3(200, noise=0.1, random_state=8),
}


class Folds:
    """The training and held-out parts of a data set, inputs scaled by the training part, and the loss on them."""

    def __init__(self, data: str, splits: int = 3) -> None:
        x, y = DATA[data]()
        self.classes = np.unique(y) if len(np.unique(y)) < 10 else None
        y = (y - y.mean()) / y.std() if self.classes is None else np.searchsorted(self.classes, y)
        kind = KFold if self.classes is None else StratifiedKFold
        self.parts = []
        for train, test in kind(splits, shuffle=True, random_state=0).split(x, y):
            scale = StandardScaler().fit(x[train])
            self.parts.append((scale.transform(x[train]), y[train], scale.transform(x[test]), y[test]))

    def loss(self, answer: np.ndarray, truth: np.ndarray) -> float:
        """Log loss where `answer` holds probabilities, else the mean squared error of standardized targets."""
        if answer.ndim == 2:
            return float(-np.log(np.clip(answer[np.arange(len(truth)), truth], 1e-3, 1 - 1e-3)).mean())
        return float(np.minimum((np.nan_to_num(answer, nan=1e3) - truth) ** 2, 100.0).mean())


Settings = dict[str, list[Any]]
Fill = Callable[[Folds, Settings, np.ndarray], None]


def log_levels(low: float, high: float, n: int) -> list[float]:
    return [float(f"{v:.3g}") for v in np.geomspace(low, high, n)]


def counts(low: int, high: int, n: int) -> list[int]:
    return [int(v) for v in np.unique(np.rint(np.geomspace(low, high, n)).astype(int))]


def grid(settings: Settings, names: list[str]):
    """Every combination of the named settings with its index."""
    levels = [settings[n] for n in names]
    for index in itertools.product(*(range(len(v)) for v in levels)):
        yield index, dict(zip(names, (v[i] for v, i in zip(levels, index, strict=True)), strict=True))


def support_vectors(folds, settings, out):
    """SVC: the share of errors."""
    for index, chosen in grid(settings, list(settings)):
        for a, b, c, d in folds.parts:
            out[index] += np.mean(SVC(max_iter=20000, **chosen).fit(a, b).predict(c) != d)


def support_regression(folds, settings, out):
    for index, chosen in grid(settings, list(settings)):
        for a, b, c, d in folds.parts:
            out[index] += folds.loss(SVR(max_iter=20000, **chosen).fit(a, b).predict(c), d)


def kernel_ridge(folds, settings, out):
    for index, chosen in grid(settings, list(settings)):
        for a, b, c, d in folds.parts:
            out[index] += folds.loss(KernelRidge(**chosen, coef0=1.0).fit(a, b).predict(c), d)


def boosting(folds, settings, out):
    """Gradient boosting: one fit gives the losses at every number of trees."""
    kind = GradientBoostingRegressor if folds.classes is None else GradientBoostingClassifier
    trees = settings["n_estimators"]
    for index, chosen in grid(settings, [n for n in settings if n != "n_estimators"]):
        for a, b, c, d in folds.parts:
            model = kind(n_estimators=max(trees), random_state=0, **chosen).fit(a, b)
            stages = model.staged_predict(c) if folds.classes is None else model.staged_predict_proba(c)
            losses = [folds.loss(stage, d) for stage in stages]
            out[index] += [losses[t - 1] for t in trees]


def forest(folds, settings, out):
    """Forests and extra trees: the first trees of a larger forest are the smaller forest of the same seed."""
    trees = settings["n_estimators"]
    kinds = [(RandomForestRegressor, ExtraTreesRegressor), (RandomForestClassifier, ExtraTreesClassifier)]
    for index, chosen in grid(settings, [n for n in settings if n != "n_estimators"]):
        kind = kinds[folds.classes is not None][chosen.pop("splitter", "best") == "random"]
        for a, b, c, d in folds.parts:
            model = kind(n_estimators=max(trees), random_state=0, **chosen).fit(a, b)
            each = [t.predict(c) if folds.classes is None else t.predict_proba(c) for t in model.estimators_]
            out[index] += [folds.loss(np.mean(each[:t], axis=0), d) for t in trees]


def neighbors(folds, settings, out):
    """Nearest neighbors in the Minkowski metric of principal components."""
    for i, components in enumerate(settings["components"]):
        for a, b, c, d in folds.parts:
            rotation = PCA(components, svd_solver="full").fit(a)
            near, far = rotation.transform(a), rotation.transform(c)
            for index, chosen in grid(settings, [n for n in settings if n != "components"]):
                model = KNeighborsClassifier(algorithm="kd_tree", **chosen).fit(near, b)
                out[(i, *index)] += folds.loss(model.predict_proba(far), d)


def network(folds, settings, out):
    """A network with one hidden layer, seen after some of its epochs."""
    kind = MLPRegressor if folds.classes is None else MLPClassifier
    epochs = settings["epochs"]
    classes = {} if folds.classes is None else {"classes": np.arange(len(folds.classes))}
    for index, chosen in grid(settings, [n for n in settings if n != "epochs"]):
        size = (chosen.pop("width"),)
        for a, b, c, d in folds.parts:
            model, losses = kind(hidden_layer_sizes=size, batch_size=32, random_state=0, **chosen), []
            for epoch in range(1, max(epochs) + 1):
                try:
                    model.partial_fit(a, b, **classes)
                    if epoch in epochs:
                        answer = model.predict(c) if folds.classes is None else model.predict_proba(c)
                except ValueError as error:
                    if "non-finite" not in str(error):
                        raise
                    answer = np.full(len(d), np.nan)  # weights that overflowed stay so: the largest loss there is
                    if folds.classes is not None:
                        answer = np.zeros((len(d), len(folds.classes)))
                if epoch in epochs:
                    losses.append(folds.loss(answer, d))
            out[index] += losses


def elastic_net(folds, settings, out):
    """An elastic net on polynomial features."""
    for i, degree in enumerate(settings["degree"]):
        for a, b, c, d in folds.parts:
            features = PolynomialFeatures(degree, include_bias=False).fit(a)
            scale = StandardScaler().fit(features.transform(a))
            x, z = scale.transform(features.transform(a)), scale.transform(features.transform(c))
            for index, chosen in grid(settings, [n for n in settings if n != "degree"]):
                model = ElasticNet(max_iter=300, tol=1e-3, **chosen).fit(x, b)
                out[(i, *index)] += folds.loss(model.predict(z), d)


def sgd(folds, settings, out):
    """One-against-rest logistic regressions, 12 epochs of stochastic gradient descent."""
    for index, chosen in grid(settings, list(settings)):
        for a, b, c, d in folds.parts:
            model = SGDClassifier("log_loss", max_iter=12, tol=None, random_state=0, **chosen).fit(a, b)
            out[index] += folds.loss(np.nan_to_num(model.predict_proba(c)), d)


SVC_LEVELS = {"kernel": ["rbf", "poly", "sigmoid"], "C": log_levels(1e-2, 1e3, 16), "gamma": log_levels(1e-3, 10, 18)}
SVR_LEVELS = {
    "C": log_levels(3e-2, 1e2, 12),
    "epsilon": log_levels(3e-3, 1, 10),
    "gamma": log_levels(2e-3, 3, 12),
}
RIDGE_LEVELS = {
    "kernel": ["rbf", "laplacian", "poly", "sigmoid"],
    "alpha": log_levels(1e-5, 1e2, 20),
    "gamma": log_levels(1e-4, 3, 20),
}
BOOSTING_LEVELS = {
    "learning_rate": log_levels(0.01, 1.0, 12),
    "max_depth": [1, 2, 3, 4, 6],
    "subsample": [0.25, 0.4, 0.55, 0.7, 0.85, 1.0],
    "n_estimators": counts(2, 100, 20),
}
FOREST_LEVELS = {
    "max_features": [0.1, 0.2, 0.3, 0.4, 0.55, 0.7, 0.85, 1.0],
    "min_samples_leaf": counts(1, 40, 9),
    "max_depth": [1, 2, 3, 4, 5, 6, 8, 12],
    "n_estimators": counts(1, 40, 12),
}
EXTRA_LEVELS = {
    "splitter": ["best", "random"],
    "bootstrap": [True, False],
    "max_features": [0.1, 0.2, 0.3, 0.4, 0.55, 0.7, 0.85, 1.0],
    "min_samples_leaf": counts(1, 40, 9),
    "n_estimators": counts(1, 40, 12),
}
NEIGHBORS_LEVELS = {
    "components": counts(1, 12, 10),
    "n_neighbors": counts(1, 80, 24),
    "p": [1.0, 1.25, 1.5, 2.0, 3.0, 5.0],
    "weights": ["uniform", "distance"],
}
NETWORK_LEVELS = {
    "activation": ["relu", "tanh", "logistic"],
    "learning_rate_init": log_levels(3e-4, 1, 12),
    "alpha": log_levels(1e-3, 10, 4),
    "width": [3, 8, 20, 50],
    "epochs": counts(2, 40, 10),
}
ELASTIC_LEVELS = {
    "degree": [1, 2, 3, 4, 5, 6],
    "alpha": log_levels(1e-4, 1, 20),
    "l1_ratio": [0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 1.0],
}
SGD_LEVELS = {
    "penalty": ["l1", "l2", "elasticnet"],
    "learning_rate": ["constant", "invscaling", "adaptive"],
    "alpha": log_levels(1e-6, 1, 14),
    "eta0": log_levels(1e-3, 3, 14),
}
IRIS_LEVELS = NEIGHBORS_LEVELS | {"components": [1, 2, 3, 4], "n_neighbors": list(range(1, 31))}

TABLES: dict[str, tuple[Fill, str, Settings]] = {
    "svc-wine": (support_vectors, "wine", SVC_LEVELS),
    "svc-moons": (support_vectors, "moons", SVC_LEVELS),
    "svc-shells": (support_vectors, "shells", SVC_LEVELS),
    "svr-friedman1": (support_regression, "friedman1", SVR_LEVELS),
    "svr-friedman2": (support_regression, "friedman2", SVR_LEVELS),
    "svr-friedman3": (support_regression, "friedman3", SVR_LEVELS),
    "ridge-friedman1": (kernel_ridge, "friedman1", RIDGE_LEVELS),
    "ridge-friedman2": (kernel_ridge, "friedman2", RIDGE_LEVELS),
    "ridge-friedman3": (kernel_ridge, "friedman3", RIDGE_LEVELS),
    "neighbors-iris": (neighbors, "iris", IRIS_LEVELS),
    "neighbors-wine": (neighbors, "wine", NEIGHBORS_LEVELS),
    "neighbors-blend": (neighbors, "blend", NEIGHBORS_LEVELS),
    "sgd-wine": (sgd, "wine", SGD_LEVELS),
    "sgd-blend": (sgd, "blend", SGD_LEVELS),
    "elastic-friedman2": (elastic_net, "friedman2", ELASTIC_LEVELS),
    "elastic-friedman3": (elastic_net, "friedman3", ELASTIC_LEVELS),
    "boosting-friedman1": (boosting, "friedman1", BOOSTING_LEVELS),
    "boosting-hastie": (boosting, "hastie", BOOSTING_LEVELS),
    "forest-wine": (forest, "wine", FOREST_LEVELS),
    "forest-friedman1": (forest, "friedman1", FOREST_LEVELS),
    "extra-blend": (forest, "blend", EXTRA_LEVELS),
    "extra-friedman3": (forest, "friedman3", EXTRA_LEVELS),
    "network-circles": (network, "circles", NETWORK_LEVELS),
    "network-friedman1": (network, "friedman1", NETWORK_LEVELS),
}
SPLITS = {network: 2, support_vectors: 5}
CATEGORICAL = ("kernel", "splitter", "bootstrap", "weights", "activation", "penalty", "learning_rate")


def table(name: str) -> np.ndarray:
    fill, data, settings = TABLES[name]
    folds, out = Folds(data, SPLITS.get(fill, 3)), np.zeros([len(v) for v in settings.values()])
    fill(folds, settings, out)
    return (out / len(folds.parts)).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=TABLES, default=[])
    parser.add_argument("--out", type=Path, default=FILE)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # unconverged models are part of the grid
    options.out.parent.mkdir(parents=True, exist_ok=True)
    stored = dict(np.load(options.out)) if options.out.exists() else {}
    about = json.loads(str(stored.pop("about"))) if stored else {}
    versions = {"python": platform.python_version(), "numpy": np.__version__, "scikit-learn": sklearn.__version__}
    for name, (_, _, settings) in TABLES.items():
        if name not in options.only if options.only else name in stored:
            continue
        begun = time.process_time()
        stored[name] = values = table(name)
        kinds = [n in CATEGORICAL and isinstance(v[0], str | bool) for n, v in settings.items()]
        seconds = round(time.process_time() - begun, 1)
        about[name] = {"settings": settings, "categorical": kinds, "seconds": seconds, "versions": versions}
        np.savez_compressed(options.out, about=json.dumps(about), **stored)
        size, low, middle = options.out.stat().st_size / 1e3, values.min(), np.median(values)
        print(f"{name}: {values.size} settings, {seconds:.0f} s, {low:.4f} to {middle:.4f} ({size:.0f} kB)", flush=True)


if __name__ == "__main__":
    main()
