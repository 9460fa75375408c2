"""CMA-ES with a surrogate: the protocol, fewer evaluations than plain CMA-ES, and none of its promises lost."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from metaloop.errors import InputError
from metaloop.optimizers import CMAES, SurrogateCMAES
from metaloop.space import Array, Float, Int, Space
from metaloop.testing import check_optimizer


def cube(d: int) -> Space:
    return Space.from_bounds([(0.0, 1.0)] * d)


def ellipsoid(x: Array) -> float:
    return float(np.sum(10.0 ** (4 * np.arange(len(x)) / (len(x) - 1)) * (x - 0.37) ** 2))


def rosenbrock(u: Array) -> float:
    x = 4 * u - 2
    return float(np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))


def evaluations(recipe: CMAES | SurrogateCMAES, f: Callable[[Array], float], d: int, seed: int, target: float) -> int:
    """Until the target is met, at most 3000."""
    state = recipe.init(cube(d), seed)
    for used in range(1, 3001):
        rows, state = recipe.ask(state, 1)
        value = f(rows[0])
        if value <= target:
            return used
        state = recipe.tell(state, rows, [value])
    return 3001


def test_keeps_the_protocol() -> None:
    check_optimizer(SurrogateCMAES())


@pytest.mark.parametrize("f", [ellipsoid, rosenbrock])
def test_needs_at_most_half_the_evaluations_of_cmaes(f: Callable[[Array], float]) -> None:
    ours = [evaluations(SurrogateCMAES(), f, 5, seed, 1e-8) for seed in range(3)]
    plain = [evaluations(CMAES(), f, 5, seed, 1e-8) for seed in range(3)]
    assert np.median(ours) <= 0.5 * np.median(plain)


def test_a_function_without_structure_is_not_believed() -> None:
    # Values of white noise: no model predicts ranks, so that every generation is evaluated whole.
    rng, recipe = np.random.default_rng(0), SurrogateCMAES()
    state = recipe.init(cube(5), 0)
    for _ in range(120):
        rows, state = recipe.ask(state, 1)
        state = recipe.tell(state, rows, [rng.random()])
    assert state.inner.generation <= 25  # of 8 points; trusted from the second on there would be near 60


@pytest.mark.parametrize("d", [1, 2, 7])
def test_converges_in_any_dimension(d: int) -> None:
    assert evaluations(SurrogateCMAES(), lambda u: float(((u - 0.3) ** 2).sum()), d, 0, 1e-10) <= 40 * (d + 1)


def test_asks_no_point_twice_when_many_are_out() -> None:
    recipe = SurrogateCMAES()
    state = recipe.init(cube(3), 0)
    rows, state = recipe.ask(state, 60)
    assert len(np.unique(rows, axis=0)) == 60
    state = recipe.tell(state, rows[::-1], [ellipsoid(r) for r in rows[::-1]])
    more, state = recipe.ask(state, 20)
    assert not {r.tobytes() for r in rows} & {r.tobytes() for r in more}


def test_whole_numbers_are_searched_too() -> None:
    space = Space(a=Float(0, 1), n=Int(0, 40))
    recipe = SurrogateCMAES()
    state, best = recipe.init(space, 1), math.inf
    for _ in range(120):
        rows, state = recipe.ask(state, 1)
        point = space.decode(rows)[0]
        value = (point["a"] - 0.2) ** 2 + (point["n"] - 31) ** 2 / 100
        best = min(best, value)
        state = recipe.tell(state, rows, [value])
    assert best < 1e-4


def test_bad_settings_are_refused() -> None:
    with pytest.raises(InputError, match="sigma0 was 0"):
        SurrogateCMAES(sigma0=0.0)
    with pytest.raises(InputError, match="mean"):
        SurrogateCMAES(mean=(2.0,))
