"""The oldest die, not the worst."""

import numpy as np
import pytest

from metaloop import Categorical, Space
from metaloop.errors import InputError
from metaloop.optimizers import RandomSearch, RegularizedEvolution
from metaloop.testing import check_optimizer

SPACE = Space({f"p{j}": Categorical(list("abcd")) for j in range(8)})
GOAL = np.array([0, 3, 1, 2, 2, 0, 3, 1])


def mismatches(rows):
    return (np.floor(rows * 4) != GOAL).sum(axis=1).astype(float)


def queries(optimizer, seed, most=3000):
    state = optimizer.init(SPACE, seed)
    for k in range(1, most + 1):
        rows, state = optimizer.ask(state, 1)
        values = mismatches(rows)
        if values[0] == 0:
            return k
        state = optimizer.tell(state, rows, values)
    return most + 1


def test_keeps_the_protocol():
    check_optimizer(RegularizedEvolution(population=6, sample=3), rounds=2)


def test_ageing_removes_the_oldest_however_good():
    optimizer = RegularizedEvolution(population=3, sample=2)
    state = optimizer.init(SPACE, 0)
    rows = SPACE.sample(np.random.default_rng(0), 5)
    state = optimizer.tell(state, rows, [0.0, 5.0, 4.0, 3.0, 2.0])
    living, merit = optimizer.living(state)
    assert (living == rows[2:]).all()
    assert merit.tolist() == [4.0, 3.0, 2.0]


def test_a_child_is_one_mutation_of_the_best_of_its_tournament():
    optimizer = RegularizedEvolution(population=4, sample=4)
    rows = SPACE.sample(np.random.default_rng(1), 4)
    for seed in range(10):
        state = optimizer.tell(optimizer.init(SPACE, seed), rows, [3.0, 1.0, np.nan, 2.0])
        child, state = optimizer.ask(state, 1)
        assert (child[0] != rows[1]).sum() == 1


def test_finds_a_separable_optimum_much_sooner_than_random_search():
    ours = [queries(RegularizedEvolution(population=20, sample=5), seed, 2000) for seed in range(5)]
    assert max(ours) <= 1000
    assert np.median([queries(RandomSearch(), seed, 2000) for seed in range(5)]) > 1000


@pytest.mark.parametrize("bad", [{"population": 1}, {"sample": 0}, {"sample": 51}])
def test_bad_settings_are_refused(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        RegularizedEvolution(**bad)
