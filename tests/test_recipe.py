"""Recipes know their own space, take configurations, and go through JSON."""

import json
from dataclasses import dataclass

import pytest

from metaloop import (
    CMAES,
    Auto,
    Float,
    GridSearch,
    InputError,
    Int,
    Portfolio,
    RandomSearch,
    Space,
    configure,
    space_of,
    tunable,
)
from metaloop.control import Credit, Shares
from metaloop.recipe import describe, from_data, to_data


@dataclass(frozen=True)
class Inner:
    rate: float = tunable(0.5, Float(0.1, 1.0))


@dataclass(frozen=True)
class Outer:
    inner: Inner = Inner()
    steps: int = tunable(3, Int(1, 9))
    fixed: int = 7


def test_space_of_a_recipe_and_those_it_holds():
    assert space_of(Outer()) == Space({"inner.rate": Float(0.1, 1.0), "steps": Int(1, 9)})
    assert configure(Outer(), {"inner.rate": 0.2, "steps": 4}) == Outer(Inner(0.2), 4)


def test_every_shipped_recipe_takes_its_own_space():
    for recipe in (CMAES(),):
        space = space_of(recipe)
        import numpy as np

        for config in space.decode(space.sample(np.random.default_rng(0), 50)):
            configure(recipe, config)


def test_json_round_trip():
    portfolio = Portfolio([CMAES(sigma0=0.2), RandomSearch()], schedule=Shares((1.0, 2.0)))
    auto = Auto(lead=2.0, credit=Credit(hope=0.5))
    for recipe in (CMAES(sigma0=0.2), GridSearch(levels={"a": 3}), RandomSearch(), Auto(), auto, portfolio):
        assert from_data(json.loads(json.dumps(to_data(recipe)))) == recipe


def test_what_is_as_shipped_is_not_written_down():
    assert to_data(Auto()) == {"recipe": "Auto"}
    assert describe(Auto(budget=9, credit=Credit())) == "Auto(budget=9, credit=Credit())"
    assert describe(Portfolio([CMAES(sigma0=0.3), "Sobol"])).startswith("Portfolio(members=[CMAES(")


def test_bad_calls_are_refused():
    with pytest.raises(InputError, match="tunable fields"):
        space_of(RandomSearch())
    with pytest.raises(InputError, match=r"no field 'step'.*did you mean 'steps'"):
        configure(Outer(), {"step": 3})
    with pytest.raises(InputError, match="frozen dataclass"):
        space_of(3)
    with pytest.raises(InputError, match=r"unknown optimizer 'CMASE'.*did you mean 'CMAES'"):
        from_data({"recipe": "CMASE"})
