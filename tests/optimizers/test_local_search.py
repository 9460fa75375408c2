"""Up to a local optimum, and then elsewhere."""

import numpy as np
import pytest

from metaloop import Categorical, Float, Space
from metaloop.errors import InputError
from metaloop.optimizers import LocalSearch
from metaloop.optimizers.mutation import neighbors
from metaloop.testing import check_optimizer

SPACE = Space({f"p{j}": Categorical(list("abc")) for j in range(4)})
ROWS = np.stack(np.meshgrid(*[(np.arange(3) + 0.5) / 3] * 4, indexing="ij"), axis=-1).reshape(-1, 4)
VALUES = np.random.default_rng(3).permutation(81).astype(float)  # rugged: several local optima


def value(row):
    return VALUES[int((np.floor(row * 3) * [27, 9, 3, 1]).sum())]


def test_keeps_the_protocol():
    check_optimizer(LocalSearch(), spaces=("integers", "all categories"), rounds=3)


def test_moves_at_the_first_improvement_and_restarts_only_at_a_local_optimum():
    optimizer = LocalSearch()
    state = optimizer.init(SPACE, 0)
    left, asked = [], []
    while True:
        before, center = state.restarts, None if state.center is None else state.center.copy()
        rows, state = optimizer.ask(state, 1)
        if not len(rows):
            break
        if state.restarts > before:
            left.append(center)
        asked.append(rows[0].tobytes())
        height = state.height
        state = optimizer.tell(state, rows, [value(rows[0])])
        if value(rows[0]) < height:
            assert state.height <= value(rows[0])
    assert len(asked) == len(set(asked)) == 81  # every point once, then nothing is left
    assert left
    for center in left:
        assert all(value(near) > value(center) for near in neighbors(SPACE, center))


def test_separable_functions_need_no_restart():
    state = LocalSearch().init(SPACE, 1)
    for _ in range(81):
        rows, state = LocalSearch().ask(state, 1)
        state = LocalSearch().tell(state, rows, np.abs(rows - 0.5).sum(axis=1))
        if state.height < 1e-9:
            break
    assert state.height < 1e-9
    assert state.restarts == 0


def test_a_continuous_parameter_is_refused():
    with pytest.raises(InputError, match=r"'x'.*give it a step"):
        LocalSearch().init(Space(x=Float(0, 1)), 0)
