"""Makes the tuning tables of `metaloop.systems.choosing`: every setting of a real model, evaluated again and again.

    python benchmarks/make_tuning_table.py svm-digits           # 11 minutes of one core
    python benchmarks/make_tuning_table.py boosting-diabetes    # 10 minutes

Each of S splits draws training and validation cases at random; every configuration is trained and validated on every
split. A table holds the score on nested validation sets (the first 4 cases, the first 16, …), so that the noise of
small validation sets is real, not simulated; the mean over splits of the score on the largest one is the truth.

Data, both bundled with scikit-learn: handwritten digits (Alpaydin & Kaynak 1998, UCI, CC BY 4.0), 1797 images of
8 × 8 pixels; diabetes progression (Efron, Hastie, Johnstone & Tibshirani 2004), 442 patients, 10 measurements.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

FOLDER = Path(__file__).parents[1] / "src" / "metaloop" / "systems" / "choosing"


class Maker(NamedTuple):
    """A model with its settings, each a list of levels, and how it is scored.

    `scores(split, chosen)` yields (index of the configuration, its losses on the validation cases), in any order, of
    those configurations that `chosen(index)` holds true for; indices count the levels, the last setting fastest.
    """

    settings: dict[str, list[Any]]
    splits: int
    holdouts: tuple[int, ...]
    unit: float  # a mean loss times its number of cases is stored as a whole multiple of this
    scores: Callable[[int, Callable[[int], bool]], Iterator[tuple[int, Any]]]


def log_levels(low: float, high: float, n: int) -> list[float]:
    return [float(f"{v:.3g}") for v in np.geomspace(low, high, n)]


SVM = {
    "components": [2, 3, 4, 5, 6, 8, 11, 15, 20, 27, 36, 48],
    "gamma": log_levels(1e-5, 1e-1, 16),
    "C": log_levels(1e-1, 1e3, 16),
}


def svm_digits(split: int, chosen: Callable[[int], bool]) -> Iterator[tuple[int, Any]]:
    """Principal components, then an SVM with a Gaussian kernel, trained on 200 images; loss: wrong or not."""
    from sklearn.datasets import load_digits
    from sklearn.decomposition import PCA
    from sklearn.svm import SVC

    images, digits = load_digits(return_X_y=True)
    cases = np.random.default_rng([0, split]).permutation(len(digits))
    train, test = cases[:200], cases[200 : 200 + 640]
    rotation = PCA(max(SVM["components"]), svd_solver="full").fit(images[train])
    all_train, all_test = rotation.transform(images[train]), rotation.transform(images[test])
    index = itertools.count()
    for p in SVM["components"]:
        a, b = all_train[:, :p], all_test[:, :p]
        squared, across = (((x[:, None] - a[None]) ** 2).sum(axis=2) for x in (a, b))
        for gamma, c in itertools.product(SVM["gamma"], SVM["C"]):
            k = next(index)
            if chosen(k):
                model = SVC(C=c, kernel="precomputed").fit(np.exp(-gamma * squared), digits[train])
                yield k, model.predict(np.exp(-gamma * across)) != digits[test]


BOOSTING = {
    "learning_rate": log_levels(0.01, 0.5, 10),
    "max_depth": [1, 2, 3, 4],
    "subsample": [0.3, 0.45, 0.6, 0.8, 1.0],
    "trees": [5, 8, 13, 20, 32, 50, 80, 125, 200, 300],
}


def boosting_diabetes(split: int, chosen: Callable[[int], bool]) -> Iterator[tuple[int, Any]]:
    """Gradient-boosted trees, trained on 221 patients; loss: squared error over the variance of all patients."""
    from sklearn.datasets import load_diabetes
    from sklearn.ensemble import GradientBoostingRegressor

    patients, progression = load_diabetes(return_X_y=True)
    cases = np.random.default_rng([1, split]).permutation(len(progression))
    train, test = cases[:221], cases[221:]
    rates, depths, shares, trees = BOOSTING.values()
    for first, (rate, depth, share) in enumerate(itertools.product(rates, depths, shares)):
        wanted = {t: len(trees) * first + j for j, t in enumerate(trees) if chosen(len(trees) * first + j)}
        if wanted:
            model = GradientBoostingRegressor(
                learning_rate=rate, max_depth=depth, subsample=share, n_estimators=max(wanted), random_state=split
            ).fit(patients[train], progression[train])
            for t, predicted in enumerate(model.staged_predict(patients[test]), start=1):
                if t in wanted:
                    yield wanted[t], (predicted - progression[test]) ** 2 / progression.var()


MAKERS = {
    "svm-digits": Maker(SVM, 32, (4, 16, 64, 640), 1.0, svm_digits),
    "boosting-diabetes": Maker(BOOSTING, 11, (4, 16, 64, 221), 0.01, boosting_diabetes),
}


def evaluate(name: str, split: int, chosen: Callable[[int], bool] = lambda k: True) -> dict[int, Any]:
    """Summed losses on the nested validation sets, in the table's units: {configuration: shape (holdouts,)}."""
    maker = MAKERS[name]
    return {
        k: np.rint([losses[:h].sum() / maker.unit for h in maker.holdouts]).astype(np.uint16)
        for k, losses in maker.scores(split, chosen)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=MAKERS)
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args()
    maker = MAKERS[options.table]
    n = int(np.prod([len(v) for v in maker.settings.values()]))
    sums = np.zeros((n, maker.splits, len(maker.holdouts)), dtype=np.uint16)
    levels = {f"level_{name}": np.array(values) for name, values in maker.settings.items()}
    path = options.out / f"{options.table.replace('-', '_')}.npz"
    begun = time.process_time()
    for split in range(maker.splits):
        for k, row in evaluate(options.table, split).items():
            sums[k, split] = row
        # What there is so far is a table too.
        np.savez_compressed(
            path, sums=sums[:, : split + 1], holdouts=np.array(maker.holdouts), unit=maker.unit, **levels
        )
        spent, size = time.process_time() - begun, path.stat().st_size / 1e3
        print(f"split {split + 1}/{maker.splits}: {spent:.0f} s, {n} configurations, {size:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
