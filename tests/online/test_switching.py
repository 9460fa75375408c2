"""The supervisor against known truth: ladders whose best course is known, and Hessians that can be diagonalized."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metaloop import InputError
from metaloop.control import RentOrBuy
from metaloop.online import Method, Move, Subspace, Switching, certify
from metaloop.recipe import configure, space_of

LADDER = [Method("cheap", 1.0, rate=0.5), Method("dear", 5.0, 30.0, rate=0.1)]


def play(recipe, rates, ladder=LADDER, start=1.0, steps=500):
    """Methods that contract by given factors; (state, methods used, residual)."""
    state = recipe.init(ladder)
    used, residual = [], start
    for _ in range(steps):
        if recipe.decide(state) is Move.STOP:
            break
        used.append(state.at)
        rate = rates[state.at]
        residual *= rate(len(used)) if callable(rate) else rate
        recipe.observe(state, residual, ladder[state.at].step)
    return state, used, residual


def test_what_contracts_is_left_alone():
    state, used, residual = play(Switching(tolerance=1e-6), [0.5, 0.1])
    assert set(used) == {0}
    assert residual <= 1e-6
    assert state.spent == 20


@pytest.mark.parametrize("rate", [1.0, 1.05, lambda k: 3.0 if k % 2 else 1 / 3])
def test_what_stalls_or_swings_is_left_for_at_most_a_share_of_the_price(rate):
    recipe = Switching(tolerance=1e-6, rent=RentOrBuy(trust=0.5))
    state, used, residual = play(recipe, [rate, 0.1])
    assert residual <= 1e-6
    assert 10 <= used.count(0) <= 17  # half of 30, and a step to see it
    assert "switch up to dear" in state.log[0].chosen
    assert str(state.log[0]).startswith("After 15 units: cheap has cost 15 units")


@given(st.floats(0.3, 1.1), st.floats(0.01, 0.5))
@settings(max_examples=40, deadline=None)
def test_never_much_dearer_than_the_best_method(slow, fast):
    steps = [math.ceil(math.log(1e-6) / math.log(r)) if r < 1 else math.inf for r in (slow, fast)]
    ladder = [LADDER[0], Method("dear", 5.0, 5.0 * steps[1], rate=fast)]
    recipe = Switching(tolerance=1e-6, rent=RentOrBuy(trust=0.5))
    state, _, residual = play(recipe, [slow, fast], ladder, steps=5000)
    assert residual <= 1e-6
    best = min(steps[0], 5.0 * steps[1])
    assert state.spent <= 3.2 * best + 10  # 1 + 1 / trust, and the last step of each


def test_back_when_cheap_again_and_up_again_when_that_fails():
    recipe = Switching(tolerance=1e-8, near=1e-2)
    ladder = [Method("cheap", 1.0, rate=0.5), Method("dear", 20.0, 30.0, rate=0.3)]
    good = play(recipe, [lambda k: 1.0 if k < 20 else 0.5, 0.3], ladder)
    assert good[2] <= 1e-8
    assert any("switch back to cheap" in d.chosen for d in good[0].log)
    bad = play(recipe, [1.0, 0.3], ladder)
    assert bad[2] <= 1e-8
    assert sum("switch back" in d.chosen for d in bad[0].log) <= 3


def test_a_small_residual_is_not_enough_where_a_certificate_is_wanted():
    recipe = Switching(tolerance=1e-3, certify=True)
    state = recipe.init(LADDER)
    recipe.observe(state, 1e-4, 1.0, merit=0.0)
    assert recipe.decide(state) is Move.LOOK
    recipe.saw(state, False, 4.0)
    assert recipe.decide(state) is Move.FOLLOW
    recipe.followed(state, 0.1, 2.0, merit=-1.0)
    assert "went down by 1" in state.log[-1].happened
    assert recipe.decide(state) is Move.STEP
    recipe.observe(state, 1e-4, 1.0, merit=-1.5)
    assert recipe.decide(state) is Move.LOOK
    recipe.saw(state, True, 4.0)
    assert recipe.decide(state) is Move.STOP
    assert state.spent == 12


def test_ridges_are_left_to_the_method_that_knows_curvature():
    """Where ways down are likely, following each by the cheap method costs more than the dear one to the end."""
    for odds, up in ((0.9, True), (0.02, False)):
        recipe = Switching(tolerance=1e-3, certify=True, odds=odds)
        state = recipe.init(LADDER)
        for seen in (1e-4, 1e-4):
            recipe.observe(state, seen, 1.0, merit=0.0)
            assert recipe.decide(state) is Move.LOOK
            recipe.saw(state, not up, 10.0)
            if not up:
                break
            assert recipe.decide(state) is Move.FOLLOW
            recipe.followed(state, 0.1, 2.0, merit=-1.0)
        assert (state.at == 1) == up
        assert any("more ways down would cost" in d.seen for d in state.log) == up


def test_a_method_that_makes_it_worse_is_left_at_once():
    ladder = [Method("cheap", 1.0, rate=0.5), Method("wild", 2.0, 40.0, rate=0.3), Method("sure", 2.0, 80.0, rate=0.3)]
    recipe = Switching(tolerance=1e-6)
    state = recipe.init(ladder)
    used = []
    for k in range(60):
        recipe.decide(state)
        used.append(state.at)
        recipe.observe(state, 1.0, ladder[state.at].step, merit=[1.0, 2.0 + k, 0.5][state.at])
    assert used.count(1) <= recipe.floor
    assert any("it rose" in d.seen for d in state.log)


def test_sentences_name_the_unit():
    recipe = Switching(tolerance=1e-3, most=2.0)
    state = recipe.init(LADDER, unit="products")
    recipe.observe(state, 1.0, 2.0)
    assert recipe.decide(state) is Move.STOP
    assert str(state.log[-1]).startswith("After 2 products: 2 products are spent, so stop.")


def test_it_looks_early_only_where_the_rest_is_dear():
    for remaining, sound, early in ((30, False, True), (2, False, False), (30, True, False)):
        recipe = Switching(tolerance=1e-6, certify=True, early=1.0)
        state = recipe.init(LADDER, look=10.0)
        rate = (1e-6 / 1e-2) ** (1 / remaining)
        for k in range(4):
            recipe.observe(state, 1e-2 * rate ** (k - 3), 1.0, sound=sound)
        assert (recipe.decide(state) is Move.LOOK) == early


def test_budgets_restarts_and_failed_steps():
    recipe = Switching(tolerance=1e-6, most=100.0, restarts=1)
    state = recipe.init([Method("only", 1.0, 10.0)])
    moves = []
    while not moves or moves[-1] is not Move.STOP:
        moves.append(recipe.decide(state))
        if moves[-1] is Move.RESTART:
            recipe.followed(state, 1.0, 0.0)
        elif moves[-1] is Move.STEP:
            recipe.observe(state, math.nan if len(moves) % 3 else 1.0)
    assert moves.count(Move.RESTART) == 1
    assert state.spent == 100
    assert "100 units are spent" in str(state.log[-1])


def test_the_recipe_knows_its_space():
    assert "rent.trust" in {c.name for c in space_of(Switching())}
    assert configure(Switching(), {"rent.trust": 0.3}).rent.trust == 0.3


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Switching(tolerance=0), "tolerance was 0"),
        (lambda: Switching(near=-1), "near was -1"),
        (lambda: Switching(odds=1), "odds was 1"),
        (lambda: Switching(window=1), "window was 1"),
        (lambda: Switching(floor=0), "floor was 0"),
        (lambda: Switching().init([]), "methods was"),
        (lambda: Method("x", step=0), "step was 0"),
        (lambda: Method("x", rate=1), "rate was 1"),
    ],
)
def test_bad_input_is_refused(make, says):
    with pytest.raises(InputError, match=says):
        make()


# --- certificates --------------------------------------------------------------------------------------------------


def matrix(seed, lowest, n=60):
    rng = np.random.default_rng(seed)
    diagonal = np.sort(rng.uniform(0.5, 5.0, n))
    noise = rng.normal(0, 0.02, (n, n))
    a = np.diag(diagonal) + noise + noise.T
    w, v = np.linalg.eigh(a)
    w[0] = lowest
    return (v * w) @ v.T


@given(st.integers(0, 10_000), st.sampled_from([-0.3, -0.01, 0.02, 0.3]))
@settings(max_examples=40, deadline=None)
def test_the_sign_of_the_lowest_eigenvalue(seed, lowest):
    a = matrix(seed, lowest)
    space = Subspace(lambda x: a @ x, np.diag(a).copy())
    verdict = certify(space, space.guesses(3), threshold=1e-4, rng=np.random.default_rng(seed))
    assert verdict.stable is (lowest > 0)
    assert verdict.products == len(space.basis) <= 25
    if lowest < 0:
        assert verdict.vector @ a @ verdict.vector < 0
        assert np.linalg.norm(verdict.vector) == pytest.approx(1.0)


def test_blocks_that_do_not_see_each_other():
    """The way down is in a block in which nothing else points."""
    a = matrix(1, 0.4)
    b = np.zeros((120, 120))
    b[:60, :60], b[60:, 60:] = a, matrix(2, -0.1)
    space = Subspace(lambda x: b @ x, np.diag(b).copy())
    assert certify(space, [np.eye(120)[0]], threshold=1e-4, rng=np.random.default_rng(0)).stable is False


def test_too_few_products_decide_nothing():
    a = matrix(3, 0.02)
    space = Subspace(lambda x: a @ x, np.diag(a).copy())
    assert certify(space, [], threshold=1e-4, rng=np.random.default_rng(0), most=3).stable is None


@given(st.integers(0, 10_000), st.floats(0.01, 2.0), st.sampled_from([-0.5, 0.3]))
@settings(max_examples=30, deadline=None)
def test_steps_in_the_whole_space_are_the_best_in_the_region(seed, radius, lowest):
    rng = np.random.default_rng(seed)
    a, g = matrix(seed, lowest, 12), rng.normal(size=12)
    space = Subspace(lambda x: a @ x, np.diag(a).copy())
    while not space.full:
        space.extend(rng.normal(size=12))
    x, expected, _ = space.step(g, radius)
    assert np.linalg.norm(x) <= radius * (1 + 1e-6)
    assert expected == pytest.approx(g @ x + 0.5 * x @ a @ x)
    for _ in range(200):
        y = rng.normal(size=12)
        y *= radius * rng.random() ** 0.1 / np.linalg.norm(y)
        assert g @ y + 0.5 * y @ a @ y >= expected - 1e-6


# --- other solvers -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bench():
    path = Path(__file__).parents[2] / "benchmarks" / "switching.py"
    spec = importlib.util.spec_from_file_location("bench_switching", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["Rosenbrock", "Helical valley", "Jennrich-Sampson"])
def test_least_squares_are_solved_though_no_fixed_method_solves_all(bench, name):
    done, cost, _ = bench.least_squares(name)
    assert done
    assert cost < 500


def test_linear_systems_stay_cheap_where_easy_and_are_solved_where_hard(bench):
    easy, hard = bench.linear("dominant, 1000"), bench.linear("Laplace 16")
    assert easy[0]
    assert easy[2].at == 0
    assert easy[1] == bench.linear("dominant, 1000", 0)[1]
    assert hard[0]
    best = min(c for ok, c, _ in (bench.linear("Laplace 16", k) for k in range(3)) if ok)
    assert hard[1] <= 3 * best
