import numpy as np
import pytest

from metaloop.structure import mma


def run(f, g, x, low, high, steps=60):
    state = mma.start(x)
    for _ in range(steps):
        _, df = f(x)
        values, slopes = g(x)
        x, state = mma.step(state, x, df, values, slopes, low, high)
    return x


def test_the_two_bar_truss_of_the_paper():
    # Svanberg 1987, section 5.1: minimize x1 √(1 + x2²), two stresses; optimum 1.51 at (1.41, 0.38).
    def f(x):
        root = np.sqrt(1 + x[1] ** 2)
        return x[0] * root, np.array([root, x[0] * x[1] / root])

    def g(x):
        root = np.sqrt(1 + x[1] ** 2)
        c = 0.124 * root
        values, slopes = [], []
        for sign in (1, -1):
            inner = 8 / x[0] + sign / (x[0] * x[1])
            values.append(c * inner - 1)
            slopes.append([c * (-8 / x[0] ** 2 - sign / (x[0] ** 2 * x[1])),
                           0.124 * x[1] / root * inner - sign * c / (x[0] * x[1] ** 2)])  # fmt: skip
        return np.array(values), np.array(slopes)

    x = run(f, g, np.array([1.5, 0.5]), np.array([0.2, 0.1]), np.array([4.0, 1.6]))
    assert f(x)[0] == pytest.approx(1.51, abs=0.005)
    assert x == pytest.approx([1.41, 0.38], abs=0.01)
    assert g(x)[0].max() < 1e-4


def test_a_quadratic_program_with_known_multipliers():
    # Project onto a simplex's face and a half space: minimize ‖x - t‖², sum x <= 1, x0 <= x1.
    target = np.array([0.9, 0.5, 0.2])
    a = np.array([[1.0, 1, 1], [1, -1, 0]])
    b = np.array([1.0, 0])
    x = run(lambda x: (((x - target) ** 2).sum(), 2 * (x - target)), lambda x: (a @ x - b, a), np.full(3, 0.3),
            np.zeros(3), np.ones(3), 120)  # fmt: skip
    # By hand: x0 = x1 = (0.9 + 0.5) / 2 - λ / 2, x2 = 0.2 - λ / 2, sum 1: λ / 2 = 0.2.
    assert x == pytest.approx([0.5, 0.5, 0.0], abs=2e-3)


def test_without_constraints_it_goes_to_the_bound():
    x = run(
        lambda x: (x.sum(), np.ones(2)),
        lambda x: (np.zeros(0), np.zeros((0, 2))),
        np.full(2, 0.5),
        np.zeros(2),
        np.ones(2),
        30,
    )
    assert np.allclose(x, 0, atol=1e-6)


def test_what_cannot_be_met_is_violated_a_little():
    x = run(
        lambda x: (x[0], np.ones(1)),
        lambda x: (np.array([2 - x[0]]), -np.ones((1, 1))),
        np.full(1, 0.5),
        np.zeros(1),
        np.ones(1),
        30,
    )
    assert x == pytest.approx([1.0])


def test_criteria_keep_the_volume_and_the_bounds():
    rng = np.random.default_rng(0)
    x, g = rng.uniform(0.2, 0.8, (20, 10)), -rng.random((20, 10))
    volume = rng.uniform(0.5, 1.5, x.shape)
    low, high = mma.limits(x, 0.0, 1.0, 0.2)
    new = mma.criteria(x, g, volume, 3.0, low, high)
    assert (volume * new).sum() == pytest.approx((volume * x).sum() - 3.0, rel=1e-6)
    assert (new >= low).all()
    assert (new <= high).all()
    inside = (new > low + 1e-9) & (new < high - 1e-9)
    ratio = new[inside] / (x * np.sqrt(-g / volume))[inside]
    assert np.ptp(ratio) < 1e-9 * ratio.mean()
