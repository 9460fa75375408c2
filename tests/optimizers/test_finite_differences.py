"""Derivatives by differences are as good as they say, and noise is told from curvature."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metaloop.optimizers.finite_differences import LARGEST, TABLE, derivatives, errors, noise_level, places, steps


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(1e-9, LARGEST))
def test_places_are_inside_and_enough(u, h):
    at = places(u, h)
    assert len(set(at.tolist())) == len(at) >= 2
    assert ((at >= 0) & (at <= 1)).all()


@settings(deadline=None)
@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(0.1, 1), st.floats(0.1, 1), st.booleans())
def test_two_values_give_a_parabola_exactly(slope, curvature, a, b, same_side):
    offsets = np.array([a, 2 * a if same_side else -b])
    rises = slope * offsets + 0.5 * curvature * offsets**2
    first, second = derivatives(offsets, rises)
    assert first == pytest.approx(slope, abs=1e-9)
    assert second == pytest.approx(curvature, abs=1e-7)


@pytest.mark.parametrize("central", [False, True])
@pytest.mark.parametrize("noise", [1e-16, 1e-10, 1e-4])
def test_errors_are_what_is_expected(central, noise):
    """exp(a u) / a^2 has second derivative exp(a u), and a third of a times that."""
    rng = np.random.default_rng(1)
    worst = []
    for a in (0.5, 1.0, 2.0):
        for u in (0.3, 0.6):
            curvature = np.array([np.exp(a * u)])
            h = steps(noise, curvature, central)
            offsets = h * ([1.0, -1.0] if central else [1.0])
            rises = (np.exp(a * (u + offsets)) - np.exp(a * u)) / a**2 + noise * rng.standard_normal(len(offsets))
            error = abs(derivatives(offsets, rises)[0] - np.exp(a * u) / a)
            worst.append(error / errors(noise, curvature, h, np.bool_(central))[0])
    assert 0.01 < max(worst) < 4


def test_central_differences_are_finer():
    curvature = np.array([1.0])
    forward = errors(1e-16, curvature, steps(1e-16, curvature, False), np.False_)
    central = errors(1e-16, curvature, steps(1e-16, curvature, True), np.True_)
    assert central < 1e-2 * forward


@pytest.mark.parametrize("level", [1e-12, 1e-6, 1.0])
def test_noise_is_measured_on_top_of_a_curve(level):
    rng = np.random.default_rng(2)
    t = 1e-3 * np.arange(TABLE)
    found = [noise_level(level * (np.exp(t) + rng.standard_normal(TABLE))) for _ in range(400)]
    assert np.isfinite(found).mean() > 0.95
    assert 0.7 * level < np.nanmedian(found) < 1.3 * level
    assert 0.2 * level < np.nanquantile(found, 0.01)
    assert np.nanquantile(found, 0.99) < 2.5 * level


def test_smooth_functions_are_not_noisy():
    for h in (1e-2, 1e-4, 1e-6):
        level = noise_level(np.sin(1 + h * np.arange(TABLE)))
        assert np.isnan(level) or level < 1e-15
    assert np.isnan(noise_level(np.zeros(TABLE)))
    assert np.isnan(noise_level(np.array([0, 1, np.nan, 2, 3, 4, 5.0])))
