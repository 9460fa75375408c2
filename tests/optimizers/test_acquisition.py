from fractions import Fraction

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from metaloop.optimizers.acquisition import ascend, lcb, log_ei, log_h


def test_log_h_where_the_plain_formula_is_exact():
    z = np.linspace(-3, 40, 200)
    assert np.allclose(log_h(z), np.log(norm.pdf(z) + z * norm.cdf(z)), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("z", [-0.5, -1.0, -1.5, -5.0, -20.0, -49.0, -50.0, -51.0, -300.0])
def test_log_h_against_its_integral(z):
    # h(z) = φ(z) ∫ t exp(z t - t²/2) dt over t > 0, without any cancellation; scaled by z²
    u = abs(z)
    integral, _ = quad(lambda t: t * np.exp(-t - 0.5 * (t / u) ** 2), 0, 60, epsabs=0, epsrel=1e-13, limit=200)
    exact = norm.logpdf(z) + np.log(integral) - 2 * np.log(u)
    assert log_h(np.array([z]))[0] == pytest.approx(exact, rel=1e-12, abs=1e-11)


@pytest.mark.parametrize("z", [-1e2, -1e4, -1e8])
def test_log_h_in_the_tail_follows_its_asymptotic_series(z):
    s = Fraction(1, int(z) ** 2)
    series = float(1 - 3 * s + 15 * s**2 - 105 * s**3)
    assert log_h(np.array([z]))[0] == pytest.approx(norm.logpdf(z) - 2 * np.log(-z) + np.log(series), rel=1e-13)


def test_log_h_is_increasing_and_finite():
    z = np.concatenate([-np.logspace(100, -3, 4000), np.logspace(-3, 100, 100)])
    h = log_h(z)
    assert np.isfinite(h).all()
    assert (np.diff(h) > 0).all()


@pytest.mark.parametrize("best", [-200.0, -3.0, 0.0, 2.0])
def test_gradients_against_finite_differences(best):
    rng = np.random.default_rng(0)
    mean, std = rng.standard_normal(20), rng.uniform(0.1, 2.0, 20)
    for f in (lambda m, s: log_ei(m, s, best), lambda m, s: lcb(m, s, 1.7)):
        _, by_mean, by_std = f(mean, std)
        h = 1e-6
        assert np.allclose(by_mean, (f(mean + h, std)[0] - f(mean - h, std)[0]) / (2 * h), rtol=1e-5, atol=1e-6)
        assert np.allclose(by_std, (f(mean, std + h)[0] - f(mean, std - h)[0]) / (2 * h), rtol=1e-5, atol=1e-6)


def test_expected_improvement_against_sampling():
    values = 0.3 + 0.8 * np.random.default_rng(1).standard_normal(400_000)
    expected = np.maximum(0.1 - values, 0).mean()
    assert np.exp(log_ei(np.array([0.3]), np.array([0.8]), 0.1)[0][0]) == pytest.approx(expected, rel=0.01)


def test_ascend_finds_the_maximum_of_a_concave_function_in_a_box():
    rng = np.random.default_rng(2)
    a = rng.standard_normal((6, 6))
    hessian = a @ a.T + 0.1 * np.eye(6)
    center = np.array([0.2, 0.9, 1.5, 0.5, -0.3, 0.4])

    def function(x):
        d = x - center
        return -0.5 * np.einsum("ij,jk,ik->i", d, hessian, d), -d @ hessian

    x = rng.random((3, 6))
    free = np.ones((3, 6), dtype=bool)
    free[2, 3] = False
    found = ascend(function, x, free, np.full(6, 0.5), 200)
    assert found[2, 3] == x[2, 3]
    assert ((found >= 0) & (found <= 1)).all()
    from scipy.optimize import lsq_linear

    exact = lsq_linear(np.linalg.cholesky(hessian).T, np.linalg.cholesky(hessian).T @ center, (0, 1)).x
    best = function(exact[None])[0][0]
    assert np.allclose(function(found[:2])[0], best, atol=2e-3)


def test_ascend_never_gets_worse():
    def function(x):
        return np.sin(40 * x).sum(axis=1), 40 * np.cos(40 * x)

    x = np.random.default_rng(3).random((8, 4))
    for evaluations in (1, 2, 5, 30):
        found = ascend(function, x, np.ones_like(x, dtype=bool), np.ones(4), evaluations)
        assert (function(found)[0] >= function(x)[0]).all()
