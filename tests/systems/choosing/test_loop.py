import numpy as np
import pytest

from metaloop import Auto, GaussianProcess, GridSearch, RandomSearch
from metaloop.systems.choosing.loop import (
    contest,
    distinct_and_gap,
    grid,
    hit_counts,
    inside_missed,
    random_points,
    search,
)
from metaloop.systems.choosing.model import cube, missed_region, shapes, tuning_table


def test_a_grid_is_every_combination_once():
    points = grid(3, 2)
    assert sorted(map(tuple, points.tolist())) == [(a, b) for a in (0, 0.5, 1) for b in (0, 0.5, 1)]


def test_points_inside_are_counted():
    points = random_points(3, 64, 0)
    at_random = sum(missed_region(4, 3, f).contains(points).sum() for f in (0.1, 0.5))
    assert inside_missed(4, 3, (0.1, 0.5), seed=0).tolist() == [64, 0, at_random, 128]


@pytest.mark.parametrize(
    ("points", "distinct", "gap"),
    [([[0.0], [0.5], [0.5], [1.0]], 3, 0.5), ([[0.2, 0.9]], 1, 0.85), ([[0.0, 0.25], [1.0, 0.75]], 2, 0.75)],
)
def test_distinct_values_and_the_widest_gap(points, distinct, gap):
    assert distinct_and_gap(np.array(points)) == pytest.approx((distinct, gap))


def test_hits_are_counted_as_by_hand():
    trials, runs = (1, 3, 7), 50
    regions = shapes(2, 0.1, 3)
    points = random_points(2, runs * 7, 5).reshape(runs, 7, 2)
    found = hit_counts(cube(2), regions, trials, runs, 5)
    for name, region in regions.items():
        byhand = [sum(region.contains(run[:n]).any() for run in points) for n in trials]
        assert found[name].tolist() == byhand


@pytest.mark.parametrize("optimizer", [RandomSearch(), GaussianProcess(), Auto(), GridSearch(levels=2)])
def test_a_search_keeps_its_books(optimizer):
    table = tuning_table("svm-digits")
    run = search(table, optimizer, 0, 3, [4, 8], noisy=True)
    assert len(run.visited) == len(run.observed) == 8
    assert len(run.incumbents) == 2
    assert 0 <= run.incumbents[0] < 4
    loss = table.objective(0, 3)
    for k, value in zip(run.visited, run.observed, strict=True):
        row = (np.array(np.unravel_index(k, table.space.cells.astype(int))) + 0.5) / table.space.cells
        assert loss(table.space.decode(row)[0]) == value
    assert bool(run.decisions) == isinstance(optimizer, Auto)


def test_a_contest_is_a_function_of_its_seeds():
    table = tuning_table("svm-digits")
    seen = []
    found = contest(table, (0, None), (4, 9), range(7, 9), lambda *a: seen.append(a))
    assert [share for share, _ in seen] == [0, 0.25, 0.5, 0.75]
    again = contest(table, (0, None), (4, 9), [8], lambda *a: None)
    for name in ("grid", "random", "GP", "Auto"):
        assert found.recommended[name].shape == (2, 2, 2)
        np.testing.assert_array_equal(found.recommended[name][..., 1:], again.recommended[name])
        assert (found.best_visited[name] <= found.recommended[name]).all()
        # Without noise the best observation is the best, and more trials cannot hurt.
        np.testing.assert_array_equal(found.recommended[name][1], found.best_visited[name][1])
    assert (np.diff(found.best_visited["GP"], axis=1) <= 0).all()
    assert len(found.runs["GP"]) == 2
    assert all(len(run.visited) == 9 for run in found.runs["random"])
    assert found.auto[1, 1, 0][0].chosen
