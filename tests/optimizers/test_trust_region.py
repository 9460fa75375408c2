"""Quadratics are solved at once, valleys are followed, several basins are visited, noise is averaged."""

import numpy as np
import pytest
from scipy.optimize import minimize as scipy_minimize

from metaloop import InputError, Space
from metaloop.optimizers import TrustRegion
from metaloop.optimizers.protocol import FAILED
from metaloop.testing import check_optimizer


def run(f, dim, budget, seed=0, recipe=None, told=()):
    recipe = recipe or TrustRegion()
    space = Space.from_bounds([(0.0, 1.0)] * dim)
    state = recipe.init(space, seed)
    if len(told):
        state = recipe.tell(state, told, [f(x) for x in told])
    values, points = [], []
    for _ in range(budget):
        x, state = recipe.ask(state, 1)
        values.append(f(x[0]))
        points.append(x[0])
        state = recipe.tell(state, x, values[-1:])
    return np.array(values), np.array(points), state


def ellipsoid(dim, seed, condition=1e4):
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    w, center = np.logspace(0, np.log10(condition), dim), rng.uniform(0.2, 0.8, dim)
    return (lambda x: float(w @ (q @ (x - center)) ** 2)), center


def valley(dim, seed):
    center = np.random.default_rng(seed).uniform(0.3, 0.7, dim)

    def f(x):
        z = 4 * (x - center) + 1
        return float((100 * (z[1:] - z[:-1] ** 2) ** 2 + (1 - z[:-1]) ** 2).sum())

    return f


def test_keeps_the_protocol():
    check_optimizer(TrustRegion())


@pytest.mark.parametrize("dim", [1, 2, 4])
def test_a_quadratic_is_solved_once_it_is_known(dim):
    f, _ = ellipsoid(dim, dim)
    values, *_ = run(f, dim, (dim + 1) * (dim + 2) // 2 + 3 * dim + 5)
    assert values.min() < 1e-12


def test_a_valley_is_followed_with_fewer_evaluations_than_cobyla():
    ours, theirs = [], []
    for seed in range(5):
        f = valley(4, seed)
        ours.append(run(f, 4, 400, seed)[0].min())
        seen = []
        scipy_minimize(lambda x, f=f, seen=seen: seen.append(f(np.clip(x, 0, 1))) or seen[-1], np.full(4, 0.5),
                       method="COBYLA", bounds=[(0, 1)] * 4, options={"maxiter": 400, "rhobeg": 0.2})  # fmt: skip
        theirs.append(min(seen))
    assert np.median(ours) < 1e-3
    assert np.median(ours) < np.median(theirs)


def test_scale_and_shift_of_the_values_change_nothing():
    f = valley(3, 1)
    _, points, _ = run(f, 3, 40)
    _, moved, _ = run(lambda x: 8.0 * f(x), 3, 40)
    assert np.abs(points - moved).max() < 1e-6


def test_points_from_outside_count():
    f, center = ellipsoid(3, 5)
    told = np.clip(center + 0.1 * np.random.default_rng(0).standard_normal((14, 3)), 0, 1)
    values, *_ = run(f, 3, 3, told=told)
    assert values.min() < 1e-8


def test_other_basins_are_visited():
    """Two bowls, the deeper one away from the center."""

    def f(x):
        return float(min(((x - 0.45) ** 2).sum() + 0.1, 4 * ((x - 0.9) ** 2).sum()))

    assert np.median([run(f, 3, 120, seed)[0].min() for seed in range(5)]) < 0.01


def test_noise_is_noticed_and_averaged():
    recovered, lucky = [], []
    for seed in range(4):
        f, center = ellipsoid(3, seed, condition=10.0)
        rng = np.random.default_rng(seed)
        recipe = TrustRegion()
        values, points, state = run(lambda x, f=f, rng=rng: f(x) + 0.2 * rng.standard_normal(), 3, 120, seed, recipe)
        assert state.noisy
        recovered.append(np.abs(state.center[0] - center).max())
        lucky.append(np.abs(points[np.argmin(values)] - center).max())
    assert np.mean(recovered) < np.mean(lucky)
    assert np.mean(recovered) < 0.25
    _, _, exact = run(valley(3, 1), 3, 12)
    assert exact.noisy is False


def test_failed_points_shrink_the_step():
    """The half-space beyond a wall fails."""
    recipe, space = TrustRegion(), Space.from_bounds([(0.0, 1.0)] * 2)
    state = recipe.init(space, 0)
    best = np.inf
    for _ in range(80):
        x, state = recipe.ask(state, 1)
        value = float(((x[0] - 0.7) ** 2).sum())
        state = recipe.tell(state, x, [FAILED if x[0, 0] > 0.6 else value])
        best = min(best, value if x[0, 0] <= 0.6 else np.inf)
    assert best < 0.02  # 0.01 at the wall


def test_a_batch_is_spread():
    recipe, space = TrustRegion(), Space.from_bounds([(0.0, 1.0)] * 3)
    state = recipe.init(space, 0)
    f, _ = ellipsoid(3, 2)
    for _ in range(10):
        x, state = recipe.ask(state, 6)
        assert len(np.unique(x, axis=0)) == 6
        state = recipe.tell(state, x, [f(p) for p in x])
    assert np.nanmin(state.archive.values) < 1e-6


def test_bad_settings_are_refused():
    for bad in ({"radius": 0}, {"radius": 2}, {"radius": "a"}):
        with pytest.raises(InputError):
            TrustRegion(**bad)
