"""The parts of the portfolio: nets and their errors, maps, mixtures, populations, tail indices."""

import math

import numpy as np
import pytest
from scipy import stats
from scipy.special import ndtr

from metaloop.online.sampling.evidence import tail_index
from metaloop.online.sampling.methods import Method, Proposal, plain, separable
from metaloop.online.sampling.mixture import Mixture, fit, total
from metaloop.online.sampling.nets import Net, net_error
from metaloop.online.sampling.population import explore
from metaloop.online.sampling.separable import Separable
from metaloop.online.sampling.targets import event, integral


def test_a_net_grows_by_prefixes_and_balances_every_axis():
    one, two = Net(5, np.random.default_rng(1)), Net(5, np.random.default_rng(1))
    grown = np.concatenate([one.grow(256), one.grow(1024)])
    assert (grown == two.grow(1024)).all()
    assert ((grown > 0) & (grown < 1)).all()
    assert (np.sort((grown * 1024).astype(int), axis=0) == np.arange(1024)[:, None]).all()


@pytest.mark.parametrize(
    "f", [lambda u: u.prod(axis=1), lambda u: (u.sum(axis=1) > 1.7) * 1.0, lambda u: u[:, 0] ** -0.3]
)
def test_the_error_of_a_net_is_about_right_or_cautious(f):
    values, errors = [], []
    for seed in range(60):
        v = f(Net(3, np.random.default_rng(seed)).grow(1024))
        values.append(v.mean())
        errors.append(net_error(v)[0])
    true = np.std(values)
    assert 0.8 * true < math.sqrt(np.mean(np.square(errors))) < 12 * true


def test_the_error_of_independent_values_falls_with_their_root():
    error, rate = net_error(np.random.default_rng(0).standard_normal(1 << 14))
    assert error == pytest.approx(1 / 128, rel=0.3)
    assert rate < 0.65


def test_a_map_of_the_axes_is_one_to_one_and_keeps_the_measure():
    rng = np.random.default_rng(2)
    u = rng.random((4096, 2))
    shape = Separable(u, np.exp(-(((u - 0.2) / 0.1) ** 2).sum(axis=1)) ** 2, 0.5)
    grid = np.linspace(0.001, 0.999, 500)
    x, log = shape(np.column_stack([grid, np.full(500, 0.5)]))
    assert (np.diff(x[:, 0]) > 0).all()
    x, log = shape(rng.random((1 << 16, 2)))
    assert np.exp(log).mean() == pytest.approx(1.0, abs=0.05)  # the volume of the cube
    assert np.median(x) < 0.3  # where the integrand is


def test_a_mixture_samples_what_its_density_says():
    model = Mixture(
        np.array([0.3, 0.7]), np.array([[0.0, 1.0], [2.0, -1.0]]), np.array([np.eye(2), [[0.5, 0.0], [0.4, 0.2]]])
    )
    x = model.place(np.random.default_rng(3).random((20000, 3)))
    assert x.mean(axis=0) == pytest.approx(model.weights @ model.means, abs=0.03)
    log = total(model.densities(x), model.weights)
    reference = 0.3 * stats.multivariate_normal([0, 1], np.eye(2)).pdf(x)
    reference += 0.7 * stats.multivariate_normal([2, -1], model.roots[1] @ model.roots[1].T).pdf(x)
    assert np.exp(log) == pytest.approx(reference, rel=1e-9)


def test_a_fit_recovers_separate_modes_with_their_weights():
    rng = np.random.default_rng(4)
    x = np.concatenate([rng.normal(-3, 0.5, (3000, 4)), rng.normal(2, 1.0, (1000, 4))])
    model = fit(x, np.ones(4000), rng)
    assert len(model.weights) == 2
    order = np.argsort(model.means[:, 0])
    assert model.weights[order] == pytest.approx([0.75, 0.25], abs=0.01)
    assert model.means[order] == pytest.approx(np.array([[-3.0] * 4, [2.0] * 4]), abs=0.15)
    # the same law from points of another one, by weights
    wide = rng.normal(0, 3, (40000, 1))
    w = stats.norm(1, 0.5).pdf(wide[:, 0]) / stats.norm(0, 3).pdf(wide[:, 0])
    model = fit(wide, w, rng, most=1)
    assert (float(model.means[0, 0]), float(model.roots[0, 0, 0])) == pytest.approx((1.0, 0.5), abs=0.03)


def test_noise_does_not_lead_a_covariance_astray():
    # 200 points in 100 dimensions: the sample covariance is singular to the eye, the cleaned one is the truth's
    rng = np.random.default_rng(5)
    model = fit(rng.standard_normal((200, 100)), np.ones(200), rng, most=1)
    w = np.linalg.svd(model.roots[0], compute_uv=False)
    assert w.min() > 0.7
    assert w.max() < 1.4


@pytest.mark.parametrize("cube", [False, True])
def test_importance_sampling_is_unbiased(cube):
    law = 1 / 12 if cube else 1.0
    model = Mixture(np.ones(1), np.full((1, 2), 0.4), 0.2 * np.eye(2)[None]).widened(law)
    method = Method("mixture", Proposal(model, 0.05, cube), Net(3, np.random.default_rng(6)))

    def score(z):
        x = ndtr(z) if cube else z
        return np.exp(-((x - 0.5) ** 2).sum(axis=1) / 0.02)

    method.grow(1 << 14, score, lambda s: s)
    if cube:
        exact = (math.sqrt(2 * math.pi) * 0.1 * (2 * ndtr(5.0) - 1)) ** 2
    else:
        exact = 2 * math.pi * 0.01 / (2 * math.pi * 1.01) * math.exp(-0.25 / 1.01)
    assert method.value == pytest.approx(exact, rel=2e-3)
    assert abs(method.value - exact) < 5 * method.error


def test_methods_agree_on_a_smooth_function():
    def score(z):
        return ndtr(z).prod(axis=1)

    for place in (plain, separable(Separable(np.random.default_rng(0).random((500, 3)), np.ones(500), 0.5))):
        method = Method("m", place, Net(3, np.random.default_rng(7)))
        method.grow(4096, score, lambda s: s)
        assert method.value == pytest.approx(0.125, rel=1e-3)


def test_a_population_finds_the_mass_of_a_peak_and_of_an_event():
    rng = np.random.default_rng(8)
    target = integral(lambda x: np.exp(-((x - 0.2) ** 2).sum(axis=1) / (2 * 0.01**2)), [(0, 1)] * 4)
    z = rng.standard_normal((2000, 4))
    found = explore(z, target.score(z), target.score, target.steps, 600, 60_000, rng)
    assert found.reached
    assert found.log_mass == pytest.approx(4 * math.log(math.sqrt(2 * math.pi) * 0.01), abs=1.0)
    assert ndtr(found.z).mean(axis=0) == pytest.approx(np.full(4, 0.2), abs=0.003)
    target = event(lambda x: 4.5 - x[:, 0], 3)
    z = rng.standard_normal((2000, 3))
    found = explore(z, target.score(z), target.score, target.steps, 600, 60_000, rng)
    assert found.reached
    assert found.log_mass == pytest.approx(math.log(ndtr(-4.5)), abs=1.0)
    assert (found.z[:, 0] >= 4.5).all()
    assert found.z[:, 1:].std() == pytest.approx(1.0, abs=0.15)


def test_a_population_that_cannot_arrive_says_so():
    rng = np.random.default_rng(9)
    target = event(lambda x: np.where(x[:, 0] > 1, 1.0, 2.0), 2)  # never <= 0
    z = rng.standard_normal((1000, 2))
    found = explore(z, target.score(z), target.score, target.steps, 300, 10_000, rng)
    assert not found.reached
    assert found.evaluations <= 10_000


@pytest.mark.parametrize(("shape", "low", "high"), [(0.3, 0.1, 0.5), (0.9, 0.7, 1.15), (-0.5, -0.6, 0.15)])
def test_the_tail_index_of_pareto_laws(shape, low, high):
    values = stats.genpareto(shape).rvs(40_000, random_state=np.random.default_rng(10))
    assert low < tail_index(values) < high


def test_there_is_no_tail_where_all_contributions_are_equal():
    assert tail_index(np.ones(1000)) == -math.inf
    assert tail_index(np.zeros(1000)) == -math.inf
