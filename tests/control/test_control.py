"""The bounds that the theory promises hold on traces made to break them; estimates agree with scipy's."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from metaloop import InputError
from metaloop.control import (
    Account,
    Credit,
    Evidence,
    Halving,
    Price,
    RentOrBuy,
    RisingBandit,
    Shares,
    Trace,
    forecast,
    hindsight,
    replay,
)

# --- evidence ----------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-1e3, 1e3), min_size=4, max_size=40))
def test_evidence_is_the_sample_mean_and_its_error(values):
    seen = Evidence()
    for v in values:
        seen.add(v)
    assert seen.mean == pytest.approx(np.mean(values), abs=1e-9)
    assert seen.variance == pytest.approx(np.var(values, ddof=1), abs=1e-6)
    t = stats.t.ppf(stats.norm.cdf(1.645), len(values) - 1)
    assert seen.bound(1.645) - seen.mean == pytest.approx(t * stats.sem(values), rel=0.02, abs=1e-6)
    assert seen.bound(-1.645) == pytest.approx(2 * seen.mean - seen.bound(1.645), abs=1e-6)


def test_little_evidence_says_so_and_nonsense_is_left_out():
    seen = Evidence()
    assert seen.bound(2) == math.inf
    seen.add(1.0)
    seen.add(math.nan)
    seen.add(math.inf)
    assert (seen.weight, seen.mean, seen.error, seen.bound(-1)) == (1.0, 1.0, math.inf, -math.inf)


def test_what_is_forgotten_follows_a_change():
    short, long = Evidence(memory=5), Evidence()
    for v in [0.0] * 50 + [1.0] * 15:
        short.add(v)
        long.add(v)
    assert short.mean > 0.9 > 0.3 > long.mean


# --- prices ------------------------------------------------------------------------------------------------------


def test_prices_are_learned_with_their_spread():
    rng = np.random.default_rng(0)
    model = Price(coefficients=(0.0, 0.0))
    state = model.init()
    inside = 0
    for k in range(400):
        size = rng.uniform(0, 5)
        cost = math.exp(-1.0 + 0.8 * size + 0.3 * rng.standard_normal())
        if k >= 20:
            _, low, high = model.estimate(state, (1.0, size), deviations=1.645)
            inside += low <= cost <= high
        state = model.observe(state, (1.0, size), cost)
    assert model.estimate(state, (1.0, 3.0))[0] == pytest.approx(math.exp(1.4), rel=0.1)
    low, high = stats.binom.ppf([0.001, 0.999], 380, 0.9)
    assert low <= inside <= high


def test_one_observation_moves_the_expectation_and_narrows_it():
    model = Price(coefficients=(math.log(10.0),))
    state = model.init()
    before = model.estimate(state, (1.0,))
    assert before[0] == pytest.approx(10.0)
    state = model.observe(state, (1.0,), 2.0)
    after = model.estimate(state, (1.0,))
    assert 1.9 < after[0] < 3.0
    assert after[2] / after[1] < before[2] / before[1]


# --- rent or buy -------------------------------------------------------------------------------------------------


def rent_cost(recipe, steps, price, predicted=None, seed=0):
    """Rent is 1 a step; what is paid when the need ends after `steps`."""
    state = recipe.init(1, seed)
    for step in range(steps):
        if recipe.decide(state, price, predicted) is not None:
            return step + price
        state = recipe.observe(state, 1.0)
    return steps


PRICE = 60
ENDS = [1, 5, 15, 29, 30, 31, 45, 59, 60, 61, 75, 119, 120, 121, 150, 400]


def test_without_predictions_at_most_twice_the_best():
    ratios = [rent_cost(RentOrBuy(trust=1.0), n, PRICE) / min(n, PRICE) for n in ENDS]
    assert max(ratios) == pytest.approx(2.0, abs=0.02)


def test_drawn_at_random_e_over_e_minus_one_in_expectation():
    recipe = RentOrBuy(trust=1.0, randomized=True)
    for n in ENDS:
        costs = [rent_cost(recipe, n, PRICE, seed=s) for s in range(100)]
        error = 3 * np.std(costs) / 10
        assert np.mean(costs) <= min(n, PRICE) * (math.e / (math.e - 1) + 0.01) + error
    worst = np.mean([rent_cost(recipe, PRICE, PRICE, seed=s) for s in range(1000)]) / PRICE
    assert worst == pytest.approx(math.e / (math.e - 1), abs=0.05)


@pytest.mark.parametrize("trust", [0.25, 0.5, 0.8])
def test_predictions_help_when_right_and_harm_boundedly_when_wrong(trust):
    recipe = RentOrBuy(trust=trust)
    right = max(rent_cost(recipe, n, PRICE, predicted=n) / min(n, PRICE) for n in ENDS)
    wrong = max(rent_cost(recipe, n, PRICE, predicted=p) / min(n, PRICE) for n in ENDS for p in (0, 1e9))
    assert right <= 1 + trust + 0.02
    assert wrong <= recipe.bound + 0.02
    drawn = RentOrBuy(trust=trust, randomized=True)
    for n in ENDS[2::3]:
        for p in (n, 0, 1e9):
            costs = [rent_cost(drawn, n, PRICE, predicted=p, seed=s) for s in range(60)]
            most = trust / (1 - math.exp(-trust)) if p == n else drawn.bound
            assert np.mean(costs) <= min(n, PRICE) * (most + 0.02) + 3 * np.std(costs) / math.sqrt(60)


def test_the_option_that_is_most_overdue_is_bought():
    recipe = RentOrBuy(trust=1.0)
    state = recipe.observe(recipe.init(3), np.array([5.0, 20.0, 30.0]))
    assert recipe.decide(state, np.array([10.0, 10.0, 10.0])) == 2
    assert recipe.decide(state, np.array([10.0, 10.0, np.inf])) == 1
    assert recipe.decide(state, np.array([10.0, 50.0, 50.0])) is None


# --- the account -------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(st.lists(st.floats(-3, 3), max_size=300), st.floats(0.5, 5), st.floats(1.3, 4))
def test_the_loss_is_bounded_whatever_comes(savings, limit, growth):
    recipe = Account(limit=limit, growth=growth)
    state = recipe.init()
    net, shadow = 0.0, 0.0
    for s in savings:
        if recipe.decide(state):
            net += s
        else:
            shadow += max(s, 0.0)
        state = recipe.observe(state, s)
    assert net >= -(state.closings + 1) * (limit + 3) - 1e-9
    reopened = state.closings - (not state.open)
    assert shadow >= limit * (growth**reopened - 1) / (growth - 1) - 1e-6


def test_a_site_that_flips_for_ever_costs_next_to_nothing():
    """Good for ten steps, bad for ten: with the account against always switching and against never."""
    recipe = Account(limit=5.0)
    state, net, worst = recipe.init(), 0.0, 0.0
    for k in range(20_000):
        saved = 1.0 if (k // 10) % 2 == 0 else -1.5
        if recipe.decide(state):
            net += saved
        worst = min(worst, net)
        state = recipe.observe(state, saved)
    assert worst > -80  # always switching loses 5,000
    assert state.closings < 15


def test_a_method_that_turned_good_is_taken_up_again():
    recipe = Account(limit=2.0)
    state = recipe.init()
    for _ in range(3):
        state = recipe.observe(state, -1.0)
    assert not recipe.decide(state)
    for _ in range(2):
        state = recipe.observe(state, 1.0)
    assert recipe.decide(state)


# --- forecasts ---------------------------------------------------------------------------------------------------


@given(st.floats(0.05, 0.95), st.floats(1e-3, 1e3))
def test_a_geometric_decrease_is_read_exactly(rate, start):
    residuals = start * rate ** np.arange(10)
    seen = forecast(residuals)
    assert seen.rate == pytest.approx(rate)
    assert seen.level == pytest.approx(residuals[-1])
    tolerance = residuals[-1] * rate**4
    assert seen.remaining(tolerance) == pytest.approx(4.0)
    assert seen.remaining(2 * start) == 0.0


def test_outliers_swings_and_stalls_are_seen():
    clean = 0.5 ** np.arange(9)
    bumped = clean.copy()
    bumped[[2, 6]] *= 1e3
    assert forecast(bumped, window=9).rate == pytest.approx(0.5, rel=0.3)
    swinging = forecast(np.tile([1.0, 1e-2], 4))
    assert swinging.swing > 5
    assert swinging.remaining(1e-6, cautious=True) == math.inf
    assert forecast([1.0] * 8).remaining(1e-3) == math.inf
    assert forecast([3.0]).remaining(1.0) == math.inf
    assert forecast([math.nan, 1.0, math.nan, 0.5]).rate == pytest.approx(0.5)


# --- schedulers --------------------------------------------------------------------------------------------------


def play(recipe, curves, budget):
    """Pull until the budget is spent; the score reached by the arm that is best at the end."""
    state = recipe.init(len(curves))
    counts = np.zeros(len(curves), dtype=int)
    for _ in range(budget):
        arm = recipe.decide(state, budget)
        counts[arm] += 1
        state = recipe.observe(state, arm, curves[arm](counts[arm]))
    return max(f(n) if n else -np.inf for f, n in zip(curves, counts, strict=True)), counts


def test_schedulers_find_the_arm_that_ends_best():
    """Concave curves; the one that is best after 100 pulls begins as the worst."""
    curves = [
        lambda n, a=a, r=r: a * (1 - math.exp(-r * n)) for a, r in [(1.0, 0.03), (0.6, 0.5), (0.5, 1.0), (0.4, 2)]
    ]
    even = max(f(25) for f in curves)
    for recipe in (RisingBandit(), Halving()):
        best, counts = play(recipe, curves, 100)
        assert counts.sum() == 100
        assert best > even, recipe
    best, counts = play(RisingBandit(), curves, 100)
    assert counts[0] > 60


def test_halving_spends_its_rounds_evenly():
    curves = [lambda n, a=a: a for a in range(8)]
    _, counts = play(Halving(), [*curves], 240)
    assert sorted(counts) == [10] * 4 + [30] * 2 + [70] * 2


@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=5), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_shares_hold_at_every_moment(weights, block):
    counts, recipe = np.zeros(len(weights)), Shares(tuple(weights), block)
    state = recipe.init(len(weights))
    due = np.array(weights) / sum(weights)
    for k in range(1, 101):
        arm = recipe.decide(state, 100)
        counts[arm] += 1
        state = recipe.observe(state, arm, 0.0)
        assert np.abs(counts - k * due).max() <= block * len(weights)


def race(recipe, gains, pulls):
    """Arms that share what they find: a pull raises the best score of all by its arm's gain of the moment."""
    state, counts, score = recipe.init(len(gains(0))), np.zeros(len(gains(0)), dtype=int), 0.0
    for k in range(pulls):
        arm = recipe.decide(state, pulls)
        counts[arm] += 1
        score += gains(k)[arm]
        state = recipe.observe(state, arm, score)
    return counts


def test_credit_goes_to_who_gains_and_follows_a_change():
    recipe = Credit(floor=0.1)
    steady = race(recipe, lambda k: (1.0, 0.0, 0.1), 200)
    assert steady[0] > 130
    assert steady[1:].min() >= 5  # nobody is given up
    changed = race(recipe, lambda k: (1.0, 0.0) if k < 100 else (0.0, 1.0), 300)
    assert changed[1] > 150


def test_credit_without_gain_keeps_the_weights():
    counts = race(Credit((3.0, 1.0)), lambda k: (0.0, 0.0), 100)
    assert counts.tolist() == [75, 25]
    state = Credit().init(3)
    for arm in range(3):
        state = Credit().observe(state, arm, -math.inf)  # three failures
    assert Credit().shares(state, 10) == pytest.approx(np.full(3, 1 / 3))


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(-1e6, 1e6)), max_size=40))
@settings(max_examples=50, deadline=None)
def test_credit_shares_sum_to_one_and_respect_the_floor(pulls):
    recipe = Credit(floor=0.3)
    state = recipe.init(3)
    for arm, score in pulls:
        state = recipe.observe(state, arm, score)
    shares = recipe.shares(state, 100)
    assert shares.sum() == pytest.approx(1)
    assert shares.min() >= 0.1 - 1e-12


# --- the bench ---------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(0, 7), st.booleans(), st.booleans())
def test_hindsight_is_the_best_of_all_courses(seed, methods, steps, keep, changing):
    rng = np.random.default_rng(seed)
    prices = rng.random((steps, methods, methods)[not changing :])
    trace = Trace(rng.random((steps, methods)), prices, int(rng.integers(methods)), keep)
    best = math.inf
    for course in np.ndindex(*[methods] * steps):
        best = min(best, replay(lambda step, *_, c=course: c[step], trace).cost)
    assert hindsight(trace) == pytest.approx(best)


def test_a_method_is_paid_for_when_it_is_first_used():
    """Where prices change, what was cheap to pay for but not used then is not had later."""
    prices = np.zeros((2, 2, 2))
    prices[:, 0, 1] = [1.0, 5.0]
    trace = Trace(np.array([[0.0, 3.0], [10.0, 0.0]]), prices)
    assert hindsight(trace) == pytest.approx(4.0)  # at once, for 1 + 3; later it is 5


def test_a_policy_is_held_against_hindsight():
    costs = np.column_stack([np.full(100, 1.0), np.full(100, 0.1)])
    trace = Trace(costs, np.array([0.0, 20.0]))
    assert hindsight(trace) == pytest.approx(30.0)
    stay = replay(lambda *_: 0, trace)
    assert (stay.cost, stay.switches) == (100.0, 0)
    recipe = RentOrBuy(trust=1.0)
    state = recipe.init()

    def policy(step, method, seen):
        if step:
            recipe.observe(state, seen[-1, 0] - seen[-1, 1])
        return 1 if method == 1 or recipe.decide(state, 20.0) is not None else 0

    rented = replay(policy, trace)
    assert rented.switches == 1
    assert rented.ratio <= 2.0
    assert rented.cost == pytest.approx(rented.methods.tolist().count(0) + 0.1 * sum(rented.methods) + 20.0)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: RentOrBuy(trust=0), "trust was 0"),
        (lambda: Account(limit=-1), "limit was -1"),
        (lambda: Account(growth=1), "growth was 1"),
        (lambda: Price(noise=0), "noise was 0"),
        (lambda: Price().observe(Price().init(), (1.0,), -1.0), "cost was -1"),
        (lambda: Price().estimate(Price().init(), (1.0, 2.0)), "1 numbers"),
        (lambda: Halving(factor=1), "factor was 1"),
        (lambda: RisingBandit(window=0), "window was 0"),
        (lambda: RisingBandit().init(0), "arms was 0"),
        (lambda: Credit(hope=0), "hope was 0"),
        (lambda: Shares((1.0, -1.0)), "weights was"),
        (lambda: Shares((1.0, 1.0)).init(3), "3 numbers"),
        (lambda: Shares(block=0), "block was 0"),
        (lambda: Trace(np.ones(3), np.ones(3)), "costs was"),
        (lambda: Trace(np.ones((2, 3)), np.ones(2)), "prices was"),
        (lambda: Trace(np.ones((2, 3)), np.ones(3), start=3), "start was 3"),
    ],
)
def test_bad_input_is_refused(make, says):
    with pytest.raises(InputError, match=says):
        make()
