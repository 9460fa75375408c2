"""Trusses against solutions by hand, energy, and finite differences."""

import dataclasses

import numpy as np
import pytest

from metaloop.errors import InputError
from metaloop.structure.truss import Truss


def two_bars(area=2.0, modulus=10.0):
    """Two bars at 45 degrees that hold a load between them."""
    truss = Truss([(0, 0), (2, 0), (1, 1)], [(0, 2), (1, 2)], {0: "xy", 1: "xy"}, {2: (3.0, -4.0)}, modulus)
    return truss.analyze([area, area])


def test_two_bars_by_hand():
    a = two_bars()
    root = np.sqrt(2)
    np.testing.assert_allclose(a.forces[0], [(3 - 4) / root, (-3 - 4) / root])
    # each bar of length √2 lengthens by N l / E A along its own direction
    right = (a.forces[0] * root / 20) @ [1, -1] / root
    up = (a.forces[0] * root / 20) @ [1, 1] / root
    np.testing.assert_allclose(a.displacements[0, 2], [right, up])
    assert a.weight == pytest.approx(4 * root)
    assert a.residual < 1e-14


def test_three_bars_are_statically_indeterminate_and_share_the_load_by_stiffness():
    """Timoshenko's three-bar truss: vertical bar of length 1, two at 45 degrees, equal areas."""
    truss = Truss(
        [(-1, 1), (0, 1), (1, 1), (0, 0)], [(0, 3), (1, 3), (2, 3)], {0: "xy", 1: "xy", 2: "xy"}, {3: (0, -1)}
    )
    middle = 1 / (1 + 2 * np.cos(np.pi / 4) ** 3)
    side = middle * np.cos(np.pi / 4) ** 2
    np.testing.assert_allclose(truss.analyze([1.0, 1.0, 1.0]).forces[0], [side, middle, side])


def space_truss(seed=0):
    """A braced prism in space with irregular joints, two load cases and groups."""
    rng = np.random.default_rng(seed)
    nodes = np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 1)]) + 0.1 * rng.normal(size=(6, 3))
    bars = [(0, 3), (1, 4), (2, 5), (3, 4), (4, 5), (3, 5), (0, 4), (1, 5), (2, 3), (1, 3), (2, 4), (0, 5)]
    loads = [{3: (0.3, 0, -1)}, {4: (0, 1, 0.2), 5: (-0.5, 0.1, 0)}]
    modulus = rng.uniform(1, 2, len(bars))
    groups = [0, 0, 0, 1, 1, 1, 2, 3, 4, 2, 3, 4]
    return Truss(nodes, bars, {0: "xyz", 1: "xyz", 2: "xyz"}, loads, modulus, density=0.3, groups=groups)


AREAS = np.array([1.0, 0.7, 1.3, 0.4, 0.9])


def test_forces_balance_the_loads_and_their_work_is_the_strain_energy():
    a = space_truss().analyze(AREAS)
    t = a.truss
    unit = t.spans / t.lengths[:, None]
    pulled = np.zeros(t.forces.shape)
    for k in range(2):
        np.add.at(pulled[k], t.ends[:, 0], a.forces[k][:, None] * unit)
        np.add.at(pulled[k], t.ends[:, 1], -a.forces[k][:, None] * unit)
    np.testing.assert_allclose((pulled + t.forces)[:, ~t.fixed], 0, atol=1e-13)
    energy = (a.forces**2 * t.lengths / (t.moduli * a.sections)).sum(axis=1)
    np.testing.assert_allclose(a.compliance, energy)


def test_virtual_work_gives_a_displacement_from_two_sets_of_forces():
    t = space_truss()
    real = t.analyze(AREAS)
    virtual = dataclasses.replace(t, loads={4: (0, 0, 1)}).analyze(AREAS)
    work = (real.forces[0] * virtual.forces[0] * t.lengths / (t.moduli * real.sections)).sum()
    assert real.displacements[0, 4, 2] == pytest.approx(work)


@pytest.mark.parametrize("plane", [True, False])
def test_derivatives_agree_with_finite_differences(plane):
    if plane:
        truss = Truss([(0, 0), (2, 0.2), (1.1, 1), (2.5, 1.4)], [(0, 2), (1, 2), (2, 3), (1, 3), (0, 3)],
                      {0: "xy", 1: "xy"}, [{2: (1, -1)}, {3: (0.5, 0.3)}], [1.0, 2, 3, 1, 2])  # fmt: skip
    else:
        truss = space_truss()
    rng = np.random.default_rng(1)
    a = truss.analyze(AREAS)
    by_moved, by_stress = rng.normal(size=truss.forces.shape), rng.normal(size=a.stresses.shape)
    area, nodes = a.gradient(by_moved, by_stress)
    moved, stress = a.jacobian()

    def value(b):
        return (by_moved * b.displacements).sum() + (by_stress * b.stresses).sum()

    h = 1e-6
    for g in range(5):
        up, down = truss.analyze(AREAS + h * np.eye(5)[g]), truss.analyze(AREAS - h * np.eye(5)[g])
        assert area[g] == pytest.approx((value(up) - value(down)) / (2 * h), rel=1e-6, abs=1e-7)
        np.testing.assert_allclose(
            moved[..., g], (up.displacements - down.displacements) / (2 * h), rtol=1e-5, atol=1e-7
        )
        np.testing.assert_allclose(stress[..., g], (up.stresses - down.stresses) / (2 * h), rtol=1e-5, atol=1e-7)
        assert truss.weights[g] == pytest.approx((up.weight - down.weight) / (2 * h))
    for joint in range(len(truss.points)):
        for axis in range(truss.points.shape[1]):
            step = np.zeros(truss.points.shape)
            step[joint, axis] = h
            up, down = (dataclasses.replace(truss, nodes=truss.points + s * step).analyze(AREAS) for s in (1, -1))
            assert nodes[joint, axis] == pytest.approx((value(up) - value(down)) / (2 * h), rel=1e-6, abs=1e-7)


def test_a_multiple_needs_no_new_analysis():
    a = space_truss().analyze(AREAS)
    scaled, again = a.scaled(3.0), a.truss.analyze(3 * AREAS)
    np.testing.assert_allclose(scaled.displacements, again.displacements)
    np.testing.assert_allclose(scaled.jacobian()[1], again.jacobian()[1], atol=1e-14)
    assert scaled.residual < 1e-12


GOOD = {"nodes": [(0, 0), (2, 0), (1, 1)], "bars": [(0, 2), (1, 2)], "supports": {0: "xy", 1: "xy"},
        "loads": {2: (0, -1)}}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"supports": {}}, "holds at least one"),
        ({"supports": {0: "xy"}}, "joint 1 moves in|joint 2 moves in"),
        ({"supports": {0: "xz", 1: "xy"}}, "letters 'xy'"),
        ({"supports": {9: "xy"}}, "0 to 2"),
        ({"supports": {0: "xy", 1: "xy", 2: "xy"}, "loads": {}}, "at least one force"),
        ({"loads": {0: (1, 0), 2: (1, 0)}}, r"loads\[0\]\[0\].*held"),
        ({"loads": {2: (1, 0, 0)}}, "2 finite numbers"),
        ({"loads": []}, "at least one load case"),
        ({"bars": [(0, 2), (1, 1), (1, 2)]}, r"bars\[1\].*different places"),
        ({"bars": [(0, 2), (1, 5)]}, "0 to 2"),
        ({"bars": [(0, 1)]}, "joint 2"),
        ({"bars": [(0, 2)], "nodes": [(0, 0), (2, 0), (1, 1)]}, "joint 1"),
        ({"nodes": [(0, 0), (2, np.nan), (1, 1)]}, "finite"),
        ({"modulus": [1, 2, 3]}, "2 of them"),
        ({"density": 0}, "positive"),
        ({"groups": [0, 2]}, "leave none out"),
    ],
)
def test_bad_trusses_are_refused_in_one_line(change, says):
    assert Truss(**GOOD).analyze([1.0, 1.0]).compliance[0] > 0
    with pytest.raises(InputError, match=says) as caught:
        Truss(**(GOOD | change))
    assert "\n" not in str(caught.value)


def test_a_mechanism_is_named_by_the_joint_and_direction_that_move():
    square = [(0, 0), (1, 0), (1, 1), (0, 1)]
    frame = [(0, 3), (3, 2), (2, 1)]
    with pytest.raises(InputError, match=r"joint [23] moves in x"):
        Truss(square, frame, {0: "xy", 1: "xy"}, {2: (0, -1)})
    braced = Truss(square, [*frame, (0, 2)], {0: "xy", 1: "xy"}, {2: (0, -1)})
    assert braced.analyze(np.ones(4)).residual < 1e-12
    # two bars in one line hold nothing across it
    with pytest.raises(InputError, match="joint 1 moves in y"):
        Truss([(0, 0), (1, 0), (2, 0)], [(0, 1), (1, 2)], {0: "xy", 2: "xy"}, {1: (1, 0)})


@pytest.mark.parametrize("areas", [[1.0], [1.0, 0.0], [1.0, np.nan], "ab"])
def test_bad_areas_are_refused(areas):
    with pytest.raises(InputError, match="areas"):
        Truss(**GOOD).analyze(areas)
