"""A hard limit is never overstepped, and one that nobody meets is refused."""

from itertools import pairwise

import numpy as np
import pytest

from metaloop import Categorical, Float, Int, Space, minimize
from metaloop.errors import InputError
from metaloop.optimizers import (
    CategoricalProcess,
    GaussianProcess,
    LocalSearch,
    RegularizedEvolution,
    SuccessiveHalving,
)
from metaloop.structure.architecture import Architectures, Limit

CHAINS = Space({f"layer{k}": Categorical([0, 4, 8, 16, 32]) for k in range(5)})


def parameters(config):
    widths = [1, *[w for w in config.values() if w], 10]
    return sum(a * b for a, b in pairwise(widths))


SMALL = Architectures(CHAINS, [Limit(parameters, 300)])


@pytest.mark.parametrize("optimizer", [RegularizedEvolution(10, 3), LocalSearch(), CategoricalProcess(), "TPE",
                                       GaussianProcess(initial=4)])  # fmt: skip
def test_no_search_asks_beyond_the_limit(optimizer):
    asked = []

    def error(config):
        asked.append(parameters(config))
        return -sum(config.values())

    result = minimize(error, SMALL, optimizer=optimizer, budget=25, seed=1)
    assert len(asked) == 25
    assert max(asked) <= 300
    assert parameters(result.config) <= 300


def test_random_architectures_are_those_of_the_space_that_are_within():
    rows = SMALL.sample(np.random.default_rng(0), 200)
    assert all(parameters(c) <= 300 for c in SMALL.decode(rows))
    large = CHAINS.encode({f"layer{k}": 32 for k in range(5)})
    assert not SMALL.allowed(large)[0]
    assert CHAINS.allowed(large)[0]
    assert SMALL.allowed(SMALL.repair(large, np.random.default_rng(0)))[0]
    assert SMALL == CHAINS


def test_several_limits_and_clauses_hold_together():
    flops = Limit(lambda c: 64.0 * c["layer0"], 512, "FLOPs")
    space = Space(CHAINS.parameters, forbidden=[{"layer1": 0}])
    both = Architectures(space, [Limit(parameters, 300), flops])
    for config in both.decode(both.sample(np.random.default_rng(0), 50)):
        assert parameters(config) <= 300
        assert config["layer0"] <= 8
        assert config["layer1"]


def test_a_limit_that_none_meets_says_what_the_cheapest_costs():
    with pytest.raises(InputError, match=r"^limits was 'at most 5 parameters'.* has 10 parameters$"):
        Architectures(CHAINS, [Limit(parameters, 5)])


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Limit("parameters", 5), "cost"),
        (lambda: Limit(parameters, float("nan")), "most"),
        (lambda: Architectures(CHAINS, []), "limits"),
        (lambda: Architectures(Space(n=Int(1, 3), x=Float(0, 1)), [Limit(lambda c: float("nan"), 1)]), "cost in"),
    ],
)
def test_bad_input_is_refused(make, named):
    with pytest.raises(InputError, match=f"^{named}"):
        make()


def test_short_trainings_stop_what_is_bad():
    lengths = []

    def train(config):
        error = abs(sum(config.values()) - 24) / 10
        for length in (1 / 9, 1 / 3, 1.0):
            lengths.append(length)
            yield {"value": error + 0.1 / length, "fidelity": length}

    searcher = SuccessiveHalving(CategoricalProcess(initial=5), min_fidelity=1 / 9)
    result = minimize(train, SMALL, optimizer=searcher, budget=27, seed=0)
    assert lengths.count(1 / 9) == 27
    assert 1 <= lengths.count(1.0) < 20  # the rest was ended early
    assert result.value < 0.6
    assert parameters(result.config) <= 300
