"""Which model, with which settings? Tuned on real data, beside scikit-learn's defaults and random search.

The space is mixed and conditional: a support vector machine, gradient boosting or a neural network, each with settings
of its own. The data are the Wisconsin breast cancer measurements that ship with scikit-learn (569 patients, 30
features); the objective is the cross-validated log loss on three quarters of them, and the last quarter is held out.
"""

from __future__ import annotations

import warnings
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

import metaloop as ml

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

DEFAULTS: dict[str, dict[str, Any]] = {"svm": {}, "boosting": {}, "network": {}}


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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # an early stop is a property of the configuration
            p = cross_val_predict(build(**config), self.x, self.y, cv=self.folds, method="predict_proba")
        return float(log_loss(self.y, p))

    def held_out(self, config: dict[str, Any]) -> tuple[float, float]:
        """Log loss (nats) and accuracy on the held-out quarter."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            p = build(**config).fit(self.x, self.y).predict_proba(self.x_test)
        return float(log_loss(self.y_test, p)), float(accuracy_score(self.y_test, np.argmax(p, axis=1)))
