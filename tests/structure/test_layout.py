"""Layouts against structures by hand, Michell's, the whole linear program, and its dual."""

import numpy as np
import pytest

from metaloop.errors import InputError
from metaloop.structure.layout import LayoutProblem, inside, layout


def grid(columns, rows, width, height):
    return np.array([(width * i / columns, height * j / rows) for i in range(columns + 1) for j in range(rows + 1)])


def at(nodes, *place):
    return int(np.argmin(np.abs(nodes - place).sum(axis=1)))


def wheel(n, **more):
    """A load midway between two held joints 2 apart, and the half plane above."""
    nodes = grid(2 * n, n, 2.0, 1.0)
    return LayoutProblem(nodes, {at(nodes, 0, 0): "xy", at(nodes, 2, 0): "xy"}, {at(nodes, 1, 0): (0, -1)}, **more)


def cantilever(columns, rows, **more):
    nodes = grid(columns, rows, 2.0, 1.0)
    held = dict.fromkeys(np.flatnonzero(nodes[:, 0] == 0).tolist(), "xy")
    return LayoutProblem(nodes, held, more.pop("loads", {at(nodes, 2, 0): (0, -1)}), **more)


def proved(found):
    """Recompute the certificate from what is returned."""
    assert found.gap < 1e-6
    assert found.strain <= 1 + 1e-6
    assert found.residual < 1e-7
    assert "optimal" in found.status


def test_two_bars_by_hand():
    nodes = [(0, 0), (2, 0), (1, 1)]
    found = layout(LayoutProblem(nodes, {0: "xy", 1: "xy"}, {2: (0, -3)}, tension=1.0, compression=0.5))
    np.testing.assert_allclose(np.sort(found.forces[0]), [-3 / np.sqrt(2)] * 2)
    assert found.volume == pytest.approx(2 * np.sqrt(2) * 3 / np.sqrt(2) / 0.5)
    proved(found)


def test_three_bars_hang_a_load_from_the_nearest_support():
    nodes = [(-1, 1), (0, 1), (1, 1), (0, 0)]
    found = layout(LayoutProblem(nodes, {0: "xy", 1: "xy", 2: "xy"}, {3: (0, -2)}, tension=4.0))
    np.testing.assert_array_equal(found.bars, [[1, 3]])
    assert found.volume == pytest.approx(0.5)


def test_a_bar_in_space():
    nodes = [(0, 0, 0), (2, 0, 0), (0, 2, 0), (0.5, 0.5, 1.0)]
    found = layout(LayoutProblem(nodes, {0: "xyz", 1: "xyz", 2: "xyz"}, {3: (0.1, 0.0, -1)}))
    # statically determinate: the three forces follow from the load
    directions = (np.array(nodes[:3]) - nodes[3]) / np.linalg.norm(np.array(nodes[:3]) - nodes[3], axis=1)[:, None]
    forces = np.linalg.solve(directions.T, [-0.1, 0, 1])
    assert found.volume == pytest.approx(
        np.abs(forces) @ np.linalg.norm(np.array(nodes[:3]) - nodes[3], axis=1), rel=1e-9
    )


def test_refinement_comes_down_to_michells_wheel():
    """Two straight bars and a quarter of a wheel, by hand: 1 + π/4 + π/4 times load and half span."""
    exact = 1 + np.pi / 2
    volumes = []
    for n in (2, 4, 8):
        found = layout(wheel(n))
        proved(found)
        volumes.append(found.volume)
    errors = np.array(volumes) / exact - 1
    assert (errors > 0).all()
    assert (np.diff(errors) < 0).all()
    assert errors[-1] < 0.015


def test_joints_on_rings_converge_to_the_wheel_at_second_order():
    """A polygon of 2n sides about the load in place of the circle, and rings of joints that are not needed."""
    errors = []
    for n in (4, 8, 16):
        angles = np.linspace(0, np.pi, 2 * n + 1)
        ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        inner = [r * ring[1:-1:2] for r in (0.3, 0.5, 0.9, 1.1)]
        nodes = np.concatenate([[(0, 0), (-1, 0), (1, 0)], ring / np.sqrt(2), *inner])
        found = layout(LayoutProblem(nodes, {1: "xy", 2: "xy"}, {0: (0, -1)}))
        proved(found)
        errors.append(found.volume / (1 + np.pi / 2) - 1)
    assert min(errors) > 0
    np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), 4, rtol=0.05)


@pytest.mark.parametrize("joint", [0.0, 0.2])
def test_adding_members_ends_at_the_optimum_of_all_pairs(joint):
    problem = cantilever(14, 7, joint=joint, compression=0.7)
    added, whole = layout(problem), layout(problem, adding=False)
    proved(added)
    proved(whole)
    assert added.volume == pytest.approx(whole.volume, rel=1e-6)
    assert added.rounds[-1][0] < 0.6 * whole.rounds[0][0]
    assert added.potential == 120 * 119 // 2
    volumes = [volume for _, volume, _ in added.rounds]
    assert (np.diff(volumes) <= 1e-9).all()


def test_a_search_that_is_stopped_says_how_far_it_may_be_from_the_optimum():
    problem, seen = cantilever(14, 7, compression=0.7), []
    stopped = layout(problem, most_rounds=1, progress=lambda k, volume: seen.append((k, volume)))
    best = layout(problem).volume
    assert stopped.bound <= best * (1 + 1e-9)
    assert best <= stopped.volume
    assert stopped.strain > 1.001
    assert "stopped after 1" in stopped.status
    assert [k for k, _ in seen] == [1]


def test_a_joint_cost_makes_it_simpler_and_heavier():
    free, dear = layout(cantilever(8, 4)), layout(cantilever(8, 4, joint=0.3))
    assert len(dear.bars) < len(free.bars)
    lengths = np.linalg.norm(np.diff(cantilever(8, 4).points[dear.bars], axis=1)[:, 0], axis=1)
    assert lengths @ dear.areas > free.volume - 1e-9


def test_several_load_cases():
    nodes = grid(8, 4, 2.0, 1.0)
    up, down = ({at(nodes, 2, 0.5): (0, s)} for s in (1, -1))
    both = layout(cantilever(8, 4, loads=[up, down]))
    alone = layout(cantilever(8, 4, loads=[down]))
    proved(both)
    assert both.volume >= alone.volume - 1e-9
    # mirrored loads need no more than the sum, and every case is in balance within the areas
    assert both.volume <= 2 * alone.volume + 1e-9
    assert (np.abs(both.forces) <= both.areas * (1 + 1e-9)).all()
    same = layout(cantilever(8, 4, loads=[down, down]))
    assert same.volume == pytest.approx(alone.volume)
    whole = layout(cantilever(8, 4, loads=[up, down]), adding=False)
    assert both.volume == pytest.approx(whole.volume, rel=1e-6)


def test_all_bars_keep_to_the_domain():
    corner = [(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (0, 2)]  # an L lying down
    nodes = np.array([p for p in grid(8, 8, 2.0, 2.0) if not (p[0] > 1 and p[1] < 1)])
    held = dict.fromkeys(np.flatnonzero(nodes[:, 1] == 0).tolist(), "xy")
    free = LayoutProblem(nodes, held, {at(nodes, 2, 1): (0, -1)})
    kept = LayoutProblem(nodes, held, {at(nodes, 2, 1): (0, -1)}, domain=corner)
    without, within = layout(free), layout(kept)
    proved(within)
    assert within.volume > without.volume * 1.01
    middles = nodes[within.bars].mean(axis=1)
    assert not ((middles[:, 0] > 1 + 1e-9) & (middles[:, 1] < 1 - 1e-9)).any()


def test_inside_of_a_polygon():
    corner = np.array([(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (0, 2)], dtype=float)
    a = np.array([(0, 0), (0, 0), (1, 0), (1, 0.5), (0.5, 0.5), (1, 0), (0, 0)], dtype=float)
    b = np.array([(0, 2), (2, 2), (2, 1), (1, 2), (2, 2), (1, 2), (2, 1)], dtype=float)
    np.testing.assert_array_equal(inside(corner, a, b), [True, True, False, True, True, True, False])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"supports": {}}, "supports"),
        ({"loads": {}}, "at least one"),
        ({"loads": {0: (1, 0)}}, "held"),
        ({"nodes": [(0, 0), (0, 0), (1, 1)]}, "different places"),
        ({"tension": 0}, "tension"),
        ({"joint": -1}, "joint"),
        ({"domain": [(0, 0), (1, 1)]}, "three corners"),
        ({"longest": 0}, "longest"),
    ],
)
def test_bad_problems_are_refused_in_one_line(change, says):
    good = {"nodes": [(0, 0), (2, 0), (1, 1)], "supports": {0: "xy", 1: "xy"}, "loads": {2: (0, -1)}}
    with pytest.raises(InputError, match=says) as caught:
        LayoutProblem(**(good | change))
    assert "\n" not in str(caught.value)


def test_loads_that_nothing_can_carry_are_refused():
    problem = LayoutProblem([(0, 0), (1, 0), (2, 0)], {0: "xy"}, {2: (0, -1)})
    with pytest.raises(InputError, match="loads"):
        layout(problem)
