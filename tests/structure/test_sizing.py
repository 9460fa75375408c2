"""Sizing against optima by hand, published optima, finite differences, and bad problems."""

import dataclasses

import numpy as np
import pytest

from metaloop.errors import InputError
from metaloop.structure.catalogue import select
from metaloop.structure.classic_trusses import CLASSICS, SECTIONS, seventy_two_bar, ten_bar_case, twenty_five_bar
from metaloop.structure.limits import Ratios, SizingProblem
from metaloop.structure.reciprocal import solve
from metaloop.structure.sizing import size
from metaloop.structure.truss import Truss

SIX = [name for name in CLASSICS if name != "200-bar"]


def two_bars(**limits):
    """Two bars at 45 degrees under a load straight down: forces -P/√2, whatever the areas."""
    truss = Truss([(0, 0), (2, 0), (1, 1)], [(0, 2), (1, 2)], {0: "xy", 1: "xy"}, {2: (0, -4.0)}, modulus=100.0)
    return SizingProblem(truss, **limits)


def test_a_determinate_truss_is_fully_stressed():
    found = size(two_bars(compression=2.0, tension=5.0), starts=2)
    np.testing.assert_allclose(found.areas, 4 / np.sqrt(2) / 2.0)
    assert set(found.active) == {"compression of bar 0 in case 0", "compression of bar 1 in case 0"}
    assert found.violation == 0
    assert found.kkt < 1e-9


def test_a_displacement_limit_by_hand():
    found = size(two_bars(displacement=0.01), starts=2)
    # each bar shortens by N l / E A, the joint sinks by √2 times that
    np.testing.assert_allclose(found.areas, 4 / np.sqrt(2) * np.sqrt(2) * np.sqrt(2) / (100 * 0.01))


def test_euler_buckling_by_hand():
    k = 0.08
    found = size(two_bars(tension=50.0, compression=50.0, buckling=k), starts=2)
    force, length = 4 / np.sqrt(2), np.sqrt(2)
    area = np.sqrt(force * length**2 / (np.pi**2 * 100 * k))  # N = π² E k A² / l²
    np.testing.assert_allclose(found.areas, area)
    assert "buckling of bar 0 in case 0" in found.active


def test_the_three_bar_truss_of_schmit_is_not_fully_stressed():
    """Schmit 1960: two mirrored loads of 20, stresses 20 / -15, density 0.1, height 10; optimum 2.639."""
    s = 20 / np.sqrt(2)
    truss = Truss([(-10, 10), (0, 10), (10, 10), (0, 0)], [(0, 3), (1, 3), (2, 3)], dict.fromkeys((0, 1, 2), "xy"),
                  [{3: (s, -s)}, {3: (-s, -s)}], modulus=1e4, density=0.1, groups=[0, 1, 0])  # fmt: skip
    found = size(SizingProblem(truss, tension=20.0, compression=15.0, lower=1e-3), starts=3)
    # minimize 2√2 x + y where the pulled bar's stress (√2 x + y) / (√2 x² + 2 x y) is 1: y is a function of x
    x = np.linspace(0.75, 0.85, 200_001)
    y = (np.sqrt(2) * x**2 - np.sqrt(2) * x) / (1 - 2 * x)
    assert found.value == pytest.approx((2 * np.sqrt(2) * x + y).min(), rel=1e-8)


@pytest.mark.parametrize("name", SIX)
def test_every_start_reaches_the_best_known_weight(name):
    classic = CLASSICS[name]()
    found = size(classic.problem, starts=2, seed=11)
    for start in found.starts:
        assert start.value == pytest.approx(classic.best, rel=1e-5)
        assert start.violation <= 1e-9
        assert start.kkt < 1e-6
        assert start.analyses <= 100
        # again with numpy alone
        ratios = Ratios(classic.problem, classic.problem.truss.analyze(start.areas))
        assert ratios.values.max() <= 1 + 1e-9
    assert found.analyses == sum(s.analyses for s in found.starts)


def test_published_designs_have_the_published_weights():
    printed = {
        "10-bar, case 1": ([30.5218, 0.1, 23.1999, 15.2229, 0.1, 0.5514, 7.4572, 21.0364, 21.5284, 0.1], 5060.85),
        "25-bar": ([0.01, 1.9870, 2.9935, 0.01, 0.01, 0.6840, 1.6769, 2.6621], 545.16),
        "72-bar": ([1.8862, 0.5123, 0.1, 0.1, 1.2684, 0.5117, 0.1, 0.1, 0.5237, 0.5171, 0.1, 0.1, 0.1565, 0.5456,
                    0.4104, 0.5697], 379.62),
    }  # fmt: skip
    for name, (areas, weight) in printed.items():
        problem = CLASSICS[name]().problem
        ratios = Ratios(problem, problem.truss.analyze(areas))
        assert ratios.analysis.weight == pytest.approx(weight, abs=0.01)
        assert ratios.values.max() < 1 + 1e-4  # rounded areas


def test_the_200_bar_truss_has_the_right_numbers():
    truss = CLASSICS["200-bar"]().problem.truss
    assert (len(truss.points), len(truss.ends), truss.variables) == (77, 200, 29)
    # counted in the paper's table of groups
    counts = [4, 5, 6, 10, 5, 16, 4, 5, 6, 5, 16, 4, 5, 6, 5, 16, 4, 5, 6, 5, 16, 4, 5, 6, 5, 16, 4, 4, 2]
    np.testing.assert_array_equal(np.bincount(truss.group), counts)
    assert truss.forces.sum(axis=(0, 1)) == pytest.approx([22.0, -1100.0])


def test_ratios_have_exact_first_and_second_derivatives():
    rng = np.random.default_rng(3)
    problem = dataclasses.replace(twenty_five_bar(), buckling=0.7)
    areas, h = rng.uniform(0.5, 2.0, 8), 1e-5
    ratios = Ratios(problem, problem.truss.analyze(areas))
    weights = rng.normal(size=len(ratios.values))
    slope, curve = ratios.curvature(weights)
    np.testing.assert_allclose(slope, weights @ ratios.jacobian, rtol=1e-9)
    for g in range(8):
        up, down = (Ratios(problem, problem.truss.analyze(areas + s * h * np.eye(8)[g])) for s in (1, -1))
        np.testing.assert_allclose(ratios.jacobian[:, g], (up.values - down.values) / (2 * h), rtol=1e-5, atol=1e-6)
        turned = weights @ (up.jacobian - down.jacobian) / (2 * h)
        np.testing.assert_allclose(curve[g], turned, rtol=1e-5, atol=1e-5 * np.abs(curve).max())
    twice = ratios.scaled(2.0)
    np.testing.assert_allclose(twice.values, ratios.values / 2.0**ratios.degrees, rtol=1e-9, atol=1e-12)
    assert ratios.scaled(ratios.needed).values.max() == pytest.approx(1)


def test_the_convex_step_solves_its_problem():
    """Against optimality conditions worked out apart from the solver."""
    rng = np.random.default_rng(5)
    cost = rng.uniform(0.1, 1, 6)
    cost /= cost.sum()
    rows = rng.normal(size=(9, 6)) * 0.3
    right = rows.sum(axis=1) + rng.uniform(0, 0.3, 9)
    step = solve(cost, np.zeros((6, 6)), rows, right, np.full(6, 0.25), np.full(6, 4.0))
    assert step is not None
    y, z = step
    assert (rows @ y <= right + 1e-8).all()
    assert (z >= 0).all()
    assert np.abs(z * (right - rows @ y)).max() < 1e-8
    pull = cost / y**2 - rows.T @ z
    inner = (y > 0.2501) & (y < 3.999)
    assert inner.any()
    assert np.abs(pull[inner]).max() < 1e-7
    assert (pull[y >= 3.999] > -1e-7).all()


def test_starts_are_a_function_of_the_seed_alone():
    problem = ten_bar_case(2)
    seen: list[tuple[int, float]] = []
    three = size(problem, starts=3, seed=4, raises=(), progress=lambda k, value: seen.append((k, value)))
    two = size(problem, starts=2, seed=4, raises=())
    assert seen == [(k + 1, s.value) for k, s in enumerate(three.starts)]
    for a, b in zip(three.starts, two.starts, strict=False):
        np.testing.assert_array_equal(a.areas, b.areas)
    assert not np.array_equal(three.starts[0].begun, size(problem, starts=1, seed=5, raises=()).starts[0].begun)


def test_limits_that_cannot_be_kept_are_said():
    found = size(two_bars(compression=2.0, upper=0.5), starts=2)
    assert found.violation == pytest.approx(4 / np.sqrt(2) / 0.5 / 2 - 1, rel=1e-6)
    assert "no start kept all limits" in found.status


def test_an_upper_bound_that_rules_is_kept():
    problem = dataclasses.replace(ten_bar_case(1), upper=30.0)
    found = size(problem, starts=2)
    assert found.areas.max() <= 30.0
    assert found.violation <= 1e-9
    assert found.value > 5060.86
    assert found.kkt < 1e-6


def test_the_catalogue_gives_the_published_design():
    found = select(ten_bar_case(1), SECTIONS)
    assert set(found.areas) <= set(SECTIONS)
    assert found.value == pytest.approx(5490.74, abs=0.01)
    assert found.violation <= 1e-9
    assert found.relaxed < found.bound <= found.value


def test_a_catalogue_search_finds_what_trying_all_finds():
    problem = dataclasses.replace(two_bars(compression=2.0, tension=5.0, displacement=0.08), lower=0.5)
    sections = [0.5, 0.8, 1.3, 1.45, 1.6, 2.1]
    tried = [
        problem.truss.analyze((a, b)).weight
        for a in sections
        for b in sections
        if Ratios(problem, problem.truss.analyze((a, b))).values.max() <= 1
    ]
    assert select(problem, sections).value == pytest.approx(min(tried))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tension": -1.0}, "tension"),
        ({"compression": [1.0, 2.0, 3.0]}, "compression"),
        ({"displacement": 0.0}, "displacement"),
        ({"lower": 0.0}, "lower"),
        ({"lower": 2.0, "upper": 1.0}, "upper"),
        ({"buckling": -1}, "buckling"),
        ({"tension": np.inf}, "tension"),
    ],
)
def test_bad_problems_are_refused_in_one_line(change, says):
    with pytest.raises(InputError, match=says) as caught:
        two_bars(**change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [({"starts": 0}, "starts"), ({"starts": [[1.0]]}, "starts"), ({"limit": 1}, "limit"), ({"raises": [0]}, "raises")],
)
def test_bad_calls_are_refused(change, says):
    with pytest.raises(InputError, match=says):
        size(two_bars(tension=1.0), **change)
    with pytest.raises(InputError, match="catalogue"):
        select(two_bars(tension=1.0), [-1.0])


def test_the_72_bar_truss_is_symmetric_enough_to_check_its_groups():
    truss = seventy_two_bar().truss
    np.testing.assert_array_equal(np.bincount(truss.group), [4, 8, 4, 2] * 4)
