"""The model knows every quadratic; its minimizer meets the conditions of an optimum."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metaloop.optimizers.quadratic_model import NOISES, QuadraticModel, minimize_in_ball, minimize_in_ball_and_box


def quadratic(rng, d):
    h = rng.standard_normal((d, d))
    return rng.standard_normal(d), h + h.T


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 6), st.integers(0, 1000))
def test_a_quadratic_is_reproduced(d, seed):
    rng = np.random.default_rng(seed)
    g, h = quadratic(rng, d)
    s = rng.uniform(-1, 1, ((d + 1) * (d + 2) // 2 + d, d))
    model = QuadraticModel(s, s @ g + 0.5 * np.einsum("ij,jk,ik->i", s, h, s))
    assert model.gradient == pytest.approx(g, abs=1e-5 * np.abs(h).max() + 1e-6)
    assert model.hessian == pytest.approx(h, abs=1e-4 * np.abs(h).max() + 1e-5)


def test_noise_is_seen_and_averaged():
    rng = np.random.default_rng(0)
    g, h = np.array([1.0, -2.0]), np.diag([3.0, 1.0])
    s = rng.uniform(-1, 1, (300, 2))
    clean = 5.0 + s @ g + 0.5 * np.einsum("ij,jk,ik->i", s, h, s)
    model = QuadraticModel(s, clean + 0.5 * rng.standard_normal(300), NOISES)
    assert model.scale * np.sqrt(model.noise) == pytest.approx(0.5, rel=0.35)
    assert model.constant == pytest.approx(5.0, abs=0.2)
    assert model.gradient == pytest.approx(g, abs=0.3)
    draws = np.array([model.draw(rng, clean)[0] for _ in range(300)])
    assert draws.mean(axis=0) == pytest.approx(g, abs=0.3)
    spread = np.sqrt(np.diag(model.gradient_covariance())) * model.scale
    assert draws.std(axis=0) == pytest.approx(spread, rel=0.2)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(0, 10_000), st.sampled_from([0.1, 1.0, 10.0]), st.booleans())
def test_in_the_ball_the_optimality_conditions_hold(d, seed, radius, hard):
    rng = np.random.default_rng(seed)
    g, h = quadratic(rng, d)
    w, q = np.linalg.eigh(h)
    if hard:  # no slope along the lowest eigenvector
        g = g - (g @ q[:, 0]) * q[:, 0]
    s, multiplier = minimize_in_ball(w, q, g, radius)
    size = np.abs(h).max() * radius + np.abs(g).max()
    assert s @ s <= radius**2 * (1 + 1e-8)
    assert multiplier >= 0
    assert multiplier + w[0] >= -1e-8 * size / radius
    assert np.abs(g + h @ s + multiplier * s).max() <= 1e-6 * size
    assert multiplier * (radius - np.sqrt(s @ s)) <= 1e-6 * size


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.integers(0, 10_000))
def test_in_the_box_nothing_sampled_is_better_when_convex(d, seed):
    rng = np.random.default_rng(seed)
    g, h = quadratic(rng, d)
    h = h @ h + 0.1 * np.eye(d)
    low, high = -rng.random(d), rng.random(d)
    s = minimize_in_ball_and_box(g, h, low, high)
    assert (s >= low).all()
    assert (s <= high).all()
    assert s @ s <= 1 + 1e-8
    at = g @ s + 0.5 * s @ h @ s
    others = rng.uniform(low, high, (3000, d))
    others = others[(others**2).sum(axis=1) <= 1]
    least = (others @ g + 0.5 * np.einsum("ij,jk,ik->i", others, h, others)).min(initial=np.inf)
    assert at <= least + 0.02 * abs(least) + 1e-9
