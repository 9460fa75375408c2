"""The Gaussian process of categories against what it must equal."""

import numpy as np
import pytest

from metaloop import Categorical, Float, Int, Space
from metaloop.landscape.categorical_process import Covariance, Posterior, features, fit, normal_scores

SPACE = Space(
    a=Categorical(list("xyz")), b=Categorical(list("xyz")), n=Int(0, 4), r=Float(0, 1, when={"a": ["x", "y"]})
)


def points(n, seed=0):
    return features(SPACE, SPACE.sample(np.random.default_rng(seed), n))


def test_counts_and_distances():
    rows = SPACE.encode([{"a": "x", "b": "x", "n": 0, "r": 0.5}, {"a": "z", "b": "x", "n": 4}])
    x = features(SPACE, rows)
    assert x.counts.tolist() == [[2, 0, 0], [1, 0, 1]]
    assert [float(d[0, 1]) for d in x.distances(x)] == pytest.approx([1, 0, 0.8, 1])  # r is active in one only
    assert x.apart(x).tolist() == [[0, 2], [2, 0]]


def test_normal_scores_keep_the_order_only():
    y = np.array([3.0, 1.0, 2.0, 1e9])
    z = normal_scores(y)
    assert (np.argsort(z) == np.argsort(y)).all()
    assert (z == normal_scores(np.array([0.2, 0.0, 0.1, 0.3]))).all()
    assert not normal_scores(np.ones(4)).any()


def test_the_posterior_is_that_of_the_textbook_and_grows_as_it_is_built():
    known, pool, covariance = points(12), points(9, 1), Covariance.prior(4)
    z = normal_scores(np.random.default_rng(2).random(12))
    grown, built = Posterior(covariance, pool), Posterior(covariance, pool)
    for k in range(12):
        grown.append(known[k : k + 1])
    built.append(known)
    own = sum(covariance.parts(known, known)) + covariance.noise(known) * np.eye(12)
    across = sum(covariance.parts(pool, known))
    weights = np.linalg.solve(own, z)
    expected = across @ weights
    left = covariance.variance(pool) - np.einsum("ij,ji->i", across, np.linalg.solve(own, across.T))
    spread = np.sqrt(z @ weights / 12 * left)
    for model in (grown, built):
        mean, deviation = model.predict(z)
        np.testing.assert_allclose(mean, expected, atol=2e-5)
        np.testing.assert_allclose(deviation, spread, rtol=2e-4)
        np.testing.assert_allclose(model.mean_at(pool, z), expected, atol=1e-10)


def test_the_fit_climbs_and_learns_which_column_matters():
    space = Space(a=Categorical(list("xyzw")), b=Categorical([1, 2, 3, 4, 5]))
    rows = space.sample(np.random.default_rng(0), 40)
    z = normal_scores(np.floor(rows[:, 0] * 4) ** 2)
    log = fit(features(space, rows), z, Covariance.prior(2)).log
    assert log[0] > log[1] + 1
