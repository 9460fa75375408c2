"""A penalty of its own for each feature: ridge regression whose ten penalties are found by hypergradients.

Diabetes progression (scikit-learn's copy of Efron et al. 2004); the penalties are chosen on validation patients, and
judged on others.
"""

import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_diabetes

from metaloop.bilevel import Descent, OuterDescent, Problem, hypergradient, learn


def inner(w, u, d):
    """Mean squared error on the training patients, and penalties exp(u)."""
    return jnp.mean((d["x"] @ w - d["y"]) ** 2) + jnp.exp(u) @ w**2


def outer(w, u, d):
    """Mean squared error on the validation patients."""
    return jnp.mean((d["x_val"] @ w - d["y_val"]) ** 2)


def main() -> None:
    """Learn the penalties, and say what they are worth."""
    x, y = load_diabetes(return_X_y=True)
    x, y = x / x.std(0), (y - y.mean()) / y.std()
    order = np.random.default_rng(0).permutation(len(x))
    train, val, test = order[:60], order[60:240], order[240:]
    data = {"x": x[train], "y": y[train], "x_val": x[val], "y_val": y[val]}

    problem = Problem(inner, outer, Descent(0.1, steps=5000))
    first = hypergradient(problem, np.full(10, -6.0), np.zeros(10), data=data)
    print(f"before: validation error {first.value:.4f}; condition {first.condition:.0f}, {first.products} products")
    print(first.why)
    found = learn(problem, np.full(10, -6.0), np.zeros(10), data=data, recipe=OuterDescent(rate=0.1, steps=150))
    error = np.mean((x[test] @ found.inner - y[test]) ** 2)
    before = np.mean((x[test] @ first.inner - y[test]) ** 2)
    print(f"after: validation error {found.value:.4f}; on the test patients {error:.4f}, it was {before:.4f}")
    print("penalties:", np.exp(found.outer).round(3))


if __name__ == "__main__":
    main()
