"""Plane frames against the formulas of beams, energy, and finite differences."""

import numpy as np
import pytest

from metaloop.errors import InputError
from metaloop.structure.frame import Frame, rectangle, similar


def cantilever(parts=1, load=(0.0, -2.0, 0.0), turn=0.0):
    x = np.linspace(0, 3.0, parts + 1)
    nodes = np.stack([x * np.cos(turn), x * np.sin(turn)], axis=1)
    beams = [(k, k + 1) for k in range(parts)]
    return Frame(nodes, beams, {0: "xyr"}, {parts: load}, rectangle(0.2), modulus=7.0, density=2.0, groups=[0] * parts)


@pytest.mark.parametrize("parts", [1, 4])
def test_a_cantilever_bends_as_the_formula_says(parts):
    a = cantilever(parts).analyze([0.5])
    second = 0.2 * 0.5**3 / 12
    assert a.displacements[0, -1, 1] == pytest.approx(-2.0 * 3**3 / (3 * 7 * second))
    assert a.displacements[0, -1, 2] == pytest.approx(-2.0 * 3**2 / (2 * 7 * second))
    assert np.abs(a.stresses[0, 0]).max() == pytest.approx(2.0 * 3 * 0.25 / second)  # M c / I at the wall
    assert a.weight == pytest.approx(2.0 * 3 * 0.1)


def test_an_inclined_cantilever_is_the_same_in_its_own_directions():
    angle = 0.7
    force = np.array([0.3, -2.0])
    spin = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    flat = cantilever(2, (*force, 0.4)).analyze([0.5])
    steep = cantilever(2, (*(spin @ force), 0.4), angle).analyze([0.5])
    np.testing.assert_allclose(steep.displacements[0, :, :2], flat.displacements[0, :, :2] @ spin.T, rtol=1e-9)
    np.testing.assert_allclose(steep.end_forces, flat.end_forces, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(steep.stresses, flat.stresses, rtol=1e-9, atol=1e-9)


def test_a_beam_built_in_at_both_ends_has_the_moments_of_the_tables():
    frame = Frame([(0, 0), (2, 0), (4, 0)], [(0, 1), (1, 2)], {0: "xyr", 2: "xyr"}, {1: (0, -5, 0)}, similar(1 / 12))
    a = frame.analyze([1.0, 1.0])
    assert a.displacements[0, 1, 1] == pytest.approx(-5 * 4**3 / (192 / 12))
    assert abs(a.end_forces[0, 0, 2]) == pytest.approx(5 * 4 / 8)
    assert abs(a.end_forces[0, 0, 5]) == pytest.approx(5 * 4 / 8)


def portal():
    nodes = [(0, 0), (0, 3), (4, 3.5), (4, 0)]
    loads = [{1: (1.0, 0, 0)}, {2: (0.5, -2.0, 0.3)}]
    return Frame(nodes, [(0, 1), (1, 2), (2, 3)], {0: "xyr", 3: "xy"}, loads, similar(0.1, 0.6), 50.0, groups=[0, 1, 0])


def test_stresses_balance_the_loads():
    a = portal().analyze([0.8, 1.3])
    # end forces of all beams at the loaded joints, in global directions, are the loads
    frame = a.frame
    whole = np.zeros((2, 12))
    for beam, places in enumerate(frame.places):
        whole[:, places] += a.end_forces[:, beam] @ frame._turn[beam]
    held = frame.fixed.ravel()
    np.testing.assert_allclose(whole[:, ~held], frame.forces.reshape(2, -1)[:, ~held], atol=1e-10)
    np.testing.assert_allclose(whole.reshape(2, 4, 3).sum(axis=1)[:, :2], 0, atol=1e-9)


@pytest.mark.parametrize("section", [similar(0.1, 0.6), rectangle(0.4)])
def test_derivatives_agree_with_finite_differences(section):
    frame = portal()
    frame = Frame(frame.nodes, frame.beams, frame.supports, frame.loads, section, 50.0, groups=[0, 1, 0])
    x, h = np.array([0.8, 1.3]), 1e-6
    a = frame.analyze(x)
    moved, stress = a.jacobian()
    pull = np.random.default_rng(0).normal(size=frame.forces.shape)
    adjoint = a.gradient(pull)
    for g in range(2):
        step = h * np.eye(2)[g]
        up, down = frame.analyze(x + step), frame.analyze(x - step)
        u = (up.displacements - down.displacements) / (2 * h)
        np.testing.assert_allclose(moved[..., g], u, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(stress[..., g], (up.stresses - down.stresses) / (2 * h), rtol=1e-6, atol=1e-7)
        assert adjoint[g] == pytest.approx((pull * u).sum(), rel=1e-6)
        assert a.weight_slope[g] == pytest.approx((up.weight - down.weight) / (2 * h))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"supports": {}}, "supports"),
        ({"supports": {0: "x"}}, "joint"),
        ({"supports": {0: "xz"}}, "letters"),
        ({"loads": {0: (1, 0, 0)}}, "held"),
        ({"loads": {1: (1, 0)}}, "3 finite numbers"),
        ({"loads": {1: (0, 0, 0)}}, "at least one"),
        ({"beams": [(0, 1), (1, 1), (1, 2)]}, "different places"),
        ({"beams": [(0, 1), (1, 7)]}, "0 to 2"),
        ({"beams": [(0, 1)]}, "joint 2"),
        ({"modulus": 0}, "modulus"),
        ({"groups": [0, 2]}, "groups"),
    ],
)
def test_bad_frames_are_refused_in_one_line(change, says):
    good = {"nodes": [(0, 0), (1, 0), (2, 0)], "beams": [(0, 1), (1, 2)], "supports": {0: "xyr"},
            "loads": {2: (0, 1, 0)}, "section": rectangle(1.0)}  # fmt: skip
    assert Frame(**good).analyze([1.0, 1.0]).compliance[0] > 0
    with pytest.raises(InputError, match=says) as caught:
        Frame(**(good | change))
    assert "\n" not in str(caught.value)


def test_bad_sizes_are_refused():
    with pytest.raises(InputError, match="sizes"):
        portal().analyze([1.0, -1.0])
    with pytest.raises(InputError, match="width"):
        rectangle(0)
