"""Differential evolution finds what scipy's finds, for about the same number of evaluations."""

import numpy as np
import pytest
from scipy.optimize import differential_evolution

from metaloop import InputError, Space
from metaloop.optimizers import DifferentialEvolution
from metaloop.testing import check_optimizer


@pytest.mark.parametrize("strategy", ["best1bin", "rand1bin", "currenttobest1bin"])
def test_keeps_the_protocol(strategy):
    check_optimizer(DifferentialEvolution(population=4, strategy=strategy))


def sphere(x):
    return float(((x - 0.3) ** 2).sum())


def rosenbrock(x):
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())


def rastrigin(x):
    return float((x**2 - 10 * np.cos(2 * np.pi * x) + 10).sum())


def evaluations_to(f, dim, target, seed, limit):
    """(ours, scipy's) evaluations until f <= target; `limit` if never."""
    space = Space.from_bounds([(-5.0, 5.0)] * dim)
    recipe = DifferentialEvolution()
    state, ours = recipe.init(space, seed), limit
    for n in range(limit):
        points, state = recipe.ask(state, 1)
        value = f(10 * points[0] - 5)
        state = recipe.tell(state, points, [value])
        if value <= target:
            ours = n + 1
            break
    count = [0, limit]

    def counted(x):
        count[0] += 1
        value = f(x)
        if value <= target:
            count[1] = min(count[1], count[0])
        return value

    differential_evolution(
        counted, [(-5, 5)] * dim, rng=seed, polish=False, tol=0, maxiter=limit // (15 * dim),
        callback=lambda *_: count[1] < limit,
    )  # fmt: skip
    return ours, count[1]


@pytest.mark.parametrize(
    ("f", "dim", "target", "limit"),
    [(sphere, 5, 1e-8, 20_000), (rosenbrock, 3, 1e-6, 20_000), (rastrigin, 3, 1e-6, 20_000)],
)
def test_as_good_as_scipys(f, dim, target, limit):
    pairs = np.array([evaluations_to(f, dim, target, seed, limit) for seed in range(5)])
    assert np.median(pairs[:, 0]) < limit
    assert np.median(pairs[:, 0]) <= 1.25 * np.median(pairs[:, 1]), pairs


def test_restarts_when_converged():
    space = Space.from_bounds([(-5.0, 5.0)] * 2)
    recipe = DifferentialEvolution()
    state = recipe.init(space, 0)
    for _ in range(8000):
        points, state = recipe.ask(state, 1)
        state = recipe.tell(state, points, [sphere(10 * points[0] - 5)])
    assert state.restarts >= 1


def test_outside_points_replace_the_worst():
    space = Space.from_bounds([(0.0, 1.0)] * 2)
    recipe = DifferentialEvolution(population=3)
    state = recipe.init(space, 0)
    points, state = recipe.ask(state, 6)
    state = recipe.tell(state, points, np.arange(6.0))
    state = recipe.tell(state, np.array([[0.25, 0.75]]), [-1.0])
    assert (state.members == [0.25, 0.75]).all(axis=1).any()
    assert state.merit[:, 1].max() == 4.0


def test_bad_settings_are_refused():
    for bad in ({"population": 0}, {"strategy": "x"}, {"scale_low": 0.0}, {"scale_low": 1.5}, {"crossover": 2}):
        with pytest.raises(InputError):
            DifferentialEvolution(**bad)
