"""The small object for people with a loop of their own."""

import numpy as np
import pytest

from metaloop import AskTell, Categorical, Float, InputError, RandomSearch, Sobol, Space


def test_vectors():
    opt = AskTell(Sobol(), [(-5, 5)] * 3, seed=1)
    for _ in range(10):
        points = opt.ask(4)
        assert points[0].shape == (3,)
        opt.tell(points, [float((x**2).sum()) for x in points])
    assert opt.best_value == pytest.approx(float((opt.best**2).sum()))


def test_dicts_failures_and_points_from_elsewhere():
    space = Space(x=Float(0, 1), k=Categorical(["a", "b"]))
    opt = AskTell(RandomSearch(), space)
    (config,) = opt.ask()
    opt.tell(config, 1.0)
    opt.tell({"x": 0.25, "k": "a"}, 0.5)
    opt.tell([{"x": 0.5, "k": "a"}], [np.nan])
    assert opt.best == {"x": 0.25, "k": "a"}


def test_bad_calls_are_refused():
    opt = AskTell(RandomSearch(), [(-5, 5)] * 3)
    with pytest.raises(InputError, match="one for each"):
        opt.tell([np.zeros(3)], [1.0, 2.0])
    with pytest.raises(InputError, match="2 coordinates"):
        opt.tell([np.zeros(2)], [1.0])
    with pytest.raises(InputError, match="at least 1"):
        opt.ask(0)
