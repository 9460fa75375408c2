"""Choices read as choices."""

import numpy as np
import pytest

from metaloop import Categorical, Space
from metaloop.errors import InputError
from metaloop.optimizers import CategoricalProcess, LocalSearch
from metaloop.testing import check_optimizer

SPACE = Space({f"p{j}": Categorical(list("abcde")) for j in range(5)})
WORTH = np.random.default_rng(7).normal(size=(5, 5))


def value(rows):
    chosen = np.floor(rows * 5).astype(int)
    return WORTH[np.arange(5), chosen].sum(axis=1) - 0.5 * (chosen[:, 0] == chosen[:, 1])


def queries(optimizer, seed):
    best = value(np.stack(np.meshgrid(*[(np.arange(5) + 0.5) / 5] * 5), axis=-1).reshape(-1, 5)).min()
    state = optimizer.init(SPACE, seed)
    for k in range(1, 400):
        rows, state = optimizer.ask(state, 1)
        values = value(rows)
        if values[0] <= best + 1e-12:
            return k
        state = optimizer.tell(state, rows, values)
    return 400


def test_keeps_the_protocol():
    spaces = ("one dimension", "mixed", "nested", "forbidden", "all categories")
    check_optimizer(CategoricalProcess(initial=4, candidates=50), spaces, rounds=2)


def test_finds_the_best_of_3125_sooner_than_local_search():
    ours = np.array([queries(CategoricalProcess(), seed) for seed in range(6)])
    theirs = np.array([queries(LocalSearch(), seed) for seed in range(6)])
    assert ours.max() < 60
    assert np.median(ours) < np.median(theirs)


def test_a_batch_has_no_point_twice_and_a_small_space_ends():
    optimizer, space = CategoricalProcess(initial=3), Space(a=Categorical(list("xyz")), b=Categorical([1, 2, 3]))
    state, asked = optimizer.init(space, 0), []
    for _ in range(5):
        rows, state = optimizer.ask(state, 4)
        asked += [row.tobytes() for row in rows]
        state = optimizer.tell(state, rows, rows.sum(axis=1)) if len(rows) else state
    assert len(asked) == len(set(asked)) == 9


@pytest.mark.parametrize("bad", [{"initial": 1}, {"growth": 1.0}, {"candidates": 9}, {"growth": "x"}])
def test_bad_settings_are_refused(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        CategoricalProcess(**bad)
