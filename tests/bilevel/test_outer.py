"""The outer loop reaches known optima, warm or cold, and says when its slopes mean nothing."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from metaloop.bilevel import Descent, HypergradientWarning, Implicit, OuterDescent, Problem, Unrolled, learn
from metaloop.errors import InputError


def inner(w, u, d):
    return 0.5 * ((w - d["c"]) ** 2).sum() + 0.5 * jnp.exp(u) @ w**2


def outer(w, u, d):
    return 0.5 * ((w - d["target"]) ** 2).sum()


DATA = {"c": np.array([2.0, 3.0, 4.0]), "target": np.array([1.0, 2.0, 1.0])}
BEST = np.log([1.0, 0.5, 3.0])  # w = c / (1 + e^u) = target


@pytest.mark.parametrize("method", ["auto", Implicit(), Unrolled()])
@pytest.mark.parametrize("warm", [True, False])
def test_the_known_optimum_is_found(method, warm):
    problem = Problem(inner, outer, Descent(0.2, steps=60))
    recipe = OuterDescent(method, rate=0.1, steps=300, warm=warm)
    found = learn(problem, np.zeros(3), np.zeros(3), data=DATA, recipe=recipe)
    assert found.sound
    assert found.outer == pytest.approx(BEST, abs=2e-3)
    assert found.inner == pytest.approx(DATA["target"], abs=2e-3)
    assert found.value == found.values.min()
    assert len(found.looks) == 13


def test_a_warm_start_needs_fewer_inner_steps():
    problem = Problem(inner, outer, Descent(0.2, steps=2))
    settings = {"method": Implicit(), "rate": 0.1, "steps": 300}
    with pytest.warns(HypergradientWarning, match="outer step 0: the inner solve has not converged"):
        warm = learn(problem, np.zeros(3), np.zeros(3), data=DATA, recipe=OuterDescent(**settings))
    with pytest.warns(HypergradientWarning, match="has not converged"):
        cold = learn(problem, np.zeros(3), np.zeros(3), data=DATA, recipe=OuterDescent(**settings, warm=False))
    assert np.linalg.norm(warm.outer - BEST) < 0.1 * np.linalg.norm(cold.outer - BEST)
    assert warm.looks[-1][1].sound
    assert not cold.sound


def test_data_may_be_drawn_anew_at_each_step():
    import jax

    def draw(key):
        noise = 0.1 * jax.random.normal(key, (3,))
        return {"c": jnp.asarray([2.0, 3.0, 4.0]) + noise, "target": jnp.asarray([1.0, 2.0, 1.0])}

    problem = Problem(inner, outer, Descent(0.2, steps=60))
    recipe = OuterDescent(Implicit(), optimizer=optax.adam(optax.cosine_decay_schedule(0.1, 400)), steps=400)
    start = np.zeros(3, np.float32)
    found = learn(problem, start, start, data=draw, recipe=recipe)
    again = learn(problem, start, start, data=draw, recipe=recipe)
    assert found.outer == pytest.approx(BEST, abs=0.3)
    assert np.array_equal(found.values, again.values)


@pytest.mark.filterwarnings("ignore::metaloop.bilevel.HypergradientWarning")
def test_bad_input_is_refused_in_one_line():
    problem = Problem(inner, lambda w, u, d: outer(w, u, d) / (u[0] - u[0]), Descent(0.2, steps=5))
    calls = [
        (lambda: learn(problem, np.zeros(3), np.zeros(3), data=DATA, recipe=OuterDescent(Unrolled())), "outer step 0"),
        (lambda: OuterDescent(rate=0.0), "rate"),
        (lambda: OuterDescent(steps=0), "steps"),
        (lambda: OuterDescent(optimizer="adam"), "optimizer"),
    ]
    for call, words in calls:
        with pytest.raises(InputError, match=words) as error:
            call()
        assert "\n" not in str(error.value)
