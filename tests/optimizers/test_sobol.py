"""Sobol' points are scipy's, and spread better than random ones."""

import numpy as np
import pytest
from scipy.stats import qmc

from metaloop import Float, InputError, RandomSearch, Sobol, Space
from metaloop.optimizers.state import dump, load
from metaloop.testing import check_optimizer


def test_keeps_the_protocol():
    check_optimizer(Sobol())


def test_is_scipys_sequence_however_it_is_drawn():
    space = Space.from_bounds([(0, 1)] * 4)
    reference = qmc.Sobol(4, rng=np.random.default_rng(9), bits=30).random(64)
    state = Sobol().init(space, 9)
    drawn = []
    for n in (1, 2, 5, 8, 16, 32):
        points, state = Sobol().ask(state, n)
        drawn.append(points)
        state = load(dump(state), space)  # the engine is rebuilt and wound forward
    np.testing.assert_array_equal(np.concatenate(drawn), reference)


def test_is_more_even_than_random():
    space = Space.from_bounds([(0, 1)] * 3)
    sobol, _ = Sobol().ask(Sobol().init(space, 0), 256)
    random, _ = RandomSearch().ask(RandomSearch().init(space, 0), 256)
    assert qmc.discrepancy(sobol) < 0.2 * qmc.discrepancy(random)


def test_too_many_columns_are_refused():
    space = Space({f"x{i}": Float(0, 1) for i in range(21_202)})
    with pytest.raises(InputError, match="21201"):
        Sobol().init(space, 0)
