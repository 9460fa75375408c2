"""Hypergradients against exact solutions and finite differences, and whether the diagnosis tells sense from nonsense.

A case is (name, problem, outer, start, data, method, precision or kind of finding).
"""

import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from metaloop.bilevel import (
    CG,
    Descent,
    FiniteDifference,
    Foreign,
    HypergradientWarning,
    Implicit,
    Neumann,
    Problem,
    Truncated,
    Unrolled,
    hypergradient,
)
from metaloop.bilevel.hypergradient import _terms, plan
from metaloop.errors import InputError


def ridge(condition=10.0, n=8, seed=0):
    """A quadratic inner problem with eigenvalues from 1 / condition to 1, and its exact hypergradient."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(n, n)))[0]
    h = basis @ np.diag(np.geomspace(1 / condition, 1.0, n)) @ basis.T
    c, target = rng.normal(size=n), rng.normal(size=n)
    u = rng.normal(size=n) * 0.3

    def exact(u):
        """w* solves (h + diag(e^u)/10 condition) w = c; by hand."""
        pull = np.exp(u) / (10 * condition)
        matrix = h + np.diag(pull)
        w = np.linalg.solve(matrix, c)
        return 0.5 * ((w - target) ** 2).sum(), -np.linalg.solve(matrix, w - target) * pull * w

    data = {"h": h, "c": c, "target": target, "scale": np.asarray(1 / (10 * condition))}
    return u, np.zeros(n), data, exact


def inner(w, u, d):
    return 0.5 * w @ d["h"] @ w - d["c"] @ w + 0.5 * d["scale"] * jnp.exp(u) @ w**2


def outer(w, u, d):
    return 0.5 * ((w - d["target"]) ** 2).sum()


def gap(found, truth):
    a, b = (np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]) for tree in (found, truth))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.mark.parametrize("condition", [10.0, 1e3, 1e4])
def test_implicit_gradients_are_exact_where_the_solve_has_converged(condition):
    u, w, data, exact = ridge(condition)
    problem = Problem(inner, outer, Foreign(lambda slope, v, w: jnp.linalg.solve(
        data["h"] + jnp.diag(data["scale"] * jnp.exp(v)), jnp.asarray(data["c"]))))  # fmt: skip
    h = hypergradient(problem, u, w, data=data, method=Implicit(CG(limit=100, tolerance=1e-10)))
    value, gradient = exact(u)
    assert h.value == pytest.approx(value)
    assert gap(h.gradient, gradient) < 1e-6
    assert h.sound
    assert h.products <= 3 * len(u)
    matrix = data["h"] + np.diag(data["scale"] * np.exp(u))
    assert h.condition == pytest.approx(np.linalg.cond(matrix), rel=0.05)


@pytest.mark.parametrize(
    "method",
    [
        Unrolled(),
        Unrolled(checkpoint=True),
        Truncated(390),
        Implicit(CG(tolerance=1e-9)),
        Implicit(Neumann(terms=1000, tolerance=1e-9)),
        FiniteDifference(),
        "auto",
    ],
)
def test_every_method_gives_the_exact_gradient(method):
    u, w, data, exact = ridge()
    h = hypergradient(Problem(inner, outer, Descent(0.9, steps=400)), u, w, data=data, method=method)
    assert gap(h.gradient, exact(u)[1]) < 1e-5
    assert h.sound


OPTIMIZERS = [0.05, optax.adam(0.02), optax.sgd(0.03, momentum=0.8), lambda u: u["rates"], lambda u: optax.adam(0.02)]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("tolerance", "checkpoint"), [(0.0, False), (1e-2, True)])
def test_unrolled_gradients_agree_with_finite_differences(optimizer, tolerance, checkpoint):
    """A small net, not converged: start, per-example weights, a regularizer and learning rates as outer variables."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(12, 2)), rng.normal(size=12)
    start = {"a": rng.normal(size=(2, 3)), "b": rng.normal(size=3)}
    u = {"start": start, "weights": np.ones(12), "decay": np.asarray(-2.0)}
    if optimizer is OPTIMIZERS[3]:
        u["rates"] = {"a": np.full((2, 3), 0.05), "b": np.asarray(0.02)}

    def net(w, x):
        return jnp.tanh(x @ w["a"]) @ w["b"]

    def train(w, u, d):
        penalty = jnp.exp(u["decay"]) * sum((leaf**2).sum() for leaf in jax.tree.leaves(w))
        return (u["weights"] * (net(w, d[0]) - d[1]) ** 2).mean() + penalty

    def validate(w, u, d):
        return ((net(w, d[0] + 0.1) - d[1]) ** 2).mean()

    problem = Problem(train, validate, Descent(optimizer, 23, tolerance), start=lambda u: u["start"])
    ours = hypergradient(problem, u, data=(x, y), method=Unrolled(checkpoint))
    check = hypergradient(problem, u, data=(x, y), method=FiniteDifference())
    assert gap(ours.gradient, check.gradient) < 1e-5
    assert ours.steps == check.steps
    assert ours.sound


def test_a_truncated_gradient_is_biased_where_the_rest_matters_and_says_so():
    u, w, data, exact = ridge(condition=30.0)
    problem = Problem(inner, outer, Descent(0.9, steps=400))
    errors = []
    for last in (3, 30, 300):
        h = hypergradient(problem, u, w, data=data, method=Truncated(last), warn=False)
        errors.append(gap(h.gradient, exact(u)[1]))
        assert h.sound == (h.linear_residual <= 0.05)
    assert errors[0] > errors[1] > errors[2]
    assert errors[0] > 0.05
    assert not hypergradient(problem, u, w, data=data, method=Truncated(3), warn=False).sound


def test_implicit_memory_does_not_grow_with_the_steps():
    u, w, data, _ = ridge()

    def temporary(method, steps):
        made = jax.jit(lambda *a: method.compute(Problem(inner, outer, Descent(0.9, steps=steps)), *a))
        return made.lower(u, w, data).compile().memory_analysis().temp_size_in_bytes

    assert temporary(Implicit(), 10_000) <= 1.1 * temporary(Implicit(), 100)
    assert temporary(Unrolled(), 10_000) > 20 * temporary(Unrolled(), 100)
    assert temporary(Unrolled(checkpoint=True), 10_000) < 0.1 * temporary(Unrolled(), 10_000)


def test_float_settings_share_one_compiled_plan():
    u, w, data, _ = ridge()
    compiled = sys.modules["metaloop.bilevel.hypergradient"]._compiled
    before = compiled.cache_info().misses
    for rate in (0.2, 0.5, 0.9):
        hypergradient(Problem(inner, outer, Descent(rate, steps=300)), u, w, data=data, method=Unrolled())
    assert compiled.cache_info().misses == before + 1
    plan(Problem(inner, outer, Descent(0.3, steps=300)), Unrolled())
    assert compiled.cache_info().misses == before + 1


def test_precision_follows_the_arrays():
    u, w, data, _ = ridge()
    single = jax.tree.map(lambda a: a.astype(np.float32), (u, w, data))
    problem = Problem(inner, outer, Descent(0.9, steps=200))
    h = hypergradient(problem, single[0], single[1], data=single[2], method=Implicit())
    assert h.gradient.dtype == np.float32
    assert hypergradient(problem, u, w, data=data, method=Implicit()).gradient.dtype == np.float64
    assert jnp.asarray(1.0).dtype == np.float32


# --- the diagnosis ------------------------------------------------------------------------------------------------


def saddle(w, u, d):
    return 0.5 * w[0] ** 2 + 0.25 * (w[1] ** 2 - 1) ** 2 + u * w[0] + 0.1 * u * w[1]


def pull(w, u, d):
    return 0.5 * d["strength"] * ((w - u) ** 2).sum() + 0.5 * ((d["h"] @ w - d["c"]) ** 2).sum()


def logistic(w, u, d):
    return jnp.logaddexp(0.0, -d["y"] * (d["x"] @ w)).mean() + 0.5 * jnp.exp(u) * (w**2).sum()


def logistic_data(seed=0, n=60, d=5):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    y = np.sign(x @ rng.normal(size=d) + 0.3 * rng.normal(size=n))
    return {"x": x, "y": y, "target": np.ones(d)}


def sound_cases():
    for condition, steps in ((3.0, 50), (10.0, 200), (100.0, 3000), (1000.0, 30_000)):
        for dtype in (np.float32, np.float64):
            u, w, data, _ = ridge(condition)
            yield (f"ridge {condition:g} {np.dtype(dtype)}", Problem(inner, outer, Descent(0.9, steps)), u, w, data,
                   Implicit(), dtype)  # fmt: skip
    for seed in range(3):
        u, w, data, _ = ridge(20.0, seed=seed)
        for name, method in {"Neumann": Implicit(Neumann(2000)), "damped": Implicit(damping=1e-3), "auto": "auto",
                             "unrolled": Unrolled(), "truncated": Truncated(150)}.items():  # fmt: skip
            yield f"{name} {seed}", Problem(inner, outer, Descent(0.9, 800)), u, w, data, method, np.float64
        warm = np.linalg.solve(data["h"] + np.diag(data["scale"] * np.exp(u)), data["c"])
        yield f"warm {seed}", Problem(inner, outer, Descent(0.9, 5)), u, warm, data, Implicit(), np.float64
        yield f"auto, few steps {seed}", Problem(inner, outer, Descent(0.9, 3)), u, w, data, "auto", np.float64
    for seed in range(3):
        d = logistic_data(seed)
        u, w = np.asarray(-3.0), np.zeros(5)
        yield (f"logistic {seed}", Problem(logistic, outer, Descent(2.0, 2000, 1e-8)), u, w, d, Implicit(), np.float64)
        yield f"logistic auto {seed}", Problem(logistic, outer, Descent(2.0, 2000)), u, w, d, "auto", np.float32
    u, w, data, _ = ridge(10.0)
    prox = {**data, "strength": np.asarray(1.0)}
    few, rate = Descent(0.1, 5), Descent(lambda u: jnp.exp(u), 5)
    yield "proximal start", Problem(pull, outer, Descent(0.4, 300), start=lambda u: u), u, None, prox, Implicit(), float
    yield "a few steps from a start", Problem(inner_of_data, outer, few, start=lambda u: u), u, None, data, \
        Unrolled(), float  # fmt: skip
    yield "a learned rate", Problem(inner_of_data, outer, rate), np.asarray(-2.0), w, data, \
        "auto", float  # fmt: skip
    yield "a minimum of a function with saddles", Problem(saddle, first, Descent(0.2, 500)), np.asarray(0.1), \
        np.array([0.5, 0.7]), None, Implicit(), float  # fmt: skip


def inner_of_data(w, u, d):
    return 0.5 * w @ d["h"] @ w - d["c"] @ w


def first(w, u, d):
    return (w[0] - 1) ** 2 + (w[1] - 2) ** 2


def meaningless_cases():
    for seed in range(3):
        u, w, data, _ = ridge(10.0, seed=seed)
        begun = Problem(inner_of_data, outer, Descent(0.9, 300), start=lambda u: u)
        yield f"start, implicit {seed}", begun, u, None, data, Implicit(), "start"
        yield f"start, unrolled to the optimum {seed}", begun, u, None, data, Unrolled(), "start"
        yield f"start, truncated {seed}", begun, u, None, data, Truncated(10), "start"
        rate = Problem(inner_of_data, outer, Descent(lambda u: jnp.exp(u), 300))
        yield f"rate, implicit {seed}", rate, np.asarray(-1.0), w, data, Implicit(), "start"
        for steps in (1, 3, 10):
            short = Problem(inner, outer, Descent(0.5, steps))
            yield f"unconverged {steps} {seed}", short, u, w, data, Implicit(), "unconverged"
        u, w, data, _ = ridge(1e4, n=60, seed=seed)
        solved = Problem(inner, outer, Foreign(solve_exactly))
        yield f"CG not converged {seed}", solved, u, w, data, Implicit(CG(5)), "linear"
        yield f"Neumann not converged {seed}", solved, u, w, data, Implicit(Neumann(30)), "linear"
        stiff = Problem(inner, outer, Descent(0.9, 200))
        yield f"stiff, unconverged {seed}", stiff, u, w, data, Implicit(CG(1000)), "unconverged"
        yield f"truncated too soon {seed}", stiff, u, w, data, Truncated(20), "truncated"
        d = logistic_data(seed)
        short = Problem(logistic, outer, Descent(0.05, 10))
        yield f"logistic, unconverged {seed}", short, np.asarray(-6.0), np.zeros(5), d, Implicit(), "unconverged"
        u, w, data, _ = ridge(10.0, seed=seed)
        wild = Problem(inner, outer, Descent(400.0, 400))
        yield f"diverged {seed}", wild, u, w, data, Unrolled(), "nonfinite"
        yield f"diverged, implicit {seed}", wild, u, w, data, Implicit(), "nonfinite"
    at_saddle = Problem(saddle, first, Descent(0.2, 100))
    yield "a saddle", at_saddle, np.asarray(0.0), np.array([0.5, 0.0]), None, Implicit(), "indefinite"
    yield "a saddle, Neumann", at_saddle, np.asarray(0.0), np.array([0.5, 0.0]), None, Implicit(Neumann()), "indefinite"


def solve_exactly(slope, u, w):
    """Newton's step from w, exact for a quadratic."""
    return w - jnp.linalg.solve(jax.jacobian(slope)(w), slope(w))


SOUND, MEANINGLESS = list(sound_cases()), list(meaningless_cases())


def test_there_are_enough_cases():
    assert len(SOUND) + len(MEANINGLESS) >= 80
    assert min(len(SOUND), len(MEANINGLESS)) >= 35


@pytest.mark.parametrize("case", SOUND, ids=lambda c: c[0])
def test_sound_gradients_are_not_blamed(case):
    _, problem, u, w, data, method, dtype = case
    u, w, data = jax.tree.map(lambda a: np.asarray(a, dtype), (u, w, data))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert hypergradient(problem, u, w, data=data, method=method).sound


@pytest.mark.parametrize("case", MEANINGLESS, ids=lambda c: c[0])
def test_meaningless_gradients_are_named(case):
    _, problem, u, w, data, method, kind = case
    with pytest.warns(HypergradientWarning):
        h = hypergradient(problem, u, w, data=data, method=method)
    assert kind in {f.kind for f in h.findings}
    assert all(f.says.count("\n") == 0 for f in h.findings)


def test_the_estimated_error_is_about_the_true_one():
    u, w, data, exact = ridge(10.0)
    for steps in (20, 30, 40):
        h = hypergradient(Problem(inner, outer, Descent(0.5, steps)), u, w, data=data, method=Implicit(), warn=False)
        assert h.inner_error == pytest.approx(gap(h.gradient, exact(u)[1]), rel=0.2)


def test_a_diverged_solve_names_the_step():
    u, w, data, _ = ridge()
    problem = Problem(inner, outer, Descent(1e30, 400))
    h = hypergradient(problem, u, w, data=data, method=Unrolled(), warn=False)
    step = int(h.findings[0].says.split("after step ")[1].split()[0])
    with jax.enable_x64(True):
        for _ in range(step):
            assert np.isfinite(w).all()
            w = w - 1e30 * jax.grad(inner)(w, u, data)
        assert not np.isfinite(w).all()


# --- the choice ---------------------------------------------------------------------------------------------------


def test_auto_chooses_by_what_it_measures():
    u, w, data, exact = ridge(10.0)

    def method(steps, **more):
        h = hypergradient(Problem(inner, outer, Descent(0.9, steps)), u, w, data=data, **more)
        assert h.why
        return h.method

    assert isinstance(method(500), Implicit)
    assert isinstance(method(5), Unrolled)
    begun = Problem(inner_of_data, outer, Descent(0.1, 5), start=lambda u: u)
    h = hypergradient(begun, u, data=data)
    assert isinstance(h.method, Unrolled)
    assert "the array" in h.why
    u, w, data, exact = ridge(1e4, n=300)
    h = hypergradient(Problem(inner, outer, Foreign(solve_exactly)), u, w, data=data)
    assert isinstance(h.method, Implicit)
    hard = hypergradient(Problem(inner, outer, Descent(0.9, 300_000, 1e-9)), u, w, data=data)
    assert "condition" in hard.why
    assert hard.sound
    assert gap(hard.gradient, exact(u)[1]) < 1e-4


def test_the_terms_that_series_and_conjugate_gradients_need():
    series, cg = _terms(1e4, 1e-6)
    assert series == pytest.approx(1e4 * np.log(1e6), rel=0.01)
    assert cg == pytest.approx(0.5 * 100 * np.log(2e6), rel=0.01)
    assert _terms(1.0, 1e-6)[0] <= 2


# --- bad input ----------------------------------------------------------------------------------------------------


def test_bad_input_is_refused_in_one_line():
    u, w, data, _ = ridge()
    good = Problem(inner, outer, Descent(0.9, 10))
    bad = [
        (lambda: hypergradient(good, u, data=data), "start"),
        (lambda: hypergradient(good, {"used": u, "idle": u}, w, data=data), "the losses do not fit"),
        (lambda: hypergradient(good, u, w[:3], data=data), "do not fit the shapes"),
        (lambda: hypergradient(good, np.arange(8), w, data=data), "outer"),
        (lambda: hypergradient(good, [], w, data=data), "outer"),
        (lambda: hypergradient(good, u, w, data=data, method="implicit"), "method"),
        (lambda: Problem(inner, 3), "outer_loss"),
        (lambda: Problem(inner, outer, "sgd"), "solver"),
        (lambda: Descent(-1.0), "optimizer"),
        (lambda: Descent(0.1, steps=0), "steps"),
        (lambda: CG(tolerance=0.0), "tolerance"),
        (lambda: Neumann(rate=-1.0), "rate"),
        (lambda: Truncated(0), "last"),
        (lambda: Implicit("cg"), "linear"),
        (lambda: hypergradient(Problem(lambda w, u, d: w * u, outer), u, w, data=data), "inner_loss"),
        (lambda: hypergradient(Problem(inner, outer, Foreign(solve_exactly)), u, w, data=data, method=Unrolled()),
         "method"),
    ]  # fmt: skip
    for call, name in bad:
        with pytest.raises(InputError, match=name) as error:
            call()
        assert "\n" not in str(error.value)


def test_outer_variables_that_nothing_uses_are_named():
    _, w, data, _ = ridge()
    problem = Problem(lambda w, u, d: inner(w, u["on"], d), lambda w, u, d: outer(w, u, d), Descent(0.9, 10))
    with pytest.raises(InputError, match="'idle'"):
        hypergradient(problem, {"on": np.zeros(8), "idle": np.zeros(2)}, w, data=data)
