"""Grid search visits every combination once."""

import itertools

import pytest

from metaloop import Categorical, Choice, Float, GridSearch, InputError, Int, Space
from metaloop.testing import check_optimizer


def everything(optimizer, space, n=7):
    state, out = optimizer.init(space, 0), []
    while True:
        points, state = optimizer.ask(state, n)
        if not len(points):
            return out
        out += space.decode(points)


@pytest.mark.parametrize("optimizer", [GridSearch(levels=3), GridSearch(levels={"*": 4}, shuffle=True)])
def test_keeps_the_protocol(optimizer):
    check_optimizer(optimizer)


def test_every_combination_once_last_parameter_fastest():
    space = Space(a=Int(1, 3), b=Categorical(["x", "y"]), c=Float(0, 1))
    found = everything(GridSearch(levels=3), space)
    expected = [dict(zip("abc", v, strict=True)) for v in itertools.product([1, 2, 3], ["x", "y"], [0.0, 0.5, 1.0])]
    assert found == expected
    shuffled = everything(GridSearch(levels=3, shuffle=True), space)
    assert shuffled != expected
    assert sorted(map(str, shuffled)) == sorted(map(str, expected))


def test_inactive_and_forbidden_combinations_are_not_repeated():
    space = Space(
        k=Categorical(["a", "b"]), x=Int(1, 3, when={"k": "a"}), m=Choice(p=Space(z=Int(0, 1)), q=None),
        forbidden=[{"k": "b", "m": "q"}],
    )  # fmt: skip
    found = [tuple(c.items()) for c in everything(GridSearch(), space)]
    assert len(found) == len(set(found)) == 3 * 2 + 3 * 1 + 1 * 2


def test_levels_are_spread_in_the_parameters_own_scale():
    found = everything(GridSearch(levels=3), Space(x=Float(1e-4, 1, log=True)))
    assert [c["x"] for c in found] == pytest.approx([1e-4, 1e-2, 1])


def test_a_large_discrete_parameter_is_thinned_to_its_levels():
    found = everything(GridSearch(levels={"n": 5}), Space(n=Int(1, 1000), k=Int(0, 1)))
    assert len(found) == 10
    assert {c["n"] for c in found} >= {1, 1000}


def test_astronomical_grids_start_at_once():
    space = Space({f"x{i}": Float(0, 1) for i in range(60)})
    points, _ = GridSearch(levels=10).ask(GridSearch(levels=10).init(space, 0), 5)
    assert points.shape == (5, 60)


SQUARE = Space(x=Float(0, 1), y=Float(0, 1))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda s: GridSearch().init(s, 0), "number of levels for the continuous 'x'"),
        (lambda s: GridSearch(levels=1), "at least 2"),
        (lambda s: GridSearch(levels={"y": 3}).init(s, 0), "labels of the space"),
        (lambda s: GridSearch(levels=10**4, shuffle=True).init(SQUARE, 0), "False for a grid"),
    ],
)
def test_bad_settings_are_refused(make, says):
    with pytest.raises(InputError, match=says):
        make(Space(x=Float(0, 1)))
