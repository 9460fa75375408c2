import numpy as np
import pytest

from metaloop.errors import InputError
from metaloop.structure.mapped import Membrane, Sheet, grid


def bent(nx=3, ny=2, seed=0):
    mesh, at = grid(nx, ny)
    places = at * [3.0, 1.0] + 0.03 * np.random.default_rng(seed).normal(size=at.shape)
    return mesh, at, places


def test_the_patch_test():
    # On a distorted mesh, a linear displacement has constant stress and is reproduced exactly.
    mesh, at, places = bent()
    linear = places @ np.array([[0.2, -0.1], [0.05, 0.3]]) + 0.7
    border = (at == 0).any(1) | (at == 1).any(1)
    sheet = Sheet(mesh, np.repeat(border[:, None], 2, 1), np.zeros((mesh.nodes, 2)))
    _, gradients, volumes = mesh.geometry(places)
    law = sheet.law.reshape(2, 2, 2, 2)
    cells = np.einsum("cpna,iajb,cpmb,cp->cnimj", gradients, law, gradients, volumes)
    matrix = mesh.assembled(cells.reshape(len(cells), 18, 18))
    force = (matrix @ linear.ravel()).reshape(-1, 2)
    assert np.abs(force[~border]).max() < 1e-12
    _, _, slope, stress = sheet.strains(places, linear)
    assert np.allclose(slope, np.array([[0.2, 0.05], [-0.1, 0.3]]), atol=1e-12)
    assert np.ptp(stress, axis=(0, 1)).max() < 1e-12


def test_a_slender_beam_bends_as_euler_says():
    mesh, at = grid(20, 1)
    places = (at - [0, 0.5]) * [100.0, 2.0]
    load = np.zeros((mesh.nodes, 2))
    tip = np.flatnonzero(at[:, 0] == 1)
    load[tip, 1] = np.array([1, 4, 1]) / 6
    fixed = np.zeros((mesh.nodes, 2), bool)
    fixed[at[:, 0] == 0] = True
    value, _, _ = Sheet(mesh, fixed, load, 0.0).compliance(places)
    inertia = 2.0**3 / 12
    assert value == pytest.approx(100**3 / (3 * inertia) + 1.2 * 2 * 100 / 2.0, rel=1e-3)  # with Timoshenko's shear


def test_gradients_of_compliance_are_finite_differences():
    mesh, at, places = bent()
    load = np.zeros((mesh.nodes, 2))
    load[at[:, 0] == 1, 1] = 1.0
    fixed = np.repeat((at[:, 0] == 0)[:, None], 2, 1)
    thickness = np.random.default_rng(1).uniform(0.5, 2, len(mesh.cells))
    sheet = Sheet(mesh, fixed, load, 0.3, thickness)
    _, moved, thicker = sheet.compliance(places)
    rng = np.random.default_rng(2)
    way, grow = rng.normal(size=places.shape), rng.normal(size=len(thickness))
    h = 1e-6
    numeric = (sheet.compliance(places + h * way)[0] - sheet.compliance(places - h * way)[0]) / (2 * h)
    assert (moved * way).sum() == pytest.approx(numeric, rel=1e-6)
    up, down = (Sheet(mesh, fixed, load, 0.3, thickness + s * h * grow).compliance(places)[0] for s in (1, -1))
    assert (thicker * grow).sum() == pytest.approx((up - down) / (2 * h), rel=2e-6)


def test_a_square_membrane():
    mesh, at = grid(8, 8)
    rim = (at == 0).any(1) | (at == 1).any(1)
    level, mode, moved = Membrane(mesh, rim).lowest(at)
    assert level == pytest.approx(2 * np.pi**2, rel=1e-4)
    assert np.abs(mode).max() == pytest.approx(2.0, rel=1e-3)
    way = np.random.default_rng(0).normal(size=at.shape) * 0.1
    h = 1e-5
    up, down = (Membrane(mesh, rim).lowest(at + s * h * way)[0] for s in (1, -1))
    assert (moved * way).sum() == pytest.approx((up - down) / (2 * h), rel=1e-6)


def test_area_and_its_gradient():
    mesh, at = grid(4, 12, periodic=True, pole=True)
    angle = 2 * np.pi * at[:, 1]
    places = at[:, :1] * np.column_stack([np.cos(angle), np.sin(angle)])
    area, slope = mesh.area(places)
    assert area == pytest.approx(np.pi, rel=3e-4)
    assert (slope * places).sum() == pytest.approx(2 * area)  # Euler's theorem for a function of degree 2


def test_bad_meshes():
    mesh, at = grid(2, 2)
    with pytest.raises(InputError, match="inside out near"):
        mesh.area(at * [-1, 1])
    with pytest.raises(InputError, match="places"):
        mesh.area(at[1:])
    with pytest.raises(InputError, match="cells"):
        grid(0, 2)
    with pytest.raises(InputError, match="load"):
        Sheet(mesh, np.zeros((mesh.nodes, 2), bool), np.zeros(3))
