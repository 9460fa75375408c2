"""A function of a vector and its bounds, as with scipy.optimize."""

import numpy as np

import metaloop as ml


def rosenbrock(x: np.ndarray) -> float:
    """The banana valley, least at (1, 1, …)."""
    return float(np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))


if __name__ == "__main__":
    result = ml.minimize(rosenbrock, [(-2, 2)] * 4, budget=1500, optimizer=ml.CMAES())
    print(f"{result.value:.3g} at {result.x}")
    print(result.why)
