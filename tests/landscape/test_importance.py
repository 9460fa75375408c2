import numpy as np
import pytest

from metaloop.errors import InputError
from metaloop.landscape.importance import importance
from metaloop.space import Categorical, Float, Space


def test_an_additive_function_with_known_indices():
    space = Space.from_bounds([(0.0, 1.0)] * 4)
    x = space.sample(np.random.default_rng(0), 80)
    # Var(c x) = c²/12, and without interactions the total indices are the shares of variance
    found = importance(space, x, x @ np.array([3.0, 2.0, 1.0, 0.0]))
    assert np.allclose(found, np.array([9, 4, 1, 0]) / 14, atol=0.03)
    assert found.sum() == pytest.approx(1.0)


def test_ishigami():
    space = Space.from_bounds([(-np.pi, np.pi)] * 3)
    rows = space.sample(np.random.default_rng(1), 300)
    x = np.pi * (2 * rows - 1)
    y = np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0])
    total = np.array([0.5576, 0.4424, 0.2437])  # Ishigami & Homma 1990, a = 7, b = 0.1
    assert np.allclose(importance(space, rows, y), total / total.sum(), atol=0.04)


def test_conditional_columns_count_where_they_are_active():
    space = Space(c=Categorical(["on", "off"]), x=Float(0, 1, when={"c": "on"}), y=Float(0, 1))
    rows = space.sample(np.random.default_rng(2), 120)
    values = np.where(np.isnan(rows[:, 1]), 0.0, 2 * np.nan_to_num(rows[:, 1]) - 1) + 0.0 * rows[:, 2]
    # f = 2u - 1 where on, else 0: E of squared differences: c: 1/2 E(2u-1)² = 1/6, x: 1/2 · 4 · 1/6 = 1/3
    assert np.allclose(importance(space, rows, values), [1 / 3, 2 / 3, 0], atol=0.05)


def test_nothing_varies_and_bad_input():
    space = Space(a=Float(0, 1), b=Float(0, 1), forbidden=["a + b > 1.5"])
    rows = space.sample(np.random.default_rng(3), 20)
    assert (importance(space, rows, np.ones(20)) == 0).all()
    some = rows[:, 0].copy()
    some[0] = np.nan
    assert importance(space, rows, some)[0] > 0.95
    with pytest.raises(InputError, match="values"):
        importance(space, rows, np.full(20, np.nan))
    with pytest.raises(InputError, match="values"):
        importance(space, rows, np.ones(3))


def test_the_seed_decides():
    space = Space.from_bounds([(0.0, 1.0)] * 2)
    rows = space.sample(np.random.default_rng(4), 20)
    y = rows[:, 0] * rows[:, 1]
    assert np.array_equal(importance(space, rows, y, 1), importance(space, rows, y, 1))
    assert not np.array_equal(importance(space, rows, y, 1), importance(space, rows, y, 2))
