import numpy as np
import pytest

from metaloop.errors import InputError
from metaloop.structure.filters import (
    Chain,
    Cone,
    Helmholtz,
    Mirror,
    Overhang,
    Passive,
    Projection,
    Sensitivity,
    check_filter,
)

RNG = np.random.default_rng(3)
SHAPE, BOX = (9, 6), (5, 4, 6)
MASK = RNG.random(SHAPE) < 0.1
MAPS = [
    (Cone(SHAPE, 2.4), SHAPE), (Cone(BOX, 1.8), BOX), (Cone((40, 30), 14.0), (40, 30)),
    (Helmholtz(SHAPE, 3.0), SHAPE),
    (Helmholtz(BOX, 2.0), BOX), (Projection(4.0, 0.4), SHAPE), (Projection(6.0), SHAPE),
    (Projection(6.0, None, 0.2), SHAPE), (Mirror((0,)), SHAPE), (Mirror((0, 2)), BOX),
    (Passive(MASK, ~MASK & (RNG.random(SHAPE) < 0.1)), SHAPE), (Overhang(1), SHAPE),
    (Overhang(0, upwards=False), SHAPE),
    (Overhang(2), BOX), (Chain([Mirror((0,)), Cone(SHAPE, 2.4), Projection(3.0), Overhang(1)]), SHAPE),
]  # fmt: skip


@pytest.mark.parametrize(("one", "shape"), MAPS)
def test_gradients_are_finite_differences(one, shape):
    rng = np.random.default_rng(0)
    x, weight, direction = rng.uniform(0.2, 0.8, shape), rng.normal(size=shape), rng.normal(size=shape)
    h = 1e-6
    numeric = ((one.values(x + h * direction) - one.values(x - h * direction)) * weight).sum() / (2 * h)
    assert (one.pull(x, weight) * direction).sum() == pytest.approx(numeric, rel=1e-5, abs=1e-8)


def brute(x, radius):
    out = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        distance = np.sqrt(sum((np.arange(n).reshape([-1 if b == a else 1 for b in range(x.ndim)]) - i[a]) ** 2
                               for a, n in enumerate(x.shape)))  # fmt: skip
        weight = np.maximum(0, radius - distance)
        out[i] = (weight * x).sum() / weight.sum()
    return out


@pytest.mark.parametrize(
    ("shape", "radius"), [((9, 6), 2.4), ((5, 4, 6), 1.5), ((40, 30), 14.0), ((3, 12), 8.0), ((7, 5), 0.9)]
)
def test_the_cone_is_the_weighted_mean(shape, radius):
    x = np.random.default_rng(1).random(shape)
    assert np.allclose(Cone(shape, radius).values(x), brute(x, radius), atol=1e-12)


def test_helmholtz_solves_its_equation_and_keeps_the_volume():
    x = np.random.default_rng(2).random((12, 9))
    out = Helmholtz((12, 9), 4.0).values(x)
    wide = np.pad(out, 1, mode="edge")
    laplacian = wide[2:, 1:-1] + wide[:-2, 1:-1] + wide[1:-1, 2:] + wide[1:-1, :-2] - 4 * out
    assert np.allclose(out - 16 / 12 * laplacian, x, atol=1e-12)
    assert out.sum() == pytest.approx(x.sum())


def test_projection_goes_from_0_to_1_and_keeps_the_threshold_in_place():
    x = np.linspace(0, 1, 101)
    for threshold in (0.3, 0.5):
        p = Projection(64.0, threshold).values(x)
        assert p[0] == pytest.approx(0, abs=1e-12)
        assert p[-1] == pytest.approx(1)
        assert np.abs(p - (x > threshold))[np.abs(x - threshold) > 0.05].max() < 0.01


def test_projection_can_keep_the_volume():
    rng = np.random.default_rng(4)
    for sharpness in (1.0, 8.0, 64.0, 512.0):
        x = rng.beta(0.5, 0.8, (30, 20))
        assert Projection(sharpness).values(x).sum() == pytest.approx(x.sum(), rel=1e-6)


def test_a_ceiling_cannot_be_printed_and_a_slope_can():
    blueprint = np.zeros((12, 8))
    blueprint[:, 6] = 1  # hovers
    assert Overhang(1).values(blueprint)[:, 6].max() < 0.05
    slope = np.zeros((12, 8))
    for k in range(8):
        slope[k : k + 3, k] = 1  # 45°
    assert Overhang(1).values(slope)[slope == 1].min() > 0.9
    down = np.flip(slope, 1)
    assert np.allclose(Overhang(1, upwards=False).values(down), np.flip(Overhang(1).values(slope), 1))


def test_the_sensitivity_filter_leaves_densities():
    x = np.random.default_rng(1).random(SHAPE)
    one = Sensitivity(Cone(SHAPE, 2.4))
    assert np.array_equal(one.values(x), x)
    g = -np.ones(SHAPE)
    assert np.allclose(one.pull(np.full(SHAPE, 0.5), g), g)


@pytest.mark.parametrize(("call", "says"), [
    (lambda: Cone(SHAPE, 0), "radius"), (lambda: Helmholtz(SHAPE, -1), "radius"),
    (lambda: check_filter("gauss", SHAPE, 2), "filter"),
])  # fmt: skip
def test_bad_input(call, says):
    with pytest.raises(InputError, match=says):
        call()
