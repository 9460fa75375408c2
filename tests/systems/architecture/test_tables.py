"""The tables and their searches."""

import numpy as np
import pytest

from metaloop.errors import InputError
from metaloop.optimizers import CategoricalProcess, LocalSearch, RandomSearch
from metaloop.structure.architecture import Architectures, Limit
from metaloop.systems.architecture import model, report
from metaloop.systems.architecture.loop import MOST, search_table


def test_the_tables_are_the_published_ones():
    best = [model.cells(name).searched.max() for name in model.SETS]
    assert best == pytest.approx([84.892, 61.32, 38.667], abs=5e-4)
    table = model.cells("CIFAR-10")
    assert len(table.searched) == 5**6
    # The first line of the source: avg_pool~0, conv1x1~0, skip~1, conv1x1~0, skip~1, skip~2.
    row = table.space.encode(dict(zip(table.space.labels, "ecbcbb", strict=True)))
    assert table.searched[table.index(row)[0]] == pytest.approx(63.364)
    assert table.test[table.index(row)[0]] == pytest.approx(69.55)
    chains = model.macro()
    assert chains.searched.max() == pytest.approx(93.127, abs=1e-3)
    # The first entry of the source, "02012100".
    first = chains.index(chains.space.encode(dict(zip(chains.space.labels, "acabcbaa", strict=True))))[0]
    assert chains.parameters[first] == 890666
    assert chains.flops[first] == 47327744
    assert chains.searched[first] == pytest.approx(89.1967, abs=1e-3)
    assert chains.digits(chains.best) in {(2, 2, 2, 1, 2, 2, 2, 0), (2, 2, 2, 1, 2, 2, 0, 2)}
    with pytest.raises(InputError, match=r"^name was 'MNIST'"):
        model.cells("MNIST")


def test_a_search_counts_different_architectures_until_the_best():
    table = model.cells("CIFAR-10")
    found = search_table(table, CategoricalProcess(), range(1000, 1002))
    for queries, curve in zip(found.queries, found.best, strict=True):
        assert queries <= MOST
        assert (np.diff(curve) >= 0).all()
        assert curve[queries - 1] == table.searched.max()
        assert curve[queries - 2] < table.searched.max()
    assert (found.test == table.test[table.best]).all()
    again = search_table(table, CategoricalProcess(), range(1000, 1002))
    assert (again.queries == found.queries).all()
    assert (again.best == found.best).all()


def test_what_random_search_does_not_find_counts_as_not_found():
    found = search_table(model.cells("CIFAR-10"), RandomSearch(), range(3))
    assert found.queries.tolist() == [MOST + 1] * 3 or found.found < 3
    assert found.best[:, -1].max() < 85


def test_under_a_limit_the_best_within_it_is_the_goal():
    table = model.macro()
    asked = []

    def cost(config):
        k = table.index(table.space.encode(config))[0]
        asked.append(k)
        return table.parameters[k]

    small = Architectures(table.space, [Limit(cost, 1.2e6)])
    found = search_table(table, LocalSearch(), range(2), small)
    best = table.searched[table.parameters <= 1.2e6].max()
    assert found.best[:, -1] == pytest.approx([best, best])
    assert best < table.searched.max()


def test_medians_have_intervals_around_them():
    rng = np.random.default_rng(0)
    above, below = rng.exponential(50, 200), rng.exponential(100, 200)
    value, (low, high) = report.ratio_of_medians(above, below)
    assert low < value < high < 1
    value, (low, high) = report.median(above)
    assert low <= value <= high
    assert high - low < 25
