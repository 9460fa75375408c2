"""A learned optimizer is an optimizer, its meta-gradients are right, and training makes it better than it was."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaloop.bilevel import PES, Descent, Inner, LearnedOptimizer, Problem, Unroll, course, hypergradient, meta_train
from metaloop.bilevel.methods import Unrolled
from metaloop.errors import InputError


def begin(key):
    a, b = jax.random.split(key)
    return {"w": jax.random.normal(a, (4,))}, jax.random.normal(b, (4,))


def bowl(params, center, key):
    return (jnp.arange(1.0, 5.0) * (params["w"] - center) ** 2).sum() + 1e-3


KIND = Inner(begin, bowl)
SMALL = {"estimator": PES(5), "horizon": 20, "meta_steps": 4, "batch": 2, "seed": 3}


def test_an_untrained_rule_is_momentum_normalized_as_adams():
    recipe = LearnedOptimizer()
    weights = recipe.weights(jax.random.key(0))
    weights = [jax.tree.map(jnp.zeros_like, layer) for layer in weights]
    rule = recipe.rule(weights)
    params = {"w": jnp.array([1.0, -2.0, 3.0])}
    change, state = rule.update({"w": jnp.array([0.5, -0.1, 100.0])}, rule.init(params), params)
    assert change["w"] == pytest.approx([-0.01, 0.01, -0.01], rel=1e-4)
    assert state.steps == 1


@pytest.mark.parametrize("estimator", [PES(5, 0.02), Unroll(10)])
def test_training_helps(estimator):
    trained = meta_train(
        LearnedOptimizer(), KIND, estimator=estimator, horizon=50, meta_steps=200, batch=8, rate=1e-2, seed=1
    )
    fresh = LearnedOptimizer().weights(jax.random.key(0))
    before = course(KIND, trained.recipe.rule, fresh, steps=50, runs=16)
    after = course(KIND, trained.recipe.rule, trained.weights, steps=50, runs=16)
    assert np.log(after).mean() < np.log(before).mean() - 0.5
    assert trained.skipped == 0
    assert trained.losses.shape == (200,)


def test_persistent_evolution_strategies_agree_with_the_gradient():
    """On a loss whose gradient is known: the mean of many estimates, pieces of one run added up."""

    def piece(weights, carry, key):
        x = carry + weights["a"]  # the run's state: its loss depends on all earlier weights
        return (x**2).sum(), x

    weights, carry = {"a": jnp.array([0.3, -0.2])}, jnp.array([1.0, 2.0])
    estimator = PES(1, 0.1)

    def run(key):
        state, memory = (carry, carry), estimator.remember(weights, carry)
        total = jnp.zeros(2)
        for k in jax.random.split(key, 3):
            _, slope, state, memory = estimator.estimate(piece, weights, state, memory, k)
            total = total + slope["a"]
        return total

    found = jax.vmap(run)(jax.random.split(jax.random.key(0), 40_000))

    def whole(a):
        x, total = carry, 0.0
        for _ in range(3):
            x = x + a
            total = total + (x**2).sum()
        return total

    truth = jax.grad(whole)(weights["a"])
    error = found.std(0) / np.sqrt(len(found))
    assert np.all(np.abs(found.mean(0) - truth) < 4 * error)
    assert np.all(error < 0.05 * np.abs(truth))


def test_a_trained_rule_is_an_inner_solver():
    trained = meta_train(LearnedOptimizer(), KIND, **SMALL)
    problem = Problem(
        lambda w, u, d: ((w - u) ** 2).sum(), lambda w, u, d: (w**2).sum(), Descent(trained.rule(), steps=30)
    )
    h = hypergradient(problem, np.ones(3, np.float32), np.zeros(3, np.float32), method=Unrolled())
    assert np.isfinite(h.gradient).all()


def test_the_same_seed_trains_the_same_optimizer():
    a, b = (meta_train(LearnedOptimizer(), [KIND, KIND], **SMALL) for _ in range(2))
    assert np.array_equal(a.losses, b.losses)


def test_bad_input_is_refused_in_one_line():
    calls = [
        (lambda: meta_train(LearnedOptimizer(), KIND, horizon=30), "horizon"),
        (lambda: meta_train(LearnedOptimizer(), []), "problems"),
        (lambda: meta_train(LearnedOptimizer(), KIND, meta_steps=0), "meta_steps"),
        (lambda: LearnedOptimizer(hidden=0), "hidden"),
        (lambda: course(KIND, LearnedOptimizer().rule, None, steps=15), "steps"),
        (lambda: meta_train(LearnedOptimizer(), Inner(begin, lambda p, d, k: bowl(p, d, k) * jnp.nan), **SMALL),
         "no finite loss"),
    ]  # fmt: skip
    for call, words in calls:
        with pytest.raises(InputError, match=words) as error:
            call()
        assert "\n" not in str(error.value)
