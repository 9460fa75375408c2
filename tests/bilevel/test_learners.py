"""Meta-learners: every gradient against finite differences, and that what they learn is of use."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import metaloop as ml
from metaloop.bilevel import ANIL, CG, FOMAML, IMAML, MAML, MetaCurvature, MetaSGD, Model, Reptile, Selective, fit
from metaloop.errors import InputError
from metaloop.recipe import space_of


def init(key):
    a, b = jax.random.split(key)
    return {"body": {"w": jax.random.normal(a, (2, 6)), "b": jnp.zeros(6)}, "head": {"w": jax.random.normal(b, (6,))}}


def net(p, x):
    return jnp.tanh(x @ p["body"]["w"] + p["body"]["b"]) @ p["head"]["w"]


def loss(p, batch):
    return ((net(p, batch[0]) - batch[1]) ** 2).mean()


MODEL = Model(init, loss)


def task(key, points=8):
    """y = a·x, with a from task to task."""
    k1, k2 = jax.random.split(key)
    a = jax.random.normal(k1, (2,)) + 1
    x = jax.random.normal(k2, (2 * points, 2))
    y = jnp.sin(x @ a)
    return (x[:points], y[:points]), (x[points:], y[points:])


def sampler(key):
    return jax.vmap(task)(jax.random.split(key, 6))


ALL = [
    MAML(steps=3, rate=0.05),
    ANIL(head=["head"], steps=3),
    MAML(steps=1, rate=0.05, every_step=True),
    MetaSGD(steps=3, rate=0.05),
    MetaCurvature(steps=3, rate=0.05),
    MetaCurvature(steps=2, rate=0.05, limit=5),
    Selective(steps=3),
    Selective(steps=3, learn_start=False),
]


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def slope_of(recipe, variables, one):
    """The value, and the gradient that `fit` takes."""
    return jax.value_and_grad(lambda v: recipe.judged(MODEL, v, one))(variables)


def differences(function, variables, step=1e-5):
    x, shape = jax.flatten_util.ravel_pytree(variables)
    return np.array(
        [(function(shape(x.at[i].add(step))) - function(shape(x.at[i].add(-step)))) / (2 * step) for i in range(x.size)]
    )


@pytest.fixture
def double():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("recipe", ALL, ids=str)
def test_gradients_agree_with_finite_differences(recipe, double):
    params, one = init(jax.random.key(0)), task(jax.random.key(1))
    variables = recipe.variables(params)
    value, slope = slope_of(recipe, variables, one)

    def judged(v):
        after = loss(recipe.adapted(MODEL, v, one[0], recipe.steps), one[1])
        price = getattr(recipe, "price", 0.0)
        return after + price * sum(jax.nn.sigmoid(r) for r in jax.tree.leaves(v.get("level", ())))

    check = differences(jax.jit(judged), variables)
    if getattr(recipe, "learn_start", True) is False:
        start = np.size(flat(params))
        x = jax.tree.map(lambda _: 0.0, variables)
        order = flat(
            {k: jax.tree.map(lambda leaf, k=k: np.full(np.shape(leaf), k == "start"), variables[k]) for k in x}
        )
        assert order.sum() == start
        assert not flat(slope)[order].any()
        check = np.where(order, 0.0, check)
    assert np.linalg.norm(flat(slope) - check) < 1e-5 * np.linalg.norm(check)
    assert value == pytest.approx(float(loss(recipe.adapted(MODEL, variables, one[0], recipe.steps), one[1])))


def test_the_first_order_gradient_is_the_query_gradient_where_adaptation_ends(double):
    params, (support, query) = init(jax.random.key(0)), task(jax.random.key(1))
    recipe = FOMAML(steps=3, rate=0.05)
    end = MAML(steps=3, rate=0.05).adapted(MODEL, {"start": params}, support, 3)
    slope = slope_of(recipe, {"start": params}, (support, query))[1]
    assert np.allclose(flat(slope), flat(jax.grad(loss)(end, query)), rtol=1e-10)


def test_the_implicit_gradient_is_that_of_the_pulled_optimum(double):
    """Solved to the optimum, by unrolling very many steps, checked by finite differences."""
    params, one = init(jax.random.key(0)), task(jax.random.key(1))
    recipe = IMAML(steps=3000, rate=0.1, pull=1.0, linear=CG(limit=100, tolerance=1e-9))
    slope = slope_of(recipe, {"start": params}, one)[1]

    def judged(v):
        return loss(recipe.adapted(MODEL, v, one[0], 3000), one[1])

    check = differences(jax.jit(judged), {"start": params}, 1e-4)
    assert np.linalg.norm(flat(slope) - check) < 1e-5 * np.linalg.norm(check)


def test_judged_after_every_step(double):
    params, one = init(jax.random.key(0)), task(jax.random.key(1))
    recipe = MAML(steps=3, rate=0.05, every_step=True)
    value, slope = slope_of(recipe, {"start": params}, one)
    parts = [slope_of(MAML(steps=k, rate=0.05), {"start": params}, one) for k in (1, 2, 3)]
    assert value == pytest.approx(np.mean([float(v) for v, _ in parts]))
    assert np.allclose(flat(slope), np.mean([flat(s) for _, s in parts], axis=0), rtol=1e-9)


def test_reptile_moves_towards_where_training_ends(double):
    params, one = init(jax.random.key(0)), task(jax.random.key(1))
    slope = slope_of(Reptile(steps=1, rate=0.05), {"start": params}, one)[1]["start"]
    both = jax.grad(lambda p: 0.5 * (loss(p, one[0]) + loss(p, one[1])))(params)
    assert np.allclose(flat(slope), flat(both), rtol=1e-6)


LEARNING = [MAML(rate=0.1), FOMAML(rate=0.1), ANIL(head=["head"], steps=3), Reptile(), MetaSGD(), MetaCurvature(),
            Selective(steps=3),
            IMAML(steps=10, rate=0.05)]  # fmt: skip


@pytest.mark.parametrize("recipe", LEARNING, ids=lambda r: type(r).__name__)
def test_they_learn(recipe):
    fitted = fit(recipe, MODEL, sampler, meta_steps=400, optimizer=optax.adam(1e-2), chunk=200)
    assert fitted.losses[-50:].mean() < 0.8 * fitted.losses[:10].mean()
    support, _ = jax.vmap(task)(jax.random.split(jax.random.key(99), 3))
    one = jax.tree.map(lambda a: a[0], support)
    assert np.allclose(
        flat(fitted.adapt(one)), flat(jax.tree.map(lambda a: a[0], fitted.adapt_all(support))), atol=1e-4
    )
    assert fitted.losses.shape == (400,)
    assert fitted.skipped == 0
    assert np.array_equal(flat(fitted.adapt(one, 0)), flat(fitted.variables["start"]))


def test_a_run_is_the_same_in_chunks_and_in_parts():
    whole = fit(MAML(), MODEL, sampler, meta_steps=30)
    chunks = fit(MAML(), MODEL, sampler, meta_steps=30, chunk=10)
    part = fit(MAML(), MODEL, sampler, meta_steps=10, chunk=10)
    resumed = fit(MAML(), MODEL, sampler, meta_steps=30, chunk=10, resume=part)
    assert np.array_equal(flat(chunks.variables), flat(resumed.variables))
    assert np.array_equal(chunks.losses, resumed.losses)
    assert np.allclose(flat(whole.variables), flat(chunks.variables), atol=1e-6)


def test_curvature_mixes_each_axis_of_the_gradient():
    recipe = MetaCurvature(rate=0.05, limit=5)
    params, (support, _) = init(jax.random.key(0)), task(jax.random.key(1))
    variables = recipe.variables(params)
    assert {name: leaf.shape for name, leaf in variables["mixing"]["body"]["w"].items()} == {"0": (2, 2)}
    assert variables["mixing"]["body"]["b"] == variables["mixing"]["head"]["w"] == {}
    turn = jnp.array([[0.0, 1.0], [-1.0, 0.0]])
    variables["mixing"]["body"]["w"]["0"] = turn
    moved = params["body"]["w"] - recipe.adapted(MODEL, variables, support, 1)["body"]["w"]
    assert np.allclose(moved, 0.05 * turn.T @ jax.grad(loss)(params, support)["body"]["w"], rtol=1e-4, atol=1e-6)


def test_tasks_that_are_all_there_are():
    tasks = jax.vmap(task)(jax.random.split(jax.random.key(0), 40))
    fitted = fit(MAML(rate=0.1), MODEL, tasks, meta_steps=200, batch=10, optimizer=optax.adam(1e-2))
    assert fitted.losses[-50:].mean() < fitted.losses[:50].mean()


def test_what_to_adapt_is_found():
    """Tasks differ in one bias only, and a few noisy examples tell it: everything else must stay."""

    def shifted(key):
        k1, k2, k3 = jax.random.split(key, 3)
        x = jax.random.normal(k1, (24, 3))
        y = x @ jnp.array([1.0, -2.0, 0.5]) + 2 * jax.random.normal(k2) + 0.5 * jax.random.normal(k3, (24,))
        return (x[:4], y[:4]), (x[4:], y[4:])

    linear = Model(
        lambda key: {"bias": jnp.zeros(()), "slope": jnp.array([1.0, -2.0, 0.5])},
        lambda p, batch: ((batch[0] @ p["slope"] + p["bias"] - batch[1]) ** 2).mean(),
    )
    recipe = Selective(steps=3, rate=0.05, most=0.6)
    tasks = lambda key: jax.vmap(shifted)(jax.random.split(key, 20))  # noqa: E731
    fitted = fit(recipe, linear, tasks, meta_steps=1500, optimizer=optax.adam(2e-2))
    rows = recipe.report(fitted.variables)
    assert rows[0][0] == "bias"
    assert rows[0][1] > 5 * rows[1][1]


def test_steps_that_are_not_finite_change_nothing():
    def sometimes(key):
        support, query = sampler(key)
        bad = jax.random.bernoulli(key, 0.2)
        return support, (query[0], jnp.where(bad, jnp.nan, query[1]))

    fitted = fit(MAML(), MODEL, sometimes, meta_steps=100)
    assert 5 < fitted.skipped < 40
    assert np.isfinite(flat(fitted.variables)).all()
    assert fitted.skipped == np.isnan(fitted.losses).sum()


def test_recipes_know_their_space_and_can_be_tuned():
    assert [c.name for c in space_of(MAML())] == ["steps", "rate"]
    tasks = jax.vmap(task)(jax.random.split(jax.random.key(0), 40))

    def held_out(recipe, seed):
        return float(fit(recipe, MODEL, tasks, meta_steps=20, seed=seed).losses[-5:].mean())

    result = ml.tune(FOMAML(), [held_out], budget=6, seed=0)
    assert isinstance(result.recipe, MAML)


def test_bad_input_is_refused_in_one_line():
    tasks = sampler(jax.random.key(0))
    empty = jax.tree.map(lambda a: a[:, :0], tasks)
    short = (tasks[0], jax.tree.map(lambda a: a[:3], tasks[1]))
    wide = ((tasks[0][0][..., :1], tasks[0][1]), tasks[1])
    never = Model(init, lambda p, b: loss(p, b) * jnp.nan)
    calls = [
        (lambda: fit(MAML(), MODEL, empty), "at least one element"),
        (lambda: fit(MAML(), MODEL, short), "leading axis"),
        (lambda: fit(MAML(), MODEL, wide), "does not take the support"),
        (lambda: fit(MAML(), MODEL, tasks[0][0]), "a pair"),
        (lambda: fit(MAML(), MODEL, sampler, meta_steps=0), "meta_steps"),
        (lambda: fit(MAML(), MODEL, sampler, optimizer=0.1), "optimizer"),
        (lambda: fit(MAML(), never, sampler, meta_steps=50), "the first of them 0 .task 0"),
        (lambda: fit(ANIL(head=["tail"]), MODEL, sampler), "tail"),
        (lambda: fit(MAML(), Model(init, lambda p, b: b[1]), sampler), "one number"),
        (lambda: fit(MAML(), MODEL, sampler, meta_steps=1).adapt(empty[0]), "support"),
        (lambda: MAML(rate=0.0), "rate"),
        (lambda: MetaSGD(most=0.001), "most"),
        (lambda: MetaCurvature(limit=-1), "limit"),
        (lambda: ANIL(head="head"), "head"),
        (lambda: Selective(pull=-1.0), "pull"),
        (lambda: Model(1, loss), "init"),
    ]
    for call, words in calls:
        with pytest.raises(InputError, match=words) as error:
            call()
        assert "\n" not in str(error.value)
