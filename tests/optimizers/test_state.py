"""State goes through bytes bit for bit, and bytes from elsewhere do no harm."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaloop import Float, Space, StoreError
from metaloop.optimizers.state import dump, load, plan, state

SPACE = Space(x=Float(0, 1))


@state
@dataclass
class Toy:
    a: Any
    b: Any = None
    derived: Any = plan()


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
trees = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner))


@given(trees)
def test_plain_values_survive(tree):
    assert repr(load(dump(Toy(tree)), SPACE).a) == repr(tree)


def test_arrays_generators_and_nested_states_survive():
    rng = np.random.Generator(np.random.PCG64(3))
    rng.random(7)
    arrays = [np.arange(6.0).reshape(2, 3), np.empty((0, 4)), np.array([1, 2]), np.array([True]), np.array([math.nan])]
    before = Toy(arrays, Toy((rng, SPACE)), derived=object())
    after = load(dump(before), SPACE)
    for x, y in zip(after.a, arrays, strict=True):
        assert x.dtype == y.dtype
        assert x.tobytes() == y.tobytes()
        assert x.shape == y.shape
    assert after.b.a[0].random() == rng.random()
    assert after.b.a[1] is SPACE
    assert after.derived is None


def test_what_no_state_may_hold_is_refused():
    for bad in (object(), np.array(["a"]), {1, 2}, lambda: 0):
        with pytest.raises(TypeError, match="state holds"):
            dump(Toy(bad))


def test_damaged_bytes_are_an_error_and_nothing_else():
    good = dump(Toy([np.arange(5.0), {"k": 1}], Toy(1)))
    for cut in range(len(good)):
        with pytest.raises(StoreError):
            load(good[:cut], SPACE)
    with pytest.raises(StoreError):
        load(good.replace(b'"Toy"', b'"Foe"'), SPACE)
    with pytest.raises(StoreError):
        load(b"\x80\x04pickle", SPACE)
