"""The two-loop recursion is the dense BFGS inverse, and the step in a box is the model's minimizer there."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from metaloop.optimizers.quasi_newton import box_step, inverse_times, next_length

SEEDS = st.integers(0, 2**32 - 1)


def memory(rng, m, d):
    """Pairs of a random convex quadratic, and a first diagonal."""
    a = rng.standard_normal((d, d))
    s = rng.standard_normal((m, d))
    return s, s @ (a @ a.T + 0.1 * np.eye(d)), rng.uniform(0.1, 10, d)


def dense_inverse(s, y, h0):
    h = np.diag(h0)
    for si, yi in zip(s, y, strict=True):
        v = np.eye(len(h0)) - np.outer(yi, si) / (si @ yi)
        h = v.T @ h @ v + np.outer(si, si) / (si @ yi)
    return h


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(0, 12), st.integers(1, 8))
def test_two_loops_are_the_dense_inverse(seed, m, d):
    rng = np.random.default_rng(seed)
    s, y, h0 = memory(rng, m, d)
    dense, r = dense_inverse(s, y, h0), rng.standard_normal((d, 3))
    assert inverse_times(s, y, h0, r) == pytest.approx(dense @ r, rel=1e-6, abs=1e-8 * np.abs(dense).max())


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(0, 5), st.integers(1, 8))
def test_step_minimizes_the_model_in_the_box(seed, m, d):
    rng = np.random.default_rng(seed)
    s, y, h0 = memory(rng, m, d)
    b = np.linalg.inv(dense_inverse(s, y, h0))
    g, low, high = rng.standard_normal(d), -rng.exponential(0.3, d), rng.exponential(0.3, d)
    low[rng.random(d) < 0.2] = 0.0
    p, fall = box_step(lambda r: inverse_times(s, y, h0, r), g, low, high)
    assert (low <= p).all()
    assert (p <= high).all()
    assert fall == pytest.approx(-(g @ p + 0.5 * p @ b @ p), rel=1e-6, abs=1e-9)
    known = minimize(
        lambda p: (g @ p + 0.5 * p @ b @ p, g + b @ p), np.zeros(d), jac=True, method="L-BFGS-B",
        bounds=list(zip(low, high, strict=True)), options={"ftol": 0, "gtol": 1e-12, "maxiter": 1000, "maxcor": 20},
    )  # fmt: skip
    assert fall >= -known.fun * (1 - 1e-9) - 1e-12


@settings(deadline=None)
@given(st.floats(0.1, 10), st.floats(-3, 3), st.floats(0.3, 3))
def test_line_search_ends_below_on_parabolas(slope, log_scale, length):
    """f(t) = -slope t + c t^2 / 2 with its minimum anywhere from 1e-3 to 1e3 steps away."""
    c = slope / 10**log_scale
    tried = np.empty((0, 2))
    while length:
        tried = np.vstack([tried, [length, -slope * length + 0.5 * c * length**2]])
        length = next_length(0.0, -slope, tried, math.inf, 0.0, 0.05)
    assert tried[:, 1].min() <= 0.94 * (-0.5 * slope**2 / c)
    assert len(tried) <= 8


def test_line_search_retreats_from_failures_and_gives_up():
    tried = np.array([[1.0, np.nan]])
    lengths = [1.0]
    while not math.isnan(length := next_length(0.0, -1.0, tried, math.inf, 0.0, 0.05)):
        assert 0 < length < lengths[-1]
        lengths.append(length)
        tried = np.vstack([tried, [length, np.nan]])
    assert len(lengths) == 12


def test_line_search_stays_within_the_longest():
    assert next_length(0.0, -1.0, np.array([[1.0, -1.0]]), 1.5, 0.0, 0.05) == 1.5
    assert next_length(0.0, -1.0, np.array([[1.0, -1.0]]), 1.0, 0.0, 0.05) == 0.0
