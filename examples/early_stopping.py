"""Training that reports as it goes: Hyperband ends what falls behind, so many more settings are tried.

The objective is a generator. Each value comes with its fidelity, the share of the full training.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split

import metaloop as ml

X, X_TEST, Y, Y_TEST = train_test_split(*load_digits(return_X_y=True), test_size=0.5, random_state=0)
EPOCHS = 27


def error(config: dict[str, Any]) -> Iterator[dict[str, float]]:
    """Validation error after each epoch."""
    model = SGDClassifier(learning_rate="constant", random_state=0, **config)
    for epoch in range(1, EPOCHS + 1):
        model.partial_fit(X / 16, Y, classes=np.arange(10))
        yield {"value": 1 - model.score(X_TEST / 16, Y_TEST), "fidelity": epoch / EPOCHS}


if __name__ == "__main__":
    space = ml.Space(
        eta0=ml.Float(1e-4, 1.0, log=True),
        alpha=ml.Float(1e-7, 1e-1, log=True),
        loss=ml.Categorical(["hinge", "log_loss", "modified_huber"]),
    )
    result = ml.minimize(error, space, budget=40, optimizer=ml.Hyperband())
    print(result)
    print(result.why)
