"""The codec: conditions, integers and categories come back as they went in."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metaloop import Categorical, Choice, Float, InputError, Int, Space

RNG = np.random.default_rng(0)

MIXED = Space(
    lr=Float(1e-5, 1e-1, log=True),
    depth=Int(1, 12),
    wide=Int(1, 10**9, log=True),
    half=Float(-1.0, 1.0, step=0.1),
    kernel=Categorical(["rbf", "poly", None, 3, (1, 2)]),
    degree=Int(2, 5, when={"kernel": "poly"}),
    even=Int(0, 20, step=4, when={"degree": [3, 4]}),
    model=Choice(
        svm=Space(C=Float(1e-3, 1e3, log=True)), mlp=Space(C=Float(0, 1), width=Int(8, 512, log=True)), no=None
    ),
)


def test_round_trip_is_exact_for_what_decode_made():
    rows = MIXED.sample(RNG, 5000)
    configs = MIXED.decode(rows)
    encoded = MIXED.encode(configs)
    assert MIXED.decode(encoded) == configs
    np.testing.assert_array_equal(np.isnan(encoded), np.isnan(rows))
    np.testing.assert_allclose(encoded, rows, atol=1e-15, rtol=0)


def test_inactive_parameters_are_absent():
    for config in MIXED.decode(MIXED.sample(RNG, 500)):
        assert ("degree" in config) == (config["kernel"] == "poly")
        assert ("even" in config) == (config.get("degree") in (3, 4))
        assert ("width" in config) == (config["model"] == "mlp")
        assert ("C" in config) == (config["model"] != "no")


def test_every_value_of_a_discrete_parameter_owns_its_share():
    space = Space(k=Int(1, 4), c=Categorical(list("abc")), s=Float(0, 1, step=0.25))
    u = (np.arange(12_000) + 0.5) / 12_000
    configs = space.decode(np.stack([u, u, u], axis=1))
    for name, count in (("k", 4), ("c", 3), ("s", 5)):
        values, shares = np.unique([c[name] for c in configs], return_counts=True)
        assert len(values) == count
        np.testing.assert_allclose(shares, 12_000 / count, atol=1)


def test_log_integers_are_drawn_by_ratio():
    space = Space(n=Int(1, 1000, log=True))
    n = np.array([c["n"] for c in space.decode(space.sample(RNG, 20_000))])
    # P(n <= 31) = log(31.5 / 0.5) / log(1000.5 / 0.5), from the cells' edges.
    assert abs((n <= 31).mean() - np.log(63) / np.log(2001)) < 0.015
    assert n.min() == 1
    assert n.max() == 1000


def test_steps_are_round_numbers():
    space = Space(x=Float(0.1, 0.7, step=0.1))
    values = {c["x"] for c in space.decode(np.linspace(0, 1, 1000)[:, None])}
    assert values == {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7}


def test_snap_is_idempotent_and_inside():
    rows = MIXED.snap(RNG.uniform(-0.5, 1.5, (500, MIXED.dim)))
    np.testing.assert_array_equal(MIXED.snap(rows), rows)
    assert np.nanmin(rows) >= 0
    assert np.nanmax(rows) <= 1


def test_a_million_configurations():
    space = Space(lr=Float(1e-5, 1e-1, log=True), k=Int(1, 9), c=Categorical(list("abc")), d=Int(2, 5, when={"c": "a"}))
    rows = space.sample(RNG, 1_000_000)
    configs = space.decode(rows)
    np.testing.assert_allclose(space.encode(configs), rows, atol=1e-15)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_floats_survive(data):
    low = data.draw(st.floats(-1e9, 1e9))
    width = data.draw(st.floats(1e-3, 1e9))
    space = Space(x=Float(low, low + width))
    u = data.draw(st.floats(0, 1))
    (config,) = space.decode(np.array([[u]]))
    assert low <= config["x"] <= low + width
    assert space.decode(space.encode(config)) == [config]


@given(st.floats(1e-300, 1.0), st.floats(2.0, 1e300), st.floats(0, 1))
@settings(max_examples=150, deadline=None)
def test_log_floats_survive(low, high, u):
    space = Space(x=Float(low, high, log=True))
    (config,) = space.decode(np.array([[u]]))
    again = space.decode(space.encode(config))[0]["x"]
    assert low <= again <= high
    assert again == pytest.approx(config["x"], rel=1e-12)


@given(st.integers(-(2**40), 2**40), st.integers(0, 2**40), st.floats(0, 1))
@settings(max_examples=150, deadline=None)
def test_integers_survive(low, width, u):
    space = Space(n=Int(low, low + width))
    (config,) = space.decode(np.array([[u]]))
    assert space.decode(space.encode(config)) == [config]
    assert isinstance(config["n"], int)


def test_json_round_trip():
    spaces = [MIXED, Space(a=Float(0, 1), b=Float(0, 1), c=Categorical(["x", "y"]), forbidden=["a >= b", {"c": ["x"]}])]
    for space in spaces:
        again = Space.from_json(space.to_json())
        assert again == space
        assert hash(again) == hash(space)
        assert again.columns == space.columns
        assert json.loads(space.to_json()) == json.loads(again.to_json())


def test_bounds_are_accepted():
    from scipy.optimize import Bounds

    assert Space.from_bounds([(-5, 5), (0, 1)]).labels == ("x0", "x1")
    assert Space.from_bounds(Bounds([0, 0], [1, 2])) == Space.from_bounds([(0, 1), (0, 2)])
    for bad in ([], [(1, 0)], [(0, np.inf)], [(0, 1, 2)], 7, [(0, "a")]):
        with pytest.raises(InputError, match="bounds"):
            Space.from_bounds(bad)


def test_forbidden_combinations_never_occur():
    space = Space(
        low=Float(0, 1), high=Float(0, 1), kernel=Categorical(["rbf", "poly"]), depth=Int(1, 9),
        forbidden=["low >= high", {"kernel": "poly", "depth": [8, 9]}, "depth % 2 == 0 and not kernel == 'rbf'"],
    )  # fmt: skip
    for c in space.decode(space.sample(RNG, 2000)):
        assert c["low"] < c["high"]
        assert not (c["kernel"] == "poly" and (c["depth"] >= 8 or c["depth"] % 2 == 0))
    repaired = space.repair(RNG.random((300, 4)), RNG)
    assert space.allowed(repaired).all()


def test_a_clause_with_an_inactive_parameter_does_not_apply():
    space = Space(k=Categorical(["a", "b"]), x=Float(0, 1, when={"k": "a"}), y=Float(0, 1), forbidden=["x < 2"])
    assert {c["k"] for c in space.decode(space.sample(RNG, 100))} == {"b"}


def test_repair_stays_close():
    space = Space(x=Float(0, 1), y=Float(0, 1), forbidden=["x + y > 1"])
    start = np.array([[0.52, 0.52]])
    repaired = space.repair(start, np.random.default_rng(1))
    assert space.allowed(repaired).all()
    assert np.abs(repaired - start).max() < 0.2


def test_branches_may_share_names():
    space = Space(opt=Choice(sgd=Space(lr=Float(0.1, 1.0)), adam=Space(lr=Float(1e-4, 1e-2))))
    assert space.labels == ("opt", "opt.sgd.lr", "opt.adam.lr")
    for c in space.decode(space.sample(RNG, 100)):
        low, high = (0.1, 1.0) if c["opt"] == "sgd" else (1e-4, 1e-2)
        assert low <= c["lr"] <= high
        assert set(c) == {"opt", "lr"}


def test_nested_choices_and_conditions_inside_a_branch():
    inner = Space(a=Categorical([1, 2]), b=Float(0, 1, when={"a": 2}))
    space = Space(outer=Choice(x=Space(inner=Choice(p=inner, q=None)), y=None))
    for c in space.decode(space.sample(RNG, 200)):
        assert ("inner" in c) == (c["outer"] == "x")
        assert ("a" in c) == (c.get("inner") == "p")
        assert ("b" in c) == (c.get("a") == 2)
    assert Space.from_json(space.to_json()) == space


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Float(1, 1), "low < high"),
        (lambda: Float(2, 1), "low < high"),
        (lambda: Float(0, 1, log=True), "greater than 0 when log"),
        (lambda: Float(0, np.nan), "high was nan"),
        (lambda: Float("a", 1), "low was 'a'"),
        (lambda: Float(0, 1, step=2.0), "step was 2.0"),
        (lambda: Float(1, 2, step=0.1, log=True), "None when log"),
        (lambda: Float(-1e308, 1e308), "difference is finite"),
        (lambda: Int(3, 2), "low <= high"),
        (lambda: Int(0, 5, log=True), "at least 1 when log"),
        (lambda: Int(0.5, 2), "whole number"),
        (lambda: Int(0, 2**60), r"2\*\*53"),
        (lambda: Categorical([]), "at least one"),
        (lambda: Categorical("abc"), "a list of choices"),
        (lambda: Categorical(["a", "a"]), "all different"),
        (lambda: Categorical([object()]), "name other objects"),
        (lambda: Categorical([[1]]), "tuple"),
        (lambda: Choice(), "at least one branch"),
        (lambda: Choice(a=Float(0, 1)), "branch 'a'"),
        (lambda: Space(), "at least one parameter"),
        (lambda: Space(a=3), "parameter 'a' was 3"),
        (lambda: Space({"a": Float(0, 1)}, a=Float(0, 1)), "given once"),
        (lambda: Space(a=Float(0, 1, when={"b": 1})), "'b', which is not in the space"),
        (lambda: Space(b=Int(0, 2), a=Float(0, 1, when={"b": 7})), "when of 'a': b was 7"),
        (lambda: Space(b=Float(0, 2), a=Float(0, 1, when={"b": 1})), "countable"),
        (lambda: Space(kernel=Int(0, 1), a=Float(0, 1, when={"kernal": 1})), "did you mean 'kernel'"),
        (lambda: Float(0, 1, when={"k": []}), "non-empty list"),
        (lambda: Space(a=Float(0, 1), forbidden=["a >"]), "a comparison"),
        (lambda: Space(a=Float(0, 1), forbidden=["b > 1"]), "'b', which is not in the space"),
        (lambda: Space(a=Float(0, 1), forbidden=["__import__('os') == a"]), "forbidden"),
        (lambda: Space(a=Float(0, 1), forbidden=["a.real > 0"]), "arithmetic"),
        (lambda: Space(a=Float(0, 1), forbidden=[{"a": 0.5}]), "comparison"),
        (lambda: Space(a=Float(0, 1), forbidden=["a < 2"]).sample(RNG, 1), "satisfiable"),
        (lambda: Space(a=Int(0, 1, when={"b": 1}), b=Int(0, 1, when={"a": 1})), "circles"),
        (lambda: Space.from_json("{}"), "JSON text"),
        (lambda: Space.from_json('{"metaloop.space": 99}'), "newer"),
    ],
)
def test_bad_spaces_are_refused_in_one_line(make, says):
    with pytest.raises(InputError, match=says) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"x": 0.5}, "'k' is missing"),
        ({"x": 0.5, "k": "b", "d": 1}, "absent"),
        ({"x": 0.5, "k": "a"}, "'d' is missing"),
        ({"x": 2.0, "k": "b"}, r"x was 2.0; it may be a number in \[0.0, 1.0\]"),
        ({"x": "1", "k": "b"}, "x was '1'; it may be a number"),
        ({"x": True, "k": "b"}, "x was True"),
        ({"x": np.nan, "k": "b"}, "x was nan"),
        ({"x": 0.5, "k": "z"}, "k was 'z'; it may be one of"),
        ({"x": 0.5, "k": ["a"]}, "k was"),
        ({"x": 0.5, "k": "a", "d": 2.5}, "whole number"),
        ({"x": 0.5, "k": "b", "xx": 1}, "unknown parameter 'xx'.*did you mean 'x'"),
    ],
)
def test_bad_configurations_are_refused_in_one_line(config, says):
    space = Space(x=Float(0, 1), k=Categorical(["a", "b"]), d=Int(1, 3, when={"k": "a"}))
    with pytest.raises(InputError, match=says):
        space.encode(config)
