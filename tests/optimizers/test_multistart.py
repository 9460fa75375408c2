"""Local searches begin at points that no better point is near to."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from metaloop.optimizers.multistart import Starts, distance
from metaloop.space import Categorical, Float, Space
from metaloop.testing.optimizers import SPACES

BOX = Space.from_bounds([(0.0, 1.0)] * 2)


def filled(space, rows, values, used=()):
    starts = Starts.empty(space.dim)
    for i, (row, value) in enumerate(zip(rows, values, strict=True)):
        starts.add(space, row, 0.0, value, used=i in used)
    return starts


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["box", "mixed", "nested"]))
def test_distances_to_better_points_are_kept(seed, name):
    rng, space = np.random.default_rng(seed), SPACES[name]
    rows, values = space.sample(rng, 30), rng.permutation(30)
    starts = filled(space, rows, values)
    for i in range(30):
        gaps = distance(space, rows, rows[i])[values < values[i]]
        assert starts.apart[i] == gaps.min(initial=np.inf)


def test_takes_the_bottom_of_each_basin():
    """Two bowls: of 300 points, the best one is taken first, and the best of the other bowl within a few."""
    rng = np.random.default_rng(0)
    rows = rng.random((300, 2))
    a, b = (((rows - c) ** 2).sum(axis=1) for c in (0.2, 0.8))
    starts = filled(BOX, rows, np.minimum(a, b + 0.01))
    assert starts.take(BOX) == np.argmin(np.minimum(a, b + 0.01))
    taken = []
    while (k := starts.take(BOX)) >= 0:
        taken.append(k)
    assert np.argmin(b) in taken
    assert len(taken) <= 10


def test_nothing_begins_near_a_better_point_that_was_used():
    starts = filled(BOX, [[0.5, 0.5], [0.52, 0.5]], [0.0, 1.0], used=[0])
    assert starts.take(BOX) == -1
    starts.add(BOX, np.array([0.5, 0.51]), 0.0, -1.0)
    assert starts.take(BOX) == 2


def test_other_discrete_values_are_far():
    space = Space(x=Float(0, 1), c=Categorical(["a", "b"]))
    starts = filled(space, space.snap([[0.5, 0.2], [0.5, 0.8]]), [0.0, 1.0])
    assert [starts.take(space) for _ in range(3)] == [0, 1, -1]


def test_feasible_points_come_first_and_memory_is_bounded():
    starts = Starts.empty(2)
    starts.add(BOX, np.array([0.1, 0.1]), 1.0, -5.0)
    starts.add(BOX, np.array([0.9, 0.9]), 0.0, 7.0)
    assert starts.best == 7.0
    assert starts.take(BOX) == 1
    for row in np.random.default_rng(0).random((2500, 2)):
        starts.add(BOX, row, 0.0, float(row.sum()))
    assert len(starts.rows) <= 2000
    assert starts.sampled == 2502
