"""The settings of a scikit-learn model, by cross-validation on real data."""

from typing import Any

from sklearn.datasets import load_wine
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import metaloop as ml

X, Y = load_wine(return_X_y=True)
SPACE = ml.Space(
    C=ml.Float(1e-3, 1e3, log=True),
    kernel=ml.Categorical(["rbf", "poly", "linear"]),
    gamma=ml.Float(1e-4, 1e1, log=True, when={"kernel": ["rbf", "poly"]}),
    degree=ml.Int(2, 5, when={"kernel": "poly"}),
)


def accuracy(config: dict[str, Any]) -> float:
    """Mean accuracy over five folds."""
    return float(cross_val_score(make_pipeline(StandardScaler(), SVC(**config)), X, Y, cv=5).mean())


if __name__ == "__main__":
    result = ml.maximize(accuracy, SPACE, budget=25)
    print(f"{result.value:.4f} with {result.config}; scikit-learn's defaults give {accuracy({}):.4f}")
