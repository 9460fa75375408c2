import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.stats import multivariate_normal, norm

from metaloop.errors import InputError
from metaloop.landscape.gaussian_process import (
    LEAST_NOISE,
    Hyperparameters,
    Posterior,
    Warp,
    embed,
    fit,
    length_prior,
    matern,
    negative_log_posterior,
    posterior_at,
)
from metaloop.space import Categorical, Float, Int, Space

GROUPS = np.array([0, 1, 2, 2, 2])


def correlation(a, b, lengths, groups=GROUPS):
    """The textbook formula, pair by pair."""
    r = np.sqrt((((a[:, None] - b[None]) / lengths[groups]) ** 2).sum(axis=2))
    s = np.sqrt(5) * r
    return (1 + s + s * s / 3) * np.exp(-s)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    x = rng.random((17, 5))
    z = np.sin(4 * x[:, 0]) + x[:, 1] - x[:, 3] + 0.1 * rng.standard_normal(17)
    return x, (z - z.mean()) / z.std()


def test_kernel_and_its_slope():
    r2 = np.array([[0.0, 0.3, 2.0, 50.0]])
    k, slope = matern(r2.copy())
    s = np.sqrt(5 * r2)
    assert np.allclose(k, (1 + s + s * s / 3) * np.exp(-s), atol=1e-15)
    h, near = 1e-6, r2[:, 1:]
    assert np.allclose(slope[0, 1:], (matern(near + h)[0] - matern(near - h)[0])[0] / (2 * h), rtol=1e-6, atol=1e-9)
    assert slope[0, 0] == pytest.approx(-5 / 6)


def test_likelihood_is_the_density_of_the_outputs_at_the_profiled_mean_and_amplitude(data):
    x, z = data
    theta = np.log([0.5, 0.9, 1.3, 0.02])
    n = len(z)
    k = correlation(x, x, np.exp(theta[:-1])) + 0.02 * np.eye(n)
    ones = np.ones(n)
    mean = (ones @ np.linalg.solve(k, z)) / (ones @ np.linalg.solve(k, ones))
    s2 = ((z - mean) @ np.linalg.solve(k, z - mean) + 1) / (n + 1)
    density = multivariate_normal(np.full(n, mean), s2 * k).logpdf(z)
    log_prior = -0.5 * (np.log(s2) + 1 / s2)
    center = length_prior(3)
    log_prior += norm(center, np.sqrt(3)).logpdf(theta[:-1]).sum() + norm(np.log(1e-5), 3.5).logpdf(theta[-1])
    log_prior += 3 * np.log(np.sqrt(6 * np.pi)) + np.log(3.5 * np.sqrt(2 * np.pi))
    value, _ = negative_log_posterior(theta, x, GROUPS, z, center)
    assert value == pytest.approx(-(density + log_prior) - 0.5 * n * np.log(2 * np.pi), rel=1e-12)


def test_profiled_mean_and_amplitude_are_the_best(data):
    x, z = data
    hyper = fit(x, GROUPS, z, warping=False)
    k = correlation(x, x, hyper.lengths) + hyper.noise * np.eye(len(z))
    w = hyper.warp.forward(z)

    def density(mean, s2):
        return multivariate_normal(np.full(len(z), mean), s2 * k).logpdf(w) - 0.5 * (np.log(s2) + 1 / s2)

    best = density(hyper.mean, hyper.variance)
    for mean, s2 in [(0.01, 1.0), (-0.01, 1.0), (0.0, 1.01), (0.0, 0.99)]:
        assert density(hyper.mean + mean, hyper.variance * s2) < best


@pytest.mark.parametrize("noise", [1e-6, 1e-2, 1.0])
def test_gradient_against_finite_differences(data, noise):
    x, z = data
    theta = np.log([0.3, 0.6, 1.1, noise])
    center = length_prior(3)
    _, gradient = negative_log_posterior(theta, x, GROUPS, z, center)
    numeric = approx_fprime(theta, lambda t: negative_log_posterior(t, x, GROUPS, z, center)[0], 1e-6)
    assert np.allclose(gradient, numeric, rtol=1e-3, atol=1e-3)


def test_posterior_against_dense_formulas(data):
    x, z = data
    hyper = Hyperparameters(np.array([0.5, 0.9, 1.3]), 0.01, 0.2, 1.7)
    model = Posterior(hyper, GROUPS, x)
    errors = model.observe(z)
    new = np.random.default_rng(1).random((6, 5))
    k = correlation(x, x, hyper.lengths) + 0.01 * np.eye(len(z))
    kx = correlation(new, x, hyper.lengths)
    mean, std = model.predict(new)
    assert np.allclose(mean, 0.2 + kx @ np.linalg.solve(k, z - 0.2), atol=1e-12)
    assert np.allclose(std**2, 1.7 * (1 - np.einsum("ij,ji->i", kx, np.linalg.solve(k, kx.T))), atol=1e-12)
    at = correlation(x, x, hyper.lengths) @ np.linalg.solve(k, z - 0.2) + 0.2
    assert np.allclose(model.smoothed(), at, atol=1e-12)
    # the last one-step-ahead error, predicted from all others
    others = Posterior(hyper, GROUPS, x[:-1])
    others.observe(z[:-1])
    m, s = others.predict(x[-1:])
    assert errors[-1] == pytest.approx((z[-1] - m[0]) / np.sqrt(s[0] ** 2 + 1.7 * 0.01), rel=1e-9)


def test_gradient_of_the_prediction(data):
    x, z = data
    hyper = Hyperparameters(np.array([0.5, 0.9, 1.3]), 1e-4, 0.0, 1.0)
    model = Posterior(hyper, GROUPS, x)
    model.observe(z)
    new = np.random.default_rng(1).random((4, 5))
    mean, std, by_mean, by_std = model.predict_with_gradient(new)
    assert np.allclose(mean, model.predict(new)[0], atol=1e-12)
    assert np.allclose(std, model.predict(new)[1], atol=1e-12)
    for j in range(5):
        h = np.zeros(5)
        h[j] = 1e-6
        up, down = model.predict(new + h), model.predict(new - h)
        assert np.allclose(by_mean[:, j], (up[0] - down[0]) / 2e-6, rtol=1e-5, atol=1e-7)
        assert np.allclose(by_std[:, j], (up[1] - down[1]) / 2e-6, rtol=1e-5, atol=1e-7)


def test_appended_rows_equal_the_full_factor():
    rng = np.random.default_rng(2)
    x, y = rng.random((90, 3)), rng.random(90)
    hyper = Hyperparameters(np.array([0.4, 0.6, 0.8]), 1e-5)
    groups = np.arange(3)
    full, grown = Posterior(hyper, groups, x), Posterior(hyper, groups, x[:5])
    for row in x[5:]:
        grown.append(row)
    for row in rng.random((70, 3)):  # enough to outgrow its arrays
        grown.append(row)
    grown.truncate(90)
    full.observe(y)
    grown.observe(y)
    new = rng.random((20, 3))
    for a, b in zip(full.predict(new), grown.predict(new), strict=True):
        assert np.allclose(a, b, atol=1e-8)
    k = correlation(x, x, hyper.lengths, groups) + 1e-5 * np.eye(90)
    inverse = np.linalg.inv(np.linalg.cholesky(k))
    assert np.allclose(grown._inverse[:90, :90], inverse, atol=1e-10 * np.abs(inverse).max())


def test_appended_points_are_believed_at_their_mean(data):
    x, z = data
    model = Posterior(Hyperparameters(np.array([0.5, 0.9, 1.3]), 1e-6), GROUPS, x)
    model.observe(z)
    new = np.random.default_rng(3).random((8, 5))
    mean, std = model.predict(new)
    row, d = model.append(new[0])
    after, shrunk = model.predict(new)
    assert np.allclose(after, mean, atol=1e-10)
    assert (shrunk <= std + 1e-12).all()
    assert shrunk[0] < 2e-3
    assert float(row @ row) + d * d == pytest.approx(1 + 1e-6)
    model.truncate(len(x))
    assert np.array_equal(model.predict(new)[1], std)


def test_embedding():
    space = Space(a=Float(0, 1), c=Categorical(["x", "y", "z"]), k=Int(1, 3, when={"c": "x"}))
    rows = space.encode([{"a": 0.2, "c": "x", "k": 3}, {"a": 0.2, "c": "y"}, {"a": 0.7, "c": "y"}])
    x, groups = embed(space, rows)
    assert groups.tolist() == [0, 1, 1, 1, 2]
    h = np.sqrt(0.5)
    assert np.allclose(x, [[0.2, h, 0, 0, 5 / 6], [0.2, 0, h, 0, 0.5], [0.7, 0, h, 0, 0.5]])
    assert ((x[0, 1:4] - x[1, 1:4]) ** 2).sum() == pytest.approx(1.0)
    inactive = Space(b=Categorical(["u", "v"]), c=Categorical(["x", "y"], when={"b": "u"}))
    assert np.allclose(embed(inactive, inactive.encode([{"b": "v"}]))[0], [[0, h, 0, 0]])


@pytest.mark.parametrize("logarithmic", [False, True])
def test_warp_is_increasing_smooth_and_invertible(logarithmic):
    warp = Warp(2.0, 3.0, 0.4, 1.5, logarithmic)
    y = np.array([-100.0, 1.9, 2.0, 2.1, 5.0, 1e4])
    z = warp.forward(y)
    assert (np.diff(z) > 0).all()
    assert np.allclose(warp.inverse(z), y)
    h = 1e-6
    inner = y[[1, 3, 4]]
    numeric = (warp.forward(inner + h) - warp.forward(inner - h)) / (2 * h)
    assert np.allclose(np.exp(warp.log_slope(inner))[1:], numeric[1:])
    assert np.isfinite(warp.inverse(np.array([-1e3, 1e3]))).all()


def test_a_fit_finds_lengths_noise_and_warp():
    rng = np.random.default_rng(4)
    x = rng.random((60, 3))
    y = np.sin(6 * x[:, 0]) + 0.3 * x[:, 1]
    quiet = fit(x, np.arange(3), y)
    assert quiet.lengths[0] < quiet.lengths[1] < quiet.lengths[2]
    assert quiet.noise < 1e-4
    noisy = fit(x, np.arange(3), y + 0.3 * rng.standard_normal(60))
    assert 0.15**2 < noisy.noise * noisy.variance * noisy.warp.scale**2 * noisy.warp.width**2 < 0.5**2
    steep = fit(x, np.arange(3), np.exp(8 * np.sin(3 * x[:, 0]) + 3 * x[:, 1]))
    assert steep.warp.logarithmic
    again = fit(x, np.arange(3), y, quiet)
    assert np.allclose(again.lengths, quiet.lengths, rtol=0.3)


@pytest.mark.parametrize("y", [[3.0], [1.0, 1.0], [1.0, 2.0], [0.0] * 9, [1e300, -1e300, 0.0, 1.0], [0, 0, 0, 1e-300]])
def test_a_fit_survives_degenerate_outputs(y):
    y = np.array(y, dtype=float)
    x = np.random.default_rng(5).random((len(y), 2))
    x[-1] = x[0]
    hyper = fit(x, np.arange(2), y)
    assert np.isfinite(hyper.lengths).all()
    assert hyper.noise >= LEAST_NOISE * (1 - 1e-9)
    model = Posterior(hyper, np.arange(2), x)
    model.observe(y)
    for a in model.predict_with_gradient(np.random.default_rng(6).random((5, 2))):
        assert np.isfinite(a).all()


def test_a_fit_refuses_what_is_no_number():
    with pytest.raises(InputError, match="finite"):
        fit(np.zeros((2, 1)), np.arange(1), np.array([1.0, np.nan]))


def test_posterior_at_the_observed_points_averages_noise_away():
    rng = np.random.default_rng(7)
    space = Space.from_bounds([(0.0, 1.0)] * 2)
    rows = np.repeat(space.sample(rng, 30), 3, axis=0)
    truth = 100 + 20 * np.sin(5 * rows[:, 0]) + 10 * rows[:, 1]
    mean, std, noise = posterior_at(space, rows, truth + 3 * rng.standard_normal(90))
    assert 2 < noise < 4
    assert np.sqrt(((mean - truth) ** 2).mean()) < 2
    assert 0.6 < np.sqrt((((mean - truth) / std) ** 2).mean()) < 1.6
