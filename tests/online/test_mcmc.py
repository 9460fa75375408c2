"""Tuned Markov chains against known truth: Gaussians, a skewed density, an edge, and two modes that never meet."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from metaloop import InputError
from metaloop.online.mcmc import Status, TunedHMC, estimate, mass, variates
from metaloop.online.mcmc.variance import asymptotic_variance, batch_means, split_rhat
from metaloop.recipe import configure, space_of

SCALE = np.array([1.0, 100.0, 0.01])
CORRELATION = np.array([[1.0, 0.9, 0.0], [0.9, 1.0, -0.3], [0.0, -0.3, 1.0]])
COVARIANCE = SCALE[:, None] * CORRELATION * SCALE
PRECISION = np.linalg.inv(COVARIANCE)
MEAN = np.array([2.0, -50.0, 0.03])
PLAIN = TunedHMC(control=False)


def gaussian(x):
    return -0.5 * (x - MEAN) @ PRECISION @ (x - MEAN)


def skewed(x):  # exp(x) has a gamma distribution of shape 2
    return jnp.sum(2 * x - jnp.exp(x))


def first(x):
    return x[0]


def square(x):
    return x[0] ** 2


def both(x):
    return jnp.stack([x[0], x[0] ** 2])


def test_the_mean_of_a_gaussian_is_surer_than_independent_draws_make_it():
    e = estimate(gaussian, first, np.zeros(3), 16_000, recipe=PLAIN)
    draws = e.draws.shape[0] * e.draws.shape[1]
    assert e.status is Status.OK
    assert abs(e.value - MEAN[0]) < 4 * e.error
    assert e.effective > 3 * draws  # antithetic: half a period of the oscillation
    assert 2.0 < e.setting.step * e.setting.steps < 4.4
    assert e.evaluations <= 16_000
    assert e.interval[0] < e.value < e.interval[1]
    even = estimate(gaussian, square, np.zeros(3), 16_000, recipe=PLAIN)
    assert abs(even.value - MEAN[0] ** 2 - COVARIANCE[0, 0]) < 4 * even.error


def test_gradients_make_the_mean_of_a_gaussian_exact():
    e = estimate(gaussian, first, np.zeros(3), 16_000)
    assert abs(e.value - MEAN[0]) < 1e-8
    assert "use them as control variates" in e.why()


@pytest.mark.parametrize("control", [True, False])
def test_intervals_cover_as_often_as_they_say(control):
    truth = np.array([1 - np.euler_gamma, math.pi**2 / 6 - 1 + (1 - np.euler_gamma) ** 2])
    recipe = TunedHMC(control=control)
    runs = [estimate(skewed, both, np.zeros(2), 8_000, seed=s, recipe=recipe) for s in range(40)]
    z = np.array([(e.value - truth) / e.error for e in runs])
    inside = sum((e.interval[0] <= truth) & (truth <= e.interval[1]) for e in runs)
    assert (inside >= 33).all()  # of 40 at 95 %: fewer with probability 0.001
    assert (z.std(axis=0) > 0.6).all()  # and not by being too wide
    assert runs[0].value.shape == runs[0].error.shape == (2,)


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    one, two, other = (estimate(skewed, both, np.zeros(2), 8_000, seed=s) for s in (3, 3, 4))
    assert (one.value == two.value).all()
    assert one.why() == two.why()
    assert (one.draws == two.draws).all()
    assert (one.value != other.value).all()


def two_modes(x):
    return jnp.logaddexp(-0.5 * jnp.sum((x - 20) ** 2), -0.5 * jnp.sum((x + 20) ** 2))


def test_separate_modes_are_not_enough_evidence():
    starts = np.repeat([[20.0, 20.0], [-20.0, -20.0]], 4, axis=0)
    e = estimate(two_modes, first, starts, 8_000)
    assert e.status is Status.NOT_ENOUGH_EVIDENCE
    assert "the chains disagree about the estimate" in e.why()
    even = estimate(two_modes, square, starts, 8_000)  # the chains agree about it, and not about where they are
    assert even.status is Status.NOT_ENOUGH_EVIDENCE
    assert "the chains disagree about where the density is" in even.why()


def edge(x):
    return jnp.where(x[0] > 0, -x[0], -jnp.inf) - 0.5 * x[1] ** 2


def test_an_edge_refutes_the_control_variates():
    e = estimate(edge, first, np.ones(2), 16_000)
    assert "gradients do not average to zero" in e.why()
    assert abs(e.value - 1.0) < 5 * e.error


def test_pytrees():
    def density(q):
        return -0.5 * q["a"] ** 2 - 0.5 * jnp.sum((q["b"] - 1) ** 2)

    e = estimate(density, lambda q: q["b"].sum(), {"a": 0.0, "b": np.zeros(2)}, 4_000)
    assert e.value == pytest.approx(2.0, abs=1e-8)
    assert np.ndim(e.value) == 0


CALL = {"log_density": gaussian, "g": first, "start": np.zeros(3), "budget": 4_000}
BAD = {
    "no density": ({"log_density": 3}, "log_density was 3; it may be a function"),
    "no estimate": ({"g": None}, "g was None; it may be a function"),
    "a density of vectors": ({"log_density": lambda x: x}, "log_density was .* to one number"),
    "a density that cannot be traced": ({"log_density": lambda x: float(x[0])}, "log_density cannot be traced by JAX"),
    "an estimate that cannot be traced": ({"g": lambda x: float(x[0])}, "g cannot be traced by JAX"),
    "an infinite start": ({"start": [np.inf, 0, 0]}, "start was .*pytree of finite numbers"),
    "a start of words": ({"start": "here"}, "start was 'here'"),
    "an empty start": ({"start": []}, r"start was \[\]"),
    "a start outside": ({"log_density": edge, "start": [-9.0, 0.0]}, "start was a point where the log density"),
    "an improper density": ({"log_density": lambda x: 0.0 * x[0]}, "log_density seems to be improper"),
    "an infinite estimate": ({"g": lambda x: jnp.log(x[0] - 1e9)}, "g was .*finite wherever"),
    "too small a budget": ({"budget": 100}, "budget was 100; it may be a whole number of at least 1600"),
    "half a budget": ({"budget": 2000.5}, "budget was"),
    "a negative seed": ({"seed": -1}, "seed was -1"),
    "no recipe": ({"recipe": {}}, "recipe was {}; it may be a TunedHMC"),
}


@pytest.mark.parametrize(("changes", "message"), BAD.values(), ids=BAD)
def test_bad_input_gets_one_line(changes, message):
    arguments = CALL | changes
    with pytest.raises(InputError, match=message):
        estimate(**arguments)


@pytest.mark.parametrize(
    "bad",
    [{"chains": 3}, {"chains": 4.5}, {"warmup": 0}, {"tuning": 1}, {"warmup": 0.6, "tuning": 0.4}, {"control": 1},
     {"spread": -1}, {"spread": math.inf}, {"confidence": 1}, {"rhat": 1}, {"effective": -1}],
    ids=str,
)  # fmt: skip
def test_bad_settings_are_refused(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        TunedHMC(**bad)


def test_the_recipe_knows_its_space():
    assert set(space_of(PLAIN).labels) == {"chains", "warmup", "tuning"}
    assert configure(PLAIN, {"chains": 16}).chains == 16


# --- parts --------------------------------------------------------------------------------------------------------


def test_the_mass_of_a_gaussian_is_exact_wherever_the_draws_lie():
    x = np.random.default_rng(0).normal(3.0, 7.0, (50, 3)) * SCALE  # not its own draws
    gradient = -(x - MEAN) @ PRECISION
    assert mass.dense(x, gradient, ridge=1e-9) == pytest.approx(COVARIANCE, rel=1e-4, abs=1e-6)
    diagonal = mass.diagonal(x, gradient)
    assert (diagonal == np.diag(np.diag(diagonal))).all()
    assert (mass.diagonal(np.ones((5, 2)), np.zeros((5, 2))) == np.eye(2)).all()


@pytest.mark.parametrize("rho", [-0.7, 0.0, 0.7])
def test_errors_of_autoregressive_chains(rho):
    rng = np.random.default_rng(1)
    x = np.empty((4000, 8, 1))
    x[0] = rng.normal(size=(8, 1))
    for k in range(1, len(x)):
        x[k] = rho * x[k - 1] + math.sqrt(1 - rho**2) * rng.normal(size=(8, 1))
    true = (1 + rho) / (1 - rho)
    assert asymptotic_variance(x, 0.0)[0] == pytest.approx(true, rel=0.15)
    _, error = batch_means(x, 16)
    assert error[0] ** 2 * 32_000 == pytest.approx(true, rel=0.4)  # 127 degrees of freedom: 13 % each
    assert split_rhat(x)[0] == pytest.approx(1.0, abs=0.01)
    assert split_rhat(x + np.arange(8)[:, None])[0] > 1.5


def test_control_variates_find_what_is_linear():
    rng = np.random.default_rng(2)
    gradient = rng.normal(size=(100, 8, 2)) * [1.0, 1e6]
    g = gradient @ [[2.0], [3e-6]] + 5.0
    assert variates.coefficients(g, gradient) == pytest.approx(np.array([[2.0], [3e-6]]), rel=1e-6)
    assert not variates.refuted(gradient)
    assert variates.refuted(gradient + np.array([0.5, 0.0]))
