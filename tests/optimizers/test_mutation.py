"""One change at a time."""

import numpy as np

from metaloop import Categorical, Float, Int, Space
from metaloop.optimizers.mutation import mutate, neighbors

SPACE = Space(
    kind=Categorical(list("abc")), size=Categorical([1, 2, 3, 4], ordered=True), k=Int(0, 2, when={"kind": "a"})
)


def test_neighbors_are_all_single_changes():
    configs = SPACE.decode(neighbors(SPACE, SPACE.encode({"kind": "a", "size": 1, "k": 1})[0]))
    assert configs == [
        {"kind": "b", "size": 1},
        {"kind": "c", "size": 1},
        {"kind": "a", "size": 2, "k": 1},
        {"kind": "a", "size": 1, "k": 0},
        {"kind": "a", "size": 1, "k": 2},
    ]
    assert {"kind": "a", "size": 2, "k": 1} in SPACE.decode(neighbors(SPACE, SPACE.encode({"kind": "b", "size": 2})[0]))


def test_forbidden_neighbors_are_left_out():
    space = Space(a=Categorical(list("xyz")), b=Categorical(list("xyz")), forbidden=[{"a": "z", "b": "x"}])
    configs = space.decode(neighbors(space, space.encode({"a": "x", "b": "x"})[0]))
    assert configs == [{"a": "y", "b": "x"}, {"a": "x", "b": "y"}, {"a": "x", "b": "z"}]


def test_a_mutation_changes_one_parameter_and_reaches_every_value():
    space = Space(p=Categorical(list("abcd")), q=Categorical(list("abcd")), x=Float(0, 1))
    row, rng, seen = space.encode({"p": "b", "q": "c", "x": 0.5})[0], np.random.default_rng(0), set()
    for _ in range(300):
        child = mutate(space, row, rng)
        changed = np.flatnonzero(child != row)
        assert len(changed) == 1
        if changed[0] < 2:
            seen.add((int(changed[0]), space.decode(child)[0]["pq"[changed[0]]]))
    assert seen == {(0, "a"), (0, "c"), (0, "d"), (1, "a"), (1, "b"), (1, "d")}


def test_where_every_mutation_is_forbidden_a_random_point_stands_in():
    space = Space(
        a=Categorical(["x", "y"]), b=Categorical(["x", "y"]), forbidden=[{"a": "x", "b": "y"}, {"a": "y", "b": "x"}]
    )
    child = mutate(space, space.encode({"a": "x", "b": "x"})[0], np.random.default_rng(1))
    assert space.allowed(child[None])[0]
