import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metaloop.errors import InputError
from metaloop.structure.elasticity.element import conducting, elastic, signs


def test_the_square_is_the_one_of_the_literature():
    # Sigmund 2001: entries of the plane-stress square for Poisson's ratio 0.3, times 1 - 0.09.
    k = elastic(2, 0.3).matrix * (1 - 0.09)
    expected = {1 / 2 - 0.3 / 6, 1 / 8 + 0.3 / 8, -1 / 4 - 0.3 / 12, -1 / 8 + 3 * 0.3 / 8, -1 / 4 + 0.3 / 12,
                -1 / 8 - 0.3 / 8, 0.3 / 6, 1 / 8 - 3 * 0.3 / 8}  # fmt: skip
    found = {round(float(v), 12) for v in k.ravel()}
    assert found == {round(v, 12) for v in expected}


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("poisson", [0.0, 0.3, -0.4])
def test_a_uniform_strain_has_its_energy(axes, poisson):
    element = elastic(axes, poisson)
    corners = (np.arange(2**axes)[:, None] >> np.arange(axes) & 1).astype(float)
    rng = np.random.default_rng(0)
    gradient = rng.normal(size=(axes, axes))
    u = (corners @ gradient.T).ravel()
    strain = 0.5 * (gradient + gradient.T)
    shear = 1 / (2 * (1 + poisson))
    first = poisson / (1 - poisson**2) if axes == 2 else poisson / ((1 + poisson) * (1 - 2 * poisson))
    energy = 2 * shear * (strain**2).sum() + first * np.trace(strain) ** 2
    assert u @ element.matrix @ u == pytest.approx(energy, rel=1e-12)


@pytest.mark.parametrize("element", [elastic(2), elastic(3, 0.2), conducting(2), conducting(3)])
def test_in_parities_only_blocks_are_left(element):
    whole = element.in_parities(element.matrix)
    characters = np.arange(2**element.axes)
    rest = whole.copy()
    rest[characters, :, characters, :] = 0
    assert np.abs(rest).max() < 1e-15
    assert np.allclose(element.in_corners(whole), element.matrix, atol=1e-15)


def test_a_cube_has_45_entries():
    assert (np.abs(elastic(3).blocks) > 1e-12).sum() == 45
    assert (np.abs(elastic(2).blocks) > 1e-12).sum() == 10


@pytest.mark.parametrize("axes", [2, 3])
def test_rigid_motions_cost_nothing(axes):
    values = np.linalg.eigvalsh(elastic(axes).matrix)
    rigid = axes * (axes + 1) // 2
    assert np.abs(values[:rigid]).max() < 1e-14
    assert values[rigid] > 1e-2


@given(st.integers(2, 3), st.integers(0, 2**16))
@settings(max_examples=20, deadline=None)
def test_parities_and_back(axes, seed):
    element = elastic(axes)
    matrix = np.random.default_rng(seed).normal(size=element.matrix.shape)
    assert np.allclose(element.in_corners(element.in_parities(matrix)), matrix)


def test_signs_are_orthogonal():
    h = signs(3)
    assert np.array_equal(h @ h.T, 8 * np.eye(8))


@pytest.mark.parametrize(("make", "name"), [
    (lambda: elastic(4), "axes"), (lambda: conducting(1), "axes"), (lambda: elastic(3, 0.5), "poisson"),
    (lambda: elastic(2, -1), "poisson"),
])  # fmt: skip
def test_bad_input(make, name):
    with pytest.raises(InputError, match=name):
        make()
