"""Integrals and probabilities with known values, and the ways in which there can be no answer."""

import math

import numpy as np
import pytest
from scipy import stats
from scipy.special import ndtr

from metaloop import InputError
from metaloop.online.sampling import Estimate, Portfolio, Status, integrate, probability
from metaloop.recipe import configure, space_of


def covered(estimate: Estimate, exact: float) -> bool:
    return estimate.interval[0] <= exact <= estimate.interval[1]


def bump(center, width):
    return lambda x: np.exp(-((x - center) ** 2).sum(axis=1) / (2 * width**2))


def test_a_smooth_integral_over_a_stretched_box():
    found = integrate(lambda x: np.exp(x[:, 0]) * np.cos(x[:, 1]), [(0, 2), (-1, 1)], 8192)
    exact = (math.e**2 - 1) * 2 * math.sin(1)
    assert found.value == pytest.approx(exact, rel=1e-4)
    assert covered(found, exact)
    assert found.status is Status.OK
    assert found.evaluations <= 8192


def test_a_narrow_peak_is_found_and_measured():
    exact = (math.sqrt(2 * math.pi) * 0.02) ** 6
    found = [integrate(bump(0.3, 0.02), [(0, 1)] * 6, 40_000, seed=s) for s in range(4)]
    assert all(f.status is Status.OK and f.evaluations <= 40_000 for f in found)
    assert all(f.value == pytest.approx(exact, rel=0.01) for f in found)
    assert sum(covered(f, exact) for f in found) >= 3
    assert "explored" in found[0].why()


def test_a_second_peak_is_not_forgotten():
    f, g = bump(0.3, 0.09), bump(0.65, 0.08)
    one, two = ((math.sqrt(2 * math.pi) * s) ** 7 for s in (0.09, 0.08))
    inside = float((ndtr(0.3 / 0.09)) ** 7), float((ndtr(0.35 / 0.08)) ** 7)
    exact = inside[0] + inside[1]
    for seed in range(3):
        found = integrate(lambda x: f(x) / one + g(x) / two, [(0, 1)] * 7, 60_000, seed=seed)
        assert found.status is Status.NOT_ENOUGH_EVIDENCE or found.value == pytest.approx(exact, rel=0.05)


def test_an_integrand_that_changes_its_sign():
    f = bump(0.35, 0.1)
    g = bump(0.65, 0.05)
    exact = 1e-2 * 2 * math.pi * (ndtr(6.5) - ndtr(-3.5)) ** 2 - 3 * 25e-4 * 2 * math.pi
    found = integrate(lambda x: f(x) - 3 * g(x), [(0, 1)] * 2, 20_000)
    assert found.value == pytest.approx(exact, abs=1e-4)
    assert covered(found, exact)


@pytest.mark.parametrize(("dim", "budget"), [(2, 20_000), (30, 100_000)])
def test_rare_events_in_few_and_many_dimensions(dim, budget):
    direction = np.ones(dim) / math.sqrt(dim)
    found = [probability(lambda x: 5.0 - x @ direction, dim, budget, seed=s) for s in range(2)]
    exact = float(ndtr(-5.0))
    assert all(f.status is Status.OK for f in found)
    assert all(f.value == pytest.approx(exact, rel=0.05) for f in found)
    assert any(covered(f, exact) for f in found)


def test_both_modes_of_a_rare_event_count():
    found = probability(lambda x: 4.5 - np.abs(x[:, 0]), 3, 30_000)
    assert found.value == pytest.approx(2 * float(ndtr(-4.5)), rel=0.05)


def test_a_probability_under_other_distributions():
    # resistance minus load, both lognormal: log R - log S is normal
    marginals = [stats.lognorm(s=0.1, scale=100.0), stats.lognorm(s=0.3, scale=30.0)]
    exact = float(ndtr(-math.log(100 / 30) / math.hypot(0.1, 0.3)))
    found = probability(lambda x: x[:, 0] - x[:, 1], marginals, 30_000)
    assert found.value == pytest.approx(exact, rel=0.05)
    joint = stats.multivariate_normal([1.0, 0.0], [[2.0, 0.9], [0.9, 1.0]])
    found = probability(lambda x: 7.0 - x.sum(axis=1), joint, 30_000)
    assert found.value == pytest.approx(float(ndtr(-6.0 / math.sqrt(4.8))), rel=0.05)


def test_a_frequent_event_may_be_a_condition():
    found = probability(lambda x: x[:, 0] > 0.5, 2, 8192)
    assert covered(found, float(ndtr(-0.5)))
    assert found.status is Status.OK


def test_a_rare_condition_leads_nowhere_and_says_so():
    found = probability(lambda x: x[:, 0] > 6.0, 2, 8192)
    assert found.status is Status.NOT_ENOUGH_EVIDENCE
    assert found.value == 0.0
    assert found.interval[0] == 0.0 < found.interval[1]
    assert "nothing was found" in found.why()


def test_an_integrand_that_is_zero_wherever_it_was_looked_at():
    found = integrate(lambda x: np.where(np.abs(x - 0.5).max(axis=1) < 1e-4, 1.0, 0.0), [(0, 1)] * 3, 4096)
    assert found.status is Status.NOT_ENOUGH_EVIDENCE


def test_an_integrand_without_a_variance_is_not_believed():
    # a pole of order 1 - 1/50: the integral is 50, and no sample of this size sees most of it
    found = integrate(lambda x: x[:, 0] ** -0.98, [(0, 1)] * 1, 4096, recipe=Portfolio(promise=1e9))
    assert found.status is Status.NOT_ENOUGH_EVIDENCE or covered(found, 50.0)


def test_intervals_cover():
    f, exact = bump(0.4, 0.15), (0.15 * math.sqrt(2 * math.pi) * (ndtr(4.0) - ndtr(-0.4 / 0.15))) ** 3
    found = [integrate(f, [(0, 1)] * 3, 4096, seed=s) for s in range(40)]
    assert sum(covered(e, exact) for e in found) >= 34


def test_runs_repeat_bit_for_bit():
    one, two = (probability(lambda x: 3.5 - x[:, 0], 3, 16_384, seed=7) for _ in range(2))
    assert (one.value, one.error, one.evaluations, one.why()) == (two.value, two.error, two.evaluations, two.why())
    assert one.value != probability(lambda x: 3.5 - x[:, 0], 3, 16_384, seed=8).value


def test_the_policy_is_a_recipe():
    assert {"pilot", "better", "learning"} <= {c.name for c in space_of(Portfolio())}
    assert configure(Portfolio(), {"promise": 1.0}).promise == 1.0


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda: integrate(lambda x: x[:, 0], [(0, 1)], 100),
            "budget was 100; it may be a whole number of at least 1024",
        ),
        (lambda: integrate(lambda x: x[:, 0], [(1, 0)]), "bounds was .* with low < high"),
        (lambda: integrate(lambda x: x[:, 0], [(0, math.inf)]), "finite pairs"),
        (lambda: integrate(lambda x: x[:, 0], 3), "pairs .low, high."),
        (lambda: integrate(lambda x: 1.0, [(0, 1)]), "f gave shape .* one number for each"),
        (lambda: integrate(lambda x: np.log(x[:, 0] - 2 + 0j).real * np.nan, [(0, 1)]), "f gave nan at"),
        (lambda: integrate(lambda x: x[:, 0], [(0, 1)], seed=-1), "seed was -1"),
        (lambda: probability(lambda x: x[:, 0], "normal"), "distribution was 'normal'"),
        (lambda: probability(lambda x: x, 2), "event gave shape"),
        (lambda: Portfolio(pilot=0.5), "pilot was 0.5"),
        (lambda: Portfolio(promise=0.0), "promise was 0.0"),
    ],
)
def test_bad_input(call, says):
    with pytest.raises(InputError, match=says):
        call()
